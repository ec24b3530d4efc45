import { describe, expect, test } from 'vitest';
import type { Expression } from '../../core/definition.js';
import { columnsOf, evaluate, passes, typeOf } from '../../oracle/expression.js';
import { col, event, lit, op, shop } from './shop.js';

const MAX = Number.MAX_SAFE_INTEGER;
/** Columns: amount 2.5, bought_at 1000, item "Ab", kind null, paid true, quantity 3. */
const columns = columnsOf(shop, event({ at: 1000, amount: 2.5, item: 'Ab', paid: true, quantity: 3 }));
const value = (expression: Expression) => evaluate(expression, shop, columns);
const T = lit(true);
const F = lit(false);
const N = lit(null);

test('events hold their columns in the order of the sorted names; one they lack is null', () => {
  expect([...columns]).toEqual([
    ['amount', 2.5],
    ['bought_at', 1000],
    ['item', 'Ab'],
    ['kind', null],
    ['paid', true],
    ['quantity', 3],
  ]);
  expect(columnsOf(shop, { ...event({ at: 0 }), values: [1] }).get('quantity')).toBeNull();
});

describe('comparisons', () => {
  test.each([
    { of: op('eq', col('item'), lit('Ab')), is: true, why: 'equal text' },
    { of: op('eq', col('item'), lit('ab')), is: false, why: 'case matters' },
    { of: op('ne', col('quantity'), lit(3)), is: false, why: 'not unequal' },
    { of: op('eq', col('quantity'), lit(3.5)), is: false, why: 'int64 against float64' },
    { of: op('lt', lit('Z'), lit('a')), is: true, why: 'text by code unit, not by alphabet' },
    {
      of: op('lt', lit('\u{1F600}'), lit('\uFF5E')),
      is: true,
      why: 'by UTF-16 code unit: a surrogate is less than U+FF5E',
    },
    { of: op('lt', lit('a'), lit('ab')), is: true, why: 'a prefix comes first' },
    { of: op('lt', lit(9), lit(10)), is: true, why: 'numbers by size' },
    { of: op('gt', T, F), is: true, why: 'false before true' },
    { of: op('le', lit(3), lit(3)), is: true, why: 'le holds for equal' },
    { of: op('ge', lit(3), lit(3)), is: true, why: 'ge holds for equal' },
    { of: op('lt', lit(3), lit(3)), is: false, why: 'lt does not' },
    { of: op('gt', lit(3), lit(3)), is: false, why: 'gt does not' },
    { of: op('eq', lit(-0), lit(0)), is: true, why: '-0 is 0' },
    { of: op('eq', N, N), is: null, why: 'null is not equal to null' },
    { of: op('ne', col('kind'), lit('x')), is: null, why: 'nor unequal to anything' },
  ])('$why', ({ of, is }) => expect(value(of)).toBe(is));
});

describe('three-valued logic', () => {
  test.each([
    { of: op('and', T, T, T), is: true, why: 'and: all true' },
    { of: op('and', T, N, F), is: false, why: 'and: one false decides, null or not' },
    { of: op('and', T, N), is: null, why: 'and: else null' },
    { of: op('or', F, F), is: false, why: 'or: all false' },
    { of: op('or', N, F, T), is: true, why: 'or: one true decides, null or not' },
    { of: op('or', F, N), is: null, why: 'or: else null' },
    { of: op('not', T), is: false, why: 'not' },
    { of: op('not', N), is: null, why: 'not null is null' },
    { of: op('isNull', col('kind')), is: true, why: 'isNull of null' },
    { of: op('isNull', col('item')), is: false, why: 'isNull of a value' },
    { of: op('in', lit(2), lit(1), lit(2)), is: true, why: 'in the list' },
    { of: op('in', lit(3), lit(1), lit(2)), is: false, why: 'not in the list' },
    { of: op('in', lit(2), N, lit(2)), is: true, why: 'in a list with a null' },
    { of: op('in', lit(3), N, lit(2)), is: null, why: 'not seen in a list with a null: unknown' },
    { of: op('in', N, N), is: null, why: 'null in anything is null' },
    { of: op('in', lit(1)), is: false, why: 'in an empty list' },
    {
      of: op('coalesce', N, col('kind'), lit('x'), lit('y')),
      is: 'x',
      why: 'coalesce: the first that is not null',
    },
    { of: op('coalesce', N, N), is: null, why: 'coalesce: none' },
  ])('$why', ({ of, is }) => expect(value(of)).toBe(is));

  test('a filter passes on true alone', () => {
    expect(passes(null, shop, columns)).toBe(true);
    expect(passes(T, shop, columns)).toBe(true);
    expect(passes(F, shop, columns)).toBe(false);
    expect(passes(N, shop, columns)).toBe(false);
  });
});

describe('arithmetic', () => {
  test.each([
    { of: op('add', col('quantity'), lit(4), lit(5)), is: 12, why: 'of three' },
    { of: op('sub', lit(10), lit(3), lit(2)), is: 5, why: 'from left to right' },
    { of: op('mul', col('amount'), lit(2)), is: 5, why: 'float64 times int64' },
    { of: op('add', col('quantity'), col('kind')), is: null, why: 'any null' },
    { of: op('sub', col('bought_at'), lit(1)), is: 999, why: 'a timestamp is a whole number' },
    { of: op('add', lit(MAX), lit(0)), is: MAX, why: 'the greatest number' },
    { of: op('add', lit(MAX), lit(1)), is: 2n ** 53n, why: 'the least bigint' },
    { of: op('sub', lit(-MAX), lit(1)), is: -(2n ** 53n), why: 'the least bigint below' },
    { of: op('sub', op('add', lit(MAX), lit(1)), lit(1)), is: MAX, why: 'a number again' },
    {
      of: op('add', op('mul', lit(2 ** 31), lit(2 ** 31), lit(2)), lit(-1), op('mul', lit(0), lit(1))),
      is: null,
      why: '2^63 - 1 by way of 2^63: int64 overflow',
    },
    { of: op('mul', lit(-(2 ** 31)), lit(2 ** 31), lit(2)), is: -(2n ** 63n), why: 'the least int64' },
    { of: op('mul', lit(2 ** 31), lit(2 ** 31), lit(2)), is: null, why: 'int64 overflow by a product' },
    { of: op('div', op('add', lit(MAX), lit(2)), lit(1)), is: 2 ** 53, why: 'of the nearest doubles' },
    { of: op('eq', op('add', lit(MAX), lit(1)), lit(2 ** 53)), is: true, why: 'a whole number and a double' },
    { of: op('eq', op('add', lit(MAX), lit(2)), lit(2 ** 53)), is: false, why: 'exactly' },
    { of: op('lt', lit(2 ** 53), op('add', lit(MAX), lit(2))), is: true, why: 'compared exactly' },
    {
      of: op('coalesce', op('add', lit(MAX), lit(2)), lit(0.5)),
      is: 2 ** 53,
      why: 'as float64 the nearest double',
    },
    {
      of: op('add', op('mul', lit(2 ** 31), lit(2 ** 31)), lit(-1), op('mul', lit(2 ** 31), lit(2 ** 31))),
      is: 2n ** 63n - 1n,
      why: 'it is the result that overflows, not the way',
    },
    { of: op('add', lit(MAX), lit(1), lit(0.5)), is: 2 ** 53, why: 'no int64 overflow among float64' },
    { of: op('mul', lit(1e308), lit(10)), is: null, why: 'not finite' },
    {
      of: op('sub', op('mul', lit(1e308), lit(10)), lit(1)),
      is: null,
      why: 'not finite is null for what follows',
    },
    { of: op('add', lit(0.1), lit(0.2)), is: 0.1 + 0.2, why: 'doubles round at each step' },
    { of: op('mul', lit(-0.5), lit(0)), is: 0, why: 'never -0, float64' },
    { of: op('mul', lit(-5), lit(0)), is: 0, why: 'never -0, int64' },
    { of: lit(-0), is: 0, why: 'never -0, literal' },
    { of: op('div', lit(7), lit(2)), is: 3.5, why: 'division is of doubles' },
    { of: op('div', lit(7), lit(0)), is: null, why: 'by zero' },
    { of: op('div', lit(0), lit(0)), is: null, why: 'zero by zero' },
    { of: op('div', lit(1e308), lit(1e-10)), is: null, why: 'a quotient beyond the doubles' },
    { of: op('div', lit(0), lit(-2)), is: 0, why: 'never -0, quotient' },
  ])('$why', ({ of, is }) => expect(value(of)).toBe(is));
});

describe('text', () => {
  test.each([
    { of: op('lower', col('item')), is: 'ab', why: 'lower' },
    { of: op('lower', lit('ÄΣ')), is: 'äς', why: 'lower, beyond ASCII: a final sigma' },
    { of: op('length', lit('a\u{1F600}')), is: 2, why: 'length in code points' },
    { of: op('length', lit('')), is: 0, why: 'length of nothing' },
    { of: op('length', lit('e\u0301')), is: 2, why: 'length does not compose' },
    // SHA-256 of "abc" begins ba7816bf8f01cfea, the example of FIPS 180.
    { of: op('hash', lit('abc')), is: 0xba7816bf8f01c, why: 'hash: the first 52 bits of SHA-256' },
    { of: op('hash', lit('')), is: 0xe3b0c44298fc1, why: 'hash of the empty text' },
    { of: op('hash', lit(7)), is: 0x7902699be42c8, why: 'hash of a whole number: of its digits' },
    { of: op('hash', lit('7')), is: 0x7902699be42c8, why: 'so as of the text' },
    { of: op('hash', lit(-7)), is: 0xa770d3270c9dc, why: 'hash of a negative number' },
    { of: op('hash', lit('é')), is: 0x4a99557e4033c, why: 'hash of UTF-8' },
    { of: op('hash', lit('e\u0301')), is: 0x4a99557e4033c, why: 'hash of the composed text' },
    { of: op('hash', N), is: null, why: 'hash of null' },
  ])('$why', ({ of, is }) => expect(value(of)).toBe(is));
});

describe('static types', () => {
  test.each([
    { of: col('amount'), is: 'float64', why: 'of a column' },
    { of: lit(3), is: 'int64', why: 'of a whole literal' },
    { of: lit(3.5), is: 'float64', why: 'of another' },
    { of: lit(2 ** 53), is: 'float64', why: 'of a whole literal that no int64 holds' },
    { of: N, is: null, why: 'of null' },
    { of: op('add', col('quantity'), col('bought_at')), is: 'int64', why: 'int64 and timestamp' },
    { of: op('add', col('quantity'), col('amount')), is: 'float64', why: 'one float64 makes it float64' },
    { of: op('div', lit(4), lit(2)), is: 'float64', why: 'of a division' },
    { of: op('coalesce', N, col('quantity')), is: 'int64', why: 'null takes the type of the others' },
    { of: op('coalesce', col('quantity'), lit(0.5)), is: 'float64', why: 'mixed numbers are float64' },
    { of: op('hash', col('item')), is: 'int64', why: 'of a hash' },
    { of: op('lower', col('item')), is: 'string', why: 'of lower' },
    { of: op('eq', col('item'), lit('a')), is: 'bool', why: 'of a comparison' },
  ])('$why', ({ of, is }) => expect(typeOf(of, shop)).toBe(is));
});

describe('mistakes of the caller are refused', () => {
  test.each([
    { of: col('colour'), says: 'no column "colour"', why: 'unknown column' },
    { of: op('now'), says: 'no "now"', why: 'the clock' },
    { of: op('eq', lit(1), lit('1')), says: 'cannot be compared', why: 'types that do not compare' },
    { of: op('add', lit('1'), lit('2')), says: 'is no number', why: 'adding text' },
    { of: op('not', lit(1)), says: 'is no bool', why: 'not of a number' },
    { of: op('div', lit(1), lit(2), lit(3)), says: 'does not take 3 operands', why: 'too many operands' },
    { of: op('add', lit(1)), says: 'does not take 1 operands', why: 'too few operands' },
  ])('$why', ({ of, says }) => expect(() => value(of)).toThrow(says));
});
