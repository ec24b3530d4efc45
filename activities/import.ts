/**
 * Files and tables into the archive. The row in `import` is the truth of how far one is: each chunk is one transaction that first
 * moves `next_offset` on from where it stood, so a chunk is archived once, whatever is repeated, killed or run twice at once.
 */
import { cancellationSignal } from '@temporalio/activity';
import type { Source } from '../core/definition.js';
import { FeatureStoreError } from '../core/error.js';
import { createIngest, type Ingested, type Outcome, positionId } from '../core/ingest.js';
import { getSource } from '../registry/resolve.js';
import { type Pool, type PoolClient, transaction } from '../registry/sql.js';
import { archiveTable } from '../registry/tables.js';
import type { Deps } from './deps.js';
import { beat, beating } from './heartbeat.js';
import {
  type ArchiveRow,
  appendEvents,
  lockArchiveShared,
  lockSource,
  nextSequence,
} from './offline/archive.js';
import { archivedBodies, type Body, differs, nominalArrival } from './offline/bodies.js';
import { exportTable } from './offline/export-table.js';
import { checkFile, type FileFormat, type FileRow, formOf, readFileRows } from './offline/import-file.js';
import { bodyText, insertSetAside, type SetAside } from './offline/set-aside.js';
import { readClock } from './offline/ticks.js';

export interface OpenImportInput {
  source: string;
  name: string;
  /** sha256 of the file. */
  file: string;
  format: FileFormat;
  shiftMs: number;
  /** null: the moment the import begins. */
  untilMs: number | null;
}

export type ImportCounts = Record<'archived' | 'duplicate' | 'conflict' | 'invalid' | 'withheld', number>;

export interface SourceSummary {
  /** Where its data comes from, for whoever sees it. */
  origin: string | null;
  table: string | null;
  format: FileFormat;
}

/** How far an import is. */
export interface ImportStatus {
  importId: number;
  finished: boolean;
  rowsDone: number;
  rowsTotal: number;
  counts: ImportCounts;
}

export interface ImportResult {
  importId: number;
  /** It had been imported before: nothing was changed. */
  alreadyImported: boolean;
  counts: ImportCounts;
  /** ISO instants of the earliest and latest archived event; null when there is none. */
  firstEvent: string | null;
  lastEvent: string | null;
  shiftMs: number;
  seconds: number;
  /** How to have the rows that were withheld; null: none were. */
  fix: string | null;
}

// Large enough that a transaction's fixed cost is small, small enough that a chunk takes a fraction of a second.
const CHUNK_ROWS = 5_000;
const RANGE_MS = 5_000;

export function createImportActivities({ config, pool, env }: Deps) {
  return {
    async describeSource({ source: name }: { source: string }): Promise<SourceSummary> {
      const { input, origin } = await getSource(pool, name);
      return {
        origin,
        table: input.type === 'table' ? input.table : null,
        format: input.type === 'file' ? input.format : 'csv',
      };
    },

    /** The table of a source as a file. */
    async exportSource({ source: name }: { source: string }): Promise<{ sha256: string }> {
      const source = await getSource(pool, name);
      await assertIdentifiable(pool, source);
      // its database may sort for minutes before the first row comes
      const { sha256 } = await beating(() =>
        exportTable(source, env, config.filesDir, beat, cancellationSignal()),
      );
      return { sha256 };
    },

    /** Checks the whole file and registers its import, or finds the one there is. Nothing is archived. */
    async openImport(input: OpenImportInput): Promise<ImportStatus> {
      const source = await getSource(pool, input.source);
      const found = await findImport(pool, input);
      if (found?.state === 'finished') return statusOf(found);
      const content = await checkFile(
        config.filesDir,
        input.file,
        input.format,
        source,
        beat,
        cancellationSignal(),
      );
      if (found === null) await assertUncounted(pool, source, input);
      await assertNoOther(pool, source, input.file);
      await pool.query(
        `insert into import (source, name, content_sha256, format, shift_ms, until_ms, state, total_bytes, total_rows)
         values ($1, $2, $3, $4, $5, $6, 'running', $7, $8) on conflict do nothing`,
        [
          source.name,
          input.name,
          input.file,
          input.format,
          input.shiftMs,
          input.untilMs,
          content.bytes,
          content.rows,
        ],
      );
      return statusOf((await findImport(pool, input))!);
    },

    /** Works on from where the import stands, for about five seconds. */
    async importRange({ importId }: { importId: number }): Promise<ImportStatus> {
      const row = await getImport(pool, importId);
      const source = await getSource(pool, row.source);
      if (row.state === 'finished') return statusOf(row);
      const began = performance.now();
      const ingest = createIngest(source, {
        form: formOf[row.format],
        shiftMs: row.shiftMs,
        untilMs: Math.min(row.untilMs ?? row.startedMs, row.startedMs),
        importedMs: row.startedMs,
      });
      const chunk = new Chunk(source, row);
      const blocks = readFileRows(
        config.filesDir,
        row.file,
        row.format,
        source,
        { byte: row.nextByte, offset: row.nextOffset },
        { bytes: row.totalBytes, rows: row.totalRows },
        cancellationSignal(),
      );
      for await (const block of blocks) {
        for (const fileRow of block) {
          chunk.add(fileRow, ingest);
          if (chunk.rows < CHUNK_ROWS) continue;
          await chunk.commit(pool);
          beat({ importId, rows: chunk.offset });
          if (performance.now() - began > RANGE_MS) return statusOf(await getImport(pool, importId));
        }
      }
      await chunk.commit(pool, 'finished');
      return statusOf(await getImport(pool, importId));
    },

    /** Statistics for the planner, and the sums of what was done. */
    async finishImport({ importId, already }: { importId: number; already: boolean }): Promise<ImportResult> {
      const row = await getImport(pool, importId);
      if (!already) await beating(() => analyze(pool, row.source));
      const { rows } = await pool.query<{ first: number | null; last: number | null }>(
        `select min(event_ms) as first, max(event_ms) as last from ${archiveTable(row.source)} where partition = $1`,
        [-importId],
      );
      const { first, last } = rows[0]!;
      const iso = (ms: number | null): string | null => (ms === null ? null : new Date(ms).toISOString());
      return {
        importId,
        alreadyImported: already,
        counts: row.counts,
        firstEvent: iso(first),
        lastEvent: iso(last),
        shiftMs: row.shiftMs,
        seconds: Math.round(((row.finishedMs ?? row.startedMs) - row.startedMs) / 100) / 10,
        fix: row.counts.withheld === 0 ? null : fixWithheld(await getSource(pool, row.source), row),
      };
    },
  };
}

/** The same request finds the same import: another `until` makes it another one. */
function fixWithheld({ id }: Source, { untilMs, startedMs, counts }: ImportRow): string {
  const until = new Date(Math.min(untilMs ?? startedMs, startedMs)).toISOString();
  const what = `${counts.withheld} rows after ${until} were withheld`;
  return id === null
    ? `${what}: import them as a file of their own, or declare an id column in the source`
    : `${what}: when their time has passed, import the same again with --until and a later moment; what is archived counts as duplicate`;
}

interface ImportRow {
  id: number;
  source: string;
  file: string;
  format: FileFormat;
  shiftMs: number;
  untilMs: number | null;
  state: 'running' | 'finished';
  nextOffset: number;
  nextByte: number;
  totalBytes: number;
  totalRows: number;
  counts: ImportCounts;
  startedMs: number;
  finishedMs: number | null;
}

const NO_COUNTS: ImportCounts = { archived: 0, duplicate: 0, conflict: 0, invalid: 0, withheld: 0 };

const SELECT_IMPORT = `select id, source, content_sha256 as file, format, shift_ms as "shiftMs", until_ms as "untilMs", state,
  next_offset as "nextOffset", next_byte as "nextByte", total_bytes as "totalBytes", total_rows as "totalRows", counts,
  started_at as "startedMs", finished_at as "finishedMs" from import`;

function readImport(row: ImportRow): ImportRow {
  return { ...row, counts: { ...NO_COUNTS, ...row.counts } };
}

async function getImport(pool: Pool, importId: number): Promise<ImportRow> {
  const { rows } = await pool.query<ImportRow>(`${SELECT_IMPORT} where id = $1`, [importId]);
  if (rows[0]) return readImport(rows[0]);
  throw new FeatureStoreError('FS_NOT_FOUND', `there is no import ${importId}`, { fix: 'start it again' });
}

async function findImport(pool: Pool, input: OpenImportInput): Promise<ImportRow | null> {
  const { rows } = await pool.query<ImportRow>(
    `${SELECT_IMPORT} where source = $1 and content_sha256 = $2 and shift_ms = $3 and until_ms is not distinct from $4`,
    [input.source, input.file, input.shiftMs, input.untilMs],
  );
  return rows[0] ? readImport(rows[0]) : null;
}

function statusOf(row: ImportRow): ImportStatus {
  return {
    importId: row.id,
    finished: row.state === 'finished',
    rowsDone: row.nextOffset,
    rowsTotal: row.totalRows,
    counts: row.counts,
  };
}

/** A table that has grown holds its old rows too: without ids they would be archived twice. */
async function assertIdentifiable(pool: Pool, source: Source): Promise<void> {
  if (source.id !== null) return;
  const { rows } = await pool.query<{ name: string }>(
    `select name from import where source = $1 and state = 'finished'`,
    [source.name],
  );
  if (rows.length === 0) return;
  throw new FeatureStoreError(
    'FS_CONFLICT',
    `source "${source.name}" was imported already (${rows[0]!.name}), and it declares no id that would tell old rows from new ones`,
    { fix: 'declare the id column of the table in the source', source: source.name },
  );
}

/** One that was left in the middle holds old rows as well; by itself it can only go on with the very table it began with. */
async function assertNoOther(db: Pool | PoolClient, source: Source, file: string): Promise<void> {
  if (source.id !== null || source.input.type !== 'table') return;
  const { rows } = await db.query<{ name: string }>(
    'select name from import where source = $1 and content_sha256 <> $2 and next_offset > 0',
    [source.name, file],
  );
  if (rows.length === 0) return;
  throw new FeatureStoreError(
    'FS_CONFLICT',
    `an import into "${source.name}" (${rows[0]!.name}) archived rows of its table, which has changed since, and the source declares no id that would tell old rows from new ones`,
    { fix: 'declare the id column of the table in the source', source: source.name },
  );
}

/** The same for one file taken up to two different moments. */
async function assertUncounted(pool: Pool, source: Source, input: OpenImportInput): Promise<void> {
  if (source.id !== null) return;
  const { rows } = await pool.query<{ name: string }>(
    'select name from import where source = $1 and content_sha256 = $2 and shift_ms = $3',
    [source.name, input.file, input.shiftMs],
  );
  if (rows.length === 0) return;
  throw new FeatureStoreError(
    'FS_CONFLICT',
    `this file was imported into "${source.name}" already (${rows[0]!.name}), up to another moment, and its rows have no id that would tell old ones from new ones`,
    { fix: 'declare an id column in the source', source: source.name },
  );
}

async function analyze(pool: Pool, source: string): Promise<void> {
  await transaction(pool, async (client) => {
    await client.query(`set local statement_timeout = '110s'`);
    await client.query({
      text: `analyze ${archiveTable(source)}`,
      ...({ query_timeout: 115_000 } as object),
    });
  });
}

interface Pending {
  offset: number;
  event: Ingested;
}
/** The rows of one transaction to be. */
class Chunk {
  readonly #source: Source;
  readonly #importId: number;
  readonly #file: string;
  /** Where the import stands: the next row's number. */
  offset: number;
  rows = 0;
  #nextByte: number;
  #pending: Pending[] = [];
  #bodies: Array<() => unknown> = [];
  #setAside: SetAside[] = [];
  #withheld = 0;

  constructor(source: Source, row: ImportRow) {
    this.#source = source;
    this.#importId = row.id;
    this.#file = row.file;
    this.offset = row.nextOffset;
    this.#nextByte = row.nextByte;
  }

  add(row: FileRow, ingest: (fields: readonly unknown[]) => Outcome): void {
    const offset = this.offset + this.rows++;
    this.#nextByte = row.nextByte;
    const outcome: Outcome =
      typeof row.fields === 'string'
        ? { outcome: 'invalid', reason: row.fields, column: null }
        : ingest(row.fields);
    switch (outcome.outcome) {
      case 'event':
        this.#pending.push({ offset, event: outcome.event });
        this.#bodies.push(row.body);
        return;
      case 'withheld':
        this.#withheld++;
        return;
      case 'invalid':
        this.#setAside.push({ offset, outcome: 'invalid', reason: outcome.reason, body: bodyText(row.body) });
    }
  }

  async commit(pool: Pool, state: ImportRow['state'] = 'running'): Promise<void> {
    const partition = -this.#importId;
    await transaction(pool, async (client) => {
      await lockArchiveShared(client);
      await this.#advance(client, state);
      await lockSource(client, this.#source.name);
      const sequence = await nextSequence(client);
      const { kept, duplicates, conflicts } = await this.#dedupe(client);
      const setAside = [...this.#setAside, ...conflicts];
      await client.query('update import set last_sequence = $2 where id = $1', [this.#importId, sequence]);
      const nowMs = (await isRead(client, this.#source.name)) ? await readClock(client) : null;
      await appendEvents(
        client,
        this.#source,
        kept.map(({ offset, event }) => archiveRow(event, partition, offset, sequence, nowMs)),
      );
      await insertSetAside(client, this.#source.name, partition, setAside);
      await addCounts(client, this.#importId, {
        archived: kept.length,
        duplicate: duplicates,
        conflict: conflicts.length,
        invalid: this.#setAside.length,
        withheld: this.#withheld,
      });
    });
    this.offset += this.rows;
    this.rows = 0;
    this.#pending = [];
    this.#bodies = [];
    this.#setAside = [];
    this.#withheld = 0;
  }

  async #advance(client: PoolClient, state: ImportRow['state']): Promise<void> {
    const { rowCount } = await client.query(
      `update import set next_offset = $3, next_byte = $4, state = $5,
              finished_at = case when $5 = 'finished' then clock_timestamp() end
        where id = $1 and next_offset = $2 and state = 'running'`,
      [this.#importId, this.offset, this.offset + this.rows, this.#nextByte, state],
    );
    if (rowCount === 1) return;
    // Another attempt of this activity is still at work, or was; the next attempt reads where it got to.
    throw new FeatureStoreError(
      'FS_NOT_READY',
      `import ${this.#importId} has moved on from row ${this.offset}`,
      {
        fix: 'nothing to do: it is tried again from where it stands',
      },
    );
  }

  /** First by position wins; the same id within dedupeMs of arrival is a duplicate when its body is equal, else a conflict. */
  async #dedupe(client: PoolClient): Promise<{ kept: Pending[]; duplicates: number; conflicts: SetAside[] }> {
    const source = this.#source;
    if (source.id === null) {
      await assertNoOther(client, source, this.#file); // two that were opened at once
      return { kept: this.#pending, duplicates: 0, conflicts: [] };
    }
    const known = await archivedBodies(
      client,
      source,
      this.#pending.map(({ event }) => event.id!),
    );
    const kept: Pending[] = [];
    const conflicts: SetAside[] = [];
    let duplicates = 0;
    this.#pending.forEach((pending, i) => {
      const { id, values, timestamp } = pending.event;
      const body: Body = { knownMs: nominalArrival(source, timestamp, values), values };
      const others = known.get(id!);
      const same = others?.find((other) => Math.abs(other.knownMs - body.knownMs) <= source.dedupeMs);
      if (same === undefined) {
        kept.push(pending);
        if (others) others.push(body);
        else known.set(id!, [body]);
        return;
      }
      const column = differs(source, same.values, values);
      if (column === null) duplicates++;
      else
        conflicts.push({
          offset: pending.offset,
          outcome: 'conflict',
          reason: `id ${JSON.stringify(id)} is archived with another "${column}"`,
          body: bodyText(this.#bodies[i]!),
        });
    });
    return { kept, duplicates, conflicts };
  }
}

/**
 * Whether a view over this source was backfilled, or is being so: then it has been said, or soon will be, what was known when, and
 * what comes now is known from now on. The caller holds the archive lock shared, a backfill registers itself under it alone.
 */
async function isRead(client: PoolClient, source: string): Promise<boolean> {
  const { rows } = await client.query<{ read: boolean }>(
    `select exists (
       select 1 from view_version v where v.kind = 'aggregation' and v.source->>'name' = $1
          and v.state not in ('retired', 'abandoned')
          and (v.state <> 'draft' and exists (select 1 from view_progress p where p.version_id = v.id and p.last_tick_ms is not null)
               or exists (select 1 from backfill b where b.version_id = v.id))
     ) as read`,
    [source],
  );
  return rows[0]!.read;
}

function archiveRow(
  event: Ingested,
  partition: number,
  offset: number,
  sequence: number,
  nowMs: number | null,
): ArchiveRow {
  return {
    partition,
    offset,
    arrivalAssumed: nowMs === null && event.arrivalAssumed,
    event: {
      timestamp: event.timestamp,
      arrivedAt: Math.max(event.timestamp, nowMs ?? event.arrivedAt),
      sequence,
      order: event.order,
      id: event.id ?? positionId(partition, offset),
      values: event.values,
    },
  };
}

async function addCounts(client: PoolClient, importId: number, more: ImportCounts): Promise<void> {
  const { rows } = await client.query<{ counts: Partial<ImportCounts> }>(
    'select counts from import where id = $1',
    [importId],
  );
  const counts = { ...NO_COUNTS, ...rows[0]!.counts };
  for (const outcome of Object.keys(NO_COUNTS) as Array<keyof ImportCounts>) counts[outcome] += more[outcome];
  await client.query('update import set counts = $2 where id = $1', [importId, counts]);
}
