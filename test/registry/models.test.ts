import { beforeAll, describe, expect, test, vi } from 'vitest';
import { listFilled } from '../../activities/refill.js';
import type { AggregationView } from '../../core/definition.js';
import { type Lock, lockText } from '../../core/lock.js';
import { abandonPlan, computePlan, openRevision, savePlan, settleOnline } from '../../registry/apply.js';
import { compileServingPlan, listLocks } from '../../registry/resolve.js';
import { retireVersion } from '../../registry/retire.js';
import { changed, definitions } from './definitions.js';
import { serve } from './serve.js';

const { pool, url, applyDirectly, finish } = await serve();

interface Answer {
  status: number;
  etag: string | null;
  // biome-ignore lint/suspicious/noExplicitAny: whatever came
  body: any;
}
async function call(path: string, body?: unknown, headers: Record<string, string> = {}): Promise<Answer> {
  const init =
    body === undefined
      ? {}
      : {
          method: 'POST',
          body: JSON.stringify(body),
          headers: { 'content-type': 'application/json', ...headers },
        };
  const response = await fetch(`${url}${path}`, init);
  return { status: response.status, etag: response.headers.get('etag'), body: await response.json() };
}
const register = (name: string, more: object = { services: ['checkout'] }) =>
  call('/v1/models', { name, owner: 'ml@shop.example', by: 'anna', ...more });
const pin = (name: string, body: object, headers?: Record<string, string>) =>
  call(`/v1/models/${name}/pin`, { by: 'bert', ...body }, headers);
const lockOf = async (name: string, state = 'live'): Promise<Lock> =>
  (await call(`/v1/models/${name}/lock?state=${state}`)).body;
/** Of user_orders. */
const versionOf = (lock: Lock): number => lock.services.checkout!.user_orders!.version;

/** Another hop makes another version. */
const next = changed((document) => {
  (document.views[0] as AggregationView).features[0]!.window = {
    type: 'sliding',
    ms: 7 * 86_400_000,
    hopMs: 7_200_000,
  };
});
let first: Lock;
/** What is live since. */
let second: Lock;

beforeAll(async () => {
  await applyDirectly(definitions());
  expect(await register('churn')).toMatchObject({ status: 202, body: { run: 'pin/churn/1' } });
  first = await lockOf('churn');
  await applyDirectly(next);
  expect(await register('fraud')).toMatchObject({ status: 202 });
  second = await lockOf('churn', 'next');
});

test('a model is registered on what is live: its lock stays when readers without one move', async () => {
  expect(first).toMatchObject({
    lock: 1,
    model: 'churn',
    services: { checkout: { user_orders: { version: 1 }, user_now: { version: 1 } } },
  });
  expect(await lockOf('churn')).toEqual(first);
  expect(versionOf(second)).toBe(2);
  expect(second).toEqual({ ...(await lockOf('fraud')), model: 'churn' });
  const { body, etag } = await call('/v1/models/churn');
  expect(etag).toBe('"1"');
  expect(body).toMatchObject({
    name: 'churn',
    owner: 'ml@shop.example',
    registeredBy: 'anna',
    change: 1,
    locks: [{ number: 1, state: 'live', share: 100, services: first.services, createdBy: 'anna' }],
    reads: 0,
    lastRead: null,
    readsOf: [],
  });
  expect((await call('/v1/models?limit=1')).body).toMatchObject({
    items: [{ name: 'churn' }],
    next: expect.any(String),
  });
});

test('the serving plan holds what is live and what is locked, and each model with the features it locked', async () => {
  const plan = await compileServingPlan(pool);
  const orders = plan.views.filter(({ view }) => view.name === 'user_orders');
  expect(orders.map(({ version, versionId }) => [version, plan.live.includes(versionId)])).toEqual([
    [1, false],
    [2, true],
  ]);
  const [churn, fraud] = plan.models;
  expect(churn).toMatchObject({
    name: 'churn',
    live: { number: 1, services: [{ name: 'checkout', features: definitions().services[0]!.features }] },
    canary: null,
  });
  expect(churn!.live.services[0]!.versions).toContain(orders[0]!.versionId);
  expect(fraud!.live.services[0]!.versions).toContain(orders[1]!.versionId);
  expect(await listLocks(pool)).toMatchObject([
    { name: 'churn', owner: 'ml@shop.example', lock: first.services },
    { name: 'fraud' },
  ]);
});

test('a locked version that a plan opens again is read as before', async () => {
  await pool.query(
    `insert into view_progress (version_id) select id from view_version where view = 'user_orders' and version = 1`,
  );
  const plan = await computePlan(pool, definitions());
  await savePlan(pool, plan, definitions());
  const { opened } = await openRevision(pool, plan.hash);
  expect(opened).toMatchObject([{ view: 'user_orders', version: 1, before: 'deprecated' }]);
  expect([...(await listFilled(pool)).values()]).toContain('user_orders@1');
  expect(await pin('fraud', { lock: { ...first, model: 'fraud' } })).toMatchObject({ status: 202 });
  await pin('fraud', { lock: { ...second, model: 'fraud' } });
  await abandonPlan(pool, plan.hash);
});

test('a plan names the models that it touches, and refuses to remove what is locked', async () => {
  const other = changed((document) => {
    (document.views[0] as AggregationView).minEvents = 2;
  }, next);
  const { body } = await call('/v1/plan', { definitions: other });
  const change = body.changes.find(({ name }: { name: string }) => name === 'user_orders');
  expect(change.touched.models).toMatchObject([
    { name: 'churn', owner: 'ml@shop.example', services: ['checkout'], version: 1, retrain: true },
    { name: 'fraud', version: 2 },
  ]);
  const gone = changed((document) => {
    document.services = [];
  }, next);
  const refused = await call('/v1/plan', { definitions: gone });
  expect(refused).toMatchObject({ status: 422, body: { code: 'FS_DEFINITION_INVALID' } });
  expect(refused.body.title).toMatch(/churn.*fraud/);
});

describe('refused by name, and nothing changes', () => {
  test.each<{ why: string; ask: () => Promise<Answer>; status: number; says: object }>([
    {
      why: 'a name that is none',
      ask: () => register('Churn!'),
      status: 422,
      says: { code: 'FS_NAME_INVALID' },
    },
    {
      why: 'a model that is registered',
      ask: () => register('churn'),
      status: 409,
      says: { code: 'FS_CONFLICT', title: 'model "churn" is registered already' },
    },
    {
      why: 'an unknown service',
      ask: () => register('other', { services: ['chekout'] }),
      status: 404,
      says: { fix: 'did you mean "checkout"?' },
    },
    {
      why: 'a training set that was not made',
      ask: () => register('other', { services: ['checkout'], trainedOn: ['20261121T033000Z-1f0c9a2b'] }),
      status: 404,
      says: { title: 'there is no training set "20261121T033000Z-1f0c9a2b"' },
    },
    {
      why: 'a training set without a lock',
      ask: () => pin('churn', { canary: 'abort', trainedOn: ['x'] }),
      status: 400,
      says: { fix: 'give the lock that the model reads by' },
    },
    {
      why: 'services and a lock',
      ask: () => register('other', { services: ['checkout'], lock: first }),
      status: 400,
      says: { fix: 'give the services, or a lock' },
    },
    {
      why: 'a lock of another model',
      ask: () => register('other', { lock: first }),
      status: 422,
      says: {
        code: 'FS_LOCK_INVALID',
        problems: [{ path: 'model', message: 'it is a lock of model "churn"' }],
      },
    },
    {
      why: 'an unknown model',
      ask: () => pin('chrun', { lock: first }),
      status: 404,
      says: { fix: 'did you mean "churn"?' },
    },
    {
      why: 'an unknown version, whole',
      ask: () =>
        pin('churn', {
          lock: {
            ...first,
            services: {
              checkout: { ...first.services.checkout!, user_orders: { version: 7, hash: 'f'.repeat(64) } },
            },
          },
        }),
      status: 422,
      says: {
        problems: [
          {
            path: 'services.checkout.user_orders',
            message: '"user_orders" has no version 7',
            fix: 'it has v1 (deprecated), v2 (live)',
          },
        ],
      },
    },
    {
      why: 'a share of nothing',
      ask: () => pin('churn', { lock: second, share: 0 }),
      status: 400,
      says: { code: 'FS_REQUEST_INVALID' },
    },
    {
      why: 'a share that is nothing once it is divided',
      ask: () => pin('churn', { lock: second, share: 1e-323 }),
      status: 400,
      says: { problems: [{ path: 'share', message: 'is a share from 0.001' }] },
    },
    {
      why: 'what Postgres cannot hold as text',
      ask: () => register('other', { services: ['checkout'], description: 'no\0thing' }),
      status: 400,
      says: { problems: [{ path: 'description' }] },
    },
    {
      why: 'a share above all',
      ask: () => pin('churn', { lock: second, share: 101 }),
      status: 400,
      says: {},
    },
    {
      why: 'a share without a lock',
      ask: () => pin('churn', { canary: 'promote', share: 10 }),
      status: 400,
      says: {},
    },
    { why: 'nothing to do', ask: () => pin('churn', {}), status: 400, says: {} },
    {
      why: 'an unknown service to lock next',
      ask: () => call('/v1/models/churn/lock?state=next&service=checkout&service=chekout'),
      status: 404,
      says: { fix: 'did you mean "checkout"?' },
    },
    {
      why: 'a service of the present lock',
      ask: () => call('/v1/models/churn/lock?service=checkout'),
      status: 400,
      says: { fix: 'ask for state=next' },
    },
    {
      why: 'no canary',
      ask: () => pin('churn', { canary: 'promote' }),
      status: 409,
      says: { title: 'model "churn" has no canary to promote' },
    },
    {
      why: 'another name typed',
      ask: () => call('/v1/models/churn/remove', { name: 'fraud' }),
      status: 400,
      says: { field: 'name' },
    },
    {
      why: 'a change that is not the last',
      ask: () => pin('churn', { lock: second }, { 'if-match': '"0"' }),
      status: 412,
      says: { code: 'FS_PRECONDITION_FAILED' },
    },
    {
      why: 'a version that is locked',
      ask: () => call('/v1/views/user_orders@1/retire', { name: 'user_orders@1' }),
      status: 409,
      says: { reasons: ['the live lock of model "churn" reads it, by checkout'] },
    },
    {
      why: 'a version that is live',
      ask: () => call('/v1/views/user_orders@2/retire', { name: 'user_orders@2' }),
      status: 409,
      says: {
        reasons: [
          'it is live: readers without a lock read it',
          'the live lock of model "fraud" reads it, by checkout',
        ],
      },
    },
    {
      why: 'no version',
      ask: () => call('/v1/views/user_orders/retire', { name: 'user_orders' }),
      status: 400,
      says: {},
    },
    {
      why: 'another version typed',
      ask: () => call('/v1/views/user_orders@1/retire', { name: 'user_orders@2' }),
      status: 400,
      says: { field: 'name' },
    },
  ])('$why', async ({ ask, status, says }) => {
    const before = await pool.query('select name, change from model order by name');
    expect(await ask()).toMatchObject({ status, body: says });
    expect((await pool.query('select name, change from model order by name')).rows).toEqual(before.rows);
  });
});

test('a canary gets its share; promoted it is the lock, aborted it is gone', async () => {
  expect(await pin('churn', { lock: second, share: 10 })).toMatchObject({
    status: 202,
    body: { run: 'pin/churn/2' },
  });
  expect((await call('/v1/models/churn')).body.locks).toMatchObject([
    { number: 1, state: 'live' },
    { number: 2, state: 'canary', share: 10, createdBy: 'bert' },
  ]);
  expect((await compileServingPlan(pool)).models[0]!.canary).toMatchObject({ number: 2, share: 0.1 });
  expect(await lockOf('churn', 'canary')).toEqual(second);
  expect(await pin('churn', { canary: 'abort' })).toMatchObject({
    status: 202,
    body: { run: 'pin/churn/3' },
  });
  expect((await call('/v1/models/churn/lock?state=canary')).status).toBe(404);
  await pin('churn', { lock: second, share: 25.5 });
  await pin('churn', { canary: 'promote' });
  expect(lockText(await lockOf('churn'))).toBe(lockText(second));
  expect((await call('/v1/models/churn')).body.locks).toMatchObject([
    { number: 3, state: 'live', share: 100 },
  ]);
});

test('of pins at once one wins, by what each has seen', async () => {
  const { etag } = await call('/v1/models/fraud');
  const lock = await lockOf('fraud');
  const answers = await Promise.all(
    Array.from({ length: 8 }, () => pin('fraud', { lock, share: 50 }, { 'if-match': etag! })),
  );
  expect(answers.map(({ status }) => status).sort()).toEqual([202, ...Array(7).fill(412)]);
  expect((await call('/v1/models/fraud')).body.locks).toHaveLength(2);
});

test('a deprecated version that nobody reads cannot be locked again, and can be retired', async () => {
  await settleOnline(pool, await compileServingPlan(pool)); // as the run of the pin does
  expect(await pin('churn', { lock: first })).toMatchObject({
    status: 422,
    body: {
      problems: [{ message: 'user_orders v1 is deprecated and nobody reads it: it is not kept up to date' }],
    },
  });
  await pool.query(
    `insert into read_total (model, service, version_id, reads, last_read)
     select '', '', id, 5, now() - interval '2 days' from view_version where view = 'user_orders' and version = 1`,
  );
  const retire = (unreadDays: number) =>
    call('/v1/views/user_orders@1/retire', { name: 'user_orders@1', unreadDays });
  expect(await retire(7)).toMatchObject({
    status: 409,
    body: { reasons: [expect.stringMatching(/^a reader without a name read it at .*, by features$/)] },
  });
  expect(await retire(1)).toMatchObject({ status: 202, body: { run: 'retire/user_orders@1' } });
  const retirement = { view: 'user_orders', version: 1, unreadDays: 1, by: 'anna' };
  expect(await retireVersion(pool, retirement)).toEqual(await retireVersion(pool, retirement));
  expect(
    (await pool.query(`select state from view_version where view = 'user_orders' and version = 1`)).rows,
  ).toEqual([{ state: 'retired' }]);
  // Its run failed after that, and is started again.
  await finish('retire/user_orders@1', 'FS_CONFLICT');
  await vi.waitFor(async () => expect(await retire(7)).toMatchObject({ status: 202 }));
  expect(await pin('churn', { lock: first })).toMatchObject({
    status: 422,
    body: { problems: [{ message: 'user_orders v1 is retired' }] },
  });
  expect((await compileServingPlan(pool)).others).toMatchObject([
    { view: 'user_orders', version: 1, state: 'retired' },
    { view: 'user_rank', state: 'live' }, // no service names it
  ]);
});

test('a model that is removed reads nothing; its name may come back, its locks go on counting', async () => {
  expect(await call('/v1/models/churn/remove', { name: 'churn' })).toMatchObject({ status: 202 });
  expect((await call('/v1/models/churn')).status).toBe(404);
  expect((await call('/v1/models/churn/lock')).status).toBe(404);
  expect((await listLocks(pool)).map(({ name }) => name)).not.toContain('churn');
  expect(await register('churn', { lock: second })).toMatchObject({ status: 202 });
  expect((await call('/v1/models/churn')).body.locks).toMatchObject([{ number: 4, state: 'live' }]);
});

test('every change stands in the audit, with its run, and what was refused does not', async () => {
  const { body } = await call('/v1/audit?kind=model&name=churn');
  const said = body.items.map(({ who, action, before, after, workflow }: Record<string, unknown>) => [
    workflow,
    who,
    action,
    before !== null,
    after !== null,
  ]);
  expect(said.reverse()).toEqual([
    ['pin/churn/1', 'anna', 'register', false, true],
    ['pin/churn/2', 'bert', 'pin', true, true],
    ['pin/churn/3', 'bert', 'abort', true, true],
    ['pin/churn/4', 'bert', 'pin', true, true],
    ['pin/churn/5', 'bert', 'promote', true, true],
    ['pin/churn/6', 'unknown', 'remove', true, false],
    ['pin/churn/7', 'anna', 'register', false, true],
  ]);
  const retired = await call('/v1/audit?kind=view&name=user_orders&action=retire');
  expect(retired.body.items).toMatchObject([
    {
      who: 'anna',
      before: { version: 1, state: 'deprecated' },
      after: { version: 1, state: 'retired' },
      workflow: 'retire/user_orders@1',
    },
  ]);
});

test('a lock gives the features that it says, whatever the service lists by now', async () => {
  const more = 'user_orders:user_user_orders_amount_cents_all_time';
  await applyDirectly(changed((document) => document.services[0]!.features.push(more), next));
  expect((await lockOf('churn', 'next')).features).toEqual({
    checkout: [...second.features.checkout!, more],
  });
  expect(await pin('churn', { lock: second })).toMatchObject({ status: 202 });
  expect(await lockOf('churn')).toEqual(second);
  const churn = (await compileServingPlan(pool)).models.find(({ name }) => name === 'churn')!;
  expect(churn.live.services[0]!.features).toEqual(second.features.checkout);
});

test('a canary reads the services of the live lock, and ends with it', async () => {
  await applyDirectly(
    changed((document) => document.services.push({ ...document.services[0]!, name: 'other' }), next),
  );
  const { body: other } = await call('/v1/models/churn/lock?state=next&service=other');
  expect(await pin('churn', { lock: other, share: 10 })).toMatchObject({
    status: 422,
    body: {
      code: 'FS_LOCK_INVALID',
      problems: [
        { path: 'services.other', message: 'the live lock has no service "other"' },
        { path: 'services.checkout', message: 'the live lock has "checkout", the canary has not' },
      ],
    },
  });
  expect(await pin('churn', { lock: second, share: 10 })).toMatchObject({ status: 202 });
  expect(await pin('churn', { lock: other })).toMatchObject({ status: 202 });
  const { body } = await call('/v1/models/churn');
  expect(body.locks).toMatchObject([{ state: 'live', share: 100, services: other.services }]);
  expect(body.locks).toHaveLength(1);
  await pin('churn', { lock: second });
});

test('of the source of a version that models alone read no column is removed that it reads', async () => {
  const moved = changed((document) => {
    (document.views[0] as AggregationView).features.pop();
  }, next);
  await applyDirectly(moved);
  const gone = changed((document) => delete document.sources[0]!.columns.amount_cents, moved);
  expect((await call('/v1/plan', { definitions: gone })).body).toMatchObject({
    code: 'FS_DEFINITION_INVALID',
    problems: [
      {
        path: 'sources.orders.columns.amount_cents',
        message: 'is removed, but user_orders v2 reads it, in the lock of model "churn", model "fraud"',
      },
    ],
  });
});
