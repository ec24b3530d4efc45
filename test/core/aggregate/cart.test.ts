/** A cart keeps the items touched last: a function of the events in the window, whatever their order. */
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { CART_KEPT, cartPart } from '../../../core/aggregate/cart.js';
import { nestedCartPart } from '../../../core/aggregate/nested-cart.js';
import { listOfLane, type NestedNewest } from '../../../core/aggregate/nested-newest.js';
import type { AnyPart } from '../../../core/aggregate/part.js';
import { ByteWriter } from '../../../core/codec/bytes.js';
import type { Expression } from '../../../core/definition.js';
import type { Event, Value } from '../../../core/event.js';
import { aggregate, type Row } from '../../../oracle/aggregate.js';
import { source } from '../generate.js';

const KEPT = 3;
const is = (what: string) => (event: Event) => event.values[1] === what;
const input = {
  item: (event: Event) => event.values[0]!,
  add: is('add'),
  remove: is('remove'),
  clear: is('clear'),
};

const WINDOW = 20;
const SPANS = [5, 12, WINDOW].map((ms) => ({ ms, hopMs: 1 }));

interface Cart {
  part: AnyPart;
  windows: number[];
  listed: (value: unknown, lane: number) => unknown;
}
const CARTS: Record<string, Cart> = {
  'one window': {
    part: cartPart(10, KEPT, 'int64', input) as AnyPart,
    windows: [WINDOW],
    listed: (value) => value,
  },
  'several windows': {
    part: nestedCartPart(10, KEPT, 'int64', input, SPANS) as AnyPart,
    windows: SPANS.map(({ ms }) => ms),
    listed: (value, lane) => listOfLane(value as NestedNewest<number>, lane),
  },
};

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

function stateOf(part: AnyPart, events: readonly Event[], now: number): unknown {
  const state = part.create();
  for (const event of events)
    if (event.timestamp + WINDOW > now) part.add(state, event, event.timestamp + WINDOW);
  part.leave(state, now);
  return state;
}

/** Newest first, those touched last. */
function expected(events: readonly Event[], now: number, window: number): number[] {
  let touched: Array<{ item: number; added: boolean }> = [];
  for (const { timestamp, values } of events) {
    if (timestamp + window <= now) continue;
    const [item, operation] = values as [number, string];
    touched = operation === 'clear' ? [] : touched.filter((other) => other.item !== item);
    if (operation !== 'clear') touched.unshift({ item, added: operation === 'add' });
  }
  return touched
    .slice(0, KEPT)
    .filter(({ added }) => added)
    .map(({ item }) => item);
}

test.each(Object.entries(CARTS))(
  'of more than it keeps, those touched last count: %s',
  (_, { part, windows, listed }) => {
    fc.assert(
      fc.property(operations, fc.integer(), (list, seed) => {
        const events = eventsOf(list);
        const now = events.length;
        const state = stateOf(part, events, now);
        windows.forEach((window, lane) => {
          expect(listed(part.value(state), lane)).toEqual(expected(events, now, window));
        });
        const shuffled = [...events].sort(
          (a, b) => ((a.timestamp * 31 + seed) % 17) - ((b.timestamp * 31 + seed) % 17),
        );
        const other = stateOf(part, shuffled, now);
        const [bytes, otherBytes] = [state, other].map((each) => {
          const writer = new ByteWriter();
          part.encodeState(writer, each);
          return writer.finish();
        });
        expect(otherBytes).toEqual(bytes);
        let value = part.value(state);
        for (const { at, lane = 0, change } of part.steps(state)) {
          value = part.apply(value, change, lane);
          expect(listed(value, lane)).toEqual(expected(events, at, windows[lane]!));
        }
      }),
      { numRuns: 2_000 },
    );
  },
);

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
