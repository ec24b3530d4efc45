/** A retraction unsays an event by its id, whichever of the two comes first: by case, on every path and in the oracle. */
import { describe, expect, test } from 'vitest';
import { compileView } from '../../core/compile.js';
import type { AggregationView } from '../../core/definition.js';
import type { Event } from '../../core/event.js';
import {
  aggregationView,
  count,
  entity,
  file,
  last,
  lifetime,
  sliding,
  source,
  streaming,
  sum,
} from '../../core/index.js';
import { encodeRecord, readRecord, recordSteps } from '../../core/record.js';
import type { State } from '../../core/state.js';
import {
  advance,
  createState,
  decodeState,
  encodeState,
  encodeValues,
  fold,
  isBlank,
  rebuild,
} from '../../core/state.js';
import { sweepLabels, sweepTicks } from '../../core/sweep.js';
import { testFeature } from '../../core/testing.js';
import { HOUR, MINUTE, parseTimestamp } from '../../core/time.js';
import { judge } from '../../core/vector.js';
import { answer, type Question } from '../../oracle/oracle.js';

const described = { description: '-', owner: 'shop' };
const user = entity('user', { ...described, keys: { user_id: 'string' } });
const orders = source('orders', {
  ...described,
  input: file('csv'),
  columns: {
    order_id: 'int64',
    cancels: 'int64?',
    user_id: 'string',
    cents: 'int64?',
    ordered_at: 'timestamp',
    seen_at: 'timestamp?',
  },
  eventTime: 'ordered_at',
  arrival: 'seen_at',
  id: 'order_id',
  retracts: 'cancels',
});
const spending = aggregationView('user_spending', {
  ...described,
  entity: user,
  source: orders,
  where: orders.col('cents').gt(0),
  mode: streaming(),
  features: {
    user_orders_2h: { description: '-', aggregation: count(), window: sliding('2h') },
    user_total_spend: { description: '-', aggregation: sum(orders.col('cents')), window: lifetime() },
    user_last_spend: { description: '-', aggregation: last(orders.col('cents')), window: lifetime() },
  },
});
const view: AggregationView = spending.json;
const compiled = compileView(view, orders.json);

const T = parseTimestamp('2026-03-01T12:00:00Z');
let sequence = 0;
function row(id: number, minute: number, cancels: number | null, cents: number | null): Event {
  const timestamp = T + minute * MINUTE;
  return {
    timestamp,
    arrivedAt: timestamp,
    sequence: ++sequence,
    order: 0,
    id: String(id),
    values: [cancels, cents, id, timestamp, null, 'u'],
  };
}
const order = (id: number, minute: number, cents = 100 * id): Event => row(id, minute, null, cents);
const cancel = (id: number, minute: number, cancels: number): Event => row(id, minute, cancels, null);
const arriving = (event: Event, minute: number): Event => ({ ...event, arrivedAt: T + minute * MINUTE });

/** Folded one by one in the order given, rebuilt where that is asked for; `restarts`: from a snapshot before each event. */
function stream(events: readonly Event[], restarts = false): { state: State; rebuilds: number } {
  let state = createState(compiled);
  let rebuilds = 0;
  events.forEach((event, index) => {
    if (restarts && !isBlank(state)) state = decodeState(compiled, encodeState(compiled, state));
    fold(compiled, state, event);
    if (!state.needsRebuild) return;
    state = rebuild(compiled, events.slice(0, index + 1));
    rebuilds += 1;
  });
  return { state, rebuilds };
}

/** What serving gives after these events, in whatever order they came: equal to the byte, and to the oracle at each step. */
function served(events: readonly Event[], minute: number) {
  const { state } = stream(events);
  const bytes = encodeState(compiled, state);
  for (const other of [
    stream(events, true).state,
    stream(events.toReversed()).state,
    rebuild(compiled, events),
  ])
    expect(encodeState(compiled, other)).toEqual(bytes);
  const record = encodeRecord(compiled, state);
  const ask = (at: number) => {
    const told = judge(view, readRecord(compiled, record, at), at);
    const question: Question = { type: 'record', at, sequence: Number.MAX_SAFE_INTEGER };
    const { eventTimestamp, values, statuses } = answer(view, orders.json, events, question);
    expect([told.eventTimestamp, told.values, told.statuses]).toEqual([
      eventTimestamp,
      view.features.map(({ name }) => values[name]),
      view.features.map(({ name }) => statuses[name]),
    ]);
    return told;
  };
  for (const at of recordSteps(compiled, record)) ask(at);
  const { statuses, values } = ask(Math.max(state.asOf, T + minute * MINUTE));
  return statuses[0] === 'NOT_FOUND' ? 'NOT_FOUND' : values;
}

describe('what is served', () => {
  test.each<{ why: string; events: Event[]; gives: unknown }>([
    { why: 'no retraction', events: [order(1, 0), order(2, 10)], gives: [2, 300, 200] },
    { why: 'after its event', events: [order(1, 0), order(2, 10), cancel(9, 20, 1)], gives: [1, 200, 200] },
    { why: 'before its event', events: [cancel(9, 0, 1), order(2, 5), order(1, 10)], gives: [1, 200, 200] },
    {
      why: 'of the newest event',
      events: [order(1, 0), order(2, 10), cancel(9, 20, 2)],
      gives: [1, 100, 100],
    },
    { why: 'of the only event', events: [order(1, 0), cancel(9, 20, 1)], gives: 'NOT_FOUND' },
    { why: 'of the only event, before it', events: [cancel(9, 0, 1), order(1, 10)], gives: 'NOT_FOUND' },
    { why: 'of an event that never comes', events: [cancel(9, 0, 1)], gives: 'NOT_FOUND' },
    {
      why: 'of the only event, and then comes another',
      events: [order(1, 0), cancel(9, 20, 1), order(2, 30)],
      gives: [1, 200, 200],
    },
    { why: 'of another id', events: [order(1, 0), cancel(9, 20, 7)], gives: [1, 100, 100] },
    {
      why: 'twice',
      events: [order(1, 0), order(2, 1), cancel(8, 20, 1), cancel(9, 30, 1)],
      gives: [1, 200, 200],
    },
    {
      why: 'of a retraction: that stays',
      events: [order(1, 0), order(2, 1), cancel(8, 20, 1), cancel(9, 30, 8)],
      gives: [1, 200, 200],
    },
    {
      why: 'of itself',
      events: [order(1, 0), cancel(9, 20, 9)],
      gives: [1, 100, 100],
    },
    {
      why: 'of an id that comes again after days: that is unsaid too',
      events: [order(1, 0), order(2, 1), cancel(9, 20, 1), order(1, 4000)],
      gives: [0, 200, 200],
    },
    {
      why: 'of an event that the view leaves out',
      events: [order(1, 0, 0), order(2, 1), cancel(9, 20, 1)],
      gives: [1, 200, 200],
    },
    {
      why: 'of one that left its window long ago, but not its lifetime',
      events: [order(1, 0), order(2, 4000), cancel(9, 4001, 1)],
      gives: [1, 200, 200],
    },
  ])('$why', ({ events, gives }) => expect(served(events, 60)).toEqual(gives));
});

test('a state is rebuilt only where the event may be inside', () => {
  const rebuilds = (...events: Event[]): number => stream(events, true).rebuilds;
  expect(rebuilds(cancel(8, 0, 1), cancel(9, 1, 2), order(1, 2), order(2, 3), cancel(10, 4, 3))).toBe(0);
  expect(rebuilds(order(1, 0), cancel(9, 1, 1))).toBe(1);
  expect(rebuilds(order(1, 0), cancel(9, 1, 1), cancel(10, 2, 1), cancel(11, 3, 5))).toBe(1);
  expect(rebuilds(order(1, 0), cancel(9, 1, 2), order(2, 3), cancel(10, 4, 2))).toBe(1);
});

test('a record that lost all its events is newer than the one that held them, and says nothing else', () => {
  const [event, retraction] = [order(1, 0), cancel(9, 20, 1)];
  const newer = (bytes: Uint8Array): string => Buffer.from(bytes.subarray(1, 17)).toString('hex');
  const before = encodeRecord(compiled, stream([event]).state);
  const { state } = stream([event, retraction]);
  const after = encodeRecord(compiled, state);
  expect(newer(after) > newer(before)).toBe(true);
  expect(readRecord(compiled, after, T + HOUR)).toBe(null);
  expect(recordSteps(compiled, after)).toEqual([]);
  advance(compiled, state, T + HOUR);
  expect(encodeState(compiled, decodeState(compiled, encodeState(compiled, state)))).toEqual(
    encodeState(compiled, state),
  );
  expect(encodeValues(compiled, state)).toEqual(new Uint8Array());
});

describe('training', () => {
  const events = [order(1, 0), order(2, 10), arriving(cancel(9, 20, 2), 40)];
  const label = (mode: 'known-then' | 'event-time', minute: number, strict = false) => {
    const at = T + minute * MINUTE;
    const [reading] = sweepLabels(compiled, events, [at], { mode, strict, published: [] });
    return reading?.values ?? null;
  };
  test.each([
    { mode: 'known-then' as const, minute: 30, gives: [2, 300, 200], why: 'happened, but had not arrived' },
    { mode: 'known-then' as const, minute: 40, gives: [1, 100, 100], why: 'had arrived' },
    { mode: 'event-time' as const, minute: 30, gives: [1, 100, 100], why: 'is known today' },
    {
      mode: 'event-time' as const,
      minute: 10,
      gives: [1, 100, 100],
      why: 'is known today, and happened later',
    },
    { mode: 'event-time' as const, minute: -1, gives: null, why: 'before any event' },
  ])('$mode: the retraction $why', ({ mode, minute, gives }) => expect(label(mode, minute)).toEqual(gives));
  test('strict: one millisecond before', () => {
    expect(label('known-then', 40, true)).toEqual([2, 300, 200]);
    expect(label('known-then', 41, true)).toEqual([1, 100, 100]);
  });
});

test('tick rows: what was written stays, and from the tick at which nothing is left a row says so', () => {
  const events = [order(1, 10), cancel(9, 130, 1), order(2, 190), cancel(8, 200, 2), order(3, 310)];
  const told = (rows: ReturnType<typeof sweepTicks>['rows']) =>
    rows.map(({ tick, reading }) => [(tick - T) / HOUR, reading?.values ?? null]);
  const { rows } = sweepTicks(compiled, events, { after: T, until: T + 9 * HOUR });
  expect(told(rows)).toEqual([
    [1, [1, 100, 100]],
    // 2 and its retraction come between two ticks: no row
    [3, null],
    [6, [1, 300, 300]],
    [8, [0, 300, 300]],
  ]);
});

test('tick rows: one event in the place of another, and none of the values differs', () => {
  const events = [
    order(1, 10),
    order(2, 20, 50),
    order(3, 25, 100),
    arriving(order(4, 5, 50), 70),
    cancel(9, 80, 2),
  ];
  const { rows } = sweepTicks(compiled, events, { after: T, until: T + 2 * HOUR });
  expect(rows.map(({ tick, reading }) => [(tick - T) / HOUR, reading!.firstEventTimestamp])).toEqual([
    [1, T + 10 * MINUTE],
    [2, T + 5 * MINUTE],
  ]);
  expect(rows.map(({ reading }) => reading!.values)).toEqual([
    [3, 250, 100],
    [3, 250, 100],
  ]);
});

test('an author tries it out with rows', () => {
  const at = (minute: number): string => new Date(T + minute * MINUTE).toISOString();
  const of = { user_id: 'u', seen_at: null };
  const test = testFeature(spending, [
    { ...of, order_id: 1, cents: 100, ordered_at: at(0) },
    { ...of, order_id: 2, cents: 200, ordered_at: at(10) },
    { ...of, order_id: 3, cancels: 2, ordered_at: at(20) },
  ]);
  expect(test.at(at(15)).values.user_total_spend).toBe(300);
  expect(test.at(at(20)).values.user_total_spend).toBe(100);
  expect(test.at(at(15), { mode: 'event-time' }).values.user_total_spend).toBe(100);
});
