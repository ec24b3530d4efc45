/**
 * A whole registry as files, and back (core/bundle.ts): what is applied, every revision and version, models and their locks, and the
 * audit. No data, no run, no generation: a restored registry is another one, that says the same.
 */
import { createHash } from 'node:crypto';
import { createReadStream } from 'node:fs';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { Readable } from 'node:stream';
import pg from 'pg';
import { z } from 'zod';
import {
  assertFiles,
  bundleLine,
  fileName,
  fileText,
  LAYOUT,
  lineText,
  MANIFEST,
  type Manifest,
  readBundleLine,
  readManifest,
} from '../core/bundle.js';
import { Definitions, Entity, Source, View } from '../core/definition.js';
import { FeatureStoreError } from '../core/error.js';
import { hashDefinitions } from '../core/plan.js';
import { writeCatalog } from './catalog.js';
import { assertFile, spoolFile } from './files.js';
import { lockDefinitions, turnOn } from './online.js';
import { EVERY, findRevision, listVersions, MAINTAINED } from './resolve.js';
import { type Pool, type PoolClient, quote, transaction } from './sql.js';
import { createArchive, createKeyIndex, createRows } from './tables.js';

type Row = Record<string, unknown>;

interface Table {
  name: string;
  folder: string;
  /** Rows as `row`, in the order of their files. */
  sql: string;
  /** Of the file that a row is in; rows that share one are its lines. */
  fileOf: (row: Row) => string;
  /** The column that Postgres numbers rows by. */
  numberedBy?: string;
  /** Of a row's JSON, which Postgres takes as it is. */
  shape?: z.ZodType;
}

/** In the order in which they are restored. */
const TABLES: readonly Table[] = [
  {
    name: 'view_version',
    folder: 'versions',
    // One that an open plan has begun is as if the plan were given up: what it has filled by now is not part of an export. What is
    // in Redis is that of another: who reads a version follows from the definitions.
    sql: `select to_jsonb(v) - array['online', 'in_redis'] || case when begun.before is null then '{}' else jsonb_build_object('state', begun.before, 'definition', coalesce(begun.definition, v.definition)) end as row
            from view_version v
            left join lateral (
              select coalesce(one ->> 'before', 'abandoned') as before, nullif(one -> 'definition', 'null') as definition
                from plan, jsonb_array_elements(plan.opened) as one
               where plan.state = 'open' and (one ->> 'versionId')::integer = v.id
            ) begun on true
           order by view collate "C", version`,
    fileOf: ({ view, version }) => `${fileName(String(view))}@${String(version)}.json`,
    numberedBy: 'id',
    shape: z.looseObject({ definition: View, source: Source.nullable(), entity: Entity.nullable() }),
  },
  {
    name: 'model',
    folder: 'models',
    sql: 'select to_jsonb(m) as row from model m order by name collate "C"',
    fileOf: ({ name }) => `${fileName(String(name))}.json`,
  },
  {
    name: 'model_lock',
    folder: 'locks',
    sql: 'select to_jsonb(l) as row from model_lock l order by model collate "C", number',
    fileOf: ({ model, number }) => `${fileName(String(model))}@${String(number)}.json`,
  },
  {
    name: 'revision',
    folder: 'revisions',
    sql: `select to_jsonb(r) - case when revision = max(revision) over () then 'definitions' else '' end as row
            from revision r order by revision`,
    fileOf: ({ revision }) => `${String(revision)}.json`,
  },
  {
    name: 'audit',
    folder: 'audit',
    sql: 'select to_jsonb(a) as row from audit a order by id',
    fileOf: ({ id }) => `${Math.floor(Number(id) / 1000)}.jsonl`,
    numberedBy: 'id',
  },
];

const SECTIONS = ['entities', 'sources', 'views', 'services'] as const;
const EMPTY: Definitions = { entities: [], sources: [], views: [], services: [] };

// ---------------------------------------------------------------- out

/** Of one instant. The stream is a file that is gone when it was read. */
export function exportRegistry(pool: Pool, directory: string): Promise<{ bytes: number; stream: Readable }> {
  return transaction(
    pool,
    (client) => spoolFile(directory, Readable.from(bundleOf(client))),
    'repeatable read',
  );
}

async function* bundleOf(client: PoolClient): AsyncGenerator<Buffer> {
  const sums: Record<string, string> = {};
  for await (const [path, text] of filesOf(client)) {
    sums[path] = sumOf(text);
    yield Buffer.from(bundleLine(path, text));
  }
  const manifest: Manifest = { layout: LAYOUT, migrations: await migrationsOf(client), files: sums };
  yield Buffer.from(bundleLine(MANIFEST, fileText(manifest)));
}

async function* filesOf(client: PoolClient): AsyncGenerator<[path: string, text: string]> {
  const { entities, sources, views, services, ...project } =
    (await findRevision(client))?.definitions ?? EMPTY;
  yield ['project.json', fileText(project)];
  for (const [section, items] of Object.entries({ entities, sources, views, services }))
    for (const item of items) yield [`${section}/${fileName(item.name)}.json`, fileText(item)];
  for (const table of TABLES) {
    let lines: [path: string, text: string] | null = null;
    for await (const row of rowsOf(client, table)) {
      const path = `${table.folder}/${table.fileOf(row)}`;
      if (!path.endsWith('.jsonl')) yield [path, fileText(row)];
      else if (lines?.[0] === path) lines[1] += lineText(row);
      else {
        if (lines) yield lines;
        lines = [path, lineText(row)];
      }
    }
    if (lines) yield lines;
  }
}

/** A few at a time: a revision may be large. */
async function* rowsOf(client: PoolClient, { name, sql }: Table): AsyncGenerator<Row> {
  await client.query(`declare exported no scroll cursor for ${sql}`);
  for (;;) {
    const { rows } = await client.query<{ row: Row }>(`fetch ${name === 'revision' ? 1 : 100} from exported`);
    if (rows.length === 0) break;
    for (const { row } of rows) yield row;
  }
  await client.query('close exported');
}

async function migrationsOf(client: PoolClient): Promise<string[]> {
  const { rows } = await client.query<{ name: string }>('select name from migration order by name');
  return rows.map(({ name }) => name);
}

const sumOf = (text: string): string => createHash('sha256').update(text).digest('hex');

// ---------------------------------------------------------------- in

export const Restored = z.strictObject({ revision: z.number().int(), versions: z.number().int(), sources: z.number().int() }); // biome-ignore format: short

/**
 * What was exported, into an empty registry: versions keep their ids; archives and tables of rows are there, and empty.
 * @param file of the uploads: what exportRegistry gave
 * Throws FS_CONFLICT for a registry that is not empty, FS_DATA_INVALID for a file that is missing, changed, or of a newer version.
 */
export async function restoreRegistry(
  pool: Pool,
  directory: string,
  file: string,
): Promise<z.infer<typeof Restored>> {
  await assertFile(directory, file);
  const read = (): AsyncIterable<string> =>
    createInterface({ input: createReadStream(join(directory, file)), crlfDelay: Infinity });
  const { manifest, definitions } = await examine(read());
  return transaction(pool, async (client) => {
    await lockDefinitions(client);
    await assertEmpty(client);
    await assertKnown(client, manifest);
    for (const table of TABLES) await restoreTable(client, table, read(), definitions);
    const revision = await findRevision(client);
    if (revision && hashDefinitions(revision.definitions) !== revision.definitionsHash)
      throw new FeatureStoreError('FS_DATA_INVALID', 'the definitions are not those of the newest revision', {
        fix: 'give the files as they were exported',
      });
    const versions = await createTables(client, revision?.definitions ?? EMPTY);
    return {
      revision: revision?.revision ?? 0,
      versions,
      sources: revision?.definitions.sources.length ?? 0,
    };
  });
}

/** All of it is there and as it was; gives what is applied. */
async function examine(
  lines: AsyncIterable<string>,
): Promise<{ manifest: Manifest; definitions: Definitions }> {
  const sums = new Map<string, string>();
  const items: Record<string, unknown[]> = Object.fromEntries(SECTIONS.map((section) => [section, []]));
  let manifest: string | undefined;
  let project: object = {};
  for await (const line of lines) {
    const { path, text } = readBundleLine(line);
    sums.set(path, sumOf(text));
    const [folder, name] = path.split('/');
    if (path === MANIFEST) manifest = text;
    else if (path === 'project.json') project = parsed(path, text) as object;
    else if (name !== undefined && Object.hasOwn(items, folder!)) items[folder!]!.push(parsed(path, text));
  }
  const read = readManifest(manifest);
  assertFiles(read, sums);
  return { manifest: read, definitions: checked('project.json', Definitions, { ...project, ...items }) };
}

async function assertEmpty(client: PoolClient): Promise<void> {
  const { rows } = await client.query<{ environment: string; used: boolean }>(
    `select current_schema() as environment,
            exists (select from audit) or exists (select from view_version) or exists (select from revision)
              or exists (select from model) as used`,
  );
  const { environment, used } = rows[0]!;
  if (used)
    throw new FeatureStoreError('FS_CONFLICT', `the registry of environment "${environment}" is not empty`, {
      fix: 'restore into a new environment: ALMANAC_ENVIRONMENT',
      environment,
    });
}

async function assertKnown(client: PoolClient, { migrations }: Manifest): Promise<void> {
  const known = new Set(await migrationsOf(client));
  const unknown = migrations.filter((name) => !known.has(name));
  if (unknown.length > 0)
    throw new FeatureStoreError(
      'FS_DATA_INVALID',
      `${MANIFEST} is of a newer version: it has ${unknown.join(', ')}`,
      { fix: 'use the newer version', file: MANIFEST, migrations: unknown },
    );
}

async function restoreTable(
  client: PoolClient,
  { name, folder, numberedBy, shape = z.looseObject({}) }: Table,
  lines: AsyncIterable<string>,
  definitions: Definitions,
): Promise<void> {
  for await (const line of lines) {
    if (!line.startsWith(`["${folder}/`)) continue;
    const { path, text } = readBundleLine(line);
    const rows = path.endsWith('.jsonl') ? text.trimEnd().split('\n') : [text];
    for (const each of rows) {
      const row = checked(path, shape, parsed(path, each)) as Row;
      await insert(client, name, path, name === 'revision' ? { definitions, ...row } : row);
    }
  }
  if (numberedBy !== undefined)
    await client.query(
      `select setval(pg_get_serial_sequence('${name}', '${numberedBy}'), max(${numberedBy})) from ${name} having count(*) > 0`,
    );
}

/** With the columns that the row has: those that came later have their defaults. */
async function insert(client: PoolClient, table: string, path: string, row: Row): Promise<void> {
  const columns = Object.keys(row).map(quote).join();
  try {
    await client.query(
      `insert into ${table} (${columns}) overriding system value
       select ${columns} from jsonb_populate_record(null::${table}, $1)`,
      [JSON.stringify(row)],
    );
  } catch (error) {
    // Of a row that no export has written.
    if (error instanceof pg.DatabaseError && /^2[23]|^42/.test(error.code ?? ''))
      throw noRow(path, error.message);
    throw error;
  }
}

/** What grows with definitions, and what follows from them. Gives the number of versions. */
async function createTables(client: PoolClient, definitions: Definitions): Promise<number> {
  for (const source of definitions.sources) await createArchive(client, source);
  const versions = await listVersions(client, EVERY);
  const kept = versions.filter(({ state }) => state !== 'abandoned');
  for (const { id, state, ...each } of versions) {
    if (each.kind === 'onDemand' || state === 'retired' || state === 'abandoned') continue;
    await createRows(client, id, each.view, each.entity);
  }
  await turnOn(client, { plan: { changes: [] }, definitions });
  for (const each of await listVersions(client, MAINTAINED))
    if (each.kind === 'aggregation') await createKeyIndex(client, each.source, each.entity, each.view.key);
  await writeCatalog(client, definitions, kept);
  return versions.length;
}

function parsed(path: string, text: string): unknown {
  try {
    return JSON.parse(text);
  } catch (error) {
    throw noRow(path, error instanceof Error ? error.message : String(error));
  }
}

function checked<T>(path: string, schema: z.ZodType<T>, value: unknown): T {
  const { success, data, error } = schema.safeParse(value);
  if (success) return data;
  throw noRow(path, z.prettifyError(error));
}

function noRow(path: string, why: string): FeatureStoreError {
  return new FeatureStoreError('FS_DATA_INVALID', `${path} is no file of an export: ${why}`, {
    fix: 'give the files as they were exported',
    file: path,
  });
}
