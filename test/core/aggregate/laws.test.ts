/** The laws of parts (core/aggregate/part.ts), for each aggregation by name: a new one is one line here. */
import fc from 'fast-check';
import { expect, test } from 'vitest';
import type { AnyPart } from '../../../core/aggregate/part.js';
import { NEVER } from '../../../core/aggregate/part.js';
import { ByteReader, ByteWriter } from '../../../core/codec/bytes.js';
import { compileView } from '../../../core/compile.js';
import type { Aggregation, AggregationView, Expression, Window } from '../../../core/definition.js';
import type { Event } from '../../../core/event.js';
import { leavesAt } from '../../../core/time.js';
import { events, source } from '../generate.js';

const col = (name: string): Expression => ({ col: name });
const is = (name: string, value: string): Expression => ({ op: 'eq', args: [col(name), { lit: value }] });

const AGGREGATIONS: Record<string, Aggregation> = {
  count: { op: 'count' },
  'sum of whole numbers': { op: 'sum', value: col('amount') },
  'sum of doubles': { op: 'sum', value: col('score') },
  max: { op: 'max', value: col('amount') },
  min: { op: 'min', value: col('score') },
  'last-n': { op: 'lastN', value: col('item'), n: 3 },
  distinct: { op: 'distinct', value: col('item') },
  'top-k by whole weight': { op: 'topK', key: col('item'), weight: col('amount'), k: 2 },
  'top-k by double weight': { op: 'topK', key: col('kind'), weight: col('score'), k: 2 },
  cart: {
    op: 'cart',
    item: col('item'),
    add: is('kind', 'a'),
    remove: is('kind', 'b'),
    clear: is('kind', 'c'),
    limit: 2,
  },
};

const windows: Array<Exclude<Window, { type: 'lifetime' }> | null> = [
  { type: 'sliding', ms: 3_600_000, hopMs: 600_000 },
  { type: 'sliding', ms: 60_000, hopMs: 1 },
  null,
];

function partOf(aggregation: Aggregation): AnyPart {
  const feature = { name: 'f', description: '-', type: 'int64' as const, coldStart: 0, nameException: null };
  const view = {
    kind: 'aggregation',
    key: ['user_id'],
    where: null,
    features: [{ ...feature, where: null, window: { type: 'lifetime' }, aggregation }],
  } as unknown as AggregationView;
  return compileView(view, source).slots[0]!.part;
}

function bytesOf(part: AnyPart, state: unknown): Uint8Array {
  const writer = new ByteWriter();
  part.encodeState(writer, state);
  return writer.finish();
}

function stateOf(
  part: AnyPart,
  list: readonly Event[],
  leaves: (event: Event) => number,
  now: number,
): unknown {
  const state = part.create();
  for (const event of list) part.add(state, event, leaves(event));
  part.leave(state, now);
  return state;
}

test.each(Object.entries(AGGREGATIONS))('%s', (_, aggregation) => {
  const part = partOf(aggregation);
  fc.assert(
    fc.property(events, fc.constantFrom(...windows), fc.nat(), (list, window, seed) => {
      const leaves = ({ timestamp }: Event) =>
        window ? leavesAt(timestamp, window.ms, window.hopMs) : NEVER;
      const now = Math.max(0, ...list.map((event) => event.timestamp));
      const state = stateOf(part, list, leaves, now);

      // any order, the same bytes
      const shuffled = [...list].sort(
        (a, b) => ((a.sequence * 31 + seed) % 17) - ((b.sequence * 31 + seed) % 17),
      );
      expect(bytesOf(part, stateOf(part, shuffled, leaves, now))).toEqual(bytesOf(part, state));

      // decode(encode(s)) is s
      const copy = part.decodeState(new ByteReader(bytesOf(part, state)));
      expect(bytesOf(part, copy)).toEqual(bytesOf(part, state));
      expect(encodedValue(part, part.value(copy))).toEqual(encodedValue(part, part.value(state)));

      // the value and its changes say what leaving says; times ascend
      let value = part.value(state);
      const steps = part.steps(state);
      expect(steps.map(({ at }) => at)).toEqual(
        [...new Set(steps.map(({ at }) => at))].sort((a, b) => a - b),
      );
      if (steps.length > 0) expect(part.nextLeave(state)).toBeLessThanOrEqual(steps[0]!.at);
      for (const { at, change } of steps) {
        part.leave(copy, at - 1);
        expect(encodedValue(part, part.value(copy))).toEqual(encodedValue(part, value));
        value = part.apply(value, change);
        part.leave(copy, at);
        expect(encodedValue(part, part.value(copy))).toEqual(encodedValue(part, value));
      }

      // values and changes survive their bytes
      const writer = new ByteWriter();
      part.encodeValue(writer, part.value(state));
      for (const { change } of steps) part.encodeChange(writer, change);
      const reader = new ByteReader(writer.finish());
      expect(encodedValue(part, part.decodeValue(reader))).toEqual(encodedValue(part, part.value(state)));
      let again = part.value(state);
      for (const _ of steps) again = part.apply(again, part.decodeChange(reader));
      expect(encodedValue(part, again)).toEqual(encodedValue(part, value));
      expect(reader.done).toBe(true);
    }),
    { numRuns: 150 },
  );
});

/** Exact totals have several forms in memory and one in bytes. */
function encodedValue(part: AnyPart, value: unknown): Uint8Array {
  const writer = new ByteWriter();
  part.encodeValue(writer, value);
  return writer.finish();
}
