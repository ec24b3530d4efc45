/**
 * Expressions of definitions, typed and compiled to functions. Nulls as in SQL. Numbers never wrap: a whole-number result
 * outside of 64 bits, a division by zero and a result that is not finite are null.
 *
 *   eq ne lt le gt ge   two of one type (numbers and timestamps compare with each other, exactly); text by UTF-16 code units → bool
 *   and or not          three-valued → bool          isNull → bool
 *   in(x, a, b, ...)    true if equal to any, else null if any is null, else false → bool
 *   add sub mul         two or more numbers; all whole → int64, exact; else float64, of the doubles nearest to them
 *   div                 of the doubles nearest to two numbers → float64
 *   coalesce            the first that is not null; of int64 and float64: as float64          lower → string
 *   length              code points of text, elements of a list → int64
 *   contains            whether a list has an element equal to a scalar of its type → bool
 *   hash                text, or a whole number as decimal text → the first 52 bits of SHA-256 of its UTF-8 in NFC: int64
 *   now                 the moment of the request or label; only in on-demand views → timestamp
 */
import { sha256 } from '@noble/hashes/sha2.js';
import { assert } from './assert.js';
import type { Expression, FeatureType } from './definition.js';
import type { List, Value } from './event.js';
import type { Int64 } from './int64.js';
import { toInt64 } from './int64.js';

/** 'null' is the type of the literal null: it fits everywhere. */
export type ExpressionType = FeatureType | 'null';

/** What an expression may name: where the value stands, its type, and of a vector its length. */
export type Inputs = ReadonlyMap<string, { index: number; type: FeatureType; length?: number }>;

export type Evaluate = (values: readonly Value[], now: number) => Value;

/** The expression's type, or what is wrong with it. `allowNow`: only on-demand views have a clock. */
export function typeOf(
  expression: Expression,
  inputs: Inputs,
  allowNow = false,
): { type: ExpressionType } | { problem: string; fix: string } {
  if ('col' in expression) {
    const input = inputs.get(expression.col);
    if (input) return { type: input.type };
    return {
      problem: `there is no column "${expression.col}"`,
      fix: `use one of: ${[...inputs.keys()].join(', ')}`,
    };
  }
  if ('lit' in expression) return { type: literalType(expression.lit) };
  const types: ExpressionType[] = [];
  for (const argument of expression.args) {
    const result = typeOf(argument, inputs, allowNow);
    if ('problem' in result) return result;
    types.push(result.type);
  }
  const { op } = expression;
  const wrong = (fix: string) => ({ problem: `${op}(${types.join(', ')}) has no meaning`, fix });
  const [first, second] = types;
  switch (op) {
    case 'eq':
    case 'ne':
    case 'lt':
    case 'le':
    case 'gt':
    case 'ge':
      return types.length === 2 && comparable(first!, second!)
        ? { type: 'bool' }
        : wrong('compare two scalars of one type');
    case 'in':
      return types.length > 1 && types.slice(1).every((type) => comparable(first!, type))
        ? { type: 'bool' }
        : wrong('give one scalar and at least one value of its type');
    case 'and':
    case 'or':
      return types.length > 0 && types.every((type) => type === 'bool' || type === 'null')
        ? { type: 'bool' }
        : wrong('give conditions');
    case 'not':
      return types.length === 1 && (first === 'bool' || first === 'null')
        ? { type: 'bool' }
        : wrong('give one condition');
    case 'isNull':
      return types.length === 1 ? { type: 'bool' } : wrong('give one value');
    case 'add':
    case 'sub':
    case 'mul':
      if (types.length < 2 || !types.every(isNumeric)) return wrong('give two or more numbers');
      return { type: types.every((type) => type !== 'float64') ? 'int64' : 'float64' };
    case 'div':
      return types.length === 2 && types.every(isNumeric) ? { type: 'float64' } : wrong('give two numbers');
    case 'coalesce': {
      const kinds = new Set(types.filter((type) => type !== 'null'));
      if (kinds.size === 1) return { type: [...kinds][0]! };
      if (kinds.size > 1 && [...kinds].every((kind) => kind === 'int64' || kind === 'float64'))
        return { type: 'float64' };
      return wrong('give values of one type, at least one of them not null');
    }
    case 'hash':
      return types.length === 1 && (first === 'string' || first === 'int64')
        ? { type: 'int64' }
        : wrong('give a text or a whole number');
    case 'lower':
      return types.length === 1 && first === 'string' ? { type: 'string' } : wrong('give a text');
    case 'length':
      return types.length === 1 && (first === 'string' || first!.startsWith('list'))
        ? { type: 'int64' }
        : wrong('give a text or a list');
    case 'contains':
      return types.length === 2 && first!.startsWith('list') && comparable(elementOf(first!), second!)
        ? { type: 'bool' }
        : wrong('give a list and a scalar of its type');
    case 'now':
      if (types.length > 0) return wrong('now() takes nothing');
      return allowNow
        ? { type: 'timestamp' }
        : { problem: 'now() has no meaning over stored events', fix: 'use timeSince, or an on-demand view' };
  }
}

/** How many elements the vectors have that an expression gives; null where it gives none, or of more than one length. */
export function lengthOf(expression: Expression, inputs: Inputs): number | null {
  if ('col' in expression) return inputs.get(expression.col)?.length ?? null;
  if ('lit' in expression || expression.op !== 'coalesce') return null;
  const lengths = new Set(
    expression.args.filter((argument) => !('lit' in argument)).map((argument) => lengthOf(argument, inputs)),
  );
  return lengths.size === 1 ? [...lengths][0]! : null;
}

/** Compiles an expression that typeOf accepts. The function never throws. */
export function compileExpression(expression: Expression, inputs: Inputs): Evaluate {
  if ('col' in expression) {
    const input = inputs.get(expression.col);
    assert(input, `no input "${expression.col}"`);
    const { index } = input;
    return (values) => values[index] ?? null;
  }
  if ('lit' in expression) {
    const { lit } = expression;
    return () => lit;
  }
  const args = expression.args.map((argument) => compileExpression(argument, inputs));
  const [a, b] = args as [Evaluate, Evaluate];
  switch (expression.op) {
    case 'eq':
      return compare(a, b, equal);
    case 'ne':
      return compare(a, b, (x, y) => !equal(x, y));
    case 'lt':
      return compare(a, b, (x, y) => x < y);
    case 'le':
      return compare(a, b, (x, y) => x <= y);
    case 'gt':
      return compare(a, b, (x, y) => x > y);
    case 'ge':
      return compare(a, b, (x, y) => x >= y);
    case 'and':
      return junction(args, false);
    case 'or':
      return junction(args, true);
    case 'not':
      return (values, now) => {
        const x = a(values, now);
        return x === null ? null : !x;
      };
    case 'isNull':
      return (values, now) => a(values, now) === null;
    case 'in':
      return (values, now) => {
        const x = a(values, now);
        if (x === null) return null;
        let unknown = false;
        for (let i = 1; i < args.length; i++) {
          const y = args[i]!(values, now);
          if (y === null) unknown = true;
          else if (equal(x, y)) return true;
        }
        return unknown ? null : false;
      };
    case 'add':
    case 'sub':
    case 'mul':
      return arithmetic({ op: expression.op, args: expression.args }, inputs, args);
    case 'div':
      return (values, now) => {
        const x = a(values, now);
        const y = b(values, now);
        if (x === null || y === null || y === 0) return null;
        return finite(Number(x) / Number(y));
      };
    case 'coalesce': {
      const double = isDouble(expression, inputs);
      return (values, now) => {
        for (const argument of args) {
          const x = argument(values, now);
          if (x !== null) return double ? Number(x) : x;
        }
        return null;
      };
    }
    case 'hash':
      return (values, now) => {
        const x = a(values, now);
        return x === null ? null : stableHash(String(x));
      };
    case 'lower':
      return (values, now) => {
        const x = a(values, now);
        return x === null ? null : (x as string).toLowerCase();
      };
    case 'length':
      return (values, now) => {
        const x = a(values, now);
        if (x === null) return null;
        return typeof x === 'string' ? Array.from(x).length : (x as List).length;
      };
    case 'contains':
      return (values, now) => {
        const list = a(values, now) as List | null;
        const x = b(values, now);
        return list === null || x === null ? null : list.some((element) => equal(element, x));
      };
    case 'now':
      return (_, now) => now;
  }
}

/** The same text gives the same whole number for ever: 52 bits of SHA-256. */
export function stableHash(text: string): number {
  const digest = sha256(new TextEncoder().encode(text.normalize('NFC')));
  let hash = 0;
  for (let i = 0; i < 6; i++) hash = hash * 256 + digest[i]!;
  return hash * 16 + (digest[6]! >> 4);
}

export function literalType(literal: Value): ExpressionType {
  if (literal === null) return 'null';
  if (typeof literal === 'string') return 'string';
  if (typeof literal === 'boolean') return 'bool';
  return Number.isSafeInteger(literal) ? 'int64' : 'float64';
}

function isNumeric(type: ExpressionType): boolean {
  return type === 'int64' || type === 'float64' || type === 'timestamp' || type === 'null';
}

function comparable(a: ExpressionType, b: ExpressionType): boolean {
  if (a.startsWith('list') || b.startsWith('list')) return false;
  return a === b || a === 'null' || b === 'null' || (isNumeric(a) && isNumeric(b));
}

function elementOf(list: ExpressionType): ExpressionType {
  return list.slice('list<'.length, -1) as ExpressionType;
}

type Present = NonNullable<Value>;

/** One value, or one number: a double of 2^53 or more may equal a bigint. */
function equal(x: Present, y: Present): boolean {
  // biome-ignore lint/suspicious/noDoubleEquals: exact between a number and a bigint, and types were checked
  return x === y || ((typeof x === 'bigint' || typeof y === 'bigint') && x == y);
}

function compare(a: Evaluate, b: Evaluate, test: (x: Present, y: Present) => boolean): Evaluate {
  return (values, now) => {
    const x = a(values, now);
    const y = b(values, now);
    return x === null || y === null ? null : test(x, y);
  };
}

/** and: decided by the first false; or: by the first true; else null if any was null. */
function junction(args: Evaluate[], decisive: boolean): Evaluate {
  return (values, now) => {
    let unknown = false;
    for (const argument of args) {
      const x = argument(values, now);
      if (x === decisive) return decisive;
      unknown ||= x === null;
    }
    return unknown ? null : !decisive;
  };
}

/** Whole numbers are combined exactly, and only the result must be in range: 2^63 - 1 + 1 - 1 is 2^63 - 1. */
function arithmetic(
  expression: Expression & { op: 'add' | 'sub' | 'mul' },
  inputs: Inputs,
  args: Evaluate[],
): Evaluate {
  const whole = !isDouble(expression, inputs);
  const { op } = expression;
  const combine = (x: number, y: number): number => (op === 'add' ? x + y : op === 'sub' ? x - y : x * y);
  const combineExactly = (x: bigint, y: bigint): bigint =>
    op === 'add' ? x + y : op === 'sub' ? x - y : x * y;
  return (values, now) => {
    const operands = args.map((argument) => argument(values, now) as Int64 | null);
    if (operands.includes(null)) return null;
    const numbers = operands as Int64[];
    const doubles = numbers.map(Number);
    let exact = doubles.every((x, index) => x === numbers[index]);
    const total = doubles.reduce((x, y) => {
      const next = combine(x, y);
      exact &&= Number.isSafeInteger(next);
      return next;
    });
    return !whole || exact ? finite(total) : toInt64(numbers.map(BigInt).reduce(combineExactly));
  };
}

function isDouble(expression: Expression, inputs: Inputs): boolean {
  const result = typeOf(expression, inputs, true);
  assert('type' in result, `${JSON.stringify(expression)} was never checked`);
  return result.type === 'float64';
}

function finite(x: number): number | null {
  return Number.isFinite(x) ? x + 0 : null; // + 0: no negative zero
}
