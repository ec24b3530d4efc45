import { existsSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { type DataType, type Table, tableFromIPC } from 'apache-arrow';
import { beforeAll, describe, expect, test } from 'vitest';
import { featureReader, typeName } from '../../activities/arrow.js';
import type { TrainingSetManifest } from '../../activities/manifest.js';
import { readParquetFile } from '../../activities/offline/parquet.js';
import type { FeatureType, SqlView, StoredView } from '../../core/definition.js';
import type { LineageKind, Node } from '../../core/describe.js';
import type { FeatureValue } from '../../core/event.js';
import { DAY, floorTo, HOUR } from '../../core/time.js';
import { answer, answerSql, type SqlRow, type TrainingMode } from '../../oracle/oracle.js';
import { readLineage } from '../../registry/catalog.js';
import { getLock, pinModel, registerModel } from '../../registry/models.js';
import { resolveView } from '../../registry/resolve.js';
import { readViewStatistics } from '../../registry/statistics.js';
import { applyDefinitions } from './environment.js';
import {
  createTrainingEnvironment,
  fillRanks,
  type Label,
  makeLabels,
  runBackfill,
  startTrainingSet,
  toCsv,
  trainingWorld,
} from './training-world.js';
import { archive, entitiesOf, makeEvents, visits } from './world.js';

const env = await createTrainingEnvironment();
const now = Date.now();
const start = floorTo(now, DAY) - 5 * DAY;
const end = now - 1000;
const events = makeEvents(2_000, { start, end, seed: 7 });
const definitions = trainingWorld(env.config.environment);

beforeAll(async () => {
  await applyDefinitions(env, definitions);
  await archive(env, events);
  await fillRanks(env, { start: end - 2 * DAY, end, seed: 3 });
  await env.startWorkers();
  await Promise.all(['user_hourly', 'visit_daily', 'user_now'].map((view) => runBackfill(env, view)));
  await runBackfill(env, 'user_rank', end - 2 * DAY);
});

async function manifestOf(id: string): Promise<TrainingSetManifest> {
  const { rows } = await env.deps.pool.query<{ manifest: TrainingSetManifest }>(
    'select manifest from training_set where id = $1',
    [id],
  );
  return rows[0]!.manifest;
}

async function readOutput(file: string): Promise<Table> {
  const path = join(env.config.filesDir, file);
  return file.endsWith('.arrow') ? tableFromIPC(readFileSync(path)) : readParquetFile(path);
}

/** feature → its values, row by row. */
function valuesOf(
  table: Table,
  names: ReadonlyArray<{ name: string; type: FeatureType }>,
): Map<string, FeatureValue[]> {
  return new Map(
    names.map(({ name, type }) => [
      name,
      table.batches.flatMap((batch) => {
        const read = featureReader(batch.getChild(name)!, type);
        return Array.from({ length: batch.numRows }, (_, i) => read(i));
      }),
    ]),
  );
}

async function sqlRows(view: SqlView): Promise<Map<string, SqlRow[]>> {
  const { id } = await resolveView(env.deps.pool, view.name);
  const { rows } = await env.deps.pool.query<Record<string, never>>(
    `select user_id, tick_ms, committed_ms, event_ms, published_ms, ${view.features.map(({ name }) => name).join(', ')}
       from rows_${id} join tick using (tick_ms) where version_id = ${id}`,
  );
  const byUser = new Map<string, SqlRow[]>();
  for (const row of rows) {
    const list = byUser.get(row.user_id!) ?? [];
    byUser.set(row.user_id!, list);
    list.push({
      tick: row.tick_ms!,
      committedAt: row.committed_ms!,
      publishedAt: row.published_ms!,
      eventTimestamp: row.event_ms!,
      values: Object.fromEntries(view.features.map(({ name }) => [name, row[name]!])),
    });
  }
  return byUser;
}

/** What the oracle says of every stored feature and label. */
async function expected(
  labels: readonly Label[],
  mode: TrainingMode,
  strict: boolean,
): Promise<Map<string, FeatureValue[]>> {
  const columns = new Map<string, FeatureValue[]>();
  for (const view of definitions.views.filter((each): each is StoredView => each.kind !== 'onDemand')) {
    const { id } = await resolveView(env.deps.pool, view.name);
    const { rows: published } = await env.deps.pool.query<{ tick: number; publishedAt: number }>(
      'select tick_ms as tick, published_ms as "publishedAt" from tick where version_id = $1',
      [id],
    );
    const byKey = new Map(
      view.kind === 'aggregation'
        ? (await entitiesOf(env, view)).map(({ events }) => {
            const names = Object.keys(visits.columns).sort();
            return [view.key.map((key) => events[0]!.values[names.indexOf(key)]).join('|'), events];
          })
        : [],
    );
    const rows = view.kind === 'sql' ? await sqlRows(view) : null;
    for (const { name } of view.features) columns.set(name, []);
    for (const { user_id, store, at } of labels) {
      const key = view.kind === 'aggregation' && view.key.length === 2 ? `${user_id}|${store}` : user_id;
      const { values } =
        view.kind === 'sql'
          ? answerSql(view, rows!.get(user_id) ?? [], { at, mode, strict })
          : answer(view, visits, byKey.get(key) ?? [], { type: 'training', at, mode, strict, published });
      for (const { name } of view.features) columns.get(name)!.push(values[name]!);
    }
  }
  return columns;
}

const features = definitions.views.flatMap((view) => view.features.map(({ name, type }) => ({ name, type })));

describe.each([
  { mode: 'known-then' as const, strict: false, output: 'arrow' as const },
  { mode: 'event-time' as const, strict: true, output: 'parquet' as const },
  { mode: 'known-then' as const, strict: true, output: 'parquet' as const },
  { mode: 'event-time' as const, strict: false, output: 'arrow' as const },
])('$mode, strict $strict, $output', ({ mode, strict, output }) => {
  test('every value is the oracle’s; order, duplicates and further columns are kept; types are right', async () => {
    const labels = makeLabels(events, 400, 11, end);
    labels.push(labels[0]!, labels[0]!);
    const handle = await startTrainingSet(env, {
      csv: toCsv(labels),
      service: 'everything',
      mode,
      strict,
      output,
    });
    const result = await handle.result();
    expect(result.rows).toBe(402);
    const table = await readOutput(result.file);
    const found = valuesOf(table, features);
    for (const [name, values] of await expected(labels, mode, strict))
      expect({ name, values: found.get(name) }).toEqual({ name, values });

    for (const view of definitions.views) {
      const statistics = await readViewStatistics(env.deps.pool, view.name, { reference: result.id });
      expect(statistics.features.map(({ feature }) => feature)).toEqual(
        view.features.map(({ name }) => name).sort(),
      );
      for (const { feature, count, nulls, min } of statistics.features) {
        const values = found.get(feature)!;
        expect([count, nulls]).toEqual([402, values.filter((value) => value === null).length]);
        if (['cents_1d', 'score_mean'].includes(feature))
          expect(min).toBe(Math.min(...values.filter((value) => value !== null).map(Number)));
      }
    }

    const frame = valuesOf(table, [
      { name: 'user_id', type: 'string' },
      { name: 'store', type: 'int64' },
      { name: 'event_timestamp', type: 'timestamp' },
      { name: 'label', type: 'int64' },
      { name: 'code', type: 'string' },
    ]);
    expect(frame.get('user_id')).toEqual(labels.map(({ user_id }) => user_id));
    expect(frame.get('event_timestamp')).toEqual(labels.map(({ at }) => at));
    expect(frame.get('label')!.slice(0, 4)).toEqual([0, 1, 0, 1]);
    expect(frame.get('code')![7]).toBe('007');

    const spent = found.get('cents_1d')!;
    const last = found.get('last_at')!;
    labels.forEach(({ at }, i) => {
      const cents = i % 3 === 0 ? null : i;
      const value = cents === null || !spent[i] ? null : cents / Number(spent[i]);
      expect(found.get('basket_to_day')![i]).toBe(value);
      expect(found.get('basket_has_coupon')![i]).toBe(i % 2 === 1);
      expect(found.get('basket_ms_since')![i]).toBe(
        last[i] === null ? null : at - (strict ? 1 : 0) - Number(last[i]),
      );
    });

    const types = Object.fromEntries(
      table.schema.fields.map(({ name, type }) => [name, typeName(type as DataType)]),
    );
    expect(types).toMatchObject({
      user_id: 'string',
      store: 'int64',
      event_timestamp: 'timestamp[us, UTC]',
      label: 'int64',
      code: 'string',
      visits_1h: 'int64',
      score_mean: 'float64',
      top_items: 'list<string>',
      latest_cents: 'list<int64>',
      cents_by_item: 'map<string,int64>',
      score_by_store: 'map<string,float64>',
      newest_by_kind: 'map<string,string>',
      last_at: 'timestamp[us, UTC]',
      basket_has_coupon: 'bool',
      rank_badges: 'list<string>',
    });
    const manifest = await manifestOf(result.id);
    expect(manifest).toMatchObject({
      mode,
      strict,
      service: 'everything',
      dataframe: { rows: 402 },
      file: result.file,
    });
    expect(manifest.output!.sha256).toBe(result.sha256);
  });
});

test('a late arrival: the two modes differ at the very label', async () => {
  const late = events.find(
    (event) => event.arrivedAt - event.timestamp >= 3 * HOUR && event.values.includes('u3'),
  )!;
  const label = { user_id: 'u3', store: 0, at: late.timestamp };
  const counts: Record<string, FeatureValue> = {};
  for (const mode of ['known-then', 'event-time'] as const) {
    const handle = await startTrainingSet(env, {
      csv: toCsv([label]),
      features: ['user_now:visits_30min'],
      mode,
      output: 'arrow',
    });
    const { file } = await handle.result();
    counts[mode] = valuesOf(await readOutput(file), [{ name: 'visits_30min', type: 'int64' }]).get(
      'visits_30min',
    )![0]!;
  }
  expect(Number(counts['event-time'])).toBeGreaterThan(Number(counts['known-then']));
});

test('again with the same id: the same bytes, whatever was archived since', async () => {
  const labels = makeLabels(events, 50, 5, end);
  const input = { id: 'again', csv: toCsv(labels), service: 'everything' };
  const first = await (await startTrainingSet(env, input)).result();
  await archive(env, makeEvents(200, { start, end, seed: 99 }), -2);
  const second = await (await startTrainingSet(env, input)).result();
  expect(second).toEqual(first);
  const other = await (await startTrainingSet(env, { ...input, id: 'again2', mode: 'event-time' })).result();
  expect(other.sha256).not.toBe(first.sha256);
  await expect(
    (await startTrainingSet(env, { ...input, mode: 'event-time' })).result(),
  ).rejects.toMatchObject({
    cause: { cause: { type: 'FS_CONFLICT' } },
  });
});

test('other bytes than before are refused by name, and the old file stays', async () => {
  const input = { id: 'altered', csv: toCsv(makeLabels(events, 20, 5, end)), service: 'everything' };
  const { file, sha256 } = await (await startTrainingSet(env, input)).result();
  const path = join(env.config.filesDir, file);
  await env.deps.pool.query(
    `update training_set set manifest = jsonb_set(manifest, '{output,sha256}', '"other"') where id = 'altered'`,
  );
  writeFileSync(path, 'the old file');
  await expect((await startTrainingSet(env, input)).result()).rejects.toMatchObject({
    cause: { cause: { type: 'FS_PARITY', details: [{ before: 'other', now: sha256 }] } },
  });
  expect(readFileSync(path, 'utf8')).toBe('the old file');
});

test('no rows: a file of no rows, with every column', async () => {
  for (const output of ['arrow', 'parquet'] as const) {
    const result = await (
      await startTrainingSet(env, { csv: toCsv([]), service: 'everything', output })
    ).result();
    const table = await readOutput(result.file);
    expect([result.rows, table.numRows, table.schema.fields.length]).toEqual([0, 0, 7 + features.length]);
  }
});

test('lineage is one chain from where data comes in to model and training set, both ways', async () => {
  const { pool } = env.deps;
  const reads = { services: ['everything'] };
  await registerModel(pool, { name: 'ranking', owner: 'shop', description: '', reads, by: 'test' });
  const input = { csv: toCsv(makeLabels(events, 5, 5, end)), service: 'everything' };
  const { id } = await (await startTrainingSet(env, input)).result();
  const chains: Node[][] = [
    ['source visits', 'column visits.cents', 'feature user_hourly:cents_1d'],
    ['source visits', 'view user_now', 'feature user_now:cart'],
    ['source visits', 'view user_hourly', 'feature user_hourly:last_at', 'feature basket:basket_ms_since'],
    ['request request.basket_cents', 'feature basket:basket_to_day'],
    ['table ranks', 'view user_rank', 'feature user_rank:rank_place'],
  ].map((chain) =>
    [...chain, 'service everything'].map((label): Node => {
      const [kind, ...name] = label.split(' ');
      return { kind: kind as LineageKind, name: name.join(' ') };
    }),
  );
  const ends: Node[] = [
    { kind: 'model', name: 'ranking' },
    { kind: 'trainingSet', name: id },
  ];
  for (const chain of chains)
    for (const end of ends) {
      const whole = [...chain, end];
      const steps = whole.slice(1).map((to, i) => expect.objectContaining({ from: whole[i]!, to }));
      const { edges: down } = await readLineage(pool, whole[0]!, 'down');
      const { edges: up } = await readLineage(pool, end, 'up');
      expect(down).toEqual(expect.arrayContaining(steps));
      expect(up).toEqual(expect.arrayContaining(steps));
    }
  const { edges } = await readLineage(pool, ends[1]!, 'up');
  expect(edges).toContainEqual({
    from: { kind: 'feature', name: 'user_now:cart' },
    to: ends[1],
    versions: [1],
  });
  await pinModel(pool, {
    model: 'ranking',
    move: { lock: await getLock(pool, 'ranking', 'live'), share: 1, trainedOn: [id] },
    seen: null,
    by: 'test',
  });
  const { edges: learned } = await readLineage(pool, ends[0]!, 'up');
  expect(learned).toContainEqual({ from: ends[1], to: ends[0], versions: [] });
  expect(learned).toContainEqual({
    from: { kind: 'feature', name: 'user_now:cart' },
    to: ends[0],
    versions: [1],
  });
});

test('nothing is left in the files directory but the files', () => {
  const left = readdirSync(env.config.filesDir).filter((name) => /work|tmp/.test(name));
  expect(left).toEqual([]);
  expect(existsSync(env.config.filesDir)).toBe(true);
});
