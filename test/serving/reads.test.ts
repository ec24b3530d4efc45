/** Reads that Redis does not take for a while: none is lost, and what waits does not grow with the time. */
import { randomBytes } from 'node:crypto';
import { Redis } from 'ioredis';
import { afterAll, expect, test, vi } from 'vitest';
import { readsKey } from '../../core/serving-plan.js';
import { MINUTE } from '../../core/time.js';
import { compilePlan, vectorOf } from '../../serving/plan.js';
import { startReads } from '../../serving/reads.js';
import { NOW, shopPlan } from './shop.js';

const environment = `r${randomBytes(6).toString('hex')}`;
const redis = new Redis(process.env.ALMANAC_REDIS_URL!);
afterAll(async () => {
  await redis.del(readsKey(environment), `${readsKey(environment)}:one`);
  redis.disconnect();
});

test('a Redis that reads and does not write: what waits is sent in one piece when it does', async () => {
  await vi.waitFor(() => expect(redis.status).toBe('ready'));
  const vector = vectorOf(compilePlan(shopPlan()).usual.live, {
    target: { service: 'offers' },
    fullFeatureNames: false,
  });
  const reads = startReads(redis, environment, 'one');
  await redis.set(readsKey(environment), 'no hash'); // refuses the counts, as one without memory would
  for (let second = 0; second < 90; second++) {
    reads.count(vector, NOW + second * 1_000);
    await reads.send();
  }
  await redis.del(readsKey(environment));
  const evaluated = vi.spyOn(redis, 'eval');
  await reads.stop();
  // The one that was under way, and the rest.
  expect(evaluated.mock.calls.length).toBeLessThanOrEqual(2);
  const counts = await redis.hgetall(readsKey(environment));
  const first = Math.floor(NOW / MINUTE);
  for (const id of vector.versionIds) {
    const of = (minute: number): number => Number(counts[JSON.stringify([minute, '', 'offers', id])] ?? 0);
    expect(of(first) + of(first + 1)).toBe(90);
  }
});
