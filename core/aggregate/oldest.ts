/**
 * The oldest n non-null values, oldest first: first and first-n. In a window that moves, the oldest leave and the next take their
 * place, so the state keeps the oldest n of each tile: what leaves with n older ones never comes to be among the oldest.
 */
import type { Codec, Present } from '../codec/scalar.js';
import { manyOf, valueCodecs } from '../codec/scalar.js';
import type { ColumnType } from '../definition.js';
import type { Event, Place, Value } from '../event.js';
import { compareEvents } from '../event.js';
import { decodePlace, encodePlace, leavesCodec, listCodec } from './newest.js';
import type { Part } from './part.js';
import { NEVER } from './part.js';
import type { Tiles } from './tiles.js';
import { createTiles, takeLeft, tileFor } from './tiles.js';

export interface Element extends Place {
  value: Present;
}

/** Oldest first, in each tile and from tile to tile: what is older leaves no later. */
type OldestState = Tiles<Element[]>;

/** So many of the oldest leave, and these come to be among the oldest n. */
export interface Moved {
  left: number;
  entered: Present[];
}

export function oldestPart(
  n: number,
  type: ColumnType,
  input: (event: Event) => Value,
): Part<OldestState, Present[], Moved> {
  const codec = valueCodecs[type];
  const elementsCodec = manyOf(elementCodec(codec));

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
    value: (state) => oldestOf(state.contents, n),
    steps({ leaves, contents }) {
      const tiles = leaves.map((at, index) => ({ at, left: contents[index]!.length }));
      const values = contents.flat().map(({ value }) => value);
      return moves(
        tiles.filter(({ at }) => at !== NEVER),
        values,
        n,
      );
    },
    apply: moved,
    encodeState(writer, state) {
      writer.varint(state.leaves.length);
      state.leaves.forEach((leaves, index) => {
        leavesCodec.encode(writer, leaves);
        elementsCodec.encode(writer, state.contents[index]!);
      });
    },
    decodeState(reader) {
      const state: OldestState = createTiles();
      for (let count = reader.varint(); count > 0; count--) {
        state.leaves.push(leavesCodec.decode(reader));
        state.contents.push(elementsCodec.decode(reader));
      }
      return state;
    },
    ...movesCodec(codec),
  };
}

export function elementCodec(codec: Codec<Present>): Codec<Element> {
  return {
    encode(writer, element) {
      encodePlace(writer, element);
      codec.encode(writer, element.value);
    },
    decode: (reader) => ({ ...decodePlace(reader), value: codec.decode(reader) }),
  };
}

/** The first n. */
export function oldestOf(lists: readonly Element[][], n: number): Present[] {
  const values: Present[] = [];
  for (const elements of lists) {
    for (const { value } of elements) if (values.length < n) values.push(value);
    if (values.length === n) break;
  }
  return values;
}

/**
 * What changes when tiles leave.
 * @param values of all tiles, oldest first
 */
export function moves(
  tiles: ReadonlyArray<{ at: number; left: number }>,
  values: readonly Present[],
  n: number,
): Array<{ at: number; change: Moved }> {
  let start = n;
  return tiles.map(({ at, left }) => {
    const entered = values.slice(start, start + left);
    start += left;
    return { at, change: { left, entered } };
  });
}

export function moved(values: readonly Present[], { left, entered }: Moved): Present[] {
  return [...values.slice(left), ...entered];
}

/** Values, and what changes them. */
export function movesCodec(
  codec: Codec<Present>,
): Pick<
  Part<OldestState, Present[], Moved>,
  'encodeValue' | 'decodeValue' | 'encodeChange' | 'decodeChange'
> {
  const list = listCodec(codec);
  return {
    ...list,
    encodeChange(writer, { left, entered }) {
      writer.varint(left);
      list.encodeValue(writer, entered);
    },
    decodeChange: (reader) => ({ left: reader.varint(), entered: list.decodeValue(reader) }),
  };
}
