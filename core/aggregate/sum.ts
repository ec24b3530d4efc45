/** Exact total and how many there were: the parts of sum and mean, and of all whose events can be taken away again. Nulls are skipped. */
import type { ByteReader, ByteWriter } from '../codec/bytes.js';
import type { Event } from '../event.js';
import type { Total } from '../exact.js';
import type { Part } from './part.js';
import { NEVER } from './part.js';
import type { Tiles } from './tiles.js';
import { addToTile, createTiles, decodeTiles, encodeTiles, takeLeft } from './tiles.js';

/** Of nothing the total is `zero` itself. */
export interface Sum<T> {
  count: number;
  total: T;
}

export interface SumState<T> {
  sum: Sum<T>;
  tiles: Tiles<Sum<T>>;
}

/** @param term what an event adds, from then on the part's own; null: the event is skipped */
export function sumPart<T>(
  adder: Total<T>,
  term: (event: Event) => T | null,
): Part<SumState<T>, Sum<T>, Sum<T>> {
  const encode = (writer: ByteWriter, sum: Sum<T>): void => encodeSum(adder, writer, sum);
  const decode = (reader: ByteReader): Sum<T> => decodeSum(adder, reader);
  return {
    create: () => ({ sum: { count: 0, total: adder.zero }, tiles: createTiles() }),
    add(state, event, leaves) {
      const total = term(event);
      if (total === null) return;
      include(adder, state.sum, 1, total);
      if (leaves !== NEVER)
        addToTile(state.tiles, leaves, { count: 1, total }, (tile, one) => {
          include(adder, tile, 1, one.total);
          return tile;
        });
    },
    leave(state, until) {
      for (const left of takeLeft(state.tiles, until)) exclude(adder, state.sum, left.count, left.total);
    },
    nextLeave: (state) => state.tiles.leaves[0] ?? NEVER,
    value: (state) => state.sum,
    steps: ({ tiles }) => tiles.leaves.map((at, index) => ({ at, change: tiles.contents[index]! })),
    apply(value, { count, total }) {
      const rest = copySum(adder, value);
      exclude(adder, rest, count, total);
      return rest;
    },
    encodeState(writer, state) {
      encode(writer, state.sum);
      encodeTiles(writer, state.tiles, (sum) => encode(writer, sum));
    },
    decodeState: (reader) => ({ sum: decode(reader), tiles: decodeTiles(reader, () => decode(reader)) }),
    encodeValue: encode,
    decodeValue: decode,
    encodeChange: encode,
    decodeChange: decode,
  };
}

export function copySum<T>(adder: Total<T>, { count, total }: Sum<T>): Sum<T> {
  return { count, total: adder.copy(total) };
}

/** Adds `count` that total `total` to a sum. */
export function include<T>(adder: Total<T>, to: Sum<T>, count: number, total: T): void {
  to.total = to.count === 0 ? adder.copy(total) : adder.add(to.total, total);
  to.count += count;
}

/** Takes away some of those that were added. */
export function exclude<T>(adder: Total<T>, from: Sum<T>, count: number, total: T): void {
  from.count -= count;
  from.total = from.count === 0 ? adder.zero : adder.subtract(from.total, total);
}

/** varint count | unless it is 0: total */
export function encodeSum<T>(adder: Total<T>, writer: ByteWriter, { count, total }: Sum<T>): void {
  writer.varint(count);
  if (count > 0) adder.encode(writer, total, count);
}

export function decodeSum<T>(adder: Total<T>, reader: ByteReader): Sum<T> {
  const count = reader.varint();
  return { count, total: count > 0 ? adder.decode(reader, count) : adder.zero };
}
