/** Redis is killed, stopped and emptied under a live stream: the archive goes on, and Redis ends with every record. */
import { randomUUID } from 'node:crypto';
import { rmSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test, vi } from 'vitest';
import { startRepairs } from '../../activities/index.js';
import { isWhole } from '../../activities/online/publish.js';
import {
  killProcess,
  type StackState,
  stackEnv,
  startProcess,
  startStack,
  stopStack,
} from '../../cli/stack/stack.js';
import { removeStackFiles } from '../../cli/stack/state.js';
import { assertDefinitions } from '../../core/check.js';
import { encodeKey, onlineKey } from '../../core/codec/key.js';
import { decodeHeader } from '../../core/record.js';
import { HOUR } from '../../core/time.js';
import { computePlan, savePlan } from '../../registry/apply.js';
import { readStatus } from '../../registry/status.js';
import { setWanted } from '../../registry/streams.js';
import { applyPlan } from '../../workflows/apply-plan.js';
import { type DualWriteInput, dualWrite } from '../../workflows/dual-write.js';
import { refill } from '../../workflows/refill.js';
import { drainUpdate } from '../../workflows/stream.js';
import { withoutAddresses } from '../stack/machine.js';
import { createEnvironment, type RunningWorkers } from './environment.js';
import {
  buysNow,
  checkOnline,
  makeMessages,
  offsetsOf,
  openTopic,
  streamWorld,
  type Topic,
  untilRead,
} from './streaming.js';
import { readStored, userHourly, userNow, versionOf, world } from './world.js';

// A Redis of its own, to be killed.
const name = `dual${process.pid}`;
const given = withoutAddresses();
const stack: StackState = await startStack({ name, env: given, servers: ['redis'], processes: [] });
afterAll(async () => {
  await stopStack({ name });
  removeStackFiles(stack);
});
const env = await createEnvironment({ env: { ALMANAC_REDIS_URL: stackEnv(stack).ALMANAC_REDIS_URL! } });
const { pool, redis } = env.deps;
const VIEWS = [userNow, buysNow];
let topic: Topic;
let workers: RunningWorkers;
let repairs: ReturnType<typeof startRepairs>;
let produced = 0;
let seed = 0;

const kill = () => killProcess(stack, 'redis');
const start = () => startProcess(stack, 'redis', { env: given });

/** Into the archive, whether or not Redis answers. */
async function flow(batches: number, size = 30, hours = 3): Promise<void> {
  for (let i = 0; i < batches; i++) {
    const { messages } = makeMessages(size, ++seed, hours);
    await topic.produce(messages);
    produced += messages.length;
    await untilRead(env, produced);
  }
}

const owed = async (): Promise<Array<{ view: string; after: number; until: number | null }>> =>
  (
    await pool.query<{ view: string; after: number; until: number | null }>(
      `select view || '@' || version as view, after_sequence as after, until_sequence as until
         from owed join view_version v on v.id = version_id order by 1, 2`,
    )
  ).rows;

/** Nothing is owed, and every record is the oracle's. */
async function untilRight(): Promise<void> {
  await vi.waitFor(async () => expect(await owed()).toEqual([]), { timeout: 60_000, interval: 100 });
  for (const view of VIEWS)
    await vi.waitFor(() => checkOnline(env, view), { timeout: 20_000, interval: 100 });
}

const run = (input: DualWriteInput) =>
  env.client.workflow.execute(dualWrite, {
    workflowId: `dual-write/${randomUUID()}`,
    taskQueue: env.controlQueue,
    args: [input],
  });

/** When online records end though their steps go on. */
async function ends(): Promise<number[]> {
  const { records } = await readStored(env, userNow);
  return [...records.values()].flatMap((record) => decodeHeader(record).refreshAt ?? []);
}

beforeAll(async () => {
  workers = await env.startWorkers();
  const definitions = assertDefinitions(streamWorld([...VIEWS, userHourly]));
  const plan = await computePlan(pool, definitions);
  await savePlan(pool, plan, definitions);
  await env.client.workflow.execute(applyPlan, {
    workflowId: `apply/${plan.hash}`,
    taskQueue: env.controlQueue,
    args: [{ planHash: plan.hash, by: 'test' }],
  });
  repairs = startRepairs(env.deps, env.client);
  topic = await openTopic(env);
  await flow(1, 900, 6); // long records, which are cut
  await untilRight();
});
afterAll(async () => {
  await repairs.stop();
  await topic.close();
});

test('Redis killed: the archive goes on; back, it gets what it missed', async () => {
  const before = await offsetsOf(env);
  await kill();
  await flow(5);
  const during = await offsetsOf(env);
  expect(during.archived).toBeGreaterThan(before.archived);
  expect(during.epoch).toBe(before.epoch);
  const ranges = await owed();
  expect(ranges).toMatchObject([
    { view: 'user_buys@1', until: null },
    { view: 'user_now@1', until: null },
  ]);
  expect((await readStatus(pool)).streams).toMatchObject([{ owed: 2 }]);
  const handles = ranges.map(({ view, after }) =>
    env.client.workflow.getHandle(`dual-write/${view}/${after}`),
  );
  for (const handle of handles)
    await vi.waitFor(
      async () => expect((await handle.describe()).raw.pendingActivities?.[0]?.lastFailure).toBeTruthy(),
      { timeout: 20_000 },
    );
  await start();
  for (const handle of handles) expect(await handle.result()).toMatchObject({ version: 1 });
  await untilRight();
  expect(await readStatus(pool)).toMatchObject({ streams: [{ owed: 0, counts: { parity: 0 } }] });
});

test('Redis hangs, and goes on while events flow', async () => {
  await killProcess(stack, 'redis', 'SIGSTOP');
  await flow(8);
  await killProcess(stack, 'redis', 'SIGCONT');
  await flow(3);
  await untilRight();
});

test('the reader begins anew while Redis is away: what it catches up with is owed too', async () => {
  await kill();
  await flow(2);
  await workers.stop();
  const { epoch } = await offsetsOf(env);
  const { messages } = makeMessages(30, ++seed, 3);
  await topic.produce(messages);
  produced += messages.length;
  workers = await env.startWorkers();
  await flow(2);
  expect((await offsetsOf(env)).epoch).toBeGreaterThan(epoch);
  await start();
  await untilRight();
});

test('Redis back empty: every version is filled again, and what flows meanwhile is there', async () => {
  await kill();
  await flow(2);
  rmSync(join(stack.units.redis!.dir, 'appendonlydir'), { recursive: true });
  await start();
  await flow(3);
  const generation = (await pool.query<{ generation: string }>('select generation from generation')).rows[0]!
    .generation;
  await vi.waitFor(async () => expect(await isWhole(redis, env.config.environment, generation)).toBe(true), {
    timeout: 60_000,
  });
  await untilRight();
});

test('a refresh that is due while Redis is away comes after it; later dual writes do not undo it', async () => {
  const later = Math.min(...(await ends())) + 2 * HOUR;
  expect(later).toBeLessThan(Number.POSITIVE_INFINITY);
  await kill();
  await flow(1);
  env.deps.clock = () => later;
  await flow(2);
  await start();
  const refreshed = () =>
    vi.waitFor(async () => expect(Math.min(later + 1, ...(await ends()))).toBeGreaterThan(later), {
      timeout: 30_000,
    });
  await untilRight();
  await refreshed();
  // no snapshot is due by now: but those of the refreshed
  await kill();
  await flow(3);
  await start();
  await untilRight();
  await refreshed();
  env.deps.clock = Date.now;
});

test('a record that clashes is counted, and stops neither the stream nor the repair of the others', async () => {
  const { id } = await versionOf(env, userNow.name);
  const key = onlineKey(env.config.environment, 'user', encodeKey(world.entities[0]!, ['u0']));
  await redis.hset(key, String(id), 'no record');
  await flow(2, 200);
  await vi.waitFor(async () =>
    expect((await readStatus(pool)).streams[0]!.counts.parity).toBeGreaterThanOrEqual(1),
  );
  const other = onlineKey(env.config.environment, 'user', encodeKey(world.entities[0]!, ['u1']));
  await redis.hdel(other, String(id));
  await expect(run({ view: 'user_now' })).rejects.toMatchObject({ cause: { type: 'FS_PARITY' } });
  expect(await redis.hexists(other, String(id))).toBe(1);
  await redis.hdel(other, String(id));
  const refilling = env.client.workflow.execute(refill, {
    workflowId: `refill/${randomUUID()}`,
    taskQueue: env.controlQueue,
    args: [{ view: 'user_now' }],
  });
  await expect(refilling).rejects.toMatchObject({ cause: { type: 'FS_PARITY' } });
  expect(await redis.hexists(other, String(id))).toBe(1);
  await redis.hdel(key, String(id));
  expect(await run({ view: 'user_now@1' })).toMatchObject({
    view: 'user_now',
    version: 1,
    after: 0,
    records: 1,
  });
  await untilRight();
});

test.each([
  { input: { view: 'user_nov' }, code: 'FS_NOT_FOUND', why: 'an unknown view' },
  { input: { view: 'user_now@7' }, code: 'FS_NOT_FOUND', why: 'an unknown version' },
  { input: { view: 'user_hourly' }, code: 'FS_REQUEST_INVALID', why: 'a batch view' },
  {
    input: { view: 'user_now', after: 5, until: 4 },
    code: 'FS_REQUEST_INVALID',
    why: 'it ends before it begins',
  },
  { input: { view: 'user_now', after: 1e9 }, code: 'FS_REQUEST_INVALID', why: 'it begins after everything' },
  { input: { view: 'user_now', after: -1 }, code: 'FS_REQUEST_INVALID', why: 'no sequence' },
])('refused: $why', async ({ input, code }) => {
  await expect(run(input)).rejects.toMatchObject({ cause: { cause: { type: code } } });
});

test('a stream that was wanted again just when its run had read the order to drain comes back', async () => {
  const stream = env.client.workflow.getHandle('stream/visits');
  await stream.executeUpdate(drainUpdate);
  await stream.result();
  await setWanted(pool, 'visits', 'run', 'test'); // and nobody starts a run
  await flow(1);
  await untilRight();
});

test('late events are counted, whatever the batches', async () => {
  const { rows } = await pool.query<{ late: number }>(
    `select count(*) as late from (
       select event_ms < max(event_ms) over (order by sequence, "offset" rows between unbounded preceding and 1 preceding) as late
         from archive_visits where partition = 0) as each where late`,
  );
  expect(rows[0]!.late).toBeGreaterThan(0);
  expect((await readStatus(pool)).streams[0]!.counts.late).toBe(rows[0]!.late);
});
