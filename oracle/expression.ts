/**
 * What an expression says of one event. Nulls as in SQL. An ill-typed expression is a mistake of the caller (it is
 * refused long before) and throws.
 */
import { createHash } from 'node:crypto';
import type { ColumnType, Expression, Operator, Source } from '../core/definition.js';
import type { Event, List, Scalar, Value } from '../core/event.js';

/** The columns of one event, by name. */
export type Columns = ReadonlyMap<string, Value>;

/** An event's values by column name. They stand in the order of the sorted names; a column it lacks is null. */
export function columnsOf(source: Source, event: Event): Columns {
  const names = Object.keys(source.columns).sort();
  return new Map(names.map((name, index) => [name, withoutMinusZero(event.values[index] ?? null)]));
}

/** Whether a filter lets an event pass: no filter does, null does not. */
export function passes(where: Expression | null, source: Source, columns: Columns): boolean {
  return where === null || evaluate(where, source, columns) === true;
}

/** The value of an expression; missing is null. Never NaN, infinite or -0. */
export function evaluate(expression: Expression, source: Source, columns: Columns): Value {
  return withoutMinusZero(evaluateAny(expression, source, columns));
}

/** The type an expression has whatever the event; of the null literal, and of what only it makes: null. */
export function typeOf(expression: Expression, source: Source): ColumnType | null {
  if ('col' in expression) {
    const column = Object.hasOwn(source.columns, expression.col) ? source.columns[expression.col] : undefined;
    if (column === undefined) throw new Error(`source "${source.name}" has no column "${expression.col}"`);
    return column.type;
  }
  if ('lit' in expression) {
    if (expression.lit === null) return null;
    if (typeof expression.lit === 'string') return 'string';
    if (typeof expression.lit === 'boolean') return 'bool';
    return Number.isSafeInteger(expression.lit) ? 'int64' : 'float64';
  }
  const types = expression.args.map((arg) => typeOf(arg, source));
  switch (expression.op) {
    case 'eq':
    case 'ne':
    case 'lt':
    case 'le':
    case 'gt':
    case 'ge':
    case 'and':
    case 'or':
    case 'not':
    case 'isNull':
    case 'in':
    case 'contains':
      return 'bool';
    case 'add':
    case 'sub':
    case 'mul':
      return types.every((type) => type === 'int64' || type === 'timestamp') ? 'int64' : 'float64';
    case 'div':
      return 'float64';
    case 'coalesce':
      return types.includes('float64') ? 'float64' : (types.find((type) => type !== null) ?? null);
    case 'hash':
    case 'length':
      return 'int64';
    case 'lower':
      return 'string';
    case 'now':
      throw new Error('an aggregation view has no "now"');
  }
}

/** The operators that have something to say of a null operand; of the others any null gives null. */
const SPEAK_OF_NULL: readonly string[] = ['isNull', 'coalesce', 'and', 'or', 'in'];

function evaluateAny(expression: Expression, source: Source, columns: Columns): Value {
  if ('lit' in expression) return expression.lit;
  if ('col' in expression) {
    const value = columns.get(expression.col);
    if (value === undefined) throw new Error(`source "${source.name}" has no column "${expression.col}"`);
    return value;
  }

  const { op } = expression;
  const args = expression.args.map((arg) => evaluate(arg, source, columns));
  expectOperands(op, args);
  if (args.includes(null) && !SPEAK_OF_NULL.includes(op)) return null;
  switch (op) {
    case 'eq':
      return compare(scalar(args[0]!), scalar(args[1]!)) === 0;
    case 'ne':
      return compare(scalar(args[0]!), scalar(args[1]!)) !== 0;
    case 'lt':
      return compare(scalar(args[0]!), scalar(args[1]!)) < 0;
    case 'le':
      return compare(scalar(args[0]!), scalar(args[1]!)) <= 0;
    case 'gt':
      return compare(scalar(args[0]!), scalar(args[1]!)) > 0;
    case 'ge':
      return compare(scalar(args[0]!), scalar(args[1]!)) >= 0;
    case 'and':
      if (args.map(boolOrNull).includes(false)) return false;
      return args.includes(null) ? null : true;
    case 'or':
      if (args.map(boolOrNull).includes(true)) return true;
      return args.includes(null) ? null : false;
    case 'not':
      return !bool(args[0]!);
    case 'isNull':
      return args[0] === null;
    case 'in': {
      const [wanted, ...list] = args;
      if (wanted === null) return null;
      if (list.some((item) => item !== null && compare(scalar(wanted!), scalar(item)) === 0)) return true;
      return list.includes(null) ? null : false;
    }
    case 'add':
    case 'sub':
    case 'mul':
      return typeOf(expression, source) === 'int64'
        ? wholeArithmetic(op, args.map(number))
        : doubleArithmetic(op, args.map(double));
    case 'div': {
      const quotient = double(args[0]!) / double(args[1]!);
      return Number.isFinite(quotient) ? quotient : null; // by zero: infinite or NaN
    }
    case 'coalesce': {
      const found = args.find((arg) => arg !== null) ?? null;
      return found !== null && typeOf(expression, source) === 'float64' ? double(found) : found;
    }
    case 'hash': {
      const text = typeof args[0] === 'string' ? args[0] : BigInt(number(args[0]!)).toString();
      const digest = createHash('sha256').update(text.normalize('NFC'), 'utf8').digest('hex');
      return Number.parseInt(digest.slice(0, 13), 16); // 13 hex digits are 52 bits
    }
    case 'lower':
      return string(args[0]!).toLowerCase();
    case 'length':
      // of a text by code points, not UTF-16 code units
      return Array.isArray(args[0]) ? args[0].length : Array.from(string(args[0]!)).length;
    case 'contains':
      return (args[0] as List).some((element) => compare(element, scalar(args[1]!)) === 0);
    case 'now':
      throw new Error('an aggregation view has no "now"');
  }
}

/** Left to right in whole numbers without bound; null when the result has no place in 64 bits. */
function wholeArithmetic(op: 'add' | 'sub' | 'mul', operands: ReadonlyArray<number | bigint>) {
  const [first, ...rest] = operands.map(BigInt);
  let result = first!;
  for (const operand of rest) {
    if (op === 'add') result += operand;
    else if (op === 'sub') result -= operand;
    else result *= operand;
  }
  return whole(result);
}

/** A whole number as values hold it: a bigint from ±2^53 on; null outside of 64 bits. */
export function whole(value: bigint): number | bigint | null {
  if (value < -(2n ** 63n) || value >= 2n ** 63n) return null;
  return -(2n ** 53n) < value && value < 2n ** 53n ? Number(value) : value;
}

/** Left to right in doubles, each step rounded; null when not finite. */
function doubleArithmetic(op: 'add' | 'sub' | 'mul', operands: readonly number[]): number | null {
  const [first, ...rest] = operands;
  let result = first!;
  for (const operand of rest) {
    if (op === 'add') result += operand;
    else if (op === 'sub') result -= operand;
    else result *= operand;
  }
  return Number.isFinite(result) ? result : null;
}

/** Negative, 0 or positive: strings by UTF-16 code units, numbers by size, exactly, false before true. */
export function compare(a: Scalar, b: Scalar): number {
  const kind = (value: Scalar): string => (typeof value === 'bigint' ? 'number' : typeof value);
  if (kind(a) !== kind(b)) throw new Error(`${typeof a} and ${typeof b} cannot be compared`);
  return a < b ? -1 : a > b ? 1 : 0;
}

/** -0 as 0; every other value as it is. */
export function withoutMinusZero<T>(value: T): T {
  return value === 0 ? (0 as T) : value;
}

const MANY = Number.POSITIVE_INFINITY;
/** How many operands an operator takes, at least and at most. */
// biome-ignore format: a table of numbers
const OPERANDS: Record<Operator, readonly [least: number, most: number]> = {
  eq: [2, 2], ne: [2, 2], lt: [2, 2], le: [2, 2], gt: [2, 2], ge: [2, 2],
  and: [1, MANY], or: [1, MANY], not: [1, 1], isNull: [1, 1], in: [1, MANY],
  add: [2, MANY], sub: [2, MANY], mul: [2, MANY], div: [2, 2],
  coalesce: [1, MANY], hash: [1, 1], lower: [1, 1], length: [1, 1], contains: [2, 2], now: [0, 0],
};

function expectOperands(op: Operator, args: readonly Value[]): void {
  const [least, most] = OPERANDS[op];
  if (args.length < least || args.length > most) {
    throw new Error(`"${op}" does not take ${args.length} operands`);
  }
}

function scalar(value: NonNullable<Value>): Scalar {
  if (typeof value === 'object') throw new Error('a list is no scalar');
  return value;
}

function number(value: Value): number | bigint {
  if (typeof value !== 'number' && typeof value !== 'bigint')
    throw new Error(`${String(value)} is no number`);
  return value;
}

/** The double nearest to a number. */
function double(value: Value): number {
  return Number(number(value));
}

function string(value: NonNullable<Value>): string {
  if (typeof value !== 'string') throw new Error(`${String(value)} is no string`);
  return value;
}

function bool(value: NonNullable<Value>): boolean {
  if (typeof value !== 'boolean') throw new Error(`${String(value)} is no bool`);
  return value;
}

function boolOrNull(value: Value): boolean | null {
  return value === null ? null : bool(value);
}
