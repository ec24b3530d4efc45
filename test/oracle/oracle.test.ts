import { describe, expect, test } from 'vitest';
import type { AggregationView, Window } from '../../core/definition.js';
import { answer, type Question } from '../../oracle/oracle.js';
import {
  col,
  DAY,
  type EventInWords,
  event,
  feature,
  HOUR,
  isKind,
  lit,
  MINUTE,
  op,
  shop,
  valueFor,
  view,
} from './shop.js';

const ask = (of: AggregationView, events: readonly EventInWords[], question: Question) =>
  answer(of, shop, events.map(event), question);

const record = (at: number): Question => ({ type: 'record', at, sequence: 1 });
const training = (parts: Partial<Extract<Question, { type: 'training' }>>): Question => ({
  type: 'training',
  at: 0,
  mode: 'known-then',
  strict: false,
  published: [],
  ...parts,
});

describe('an event in a sliding window', () => {
  const sliding = (ms: number, hopMs: number): Window => ({ type: 'sliding', ms, hopMs });
  const daily = sliding(DAY, HOUR);
  test.each<{ window: Window; event: number; at: number; counts: boolean; why: string }>([
    { window: daily, event: 0, at: -1, counts: false, why: 'not before its instant' },
    { window: daily, event: 0, at: 0, counts: true, why: 'from its own instant' },
    { window: daily, event: 0, at: DAY - 1, counts: true, why: 'on the hop: to the last millisecond' },
    { window: daily, event: 0, at: DAY, counts: false, why: 'on the hop: leaves when the window is over' },
    { window: daily, event: 1, at: DAY + HOUR - 1, counts: true, why: 'after the hop: up to one hop longer' },
    { window: daily, event: 1, at: DAY + HOUR, counts: false, why: 'after the hop: leaves at the next one' },
    {
      window: daily,
      event: HOUR,
      at: DAY + HOUR,
      counts: false,
      why: 'on the next hop: with the one before',
    },
    { window: daily, event: HOUR + 1, at: DAY + HOUR, counts: true, why: 'after the next hop: still in' },
    { window: daily, event: -1, at: DAY - 1, counts: true, why: 'before 1970: to the hop' },
    { window: daily, event: -1, at: DAY, counts: false, why: 'before 1970: leaves on the hop' },
    { window: daily, event: -DAY, at: -1, counts: true, why: 'before 1970, on the hop: still in' },
    { window: daily, event: -DAY, at: 0, counts: false, why: 'before 1970, on the hop: leaves exactly' },
    { window: daily, event: -3 * DAY - 1, at: -2 * DAY - 1, counts: true, why: 'long before 1970: still in' },
    { window: daily, event: -3 * DAY - 1, at: -2 * DAY, counts: false, why: 'long before 1970: leaves' },
    {
      window: daily,
      event: -3 * DAY + 1,
      at: -2 * DAY + HOUR - 1,
      counts: true,
      why: 'the same, after the hop',
    },
    {
      window: daily,
      event: -3 * DAY + 1,
      at: -2 * DAY + HOUR,
      counts: false,
      why: 'and it leaves one hop later',
    },
    { window: sliding(5, 1), event: 3, at: 7, counts: true, why: 'a hop of 1 ms is exact: in' },
    { window: sliding(5, 1), event: 3, at: 8, counts: false, why: 'a hop of 1 ms is exact: out' },
    {
      window: sliding(HOUR, HOUR),
      event: 1,
      at: 2 * HOUR - 1,
      counts: true,
      why: 'a hop of the whole window',
    },
    { window: { type: 'lifetime' }, event: 0, at: 1e15, counts: true, why: 'lifetime never leaves' },
    { window: { type: 'lifetime' }, event: 0, at: -1, counts: false, why: 'lifetime begins at its instant' },
  ])('$window.type: $why', ({ window, event: timestamp, at, counts }) => {
    expect(valueFor({ op: 'count' }, [{ at: timestamp }], { window }, at)).toBe(counts ? 1 : 0);
  });
});

describe('what belongs', () => {
  const bought = view({
    where: isKind('buy'),
    features: [
      feature({ name: 'paid', where: op('eq', col('paid'), lit(true)) }),
      feature({ name: 'mean', aggregation: { op: 'mean', value: col('amount') }, type: 'float64' }),
    ],
  });
  const events: EventInWords[] = [
    { at: 3, id: 'c', kind: 'buy', paid: null },
    { at: 1, id: 'a', kind: 'buy', paid: true },
    { at: 4, id: 'd', kind: 'look', paid: true },
    { at: 5, id: 'e', kind: null, paid: true },
    { at: 2, id: 'b', kind: 'buy', paid: false },
  ];

  test('is what the view lets in, null not; all of it counts for timestamps and count, whatever a feature filters', () => {
    const told = ask(bought, events, record(10));
    expect(told).toEqual({
      status: 'PRESENT',
      eventTimestamp: 3,
      firstEventTimestamp: 1,
      eventCount: 3,
      values: { paid: 1, mean: null },
      statuses: { paid: 'PRESENT', mean: 'NULL_VALUE' },
      included: ['a', 'b', 'c'].map((id) => event(events.find((one) => one.id === id)!)),
      retractions: [],
    });
  });

  test('nothing belonging: not found, and every feature its cold start', () => {
    expect(ask(bought, [{ at: 1, kind: 'look' }], record(10))).toEqual({
      status: 'NOT_FOUND',
      eventTimestamp: null,
      firstEventTimestamp: null,
      eventCount: 0,
      values: { paid: -1, mean: -1 },
      statuses: { paid: 'NOT_FOUND', mean: 'NOT_FOUND' },
      included: [],
      retractions: [],
    });
    expect(ask(bought, [], record(10)).status).toBe('NOT_FOUND');
  });

  test('the events given are left as they are', () => {
    const given = Object.freeze(events.map(event));
    expect(answer(bought, shop, given, record(10)).eventCount).toBe(3);
  });
});

describe('status', () => {
  const expiring = view({ ttlMs: 10, minAgeMs: 5, minEvents: 2 });
  const two: EventInWords[] = [
    { at: 100, id: 'a' },
    { at: 101, id: 'b' },
  ];
  test.each([
    { events: two, at: 111, is: 'PRESENT', why: 'an age of the TTL is inside' },
    { events: two, at: 112, is: 'OUTSIDE_MAX_AGE', why: 'one more is not' },
    { events: two, at: 104, is: 'IMMATURE', why: 'younger than the minimum, by the first event' },
    { events: two, at: 105, is: 'PRESENT', why: 'of the minimum age' },
    { events: two.slice(0, 1), at: 106, is: 'IMMATURE', why: 'old enough, too few events' },
    { events: two.slice(0, 1), at: 111, is: 'OUTSIDE_MAX_AGE', why: 'expired goes before immature' },
    { events: [], at: 111, is: 'NOT_FOUND', why: 'not found goes before all' },
  ])('$why: $is', ({ events, at, is }) => {
    const told = ask(expiring, events, record(at));
    expect(told.status).toBe(is);
    expect(told.statuses).toEqual({ f: is });
    expect(told.values).toEqual({ f: is === 'PRESENT' ? 2 : -1 });
  });

  test('an expired or immature entity still tells its events', () => {
    expect(ask(expiring, two, record(1000))).toMatchObject({ eventTimestamp: 101, eventCount: 2 });
    expect(ask(expiring, two, record(101))).toMatchObject({ firstEventTimestamp: 100, eventCount: 2 });
  });

  test('an empty window of a known entity is a value, not a cold start', () => {
    const window: Window = { type: 'sliding', ms: 1, hopMs: 1 };
    const features = [
      feature({ window }),
      feature({ name: 'mean', window, aggregation: { op: 'mean', value: lit(1) } }),
    ];
    expect(ask(view({ features }), [{ at: 0 }], record(1))).toMatchObject({
      values: { f: 0, mean: null },
      statuses: { f: 'PRESENT', mean: 'NULL_VALUE' },
    });
  });
});

describe('a record', () => {
  const events: EventInWords[] = [
    { at: 1, sequence: 1, id: 'a' },
    { at: 2, sequence: 2, id: 'b' },
    { at: 0, sequence: 3, id: 'c', arrivedAt: 99 },
  ];
  test.each([
    { sequence: 0, count: 0, why: 'none before the first' },
    { sequence: 1, count: 1, why: 'the first' },
    { sequence: 2, count: 2, why: 'its own sequence is in' },
    { sequence: 3, count: 3, why: 'a late one by its sequence, whatever its arrival' },
  ])('holds the events up to its sequence: $why', ({ sequence, count }) =>
    expect(ask(view({}), events, { type: 'record', at: 10, sequence }).eventCount).toBe(count),
  );

  test('of a batch view is of a tick: what the tick saw, of the events up to its sequence', () => {
    const batch = view({ mode: { type: 'batch', cadenceMs: 10, settleMs: 0 } });
    expect(ask(batch, events, { type: 'record', at: 15, sequence: 3, tick: 10 }).eventCount).toBe(2);
    expect(ask(batch, events, { type: 'record', at: 15, sequence: 1, tick: 10 }).eventCount).toBe(1);
    expect(() => ask(batch, events, record(15))).toThrow('none is given');
  });
});

describe('a label of a streaming view', () => {
  const late: EventInWords[] = [
    { at: 100, id: 'a' },
    { at: 150, id: 'b', arrivedAt: 300 },
    { at: 200, id: 'c' },
    { at: 250, id: 'd' },
  ];
  test.each<{ at: number; mode: 'known-then' | 'event-time'; strict: boolean; ids: string; why: string }>([
    { at: 200, mode: 'known-then', strict: false, ids: 'ac', why: 'an event at its instant counts' },
    { at: 200, mode: 'known-then', strict: true, ids: 'a', why: 'strict: not' },
    { at: 201, mode: 'known-then', strict: true, ids: 'ac', why: 'strict: from one ms later' },
    { at: 200, mode: 'event-time', strict: false, ids: 'abc', why: 'event time knows the late one' },
    { at: 200, mode: 'event-time', strict: true, ids: 'ab', why: 'event time, strict' },
    { at: 299, mode: 'known-then', strict: false, ids: 'acd', why: 'the late one has not arrived' },
    { at: 300, mode: 'known-then', strict: false, ids: 'abcd', why: 'the late one arrives at the label' },
    { at: 300, mode: 'known-then', strict: true, ids: 'acd', why: 'strict moves the bound of arrival too' },
    { at: 99, mode: 'event-time', strict: false, ids: '', why: 'before all' },
  ])('$mode at $at: $why', ({ at, mode, strict, ids }) => {
    const told = ask(view({}), late, training({ at, mode, strict }));
    expect(told.included.map((one) => one.id).join('')).toBe(ids);
    expect(told.status).toBe(ids === '' ? 'NOT_FOUND' : 'PRESENT');
  });

  test('two events at its instant both count, in order', () => {
    const twins: EventInWords[] = [
      { at: 5, id: 'b' },
      { at: 5, id: 'a' },
    ];
    expect(ask(view({}), twins, training({ at: 5 })).included.map((one) => one.id)).toEqual(['a', 'b']);
    expect(ask(view({}), twins, training({ at: 5, strict: true })).status).toBe('NOT_FOUND');
  });

  test('strict judges the age one millisecond earlier, and reads there', () => {
    const since = feature({ name: 'since', aggregation: { op: 'timeSince', edge: 'last', unitMs: 1 } });
    const expiring = view({ ttlMs: 10, features: [since] });
    expect(ask(expiring, [{ at: 0 }], training({ at: 11 })).status).toBe('OUTSIDE_MAX_AGE');
    expect(ask(expiring, [{ at: 0 }], training({ at: 11, strict: true })).values).toEqual({ since: 10 });
  });

  test('in a window: what leaves at the label has left, strict still has it', () => {
    const sliding = view({ features: [feature({ window: { type: 'sliding', ms: 10, hopMs: 5 } })] });
    expect(ask(sliding, [{ at: 5 }], training({ at: 15 })).values).toEqual({ f: 0 });
    expect(ask(sliding, [{ at: 5 }], training({ at: 15, strict: true })).values).toEqual({ f: 1 });
  });
});

describe('a tick', () => {
  const batch = view({ mode: { type: 'batch', cadenceMs: 100, settleMs: 20 } });
  const events: EventInWords[] = [
    { at: 100, id: 'a' },
    { at: 90, id: 'b', arrivedAt: 120 },
    { at: 80, id: 'c', arrivedAt: 121 },
    { at: 101, id: 'd' },
  ];
  const ids = (of: AggregationView, tick: number) =>
    ask(of, events, { type: 'tick', tick, at: tick })
      .included.map((one) => one.id)
      .join('');

  test('sees what happened up to it and had arrived when it settled', () => {
    expect(ids(batch, 100)).toBe('ba');
  });
  test('sees what came later at the next one', () => {
    expect(ids(batch, 200)).toBe('cbad');
  });
  test('of a streaming view does not settle', () => {
    expect(ids(view({}), 100)).toBe('a');
  });
  test('without an event has no row', () => {
    expect(ask(batch, events, { type: 'tick', tick: 0, at: 0 }).status).toBe('NOT_FOUND');
  });

  test('is where values are read; the status is judged at the moment itself', () => {
    const since = feature({ name: 'since', aggregation: { op: 'timeSince', edge: 'last', unitMs: 1 } });
    const expiring = { ...batch, ttlMs: 150, minAgeMs: 60, features: [since] };
    const one: EventInWords[] = [{ at: 50 }];
    expect(ask(expiring, one, { type: 'tick', tick: 100, at: 100 }).status).toBe('IMMATURE');
    expect(ask(expiring, one, { type: 'tick', tick: 100, at: 110 }).values).toEqual({ since: 50 });
    expect(ask(expiring, one, { type: 'tick', tick: 100, at: 200 }).values).toEqual({ since: 50 });
    expect(ask(expiring, one, { type: 'tick', tick: 100, at: 201 }).status).toBe('OUTSIDE_MAX_AGE');
  });
});

describe('a label of a batch view', () => {
  const batch = view({ mode: { type: 'batch', cadenceMs: 100, settleMs: 20 } });
  const published = [
    { tick: 200, publishedAt: 230 },
    { tick: 100, publishedAt: 125 },
    { tick: 0, publishedAt: 500 },
  ];
  const events: EventInWords[] = [
    { at: 100, id: 'a' },
    { at: 90, id: 'b', arrivedAt: 121 },
    { at: 101, id: 'c' },
    { at: 200, id: 'd', arrivedAt: 220 },
  ];
  test.each<{ at: number; mode: 'known-then' | 'event-time'; strict: boolean; ids: string; why: string }>([
    { at: 124, mode: 'known-then', strict: false, ids: '', why: 'no tick is published yet' },
    { at: 125, mode: 'known-then', strict: false, ids: 'a', why: 'the tick published at the label' },
    { at: 125, mode: 'known-then', strict: true, ids: '', why: 'strict: not yet published' },
    { at: 229, mode: 'known-then', strict: false, ids: 'a', why: 'a tick that is due and not published' },
    { at: 230, mode: 'known-then', strict: false, ids: 'bacd', why: 'the next tick, with what came late' },
    {
      at: 999,
      mode: 'known-then',
      strict: false,
      ids: 'bacd',
      why: 'the greatest tick, not the last published',
    },
    {
      at: 100,
      mode: 'event-time',
      strict: false,
      ids: 'ba',
      why: 'the tick at the label, all that is known today',
    },
    { at: 100, mode: 'event-time', strict: true, ids: '', why: 'strict: the tick before' },
    { at: 199, mode: 'event-time', strict: false, ids: 'ba', why: 'the last tick before the label' },
    { at: 200, mode: 'event-time', strict: false, ids: 'bacd', why: 'the next tick' },
  ])('$mode at $at: $why', ({ at, mode, strict, ids }) => {
    const told = ask(batch, events, training({ at, mode, strict, published }));
    expect(told.included.map((one) => one.id).join('')).toBe(ids);
  });

  test('before 1970 the last tick is further back', () => {
    const old: EventInWords[] = [
      { at: -200, id: 'a' },
      { at: -150, id: 'b' },
    ];
    const told = ask(batch, old, training({ at: -101, mode: 'event-time' }));
    expect(told.included.map((one) => one.id)).toEqual(['a']);
  });

  test('reads at the tick and judges at the label', () => {
    const features = [feature({ window: { type: 'sliding', ms: 100, hopMs: 1 } })];
    const expiring = { ...batch, ttlMs: 100, features };
    const one: EventInWords[] = [{ at: 50, id: 'a' }];
    const at = (label: number, mode: 'known-then' | 'event-time', strict = false) =>
      ask(expiring, one, training({ at: label, mode, strict, published: published.slice(1) }));
    expect(at(150, 'event-time').values).toEqual({ f: 1 });
    expect(at(151, 'event-time').status).toBe('OUTSIDE_MAX_AGE');
    expect(at(151, 'event-time', true).values).toEqual({ f: 1 });
    expect(at(150, 'known-then').values).toEqual({ f: 1 });
    expect(at(151, 'known-then').status).toBe('OUTSIDE_MAX_AGE');
  });
});

test('hours and minutes: the default hop of a window of 1 hour keeps an event up to a minute longer', () => {
  const features = [feature({ window: { type: 'sliding', ms: HOUR, hopMs: MINUTE } })];
  const at = 1_700_000_000_123; // 20.123 s after a whole minute
  const leaves = 1_700_000_040_000 + HOUR;
  expect(ask(view({ features }), [{ at }], record(leaves - 1)).values).toEqual({ f: 1 });
  expect(ask(view({ features }), [{ at }], record(leaves)).values).toEqual({ f: 0 });
});
