import { createHash } from 'node:crypto';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Readable } from 'node:stream';
import { text } from 'node:stream/consumers';
import fc from 'fast-check';
import { afterAll, beforeEach, describe, expect, test } from 'vitest';
import { bundleLine, fileText, MANIFEST, type Manifest, readBundleLine } from '../../core/bundle.js';
import { assertDefinitions } from '../../core/check.js';
import type { AggregationView } from '../../core/definition.js';
import { abandonPlan, computePlan, openRevision, savePlan } from '../../registry/apply.js';
import { exportRegistry, restoreRegistry } from '../../registry/export.js';
import { keepFile } from '../../registry/files.js';
import { migrate } from '../../registry/migrate.js';
import { registerModel } from '../../registry/models.js';
import { compileServingPlan, findRevision } from '../../registry/resolve.js';
import type { Pool } from '../../registry/sql.js';
import { setWanted } from '../../registry/streams.js';
import { applyTo } from './apply.js';
import { createDatabase } from './database.js';
import { changed, definitions } from './definitions.js';
import { repository } from './model.js';

const [from, into] = [await createDatabase(), await createDatabase()];
const directory = await mkdtemp(join(tmpdir(), 'almanac-export-test-'));
afterAll(() => rm(directory, { recursive: true }));

const empty = async (): Promise<void> => {
  for (const { pool, environment } of [from, into]) {
    await pool.query(`drop schema ${environment} cascade`);
    await migrate(pool, environment);
  }
};
beforeEach(empty);

type Files = Record<string, string>;
const without =
  (...paths: string[]) =>
  (files: Files): Files =>
    Object.fromEntries(Object.entries(files).filter(([path]) => !paths.includes(path)));

async function exported(pool: Pool): Promise<Files> {
  const { bytes, stream } = await exportRegistry(pool, directory);
  const whole = await text(stream);
  expect(Buffer.byteLength(whole)).toBe(bytes);
  const lines = whole.trimEnd().split('\n').map(readBundleLine);
  return Object.fromEntries(lines.map(({ path, text: of }) => [path, of]));
}

async function restore(files: Files, pool = into.pool): Promise<unknown> {
  const lines = Object.entries(files).map(([path, of]) => bundleLine(path, of));
  const { sha256 } = await keepFile(directory, Readable.from(lines));
  return restoreRegistry(pool, directory, sha256);
}

/** What a reader can see, but for what tells two registries apart. */
async function seen(pool: Pool): Promise<unknown> {
  const revision = await findRevision(pool);
  const { rows: live } = await pool.query(
    `select to_jsonb(c) as row from feature_catalog c where state = 'live' order by view, feature`,
  );
  const { rows: lineage } = await pool.query('select to_jsonb(l) as row from lineage_now l order by row');
  const { rows: tables } = await pool.query(
    `select c.relname as name, array_agg(a.attname || ' ' || format_type(a.atttypid, a.atttypmod) order by a.attname) as columns
       from pg_class c join pg_attribute a on a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped
      where relnamespace = current_schema()::regnamespace and relkind = 'r' and relname ~ '^rows_' group by 1 order by 1`,
  );
  const serving = revision && { ...(await compileServingPlan(pool)), generation: null };
  return { revision, serving, live, lineage, tables };
}

const second = changed((all) => {
  (all.views[0] as AggregationView).minEvents = 2;
  all.project = 'shop';
  all.policy = { ttl: 'warning' };
  all.owners = [{ name: 'data@shop.example', contact: '#data “quoted”\u2028' }];
});

test('a registry as files: what is applied, versions, revisions, audit', async () => {
  await applyTo(from.pool, definitions());
  const reads = { services: ['checkout'] };
  await registerModel(from.pool, { name: 'ranking', owner: 'ann', description: 'ranks', reads, by: 'ann' });
  await applyTo(from.pool, second);
  const files = await exported(from.pool);
  expect(Object.keys(files)).toEqual([
    'project.json',
    'entities/user.json',
    'sources/orders.json',
    'views/user_now.json',
    'views/user_orders.json',
    'views/user_rank.json',
    'services/checkout.json',
    'versions/user_now@1.json',
    'versions/user_orders@1.json',
    'versions/user_orders@2.json',
    'versions/user_rank@1.json',
    'models/ranking.json',
    'locks/ranking@1.json',
    'revisions/1.json',
    'revisions/2.json',
    'audit/0.jsonl',
    'manifest.json',
  ]);
  expect(JSON.parse(files['project.json']!)).toEqual({
    project: 'shop',
    policy: { ttl: 'warning' },
    owners: second.owners,
  });
  expect(JSON.parse(files['versions/user_orders@1.json']!)).toMatchObject({
    state: 'deprecated',
    version: 1,
  });
  expect(JSON.parse(files['revisions/1.json']!)).toHaveProperty('definitions.services');
  expect(JSON.parse(files['revisions/2.json']!)).not.toHaveProperty('definitions');
  const lines = files['audit/0.jsonl']!.trimEnd().split('\n');
  expect(lines.map((line) => (JSON.parse(line) as { id: number }).id)).toEqual(
    lines.map((_, index) => index + 1),
  );
  expect(await restore(files)).toEqual({ revision: 2, versions: 4, sources: 1 });
  expect(await exported(into.pool)).toEqual(files);
  expect(await seen(into.pool)).toEqual(await seen(from.pool));
});

test('an empty registry, too', async () => {
  const files = await exported(from.pool);
  expect(Object.keys(files)).toEqual(['project.json', 'manifest.json']);
  expect(await restore(files)).toEqual({ revision: 0, versions: 0, sources: 0 });
  expect(await exported(into.pool)).toEqual(files);
});

test('whatever was applied, one after another: equal files, and equal for readers', async () => {
  const property = fc.asyncProperty(fc.array(repository, { minLength: 1, maxLength: 4 }), async (steps) => {
    await empty();
    for (const step of steps) await applyTo(from.pool, step).catch(refused);
    const files = await exported(from.pool);
    await restore(files);
    expect(await exported(into.pool)).toEqual(files);
    expect(await seen(into.pool)).toEqual(await seen(from.pool));
  });
  await fc.assert(property, { numRuns: Number(process.env.ALMANAC_TEST_RUNS ?? 15) });
});

/** Some steps remove what others use. */
function refused(error: unknown): void {
  expect(error).toMatchObject({ code: 'FS_DEFINITION_INVALID' });
}

test('what is restored goes on as any registry does', async () => {
  await applyTo(from.pool, definitions());
  await setWanted(from.pool, 'orders', 'pause', 'ann');
  await restore(await exported(from.pool));
  for (const { pool } of [from, into]) await applyTo(pool, second);
  const versions = (pool: Pool): Promise<unknown> =>
    pool.query('select id, view, version, state from view_version order by id').then(({ rows }) => rows);
  expect(await versions(into.pool)).toEqual(await versions(from.pool));
  const ids = await into.pool.query<{ id: number }>('select id from audit order by id');
  expect(ids.rows.map(({ id }) => id)).toEqual(ids.rows.map((_, index) => index + 1));
  expect((await into.pool.query('select from archive_orders')).rowCount).toBe(0);
});

test('what an open plan has begun is as if it were given up', async () => {
  await applyTo(from.pool, definitions());
  await applyTo(from.pool, second);
  const first = { ...definitions(), project: 'shop' };
  first.views[0]!.description = 'said otherwise by now';
  const plan = await computePlan(from.pool, first); // takes v1 up again
  await savePlan(from.pool, plan, assertDefinitions(first));
  await openRevision(from.pool, plan.hash);
  const open = await exported(from.pool);
  await abandonPlan(from.pool, plan.hash);
  const given = await exported(from.pool);
  const but = without(MANIFEST, 'audit/0.jsonl');
  expect(but(open)).toEqual(but(given));
});

describe('refused, and nothing is changed:', () => {
  let files: Files = {};
  beforeEach(async () => {
    await applyTo(from.pool, definitions());
    files = await exported(from.pool);
  });
  const nothing = async (): Promise<void> => {
    expect((await into.pool.query('select from view_version')).rowCount).toBe(0);
    expect((await into.pool.query('select from audit')).rowCount).toBe(0);
  };
  /** As somebody would who knows what a manifest is. */
  const forged = (change: Files): Files => {
    const next = { ...files, ...change };
    const manifest = JSON.parse(next[MANIFEST]!) as Manifest;
    for (const [path, of] of Object.entries(change))
      if (path !== MANIFEST) manifest.files[path] = createHash('sha256').update(of).digest('hex');
    return { ...next, [MANIFEST]: fileText(manifest) };
  };

  test('a registry that is not empty', async () => {
    await expect(restore(files, from.pool)).rejects.toMatchObject({
      code: 'FS_CONFLICT',
      message: `the registry of environment "${from.environment}" is not empty`,
    });
  });

  test.each<[string, (files: Files) => Files, string]>([
    ['a file that is missing', without('views/user_now.json'), 'views/user_now.json is missing'],
    ['a file that was changed', (all) => ({ ...all, 'entities/user.json': all['entities/user.json']!.replace('tests', 'fun') }), 'entities/user.json was changed'],
    ['a file more', (all) => ({ ...all, 'entities/shop.json': '{}\n' }), 'entities/shop.json is not in the manifest'],
    ['no manifest', without(MANIFEST), 'manifest.json is missing'],
    ['a newer layout', (all) => ({ ...all, [MANIFEST]: all[MANIFEST]!.replace('"layout": 1', '"layout": 2') }), 'manifest.json is of layout 2'],
    ['a newer schema', (all) => ({ ...all, [MANIFEST]: all[MANIFEST]!.replace('0001_platform', '9999_future') }), 'it has 9999_future.sql'],
    ['what is no export', () => ({ 'x.json': '' }), 'manifest.json is missing'],
  ])('%s', async (_, change, said) => {
    await expect(restore(change(files))).rejects.toMatchObject({
      code: 'FS_DATA_INVALID',
      message: expect.stringContaining(said),
    });
    await nothing();
  }); // biome-ignore format: a table

  test.each<[string, Files, string]>([
    ['other definitions', { 'entities/user.json': '{"name":"user","description":"d","owner":"o","tags":[],"keys":[{"name":"user_id","type":"string"}]}' }, 'not those of the newest revision'],
    ['no JSON', { 'versions/user_now@1.json': '{' }, 'versions/user_now@1.json is no file of an export'],
    ['a row of no table', { 'versions/user_now@1.json': '{"id":1,"x\\"":2}' }, 'versions/user_now@1.json is no file of an export'],
    ['a version that is none', { 'versions/user_now@1.json': '{"id":1,"view":"v","version":1,"hash":"h","kind":"sql","definition":{},"state":"live"}' }, 'versions/'],
    ['an entity that is none', { 'entities/user.json': '7' }, 'project.json is no file of an export'],
  ])('with a manifest that fits, %s', async (_, change, said) => {
    await expect(restore(forged(change))).rejects.toMatchObject({
      code: 'FS_DATA_INVALID',
      message: expect.stringContaining(said),
    });
    await nothing();
  }); // biome-ignore format: a table
});
