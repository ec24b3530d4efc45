/**
 * Sessions as events of their own: the rows of an entity cut where the pause is longer than the gap, each piece told as one row at its
 * last event + gap.
 */
import type { Sessions, Source } from '../core/definition.js';
import type { Value } from '../core/event.js';
import type { Row } from './aggregate.js';
import { exactSum, nearestDouble } from './exact.js';
import { evaluate, typeOf } from './expression.js';

/** What the session rows are rows of: the key columns, what every session has, the sums. */
export function sessionSource(sessions: Sessions, key: readonly string[], source: Source): Source {
  const columns: Source['columns'] = {
    started_at: { type: 'timestamp', nullable: false },
    ended_at: { type: 'timestamp', nullable: false },
    duration_ms: { type: 'int64', nullable: false },
    event_count: { type: 'int64', nullable: false },
  };
  for (const name of key) columns[name] = source.columns[name]!;
  for (const { name, value } of sessions.sums) {
    const type = typeOf(value, source) === 'int64' ? 'int64' : 'float64';
    columns[name] = { type, nullable: true };
  }
  return { ...source, columns };
}

/**
 * The sessions that have ended at `readAt`: from last + gap on. An event exactly then would have joined.
 * @param rows the known events that make sessions, oldest first
 */
export function endedSessions(
  sessions: Sessions,
  key: readonly string[],
  source: Source,
  rows: readonly Row[],
  readAt: number,
): Row[] {
  const pieces: Row[][] = [];
  for (const row of rows) {
    const last = pieces.at(-1)?.at(-1);
    if (last !== undefined && row.event.timestamp - last.event.timestamp <= sessions.gapMs)
      pieces.at(-1)!.push(row);
    else pieces.push([row]);
  }
  return pieces
    .map((piece) => rowOf(sessions, key, source, piece))
    .filter((row) => row.event.timestamp <= readAt);
}

/** Two sessions of an entity never end at one time, so nothing but the time orders them. */
function rowOf(sessions: Sessions, key: readonly string[], source: Source, piece: readonly Row[]): Row {
  const first = piece.at(0)!.event.timestamp;
  const last = piece.at(-1)!.event.timestamp;
  const columns = new Map<string, Value>([
    ['started_at', first],
    ['ended_at', last],
    ['duration_ms', last - first],
    ['event_count', piece.length],
  ]);
  for (const name of key) columns.set(name, piece[0]!.columns.get(name) ?? null);
  for (const { name, value } of sessions.sums) {
    const numbers = piece.map((row) => evaluate(value, source, row.columns)).filter((x) => x !== null);
    columns.set(name, typeOf(value, source) === 'int64' ? wholeSum(numbers) : doubleSum(numbers));
  }
  const timestamp = last + sessions.gapMs;
  return {
    event: { timestamp, arrivedAt: timestamp, sequence: 0, order: 0, id: '', values: [] },
    columns,
  };
}

/** Exact; null where no int64 column can hold it. */
function wholeSum(numbers: readonly Value[]): number | bigint | null {
  let sum = 0n;
  for (const number of numbers) sum += BigInt(number as number | bigint);
  if (sum < -(2n ** 63n) || sum >= 2n ** 63n) return null;
  return -(2n ** 53n) < sum && sum < 2n ** 53n ? Number(sum) : sum;
}

/** Exact, then rounded once; null beyond the doubles. */
function doubleSum(numbers: readonly Value[]): number | null {
  return nearestDouble(exactSum(numbers.map(Number)));
}
