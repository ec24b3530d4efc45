/** Sessions as a source: the tracker's laws, and each edge of a session said alike by record, sweep and oracle. */
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { ByteReader, ByteWriter } from '../../core/codec/bytes.js';
import { compileView } from '../../core/compile.js';
import type { AggregationFeature, AggregationView, Expression, Sessions } from '../../core/definition.js';
import type { Event, Value } from '../../core/event.js';
import { compareEvents } from '../../core/event.js';
import {
  aggregationView,
  define,
  entity,
  file,
  lifetime,
  mean,
  sliding,
  source as sourceOf,
  streaming,
  sum,
} from '../../core/index.js';
import { decodeHeader, encodeRecord, readRecord, recordSteps } from '../../core/record.js';
import type { SessionState } from '../../core/sessions.js';
import { sessionColumns, sessionTracker } from '../../core/sessions.js';
import type { State } from '../../core/state.js';
import {
  advance,
  createState,
  decodeState,
  encodeState,
  fold,
  readState,
  rebuild,
} from '../../core/state.js';
import { sweepLabels, sweepTicks } from '../../core/sweep.js';
import { testFeature } from '../../core/testing.js';
import { DAY, HOUR, MINUTE } from '../../core/time.js';
import { answer } from '../../oracle/oracle.js';
import { events, source } from './generate.js';

const GAP = 30 * MINUTE;
const col = (name: string): Expression => ({ col: name });
const sessions: Sessions = {
  gapMs: GAP,
  where: null,
  sums: [
    { name: 'amounts', value: col('amount') },
    { name: 'scores', value: col('score') },
  ],
};
// amount, at, item, kind, score, user_id
const eventAt = (timestamp: number, amount: Value = 1, score: Value = 0.1): Event => ({
  timestamp,
  arrivedAt: timestamp,
  sequence: 1,
  order: 0,
  id: `e${timestamp}`,
  values: [amount, timestamp, 'x', 'a', score, 'u'],
});

/** Events that are a gap apart, half a gap, or a millisecond less or more. */
const onTheGap = fc
  .array(fc.tuple(fc.integer({ min: -8, max: 8 }), fc.constantFrom(-1, 0, 0, 1)), { maxLength: 8 })
  .map((list) =>
    list.map(([halves, beside], index) => ({
      ...eventAt((halves * GAP) / 2 + beside),
      sequence: index,
      id: `e${index}`,
    })),
  );

describe('the tracker', () => {
  const tracker = sessionTracker(sessions, ['user_id'], source);
  const bytesOf = (state: SessionState): Uint8Array => {
    const writer = new ByteWriter();
    tracker.encode(writer, state);
    return writer.finish();
  };
  const copyOf = (state: SessionState): SessionState => tracker.decode(new ByteReader(bytesOf(state)));

  /** The session events of a list up to `now`, and the state then, read at `asOf` before. Null: an event could not be taken in. */
  function run(
    list: readonly Event[],
    now: number,
    asOf = Number.NEGATIVE_INFINITY,
  ): { told: Event[]; state: SessionState } | null {
    let state = tracker.create();
    const told: Event[] = [];
    for (const event of list) {
      asOf = Math.max(asOf, event.timestamp);
      if (!tracker.takesIn(state, event)) return null;
      told.push(...tracker.add(state, event, asOf));
      state = copyOf(state);
    }
    const last = tracker.close(state, now);
    return { told: [...told, ...(last ? [last] : [])].sort(compareEvents), state };
  }

  test('tells the sessions of the events, in any order in which it takes them in', () => {
    const columns = Object.keys(sessionColumns(sessions, ['user_id'], source.columns)).sort();
    expect(columns).toEqual([
      'amounts', 'duration_ms', 'ended_at', 'event_count', 'scores', 'started_at', 'user_id',
    ]); // biome-ignore format: a row
    fc.assert(
      fc.property(fc.oneof(events, onTheGap), fc.nat(), fc.nat(DAY), (list, seed, later) => {
        const ordered = [...list].sort(compareEvents);
        const now = Math.max(0, ...list.map(({ timestamp }) => timestamp)) + later;
        const straight = run(ordered, now);
        if (straight === null) throw new Error('in event order every event can be taken in');
        const cuts = ordered.map(
          ({ timestamp }, i) => i === 0 || timestamp - ordered[i - 1]!.timestamp > GAP,
        );
        const pieces = cuts.flatMap((cut, i) => {
          if (!cut) return [];
          const end = cuts.indexOf(true, i + 1);
          return [ordered.slice(i, end < 0 ? undefined : end)];
        });
        expect(
          straight.told.map(({ timestamp, values }) => [timestamp, values[1], values[3], values[5]]),
        ).toEqual(
          pieces
            .map((piece) => [piece[0]!.timestamp, piece.at(-1)!.timestamp, piece.length] as const)
            .filter(([, last]) => last + GAP <= now)
            .map(([first, last, count]) => [last + GAP, last - first, count, first]),
        );

        const shuffled = run(
          [...list].sort((a, b) => ((a.sequence * 31 + seed) % 17) - ((b.sequence * 31 + seed) % 17)),
          now,
          ordered[seed % list.length]?.timestamp,
        );
        if (shuffled === null) return;
        expect(shuffled.told).toEqual(straight.told);
        expect(bytesOf(shuffled.state)).toEqual(bytesOf(straight.state));
      }),
      { numRuns: 1000 },
    );
  });

  test.each<{ of: Event[]; amounts: Value; scores: Value; why: string }>([
    {
      of: [eventAt(0, 2, 0.1), eventAt(1, 3, 0.2)],
      amounts: 5,
      scores: 0.30000000000000004,
      why: 'exact, rounded once',
    },
    { of: [eventAt(0, null, null)], amounts: 0, scores: 0, why: 'of nothing: 0' },
    {
      of: [eventAt(0, Number.MAX_SAFE_INTEGER), eventAt(1, 1), eventAt(2, -1)],
      amounts: Number.MAX_SAFE_INTEGER,
      scores: 0.30000000000000004,
      why: 'back from beyond 2^53',
    },
    {
      of: [eventAt(0, Number.MAX_SAFE_INTEGER), eventAt(1, 1)],
      amounts: 2n ** 53n,
      scores: 0.2,
      why: 'beyond 2^53',
    },
    {
      of: [eventAt(0, 2n ** 63n - 1n), eventAt(1, 1)],
      amounts: null,
      scores: 0.2,
      why: 'beyond 64 bits: null',
    },
  ])('sums: $why', ({ of, amounts, scores }) => {
    const [event] = run(of, DAY)!.told;
    expect([event!.values[0], event!.values[4]]).toEqual([amounts, scores]);
    expect(event!.values[6]).toBe('u');
  });
});

// ---------------------------------------------------------------- views

const feature = (
  name: string,
  window: AggregationFeature['window'],
  aggregation: AggregationFeature['aggregation'],
): AggregationFeature => ({
  name,
  description: '-',
  type: 'int64',
  coldStart: -1,
  nameException: null,
  where: null,
  window,
  aggregation,
});
const view: AggregationView = {
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
  sessions,
  where: null,
  mode: { type: 'streaming', rowsEveryMs: HOUR },
  minAgeMs: 0,
  minEvents: 0,
  features: [
    feature('all', { type: 'lifetime' }, { op: 'count' }),
    feature(
      'mean_duration',
      { type: 'sliding', ms: HOUR, hopMs: MINUTE },
      { op: 'mean', value: col('duration_ms') },
    ),
    feature('events', { type: 'lifetime' }, { op: 'sum', value: col('event_count') }),
  ],
};
const compiled = compileView(view, source);

function stateOf(list: readonly Event[]): State {
  const state = createState(compiled);
  for (const event of list) fold(compiled, state, event);
  return state;
}

/** The features at a moment, after the events up to it: said alike by state, record, sweep and oracle. */
function valuesAt(timestamps: readonly number[], at: number): unknown[] {
  const list = timestamps.map((timestamp) => eventAt(timestamp));
  const known = list.filter(({ timestamp }) => timestamp <= at);
  const record = readRecord(compiled, encodeRecord(compiled, rebuild(compiled, known)), at);
  const [swept] = sweepLabels(compiled, list, [at], { mode: 'event-time', strict: false, published: [] });
  const question = { type: 'training', at, mode: 'event-time', strict: false, published: [] } as const;
  const truth = Object.values(answer(view, source, list, question).values);
  expect(record?.values).toEqual(truth);
  expect(swept!.values).toEqual(truth);
  expect(readState(compiled, rebuild(compiled, known), at)!.values).toEqual(truth);
  return truth;
}

test.each<{ events: number[]; at: number; values: unknown[]; why: string }>([
  { events: [0, MINUTE], at: MINUTE + GAP - 1, values: [0, null, 0], why: 'an open session does not count' },
  {
    events: [0, MINUTE],
    at: MINUTE + GAP,
    values: [1, MINUTE, 2],
    why: 'from last + gap it does, and no event came',
  },
  { events: [0, GAP], at: 2 * GAP - 1, values: [0, null, 0], why: 'an event exactly at last + gap joins' },
  { events: [0, GAP], at: 2 * GAP, values: [1, GAP, 2], why: 'it made the session longer' },
  { events: [0, GAP + 1], at: GAP + 1, values: [1, 0, 1], why: 'one millisecond later begins a new one' },
  { events: [0, GAP + 1], at: 2 * GAP + 1, values: [2, 0, 2], why: 'which is closed a gap after itself' },
  {
    events: [0],
    at: GAP + HOUR - 1,
    values: [1, 0, 1],
    why: 'in a window of 1 h until an hour after its end',
  },
  { events: [0], at: GAP + HOUR, values: [1, null, 1], why: 'then it leaves' },
  { events: [0, MINUTE], at: 366 * DAY, values: [1, null, 2], why: 'after a year of silence' },
  { events: [-2 * GAP, -GAP, 1], at: 2 * GAP - 1, values: [2, GAP / 2, 3], why: 'before 1970 too' },
  { events: [0, 0, 0], at: GAP, values: [1, 0, 3], why: 'several events at one instant' },
])('$why', ({ events, at, values }) => expect(valuesAt(events, at)).toEqual(values));

test('the header is of the archived events: an entity is known from its first one', () => {
  const bytes = encodeRecord(compiled, stateOf([eventAt(0), eventAt(MINUTE)]));
  expect(decodeHeader(bytes)).toMatchObject({
    asOf: MINUTE,
    eventTimestamp: MINUTE,
    firstEventTimestamp: 0,
    eventCount: 2,
  });
  expect(recordSteps(compiled, bytes)).toEqual([MINUTE + GAP, MINUTE + GAP + HOUR]);
});

const LATE = { sequence: 2, arrivedAt: 10 * DAY };
test.each<{ events: number[]; readAt?: number; late: number; count: number; why: string }>([
  { events: [0, 2 * GAP, 6 * GAP], late: GAP, count: 2, why: 'merges two closed sessions' },
  { events: [0, 2 * GAP], late: GAP, count: 1, why: 'joins a closed session to the open one' },
  { events: [0, 6 * GAP], late: GAP, count: 2, why: 'prolongs a closed session' },
  { events: [0, 6 * GAP], late: -GAP, count: 2, why: 'begins a closed session earlier' },
  {
    events: [0, 6 * GAP],
    late: -2 * GAP,
    count: 3,
    why: 'lies before a closed session, of which only the end is known',
  },
  { events: [0], readAt: GAP, late: GAP, count: 1, why: 'prolongs a session that the clock has closed' },
])('a late event that $why: the entity is rebuilt', ({ events, readAt, late, count }) => {
  expectAlike(events, readAt, late, { needsRebuild: true, count });
});

test.each<{ events: number[]; readAt?: number; late: number; count: number; why: string }>([
  { events: [0], readAt: HOUR, late: GAP + 1, count: 2, why: 'makes a session that is closed at once' },
  { events: [0, MINUTE], late: MINUTE / 2, count: 1, why: 'lies inside the open session' },
  { events: [0, 2 * GAP], late: 2 * GAP - MINUTE, count: 2, why: 'begins the open session earlier' },
  { events: [0, 5 * GAP], late: 2 * GAP, count: 3, why: 'is a session by itself, before the open one' },
  { events: [5 * GAP], late: 0, count: 2, why: 'is a session by itself, the first' },
])('a late event that $why is taken in', ({ events, readAt, late, count }) => {
  expectAlike(events, readAt, late, { needsRebuild: false, count });
});

/** Whichever way it was taken in: the bytes of all events in order, and the oracle's values. */
function expectAlike(
  timestamps: readonly number[],
  readAt: number | undefined,
  late: number,
  { needsRebuild, count }: { needsRebuild: boolean; count: number },
): void {
  const list = timestamps.map((timestamp) => eventAt(timestamp));
  const all = [...list, { ...eventAt(late), ...LATE }];
  const before = stateOf(list);
  if (readAt !== undefined) advance(compiled, before, readAt);
  let state = decodeState(compiled, encodeState(compiled, before));
  fold(compiled, state, all.at(-1)!);
  expect([state.needsRebuild, state.sequence]).toEqual([needsRebuild, 2]);
  const whole = rebuild(compiled, all);
  advance(compiled, whole, state.asOf);
  if (needsRebuild) state = whole;
  expect(encodeState(compiled, state)).toEqual(encodeState(compiled, whole));
  const at = 2 * DAY;
  const truth = answer(view, source, all, { type: 'record', at, sequence: 2 });
  expect(readRecord(compiled, encodeRecord(compiled, state), at)?.values).toEqual(
    Object.values(truth.values),
  );
  expect(truth.values.all).toBe(count);
}

test('as known then, a session is made of the events known then', () => {
  const list = [eventAt(0), { ...eventAt(GAP), ...LATE }];
  const labels = [GAP, 2 * GAP, LATE.arrivedAt];
  const options = { strict: false, published: [] };
  const events = (mode: 'known-then' | 'event-time') =>
    sweepLabels(compiled, list, labels, { mode, ...options }).map((reading) => reading!.values[2]);
  expect(events('known-then')).toEqual([1, 1, 2]);
  expect(events('event-time')).toEqual([0, 2, 2]);
});

test('a tick counts the session that ends by it; no event came since', () => {
  const batch = compileView(
    { ...view, mode: { type: 'batch', cadenceMs: 10 * MINUTE, settleMs: 0 } },
    source,
  );
  const list = [eventAt(1), eventAt(MINUTE)];
  const { rows, state } = sweepTicks(batch, list, { after: 0, until: 2 * HOUR });
  expect(rows.map(({ tick, reading }) => [tick, ...reading!.values])).toEqual([
    [10 * MINUTE, 0, null, 0],
    [40 * MINUTE, 1, MINUTE - 1, 2],
    [100 * MINUTE, 1, null, 2],
  ]);
  expect(state.asOf).toBe(100 * MINUTE);
});

test('the bytes of a record: what is up to the end of the open session, and from there on', () => {
  const sliding: AggregationView = {
    ...view,
    features: [feature('count_1h', { type: 'sliding', ms: HOUR, hopMs: MINUTE }, { op: 'count' })],
  };
  const narrow = compileView(sliding, source);
  const state = createState(narrow);
  for (const at of [0, 45 * MINUTE]) fold(narrow, state, eventAt(at));
  const bytes = encodeRecord(narrow, state);
  expect(recordSteps(narrow, bytes)).toEqual([75 * MINUTE, 90 * MINUTE, 135 * MINUTE]);
  expect(Buffer.from(bytes).toString('hex').slice(-24)).toBe(
    [
      '00', // nothing was left out
      'c0ee6d', // after 1,800,000 ms the open one ends
      '01', // one session has ended
      '00', // nothing changes before
      '02', // two
      '04', // their lane has four bytes:
      '0f01', // after 15 minutes one leaves
      '2d01', // after 45 more the other
    ].join(''),
  );
});

test('a view reads its key, and its filter is over sessions', () => {
  const filtered: AggregationView = {
    ...view,
    where: { op: 'gt', args: [col('event_count'), { lit: 1 }] },
    features: [feature('users', { type: 'lifetime' }, { op: 'lastN', value: col('user_id'), n: 3 })],
  };
  const narrow = compileView(filtered, source);
  let state = createState(narrow);
  for (const at of [0, MINUTE, 2 * HOUR, 4 * HOUR, 4 * HOUR]) fold(narrow, state, eventAt(at));
  state = decodeState(narrow, encodeState(narrow, state));
  expect(readState(narrow, state, DAY)).toMatchObject({ eventCount: 5, values: [['u', 'u']] });
});

test('the average length of a user’s sessions, and the pages seen in them, tried without a server', () => {
  const owner = 'shop@example.org';
  const user = entity('user', { description: 'A person.', owner, keys: { user_id: 'string' } });
  const clicks = sourceOf('clicks', {
    description: 'Clicks.',
    owner,
    input: file('csv'),
    columns: { user_id: 'string', pages: 'int64', clicked_at: 'timestamp' },
    eventTime: 'clicked_at',
  });
  const visits = clicks.sessions({ by: 'user_id', gap: '30min', sums: { page_views: clicks.col('pages') } });
  const sessions = aggregationView('user_sessions', {
    description: 'Visits of a user.',
    owner,
    entity: user,
    source: visits,
    mode: streaming(),
    features: {
      user_avg_session_duration_last_hour: {
        description: 'Mean length of the sessions that ended.',
        aggregation: mean(visits.col('duration_ms')),
        window: sliding('1h'),
      },
      session_page_view_count_total: {
        description: 'Pages seen in all sessions that ended.',
        aggregation: sum(visits.col('page_views')),
        window: lifetime(),
      },
    },
  });
  expect(define([sessions]).views.map(({ name }) => name)).toEqual(['user_sessions']);
  const of = testFeature(sessions, [
    { user_id: 'u', pages: 1, clicked_at: '2026-03-01T12:00:00Z' },
    { user_id: 'u', pages: 2, clicked_at: '2026-03-01T12:10:00Z' },
    { user_id: 'u', pages: 4, clicked_at: '2026-03-01T13:00:00Z' },
  ]);
  const at = (time: string) => Object.values(of.at(time).values);
  expect(at('2026-03-01T12:39:59.999Z')).toEqual([null, 0]);
  expect(at('2026-03-01T12:40:00Z')).toEqual([600_000, 3]);
  expect(at('2026-03-01T13:30:00Z')).toEqual([300_000, 7]);
  expect(at('2026-03-01T14:00:00Z')).toEqual([0, 7]);
  expect(of.at('2026-03-01T12:00:00Z')).toEqual({
    values: { user_avg_session_duration_last_hour: null, session_page_view_count_total: 0 },
    statuses: { user_avg_session_duration_last_hour: 'NULL_VALUE', session_page_view_count_total: 'PRESENT' },
    eventTimestamp: '2026-03-01T12:00:00.000Z',
  });
});
