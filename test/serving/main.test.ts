/** The process with a lock of its own, by ALMANAC_LOCK: it starts by it, or ends with what is wrong. */
import { type ChildProcess, spawn } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';
import { Redis } from 'ioredis';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { type Lock, lockText } from '../../core/lock.js';
import { publish, shopPlan } from './shop.js';

const environment = `p${randomBytes(6).toString('hex')}`;
const redis = new Redis(process.env.ALMANAC_REDIS_URL!);
const directory = await mkdtemp(join(tmpdir(), 'almanac serving main '));
const file = join(directory, 'almanac.lock');
const started: ChildProcess[] = [];

const shared = shopPlan();
const priced = { ...shared.views.find(({ view }) => view.name === 'item_price')!, hash: '1'.repeat(64) };
const { versionId, version, hash } = priced;
const features = ['item_price:item_price'];
const service = { ...shared.services[0]!, name: 'prices', features };
const lock: Lock = {
  lock: 1,
  model: 'churn',
  services: { prices: { item_price: { version, hash } } },
  features: { prices: features },
};

beforeAll(() =>
  publish(redis, environment, {
    ...shared,
    views: shared.views.map((each) => (each.versionId === versionId ? priced : each)),
    services: [...shared.services, service],
    models: [
      {
        name: 'churn',
        live: { number: 3, services: [{ name: 'prices', features, versions: [versionId] }] },
        canary: null,
      },
    ],
  }),
);
afterAll(async () => {
  for (const child of started)
    if (child.exitCode === null && child.signalCode === null) child.kill('SIGKILL');
  for await (const keys of redis.scanStream({ match: `${environment}:*` }))
    if (keys.length) await redis.del(...(keys as string[]));
  redis.disconnect();
  await rm(directory, { recursive: true });
});

/** The process, from sources. @param content of its lock; null: there is no such file */
async function run(content: string | null) {
  if (content === null) await rm(file, { force: true });
  else await writeFile(file, content);
  const child = spawn(process.execPath, ['--import', 'jiti/register', 'serving/main.ts'], {
    env: {
      ...process.env,
      ALMANAC_ENVIRONMENT: environment,
      ALMANAC_SERVING_URL: 'http://127.0.0.1:0',
      ALMANAC_LOCK: file,
    },
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  started.push(child);
  return child;
}

test('it answers by the file', async () => {
  const child = await run(lockText(lock));
  const [line] = (await Promise.race([once(child.stdout, 'data'), once(child.stderr, 'data')])) as [Buffer];
  const url = /http:\S+/.exec(line.toString())![0];
  expect(await (await fetch(`${url}/health`)).json()).toMatchObject({ process: 'serving', model: 'churn' });
  const answer = await fetch(`${url}/get-online-features`, {
    method: 'POST',
    headers: { 'x-deadline-ms': '5000' },
    body: JSON.stringify({ feature_service: 'prices', entities: { item_id: ['a'] } }),
  });
  expect(await answer.json()).toMatchObject({
    metadata: { plan: { model: 'churn', lock: 3, versions: { item_price: version } } },
  });
  child.kill('SIGTERM');
  expect(await once(child, 'exit')).toEqual([0, null]);
});

test.each<{ why: string; content: string | null; says: string[] }>([
  {
    why: 'no file',
    content: null,
    says: [`FS_CONFIG_INVALID: ALMANAC_LOCK names ${file}, which cannot be read`],
  },
  { why: 'no JSON', content: '{', says: [`FS_LOCK_INVALID: ${file} is no JSON`] },
  {
    why: 'no lock: every field',
    content: JSON.stringify({ ...lock, lock: 2, model: 'Churn!' }),
    says: [`FS_LOCK_INVALID: ${file} is no lock`, 'lock: ', 'model: is no name'],
  },
  {
    why: 'what is not served: the whole list',
    content: lockText({
      ...lock,
      services: { prices: { item_price: { version: 9, hash }, item_prize: { version: 1, hash } }, gone: {} },
    }),
    says: [
      'FS_LOCK_INVALID: the lock of "churn" is not served',
      'services.gone: there is no service "gone"',
      'services.prices.item_price: "item_price" has no version 9',
      'services.prices.item_prize: there is no view "item_prize"',
    ],
  },
])('it ends with 1 and says why: $why', async ({ content, says }) => {
  const child = await run(content);
  const [ended, said, printed] = await Promise.all([
    once(child, 'exit'),
    text(child.stderr),
    text(child.stdout),
  ]);
  expect([ended, printed]).toEqual([[1, null], '']);
  expect(said).toMatch(/^serving: /);
  for (const each of says) expect(said).toContain(each);
  expect(said.trimEnd().split('\n').at(-1)).toMatch(/^ {2}\S/); // the fix
});
