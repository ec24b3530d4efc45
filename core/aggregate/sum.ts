/** Exact sum of a number and how many there were: the parts of sum and mean. Nulls are skipped. */
import type { ByteReader, ByteWriter } from '../codec/bytes.js';
import type { Event } from '../event.js';
import type { Total } from '../exact.js';
import type { Part } from './part.js';
import { NEVER } from './part.js';
import type { Tiles } from './tiles.js';
import { addToTile, createTiles, decodeTiles, encodeTiles, takeLeft } from './tiles.js';

export interface Sum<T> {
  count: number;
  total: T;
}

export interface SumState<T> {
  sum: Sum<T>;
  tiles: Tiles<Sum<T>>;
}

/** @param term what an event adds; null: the event is skipped */
export function sumPart<T>(
  adder: Total<T>,
  term: (event: Event) => T | null,
): Part<SumState<T>, Sum<T>, Sum<T>> {
  const plus = (a: Sum<T>, b: Sum<T>): Sum<T> => ({
    count: a.count + b.count,
    total: adder.add(a.total, b.total),
  });
  const minus = (a: Sum<T>, b: Sum<T>): Sum<T> => ({
    count: a.count - b.count,
    total: adder.add(a.total, adder.negate(b.total)),
  });
  const encode = (writer: ByteWriter, sum: Sum<T>): void => {
    writer.varint(sum.count);
    adder.encode(writer, sum.total);
  };
  const decode = (reader: ByteReader): Sum<T> => ({ count: reader.varint(), total: adder.decode(reader) });
  return {
    create: () => ({ sum: { count: 0, total: adder.zero }, tiles: createTiles() }),
    add(state, event, leaves) {
      const total = term(event);
      if (total === null) return;
      const one = { count: 1, total };
      state.sum = plus(state.sum, one);
      if (leaves !== NEVER) addToTile(state.tiles, leaves, one, plus);
    },
    leave(state, until) {
      for (const left of takeLeft(state.tiles, until)) state.sum = minus(state.sum, left);
    },
    nextLeave: (state) => state.tiles.leaves[0] ?? NEVER,
    value: (state) => state.sum,
    steps: ({ tiles }) => tiles.leaves.map((at, index) => ({ at, change: tiles.contents[index]! })),
    apply: minus,
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
