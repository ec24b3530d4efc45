/**
 * The oldest n non-null values, oldest first: first and first-n. In a window that moves, the oldest leave and the next take their
 * place, so the state keeps the oldest n of each tile: what leaves with n older ones never comes to be among the oldest.
 */
import type { ByteReader, ByteWriter } from '../codec/bytes.js';
import type { Present } from '../codec/scalar.js';
import { valueCodecs } from '../codec/scalar.js';
import type { ColumnType } from '../definition.js';
import type { Event, Place, Value } from '../event.js';
import { compareEvents } from '../event.js';
import { decodeLeaves, decodePlace, encodeLeaves, encodePlace, listCodec } from './newest.js';
import type { Part, Step } from './part.js';
import { NEVER } from './part.js';
import type { Tiles } from './tiles.js';
import { createTiles, takeLeft, tileFor } from './tiles.js';

interface Element extends Place {
  value: Present;
}

/** Oldest first, in each tile and from tile to tile: what is older leaves no later. */
type OldestState = Tiles<Element[]>;

/** So many of the oldest leave, and these come to be among the oldest n. */
interface Moved {
  left: number;
  entered: Present[];
}

export function oldestPart(
  n: number,
  type: ColumnType,
  input: (event: Event) => Value,
): Part<OldestState, Present[], Moved> {
  const codec = valueCodecs[type];
  const list = listCodec(codec);

  function encodeElement(writer: ByteWriter, element: Element): void {
    encodePlace(writer, element);
    codec.encode(writer, element.value);
  }

  function decodeElement(reader: ByteReader): Element {
    return { ...decodePlace(reader), value: codec.decode(reader) };
  }

  return {
    create: () => createTiles(),
    add(state, event, leaves) {
      const value = input(event);
      if (value === null) return;
      const elements = tileFor(state, leaves, () => []);
      let index = elements.length;
      while (index > 0 && compareEvents(elements[index - 1]!, event) > 0) index--;
      if (index >= n) return;
      const { timestamp, order, id } = event;
      elements.splice(index, 0, { timestamp, order, id, value });
      if (elements.length > n) elements.pop();
    },
    leave(state, until) {
      takeLeft(state, until);
    },
    nextLeave: (state) => state.leaves[0] ?? NEVER,
    value(state) {
      const values: Present[] = [];
      for (const elements of state.contents) {
        for (const { value } of elements) if (values.length < n) values.push(value);
        if (values.length === n) break;
      }
      return values;
    },
    steps(state) {
      const all = state.contents.flat();
      const steps: Step<Moved>[] = [];
      let start = 0;
      state.leaves.forEach((at, index) => {
        if (at === NEVER) return;
        const left = state.contents[index]!.length;
        const entered = all.slice(start + n, start + left + n).map(({ value }) => value);
        steps.push({ at, change: { left, entered } });
        start += left;
      });
      return steps;
    },
    apply: (values, { left, entered }) => [...values.slice(left), ...entered],
    encodeState(writer, state) {
      writer.varint(state.leaves.length);
      state.leaves.forEach((leaves, index) => {
        encodeLeaves(writer, leaves);
        const elements = state.contents[index]!;
        writer.varint(elements.length);
        for (const element of elements) encodeElement(writer, element);
      });
    },
    decodeState(reader) {
      const state: OldestState = createTiles();
      for (let count = reader.varint(); count > 0; count--) {
        state.leaves.push(decodeLeaves(reader));
        state.contents.push(Array.from({ length: reader.varint() }, () => decodeElement(reader)));
      }
      return state;
    },
    ...list,
    encodeChange(writer, { left, entered }) {
      writer.varint(left);
      list.encodeValue(writer, entered);
    },
    decodeChange: (reader) => ({ left: reader.varint(), entered: list.decodeValue(reader) }),
  };
}
