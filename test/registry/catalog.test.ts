import { beforeEach, describe, expect, test } from 'vitest';
import { saveStatistics, saveVerdicts, type Written } from '../../activities/statistics.js';
import { assertDefinitions } from '../../core/check.js';
import type { AggregationView, Definitions } from '../../core/definition.js';
import { describeView, type LineageKind } from '../../core/describe.js';
import type { FeatureValue } from '../../core/event.js';
import { addValue, createSummary } from '../../core/statistics.js';
import { activate, computePlan, openRevision, savePlan } from '../../registry/apply.js';
import { type CatalogFeature, getFeatures, listFeatures, readLineage } from '../../registry/catalog.js';
import { migrate } from '../../registry/migrate.js';
import { registerModel } from '../../registry/models.js';
import { readStatus } from '../../registry/status.js';
import { applyTo } from './apply.js';
import { createDatabase } from './database.js';
import { aggregationView, changed, definitions } from './definitions.js';

const { pool, environment } = await createDatabase();
const apply = (next: Definitions): Promise<string> => applyTo(pool, next);

beforeEach(async () => {
  await pool.query(`drop schema ${environment} cascade`);
  await migrate(pool, environment);
});

const richer = changed((all) => {
  (all.views[0] as AggregationView).minEvents = 2;
});

const idOf = async (view: string, version = 1): Promise<number> =>
  (
    await pool.query<{ id: number }>('select id from view_version where (view, version) = ($1, $2)', [
      view,
      version,
    ])
  ).rows[0]!.id;

const page = { limit: 100 };
const getFeature = async (...asked: [string, string]): Promise<CatalogFeature> =>
  (await getFeatures(pool, ...asked))[0]!;
const listed = async (filter: Parameters<typeof listFeatures>[1] = {}): Promise<string[]> =>
  (await listFeatures(pool, filter, page)).items.map(
    ({ view, version, feature, state }) => `${view}@${version}:${feature} ${state}`,
  );

const COUNT = 'user_user_orders_count_7d';
const AMOUNT = 'user_user_orders_amount_cents_all_time';

describe('features', () => {
  test('are known as their definitions say, once they are live', async () => {
    const all = definitions();
    const plan = await computePlan(pool, all);
    await savePlan(pool, plan, assertDefinitions(all));
    await openRevision(pool, plan.hash);
    expect(await listed()).toEqual([]);
    await expect(getFeature('user_orders', COUNT)).rejects.toThrow('was never live');
    await activate(pool, plan.hash, 'test');
    const { items } = await listFeatures(pool, {}, page);
    const said = all.views.flatMap((view) => describeView(view, all));
    expect(items).toHaveLength(said.length);
    for (const { exact, view, feature, ...rest } of said)
      expect(items).toContainEqual(
        expect.objectContaining({
          ...rest,
          view,
          feature,
          version: 1,
          state: 'live',
          exact: JSON.parse(exact),
        }),
      );
    expect(await getFeature('user_rank', 'user_spend_rank')).toMatchObject({
      coldStart: null,
      progress: { lastTick: null, lastEvent: null, lastWrite: null, watermark: null },
    });
  });

  test('of a new version stand beside those of the old one, whose state moves on', async () => {
    await apply(definitions());
    await apply(richer);
    expect(await listed({ view: 'user_orders' })).toEqual([
      `user_orders@1:${AMOUNT} deprecated`,
      `user_orders@1:${COUNT} deprecated`,
      `user_orders@2:${AMOUNT} live`,
      `user_orders@2:${COUNT} live`,
    ]);
    expect((await getFeature('user_orders@1', COUNT)).version).toBe(1);
    expect((await getFeature('user_orders', COUNT)).version).toBe(2);
    const versions = (await getFeatures(pool, 'user_orders@1')).map(({ feature, version }) => [
      feature,
      version,
    ]);
    expect(versions).toEqual([
      [AMOUNT, 1],
      [COUNT, 1],
    ]);
  });

  test('say what their authors said last, without a new version', async () => {
    await apply(definitions());
    const owners = [{ name: 'data@shop.example', contact: '#data' }];
    await apply({ ...definitions(), owners });
    expect(await getFeature('user_now', 'user_has_ordered')).toMatchObject({
      version: 1,
      contact: '#data',
    });
    await apply(
      changed((all) => {
        all.owners = owners;
        all.views[0]!.description = 'said again';
        all.views[0]!.features[0]!.description = 'counted';
        all.views[0]!.tags = ['money'];
      }),
    );
    expect(await getFeature('user_orders', COUNT)).toMatchObject({
      version: 1,
      description: 'counted',
      tags: ['money'],
    });
  });

  test('are found by view, owner, tag, entity, source and state, page by page', async () => {
    await apply(
      changed((all) => {
        all.views[0]!.tags = ['money', 'spend'];
        all.views[2]!.owner = 'rank@shop.example';
      }),
    );
    const ofOrders = [`user_orders@1:${AMOUNT} live`, `user_orders@1:${COUNT} live`];
    const now = 'user_now@1:user_has_ordered live';
    const rank = 'user_rank@1:user_spend_rank live';
    expect(await listed()).toEqual([now, ...ofOrders, rank]);
    expect(await listed({ view: 'user_orders' })).toEqual(ofOrders);
    expect(await listed({ owner: 'rank@shop.example' })).toEqual([rank]);
    expect(await listed({ tag: 'spend' })).toEqual(ofOrders);
    expect(await listed({ entity: 'user' })).toEqual([now, ...ofOrders, rank]);
    expect(await listed({ source: 'orders' })).toEqual([now, ...ofOrders]);
    expect(await listed({ source: 'ranks' })).toEqual([rank]);
    expect(await listed({ state: 'deprecated' })).toEqual([]);
    const first = await listFeatures(pool, {}, { limit: 3 });
    const second = await listFeatures(pool, {}, { limit: 3, after: first.next! });
    expect([...first.items, ...second.items].map(({ feature }) => feature)).toEqual([
      'user_has_ordered',
      AMOUNT,
      COUNT,
      'user_spend_rank',
    ]);
    expect(second.next).toBeNull();
  });

  test('that are not there are refused with the nearest name', async () => {
    await apply(definitions());
    const refused = async (view: string, feature: string): Promise<unknown> =>
      getFeature(view, feature).catch((error: unknown) => error);
    expect(await refused('user_order', COUNT)).toMatchObject({
      code: 'FS_NOT_FOUND',
      details: { fix: 'did you mean "user_orders"?' },
    });
    expect(await refused('user_orders', 'user_user_orders_count_70d')).toMatchObject({
      code: 'FS_NOT_FOUND',
      details: { fix: `did you mean "${COUNT}"?` },
    });
    expect(await refused('user_orders@7', COUNT)).toMatchObject({ code: 'FS_NOT_FOUND' });
  });
});

describe('of the values of a feature is known', () => {
  const ticked = (versionId: number, day: number): Written => ({
    versionId,
    what: 'tick',
    reference: `2026-03-0${day}T00:00:00.000Z`,
  });

  async function count(
    written: Written,
    feature: string,
    type: 'int64' | 'bool',
    values: FeatureValue[],
  ): Promise<void> {
    const summary = createSummary(type);
    for (const value of values) addValue(summary, value);
    await saveStatistics(pool, written, [[feature, summary]]);
  }
  const publish = (versionId: number, day: number): Promise<unknown> =>
    pool.query(
      `insert into view_progress (version_id, last_tick_ms) values ($1, $2)
       on conflict (version_id) do update set last_tick_ms = excluded.last_tick_ms`,
      [versionId, Date.UTC(2026, 2, day)],
    );

  test('what was counted at the newest published tick, or in a backfill since', async () => {
    await apply(definitions());
    const versionId = await idOf('user_orders');
    const statistics = async () => (await getFeature('user_orders', COUNT)).statistics;
    expect(await statistics()).toBeNull();
    await count({ versionId, what: 'backfill', reference: '7' }, COUNT, 'int64', [1]);
    await publish(versionId, 1);
    expect(await statistics()).toMatchObject({ what: 'backfill', reference: '7', count: 1 });
    await count(ticked(versionId, 2), COUNT, 'int64', [2, 2, 4, 8, null]);
    await publish(versionId, 2);
    await count(ticked(versionId, 3), COUNT, 'int64', [9]); // blocked
    await count({ versionId, what: 'training-set', reference: 't' }, COUNT, 'int64', [7]);
    const { at, ...rest } = (await statistics())!;
    expect(rest).toEqual({
      what: 'tick', reference: '2026-03-02T00:00:00.000Z', count: 5, nulls: 1, min: 2, max: 8, mean: 4, deviation: Math.sqrt(6),
      p1: 2, p5: 2, p25: 2, p50: 2, p75: 4, p95: 4, p99: 4, distinct: 3,
      top: [{ value: 2, count: 2 }, { value: 4, count: 1 }, { value: 8, count: 1 }], topMissed: 0,
    }); // biome-ignore format: a row
    const { rows } = await pool.query<{ at: number; mean: number }>(
      `select at, mean from feature_statistics where reference = '2026-03-02T00:00:00.000Z'`,
    );
    expect(rows).toEqual([{ at: Date.parse(at), mean: 4 }]);
    expect((await getFeature('user_orders', AMOUNT)).statistics).toBeNull();
    await count({ versionId, what: 'backfill', reference: '8' }, COUNT, 'int64', []);
    expect(await statistics()).toMatchObject({ reference: '8', count: 0, min: null, top: null });
  });

  test('of what is computed when it is asked for, what training sets have', async () => {
    await apply(definitions());
    const written: Written = { versionId: await idOf('user_now'), what: 'training-set', reference: 't1' };
    await count(written, 'user_has_ordered', 'bool', [true, false, true]);
    expect((await getFeature('user_now', 'user_has_ordered')).statistics).toMatchObject({
      what: 'training-set',
      reference: 't1',
      top: [
        { value: true, count: 2 },
        { value: false, count: 1 },
      ],
    });
  });

  test('whether it was as expected the last time: by itself, and of its view', async () => {
    const expecting = changed((all) => {
      (all.views[0] as AggregationView).expectations = [
        { type: 'range', feature: COUNT, min: 0, max: 5, severity: 'warn' },
        { type: 'range', feature: COUNT, min: 0, max: 9, severity: 'block' },
        { type: 'unique', severity: 'warn' },
      ];
    });
    await apply(expecting);
    const versionId = await idOf('user_orders');
    const results = async (feature: string): Promise<unknown> =>
      (await getFeature('user_orders', feature)).expectationResults.map(
        ({ expectation, severity, passed, reference }) => [expectation, severity, passed, reference.slice(0, 10)],
      ); // biome-ignore format: a row
    const failed = async (): Promise<unknown> =>
      (await readStatus(pool)).failedExpectations.map(({ expectation, severity }) => [expectation, severity]);
    expect([await results(COUNT), await failed()]).toEqual([[], []]);
    const verdict = {
      feature: COUNT,
      severity: 'warn',
      passed: true,
      observed: 0,
      allowed: 0,
      said: 'so',
    } as const;
    const range = `range of ${COUNT}`;
    await saveVerdicts(pool, ticked(versionId, 1), [
      { ...verdict, expectation: range },
      { ...verdict, expectation: range, severity: 'block' },
      { ...verdict, expectation: 'unique', feature: null },
      { ...verdict, expectation: 'freshness', feature: null, passed: false }, // expected no more
    ]);
    await saveVerdicts(pool, ticked(versionId, 2), [
      { ...verdict, expectation: range, passed: false, observed: 2 },
    ]);
    expect(await results(COUNT)).toEqual([
      [range, 'block', true, '2026-03-01'],
      [range, 'warn', false, '2026-03-02'],
      ['unique', 'warn', true, '2026-03-01'],
    ]);
    expect(await results(AMOUNT)).toEqual([['unique', 'warn', true, '2026-03-01']]);
    expect(await failed()).toEqual([[range, 'warn']]);
    await apply(definitions());
    expect([await results(COUNT), await failed()]).toEqual([[], []]);
  });
});

describe('lineage', () => {
  const ends = async (kind: LineageKind, name: string, direction: 'up' | 'down') => {
    const { edges } = await readLineage(pool, { kind, name }, direction);
    const nodes = edges.map((edge) => (direction === 'down' ? edge.to : edge.from));
    return [...new Set(nodes.map((node) => `${node.kind} ${node.name}`))].sort();
  };

  /** Of the present version of the feature's view. */
  async function addTrainingSet(id: string, feature: string): Promise<void> {
    const { rows: views } = await pool.query(
      `select view, version, id as "versionId" from view_version where view = $1 and state = 'live'`,
      [feature.split(':')[0]],
    );
    await pool.query('insert into training_set (id, manifest) values ($1, $2)', [
      id,
      JSON.stringify({ service: null, features: [feature], views, onDemand: [] }),
    ]);
  }

  test('leads down to services and training sets, and up to columns and sources', async () => {
    await apply(definitions());
    await addTrainingSet('t1', `user_orders:${AMOUNT}`);
    expect(await ends('column', 'orders.amount_cents', 'down')).toEqual([
      `feature user_orders:${AMOUNT}`,
      'trainingSet t1',
    ]);
    expect(await ends('source', 'orders', 'down')).toEqual(
      expect.arrayContaining(['feature user_now:user_has_ordered', 'service checkout', 'trainingSet t1']),
    );
    expect(await ends('service', 'checkout', 'up')).toEqual([
      'column orders.known_at',
      'column orders.order_id',
      'column orders.ordered_at',
      'column orders.user_id',
      'entity user',
      'feature user_now:user_has_ordered',
      `feature user_orders:${COUNT}`,
      'request request.cart_cents',
      'source orders',
      'view user_now',
      'view user_orders',
    ]);
    expect(await ends('source', 'orders', 'up')).toEqual([]);
    const { edges } = await readLineage(pool, { kind: 'column', name: 'orders.amount_cents' }, 'down');
    expect(edges.map(({ versions }) => versions)).toEqual([[1], [1]]);
  });

  test('leads to models, and from them to the versions that they pin', async () => {
    await apply(definitions());
    const reads = { services: ['checkout'] };
    await registerModel(pool, { name: 'ranking', owner: 'ann', description: 'ranks', reads, by: 'ann' });
    await apply(richer);
    const { edges } = await readLineage(pool, { kind: 'model', name: 'ranking' }, 'up');
    expect(edges).toContainEqual({
      from: { kind: 'service', name: 'checkout' },
      to: { kind: 'model', name: 'ranking' },
      versions: [],
    });
    expect(edges).toContainEqual({
      from: { kind: 'view', name: 'user_orders' },
      to: { kind: 'feature', name: `user_orders:${COUNT}` },
      versions: [1, 2],
    });
    await pool.query(
      `insert into read_total (model, service, version_id, reads, last_read)
       select 'ranking', 'checkout', id, 3, '2026-03-01T00:00:00Z' from view_version where view = 'user_orders' and version = 1`,
    );
    expect(await getFeature('user_orders@1', COUNT)).toMatchObject({
      state: 'deprecated',
      models: ['ranking'],
      lastRead: '2026-03-01T00:00:00.000Z',
    });
    expect(await getFeature('user_orders@2', COUNT)).toMatchObject({ models: [], lastRead: null });
  });

  test('leads from fields of requests', async () => {
    await apply(definitions());
    expect(await ends('request', 'request.cart_cents', 'down')).toEqual([
      'feature user_now:user_has_ordered',
      'service checkout',
    ]);
    expect(await ends('request', 'request.cart_cents', 'up')).toEqual([]);
  });

  test('of a training set is that of the versions it was made of', async () => {
    await apply(definitions());
    await addTrainingSet('t1', `user_orders:${AMOUNT}`);
    await apply(
      changed((all) => {
        const [first] = all.views as [AggregationView];
        first.features.splice(1);
      }),
    );
    expect(await ends('trainingSet', 't1', 'up')).toEqual(
      expect.arrayContaining(['source orders', 'column orders.amount_cents', 'view user_orders']),
    );
    expect(
      (await readLineage(pool, { kind: 'feature', name: `user_orders:${AMOUNT}` }, 'down')).edges,
    ).toEqual([
      {
        from: { kind: 'feature', name: `user_orders:${AMOUNT}` },
        to: { kind: 'trainingSet', name: 't1' },
        versions: [1],
      },
    ]);
    expect(await ends('column', 'orders.amount_cents', 'down')).toEqual([
      `feature user_orders:${AMOUNT}`,
      'trainingSet t1',
    ]);
  });

  test('is of what is live: it follows versions, services and what views read', async () => {
    await apply(definitions());
    await apply(
      changed((all) => {
        const [first] = all.views as [AggregationView];
        first.features[1]!.where = null;
        first.features[1]!.aggregation = { op: 'distinct', value: { col: 'shop' }, limit: 9 };
        all.services[0]!.features = ['user_now:user_has_ordered'];
        all.views.push(aggregationView('user_more'));
      }),
    );
    expect(await ends('column', 'orders.shop', 'down')).toEqual([`feature user_orders:${AMOUNT}`]);
    expect(await ends('column', 'orders.amount_cents', 'down')).toEqual([
      'feature user_more:user_user_more_amount_cents_all_time',
    ]);
    const { edges } = await readLineage(pool, { kind: 'service', name: 'checkout' }, 'up');
    expect(edges).not.toContainEqual(expect.objectContaining({ from: { kind: 'feature', name: `user_orders:${COUNT}` }, to: { kind: 'service', name: 'checkout' } })); // biome-ignore format: short
    expect(edges).toContainEqual({
      from: { kind: 'view', name: 'user_orders' },
      to: { kind: 'feature', name: `user_orders:${COUNT}` },
      versions: [2],
    });
    await apply(changed((all) => void all.services.splice(0)));
    await expect(ends('service', 'checkout', 'up')).rejects.toMatchObject({ code: 'FS_NOT_FOUND' });
    expect((await pool.query('select from lineage where version_id is null')).rowCount).toBe(0);
  });

  test('of what is not there is refused with the nearest name', async () => {
    await apply(definitions());
    await expect(ends('column', 'orders.amount_cent', 'down')).rejects.toMatchObject({
      code: 'FS_NOT_FOUND',
      details: { fix: 'did you mean "orders.amount_cents"?' },
    });
  });
});

test('the watermark of a stream is its least, less the allowed lateness; of another view the last tick', async () => {
  await apply(
    changed((all) => {
      all.sources[0]!.stream = { topic: 'orders', cutAtMs: 0 };
      const streaming = aggregationView('user_live');
      all.views.push({ ...streaming, mode: { type: 'streaming', rowsEveryMs: 3_600_000 } });
    }),
  );
  await pool.query(
    `insert into stream_offset (source, partition, topic, greatest_event_ms)
     values ('orders', 0, 't', $1), ('orders', 1, 't', $2), ('orders', 2, 't', null)`,
    [Date.UTC(2026, 2, 3), Date.UTC(2026, 2, 5)],
  );
  await pool.query(
    `insert into view_progress (version_id, last_tick_ms) select id, $1 from view_version where view = 'user_orders'`,
    [Date.UTC(2026, 2, 4)],
  );
  const watermark = async (view: string): Promise<string | null> =>
    (await getFeature(view, `user_${view}_count_7d`)).progress.watermark;
  expect(await watermark('user_live')).toBe('2026-03-02T00:00:00.000Z'); // a day before
  expect(await watermark('user_orders')).toBe('2026-03-04T00:00:00.000Z');
  expect((await getFeature('user_now', 'user_has_ordered')).progress.watermark).toBeNull();
});
