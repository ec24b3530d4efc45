/**
 * The way to Redis for writers. ioredis' defaults wait for ever for a server that is away or stopped; these fail at once, and
 * within COMMAND_MS, and leave the waiting to Temporal's retries.
 */
import { Redis } from 'ioredis';
import { FeatureStoreError } from '../../core/error.js';
import { generationKey } from '../../core/serving-plan.js';
import { translateRedis } from '../errors.js';

/** A batch of 100 guarded writes takes Redis about 1 ms; this is for one that is stopped or loading its file. */
export const COMMAND_MS = 2_000;

/**
 * Throws FS_CONFIG_INVALID for what is no address. Connects by itself, also again; `onError` hears why it could not. Until then every
 * command is refused.
 */
export function createRedis(url: string, onError: (error: Error) => void): Redis {
  if (!/^rediss?:$/.test(URL.canParse(url) ? new URL(url).protocol : ''))
    throw new FeatureStoreError('FS_CONFIG_INVALID', `ALMANAC_REDIS_URL is no Redis address`, {
      fix: 'set it to redis://host:port, or rediss:// for TLS',
      variable: 'ALMANAC_REDIS_URL',
    });
  const redis = new Redis(url, {
    enableOfflineQueue: false,
    maxRetriesPerRequest: 0,
    commandTimeout: COMMAND_MS,
    connectTimeout: COMMAND_MS,
    // pipelined writes whose fate is unknown are repeated by their activity, never by the client
    autoResendUnfulfilledCommands: false,
    retryStrategy: (attempt) => Math.min(50 * attempt, 1_000),
  });
  redis.on('error', onError);
  return redis;
}

/** Resolves when commands are taken. Throws FS_UNAVAILABLE after `timeoutMs`, FS_CONFIG_INVALID as soon as it is refused. */
export async function untilReady(redis: Redis, timeoutMs: number): Promise<void> {
  if (redis.status === 'ready') return;
  await new Promise<void>((resolve, reject) => {
    let last = new Error('no connection');
    const ready = (): void => settle(resolve);
    const note = (error: Error): void => {
      last = error;
      if (translateRedis(error)?.retryable === false) settle(() => reject(away(error)));
    };
    const timer = setTimeout(() => settle(() => reject(away(last))), timeoutMs);
    const settle = (end: () => void): void => {
      clearTimeout(timer);
      redis.off('ready', ready);
      redis.off('error', note);
      end();
    };
    redis.on('ready', ready);
    redis.on('error', note);
  });
}

function away(error: Error): FeatureStoreError {
  const known = translateRedis(error);
  if (known?.retryable === false) return known; // a wrong password, say
  return new FeatureStoreError(
    'FS_UNAVAILABLE',
    `Redis does not answer: ${error.message}`,
    { fix: 'start it, or set ALMANAC_REDIS_URL; then try again' },
    { cause: error },
  );
}

/**
 * Throws FS_CONFIG_INVALID when this Redis would throw records away to make room: a missing record reads as an entity without
 * history, so nobody would notice. Policies that only evict keys with a time to live are harmless: ours have none.
 */
export async function assertKeepsRecords(redis: Redis): Promise<void> {
  const info = await call(redis.info('memory'));
  const policy = /^maxmemory_policy:(.*?)\r?$/m.exec(info)?.[1] ?? 'unknown';
  if (policy === 'noeviction' || policy.startsWith('volatile-')) return;
  throw new FeatureStoreError(
    'FS_CONFIG_INVALID',
    `Redis evicts keys when its memory is full (maxmemory-policy ${policy})`,
    { fix: 'redis-cli config set maxmemory-policy noeviction, and in its configuration file', policy },
  );
}

/**
 * Throws as a write would: FS_UNAVAILABLE, FS_DEADLINE, FS_DISK_FULL while Redis is away, loads its file, is read-only or out of memory.
 * PING is answered by some of these.
 */
export async function assertTakesWrites(redis: Redis, environment: string): Promise<void> {
  await call(redis.setrange(generationKey(environment), 0, '')); // a write of nothing: no key is made or changed by it
}

/** Whether waiting is all that is needed before a write. Throws what waiting does not help. */
export async function takesWrites(redis: Redis, environment: string): Promise<boolean> {
  try {
    await assertTakesWrites(redis, environment);
    return true;
  } catch (error) {
    if (error instanceof FeatureStoreError && error.retryable) return false;
    throw error;
  }
}

/** The answer, or its error as one of ours. */
export async function call<T>(answer: Promise<T>): Promise<T> {
  try {
    return await answer;
  } catch (error) {
    throw (error instanceof Error && translateRedis(error)) || error;
  }
}
