/**
 * How many values fell into each bucket, a whole number: what histograms and percentiles total. What belongs into which is fixed and
 * counts are whole, so events leave as they came; no bucket is ever merged into another. Buckets of no value take no room.
 */
import type { Total } from '../exact.js';

/** Two by two: bucket, how many; buckets ascending, none of no value. */
export type Counts = number[];

const WIDTH = 2;

/** One value. */
export function oneIn(bucket: number): Counts {
  return [bucket, 1];
}

/** In place. Bytes: per bucket the first signed, the others as varint distance | unless one value is left to tell of: varint how many */
export const bucketCounts: Total<Counts> = {
  zero: [],
  copy: (a) => a.slice(),
  add(a, b) {
    let at = a.length;
    for (let from = b.length - WIDTH; from >= 0; from -= WIDTH) {
      at = after(a, b[from]!, at);
      if (at > 0 && a[at - WIDTH] === b[from]) a[at - 1]! += b[from + 1]!;
      else a.splice(at, 0, b[from]!, b[from + 1]!);
    }
    return a;
  },
  subtract(a, b) {
    let at = a.length;
    for (let from = b.length - WIDTH; from >= 0; from -= WIDTH) {
      at = after(a, b[from]!, at);
      a[at - 1]! -= b[from + 1]!;
      if (a[at - 1] === 0) a.splice(at - WIDTH, WIDTH);
    }
    return a;
  },
  encode(writer, a, count) {
    let left = count;
    for (let at = 0; at < a.length; at += WIDTH) {
      if (at === 0) writer.signed(a[at]!);
      else writer.varint(a[at]! - a[at - WIDTH]!);
      if (left > 1) writer.varint(a[at + 1]!);
      left -= a[at + 1]!;
    }
  },
  decode(reader, count) {
    const a: Counts = [];
    for (let left = count, bucket = 0; left > 0; left -= a.at(-1)!) {
      bucket = a.length === 0 ? reader.signed() : bucket + reader.varint();
      a.push(bucket, left > 1 ? reader.varint() : 1);
    }
    return a;
  },
};

/** Where those up to a bucket end, of the first `end`. */
function after(counts: Counts, bucket: number, end: number): number {
  let low = 0;
  let high = end / WIDTH;
  while (low < high) {
    const middle = (low + high) >>> 1;
    if (counts[middle * WIDTH]! <= bucket) low = middle + 1;
    else high = middle;
  }
  return low * WIDTH;
}

/** Of buckets 0 to size - 1. */
export function histogramOf(counts: Readonly<Counts>, size: number): number[] {
  const histogram = Array.from({ length: size }, () => 0);
  for (let at = 0; at < counts.length; at += WIDTH) histogram[counts[at]!] = counts[at + 1]!;
  return histogram;
}
