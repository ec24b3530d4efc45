/**
 * How far a view version is (view_progress) and when serving had each of its ticks (tick). A tick is published once; what is
 * written here only goes forward, so writing it again changes nothing.
 */
import { ticksOf } from '../../core/sweep.js';
import { floorTo } from '../../core/time.js';
import type { StoredVersion } from '../../registry/resolve.js';
import type { Pool, PoolClient } from '../../registry/sql.js';
import { rowsTable } from '../../registry/tables.js';
import { CLOCK } from './rows.js';

export interface VersionProgress {
  /** Every event up to here is in records and snapshots, or enters at a later tick. */
  sequence: number;
  /** Oldest tick that has rows; null: none. */
  firstTickMs: number | null;
  /** Newest tick that is published (streaming: whose rows are written); null: none. */
  lastTickMs: number | null;
}

/** Null: the version was never backfilled, nor attached to a stream. */
export async function findProgress(
  db: Pool | PoolClient,
  versionId: number,
): Promise<VersionProgress | null> {
  const { rows } = await db.query<VersionProgress>(
    `select sequence, first_tick_ms as "firstTickMs", last_tick_ms as "lastTickMs" from view_progress where version_id = $1`,
    [versionId],
  );
  return rows[0] ?? null;
}

/** Cadence and settle of a version's ticks. */
export function cadenceOf({ view }: StoredVersion): { cadenceMs: number; settleMs: number } {
  return view.kind === 'sql' ? { cadenceMs: view.cadenceMs, settleMs: view.settleMs } : ticksOf(view);
}

/** The newest tick that is complete at `nowMs`: nothing that arrives from now on is seen by it. */
export function newestCompleteTick(version: StoredVersion, nowMs: number): number {
  const { cadenceMs, settleMs } = cadenceOf(version);
  return floorTo(nowMs - settleMs - 1, cadenceMs);
}

/** Whether serving reads the version tick by tick; a streaming view's ticks are for people only. */
export function servedByTick({ view }: StoredVersion): boolean {
  return view.kind === 'sql' || view.mode.type === 'batch';
}

/**
 * Whether the version has ticks though it was never backfilled: it went live before the first event of its topic, and nothing but
 * the topic brings any. What a file or a table tells comes in by an import, and then by a backfill.
 */
export function beginsLive(version: StoredVersion): boolean {
  return (
    !servedByTick(version) &&
    (version.state === 'live' || version.state === 'deprecated') &&
    version.source!.input.type === 'topic'
  );
}

/**
 * Publishes the ticks from `start` to `end`, both inside, and moves the progress there. The first ticks a version gets, and those
 * before them, count as published when they had settled; every later one was not there before now.
 * @param sequence the archive's bound they were computed with; null: leave the progress' where it is
 */
export async function recordTicks(
  client: PoolClient,
  version: StoredVersion,
  { start, end, sequence }: { start: number; end: number; sequence: number | null },
): Promise<void> {
  await client.query(
    `insert into view_progress (version_id) values ($1) on conflict (version_id) do update set version_id = excluded.version_id`,
    [version.id],
  ); // its row is locked from here on
  const last = (await findProgress(client, version.id))!.lastTickMs;
  const { cadenceMs, settleMs } = cadenceOf(version);
  if (servedByTick(version))
    await client.query(
      `insert into tick (version_id, tick_ms, published_ms, backfilled)
       select $1, tick, case when settled then tick + $5 else now end, settled
         from generate_series($2::bigint, $3::bigint, $4::bigint) as tick,
              lateral (select $6::bigint is null or tick <= $6 as settled, ${CLOCK} as now) as known
       on conflict (version_id, tick_ms) do nothing`,
      [version.id, start, end, cadenceMs, settleMs, last],
    );
  const newest =
    version.view.kind === 'sql'
      ? `select max(event_ms) from ${rowsTable(version.id)}`
      : 'select max(event_ms) from snapshot where version_id = $1';
  await client.query(
    `update view_progress
        set first_tick_ms = least(first_tick_ms, $4), last_tick_ms = greatest(last_tick_ms, $2),
            sequence = greatest(sequence, $3::bigint),
            last_event_ms = greatest(last_event_ms, (${newest})), last_write = clock_timestamp()
      where version_id = $1`,
    [version.id, end, sequence, start],
  );
}

export async function readClock(db: Pool | PoolClient): Promise<number> {
  const { rows } = await db.query<{ now: number }>(`select ${CLOCK} as now`);
  return rows[0]!.now;
}

export async function readGeneration(db: Pool | PoolClient): Promise<string> {
  const { rows } = await db.query<{ generation: string }>('select generation::text from generation');
  return rows[0]!.generation;
}
