/**
 * Number of different values in several windows at once, each within the next. Each value is kept once, with the end of the hop (the
 * shortest one) of its last occurrence: that says when it leaves any of them. Of more than the limit those are kept that occurred last
 * (of equals the least), as in distinct.ts: a shorter window drops none of its own for others.
 */
import type { ScalarType } from '../definition.js';
import type { Event, Value } from '../event.js';
import { ceilTo } from '../time.js';
import type { DistinctState } from './distinct.js';
import { distinctOf } from './distinct.js';
import type { Span } from './nested.js';
import { endCodec, leavesSpan, leftBy, stepsOfLanes } from './nested.js';
import { leavings } from './newest.js';
import type { Part } from './part.js';
import { NEVER } from './part.js';

export interface NestedDistinctState extends DistinctState {
  /** What leaves by then has left. */
  until: number;
}

/** @param limit the value where there are more; Infinity: exact. @returns values: one count per span */
export function nestedDistinctPart(
  limit: number,
  type: ScalarType,
  input: (event: Event) => Value,
  spans: readonly Span[],
): Part<NestedDistinctState, number[], number> {
  const shortest = spans[0]!;
  const longest = spans.at(-1)!;
  const distinct = distinctOf(limit, type, input, endCodec(shortest));

  return {
    ...distinct,
    lanes: spans.length,
    create: () => ({ ...distinct.create(), until: -NEVER }),
    add: (state, event) => distinct.add(state, event, ceilTo(event.timestamp, shortest.hopMs)),
    leave(state, until) {
      state.until = Math.max(state.until, until);
      distinct.forget(state, leftBy(state.until, longest));
    },
    nextLeave: (state) =>
      spans.reduce((next, span) => {
        return within(state, span).reduce((next, end) => Math.min(next, leavesSpan(end, span)), next);
      }, NEVER),
    value: (state) => spans.map((span) => within(state, span).length),
    /** A change is how many values have their last occurrence leave. */
    steps: (state) => stepsOfLanes(spans, (span) => leavingsOf(state, span)),
    apply: (value, left, lane) => value.with(lane, value[lane]! - left),
    decodeState: (reader) => ({ ...distinct.decodeState(reader), until: -NEVER }),
    encodeValue(writer, value) {
      for (const count of value) writer.varint(count);
    },
    decodeValue: (reader) => spans.map(() => reader.varint()),
    encodeChange: (writer, left) => writer.varint(left),
    decodeChange: (reader) => reader.varint(),
  };
}

/** The ends of hops that are in a window. */
function within({ times, until }: NestedDistinctState, span: Span): number[] {
  const left = leftBy(until, span);
  return [...times.values()].filter((end) => end > left);
}

/** How many values leave a window, and when. */
export function leavingsOf(state: NestedDistinctState, span: Span): Array<{ at: number; change: number }> {
  const ends = within(state, span).sort((a, b) => a - b);
  return leavings(ends.map((end) => leavesSpan(end, span)));
}
