/** A cart keeps the items touched last: a function of the events in the window, whatever their order. */
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { CART_KEPT, cartPart } from '../../../core/aggregate/cart.js';
import type { Part } from '../../../core/aggregate/part.js';
import { ByteWriter } from '../../../core/codec/bytes.js';
import type { Expression } from '../../../core/definition.js';
import type { Event, Value } from '../../../core/event.js';
import { aggregate, type Row } from '../../../oracle/aggregate.js';
import { source } from '../generate.js';

const KEPT = 3;
const is = (what: string) => (event: Event) => event.values[1] === what;
const part = cartPart(10, KEPT, 'int64', {
  item: (event) => event.values[0]!,
  add: is('add'),
  remove: is('remove'),
  clear: is('clear'),
}) as Part<unknown, unknown, unknown>;

const WINDOW = 20;

/** Item and operation, one a millisecond. */
const operations = fc.array(
  fc.tuple(fc.nat(7), fc.constantFrom('add', 'add', 'add', 'remove', 'remove', 'clear')),
  { maxLength: 40 },
);

function eventsOf(list: ReadonlyArray<readonly [number, string]>): Event[] {
  return list.map(([item, operation], timestamp) => ({
    timestamp,
    arrivedAt: timestamp,
    sequence: 1,
    order: 0,
    id: '',
    values: [item, operation],
  }));
}

function stateOf(events: readonly Event[], now: number): unknown {
  const state = part.create();
  for (const event of events)
    if (event.timestamp + WINDOW > now) part.add(state, event, event.timestamp + WINDOW);
  part.leave(state, now);
  return state;
}

/** Newest first, those touched last. */
function expected(events: readonly Event[], now: number): number[] {
  let touched: Array<{ item: number; added: boolean }> = [];
  for (const { timestamp, values } of events) {
    if (timestamp + WINDOW <= now) continue;
    const [item, operation] = values as [number, string];
    touched = operation === 'clear' ? [] : touched.filter((other) => other.item !== item);
    if (operation !== 'clear') touched.unshift({ item, added: operation === 'add' });
  }
  return touched
    .slice(0, KEPT)
    .filter(({ added }) => added)
    .map(({ item }) => item);
}

test('of more than it keeps, those touched last count', () => {
  fc.assert(
    fc.property(operations, fc.integer(), (list, seed) => {
      const events = eventsOf(list);
      const now = events.length;
      const state = stateOf(events, now);
      expect(part.value(state)).toEqual(expected(events, now));
      const shuffled = [...events].sort(
        (a, b) => ((a.timestamp * 31 + seed) % 17) - ((b.timestamp * 31 + seed) % 17),
      );
      const other = stateOf(shuffled, now);
      const [bytes, otherBytes] = [state, other].map((each) => {
        const writer = new ByteWriter();
        part.encodeState(writer, each);
        return writer.finish();
      });
      expect(otherBytes).toEqual(bytes);
      let value = part.value(state);
      for (const { at, change } of part.steps(state)) {
        value = part.apply(value, change, 0);
        expect(value).toEqual(expected(events, at));
      }
    }),
    { numRuns: 2_000 },
  );
});

test('the oracle keeps as many', () => {
  const item: Expression = { col: 'amount' };
  const is = (value: string): Expression => ({ op: 'eq', args: [{ col: 'kind' }, { lit: value }] });
  const cart = { op: 'cart', item, add: is('a'), remove: is('b'), clear: null, limit: 1 } as const;
  const rows = (removed: number): Row[] =>
    Array.from({ length: removed + 1 }, (_, index) => ({
      event: {} as Event, // a cart does not look at it
      columns: new Map<string, Value>([
        ['amount', index],
        ['kind', index === 0 ? 'a' : 'b'],
      ]),
    }));
  expect(aggregate(cart, source, rows(CART_KEPT - 1), 0)).toEqual([0]);
  expect(aggregate(cart, source, rows(CART_KEPT), 0)).toEqual([]);
});
