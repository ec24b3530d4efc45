/** When one event counts, for every kind of window: in the state, in the record and in the oracle. */
import { expect, test } from 'vitest';
import { compileView } from '../../core/compile.js';
import type { AggregationView, Window } from '../../core/definition.js';
import type { Event } from '../../core/event.js';
import { encodeRecord, readRecord } from '../../core/record.js';
import { createState, encodeState, fold, readState, rebuild } from '../../core/state.js';
import { sweepTicks } from '../../core/sweep.js';
import { DAY, defaultHop, HOUR, MINUTE, WEEK } from '../../core/time.js';
import { answer } from '../../oracle/oracle.js';
import { source } from './generate.js';

function viewOf(window: Window): AggregationView {
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
    features: [
      {
        name: 'count',
        description: '-',
        type: 'int64',
        coldStart: 0,
        nameException: null,
        where: null,
        window,
        aggregation: { op: 'count' },
      },
    ],
  };
}

const eventAt = (timestamp: number): Event => ({
  timestamp,
  arrivedAt: timestamp,
  sequence: 1,
  order: 0,
  id: 'e',
  values: [],
});

/** How many events count at a moment: said alike by state, record and oracle. */
function countAt(window: Window, timestamps: readonly number[], at: number): number {
  const view = viewOf(window);
  const compiled = compileView(view, source);
  const events = timestamps.map(eventAt).map((event, index) => ({ ...event, id: `e${index}` }));
  let state = createState(compiled);
  for (const event of events) fold(compiled, state, event);
  if (state.needsRebuild) state = rebuild(compiled, events);
  const record = encodeRecord(compiled, state);
  const counts = [
    readRecord(compiled, record, at)!.values[0],
    readState(compiled, state, at)!.values[0],
    answer(view, source, events, { type: 'record', sequence: 1, at }).values.count,
  ];
  expect(new Set(counts).size, `record, state, oracle: ${counts.map(Number).join(', ')}`).toBe(1);
  return counts[0] as number;
}

interface Case {
  /** When it happens. */
  at: number;
  /** Where that is later: when it begins to count. */
  enters?: number;
  leaves: number;
  why: string;
}

function expectCase(window: Window, { at, enters = at, leaves }: Case): void {
  if (enters > at) expect(countAt(window, [at], enters - 1), 'before it enters').toBe(0);
  expect(countAt(window, [at], enters), 'as it enters').toBe(1);
  expect(countAt(window, [at], leaves - 1), 'before it leaves').toBe(1);
  expect(countAt(window, [at], leaves), 'as it leaves').toBe(0);
}

const utc = (text: string): number => new Date(text).getTime();

test.each<Case>([
  { at: 0, leaves: HOUR, why: 'on the hop: leaves when the window is over' },
  { at: 1, leaves: HOUR + 10 * MINUTE, why: 'just after it: up to a hop later' },
  { at: -1, leaves: HOUR, why: 'just before it' },
])('sliding, $why', (row) => expectCase({ type: 'sliding', ms: HOUR, hopMs: 10 * MINUTE }, row));

// Written down before any code: the window at t is (floor_hop(t) - length, floor_hop(t)].
test.each<Case>([
  { at: 0, enters: 0, leaves: HOUR, why: 'on the hop: enters at once, leaves when the window is over' },
  { at: 1, enters: 10 * MINUTE, leaves: HOUR + 10 * MINUTE, why: 'just after it: with the next hop, both' },
  { at: -1, enters: 0, leaves: HOUR, why: 'just before it: with that hop' },
  { at: 10 * MINUTE - 1, enters: 10 * MINUTE, leaves: HOUR + 10 * MINUTE, why: 'just before the next' },
  { at: -10 * MINUTE, enters: -10 * MINUTE, leaves: 50 * MINUTE, why: 'before 1970, on the hop' },
  { at: 1 - 10 * MINUTE, enters: 0, leaves: HOUR, why: 'before 1970, just after it' },
])('hopping, $why', (row) => expectCase({ type: 'hopping', ms: HOUR, hopMs: 10 * MINUTE }, row));

test('hopping over one hop is the last complete one', () => {
  const window: Window = { type: 'hopping', ms: HOUR, hopMs: HOUR };
  const events = [0, 1, HOUR - 1, HOUR, HOUR + 1];
  expect([0, 1, HOUR - 1].map((at) => countAt(window, [0], at))).toEqual([1, 1, 1]);
  expect(countAt(window, events, HOUR + 1)).toBe(3);
  expect(countAt(window, events, 2 * HOUR)).toBe(1);
  expect(countAt(window, events, 3 * HOUR)).toBe(0);
});

test('hopping: an event that comes after its boundary enters at once', () => {
  const window: Window = { type: 'hopping', ms: HOUR, hopMs: 10 * MINUTE };
  expect(countAt(window, [25 * MINUTE, 1], 25 * MINUTE)).toBe(1);
  expect(countAt(window, [25 * MINUTE, 1], 30 * MINUTE)).toBe(2);
  expect(countAt(window, [25 * MINUTE, 1], HOUR + 10 * MINUTE)).toBe(1);
});

test.each<Case & { ms: number }>([
  { ms: HOUR, at: 0, leaves: HOUR, why: 'on a boundary: in the window that begins there' },
  { ms: HOUR, at: 1, leaves: HOUR, why: 'just after it' },
  { ms: HOUR, at: HOUR - 1, leaves: HOUR, why: 'just before the next: for 1 ms' },
  { ms: HOUR, at: -1, leaves: 0, why: 'before 1970' },
  { ms: HOUR, at: -HOUR, leaves: 0, why: 'before 1970, on a boundary' },
  { ms: DAY, at: utc('2026-11-21T23:59:59.999Z'), leaves: utc('2026-11-22T00:00Z'), why: 'a day' },
  { ms: WEEK, at: utc('2026-11-22T23:59Z'), leaves: utc('2026-11-23T00:00Z'), why: 'a Sunday: the last' },
  { ms: WEEK, at: utc('2026-11-23T00:00Z'), leaves: utc('2026-11-30T00:00Z'), why: 'a Monday: the first' },
  { ms: WEEK, at: utc('1969-12-31T00:00Z'), leaves: utc('1970-01-05T00:00Z'), why: 'a week around 1970' },
  { ms: 2 * WEEK, at: utc('1970-01-05T00:00Z'), leaves: utc('1970-01-19T00:00Z'), why: 'two weeks' },
  { ms: 3 * DAY, at: 0, leaves: 3 * DAY, why: 'days that make no weeks: from the epoch' },
])('tumbling, $why', ({ ms, ...row }) => expectCase({ type: 'tumbling', ms }, row));

// Days and changes of clocks as Python's zoneinfo has them (tzdata 2025b).
test.each<{ unit: 'day' | 'week' | 'month'; zone: string; at: string; leaves: string; why: string }>([
  { unit: 'day', zone: 'UTC', at: '2026-11-21T00:00Z', leaves: '2026-11-22T00:00Z', why: 'at midnight: that day' },
  { unit: 'day', zone: 'UTC', at: '1969-12-31T23:59:59.999Z', leaves: '1970-01-01T00:00Z', why: 'before 1970' },
  { unit: 'day', zone: 'Europe/Berlin', at: '2026-03-28T23:00Z', leaves: '2026-03-29T22:00Z', why: 'of 23 hours' },
  { unit: 'day', zone: 'Europe/Berlin', at: '2026-10-24T22:00Z', leaves: '2026-10-25T23:00Z', why: 'of 25 hours' },
  { unit: 'day', zone: 'America/Sao_Paulo', at: '2018-11-04T02:59:59.999Z', leaves: '2018-11-04T03:00Z', why: 'before a midnight that is skipped' },
  { unit: 'day', zone: 'America/Sao_Paulo', at: '2018-11-04T03:00Z', leaves: '2018-11-05T02:00Z', why: 'that begins at 1:00' },
  { unit: 'day', zone: 'America/Sao_Paulo', at: '2018-02-17T02:00Z', leaves: '2018-02-18T03:00Z', why: 'whose last hour comes twice' },
  { unit: 'day', zone: 'Africa/Cairo', at: '2024-04-25T21:59:59.999Z', leaves: '2024-04-25T22:00Z', why: 'before a midnight that is skipped, again' },
  { unit: 'day', zone: 'America/St_Johns', at: '2006-10-29T02:29:59.999Z', leaves: '2006-10-29T02:30Z', why: 'before the first of two midnights' },
  { unit: 'day', zone: 'America/St_Johns', at: '2006-10-29T02:45Z', leaves: '2006-10-30T03:30Z', why: 'between two midnights: of the new day, though clocks show the old' },
  { unit: 'day', zone: 'Pacific/Apia', at: '2011-12-30T09:59:59Z', leaves: '2011-12-30T10:00Z', why: 'before a day that never was' },
  { unit: 'day', zone: 'Pacific/Apia', at: '2011-12-30T10:00Z', leaves: '2011-12-31T10:00Z', why: 'after a day that never was' },
  { unit: 'day', zone: 'America/Sao_Paulo', at: '1900-01-01T00:00Z', leaves: '1900-01-01T03:06:28Z', why: 'of local mean time' },
  { unit: 'day', zone: 'America/Sao_Paulo', at: '0001-01-01T00:00Z', leaves: '0001-01-01T03:06:28Z', why: 'of the year before the first' },
  { unit: 'day', zone: 'Europe/Berlin', at: '9999-12-31T12:00Z', leaves: '9999-12-31T23:00Z', why: 'the last there is' },
  { unit: 'week', zone: 'UTC', at: '1969-12-31T12:00Z', leaves: '1970-01-05T00:00Z', why: 'around 1970' },
  { unit: 'week', zone: 'Europe/Berlin', at: '2026-03-22T23:00Z', leaves: '2026-03-29T22:00Z', why: 'from Monday, an hour short' },
  { unit: 'month', zone: 'UTC', at: '2024-02-29T12:00Z', leaves: '2024-03-01T00:00Z', why: 'a leap day' },
  { unit: 'month', zone: 'Europe/Berlin', at: '2026-02-28T23:00Z', leaves: '2026-03-31T22:00Z', why: 'an hour short' },
  { unit: 'month', zone: 'Asia/Kolkata', at: '2025-11-30T18:30Z', leaves: '2025-12-31T18:30Z', why: 'into a new year' },
])('calendar $unit, $why', ({ unit, zone, at, leaves, why }) =>
  expectCase({ type: 'calendar', unit, zone }, { at: utc(at), leaves: utc(leaves), why }),
); // biome-ignore format: a table

const GAP = 30 * MINUTE;
const session: Window = { type: 'session', gapMs: GAP };

// Written down before any code: a session is current while last <= t < last + gap; at last + gap an event still joins it.
test.each<{ events: number[]; at: number; count: number; why: string }>([
  { events: [0], at: 0, count: 1, why: 'it begins with its first event' },
  { events: [0], at: GAP - 1, count: 1, why: 'it is current just before the gap has passed' },
  { events: [0], at: GAP, count: 0, why: 'it ends when the gap has passed' },
  { events: [0, GAP - 1], at: GAP - 1, count: 2, why: 'an event within the gap prolongs it' },
  { events: [0, GAP], at: GAP, count: 2, why: 'an event as the gap has passed prolongs it still' },
  { events: [0, GAP], at: 2 * GAP - 1, count: 2, why: 'prolonged, all of it counts on' },
  { events: [0, GAP], at: 2 * GAP, count: 0, why: 'prolonged, all of it ends at once' },
  { events: [0, GAP + 1], at: GAP + 1, count: 1, why: 'an event after the gap begins another' },
  { events: [-GAP, 0], at: 0, count: 2, why: 'before 1970 too' },
  {
    events: [0, 2 * GAP, GAP],
    at: 2 * GAP,
    count: 3,
    why: 'a late event that joins two sessions makes them one',
  },
  {
    events: [0, 2 * GAP + 1, GAP],
    at: 2 * GAP + 1,
    count: 1,
    why: 'a late event joins only what it reaches',
  },
  { events: [2 * GAP, GAP], at: 2 * GAP, count: 2, why: 'a late event before the first is a new first' },
  {
    events: [4 * GAP, 0],
    at: 4 * GAP,
    count: 1,
    why: 'a late event of a session long ended changes nothing',
  },
  { events: [0, 0, 0], at: 0, count: 3, why: 'events of one instant are of one session' },
])('session, $why', ({ events, at, count }) => expect(countAt(session, events, at)).toBe(count));

test('a session is made of the events of the view; the filter says which of them count', () => {
  const view = viewOf(session);
  view.features[0]!.where = { op: 'eq', args: [{ col: 'kind' }, { lit: 'a' }] };
  const compiled = compileView(view, source);
  const kinds = ['a', 'b', 'a'];
  const events = kinds.map((kind, index) => ({
    ...eventAt(index * GAP),
    values: [null, index * GAP, null, kind, null, 'u'],
  }));
  const state = createState(compiled);
  for (const event of events) fold(compiled, state, event);
  expect(readState(compiled, state, 2 * GAP)!.values).toEqual([2]);
});

test.each<{ events: number[]; readAt?: number; late: number; needsRebuild: boolean; why: string }>([
  { events: [0, 2 * GAP], late: GAP, needsRebuild: true, why: 'joins a forgotten session to the current' },
  {
    events: [0, 2 * GAP],
    late: GAP - 1,
    needsRebuild: false,
    why: 'belongs to a forgotten one, and reaches no further',
  },
  {
    events: [0, 3 * GAP],
    late: 2 * GAP,
    needsRebuild: false,
    why: 'belongs to the current, and reaches no other',
  },
  { events: [0], readAt: GAP, late: GAP, needsRebuild: true, why: 'brings an ended one back' },
  {
    events: [0],
    readAt: 2 * GAP,
    late: GAP,
    needsRebuild: false,
    why: 'prolongs an ended one that has ended still',
  },
  {
    events: [0],
    readAt: 2 * GAP,
    late: GAP + 1,
    needsRebuild: false,
    why: 'begins another after an ended one',
  },
  { events: [5 * GAP, 0, 2 * GAP], late: GAP, needsRebuild: false, why: 'joins two that are both forgotten' },
])('a late event that $why: rebuild $needsRebuild', ({ events, readAt, late, needsRebuild }) => {
  const view = viewOf(session);
  const compiled = compileView(view, source);
  const state = createState(compiled);
  for (const timestamp of events) fold(compiled, state, eventAt(timestamp));
  if (readAt !== undefined) readState(compiled, state, readAt);
  fold(compiled, state, { ...eventAt(late), sequence: 2 });
  expect([state.needsRebuild, state.sequence]).toEqual([needsRebuild, 2]);
  if (!needsRebuild) return;
  expect(() => readState(compiled, state, state.asOf)).toThrow(/was not rebuilt/);
  expect(() => encodeRecord(compiled, state)).toThrow(/was not rebuilt/);
  expect(() => encodeState(compiled, state)).toThrow(/was not rebuilt/);
  const all = [...events, late].map(eventAt);
  const whole = rebuild(compiled, all);
  const at = Math.max(whole.asOf, readAt ?? 0);
  expect(readState(compiled, whole, at)!.values).toEqual([
    answer(view, source, all, { type: 'record', sequence: 1, at }).values.count,
  ]);
});

test('a tick sweep that was given a state hands the question back; of all events it answers by itself', () => {
  const view: AggregationView = {
    ...viewOf(session),
    mode: { type: 'batch', cadenceMs: HOUR / 6, settleMs: 0 },
  };
  const compiled = compileView(view, source);
  const early = [0, 2 * GAP].map(eventAt);
  const late = { ...eventAt(GAP), arrivedAt: 2 * GAP + 1, sequence: 2 };
  const { state } = sweepTicks(compiled, early, { after: -1, until: 2 * GAP });
  const resumed = sweepTicks(compiled, [late], { after: 2 * GAP, until: 3 * GAP, state });
  expect(resumed.rows).toEqual([]);
  expect([resumed.state.needsRebuild, resumed.state.sequence]).toEqual([true, 2]);
  const whole = sweepTicks(compiled, [...early, late], { after: 2 * GAP, until: 3 * GAP });
  expect(whole.rows.map(({ tick, reading }) => [tick, reading!.values[0]])).toEqual([
    [2 * GAP + HOUR / 6, 3],
    [3 * GAP, 0],
  ]);
});

test('a year of silence empties every window but the lifetime', () => {
  const windows: Window[] = [
    { type: 'sliding', ms: 30 * DAY, hopMs: defaultHop(30 * DAY) },
    { type: 'hopping', ms: 30 * DAY, hopMs: DAY },
    { type: 'tumbling', ms: WEEK },
    { type: 'calendar', unit: 'month', zone: 'Europe/Berlin' },
    { type: 'session', gapMs: DAY },
  ];
  for (const window of windows) expect(countAt(window, [0, 5], 366 * DAY), window.type).toBe(0);
  expect(countAt({ type: 'lifetime' }, [0, 5], 366 * DAY)).toBe(2);
});
