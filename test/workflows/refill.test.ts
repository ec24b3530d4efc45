import { afterAll, beforeAll, expect, test } from 'vitest';
import type { Definitions } from '../../core/definition.js';
import { DAY, floorTo } from '../../core/time.js';
import { computePlan, savePlan } from '../../registry/apply.js';
import { type Serving, startServing } from '../../serving/server.js';
import { applyPlan } from '../../workflows/apply-plan.js';
import { backfill } from '../../workflows/backfill.js';
import { refill } from '../../workflows/refill.js';
import { createEnvironment } from './environment.js';
import { repeating } from './faults.js';
import { archive, makeEvents, world } from './world.js';

// Two views are backfilled, the third never was.
const env = await createEnvironment();
const { pool, redis, config } = env.deps;
const today = floorTo(Date.now(), DAY);
let serving: Serving;

const onBatch = (workflowId: string) => ({ workflowId, taskQueue: `${config.environment}-batch` });
const runRefill = (view: string) =>
  env.client.workflow.execute(refill, { ...onBatch(`refill/${view}`), args: [{ view }] });

async function apply(definitions: Definitions): Promise<{ revision: number }> {
  const plan = await computePlan(pool, definitions);
  await savePlan(pool, plan, definitions);
  return env.client.workflow.execute(applyPlan, {
    workflowId: `apply/${plan.hash.slice(0, 16)}`,
    taskQueue: env.controlQueue,
    args: [{ planHash: plan.hash, by: 'test' }],
  });
}

/** As FLUSHALL does, for this environment alone. */
async function emptyRedis(): Promise<void> {
  const keys = await redis.keys(`${config.environment}:*`);
  expect(keys.length).toBeGreaterThan(0);
  await redis.del(keys);
}

async function ask(): Promise<{ status: number; body: { code?: string; results?: unknown } }> {
  const response = await fetch(`${serving.url}/get-online-features`, {
    method: 'POST',
    headers: { 'x-deadline-ms': '5000' },
    body: JSON.stringify({
      entities: { user_id: ['u0', 'u1', 'u2', 'nobody'] },
      features: ['user_hourly:score_mean', 'user_hourly:cents_1d', 'user_now:last_item'],
    }),
  });
  return { status: response.status, body: (await response.json()) as { results?: unknown } };
}
const statusSoon = (status: number) =>
  expect.poll(async () => (await ask()).status, { timeout: 5_000 }).toBe(status);

beforeAll(async () => {
  await env.startWorkers(repeating);
  await apply(world);
  await archive(env, makeEvents(600, { start: today - 3 * DAY, end: Date.now() - 1000, seed: 9 }));
  for (const view of ['user_hourly', 'user_now'])
    await env.client.workflow.execute(backfill, { ...onBatch(`backfill/${view}`), args: [{ view }] });
  serving = await startServing({
    config: { ...config, servingUrl: 'http://127.0.0.1:0' },
    instance: null,
  });
});
afterAll(() => serving.close());

test('an emptied Redis is not ready until each view that had something is refilled', async () => {
  await statusSoon(200);
  const before = await ask();
  expect(JSON.stringify(before.body)).toContain('PRESENT');

  await emptyRedis();
  await statusSoon(503);
  await runRefill('user_hourly');
  await runRefill('visit_daily'); // never backfilled: nothing to do, and no reason to wait for it
  await runRefill('user_hourly'); // once more does not count for the other
  expect(await ask()).toMatchObject({ status: 503, body: { code: 'FS_NOT_READY' } });

  await runRefill('user_now');
  await statusSoon(200);
  expect(await ask()).toEqual(before);
  await runRefill('user_now');
  expect(await ask()).toEqual(before);
});

test('emptied while it is refilled: what is gone again is not counted as back', async () => {
  const before = await ask();
  await emptyRedis();
  await runRefill('user_hourly');
  await emptyRedis();
  await runRefill('user_now');
  await statusSoon(503);
  await runRefill('user_hourly');
  await statusSoon(200);
  expect(await ask()).toEqual(before);
});

test('an apply does not make an emptied Redis look whole', async () => {
  const before = await ask();
  await emptyRedis();
  const owned = { ...world, views: world.views.map((view) => ({ ...view, owner: 'others' })) };
  await expect(apply(owned)).rejects.toMatchObject({
    cause: { cause: { type: 'FS_CONFLICT', details: [{ missing: ['user_hourly@1', 'user_now@1'] }] } },
  });
  await statusSoon(503);
  for (const view of ['user_hourly', 'user_now']) await runRefill(view);
  await statusSoon(200);
  expect(await ask()).toEqual(before);
  expect(await apply(owned)).toMatchObject({ revision: 2 });
  await expect
    .poll(async () => (await ask()).body, { timeout: 5_000 })
    .toMatchObject({ metadata: { plan: { revision: 2 } } });
});
