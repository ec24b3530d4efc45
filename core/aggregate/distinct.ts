/**
 * Number of different non-null values, exact up to a limit. Each value is kept with the time its last occurrence leaves. Of more than
 * the limit those are kept that leave last (of equals the least): while as many are left, there are at least so many, and once
 * there are fewer, they are all. What is dropped for them is never missed, whatever the order of events.
 */
import type { ByteReader, ByteWriter } from '../codec/bytes.js';
import type { Codec, Scalar } from '../codec/scalar.js';
import { compareScalars, scalarCodecs } from '../codec/scalar.js';
import type { ScalarType } from '../definition.js';
import type { Event, Value } from '../event.js';
import { leavesCodec, leavings } from './newest.js';
import type { Part } from './part.js';
import { NEVER } from './part.js';

/** @param limit the value where there are more; Infinity: exact */
export function distinctPart(
  limit: number,
  type: ScalarType,
  input: (event: Event) => Value,
): Part<DistinctState, number, number> {
  const distinct = distinctOf(limit, type, input, leavesCodec);
  return {
    ...distinct,
    leave: (state, until) => distinct.forget(state, until),
    nextLeave: soonest,
    value: ({ times }) => times.size,
    steps: ({ times }) => leavings([...times.values()].sort((a, b) => a - b)),
    apply: (value, left) => value - left,
    encodeValue: (writer, value) => writer.varint(value),
    decodeValue: (reader) => reader.varint(),
    encodeChange: (writer, left) => writer.varint(left),
    decodeChange: (reader) => reader.varint(),
  };
}

export interface DistinctState {
  /** Of each value's last occurrence, what tells when it leaves: that time, or another in the same order. */
  times: Map<Scalar, number>;
  /** The least of them, so that a tick at which nothing leaves costs nothing; null: to be looked for. */
  soonest: number | null;
}

/** What is kept, whatever the windows. */
export function distinctOf(
  limit: number,
  type: ScalarType,
  input: (event: Event) => Value,
  timeCodec: Codec<number>,
) {
  const codec = scalarCodecs[type];

  function prune(state: DistinctState): void {
    const last = [...state.times].sort(([a, x], [b, y]) => (x === y ? compareScalars(a, b) : y - x));
    state.times = new Map(last.slice(0, limit));
    state.soonest = null;
  }

  return {
    create: (): DistinctState => ({ times: new Map(), soonest: NEVER }),
    add(state: DistinctState, event: Event, time: number): void {
      const value = input(event) as Scalar | null;
      if (value === null) return;
      const known = state.times.get(value);
      if (known !== undefined && known >= time) return;
      state.times.set(value, time);
      if (state.soonest === null || known === state.soonest) state.soonest = null;
      else state.soonest = Math.min(state.soonest, time);
      if (state.times.size >= 2 * limit) prune(state);
    },
    /** What is not after `left`. */
    forget(state: DistinctState, left: number): void {
      if (state.times.size > limit) prune(state);
      if (soonest(state) > left) return;
      for (const [value, time] of state.times) if (time <= left) state.times.delete(value);
      state.soonest = null;
    },
    encodeState(writer: ByteWriter, { times }: DistinctState): void {
      writer.varint(times.size);
      for (const [value, time] of [...times].sort(([a], [b]) => compareScalars(a, b))) {
        codec.encode(writer, value);
        timeCodec.encode(writer, time);
      }
    },
    decodeState(reader: ByteReader): DistinctState {
      const times = new Map<Scalar, number>();
      for (let count = reader.varint(); count > 0; count--)
        times.set(codec.decode(reader), timeCodec.decode(reader));
      return { times, soonest: null };
    },
  };
}

function soonest(state: DistinctState): number {
  if (state.soonest === null) {
    state.soonest = NEVER;
    for (const time of state.times.values()) if (time < state.soonest) state.soonest = time;
  }
  return state.soonest;
}
