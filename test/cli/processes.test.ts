/**
 * The command line as it is typed: the compiled program, real processes started by it, a small feature repository from plan to
 * verify. Servers are those every test shares; environment, ports and files are this test's own.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { existsSync } from 'node:fs';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { tableFromIPC } from 'apache-arrow';
import { Redis } from 'ioredis';
import { afterAll, beforeAll, describe, expect, test, vi } from 'vitest';
import { EXIT } from '../../cli/errors.js';
import { freePort } from '../../cli/stack/process.js';

const MAIN = fileURLToPath(new URL('../../dist/cli/main.js', import.meta.url));

const FEATURES = `
import { aggregationView, batch, count, define, entity, file, lifetime, service, source, streaming, sum } from 'almanac';
const about = { description: 'A test.', owner: 'cli' };
const user = entity('user', { ...about, keys: { user_id: 'int64' } });
const orders = source('orders', {
  ...about,
  input: file('csv'),
  columns: { order_id: 'string', user_id: 'int64', cents: 'int64', at: 'timestamp', known: 'timestamp' },
  eventTime: 'at',
  arrival: 'known',
  id: 'order_id',
});
const lifetimeView = aggregationView('user_lifetime', {
  ...about, entity: user, source: orders, mode: streaming(),
  features: { user_spend_all_time_cents: { description: 'Spent.', aggregation: sum(orders.col('cents')), window: lifetime() } },
});
const dailyView = aggregationView('user_daily', {
  ...about, entity: user, source: orders, mode: batch('1d'),
  features: { user_orders_all_time: { description: 'Orders.', aggregation: count(), window: lifetime() } },
});
export default define([service('spend', { ...about, features: [
  lifetimeView.feature('user_spend_all_time_cents'), dailyView.feature('user_orders_all_time'),
] })]);
`;
const ORDERS = `order_id,user_id,cents,at,known
a,1,100,2026-01-01T10:00:00Z,2026-01-01T10:00:01Z
b,1,250,2026-01-02T10:00:00Z,2026-01-03T06:00:00Z
b,1,250,2026-01-02T10:00:00Z,2026-01-03T06:00:00Z
c,2,70,2026-01-02T11:00:00Z,2026-01-02T11:00:01Z
d,,5,2026-01-02T11:00:00Z,2026-01-02T11:00:01Z
`;
const LABELS = `user_id,event_timestamp,label
1,2026-01-01T12:00:00Z,0
1,2026-01-03T00:00:00Z,1
2,2026-01-01T00:00:00Z,0
`;

interface Ran {
  code: number | null;
  stdout: string;
  stderr: string;
}
let env: NodeJS.ProcessEnv = process.env;
let dir = '';
const started: ChildProcess[] = [];

function run(args: string[], over: NodeJS.ProcessEnv = {}): Promise<Ran> {
  return new Promise((resolve, reject) => {
    const child = spawn(process.execPath, [MAIN, ...args], { env: { ...env, ...over }, cwd: dir });
    const ran: Ran = { code: null, stdout: '', stderr: '' };
    child.stdout.setEncoding('utf8').on('data', (text: string) => {
      ran.stdout += text;
    });
    child.stderr.setEncoding('utf8').on('data', (text: string) => {
      ran.stderr += text;
    });
    child.once('error', reject).once('close', (code) => resolve({ ...ran, code }));
  });
}

/** Runs with --json and gives the document; the exit code has to be as expected. */
async function json(args: string[], code: number = EXIT.ok): Promise<Record<string, unknown>> {
  const ran = await run([...args, '--json']);
  expect(ran, ran.stderr).toMatchObject({ code });
  expect(ran.stdout.trimEnd().split('\n')).toHaveLength(1);
  return JSON.parse(ran.stdout);
}

async function healthy(url: string): Promise<boolean> {
  try {
    return (await fetch(`${url}/health`, { signal: AbortSignal.timeout(2_000) })).ok;
  } catch {
    return false; // not yet
  }
}

beforeAll(async () => {
  expect(existsSync(MAIN), 'npm run build makes dist').toBe(true);
  dir = await mkdtemp(join(tmpdir(), 'almanac cli-'));
  await writeFile(join(dir, 'features.ts'), FEATURES);
  await writeFile(join(dir, 'orders.csv'), ORDERS);
  await writeFile(join(dir, 'labels.csv'), LABELS);
  const taken = new Set<number>();
  const url = async (): Promise<string> => `http://127.0.0.1:${await freePort(undefined, taken)}`;
  env = {
    ...process.env,
    ALMANAC_ENVIRONMENT: `cli_${process.pid}`,
    ALMANAC_FILES_DIR: join(dir, 'files'),
    ALMANAC_REGISTRY_URL: await url(),
    ALMANAC_WORKER_URL: await url(),
    ALMANAC_SERVING_URL: await url(),
  };
  for (const command of ['registry', 'worker', 'serve'])
    started.push(spawn(process.execPath, [MAIN, command], { env, cwd: dir, stdio: 'ignore' }));
  for (const address of [env.ALMANAC_REGISTRY_URL, env.ALMANAC_WORKER_URL, env.ALMANAC_SERVING_URL])
    await vi.waitUntil(() => healthy(address!), { timeout: 60_000, interval: 100 });
});

afterAll(async () => {
  const ends = started.map((child) => new Promise((resolve) => child.once('exit', resolve)));
  for (const child of started) child.kill('SIGTERM');
  await Promise.all(ends);
  await rm(dir, { recursive: true });
});

describe('from plan to verify', () => {
  test('plan: changes, exit 2; apply; then none, exit 0', async () => {
    expect(await json(['plan'], EXIT.changes)).toMatchObject({ empty: false, baseRevision: 0 });
    expect(await json(['apply', '--yes'])).toMatchObject({ run: { state: 'completed' } });
    expect(await json(['plan', 'features.ts'])).toMatchObject({ empty: true });
    expect(await run(['apply'])).toMatchObject({ code: EXIT.ok });
  });
  test('import: rows by outcome', async () => {
    expect(await json(['import', 'orders', '--file', 'orders.csv'])).toMatchObject({
      result: { counts: { archived: 3, duplicate: 1, invalid: 1 } },
    });
  });
  test('backfill and materialize', async () => {
    const { runs } = await json(['backfill', '--all']);
    expect(runs).toHaveLength(2);
    expect(await json(['materialize', 'user_daily@1'])).toMatchObject({ state: 'completed' });
  });
  test('get-online: a table for one, rows for several, digits as the key wants them', async () => {
    const one = await run(['get-online', 'spend', '--entity', 'user_id=1']);
    expect(one.stdout).toMatch(/user_spend_all_time_cents +350 +PRESENT/);
    const several = await run(['get-online', 'spend', '--entity', 'user_id=1,2,3']);
    expect(several.stdout).toMatch(/^3 +0 \(NOT_FOUND\)/m);
    const document = await json([
      'get-online',
      '--features',
      'user_daily:user_orders_all_time',
      '--entity',
      'user_id=2',
    ]);
    expect(document).toMatchObject({ results: [{ values: [2] }, { values: [1], statuses: ['PRESENT'] }] });
  });
  test('get-historical: to a file, and to stdout', async () => {
    const made = await json(['get-historical', 'labels.csv', '--service', 'spend', '--out', 'train.arrow']);
    expect(made).toMatchObject({ out: 'train.arrow' });
    const table = tableFromIPC(await readFile(join(dir, 'train.arrow')));
    const spent = Array.from(table.getChild('user_spend_all_time_cents')!, Number);
    expect(spent).toEqual([100, 100, 0]); // the order of 250 was known six hours after the second label
    const byEvent = [
      'get-historical',
      'labels.csv',
      '--service',
      'spend',
      '--mode',
      'event-time',
      '--out',
      'event.arrow',
    ];
    await json(byEvent);
    const known = tableFromIPC(await readFile(join(dir, 'event.arrow')));
    expect(Array.from(known.getChild('user_spend_all_time_cents')!, Number)).toEqual([100, 350, 0]);
    const piped = await run([...byEvent.slice(0, -1), '-']);
    expect(piped.code).toBe(EXIT.ok);
    expect(piped.stdout.length).toBeGreaterThan(100);
  });
  test('refill, verify, status', { timeout: 90_000 }, async () => {
    const ask = (): Promise<Ran> => run(['get-online', 'spend', '--entity', 'user_id=1', '--json']);
    const before = await ask();
    expect(before.code).toBe(EXIT.ok);
    const redis = new Redis(env.ALMANAC_REDIS_URL!);
    await redis.del(await redis.keys(`${env.ALMANAC_ENVIRONMENT}:*`));
    expect((await json(['refill', 'user_daily'])).runs).toHaveLength(1); // the worker may begin with all of them by itself
    expect((await json(['refill', '--all'])).runs).toHaveLength(2);
    await redis.quit();
    await vi.waitUntil(async () => (await ask()).code === EXIT.ok, { timeout: 30_000, interval: 100 });
    expect((await ask()).stdout).toBe(before.stdout);
    expect(await json(['verify', '--entities', '2'])).toMatchObject({ different: 0 });
    const { stdout } = await run(['status']);
    expect(stdout).toMatch(/^user_daily@1 +live/m);
    expect(stdout).toMatch(/^orders +csv file +3$/m);
  });
});

describe('failures', () => {
  test('what the registry does not know is named, with the nearest name', async () => {
    const { code, stderr } = await run(['backfill', 'user_dayly']);
    expect(code).toBe(EXIT.failed);
    expect(stderr).toMatch(/error: .*user_dayly[\s\S]*fix: .*user_daily/);
  });
  test('nothing runs here: exit 3, and what to do', async () => {
    const { code, stderr } = await run(['status', '--registry', 'http://127.0.0.1:1']);
    expect(code).toBe(EXIT.environment);
    expect(stderr).toContain('npm run up');
  });
  test('a process that cannot start ends its command with its own exit code', async () => {
    const { code } = await run(['registry'], { ALMANAC_ENVIRONMENT: 'Not A Name' });
    expect(code).toBe(1);
  });
});

test('a reader that leaves early is no failure', async () => {
  const child = spawn(process.execPath, [MAIN, '--help'], { env, stdio: ['ignore', 'pipe', 'pipe'] });
  child.stdout.destroy();
  let said = '';
  child.stderr.setEncoding('utf8').on('data', (text: string) => {
    said += text;
  });
  const code = await new Promise((resolve) => child.once('close', resolve));
  expect({ code, said }).toEqual({ code: EXIT.ok, said: '' });
});
