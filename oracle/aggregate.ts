/**
 * The value of one feature, from the events that count for it, at the moment it is read. Every aggregation is a loop
 * over those events; nothing is kept between two questions.
 */
import type { Aggregation, Expression, RatioSide, Source } from '../core/definition.js';
import type { Event, FeatureValue, List, Scalar } from '../core/event.js';
import { decayed, deviation, exactMean, exactSum, nearestDouble } from './exact.js';
import { type Columns, compare, evaluate, passes, typeOf, whole, withoutMinusZero } from './expression.js';

/** An event with its columns by name. */
export interface Row {
  event: Event;
  columns: Columns;
}

/**
 * @param rows the events that count for the feature, oldest first
 * @param readAt the moment of reading, epoch ms; only timeSince and what decays depend on it
 * @returns null where the definition says so for what is empty, and where the result is beyond 64 bits or the doubles
 */
export function aggregate(
  aggregation: Aggregation,
  source: Source,
  rows: readonly Row[],
  readAt: number,
): FeatureValue {
  switch (aggregation.op) {
    case 'count':
      return rows.length;
    case 'sum': {
      const terms = numbers(aggregation.value, source, rows);
      if (typeOf(aggregation.value, source) === 'float64') return nearestDouble(exactSum(terms));
      return whole(terms.map(BigInt).reduce((a, b) => a + b, 0n));
    }
    case 'mean': {
      if (typeOf(aggregation.value, source) === 'list<float64>') {
        const vectors = values(aggregation.value, source, rows) as number[][];
        return vectors.at(0)?.map((_, i) => exactMean(vectors.map((vector) => vector[i]!))!) ?? null;
      }
      const terms = numbers(aggregation.value, source, rows);
      return terms.length === 0 ? null : quotient(nearestDouble(exactSum(terms)), terms.length);
    }
    case 'decayedSum':
    case 'decayedCount': {
      const terms = rows.flatMap(({ event, columns }) => {
        const value = aggregation.op === 'decayedSum' ? evaluate(aggregation.value, source, columns) : 1;
        return value === null ? [] : [{ value: value as number | bigint, timestamp: event.timestamp }];
      });
      return decayed(terms, readAt, aggregation.halfLifeMs);
    }
    case 'variance':
    case 'stddev': {
      const terms = numbers(aggregation.value, source, rows);
      const over = aggregation.population ? terms.length : terms.length - 1;
      return deviation(terms, aggregation.op === 'stddev', over);
    }
    case 'min':
      return present(aggregation.value, source, rows).sort(compare).at(0) ?? null;
    case 'max':
      return present(aggregation.value, source, rows).sort(compare).at(-1) ?? null;
    case 'last':
      return values(aggregation.value, source, rows).at(-1) ?? null;
    case 'lastN':
      return listed(present(aggregation.value, source, rows).reverse().slice(0, aggregation.n));
    case 'first':
      return values(aggregation.value, source, rows).at(0) ?? null;
    case 'firstN':
      return listed(present(aggregation.value, source, rows).slice(0, aggregation.n));
    case 'distinct':
      return different(aggregation, source, rows);
    case 'approxDistinct':
      return roughly(present(aggregation.value, source, rows), aggregation.exactTo);
    case 'topK':
      return topK(aggregation.key, aggregation.weight, aggregation.k, source, rows);
    case 'bucketed':
      return bucketed(aggregation, source, rows, readAt);
    case 'histogram': {
      const terms = numbers(aggregation.value, source, rows);
      const bounds = [Number.NEGATIVE_INFINITY, ...aggregation.edges, Number.POSITIVE_INFINITY];
      return bounds
        .slice(1)
        .map((end, index) => terms.filter((value) => bounds[index]! <= value && value < end).length);
    }
    case 'percentile': {
      const sizes = numbers(aggregation.value, source, rows).map(Number).sort(compare);
      if (sizes.length === 0) return null;
      const rank = (BigInt(Math.round(aggregation.quantile * 10_000)) * BigInt(sizes.length - 1)) / 10_000n;
      return sketched(sizes[Number(rank)]!, typeOf(aggregation.value, source) === 'int64');
    }
    case 'cart':
      return cart(aggregation, source, rows);
    case 'ratio': {
      const numerator = ratioSide(aggregation.numerator, source, rows);
      const denominator = ratioSide(aggregation.denominator, source, rows);
      return quotient(numerator, denominator);
    }
    case 'timeSince': {
      const row = aggregation.edge === 'first' ? rows.at(0) : rows.at(-1);
      if (row === undefined) return null;
      return withoutMinusZero(Math.floor((readAt - row.event.timestamp) / aggregation.unitMs));
    }
  }
}

/** The non-null values of an expression, oldest first. */
function values(expression: Expression, source: Source, rows: readonly Row[]): Array<Scalar | List> {
  return rows.map((row) => evaluate(expression, source, row.columns)).filter((value) => value !== null);
}

/** The same of one that gives scalars. */
function present(expression: Expression, source: Source, rows: readonly Row[]): Scalar[] {
  return values(expression, source, rows).map((value) => {
    if (typeof value === 'object') throw new Error('a list is no scalar');
    return value;
  });
}

/** The same of one that gives numbers. */
function numbers(expression: Expression, source: Source, rows: readonly Row[]): Array<number | bigint> {
  return present(expression, source, rows).map((value) =>
    typeof value === 'bigint' ? value : Number(value),
  );
}

/** a / b as doubles; null when either is null, b is 0, or the result is not finite. */
function quotient(a: number | null, b: number | null): number | null {
  if (a === null || b === null || b === 0) return null;
  const result = a / b;
  return Number.isFinite(result) ? withoutMinusZero(result) : null;
}

/** How many different values there are, or the limit. */
function different(
  { value, limit = Number.POSITIVE_INFINITY }: { value: Expression; limit?: number },
  source: Source,
  rows: readonly Row[],
): number {
  return Math.min(limit, new Set(present(value, source, rows)).size);
}

/** How many different ones there are: up to `exactTo` their number; of more the estimate, but not so few. */
function roughly(values: readonly Scalar[], exactTo: number): number {
  const exact = new Set(values).size;
  return exact <= exactTo ? exact : Math.max(exactTo + 1, estimated(values));
}

/**
 * HyperLogLog over 2^12 registers: the first 12 of 64 bits choose one, which holds the greatest rank met, the place of the first one
 * among the 40 bits that follow (41: there is none). The estimate is Ertl's (arXiv:1702.01284, equation 26 with algorithms 4 to 6).
 */
function estimated(values: readonly Scalar[]): number {
  const m = 4096;
  const ranks = new Map<string, number>();
  for (const value of values) {
    const bits = hashBits(String(value));
    const register = bits.slice(0, 12);
    const rank = `${bits.slice(12, 52)}1`.indexOf('1') + 1;
    ranks.set(register, Math.max(rank, ranks.get(register) ?? 0));
  }
  if (ranks.size === 0) return 0;
  const share = (rank: number): number => [...ranks.values()].filter((other) => other === rank).length / m;
  let sum = 0; // over the registers, as a share of them
  for (let rank = 1; rank <= 40; rank++) sum += share(rank) * 2 ** -rank;
  const full = share(41); // their rank is cut off: a correction, next to nothing
  if (full > 0 && full < 1) {
    let tau = full;
    for (let k = 1; k < 60; k++) tau -= (1 - (1 - full) ** (2 ** -k)) ** 2 * 2 ** -k;
    sum += (tau / 3) * 2 ** -40;
  }
  const empty = 1 - ranks.size / m;
  let sigma = empty;
  for (let k = 1; k < 40; k++) sigma += empty ** (2 ** k) * 2 ** (k - 1);
  return Math.round(m / (2 * Math.LN2 * (sum + sigma)));
}

/** 64 bits of a text, most significant first: two words over its UTF-16 code units, then mixed with each other. */
function hashBits(text: string): string {
  const word = 2n ** 32n;
  const step = (state: bigint, unit: number, factor: bigint): bigint =>
    ((state ^ BigInt(unit)) * factor) % word;
  const mix = (one: bigint, other: bigint): bigint =>
    (((one ^ (one >> 16n)) * 2246822507n) % word) ^ (((other ^ (other >> 13n)) * 3266489909n) % word);
  let low = 0xdeadbeefn;
  let high = 0x41c6ce57n;
  for (let i = 0; i < text.length; i++) {
    low = step(low, text.charCodeAt(i), 2654435761n);
    high = step(high, text.charCodeAt(i), 1597334677n);
  }
  low = mix(low, high);
  high = mix(high, low);
  return (high * word + low).toString(2).padStart(64, '0');
}

/** One side of a ratio, as a double: a sum is exact, then rounded; null when that is beyond the doubles. */
function ratioSide(side: RatioSide, source: Source, rows: readonly Row[]): number | null {
  const own = rows.filter((row) => passes(side.where, source, row.columns));
  switch (side.op) {
    case 'count':
      return own.length;
    case 'sum':
      return nearestDouble(exactSum(numbers(side.value, source, own)));
    case 'distinct':
      return different(side, source, own);
  }
}

/** The k keys of greatest positive exact total, heaviest first, ties by key ascending. Null key or weight: skipped; no weight: 1. */
function topK(key: Expression, weight: Expression | null, k: number, source: Source, rows: readonly Row[]) {
  const weights = new Map<Scalar, Array<number | bigint>>();
  for (const { columns } of rows) {
    const keyHere = evaluate(key, source, columns) as Scalar | null;
    const weightHere = weight === null ? 1 : (evaluate(weight, source, columns) as number | bigint | null);
    if (keyHere === null || weightHere === null) continue;
    weights.set(keyHere, [...(weights.get(keyHere) ?? []), weightHere]);
  }
  const heaviestFirst = [...weights]
    .map(([key, all]) => ({ key, total: exactSum(all) }))
    .filter(({ total }) => total > 0n)
    .sort((a, b) => (a.total === b.total ? compare(a.key, b.key) : a.total > b.total ? -1 : 1));
  return listed(heaviestFirst.slice(0, k).map(({ key }) => key));
}

/**
 * The aggregation of the rows of each key, of the `limit` keys of most rows, ties by key ascending. Keys are text. Rows with a null
 * key or value are in no bucket; a key whose aggregation is null is left out.
 */
function bucketed(
  { by, aggregation, limit }: Extract<Aggregation, { op: 'bucketed' }>,
  source: Source,
  rows: readonly Row[],
  readAt: number,
): FeatureValue {
  const buckets = new Map<string, Row[]>();
  for (const row of rows) {
    const key = evaluate(by, source, row.columns);
    const value = aggregation.op === 'count' ? 1 : evaluate(aggregation.value, source, row.columns);
    if (key === null || value === null) continue;
    buckets.set(String(key), [...(buckets.get(String(key)) ?? []), row]);
  }
  const fullestFirst = [...buckets].sort(([a, x], [b, y]) => y.length - x.length || compare(a, b));
  const told = fullestFirst
    .slice(0, limit)
    .map(([key, own]) => [key, aggregate(aggregation, source, own, readAt)] as const);
  return Object.fromEntries(
    told.filter((entry): entry is readonly [string, string | number | bigint] => entry[1] !== null),
  );
}

/**
 * A number as a sketch of 64 buckets to an octave remembers it: the middle of its bucket. Nearer to 0 than 2^-32 is 0; from 2^64 on
 * all is one with what lies just below. Of whole numbers the middle is the middle one of those in the bucket, of two the lower.
 */
function sketched(value: number, whole: boolean): number {
  const size = Math.abs(value);
  if (size < 2 ** -32) return 0;
  let octave = 2 ** -32;
  while (octave < 2 ** 63 && octave * 2 <= size) octave *= 2;
  const step = octave / 64;
  let low = octave;
  while (low + step < 2 * octave && low + step <= size) low += step;
  const high = low + step;
  let middle = (2 * low * high) / (low + high); // as far, relatively, from one end as from the other
  if (whole) middle = Number((BigInt(Math.ceil(low)) + BigInt(Math.ceil(high)) - 1n) / 2n);
  return value < 0 ? -middle : middle;
}

/**
 * The cart is what is left after playing the events oldest first: an add puts its item in front of all others, a
 * remove takes it out, a clear takes out everything. An event is an add, else a remove, else a clear, else nothing. Of all items
 * added or removed since the clear, the 10,000 of which that is least long ago count.
 */
function cart(definition: Extract<Aggregation, { op: 'cart' }>, source: Source, rows: readonly Row[]) {
  let items: Scalar[] = [];
  let touched: Scalar[] = [];
  for (const { columns } of rows) {
    const item = evaluate(definition.item, source, columns) as Scalar | null;
    const isAdd = passes(definition.add, source, columns);
    const isRemove = !isAdd && passes(definition.remove, source, columns);
    const isClear =
      !isAdd && !isRemove && definition.clear !== null && passes(definition.clear, source, columns);
    if (isClear) items = touched = [];
    if ((isAdd || isRemove) && item !== null) touched = [item, ...touched.filter((other) => other !== item)];
    if (isRemove && item !== null) items = items.filter((other) => other !== item);
    if (isAdd && item !== null) items = [item, ...items.filter((other) => other !== item)];
  }
  const counting = new Set(touched.slice(0, 10_000));
  return listed(items.filter((item) => counting.has(item)).slice(0, definition.limit));
}

/** A list value; lists hold strings or numbers. */
function listed(values: readonly Scalar[]): List {
  return values.map((value) => {
    if (typeof value === 'boolean') throw new Error('a list holds strings or numbers, not bools');
    return value;
  });
}
