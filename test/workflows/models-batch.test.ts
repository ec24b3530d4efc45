/** A batch view, a sql view and an on-demand view over both, under a lock: its ticks go on, and its values are those of its versions. */
import { randomUUID } from 'node:crypto';
import { ScheduleNotFoundError } from '@temporalio/client';
import { afterAll, beforeAll, expect, test, vi } from 'vitest';
import { createActivities } from '../../activities/index.js';
import { assertDefinitions } from '../../core/check.js';
import { decodeKey } from '../../core/codec/key.js';
import type { AggregationView, Definitions, OnDemandView, SqlView } from '../../core/definition.js';
import { progressKey } from '../../core/serving-plan.js';
import { floorTo, formatTimestamp, HOUR } from '../../core/time.js';
import { answer } from '../../oracle/oracle.js';
import { computePlan, savePlan, settleOnline } from '../../registry/apply.js';
import { type ModelChange, registerModel, removeModel } from '../../registry/models.js';
import { compileServingPlan, IN_USE } from '../../registry/resolve.js';
import type { Pool } from '../../registry/sql.js';
import { type Serving, startServing } from '../../serving/server.js';
import { applyPlan } from '../../workflows/apply-plan.js';
import { backfill } from '../../workflows/backfill.js';
import { materialize } from '../../workflows/materialize.js';
import { pin } from '../../workflows/pin.js';
import { createEnvironment, type RunningWorkers } from './environment.js';
import { archive, entitiesOf, makeEvents, userHourly, versionOf, world } from './world.js';

const env = await createEnvironment({ env: { RANKS_URL: process.env.ALMANAC_POSTGRES_URL! } });
const { pool, redis, config } = env.deps;
const { environment } = config;
const now = Date.now();
/** Of what is backfilled before the view gets another version; ticks after it come when its model alone reads the first. */
const filled = floorTo(now, HOUR) - 5 * HOUR;
let serving: Serving;
let workers: RunningWorkers;

const described = { description: 'made up', owner: 'shop', tags: [] };
const named = { description: 'made up', coldStart: null, nameException: 'made up' };
const buys: AggregationView = { ...userHourly, where: { op: 'eq', args: [{ col: 'kind' }, { lit: 'buy' }] } };
const hourly = (version: number): AggregationView => (version === 1 ? userHourly : buys);
const rank = (version: number): SqlView => ({
  kind: 'sql',
  name: 'user_rank',
  ...described,
  description: version === 3 ? 'another' : 'made up',
  entity: 'user',
  ttlMs: null,
  freshness: { tier: 'hourly', expectedEveryMs: HOUR },
  connection: 'env:RANKS_URL',
  query: `select user_id, at as event_timestamp, ${Math.min(version, 2)} * place as rank_place from ${environment}.ranks where at <= :as_of`,
  reads: [{ table: 'ranks', kind: 'append' }],
  cadenceMs: HOUR,
  settleMs: 0,
  features: [{ ...named, name: 'rank_place', type: 'int64' }],
});
const left = (version: number): OnDemandView => ({
  kind: 'onDemand',
  name: 'user_left',
  ...described,
  request: { budget: 'int64' },
  inputs: ['user_hourly:cents_1d', 'user_rank:rank_place'],
  features: [
    {
      ...named,
      name: 'cents_left',
      type: 'int64',
      expression: {
        op: version === 1 ? 'sub' : 'add',
        args: [{ col: 'budget' }, { op: 'mul', args: [{ col: 'cents_1d' }, { col: 'rank_place' }] }],
      },
    },
  ],
});
const worldOf = (version: number): Definitions =>
  assertDefinitions({
    ...world,
    views: [hourly(version), rank(version), left(version)],
    services: [
      {
        name: 'scores',
        ...described,
        features: ['user_hourly:cents_1d', 'user_rank:rank_place', 'user_left:cents_left'],
      },
    ],
  });

const on = (queue: string) => ({ workflowId: randomUUID(), taskQueue: `${environment}-${queue}` });
async function apply(version: number): Promise<void> {
  const plan = await computePlan(pool, worldOf(version));
  await savePlan(pool, plan, worldOf(version));
  await env.client.workflow.execute(applyPlan, {
    ...on('control'),
    args: [{ planHash: plan.hash, by: 'test' }],
  });
}
/** As the registry does after each change. */
const settle = (change: ModelChange) =>
  env.client.workflow.execute(pin, { ...on('control'), args: [change] });
const fill = (view: string) => {
  const end = formatTimestamp(filled);
  return env.client.workflow.execute(backfill, { ...on('batch'), args: [{ view, start: end, end }] });
};
/** As its schedule does. */
const tick = (view: string, version: number) =>
  env.client.workflow.execute(materialize, { ...on('batch'), args: [{ view, version }] });

beforeAll(async () => {
  await pool.query('create table ranks (user_id text, at timestamptz, place bigint)');
  await pool.query(
    `insert into ranks select 'u' || n, to_timestamp($1 / 1000.0), n + 1 from generate_series(0, 24) n`,
    [filled - HOUR],
  );
  workers = await env.startWorkers();
  await apply(1);
  await archive(env, makeEvents(400, { start: filled - 20 * HOUR, end: now - 2 * HOUR, seed: 1 }));
  for (const view of ['user_hourly', 'user_rank']) await fill(view);
  await settle(
    await registerModel(pool, {
      name: 'churn',
      owner: 'shop',
      description: '',
      reads: { services: ['scores'] },
      by: 'test',
    }),
  );
  serving = await startServing({
    config: { environment, redisUrl: config.redisUrl, servingUrl: 'http://127.0.0.1:0' },
    instance: null,
    now: Date.now,
  });
  await vi.waitFor(async () => expect((await fetch(`${serving.url}/ready`)).status).toBe(200));
});
afterAll(() => serving?.close());

/** Of each entity that has history at the newest tick: what the oracle says of the version, and what serving answers. */
async function everyAnswerIsRight(model: string | null, version: number): Promise<{ at: number }> {
  const { id, source, entity } = await versionOf(env, `user_hourly@${version}`);
  const at = Number(await redis.hget(progressKey(environment), String(id)));
  let known = 0;
  for (const { key, events } of await entitiesOf(env, {
    ...hourly(version),
    name: `user_hourly@${version}`,
  })) {
    const [user] = decodeKey(entity, key) as [string];
    const right = answer(hourly(version), source, events, { type: 'tick', tick: at, at });
    if (right.status === 'NOT_FOUND') continue;
    known++;
    const response = await fetch(`${serving.url}/get-online-features`, {
      method: 'POST',
      headers: { 'x-deadline-ms': '5000', ...(model === null ? {} : { 'x-almanac-model': model }) },
      body: JSON.stringify({ feature_service: 'scores', entities: { user_id: [user], budget: [5000] } }),
    });
    const { metadata, results } = (await response.json()) as {
      metadata: { plan: { versions: object } };
      results: Array<{ values: unknown[] }>;
    };
    const cents = Number(right.values.cents_1d);
    const place = version * (Number(user.slice(1)) + 1);
    expect(metadata.plan.versions).toEqual({
      user_hourly: version,
      user_rank: version,
      user_left: version,
    });
    expect(results.slice(1).map(({ values }) => values[0])).toEqual([
      cents,
      place,
      5000 + (version === 1 ? -1 : 1) * cents * place,
    ]);
  }
  expect(known).toBeGreaterThan(10);
  return { at };
}

const schedules = async (): Promise<string[]> => {
  const ids: string[] = [];
  for await (const { scheduleId } of env.client.schedule.list()) ids.push(scheduleId);
  return ids.sort();
};

test('before there is another version', async () => {
  expect(await everyAnswerIsRight('churn', 1)).toEqual({ at: filled });
});

test('its ticks go on when readers without a lock have moved, and each gets the values of its versions', async () => {
  await apply(2);
  await fill('user_rank');
  for (const version of [1, 2]) for (const view of ['user_hourly', 'user_rank']) await tick(view, version);
  await serving.refresh();
  expect((await everyAnswerIsRight('churn', 1)).at).toBeGreaterThan(filled);
  await everyAnswerIsRight(null, 2);
  await vi.waitFor(async () =>
    expect(await schedules()).toEqual([
      'schedule/user_hourly@1',
      'schedule/user_hourly@2',
      'schedule/user_rank@1',
      'schedule/user_rank@2',
    ]),
  );
});

/** The pool, with something that happens once, after a query that holds the text. */
function after(text: string, happens: () => Promise<void>): Pool {
  let over = false;
  return new Proxy(pool, {
    get(target, name) {
      const value: unknown = Reflect.get(target, name);
      if (typeof value !== 'function') return value;
      if (name !== 'query' || over) return value.bind(target) as unknown;
      return async (...args: [string, unknown[]]) => {
        const answered: unknown = await target.query(...args);
        if (!over && args[0].includes(text)) {
          over = true;
          await happens();
        }
        return answered;
      };
    },
  });
}

test('its model gone, so are its records and its schedules, also where another run was about to put these', async () => {
  await workers.stop();
  const gone = ['schedule/user_hourly@1', 'schedule/user_rank@1'].map((id) =>
    env.client.schedule.getHandle(id),
  );
  const leaving = after(`from view_version where ${IN_USE}`, async () => {
    await removeModel(pool, { model: 'churn', seen: null, by: 'test' });
    await settleOnline(pool, await compileServingPlan(pool));
    for (const schedule of gone) await schedule.delete();
  });
  await env.startWorkers(() => createActivities({ ...env.deps, pool: leaving }));
  await apply(3); // another description alone
  for (const schedule of gone)
    await expect(schedule.describe()).rejects.toBeInstanceOf(ScheduleNotFoundError);
  const { rows } = await pool.query<{ name: string }>(
    `select view || '@' || version as name from view_version where online or in_redis order by view, version`,
  );
  expect(rows.map(({ name }) => name)).toEqual(['user_hourly@2', 'user_left@2', 'user_rank@2']);
});
