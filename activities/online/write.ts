/**
 * Records into Redis: the newest wins, whoever writes and in whichever order. A record begins
 *
 *   byte 0       layout
 *   bytes 1..8   a, big-endian uint64     aggregation views: sequence;  sql views and ticks: tick
 *   bytes 9..16  b, big-endian uint64                        as-of                          commit time
 *
 * and is written only when its (a, b) is greater than the stored one's. So replays, racing backfills and retries converge. The
 * same pair with other bytes must not be: the stored value stays and the row is reported.
 *
 * Of a version that nobody reads nothing is written. Redis itself looks, at the set that was published last: a writer that was stopped
 * between its transaction and this call, for however long, cannot bring a byte back (docs/decisions/0020).
 */
import type { Redis } from 'ioredis';
import { assert } from '../../core/assert.js';
import { onlineSetKey } from '../../core/serving-plan.js';
import { evaluate, script } from './script.js';

export interface RecordRow {
  /** onlineKey of the entity. */
  key: string;
  /** The view version's id. */
  field: string;
  record: Buffer;
}

export interface WriteCounts {
  written: number;
  /** The very record was there. */
  unchanged: number;
  /** A newer one was there. */
  stale: number;
  /** Nobody reads the version. */
  unread: number;
  /** Another record of the same (a, b) was there, or bytes that are no record. */
  conflict: number;
  /** Indexes of the rows in conflict, the first 20. */
  conflicts: number[];
}

const ROWS_PER_CALL = 100;
// Calls on their way at once: Redis is busy while the next ones are encoded.
const CALLS_AT_ONCE = 4;
const HEAD_BYTES = 17;

// Lua's numbers are doubles, and its comparison of strings goes by the locale: four words of 32 bits are exact and plain.
const WRITE = script(`
local written, unchanged, stale, unread, conflicts = 0, 0, 0, 0, {}
local isRead = {}
for i = 2, #KEYS do
  local field, record = ARGV[2 * i - 3], ARGV[2 * i - 2]
  if isRead[field] == nil then isRead[field] = redis.call('HEXISTS', KEYS[1], field) == 1 end
  local stored = redis.call('HGET', KEYS[i], field)
  local order = 1
  if stored then
    if #stored < ${HEAD_BYTES} then
      order = nil
    else
      local a, b, c, d = struct.unpack('>I4I4I4I4', record, 2)
      local p, q, r, s = struct.unpack('>I4I4I4I4', stored, 2)
      if a ~= p then order = a - p elseif b ~= q then order = b - q elseif c ~= r then order = c - r else order = d - s end
    end
  end
  if not isRead[field] then unread = unread + 1
  elseif order == nil then conflicts[#conflicts + 1] = i - 2
  elseif order > 0 then
    redis.call('HSET', KEYS[i], field, record)
    written = written + 1
  elseif order < 0 then stale = stale + 1
  elseif stored == record then unchanged = unchanged + 1
  else conflicts[#conflicts + 1] = i - 2
  end
end
return { written, unchanged, stale, unread, conflicts }
`);

export async function writeRecords(
  redis: Redis,
  environment: string,
  rows: readonly RecordRow[],
): Promise<WriteCounts> {
  const counts: WriteCounts = { written: 0, unchanged: 0, stale: 0, unread: 0, conflict: 0, conflicts: [] };
  const starts: number[] = [];
  for (let start = 0; start < rows.length; start += ROWS_PER_CALL) starts.push(start);
  for (let i = 0; i < starts.length; i += CALLS_AT_ONCE) {
    const calls = starts
      .slice(i, i + CALLS_AT_ONCE)
      .map((start) => writeBatch(redis, environment, rows, start, counts));
    // all have ended before an error is thrown: none goes on behind the back of a retry
    const failed = (await Promise.allSettled(calls)).find((call) => call.status === 'rejected');
    if (failed) throw failed.reason;
  }
  return counts;
}

async function writeBatch(
  redis: Redis,
  environment: string,
  rows: readonly RecordRow[],
  start: number,
  counts: WriteCounts,
): Promise<void> {
  const batch = rows.slice(start, start + ROWS_PER_CALL);
  for (const { record } of batch) assert(record.length >= HEAD_BYTES, `record of ${record.length} bytes`);
  const [written, unchanged, stale, unread, conflicts] = (await evaluate(
    redis,
    WRITE,
    [onlineSetKey(environment), ...batch.map(({ key }) => key)],
    batch.flatMap(({ field, record }) => [field, record]),
  )) as [number, number, number, number, number[]];
  counts.written += written;
  counts.unchanged += unchanged;
  counts.stale += stale;
  counts.unread += unread;
  counts.conflict += conflicts.length;
  for (const index of conflicts) if (counts.conflicts.length < 20) counts.conflicts.push(start + index);
}
