import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { fileURLToPath } from 'node:url';
import { afterAll, expect, test } from 'vitest';
import { importSource } from '../../workflows/import-source.js';
import { progressQuery } from '../../workflows/progress.js';
import { definitionsOf, orders } from '../workflows/definitions.js';
import { applyDefinitions, bundle, createEnvironment, putFile } from '../workflows/environment.js';

const env = await createEnvironment();
await applyDefinitions(env, definitionsOf(orders));
const bundlePath = await bundle();
const started: ChildProcess[] = [];
afterAll(() => {
  for (const child of started)
    if (child.exitCode === null && child.signalCode === null) child.kill('SIGKILL');
});

interface Started {
  child: ChildProcess;
  /** What it has written so far. */
  said(what: RegExp): Promise<RegExpMatchArray>;
  ended(): Promise<number | null>;
}

/** The process, from sources. */
function run(variables: Record<string, string> = {}, args: string[] = []): Started {
  const child = spawn(
    process.execPath,
    ['--import', 'jiti/register', 'workers/main.ts', '--bundle', bundlePath, ...args],
    {
      cwd: fileURLToPath(new URL('../..', import.meta.url)),
      env: { ...env.env, ALMANAC_WORKER_URL: 'http://127.0.0.1:0', ...variables },
      stdio: ['ignore', 'pipe', 'pipe'],
    },
  );
  started.push(child);
  let text = '';
  for (const stream of [child.stdout, child.stderr])
    stream.on('data', (chunk: Buffer) => (text += chunk.toString()));
  const exit = once(child, 'exit');
  return {
    child,
    async said(what) {
      for (;;) {
        const found = what.exec(text);
        if (found) return found;
        if (child.exitCode !== null || child.signalCode !== null) throw new Error(`it ended: ${text}`);
        await Promise.race([once(child.stdout, 'data'), once(child.stderr, 'data'), exit]);
      }
    },
    async ended() {
      await exit;
      return child.exitCode;
    },
  };
}

test('runs its queues, says how it is, counts, and ends in order', async () => {
  const worker = run({ ALMANAC_INSTANCE: 'a' }, ['--queues', 'control,batch']);
  const [, url] = await worker.said(/listen on (\S+)/);
  await worker.said(/workers run for t\w+-control, t\w+-batch\n/);
  const health = await fetch(`${url}/health`);
  expect([health.status, await health.json()]).toEqual([
    200,
    {
      process: 'worker',
      environment: env.config.environment,
      instance: 'a',
      queues: ['control', 'batch'],
      ok: true,
    },
  ]);
  const file = putFile(
    env,
    'order_id,user_id,amount,express,note,created_at,loaded_at\na,1,1,true,,2026-01-01T00:00:00Z,\n',
  );
  const { counts } = await env.client.workflow.execute(importSource, {
    workflowId: 'import/orders/one',
    taskQueue: env.controlQueue,
    args: [{ source: 'orders', file }],
  });
  expect(counts.archived).toBe(1);
  expect(await (await fetch(`${url}/metrics`)).text()).toMatch(
    /almanac_activity_seconds_count\{activity="importRange",outcome="completed"\} 1/,
  );
  expect((await fetch(`${url}/other`)).status).toBe(404);
  worker.child.kill('SIGTERM');
  expect(await worker.ended()).toBe(0);
});

test('killed in the middle of an import, and started again: the archive is whole', async () => {
  const from = Date.parse('2026-02-01T00:00:00Z');
  const rows = Array.from(
    { length: 60_000 },
    (_, i) => `k${i},${i % 97},1,true,,${new Date(from + i * 1000).toISOString()},\n`,
  );
  const file = putFile(env, `order_id,user_id,amount,express,note,created_at,loaded_at\n${rows.join('')}`);
  let worker = run();
  await worker.said(/workers run for/);
  const handle = await env.client.workflow.start(importSource, {
    workflowId: 'import/orders/killed',
    taskQueue: env.controlQueue,
    args: [{ source: 'orders', file }],
  });
  const done = async (): Promise<number> => {
    const { rows: found } = await env.deps.pool.query<{ done: number }>(
      'select coalesce(max(next_offset), 0) as done from import where content_sha256 = $1',
      [file],
    );
    return found[0]!.done;
  };
  while ((await done()) < 15_000); // each look is a query: nothing to wait for in between
  worker.child.kill('SIGKILL');
  await worker.ended();
  worker = run();
  const { counts } = await handle.result();
  expect(counts).toMatchObject({ archived: 60_000, duplicate: 0, conflict: 0 });
  const { rows: found } = await env.deps.pool.query(
    `select count(*) as events, count(distinct event_id) as ids from archive_orders where event_id like 'k%'`,
  );
  expect(found).toEqual([{ events: 60_000, ids: 60_000 }]);
  expect(await handle.query(progressQuery)).toMatchObject({ done: 60_000, total: 60_000 });
  worker.child.kill('SIGTERM');
  expect(await worker.ended()).toBe(0);
});

test.each([
  { why: 'an unknown queue', args: ['--queues', 'control,fast'], variables: {}, says: /FS_REQUEST_INVALID: "fast" is not a task queue\n {2}--queues takes/ },
  { why: 'Temporal away for longer than it waits', args: ['--wait', '1'], variables: { ALMANAC_TEMPORAL_ADDRESS: '127.0.0.1:1' }, says: /FS_UNAVAILABLE: Temporal does not answer at 127.0.0.1:1/ },
  { why: 'Postgres away', args: ['--wait', '1'], variables: { ALMANAC_POSTGRES_URL: 'postgres://127.0.0.1:1/x' }, says: /FS_UNAVAILABLE: Postgres does not answer/ },
  { why: 'no schema', args: ['--wait', '1'], variables: { ALMANAC_ENVIRONMENT: 'nobody_made_it' }, says: /FS_NOT_READY: schema "nobody_made_it" is not made yet/ },
  { why: 'no address', args: [], variables: { ALMANAC_REDIS_URL: '' }, says: /FS_CONFIG_INVALID: ALMANAC_REDIS_URL is no Redis address/ },
  { why: 'a wrong password', args: [], variables: { ALMANAC_REDIS_URL: wrongPassword() }, says: /FS_CONFIG_INVALID: Redis refuses/ },
])('does not start with $why, and says so', async ({ args, variables, says }) => {
  const worker = run(variables, args);
  await worker.said(says);
  expect(await worker.ended()).toBe(1);
}); // biome-ignore format: a table

test('waits for a store that is away; health says for which; ends when told', async () => {
  const worker = run({ ALMANAC_TEMPORAL_ADDRESS: '127.0.0.1:1' });
  const [, url] = await worker.said(/listen on (\S+)/);
  const health = await fetch(`${url}/health`);
  expect([health.status, await health.json()]).toEqual([
    503,
    expect.objectContaining({ ok: false, reasons: expect.arrayContaining(['still starting']) }),
  ]);
  worker.child.kill('SIGTERM');
  expect(await worker.ended()).toBe(0);
});

test('runs without Redis: streams go on; health says that it is away', async () => {
  const worker = run({ ALMANAC_REDIS_URL: 'redis://127.0.0.1:1' });
  const [, url] = await worker.said(/listen on (\S+)/);
  await worker.said(/workers run for/);
  expect(await (await fetch(`${url}/health`)).json()).toMatchObject({
    ok: false,
    reasons: [expect.stringMatching(/^Redis is \w+: connect ECONNREFUSED/)],
  });
  worker.child.kill('SIGTERM');
  expect(await worker.ended()).toBe(0);
});

function wrongPassword(): string {
  const url = new URL(env.config.redisUrl);
  url.password = 'wrong';
  return url.href;
}
