/**
 * Rows of a view version: its values as typed columns, one row per entity and tick where something stored changed. Only added;
 * a row that is there stays as it is, so writing the same rows again changes nothing.
 */

import { valueEncoder } from '../../core/codec/json.js';
import { decodeKey } from '../../core/codec/key.js';
import type { Entity, FeatureType, StoredView } from '../../core/definition.js';
import type { FeatureValue, Value } from '../../core/event.js';
import { formatTimestamp } from '../../core/time.js';
import { isMap } from '../../core/value-map.js';
import { type Pool, type PoolClient, quote } from '../../registry/sql.js';
import { rowsTable } from '../../registry/tables.js';
import { type CopyText, type CopyValue, copyField, copyInto, copyLine } from './copy.js';

/** Whose rows. */
export interface RowsOf {
  id: number;
  view: StoredView;
  entity: Entity;
}

export interface Row {
  tickMs: number;
  /** null: from here on the entity has no events. */
  eventMs: number | null;
  /** In the view's feature order; what is missing is null. */
  values: readonly FeatureValue[];
  /** Canonical values of an aggregation view; null: a sql view's. */
  record: Uint8Array | null;
}

/** The database's clock as epoch ms: what is stored as a time of the platform comes from it. */
export const CLOCK = `floor(extract(epoch from clock_timestamp()) * 1000)::bigint`;

// Exact in every year: whole seconds fit a double, their milliseconds an interval.
const EVENT_TIMESTAMP = `to_timestamp(event_ms / 1000) + event_ms % 1000 * interval '1 millisecond'`;

/** What is the same in every row of an entity. */
export interface RowsEntity {
  key: Uint8Array;
  keyHash: bigint;
}

/** Makes rows of an entity into lines for `insertRows`; what they share is said once. */
export function rowLines({ view, entity }: RowsOf, { key, keyHash }: RowsEntity): (row: Row) => string {
  const shared = copyLine([...decodeKey(entity, key), key, keyHash]).slice(0, -1);
  const { features } = view;
  return ({ tickMs, eventMs, values, record }) => {
    let line = `${shared}\t${tickMs}\t${copyField(eventMs)}`;
    for (let i = 0; i < features.length; i++)
      line += `\t${copyField(stored(features[i]!.type, values[i] ?? null))}`;
    return `${line}\t${copyField(record)}\n`;
  };
}

function stored(type: FeatureType, value: FeatureValue): CopyValue {
  if (value !== null && type === 'timestamp') return formatTimestamp(value as number);
  if (value !== null && isMap(type)) return valueEncoder(type)(value);
  return value as Value;
}

function columns({ view, entity }: RowsOf): string {
  return [
    ...entity.keys.map(({ name }) => quote(name)),
    'key, key_hash, tick_ms, event_ms',
    ...view.features.map(({ name }) => quote(name)),
    'record',
  ].join(', ');
}

/** Adds what is not there yet, in the caller's transaction, and gives how many that were. @param lines made by rowLines */
export async function insertRows(client: PoolClient, of: RowsOf, lines: CopyText): Promise<number> {
  if (lines.lines === 0) return 0;
  const names = columns(of);
  await copyToTemporary(client, of, lines);
  const { rowCount } = await client.query(
    `insert into ${rowsTable(of.id)} (${names}, event_timestamp, committed_ms)
     select ${names}, ${EVENT_TIMESTAMP}, ${CLOCK} from incoming_rows on conflict (key, tick_ms) do nothing`,
  );
  return rowCount ?? 0;
}

/** Adds those that differ from their entity's row before them: rows of one tick of a sql view. */
export async function insertChangedRows(client: PoolClient, of: RowsOf, lines: CopyText): Promise<number> {
  if (lines.lines === 0) return 0;
  const names = columns(of);
  const compared = ['event_ms', ...of.view.features.map(({ name }) => quote(name))];
  const list = (alias: string): string => compared.map((name) => `${alias}.${name}`).join(', ');
  await copyToTemporary(client, of, lines);
  const { rowCount } = await client.query(
    `insert into ${rowsTable(of.id)} (${names}, event_timestamp, committed_ms)
     select ${names}, ${EVENT_TIMESTAMP}, ${CLOCK} from incoming_rows as incoming
      where not exists (
        select 1
          from (select * from ${rowsTable(of.id)} as stored
                 where stored.key = incoming.key and stored.tick_ms < incoming.tick_ms
                 order by stored.tick_ms desc limit 1) as before
         where (${list('before')}) is not distinct from (${list('incoming')}))
     on conflict (key, tick_ms) do nothing`,
  );
  return rowCount ?? 0;
}

async function copyToTemporary(client: PoolClient, of: RowsOf, lines: CopyText): Promise<void> {
  const names = columns(of);
  await client.query(
    `create temporary table incoming_rows on commit drop as select ${names} from ${rowsTable(of.id)} with no data`,
  );
  await copyInto(client, `incoming_rows (${names})`, lines);
}

/** A stored row of a sql view. */
export interface StoredRow {
  key: Uint8Array;
  tickMs: number;
  committedMs: number;
  eventMs: number;
  values: FeatureValue[];
}

type RowCells = [
  key: Buffer,
  tickMs: number,
  committedMs: number,
  eventMs: number,
  ...values: FeatureValue[],
];

/** Newest rows per entity, in order of key, some thousands at a time; with `tickMs`, only those of that tick. */
export async function* readNewestRows(
  pool: Pool,
  of: RowsOf,
  { tickMs, limit = 5_000 }: { tickMs?: number; limit?: number } = {},
): AsyncGenerator<StoredRow[]> {
  const features = of.view.features.map(({ name }) => quote(name)).join(', ');
  let after: Buffer | null = null;
  for (;;) {
    const { rows }: { rows: RowCells[] } = await pool.query<RowCells>({
      rowMode: 'array',
      text: `select distinct on (key) key, tick_ms, committed_ms, event_ms, ${features}
               from ${rowsTable(of.id)}
              where ($1::bytea is null or key > $1) and ($2::bigint is null or tick_ms = $2)
              order by key, tick_ms desc
              limit $3`,
      values: [after, tickMs ?? null, limit],
    });
    if (rows.length > 0)
      yield rows.map(([key, tick, committedMs, eventMs, ...values]) => ({
        key,
        tickMs: tick,
        committedMs,
        eventMs,
        values,
      }));
    if (rows.length < limit) return;
    after = rows.at(-1)![0];
  }
}
