/** Orders that are cancelled, before and after they come: records, snapshots, rows and training answers are those of the oracle. */
import { randomUUID } from 'node:crypto';
import { afterAll, beforeAll, expect, test, vi } from 'vitest';
import type { Difference } from '../../activities/findings.js';
import type { Activities } from '../../activities/index.js';
import { recordOf } from '../../activities/output.js';
import { assertDefinitions } from '../../core/check.js';
import { encodeKey, onlineKey } from '../../core/codec/key.js';
import { compileView } from '../../core/compile.js';
import type { AggregationView, Definitions, Source } from '../../core/definition.js';
import { columnNames, type Value } from '../../core/event.js';
import { decodeHeader } from '../../core/record.js';
import { rebuild } from '../../core/state.js';
import { DAY, floorTo, formatTimestamp, HOUR, MINUTE } from '../../core/time.js';
import { computePlan, savePlan } from '../../registry/apply.js';
import { applyPlan } from '../../workflows/apply-plan.js';
import { backfill } from '../../workflows/backfill.js';
import { importSource } from '../../workflows/import-source.js';
import { materialize } from '../../workflows/materialize.js';
import { refill } from '../../workflows/refill.js';
import { drainUpdate } from '../../workflows/stream.js';
import { verify } from '../../workflows/verify.js';
import { servicesOf } from './definitions.js';
import { applyDefinitions, createEnvironment, putFile, type TestEnvironment } from './environment.js';
import {
  buysNow, checkOnline, checkSnapshots, csvOf, cutAtMs, message, openTopic, streamed, type Topic, untilRead,
} from './streaming.js'; // biome-ignore format: one list
import {
  archive,
  checkWithOracle,
  comparable,
  entitiesOf,
  type MadeEvent,
  makeEvents,
  readStored,
  userHourly,
  userNow,
  versionOf,
  visitDaily,
  visits,
  world,
} from './world.js';

const retracting: Source = {
  ...streamed,
  columns: { ...visits.columns, unsays: { type: 'string', nullable: true } },
  retracts: 'unsays',
};
const worldOf = (views: AggregationView[], source = retracting): Definitions => ({
  ...world,
  sources: [source],
  views,
  services: servicesOf(views),
});

function made(row: Record<string, Value>, timestamp: number, arrivedAt = timestamp): MadeEvent {
  const values = columnNames(retracting).map(
    (name) => row[name] ?? { happened_at: timestamp, seen_at: arrivedAt }[name] ?? null,
  );
  return { timestamp, arrivedAt, order: 0, id: String(row.visit_id), values };
}
const rowOf = ({ values }: MadeEvent): Record<string, Value> =>
  Object.fromEntries(columnNames(visits).map((name, i) => [name, values[i]!]));

/** Events, and retractions of some of them, each before or after its event; of ids that never come, and twice. */
function withRetractions(events: readonly MadeEvent[], end: number): MadeEvent[] {
  return events.flatMap((event, i) => {
    const row = rowOf(event);
    const one = made(row, event.timestamp, event.arrivedAt);
    if (i % 6 !== 1) return [one];
    const unsay = (minutes: number, unsays = event.id): MadeEvent => {
      const timestamp = Math.min(end, event.timestamp + minutes * MINUTE);
      const arrivedAt = Math.min(end, Math.max(timestamp, event.arrivedAt + 2 * minutes * MINUTE));
      const id = `r${minutes}-${event.id}`;
      const { user_id = null, store = null } = row;
      return made({ visit_id: id, user_id, store, kind: 'view', unsays }, timestamp, arrivedAt);
    };
    return [one, unsay([-7, 3, 40][i % 3]!), ...(i % 4 === 1 ? [unsay(20), unsay(5, 'nothing')] : [])];
  });
}

/** In about the order of time, as a topic brings them: a retraction may stand before its event. */
const messagesOf = (events: readonly MadeEvent[]): string[] =>
  events
    .map((event, i) => ({ event, at: event.timestamp + ((i * 7919) % 50) * MINUTE }))
    .sort((a, b) => a.at - b.at)
    .map(({ event }) => message(event, retracting));

const env = await createEnvironment();
const batch = await createEnvironment();
let topic: Topic;
let produced = 0;

async function apply(definitions: Definitions): Promise<void> {
  const checked = assertDefinitions(definitions);
  const plan = await computePlan(env.deps.pool, checked);
  await savePlan(env.deps.pool, plan, checked);
  await env.client.workflow.execute(applyPlan, {
    workflowId: `apply/${randomUUID()}`,
    taskQueue: env.controlQueue,
    args: [{ planHash: plan.hash, by: 'test' }],
  });
}
async function produce(messages: readonly string[]): Promise<void> {
  for (let i = 0; i < messages.length; i += 40) {
    const some = messages.slice(i, i + 40);
    await topic.produce(some);
    produced += some.length;
    await untilRead(env, produced);
  }
}
const checkStreamed = () =>
  vi.waitFor(
    async () => {
      for (const view of [userNow, buysNow]) expect(await checkOnline(env, view)).toBeGreaterThan(100);
    },
    { timeout: 20_000 },
  );
const runBackfill = (of: TestEnvironment, view: string, end?: number) =>
  of.client.workflow.execute(backfill, {
    workflowId: `backfill/${view}`,
    taskQueue: `${of.config.environment}-batch`,
    args: [{ view, ...(end !== undefined && { end: formatTimestamp(end) }) }],
  });
const runVerify = (of: TestEnvironment, id = 'all') =>
  of.client.workflow.execute(verify, {
    workflowId: `verify/${id}`,
    taskQueue: of.controlQueue,
    args: [{ id, entities: 40, moments: 4 }],
  });

beforeAll(async () => {
  // ticks come when this test says so
  const quiet = (activities: Activities) => ({ ...activities, settleSchedules: async () => {} });
  await env.startWorkers(quiet);
  await apply(worldOf([userNow, buysNow]));
  topic = await openTopic(env);
  await batch.startWorkers(quiet);
});
afterAll(() => topic.close());

test('a stream: records equal the oracle, also after a restart and with retractions of what came before it', async () => {
  const now = Date.now();
  const events = makeEvents(400, { start: now - 5 * HOUR, end: now - 2_000, seed: 1 });
  const messages = messagesOf(withRetractions(events, now - 2_000));
  await produce(messages.slice(0, 300));
  await checkStreamed();
  const stream = env.client.workflow.getHandle('stream/visits');
  await stream.executeUpdate(drainUpdate);
  await stream.result();
  expect(await checkSnapshots(env, userNow)).toBeGreaterThan(10);
  await topic.produce(messages.slice(300));
  produced = messages.length;
  await apply(worldOf([userNow, buysNow]));
  await untilRead(env, produced);
  await checkStreamed();
});

test('the only event of an entity, retracted while its record is in Redis: nothing is found; then another comes', async () => {
  const { id } = await versionOf(env, userNow.name);
  const key = onlineKey(env.config.environment, 'user', encodeKey(world.entities[0]!, ['once']));
  const untilEvents = (count: number) =>
    vi.waitFor(async () => {
      const record = await env.deps.redis.hgetBuffer(key, String(id));
      expect(record && decodeHeader(record).eventCount).toBe(count);
    }, 20_000);
  const bring = (visit_id: string, unsays: string | null = null) =>
    produce([message(made({ visit_id, user_id: 'once', kind: 'buy', item: 'a', unsays }, Date.now() - 1), retracting)]); // biome-ignore format: short
  await bring('first');
  await untilEvents(1);
  await bring('not-first', 'first');
  await untilEvents(0);
  await bring('second');
  await untilEvents(1);
  await bring('not-second', 'second');
  await untilEvents(0);
  await checkStreamed();
});

test('an import that unsays what was streamed; backfills, a refill and verification', async () => {
  const events = makeEvents(300, { start: cutAtMs - 30 * HOUR, end: cutAtMs - 1, seed: 2 });
  const [user] = await entitiesOf(env, userNow);
  const newest = user!.events.at(-1)!;
  const row = Object.fromEntries(columnNames(retracting).map((name, i) => [name, newest.values[i]!]));
  const early = made(
    { visit_id: 'early', user_id: row.user_id!, kind: 'view', unsays: newest.id },
    cutAtMs - HOUR,
  );
  const file = csvOf([...withRetractions(events, cutAtMs - 1), early], retracting);
  const { counts } = await env.client.workflow.execute(importSource, {
    workflowId: 'import/visits/before',
    taskQueue: env.controlQueue,
    args: [{ source: 'visits', file: putFile(env, file), name: 'before', format: 'csv' }],
  });
  expect(counts.archived).toBeGreaterThan(330);
  await checkStreamed();

  await apply(worldOf([userNow, buysNow, userHourly]));
  for (const { name } of [userNow, buysNow, userHourly]) await runBackfill(env, name);
  await checkStreamed();
  const { version, id } = await versionOf(env, userNow.name);
  for (const { key } of await entitiesOf(env, userNow))
    await env.deps.redis.hdel(onlineKey(env.config.environment, 'user', key), String(id));
  await env.client.workflow.execute(refill, {
    workflowId: `refill/user_now@${version}`,
    taskQueue: `${env.config.environment}-batch`,
    args: [{ view: userNow.name }],
  });
  await checkStreamed();
  const { different, byView } = await runVerify(env);
  expect(different).toBe(0);
  for (const { name } of [userNow, buysNow, userHourly])
    for (const checks of Object.values(byView[name]!)) expect(checks.checked).toBeGreaterThan(100);
});

test('a record that lacks a retraction is found, and the retraction named', async () => {
  const { id, source, view } = await versionOf(env, userNow.name);
  const compiled = compileView(view, source);
  const key = encodeKey(world.entities[0]!, ['once']);
  const { events } = (await entitiesOf(env, userNow)).find((one) => Buffer.from(key).equals(one.key))!;
  const state = rebuild(compiled, events.filter((event) => event.id !== 'not-second')); // biome-ignore format: short
  state.sequence = Math.max(...events.map(({ sequence }) => sequence));
  state.asOf = Math.max(...events.map(({ timestamp }) => timestamp));
  const online = onlineKey(env.config.environment, 'user', key);
  await env.deps.redis.hset(online, String(id), recordOf(compiled, state));
  await expect(runVerify(env, 'lacks')).rejects.toMatchObject({ cause: { type: 'FS_PARITY' } });
  const { rows } = await env.deps.pool.query<{ result: { differences: Difference[] } }>(
    `select result from verification where id = 'lacks'`,
  );
  const { differences } = rows[0]!.result;
  expect(differences.every(({ path, view }) => path === 'online' && view === userNow.name)).toBe(true);
  expect(differences.map(({ event }) => event && [event.id, event.found])).toContainEqual([
    'not-second',
    'leaves it out',
  ]);
});

test('tick by tick is the backfill of the range, and both are the oracle', async () => {
  const now = Date.now();
  const half = floorTo(now, DAY) - DAY;
  const gone = { user_id: 'gone', kind: 'view' };
  const events = [
    ...withRetractions(makeEvents(800, { start: half - DAY, end: now - 1_000, seed: 4 }), now - 1_000),
    // all of an entity's events are unsaid, some ticks later
    made({ ...gone, visit_id: 'only' }, half - 20 * HOUR),
    made({ ...gone, visit_id: 'not-only', unsays: 'only' }, half - 12 * HOUR),
  ];
  const { stream: _, ...source } = retracting;
  const whole = { ...userHourly, name: 'user_whole' };
  await applyDefinitions(batch, worldOf([userHourly, whole, visitDaily], source));
  const early = events.filter(({ arrivedAt }) => arrivedAt <= half + 15 * MINUTE);
  await archive(batch, early, -1, source);
  await runBackfill(batch, userHourly.name, half);
  await archive(batch, events.filter((event) => !early.includes(event)), -2, source); // biome-ignore format: short
  await runBackfill(batch, whole.name);
  const wanted = await readStored(batch, whole);
  const end = wanted.progress!.last_tick_ms;
  for (let tick = half; tick < end; ) {
    tick = Math.min(end, tick + 3 * HOUR);
    await batch.client.workflow.execute(materialize, {
      workflowId: `materialize/${tick}`,
      taskQueue: `${batch.config.environment}-batch`,
      args: [{ view: userHourly.name, tick: formatTimestamp(tick) }],
    });
  }
  expect(comparable(await readStored(batch, userHourly))).toEqual(comparable(wanted));
  expect(wanted.rows.filter(({ event_ms }) => event_ms === null).length).toBeGreaterThan(0);
  const start = floorTo(Math.min(...events.map(({ timestamp }) => timestamp)), HOUR);
  expect((await checkWithOracle(batch, userHourly, { start, end })).checked).toBeGreaterThan(1_000);
  const daily = await runBackfill(batch, visitDaily.name);
  await checkWithOracle(batch, visitDaily, { start: Date.parse(daily.start), end: Date.parse(daily.end) });
  expect((await runVerify(batch)).different).toBe(0);
});
