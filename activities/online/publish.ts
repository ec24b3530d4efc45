/**
 * What stands in Redis besides records: the plan, the progress of ticks, the generation, and whose records are kept. Each only goes
 * forward, so a late or repeated publication changes nothing.
 *
 * Redis is *whole* when it has a plan and our generation: then every live version's records are in it. One that is new, or was
 * emptied, gets both at once and last, when every version that has something to serve was refilled: until then serving is not
 * ready, and never takes a record that is not back yet for an entity that is not known.
 */
import type { Redis } from 'ioredis';
import { FeatureStoreError } from '../../core/error.js';
import {
  type Edition,
  generationKey,
  onlineSetKey,
  planKey,
  progressKey,
  refilledKey,
  type ServingPlan,
} from '../../core/serving-plan.js';
import type { OnlineSet } from '../../registry/online.js';
import { evaluate, script } from './script.js';

const WHOLE = `redis.call('GET', KEYS[1]) == ARGV[1] and redis.call('EXISTS', KEYS[2]) == 1`;

const PUBLISH_PLAN = script(`
local missing, held = {}, redis.call('GET', KEYS[1])
if held and held ~= ARGV[1] then return held end
if not (${WHOLE}) then
  for i = 5, #ARGV do
    if redis.call('SISMEMBER', KEYS[3], ARGV[i]) == 0 then missing[#missing + 1] = tonumber(ARGV[i]) end
  end
end
if #missing > 0 then return { 0, missing } end
local stored = redis.call('GET', KEYS[2])
if stored then
  local plan, revision = cjson.decode(stored), tonumber(ARGV[2])
  local newer = plan.revision == revision and (plan.modelChanges or 0) > tonumber(ARGV[3])
  if plan.revision > revision or newer then return { 0, missing } end
end
redis.call('SET', KEYS[1], ARGV[1])
redis.call('SET', KEYS[2], ARGV[4])
redis.call('DEL', KEYS[3])
return { 1, missing }
`);

/**
 * Makes a plan the one serving answers with.
 * @param filled ids of the versions with something to serve: into a Redis that is not whole, only when all of them were refilled
 * @returns `published` is false when a newer plan is published already, or versions are `missing`
 * Throws FS_CONFLICT when Redis holds another generation.
 */
export async function publishPlan(
  redis: Redis,
  environment: string,
  plan: ServingPlan,
  filled: readonly number[],
): Promise<{ published: boolean; missing: number[] }> {
  const answer = (await evaluate(redis, PUBLISH_PLAN, keysOf(environment), [
    plan.generation,
    String(plan.revision),
    String(plan.modelChanges),
    JSON.stringify(plan),
    ...filled.map(String),
  ])) as string | [number, number[]];
  if (typeof answer === 'string') throw otherGeneration(answer, plan.generation, environment);
  const [published, missing] = answer;
  return { published: published === 1, missing };
}

const READ_PUBLISHED = script(`
local stored = redis.call('GET', KEYS[2])
if not stored then return {} end
local plan = cjson.decode(stored)
return { plan.revision, plan.modelChanges or 0 }
`);

/** Of the plan that serving answers with; null: there is none. */
export async function readPublished(redis: Redis, environment: string): Promise<Edition | null> {
  const found = (await evaluate(redis, READ_PUBLISHED, keysOf(environment), [])) as number[];
  const [revision, modelChanges] = found;
  return revision === undefined ? null : { revision, modelChanges: modelChanges! };
}

const IS_WHOLE = script(`if ${WHOLE} then return 1 end return 0`);

export async function isWhole(redis: Redis, environment: string, generation: string): Promise<boolean> {
  return (await evaluate(redis, IS_WHOLE, keysOf(environment), [generation])) === 1;
}

const LIST_MISSING = script(`
local missing, held = {}, redis.call('GET', KEYS[1])
if held and held ~= ARGV[1] or ${WHOLE} then return missing end
for i = 2, #ARGV do
  if redis.call('SISMEMBER', KEYS[3], ARGV[i]) == 0 then missing[#missing + 1] = tonumber(ARGV[i]) end
end
return missing
`);

/** Those of the filled versions that an emptied Redis does not have back. None in a whole one, or in one of another generation. */
export async function listMissing(
  redis: Redis,
  environment: string,
  generation: string,
  filled: readonly number[],
): Promise<number[]> {
  const args = [generation, ...filled.map(String)];
  return (await evaluate(redis, LIST_MISSING, keysOf(environment), args)) as number[];
}

const BEGIN_REFILL = script(`
if ${WHOLE} then return 0 end
return redis.call('SADD', KEYS[3], ARGV[2])
`);

const END_REFILL = script(`
if ${WHOLE} then return 2 end
if redis.call('SISMEMBER', KEYS[3], ARGV[2]) == 0 then return 0 end
redis.call('SADD', KEYS[3], ARGV[3])
return 1
`);

/** Leaves a mark in a Redis that is not whole, by which `endRefill` knows that it was not emptied since. */
export async function beginRefill(
  redis: Redis,
  environment: string,
  generation: string,
  mark: string,
): Promise<void> {
  await evaluate(redis, BEGIN_REFILL, keysOf(environment), [generation, mark]);
}

/** Counts a version as back. Gives whether Redis was whole all the while. Throws FS_CONFLICT when it was emptied meanwhile. */
export async function endRefill(
  redis: Redis,
  environment: string,
  generation: string,
  { mark, versionId }: { mark: string; versionId: number },
): Promise<boolean> {
  const args = [generation, mark, String(versionId)];
  const state = await evaluate(redis, END_REFILL, keysOf(environment), args);
  if (state !== 0) return state === 2;
  throw new FeatureStoreError('FS_CONFLICT', 'Redis was emptied while it was refilled', {
    fix: 'almanac refill --all',
  });
}

const keysOf = (environment: string): string[] => [
  generationKey(environment),
  planKey(environment),
  refilledKey(environment),
];

const PUBLISH_ONLINE_SET = script(`
local known = redis.call('HGET', KEYS[1], 'change')
if known and tonumber(known) >= tonumber(ARGV[1]) then return 0 end
redis.call('DEL', KEYS[1])
redis.call('HSET', KEYS[1], 'change', ARGV[1])
for i = 2, #ARGV do redis.call('HSET', KEYS[1], ARGV[i], 1) end
return 1
`);

/** From here on records of these versions are taken, and of no others; unless a newer set stands there. */
export async function publishOnlineSet(
  redis: Redis,
  environment: string,
  { change, versionIds }: Pick<OnlineSet, 'change' | 'versionIds'>,
): Promise<void> {
  const args = [change, ...versionIds].map(String);
  await evaluate(redis, PUBLISH_ONLINE_SET, [onlineSetKey(environment)], args);
}

const PUBLISH_PROGRESS = script(`
for i = 1, #ARGV, 2 do
  local stored = redis.call('HGET', KEYS[2], ARGV[i])
  if redis.call('HEXISTS', KEYS[1], ARGV[i]) == 1 and (not stored or tonumber(ARGV[i + 1]) > tonumber(stored)) then
    redis.call('HSET', KEYS[2], ARGV[i], ARGV[i + 1])
  end
end
return 1
`);

/** The newest published tick of view versions that somebody reads; an older one than what stands there is ignored. */
export async function publishProgress(
  redis: Redis,
  environment: string,
  ticks: ReadonlyArray<{ versionId: number; tickMs: number }>,
): Promise<void> {
  if (ticks.length === 0) return;
  const args = ticks.flatMap(({ versionId, tickMs }) => [String(versionId), String(tickMs)]);
  await evaluate(redis, PUBLISH_PROGRESS, [onlineSetKey(environment), progressKey(environment)], args);
}

function otherGeneration(stored: string, generation: string, environment: string): FeatureStoreError {
  return new FeatureStoreError(
    'FS_CONFLICT',
    `Redis holds the records of generation ${stored}; Postgres is generation ${generation}`,
    {
      fix: `they do not belong together: correct ALMANAC_REDIS_URL or ALMANAC_POSTGRES_URL, or empty this Redis of its keys "${environment}:*", then almanac refill --all`,
      key: generationKey(environment),
    },
  );
}
