/** How the stack handles our own processes, with stubs that answer GET /health like the real ones. */
import { mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:http';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import {
  findStack,
  killProcess,
  type ProcessName,
  type StackState,
  stackEnv,
  startProcess,
  startStack,
  stopStack,
} from '../../cli/stack/stack.js';
import { temporaryDir, withoutAddresses } from './machine.js';

const MAIN: Record<ProcessName, string> = {
  registry: 'registry/main.js',
  worker: 'workers/main.js',
  serving: 'serving/main.js',
};
const ALL: ProcessName[] = ['registry', 'worker', 'serving'];

let root: string;
let dist: string;
let options: Parameters<typeof startStack>[0];

beforeEach(() => {
  root = temporaryDir();
  dist = join(root, 'dist');
  for (const name of ALL) writeMain(name);
  writeFileSync(join(dist, '.almanac-build'), 'one');
  writeFileSync(join(dist, 'package.json'), '{ "type": "module" }');
  options = {
    root,
    name: 'test-own',
    environment: 'test',
    servers: [],
    processes: ALL,
    dist,
    env: withoutAddresses(),
  };
});
afterEach(async () => {
  await stopStack(options);
  rmSync(root, { recursive: true, force: true });
});

function writeMain(
  name: ProcessName,
  answer = `{ process: '${name}', instance: process.env.ALMANAC_INSTANCE }`,
): void {
  const file = join(dist, MAIN[name]);
  mkdirSync(join(file, '..'), { recursive: true });
  const url = `ALMANAC_${name.toUpperCase()}_URL`;
  writeFileSync(
    file,
    `import { createServer } from 'node:http';
     console.log('started with', process.argv.slice(2).join(' '), process.env.ALMANAC_ENVIRONMENT);
     createServer((request, response) => response.end(JSON.stringify(${answer})))
       .listen(Number(new URL(process.env.${url}).port), '127.0.0.1');`,
  );
}

const pids = (state: StackState) => ALL.map((name) => state.units[name]!.process!.pid);

test('each on the port of its own URL, with its queues, its log, and the stack’s environment', async () => {
  const state = await startStack(options);
  const env = stackEnv(state);
  expect(env).toMatchObject({ ALMANAC_ENVIRONMENT: 'test', ALMANAC_INSTANCE: state.instance });
  for (const url of [env.ALMANAC_REGISTRY_URL, env.ALMANAC_WORKER_URL, env.ALMANAC_SERVING_URL])
    expect((await fetch(`${url}/health`)).ok).toBe(true);
  expect(readFileSync(state.units.worker!.log, 'utf8')).toContain(
    'started with --queues control,batch,stream test',
  );
});

test('connections of the shell reach those that use them, and nothing else of it', async () => {
  const seen = `{ process: process.env.WHO, instance: process.env.ALMANAC_INSTANCE, connection: process.env.SHOP_DATABASE_URL, other: process.env.OTHER }`;
  for (const name of ALL) writeMain(name, seen.replace('process.env.WHO', `'${name}'`));
  options.env = { ...options.env, SHOP_DATABASE_URL: 'postgres://shop@127.0.0.1:1/shop', OTHER: 'x' };
  const state = await startStack(options);
  const answers = await Promise.all(
    ALL.map(async (name) => (await fetch(`${state.units[name]!.address}/health`)).json()),
  );
  const connection = options.env.SHOP_DATABASE_URL;
  for (const answer of answers as Array<{ process: string }>)
    expect(answer).toEqual({
      process: answer.process,
      instance: state.instance,
      ...(answer.process === 'serving' ? {} : { connection }),
    });
});

test('started again: what lives is left, what died is started', async () => {
  const before = await startStack(options);
  await killProcess(before, 'worker');
  expect(findStack(options)).toMatchObject({ alive: ['registry', 'serving'], dead: ['worker'] });
  const after = await startStack(options);
  const [registry, worker, serving] = pids(before);
  expect(pids(after)).toEqual([registry, expect.not.closeTo(worker!, 0), serving]);
  await killProcess(after, 'serving');
  await startProcess(after, 'serving', options);
  expect(findStack(options)!.dead).toEqual([]);
});

test('another build: all of them are started again', async () => {
  const before = await startStack(options);
  writeFileSync(join(dist, '.almanac-build'), 'two');
  const after = await startStack(options);
  for (const [index, pid] of pids(after).entries()) expect(pid).not.toBe(pids(before)[index]);
});

test('one whose port was taken moves, and the others learn the new address', async () => {
  const before = await startStack(options);
  await killProcess(before, 'registry');
  const stranger = createServer((_request, response) => response.end('{}'));
  await new Promise<void>((resolve) =>
    stranger.listen(before.units.registry!.ports.main, '127.0.0.1', resolve),
  );
  try {
    const after = await startStack(options);
    expect(after.units.registry!.address).not.toBe(before.units.registry!.address);
    expect(after.units.worker!.process!.pid).not.toBe(before.units.worker!.process!.pid);
  } finally {
    stranger.closeAllConnections();
    stranger.close();
  }
});

test('an answer with another instance is a stranger’s: refused, not used', async () => {
  writeMain('serving', `{ process: 'serving', instance: 'another' }`);
  await expect(startStack(options)).rejects.toMatchObject({
    code: 'FS_UNAVAILABLE',
    message: expect.stringContaining('is serving of instance another, not serving of'),
  });
  expect(findStack(options)!.alive).not.toContain('serving');
});

test('one that ends at once is named, with its exit code and its last words', async () => {
  writeFileSync(join(dist, MAIN.registry), `console.error('no table for me'); process.exit(5);`);
  await expect(startStack(options)).rejects.toMatchObject({
    message: expect.stringMatching(
      /^registry did not start: ended with exit code 5\n(.*\n)*no table for me$/,
    ),
    details: { server: 'registry' },
  });
});

test('the same name for another environment is refused', async () => {
  await startStack({ ...options, processes: [] });
  await expect(startStack({ ...options, environment: 'other' })).rejects.toMatchObject({
    code: 'FS_CONFLICT',
  });
});
