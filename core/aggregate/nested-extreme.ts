/**
 * Least or greatest number in several windows at once, each within the next. One staircase (extreme.ts) serves all: its steps are told
 * apart by the shortest hop, and what a later event beats in one window it beats in each, since it leaves no sooner. A window's value is
 * the first step that has not left it.
 */
import type { Codec } from '../codec/scalar.js';
import { nullable, scalarCodecs } from '../codec/scalar.js';
import type { ScalarType } from '../definition.js';
import type { Event, Value } from '../event.js';
import type { Int64 } from '../int64.js';
import { ceilTo } from '../time.js';
import type { Span } from './nested.js';
import { leavesSpan, leftBy, stepsOfLanes } from './nested.js';
import type { Part } from './part.js';
import { NEVER } from './part.js';
import type { Tiles } from './tiles.js';
import { createTiles, decodeTiles, encodeTiles, firstAtOrAfter, takeLeft } from './tiles.js';

interface NestedExtremeState {
  /** By the end of the hop in which they happened. */
  stairs: Tiles<Int64>;
  /** What leaves by then has left. */
  until: number;
}

/** @param sign 1: the greatest; -1: the least. @returns values: one per span, null where it is empty */
export function nestedExtremePart(
  sign: 1 | -1,
  type: ScalarType,
  input: (event: Event) => Value,
  spans: readonly Span[],
): Part<NestedExtremeState, Array<Int64 | null>, Int64 | null> {
  const codec = scalarCodecs[type] as Codec<Int64>;
  const maybe = nullable(codec);
  const beats = (a: Int64, b: Int64): boolean => (sign === 1 ? a >= b : a <= b);
  const last = spans.length - 1;

  /** Where in the staircase a window begins. */
  const first = ({ stairs, until }: NestedExtremeState, lane: number): number =>
    firstAtOrAfter(stairs.leaves, leftBy(until, spans[lane]!) + 1);

  return {
    lanes: spans.length,
    create: () => ({ stairs: createTiles(), until: -NEVER }),
    add({ stairs: { leaves: ends, contents } }, event) {
      const value = input(event) as Int64 | null;
      if (value === null) return;
      const end = ceilTo(event.timestamp, spans[0]!.hopMs);
      const index = firstAtOrAfter(ends, end);
      if (index < ends.length && beats(contents[index]!, value)) return;
      let hidden = index;
      while (hidden > 0 && beats(value, contents[hidden - 1]!)) hidden--;
      const after = ends[index] === end ? index + 1 : index;
      ends.splice(hidden, after - hidden, end);
      contents.splice(hidden, after - hidden, value);
    },
    leave(state, until) {
      state.until = Math.max(state.until, until);
      takeLeft(state.stairs, leftBy(state.until, spans[last]!));
    },
    nextLeave(state) {
      const { leaves: ends } = state.stairs;
      return spans.reduce((next, span, lane) => {
        const index = first(state, lane);
        return index === ends.length ? next : Math.min(next, leavesSpan(ends[index]!, span));
      }, NEVER);
    },
    value: (state) => spans.map((_, lane) => state.stairs.contents[first(state, lane)] ?? null),
    steps: (state) =>
      stepsOfLanes(spans, (span, lane) => {
        const { leaves: ends, contents } = state.stairs;
        const steps: Array<{ at: number; change: Int64 | null }> = [];
        for (let index = first(state, lane); index < ends.length; index++) {
          const at = leavesSpan(ends[index]!, span);
          const change = contents[index + 1] ?? null;
          if (steps.at(-1)?.at === at) steps.at(-1)!.change = change;
          else steps.push({ at, change });
        }
        return steps;
      }),
    apply: (value, next, lane) => value.with(lane, next),
    encodeState(writer, { stairs }) {
      encodeTiles(writer, stairs, (value) => codec.encode(writer, value));
    },
    decodeState: (reader) => ({
      stairs: decodeTiles(reader, () => codec.decode(reader)),
      until: -NEVER,
    }),
    encodeValue(writer, value) {
      for (const one of value) maybe.encode(writer, one);
    },
    decodeValue: (reader) => spans.map(() => maybe.decode(reader)),
    encodeChange: (writer, value) => maybe.encode(writer, value),
    decodeChange: (reader) => maybe.decode(reader),
  };
}
