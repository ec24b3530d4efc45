/** What goes wrong in the middle of a backfill: it ends in the same values. */
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { ApplicationFailure, Context } from '@temporalio/activity';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { beating } from '../../activities/heartbeat.js';
import { type Activities, createActivities, createRedis, untilReady } from '../../activities/index.js';
import { DAY, floorTo, formatTimestamp } from '../../core/time.js';
import { backfill } from '../../workflows/backfill.js';
import { refill } from '../../workflows/refill.js';
import { applyDefinitions, bundle, createEnvironment, type TestEnvironment } from './environment.js';
import { losingAnswers, repeating } from './faults.js';
import {
  archive,
  checkWithOracle,
  comparable,
  makeEvents,
  readStored,
  userHourly,
  userNow,
  VIEWS,
  world,
} from './world.js';

const now = Date.now();
const today = floorTo(now, DAY);
const end = formatTimestamp(today);
const made = makeEvents(1_500, { start: today - 4 * DAY, end: now - 1000, seed: 4 });
const ended: Array<() => unknown> = [];
afterAll(async () => {
  for (const each of ended.reverse()) await each();
});

async function createWorld(): Promise<TestEnvironment> {
  const env = await createEnvironment();
  await applyDefinitions(env, world);
  await archive(env, made);
  return env;
}

const start = (env: TestEnvironment, view: string, eventsPerChunk = 100) =>
  env.client.workflow.start(backfill, {
    workflowId: `backfill/${view}`,
    taskQueue: `${env.config.environment}-batch`,
    args: [{ view, end, eventsPerChunk }],
  });

/** What a backfill that met no fault leaves. */
let wanted: Map<string, ReturnType<typeof comparable>>;
beforeAll(async () => {
  const env = await createWorld();
  const workers = await env.startWorkers();
  wanted = new Map();
  for (const view of VIEWS) {
    await (await start(env, view.name)).result();
    wanted.set(view.name, comparable(await readStored(env, view)));
  }
  await workers.stop();
});

test.each([
  { name: 'every activity runs twice', wrap: repeating },
  { name: 'every activity is repeated after its answer was lost', wrap: losingAnswers },
])('$name', async ({ wrap }) => {
  const env = await createWorld();
  const workers = await env.startWorkers(wrap);
  for (const view of VIEWS) {
    await (await start(env, view.name, 500)).result();
    expect(comparable(await readStored(env, view))).toEqual(wanted.get(view.name));
  }
  await workers.stop();
});

test('two backfills of one view at once', async () => {
  const env = await createWorld();
  const workers = await env.startWorkers();
  const runs = ['one', 'other'].map((name) =>
    env.client.workflow.execute(backfill, {
      workflowId: `backfill/${name}`,
      taskQueue: `${env.config.environment}-batch`,
      args: [{ view: 'user_hourly', end, eventsPerChunk: 100 }],
    }),
  );
  await Promise.all(runs);
  expect(comparable(await readStored(env, userHourly))).toEqual(wanted.get('user_hourly'));
  await workers.stop();
});

test('a chunk fails: its siblings have ended before the backfill has', async () => {
  const env = await createWorld();
  let begun = 0;
  let ended = 0;
  const all = new Map<number, () => void>();
  const workers = await env.startWorkers((activities) => ({
    ...activities,
    backfillChunk: async () => {
      const mine = ++begun;
      if (mine === 4) {
        for (const go of all.values()) go();
        throw ApplicationFailure.nonRetryable('this chunk fails', 'FS_PARITY');
      }
      await new Promise<void>((resolve) => all.set(mine, resolve));
      try {
        return await beating(() => Context.current().cancelled);
      } finally {
        ended += 1;
      }
    },
  }));
  await expect((await start(env, 'user_hourly')).result()).rejects.toMatchObject({
    cause: { cause: { type: 'FS_PARITY' } },
  });
  expect([begun, ended]).toEqual([4, 3]);
  await workers.stop();
});

test.each([userHourly, userNow])('$name: kill -9 of its worker', async (view) => {
  const env = await createWorld();
  const handle = await start(env, view.name);
  const worker = startProcess(
    'node',
    ['--import', 'jiti/register', 'test/workflows/worker-process.ts', await bundle()],
    env.env,
  );
  await expect.poll(async () => (await countDone(env)) >= 2, { timeout: 60_000, interval: 10 }).toBe(true);
  worker.kill('SIGKILL');
  await once(worker, 'exit');
  expect((await handle.describe()).status.name).toBe('RUNNING');
  const workers = await env.startWorkers();
  const status = await handle.result();
  expect(status.chunks).toBeGreaterThan(6);
  expect(comparable(await readStored(env, view))).toEqual(wanted.get(view.name));
  await workers.stop();
});

test('Redis away in the middle, then back and empty; a refill brings it back to the byte', async () => {
  const port = await freePort();
  const folder = mkdtempSync(join(tmpdir(), 'almanac-redis-'));
  ended.push(() => rmSync(folder, { recursive: true, force: true }));
  const startRedis = () =>
    startProcess('redis-server', [
      '--port',
      String(port),
      '--bind',
      '127.0.0.1',
      '--dir',
      folder,
      '--save',
      '',
    ]);
  let server = startRedis();
  const env = await createWorld();
  const redis = createRedis(`redis://127.0.0.1:${port}`, () => {}); // commands say so themselves
  ended.push(() => redis.disconnect());
  await untilReady(redis, 10_000);
  const own = { ...env, deps: { ...env.deps, redis } };
  const killAfter = 8;
  let done = 0;
  const workers = await env.startWorkers(() => {
    const activities = createActivities(own.deps);
    const backfillChunk: Activities['backfillChunk'] = async (input) => {
      if (++done === killAfter) {
        server.kill('SIGKILL');
        await once(server, 'exit');
      }
      return activities.backfillChunk(input);
    };
    return { ...activities, backfillChunk };
  });
  const handle = await start(env, 'user_hourly');
  await expect
    .poll(async () => (await handle.describe()).raw.pendingActivities?.[0]?.lastFailure?.message ?? '', {
      timeout: 30_000,
    })
    .toContain('Redis');
  server = startRedis();
  const status = await handle.result();
  const { records, ...inPostgres } = comparable(await readStored(own, userHourly));
  const { records: wantedRecords, ...wantedInPostgres } = wanted.get('user_hourly')!;
  expect(inPostgres).toEqual(wantedInPostgres);
  expect(records.length).toBeLessThan(wantedRecords.length);

  const result = await env.client.workflow.execute(refill, {
    workflowId: 'refill/user_hourly',
    taskQueue: `${env.config.environment}-batch`,
    args: [{ view: 'user_hourly' }],
  });
  expect(result.records).toBe(wantedRecords.length - records.length);
  expect(comparable(await readStored(own, userHourly))).toEqual(wanted.get('user_hourly'));
  await checkWithOracle(own, userHourly, { start: Date.parse(status.start), end: Date.parse(status.end) });
  await workers.stop();
});

async function countDone({ deps }: TestEnvironment): Promise<number> {
  const { rows } = await deps.pool.query<{ done: number }>(
    'select count(*) as done from backfill_chunk where done',
  );
  return rows[0]!.done;
}

function startProcess(
  command: string,
  args: string[],
  env: Record<string, string | undefined> = process.env,
): ChildProcess {
  const child = spawn(command, args, {
    env: env as NodeJS.ProcessEnv,
    stdio: ['ignore', 'ignore', 'inherit'],
  });
  ended.push(() => child.kill('SIGKILL'));
  return child;
}

async function freePort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const address = server.address();
  server.close();
  await once(server, 'close');
  return typeof address === 'object' && address !== null ? address.port : 0;
}
