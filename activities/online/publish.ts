/**
 * What serving reads besides records: the plan, the progress of ticks, the generation. Each only goes forward, so a late or
 * repeated publication changes nothing.
 */
import type { Redis } from 'ioredis';
import { FeatureStoreError } from '../../core/error.js';
import { generationKey, planKey, progressKey, type ServingPlan } from '../../core/serving-plan.js';
import { call } from './client.js';
import { evaluate, script } from './script.js';

const PUBLISH_PLAN = script(`
local stored = redis.call('GET', KEYS[1])
if stored and cjson.decode(stored).revision > tonumber(ARGV[1]) then return 0 end
redis.call('SET', KEYS[1], ARGV[2])
return 1
`);

/** False when a newer revision is published already. */
export async function publishPlan(redis: Redis, environment: string, plan: ServingPlan): Promise<boolean> {
  await publishGeneration(redis, environment, plan.generation);
  const keys = [planKey(environment)];
  return (await evaluate(redis, PUBLISH_PLAN, keys, [String(plan.revision), JSON.stringify(plan)])) === 1;
}

const PUBLISH_PROGRESS = script(`
for i = 1, #ARGV, 2 do
  local stored = redis.call('HGET', KEYS[1], ARGV[i])
  if not stored or tonumber(ARGV[i + 1]) > tonumber(stored) then redis.call('HSET', KEYS[1], ARGV[i], ARGV[i + 1]) end
end
return 1
`);

/** The newest published tick of view versions; an older one than what stands there is ignored. */
export async function publishProgress(
  redis: Redis,
  environment: string,
  ticks: ReadonlyArray<{ versionId: number; tickMs: number }>,
): Promise<void> {
  if (ticks.length === 0) return;
  const args = ticks.flatMap(({ versionId, tickMs }) => [String(versionId), String(tickMs)]);
  await evaluate(redis, PUBLISH_PROGRESS, [progressKey(environment)], args);
}

/** Claims Redis for this generation of the data. Throws FS_CONFLICT when it holds another's. */
export async function publishGeneration(
  redis: Redis,
  environment: string,
  generation: string,
): Promise<void> {
  const key = generationKey(environment);
  const stored = await call(redis.set(key, generation, 'NX', 'GET'));
  if (stored === null || stored === generation) return;
  throw new FeatureStoreError(
    'FS_CONFLICT',
    `Redis holds the records of generation ${stored}; Postgres is generation ${generation}`,
    {
      fix: `they do not belong together: correct ALMANAC_REDIS_URL or ALMANAC_POSTGRES_URL, or empty this Redis of its keys "${environment}:*" and refill`,
      key,
    },
  );
}
