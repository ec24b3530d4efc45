import fc from 'fast-check';
import { beforeEach, describe, expect, test } from 'vitest';
import { assertDefinitions, type Problem } from '../../core/check.js';
import type {
  AggregationView,
  Definitions,
  Expectation,
  OnDemandView,
  SqlView,
} from '../../core/definition.js';
import { FeatureStoreError } from '../../core/error.js';
import type { Lock } from '../../core/lock.js';
import { nameProblem } from '../../core/naming.js';
import { type Current, type Plan, planDefinitions } from '../../core/plan.js';
import { versionsRead } from '../../core/readers.js';
import {
  abandonPlan,
  activate,
  computePlan,
  openRevision,
  savePlan,
  settleOnline,
} from '../../registry/apply.js';
import { migrate } from '../../registry/migrate.js';
import { type Registration, registerModel, removeModel } from '../../registry/models.js';
import { listReclaimable, readOnlineSet, recordReclaimed } from '../../registry/online.js';
import { compileServingPlan, findRevision, resolveView } from '../../registry/resolve.js';
import { type Pool, quote, transaction } from '../../registry/sql.js';
import { archiveTable, ROW_COLUMNS } from '../../registry/tables.js';
import { createDatabase } from './database.js';
import { changed, definitions, sqlView } from './definitions.js';
import { listenTo } from './listen.js';
import { applyPlanTo, edit, edited, repository } from './model.js';

const { pool, environment } = await createDatabase();

beforeEach(async () => {
  await pool.query(`drop schema ${environment} cascade`);
  await migrate(pool, environment);
});

/** Plans it now; gives what saves that plan. */
async function planned(next: Definitions): Promise<() => Promise<string>> {
  const plan = await computePlan(pool, next);
  return async () => {
    await savePlan(pool, plan, assertDefinitions(next));
    return plan.hash;
  };
}

const save = async (next: Definitions): Promise<string> => (await planned(next))();

async function apply(next: Definitions): Promise<string> {
  const hash = await save(next);
  await openRevision(pool, hash);
  await activate(pool, hash, 'test');
  return hash;
}

const register = (reads: Registration['reads']) =>
  registerModel(pool, { name: 'churn', owner: 'ml', description: '', reads, by: 'test' });

/** Everything a reader can see. */
async function seen(): Promise<unknown> {
  const revision = await findRevision(pool);
  return {
    revision: revision?.revision ?? 0,
    definitions: revision?.definitions ?? null,
    serving: revision ? await compileServingPlan(pool) : null,
  };
}

/** As a run does that has published the present plan. */
async function settle(): Promise<void> {
  await settleOnline(pool, (await findRevision(pool)) && (await compileServingPlan(pool)));
}

async function versions(): Promise<string[]> {
  const { rows } = await pool.query<{ name: string }>(
    `select format('%s@%s %s', view, version, state) as name from view_version order by view, version`,
  );
  return rows.map(({ name }) => name);
}

async function online(): Promise<string[]> {
  const { rows } = await pool.query<{ name: string }>(
    `select view || '@' || version as name from view_version where online`,
  );
  return rows.map(({ name }) => name).sort();
}

async function tables(): Promise<string[]> {
  const { rows } = await pool.query<{ name: string }>(
    `select relname as name from pg_class
      where relnamespace = $1::regnamespace and relkind = 'r' and relname ~ '^(archive|rows)_' order by 1`,
    [environment],
  );
  return rows.map(({ name }) => name);
}

const other = changed((all) => {
  (all.views[0] as AggregationView).minEvents = 2;
});
const another = changed((all) => {
  (all.views[0] as AggregationView).minEvents = 3;
});

test('nobody sees a plan before it is activated; then all of it', async () => {
  const hash = await save(definitions());
  const before = await seen();
  const opened = await openRevision(pool, hash);
  expect(opened).toMatchObject({ revision: 1, applied: false });
  expect(
    opened.opened.map(({ view, version, kind, rowsToScan }) => [view, version, kind, rowsToScan]),
  ).toEqual([
    ['user_now', 1, 'onDemand', 0],
    ['user_orders', 1, 'aggregation', 0],
    ['user_rank', 1, 'sql', null],
  ]);
  expect(await seen()).toEqual(before);
  expect(await versions()).toEqual([
    'user_now@1 draft',
    'user_orders@1 backfilling',
    'user_rank@1 backfilling',
  ]);
  const ids = opened.opened.map(({ versionId }) => versionId);
  expect(await tables()).toEqual(['archive_orders', `rows_${ids[1]}`, `rows_${ids[2]}`]);

  expect(await activate(pool, hash, 'me')).toEqual({ revision: 1 });
  expect(await versions()).toEqual(['user_now@1 live', 'user_orders@1 live', 'user_rank@1 live']);
  const revision = await findRevision(pool);
  expect(revision).toMatchObject({
    revision: 1,
    appliedBy: 'me',
    planHash: hash,
    definitions: assertDefinitions(definitions()),
  });
  const plan = await compileServingPlan(pool);
  expect(plan).toMatchObject({ layout: 2, revision: 1 });
  expect(plan.views.map((view) => [view.view.name, view.versionId])).toEqual([['user_orders', ids[1]]]);
  expect(plan.onDemand.map(({ view }) => view.name)).toEqual(['user_now']);
  expect(plan.unread).toEqual(['user_rank']); // no service names it
  expect((await computePlan(pool, definitions())).empty).toBe(true);
});

test('every step may be repeated', async () => {
  const hash = await save(definitions());
  const opened = await openRevision(pool, hash);
  expect(await openRevision(pool, hash)).toEqual(opened);
  const first = await activate(pool, hash, 'test');
  expect(await activate(pool, hash, 'test')).toEqual(first);
  expect(await openRevision(pool, hash)).toEqual({ ...opened, applied: true });
  expect(await abandonPlan(pool, hash)).toEqual({ versionIds: [] });
  expect((await seen()) as object).toMatchObject({ revision: 1 });
});

test('an empty plan is applied without a revision', async () => {
  await apply(definitions());
  const hash = await apply(definitions());
  expect(await findRevision(pool)).toMatchObject({ revision: 1 });
  expect(await openRevision(pool, hash)).toMatchObject({ revision: 1, applied: true });
});

test('a new version takes the readers; the old one stays as it was', async () => {
  await apply(definitions());
  await pool.query(
    `insert into view_progress (version_id, last_tick_ms) select id, 5 from view_version where view = 'user_orders'`,
  );
  await apply(other);
  expect(await versions()).toEqual([
    'user_now@1 live',
    'user_orders@1 deprecated',
    'user_orders@2 live',
    'user_rank@1 live',
  ]);
  const [v1, v2] = [await resolveView(pool, 'user_orders@1'), await resolveView(pool, 'user_orders')];
  expect(v2.version).toBe(2);
  expect(v2.id).not.toBe(v1.id);
  expect((v1.view as AggregationView).minEvents).toBe(0);
});

test('a version says what it is to the one before, as its author said when it went live', async () => {
  const succession = async () =>
    (
      await pool.query<{ said: string }>(
        `select concat_ws(' ', version, succeeds, succession, reason) as said
           from view_version where view = 'user_orders' order by version`,
      )
    ).rows.map(({ said }) => said);
  await apply(definitions());
  await apply(
    changed((all) => (all.views[0]!.succeeds = { version: 1, as: 'fix', reason: 'off by one' }), other),
  );
  await apply(another);
  expect(await succession()).toEqual(['1', '2 1 fix off by one', '3 2']);
  await apply(definitions());
  expect(await succession()).toEqual(['1 3', '2 1 fix off by one', '3 2']);
});

test('a plan knows what is stored, and the training sets made of what it replaces', async () => {
  await apply(definitions());
  const { id } = await resolveView(pool, 'user_orders');
  await pool.query(
    `with b as (insert into backfill (version_id, start_ms, end_ms, sequence, state) values ($1, 0, 1, 1, 'finished') returning id)
     insert into backfill_chunk (backfill_id, chunk, hash_start, hash_end, done, entities) select id, n, 0, 1, true, 20 from b, generate_series(1, 3) n`,
    [id],
  );
  await pool.query(
    `insert into import (source, name, content_sha256, format, shift_ms, state, total_bytes, total_rows, counts)
     values ('orders', 'a', 'x', 'csv', 0, 'finished', 1, 1, '{"archived": 100}')`,
  );
  await pool.query(
    `insert into training_set (id, manifest) values ('one', $1), ('two', $2), ('made', '{}')`,
    [
      JSON.stringify({ views: [{ view: 'user_orders', version: 1 }], onDemand: [] }),
      JSON.stringify({ views: [{ view: 'user_rank', version: 1 }], onDemand: [] }),
    ],
  );
  const [change] = (await computePlan(pool, other)).changes;
  const rowBytes = Number(
    (await pool.query(`select pg_total_relation_size('rows_' || $1) as bytes`, [id])).rows[0].bytes,
  );
  expect(change).toMatchObject({
    touched: { services: ['checkout'], models: [], trainingSets: ['one'] },
    rowsToScan: 100,
    estimate: { postgresBytes: rowBytes + 60 * 70, redisBytes: 60 * 70 },
  });
});

test('what is no part of a version changes in place', async () => {
  await apply(definitions());
  const next = changed((all) => {
    (all.views[0] as AggregationView).owner = 'else';
    all.sources[0]!.columns.note = { type: 'string', nullable: true };
  });
  const before = await resolveView(pool, 'user_orders');
  await apply(next);
  const after = await resolveView(pool, 'user_orders');
  expect(after).toMatchObject({ id: before.id, version: 1, hash: before.hash, view: { owner: 'else' } });
  expect(after.source?.columns.note).toEqual({ type: 'string', nullable: true });
  await pool.query(`insert into archive_orders (partition, "offset", sequence, event_ms, arrived_ms, arrival_assumed, ordinal, event_id, c_note)
                    values (-1, 1, 1, 1, 1, true, 0, 'x', 'new')`);
});

describe('giving up', () => {
  test('leaves nothing of the versions it made', async () => {
    await apply(definitions());
    const before = await seen();
    const standing = await tables();
    const hash = await save(other);
    const { opened } = await openRevision(pool, hash);
    const { versionId } = opened[0]!;
    await pool.query(`insert into snapshot values ($1, '\\x01', 1, 1, 1, 1, null, '\\x00')`, [versionId]);
    await pool.query('insert into view_progress (version_id) values ($1)', [versionId]);
    await pool.query('insert into tick values ($1, 1, 1, true)', [versionId]);
    await pool.query(
      `with b as (insert into backfill (version_id, start_ms, end_ms, sequence, state) values ($1, 0, 1, 1, 'running') returning id)
       insert into backfill_chunk (backfill_id, chunk, hash_start, hash_end) select id, 0, 0, 1 from b`,
      [versionId],
    );
    expect(await abandonPlan(pool, hash)).toEqual({ versionIds: [versionId] });
    expect(await abandonPlan(pool, hash)).toEqual({ versionIds: [versionId] });
    expect(await seen()).toEqual(before);
    expect(await tables()).toEqual(standing);
    for (const table of ['snapshot', 'view_progress', 'tick', 'backfill', 'backfill_chunk'])
      expect((await pool.query(`select * from ${table}`)).rowCount).toBe(0);
    expect(await versions()).toContain('user_orders@2 abandoned');
    await expect(activate(pool, hash, 'test')).rejects.toMatchObject({ code: 'FS_CONFLICT' });
  });
  test('the same plan can be tried again, with the version it had', async () => {
    await apply(definitions());
    const hash = await save(other);
    const first = await openRevision(pool, hash);
    await abandonPlan(pool, hash);
    await expect(openRevision(pool, hash)).rejects.toMatchObject({ code: 'FS_PLAN_STALE' });
    const saved = await save(other);
    const again = await openRevision(pool, saved);
    expect(again.opened[0]).toMatchObject({ versionId: first.opened[0]!.versionId, before: 'abandoned' });
    await activate(pool, saved, 'test');
    expect(await versions()).toContain('user_orders@2 live');
  });
  test('a version taken up again is filled as its authors say now, and is as it was before', async () => {
    await apply(definitions());
    await apply(other);
    const v1 = await resolveView(pool, 'user_orders@1');
    const expectations: Expectation[] = [{ type: 'freshness', maxAgeMs: 1, severity: 'block' }];
    const hash = await save(
      changed(({ views }) =>
        Object.assign(views.find(({ name }) => name === 'user_orders')!, { expectations }),
      ),
    );
    expect((await openRevision(pool, hash)).opened).toMatchObject([
      { versionId: v1.id, version: 1, before: 'deprecated' },
    ]);
    expect((await resolveView(pool, 'user_orders@1')).view).toMatchObject({ expectations });
    expect(await abandonPlan(pool, hash)).toEqual({ versionIds: [] });
    expect((await resolveView(pool, 'user_orders@1')).view).toEqual(v1.view);
    expect(await versions()).toContain('user_orders@1 deprecated');
    expect(await tables()).toContain(`rows_${v1.id}`);
  });
  test('makes room for the next, which is planned again: numbers of versions are not given twice', async () => {
    const [first, second] = [await save(definitions()), await planned(other)];
    await expect(second()).rejects.toMatchObject({ code: 'FS_PLAN_STALE', details: { plan: first } });
    await openRevision(pool, first);
    await expect(second()).rejects.toMatchObject({ code: 'FS_PLAN_STALE', details: { plan: first } });
    await abandonPlan(pool, first);
    const hash = await second();
    await expect(openRevision(pool, hash)).rejects.toMatchObject({
      code: 'FS_PLAN_STALE',
      details: { view: 'user_orders' },
    });
    await abandonPlan(pool, hash);
    const again = await apply(other);
    expect(await findRevision(pool)).toMatchObject({ revision: 1, planHash: again });
    expect((await versions()).filter((name) => name.startsWith('user_orders'))).toEqual([
      'user_orders@1 abandoned',
      'user_orders@2 live',
    ]);
  });
});

describe('the online set', () => {
  const reads = (...features: string[]): Definitions =>
    changed((all) => {
      all.services[0]!.features = features;
    });
  const orders = 'user_orders:user_user_orders_count_7d';
  const rank = 'user_rank:user_spend_rank';
  const fill = () =>
    pool.query('insert into view_progress (version_id) select id from view_version on conflict do nothing');
  const open = async (next: Definitions) => {
    const hash = await save(next);
    return { hash, ...(await openRevision(pool, hash)) };
  };

  test('a new reader turns a version on before the plan is live, and says that it is to be refilled', async () => {
    await apply(reads(orders));
    await fill();
    const { change } = await readOnlineSet(pool);
    const { hash, firstRead } = await open(reads(orders, rank));
    expect(firstRead).toEqual([{ view: 'user_rank', version: 1 }]);
    expect(await online()).toEqual(['user_orders@1', 'user_rank@1']);
    expect((await readOnlineSet(pool)).change).toBe(change + 1);
    expect((await openRevision(pool, hash)).firstRead).toEqual(firstRead); // asked again
    expect((await readOnlineSet(pool)).change).toBe(change + 1);
    expect((await compileServingPlan(pool)).revision).toBe(1);
  });
  test('what was never filled needs no refill', async () => {
    await apply(reads(orders));
    expect((await open(reads(orders, rank))).firstRead).toEqual([]);
  });
  test('the last reader leaves: off once serving has the plan, and listed until its records are gone', async () => {
    await apply(reads(orders, rank));
    const { id } = await resolveView(pool, 'user_rank');
    await apply(reads(orders));
    expect(await online()).toEqual(['user_orders@1', 'user_rank@1']);
    await pool.query('insert into owed (version_id, after_sequence) values ($1, 0)', [id]);
    await settle();
    expect(await online()).toEqual(['user_orders@1']);
    expect((await pool.query('select * from owed')).rowCount).toBe(0);
    expect((await listReclaimable(pool)).versionIds).toEqual([id]);
    await recordReclaimed(pool, await listReclaimable(pool));
    expect((await listReclaimable(pool)).versionIds).toEqual([]);
  });
  test('a version that is replaced is read until serving has the plan', async () => {
    await apply(definitions());
    await apply(other);
    expect(await online()).toEqual(['user_now@1', 'user_orders@1', 'user_orders@2']);
    await settle();
    expect(await online()).toEqual(['user_now@1', 'user_orders@2']);
  });
  test('what another plan is about to read stays on, and so does what came back while it was removed', async () => {
    await apply(reads(orders, rank));
    const { id } = await resolveView(pool, 'user_rank');
    await apply(reads(orders));
    const { hash } = await open(reads(orders, rank));
    await settle(); // of the one before
    expect(await online()).toContain('user_rank@1');
    await abandonPlan(pool, hash);
    await settle();
    expect(await online()).toEqual(['user_orders@1']);
    const reclaimable = await listReclaimable(pool);
    await open(reads(orders, rank));
    await recordReclaimed(pool, reclaimable);
    await abandonPlan(pool, hash);
    await settle();
    await recordReclaimed(pool, reclaimable); // it came and went meanwhile
    expect((await listReclaimable(pool)).versionIds).toEqual([id]);
  });
  test('giving up turns off what only that plan would have read', async () => {
    await apply(reads(orders));
    await fill();
    const { hash } = await open(reads(orders, rank));
    await abandonPlan(pool, hash);
    await settle();
    expect(await online()).toEqual(['user_orders@1']);
    expect((await listReclaimable(pool)).versionIds).toEqual([(await resolveView(pool, 'user_rank')).id]);
  });
  test('what serving reads by an older plan stays on, whoever settles or gives up meanwhile', async () => {
    await apply(reads(orders, rank));
    const served = await compileServingPlan(pool);
    await apply(reads(orders));
    await settleOnline(pool, served); // of a pin that published before
    expect(await online()).toContain('user_rank@1');
    const { hash } = await open(
      changed(
        (all) => {
          (all.views[0] as AggregationView).minEvents = 2;
        },
        reads(orders, rank),
      ),
    );
    expect(await online()).toEqual(['user_orders@1', 'user_orders@2', 'user_rank@1']);
    await abandonPlan(pool, hash);
    await settleOnline(pool, served);
    expect(await online()).toEqual(['user_orders@1', 'user_rank@1']); // no plan ever read the new version
    await settle();
    expect(await online()).toEqual(['user_orders@1']);
  });
  test('what a model has left stays on until serving has left it too', async () => {
    await apply(reads(orders));
    await register({ services: ['checkout'] });
    await apply(
      changed((all) => {
        (all.views[0] as AggregationView).minEvents = 2;
      }, reads(orders)),
    );
    const served = await compileServingPlan(pool);
    await removeModel(pool, { model: 'churn', seen: null, by: 'test' });
    await settleOnline(pool, served); // of the apply
    expect(await online()).toEqual(['user_orders@1', 'user_orders@2']);
    await settle();
    expect(await online()).toEqual(['user_orders@2']);
  });
  test('serving is told what is read: not what its last reader has left, nor what is on its way to its first', async () => {
    const unread = async () => (await compileServingPlan(pool)).unread;
    await apply(reads(orders, rank));
    await apply(reads(orders));
    expect(await online()).toContain('user_rank@1');
    expect(await unread()).toEqual(['user_now', 'user_rank']);
    await settle();
    await open(reads(orders, rank));
    expect(await online()).toContain('user_rank@1');
    expect(await unread()).toEqual(['user_now', 'user_rank']);
    const { version, hash } = await resolveView(pool, 'user_rank');
    const lock: Lock = {
      lock: 1,
      model: 'churn',
      services: { checkout: { user_rank: { version, hash } } },
      features: { checkout: ['user_rank:user_spend_rank'] },
    };
    await expect(register({ lock })).rejects.toMatchObject({
      code: 'FS_LOCK_INVALID',
      details: {
        problems: expect.arrayContaining([
          expect.objectContaining({ message: expect.stringContaining('nobody reads it') }),
        ]),
      },
    });
  });
});

describe('two at once', () => {
  test('twenty applies of two plans: one wins, all others are told, nothing is mixed', async () => {
    await apply(definitions());
    const plans = [await planned(other), await planned(another)];
    const attempts = await Promise.allSettled(
      Array.from({ length: 20 }, async (_, index) => {
        const hash = await plans[index % 2]!();
        await openRevision(pool, hash);
        return [hash, (await activate(pool, hash, `by ${index}`)).revision];
      }),
    );
    const revision = await findRevision(pool);
    expect(revision?.revision).toBe(2);
    const winner = revision!.planHash;
    for (const attempt of attempts)
      if (attempt.status === 'fulfilled') expect(attempt.value).toEqual([winner, 2]);
      else {
        expect(attempt.reason).toBeInstanceOf(FeatureStoreError);
        expect((attempt.reason as FeatureStoreError).code).toBe('FS_PLAN_STALE');
        expect((attempt.reason as FeatureStoreError).status).toBe(409);
      }
    const refused = attempts.filter(({ status }) => status === 'rejected').length;
    expect(refused).toBe(10);
    expect((await versions()).filter((name) => name.startsWith('user_orders'))).toEqual([
      'user_orders@1 deprecated',
      'user_orders@2 live',
    ]);
    expect([other, another].map((each) => assertDefinitions(each))).toContainEqual(revision?.definitions);
  });
  test.each([
    {
      why: 'a view',
      next: changed((all) => {
        all.views = all.views.filter(({ name }) => name !== 'user_now');
        all.services[0]!.features = ['user_orders:user_user_orders_count_7d'];
      }),
      says: 'views.user_now: is removed, but in the lock of model "churn" (v1, by checkout)',
    },
    {
      why: 'a service',
      next: changed((all) => {
        all.services = [];
      }),
      says: 'services.checkout: is removed, but in the lock of model "churn"',
    },
  ])('$why that a model reads since the plan was made is not removed', async ({ next, says }) => {
    const stale = { code: 'FS_PLAN_STALE', message: expect.stringContaining(says) };
    await apply(definitions());
    const leave = () => removeModel(pool, { model: 'churn', seen: null, by: 'test' });
    const saving = await planned(next);
    const hash = await saving();
    await openRevision(pool, hash);
    await register({ services: ['checkout'] }); // while it fills
    const before = await seen();
    await expect(activate(pool, hash, 'test')).rejects.toMatchObject(stale);
    await abandonPlan(pool, hash);
    await expect(saving()).rejects.toMatchObject(stale);
    expect(await seen()).toEqual(before);
    await leave();
    expect(await apply(next)).toBe(hash);
  });
  test('a plan whose base has moved is refused', async () => {
    const [first, second] = [await save(definitions()), await planned(other)];
    await openRevision(pool, first);
    await activate(pool, first, 'test');
    await expect(second()).rejects.toMatchObject({
      code: 'FS_PLAN_STALE',
      details: { baseRevision: 0, revision: 1 },
    });
  });
  test('of two projects the first has the environment; the other is refused by name', async () => {
    await apply({ ...definitions(), project: 'shop' });
    const before = await seen();
    for (const project of ['ads', undefined])
      await expect(computePlan(pool, { ...other, ...(project && { project }) })).rejects.toMatchObject({
        code: 'FS_DEFINITION_INVALID',
        details: { problems: [{ code: 'project', message: expect.stringContaining('"shop"') }] },
      });
    expect(await seen()).toEqual(before);
    await apply({ ...other, project: 'shop' });
  });
  test('a plan nobody saved is not found', () =>
    expect(openRevision(pool, 'f'.repeat(64))).rejects.toMatchObject({ code: 'FS_NOT_FOUND' }));
});

describe('killed at any statement', () => {
  const next = changed((all) => {
    all.project = 'shop';
    all.policy = { ttl: 'off' };
    all.owners = [{ name: 'ann', contact: 'x' }];
    (all.views[0] as AggregationView).minEvents = 4;
    all.views[0]!.succeeds = { version: 1, as: 'fix', reason: 'x' };
    all.views = all.views.filter(({ name }) => name !== 'user_rank');
    all.views.push(sqlView('user_place'));
    (all.views.at(-1) as ReturnType<typeof sqlView>).features[0]!.name = 'user_spend_place';
    (all.views.at(-1) as ReturnType<typeof sqlView>).query =
      'select user_id, at as event_timestamp, r as user_spend_place from ranks where at <= :as_of';
  });
  /** Everything that a plan may touch, as it lies in the tables. */
  const everything = async (): Promise<unknown> => ({
    seen: await seen(),
    plans: (await pool.query('select hash, state, opened from plan order by hash')).rows,
    versions: (
      await pool.query(
        'select view, version, state, definition, succeeds, succession, reason from view_version order by id',
      )
    ).rows,
    tables: await tables(),
  });

  test.each<{ step: string; run: (on: Pool, hash: string) => Promise<unknown>; opened: boolean }>([
    { step: 'open', run: openRevision, opened: false },
    { step: 'activate', run: (on, hash) => activate(on, hash, 'test'), opened: true },
    { step: 'abandon', run: abandonPlan, opened: true },
    { step: 'abandon what was only saved', run: abandonPlan, opened: false },
  ])('$step: it is whole or as before, and can be done again', async ({ run, opened }) => {
    await apply(definitions());
    const hash = await save(next);
    if (opened) await openRevision(pool, hash);
    const before = await everything();
    for (let after = 1; ; after++) {
      dying.after(after);
      await expect(run(dying.pool, hash)).rejects.toThrow('killed');
      if (dying.last() === 'commit') break; // it was whole, and its answer was lost
      expect(await everything()).toEqual(before);
    }
    const whole = await everything();
    expect(whole).not.toEqual(before);
    await run(pool, hash);
    expect(await everything()).toEqual(whole);
  });
});

/** The pool, whose connections die after so many statements. */
const dying = (() => {
  let left = 0;
  let last = '';
  return {
    pool: listenTo(pool, (statement) => {
      last = statement;
      if (--left === 0) throw new Error('killed');
    }),
    after: (statements: number) => {
      left = statements;
    },
    last: () => last,
  };
})();

test('the tables do what the model does, through any edits; what is refused changes nothing', async () => {
  const told = { applied: 0, refused: 0 };
  const property = fc.asyncProperty(
    fc.array(repository, { minLength: 2, maxLength: 3 }),
    fc.array(edit, { minLength: 1, maxLength: 4 }),
    async (drawn, edits) => {
      await pool.query(`drop schema ${environment} cascade`);
      await migrate(pool, environment);
      let model: Current = { revision: 0, definitions: null, versions: [] };
      const history = [drawn[0]!];
      for (const next of [() => drawn[0]!, ...edits.map((each) => () => edited(history, each, drawn))]) {
        const definitions = next();
        const plan = await computePlan(pool, definitions).catch((error: unknown) => {
          expect(error).toMatchObject({ code: 'FS_DEFINITION_INVALID' });
          expect(() => planDefinitions(model, definitions, {})).toThrow();
          return null;
        });
        if (plan) {
          expect(plan).toEqual(planDefinitions(model, definitions, {}));
          model = applyPlanTo(model, plan);
          expect(await apply(definitions)).toBe(plan.hash);
          history.push(definitions);
        }
        told[plan ? 'applied' : 'refused']++;
        const revision = await findRevision(pool);
        expect(revision?.revision ?? 0).toBe(model.revision);
        expect(revision?.definitions ?? null).toEqual(model.definitions);
        expect(await versions()).toEqual(
          model.versions.map(({ view, version, state }) => `${view}@${version} ${state}`).sort(),
        );
        await settle();
        const live = model.versions.filter(({ state }) => state === 'live');
        expect(await online()).toEqual(
          model.definitions === null
            ? []
            : [
                ...versionsRead(model.definitions, new Map(live.map(({ view, version }) => [view, version]))),
              ].sort(),
        );
        if (plan) expect((await computePlan(pool, definitions)).empty).toBe(true);
      }
    },
  );
  await fc.assert(property, { numRuns: 30 });
  expect(Math.min(told.applied, told.refused)).toBeGreaterThan(3); // both happen, how often is drawn
});

describe('archives', () => {
  const event = (columns: string, values: string): Promise<unknown> =>
    pool.query(
      `insert into ${archiveTable('orders')} (partition, "offset", sequence, event_ms, arrived_ms, arrival_assumed, ordinal, event_id, ${columns})
       values (-1, 1, 1, 1, 1, true, 0, 'x', ${values})`,
    );
  const typed = changed((all) => {
    all.sources[0]!.columns.shop!.type = 'int64';
  });
  test('a column changes its type while there is no event', async () => {
    await apply(definitions());
    await apply(typed);
    await event('c_shop', '7');
  });
  test('and not any more once there is one, whatever the ledger of imports says', async () => {
    await apply(definitions());
    await event('c_shop', `'seven'`);
    await expect(computePlan(pool, typed)).rejects.toMatchObject({
      code: 'FS_DEFINITION_INVALID',
      details: { problems: [{ path: 'sources.orders.columns.shop.type' }] },
    });
  });
  test('the length of a vector is kept, and is part of its type', async () => {
    const vectors = (length: number) =>
      changed((all) => {
        all.sources[0]!.columns.taste = { type: 'list<float64>', nullable: true, length };
      });
    await apply(vectors(2));
    await apply(vectors(3)); // no event yet
    await apply(vectors(3)); // the same again
    await expect(event('c_taste', `'{1,2}'`)).rejects.toThrow(/violates check constraint/);
    await event('c_taste', `'{1,2,3}'`);
    await expect(computePlan(pool, vectors(2))).rejects.toMatchObject({
      code: 'FS_DEFINITION_INVALID',
      details: {
        problems: [
          {
            path: 'sources.orders.columns.taste.type',
            message: expect.stringMatching(/as vector\(2\); .* hold double precision\[3\]/),
          },
        ],
      },
    });
  });
  test('a source that comes back finds its events', async () => {
    await apply(definitions());
    await event('c_shop', `'seven'`);
    await apply({ entities: [], sources: [], views: [], services: [] });
    await apply(definitions());
    expect((await pool.query('select c_shop from archive_orders')).rows).toEqual([{ c_shop: 'seven' }]);
  });
  test('entities are found by an index', async () => {
    await apply(definitions());
    const { rows } = await transaction(pool, async (client) => {
      await client.query('set local enable_seqscan = off');
      return client.query<{ 'QUERY PLAN': string }>(
        'explain select * from archive_orders where hashint8extended(c_user_id, 0) between 1 and 1000',
      );
    });
    expect(rows.map((row) => row['QUERY PLAN']).join()).toMatch(/archive_key_/);
  });
  test('rows hold typed columns, a tick for people, lists', async () => {
    await apply(definitions());
    const { id } = await resolveView(pool, 'user_orders');
    await pool.query(
      `insert into rows_${id} (user_id, key, key_hash, tick_ms, committed_ms, event_timestamp, event_ms, user_user_orders_count_7d)
       values (7, '\\x01', 1, 86400001, 1, now(), 1, 3)`,
    );
    const { rows } = await pool.query(`select user_id, tick, user_user_orders_count_7d as n from rows_${id}`);
    expect(rows).toEqual([{ user_id: 7, tick: 86_400_001, n: 3 }]);
  });
});

describe('names', () => {
  const renamed = (name: { source: string; column: string; key: string; feature: string }): Definitions =>
    changed((all) => {
      const view = all.views[0] as AggregationView;
      const [source] = all.sources;
      source!.name = name.source;
      source!.columns[name.column] = { type: 'string', nullable: false };
      all.entities[0]!.keys = [{ name: name.key, type: 'string' }];
      Object.assign(view, { source: name.source, key: [name.column] });
      view.features = [{ ...view.features[0]!, name: name.feature, nameException: 'a test of names' }];
    });
  test.each([
    ['words of SQL', { source: 'select', column: 'from', key: 'user', feature: 'order' }],
    [
      'a column that Postgres has in every table',
      { source: 'pg_class', column: 'ctid', key: 'u', feature: 'oid' },
    ],
    [
      'the longest there are',
      { source: 's'.repeat(48), column: 'c'.repeat(61), key: 'k'.repeat(63), feature: 'f'.repeat(63) },
    ],
  ])('%s: tables and indexes are made', async (_, name) => {
    await apply(
      changed((all) => {
        all.services = [];
        all.views = [all.views[0]!];
      }, renamed(name)),
    );
    const { id } = await resolveView(pool, 'user_orders');
    await pool.query(
      `insert into rows_${id} (${quote(name.key)}, key, key_hash, tick_ms, committed_ms, ${quote(name.feature)})
       values ('u', '\\x01', 1, 1, 1, 3)`,
    );
    const { rows } = await pool.query<Record<string, unknown>>(`select * from rows_${id}`);
    expect(rows[0]).toMatchObject({ [name.key]: 'u', [name.feature]: 3 });
    expect(await tables()).toContain(`archive_${name.source}`);
  });
  const PLAIN = {
    source: 'orders', column: 'buyer', entity: 'user', key: 'user_id', feature: 'user_seen_7d', view: 'user_orders', onDemand: 'user_now',
    computed: 'user_is_back', field: 'cart_cents', service: 'checkout', owner: 'ann', project: 'shop',
  }; // biome-ignore format: names
  const called = (name: typeof PLAIN): Definitions =>
    changed((all) => {
      const [orders, now, rank] = all.views as [AggregationView, OnDemandView, SqlView];
      all.project = name.project;
      all.owners = [{ name: name.owner, contact: 'x' }];
      all.entities[0]!.name = name.entity;
      orders.name = name.view;
      now.name = name.onDemand;
      now.request = { [name.field]: 'int64' };
      now.inputs = [`${name.view}:${name.feature}`];
      const args = [name.field, name.feature].map((col) => ({ op: 'isNull' as const, args: [{ col }] }));
      now.features = [{ ...now.features[0]!, name: name.computed, expression: { op: 'and', args } }];
      orders.entity = rank.entity = name.entity;
      all.services[0]!.name = name.service;
      all.services[0]!.features = [
        ...now.inputs,
        `${name.onDemand}:${name.computed}`,
        'user_rank:user_spend_rank',
      ];
      for (const view of all.views)
        for (const feature of view.features) feature.nameException = 'a test of names';
    }, renamed(name));
  test('any name is the same when it comes back, or is refused with its place', async () => {
    const strange = fc.oneof(
      fc.constantFrom(
        'select', 'from', 'user', 'order', 'table', 'pg_class', 'oid', 'ctid', 'a"b', "a'b", 'a b', '', '__proto__', 'constructor',
        'a\0b', '😀', 'é', 'A', '1a', 'a-b', 'a.b', 'a:b', '_a', 'a;drop table plan', 's'.repeat(55), 's'.repeat(63), 's'.repeat(64),
        '\ud800', 'key', 'tick', 's'.repeat(200), 's'.repeat(201), '😀'.repeat(100),
      ), // biome-ignore format: names
      fc.string({ unit: 'binary', maxLength: 70 }),
      fc.stringMatching(/^[a-z][a-z0-9_]{0,62}$/),
    );
    const told = { same: 0, refused: 0 };
    const property = fc.asyncProperty(
      strange,
      fc.constantFrom(...(Object.keys(PLAIN) as Array<keyof typeof PLAIN>)),
      async (drawn, which) => {
        await pool.query(`drop schema ${environment} cascade`);
        await migrate(pool, environment);
        const one = { ...PLAIN, [which]: drawn };
        const all = called(one);
        let plan: Plan;
        try {
          plan = await computePlan(pool, JSON.parse(JSON.stringify(all)));
        } catch (error) {
          expect(error).toMatchObject({ code: 'FS_DEFINITION_INVALID' });
          for (const problem of (error as FeatureStoreError).details.problems as Problem[])
            expect(problem).toMatchObject({
              path: expect.stringMatching(/./),
              fix: expect.stringMatching(/./),
            });
          told.refused++;
          return;
        }
        await savePlan(pool, plan, assertDefinitions(all));
        await openRevision(pool, plan.hash);
        await activate(pool, plan.hash, 'test');
        const { definitions: back } = (await findRevision(pool))!;
        const orders = back.views.find(({ kind }) => kind === 'aggregation') as AggregationView;
        const now = back.views.find(({ kind }) => kind === 'onDemand') as OnDemandView;
        expect({
          source: back.sources[0]!.name, column: orders.key[0], entity: back.entities[0]!.name, key: back.entities[0]!.keys[0]!.name,
          feature: orders.features[0]!.name, view: orders.name, onDemand: now.name, computed: now.features[0]!.name,
          field: Object.keys(now.request)[0], service: back.services[0]!.name, owner: back.owners![0]!.name, project: back.project,
        }).toEqual({ ...one, owner: one.owner.normalize('NFC') }); // biome-ignore format: names
        expect((await resolveView(pool, one.view)).view.name).toBe(one.view);
        expect((await compileServingPlan(pool)).services.map(({ name }) => name)).toEqual([one.service]);
        expect(await tables()).toContain(`archive_${one.source}`);
        const { id } = await resolveView(pool, 'user_rank');
        await pool.query(`select ${quote(one.key)} from rows_${id}`);
        told.same++;
      },
    );
    await fc.assert(property, { numRuns: 100 });
    expect(Math.min(told.same, told.refused)).toBeGreaterThan(10); // both happen
  });
  test.each(ROW_COLUMNS)(
    'no feature and no join key is called "%s", like a column of every rows table',
    (name) => {
      expect(nameProblem(name, '', { field: true })).not.toBeNull();
    },
  );
});

describe('resolveView', () => {
  test.each([
    ['user_orders', 'user_orders@2 live'],
    ['user_orders@1', 'user_orders@1 deprecated'],
    ['user_orders@2', 'user_orders@2 live'],
  ])('%s', async (reference, expected) => {
    await apply(definitions());
    await apply(other);
    const found = await resolveView(pool, reference);
    expect(`${found.view.name}@${found.version} ${found.state}`).toBe(expected);
  });
  test.each([
    ['user_order', 'FS_NOT_FOUND', 'did you mean "user_orders"?'],
    ['user_orders@9', 'FS_NOT_FOUND', 'it has v1 (live)'],
    ['zzzzzzzzzzzzzzz', 'FS_NOT_FOUND', 'use one of: user_now, user_orders, user_rank'],
    ['user_orders@', 'FS_REQUEST_INVALID', /@2/],
    ['user_orders@0', 'FS_REQUEST_INVALID', /@2/],
    ['', 'FS_REQUEST_INVALID', /@2/],
    [`'; drop table view_version; --`, 'FS_NOT_FOUND', /use one of/],
  ])('%j is refused as %s', async (reference, code, fix) => {
    await apply(definitions());
    const error = await resolveView(pool, reference).catch((caught: unknown) => caught as FeatureStoreError);
    expect(error).toMatchObject({ code });
    expect((error as FeatureStoreError).details.fix).toMatch(fix);
  });
  test('while no version is live, the one on its way', async () => {
    await openRevision(pool, await save(definitions()));
    expect(await resolveView(pool, 'user_orders')).toMatchObject({ version: 1, state: 'backfilling' });
  });
});
