import { WorkflowFailedError } from '@temporalio/client';
import { beforeEach, describe, expect, test } from 'vitest';
import type { Definitions, SqlView } from '../../core/definition.js';
import type { Plan } from '../../core/plan.js';
import { planKey, type ServingPlan } from '../../core/serving-plan.js';
import { DAY, HOUR, MINUTE } from '../../core/time.js';
import { abandonPlan, computePlan, savePlan } from '../../registry/apply.js';
import { type ApplyPlanResult, applyPlan } from '../../workflows/apply-plan.js';
import { importSource } from '../../workflows/import-source.js';
import { progressQuery } from '../../workflows/progress.js';
import { definitionsOf, orders, ordersView } from './definitions.js';
import { createEnvironment, putFile, type RunningWorkers } from './environment.js';
import { failing, losingAnswers, repeating } from './faults.js';

const env = await createEnvironment();
const { pool, redis, config } = env.deps;
let workers: RunningWorkers = await env.startWorkers();

const prices: SqlView = {
  kind: 'sql',
  name: 'user_prices',
  description: 'prices',
  owner: 'shop',
  tags: [],
  entity: 'user',
  ttlMs: null,
  freshness: { tier: 'daily', expectedEveryMs: DAY },
  connection: 'env:SHOP_URL',
  query: 'select user_id, now() as event_timestamp, 1.0 as user_price from prices where at <= :as_of',
  reads: [{ table: 'prices', kind: 'append' }],
  cadenceMs: DAY,
  settleMs: 90 * MINUTE,
  features: [
    { name: 'user_price', description: 'a price', type: 'float64', coldStart: 0, nameException: null },
  ],
};

async function start(definitions: Definitions, by = 'test') {
  const plan = await computePlan(pool, definitions);
  await savePlan(pool, plan, definitions);
  return applying(plan, by);
}
const applying = (plan: Plan, by = 'test') =>
  env.client.workflow.start(applyPlan, {
    workflowId: `apply/${plan.hash.slice(0, 16)}`,
    taskQueue: env.controlQueue,
    args: [{ planHash: plan.hash, by }],
  });
const apply = async (definitions: Definitions): Promise<ApplyPlanResult> =>
  (await start(definitions)).result();

async function schedules(): Promise<Record<string, { paused: boolean; every: number; offset: number }>> {
  const found: Array<[string, { paused: boolean; every: number; offset: number }]> = [];
  const ids = ['user_orders@1', 'user_orders@2', 'user_orders@3', 'user_orders@4', 'user_prices@1'].map(
    (id) => `schedule/${id}`,
  );
  for (const id of ids) {
    // a list is behind by some time; a description is not
    const described = await env.client.schedule
      .getHandle(id)
      .describe()
      .catch(() => null);
    if (described === null) continue;
    const { every, offset } = described.spec.intervals![0]! as { every: number; offset: number };
    found.push([id, { paused: described.state.paused, every, offset: offset ?? 0 }]);
  }
  return Object.fromEntries(found);
}
const published = async (): Promise<ServingPlan | null> =>
  JSON.parse((await redis.get(planKey(config.environment))) ?? 'null') as ServingPlan | null;
const states = async () =>
  (
    await pool.query<{ name: string; state: string }>(
      `select view || '@' || version as name, state from view_version order by id`,
    )
  ).rows.map(({ name, state }) => `${name} ${state}`);

/** The view with its cadence: another cadence is another version. */
const at = (cadenceMs: number): Definitions =>
  definitionsOf(orders, [ordersView('orders', cadenceMs), prices]);

describe('in order', () => {
  test('nothing, into an empty registry', async () => {
    const nothing = { entities: [], sources: [], views: [], services: [] };
    expect(await apply(nothing)).toEqual({ revision: 0, versions: [], backfilled: 0 });
    expect(await published()).toBeNull();
  });

  test('the first: versions live, schedules that wait for their backfill, serving told', async () => {
    const handle = await start(at(HOUR), 'ann');
    const result = await handle.result();
    expect(result).toEqual({
      revision: 1,
      versions: [
        { view: 'user_orders', version: 1 },
        { view: 'user_prices', version: 1 },
      ],
      backfilled: 0,
    });
    expect(await states()).toEqual(['user_orders@1 live', 'user_prices@1 live']);
    expect(await schedules()).toEqual({
      'schedule/user_orders@1': { paused: true, every: HOUR, offset: 0 },
      'schedule/user_prices@1': { paused: true, every: DAY, offset: 90 * MINUTE },
    });
    expect(await published()).toMatchObject({
      revision: 1,
      views: [{ view: { name: 'user_orders' } }, { view: { name: 'user_prices' } }],
    });
    expect((await pool.query('select applied_by from revision')).rows).toEqual([{ applied_by: 'ann' }]);
    expect(await handle.query(progressQuery)).toMatchObject({
      done: 5,
      total: 5,
      message: 'revision 1 is live',
    });
  });

  test('once more: nothing changes', async () => {
    const before = [await states(), await published(), await schedules()];
    const { rows } = await pool.query<{ plan: Plan }>(
      `select plan from plan where not (plan -> 'empty')::boolean`,
    );
    expect(await (await applying(rows[0]!.plan)).result()).toMatchObject({ revision: 1 });
    expect([await states(), await published(), await schedules()]).toEqual(before);
  });

  test('nothing new, over a serving plan of another layout: it is published again', async () => {
    const before = await published();
    await redis.set(planKey(config.environment), JSON.stringify({ ...before, layout: 1 }));
    expect(await apply(at(HOUR))).toEqual({ revision: 1, versions: [], backfilled: 0 });
    expect(await published()).toEqual(before);
  });

  test('another version, over events that are there: backfilled before it is live, the old schedule goes', async () => {
    const rows = Array.from(
      { length: 50 },
      (_, i) => `o${i},${i % 5},1,true,,2026-01-01T00:${10 + i}:00Z,\n`,
    ).join('');
    const file = putFile(env, `order_id,user_id,amount,express,note,created_at,loaded_at\n${rows}`);
    await env.client.workflow.execute(importSource, {
      workflowId: 'import/orders/1',
      taskQueue: env.controlQueue,
      args: [{ source: 'orders', file }],
    });
    expect(await apply(at(2 * HOUR))).toEqual({
      revision: 2,
      versions: [{ view: 'user_orders', version: 2 }],
      backfilled: 1,
    });
    expect(await states()).toEqual(['user_orders@1 deprecated', 'user_prices@1 live', 'user_orders@2 live']);
    expect(await schedules()).toMatchObject({ 'schedule/user_orders@2': { paused: false, every: 2 * HOUR } });
    expect(await schedules()).not.toHaveProperty('schedule/user_orders@1');
    const { rows: online } = await pool.query<{ entities: number }>(
      'select count(*) as entities from snapshot',
    );
    expect(online).toEqual([{ entities: 5 }]);
  });
});

describe('a failure before readers have moved leaves nothing behind', () => {
  beforeEach(async () => {
    await workers.stop();
  });
  test.each([
    { why: 'a backfill', fails: 'backfillChunk' as const },
    { why: 'schedules', fails: 'createSchedules' as const },
    { why: 'activation', fails: 'activatePlan' as const },
  ])('$why fails', async ({ fails }) => {
    workers = await env.startWorkers(failing(fails));
    const before = { published: await published(), schedules: await schedules(), keys: await onlineFields() };
    await expect(apply(at(3 * HOUR))).rejects.toThrow(WorkflowFailedError);
    expect({
      published: await published(),
      schedules: await schedules(),
      keys: await onlineFields(),
    }).toEqual(before);
    expect(await states()).toEqual([
      'user_orders@1 deprecated',
      'user_prices@1 live',
      'user_orders@2 live',
      'user_orders@3 abandoned',
    ]);
    expect((await pool.query(`select hash from plan where state = 'open'`)).rows).toEqual([]);
  });

  async function onlineFields(): Promise<string[]> {
    const fields = new Set<string>();
    for (const key of await redis.keys(`${config.environment}:{*`))
      for (const field of await redis.hkeys(key)) fields.add(field);
    return [...fields].sort();
  }
});

describe('whatever happens on the way, the end is the same', () => {
  test.each([
    { why: 'each activity twice', wrap: repeating, cadence: 4 * HOUR, version: 4 },
    { why: 'each answer lost once', wrap: losingAnswers, cadence: 6 * HOUR, version: 5 },
  ])('$why', async ({ wrap, cadence, version }) => {
    await workers.stop();
    workers = await env.startWorkers(wrap);
    const { revision } = await apply(at(cadence));
    expect((await states()).filter((each) => each.endsWith(' live'))).toEqual([
      'user_prices@1 live',
      `user_orders@${version} live`,
    ]);
    expect(await published()).toMatchObject({ revision, views: [{ version }, { version: 1 }] });
    const { rows } = await pool.query<{ count: number }>(
      'select count(*) as count from revision where revision = $1',
      [revision],
    );
    expect(rows).toEqual([{ count: 1 }]);
  });

  test('a plan that was given up changes nothing', async () => {
    const definitions = at(12 * HOUR);
    const plan = await computePlan(pool, definitions);
    await savePlan(pool, plan, definitions);
    await abandonPlan(pool, plan.hash);
    await apply(at(8 * HOUR));
    const before = await states();
    await expect((await applying(plan)).result()).rejects.toMatchObject({
      cause: { cause: { type: 'FS_PLAN_STALE' } },
    });
    expect(await states()).toEqual(before);
  });
});
