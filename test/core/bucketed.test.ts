/** Maps by key, case by case: said alike by state, record, snapshot and oracle. */
import { describe, expect, test } from 'vitest';
import { valueEncoder } from '../../core/codec/json.js';
import { compileView } from '../../core/compile.js';
import type { Aggregation, AggregationView, BucketAggregation, Window } from '../../core/definition.js';
import type { Event, FeatureValue, Value } from '../../core/event.js';
import { MAX_INT64 } from '../../core/int64.js';
import { encodeRecord, readRecord, recordSteps } from '../../core/record.js';
import { createState, decodeState, encodeState, fold, readState } from '../../core/state.js';
import { HOUR, MINUTE } from '../../core/time.js';
import { answer } from '../../oracle/oracle.js';
import { source } from './generate.js';

const HOURLY: Window = { type: 'sliding', ms: HOUR, hopMs: MINUTE };

function viewOf(aggregation: Aggregation, window: Window): AggregationView {
  const feature = { name: 'value', description: '-', type: 'int64' as const, coldStart: null };
  return {
    kind: 'aggregation',
    name: 'view',
    description: '-',
    owner: '-',
    tags: [],
    entity: 'user',
    ttlMs: null,
    freshness: { tier: 'realtime', expectedEveryMs: 1 },
    source: source.name,
    key: ['user_id'],
    where: null,
    mode: { type: 'streaming', rowsEveryMs: HOUR },
    minAgeMs: 0,
    minEvents: 0,
    features: [{ ...feature, nameException: null, where: null, window, aggregation }],
  };
}

/** Minute, item and amount of each. */
type Given = ReadonlyArray<readonly [minute: number, item: Value, amount: Value]>;

const eventsOf = (given: Given): Event[] =>
  given.map(([minute, item, amount], index) => ({
    timestamp: minute * MINUTE,
    arrivedAt: minute * MINUTE,
    sequence: 1,
    order: 0,
    id: `e${index}`,
    values: [amount, minute * MINUTE, item, 'a', null, 'u'],
  }));

/** The value at a minute after the newest event, whatever the order of folding. */
function valueAt(aggregation: Aggregation, given: Given, minute: number, window = HOURLY): FeatureValue {
  const view = viewOf(aggregation, window);
  const compiled = compileView(view, source);
  const events = eventsOf(given);
  const at = minute * MINUTE;
  const truth = answer(view, source, events, { type: 'record', sequence: 1, at }).values.value!;
  for (const list of [events, [...events].reverse()]) {
    const state = createState(compiled);
    for (const event of list) fold(compiled, state, event);
    const copy = decodeState(compiled, encodeState(compiled, state));
    for (const reading of [
      readRecord(compiled, encodeRecord(compiled, state), at),
      readState(compiled, state, at)!,
      readState(compiled, copy, at)!,
    ])
      expect(reading!.values[0]).toEqual(truth);
  }
  return truth;
}

function bucketed(
  aggregation: BucketAggregation,
  limit: number,
  by = 'item',
): Extract<Aggregation, { op: 'bucketed' }> {
  return { op: 'bucketed', by: { col: by }, aggregation, limit };
}
const counts = (limit: number): Aggregation => bucketed({ op: 'count' }, limit);
const sums = (limit: number): Aggregation => bucketed({ op: 'sum', value: { col: 'amount' } }, limit);

const BASKET: Given = [
  [0, 'x', 5],
  [1, 'y', 7],
  [2, 'x', -2],
  [3, 'z', 1],
];

// biome-ignore format: a table, one case a line
test.each<{ why: string; of: Aggregation; given: Given; at: number; gives: FeatureValue }>([
  { why: 'each key has its own', of: sums(9), given: BASKET, at: 3, gives: { x: 3, y: 7, z: 1 } },
  { why: 'at the bound: the keys of most events, ties by key', of: sums(2), given: BASKET, at: 3, gives: { x: 3, y: 7 } },
  { why: 'two equal counts and room for one', of: counts(1), given: [[0, 'y', 1], [0, 'x', 1]], at: 0, gives: { x: 1 } },
  { why: 'ties in the order of code units: capitals first', of: counts(1), given: [[0, 'a', 1], [0, 'Z', 1]], at: 0, gives: { Z: 1 } },
  { why: 'a key leaves with its last event', of: sums(9), given: BASKET, at: 61, gives: { x: -2, z: 1 } },
  { why: 'what was beyond the bound comes in when others have left', of: counts(2), given: BASKET, at: 61, gives: { x: 1, z: 1 } },
  { why: 'a key that left returns', of: counts(9), given: [[0, 'x', 1], [70, 'y', 1], [71, 'x', 1]], at: 71, gives: { x: 1, y: 1 } },
  { why: 'all have left', of: counts(9), given: BASKET, at: 63, gives: {} },
  { why: 'a null key is no key', of: counts(9), given: [[0, null, 1], [0, 'null', 1]], at: 0, gives: { null: 1 } },
  { why: 'a null value is no event of its key', of: sums(1), given: [[0, 'x', null], [1, 'x', null], [2, 'y', 4]], at: 2, gives: { y: 4 } },
  { why: 'nothing but null keys', of: counts(9), given: [[0, null, 1]], at: 0, gives: {} },
  { why: 'whole numbers are keys as decimal text', of: bucketed({ op: 'count' }, 9, 'amount'), given: [[0, 'x', 10], [0, 'x', -9], [0, 'x', 9], [0, 'x', 10]], at: 0, gives: { '-9': 1, '10': 2, '9': 1 } },
  { why: 'ties of whole numbers go by their text', of: bucketed({ op: 'count' }, 1, 'amount'), given: [[0, 'x', 9], [0, 'x', 10]], at: 0, gives: { '10': 1 } },
  { why: 'a sum beyond 2^53 is exact', of: sums(9), given: [[0, 'x', Number.MAX_SAFE_INTEGER], [1, 'x', Number.MAX_SAFE_INTEGER]], at: 1, gives: { x: 18014398509481982n } },
  { why: 'a key whose sum is beyond 64 bits is left out, and takes its place', of: sums(2), given: [[0, 'x', MAX_INT64], [1, 'x', 1], [2, 'y', 7], [2, 'z', 7]], at: 2, gives: { y: 7 } },
  { why: 'it is back once enough has left', of: sums(2), given: [[0, 'x', 1], [1, 'x', MAX_INT64], [2, 'y', 7]], at: 60, gives: { x: MAX_INT64, y: 7 } },
  { why: 'a key of 64 bits', of: bucketed({ op: 'max', value: { col: 'amount' } }, 9, 'amount'), given: [[0, 'x', MAX_INT64], [0, 'x', -3]], at: 0, gives: { '9223372036854775807': MAX_INT64, '-3': -3 } },
  { why: 'a mean', of: bucketed({ op: 'mean', value: { col: 'amount' } }, 9), given: BASKET, at: 3, gives: { x: 1.5, y: 7, z: 1 } },
  { why: 'the least', of: bucketed({ op: 'min', value: { col: 'amount' } }, 9), given: BASKET, at: 3, gives: { x: -2, y: 7, z: 1 } },
  { why: 'the greatest, and the next once it has left', of: bucketed({ op: 'max', value: { col: 'amount' } }, 9), given: BASKET, at: 60, gives: { x: -2, y: 7, z: 1 } },
  { why: 'the newest', of: bucketed({ op: 'last', value: { col: 'amount' } }, 9), given: BASKET, at: 3, gives: { x: -2, y: 7, z: 1 } },
  { why: 'the newest of text', of: bucketed({ op: 'last', value: { col: 'item' } }, 9, 'kind'), given: BASKET, at: 3, gives: { a: 'z' } },
  { why: 'the bound goes by events, not by what they sum to', of: sums(1), given: [[0, 'x', 1], [0, 'x', 1], [0, 'y', 99]], at: 0, gives: { x: 2 } },
])('$why', ({ of, given, at, gives }) => expect(valueAt(of, given, at)).toEqual(gives));

test('a name of the language is a key like any other', () => {
  const value = valueAt(counts(9), [[0, '__proto__', 1], [0, 'constructor', 1]], 0); // biome-ignore format: short
  expect(valueEncoder('map<string,int64>')(value)).toBe('{"__proto__":1,"constructor":1}');
});

test('a lifetime keeps every key, and answers no more than its limit', () => {
  const many: Given = Array.from({ length: 300 }, (_, index) => [index, `k${index % 100}`, index]);
  const value = valueAt(counts(3), [...many, [300, 'k42', 1]], 300, { type: 'lifetime' });
  expect(value).toEqual({ k42: 4, k0: 3, k1: 3 });
});

describe('steps', () => {
  const stepsOf = (aggregation: Aggregation, given: Given): number[] => {
    const compiled = compileView(viewOf(aggregation, HOURLY), source);
    const state = createState(compiled);
    for (const event of eventsOf(given)) fold(compiled, state, event);
    return recordSteps(compiled, encodeRecord(compiled, state)).map((at) => at / MINUTE);
  };
  test('where the answer changes, and nowhere else', () => {
    expect(stepsOf(counts(9), BASKET)).toEqual([60, 61, 62, 63]);
    expect(stepsOf(bucketed({ op: 'last', value: { col: 'amount' } }, 9), BASKET)).toEqual([61, 62, 63]);
    // y and z have as many events as x once its first has left; then the least keys are shown
    expect(stepsOf(counts(1), BASKET)).toEqual([60, 62, 63]);
  });
});
