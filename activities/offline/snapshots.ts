/**
 * Snapshots: the whole state of an entity in a view version, from which restart, materialize and refill start. The newest wins,
 * whoever writes and in whichever order, as with records online.
 */
import type { CompiledView } from '../../core/compile.js';
import { decodeHeader, encodeRecord, RECORD_BYTES } from '../../core/record.js';
import { encodeState, nextStep, type State } from '../../core/state.js';
import type { Pool, PoolClient } from '../../registry/sql.js';
import type { HashRange } from './archive.js';
import { type CopyText, copyInto, copyLine } from './copy.js';

export interface Snapshot {
  key: Uint8Array;
  keyHash: bigint;
  /** encodeState. */
  state: Uint8Array;
}

/** A state that is not blank as a line for `writeSnapshots`. */
export function snapshotLine(
  compiled: CompiledView,
  { key, keyHash }: { key: Uint8Array; keyHash: bigint },
  state: State,
): string {
  const bytes = encodeState(compiled, state);
  return copyLine([
    key,
    keyHash,
    state.sequence,
    state.asOf,
    state.eventCount > 0 ? state.eventTimestamp : null,
    nextStep(compiled, state),
    compiled.view.mode.type === 'streaming' ? refreshOf(compiled, state) : null,
    bytes,
  ]);
}

/** When the online record of the state ends, though its steps go on; null: it holds them all. */
function refreshOf(compiled: CompiledView, state: State): number | null {
  return decodeHeader(encodeRecord(compiled, state, { maxBytes: RECORD_BYTES })).refreshAt;
}

const COLUMNS = 'key, key_hash, sequence, as_of_ms, event_ms, next_step_ms, refresh_ms, state';

/**
 * Writes those that are newer than what is there: a batch view's by as-of (its tick), a streaming view's by (sequence, as-of). In
 * the caller's transaction. @param lines made by snapshotLine, at most one per entity
 */
export async function writeSnapshots(
  client: PoolClient,
  versionId: number,
  mode: 'batch' | 'streaming',
  lines: CopyText,
): Promise<number> {
  if (lines.lines === 0) return 0;
  await client.query(
    `create temporary table incoming_snapshots on commit drop as select ${COLUMNS} from snapshot with no data`,
  );
  await copyInto(client, `incoming_snapshots (${COLUMNS})`, lines);
  const newer =
    mode === 'batch'
      ? 'excluded.as_of_ms > snapshot.as_of_ms'
      : '(excluded.sequence, excluded.as_of_ms) > (snapshot.sequence, snapshot.as_of_ms)';
  // in order of key: two writers of the same entities wait for each other instead of deadlocking
  const { rowCount } = await client.query(
    `insert into snapshot (version_id, ${COLUMNS})
     select $1, ${COLUMNS} from incoming_snapshots order by key
     on conflict (version_id, key) do update
        set sequence = excluded.sequence, as_of_ms = excluded.as_of_ms, event_ms = excluded.event_ms,
            next_step_ms = excluded.next_step_ms, refresh_ms = excluded.refresh_ms, state = excluded.state
      where ${newer}`,
    [versionId],
  );
  return rowCount ?? 0;
}

interface SnapshotRow {
  key: Buffer;
  hash: string;
  state: Buffer;
}

const snapshotOf = ({ key, hash, state }: SnapshotRow): Snapshot => ({ key, keyHash: BigInt(hash), state });

/** Snapshots of a range of hashes, in order of hash, some thousands at a time. */
export async function* readSnapshots(
  pool: Pool,
  versionId: number,
  { start, end }: HashRange,
  /** Only those moved after this as-of. */
  { asOfAfter, limit = 5_000 }: { asOfAfter?: number; limit?: number } = {},
): AsyncGenerator<Snapshot[]> {
  let after = null as { hash: string; key: Buffer } | null;
  for (;;) {
    const { rows }: { rows: SnapshotRow[] } = await pool.query<SnapshotRow>(
      `select key, key_hash::text as hash, state from snapshot
        where version_id = $1 and key_hash between $2 and $3
          and ($4::bigint is null or (key_hash, key) > ($4, $5::bytea))
          and ($6::bigint is null or as_of_ms > $6)
        order by key_hash, key limit $7`,
      [
        versionId,
        String(after?.hash ?? start),
        String(end),
        after?.hash ?? null,
        after?.key ?? null,
        asOfAfter ?? null,
        limit,
      ],
    );
    if (rows.length > 0) yield rows.map(snapshotOf);
    if (rows.length < limit) return;
    after = rows.at(-1)!;
  }
}

/** Those of a range whose value changes by itself up to `until`; with `movedAfter`, also those whose as-of is later than that. */
export async function listDueSnapshots(
  pool: Pool,
  versionId: number,
  { start, end }: HashRange,
  until: number,
  movedAfter: number | null,
): Promise<Snapshot[]> {
  const { rows } = await pool.query<SnapshotRow>(
    `select key, key_hash::text as hash, state from snapshot
      where version_id = $1 and key_hash between $2 and $3 and (next_step_ms <= $4 or as_of_ms > $5)`,
    [versionId, String(start), String(end), until, movedAfter],
  );
  return rows.map(snapshotOf);
}

/** Where a page of `listEnding` ended. */
export interface Ending {
  refreshMs: number;
  key: Uint8Array;
}

/** Snapshots of a version whose online record ends behind a place and up to `until`: the first `limit`, in order. */
export async function listEnding(
  pool: Pool,
  versionId: number,
  { after, until, limit }: { after: Ending; until: number; limit: number },
): Promise<Ending[]> {
  const { rows } = await pool.query<{ refreshMs: number; key: Buffer }>(
    `select refresh_ms as "refreshMs", key from snapshot
      where version_id = $1 and (refresh_ms, key) > ($2, $3) and refresh_ms <= $4 order by refresh_ms, key limit $5`,
    [versionId, after.refreshMs, Buffer.from(after.key), until, limit],
  );
  return rows;
}

/** How many entities of the version are due by `until`. */
export async function countDueSnapshots(pool: Pool, versionId: number, until: number): Promise<number> {
  const { rows } = await pool.query<{ count: number }>(
    'select count(*) as count from snapshot where version_id = $1 and next_step_ms <= $2',
    [versionId, until],
  );
  return rows[0]!.count;
}

export async function countSnapshots(pool: Pool, versionId: number): Promise<number> {
  const { rows } = await pool.query<{ count: number }>(
    'select count(*) as count from snapshot where version_id = $1',
    [versionId],
  );
  return rows[0]!.count;
}

/** The snapshots that these entities have. */
export async function findSnapshots(
  pool: Pool,
  versionId: number,
  keys: readonly Uint8Array[],
): Promise<Snapshot[]> {
  const found: Snapshot[] = [];
  for (let i = 0; i < keys.length; i += 2_000) {
    const { rows } = await pool.query<SnapshotRow>(
      'select key, key_hash::text as hash, state from snapshot where version_id = $1 and key = any($2::bytea[])',
      [versionId, keys.slice(i, i + 2_000).map((key) => Buffer.from(key))],
    );
    found.push(...rows.map(snapshotOf));
  }
  return found;
}
