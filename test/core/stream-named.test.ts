/** What happens to a stream, by name: plans of stream-case.ts written by hand, each held to all that holds whatever happens. */
import { expect, test } from 'vitest';
import { compileView } from '../../core/compile.js';
import type { AggregationFeature, AggregationView, Window } from '../../core/definition.js';
import type { Event, Value } from '../../core/event.js';
import { columnNames } from '../../core/event.js';
import { advance, createState, encodeState, fold } from '../../core/state.js';
import { sweepTicks } from '../../core/sweep.js';
import { DAY, HOUR, MINUTE, SECOND } from '../../core/time.js';
import { answer } from '../../oracle/oracle.js';
import { said } from './always.js';
import { SOURCES } from './generate.js';
import type { StreamCase } from './stream-case.js';
import { expectStream } from './stream-case.js';
import type { Action } from './stream-model.js';

const { source } = SOURCES.retracting;
const of = (name: string, aggregation: AggregationFeature['aggregation'], window: Window): AggregationFeature => ({
  name, aggregation, window, description: '-', type: 'int64', coldStart: 0, nameException: null, where: null,
}); // biome-ignore format: one thing
const value = { col: 'amount' };
const view: AggregationView = {
  kind: 'aggregation',
  name: 'named',
  description: '-',
  owner: 'test',
  tags: [],
  entity: 'user',
  ttlMs: null,
  freshness: { tier: 'realtime', expectedEveryMs: HOUR },
  source: 'events',
  key: ['user_id'],
  where: null,
  mode: { type: 'streaming', rowsEveryMs: HOUR },
  minAgeMs: 0,
  minEvents: 0,
  features: [
    of('stepping', { op: 'sum', value }, { type: 'sliding', ms: 6 * HOUR, hopMs: SECOND }),
    of('day', { op: 'sum', value }, { type: 'sliding', ms: DAY, hopMs: 10 * MINUTE }),
    of('least', { op: 'min', value }, { type: 'sliding', ms: HOUR, hopMs: MINUTE }),
    of('visit', { op: 'count' }, { type: 'session', gapMs: 20 * MINUTE }),
    of('ever', { op: 'distinct', value, limit: 5 }, { type: 'lifetime' }),
  ],
};

let made = 0;
function eventAt(
  minute: number,
  more: { user?: string; late?: number; id?: string; unsays?: string } = {},
): Event {
  const { user = 'u0', late = 0, id = `e${made++}`, unsays = null } = more;
  const timestamp = minute * MINUTE;
  const row: Record<string, Value> = {
    amount: minute % 7,
    at: timestamp,
    event_id: id,
    kind: 'a',
    unsays,
    user_id: user,
  };
  const values = columnNames(source).map((name) => row[name] ?? null);
  return { timestamp, arrivedAt: timestamp + late * MINUTE, sequence: 1, order: 0, id, values };
}

const many = (from: number, count: number, user?: string): Event[] =>
  Array.from({ length: count }, (_, index) => eventAt(from + 3 * index, user === undefined ? {} : { user }));
const take = (size: number, held = 0, release = false): Action => ({
  do: 'take',
  size,
  again: 0,
  held,
  release,
  dies: false,
});
const attach: Action = { do: 'attach' };
const refresh = (laterMs: number, end: 'goes on' | 'moves'): Action => ({ do: 'refresh', laterMs, end });
const snapshot: Action = { do: 'snapshot', every: 1 };

const CASES: Record<string, Partial<StreamCase> & { plan: Action[] }> = {
  'held events are archived when their time has come': {
    entities: [many(0, 12), many(1, 6, 'u1')],
    plan: [attach, take(6, 2), take(6), take(6, 0, true), refresh(HOUR, 'goes on')],
  },
  'an import is taken in after the stream attached': {
    entities: [many(300, 8)],
    imports: [many(0, 8), many(310, 3)],
    plan: [
      attach,
      take(4),
      { do: 'import', entity: 0, size: 8 },
      { do: 'follow' },
      take(2),
      { do: 'import', entity: 1, size: 3 },
      { do: 'follow' },
    ],
  },
  'a retraction comes before its event': {
    entities: [[eventAt(0), eventAt(5, { unsays: 'late' }), eventAt(2, { id: 'late', late: 30 }), eventAt(40)]],
    plan: [attach, take(2), snapshot, { do: 'crash' }, take(2)],
  },
  'a retraction comes before the snapshot of its event, and after it': {
    entities: [
      [eventAt(0, { id: 'x' }), eventAt(1, { id: 'y' }), eventAt(2, { unsays: 'x' }), eventAt(9), eventAt(10, { unsays: 'y' })],
    ],
    plan: [attach, take(3), snapshot, { do: 'evict', every: 1 }, take(2), { do: 'crash' }, refresh(0, 'goes on')],
  },
  'the newest event is retracted, then the only one left': {
    entities: [
      [eventAt(0, { id: 'x' }), eventAt(5, { id: 'y' }), eventAt(6, { unsays: 'y' }), eventAt(7, { unsays: 'x' }), eventAt(30)],
    ],
    plan: [attach, take(2), take(1), refresh(MINUTE, 'goes on'), take(1), snapshot, take(1)],
  },
  'ownership moves right after a refresh, on a quiet entity': {
    entities: [many(0, 10), [eventAt(1, { user: 'u1' }), eventAt(900, { user: 'u1' })]],
    plan: [attach, take(11), refresh(8 * HOUR, 'moves'), take(1), refresh(HOUR, 'moves')],
  },
  'a backfill in chunks, with the attach in between': {
    entities: [many(0, 9), many(2, 9, 'u1'), many(4, 9, 'u2')],
    plan: [take(12), { do: 'backfill', size: 1 }, take(6), { do: 'backfill', size: 1 }, attach, { do: 'backfill', size: 1 }, take(9)],
  },
}; // biome-ignore format: plans

test.each(Object.entries(CASES))('%s', (_, given) => {
  expectStream({
    view,
    source,
    entities: [],
    imports: [[]],
    moments: [0, MINUTE, 5 * HOUR, 2 * DAY],
    recordBytes: 64,
    ...given,
  });
});

// Two partitions of a topic feed one of an entity's own: the order between them is whoever's came first.
test('re-keyed arrival in another order leaves the same bytes', () => {
  const compiled = compileView(view, source);
  const [one, other] = [many(0, 20), many(1, 20)];
  const orders = [
    [...one, ...other],
    [...other, ...one],
    one.flatMap((event, index) => [other[index]!, event]),
    [...one, ...other].reverse(),
  ];
  const bytes = orders.map((events) => {
    const state = createState(compiled);
    events.forEach((event, index) => {
      if (!state.needsRebuild) fold(compiled, state, { ...event, sequence: index + 1 });
    });
    if (state.needsRebuild) return null; // a session asks for all of the events: rebuilt, it has one order
    advance(compiled, state, 2 * HOUR);
    return Buffer.from(encodeState(compiled, state)).toString('hex');
  });
  expect(bytes.filter((each) => each !== null).length).toBeGreaterThan(1);
  expect(new Set(bytes.filter((each) => each !== null)).size).toBe(1);
});

test.each([0, 15 * MINUTE])('ticks that settle after %d ms see what had arrived by then', (settleMs) => {
  const batch: AggregationView = { ...view, mode: { type: 'batch', cadenceMs: HOUR, settleMs } };
  const events = [
    eventAt(50),
    eventAt(59, { late: 10 }),
    eventAt(58, { late: 20 }),
    eventAt(60),
    eventAt(61),
  ];
  const { rows } = sweepTicks(compileView(batch, source), events, { after: 0, until: 3 * HOUR });
  expect(rows.map(({ tick, reading }) => [tick / HOUR, reading!.eventCount])).toEqual(
    settleMs === 0
      ? [
          [1, 2],
          [2, 5],
          [3, 5],
        ]
      : [
          [1, 3],
          [2, 5],
          [3, 5],
        ],
  );
  for (const { tick, reading } of rows) {
    const truth = answer(batch, source, events, { type: 'tick', tick, at: tick });
    expect(said(batch, reading, tick).values).toEqual(truth.values);
  }
});
