/**
 * What grows with time alone is kept for a while: reads by the minute for 30 days (their totals stay), and for 90 days what came of
 * expectations at ticks and in streams, statistics of ticks, and how many rows they had. What came last stays, of ticks the last that was
 * published; so does the result that blocked one: it says why there is nothing. Those of backfills and training sets stay with them. The
 * audit stays.
 */
import { DAY, formatTimestamp } from '../core/time.js';
import type { Pool } from '../registry/sql.js';

const READS_MS = 30 * DAY;
const TICKS_MS = 90 * DAY;
/** Of each table at once. */
const BATCH = 10_000;

const OLD = [
  { table: 'read_count', keptMs: READS_MS, old: 'minute < $1' },
  {
    table: 'expectation_result',
    keptMs: TICKS_MS,
    old: `at < $1 and what in ('tick', 'stream') and (passed or severity = 'warn')
      and exists (select from expectation_result newer
                   where (newer.version_id, newer.expectation, newer.severity) = (old.version_id, old.expectation, old.severity)
                     and newer.at > old.at)`,
  },
  {
    table: 'feature_statistics',
    keptMs: TICKS_MS,
    old: `at < $1 and what = 'tick'
      and at < (select newer.at from feature_statistics newer join progress using (version_id)
                 where (version_id, newer.feature) = (old.version_id, old.feature) and newer.what in ('tick', 'backfill')
                   and case newer.what when 'tick' then newer.reference::timestamptz <= last_tick end
                 order by newer.at desc
                 limit 1)`,
  },
  {
    table: 'tick_rows',
    keptMs: TICKS_MS,
    old: `timestamptz 'epoch' + tick_ms * interval '1 ms' < $1
      and exists (select from tick_rows newer where newer.version_id = old.version_id and newer.tick_ms > old.tick_ms)`,
  },
];

/** A batch of what is old by now; the next call takes the next. Gives how many rows. */
export async function forget(pool: Pool, nowMs: number): Promise<number> {
  let forgotten = 0;
  for (const { table, keptMs, old } of OLD) {
    const { rowCount } = await pool.query(
      `delete from ${table} where ctid = any (array(
         select ctid from ${table} old where ${old} limit ${BATCH} for update skip locked))`,
      [formatTimestamp(nowMs - keptMs)],
    );
    forgotten += rowCount!;
  }
  return forgotten;
}
