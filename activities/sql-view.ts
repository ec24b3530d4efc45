/**
 * A tick of a sql view: its query, run read-only where its tables are, every column checked against the definition, and what
 * changed since each entity's last row written as rows and records. A tick whose rows are there, or that is published, is not asked again: a
 * snapshot table would answer something else.
 */
import { cancellationSignal } from '@temporalio/activity';
import pg from 'pg';
import { encodeKey, onlineKey } from '../core/codec/key.js';
import type { Environment } from '../core/config.js';
import type { ColumnType, Entity, ScalarType, SqlView } from '../core/definition.js';
import { FeatureStoreError } from '../core/error.js';
import type { FeatureValue, List, Value } from '../core/event.js';
import { narrow } from '../core/int64.js';
import { encodeSqlRecord } from '../core/record.js';
import type { Tally } from '../core/tally.js';
import { formatTimestamp, parseTimestamp } from '../core/time.js';
import { answerColumns, answerMisfits, authorClient, declareAnswers } from '../registry/author-database.js';
import type { ViewVersion } from '../registry/resolve.js';
import { keyHashOf, type Pool, type PoolClient, transaction, translate } from '../registry/sql.js';
import { rowsTable } from '../registry/tables.js';
import type { Deps } from './deps.js';
import { beat } from './heartbeat.js';
import { CopyText } from './offline/copy.js';
import { insertChangedRows, readNewestRows, rowLines } from './offline/rows.js';
import { newestCompleteTick, readClock } from './offline/ticks.js';
import { type Counts, NO_COUNTS, nameOf, writeOnline } from './output.js';
import { blockedBy, findTickRows, type Judged, judgeTick, saveJudged, saveTickRows, tallyRows, tickWritten } from './statistics.js'; // biome-ignore format: one list

export type SqlVersion = Extract<ViewVersion, { kind: 'sql' }>;

// One tick's query; the view's own statement timeout. Beyond it the query is hopeless at any cadence worth having.
const QUERY_MS = 600_000;
const FETCH_ROWS = 5_000;

/**
 * Runs the view at a tick and writes what changed. Repeated, it writes the same. Throws FS_REQUEST_INVALID where a table without
 * history would answer for another tick: an attempt may come long after its tick was chosen.
 */
export async function writeSqlTick(
  deps: Deps,
  version: SqlVersion,
  tickMs: number,
): Promise<Judged & { counts: Counts }> {
  const counts = { ...NO_COUNTS };
  let judged: Judged | null = null;
  if (!(await isAnswered(deps.pool, version, tickMs))) {
    assertReadable(version, tickMs, newestCompleteTick(version, await readClock(deps.pool)));
    const rows = await collect(deps.env, version, tickMs, counts);
    const hashes = await hashKeys(deps.pool, version.entity, rows);
    const lines = new CopyText();
    for (const [index, { key, eventMs, values }] of rows.entries()) {
      const toLine = rowLines(version, { key, keyHash: hashes[index]! });
      lines.add(toLine({ tickMs, eventMs, values, record: null }));
    }
    try {
      judged = await transaction(deps.pool, async (client) => {
        await client.query(`set local statement_timeout = ${QUERY_MS}`);
        counts.rows = await insertChangedRows(client, version, lines);
        const newestMs = rows.reduce<number | null>((newest, { eventMs }) => Math.max(newest ?? eventMs, eventMs), null); // biome-ignore format: one thing
        const found = await judgeRows(client, version, tickMs, { rows: rows.length, newestMs });
        if (blockedBy(version, '', found.verdicts)) throw new Blocked(found);
        await saveJudged(client, tickWritten(version, tickMs), found);
        await saveTickRows(client, version, tickMs, rows.length);
        return found;
      });
    } catch (error) {
      if (!(error instanceof Blocked)) throw error;
      await saveJudged(deps.pool, tickWritten(version, tickMs), error.judged);
      throw blockedBy(version, `tick ${formatTimestamp(tickMs)}`, error.judged.verdicts);
    }
  }
  judged ??= await transaction(deps.pool, async (client) =>
    judgeRows(client, version, tickMs, await findAnswer(client, version, tickMs)),
  );
  counts.records = await writeSqlRecords(deps, version, { tickMs });
  return { ...judged, counts };
}

/** Takes the tick's rows back. */
class Blocked extends Error {
  constructor(readonly judged: Judged) {
    super('an expectation blocks');
  }
}

/** By the rows that changed; how many there are, and how old, by all that the query gave. */
async function judgeRows(
  client: PoolClient,
  version: SqlVersion,
  tickMs: number,
  answered: Pick<Tally, 'rows' | 'newestMs'>,
): Promise<Judged> {
  const after = tickMs - version.view.cadenceMs;
  const tally = await tallyRows(client, version, { after, until: tickMs, newest: false });
  return judgeTick(client, version, Object.assign(tally, answered), tickMs);
}

/** What is known of it once its rows are written. */
async function findAnswer(
  client: PoolClient,
  version: SqlVersion,
  tickMs: number,
): Promise<Pick<Tally, 'rows' | 'newestMs'>> {
  const { rows } = await client.query<{ newestMs: number | null }>(
    `select max(event_ms) as "newestMs" from ${rowsTable(version.id)} where tick_ms <= $1`,
    [tickMs],
  );
  return { rows: (await findTickRows(client, version, tickMs)) ?? 0, ...rows[0]! };
}

/** The newest row of each entity, or those of one tick, as records online. */
export async function writeSqlRecords(
  deps: Deps,
  version: SqlVersion,
  of: { tickMs?: number },
  onRows: (rows: number) => void = () => {},
): Promise<number> {
  let written = 0;
  for await (const rows of readNewestRows(deps.pool, version, of)) {
    written += await writeOnline(
      deps,
      version,
      rows.map(({ key, tickMs, committedMs, eventMs, values }) => ({
        key: onlineKey(deps.config.environment, version.entity.name, key),
        field: String(version.id),
        record: Buffer.from(
          encodeSqlRecord(version.view, eventMs, values, { tick: tickMs, committedAt: committedMs }),
        ),
      })),
    );
    onRows(rows.length);
    beat();
  }
  return written;
}

/** It has rows, or is published: then nothing had changed. */
async function isAnswered(pool: Pool, version: SqlVersion, tickMs: number): Promise<boolean> {
  const { rowCount } = await pool.query(
    `(select 1 from ${rowsTable(version.id)} where tick_ms = $1 limit 1)
     union all select 1 from tick where version_id = $2 and tick_ms = $1`,
    [tickMs, version.id],
  );
  return rowCount !== 0;
}

interface Answer {
  key: Uint8Array;
  parts: Value[];
  eventMs: number;
  values: FeatureValue[];
}

async function collect(
  env: Environment,
  version: SqlVersion,
  tickMs: number,
  counts: Counts,
): Promise<Answer[]> {
  const answers: Answer[] = [];
  const seen = new Set<string>();
  for await (const answer of runQuery(env, version.view, version.entity, tickMs)) {
    const name = nameOf(answer.key);
    if (seen.has(name))
      throw refuse(
        version.view,
        'gives more than one row for an entity',
        'give one row per entity: select distinct on (key) ... order by key, event_timestamp desc',
        version.entity.keys[0]!.name,
      );
    seen.add(name);
    answers.push(answer);
    counts.entities += 1;
  }
  return answers;
}

/** The hashes that Postgres gives the keys, as everywhere. */
async function hashKeys(pool: Pool, entity: Entity, rows: readonly Answer[]): Promise<bigint[]> {
  const types = entity.keys.map(({ type }) => (type === 'int64' ? 'bigint' : 'text'));
  const names = entity.keys.map((_, index) => `k${index}`);
  const hashes: bigint[] = [];
  for (let i = 0; i < rows.length; i += 10_000) {
    const chunk = rows.slice(i, i + 10_000);
    const { rows: found } = await pool.query<{ hash: string }>(
      `select (${keyHashOf(entity, names)})::text as hash
         from unnest(${types.map((type, index) => `$${index + 1}::${type}[]`).join(', ')}) with ordinality
           as keys (${names.join(', ')}, place)
        order by place`,
      types.map((_, index) => chunk.map(({ parts }) => parts[index])),
    );
    for (const { hash } of found) hashes.push(BigInt(hash));
  }
  return hashes;
}

/** Rows of the view's query at a tick, checked and typed. */
export async function* runQuery(
  env: Environment,
  view: SqlView,
  entity: Entity,
  tickMs: number,
): AsyncGenerator<Answer> {
  const client = authorClient(view.connection, env, {
    application_name: 'almanac view',
    statement_timeout: QUERY_MS,
    query_timeout: QUERY_MS + 5_000,
    types: { getTypeParser: () => (text: string) => text }, // every cell as its text: parsed by the declared type
  });
  const cancelled = cancellationSignal();
  const hangUp = (): void => void client.end().catch(() => {}); // ends a query under way
  cancelled.addEventListener('abort', hangUp, { once: true });
  try {
    await client.connect();
    await client.query('begin transaction isolation level repeatable read read only');
    await declareAnswers(client, view, tickMs);
    let read: ((row: Array<string | null>) => Answer) | null = null;
    for (;;) {
      const { fields, rows } = await client.query<Array<string | null>>({
        text: `fetch ${FETCH_ROWS} from answers`,
        rowMode: 'array',
      });
      beat();
      read ??= createReader(view, entity, fields, tickMs);
      for (const row of rows) yield read(row);
      if (rows.length < FETCH_ROWS) break;
    }
    await client.query('commit');
  } catch (error) {
    cancelled.throwIfAborted();
    throw translate(error);
  } finally {
    cancelled.removeEventListener('abort', hangUp);
    await client.end().catch(() => {}); // closing what is gone
  }
}

/** Checks the answer's columns; gives a reader of its rows. Throws FS_DATA_INVALID, FS_TIMESTAMP_INVALID naming the column. */
function createReader(
  view: SqlView,
  entity: Entity,
  fields: readonly pg.FieldDef[],
  tickMs: number,
): (row: Array<string | null>) => Answer {
  const [misfit] = answerMisfits(answerColumns(view, entity), fields);
  if (misfit?.zoneless)
    throw new FeatureStoreError(
      'FS_TIMESTAMP_INVALID',
      `the query of view "${view.name}" ${misfit.message}`,
      { fix: misfit.fix, view: view.name, column: misfit.column },
    );
  if (misfit) throw refuse(view, misfit.message, misfit.fix, misfit.column);
  const indexOf = (wanted: string): number => fields.findIndex(({ name }) => name === wanted);
  const keys = entity.keys.map(({ name, type }) => ({ name, type, index: indexOf(name) }));
  const eventTime = indexOf('event_timestamp');
  const features = view.features.map(({ name, type }) => ({ name, type, index: indexOf(name) }));

  return (row) => {
    const parts = keys.map(({ name, type, index }) => {
      const cell = row[index]!;
      if (cell === null)
        throw refuse(
          view,
          `gives a null in its key "${name}"`,
          `leave those rows out: where ${name} is not null`,
          name,
        );
      return parseScalar(view, name, type, cell, 'a value') as Value;
    });
    const at = row[eventTime]!;
    if (at === null)
      throw refuse(view, 'gives a null event_timestamp', 'say since when the values hold', 'event_timestamp');
    const eventMs = parseScalar(view, 'event_timestamp', 'timestamp', at) as number;
    if (eventMs > tickMs)
      throw refuse(
        view,
        `gives an event_timestamp of ${formatTimestamp(eventMs)}, after its tick ${formatTimestamp(tickMs)}`,
        'read only what was there: where ... <= :as_of',
        'event_timestamp',
      );
    return {
      key: encodeKey(entity, parts),
      parts,
      eventMs,
      values: features.map(({ name, type, index }) => {
        const cell = row[index]!;
        return cell === null ? null : parseFeature(view, name, type, cell);
      }),
    };
  };
}

function parseFeature(view: SqlView, name: string, type: ColumnType, cell: string): FeatureValue {
  if (!type.startsWith('list<')) return parseScalar(view, name, type as ScalarType, cell);
  const items = parseTextList(cell);
  return items.map((item) => {
    if (item === null)
      throw refuse(view, `gives a null inside the list "${name}"`, `array_remove(${name}, null)`, name);
    return parseScalar(view, name, type.slice(5, -1) as ScalarType, item) as List[number];
  });
}

const parseTextList = (text: string): Array<string | null> =>
  (pg.types.getTypeParser(1009 as number, 'text') as (text: string) => Array<string | null>)(text);

/** @param told what an error says of the cell: errors travel through Temporal, and no entity key does */
function parseScalar(
  view: SqlView,
  name: string,
  type: ScalarType,
  cell: string,
  told: string = cell.slice(0, 60),
): Value {
  switch (type) {
    case 'string':
      return cell;
    case 'bool':
      return cell === 't';
    case 'timestamp':
      try {
        return parseTimestamp(cell.replace(/\+00$/, 'Z'));
      } catch (error) {
        throw new FeatureStoreError(
          'FS_TIMESTAMP_INVALID',
          `the query of view "${view.name}" gives "${told}" in "${name}"`,
          { fix: 'give instants of the years 0001 to 9999', view: view.name, column: name },
          { cause: error },
        );
      }
    case 'int64':
      return narrow(BigInt(cell));
    case 'float64': {
      const value = Number(cell);
      if (Number.isFinite(value)) return value + 0; // no negative zero
      throw refuse(view, `gives ${told} in "${name}"`, `give null instead: nullif(${name}, 'NaN')`, name);
    }
  }
}

function refuse(view: SqlView, what: string, fix: string, column: string): FeatureStoreError {
  return new FeatureStoreError('FS_DATA_INVALID', `the query of view "${view.name}" ${what}`, {
    fix,
    view: view.name,
    column,
  });
}

/** Throws FS_REQUEST_INVALID for a tick that a table without history cannot answer any more. */
export function assertReadable({ view }: SqlVersion, tickMs: number, newestTick: number): void {
  const table = view.reads.find(({ kind }) => kind === 'snapshot')?.table;
  if (table === undefined || tickMs === newestTick) return;
  throw new FeatureStoreError(
    'FS_REQUEST_INVALID',
    `tick ${formatTimestamp(tickMs)} of view "${view.name}" is past, and table ${table} keeps no history`,
    {
      fix: `compute the newest tick, ${formatTimestamp(newestTick)}; or declare ${table} as append if its rows are only added`,
      view: view.name,
      table,
    },
  );
}
