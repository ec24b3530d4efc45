/** Two models on two versions of one view, side by side under a stream: each gets its own values, and moves only when it is pinned. */
import { randomUUID } from 'node:crypto';
import { afterAll, beforeAll, expect, test, vi } from 'vitest';
import { startRepairs } from '../../activities/index.js';
import { collectReads } from '../../activities/reads.js';
import { assertDefinitions } from '../../core/check.js';
import { decodeKey, encodeKey } from '../../core/codec/key.js';
import type { AggregationView, Definitions } from '../../core/definition.js';
import { isCanary } from '../../core/lock.js';
import { planKey, type ServingPlan } from '../../core/serving-plan.js';
import { answer } from '../../oracle/oracle.js';
import { computePlan, savePlan } from '../../registry/apply.js';
import {
  getModel,
  getNextLock,
  type ModelChange,
  pinModel,
  registerModel,
  removeModel,
} from '../../registry/models.js';
import { type Serving, startServing } from '../../serving/server.js';
import { applyPlan } from '../../workflows/apply-plan.js';
import { pin } from '../../workflows/pin.js';
import { retire } from '../../workflows/retire.js';
import { applyDefinitions, createEnvironment } from './environment.js';
import {
  buysNow,
  checkOnline,
  makeMessages,
  openTopic,
  streamWorld,
  type Topic,
  untilRead,
} from './streaming.js';
import { entitiesOf, userNow, versionOf } from './world.js';

const env = await createEnvironment();
const { pool, config } = env.deps;
const { environment } = config;
const [first, second]: [AggregationView, AggregationView] = [userNow, { ...buysNow, name: userNow.name }];
const service = 'reads_user_now';
let topic: Topic;
let serving: Serving;
let produced = 0;
let seed = 0;
let asked = 0;

const worldOf = (view: AggregationView): Definitions => assertDefinitions(streamWorld([view]));
const on = () => ({ workflowId: randomUUID(), taskQueue: env.controlQueue });
async function apply(view: AggregationView, definitions = worldOf(view)): Promise<void> {
  const plan = await computePlan(pool, definitions);
  await savePlan(pool, plan, definitions);
  await env.client.workflow.execute(applyPlan, { ...on(), args: [{ planHash: plan.hash, by: 'test' }] });
}
/** As the registry does after each change. */
const settle = (change: ModelChange) => env.client.workflow.execute(pin, { ...on(), args: [change] });
const register = async (name: string) =>
  settle(
    await registerModel(pool, {
      name,
      owner: 'shop',
      description: '',
      reads: { services: [service] },
      by: 'test',
    }),
  );

async function flow(): Promise<void> {
  const { messages } = makeMessages(60, ++seed, 2);
  await topic.produce(messages);
  produced += messages.length;
  await untilRead(env, produced);
}

/** Version and answer of the service, as the model gets them. */
async function ask(
  model: string | null,
  user: string,
): Promise<{ version: number; lock: number | null; values: unknown[] }> {
  asked++;
  const response = await fetch(`${serving.url}/get-online-features`, {
    method: 'POST',
    headers: { 'x-deadline-ms': '5000', ...(model === null ? {} : { 'x-almanac-model': model }) },
    body: JSON.stringify({ feature_service: service, entities: { user_id: [user] } }),
  });
  const { metadata, results } = (await response.json()) as {
    metadata: { plan: { lock: number | null; versions: Record<string, number> } };
    results: Array<{ values: unknown[] }>;
  };
  const { lock, versions } = metadata.plan;
  return { version: versions.user_now!, lock, values: results.slice(1).map(({ values }) => values[0]) };
}

/** When requests are: a little later than everything that was produced. */
let clock = Date.now();
/** Exact in JSON's numbers. */
const COMPARED = ['visits_30min', 'score_sum_1d', 'last_item', 'cart', 'seen_items_1d'];

/** What a version says of a user, by the oracle and by serving; `lock` null: of no lock. */
async function everyAnswerIsRight(model: string | null, version: number, lock: number | null): Promise<void> {
  const view = { ...(version === 1 ? first : second), name: `user_now@${version}` };
  await vi.waitFor(async () => expect(await checkOnline(env, view)).toBeGreaterThan(20), {
    timeout: 30_000,
    interval: 100,
  });
  const { source, entity } = await versionOf(env, view.name);
  clock = Date.now() + 5_000;
  for (const { key, events } of (await entitiesOf(env, view)).slice(0, 8)) {
    const [user] = decodeKey(entity, key) as [string];
    const right = answer(view, source, events, {
      type: 'record',
      at: clock,
      sequence: Number.MAX_SAFE_INTEGER,
    });
    const served = await ask(model, user);
    expect(served).toMatchObject({ version, lock });
    if (right.status === 'NOT_FOUND') continue;
    const places = COMPARED.map((name) => view.features.findIndex((feature) => feature.name === name));
    expect(places.map((place) => served.values[place])).toEqual(COMPARED.map((name) => right.values[name]));
  }
}

const stateOf = async (version: number): Promise<{ state: string; online: boolean; in_redis: boolean }> =>
  (
    await pool.query('select state, online, in_redis from view_version where view = $1 and version = $2', [
      'user_now',
      version,
    ])
  ).rows[0];

beforeAll(async () => {
  await applyDefinitions(env, worldOf(first));
  await env.startWorkers();
  await apply(first); // starts the stream
  topic = await openTopic(env);
  await flow();
  await register('churn');
  await apply(second);
  await register('fraud');
  serving = await startServing({
    config: { environment, redisUrl: config.redisUrl, servingUrl: 'http://127.0.0.1:0' },
    instance: null,
    now: () => clock,
  });
  await vi.waitFor(async () => expect((await fetch(`${serving.url}/ready`)).status).toBe(200));
});
afterAll(async () => {
  await serving?.close();
  await topic?.close();
});

test('each model gets the values of its own version while the stream runs; readers without a lock have moved', async () => {
  expect(await stateOf(1)).toEqual({ state: 'deprecated', online: true, in_redis: true });
  await flow();
  await flow();
  await everyAnswerIsRight('churn', 1, 1);
  await everyAnswerIsRight('fraud', 2, 1);
  await everyAnswerIsRight(null, 2, null);
});

test('a source gets a column, and loses one that nobody reads: what a model reads goes on with it', async () => {
  const definitions = worldOf(second);
  const [{ columns, ...source }] = definitions.sources as [Definitions['sources'][number]];
  const { store: _, ...kept } = columns;
  const sources = [{ ...source, columns: { ...kept, coupon: { type: 'string' as const, nullable: true } } }];
  await apply(second, { ...definitions, sources });
  await flow();
  await everyAnswerIsRight('churn', 1, 1);
  await everyAnswerIsRight('fraud', 2, 1);
});

test('a canary splits by entity; both keep up with the stream', async () => {
  const lock = await getNextLock(pool, 'churn', null);
  await settle(await pinModel(pool, { model: 'churn', move: { lock, share: 0.5 }, seen: 1, by: 'test' }));
  await flow();
  await serving.refresh();
  const { entity } = await versionOf(env, 'user_now');
  const users = Array.from({ length: 20 }, (_, index) => `u${index}`);
  for (const user of users) {
    const expected = isCanary('churn', encodeKey(entity, [user]), 0.5)
      ? { version: 2, lock: 2 }
      : { version: 1, lock: 1 };
    expect(await ask('churn', user)).toMatchObject(expected);
  }
  await everyAnswerIsRight('fraud', 2, 1);
});

test('promoted, nobody reads the old version: it leaves Redis, its rows stay, and it can be retired', async () => {
  const rows = async () =>
    (
      await pool.query(
        `select count(*) as count from snapshot where version_id = (select id from view_version where view = 'user_now' and version = 1)`,
      )
    ).rows[0].count;
  const retiring = (unreadDays: number) =>
    env.client.workflow.execute(retire, { ...on(), args: [{ view: 'user_now', version: 1, unreadDays }] });
  await expect(retiring(0)).rejects.toMatchObject({
    cause: {
      cause: {
        type: 'FS_CONFLICT',
        message: expect.stringContaining('the live lock of model "churn" reads it'),
      },
    },
  });
  await settle(await pinModel(pool, { model: 'churn', move: 'promote', seen: null, by: 'test' }));
  await serving.refresh();
  expect(await stateOf(1)).toEqual({ state: 'deprecated', online: false, in_redis: false });
  await everyAnswerIsRight('churn', 2, 2);
  const before = await rows();
  expect(before).toBeGreaterThan(5);
  await serving.close(); // sends what it counted
  await expect(retiring(7)).rejects.toMatchObject({
    cause: { cause: { message: expect.stringContaining('model "churn" read it at') } },
  });
  await retiring(0);
  expect(await stateOf(1)).toMatchObject({ state: 'retired', online: false, in_redis: false });
  expect(await rows()).toBe(before);
});

test('every request was counted once', async () => {
  await collectReads(env.deps);
  const { readsOf } = await getModel(pool, 'churn');
  expect(readsOf).toMatchObject([
    { service, view: 'user_now', version: 1 },
    { service, view: 'user_now', version: 2 },
  ]);
  const { rows } = await pool.query('select sum(reads)::bigint as reads from read_total');
  expect(rows[0].reads).toBe(asked);
});

test('a change whose run never began is published, and so are those before it', async () => {
  await removeModel(pool, { model: 'churn', seen: null, by: 'test' });
  await pinModel(pool, {
    model: 'fraud',
    move: { lock: await getNextLock(pool, 'fraud', null), share: 1 },
    seen: null,
    by: 'test',
  });
  const repairs = startRepairs(env.deps, env.client);
  const handle = env.client.workflow.getHandle('pin/fraud/2');
  await vi.waitFor(() => handle.describe(), { timeout: 30_000 });
  await handle.result();
  await repairs.stop();
  const { models } = JSON.parse((await env.deps.redis.get(planKey(environment)))!) as ServingPlan;
  expect(models).toMatchObject([{ name: 'fraud', live: { number: 2 } }]);
});
