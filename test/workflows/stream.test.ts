import { randomUUID } from 'node:crypto';
import { afterAll, beforeAll, expect, test, vi } from 'vitest';
import { assertDefinitions } from '../../core/check.js';
import { encodeKey, onlineKey } from '../../core/codec/key.js';
import { readConfig } from '../../core/config.js';
import type { AggregationView } from '../../core/definition.js';
import { decodeHeader } from '../../core/record.js';
import { HOUR } from '../../core/time.js';
import { computePlan, savePlan } from '../../registry/apply.js';
import { createProducer } from '../../registry/push.js';
import { createRuns } from '../../registry/runs.js';
import { startRegistry } from '../../registry/server.js';
import { applyPlan } from '../../workflows/apply-plan.js';
import { importSource } from '../../workflows/import-source.js';
import { pauseUpdate, resumeUpdate } from '../../workflows/progress.js';
import { drainUpdate } from '../../workflows/stream.js';
import { createEnvironment, putFile } from './environment.js';
import {
  buysNow, checkOnline, checkSnapshots,
  csvOf,
  cutAtMs, makeMessages, offsetsOf, openTopic, streamWorld, type Topic, untilRead,
} from './streaming.js'; // biome-ignore format: one list
import { makeEvents, userNow, world } from './world.js';

const env = await createEnvironment();
let topic: Topic;
let produced = 0;

async function apply(views: AggregationView[]): Promise<void> {
  const definitions = assertDefinitions(streamWorld(views));
  const plan = await computePlan(env.deps.pool, definitions);
  await savePlan(env.deps.pool, plan, definitions);
  await env.client.workflow.execute(applyPlan, {
    workflowId: `apply/${randomUUID()}`,
    taskQueue: env.controlQueue,
    args: [{ planHash: plan.hash, by: 'test' }],
  });
}
async function produce(messages: readonly string[]): Promise<void> {
  await topic.produce(messages);
  produced += messages.length;
}
const stream = () => env.client.workflow.getHandle('stream/visits');

beforeAll(async () => {
  await env.startWorkers();
  await apply([userNow]);
  topic = await openTopic(env);
});
afterAll(() => topic.close());

test('late, doubled, reordered and invalid events: the records equal the oracle', async () => {
  const made = makeMessages(600, 1);
  for (let i = 0; i < made.messages.length; i += 90) await produce(made.messages.slice(i, i + 90));
  await untilRead(env, produced);
  const found = await offsetsOf(env);
  expect(found.invalid).toBe(made.invalid);
  expect(found.too_late).toBe(made.late);
  expect(found.duplicate).toBe(made.duplicates);
  expect(found.conflict).toBe(made.conflicts);
  expect(found.archived + found.duplicate + found.conflict + found.invalid + found.too_late).toBe(produced);
  await vi.waitFor(() => checkOnline(env, userNow), { timeout: 10_000 });
  expect(await checkOnline(env, userNow)).toBeGreaterThan(100);
});

test('paused it reads nothing; resumed it goes on', async () => {
  await stream().executeUpdate(pauseUpdate);
  await vi.waitFor(async () => expect((await offsetsOf(env)).state).toBe('paused'), { timeout: 10_000 });
  const before = await offsetsOf(env);
  await produce(makeMessages(20, 2).messages);
  expect((await offsetsOf(env)).next_offset).toBe(before.next_offset);
  await stream().executeUpdate(resumeUpdate);
  await untilRead(env, produced);
});

test('a view applied while events flow begins with its backfill and goes on with the stream', async () => {
  let flowing = true;
  const flow = (async () => {
    for (let seed = 10; flowing; seed++) await produce(makeMessages(15, seed, 1).messages);
  })();
  await apply([userNow, buysNow]);
  await vi.waitFor(
    async () => expect((await env.deps.pool.query('select 1 from stream_attached')).rowCount).toBe(2),
    { timeout: 30_000 },
  );
  const attached = produced;
  await vi.waitFor(() => expect(produced).toBeGreaterThan(attached + 100), { timeout: 30_000 });
  flowing = false;
  await flow;
  await untilRead(env, produced);
  for (const view of [userNow, buysNow]) {
    await vi.waitFor(() => checkOnline(env, view), { timeout: 10_000 });
  }
});

test('what a file brings meanwhile is taken in', async () => {
  const events = makeEvents(300, { start: cutAtMs - 2 * HOUR, end: cutAtMs + HOUR, seed: 77_777 });
  const file = putFile(env, csvOf(events));
  const importing = env.client.workflow.execute(importSource, {
    workflowId: 'import/visits/before',
    taskQueue: env.controlQueue,
    args: [{ source: 'visits', file, name: 'before', format: 'csv' }],
  });
  for (let seed = 700; seed < 705; seed++) await produce(makeMessages(20, seed, 2).messages);
  const { counts } = await importing;
  expect(counts.archived).toBe(events.filter(({ timestamp }) => timestamp < cutAtMs).length);
  expect(counts.withheld).toBeGreaterThan(0);
  await untilRead(env, produced);
  for (const view of [userNow, buysNow]) await vi.waitFor(() => checkOnline(env, view), { timeout: 10_000 });
});

test("rows pushed in Feast's shape are events like any other; status shows the stream", async () => {
  const runs = createRuns(env.config);
  const producer = createProducer(env.config);
  const registry = await startRegistry({
    config: readConfig({ ...env.env, ALMANAC_REGISTRY_URL: 'http://127.0.0.1:0' }),
    pool: env.deps.pool,
    runs,
    producer,
    instance: null,
  });
  const post = async (df: Record<string, unknown[]>) => {
    const response = await fetch(`${registry.url}/push`, {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify({ push_source_name: 'visits', df, to: 'online_and_offline' }),
      signal: AbortSignal.timeout(30_000),
    });
    return { status: response.status, body: (await response.json()) as Record<string, unknown> };
  };
  const at = new Date().toISOString();
  const df = {
    visit_id: ['p1', 'p2'],
    user_id: ['pushed', 'pushed'],
    kind: ['buy', 'view'],
    happened_at: [at, at],
  };
  expect(await post({ ...df, happened_at: [at, 'yesterday'] })).toMatchObject({
    status: 422,
    body: { code: 'FS_DATA_INVALID', row: 1 },
  });
  expect(await post({ ...df, kind: ['buy'] })).toMatchObject({ status: 400 });
  expect(await post({ ...df, color: ['red', 'red'] })).toMatchObject({ status: 400 });
  expect(await post(df)).toEqual({ status: 200, body: { rows: 2 } });
  produced += 2;
  await untilRead(env, produced);
  const pushed = encodeKey(world.entities[0]!, ['pushed']);
  await vi.waitFor(
    async () => {
      const [first] = await env.deps.redis.hvalsBuffer(onlineKey(env.config.environment, 'user', pushed));
      expect(decodeHeader(first!).eventCount).toBeGreaterThan(0);
    },
    { timeout: 10_000 },
  );
  await vi.waitFor(
    async () => {
      const status = (await (await fetch(`${registry.url}/v1/status`)).json()) as { streams: object[] };
      expect(status.streams).toMatchObject([
        { source: 'visits', partition: 0, state: 'running', offset: produced, lag: 0, counts: { held: 0 } },
      ]);
    },
    { timeout: 10_000 },
  );
  await registry.close();
  await producer.close();
  await runs.close();
});

test('drained it leaves snapshots of its records; started again it goes on from them', async () => {
  await stream().executeUpdate(drainUpdate);
  await stream().result();
  for (const view of [userNow, buysNow]) expect(await checkSnapshots(env, view)).toBeGreaterThan(10);
  await produce(makeMessages(200, 500, 1).messages);
  await apply([userNow, buysNow]);
  await untilRead(env, produced);
  for (const view of [userNow, buysNow]) await vi.waitFor(() => checkOnline(env, view), { timeout: 10_000 });
});
