/**
 * The newest n non-null values, newest first: last and last-n. An element that is not among the newest n now never will
 * be: what is newer leaves no earlier. So n elements, each with its leaving time and its place in the order, are the state.
 */
import type { ByteReader, ByteWriter } from '../codec/bytes.js';
import type { Codec, Present } from '../codec/scalar.js';
import { manyOf, valueCodecs } from '../codec/scalar.js';
import type { ColumnType } from '../definition.js';
import type { Event, Place, Value } from '../event.js';
import { compareEvents } from '../event.js';
import type { Part } from './part.js';
import { NEVER } from './part.js';

interface Element extends Place {
  leaves: number;
  value: Present;
}

interface NewestState {
  /** Newest first. */
  elements: Element[];
}

export function newestPart(
  n: number,
  type: ColumnType,
  input: (event: Event) => Value,
): Part<NewestState, Present[], number> {
  const codec = valueCodecs[type];
  return {
    create: () => ({ elements: [] }),
    add({ elements }, event, leaves) {
      const value = input(event);
      if (value === null) return;
      let index = 0;
      while (index < elements.length && compareEvents(elements[index]!, event) > 0) index++;
      if (index >= n) return;
      const { timestamp, order, id } = event;
      elements.splice(index, 0, { timestamp, order, id, leaves, value });
      if (elements.length > n) elements.pop();
    },
    leave({ elements }, until) {
      while (elements.length > 0 && elements[elements.length - 1]!.leaves <= until) elements.pop();
    },
    nextLeave: ({ elements }) => elements[elements.length - 1]?.leaves ?? NEVER,
    value: ({ elements }) => elements.map((element) => element.value),
    /** A change is how many of the oldest leave. */
    steps: ({ elements }) => leavings(elements.map(({ leaves }) => leaves).reverse()),
    apply: (value, left) => value.slice(0, value.length - left),
    encodeState(writer, { elements }) {
      writer.varint(elements.length);
      for (const element of elements) {
        encodePlace(writer, element);
        leavesCodec.encode(writer, element.leaves);
        codec.encode(writer, element.value);
      }
    },
    decodeState: (reader) => ({
      elements: Array.from({ length: reader.varint() }, () => ({
        ...decodePlace(reader),
        leaves: leavesCodec.decode(reader),
        value: codec.decode(reader),
      })),
    }),
    ...listCodec(codec),
    encodeChange: (writer, left) => writer.varint(left),
    decodeChange: (reader) => reader.varint(),
  };
}

/** How a part whose value is a list of such values writes it. */
export function listCodec<V>(codec: Codec<V>): {
  encodeValue(writer: ByteWriter, values: V[]): void;
  decodeValue(reader: ByteReader): V[];
} {
  const many = manyOf(codec);
  return {
    encodeValue: (writer, values) => many.encode(writer, values),
    decodeValue: (reader) => many.decode(reader),
  };
}

/** How many leave at each time. @param times ascending */
export function leavings(times: readonly number[]): Array<{ at: number; change: number }> {
  const steps: Array<{ at: number; change: number }> = [];
  for (const at of times) {
    if (at === NEVER) break;
    const step = steps[steps.length - 1];
    if (step?.at === at) step.change += 1;
    else steps.push({ at, change: 1 });
  }
  return steps;
}

export function encodePlace(writer: ByteWriter, place: Place): void {
  writer.signed(place.timestamp);
  writer.whole(place.order);
  writer.text(place.id);
}

export function decodePlace(reader: ByteReader): Place {
  return { timestamp: reader.signed(), order: reader.whole(), id: reader.text() };
}

/** u8 0: never; 1: the time follows */
export const leavesCodec: Codec<number> = {
  encode(writer, leaves) {
    writer.u8(leaves === NEVER ? 0 : 1);
    if (leaves !== NEVER) writer.signed(leaves);
  },
  decode: (reader) => (reader.u8() === 0 ? NEVER : reader.signed()),
};
