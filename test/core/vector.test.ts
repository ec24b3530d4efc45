import { expect, test } from 'vitest';
import type { Reading } from '../../core/record.js';
import { DAY, HOUR } from '../../core/time.js';
import { failed, judge, tickAt } from '../../core/vector.js';

const T = Date.UTC(2026, 2, 1, 12);
const view = {
  ttlMs: 7 * DAY,
  minAgeMs: DAY,
  minEvents: 3,
  features: [{ coldStart: 0 }, { coldStart: 'none' }],
};
const reading: Reading = {
  asOf: T,
  sequence: 9,
  eventTimestamp: T - HOUR,
  firstEventTimestamp: T - 30 * DAY,
  eventCount: 12,
  horizonPassed: false,
  values: [5, null],
};

test.each([
  { why: 'no record', reading: null, statuses: ['NOT_FOUND', 'NOT_FOUND'], values: [0, 'none'], event: null },
  {
    why: 'a record of no events is no record',
    reading: { ...reading, eventCount: 0 },
    statuses: ['NOT_FOUND', 'NOT_FOUND'],
    values: [0, 'none'],
    event: null,
  },
  {
    why: 'exactly as old as the ttl is inside',
    reading: { ...reading, eventTimestamp: T - 7 * DAY },
    statuses: ['PRESENT', 'NULL_VALUE'],
    values: [5, null],
    event: T - 7 * DAY,
  },
  {
    why: 'a millisecond older than the ttl is outside, and the event timestamp is still told',
    reading: { ...reading, eventTimestamp: T - 7 * DAY - 1 },
    statuses: ['OUTSIDE_MAX_AGE', 'OUTSIDE_MAX_AGE'],
    values: [0, 'none'],
    event: T - 7 * DAY - 1,
  },
  {
    why: 'exactly of the minimum age is mature',
    reading: { ...reading, firstEventTimestamp: T - DAY },
    statuses: ['PRESENT', 'NULL_VALUE'],
    values: [5, null],
    event: T - HOUR,
  },
  {
    why: 'a millisecond younger is not',
    reading: { ...reading, firstEventTimestamp: T - DAY + 1 },
    statuses: ['IMMATURE', 'IMMATURE'],
    values: [0, 'none'],
    event: T - HOUR,
  },
  {
    why: 'one event short of the minimum',
    reading: { ...reading, eventCount: 2 },
    statuses: ['IMMATURE', 'IMMATURE'],
    values: [0, 'none'],
    event: T - HOUR,
  },
  {
    why: 'too old goes before immature: there is no usable history at all',
    reading: { ...reading, eventCount: 1, eventTimestamp: T - 8 * DAY },
    statuses: ['OUTSIDE_MAX_AGE', 'OUTSIDE_MAX_AGE'],
    values: [0, 'none'],
    event: T - 8 * DAY,
  },
  {
    why: 'behind its horizon a record gives its last values, nulls too, and says so',
    reading: { ...reading, horizonPassed: true },
    statuses: ['HORIZON_PASSED', 'HORIZON_PASSED'],
    values: [5, null],
    event: T - HOUR,
  },
  {
    why: 'an event ahead of the clock is not old',
    reading: { ...reading, eventTimestamp: T + 5_000 },
    statuses: ['PRESENT', 'NULL_VALUE'],
    values: [5, null],
    event: T + 5_000,
  },
])('$why', ({ reading: given, statuses, values, event }) => {
  const judged = judge(view, given, T);
  expect(judged).toMatchObject({ statuses, values, eventTimestamp: event });
  const plain = (status: string) => status === 'PRESENT' || status === 'NULL_VALUE';
  expect(judged.reasons.map((reason) => reason === null)).toEqual(statuses.map(plain));
});

test('a view without ttl and maturity, as sql views are, takes any history', () => {
  const judged = judge({ ttlMs: null, features: view.features }, { ...reading, eventTimestamp: 0 }, T);
  expect(judged.statuses).toEqual(['PRESENT', 'NULL_VALUE']);
});

test('a record that could not be read gives nothing but its reason', () => {
  expect(failed(view, 'FS_RECORD_CORRUPT')).toEqual({
    statuses: ['ERROR', 'ERROR'],
    values: [null, null],
    eventTimestamp: null,
    reasons: ['FS_RECORD_CORRUPT', 'FS_RECORD_CORRUPT'],
  });
});

test.each([
  { newest: null, at: 10, tick: null, why: 'nothing published: nothing to read' },
  { newest: 5 * HOUR, at: 5 * HOUR, tick: 5 * HOUR, why: 'the tick of this very moment counts' },
  { newest: 5 * HOUR, at: 9 * HOUR, tick: 5 * HOUR, why: 'a late tick is not waited for' },
  {
    newest: 5 * HOUR,
    at: 5 * HOUR - 1,
    tick: 4 * HOUR,
    why: 'a clock behind the ticks reads the one before',
  },
])('$why', ({ newest, at, tick }) => expect(tickAt(HOUR, newest, at)).toBe(tick));
