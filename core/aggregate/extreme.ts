/**
 * Least or greatest number. The state is a staircase: of the events in the window only those that no later-leaving one
 * beats, leaving times ascending, values getting worse. The first is the value now, the rest are the coming steps.
 */

import type { Codec } from '../codec/scalar.js';
import { nullable, scalarCodecs } from '../codec/scalar.js';
import type { ScalarType } from '../definition.js';
import type { Event, Value } from '../event.js';
import type { Int64 } from '../int64.js';
import type { Part } from './part.js';
import { NEVER } from './part.js';
import type { Tiles } from './tiles.js';
import { createTiles, decodeTiles, encodeTiles, firstAtOrAfter, takeLeft } from './tiles.js';

interface ExtremeState {
  /** Of a lifetime window: the value. */
  forever: Int64 | null;
  stairs: Tiles<Int64>;
}

/** @param sign 1: the greatest; -1: the least */
export function extremePart(
  sign: 1 | -1,
  type: ScalarType,
  input: (event: Event) => Value,
): Part<ExtremeState, Int64 | null, Int64 | null> {
  const codec = scalarCodecs[type] as Codec<Int64>;
  const maybe = nullable(codec);
  const beats = (a: Int64, b: Int64): boolean => (sign === 1 ? a >= b : a <= b);
  return {
    create: () => ({ forever: null, stairs: createTiles() }),
    add(state, event, leaves) {
      const value = input(event) as Int64 | null;
      if (value === null) return;
      if (leaves === NEVER) {
        if (state.forever === null || beats(value, state.forever)) state.forever = value;
        return;
      }
      const { leaves: times, contents } = state.stairs;
      const index = firstAtOrAfter(times, leaves);
      if (index < times.length && beats(contents[index]!, value)) return;
      // What leaves no later and is no better is hidden behind the new one.
      let hidden = index;
      while (hidden > 0 && beats(value, contents[hidden - 1]!)) hidden--;
      const end = times[index] === leaves ? index + 1 : index;
      times.splice(hidden, end - hidden, leaves);
      contents.splice(hidden, end - hidden, value);
    },
    leave(state, until) {
      takeLeft(state.stairs, until);
    },
    nextLeave: (state) => state.stairs.leaves[0] ?? NEVER,
    value: (state) => state.forever ?? state.stairs.contents[0] ?? null,
    steps: ({ stairs }) =>
      stairs.leaves.map((at, index) => ({ at, change: stairs.contents[index + 1] ?? null })),
    apply: (_, next) => next,
    encodeState(writer, state) {
      maybe.encode(writer, state.forever);
      encodeTiles(writer, state.stairs, (value) => codec.encode(writer, value));
    },
    decodeState: (reader) => ({
      forever: maybe.decode(reader),
      stairs: decodeTiles(reader, () => codec.decode(reader)),
    }),
    encodeValue: (writer, value) => maybe.encode(writer, value),
    decodeValue: (reader) => maybe.decode(reader),
    encodeChange: (writer, value) => maybe.encode(writer, value),
    decodeChange: (reader) => maybe.decode(reader),
  };
}
