/**
 * The connection to Redis and the one read of a request. ioredis' defaults queue commands while Redis is away and wait without end:
 * all of them are replaced. Down: refused at once. Hung: the request ends at its own deadline, the socket after a second without
 * a byte, and from then on requests are refused at once until Redis answers the handshake again.
 */
import { Redis } from 'ioredis';
import { FeatureStoreError } from '../core/error.js';

// A long answer being built holds the event loop; silence must be longer than that to mean anything.
const SILENCE_MS = 1_000;
const TRIED_MS = 2 * SILENCE_MS;

export function connectRedis(url: string): Redis {
  const redis = new Redis(url, {
    connectionName: 'almanac-serving',
    enableOfflineQueue: false,
    enableAutoPipelining: false,
    maxRetriesPerRequest: 0,
    connectTimeout: SILENCE_MS,
    socketTimeout: SILENCE_MS,
    retryStrategy: (attempt) => Math.min(50 * attempt, 500),
  });
  // Without a listener ioredis prints every failed attempt. The state is asked for where it matters: `redis.status`, /ready.
  redis.on('error', () => undefined);
  return redis;
}

/** Resolves when it is connected, or could not be, or after a while: one that loads its data says neither. */
export async function tried(redis: Redis): Promise<void> {
  if (redis.status === 'ready') return;
  let timer: NodeJS.Timeout | undefined;
  await new Promise<void>((resolve) => {
    redis.once('ready', resolve);
    redis.once('error', () => resolve());
    timer = setTimeout(resolve, TRIED_MS);
  });
  clearTimeout(timer);
}

export interface OnlineRead {
  /** One hash per entry; fields of it. */
  hashes: ReadonlyArray<{ key: string; fields: readonly string[] }>;
  progressKey: string;
  tickFields: readonly string[];
  onlineSetKey: string;
  /** Version ids of the fields. */
  versions: readonly string[];
  generationKey: string;
}

export interface OnlineData {
  /** For each hash its fields' bytes; a hash that could not be read alone is an Error. */
  records: ReadonlyArray<ReadonlyArray<Buffer | null> | Error>;
  ticks: ReadonlyArray<string | null>;
  /** The records of all these versions are. */
  kept: boolean;
  generation: string | null;
}

/**
 * Everything a request needs, in one round trip. What is kept, and the generation, are read last: data that vanished before or between
 * the reads cannot go unseen. Throws FS_UNAVAILABLE when Redis is away, FS_DEADLINE when it did not answer by `deadline` (performance.now()).
 */
export async function readOnline(redis: Redis, read: OnlineRead, deadline: number): Promise<OnlineData> {
  if (redis.status !== 'ready') throw unavailable(`its connection is "${redis.status}"`);
  const pipeline = redis.pipeline();
  for (const { key, fields } of read.hashes) pipeline.hmgetBuffer(key, ...fields);
  if (read.tickFields.length > 0) pipeline.hmget(read.progressKey, ...read.tickFields);
  pipeline.hmget(read.onlineSetKey, 'change', ...read.versions);
  pipeline.get(read.generationKey);
  const replies = (await within(pipeline.exec(), deadline)) ?? [];
  const [error, generation] = replies.at(-1) ?? [null, null];
  if (error) throw unavailable(error.message, error);
  const [setError, online] = replies.at(-2)!;
  if (setError) throw unavailable(setError.message, setError);
  const [change, ...kept] = online as Array<string | null>;
  const [tickError, ticks] = read.tickFields.length > 0 ? replies.at(-3)! : [null, []];
  if (tickError) throw unavailable(tickError.message, tickError);
  return {
    records: read.hashes.map((_, index) => {
      const [failure, record] = replies[index]!;
      return failure ?? (record as Array<Buffer | null>);
    }),
    ticks: ticks as Array<string | null>,
    // Without a set nothing was ever removed: an older program wrote what is there.
    kept: change === null || !kept.includes(null),
    generation: generation as string | null,
  };
}

/** Waits for the promise, but no longer than until `deadline` on performance.now(). */
export async function within<T>(promise: Promise<T>, deadline: number): Promise<T> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(deadlinePassed()), Math.max(0, deadline - performance.now()));
  });
  try {
    return await Promise.race([promise, late]);
  } finally {
    clearTimeout(timer);
  }
}

export function deadlinePassed(): FeatureStoreError {
  return new FeatureStoreError('FS_DEADLINE', 'the deadline passed before the answer was ready', {
    fix: 'ask again, for fewer rows, or give more time in the header x-deadline-ms',
  });
}

function unavailable(why: string, cause?: unknown): FeatureStoreError {
  return new FeatureStoreError(
    'FS_UNAVAILABLE',
    `Redis cannot be read: ${why}`,
    { fix: 'ask again shortly; if it stays, see GET /ready and start Redis' },
    { cause },
  );
}
