import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { withLock } from '../../cli/stack/lock.mjs';
import { packageDir } from '../../cli/stack/places.mjs';
import { temporaryDir } from './machine.js';

let dir: string;
let path: string;
beforeEach(() => {
  dir = temporaryDir();
  path = join(dir, 'the.lock');
});
afterEach(() => rmSync(dir, { recursive: true, force: true }));

/** Another process that holds the lock until it is ended. */
async function holder(): Promise<ReturnType<typeof spawn>> {
  const module = JSON.stringify(join(packageDir, 'cli', 'stack', 'lock.mjs'));
  const script = `import { withLock } from ${module};
    await withLock(${JSON.stringify(path)}, 'baking', () => {}, () => new Promise((resolve) => { console.log('held'); process.once('SIGTERM', resolve); setInterval(() => {}, 1000); }));
    process.exit(0);`;
  const child = spawn(process.execPath, ['--input-type=module', '-e', script], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  await once(child.stdout!, 'data');
  return child;
}

test('one at a time, and nothing is left', async () => {
  let inside = 0;
  const turns = await Promise.all(
    Array.from({ length: 8 }, (_, turn) =>
      withLock(
        path,
        `turn ${turn}`,
        () => {},
        async () => {
          inside += 1;
          expect(inside).toBe(1);
          await new Promise((resolve) => setImmediate(resolve));
          inside -= 1;
          return turn;
        },
      ),
    ),
  );
  expect(turns).toEqual([0, 1, 2, 3, 4, 5, 6, 7]);
  expect(readdirSync(dir)).toEqual([]);
});

test('who is waited for is said, and what for', async () => {
  const child = await holder();
  const lines: string[] = [];
  const waiting = withLock(
    path,
    'eating',
    (line) => lines.push(line),
    async () => 'got it',
  );
  await expect.poll(() => lines).toEqual([`waiting for process ${child.pid}: baking`]);
  child.kill('SIGTERM');
  expect(await waiting).toBe('got it');
});

test('the lock of a process that was killed is taken over, by one of many', async () => {
  const child = await holder();
  child.kill('SIGKILL');
  await once(child, 'exit');
  expect(existsSync(path)).toBe(true);
  const lines: string[] = [];
  let inside = 0;
  const one = () =>
    withLock(
      path,
      'eating',
      (line) => lines.push(line),
      async () => {
        inside += 1;
        expect(inside).toBe(1);
        await new Promise((resolve) => setImmediate(resolve));
        inside -= 1;
      },
    );
  await Promise.all([one(), one(), one(), one()]);
  expect(lines.filter((line) => line.startsWith('took over'))).toEqual([
    `took over from process ${child.pid}, which died during: baking`,
  ]);
});

test('a pid that belongs to another process by now does not hold the lock', async () => {
  writeFileSync(path, JSON.stringify({ pid: process.pid, started: 'long ago', what: 'x', token: 'old' }));
  expect(
    await withLock(
      path,
      'y',
      () => {},
      async () => 'got it',
    ),
  ).toBe('got it');
});

test('a lock that nobody can read belongs to nobody', async () => {
  writeFileSync(path, '');
  expect(
    await withLock(
      path,
      'y',
      () => {},
      async () => 'got it',
    ),
  ).toBe('got it');
});
