import { randomBytes } from 'node:crypto';
import { Redis } from 'ioredis';
import { afterAll, beforeAll, describe, expect, test, vi } from 'vitest';
import { encodeKey } from '../../core/codec/key.js';
import { isCanary, type Lock } from '../../core/lock.js';
import {
  onlineSetKey,
  planKey,
  readsKey,
  type ServedLock,
  type ServedView,
  type ServingPlan,
} from '../../core/serving-plan.js';
import { MINUTE } from '../../core/time.js';
import { type Serving, type ServingOptions, startServing } from '../../serving/server.js';
import { startLoadingProxy } from './proxy.js';
import { NOW, publish, shop, shopPlan, writePrice } from './shop.js';

const environment = `m${randomBytes(6).toString('hex')}`;
const redisUrl = process.env.ALMANAC_REDIS_URL!;
const redis = new Redis(redisUrl);

const shared = shopPlan();
const old = shared.views.find(({ view }) => view.name === 'item_price')! as Extract<
  ServedView,
  { kind: 'sql' }
>;
/** Version 2 is live; version 1 is there for whom it is locked. */
const live: ServedView = { ...old, versionId: 90, version: 2, hash: '2'.repeat(64) };
const locked: ServedView = { ...old, hash: '1'.repeat(64) };
const offers = shop.services.find(({ name }) => name === 'offers')!;
const prices = { ...offers, name: 'prices', features: ['item_price:item_price', 'item_price:item_tags'] };
const lock = (number: number, ...versions: ServedView[]): ServedLock => ({
  number,
  // As it was when it was locked: the service lists more by now.
  services: [
    {
      name: 'prices',
      features: ['item_price:item_price'],
      versions: versions.map(({ versionId }) => versionId),
    },
  ],
});
const plan: ServingPlan = {
  ...shared,
  views: [...shared.views.filter((each) => each !== old), locked, live],
  live: [...shared.live.filter((id) => id !== old.versionId), live.versionId],
  services: [...shop.services, prices],
  models: [
    { name: 'churn', live: lock(3, locked), canary: null },
    { name: 'fraud', live: lock(1, live), canary: null },
    { name: 'split', live: lock(1, locked), canary: { ...lock(2, live), share: 0.3 } },
    {
      name: 'both',
      live: {
        number: 1,
        services: [
          ...lock(1, locked).services,
          { name: 'offered', features: prices.features, versions: [live.versionId] },
        ],
      },
      canary: null,
    },
  ],
  others: [{ view: 'item_price', version: 3, hash: '3'.repeat(64), state: 'retired' }],
};

const open: Serving[] = [];
async function start(more: Partial<ServingOptions> = {}): Promise<Serving> {
  const config = { environment, redisUrl, servingUrl: 'http://127.0.0.1:0' };
  const serving = await startServing({ config, instance: null, now: () => NOW, ...more });
  open.push(serving);
  await vi.waitFor(async () => expect((await fetch(`${serving.url}/ready`)).status).toBe(200));
  return serving;
}
let serving: Serving;

const items = Array.from({ length: 200 }, (_, index) => `item ${index}`);

beforeAll(async () => {
  await publish(redis, environment, plan);
  for (const item of items) {
    await writePrice(redis, environment, { ...plan, views: [locked] }, item, [NOW, 1, ['one']]);
    await writePrice(redis, environment, { ...plan, views: [live] }, item, [NOW, 2, ['two']]);
  }
  serving = await start();
});
afterAll(async () => {
  for (const each of open) await each.close();
  for await (const keys of redis.scanStream({ match: `${environment}:*` }))
    if (keys.length) await redis.del(...(keys as string[]));
  redis.disconnect();
});

interface Answer {
  status: number;
  // biome-ignore lint/suspicious/noExplicitAny: whatever came
  body: any;
}
async function ask(model: string | null, asked: object, at = serving): Promise<Answer> {
  const response = await fetch(`${at.url}/get-online-features`, {
    method: 'POST',
    headers: { 'x-deadline-ms': '5000', ...(model === null ? {} : { 'x-almanac-model': model }) },
    body: JSON.stringify({ entities: { item_id: ['item 1'] }, ...asked }),
  });
  return { status: response.status, body: await response.json() };
}
const ofPrices = { feature_service: 'prices' };
const said = ({ body }: Answer) => ({
  ...body.metadata.plan,
  values: body.results.slice(1).map((each: { values: unknown[] }) => each.values[0]),
});

describe('a request is answered by the lock of its model', () => {
  test.each<{ why: string; model: string | null; asked: object; says: object }>([
    {
      why: 'an old version, and the features that were locked',
      model: 'churn',
      asked: ofPrices,
      says: { model: 'churn', lock: 3, versions: { item_price: 1 }, values: [1] },
    },
    {
      why: 'the live one, beside it',
      model: 'fraud',
      asked: ofPrices,
      says: { model: 'fraud', lock: 1, versions: { item_price: 2 }, values: [2] },
    },
    {
      why: 'no model: what is live',
      model: null,
      asked: ofPrices,
      says: { model: null, lock: null, versions: { item_price: 2 }, values: [2, ['two']] },
    },
    {
      why: 'features, of any of its services',
      model: 'churn',
      asked: { features: ['item_price:item_tags'] },
      says: { model: 'churn', lock: 3, values: [['one']] },
    },
    {
      why: 'two versions, by two services',
      model: 'both',
      asked: { feature_service: 'offered' },
      says: { versions: { item_price: 2 }, values: [2, ['two']] },
    },
  ])('$why', async ({ model, asked, says }) => {
    expect(said(await ask(model, asked))).toMatchObject({ revision: 1, ...says });
  });

  test.each([
    {
      why: 'an unknown model',
      model: 'chrun',
      asked: ofPrices,
      status: 404,
      says: { title: 'there is no model "chrun"', fix: 'did you mean "churn"?', header: 'x-almanac-model' },
    },
    { why: 'no name', model: '', asked: ofPrices, status: 404, says: { title: 'there is no model ""' } },
    {
      why: 'a service that its lock does not hold',
      model: 'churn',
      asked: { feature_service: 'offers' },
      status: 404,
      says: { title: 'there is no feature service in the lock of model "churn" named "offers"' },
    },
    {
      why: 'a view that its lock does not hold',
      model: 'churn',
      asked: { features: ['user_activity:user_total_cents'] },
      status: 404,
      says: { title: 'there is no view in the lock of model "churn" named "user_activity"' },
    },
    {
      why: 'a feature of a view of which it reads two versions',
      model: 'both',
      asked: { features: ['item_price:item_price'] },
      status: 400,
      says: { fix: 'ask for a service' },
    },
  ])('refused by name: $why', async ({ model, asked, status, says }) => {
    expect(await ask(model, asked)).toMatchObject({ status, body: says });
  });
});

test('a canary gets its share, by entity, and every answer is whole', async () => {
  const { entity } = locked;
  const answers = await Promise.all(
    items.map((item) => ask('split', { ...ofPrices, entities: { item_id: [item] } })),
  );
  const expected = items.map((item) =>
    isCanary('split', encodeKey(entity, [item]), 0.3) ? { lock: 2, values: [2] } : { lock: 1, values: [1] },
  );
  expect(answers.map((answer) => said(answer))).toMatchObject(expected);
  expect(new Set(expected.map(({ lock: number }) => number)).size).toBe(2);
  // Many rows are one request: the first entity decides for all of them.
  const { body } = await ask('split', { ...ofPrices, entities: { item_id: items } });
  expect(new Set(body.results[1].values)).toEqual(new Set(expected[0]!.values));
});

describe('a process with a lock of its own', () => {
  const own = (pins: Record<string, { version: number; hash: string }>, service = 'prices'): Lock => ({
    lock: 1,
    model: 'churn',
    services: { [service]: pins },
    features: { [service]: ['item_price:item_price'] },
  });
  const first = own({ item_price: { version: 1, hash: locked.hash } });

  test('reads by it when no model is named', async () => {
    const at = await start({ lock: first });
    expect(said(await ask(null, ofPrices, at))).toMatchObject({
      model: 'churn',
      lock: 3,
      versions: { item_price: 1 },
      values: [1],
    });
    expect(said(await ask('fraud', ofPrices, at))).toMatchObject({ model: 'fraud', values: [2] });
    expect(await (await fetch(`${at.url}/health`)).json()).toMatchObject({ model: 'churn' });
  });
  test('reads by it when it is no lock of the registry, as long as its versions are served', async () => {
    const at = await start({ lock: own({ item_price: { version: 2, hash: live.hash } }) });
    expect(said(await ask(null, ofPrices, at))).toMatchObject({
      model: 'churn',
      lock: null,
      versions: { item_price: 2 },
      values: [2],
    });
  });
  test('gets the features of its file, also when a pin gives its model others', async () => {
    const at = await start({ lock: first });
    const [churn, ...others] = plan.models;
    const pinned = {
      ...churn!.live,
      number: 4,
      services: [{ ...churn!.live.services[0]!, features: prices.features }],
    };
    await redis.set(
      planKey(environment),
      JSON.stringify({ ...plan, modelChanges: 1, models: [{ ...churn!, live: pinned }, ...others] }),
    );
    await at.refresh();
    const answer = await ask(null, ofPrices, at);
    await redis.set(planKey(environment), JSON.stringify({ ...plan, modelChanges: 2 }));
    await serving.refresh();
    expect(said(answer)).toEqual({
      revision: 1,
      model: 'churn',
      lock: null,
      versions: { item_price: 1 },
      values: [1],
    });
  });
  test.each([
    {
      why: 'a retired version',
      lock: own({ item_price: { version: 3, hash: '3'.repeat(64) } }),
      says: /services\.prices\.item_price: item_price v3 is retired/,
    },
    {
      why: 'another hash',
      lock: own({ item_price: { version: 1, hash: '4'.repeat(64) } }),
      says: /the lock says 4444/,
    },
    {
      why: 'no such version',
      lock: own({ item_price: { version: 9, hash: '4'.repeat(64) } }),
      says: /has no version 9/,
    },
    {
      why: 'the whole list',
      lock: { ...first, services: { ...first.services, gone: {}, lost: {} } },
      says: /service "gone"[\s\S]*service "lost"/,
    },
    {
      why: 'a model that is not registered',
      lock: { ...first, model: 'other' },
      says: /"other", which is not registered/,
    },
  ])('is not started: $why', async ({ lock: refused, says }) => {
    const starting = start({ lock: refused });
    await expect(starting).rejects.toMatchObject({ code: 'FS_LOCK_INVALID' });
    await expect(starting).rejects.toThrow(says);
  });
  test('keeps its plan when a later one lacks its versions, and says so', async () => {
    const at = await start({ lock: first });
    const without: ServingPlan = {
      ...plan,
      revision: 2,
      views: plan.views.filter((each) => each !== locked),
      models: plan.models.slice(1, 2),
      others: [{ view: 'item_price', version: 1, hash: locked.hash, state: 'deprecated' }],
    };
    await redis.set(
      planKey(environment),
      JSON.stringify({ ...without, models: [{ ...without.models[0]!, name: 'churn' }] }),
    );
    const ready = await fetch(`${at.url}/ready`);
    const answer = await ask(null, ofPrices, at);
    await redis.set(planKey(environment), JSON.stringify(plan));
    expect(ready.status).toBe(503);
    expect(JSON.stringify(await ready.json())).toContain('item_price v1 is deprecated and nobody reads it');
    expect(said(answer)).toMatchObject({ revision: 1, values: [1] });
  });
  test('is refused when its records are gone, and takes none for an entity without history', async () => {
    const at = await start({ lock: first });
    const kept = plan.views.filter((each) => each !== locked).map(({ versionId }) => [versionId, 1]);
    await redis.hset(onlineSetKey(environment), 'change', 1, ...kept.flat());
    const answer = await ask(null, ofPrices, at);
    const other = await ask('fraud', ofPrices, at);
    await redis.del(onlineSetKey(environment));
    expect(answer).toMatchObject({ status: 503, body: { code: 'FS_NOT_READY' } });
    expect(JSON.stringify(answer.body)).toContain('plan 1 reads what is not kept any more');
    expect(said(other)).toMatchObject({ values: [2] });
  });
  test('listens while Redis loads its data', async () => {
    const proxy = await startLoadingProxy(redisUrl);
    const config = { environment, redisUrl: proxy.url, servingUrl: 'http://127.0.0.1:0' };
    const at = await startServing({ config, instance: null, lock: first });
    expect((await fetch(`${at.url}/health`)).status).toBe(200);
    expect((await fetch(`${at.url}/ready`)).status).toBe(503);
    await at.close();
    proxy.close();
  });
});

test('what was read is counted by model, service and version, and added to Redis at the end', async () => {
  const before = await redis.hgetall(readsKey(environment));
  const at = await start();
  for (let i = 0; i < 5; i++) await ask('churn', ofPrices, at);
  await ask(
    null,
    {
      feature_service: 'offers',
      entities: { user_id: [1], item_id: ['item 1'], discount: [1], asked_at: [null] },
    },
    at,
  );
  await ask('fraud', { features: ['item_price:item_price'] }, at);
  expect((await ask('fraud', { feature_service: 'nothing' }, at)).status).toBe(404);
  await at.close();
  const after = await redis.hgetall(readsKey(environment));
  const minute = Math.floor(NOW / MINUTE);
  const added = (model: string, service: string, id: number): number => {
    const field = JSON.stringify([minute, model, service, id]);
    return Number(after[field] ?? 0) - Number(before[field] ?? 0);
  };
  expect(added('churn', 'prices', locked.versionId)).toBe(5);
  expect(added('fraud', '', live.versionId)).toBe(1);
  const offer = plan.onDemand[0]!.versionId;
  const [activity, popularity] = ['user_activity', 'item_popularity'].map(
    (name) => plan.views.find(({ view }) => view.name === name)!.versionId,
  );
  expect([offer, live.versionId, activity!, popularity!].map((id) => added('', 'offers', id))).toEqual([
    1, 1, 1, 1,
  ]);
});
