/** Of what nobody reads there is no byte in Redis; who comes first finds everything, and who leaves last takes it along. */
import { spawn } from 'node:child_process';
import { randomUUID } from 'node:crypto';
import { once } from 'node:events';
import { afterAll, beforeAll, expect, onTestFinished, test, vi } from 'vitest';
import type { Activities } from '../../activities/index.js';
import { writeRecords } from '../../activities/online/write.js';
import { assertDefinitions } from '../../core/check.js';
import { encodeKey, onlineKey } from '../../core/codec/key.js';
import type { Definitions, SqlView } from '../../core/definition.js';
import { onlineSetKey, planKey, progressKey, type ServingPlan } from '../../core/serving-plan.js';
import { floorTo, formatTimestamp, HOUR } from '../../core/time.js';
import { computePlan, savePlan } from '../../registry/apply.js';
import { resolveStoredView } from '../../registry/resolve.js';
import { compilePlan, vectorOf } from '../../serving/plan.js';
import { applyPlan } from '../../workflows/apply-plan.js';
import { backfill } from '../../workflows/backfill.js';
import { dualWrite } from '../../workflows/dual-write.js';
import { materialize } from '../../workflows/materialize.js';
import { refill } from '../../workflows/refill.js';
import { verify } from '../../workflows/verify.js';
import { servicesOf } from './definitions.js';
import { applyDefinitions, bundle, createEnvironment, type RunningWorkers } from './environment.js';
import { failing, losingAnswers, repeating } from './faults.js';
import {
  checkOnline,
  checkSnapshots,
  cutAtMs,
  makeMessages,
  openTopic,
  streamWorld,
  type Topic,
  untilRead,
} from './streaming.js';
import { archive, makeEvents, userHourly, userNow, versionOf } from './world.js';

const env = await createEnvironment({ env: { RANKS_URL: process.env.ALMANAC_POSTGRES_URL! } });
const { pool, redis, config } = env.deps;
const { environment } = config;
let workers: RunningWorkers;
let topic: Topic;
let produced = 0;
let seed = 0;

const rank: SqlView = {
  kind: 'sql',
  name: 'user_rank',
  description: 'a made-up rank',
  owner: 'shop',
  tags: [],
  entity: 'user',
  ttlMs: null,
  freshness: { tier: 'hourly', expectedEveryMs: HOUR },
  connection: 'env:RANKS_URL',
  query: `select user_id, at as event_timestamp, place as rank_place from ${environment}.ranks where at <= :as_of`,
  reads: [{ table: 'ranks', kind: 'append' }],
  cadenceMs: HOUR,
  settleMs: 0,
  features: [
    { name: 'rank_place', description: 'place', type: 'int64', coldStart: null, nameException: 'made up' },
  ],
};
const VIEWS = [userNow, userHourly, rank];
const ALL = VIEWS.map(({ name }) => `${name}@1`).sort();

/** @param read those that a service reads */
const worldOf = (read: Definitions['views']): Definitions =>
  assertDefinitions({ ...streamWorld([userNow, userHourly]), views: VIEWS, services: servicesOf(read) });

async function startApply(definitions: Definitions) {
  const plan = await computePlan(pool, definitions);
  await savePlan(pool, plan, definitions);
  return env.client.workflow.start(applyPlan, {
    workflowId: `apply/${randomUUID()}`,
    taskQueue: env.controlQueue,
    args: [{ planHash: plan.hash, by: 'test' }],
  });
}
const apply = async (read: Definitions['views']) => (await startApply(worldOf(read))).result();

const on = (queue: string) => ({ workflowId: randomUUID(), taskQueue: `${environment}-${queue}` });

/** Versions with bytes in Redis: fields of entities, and ticks. */
async function online(): Promise<string[]> {
  const ids = new Set(await redis.hkeys(progressKey(environment)));
  for (const key of await redis.keys(`${environment}:{*`))
    for (const field of await redis.hkeys(key)) ids.add(field);
  const { rows } = await pool.query<{ name: string }>(
    `select view || '@' || version as name from view_version where id = any ($1) order by 1`,
    [[...ids].map(Number)],
  );
  expect(rows.length).toBe(ids.size);
  return rows.map(({ name }) => name);
}

/** Every entity has its record, and it is the right one. The stream has read all that there is. */
async function everyRecordIsRight(): Promise<void> {
  await vi.waitFor(() => checkOnline(env, userNow), { timeout: 20_000, interval: 50 });
  expect(await checkSnapshots(env, userHourly)).toBeGreaterThan(10);
  const { id, entity } = await resolveStoredView(pool, rank.name);
  for (const user of ['u0', 'u1'])
    expect(
      await redis.hexists(onlineKey(environment, entity.name, encodeKey(entity, [user])), String(id)),
    ).toBe(1);
}

/** A stream under way, until it is stopped and all of it read. */
function startFlow(): { stop: () => Promise<void> } {
  let going = true;
  const flowing = (async () => {
    while (going) {
      const { messages } = makeMessages(10, ++seed, 2);
      await topic.produce(messages);
      produced += messages.length;
      await untilRead(env, produced);
    }
  })();
  return {
    async stop() {
      going = false;
      await flowing;
    },
  };
}

/** Calls `look` once, before serving hears of a plan; its failure is the test's. */
function beforePublishing(look: () => Promise<void>): {
  wrap: (activities: Activities) => Activities;
  outcome: () => unknown;
} {
  let outcome: unknown = 'never published';
  return {
    wrap: (activities) => ({
      ...activities,
      async publishServingPlan() {
        if (outcome === 'never published')
          outcome = await look().then(
            () => 'right',
            (error: unknown) => error,
          );
        return activities.publishServingPlan();
      },
    }),
    outcome: () => outcome,
  };
}

async function restart(wrap?: (activities: Activities) => Activities): Promise<void> {
  await workers.stop();
  workers = await env.startWorkers(wrap);
}

beforeAll(async () => {
  await pool.query('create table ranks (user_id text, at timestamptz, place bigint)');
  await pool.query(
    `insert into ranks values ('u0', now() - interval '9 h', 1), ('u1', now() - interval '9 h', 2)`,
  );
  // of a day before the topic begins; the stream finds them when it attaches
  await applyDefinitions(env, worldOf([]));
  await archive(env, makeEvents(300, { start: cutAtMs - 24 * HOUR, end: cutAtMs - HOUR, seed: ++seed }));
  workers = await env.startWorkers();
  await apply([]);
  topic = await openTopic(env);
  const { messages } = makeMessages(600, ++seed);
  await topic.produce(messages);
  produced = messages.length;
  await untilRead(env, produced);
  const end = formatTimestamp(floorTo(Date.now(), HOUR) - 2 * HOUR);
  for (const view of [userHourly.name, rank.name])
    await env.client.workflow.execute(backfill, { ...on('batch'), args: [{ view, start: end, end }] });
});
afterAll(() => topic.close());

test('nobody reads: no byte, whatever is written', async () => {
  for (const view of [userHourly.name, rank.name])
    await env.client.workflow.execute(materialize, { ...on('batch'), args: [{ view }] });
  const { rows } = await pool.query<{ snapshots: number }>('select count(*) as snapshots from snapshot');
  expect(rows[0]!.snapshots).toBeGreaterThan(10);
  const refused = { cause: { cause: { type: 'FS_REQUEST_INVALID' } } };
  for (const { name: view } of VIEWS)
    await expect(
      env.client.workflow.execute(refill, { ...on('batch'), args: [{ view }] }),
    ).rejects.toMatchObject(refused);
  await expect(
    env.client.workflow.execute(dualWrite, { ...on('control'), args: [{ view: userNow.name }] }),
  ).rejects.toMatchObject(refused);
  expect(await online()).toEqual([]);
  expect((await redis.keys(`${environment}:*`)).sort()).toEqual(
    ['generation', 'online', 'plan'].map((name) => `${environment}:${name}`),
  );
  expect(
    await env.client.workflow.execute(verify, {
      ...on('control'),
      args: [{ id: randomUUID(), entities: 20, moments: 3, seed: 1 }],
    }),
  ).toMatchObject({ unread: ALL, different: 0, byPath: { rows: { different: 0 } } });
});

async function servingSaysSo(): Promise<void> {
  const { usual } = compilePlan(JSON.parse((await redis.get(planKey(environment)))!) as ServingPlan);
  expect(() =>
    vectorOf(usual.live, { target: { features: ['user_rank:rank_place'] }, fullFeatureNames: false }),
  ).toThrow(/view "user_rank" is not served: nobody reads it/);
}

test('serving says so, by name', servingSaysSo);

test('the first reader finds every record when its plan is published, under a stream', async () => {
  const flow = startFlow();
  const published = beforePublishing(async () => {
    await flow.stop();
    await everyRecordIsRight();
  });
  await restart(published.wrap);
  await apply(VIEWS);
  expect(published.outcome()).toBe('right');
  expect(await online()).toEqual(ALL);
  const flowed = startFlow();
  await flowed.stop();
  await everyRecordIsRight();
});

test('the last reader leaves, under a stream: no byte, and none comes back', async () => {
  const { id, entity } = await versionOf(env, userNow.name);
  const key = onlineKey(environment, entity.name, encodeKey(entity, ['u0']));
  const record = (await redis.hgetBuffer(key, String(id)))!;
  const flow = startFlow();
  await apply([rank]);
  await flow.stop();
  const more = startFlow();
  await more.stop();
  expect(await online()).toEqual(['user_rank@1']);
  // a writer that was stopped all the while
  expect(await writeRecords(redis, environment, [{ key, field: String(id), record }])).toMatchObject({
    written: 0,
    unread: 1,
  });
  await apply([]);
  expect(await online()).toEqual([]);
  expect((await pool.query('select id from view_version where in_redis')).rows).toEqual([]);
  await servingSaysSo();
});

test.each([
  { why: 'each activity twice', wrap: repeating },
  { why: 'each answer lost once', wrap: losingAnswers },
])('$why: the end is the same', async ({ wrap }) => {
  await restart(wrap);
  await apply(VIEWS);
  await everyRecordIsRight();
  await apply([]);
  expect(await online()).toEqual([]);
});

test('given up: what only that plan would have read is gone again', async () => {
  await restart();
  await apply([rank]);
  await restart(failing('activatePlan'));
  const flow = startFlow();
  await expect(apply(VIEWS)).rejects.toThrow();
  await flow.stop();
  expect(await online()).toEqual(['user_rank@1']);
  expect(await redis.hkeys(onlineSetKey(environment))).toHaveLength(2); // rank, and the number
});

test('killed at the refill, and again when the records are to go: another worker ends both', async () => {
  await restart();
  await apply([]);
  await killedBehind('lock table snapshot in access exclusive mode', VIEWS);
  await everyRecordIsRight();
  await killedBehind('lock table generation in exclusive mode', []); // its number changes when they go
  expect(await online()).toEqual([]);
});

/** A worker process applies, is killed while it waits for the lock, and another ends the apply. */
async function killedBehind(lock: string, read: Definitions['views']): Promise<void> {
  await workers.stop();
  const worker = spawn(
    'node',
    ['--import', 'jiti/register', 'test/workflows/worker-process.ts', await bundle()],
    {
      env: env.env,
      stdio: ['ignore', 'ignore', 'inherit'],
    },
  );
  onTestFinished(() => void worker.kill('SIGKILL'));
  const handle = await startApply(worldOf(read));
  const client = await pool.connect();
  try {
    await client.query('begin');
    await client.query(lock);
    const { rows } = await client.query<{ pid: number }>('select pg_backend_pid() as pid');
    await expect
      .poll(
        async () => {
          await client.query('select 1'); // one that idles is ended
          const { rowCount } = await pool.query(
            'select 1 from pg_stat_activity where $1 = any (pg_blocking_pids(pid))',
            [rows[0]!.pid],
          );
          return rowCount;
        },
        { timeout: 60_000, interval: 20 },
      )
      .toBeGreaterThan(0);
    worker.kill('SIGKILL');
    await once(worker, 'exit');
    await client.query('rollback');
  } finally {
    client.release();
  }
  expect((await handle.describe()).status.name).toBe('RUNNING');
  workers = await env.startWorkers();
  await handle.result();
}
