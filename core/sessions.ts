/**
 * Sessions as a source: the archived events of an entity, each within `gapMs` of the one before, make one event of their own, at
 * last + gapMs, when it is certain that they are all. An event exactly then still joins. These session events are never stored: every
 * path derives them from the archived ones (docs/decisions/0014).
 *
 * The tracker keeps the open session, and of all that are closed only the end of the newest. An event that would join a closed one
 * cannot be taken in: what was closed has been counted. All else can, in any order, and gives the same state.
 */
import { assert } from './assert.js';
import type { ByteReader, ByteWriter } from './codec/bytes.js';
import type { Scalar } from './codec/scalar.js';
import { scalarCodecs } from './codec/scalar.js';
import type { ScalarType, Sessions, Source } from './definition.js';
import type { Event, Value } from './event.js';
import { columnNames } from './event.js';
import { type Adder, adderOf } from './exact.js';
import type { Inputs } from './expression.js';
import { compileExpression, typeOf } from './expression.js';
import { toInt64 } from './int64.js';

/** What every session event has beside its key and sums: `started_at` and `ended_at` are the timestamps of its first and last event. */
export const SESSION_COLUMNS = {
  started_at: { type: 'timestamp', nullable: false },
  ended_at: { type: 'timestamp', nullable: false },
  duration_ms: { type: 'int64', nullable: false },
  event_count: { type: 'int64', nullable: false },
} as const satisfies Source['columns'];

/**
 * The columns of session events. A sum of whole numbers is int64, else float64; null where an int64 cannot hold it (64 bits), or a
 * double, and 0 where nothing was added. A sum that is no number passes for float64: check.ts says so.
 * @param key the view's
 */
export function sessionColumns(
  { sums }: Sessions,
  key: readonly string[],
  columns: Source['columns'],
): Source['columns'] {
  const inputs = inputsOf(columns);
  return {
    ...Object.fromEntries(
      key.filter((name) => Object.hasOwn(columns, name)).map((name) => [name, columns[name]!]),
    ),
    ...Object.fromEntries(
      sums.map(({ name, value }) => [name, { type: sumType(value, inputs), nullable: true }]),
    ),
    ...SESSION_COLUMNS,
  };
}

function inputsOf(columns: Source['columns']): Inputs {
  return new Map(columnNames({ columns }).map((name, index) => [name, { ...columns[name]!, index }]));
}

function sumType(value: Sessions['sums'][number]['value'], inputs: Inputs): 'int64' | 'float64' {
  const result = typeOf(value, inputs);
  return 'type' in result && result.type === 'int64' ? 'int64' : 'float64';
}

export interface SessionState {
  /** Timestamp of the last event of the newest closed session; null: none is closed. */
  before: number | null;
  /** It begins more than the gap after `before`. What has ended by the as-of is closed when the state is next moved there. */
  open: Session | null;
}

interface Session {
  first: number;
  last: number;
  count: number;
  key: readonly Value[];
  totals: unknown[];
}

export interface SessionTracker {
  /** Of session events: their values stand in the order of `columnNames`. */
  columns: Source['columns'];
  /** Whether an archived event makes sessions at all. */
  accepts(event: Event): boolean;
  create(): SessionState;
  /** When not, the entity is rebuilt from all of its events: in event order every one can be taken in. */
  takesIn(state: SessionState, event: Event): boolean;
  /** @param asOf not before the event. @returns the events of the sessions that are over by it, in order of time */
  add(state: SessionState, event: Event, asOf: number): Event[];
  /** The event of the open session, if that has ended at or before `until`. */
  close(state: SessionState, until: number): Event | null;
  /** When the open session ends unless an event comes; null: none is open. */
  closesAt(state: SessionState): number | null;
  encode(writer: ByteWriter, state: SessionState): void;
  decode(reader: ByteReader): SessionState;
}

/** @param key the view's columns of the source */
export function sessionTracker(sessions: Sessions, key: readonly string[], source: Source): SessionTracker {
  const { gapMs } = sessions;
  const inputs = inputsOf(source.columns);
  const accepts = sessions.where === null ? () => true : compileExpression(sessions.where, inputs);
  const keys = key.map((name) => inputs.get(name)!);
  const sums = sessions.sums.map(({ value }) => ({
    adder: adderOf(sumType(value, inputs)),
    evaluate: compileExpression(value, inputs),
  }));

  const columns = sessionColumns(sessions, key, source.columns);
  const fields = new Map<string, (session: Session) => Value>([
    ['started_at', ({ first }) => first],
    ['ended_at', ({ last }) => last],
    ['duration_ms', ({ first, last }) => last - first],
    ['event_count', ({ count }) => count],
    ...key.map((name, index) => [name, ({ key }: Session) => key[index]!] as const),
    ...sessions.sums.map(
      ({ name }, index) => [name, ({ totals }: Session) => held(sums[index]!.adder, totals[index])] as const,
    ),
  ]);
  const reads = columnNames({ columns }).map((name) => fields.get(name)!);

  /** No two sessions of an entity end at one time, so neither order nor id decides anything. */
  function eventOf(session: Session): Event {
    const timestamp = session.last + gapMs;
    const values = reads.map((read) => read(session));
    return { timestamp, arrivedAt: timestamp, sequence: 0, order: 0, id: '', values };
  }

  function begin({ timestamp, values }: Event): Session {
    const key = keys.map(({ index }) => values[index] ?? null);
    return { first: timestamp, last: timestamp, count: 0, key, totals: sums.map(({ adder }) => adder.zero) };
  }

  function join(session: Session, { timestamp, values }: Event): Session {
    session.first = Math.min(session.first, timestamp);
    session.last = Math.max(session.last, timestamp);
    session.count += 1;
    sums.forEach(({ adder, evaluate }, index) => {
      const value = evaluate(values, timestamp);
      if (value !== null)
        session.totals[index] = adder.add(session.totals[index], adder.of(value as number | bigint));
    });
    return session;
  }

  return {
    columns,
    accepts: ({ values, timestamp }) => accepts(values, timestamp) === true,
    create: () => ({ before: null, open: null }),
    takesIn: ({ before }, { timestamp }) => before === null || timestamp - before > gapMs,
    add(state, event, asOf) {
      const { open } = state;
      const { timestamp } = event;
      // Not near `before`, or it would not be taken in: so it joins the open session, or is the first of one by itself.
      if (open !== null && open.first - timestamp <= gapMs && timestamp - open.last <= gapMs) {
        join(open, event);
        return [];
      }
      const own = join(begin(event), event);
      if (open !== null && timestamp < open.first) {
        state.before = timestamp;
        return [eventOf(own)];
      }
      // The open one is over; so may be the new one, where something that makes no session has moved the as-of on.
      const closed = open === null ? [] : [eventOf(open)];
      if (open !== null) state.before = open.last;
      const isOver = timestamp + gapMs <= asOf;
      if (isOver) {
        closed.push(eventOf(own));
        state.before = timestamp;
      }
      state.open = isOver ? null : own;
      return closed;
    },
    close(state, until) {
      const { open } = state;
      if (open === null || open.last + gapMs > until) return null;
      state.before = open.last;
      state.open = null;
      return eventOf(open);
    },
    closesAt: ({ open }) => (open === null ? null : open.last + gapMs),
    encode(writer, { before, open }) {
      writer.u8((before === null ? 0 : 1) | (open === null ? 0 : 2));
      if (before !== null) writer.signed(before);
      if (open === null) return;
      writer.signed(open.last);
      writer.varint(open.last - open.first);
      writer.varint(open.count);
      keys.forEach(({ type }, index) => {
        const value = open.key[index]!;
        assert(value !== null, 'an event without a key is of no entity');
        scalarCodecs[type as ScalarType].encode(writer, value as Scalar);
      });
      sums.forEach(({ adder }, index) => {
        adder.encode(writer, open.totals[index]);
      });
    },
    decode(reader) {
      const flags = reader.u8();
      const before = flags & 1 ? reader.signed() : null;
      if ((flags & 2) === 0) return { before, open: null };
      const last = reader.signed();
      return {
        before,
        open: {
          last,
          first: last - reader.varint(),
          count: reader.varint(),
          key: keys.map(({ type }) => scalarCodecs[type as ScalarType].decode(reader)),
          totals: sums.map(({ adder }) => adder.decode(reader)),
        },
      };
    },
  };
}

/** A total as a column's value: never rounded to fit, never wrapped. */
function held(adder: Adder<unknown>, total: unknown): number | bigint | null {
  const result = adder.result(total);
  if (typeof result === 'bigint') return toInt64(result);
  return Number.isFinite(result) ? result : null;
}
