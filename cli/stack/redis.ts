/**
 * Redis for one stack. Its settings are in a file, not in the command line, where everybody could read the password.
 */
import { mkdirSync, realpathSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { Redis } from 'ioredis';
import type { Command } from './process.js';
import type { Found } from './servers.mjs';
import type { StackState, UnitState } from './state.js';
import { ATTEMPT_MS, baseEnvironment, type Environment, StrangerError, type Unit } from './unit.js';

export const redis: Unit = {
  name: 'redis',
  ports: ['main'],
  stop: 'SIGTERM',
  stopMs: 15_000,
  startMs: 60_000, // reading the append-only file back takes part of it
  prepare,
  check,
  address: (state, unit) => `redis://:${state.passwords.redis}@127.0.0.1:${unit.ports.main}/0`,
};

async function prepare(
  state: StackState,
  unit: UnitState,
  found: Found | undefined,
  env: Environment,
): Promise<Command> {
  mkdirSync(unit.dir, { recursive: true });
  unit.dir = realpathSync(unit.dir);
  const settings = [
    'bind 127.0.0.1',
    `port ${unit.ports.main}`,
    'protected-mode yes',
    `requirepass ${state.passwords.redis}`,
    `dir ${JSON.stringify(unit.dir)}`,
    'daemonize no',
    'save ""',
    'appendonly yes',
    'appendfsync everysec',
    'maxmemory-policy noeviction', // fails loudly; any other policy loses values silently
    'hash-max-listpack-value 1024', // our records must stay in compact hashes
  ];
  const file = join(unit.dir, 'redis.conf');
  writeFileSync(file, `${settings.join('\n')}\n`, { mode: 0o600 });
  return { file: found?.bin.redis ?? '', args: [file], env: baseEnvironment(env), cwd: unit.dir };
}

async function check(_state: StackState, unit: UnitState): Promise<void> {
  const client = new Redis(unit.address, {
    lazyConnect: true,
    enableOfflineQueue: false,
    maxRetriesPerRequest: 0,
    retryStrategy: () => null,
    connectTimeout: ATTEMPT_MS,
    commandTimeout: ATTEMPT_MS,
  });
  let lost: Error | undefined;
  client.on('error', (error: Error) => {
    lost = error;
  });
  try {
    await client.connect();
    await client.ping();
    if (unit.external) return;
    const [, dir] = (await client.config('GET', 'dir')) as string[];
    if (dir !== unit.dir)
      throw new StrangerError(`the Redis on port ${unit.ports.main} keeps ${dir}, not ${unit.dir}`);
  } catch (error) {
    throw lost ?? error; // "Connection is closed" hides why it was
  } finally {
    client.disconnect();
  }
}
