/** A Redis of a test's own: it is stopped, killed and emptied. */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Redis } from 'ioredis';
import { killProcess, stackEnv, startProcess, startStack, stopStack } from '../../cli/stack/stack.js';
import { withoutAddresses } from '../stack/machine.js';

export interface OwnRedis {
  url: string;
  client: Redis;
  /** SIGSTOP hangs it, SIGCONT wakes it, SIGKILL ends it. */
  signal(what: 'SIGSTOP' | 'SIGCONT' | 'SIGKILL'): Promise<void>;
  /** After SIGKILL: the same Redis with the data it had. */
  restart(): Promise<void>;
  end(): Promise<void>;
}

export async function startOwnRedis(): Promise<OwnRedis> {
  const root = mkdtempSync(join(tmpdir(), 'almanac-serving-'));
  const env = withoutAddresses();
  const state = await startStack({ root, name: 'serving-test', servers: ['redis'], processes: [], env });
  const url = stackEnv(state).ALMANAC_REDIS_URL!;
  const client = new Redis(url);
  client.on('error', () => undefined); // it is killed on purpose
  return {
    url,
    client,
    signal: (what) => killProcess(state, 'redis', what),
    restart: async () => void (await startProcess(state, 'redis', { env })),
    async end() {
      client.disconnect();
      await killProcess(state, 'redis', 'SIGCONT').catch(() => undefined);
      await stopStack({ root, name: 'serving-test' });
      rmSync(root, { recursive: true, force: true });
    },
  };
}
