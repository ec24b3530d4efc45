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
import type pg from 'pg';
import { to as copyTo } from 'pg-copy-streams';
import type { Environment } from '../../core/config.js';
import type { ColumnType, Source } from '../../core/definition.js';
import { FeatureStoreError } from '../../core/error.js';
import { columnNames } from '../../core/event.js';
import { authorClient, qualified, readTable, tableMisfits } from '../../registry/author-database.js';
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
  const client = authorClient(connection, env, { application_name: 'almanac import' });
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

async function exportQuery(client: pg.Client, source: Source, table: string): Promise<string> {
  const found = await readTable(client, table);
  const misfit =
    found === null
      ? { message: `there is no table ${table}`, fix: `correct the table of source "${source.name}"` }
      : tableMisfits(source, table, found)[0];
  if (found === null || misfit) {
    const { message, fix, ...where } = misfit!;
    throw new FeatureStoreError('FS_DATA_INVALID', message, {
      fix,
      source: source.name,
      table,
      ...('column' in where && { column: where.column }),
    });
  }
  const columns = columnNames(source)
    .filter((name) => found.has(name))
    .map((name) => `${cellSql(name, source.columns[name]!.type)} as ${quote(name)}`);
  const first = source.arrival ?? source.eventTime;
  const order = [quote(first), ...columns.map((_, i) => String(i + 1))].join(', ');
  return `copy (select ${columns.join(', ')} from ${qualified(table)} order by ${order}) to stdout (format csv, header)`;
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
