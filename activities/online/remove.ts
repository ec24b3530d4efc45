/** Takes view versions out of Redis: their fields in every entity's hash. One pass over the environment's keys. */
import type { Redis } from 'ioredis';
import { call } from './client.js';

export async function removeVersions(
  redis: Redis,
  environment: string,
  versionIds: readonly number[],
  onPage: () => void,
): Promise<void> {
  if (versionIds.length === 0) return;
  const fields = versionIds.map(String);
  let cursor = '0';
  do {
    const [next, keys] = await call(redis.scan(cursor, 'MATCH', `${environment}:{*`, 'COUNT', 1_000));
    if (keys.length > 0) {
      const pipeline = redis.pipeline();
      for (const key of keys) pipeline.hdel(key, ...fields);
      for (const [error] of (await call(pipeline.exec())) ?? []) if (error) await call(Promise.reject(error));
    }
    onPage();
    cursor = next;
  } while (cursor !== '0');
}
