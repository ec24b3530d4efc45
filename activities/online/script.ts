/** A Lua script by its hash; sent whole when Redis does not know it, as after a restart. */
import { createHash } from 'node:crypto';
import type { Redis } from 'ioredis';
import { call } from './client.js';

export interface Script {
  lua: string;
  sha1: string;
}

export function script(lua: string): Script {
  return { lua, sha1: createHash('sha1').update(lua).digest('hex') };
}

export async function evaluate(
  redis: Redis,
  { lua, sha1 }: Script,
  keys: readonly string[],
  args: ReadonlyArray<string | Buffer>,
): Promise<unknown> {
  try {
    return await call(redis.evalsha(sha1, keys.length, ...keys, ...args));
  } catch (error) {
    if (!(error instanceof Error) || !error.message.startsWith('NOSCRIPT')) throw error;
    return call(redis.eval(lua, keys.length, ...keys, ...args));
  }
}
