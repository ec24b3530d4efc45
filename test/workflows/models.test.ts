/** Two models on two versions of one view, side by side under a stream: each gets its own values, and moves only when it is pinned. */
import { randomUUID } from 'node:crypto';
import { activityInfo } from '@temporalio/activity';
import { afterAll, beforeAll, expect, test, vi } from 'vitest';
import { beating } from '../../activities/heartbeat.js';
import { type Activities, startRepairs } from '../../activities/index.js';
import { collectReads } from '../../activities/reads.js';
import { assertDefinitions } from '../../core/check.js';
import { decodeKey, encodeKey } from '../../core/codec/key.js';
import type { AggregationView, Definitions } from '../../core/definition.js';
import { isCanary } from '../../core/lock.js';
import { planKey, type ServingPlan } from '../../core/serving-plan.js';
import { floorTo, formatTimestamp, HOUR } from '../../core/time.js';
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
import { backfill } from '../../workflows/backfill.js';
import { pin } from '../../workflows/pin.js';
import { retire } from '../../workflows/retire.js';
import { applyDefinitions, createEnvironment, type RunningWorkers } from './environment.js';
import { losingAnswers, repeating } from './faults.js';
import {
  buysNow,
  checkOnline,
  cutAtMs,
  makeMessages,
  openTopic,
  streamWorld,
  type Topic,
  untilRead,
} from './streaming.js';
import { archive, entitiesOf, makeEvents, userNow, versionOf } from './world.js';

const env = await createEnvironment();
const { pool, config } = env.deps;
const { environment } = config;
const without = (kind: string): AggregationView => ({
  ...userNow,
  where: { op: 'ne', args: [{ col: 'kind' }, { lit: kind }] },
});
/** Its versions, in their order. */
const VERSIONS = [userNow, { ...buysNow, name: userNow.name }, without('clear'), without('drop')] as const;
const [first, second, third, fourth] = VERSIONS;
const service = 'reads_user_now';
let workers: RunningWorkers;
let topic: Topic;
let serving: Serving;
let produced = 0;
let seed = 0;
let asked = 0;

type Around = <R>(step: () => Promise<R>) => Promise<R>;
/** What happens around a step of a run, by its workflow and name. */
const around = new Map<string, Around>();
function watched(activities: Activities): Activities {
  const watch =
    <A extends unknown[], R>(name: string, activity: (...args: A) => Promise<R>) =>
    (...args: A): Promise<R> => {
      const step = (): Promise<R> => activity(...args);
      const way = around.get(`${activityInfo().workflowType} ${name}`);
      return way ? beating(() => way(step)) : step();
    };
  return {
    ...activities,
    activatePlan: watch('activate', (plan: Parameters<Activities['activatePlan']>[0]) =>
      activities.activatePlan(plan),
    ),
    publishServingPlan: watch('publish', () => activities.publishServingPlan()),
  };
}
interface Signal {
  give: () => void;
  given: Promise<void>;
}
function createSignal(): Signal {
  let give = (): void => {};
  const given = new Promise<void>((resolve) => {
    give = resolve;
  });
  return { give, given };
}

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

const retiring = (version: number, unreadDays: number) =>
  env.client.workflow.execute(retire, { ...on(), args: [{ view: 'user_now', version, unreadDays }] });

async function flow(): Promise<void> {
  const { messages } = makeMessages(60, ++seed, 2);
  await topic.produce(messages);
  produced += messages.length;
  await untilRead(env, produced);
}

const post = (model: string | null, user: string): Promise<Response> =>
  fetch(`${serving.url}/get-online-features`, {
    method: 'POST',
    headers: { 'x-deadline-ms': '5000', ...(model === null ? {} : { 'x-almanac-model': model }) },
    body: JSON.stringify({ feature_service: service, entities: { user_id: [user] } }),
  });

/** Version and answer of the service, as the model gets them. */
async function ask(
  model: string | null,
  user: string,
): Promise<{ version: number; lock: number | null; values: unknown[] }> {
  asked++;
  const response = await post(model, user);
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
  const view = { ...VERSIONS[version - 1]!, name: `user_now@${version}` };
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

/** Of the rows of a version; snapshots may be written until its stream has left it. */
async function digestRows(version: number): Promise<{ rows: number; digest: string }> {
  const { id } = await versionOf(env, `user_now@${version}`);
  const { rows } = await pool.query(
    `select count(*) as rows, md5(string_agg(r::text, E'\n' order by r::text)) as digest from rows_${id} r where tick_ms <= $1`,
    [firstRows],
  );
  return rows[0];
}
/** The tick of the first version's rows. */
const firstRows = floorTo(Date.now(), HOUR) - HOUR;

const startReader = async (): Promise<void> => {
  serving = await startServing({
    config: { environment, redisUrl: config.redisUrl, servingUrl: 'http://127.0.0.1:0' },
    instance: null,
    now: () => clock,
  });
  await vi.waitFor(async () => expect((await fetch(`${serving.url}/ready`)).status).toBe(200));
};

let rowsBefore: Awaited<ReturnType<typeof digestRows>>;

beforeAll(async () => {
  await applyDefinitions(env, worldOf(first));
  // Of the day before: they had arrived by the tick that is backfilled.
  await archive(env, makeEvents(100, { start: cutAtMs - 24 * HOUR, end: cutAtMs - HOUR, seed: ++seed }));
  workers = await env.startWorkers(watched);
  await apply(first); // starts the stream
  topic = await openTopic(env);
  await flow();
  const tick = formatTimestamp(firstRows);
  await env.client.workflow.execute(backfill, {
    workflowId: randomUUID(),
    taskQueue: `${environment}-batch`,
    args: [{ view: 'user_now', start: tick, end: tick }],
  });
  rowsBefore = await digestRows(1);
  expect(rowsBefore.rows).toBeGreaterThan(5);
  await register('churn');
  await apply(second);
  await register('fraud');
  await startReader();
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
  await expect(retiring(1, 0)).rejects.toMatchObject({
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
  await serving.close(); // sends what it counted
  await expect(retiring(1, 7)).rejects.toMatchObject({
    cause: { cause: { message: expect.stringContaining('model "churn" read it at') } },
  });
  await retiring(1, 0);
  expect(await stateOf(1)).toMatchObject({ state: 'retired', online: false, in_redis: false });
  expect(await digestRows(1)).toEqual(rowsBefore);
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

test('a pin that published before an apply is activated takes nothing that serving reads until that has published', async () => {
  await startReader();
  const [published, publishing, ended] = [createSignal(), createSignal(), createSignal()];
  around.set('pin publish', async (publish) => {
    const answered = await publish();
    published.give();
    await publishing.given;
    return answered;
  });
  around.set('applyPlan activate', async (activate) => {
    await published.given;
    return activate();
  });
  around.set('applyPlan publish', async (publish) => {
    publishing.give();
    await ended.given;
    return publish();
  });
  const applying = apply(third);
  await settle(await removeModel(pool, { model: 'fraud', seen: null, by: 'test' })); // nobody pins version 2 any more
  await serving.refresh();
  expect(await stateOf(2)).toEqual({ state: 'deprecated', online: true, in_redis: true });
  await everyAnswerIsRight(null, 2, null);
  ended.give();
  await applying;
  around.clear();
  await serving.refresh();
  expect(await stateOf(2)).toEqual({ state: 'deprecated', online: false, in_redis: false });
  await everyAnswerIsRight(null, 3, null);
});

test('a model registered beside an open apply keeps its version, and left before the apply settles until that is published', async () => {
  const [opened, registered] = [createSignal(), createSignal()];
  let left: ModelChange | undefined;
  around.set('applyPlan activate', async (activate) => {
    opened.give();
    await registered.given;
    return activate();
  });
  around.set('applyPlan publish', async (publish) => {
    const answered = await publish();
    left = await removeModel(pool, { model: 'early', seen: null, by: 'test' });
    return answered;
  });
  const applying = apply(fourth);
  await opened.given;
  await register('early');
  await flow();
  await serving.refresh();
  await everyAnswerIsRight('early', 3, 1);
  registered.give();
  await applying;
  around.clear();
  await flow();
  await serving.refresh();
  await everyAnswerIsRight(null, 4, null);
  await everyAnswerIsRight('early', 3, 1); // serving has not heard that it is gone
  await settle(left!);
  expect(await stateOf(3)).toEqual({ state: 'deprecated', online: false, in_redis: false });
  expect(await digestRows(1)).toEqual(rowsBefore);
});

test.each([
  { why: 'each activity twice', wrap: repeating, version: 2 },
  { why: 'each answer lost once', wrap: losingAnswers, version: 3 },
])('$why: a pin and a retire end the same', async ({ wrap, version }) => {
  await workers.stop();
  workers = await env.startWorkers(wrap);
  await register('late');
  await serving.refresh();
  await everyAnswerIsRight('late', 4, version - 1); // its locks go on counting
  await settle(await removeModel(pool, { model: 'late', seen: null, by: 'test' }));
  await serving.refresh();
  expect((await post('late', 'u0')).status).toBe(404);
  await retiring(version, 0);
  expect(await stateOf(version)).toEqual({ state: 'retired', online: false, in_redis: false });
  await everyAnswerIsRight(null, 4, null);
});
