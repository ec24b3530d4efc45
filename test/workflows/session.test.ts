/** Sessions, as windows and as a source, that a late event can reopen: what a state cannot take in is made anew of the archive, streaming and tick by tick. */
import { randomUUID } from 'node:crypto';
import { afterAll, beforeAll, expect, test, vi } from 'vitest';
import type { Activities } from '../../activities/index.js';
import { assertDefinitions } from '../../core/check.js';
import { compileView } from '../../core/compile.js';
import type { AggregationFeature, AggregationView, Window } from '../../core/definition.js';
import { columnNames, type Event, type Value } from '../../core/event.js';
import { createState, fold } from '../../core/state.js';
import { DAY, floorTo, formatTimestamp, HOUR, MINUTE } from '../../core/time.js';
import { answer } from '../../oracle/oracle.js';
import { computePlan, savePlan } from '../../registry/apply.js';
import { applyPlan } from '../../workflows/apply-plan.js';
import { backfill } from '../../workflows/backfill.js';
import { materialize } from '../../workflows/materialize.js';
import { drainUpdate } from '../../workflows/stream.js';
import { verify } from '../../workflows/verify.js';
import { servicesOf } from './definitions.js';
import { applyDefinitions, createEnvironment } from './environment.js';
import {
  checkOnline,
  checkSnapshots,
  makeMessages,
  message,
  openTopic,
  streamWorld,
  type Topic,
  untilRead,
} from './streaming.js';
import {
  archive,
  checkWithOracle,
  comparable,
  entitiesOf,
  makeEvents,
  readStored,
  userHourly,
  userNow,
  visits,
  world,
} from './world.js';

const cents = { col: 'cents' };
const feature = (
  name: string,
  type: AggregationFeature['type'],
  window: Window,
  aggregation: AggregationFeature['aggregation'],
): AggregationFeature => ({
  name,
  description: name,
  type,
  coldStart: null,
  nameException: 'made up',
  where: null,
  window,
  aggregation,
});
/** A gap that what is late closes: by minutes in the topic, by hours at ticks. */
const featuresOf = (session: Window) => [
  feature('session_visits', 'int64', session, { op: 'count' }),
  feature('session_cents', 'list<int64>', session, { op: 'lastN', value: cents, n: 5 }),
  feature('hopping_cents', 'int64', { type: 'hopping', ms: 2 * HOUR, hopMs: 30 * MINUTE }, { op: 'sum', value: cents }), // biome-ignore format: a table
  feature('least_4h', 'int64', { type: 'tumbling', ms: 4 * HOUR }, { op: 'min', value: cents }),
  feature('day_visits', 'int64', { type: 'calendar', unit: 'day', zone: 'Europe/Berlin' }, { op: 'count' }),
];
const streamed: AggregationView = {
  ...userNow,
  name: 'sessions_now',
  features: featuresOf({ type: 'session', gapMs: 10 * MINUTE }),
};
const ticked: AggregationView = {
  ...userHourly,
  name: 'sessions_hourly',
  features: featuresOf({ type: 'session', gapMs: 2 * HOUR }),
};
/** The same gaps, and what has ended counts. */
const inSessions = (view: AggregationView, gapMs: number): AggregationView => ({
  ...view,
  name: `${view.name}_ended`,
  sessions: { gapMs, where: null, sums: [{ name: 'total', value: cents }] },
  features: [
    feature('ended', 'int64', { type: 'lifetime' }, { op: 'count' }),
    feature('mean_duration_6h', 'float64', { type: 'sliding', ms: 6 * HOUR, hopMs: MINUTE }, { op: 'mean', value: { col: 'duration_ms' } }), // biome-ignore format: a table
    feature('hopping_total', 'int64', { type: 'hopping', ms: 2 * HOUR, hopMs: 30 * MINUTE }, { op: 'sum', value: { col: 'total' } }), // biome-ignore format: a table
    feature('last_counts', 'list<int64>', { type: 'lifetime' }, { op: 'lastN', value: { col: 'event_count' }, n: 3 }), // biome-ignore format: a table
  ],
});
const streamedEnded = inSessions(streamed, 10 * MINUTE);
const tickedEnded = inSessions(ticked, 2 * HOUR);

const env = await createEnvironment();
const batch = await createEnvironment();
let topic: Topic;
let produced = 0;

async function apply(): Promise<void> {
  const definitions = assertDefinitions(streamWorld([streamed, streamedEnded]));
  const plan = await computePlan(env.deps.pool, definitions);
  await savePlan(env.deps.pool, plan, definitions);
  await env.client.workflow.execute(applyPlan, {
    workflowId: `apply/${randomUUID()}`,
    taskQueue: env.controlQueue,
    args: [{ planHash: plan.hash, by: 'test' }],
  });
}
async function produce(messages: readonly string[]): Promise<void> {
  for (let i = 0; i < messages.length; i += 40) {
    await topic.produce(messages.slice(i, i + 40));
    produced += messages.slice(i, i + 40).length;
    await untilRead(env, produced);
  }
}

/** How many entities come to an event they cannot take in, folded as they were archived. */
async function countStuck(of: typeof env, view: AggregationView): Promise<number> {
  const compiled = compileView(view, visits);
  const inOrder = (a: Event, b: Event): number => a.sequence - b.sequence;
  const states = (await entitiesOf(of, view)).map(({ events }) => {
    const state = createState(compiled);
    for (const event of [...events].sort(inOrder)) fold(compiled, state, event);
    return state;
  });
  return states.filter(({ needsRebuild }) => needsRebuild).length;
}

beforeAll(async () => {
  await env.startWorkers();
  await apply();
  topic = await openTopic(env);
  // ticks come when this test says so
  await batch.startWorkers((activities: Activities) => ({ ...activities, settleSchedules: async () => {} }));
});
afterAll(() => topic.close());

test('late events that join sessions: the records equal the oracle, also after a restart', async () => {
  const check = async (view: AggregationView) => {
    await vi.waitFor(() => checkOnline(env, view), { timeout: 10_000 });
  };
  await produce(makeMessages(400, 1).messages);
  for (const view of [streamed, streamedEnded]) {
    expect(await countStuck(env, view)).toBeGreaterThan(0);
    await check(view);
  }
  const stream = env.client.workflow.getHandle('stream/visits');
  await stream.executeUpdate(drainUpdate);
  await stream.result();
  for (const view of [streamed, streamedEnded]) expect(await checkSnapshots(env, view)).toBeGreaterThan(10);
  const messages = makeMessages(200, 2, 3).messages;
  await topic.produce(messages);
  produced += messages.length;
  await apply();
  await untilRead(env, produced);
  for (const view of [streamed, streamedEnded]) await check(view);
});

test('two sessions that had ended, and one late event that makes them one: nothing differs', async () => {
  const now = Date.now();
  const names = columnNames(visits);
  const visit = (minutes: number): string => {
    const timestamp = now + minutes * MINUTE;
    const [made] = makeEvents(1, { start: timestamp, end: timestamp, seed: 5 });
    const given: Record<string, Value> = {
      visit_id: `merged${minutes}`,
      user_id: 'merged',
      happened_at: timestamp,
      seen_at: null,
    };
    return message({ values: names.map((name, i) => (name in given ? given[name]! : made!.values[i]!)) });
  };
  const counts = async () => {
    const all = await entitiesOf(env, streamedEnded);
    const one = all.find(({ events }) => events.some(({ id }) => id.startsWith('merged')))!;
    return answer(streamedEnded, visits, one.events, {
      type: 'record',
      at: now,
      sequence: Number.MAX_SAFE_INTEGER,
    }).values.last_counts;
  };
  await produce([visit(-45), visit(-27)]);
  expect(await counts()).toEqual([1, 1]);
  await vi.waitFor(() => checkOnline(env, streamedEnded), { timeout: 10_000 });
  await produce([visit(-36)]);
  expect(await counts()).toEqual([3]);
  await vi.waitFor(() => checkOnline(env, streamedEnded), { timeout: 10_000 });
  const id = randomUUID();
  const verified = await env.client.workflow.execute(verify, {
    workflowId: `verify/${id}`,
    taskQueue: env.controlQueue,
    args: [{ id, views: [streamedEnded.name], moments: 20 }],
  });
  expect(verified).toMatchObject({ different: 0 });
  for (const path of ['online', 'training'] as const)
    expect(verified.byView[streamedEnded.name]![path]!.checked).toBeGreaterThan(50);
});

test('tick by tick over late arrivals is the backfill of the range', async () => {
  const now = Date.now();
  const half = floorTo(now, DAY) - DAY;
  const events = makeEvents(800, { start: half - DAY, end: now - 1_000, seed: 4 });
  const onBatch = (workflowId: string) => ({ workflowId, taskQueue: `${batch.config.environment}-batch` });
  const run = (view: string, end?: string) =>
    batch.client.workflow.execute(backfill, {
      ...onBatch(`backfill/${view}`),
      args: [{ view, ...(end !== undefined && { end }) }],
    });
  const pairs = [ticked, tickedEnded].map((view) => ({
    view,
    whole: { ...view, name: `${view.name}_whole` },
  }));
  const views = pairs.flatMap(({ view, whole }) => [view, whole]);
  await applyDefinitions(batch, { ...world, views, services: servicesOf(views) });
  // what had arrived when it was backfilled, settle time included
  const early = events.filter(({ arrivedAt }) => arrivedAt <= half + 15 * MINUTE);
  await archive(batch, early, -1);
  for (const { view } of pairs) await run(view.name, formatTimestamp(half));
  await archive(batch, events.filter((event) => !early.includes(event)), -2); // biome-ignore format: short
  for (const { view, whole } of pairs) {
    expect(await countStuck(batch, view)).toBeGreaterThan(0);
    await run(whole.name);
    const wanted = await readStored(batch, whole);
    const end = wanted.progress!.last_tick_ms;
    for (let tick = half; tick < end; ) {
      tick = Math.min(end, tick + 3 * HOUR);
      await batch.client.workflow.execute(materialize, {
        ...onBatch(`materialize/${view.name}/${tick}`),
        args: [{ view: view.name, tick: formatTimestamp(tick) }],
      });
    }
    const [a, b] = [comparable(await readStored(batch, view)), comparable(wanted)];
    expect(a.rows).toEqual(b.rows);
    expect(a.snapshots).toEqual(b.snapshots);
    expect(a.records).toEqual(b.records);
    const start = floorTo(Math.min(...events.map(({ timestamp }) => timestamp)), HOUR);
    expect((await checkWithOracle(batch, view, { start, end })).checked).toBeGreaterThan(1_000);
  }
});
