/**
 * Examples that other systems have published: their data, their figures, and what our rule makes of them. `rule` is our rule in words
 * (docs/definitions.md). Where the two answers differ on purpose, `differs` says what of it is followed and `ours` is our answer; every
 * other published answer is ours as well. Each is asked of testFeature, of both modes of the training sweep, and of the oracle.
 */
import { describe, expect, test } from 'vitest';
import type { Aggregation } from '../../core/builder.js';
import type { FeatureType, Window } from '../../core/definition.js';
import type { FeatureValue } from '../../core/event.js';
import {
  aggregationView,
  approxDistinct,
  batch,
  count,
  type Duration,
  decayedCount,
  decayedSum,
  distinct,
  entity,
  file,
  first,
  firstN,
  hopping,
  last,
  lastN,
  lifetime,
  max,
  mean,
  min,
  percentile,
  session,
  sliding,
  source,
  stddev,
  streaming,
  sum,
  timeSince,
  tumbling,
} from '../../core/index.js';
import { ask } from './ask.js';

const owner = 'test';
const user = entity('user', { description: 'x', owner, keys: { user_id: 'string' } });
const events = source('events', {
  description: 'x',
  owner,
  input: file('csv'),
  columns: {
    user_id: 'string',
    at: 'timestamp',
    known_at: 'timestamp?',
    x: 'float64?',
    n: 'int64?',
    text: 'string?',
  },
  eventTime: 'at',
  arrival: 'known_at',
});
const [x, n, text] = [events.col('x'), events.col('n'), events.col('text')];

/** Seconds of a day, as systems that count from 0 are read here. */
const s = (seconds: number): string =>
  new Date(Date.UTC(2020, 0, 1) + Math.round(seconds * 1000)).toISOString();

type Columns = Partial<Record<'x' | 'n', number | null>> & { text?: string | null; known_at?: string };
type Answers = ReadonlyArray<readonly [at: string, value: FeatureValue]>;

interface Example {
  what: string;
  rule: string;
  of: Aggregation<FeatureType, 'at' | 'known_at' | 'n' | 'text' | 'user_id' | 'x'>;
  over: Window;
  rows: ReadonlyArray<readonly [at: string, columns: Columns]>;
  says: Answers;
  ours?: Answers;
  differs?: string;
  /** The label is read one millisecond before. */
  strict?: true;
  ttl?: Duration;
  every?: Duration;
}

function answersOf(
  { of, over, rows, strict, ttl, every }: Example,
  times: readonly string[],
): FeatureValue[] {
  const view = aggregationView('user_view', {
    description: 'x',
    owner,
    entity: user,
    source: events,
    mode: every ? batch(every) : streaming(),
    ...(ttl && { ttl }),
    features: { user_value: { description: 'x', aggregation: of, window: over, nameException: 'x' } },
  });
  const table = rows.map(([at, columns]) => ({ user_id: 'u', at, ...columns }));
  return ask(view, events, table, times, strict);
}

function examples(system: string, url: string, list: readonly Example[]): void {
  describe(`${system} (${url})`, () => {
    test.each(list)('$what', (example) => {
      const { says, ours = says, differs } = example;
      const told = answersOf(example, ours.map(([at]) => at)); // biome-ignore format: short
      expect(told).toEqual(ours.map(([, value]) => value));
      expect(differs === undefined, 'what differs says why').toBe(
        JSON.stringify(says) === JSON.stringify(ours),
      );
    });
  });
}

const bids = [
  ['2020-04-15T08:05:00Z', { n: 4 }],
  ['2020-04-15T08:07:00Z', { n: 2 }],
  ['2020-04-15T08:09:00Z', { n: 5 }],
  ['2020-04-15T08:11:00Z', { n: 3 }],
  ['2020-04-15T08:13:00Z', { n: 1 }],
  ['2020-04-15T08:17:00Z', { n: 6 }],
] as const;
const HOPPING =
  'a hopping window has both edges on the hop, the end inside: (floor_hop(t) - length, floor_hop(t)]';
const SESSIONS =
  'two events belong together when the second is at most the gap after the first; from the last + gap on, none';
const RUNNING =
  'a tumbling window is the running one: what happened since its last boundary, which belongs to it';
const SLIDING = 'an event at s counts at t when s <= t < ceil_hop(s + length)';
const NEWEST = 'last is the value of the newest event at or before t';

examples('Flink SQL', 'https://github.com/apache/flink/blob/master/docs/content/docs/dev/table/sql/queries/window-tvf.md', [
  {
    what: 'TUMBLE of 10 minutes, summed, at window_time', rule: RUNNING, of: sum(n), over: tumbling('10min'), rows: bids,
    says: [['2020-04-15T08:09:59.999Z', 11], ['2020-04-15T08:19:59.999Z', 10]],
  },
  {
    what: 'CUMULATE to 10 minutes in steps of 2 is the running window', rule: RUNNING, of: sum(n), over: tumbling('10min'), rows: bids,
    says: [
      ['2020-04-15T08:05:59.999Z', 4], ['2020-04-15T08:07:59.999Z', 6], ['2020-04-15T08:09:59.999Z', 11], ['2020-04-15T08:11:59.999Z', 3],
      ['2020-04-15T08:13:59.999Z', 4], ['2020-04-15T08:15:59.999Z', 4], ['2020-04-15T08:17:59.999Z', 10], ['2020-04-15T08:19:59.999Z', 10],
    ],
  },
  {
    what: 'HOP of 10 minutes every 5, where nothing lies on an edge', rule: HOPPING, of: sum(n), over: hopping('10min', '5min'), rows: bids,
    says: [['2020-04-15T08:10:00Z', 11], ['2020-04-15T08:20:00Z', 10], ['2020-04-15T08:25:00Z', 6]],
  },
  {
    what: 'HOP with a bid on its first edge', rule: HOPPING, of: sum(n), over: hopping('10min', '5min'), rows: bids,
    says: [['2020-04-15T08:15:00Z', 15]], ours: [['2020-04-15T08:15:00Z', 11]],
    differs: 'Hopping windows have both edges on the hop: ceil_hop(s) <= t < ceil_hop(s) + length, the end inside and the start not',
  },
  {
    what: 'TUMBLE with an offset of a minute', rule: RUNNING, of: sum(n), over: tumbling('10min'), rows: bids,
    says: [['2020-04-15T08:10:59.999Z', 11]], ours: [['2020-04-15T08:10:59.999Z', 0]],
    differs: 'Boundaries are aligned to 1970-01-01 UTC',
  },
]); // biome-ignore format: tables

const FLINK_TESTS =
  'https://github.com/apache/flink/blob/master/flink-runtime/src/test/java/org/apache/flink/streaming/runtime/operators/windowing/WindowOperatorTest.java';
examples('Flink, WindowOperatorTest', FLINK_TESTS, [
  {
    what: 'testSessionWindows: a gap of 3 s, key2', rule: SESSIONS, of: sum(n), over: session('3s'),
    rows: [[s(0), { n: 1 }], [s(1), { n: 2 }], [s(2.5), { n: 3 }], [s(5.501), { n: 4 }], [s(6), { n: 5 }], [s(6), { n: 5 }], [s(6.05), { n: 6 }], [s(15), { n: 10 }], [s(15), { n: 20 }]],
    says: [[s(5.499), 6], [s(9.049), 20], [s(17.999), 30]],
  },
  {
    what: 'testSessionWindows: a session is over when its gap is', rule: SESSIONS, of: count(), over: session('3s'),
    rows: [[s(0), {}], [s(1), {}], [s(2.5), {}]],
    says: [[s(5.499), 3], [s(5.5), 0]],
  },
  {
    what: 'testSessionWindowsWithCountTrigger: an event that comes late joins two sessions', rule: SESSIONS, of: sum(n), over: session('3s'),
    rows: [[s(0.01), { n: 1 }], [s(1), { n: 2 }], [s(2.5), { n: 3 }], [s(6), { n: 1 }], [s(6.5), { n: 2 }], [s(7), { n: 3 }], [s(4.5), { n: 10, known_at: s(7.5) }]],
    says: [[s(9.999), 22]],
  },
]); // biome-ignore format: tables
examples('Flink, SessionWindowing', 'https://github.com/apache/flink/blob/master/flink-examples/flink-examples-streaming/src/main/java/org/apache/flink/streaming/examples/windowing/SessionWindowing.java', [
  { what: 'key a, gap 3 ms: two sessions', rule: SESSIONS, of: sum(n), over: session('3ms'), rows: [[s(0.001), { n: 1 }], [s(0.01), { n: 1 }]], says: [[s(0.003), 1], [s(0.012), 1]] },
  { what: 'key b: one of three', rule: SESSIONS, of: sum(n), over: session('3ms'), rows: [[s(0.001), { n: 1 }], [s(0.003), { n: 1 }], [s(0.005), { n: 1 }]], says: [[s(0.007), 3]] },
  { what: 'key c: two', rule: SESSIONS, of: sum(n), over: session('3ms'), rows: [[s(0.006), { n: 1 }], [s(0.011), { n: 1 }]], says: [[s(0.008), 1], [s(0.013), 1]] },
]); // biome-ignore format: tables

const tenSeconds = Array.from({ length: 10 }, (_, i) => [s(i), { n: i }] as const);
const at = (...seconds: number[]) => seconds.map((second) => [s(second), {}] as const);
examples('Beam, window_test.py', 'https://github.com/apache/beam/blob/master/sdks/python/apache_beam/transforms/window_test.py', [
  { what: 'test_timestamped_with_combiners: fixed windows of 5, summed', rule: RUNNING, of: sum(n), over: tumbling('5s'), rows: tenSeconds, says: [[s(4.999), 10], [s(9.999), 35]] },
  { what: 'test_timestamped_with_combiners: their means', rule: RUNNING, of: mean(n), over: tumbling('5s'), rows: tenSeconds, says: [[s(4.999), 2], [s(9.999), 7]] },
  { what: 'test_fixed_windows: 5 and 9 are in [5, 10), 10 in [10, 15)', rule: RUNNING, of: count(), over: tumbling('5s'), rows: at(5, 9, 10), says: [[s(9.999), 2], [s(14.999), 1]] },
  { what: 'test_sliding_windows: 4 every 2, [0, 4)', rule: HOPPING, of: count(), over: hopping('4s', '2s'), rows: at(1, 2, 3), says: [[s(4), 3]] },
  {
    what: 'test_sliding_windows: [-2, 2) and [2, 6), with an element on the edge', rule: HOPPING, of: count(), over: hopping('4s', '2s'), rows: at(1, 2, 3),
    says: [[s(2), 1], [s(6), 2]], ours: [[s(2), 2], [s(6), 1]],
    differs: 'Hopping windows have both edges on the hop: the end inside and the start not',
  },
  { what: 'test_sessions: [1, 13)', rule: SESSIONS, of: count(), over: session('10s'), rows: at(1, 2, 3), says: [[s(12.999), 3], [s(13), 0]] },
  { what: 'test_sessions: [20, 45), in the order they came', rule: SESSIONS, of: count(), over: session('10s'), rows: at(1, 2, 3, 20, 35, 27), says: [[s(44.999), 3], [s(45), 0]] },
  { what: 'test_sessions_merging: 2 and 9 are [2, 19)', rule: SESSIONS, of: count(), over: session('10s'), rows: at(9, 2), says: [[s(18.999), 2], [s(19), 0]] },
  { what: 'test_sessions_merging: 2, 15 and 10 are [2, 25)', rule: SESSIONS, of: count(), over: session('10s'), rows: at(2, 15, 10), says: [[s(24.999), 3], [s(25), 0]] },
  {
    what: 'test_sessions_merging: 9 and 19, exactly the gap apart', rule: SESSIONS, of: count(), over: session('10s'), rows: at(2, 9, 19),
    says: [[s(19), 1]], ours: [[s(19), 3]],
    differs: 'an event prolongs all of the session, also one exactly a gap later',
  },
]); // biome-ignore format: tables
examples('Beam, snippets_test.py', 'https://github.com/apache/beam/pull/2027', [
  { what: 'test_setting_fixed_windows: 60 s, summed', rule: RUNNING, of: sum(n), over: tumbling('1min'), rows: [22, 33, 55, 100, 115, 120].map((each) => [s(each), { n: each }] as const), says: [[s(59.999), 110], [s(119.999), 215], [s(179.999), 120]] },
]); // biome-ignore format: tables

examples('Kafka Streams, SessionWindows', 'https://kafka.apache.org/37/javadoc/org/apache/kafka/streams/kstream/SessionWindows.html', [
  { what: 'a gap of 5: two sessions', rule: SESSIONS, of: sum(n), over: session('5s'), rows: [[s(10), { n: 1 }], [s(12), { n: 2 }], [s(20), { n: 3 }]], says: [[s(12), 3], [s(20), 3]] },
  { what: 'a record of 16 merges them when it comes', rule: SESSIONS, of: sum(n), over: session('5s'), rows: [[s(10), { n: 1 }], [s(12), { n: 2 }], [s(20), { n: 3 }], [s(16), { n: 4, known_at: s(21) }]], says: [[s(20), 3], [s(21), 10]] },
]); // biome-ignore format: tables
examples('Kafka Streams, SlidingWindows', 'https://kafka.apache.org/37/javadoc/org/apache/kafka/streams/kstream/SlidingWindows.html', [
  { what: 'a time difference of 5 s: the five windows', rule: SLIDING, of: lastN(n, 3), over: sliding('5s', { hop: '1ms' }), rows: [[s(8), { n: 1 }], [s(9.2), { n: 2 }], [s(12.4), { n: 3 }]], says: [[s(8), [1]], [s(9.2), [2, 1]], [s(12.4), [3, 2, 1]], [s(13.001), [3, 2]], [s(14.201), [3]]] },
  {
    what: 'both ends belong to it', rule: SLIDING, of: lastN(n, 3), over: sliding('5s', { hop: '1ms' }), rows: [[s(8), { n: 1 }], [s(9.2), { n: 2 }], [s(12.4), { n: 3 }]],
    says: [[s(13), [3, 2, 1]]], ours: [[s(13), [3, 2]]],
    differs: 's <= t < ceil_hop(s + w): it leaves at the first hop boundary at or after s + w',
  },
]); // biome-ignore format: tables

const nine = (second: number): string => `2013-01-01T09:00:0${second}Z`;
const ones = [1, 2, 3, 4, 6].map((second) => [nine(second), { n: 1 }] as const);
const PANDAS = 'https://github.com/pandas-dev/pandas/blob/main/doc/source/user_guide/window.rst';
examples('pandas, Windowing operations', PANDAS, [
  { what: "rolling('2s', closed='right')", rule: SLIDING, of: sum(n), over: sliding('2s', { hop: '1ms' }), rows: ones, says: [[nine(1), 1], [nine(2), 2], [nine(3), 2], [nine(4), 2], [nine(6), 1]] },
  { what: "rolling('2s', closed='left') is the strict label", rule: `${SLIDING}; strict: one millisecond before`, strict: true, of: sum(n), over: sliding('2s', { hop: '1ms' }), rows: ones, says: [[nine(2), 1], [nine(3), 2], [nine(4), 2], [nine(6), 1]] },
  {
    what: "rolling('2s', closed='both')", rule: SLIDING, of: sum(n), over: sliding('2s', { hop: '1ms' }), rows: ones,
    says: [[nine(3), 3], [nine(4), 3], [nine(6), 2]], ours: [[nine(3), 2], [nine(4), 2], [nine(6), 1]],
    differs: 's <= t < ceil_hop(s + w): the tail is open',
  },
  {
    what: "rolling('2s', closed='neither')", rule: `${SLIDING}; strict: one millisecond before`, strict: true, of: sum(n), over: sliding('2s', { hop: '1ms' }), rows: ones,
    says: [[nine(3), 1], [nine(4), 1]], ours: [[nine(3), 2], [nine(4), 2]],
    differs: '--strict is the value one millisecond before, and nothing else',
  },
  {
    what: "rolling('2D')", rule: SLIDING, of: sum(n), over: sliding('2d', { hop: '1ms' }), rows: ['01', '03', '04', '05', '29'].map((day, i) => [`2020-01-${day}T00:00:00Z`, { n: i }] as const),
    says: [['2020-01-01T00:00:00Z', 0], ['2020-01-03T00:00:00Z', 1], ['2020-01-04T00:00:00Z', 3], ['2020-01-05T00:00:00Z', 5], ['2020-01-29T00:00:00Z', 4]],
  },
]); // biome-ignore format: tables
const withNull = [[nine(0), { x: 0 }], [nine(2), { x: 1 }], [nine(3), { x: 2 }], [nine(5), { x: null }], [nine(6), { x: 4 }]] as const; // biome-ignore format: a table
examples('pandas, DataFrame.rolling', 'https://pandas.pydata.org/docs/reference/api/pandas.DataFrame.rolling.html', [
  { what: "rolling('2s').sum() with a NaN, where a value is left", rule: `${SLIDING}; nulls are skipped`, of: sum(x), over: sliding('2s', { hop: '1ms' }), rows: withNull, says: [[nine(0), 0], [nine(2), 1], [nine(3), 3], [nine(6), 4]] },
  {
    what: "rolling('2s').sum() of a NaN alone", rule: 'a sum of nothing is 0', of: sum(x), over: sliding('2s', { hop: '1ms' }), rows: withNull,
    says: [[nine(5), null]], ours: [[nine(5), 0]],
    differs: 'Known entity, empty window: count, distinct, sum 0',
  },
  { what: 'the mean of a NaN alone', rule: 'a mean of nothing is null', of: mean(x), over: sliding('2s', { hop: '1ms' }), rows: withNull, says: [[nine(5), null]] },
]); // biome-ignore format: tables
const minutes = Array.from({ length: 9 }, (_, i) => [`2000-01-01T00:0${i}:00Z`, { n: i }] as const);
examples('pandas, Series.resample', 'https://pandas.pydata.org/docs/reference/api/pandas.Series.resample.html', [
  { what: "resample('3min').sum(), at the end of each bin", rule: RUNNING, of: sum(n), over: tumbling('3min'), rows: minutes, says: [['2000-01-01T00:02:59.999Z', 3], ['2000-01-01T00:05:59.999Z', 12], ['2000-01-01T00:08:59.999Z', 21]] },
  { what: "resample('3min', label='right', closed='right').sum()", rule: HOPPING, of: sum(n), over: hopping('3min', '3min'), rows: minutes, says: [['2000-01-01T00:00:00Z', 0], ['2000-01-01T00:03:00Z', 6], ['2000-01-01T00:06:00Z', 15], ['2000-01-01T00:09:00Z', 15]] },
]); // biome-ignore format: tables
const ms = (milli: number): string => `2016-05-25T13:30:00.0${String(milli).padStart(2, '0')}Z`;
const msft = [[ms(23), { x: 51.95 }], [ms(30), { x: 51.97 }], [ms(41), { x: 51.99 }], [ms(75), { x: 52.01 }]] as const; // biome-ignore format: a table
const goog = [
  [ms(23), { x: 720.5 }],
  [ms(48), { x: 720.5 }],
  [ms(72), { x: 720.5 }],
] as const;
const aapl = [[ms(49), { x: 97.99 }]] as const;
const TTL = 'older than the TTL (t - event timestamp > ttl) is no history; equal is inside';
examples('pandas, merge_asof', 'https://pandas.pydata.org/docs/reference/api/pandas.merge_asof.html', [
  { what: 'MSFT bids', rule: NEWEST, of: last(x), over: lifetime(), rows: msft, says: [[ms(23), 51.95], [ms(38), 51.97]] },
  { what: 'a GOOG bid at the very instant', rule: NEWEST, of: last(x), over: lifetime(), rows: goog, says: [[ms(48), 720.5]] },
  { what: 'no AAPL bid yet', rule: NEWEST, of: last(x), over: lifetime(), rows: aapl, says: [[ms(48), null]] },
  { what: 'MSFT, tolerance of 2 ms', rule: TTL, ttl: '2ms', of: last(x), over: lifetime(), rows: msft, says: [[ms(23), 51.95], [ms(38), null]] },
  { what: 'MSFT, tolerance of 10 ms, no exact matches', rule: `${TTL}; strict`, ttl: '10ms', strict: true, of: last(x), over: lifetime(), rows: msft, says: [[ms(23), null], [ms(38), 51.97]] },
  { what: 'GOOG, tolerance of 10 ms, no exact matches', rule: `${TTL}; strict`, ttl: '10ms', strict: true, of: last(x), over: lifetime(), rows: goog, says: [[ms(48), null]] },
]); // biome-ignore format: tables

const minute = (text: string): string => `2001-01-01T00:${text}Z`;
examples('DuckDB, AsOf joins', 'https://duckdb.org/docs/stable/guides/sql_features/asof_join', [
  { what: 'the price of each holding', rule: NEWEST, of: last(n), over: lifetime(), rows: [[minute('00:00'), { n: 1 }], [minute('01:00'), { n: 2 }], [minute('02:00'), { n: 3 }]], says: [['2000-12-31T23:59:30Z', null], [minute('00:30'), 1], [minute('01:30'), 2]] },
]); // biome-ignore format: tables
examples('DuckDB, test_asof_join.test', 'https://github.com/duckdb/duckdb/blob/main/test/sql/join/asof/test_asof_join.test', [
  { what: 'before the first, on each, between, after the last', rule: NEWEST, of: last(n), over: lifetime(), rows: [[s(1), { n: 0 }], [s(3), { n: 1 }], [s(6), { n: 2 }], [s(8), { n: 3 }]], says: [null, 0, 0, 1, 1, 1, 2, 2, 3, 3].map((value, i) => [s(i), value] as const) },
]); // biome-ignore format: tables
const hundred = Array.from({ length: 100 }, (_, i) => [s(i), { n: (i * 37) % 100 }] as const);
const QUANTILE =
  'of n values in ascending order that of rank floor(q · (n - 1)); exact for whole numbers up to 128';
examples('DuckDB, test_quantile_disc.test', 'https://github.com/duckdb/duckdb/blob/main/test/sql/aggregate/aggregates/test_quantile_disc.test', [
  { what: 'of 0 to 99: the 10th percentile', rule: QUANTILE, of: percentile(n, 0.1), over: lifetime(), rows: hundred, says: [[s(99), 9]] },
  { what: 'the median', rule: QUANTILE, of: percentile(n, 0.5), over: lifetime(), rows: hundred, says: [[s(99), 49]] },
  { what: 'the 90th', rule: QUANTILE, of: percentile(n, 0.9), over: lifetime(), rows: hundred, says: [[s(99), 89]] },
  { what: 'of one value', rule: QUANTILE, of: percentile(n, 0.5), over: lifetime(), rows: [[s(0), { n: 42 }]], says: [[s(1), 42]] },
  { what: 'of none', rule: 'of nothing: null', of: percentile(n, 0.1), over: sliding('1s', { hop: '1ms' }), rows: [[s(0), { n: 42 }]], says: [[s(5), null]] },
]); // biome-ignore format: tables

const noon = (text: string): string => `2010-01-01T${text}Z`;
const visits = [
  [noon('11:45:00'), {}],
  [noon('11:55:15'), {}],
  [noon('11:57:30'), {}],
] as const;
examples('Featuretools, TimeSinceLast', 'https://docs.featuretools.com/en/latest/generated/featuretools.primitives.TimeSinceLast.html', [
  { what: 'seconds since the last', rule: 'whole units from the newest event to t', of: timeSince('last', '1s'), over: lifetime(), rows: visits, says: [[noon('12:00:00'), 150]] },
  {
    what: 'minutes since the last', rule: 'whole units from the newest event to t', of: timeSince('last', '1min'), over: lifetime(), rows: visits,
    says: [[noon('12:00:00'), 2.5]], ours: [[noon('12:00:00'), 2]],
    differs: 'timeSince gives whole units: int64, floor',
  },
]); // biome-ignore format: tables
examples('Featuretools, TimeSinceFirst', 'https://docs.featuretools.com/en/v0.18.1/generated/featuretools.primitives.TimeSinceFirst.html', [
  { what: 'seconds since the first', rule: 'whole units from the oldest event to t', of: timeSince('first', '1s'), over: lifetime(), rows: visits, says: [[noon('12:00:00'), 900]] },
  { what: 'minutes since the first', rule: 'whole units from the oldest event to t', of: timeSince('first', '1min'), over: lifetime(), rows: visits, says: [[noon('12:00:00'), 15]] },
]); // biome-ignore format: tables
const nans = [5, null, null, null, null, 10].map((value, i) => [s(i), { x: value }] as const);
examples('Featuretools, test_agg_feats.py', 'https://github.com/alteryx/featuretools/blob/main/featuretools/tests/primitive_tests/test_agg_feats.py', [
  { what: 'a mean skips what is missing', rule: 'nulls are skipped everywhere', of: mean(x), over: lifetime(), rows: nans, says: [[s(5), 7.5]] },
  { what: 'a mean of nothing but that', rule: 'a mean of nothing is null', of: mean(x), over: lifetime(), rows: nans.slice(1, 5), says: [[s(5), null]] },
  { what: 'skipna=False', rule: 'nulls are skipped everywhere', of: mean(x), over: lifetime(), rows: nans, says: [[s(5), null]], ours: [[s(5), 7.5]], differs: 'Nulls are skipped everywhere' },
]); // biome-ignore format: tables
const transactions = [['00:00:00', 127.64], ['00:01:05', 109.48], ['00:02:10', 95.06], ['00:03:15', 78.92], ['00:04:20', 31.54]].map(([time, amount]) => [`2014-01-01T${time}Z`, { x: amount as number }] as const); // biome-ignore format: a table
examples('Featuretools, Handling time', 'https://featuretools.alteryx.com/en/stable/getting_started/handling_time.html', [
  { what: 'a row at the cutoff time is used', rule: 's <= t', of: count(), over: lifetime(), rows: transactions, says: [['2014-01-01T00:02:10Z', 3]] },
  { what: 'include_cutoff_time=False: it is not', rule: 'strict: one millisecond before', strict: true, of: count(), over: lifetime(), rows: transactions, says: [['2014-01-01T00:02:10Z', 2]] },
]); // biome-ignore format: tables

const titles = ['A', 'B', 'D', 'A', 'B'].map((title, i) => [s((i + 1) / 1000), { text: title }] as const);
examples('Chronon, RowAggregatorTest', 'https://github.com/airbnb/chronon/blob/main/aggregator/src/test/scala/ai/chronon/aggregator/test/RowAggregatorTest.scala', [
  { what: 'LAST', rule: NEWEST, of: last(text), over: lifetime(), rows: titles, says: [[s(1), 'B']] },
  { what: 'LAST_K, k = 2', rule: 'newest first', of: lastN(text, 2), over: lifetime(), rows: titles, says: [[s(1), ['B', 'A']]] },
  { what: 'FIRST', rule: 'the oldest', of: first(text), over: lifetime(), rows: titles, says: [[s(1), 'A']] },
  { what: 'FIRST_K, k = 2', rule: 'oldest first', of: firstN(text, 2), over: lifetime(), rows: titles, says: [[s(1), ['A', 'B']]] },
  { what: 'UNIQUE_COUNT', rule: 'exact below its limit', of: distinct(text, { limit: 100 }), over: lifetime(), rows: titles, says: [[s(1), 3]] },
  { what: 'APPROX_UNIQUE_COUNT', rule: 'an estimate, exact for so few', of: approxDistinct(text), over: lifetime(), rows: titles, says: [[s(1), 3]] },
]); // biome-ignore format: tables
const clock = (text: string): string => `2026-03-01T${text}Z`;
const CHRONON = 'https://github.com/airbnb/chronon/blob/main/docs/source/authoring_features/GroupBy.md';
examples('Chronon, GroupBy: windowing and accuracy', CHRONON, [
  { what: 'a sawtooth window of 1 h asked at 14:27 reaches from 13:20 to 14:27', rule: SLIDING, of: count(), over: sliding('1h', { hop: '10min' }), rows: [[clock('13:19:59'), {}], [clock('13:20:01'), {}], [clock('14:26:59'), {}]], says: [[clock('14:27:00'), 2]] },
  { what: 'a hopping one reaches from 13:20 to 14:20', rule: HOPPING, of: count(), over: hopping('1h', '10min'), rows: [[clock('13:19:59'), {}], [clock('13:20:01'), {}], [clock('14:19:59'), {}], [clock('14:26:59'), {}]], says: [[clock('14:27:00'), 2]] },
  {
    what: 'an event at 13:20 exactly', rule: SLIDING, of: count(), over: sliding('1h', { hop: '10min' }), rows: [[clock('13:20:00'), {}]],
    says: [[clock('14:27:00'), 1]], ours: [[clock('14:27:00'), 0]],
    differs: 'it leaves at the first hop boundary at or after s + w: one on the hop counts for the window, exactly',
  },
  { what: 'TEMPORAL accuracy: what happened until now', rule: 'streaming: every event at or before t', of: count(), over: lifetime(), rows: [[clock('10:00:00'), {}], [clock('13:00:00'), {}]], says: [[clock('12:00:00'), 1], [clock('14:00:00'), 2]] },
  { what: 'SNAPSHOT accuracy: as of midnight', rule: 'batch: value(t) = F(last tick <= t)', every: '1d', of: count(), over: lifetime(), rows: [['2026-02-28T10:00:00Z', {}], [clock('13:00:00'), {}]], says: [[clock('14:00:00'), 1], ['2026-03-02T00:00:00Z', 2]] },
]); // biome-ignore format: tables
examples('Chronon, NaiveAggregator', 'https://github.com/airbnb/chronon/blob/main/aggregator/src/test/scala/ai/chronon/aggregator/test/NaiveAggregator.scala', [
  { what: 'an event at the query time is not of it: the strict label', rule: 'strict: one millisecond before', strict: true, of: count(), over: sliding('1h', { hop: '10min' }), rows: [[clock('14:27:00'), {}]], says: [[clock('14:27:00'), 0]] },
  { what: 'an event at the query time, not strict', rule: SLIDING, of: count(), over: sliding('1h', { hop: '10min' }), rows: [[clock('14:27:00'), {}]], says: [[clock('14:27:00'), 0]], ours: [[clock('14:27:00'), 1]], differs: 'An event at the very instant of the label counts, as in serving' },
]); // biome-ignore format: tables

const days = [
  '2020-01-01T13:45:48Z',
  '2020-01-01T16:42:13Z',
  '2020-01-01T16:45:09Z',
  '2020-01-02T18:12:48Z',
  '2020-01-03T19:45:32Z',
  '2020-01-08T23:16:43Z',
];
const daily = [3, 7, 5, 9, 2, 1].map((value, i) => [days[i]!, { n: value }] as const);
const each = (...values: number[]): Answers => values.map((value, i) => [days[i]!, value] as const);
const hourly = Array.from({ length: 5 }, (_, i) => [`2001-01-01T0${i}:00:00Z`, { n: i }] as const);
examples('Polars, DataFrame.rolling', 'https://docs.pola.rs/api/python/stable/reference/dataframe/api/polars.DataFrame.rolling.html', [
  { what: "period='2d': sum", rule: SLIDING, of: sum(n), over: sliding('2d', { hop: '1ms' }), rows: daily, says: each(3, 10, 15, 24, 11, 1) },
  { what: "period='2d': min", rule: SLIDING, of: min(n), over: sliding('2d', { hop: '1ms' }), rows: daily, says: each(3, 3, 3, 3, 2, 1) },
  { what: "period='2d': max", rule: SLIDING, of: max(n), over: sliding('2d', { hop: '1ms' }), rows: daily, says: each(3, 7, 7, 9, 9, 1) },
]); // biome-ignore format: tables
examples('Polars, rolling_min', 'https://github.com/pola-rs/polars/commit/414e5f66c827d0cdceda531c0153a10b2d6a2259', [
  { what: "2h, closed='right'", rule: SLIDING, of: min(n), over: sliding('2h', { hop: '1ms' }), rows: hourly, says: [0, 0, 1, 2, 3].map((value, i) => [hourly[i]![0], value] as const) },
  { what: "2h, closed='left' is the strict label", rule: 'strict: one millisecond before', strict: true, of: min(n), over: sliding('2h', { hop: '1ms' }), rows: hourly, says: [null, 0, 0, 1, 2].map((value, i) => [hourly[i]![0], value] as const) },
]); // biome-ignore format: tables

examples('QuestDB, ASOF JOIN', 'https://www.mintlify.com/questdb/questdb/sql/joins', [
  { what: 'the price of each trade', rule: NEWEST, of: last(x), over: lifetime(), rows: [['2023-12-28T10:00:00Z', { x: 150 }], ['2023-12-28T10:45:00Z', { x: 151 }]], says: [['2023-12-28T10:30:00Z', 150], ['2023-12-28T11:00:00Z', 151]] },
]); // biome-ignore format: tables

const AZURE = 'https://learn.microsoft.com/stream-analytics-query/hopping-window-azure-stream-analytics';
examples('Azure Stream Analytics', AZURE, [
  { what: 'a hopping window from 12:05 to 13:05 holds 13:05, not 12:05', rule: HOPPING, of: lastN(n, 5), over: hopping('1h', '5min'), rows: [[clock('12:05:00'), { n: 1 }], [clock('12:05:01'), { n: 2 }], [clock('13:05:00'), { n: 3 }]], says: [[clock('13:05:00'), [3, 2]]] },
  { what: 'a tumbling window from 12:00 to 13:00 holds 13:00, not 12:00: hopping by its own length', rule: HOPPING, of: lastN(n, 5), over: hopping('1h', '1h'), rows: [[clock('12:00:00'), { n: 1 }], [clock('12:30:00'), { n: 2 }], [clock('13:00:00'), { n: 3 }]], says: [[clock('13:00:00'), [3, 2]]] },
  {
    what: 'the same with ours that is called tumbling', rule: RUNNING, of: lastN(n, 5), over: tumbling('1h'), rows: [[clock('12:00:00'), { n: 1 }], [clock('12:30:00'), { n: 2 }], [clock('13:00:00'), { n: 3 }]],
    says: [[clock('13:00:00'), [3, 2]]], ours: [[clock('13:00:00'), [3]]],
    differs: 'Tumbling means the running window, empty again at its boundary, and an event exactly there belongs to the new one',
  },
]); // biome-ignore format: tables

test('pandas, ewm(halflife="4 days", times): a decayed sum over a decayed count (https://pandas.pydata.org/docs/reference/api/pandas.DataFrame.ewm.html)', () => {
  const times = ['01', '03', '10', '15', '17'].map((day) => `2020-01-${day}T00:00:00Z`);
  const rows = [0, 1, 2, null, 4].map((value, i) => [times[i]!, { x: value }] as const);
  const over = lifetime();
  const totals = answersOf(
    { what: '', rule: '', of: decayedSum(x, { halfLife: '4d' }), over, rows, says: [] },
    times,
  );
  const present = rows.filter(([, columns]) => columns.x !== null);
  const weights = answersOf(
    { what: '', rule: '', of: decayedCount({ halfLife: '4d' }), over, rows: present, says: [] },
    times,
  );
  const published = [0, 0.585786, 1.523889, 1.523889, 3.233686];
  totals.forEach((total, i) => {
    expect((total as number) / (weights[i] as number)).toBeCloseTo(published[i]!, 6);
  });
});

test('NIST, NumAcc1 to NumAcc4: the standard deviation (https://www.itl.nist.gov/div898/strd/univ/homepage.html)', () => {
  const alternating = (middle: number, low: number, high: number): number[] => [
    middle, ...Array.from({ length: 500 }, () => [low, high]).flat(),
  ]; // biome-ignore format: short
  const certified: Array<[number[], number]> = [
    [[10_000_001, 10_000_003, 10_000_002], 1],
    [alternating(1.2, 1.1, 1.3), 0.1],
    [alternating(1_000_000.2, 1_000_000.1, 1_000_000.3), 0.1],
    [alternating(10_000_000.2, 10_000_000.1, 10_000_000.3), 0.1],
  ];
  for (const [values, deviation] of certified) {
    const rows = values.map((value, i) => [s(i), { x: value }] as const);
    const [told] = answersOf({ what: '', rule: '', of: stddev(x), over: lifetime(), rows, says: [] }, [
      s(2000),
    ]);
    // what is off is that 10_000_000.1 is no double: the deviation of the doubles themselves is exact
    expect(told as number).toBeCloseTo(deviation, 8);
  }
});
