import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { type AddressInfo, connect, createServer, type Socket } from 'node:net';
import fc from 'fast-check';
import type { Redis } from 'ioredis';
import { afterAll, describe, expect, test } from 'vitest';
import { assertKeepsRecords, COMMAND_MS, createRedis, untilReady } from '../../activities/online/client.js';
import {
  beginRefill,
  endRefill,
  publishOnlineSet,
  publishPlan,
  publishProgress,
} from '../../activities/online/publish.js';
import { removeVersions } from '../../activities/online/remove.js';
import { type RecordRow, writeRecords } from '../../activities/online/write.js';
import { readConfig } from '../../core/config.js';
import {
  generationKey,
  onlineSetKey,
  planKey,
  progressKey,
  refilledKey,
  type ServingPlan,
} from '../../core/serving-plan.js';

const environment = `t${randomBytes(6).toString('hex')}`;
const { redisUrl } = readConfig(process.env);
const redis = createRedis(redisUrl, () => {});
await untilReady(redis, 10_000);
afterAll(async () => {
  const keys = await redis.keys(`${environment}:*`);
  if (keys.length > 0) await redis.del(keys);
  redis.disconnect();
});

const key = (name: number | string): string => `${environment}:{user:${name}}`;
function record(a: bigint, b: bigint, body = ''): Buffer {
  const head = Buffer.alloc(17);
  head[0] = 1;
  head.writeBigUInt64BE(a, 1);
  head.writeBigUInt64BE(b, 9);
  return Buffer.concat([head, Buffer.from(body)]);
}
const stored = (name: number | string, field = '1') => redis.hgetBuffer(key(name), field);
const none = { written: 0, unchanged: 0, stale: 0, unread: 0, conflict: 0, conflicts: [] };
let change = 0;
const keep = (...versionIds: number[]) =>
  publishOnlineSet(redis, environment, { change: ++change, versionIds });
await keep(1, 2);

describe('guarded writes', () => {
  const BIG = 2n ** 63n;
  test.each([
    { why: 'nothing there', before: null, after: record(0n, 0n), outcome: 'written' },
    { why: 'greater a', before: record(1n, 9n), after: record(2n, 0n), outcome: 'written' },
    { why: 'greater b', before: record(1n, 1n), after: record(1n, 2n), outcome: 'written' },
    { why: 'smaller a', before: record(2n, 0n), after: record(1n, 9n), outcome: 'stale' },
    { why: 'smaller b', before: record(1n, 2n), after: record(1n, 1n), outcome: 'stale' },
    { why: 'the same', before: record(1n, 1n, 'x'), after: record(1n, 1n, 'x'), outcome: 'unchanged' },
    { why: 'the same pair, other bytes', before: record(1n, 1n, 'x'), after: record(1n, 1n, 'y'), outcome: 'conflict' },
    { why: 'in the highest bit', before: record(1n, 1n), after: record(BIG, 0n), outcome: 'written' },
    { why: 'where doubles would round', before: record(BIG + 1n, 0n), after: record(BIG, 0n), outcome: 'stale' },
    { why: 'in the lowest bit of b', before: record(1n, BIG), after: record(1n, BIG + 1n), outcome: 'written' },
    { why: 'bytes that are no record', before: Buffer.from('short'), after: record(1n, 1n), outcome: 'conflict' },
  ])('$why: $outcome', async ({ why, before, after, outcome }) => {
    if (before !== null) await redis.hset(key(why), '1', before);
    const counts = await writeRecords(redis, environment, [{ key: key(why), field: '1', record: after }]);
    const conflicts = outcome === 'conflict' ? [0] : [];
    expect(counts).toEqual({ ...none, [outcome]: 1, conflicts });
    expect(await stored(why)).toEqual(outcome === 'written' ? after : before);
  }); // biome-ignore format: a table

  test('any orders of any writers end in the newest of each', async () => {
    const pair = fc.tuple(fc.bigInt({ min: 0n, max: 3n }), fc.bigInt({ min: 0n, max: 3n }));
    let run = 0;
    await fc.assert(
      fc.asyncProperty(
        fc.array(fc.tuple(fc.nat({ max: 4 }), pair), { maxLength: 300 }),
        fc.integer({ min: 1, max: 4 }),
        async (writes, writers) => {
          run += 1;
          const rows = writes.map(
            ([who, [a, b]]): RecordRow => ({
              key: key(`${run}-${who}`),
              field: '1',
              record: record(a, b, `${a},${b}`),
            }),
          );
          const share = Array.from({ length: writers }, (_, i) =>
            rows.filter((_row, j) => j % writers === i),
          );
          await Promise.all(share.map((some) => writeRecords(redis, environment, some)));
          await writeRecords(redis, environment, rows.toReversed()); // a replay changes nothing
          for (let who = 0; who <= 4; who++) {
            const mine = writes
              .filter(([each]) => each === who)
              .map(([, [a, b]]) => record(a, b, `${a},${b}`));
            const newest = mine.sort((a, b) => Buffer.compare(a, b)).at(-1) ?? null;
            expect(await stored(`${run}-${who}`)).toEqual(newest);
          }
        },
      ),
      { numRuns: 30 },
    );
  });

  test('conflicts are named by their place among all rows', async () => {
    await redis.hset(key('clash'), '1', record(5n, 5n, 'old'));
    const rows: RecordRow[] = Array.from({ length: 250 }, (_, i) => ({
      key: key(`many${i}`),
      field: '1',
      record: record(1n, 1n),
    }));
    rows[207] = { key: key('clash'), field: '1', record: record(5n, 5n, 'new') };
    expect(await writeRecords(redis, environment, rows)).toEqual({
      ...none,
      written: 249,
      conflict: 1,
      conflicts: [207],
    });
  });

  test('a Redis that forgot the script is told again', async () => {
    await redis.script('FLUSH');
    const rows = Array.from(
      { length: 900 },
      (_, i): RecordRow => ({ key: key(`again${i}`), field: '1', record: record(1n, 1n) }),
    );
    expect((await writeRecords(redis, environment, rows)).written).toBe(900);
    expect((await writeRecords(redis, environment, rows)).unchanged).toBe(900);
  });

  test('a version is taken out, the others stay', async () => {
    await writeRecords(redis, environment, [
      { key: key('both'), field: '1', record: record(1n, 1n) },
      { key: key('both'), field: '2', record: record(1n, 1n) },
      { key: key('one'), field: '2', record: record(1n, 1n) },
    ]);
    await publishProgress(redis, environment, [1, 2].map((versionId) => ({ versionId, tickMs: 5 }))); // biome-ignore format: short
    await removeVersions(redis, environment, [2], () => {});
    expect(await redis.hkeys(key('both'))).toEqual(['1', '2']); // it is read
    await keep(1);
    await removeVersions(redis, environment, [2, 3], () => {});
    expect(await redis.hkeys(key('both'))).toEqual(['1']);
    expect(await redis.exists(key('one'))).toBe(0);
    expect(await redis.hgetall(progressKey(environment))).toEqual({ 1: '5' });
    await redis.del(progressKey(environment));
  });

  test('what nobody reads is not written, whatever an older set said', async () => {
    const rows = ['1', '2'].map((field) => ({ key: key('unread'), field, record: record(1n, 1n) }));
    await publishOnlineSet(redis, environment, { change: change - 1, versionIds: [1, 2] }); // of one that was stopped meanwhile
    expect(await writeRecords(redis, environment, rows)).toEqual({ ...none, written: 1, unread: 1 });
    await publishProgress(redis, environment, [{ versionId: 2, tickMs: 5 }]);
    expect(await redis.hkeys(key('unread'))).toEqual(['1']);
    expect(await redis.exists(progressKey(environment))).toBe(0);
    await redis.del(onlineSetKey(environment)); // emptied
    expect(await writeRecords(redis, environment, rows)).toEqual({ ...none, unread: 2 });
    await keep(1, 2);
    expect(await writeRecords(redis, environment, rows)).toEqual({ ...none, written: 1, unchanged: 1 });
  });
});

describe('what is published only goes forward', () => {
  const plan = (revision: number, generation = 'g1', modelChanges = 0): ServingPlan => ({
    layout: 2,
    revision,
    modelChanges,
    generation,
    views: [],
    onDemand: [],
    live: [],
    services: [],
    models: [],
    others: [],
    unread: [],
  });
  test('a plan, by its revision', async () => {
    expect(await publishPlan(redis, environment, plan(2), [])).toEqual({ published: true, missing: [] });
    expect(await publishPlan(redis, environment, plan(1), [])).toEqual({ published: false, missing: [] });
    expect(await publishPlan(redis, environment, plan(2), [])).toEqual({ published: true, missing: [] });
    expect(JSON.parse((await redis.get(planKey(environment)))!)).toMatchObject({ revision: 2 });
    expect(await redis.get(generationKey(environment))).toBe('g1');
  });
  test('a plan of one revision, by the changes of models', async () => {
    const publishWith = async (modelChanges: number): Promise<boolean> =>
      (await publishPlan(redis, environment, plan(2, 'g1', modelChanges), [])).published;
    expect([await publishWith(3), await publishWith(2), await publishWith(3)]).toEqual([true, false, true]);
    expect(JSON.parse((await redis.get(planKey(environment)))!)).toMatchObject({ modelChanges: 3 });
  });
  test('ticks, each by itself, before 1970 too', async () => {
    await publishProgress(redis, environment, [
      { versionId: 1, tickMs: -5 },
      { versionId: 2, tickMs: 1_700_000_000_000 },
    ]);
    await publishProgress(redis, environment, [
      { versionId: 1, tickMs: -6 },
      { versionId: 2, tickMs: 1_700_000_000_001 },
    ]);
    await publishProgress(redis, environment, []);
    expect(await redis.hgetall(progressKey(environment))).toEqual({ 1: '-5', 2: '1700000000001' });
  });
  test('nothing into a Redis of another generation', async () => {
    await expect(publishPlan(redis, environment, plan(9, 'g2'), [])).rejects.toMatchObject({
      code: 'FS_CONFLICT',
    });
    expect(JSON.parse((await redis.get(planKey(environment)))!)).toMatchObject({ revision: 2 });
  });
  test('into an emptied Redis, when all that was there is back', async () => {
    const lost = (): Promise<number> => redis.del(planKey(environment), refilledKey(environment));
    const end = (versionId: number) =>
      endRefill(redis, environment, 'g1', { mark: `${versionId}/run`, versionId });
    await lost();
    for (const versionId of [1, 2]) await beginRefill(redis, environment, 'g1', `${versionId}/run`);
    expect(await end(1)).toBe(false);
    expect(await publishPlan(redis, environment, plan(2), [1, 2])).toEqual({
      published: false,
      missing: [2],
    });
    expect(await redis.exists(planKey(environment))).toBe(0);
    await lost(); // once more, while the second is under way
    await expect(end(2)).rejects.toMatchObject({ code: 'FS_CONFLICT' });
    for (const versionId of [1, 2]) {
      await beginRefill(redis, environment, 'g1', `${versionId}/run`);
      expect(await end(versionId)).toBe(false);
      expect(await end(versionId)).toBe(false);
    }
    expect(await publishPlan(redis, environment, plan(2), [1, 2])).toEqual({ published: true, missing: [] });
    expect(await end(1)).toBe(true);
    expect(await redis.exists(refilledKey(environment))).toBe(0);
  });
});

describe('a Redis that cannot be worked with', () => {
  const rows: RecordRow[] = [{ key: key('x'), field: '1', record: record(1n, 1n) }];

  test('down: refused at once', async () => {
    const { url, close } = await listen(() => {});
    close();
    const away = createRedis(url, () => {});
    const began = performance.now();
    await expect(writeRecords(away, environment, rows)).rejects.toMatchObject({
      code: 'FS_UNAVAILABLE',
      retryable: true,
    });
    expect(performance.now() - began).toBeLessThan(COMMAND_MS);
    await expect(untilReady(away, 200)).rejects.toMatchObject({ code: 'FS_UNAVAILABLE' });
    away.disconnect();
  });

  test('another password: said, and not tried for ever', async () => {
    const url = new URL(redisUrl);
    url.password = 'wrong';
    const locked = createRedis(url.href, () => {});
    await expect(untilReady(locked, 1_000)).rejects.toMatchObject({ code: 'FS_CONFIG_INVALID' });
    locked.disconnect();
  });

  test('hung: given up in time', async () => {
    const target = new URL(redisUrl);
    let hangs = false;
    const { url, close } = await listen((socket) => {
      const upstream = connect(Number(target.port), target.hostname);
      upstream.on('error', () => socket.destroy());
      socket.on('close', () => upstream.destroy());
      socket.on('data', (data) => hangs || upstream.write(data));
      upstream.on('data', (data) => socket.write(data));
    });
    const hung = createRedis(url, () => {});
    await untilReady(hung, 5_000);
    hangs = true;
    const began = performance.now();
    await expect(writeRecords(hung, environment, rows)).rejects.toMatchObject({
      code: 'FS_DEADLINE',
      retryable: true,
    });
    expect(performance.now() - began).toBeLessThan(COMMAND_MS + 1_000);
    hung.disconnect();
    close();
  });

  test.each([
    { policy: 'noeviction', refused: false },
    { policy: 'volatile-lru', refused: false },
    { policy: 'allkeys-lru', refused: true },
    { policy: 'allkeys-random', refused: true },
  ])('$policy: refused $refused', async ({ policy, refused }) => {
    const checking = assertKeepsRecords({
      info: async () => `# Memory\r\nmaxmemory:0\r\nmaxmemory_policy:${policy}\r\n`,
    } as unknown as Redis);
    if (refused)
      await expect(checking).rejects.toMatchObject({ code: 'FS_CONFIG_INVALID', details: { policy } });
    else await checking;
  });

  test('the one of this suite keeps records', () => assertKeepsRecords(redis));
});

async function listen(serve: (socket: Socket) => void): Promise<{ url: string; close: () => void }> {
  const sockets = new Set<Socket>();
  const server = createServer((socket) => {
    sockets.add(socket);
    socket.on('error', () => {}); // the client goes first
    serve(socket);
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const url = new URL(redisUrl); // with its password
  url.hostname = '127.0.0.1';
  url.port = String((server.address() as AddressInfo).port);
  return {
    url: url.href,
    close() {
      for (const socket of sockets) socket.destroy();
      server.close();
    },
  };
}
