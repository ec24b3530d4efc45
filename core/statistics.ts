/**
 * What is known of many values of one feature, in bounded room: a summary. Summaries of parts merge to that of the whole, however it
 * was cut (test/core/statistics.test.ts). Which sketches these are, and why: docs/decisions/0019.
 *
 *   count, nulls, min, max, mean, deviation   exact; the last two rounded once
 *   quantiles   within 1/128 of the value of their rank (percentile.ts); whole numbers up to 128 exact; timestamps from 1970 to 2100 to 12 h
 *   distinct    a standard error of 1.6 % (HyperLogLog, sketch.ts); order-free, as all of the above
 *   top         counters of 100 values (Misra, Gries 1982; merged as Agarwal et al. 2012): a count is at most `topMissed` too low, and that
 *               is at most 1/101 of all; what is not among them occurs no more often than that
 *
 * Numbers and timestamps are measured by themselves, bools as 0 and 1, texts by their length in UTF-16 code units, lists by their length,
 * maps by their size.
 */
import { bucketCounts, type Counts } from './aggregate/buckets.js';
import { bucketAt, bucketOf, quantileOf } from './aggregate/percentile.js';
import { estimate, noRanks, place, REGISTERS } from './aggregate/sketch.js';
import type { Sum } from './aggregate/sum.js';
import { assert } from './assert.js';
import { ByteReader, ByteWriter } from './codec/bytes.js';
import { compareScalars, type Scalar, scalarCodecs } from './codec/scalar.js';
import type { FeatureType, ScalarType } from './definition.js';
import { FeatureStoreError } from './error.js';
import type { FeatureValue } from './event.js';
import {
  type Adder,
  adderOf,
  dyadicSquares,
  roundQuotient,
  roundRoot,
  spread,
  wholeSquares,
} from './exact.js';
import type { Int64 } from './int64.js';
import { DAY } from './time.js';

export interface Summary {
  readonly type: FeatureType;
  /** Of all values, nulls among them. */
  count: number;
  nulls: number;
  /** Values that are not in what stands below yet, each with how often it came: of a list or map its size. Most values come often. */
  readonly waiting: Map<Scalar, number>;
  /** Of the measures; null: there is none. */
  min: Int64 | null;
  max: Int64 | null;
  total: unknown;
  squares: unknown;
  /** By bucket how many measures. */
  readonly buckets: Map<number, number>;
  /** The greatest rank in each; null: the type's values are not told apart (lists, maps). */
  readonly registers: Uint8Array | null;
  /** null: of a type whose values are not counted apart (float64, timestamp, lists, maps). */
  readonly top: Top | null;
}

interface Top {
  counts: Map<Scalar, number>;
  missed: number;
}

/** The figures. Of no value that is not null: all but count and nulls null. */
export interface Figures {
  count: number;
  nulls: number;
  min: Int64 | null;
  max: Int64 | null;
  mean: number | null;
  /** Of all of them (a population). */
  deviation: number | null;
  /** As QUANTILES. */
  quantiles: number[] | null;
  /** null also where the type's values are not told apart. */
  distinct: number | null;
  /** The most frequent, ties by value; null also where values are not counted apart. */
  top: Array<{ value: Scalar; count: number }> | null;
  /** Each of these counts is at most so much too low. */
  topMissed: number | null;
}

export const QUANTILES = [0.01, 0.05, 0.25, 0.5, 0.75, 0.95, 0.99] as const;
const TOP_SHOWN = 10;
const TOP_KEPT = 100;
/** UTF-16 code units: longer texts are never among the top. */
const TOP_TEXT = 128;
const WAITING = 1024;
const LAYOUT = 1;

export function createSummary(type: FeatureType): Summary {
  const scalar = isScalar(type);
  return {
    type,
    count: 0,
    nulls: 0,
    waiting: new Map(),
    min: null,
    max: null,
    total: adderFor(type).zero,
    squares: squaresFor(type).zero,
    buckets: new Map(),
    registers: scalar ? new Uint8Array(REGISTERS) : null,
    top: ['string', 'int64', 'bool'].includes(type) ? { counts: new Map(), missed: 0 } : null,
  };
}

export function addValue(summary: Summary, value: FeatureValue): void {
  summary.count += 1;
  if (value === null) {
    summary.nulls += 1;
    return;
  }
  const counted =
    typeof value !== 'object' ? value : Array.isArray(value) ? value.length : Object.keys(value).length;
  const { waiting } = summary;
  waiting.set(counted, (waiting.get(counted) ?? 0) + 1);
  if (waiting.size >= WAITING) settle(summary);
}

/** Adds all of `from`, of the same type, to `into`. */
export function mergeSummary(into: Summary, from: Summary): void {
  assert(into.type === from.type, `statistics of ${into.type} and of ${from.type}`);
  settle(into);
  settle(from);
  into.count += from.count;
  into.nulls += from.nulls;
  if (from.min !== null) widen(into, from.min);
  if (from.max !== null) widen(into, from.max);
  into.total = adderFor(into.type).add(into.total, from.total);
  into.squares = squaresFor(into.type).add(into.squares, from.squares);
  for (const [bucket, count] of from.buckets) addTo(into.buckets, bucket, count);
  from.registers?.forEach((rank, register) => {
    if (rank > into.registers![register]!) into.registers![register] = rank;
  });
  if (from.top) mergeTop(into.top!, from.top.counts, from.top.missed);
}

/** Takes in what waits. */
function settle(summary: Summary): void {
  if (summary.waiting.size === 0) return;
  const { type, waiting, buckets, registers, top } = summary;
  const [adder, squares, bucket] = [adderFor(type), squaresFor(type), bucketFor(type)];
  // Of these alone first: while a total is small, it is cheap.
  let total = adder.zero;
  let squared = squares.zero;
  for (const [value, times] of waiting) {
    const measure = measureOf(value);
    widen(summary, measure);
    total = adder.add(total, multiple(adder, adder.of(measure), times));
    squared = squares.add(squared, multiple(squares, squares.of(measure), times));
    addTo(buckets, bucket(measure), times);
    if (registers) {
      const placed = place(String(value));
      const register = placed >>> 6;
      registers[register] = Math.max(registers[register]!, placed & 63);
    }
  }
  summary.total = adder.add(summary.total, total);
  summary.squares = squares.add(summary.squares, squared);
  if (top) mergeTop(top, waiting, 0);
  waiting.clear();
}

/** The figures of what was added. */
export function readSummary(summary: Summary): Figures {
  settle(summary);
  const { type, count, nulls, min, max, registers, top } = summary;
  const none = { count, nulls, min, max, mean: null, deviation: null, quantiles: null, distinct: null, top: null, topMissed: null }; // biome-ignore format: one thing
  if (min === null || max === null) return none;
  const n = BigInt(count - nulls);
  const total = adderFor(type).dyadic(summary.total);
  const squares = squaresFor(type).dyadic(summary.squares);
  const counts = { count: count - nulls, total: countsOf(summary.buckets) };
  const within = (value: number): number => (value < min ? Number(min) : value > max ? Number(max) : value);
  return {
    ...none,
    mean: roundQuotient(total, n),
    deviation: roundRoot(spread(count - nulls, total, squares), n * n),
    quantiles: QUANTILES.map((quantile) => within(quantileFor(type, counts, quantile))),
    distinct: registers && estimate(ranksOf(registers)),
    top: top && mostFrequent(top.counts).slice(0, TOP_SHOWN).map(([value, count]) => ({ value, count })), // biome-ignore format: one thing
    topMissed: top?.missed ?? null,
  };
}

// ---------------------------------------------------------------- by type

const isScalar = (type: FeatureType): type is ScalarType => Object.hasOwn(scalarCodecs, type);

/** Whole numbers measure all but doubles. */
const adderFor = (type: FeatureType): Adder<unknown> => adderOf(type === 'float64' ? type : 'int64');
const squaresFor = (type: FeatureType): Adder<unknown> =>
  (type === 'float64' ? dyadicSquares : wholeSquares) as Adder<unknown>;

function measureOf(value: Scalar): Int64 {
  if (typeof value === 'string') return value.length;
  return typeof value === 'boolean' ? Number(value) : value;
}

// A 1/128 of the time since 1970 would be months: timestamps fall into days, and those outside of these years into the first or the last.
const DAYS = Math.floor(Date.UTC(2100, 0) / DAY);

const bucketFor = (type: FeatureType): ((measure: Int64) => number) =>
  type === 'timestamp'
    ? (at) => Math.max(-1, Math.min(Math.floor(Number(at) / DAY), DAYS))
    : (measure) => bucketOf(Number(measure));

function quantileFor(type: FeatureType, counts: Sum<Counts>, quantile: number): number {
  if (type !== 'timestamp') return quantileOf(counts, quantile, type !== 'float64')!;
  // The days are whole numbers too, and each stands for its noon.
  return (bucketAt(counts, quantile)! + 0.5) * DAY;
}

// ---------------------------------------------------------------- the most frequent

/** Adds counters, and keeps the greatest: what the first of the others counts is taken from all of them, and may be missed by each. */
function mergeTop(into: Top, counts: ReadonlyMap<Scalar, number>, missed: number): void {
  for (const [value, count] of counts)
    if (typeof value !== 'string' || value.length <= TOP_TEXT) addTo(into.counts, value, count);
  into.missed += missed;
  if (into.counts.size <= TOP_KEPT) return;
  const least = Float64Array.from(into.counts.values())
    .sort()
    .at(-1 - TOP_KEPT)!;
  into.counts = new Map(
    [...into.counts].flatMap(([value, count]) => (count > least ? [[value, count - least]] : [])),
  );
  into.missed += least;
}

function mostFrequent(counts: ReadonlyMap<Scalar, number>): Array<[Scalar, number]> {
  return [...counts].sort(([a, m], [b, n]) => n - m || compareScalars(a, b));
}

// ---------------------------------------------------------------- bytes

/**
 * u8 layout | text type | varint count | varint nulls | where there is a value: min, max, total, squares, buckets | registers | top
 * registers: varint how many are not empty | up to a quarter of them: varint distance, u8 rank; more: a u8 for each of all 4,096
 * top: varint missed | varint counters | per counter, by value ascending: value, varint count
 */
export function encodeSummary(summary: Summary): Uint8Array {
  settle(summary);
  const { type, count, nulls, min, max, registers, top } = summary;
  const writer = new ByteWriter();
  writer.u8(LAYOUT);
  writer.text(type);
  writer.varint(count);
  writer.varint(nulls);
  if (min !== null && max !== null) {
    const measure = scalarCodecs[measureType(type)];
    measure.encode(writer, min);
    measure.encode(writer, max);
    adderFor(type).encode(writer, summary.total);
    squaresFor(type).encode(writer, summary.squares);
    bucketCounts.encode(writer, countsOf(summary.buckets), count - nulls);
    if (registers) encodeRegisters(writer, registers);
    if (top) encodeTop(writer, top, type as ScalarType);
  }
  return writer.finish();
}

/** Throws FS_RECORD_CORRUPT, FS_LAYOUT_UNKNOWN. */
export function decodeSummary(bytes: Uint8Array): Summary {
  const reader = new ByteReader(bytes);
  const layout = reader.u8();
  if (layout !== LAYOUT)
    throw new FeatureStoreError('FS_LAYOUT_UNKNOWN', `statistics have layout ${layout}; this version reads ${LAYOUT}`, {
      fix: 'run the version that wrote them, or a newer one',
    }); // biome-ignore format: one thing
  const summary = createSummary(reader.text() as FeatureType);
  const { type, buckets, registers, top } = summary;
  summary.count = reader.varint();
  summary.nulls = reader.varint();
  if (summary.count === summary.nulls) return summary;
  const measure = scalarCodecs[measureType(type)];
  summary.min = measure.decode(reader) as Int64;
  summary.max = measure.decode(reader) as Int64;
  summary.total = adderFor(type).decode(reader);
  summary.squares = squaresFor(type).decode(reader);
  const counts = bucketCounts.decode(reader, summary.count - summary.nulls);
  for (let at = 0; at < counts.length; at += 2) buckets.set(counts[at]!, counts[at + 1]!);
  if (registers) decodeRegisters(reader, registers);
  if (top) decodeTop(reader, top, type as ScalarType);
  return summary;
}

const measureType = (type: FeatureType): ScalarType => (type === 'float64' ? type : 'int64');

function encodeRegisters(writer: ByteWriter, registers: Uint8Array): void {
  const filled = REGISTERS - ranksOf(registers)[0]!;
  writer.varint(filled);
  if (filled > REGISTERS / 4) {
    writer.raw(registers);
    return;
  }
  let previous = 0;
  registers.forEach((rank, register) => {
    if (rank === 0) return;
    writer.varint(register - previous);
    writer.u8(rank);
    previous = register;
  });
}

function decodeRegisters(reader: ByteReader, registers: Uint8Array): void {
  const filled = reader.varint();
  if (filled > REGISTERS / 4) {
    for (let register = 0; register < REGISTERS; register++) registers[register] = reader.u8();
    return;
  }
  let register = 0;
  for (let i = 0; i < filled; i++) {
    register += reader.varint();
    registers[register] = reader.u8();
  }
}

function encodeTop(writer: ByteWriter, { counts, missed }: Top, type: ScalarType): void {
  writer.varint(missed);
  writer.varint(counts.size);
  for (const [value, count] of [...counts].sort(([a], [b]) => compareScalars(a, b))) {
    scalarCodecs[type].encode(writer, value);
    writer.varint(count);
  }
}

function decodeTop(reader: ByteReader, top: Top, type: ScalarType): void {
  top.missed = reader.varint();
  for (let size = reader.varint(); size > 0; size--)
    top.counts.set(scalarCodecs[type].decode(reader), reader.varint());
}

// ---------------------------------------------------------------- small things

function widen(summary: Summary, measure: Int64): void {
  if (summary.min === null || measure < summary.min) summary.min = measure;
  if (summary.max === null || measure > summary.max) summary.max = measure;
}

function addTo<K>(counts: Map<K, number>, key: K, count: number): void {
  counts.set(key, (counts.get(key) ?? 0) + count);
}

function countsOf(buckets: ReadonlyMap<number, number>): Counts {
  return [...buckets].sort(([a], [b]) => a - b).flat();
}

/** How many registers have each rank. */
function ranksOf(registers: Uint8Array): number[] {
  const counts = noRanks();
  for (const rank of registers) counts[rank]! += 1;
  return counts;
}

/** `times` of them together. @param times positive */
function multiple<T>(adder: Adder<T>, one: T, times: number): T {
  let sum = times % 2 === 1 ? one : adder.zero;
  let power = one;
  for (let left = Math.floor(times / 2); left > 0; left = Math.floor(left / 2)) {
    power = adder.add(power, power);
    if (left % 2 === 1) sum = adder.add(sum, power);
  }
  return sum;
}
