import { mkdtempSync, readFileSync, rmSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Redis } from 'ioredis';
import { Kafka, logLevel } from 'kafkajs';
import pg from 'pg';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { findRemnants, isAlive } from '../../cli/stack/process.js';
import {
  findStack,
  killProcess,
  SERVERS,
  type ServerName,
  type StackState,
  stackEnv,
  startProcess,
  startStack,
  stopStack,
} from '../../cli/stack/stack.js';
import { removeStackFiles } from '../../cli/stack/state.js';
import { withoutAddresses } from './machine.js';

/** A space in the path, and nobody else's servers in the environment. */
const root = mkdtempSync(join(tmpdir(), 'almanac stack '));
const options = { root, name: 'test', servers: SERVERS, processes: [], env: withoutAddresses() } as const;
const start = () => startStack(options);
const stop = () => stopStack(options);

let state: StackState;

beforeAll(async () => {
  state = await start();
}, 180_000);

afterAll(async () => {
  await stop();
  if (state) removeStackFiles(state); // as root, Postgres' data lies elsewhere: mkdtemp makes closed directories
  rmSync(root, { recursive: true, force: true });
}, 60_000);

const pidOf = (name: ServerName) => state.units[name]!.process!.pid;

async function sql<T>(text: string): Promise<T[]> {
  const client = new pg.Client({ connectionString: stackEnv(state).ALMANAC_POSTGRES_URL });
  await client.connect();
  try {
    return (await client.query(text)).rows as T[];
  } finally {
    await client.end();
  }
}

async function withRedis<T>(work: (client: Redis) => Promise<T>): Promise<T> {
  const client = new Redis(stackEnv(state).ALMANAC_REDIS_URL!);
  try {
    return await work(client);
  } finally {
    client.disconnect();
  }
}

async function topics(create?: string): Promise<string[]> {
  const brokers = [stackEnv(state).ALMANAC_KAFKA_BROKERS!];
  const admin = new Kafka({ brokers, logLevel: logLevel.NOTHING }).admin();
  await admin.connect();
  try {
    if (create) await admin.createTopics({ topics: [{ topic: create }], waitForLeaders: true });
    return await admin.listTopics();
  } finally {
    await admin.disconnect();
  }
}

async function namespaces(): Promise<number> {
  const { Connection } = await import('@temporalio/client');
  const connection = await Connection.connect({ address: stackEnv(state).ALMANAC_TEMPORAL_ADDRESS! });
  try {
    return (await connection.workflowService.listNamespaces({})).namespaces.length;
  } finally {
    await connection.close();
  }
}

test('all four run, and a second start leaves every one of them', async () => {
  expect(findStack(options)).toMatchObject({ alive: [...SERVERS], dead: [] });
  const pids = SERVERS.map(pidOf);
  state = await start();
  expect(SERVERS.map(pidOf)).toEqual(pids);
});

test('a shell that was given the addresses of this very stack does not take its servers for somebody else’s', async () => {
  const again = await startStack({ ...options, env: { ...options.env, ...stackEnv(state) } });
  expect(again.units).toEqual(state.units);
});

test('an address of a server elsewhere is used, and nothing is started or stopped there', async () => {
  const other = { root, name: 'test-other', servers: ['postgres'], processes: [] } as const;
  const ALMANAC_POSTGRES_URL = stackEnv(state).ALMANAC_POSTGRES_URL;
  const borrowed = await startStack({ ...other, env: { ...options.env, ALMANAC_POSTGRES_URL } });
  expect(borrowed.units.postgres).toMatchObject({
    external: true,
    address: ALMANAC_POSTGRES_URL,
    process: null,
  });
  expect(await stopStack(other)).toEqual([]);
  expect(findStack(options)!.dead).toEqual([]);
});

test('an address of a server elsewhere that does not answer is named, without its password', async () => {
  const other = { root, name: 'test-absent', servers: ['redis'], processes: [] } as const;
  const env = { ...options.env, ALMANAC_REDIS_URL: 'redis://:secret@127.0.0.1:9/0' };
  const failure = await startStack({ ...other, env }).catch((error: unknown) => error);
  expect(failure).toMatchObject({
    code: 'FS_UNAVAILABLE',
    details: { server: 'redis', fix: expect.stringContaining('ALMANAC_REDIS_URL') },
  });
  expect(String(failure)).toContain('ECONNREFUSED');
  expect(String(failure)).not.toContain('secret');
}, 30_000);

test('the state file, which holds passwords, is for its owner only', () => {
  const file = join(root, '.almanac', 'test', 'stack.json');
  expect(statSync(file).mode & 0o777).toBe(0o600);
  expect(JSON.parse(readFileSync(file, 'utf8')).instance).toBe(state.instance);
});

test('the servers are set as the platform needs them', async () => {
  expect(await sql('show synchronous_commit')).toEqual([{ synchronous_commit: 'on' }]);
  expect(await sql('show fsync')).toEqual([{ fsync: 'on' }]);
  await withRedis(async (client) => {
    expect(await client.config('GET', 'maxmemory-policy')).toEqual(['maxmemory-policy', 'noeviction']);
    expect(await client.config('GET', 'hash-max-listpack-value')).toEqual([
      'hash-max-listpack-value',
      '1024',
    ]);
  });
});

test('without the password nobody gets in', async () => {
  const { ALMANAC_POSTGRES_URL, ALMANAC_REDIS_URL } = stackEnv(state);
  const client = new pg.Client({ connectionString: ALMANAC_POSTGRES_URL!.replace(/:[^:@/]*@/, ':wrong@') });
  await expect(client.connect()).rejects.toThrow('password authentication failed');
  const stranger = new Redis(ALMANAC_REDIS_URL!.replace(/:[^:@/]*@/, ':wrong@'), {
    lazyConnect: true,
    retryStrategy: () => null,
  });
  stranger.on('error', () => {});
  await expect(stranger.connect().then(() => stranger.get('x'))).rejects.toThrow();
  stranger.disconnect();
});

describe('kill -9 of one server, and start again: new process, same ports, same data', () => {
  async function killAndStart(name: ServerName): Promise<void> {
    const before = state.units[name]!;
    await killProcess(state, name);
    expect(findStack(options)!.dead).toEqual([name]);
    state = await startProcess(state, name, options);
    expect(state.units[name]!.process!.pid).not.toBe(before.process!.pid);
    expect(state.units[name]!.ports).toEqual(before.ports);
    expect(findStack(options)!.dead).toEqual([]);
  }

  test('postgres', async () => {
    await sql('create table kept as select 42 as value');
    await killAndStart('postgres');
    expect(await sql('select value from kept')).toEqual([{ value: 42 }]);
  });

  test('redis', async () => {
    await withRedis((client) => client.set('kept', '42'));
    await killAndStart('redis');
    expect(await withRedis((client) => client.get('kept'))).toBe('42');
  });

  test('temporal', async () => {
    const before = await namespaces();
    await killAndStart('temporal');
    expect(await namespaces()).toBe(before);
  });

  test('kafka', async () => {
    await topics('kept');
    await killAndStart('kafka');
    expect(await topics()).toContain('kept');
  }, 60_000);
});

test('a hung server (stopped, not dead) is started again', async () => {
  const before = pidOf('redis');
  await killProcess(state, 'redis', 'SIGSTOP');
  state = await start();
  expect(pidOf('redis')).not.toBe(before);
  expect(await withRedis((client) => client.get('kept'))).toBe('42');
}, 60_000);

test('what ran when its caller died before writing it down is not started twice', async () => {
  const file = join(root, '.almanac', 'test', 'stack.json');
  const orphan = pidOf('postgres');
  const written = JSON.parse(readFileSync(file, 'utf8'));
  written.units.postgres.process = null;
  const { writeFileSync } = await import('node:fs');
  writeFileSync(file, JSON.stringify(written), { mode: 0o600 });
  state = await start();
  expect(pidOf('postgres')).not.toBe(orphan);
  expect(await sql('select value from kept')).toEqual([{ value: 42 }]);
});

test('a port taken meanwhile by a stranger is left to it, and another chosen', async () => {
  const { createServer } = await import('node:net');
  const port = state.units.redis!.ports.main!;
  await killProcess(state, 'redis');
  const stranger = createServer((socket) => socket.end('-ERR not yours\r\n'));
  await new Promise<void>((resolve) => stranger.listen(port, '127.0.0.1', resolve));
  try {
    state = await start();
    expect(state.units.redis!.ports.main).not.toBe(port);
    expect(await withRedis((client) => client.get('kept'))).toBe('42');
  } finally {
    stranger.close();
  }
});

test('two starts at once: one waits for the other, and nothing is started twice', async () => {
  await killProcess(state, 'redis');
  const lines: string[] = [];
  const [one, two] = await Promise.all([
    start(),
    startStack({ ...options, onProgress: (line) => lines.push(line) }),
  ]);
  expect(one.units.redis!.process).toEqual(two.units.redis!.process);
  expect(lines.join('\n')).toContain(`waiting for process ${process.pid}: starting the stack "test"`);
  state = one;
});

test('a server that cannot start is named, with its last lines, its log and the fix', async () => {
  const { rmSync: remove } = await import('node:fs');
  await killProcess(state, 'postgres');
  const control = join(state.units.postgres!.dir, 'data', 'global', 'pg_control');
  const bytes = readFileSync(control);
  remove(control);
  await expect(start()).rejects.toMatchObject({
    code: 'FS_UNAVAILABLE',
    message: expect.stringMatching(/postgres did not start: ended with exit code [\s\S]*pg_control/),
    details: { server: 'postgres', log: state.units.postgres!.log },
  });
  const { writeFileSync, chownSync } = await import('node:fs');
  writeFileSync(control, bytes, { mode: 0o600 });
  const owner = statSync(join(control, '..'));
  chownSync(control, owner.uid, owner.gid);
  state = await start();
  expect(await sql('select value from kept')).toEqual([{ value: 42 }]);
}, 60_000);

test('stop leaves no process, and start after it finds the data', async () => {
  const units = SERVERS.map((name) => state.units[name]!);
  expect(await stop()).toEqual([...SERVERS].reverse());
  expect(findStack(options)).toBeNull();
  for (const { process, dir } of units) {
    expect(isAlive(process)).toBe(false);
    expect(findRemnants(dir, [process!.executable])).toEqual([]);
  }
  state = await startStack({ ...options, servers: ['postgres', 'redis'] });
  expect(await sql('select value from kept')).toEqual([{ value: 42 }]);
  expect(await withRedis((client) => client.get('kept'))).toBe('42');
}, 60_000);
