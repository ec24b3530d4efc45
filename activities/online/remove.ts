/**
 * Takes view versions out of Redis: their fields in every entity's hash, and their progress. One pass over the environment's keys. Only
 * what nobody reads goes: one that is read again meanwhile keeps what was written since.
 */
import type { Redis } from 'ioredis';
import { onlineSetKey, progressKey } from '../../core/serving-plan.js';
import { call } from './client.js';
import { evaluate, script } from './script.js';

const REMOVE = script(`
local gone = {}
for i = 1, #ARGV do if redis.call('HEXISTS', KEYS[1], ARGV[i]) == 0 then gone[#gone + 1] = ARGV[i] end end
if #gone == 0 then return 0 end
for i = 2, #KEYS do redis.call('HDEL', KEYS[i], unpack(gone)) end
return 1
`);

const VERSIONS_AT_ONCE = 1_000;

export async function removeVersions(
  redis: Redis,
  environment: string,
  versionIds: readonly number[],
  onPage: () => void,
): Promise<void> {
  for (let i = 0; i < versionIds.length; i += VERSIONS_AT_ONCE) {
    const fields = versionIds.slice(i, i + VERSIONS_AT_ONCE).map(String);
    const remove = (keys: string[]) => evaluate(redis, REMOVE, [onlineSetKey(environment), ...keys], fields);
    await remove([progressKey(environment)]);
    let cursor = '0';
    do {
      const [next, keys] = await call(redis.scan(cursor, 'MATCH', `${environment}:{*`, 'COUNT', 1_000));
      if (keys.length > 0) await remove(keys);
      onPage();
      cursor = next;
    } while (cursor !== '0');
  }
}
