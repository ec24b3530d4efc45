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
import { leavesSpan, leftBy, stepsOfLanes } from './nested.js';
import { decodePlace, encodePlace, leavings } from './newest.js';
import type { Part } from './part.js';
import { NEVER } from './part.js';

interface NestedNewestState {
  /** Newest first. */
  elements: Array<Place & { value: Present }>;
  /** What leaves by then has left. */
  until: number;
}

export function nestedNewestPart(
  n: number,
  type: ColumnType,
  input: (event: Event) => Value,
  spans: readonly Span[],
): Part<NestedNewestState, NestedNewest<Present>, number> {
  const codec = valueCodecs[type];
  const longest = spans.at(-1)!;

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
      const left = leftBy(state.until, longest);
      while (state.elements.length > 0 && state.elements.at(-1)!.timestamp <= left) state.elements.pop();
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
    ...nestedList(codec, spans),
  };
}

/** A list of the longest window, newest first; `sizes` says how many of them each window has. */
export interface NestedNewest<V> {
  values: V[];
  sizes: number[];
}

/** The list of one window. */
export function listOfLane<V>({ values, sizes }: NestedNewest<V>, lane: number): V[] {
  return values.slice(0, sizes[lane]);
}

/** What a list of the longest window says of all: `elements`, newest first, that are in it at `until`. */
interface Listed<V> {
  elements: ReadonlyArray<{ timestamp: number; value: V }>;
  until: number;
}

/** How a part whose value is such a list tells and writes it. A change is how many of the oldest leave. */
export function nestedList<V>(
  codec: Codec<V>,
  spans: readonly Span[],
): Pick<
  Part<Listed<V>, NestedNewest<V>, number>,
  'nextLeave' | 'value' | 'steps' | 'apply' | 'encodeValue' | 'decodeValue' | 'encodeChange' | 'decodeChange'
> {
  const many = manyOf(codec);
  const last = spans.length - 1;

  /** How many of the newest are in a window. */
  function sizeOf({ elements, until }: Listed<V>, span: Span): number {
    const left = leftBy(until, span);
    let size = elements.length;
    while (size > 0 && elements[size - 1]!.timestamp <= left) size--;
    return size;
  }

  return {
    nextLeave: (listed) =>
      spans.reduce((next, span) => {
        const size = sizeOf(listed, span);
        return size === 0 ? next : Math.min(next, leavesSpan(listed.elements[size - 1]!.timestamp, span));
      }, NEVER),
    value: (listed) => ({
      values: listed.elements.map(({ value }) => value),
      sizes: spans.map((span) => sizeOf(listed, span)),
    }),
    steps: (listed) =>
      stepsOfLanes(spans, (span) => {
        const own = listed.elements.slice(0, sizeOf(listed, span));
        return leavings(own.map(({ timestamp }) => leavesSpan(timestamp, span)).reverse());
      }),
    apply({ values, sizes }, left, lane) {
      const rest = sizes.with(lane, sizes[lane]! - left);
      return { values: lane === last ? values.slice(0, rest[last]) : values, sizes: rest };
    },
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
