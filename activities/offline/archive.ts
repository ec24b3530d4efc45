/**
 * The archive of events: the only writer (`appendEvents`) and every way to read it. Never decides what an event means.
 *
 * Bounds. A transaction that archives holds the archive lock shared and draws its sequence number after that; whoever fixes a
 * bound takes the lock alone for an instant. So every event with sequence <= bound is committed, and none will be added below it.
 *
 * Reading. Events of an entity are together only by the 8-byte hash of its key, computed by Postgres over the key columns (an
 * expression index). Readers take ranges of hashes in order, hold one hash's events at a time, and sort those here: the order of
 * ids is JavaScript's, not a collation's. Rows whose key has a null part, or one no entity can have (a text over 1,024 bytes),
 * belong to no entity. COPY in binary form, because it was the fastest way out: docs/decisions/0006.
 */
import { pipeline } from 'node:stream/promises';
import { from as copyFrom, to as copyTo } from 'pg-copy-streams';
import { encodeKey } from '../../core/codec/key.js';
import type { ColumnType, Entity, Source } from '../../core/definition.js';
import { FeatureStoreError } from '../../core/error.js';
import { columnNames, compareEvents, type Event, type List, type Value } from '../../core/event.js';
import { type Int64, narrow } from '../../core/int64.js';
import {
  archiveColumn,
  keyHashOf,
  keyHashSql,
  type Pool,
  type PoolClient,
  transaction,
  translate,
} from '../../registry/sql.js';
import { archiveTable } from '../../registry/tables.js';
import { copyField } from './copy.js';

export const MIN_HASH = -(2n ** 63n);
export const MAX_HASH = 2n ** 63n - 1n;

// One environment's archives; another environment of the same database has another schema.
const LOCK = `hashtext('archive'), hashtext(current_schema())`;

/** Held by a transaction that archives, before it draws its sequence number. */
export async function lockArchiveShared(client: PoolClient): Promise<void> {
  await client.query(`select pg_advisory_xact_lock_shared(${LOCK})`);
}

/**
 * The greatest sequence number drawn so far: every event up to it is committed, and no more will come below it. With a client the
 * lock is held until its transaction ends: what it writes (a backfill's row, say) stands before any event beyond the bound.
 */
export async function archiveBound(db: Pool | PoolClient): Promise<number> {
  if ('totalCount' in db) return transaction(db, archiveBound);
  await db.query(`select pg_advisory_xact_lock(${LOCK})`);
  return newestSequence(db);
}

/** The greatest number drawn so far. With lockSource: of that source, all up to it are committed, and no more will come below it. */
export async function newestSequence(db: Pool | PoolClient): Promise<number> {
  const { rows } = await db.query<{ newest: number }>(
    'select case when is_called then last_value else 0 end as newest from event_sequence',
  );
  return rows[0]!.newest;
}

/**
 * One transaction at a time archives into a source: those of one source are committed in the order of their sequence numbers, and each
 * sees every event before it. After lockArchiveShared, before nextSequence.
 */
export async function lockSource(client: PoolClient, source: string): Promise<void> {
  await client.query(
    `select pg_advisory_xact_lock(hashtext('source'), hashtext(current_schema() || '.' || $1))`,
    [source],
  );
}

/** The number of this transaction; after lockArchiveShared. */
export async function nextSequence(client: PoolClient): Promise<number> {
  const { rows } = await client.query<{ sequence: number }>(`select nextval('event_sequence') as sequence`);
  return rows[0]!.sequence;
}

export interface ArchiveRow {
  partition: number;
  offset: number;
  arrivalAssumed: boolean;
  event: Event;
}

/** Adds events in the caller's transaction, which holds the archive lock. A position that is taken is an error: nothing is added. */
export async function appendEvents(
  client: PoolClient,
  source: Source,
  rows: readonly ArchiveRow[],
): Promise<void> {
  if (rows.length === 0) return;
  const columns = columnNames(source).map(archiveColumn).join(', ');
  const stream = client.query(
    copyFrom(
      `copy ${archiveTable(source.name)} (partition, "offset", sequence, event_ms, arrived_ms, arrival_assumed, ordinal, event_id, ${columns}) from stdin`,
    ),
  );
  await pipeline(function* () {
    for (let i = 0; i < rows.length; i += 1000) yield copyText(rows.slice(i, i + 1000));
  }, stream);
}

function copyText(rows: readonly ArchiveRow[]): string {
  let text = '';
  for (const { partition, offset, arrivalAssumed, event } of rows) {
    text += `${partition}\t${offset}\t${event.sequence}\t${event.timestamp}\t${event.arrivedAt}\t${arrivalAssumed ? 't' : 'f'}\t${event.order}\t${copyField(event.id)}`;
    for (const value of event.values) text += `\t${copyField(value)}`;
    text += '\n';
  }
  return text;
}

/** Whose events: an entity, found in a source by these of its columns, one per join key. */
export interface EntityEvents {
  source: Source;
  entity: Entity;
  keyColumns: readonly string[];
}

export interface ReadOptions {
  /** Only events up to this sequence: a bound of `archiveBound`. */
  sequence: number;
  /** Hashes from here to there, both inside; default all. */
  hashStart?: bigint;
  hashEnd?: bigint;
  /** These hashes alone, by the index; some hundreds. */
  hashes?: readonly bigint[];
  /** Only events after this sequence. */
  sequenceAfter?: number;
  /** Only events that arrived up to this. */
  arrivedUntilMs?: number;
  /** Only events that arrived after this. */
  arrivedAfterMs?: number;
  /** Source columns that are needed; the others read null. Default all. */
  columns?: readonly string[];
  /** Aborts the read; it then throws the signal's reason. */
  signal?: AbortSignal;
}

export interface OneEntity {
  keyHash: bigint;
  /** encodeKey of its join keys. */
  key: Uint8Array;
  /** In the order of compareEvents. */
  events: Event[];
}

/** Every entity of a range of hashes, in order of hash, with its events. Holds one connection while it is iterated. */
export async function* readEvents(
  pool: Pool,
  of: EntityEvents,
  options: ReadOptions,
): AsyncGenerator<OneEntity> {
  const group = new Group(of);
  for await (const rows of readRows(pool, of, rangeSql(of, options), options)) {
    for (const row of rows) {
      if (!group.has(row)) yield* group.take();
      group.add(row);
    }
  }
  yield* group.take();
}

function rangeSql(of: EntityEvents, options: ReadOptions): string {
  const hash = keyHashSql(of.entity, of.keyColumns);
  const conditions = [
    options.hashes
      ? `${hash} = any('{${options.hashes.join(',')}}'::bigint[])`
      : `${hash} between ${literal(options.hashStart ?? MIN_HASH)} and ${literal(options.hashEnd ?? MAX_HASH)}`,
    `sequence <= ${literal(options.sequence)}`,
    ...of.keyColumns.map((column) => `${archiveColumn(column)} is not null`),
  ];
  if (options.sequenceAfter !== undefined) conditions.push(`sequence > ${literal(options.sequenceAfter)}`);
  if (options.arrivedAfterMs !== undefined)
    conditions.push(`arrived_ms > ${literal(options.arrivedAfterMs)}`);
  if (options.arrivedUntilMs !== undefined)
    conditions.push(`arrived_ms <= ${literal(options.arrivedUntilMs)}`);
  return `select ${selectList(of, options.columns)} from ${archiveTable(of.source.name)} where ${conditions.join(' and ')} order by ${hash}`;
}

/** COPY takes no parameters; whole numbers need no quoting. */
function literal(value: bigint | number): string {
  if (typeof value === 'number' && !Number.isSafeInteger(value))
    throw new Error(`not a whole number: ${value}`);
  // a bare -9223372036854775808 is minus of a number out of range
  return `'${value}'::bigint`;
}

/** All events of one entity, by its join key values; null when it has none. */
export async function readEntity(
  pool: Pool,
  of: EntityEvents,
  parts: readonly Value[],
  options: Pick<ReadOptions, 'sequence' | 'arrivedUntilMs' | 'columns'>,
): Promise<OneEntity | null> {
  const key = encodeKey(of.entity, parts);
  const { rows } = await pool.query<{ hash: string }>(
    `select (${keyHashOf(
      of.entity,
      of.entity.keys.map(({ type }, i) => `$${i + 1}::${type === 'int64' ? 'bigint' : 'text'}`),
    )})::text as hash`,
    [...parts],
  );
  const hash = BigInt(rows[0]!.hash);
  let found: OneEntity | null = null;
  // Others may share the hash. To the end all the same: a read that is left early costs its connection.
  for await (const one of readEvents(pool, of, { ...options, hashStart: hash, hashEnd: hash }))
    if (Buffer.compare(one.key, key) === 0) found = one;
  return found;
}

/** Those of some hundred entities, by their join key values, that have events; in order of hash. */
export async function* readEntities(
  pool: Pool,
  of: EntityEvents,
  entities: ReadonlyArray<readonly Value[]>,
  options: Pick<ReadOptions, 'sequence' | 'arrivedUntilMs' | 'columns' | 'signal'>,
): AsyncGenerator<OneEntity> {
  const nameOf = (key: Uint8Array): string => Buffer.from(key).toString('latin1');
  const wanted = new Set(entities.map((parts) => nameOf(encodeKey(of.entity, parts))));
  const names = of.entity.keys.map((_, i) => `k${i}`);
  const types = of.entity.keys.map(({ type }, i) => `$${i + 1}::${type === 'int64' ? 'bigint' : 'text'}[]`);
  const { rows } = await pool.query<{ hash: string }>(
    `select distinct (${keyHashOf(of.entity, names)})::text as hash from unnest(${types.join(', ')}) as keys (${names.join(', ')})`,
    names.map((_, i) => entities.map((parts) => parts[i])),
  );
  const hashes = rows.map(({ hash }) => BigInt(hash));
  for await (const one of readEvents(pool, of, { ...options, hashes }))
    if (wanted.has(nameOf(one.key))) yield one;
}

/** Join key values of `limit` entities, the same for the same seed and archive, in no order that means anything. */
export async function readSample(
  pool: Pool,
  of: EntityEvents,
  options: { sequence: number; limit: number; seed: number },
): Promise<Value[][]> {
  const columns = of.keyColumns.map(archiveColumn);
  const { rows } = await pool.query<Value[]>({
    rowMode: 'array',
    text: `select ${columns.join(', ')} from ${archiveTable(of.source.name)}
            where sequence <= $1 and ${columns.map((column) => `${column} is not null`).join(' and ')}
            group by ${columns.join(', ')}
            order by hashint8extended(${keyHashSql(of.entity, of.keyColumns)}, $2), ${columns.join(', ')} limit $3`,
    values: [options.sequence, options.seed, options.limit],
  });
  return rows.filter((parts) => keyOf(of.entity, parts) !== null);
}

/** Archived events up to a sequence, whichever entity they belong to. */
export async function countEvents(pool: Pool, source: Source, sequence: number): Promise<number> {
  const { rows } = await pool.query<{ count: number }>(
    `select count(*) as count from ${archiveTable(source.name)} where sequence <= $1`,
    [sequence],
  );
  return rows[0]!.count;
}

export interface HashRange {
  /** Both inside. */
  start: bigint;
  end: bigint;
}

/** The whole space of hashes in at most `parts` ranges of about equal numbers of events, by a sample of at most 200,000. */
export async function hashRanges(
  pool: Pool,
  of: EntityEvents,
  options: { sequence: number; parts: number },
): Promise<HashRange[]> {
  const hash = keyHashSql(of.entity, of.keyColumns);
  const events = await countEvents(pool, of.source, options.sequence);
  const percent = Math.min(100, (100 * 200_000) / Math.max(events, 1));
  const fractions = Array.from({ length: options.parts - 1 }, (_, i) => (i + 1) / options.parts);
  const { rows } = await pool.query<{ bounds: string[] | null }>(
    `select percentile_disc($1::double precision[]) within group (order by hash)::text[] as bounds
       from (select ${hash} as hash from ${archiveTable(of.source.name)} tablesample system ($2) repeatable (1)
              where sequence <= $3) as sample
      where hash is not null`,
    [fractions, percent, options.sequence],
  );
  const ends = [...new Set(rows[0]!.bounds ?? [])].map(BigInt).filter((end) => end < MAX_HASH);
  return [...ends, MAX_HASH].map((end, i) => ({ start: i === 0 ? MIN_HASH : ends[i - 1]! + 1n, end }));
}

/** Gathers the rows of one hash, which may be those of several entities. */
class Group {
  readonly #of: EntityEvents;
  readonly #keyIndexes: number[];
  #hash: bigint | null = null;
  /** By key bytes as latin1 text; nearly always one. */
  readonly #entities = new Map<string, OneEntity>();
  #parts: Value[] = [];
  /** Of #parts; null when no entity has such a key. */
  #current: OneEntity | null = null;

  constructor(of: EntityEvents) {
    this.#of = of;
    const names = columnNames(of.source);
    this.#keyIndexes = of.keyColumns.map((column) => names.indexOf(column));
  }

  has(row: Row): boolean {
    return this.#hash === row.keyHash;
  }

  add(row: Row): void {
    const { values } = row.event;
    if (this.#hash === null || this.#keyIndexes.some((index, i) => values[index] !== this.#parts[i])) {
      this.#hash = row.keyHash;
      this.#parts = this.#keyIndexes.map((index) => values[index]!);
      const key = keyOf(this.#of.entity, this.#parts);
      this.#current = key && this.#entityOf(row.keyHash, key);
    }
    this.#current?.events.push(row.event);
  }

  #entityOf(keyHash: bigint, key: Uint8Array): OneEntity {
    const name = Buffer.from(key).toString('latin1');
    const found = this.#entities.get(name) ?? { keyHash, key, events: [] };
    this.#entities.set(name, found);
    return found;
  }

  *take(): Generator<OneEntity> {
    for (const one of this.#entities.values()) {
      one.events.sort(compareEvents);
      yield one;
    }
    this.#entities.clear();
    this.#hash = null;
    this.#current = null;
  }
}

function keyOf(entity: Entity, parts: readonly Value[]): Uint8Array | null {
  try {
    return encodeKey(entity, parts);
  } catch (error) {
    if (error instanceof FeatureStoreError && error.code === 'FS_KEY_INVALID') return null;
    throw error;
  }
}

interface Row {
  keyHash: bigint;
  event: Event;
}

function selectList(of: EntityEvents, needed: readonly string[] | undefined): string {
  return [
    keyHashSql(of.entity, of.keyColumns),
    'event_ms, arrived_ms, sequence, ordinal, event_id',
    ...readColumns(of, needed).map(({ name }) => archiveColumn(name)),
  ].join(', ');
}

function readColumns(
  { source, keyColumns }: EntityEvents,
  needed: readonly string[] | undefined,
): Array<{ name: string; type: ColumnType; index: number }> {
  return columnNames(source)
    .map((name, index) => ({ name, index, type: source.columns[name]!.type }))
    .filter(({ name }) => needed === undefined || needed.includes(name) || keyColumns.includes(name));
}

// A read makes progress every few milliseconds; a server that gives nothing for this long is stopped, or its sort is hopeless.
const SILENCE_MS = 120_000;
const WHOLE_READ_MS = 6 * 3_600_000;

/** Rows of a query with the columns of `selectList`, some hundreds at a time. */
async function* readRows(
  pool: Pool,
  of: EntityEvents,
  sql: string,
  options: ReadOptions,
): AsyncGenerator<Row[]> {
  const client = await pool.connect();
  let failure: Error | undefined = new Error('the read was given up'); // a COPY cannot be left half read: its connection is closed
  try {
    await client.query(`set statement_timeout = ${WHOLE_READ_MS}`);
    const query = copyTo(`copy (${sql}) to stdout (format binary)`);
    query.query_timeout = WHOLE_READ_MS;
    const stream = client.query(query);
    stream.on('error', () => {}); // given up before anything was asked of it, it has no other listener
    const parser = new RowParser(of, options.columns);
    const chunks = stream[Symbol.asyncIterator]() as AsyncIterator<Buffer>;
    for (;;) {
      const chunk = await withDeadline(() => chunks.next(), options.signal);
      if (chunk.done) break;
      const rows = parser.parse(chunk.value);
      if (rows.length > 0) yield rows;
    }
    parser.end();
    await client.query('reset statement_timeout');
    failure = undefined;
  } catch (error) {
    throw translate(error);
  } finally {
    client.release(failure);
  }
}

/** What comes next, or FS_DEADLINE after SILENCE_MS, or the signal's reason. */
function withDeadline<T>(next: () => Promise<T>, signal: AbortSignal | undefined): Promise<T> {
  signal?.throwIfAborted();
  return new Promise<T>((resolve, reject) => {
    const silence = (): void =>
      reject(
        new FeatureStoreError('FS_DEADLINE', `Postgres gave no row of the archive for ${SILENCE_MS} ms`, {
          fix: 'see whether the server is stopped or overloaded; then try again',
        }),
      );
    const abort = (): void => reject(signal!.reason as Error);
    const timer = setTimeout(silence, SILENCE_MS);
    signal?.addEventListener('abort', abort, { once: true });
    next()
      .then(resolve, reject)
      .finally(() => {
        clearTimeout(timer);
        signal?.removeEventListener('abort', abort);
      });
  });
}

const STRING = 0;
const INT64 = 1;
const FLOAT64 = 2;
const BOOL = 3;
const LIST_OF = 4; // and the kind of its elements
const KIND: Record<ColumnType, number> = {
  string: STRING,
  int64: INT64,
  timestamp: INT64,
  float64: FLOAT64,
  bool: BOOL,
  'list<string>': LIST_OF + STRING,
  'list<int64>': LIST_OF + INT64,
  'list<float64>': LIST_OF + FLOAT64,
};
const TWO_32 = 4_294_967_296;

/**
 * COPY's binary form: a header of 19 bytes, then per row the number of fields (2 bytes), per field its length (4, -1 is null) and
 * bytes, all big-endian; a row of -1 fields ends it.
 */
class RowParser {
  readonly #kinds: number[];
  readonly #indexes: number[];
  readonly #empty: Value[];
  #rest: Buffer = Buffer.alloc(0);
  #begun = false;
  #ended = false;
  #hashHigh = 0;
  #hashLow = 0;
  #hash: bigint | null = null;

  constructor(of: EntityEvents, needed: readonly string[] | undefined) {
    const columns = readColumns(of, needed);
    this.#kinds = columns.map(({ type }) => KIND[type]);
    this.#indexes = columns.map(({ index }) => index);
    this.#empty = columnNames(of.source).map(() => null);
  }

  parse(chunk: Buffer): Row[] {
    const bytes = this.#rest.length === 0 ? chunk : Buffer.concat([this.#rest, chunk]);
    let at = 0;
    if (!this.#begun) {
      if (bytes.length < 19) {
        this.#rest = bytes;
        return [];
      }
      at = 19 + bytes.readInt32BE(15);
      this.#begun = true;
    }
    const rows: Row[] = [];
    for (;;) {
      const end = rowEnd(bytes, at);
      if (end === -1) break;
      if (end === at + 2) {
        this.#ended = true;
        break;
      }
      rows.push(this.#row(bytes, at + 2));
      at = end;
    }
    this.#rest = bytes.subarray(at);
    return rows;
  }

  /** Asserts that the end was seen: half an answer is none. */
  end(): void {
    if (!this.#ended)
      throw new FeatureStoreError('FS_UNAVAILABLE', 'Postgres ended a read of the archive too early', {
        fix: 'see its log; then try again',
      });
  }

  #row(bytes: Buffer, start: number): Row {
    const high = bytes.readInt32BE(start + 4);
    const low = bytes.readInt32BE(start + 8);
    if (this.#hash === null || high !== this.#hashHigh || low !== this.#hashLow) {
      this.#hashHigh = high;
      this.#hashLow = low;
      this.#hash = bytes.readBigInt64BE(start + 4);
    }
    // the platform's own bigints: 12 bytes each, never null
    const timestamp = int64(bytes, start + 16) as number;
    const arrivedAt = int64(bytes, start + 28) as number;
    const sequence = int64(bytes, start + 40) as number;
    const order = int64(bytes, start + 52);
    let at = start + 60;
    let length = bytes.readInt32BE(at);
    const id = bytes.toString('utf8', at + 4, at + 4 + length);
    at += 4 + length;
    const values: Value[] = this.#empty.slice();
    for (let i = 0; i < this.#kinds.length; i++) {
      length = bytes.readInt32BE(at);
      at += 4;
      if (length === -1) continue;
      values[this.#indexes[i]!] = decode(this.#kinds[i]!, bytes, at, length);
      at += length;
    }
    return { keyHash: this.#hash, event: { timestamp, arrivedAt, sequence, order, id, values } };
  }
}

/** Where the row at `at` ends; -1 when it is not whole. */
function rowEnd(bytes: Buffer, at: number): number {
  if (at + 2 > bytes.length) return -1;
  const fields = bytes.readInt16BE(at);
  at += 2;
  for (let i = 0; i < fields; i++) {
    if (at + 4 > bytes.length) return -1;
    at += 4 + Math.max(0, bytes.readInt32BE(at));
  }
  return at > bytes.length ? -1 : at;
}

function decode(kind: number, bytes: Buffer, at: number, length: number): Value {
  switch (kind) {
    case STRING:
      return bytes.toString('utf8', at, at + length);
    case INT64:
      return int64(bytes, at);
    case FLOAT64:
      return bytes.readDoubleBE(at);
    case BOOL:
      return bytes[at] === 1;
    default:
      return decodeList(kind - LIST_OF, bytes, at);
  }
}

function int64(bytes: Buffer, at: number): Int64 {
  const value = bytes.readInt32BE(at) * TWO_32 + bytes.readUInt32BE(at + 4);
  return Number.isSafeInteger(value) ? value : narrow(bytes.readBigInt64BE(at));
}

/**
 * An array in binary: dimensions (4 bytes; 0: it is empty), has nulls (4), type of its elements (4), per dimension its length (4) and
 * first index (4), then per element its length (4) and bytes. The archive's have one dimension and no nulls.
 */
function decodeList(kind: number, bytes: Buffer, at: number): List {
  const length = bytes.readInt32BE(at) === 0 ? 0 : bytes.readInt32BE(at + 12);
  let place = at + 20;
  return Array.from({ length }, () => {
    const size = bytes.readInt32BE(place);
    const element = decode(kind, bytes, place + 4, size);
    place += 4 + size;
    return element as List[number];
  });
}
