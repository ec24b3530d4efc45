import { randomBytes } from 'node:crypto';
import { Redis } from 'ioredis';
import { afterAll, beforeAll, beforeEach, expect, test } from 'vitest';
import { collectReads } from '../../activities/reads.js';
import type { Config } from '../../core/config.js';
import { readsKey } from '../../core/serving-plan.js';
import type { Vector } from '../../serving/plan.js';
import { startReads } from '../../serving/reads.js';
import { createDatabase } from '../registry/database.js';

const { pool, environment } = await createDatabase();
const redis = new Redis(process.env.ALMANAC_REDIS_URL!);
const config = { environment } as Config;
const key = readsKey(environment);
const taken = `${key}:taken`;

beforeAll(async () => {
  await pool.query(
    `insert into view_version (view, version, hash, kind, definition, state)
     select 'v', 1, 'v', 'onDemand', '{}'::jsonb, 'live'
     union all select 'w', 1, 'w', 'onDemand', '{}'::jsonb, 'live'`,
  );
});
beforeEach(async () => {
  await redis.del(key, taken);
  await pool.query('truncate read_count, read_total, read_batch');
});
afterAll(async () => {
  for (const left of await redis.keys(`${key}*`)) await redis.del(left);
  redis.disconnect();
});

/** Minutes since 1970. */
const MINUTE = 29_000_000;
const count = (reads: number, { minute = MINUTE, model = 'churn', service = 'checkout', id = 1 } = {}) =>
  redis.hincrby(key, JSON.stringify([minute, model, service, id]), reads);
const collect = (): Promise<number> => collectReads({ config, pool, redis });
const totals = async () =>
  (
    await pool.query(
      'select model, service, version_id as id, reads, last_read as at from read_total order by model, service, version_id',
    )
  ).rows;

test('what was counted comes over by minute, and as totals with the last', async () => {
  await count(3);
  await count(2, { minute: MINUTE + 1 });
  await count(7, { model: '', service: '', id: 2 });
  await count(1, { id: 404 }); // of no version there is
  expect(await collect()).toBe(13);
  await count(4);
  expect(await collect()).toBe(4);
  expect(await collect()).toBe(0);
  expect(await totals()).toEqual([
    { model: '', service: '', id: 2, reads: 7, at: MINUTE * 60_000 },
    { model: 'churn', service: 'checkout', id: 1, reads: 9, at: (MINUTE + 1) * 60_000 },
  ]);
  const { rows } = await pool.query('select reads from read_count where version_id = 1 order by minute');
  expect(rows).toEqual([{ reads: 7 }, { reads: 2 }]);
  expect(await redis.exists(key, taken)).toBe(0);
});

/** Dies after so many calls of a store: what would have come after never happens. */
function dying(after: number): Parameters<typeof collectReads>[0] {
  let left = after;
  const mortal = <T extends object>(store: T, method: (name: string) => boolean): T =>
    new Proxy(store, {
      get(target, name) {
        const member = Reflect.get(target, name) as unknown;
        if (typeof member !== 'function') return member;
        const bound = member.bind(target) as (...args: unknown[]) => unknown;
        if (!method(String(name))) return bound;
        return async (...args: unknown[]) => {
          if (left-- <= 0) throw new Error('killed');
          const answer = await bound(...args);
          return name === 'connect' ? mortal(answer as object, (each) => each === 'query') : answer;
        };
      },
    });
  return {
    config,
    pool: mortal(pool, (name) => name === 'connect'),
    redis: mortal(redis, (name) => ['evalsha', 'eval', 'hgetall'].includes(name)),
  };
}

test('exactly once, wherever the collector is killed, and with others beside it', async () => {
  let expected = 0;
  let died = 0;
  for (let after = 0; after < 20; after++) {
    await count(5);
    expected += 5;
    await collectReads(dying(after)).catch((error: Error) => {
      if (error.message !== 'killed') throw error;
      died++;
    });
    await count(3);
    expected += 3;
    await Promise.all([collect(), collect(), collect()]);
    await collect();
    expect(await totals()).toMatchObject([{ reads: expected }]);
  }
  expect(died).toBeGreaterThan(8); // each call of it
});

test('what serving sends again, not knowing that it arrived, is added once', async () => {
  const vector = { service: 'checkout', lock: { model: 'churn' }, versionIds: [1, 2] } as unknown as Vector;
  // The first answer is lost on its way.
  let lost = 0;
  const forgetful = new Proxy(redis, {
    get(target, name) {
      const member = Reflect.get(target, name) as unknown;
      if (name !== 'eval') return typeof member === 'function' ? (member.bind(target) as unknown) : member;
      return async (...args: Parameters<Redis['eval']>) => {
        const answer = await target.eval(...args);
        if (lost++ === 0) throw new Error('connection lost');
        return answer;
      };
    },
  });
  const reads = startReads(forgetful, environment, randomBytes(4).toString('hex'));
  for (let i = 0; i < 10; i++) reads.count(vector, MINUTE * 60_000 + i);
  await reads.send();
  reads.count(vector, MINUTE * 60_000);
  await reads.stop();
  expect(lost).toBe(3);
  expect(await collect()).toBe(22);
  expect(await totals()).toMatchObject([
    { id: 1, reads: 11 },
    { id: 2, reads: 11 },
  ]);
});
