import { beforeEach, describe, expect, test } from 'vitest';
import { assertDefinitions } from '../../core/check.js';
import type { AggregationView } from '../../core/definition.js';
import { abandonPlan, activate, applyId, computePlan, openRevision, savePlan } from '../../registry/apply.js';
import { type AuditItem, listAudit, record } from '../../registry/audit.js';
import { migrate } from '../../registry/migrate.js';
import { transaction } from '../../registry/sql.js';
import { setWanted } from '../../registry/streams.js';
import { applyTo } from './apply.js';
import { createDatabase } from './database.js';
import { changed, definitions } from './definitions.js';

const { pool, environment } = await createDatabase();

beforeEach(async () => {
  await pool.query(`drop schema ${environment} cascade`);
  await migrate(pool, environment);
});

const rows = async (filter: Parameters<typeof listAudit>[1] = {}): Promise<AuditItem[]> =>
  (await listAudit(pool, filter, { limit: 100 })).items.reverse();
const said = async (filter: Parameters<typeof listAudit>[1] = {}): Promise<string[]> =>
  (await rows(filter)).map(({ who, action, kind, name }) => `${who}: ${action} ${kind} ${name}`);

const other = changed((all) => {
  (all.views[0] as AggregationView).minEvents = 2;
  all.services[0]!.owner = 'shop@shop.example';
  all.owners = [{ name: 'ann', contact: '#ann' }];
});

describe('every change has its row', () => {
  test('of an apply: the plan on its way, then each thing that it changes', async () => {
    const hash = await applyTo(pool, definitions(), 'ann');
    const plan = `plan ${hash.slice(0, 16)}`;
    expect(await said()).toEqual([
      `ann: save ${plan}`,
      `ann: open ${plan}`,
      `ann: activate ${plan}`,
      'ann: create entity user',
      'ann: create source orders',
      'ann: create view user_now',
      'ann: create view user_orders',
      'ann: create view user_rank',
      'ann: create service checkout',
    ]);
    for (const { planHash, workflow, at } of await rows()) {
      expect({ planHash, workflow }).toEqual({ planHash: hash, workflow: applyId(hash) });
      expect(Date.parse(at)).not.toBeNaN();
    }
    const [opened] = await rows({ action: 'open' });
    expect(opened!.after).toEqual({
      baseRevision: 0,
      versions: ['user_now@1', 'user_orders@1', 'user_rank@1'],
    });
    expect((await rows({ action: 'activate' }))[0]!.after).toEqual({ baseRevision: 0, revision: 1 });
    const view = assertDefinitions(definitions()).views.find(({ name }) => name === 'user_orders');
    expect((await rows({ name: 'user_orders' }))[0]).toMatchObject({
      before: null,
      after: { version: 1, definition: view },
    });
  });

  test('with what was before, and what is after', async () => {
    await applyTo(pool, definitions());
    const hash = await applyTo(pool, other, 'bob');
    const [service] = await rows({ planHash: hash, kind: 'service' });
    expect(service).toMatchObject({
      who: 'bob',
      action: 'change',
      before: definitions().services[0],
      after: other.services[0],
    });
    const [view] = await rows({ planHash: hash, kind: 'view' });
    expect(view).toMatchObject({
      action: 'version',
      before: { version: 1, definition: { minEvents: 0 } },
      after: { version: 2, definition: { minEvents: 2 } },
    });
    expect((await rows({ kind: 'owner' }))[0]).toMatchObject({ before: null, after: other.owners![0] });
    const removing = await applyTo(
      pool,
      changed((all) => void all.services.splice(0), other),
    );
    expect((await rows({ planHash: removing, kind: 'service' }))[0]).toMatchObject({
      action: 'remove',
      before: other.services[0],
      after: null,
    });
  });

  test('of a plan that is given up', async () => {
    const plan = await computePlan(pool, definitions());
    await savePlan(pool, plan, assertDefinitions(definitions()), 'ann');
    await openRevision(pool, plan.hash);
    await abandonPlan(pool, plan.hash);
    expect(await said({ action: 'abandon' })).toEqual([`ann: abandon plan ${plan.hash.slice(0, 16)}`]);
    await savePlan(pool, plan, assertDefinitions(definitions()), 'ann');
    await abandonPlan(pool, plan.hash, 'bob');
    expect((await said({ action: 'abandon' }))[1]).toBe(`bob: abandon plan ${plan.hash.slice(0, 16)}`);
  });

  test('of what is wanted of a stream', async () => {
    await setWanted(pool, 'orders', 'pause', 'ann');
    await setWanted(pool, 'orders', 'run', 'bob');
    expect(await rows()).toMatchObject([
      {
        who: 'ann',
        action: 'pause',
        kind: 'stream',
        name: 'orders',
        before: null,
        after: { wanted: 'pause' },
      },
      {
        who: 'bob',
        action: 'run',
        before: { wanted: 'pause' },
        after: { wanted: 'run' },
        workflow: 'stream/orders',
      },
    ]);
  });
});

describe('what changes nothing has none', () => {
  test('when it is done again', async () => {
    const hash = await applyTo(pool, definitions());
    await setWanted(pool, 'orders', 'pause', 'ann');
    const before = await rows();
    await savePlan(pool, await computePlan(pool, definitions()), assertDefinitions(definitions())); // an empty one
    await openRevision(pool, hash);
    await activate(pool, hash, 'bob');
    await abandonPlan(pool, hash);
    await setWanted(pool, 'orders', 'pause', 'bob');
    expect((await rows()).slice(before.length).map(({ action }) => action)).toEqual(['save']);
  });

  test('when it is rolled back', async () => {
    const plan = await computePlan(pool, definitions());
    await applyTo(pool, other);
    const before = await rows();
    const saving = savePlan(pool, plan, assertDefinitions(definitions()));
    await expect(saving).rejects.toMatchObject({ code: 'FS_PLAN_STALE' });
    const failed = transaction(pool, async (client) => {
      await record(client, [{ who: 'ann', action: 'try', kind: 'plan', name: 'x' }]);
      throw new Error('no');
    });
    await expect(failed).rejects.toThrow('no');
    expect(await rows()).toEqual(before);
  });
});

test.each([
  `update audit set who = 'nobody'`,
  'delete from audit',
  'truncate audit',
  `update audit set who = 'nobody' where false`,
])('%s is refused', async (statement) => {
  await setWanted(pool, 'orders', 'pause', 'ann');
  await expect(pool.query(statement)).rejects.toThrow('audit is only ever added to');
  expect(await said()).toEqual(['ann: pause stream orders']);
});

test('it comes newest first, page by page, and by what is asked for', async () => {
  await applyTo(pool, definitions(), 'ann');
  const first = await listAudit(pool, {}, { limit: 4 });
  const second = await listAudit(pool, {}, { limit: 100, after: first.next! });
  const ids = [...first.items, ...second.items].map(({ id }) => id);
  expect(ids).toEqual([...ids].sort((a, b) => b - a));
  expect(ids).toHaveLength(9);
  expect(await said({ kind: 'view', name: 'user_now' })).toEqual(['ann: create view user_now']);
  expect(await said({ who: 'bob' })).toEqual([]);
});
