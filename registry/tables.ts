/**
 * The tables that grow with definitions: archive_<source>, rows_<version id>, and the indexes by entity key. Every function may run
 * any number of times. They run inside the caller's transaction, under its lock on definitions.
 */
import { createHash } from 'node:crypto';
import type { AggregationView, Entity, Source, View } from '../core/definition.js';
import { FeatureStoreError } from '../core/error.js';
import { columnNames } from '../core/event.js';
import {
  ARCHIVE_TYPE,
  archiveColumn,
  keyHashSql,
  type Pool,
  type PoolClient,
  quote,
  ROW_TYPE,
} from './sql.js';

/** The archive of a source, quoted. */
export const archiveTable = (source: string): string => quote(`archive_${source}`);
/** The rows of a view version, quoted. */
export const rowsTable = (versionId: number): string => quote(`rows_${versionId}`);

/** Columns of rows tables that are the platform's; no join key and no feature may have their names. */
export const ROW_COLUMNS = [
  'key',
  'key_hash',
  'tick_ms',
  'tick',
  'committed_ms',
  'event_timestamp',
  'event_ms',
  'record',
] as const;

// Building an index on a grown archive takes longer than any other statement of the registry.
const DDL_MS = 600_000;

/**
 * The archive of a source: made, or given the columns it lacks. A column that changed its type is made again while the archive is
 * empty, else FS_CONFLICT. Columns that left the source stay.
 */
export async function createArchive(client: PoolClient, source: Source): Promise<void> {
  const table = archiveTable(source.name);
  await ddl(
    client,
    `create table if not exists ${table} (
      partition integer not null,            -- an import: -import.id
      "offset" bigint not null,
      sequence bigint not null,              -- of the transaction that archived it
      event_ms bigint not null,
      arrived_ms bigint not null check (arrived_ms >= event_ms),
      arrival_assumed boolean not null,
      ordinal bigint not null,               -- the declared sequence column, else 0
      event_id text not null,                -- the declared id, else partition and offset as fixed-width text
      primary key (partition, "offset")
    )`,
  );
  const found = await archiveColumnTypes(client, source.name);
  const wrong = columnNames(source).filter((name) => {
    const type = found.get(name);
    return type !== undefined && type !== archiveType(source.columns[name]!);
  });
  if (wrong.length > 0) {
    await client.query(`lock table ${table} in access exclusive mode`);
    const { rowCount } = await client.query(`select 1 from ${table} limit 1`);
    if (rowCount !== 0) throw typeConflict(source, wrong[0]!, found);
    for (const name of wrong) await client.query(`alter table ${table} drop column ${archiveColumn(name)}`);
  }
  const missing = columnNames(source).filter((name) => !found.has(name) || wrong.includes(name));
  if (missing.length > 0)
    await client.query(
      `alter table ${table} ${missing
        .map((name) => `add column ${archiveColumn(name)} ${columnSql(name, source.columns[name]!)}`)
        .join(', ')}`,
    );
  // Rows come in order of sequence, and nearly so of arrival: what arrived since a tick is found by a few block ranges.
  await createIndex(
    client,
    `archive_range_${hash(source.name)}`,
    `${table} using brin (sequence, arrived_ms, event_ms)`,
  );
  if (source.id !== null) await createIndex(client, `archive_id_${hash(source.name)}`, `${table} (event_id)`);
}

/** The index that finds an entity's events; views with the same key columns share it. */
export async function createKeyIndex(
  client: PoolClient,
  source: Source,
  entity: Entity,
  key: AggregationView['key'],
): Promise<void> {
  const expression = keyHashSql(entity, key);
  await createIndex(
    client,
    `archive_key_${hash(source.name, expression)}`,
    `${archiveTable(source.name)} ((${expression}))`,
  );
}

/** The rows of a version, typed for people. The tick as timestamptz is derived; every other column is written. */
export async function createRows(
  client: PoolClient,
  versionId: number,
  view: View,
  entity: Entity,
): Promise<void> {
  const columns = [
    ...entity.keys.map((key) => `${quote(key.name)} ${ROW_TYPE[key.type]} not null`),
    'key bytea not null',
    'key_hash bigint not null',
    'tick_ms bigint not null',
    'tick timestamptz not null generated always as (to_timestamp(tick_ms::double precision / 1000)) stored',
    'committed_ms bigint not null',
    'event_timestamp timestamptz', // null, like event_ms: the entity has no events left
    'event_ms bigint',
    ...view.features.map((feature) => `${quote(feature.name)} ${ROW_TYPE[feature.type]}`),
    'record bytea', // canonical state of aggregation views
    'primary key (key, tick_ms)',
  ];
  await ddl(client, `create table if not exists ${rowsTable(versionId)} (${columns.join(', ')})`);
  await createIndex(client, `rows_${versionId}_tick`, `${rowsTable(versionId)} using brin (tick_ms)`);
}

export async function dropRows(client: PoolClient, versionId: number): Promise<void> {
  await ddl(client, `drop table if exists ${rowsTable(versionId)}`);
}

/** Where the archive as it stands contradicts a source: the names of columns with another type and events under them. */
export async function findArchiveConflicts(
  client: Pool | PoolClient,
  source: Source,
): Promise<FeatureStoreError[]> {
  const found = await archiveColumnTypes(client, source.name);
  const wrong = columnNames(source).filter((name) => {
    const type = found.get(name);
    return type !== undefined && type !== archiveType(source.columns[name]!);
  });
  if (wrong.length === 0) return [];
  const { rowCount } = await client.query(`select 1 from ${archiveTable(source.name)} limit 1`);
  return rowCount === 0 ? [] : wrong.map((name) => typeConflict(source, name, found));
}

type Column = Source['columns'][string];

/** Of a vector with its length, which Postgres' own types do not keep: a constraint does. */
function archiveType({ type, length }: Column): string {
  return length === undefined ? ARCHIVE_TYPE[type] : `double precision[${length}]`;
}

function columnSql(name: string, column: Column): string {
  const { length } = column;
  return length === undefined
    ? archiveType(column)
    : `${archiveType(column)} check (cardinality(${archiveColumn(name)}) = ${length})`;
}

function typeConflict(source: Source, column: string, found: ReadonlyMap<string, string>): FeatureStoreError {
  const { type: plain, length } = source.columns[column]!;
  const type = length === undefined ? plain : `vector(${length})`;
  return new FeatureStoreError(
    'FS_CONFLICT',
    `source "${source.name}" declares column "${column}" as ${type}; its archived events hold ${found.get(column)}`,
    {
      fix: `restore the type, or declare a new column for the ${type}`,
      source: source.name,
      path: `columns.${column}.type`,
    },
  );
}

async function archiveColumnTypes(client: Pool | PoolClient, source: string): Promise<Map<string, string>> {
  const { rows } = await client.query<{ name: string; type: string; length: string | null }>(
    `select substr(attname, 3) as name, format_type(atttypid, atttypmod) as type,
            (select substring(pg_get_constraintdef(oid) from 'cardinality\\(.*\\) = (\\d+)') from pg_constraint
              where conrelid = attrelid and contype = 'c' and conkey = array[attnum]) as length
       from pg_attribute
      where attrelid = to_regclass($1) and attnum > 0 and not attisdropped and attname like 'c\\_%'`,
    [archiveTable(source)],
  );
  return new Map(
    rows.map(({ name, type, length }) => [name, length === null ? type : type.replace('[]', `[${length}]`)]),
  );
}

function createIndex(client: PoolClient, name: string, on: string): Promise<void> {
  return ddl(client, `create index if not exists ${quote(name)} on ${on}`);
}

async function ddl(client: PoolClient, text: string): Promise<void> {
  await client.query(`set local statement_timeout = ${DDL_MS}`);
  await client.query({ text, query_timeout: DDL_MS + 5_000 } as { text: string });
}

/** Index names are bounded; the table that an index is on says the rest. */
function hash(...parts: string[]): string {
  return createHash('sha256').update(JSON.stringify(parts)).digest('hex').slice(0, 16);
}
