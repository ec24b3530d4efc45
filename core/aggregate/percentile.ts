/**
 * Percentiles from counts by size: DDSketch (Masson, Rim, Lee, VLDB 2019) with its linearly interpolated mapping, 64 buckets to an
 * octave. A bucket is the exponent and the first 6 bits of the fraction of a double, so values fall into it by comparison alone,
 * without a logarithm; a value read from it is within 1/128 of any value in it.
 *
 *   bucket 0          |x| < 2^-32
 *   bucket b > 0      (64 + m) · 2^(o-6) <= x < (65 + m) · 2^(o-6)     with b - 1 = 64 · (o + 32) + m
 *   bucket 6144       and all above: x >= 2^64 counts as the last
 *   bucket -b         as b, for negative x
 *   e.g. x = 3: octave o = 1, m = 32, b = 64 · 33 + 32 + 1 = 2145, which is 3 <= x < 3 + 1/32
 *
 * The sketches of libraries merge their lowest buckets when there are too many, which no leaving event can undo. Here the range
 * bounds their number: 12,289, of which a value takes one.
 */
import type { Counts } from './buckets.js';
import type { Sum } from './sum.js';

const PER_OCTAVE = 64;
const LEAST_OCTAVE = -32;
const BUCKETS = (64 - LEAST_OCTAVE) * PER_OCTAVE;

const scratch = new DataView(new ArrayBuffer(8));
// The bits before those of the first bucket: exponent 1023 - 32, fraction 0.
const BEFORE_FIRST = (1023 + LEAST_OCTAVE) * PER_OCTAVE - 1;

export function bucketOf(value: number): number {
  scratch.setFloat64(0, Math.abs(value));
  const bucket = Math.min((scratch.getUint32(0) >>> 14) - BEFORE_FIRST, BUCKETS);
  if (bucket <= 0) return 0;
  return value < 0 ? -bucket : bucket;
}

/**
 * The value of rank floor(quantile · (n - 1)) of n in ascending order, from 0, as its bucket tells it; null of none.
 * @param quantile 0 to 1, at most 4 decimals
 * @param whole the values are whole numbers, and so is the result: exact up to 128
 */
export function quantileOf(counts: Sum<Counts>, quantile: number, whole: boolean): number | null {
  const bucket = bucketAt(counts, quantile);
  if (bucket === null) return null;
  return bucket < 0 ? -sizeOf(-bucket, whole) : sizeOf(bucket, whole);
}

/** The bucket in which that rank lies. */
export function bucketAt({ count, total }: Sum<Counts>, quantile: number): number | null {
  // In ten-thousandths, since 0.29 · 100 is below 29 in doubles.
  const rank = Math.floor((Math.round(quantile * 10_000) * (count - 1)) / 10_000);
  let before = 0;
  for (let at = 0; at < total.length; at += 2) {
    before += total[at + 1]!;
    if (before > rank) return total[at]!;
  }
  return null;
}

/** What lies in the middle of a bucket: as far, relatively, from its least value as from its greatest. */
function sizeOf(bucket: number, whole: boolean): number {
  if (bucket === 0) return 0;
  const least = PER_OCTAVE + ((bucket - 1) % PER_OCTAVE);
  const unit = 2 ** (Math.floor((bucket - 1) / PER_OCTAVE) + LEAST_OCTAVE - 6);
  if (!whole) return ((2 * least * (least + 1)) / (2 * least + 1)) * unit;
  const first = Math.ceil(least * unit);
  const last = Math.ceil((least + 1) * unit) - 1;
  return first + Math.floor((last - first) / 2);
}
