/** Redis down, hung, emptied and back: every request ends within its deadline, and serving recovers by itself. */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { type IncomingMessage, request } from 'node:http';
import { createServer } from 'node:net';
import { afterAll, afterEach, beforeAll, expect, test, vi } from 'vitest';
import { type Serving, startServing } from '../../serving/server.js';
import { type OwnRedis, startOwnRedis } from './redis.js';
import { NOW, publish, shopPlan, writeClicks } from './shop.js';

const environment = 'serving_faults';
const plan = shopPlan();
let redis: OwnRedis;
let serving: Serving;

beforeAll(async () => {
  redis = await startOwnRedis();
  await fill();
  serving = await startServing({
    config: { environment, redisUrl: redis.url, servingUrl: 'http://127.0.0.1:0' },
    instance: null,
    now: () => NOW,
  });
  await recovered();
});

afterEach(() => recovered(), 30_000);

afterAll(async () => {
  await serving?.close();
  await redis?.end();
});

async function fill(): Promise<void> {
  await writeClicks(redis.client, environment, plan, [{ user_id: 7, item_id: 'a', ago: 5 }]);
  await publish(redis.client, environment, plan);
}

interface Answer {
  status: number;
  code: string | undefined;
  ms: number;
  values: unknown[] | undefined;
  retryAfter: string | null;
}

async function ask(headers: Record<string, string> = {}): Promise<Answer> {
  const started = performance.now();
  const response = await fetch(`${serving.url}/get-online-features`, {
    method: 'POST',
    headers,
    body: '{"entities":{"user_id":[7]},"features":["user_activity:user_clicks_last_30min"]}',
  });
  const body = (await response.json()) as { code?: string; results?: Array<{ values: unknown[] }> };
  return {
    status: response.status,
    code: body.code,
    ms: performance.now() - started,
    values: body.results?.[1]?.values,
    retryAfter: response.headers.get('retry-after'),
  };
}

const recovered = (): Promise<void> =>
  vi.waitFor(async () => expect(await ask()).toMatchObject({ status: 200, values: [1] }), {
    timeout: 15_000,
  });

// On a machine shared by many tests a timer may be late; far below the seconds of a client's defaults all the same.
const SLACK_MS = 400;

test('hung: each request ends at its own deadline, later ones at once, and all is well when it wakes', async () => {
  await redis.signal('SIGSTOP');
  const first = await Promise.all([ask({ 'x-deadline-ms': '50' }), ask(), ask({ 'x-deadline-ms': '5000' })]);
  expect(first.map(({ code }) => code)).toEqual(['FS_DEADLINE', 'FS_DEADLINE', 'FS_UNAVAILABLE']);
  expect(first.map(({ status }) => status)).toEqual([504, 504, 503]);
  expect(first[0]!.ms).toBeLessThan(50 + SLACK_MS);
  expect(first[1]!.ms).toBeLessThan(100 + SLACK_MS);
  // A second without a byte ends the connection, whatever the deadline.
  expect(first[2]!.ms).toBeLessThan(1_000 + SLACK_MS);
  const later = await ask({ 'x-deadline-ms': '5000' });
  expect(later).toMatchObject({ status: 503, code: 'FS_UNAVAILABLE', retryAfter: '1' });
  expect(later.ms).toBeLessThan(SLACK_MS);
  const health = await fetch(`${serving.url}/health`);
  expect(await health.json()).toMatchObject({ ok: true, ready: false });
  await redis.signal('SIGCONT');
});

test('killed: refused at once; started again with its data: answered again', async () => {
  await redis.signal('SIGKILL');
  await vi.waitFor(async () => expect((await ask()).code).toBe('FS_UNAVAILABLE'));
  const answers = await Promise.all(Array.from({ length: 50 }, () => ask()));
  for (const { code, ms } of answers) {
    expect(code).toBe('FS_UNAVAILABLE');
    expect(ms).toBeLessThan(SLACK_MS);
  }
  const ready = await fetch(`${serving.url}/ready`);
  expect(ready.status).toBe(503);
  expect(JSON.stringify(await ready.json())).toContain('Redis');
  await redis.restart();
});

test('emptied: not ready, never "no such user"; filled again: answered again', async () => {
  await redis.client.flushall();
  const emptied = await ask();
  expect(emptied).toMatchObject({ status: 503, code: 'FS_NOT_READY', values: undefined });
  const answers = Promise.all(Array.from({ length: 20 }, () => ask()));
  for (const { code } of await answers) expect(code).toBe('FS_NOT_READY');
  await fill();
});

test('started before Redis has a plan: not ready, then ready by itself', async () => {
  const early = await startServing({
    config: { environment: 'serving_early', redisUrl: redis.url, servingUrl: 'http://127.0.0.1:0' },
    instance: null,
  });
  try {
    const ready = await vi.waitFor(async () => {
      const response = await fetch(`${early.url}/ready`);
      const text = await response.text();
      expect(text).toContain('no serving plan is published in environment \\"serving_early\\"');
      return response;
    });
    expect(ready.status).toBe(503);
    await publish(redis.client, 'serving_early', plan);
    await vi.waitFor(async () => expect((await fetch(`${early.url}/ready`)).status).toBe(200));
  } finally {
    await early.close();
  }
});

test('a server that takes connections and never speaks is as good as down', async () => {
  const mute = createServer();
  await new Promise<void>((resolve) => mute.listen(0, '127.0.0.1', resolve));
  const { port } = mute.address() as { port: number };
  const deaf = await startServing({
    config: { environment, redisUrl: `redis://127.0.0.1:${port}`, servingUrl: 'http://127.0.0.1:0' },
    instance: null,
  });
  const started = performance.now();
  const response = await fetch(`${deaf.url}/get-online-features`, { method: 'POST', body: '{}' });
  expect(response.status).toBe(503);
  expect(await response.json()).toMatchObject({ code: 'FS_NOT_READY' });
  expect(performance.now() - started).toBeLessThan(SLACK_MS);
  await deaf.close();
  mute.close();
});

test('the process: SIGTERM ends it with 0 once what is under way is answered; a bad setting ends it with 1', async () => {
  const run = (env: Record<string, string>) =>
    spawn(process.execPath, ['--import', 'jiti/register', 'serving/main.ts'], {
      env: { ...process.env, ALMANAC_ENVIRONMENT: environment, ALMANAC_REDIS_URL: redis.url, ...env },
      stdio: ['ignore', 'pipe', 'pipe'],
    });
  const child = run({ ALMANAC_SERVING_URL: 'http://127.0.0.1:0', ALMANAC_INSTANCE: 'i-1' });
  const [line] = (await once(child.stdout, 'data')) as [Buffer];
  const url = /http:\S+/.exec(line.toString())![0];
  expect(await (await fetch(`${url}/health`)).json()).toMatchObject({
    process: 'serving',
    instance: 'i-1',
    ok: true,
  });
  // A request under way: its head has arrived (100-continue says so), its body follows after the signal.
  const slow = request(`${url}/get-online-features`, {
    method: 'POST',
    headers: { expect: '100-continue', 'x-deadline-ms': '5000' },
  });
  slow.flushHeaders();
  await once(slow, 'continue');
  child.kill('SIGTERM');
  await vi.waitFor(() => expect(fetch(`${url}/health`)).rejects.toThrow());
  slow.end('{"entities":{"user_id":[7]},"features":["user_activity:user_clicks_last_30min"]}');
  const [answer] = (await once(slow, 'response')) as [IncomingMessage];
  expect(answer.statusCode).toBe(200);
  answer.resume();
  expect(await once(child, 'exit')).toEqual([0, null]);

  const refused = run({ ALMANAC_SERVING_URL: 'http://0.0.0.0:7802' });
  const [text] = (await once(refused.stderr, 'data')) as [Buffer];
  expect(text.toString()).toContain('FS_CONFIG_INVALID');
  expect(await once(refused, 'exit')).toEqual([1, null]);
}, 60_000);
