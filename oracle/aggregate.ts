/**
 * The value of one feature, from the events that count for it, at the moment it is read. Every aggregation is a loop
 * over those events; nothing is kept between two questions.
 */
import type { Aggregation, Expression, RatioSide, Source } from '../core/definition.js';
import type { Event, FeatureValue, Value } from '../core/event.js';
import { exactSum, nearestDouble } from './exact.js';
import { type Columns, compare, evaluate, passes, typeOf, withoutMinusZero } from './expression.js';

/** An event with its columns by name. */
export interface Row {
  event: Event;
  columns: Columns;
}

/**
 * @param rows the events that count for the feature, oldest first
 * @param readAt the moment of reading, epoch ms; only timeSince depends on it
 * @returns null where the definition says so for what is empty, and where a float64 result is beyond the doubles
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
      const numbers = present(aggregation.value, source, rows).map(Number);
      if (typeOf(aggregation.value, source) === 'float64') return nearestDouble(exactSum(numbers));
      return wholeSum(numbers);
    }
    case 'mean': {
      const numbers = present(aggregation.value, source, rows).map(Number);
      return numbers.length === 0 ? null : quotient(nearestDouble(exactSum(numbers)), numbers.length);
    }
    case 'min':
      return present(aggregation.value, source, rows).sort(compare).at(0) ?? null;
    case 'max':
      return present(aggregation.value, source, rows).sort(compare).at(-1) ?? null;
    case 'last':
      return present(aggregation.value, source, rows).at(-1) ?? null;
    case 'lastN':
      return listed(present(aggregation.value, source, rows).reverse().slice(0, aggregation.n));
    case 'distinct':
      return new Set(present(aggregation.value, source, rows)).size;
    case 'topK':
      return topK(aggregation.key, aggregation.weight, aggregation.k, source, rows);
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
function present(expression: Expression, source: Source, rows: readonly Row[]): NonNullable<Value>[] {
  return rows.map((row) => evaluate(expression, source, row.columns)).filter((value) => value !== null);
}

/** The exact sum of whole numbers; a bigint beyond ±(2^53 - 1); of none: 0. */
function wholeSum(numbers: readonly number[]): number | bigint {
  let sum = 0n;
  for (const value of numbers) sum += BigInt(value);
  return -(2n ** 53n) < sum && sum < 2n ** 53n ? Number(sum) : sum;
}

/** a / b as doubles; null when either is null, b is 0, or the result is not finite. */
function quotient(a: number | null, b: number | null): number | null {
  if (a === null || b === null || b === 0) return null;
  const result = a / b;
  return Number.isFinite(result) ? withoutMinusZero(result) : null;
}

/** One side of a ratio, as a double: a sum is exact, then rounded; null when that is beyond the doubles. */
function ratioSide(side: RatioSide, source: Source, rows: readonly Row[]): number | null {
  const own = rows.filter((row) => passes(side.where, source, row.columns));
  switch (side.op) {
    case 'count':
      return own.length;
    case 'sum':
      return nearestDouble(exactSum(present(side.value, source, own).map(Number)));
    case 'distinct':
      return new Set(present(side.value, source, own)).size;
  }
}

/** The k keys of greatest positive exact total, heaviest first, ties by key ascending. Null key or weight: skipped. */
function topK(key: Expression, weight: Expression, k: number, source: Source, rows: readonly Row[]) {
  const weights = new Map<NonNullable<Value>, number[]>();
  for (const { columns } of rows) {
    const keyHere = evaluate(key, source, columns);
    const weightHere = evaluate(weight, source, columns);
    if (keyHere === null || weightHere === null) continue;
    weights.set(keyHere, [...(weights.get(keyHere) ?? []), Number(weightHere)]);
  }
  const heaviestFirst = [...weights]
    .map(([key, all]) => ({ key, total: exactSum(all) }))
    .filter(({ total }) => total > 0n)
    .sort((a, b) => (a.total === b.total ? compare(a.key, b.key) : a.total > b.total ? -1 : 1));
  return listed(heaviestFirst.slice(0, k).map(({ key }) => key));
}

/**
 * The cart is what is left after playing the events oldest first: an add puts its item in front of all others, a
 * remove takes it out, a clear takes out everything. An event is an add, else a remove, else a clear, else nothing.
 */
function cart(definition: Extract<Aggregation, { op: 'cart' }>, source: Source, rows: readonly Row[]) {
  let items: NonNullable<Value>[] = [];
  for (const { columns } of rows) {
    const item = evaluate(definition.item, source, columns);
    const isAdd = passes(definition.add, source, columns);
    const isRemove = !isAdd && passes(definition.remove, source, columns);
    const isClear =
      !isAdd && !isRemove && definition.clear !== null && passes(definition.clear, source, columns);
    if (isClear) items = [];
    if (isRemove && item !== null) items = items.filter((other) => other !== item);
    if (isAdd && item !== null) items = [item, ...items.filter((other) => other !== item)];
  }
  return listed(items.slice(0, definition.limit));
}

/** A list value; lists hold strings or numbers. */
function listed(values: readonly NonNullable<Value>[]): Array<string | number> {
  return values.map((value) => {
    if (typeof value === 'boolean') throw new Error('a list holds strings or numbers, not bools');
    return value;
  });
}
