/** The laws of parts (core/aggregate/part.ts), for each aggregation by name: a new one is one line here. */
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { hoppingPart } from '../../../core/aggregate/hopping.js';
import type { AnyPart, Step } from '../../../core/aggregate/part.js';
import { cursorsOf, NEVER } from '../../../core/aggregate/part.js';
import { sessionPart } from '../../../core/aggregate/session.js';
import { ByteReader, ByteWriter } from '../../../core/codec/bytes.js';
import type { Slot } from '../../../core/compile.js';
import { compileView } from '../../../core/compile.js';
import type {
  Aggregation,
  AggregationView,
  BucketAggregation,
  Expression,
  Window,
} from '../../../core/definition.js';
import type { Event } from '../../../core/event.js';
import { compareEvents } from '../../../core/event.js';
import { leavesAt } from '../../../core/time.js';
import { RUNS, SEED } from '../always.js';
import { events, source } from '../generate.js';

const col = (name: string): Expression => ({ col: name });
const is = (name: string, value: string): Expression => ({ op: 'eq', args: [col(name), { lit: value }] });

const AGGREGATIONS: Record<string, Aggregation> = {
  count: { op: 'count' },
  'sum of whole numbers': { op: 'sum', value: col('amount') },
  'sum of doubles': { op: 'sum', value: col('score') },
  'squares of whole numbers': { op: 'variance', value: col('amount'), population: false },
  'squares of doubles': { op: 'stddev', value: col('score'), population: true },
  'mean of vectors': { op: 'mean', value: col('vector') },
  'last of lists': { op: 'last', value: col('visits') },
  'first of vectors': { op: 'first', value: col('vector') },
  'distinct whole numbers': { op: 'distinct', value: col('amount'), limit: 3 },
  'decayed sum of whole numbers': { op: 'decayedSum', value: col('amount'), halfLifeMs: 86_400_000 },
  'decayed sum': { op: 'decayedSum', value: col('score'), halfLifeMs: 86_400_000 },
  'decayed count': { op: 'decayedCount', halfLifeMs: 100_003 },
  max: { op: 'max', value: col('amount') },
  min: { op: 'min', value: col('score') },
  'last-n': { op: 'lastN', value: col('item'), n: 3 },
  'first-n': { op: 'firstN', value: col('item'), n: 3 },
  distinct: { op: 'distinct', value: col('item') },
  'distinct to a limit': { op: 'distinct', value: col('score'), limit: 3 },
  'distinct, estimated': { op: 'approxDistinct', value: col('score'), exactTo: 0 },
  'distinct, estimated beyond a few': { op: 'approxDistinct', value: col('score'), exactTo: 4 },
  'top-k by whole weight': { op: 'topK', key: col('item'), weight: col('amount'), k: 2 },
  'top-k by double weight': { op: 'topK', key: col('kind'), weight: col('score'), k: 2 },
  'top-k by count': { op: 'topK', key: col('item'), weight: null, k: 2 },
  'buckets of counts': bucketed({ op: 'count' }),
  'buckets of whole sums': bucketed({ op: 'sum', value: col('amount') }),
  'buckets of double sums': bucketed({ op: 'sum', value: col('score') }),
  'buckets of means': bucketed({ op: 'mean', value: col('amount') }),
  'buckets of least': bucketed({ op: 'min', value: col('amount') }),
  'buckets of greatest': bucketed({ op: 'max', value: col('score') }),
  'buckets of newest': bucketed({ op: 'last', value: col('kind') }),
  histogram: { op: 'histogram', value: col('score'), edges: [-1, 0, 0.1, 1e16] },
  percentile: { op: 'percentile', value: col('score'), quantile: 0.5 },
  'top-k of whole numbers': { op: 'topK', key: col('amount'), weight: col('amount'), k: 3 },
  cart: {
    op: 'cart',
    item: col('item'),
    add: is('kind', 'a'),
    remove: is('kind', 'b'),
    clear: is('kind', 'c'),
    limit: 2,
  },
};

function bucketed(aggregation: BucketAggregation): Aggregation {
  return { op: 'bucketed', by: col('item'), aggregation, limit: 2 };
}

type Windows = ReadonlyArray<{ ms: number; hopMs: number } | null>;
const windows: Windows = [{ ms: 3_600_000, hopMs: 600_000 }, { ms: 60_000, hopMs: 1 }, null];
const HOP_MS = 600_000;

/** Of a window that is not nested the part knows nothing: it is told when its events leave. */
function partOf(aggregation: Aggregation): AnyPart {
  return slotOf(aggregation, [{ type: 'tumbling', ms: 1 }]).part;
}

function slotOf(aggregation: Aggregation, windows: readonly Window[]): Slot {
  const feature = { name: 'f', description: '-', type: 'int64' as const, coldStart: 0, nameException: null };
  const view = {
    kind: 'aggregation',
    key: ['user_id'],
    where: null,
    features: windows.map((window) => ({ ...feature, where: null, window, aggregation })),
  } as unknown as AggregationView;
  return compileView(view, source).slots.at(-1)!; // a variance has that of the sum before its own
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
  let asOf = Number.NEGATIVE_INFINITY;
  for (const event of list) {
    asOf = Math.max(asOf, event.timestamp);
    if (part.takesIn?.(state, event, asOf) === false)
      return stateOf(part, [...list].sort(compareEvents), leaves, now); // in event order all are taken in
    part.add(state, event, leaves(event));
  }
  part.leave(state, now);
  return state;
}

test.each(Object.entries(AGGREGATIONS))('%s', (_, aggregation) => {
  expectLaws(partOf(aggregation), windows);
});

test.each(Object.entries(AGGREGATIONS))('%s, entering on the hop', (_, aggregation) => {
  expectLaws(hoppingPart(partOf(aggregation), HOP_MS) as AnyPart, [
    { ms: HOP_MS, hopMs: HOP_MS },
    { ms: 6 * HOP_MS, hopMs: HOP_MS },
  ]);
});

test.each(Object.entries(AGGREGATIONS))('%s, over several windows at once', (_, aggregation) => {
  const sliding = (ms: number, hopMs: number): Window => ({ type: 'sliding', ms, hopMs });
  const hour = [sliding(7, 1), sliding(60_000, 1_000), sliding(3_600_000, 60_000)];
  for (const windows of [
    hour.slice(2),
    hour.slice(1),
    hour,
    [...hour, sliding(86_400_000, 86_400_000), { type: 'lifetime' } as const],
  ]) {
    const { part, units } = slotOf(aggregation, windows);
    expectLaws(part, [null], units);
  }
});

test.each(Object.entries(AGGREGATIONS))('%s, in a session', (_, aggregation) => {
  for (const gapMs of [60_000, 3_600_000])
    expectLaws(sessionPart(partOf(aggregation), gapMs, (event) => event.order === 0) as AnyPart, [null]);
});

/** @param units of the part's lanes, ms */
function expectLaws(part: AnyPart, windows: Windows, units: readonly number[] = [1]): void {
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
      part.leave(copy, now);
      expect(encodedValue(part, part.value(copy))).toEqual(encodedValue(part, part.value(state)));

      // the value and its changes say what leaving says; times ascend
      let value = part.value(state);
      const steps = part.steps(state);
      const place = ({ at, lane = 0 }: (typeof steps)[number]): number => at * (part.lanes ?? 1) + lane;
      expect(steps.map(place)).toEqual([...new Set(steps.map(place))].sort((a, b) => a - b));
      if (steps.length > 0) expect(part.nextLeave(state)).toBeLessThanOrEqual(steps[0]!.at);
      steps.forEach(({ at, lane, change }, index) => {
        if (steps[index - 1]?.at !== at) {
          part.leave(copy, at - 1);
          expect(encodedValue(part, part.value(copy))).toEqual(encodedValue(part, value));
        }
        value = part.apply(value, change, lane ?? 0);
        if (steps[index + 1]?.at === at) return;
        part.leave(copy, at);
        expect(encodedValue(part, part.value(copy))).toEqual(encodedValue(part, value));
      });

      // values and changes survive their bytes
      const writer = new ByteWriter();
      part.encodeValue(writer, part.value(state));
      for (const { change } of steps) part.encodeChange(writer, change);
      const reader = new ByteReader(writer.finish());
      expect(encodedValue(part, part.decodeValue(reader))).toEqual(encodedValue(part, part.value(state)));
      let again = part.value(state);
      for (const { lane } of steps) again = part.apply(again, part.decodeChange(reader), lane ?? 0);
      expect(encodedValue(part, again)).toEqual(encodedValue(part, value));
      expect(reader.done).toBe(true);

      // lane by lane, as records have them, the changes up to a time say the same; between them they say when
      const carried = carriedBy(part, state, units);
      const instants = [...new Set(steps.map(({ at }) => at))];
      expect([...new Set(carried.map(({ at }) => at))].sort((a, b) => a - b)).toEqual(instants);
      const valueAt = (until: number, changes: typeof steps): Uint8Array => {
        let value = part.value(state);
        for (const { at, lane, change } of changes)
          if (at <= until) value = part.apply(value, change, lane ?? 0);
        return encodedValue(part, value);
      };
      for (const until of [instants[seed % (instants.length || 1)] ?? now, NEVER])
        expect(valueAt(until, carried)).toEqual(valueAt(until, steps));
    }),
    { numRuns: RUNS / 2, seed: SEED },
  );
}

/** The steps of a record: lane by lane, and each with those that follow from it. */
function carriedBy(part: AnyPart, state: unknown, units: readonly number[]): Step<unknown>[] {
  return units.flatMap((unitMs, first) => {
    const carried: Step<unknown>[] = [];
    const cursor = cursorsOf(part, state, units)[first]!;
    while (cursor.time < NEVER) {
      let at = cursor.time * unitMs;
      const writer = new ByteWriter();
      cursor.write(writer);
      const change = part.decodeChange(new ByteReader(writer.finish()));
      for (let lane = first; at < NEVER; lane++) {
        carried.push({ at, lane, change });
        at = part.onward?.(at, lane) ?? NEVER;
      }
    }
    return carried;
  });
}

/** Exact totals have several forms in memory and one in bytes. */
function encodedValue(part: AnyPart, value: unknown): Uint8Array {
  const writer = new ByteWriter();
  part.encodeValue(writer, value);
  return writer.finish();
}
