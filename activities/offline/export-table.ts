/**
 * A source's Postgres table as a CSV file among the uploaded ones: one statement, so one consistent snapshot. Rows come in a fixed
 * order, so that an unchanged table gives the same file and is recognised as imported. Reads the table; never writes to its database.
 */
import { createHash, randomUUID } from 'node:crypto';
import { createWriteStream } from 'node:fs';
import { mkdir, rename, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { Transform } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import pg from 'pg';
import { to as copyTo } from 'pg-copy-streams';
import type { Environment } from '../../core/config.js';
import type { ColumnType, Source } from '../../core/definition.js';
import { FeatureStoreError } from '../../core/error.js';
import { columnNames } from '../../core/event.js';
import { quote, translate } from '../../registry/sql.js';

const EXPORT_MS = 6 * 3_600_000;

/** @returns the name of the file in `filesDir`. `onChunk` hears of every piece written. */
export async function exportTable(
  source: Source,
  env: Environment,
  filesDir: string,
  onChunk: () => void,
  signal?: AbortSignal,
): Promise<{ sha256: string; bytes: number }> {
  if (source.input.type !== 'table') throw new Error(`source ${source.name} is no table`);
  const { connection, table } = source.input;
  const client = new pg.Client({
    connectionString: connectionUrl(connection, env),
    application_name: 'almanac import',
    connectionTimeoutMillis: 10_000,
    options: '-c TimeZone=UTC -c DateStyle=ISO -c extra_float_digits=1 -c default_transaction_read_only=on',
    keepAlive: true,
  });
  client.on('error', () => {}); // of a connection in use: its query is refused and says so
  try {
    await client.connect();
    const query = await exportQuery(client, source, table);
    return await writeFile(client, query, filesDir, onChunk, signal);
  } catch (error) {
    throw translate(error);
  } finally {
    await client.end().catch(() => {}); // closing what is gone
  }
}

/** The URL behind `env:NAME`. Throws FS_CONFIG_MISSING. */
export function connectionUrl(connection: string, env: Environment): string {
  const variable = connection.slice('env:'.length);
  const url = env[variable];
  if (url) return url;
  throw new FeatureStoreError(
    'FS_CONFIG_MISSING',
    `the environment variable ${variable} is not set in the workers`,
    {
      fix: `start the workers with ${variable} holding the URL of the source's database`,
      variable,
    },
  );
}

const FITS: Record<ColumnType, ReadonlySet<string>> = {
  string: new Set(['text', 'varchar', 'bpchar', 'uuid', 'citext', 'name']),
  int64: new Set(['int2', 'int4', 'int8']),
  float64: new Set(['float4', 'float8', 'int2', 'int4', 'int8', 'numeric']),
  bool: new Set(['bool']),
  timestamp: new Set(['timestamptz']),
  'list<string>': new Set(['_text', '_varchar', '_bpchar', '_uuid', '_citext', '_name']),
  'list<int64>': new Set(['_int2', '_int4', '_int8']),
  'list<float64>': new Set(['_float4', '_float8', '_int2', '_int4', '_int8', '_numeric']),
};

async function exportQuery(client: pg.Client, source: Source, table: string): Promise<string> {
  const found = await client.query<{ name: string; type: string; isEnum: boolean }>({
    text: `select attname as name, typname as type, typtype = 'e' as "isEnum"
             from pg_attribute join pg_type on pg_type.oid = atttypid
            where attrelid = to_regclass($1) and attnum > 0 and not attisdropped`,
    values: [qualified(table)],
    ...({ query_timeout: 30_000 } as object),
  });
  const refuse = (what: string, fix: string, column?: string): never => {
    throw new FeatureStoreError('FS_DATA_INVALID', what, {
      fix,
      source: source.name,
      table,
      ...(column !== undefined && { column }),
    });
  };
  if (found.rows.length === 0)
    refuse(`there is no table ${table}`, `correct the table of source "${source.name}"`);
  const types = new Map(found.rows.map((row) => [row.name, row]));
  const columns: string[] = [];
  for (const name of columnNames(source)) {
    const { type, nullable } = source.columns[name]!;
    const there = types.get(name);
    if (there === undefined) {
      if (nullable) continue;
      refuse(`table ${table} has no column "${name}"`, 'add it, or declare it nullable', name);
    } else if (FITS[type].has(there.type) || (type === 'string' && there.isEnum))
      columns.push(`${cellSql(name, type)} as ${quote(name)}`);
    else
      refuse(
        `column "${name}" of table ${table} is ${there.type === 'timestamp' ? 'a timestamp without time zone' : there.type}; the source declares ${type}`,
        there.type === 'timestamp'
          ? `make it timestamptz, or read a view that casts it: "${name}" at time zone 'UTC'`
          : 'correct the declared type, or read a view that casts it',
        name,
      );
  }
  const first = source.arrival ?? source.eventTime;
  const order = [quote(first), ...columns.map((_, i) => String(i + 1))].join(', ');
  return `copy (select ${columns.join(', ')} from ${qualified(table)} order by ${order}) to stdout (format csv, header)`;
}

/** `schema.table`, each part quoted. A dot inside a name cannot be said. */
function qualified(table: string): string {
  return table.split('.').map(quote).join('.');
}

/** Texts as core/ingest.ts reads them. A timestamp no RFC 3339 text can say keeps Postgres' own, and its row is set aside. */
function cellSql(name: string, type: ColumnType): string {
  const column = quote(name);
  if (type === 'timestamp')
    return `case when ${column} >= '0001-01-01' and ${column} < '10000-01-01'
      then to_char(${column} at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"') else ${column}::text end`;
  if (type === 'float64') return `${column}::double precision`;
  if (type === 'list<float64>') return `to_json(${column}::double precision[])::text`;
  if (type.startsWith('list')) return `to_json(${column})::text`;
  return type === 'bool' ? `${column}::text` : column;
}

async function writeFile(
  client: pg.Client,
  query: string,
  filesDir: string,
  onChunk: () => void,
  signal: AbortSignal | undefined,
): Promise<{ sha256: string; bytes: number }> {
  await mkdir(filesDir, { recursive: true });
  const temporary = join(filesDir, `.export-${randomUUID()}`);
  const hash = createHash('sha256');
  let bytes = 0;
  const count = new Transform({
    transform(chunk: Buffer, _encoding, done) {
      hash.update(chunk);
      bytes += chunk.length;
      onChunk();
      done(null, chunk);
    },
  });
  try {
    await client.query({
      text: `set statement_timeout = ${EXPORT_MS}`,
      ...({ query_timeout: 30_000 } as object),
    });
    const copy = copyTo(query);
    copy.query_timeout = EXPORT_MS;
    await pipeline(client.query(copy), count, createWriteStream(temporary), { ...(signal && { signal }) });
    const sha256 = hash.digest('hex');
    await rename(temporary, join(filesDir, sha256));
    return { sha256, bytes };
  } finally {
    await rm(temporary, { force: true });
  }
}
