import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { exactSum, nearestDouble, unitsOf } from '../../oracle/exact.js';

const SMALLEST = 5e-324; // 2^-1074
const GREATEST = Number.MAX_VALUE; // (2^53 - 1) * 2^971

describe('the sum of doubles is exact and rounded once', () => {
  test.each([
    { of: [], is: 0, why: 'nothing sums to 0' },
    // In units of 2^-55: 0.1 is 3602879701896397, 0.2 twice that, 0.3 10808639105689190; one unit is left.
    { of: [0.1, 0.2, -0.3], is: 2 ** -55, why: '0.1 + 0.2 - 0.3 is 2^-55; left to right gives twice that' },
    {
      of: Array(10).fill(0.1),
      is: 1,
      why: 'ten times 0.1 is 2^-54 above 1; left to right gives less than 1',
    },
    { of: [1e16, 1, -1e16], is: 1, why: 'what a great number would swallow is kept' },
    { of: [1e308, 1e308, -1e308], is: 1e308, why: 'may leave the doubles on the way' },
    { of: [1e308, -1e308, SMALLEST], is: SMALLEST, why: 'the whole range at once' },
    { of: [1e308, 1e308], is: null, why: 'beyond the doubles at the end' },
    { of: [-1e308, -1e308], is: null, why: 'beyond the doubles at the other end' },
    { of: [GREATEST, 2 ** 969], is: GREATEST, why: 'less than half a step beyond the greatest' },
    { of: [GREATEST, 2 ** 970], is: null, why: 'half a step beyond the greatest rounds out' },
    { of: [GREATEST, 2 ** 970, -SMALLEST], is: GREATEST, why: 'a hair less than half a step does not' },
    { of: [SMALLEST, SMALLEST], is: 1e-323, why: 'subnormals add up' },
    { of: [2 ** -1022, -SMALLEST], is: 2.225073858507201e-308, why: 'from normal to subnormal' },
    { of: [2.225073858507201e-308, SMALLEST], is: 2 ** -1022, why: 'from subnormal to normal' },
    { of: [1, 2 ** -53], is: 1, why: 'a tie goes to the even one: down' },
    { of: [1, 2 ** -52, 2 ** -53], is: 1 + 2 ** -51, why: 'a tie goes to the even one: up' },
    { of: [1, 2 ** -53, SMALLEST], is: 1 + 2 ** -52, why: 'a hair above a tie is no tie' },
    { of: [1, 2 ** -53, -SMALLEST], is: 1, why: 'a hair below a tie is no tie' },
    { of: [-1, -(2 ** -53), -SMALLEST], is: -1 - 2 ** -52, why: 'below zero alike' },
    { of: [2 - 2 ** -52, 2 ** -53], is: 2, why: 'rounding up carries into the exponent' },
    { of: [2 ** 53, 1], is: 2 ** 53, why: 'whole numbers beyond 2^53' },
    { of: [1, -1], is: 0, why: 'what cancels is 0' },
    { of: [-1, 1], is: 0, why: 'and never -0' },
    { of: [-0], is: 0, why: '-0 counts as 0' },
  ])('$why', ({ of, is }) => expect(nearestDouble(exactSum(of))).toBe(is));
});

test('1 is 2^1074 units, the smallest double is one', () => {
  expect(unitsOf(1)).toBe(2n ** 1074n);
  expect(unitsOf(SMALLEST)).toBe(1n);
  expect(unitsOf(-SMALLEST)).toBe(-1n);
  expect(unitsOf(-1.5)).toBe(-3n * 2n ** 1073n);
});

test('what is not finite is refused', () => {
  expect(() => unitsOf(Number.NaN)).toThrow('no finite number');
  expect(() => unitsOf(Number.POSITIVE_INFINITY)).toThrow('no finite number');
});

const double = fc.double({ noNaN: true, noDefaultInfinity: true });

test('every double comes back from its units', () => {
  fc.assert(
    fc.property(double, (a) => {
      expect(nearestDouble(unitsOf(a))).toBe(a === 0 ? 0 : a);
    }),
  );
});

test('of two doubles it is what IEEE addition gives, which rounds the exact sum once', () => {
  fc.assert(
    fc.property(double, double, (a, b) => {
      const sum = a + b;
      expect(nearestDouble(exactSum([a, b]))).toBe(Number.isFinite(sum) ? (sum === 0 ? 0 : sum) : null);
    }),
  );
});

test('it rounds whole numbers as Number does', () => {
  fc.assert(
    fc.property(fc.bigInt(-(2n ** 200n), 2n ** 200n), (whole) => {
      expect(nearestDouble(whole * 2n ** 1074n)).toBe(Number(whole));
    }),
  );
});
