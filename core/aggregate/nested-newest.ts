/**
 * The newest n non-null values of several windows at once, each within the next: those of the longest, and of how many the first so
 * many lie in each shorter one.
 */
import type { Codec, Present } from '../codec/scalar.js';
import { manyOf, valueCodecs } from '../codec/scalar.js';
import type { ColumnType } from '../definition.js';
import type { Event, Place, Value } from '../event.js';
import { compareEvents } from '../event.js';
import type { Span } from './nested.js';
import { leavesSpan, stepsOfLanes } from './nested.js';
import { decodePlace, encodePlace } from './newest.js';
import type { Part } from './part.js';
import { NEVER } from './part.js';

interface NestedNewestState {
  /** Newest first. */
  elements: Array<Place & { value: Present }>;
  /** What leaves by then has left. */
  until: number;
}

/** Newest first, of the longest window; `sizes` says how many of them each has. */
export interface NestedNewest {
  values: Present[];
  sizes: number[];
}

export function nestedNewestPart(
  n: number,
  type: ColumnType,
  input: (event: Event) => Value,
  spans: readonly Span[],
): Part<NestedNewestState, NestedNewest, number> {
  const codec = valueCodecs[type];
  const many = manyOf(codec as Codec<Present>);
  const last = spans.length - 1;

  /** How many of the newest are in a window. */
  function sizeOf({ elements, until }: NestedNewestState, lane: number): number {
    let size = elements.length;
    while (size > 0 && leavesSpan(elements[size - 1]!.timestamp, spans[lane]!) <= until) size--;
    return size;
  }

  return {
    lanes: spans.length,
    create: () => ({ elements: [], until: -NEVER }),
    add({ elements }, event) {
      const value = input(event);
      if (value === null) return;
      let index = 0;
      while (index < elements.length && compareEvents(elements[index]!, event) > 0) index++;
      if (index >= n) return;
      const { timestamp, order, id } = event;
      elements.splice(index, 0, { timestamp, order, id, value });
      if (elements.length > n) elements.pop();
    },
    leave(state, until) {
      state.until = Math.max(state.until, until);
      state.elements.length = sizeOf(state, last);
    },
    nextLeave: (state) =>
      spans.reduce((next, span, lane) => {
        const size = sizeOf(state, lane);
        return size === 0 ? next : Math.min(next, leavesSpan(state.elements[size - 1]!.timestamp, span));
      }, NEVER),
    value: (state) => ({
      values: state.elements.map(({ value }) => value),
      sizes: spans.map((_, lane) => sizeOf(state, lane)),
    }),
    /** A change is how many of the oldest leave. */
    steps: (state) =>
      stepsOfLanes(spans, (span, lane) => {
        const steps: Array<{ at: number; change: number }> = [];
        for (let index = sizeOf(state, lane) - 1; index >= 0; index--) {
          const at = leavesSpan(state.elements[index]!.timestamp, span);
          if (steps.at(-1)?.at === at) steps.at(-1)!.change += 1;
          else steps.push({ at, change: 1 });
        }
        return steps;
      }),
    apply({ values, sizes }, left, lane) {
      const rest = sizes.with(lane, sizes[lane]! - left);
      return { values: lane === last ? values.slice(0, rest[last]) : values, sizes: rest };
    },
    encodeState(writer, { elements }) {
      writer.varint(elements.length);
      for (const element of elements) {
        encodePlace(writer, element);
        codec.encode(writer, element.value);
      }
    },
    decodeState: (reader) => ({
      elements: Array.from({ length: reader.varint() }, () => ({
        ...decodePlace(reader),
        value: codec.decode(reader),
      })),
      until: -NEVER,
    }),
    encodeValue(writer, { values, sizes }) {
      many.encode(writer, values);
      for (const size of sizes.slice(0, last)) writer.varint(size);
    },
    decodeValue(reader) {
      const values = many.decode(reader);
      return { values, sizes: spans.map((_, lane) => (lane === last ? values.length : reader.varint())) };
    },
    encodeChange: (writer, left) => writer.varint(left),
    decodeChange: (reader) => reader.varint(),
  };
}
