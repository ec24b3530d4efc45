/**
 * How many values fell into each bucket, a whole number: the part of histograms and percentiles. What belongs into which is fixed
 * and counts are whole, so events leave as they came; no bucket is ever merged into another. Buckets of no value take no room.
 */
import type { ByteReader, ByteWriter } from '../codec/bytes.js';
import type { Event } from '../event.js';
import type { Part } from './part.js';
import { NEVER } from './part.js';
import type { Tiles } from './tiles.js';
import { createTiles, decodeTiles, encodeTiles, takeLeft, tileFor } from './tiles.js';

/** By bucket, none of them 0. As a value: buckets ascending. */
export type Counts = ReadonlyMap<number, number>;
type MutableCounts = Map<number, number>;

interface BucketsState {
  counts: MutableCounts;
  tiles: Tiles<MutableCounts>;
}

/** @param bucketOf null: the event is skipped */
export function bucketsPart(bucketOf: (event: Event) => number | null): Part<BucketsState, Counts, Counts> {
  return {
    create: () => ({ counts: new Map(), tiles: createTiles() }),
    add(state, event, leaves) {
      const bucket = bucketOf(event);
      if (bucket === null) return;
      state.counts.set(bucket, (state.counts.get(bucket) ?? 0) + 1);
      if (leaves === NEVER) return;
      const tile = tileFor(state.tiles, leaves, () => new Map<number, number>());
      tile.set(bucket, (tile.get(bucket) ?? 0) + 1);
    },
    leave(state, until) {
      for (const left of takeLeft(state.tiles, until)) subtract(state.counts, left);
    },
    nextLeave: (state) => state.tiles.leaves[0] ?? NEVER,
    value: (state) => new Map(ascending(state.counts)),
    steps: ({ tiles }) => tiles.leaves.map((at, index) => ({ at, change: tiles.contents[index]! })),
    apply: (value, left) => subtract(new Map(value), left),
    encodeState(writer, state) {
      encodeCounts(writer, state.counts);
      encodeTiles(writer, state.tiles, (counts) => encodeCounts(writer, counts));
    },
    decodeState: (reader) => ({
      counts: decodeCounts(reader),
      tiles: decodeTiles(reader, () => decodeCounts(reader)),
    }),
    encodeValue: encodeCounts,
    decodeValue: decodeCounts,
    encodeChange: encodeCounts,
    decodeChange: decodeCounts,
  };
}

function subtract(from: MutableCounts, left: Counts): MutableCounts {
  for (const [bucket, count] of left) {
    const rest = from.get(bucket)! - count;
    if (rest === 0) from.delete(bucket);
    else from.set(bucket, rest);
  }
  return from;
}

function ascending(counts: Counts): Array<[number, number]> {
  return [...counts].sort(([a], [b]) => a - b);
}

/** varint number of buckets | per bucket: the first signed, the others as varint distance | varint count */
function encodeCounts(writer: ByteWriter, counts: Counts): void {
  writer.varint(counts.size);
  let previous: number | null = null;
  for (const [bucket, count] of ascending(counts)) {
    if (previous === null) writer.signed(bucket);
    else writer.varint(bucket - previous);
    writer.varint(count);
    previous = bucket;
  }
}

function decodeCounts(reader: ByteReader): MutableCounts {
  const counts: MutableCounts = new Map();
  const size = reader.varint();
  let bucket = 0;
  for (let i = 0; i < size; i++) {
    bucket = i === 0 ? reader.signed() : bucket + reader.varint();
    counts.set(bucket, reader.varint());
  }
  return counts;
}
