import { randomUUID } from 'node:crypto';
import { afterAll, beforeAll, expect, test, vi } from 'vitest';
import { assertDefinitions } from '../../core/check.js';
import type { AggregationView } from '../../core/definition.js';
import { computePlan, savePlan } from '../../registry/apply.js';
import { applyPlan } from '../../workflows/apply-plan.js';
import { pauseUpdate, resumeUpdate } from '../../workflows/progress.js';
import { drainUpdate } from '../../workflows/stream.js';
import { createEnvironment } from './environment.js';
import {
  buysNow, checkOnline, checkSnapshots, makeMessages, offsetsOf, openTopic, streamWorld, type Topic, untilRead,
} from './streaming.js'; // biome-ignore format: one list
import { userNow } from './world.js';

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

test('drained it leaves snapshots of its records; started again it goes on from them', async () => {
  await stream().executeUpdate(drainUpdate);
  await stream().result();
  for (const view of [userNow, buysNow]) expect(await checkSnapshots(env, view)).toBeGreaterThan(10);
  await produce(makeMessages(200, 500, 1).messages);
  await apply([userNow, buysNow]);
  await untilRead(env, produced);
  for (const view of [userNow, buysNow]) await vi.waitFor(() => checkOnline(env, view), { timeout: 10_000 });
});
