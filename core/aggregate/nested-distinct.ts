/**
 * Number of different values in several windows at once, each within the next. Each value is kept once, with the end of the hop (the
 * shortest one) of its last occurrence: that says when it leaves any of them. Of more than the limit those are kept that occurred last
 * (of equals the least), as in distinct.ts: a shorter window drops none of its own for others.
 */
import type { Scalar } from '../codec/scalar.js';
import { compareScalars, scalarCodecs } from '../codec/scalar.js';
import type { ScalarType } from '../definition.js';
import type { Event, Value } from '../event.js';
import { ceilTo } from '../time.js';
import type { Span } from './nested.js';
import { leavesSpan, stepsOfLanes } from './nested.js';
import type { Part } from './part.js';
import { NEVER } from './part.js';

export interface NestedDistinctState {
  ends: Map<Scalar, number>;
  /** What leaves by then has left. */
  until: number;
  /** When the next value leaves a window; null: to be looked for. */
  soonest: number | null;
}

/** @param limit the value where there are more; Infinity: exact. @returns values: one count per span */
export function nestedDistinctPart(
  limit: number,
  type: ScalarType,
  input: (event: Event) => Value,
  spans: readonly Span[],
): Part<NestedDistinctState, number[], number> {
  const codec = scalarCodecs[type];
  const longest = spans.at(-1)!;

  function prune(state: NestedDistinctState): void {
    const last = [...state.ends].sort(([a, x], [b, y]) => (x === y ? compareScalars(a, b) : y - x));
    state.ends = new Map(last.slice(0, limit));
    state.soonest = null;
  }

  function soonest(state: NestedDistinctState): number {
    if (state.soonest === null) {
      let next = NEVER;
      for (const end of state.ends.values())
        for (const span of spans) {
          const at = leavesSpan(end, span);
          if (at > state.until && at < next) next = at;
        }
      state.soonest = next;
    }
    return state.soonest;
  }

  return {
    lanes: spans.length,
    create: () => ({ ends: new Map(), until: -NEVER, soonest: NEVER }),
    add(state, event) {
      const value = input(event) as Scalar | null;
      if (value === null) return;
      const end = ceilTo(event.timestamp, spans[0]!.hopMs);
      const known = state.ends.get(value);
      if (known !== undefined && known >= end) return;
      state.ends.set(value, end);
      state.soonest = null;
      if (state.ends.size >= 2 * limit) prune(state);
    },
    leave(state, until) {
      if (state.ends.size > limit) prune(state);
      if (until <= state.until) return;
      const next = soonest(state);
      state.until = until;
      if (next > until) return;
      state.soonest = null;
      for (const [value, end] of state.ends) if (leavesSpan(end, longest) <= until) state.ends.delete(value);
    },
    nextLeave: soonest,
    value: ({ ends, until }) =>
      spans.map((span) => {
        let count = 0;
        for (const end of ends.values()) if (leavesSpan(end, span) > until) count += 1;
        return count;
      }),
    /** A change is how many values have their last occurrence leave. */
    steps: ({ ends, until }) =>
      stepsOfLanes(spans, (span) => {
        const times = [...ends.values()].map((end) => leavesSpan(end, span)).sort((a, b) => a - b);
        const steps: Array<{ at: number; change: number }> = [];
        for (const at of times) {
          if (at <= until) continue;
          if (steps.at(-1)?.at === at) steps.at(-1)!.change += 1;
          else steps.push({ at, change: 1 });
        }
        return steps;
      }),
    apply: (value, left, lane) => value.with(lane, value[lane]! - left),
    encodeState(writer, { ends }) {
      writer.varint(ends.size);
      for (const [value, end] of [...ends].sort((a, b) => compareScalars(a[0], b[0]))) {
        codec.encode(writer, value);
        writer.signed(end);
      }
    },
    decodeState(reader) {
      const ends = new Map<Scalar, number>();
      for (let count = reader.varint(); count > 0; count--) ends.set(codec.decode(reader), reader.signed());
      return { ends, until: -NEVER, soonest: null };
    },
    encodeValue(writer, value) {
      for (const count of value) writer.varint(count);
    },
    decodeValue: (reader) => spans.map(() => reader.varint()),
    encodeChange: (writer, left) => writer.varint(left),
    decodeChange: (reader) => reader.varint(),
  };
}
