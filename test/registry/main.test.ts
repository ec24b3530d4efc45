import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, rm } from 'node:fs/promises';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, expect, test } from 'vitest';
import { createDatabase } from './database.js';

const { environment, postgresUrl } = await createDatabase({ migrated: false });
const filesDir = await mkdtemp(join(tmpdir(), 'almanac registry main '));
const started: ChildProcess[] = [];
afterAll(async () => {
  for (const child of started)
    if (child.exitCode === null && child.signalCode === null) child.kill('SIGKILL');
  await rm(filesDir, { recursive: true, force: true });
});

/** The process, from sources; and what it writes until it ends or says what is waited for. */
function run(env: Record<string, string>): {
  child: ChildProcess;
  said: (what: RegExp) => Promise<RegExpMatchArray>;
} {
  const root = fileURLToPath(new URL('../..', import.meta.url));
  const child = spawn(process.execPath, ['--import', 'jiti/register', 'registry/main.ts'], {
    cwd: root,
    env: {
      ...process.env,
      ALMANAC_ENVIRONMENT: environment,
      ALMANAC_POSTGRES_URL: postgresUrl,
      ALMANAC_FILES_DIR: filesDir,
      ALMANAC_REGISTRY_URL: 'http://127.0.0.1:0',
      ...env,
    },
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  started.push(child);
  let text = '';
  const said = async (what: RegExp): Promise<RegExpMatchArray> => {
    for (;;) {
      const found = what.exec(text);
      if (found) return found;
      if (child.exitCode !== null) throw new Error(`it ended with ${child.exitCode}: ${text}`);
      await Promise.race([once(child.stdout!, 'data'), once(child.stderr!, 'data'), once(child, 'exit')]);
    }
  };
  for (const stream of [child.stdout!, child.stderr!])
    stream.on('data', (chunk: Buffer) => (text += chunk.toString()));
  return { child, said };
}

test('brings the schema up, serves, and ends cleanly when told', async () => {
  const { child, said } = run({ ALMANAC_INSTANCE: 'a' });
  const [, url] = await said(/registry listens on (\S+)/);
  const health = await fetch(`${url}/health`);
  expect([health.status, await health.json()]).toEqual([
    200,
    expect.objectContaining({ process: 'registry', instance: 'a', ok: true }),
  ]);
  child.kill('SIGTERM');
  expect(await once(child, 'exit')).toEqual([0, null]);
});

test('waits for a Postgres that is not there yet', async () => {
  // A door that closes on everybody at first, and then leads to Postgres.
  const target = new URL(postgresUrl);
  const { connect } = await import('node:net');
  let refused = 0;
  const door = createServer((socket) => {
    socket.on('error', () => {});
    if (refused < 2) {
      refused++;
      socket.destroy();
      return;
    }
    const through = connect(Number(target.port), target.hostname);
    through.on('error', () => socket.destroy());
    socket.on('close', () => through.destroy());
    through.on('close', () => socket.destroy());
    socket.pipe(through).pipe(socket);
  }).listen(0, '127.0.0.1');
  await once(door, 'listening');
  const address = new URL(postgresUrl);
  address.hostname = '127.0.0.1';
  address.port = String((door.address() as { port: number }).port);
  const { child, said } = run({ ALMANAC_POSTGRES_URL: address.href });
  await said(/registry listens/);
  expect(refused).toBe(2);
  child.kill('SIGINT');
  expect(await once(child, 'exit')).toEqual([0, null]);
  door.close();
});

test.each([
  [
    'an address that others could reach',
    { ALMANAC_REGISTRY_URL: 'http://0.0.0.0:7801' },
    'FS_CONFIG_INVALID',
  ],
  [
    'a database that is not there',
    { ALMANAC_POSTGRES_URL: postgresUrl.replace(/\/[^/]*$/, '/no_such_database') },
    'FS_CONFIG_INVALID',
  ],
])('ends with what is wrong: %s', async (_, env, code) => {
  const { child, said } = run(env);
  const [ended] = await Promise.all([once(child, 'exit'), said(new RegExp(`registry: ${code}: .+\\n  \\S`))]);
  expect(ended).toEqual([1, null]);
});
