/**
 * Number of different non-null values, exact up to a limit. Each value is kept with the time its last occurrence leaves. Of more than
 * the limit those are kept that leave last (of equals the least): while as many are left, there are at least so many, and once
 * there are fewer, they are all. What is dropped for them is never missed, whatever the order of events.
 */
import type { Scalar } from '../codec/scalar.js';
import { compareScalars, scalarCodecs } from '../codec/scalar.js';
import type { ScalarType } from '../definition.js';
import type { Event, Value } from '../event.js';
import { decodeLeaves, encodeLeaves } from './newest.js';
import type { Part, Step } from './part.js';
import { NEVER } from './part.js';

export interface DistinctState {
  leaves: Map<Scalar, number>;
  /** The least of them, so that a tick at which nothing leaves costs nothing; null: to be looked for. */
  soonest: number | null;
}

/** @param limit the value where there are more; Infinity: exact */
export function distinctPart(
  limit: number,
  type: ScalarType,
  input: (event: Event) => Value,
): Part<DistinctState, number, number> {
  const codec = scalarCodecs[type];
  function prune(state: DistinctState): void {
    const last = [...state.leaves].sort(([a, x], [b, y]) => (x === y ? compareScalars(a, b) : y - x));
    state.leaves = new Map(last.slice(0, limit));
    state.soonest = null;
  }
  return {
    create: () => ({ leaves: new Map(), soonest: NEVER }),
    add(state, event, leaves) {
      const value = input(event) as Scalar | null;
      if (value === null) return;
      const known = state.leaves.get(value);
      if (known !== undefined && known >= leaves) return;
      state.leaves.set(value, leaves);
      if (state.soonest === null || known === state.soonest) state.soonest = null;
      else state.soonest = Math.min(state.soonest, leaves);
      if (state.leaves.size >= 2 * limit) prune(state);
    },
    leave(state, until) {
      if (state.leaves.size > limit) prune(state);
      if (soonest(state) > until) return;
      for (const [value, leaves] of state.leaves) if (leaves <= until) state.leaves.delete(value);
      state.soonest = null;
    },
    nextLeave: soonest,
    value: (state) => state.leaves.size,
    /** A change is how many values have their last occurrence leave. */
    steps(state) {
      const steps: Step<number>[] = [];
      for (const at of [...state.leaves.values()]
        .filter((leaves) => leaves !== NEVER)
        .sort((a, b) => a - b)) {
        const step = steps[steps.length - 1];
        if (step?.at === at) step.change += 1;
        else steps.push({ at, change: 1 });
      }
      return steps;
    },
    apply: (value, left) => value - left,
    encodeState(writer, state) {
      const entries = [...state.leaves].sort((a, b) => compareScalars(a[0], b[0]));
      writer.varint(entries.length);
      for (const [value, leaves] of entries) {
        codec.encode(writer, value);
        encodeLeaves(writer, leaves);
      }
    },
    decodeState(reader) {
      const leaves = new Map<Scalar, number>();
      for (let count = reader.varint(); count > 0; count--)
        leaves.set(codec.decode(reader), decodeLeaves(reader));
      return { leaves, soonest: null };
    },
    encodeValue: (writer, value) => writer.varint(value),
    decodeValue: (reader) => reader.varint(),
    encodeChange: (writer, left) => writer.varint(left),
    decodeChange: (reader) => reader.varint(),
  };
}

function soonest(state: DistinctState): number {
  if (state.soonest === null) {
    let least = NEVER;
    for (const leaves of state.leaves.values()) if (leaves < least) least = leaves;
    state.soonest = least;
  }
  return state.soonest;
}
