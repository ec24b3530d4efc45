/**
 * Tiles: the combined contributions of events that leave a window together, ordered by when they leave. Late events
 * land in their own tile. A queue: tiles are taken from the front.
 */
import type { ByteReader, ByteWriter } from '../codec/bytes.js';
import type { Int64 } from '../int64.js';

export interface Tiles<T> {
  leaves: number[];
  contents: T[];
}

export function createTiles<T>(): Tiles<T> {
  return { leaves: [], contents: [] };
}

/** Combines `content` into the tile that leaves at `leaves`. */
export function addToTile<T>(tiles: Tiles<T>, leaves: number, content: T, combine: (a: T, b: T) => T): void {
  const index = firstAtOrAfter(tiles.leaves, leaves);
  if (tiles.leaves[index] === leaves) tiles.contents[index] = combine(tiles.contents[index]!, content);
  else {
    tiles.leaves.splice(index, 0, leaves);
    tiles.contents.splice(index, 0, content);
  }
}

/** The content of the tile that leaves at `leaves`, to be changed in place; made where there is none. */
export function tileFor<T>(tiles: Tiles<T>, leaves: number, create: () => T): T {
  const index = firstAtOrAfter(tiles.leaves, leaves);
  if (tiles.leaves[index] !== leaves) {
    tiles.leaves.splice(index, 0, leaves);
    tiles.contents.splice(index, 0, create());
  }
  return tiles.contents[index]!;
}

/** Removes the tiles that leave at or before `until` and gives their contents. */
export function takeLeft<T>(tiles: Tiles<T>, until: number): T[] {
  if (!(tiles.leaves[0]! <= until)) return [];
  const count = firstAtOrAfter(tiles.leaves, until + 1);
  tiles.leaves.splice(0, count);
  return tiles.contents.splice(0, count);
}

export function encodeTiles<T>(writer: ByteWriter, tiles: Tiles<T>, encode: (content: T) => void): void {
  writer.varint(tiles.leaves.length);
  let previous = 0;
  tiles.leaves.forEach((leaves, index) => {
    if (index === 0) writer.signed(leaves);
    else writer.varint(leaves - previous);
    previous = leaves;
    encode(tiles.contents[index]!);
  });
}

export function decodeTiles<T>(reader: ByteReader, decode: () => T): Tiles<T> {
  const tiles = createTiles<T>();
  const count = reader.varint();
  let leaves = 0;
  for (let i = 0; i < count; i++) {
    leaves = i === 0 ? reader.signed() : leaves + reader.varint();
    tiles.leaves.push(leaves);
    tiles.contents.push(decode());
  }
  return tiles;
}

/** Index of the first of ascending `times` that is >= `time`; their number when there is none. The end is tried first. */
export function firstAtOrAfter(times: readonly number[], time: Int64): number {
  let high = times.length;
  if (high === 0 || times[high - 1]! < time) return high;
  let low = 0;
  while (low < high) {
    const middle = (low + high) >>> 1;
    if (times[middle]! < time) low = middle + 1;
    else high = middle;
  }
  return low;
}
