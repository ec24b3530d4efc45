/** Number of events. */
import type { Part } from './part.js';
import { NEVER } from './part.js';
import type { Tiles } from './tiles.js';
import { addToTile, createTiles, decodeTiles, encodeTiles, takeLeft } from './tiles.js';

interface CountState {
  total: number;
  tiles: Tiles<number>;
}

export function countPart(): Part<CountState, number, number> {
  return {
    create: () => ({ total: 0, tiles: createTiles() }),
    add(state, _, leaves) {
      state.total += 1;
      if (leaves !== NEVER) addToTile(state.tiles, leaves, 1, (a, b) => a + b);
    },
    leave(state, until) {
      for (const left of takeLeft(state.tiles, until)) state.total -= left;
    },
    nextLeave: (state) => state.tiles.leaves[0] ?? NEVER,
    value: (state) => state.total,
    steps: ({ tiles }) => tiles.leaves.map((at, index) => ({ at, change: tiles.contents[index]! })),
    apply: (value, left) => value - left,
    encodeState(writer, state) {
      writer.varint(state.total);
      encodeTiles(writer, state.tiles, (count) => writer.varint(count));
    },
    decodeState: (reader) => ({ total: reader.varint(), tiles: decodeTiles(reader, () => reader.varint()) }),
    encodeValue: (writer, value) => writer.varint(value),
    decodeValue: (reader) => reader.varint(),
    encodeChange: (writer, left) => writer.varint(left),
    decodeChange: (reader) => reader.varint(),
  };
}
