/** Variances and their roots, rounded once: cases, and any doubles against the oracle, which searches for the nearest double. */
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { dyadicAdder, dyadicSquares, roundQuotient, roundRoot, spread } from '../../core/exact.js';
import { deviation } from '../../oracle/exact.js';

const total = (values: readonly number[], adder: typeof dyadicAdder) =>
  values.map((value) => adder.of(value)).reduce((a, b) => adder.add(a, b), adder.zero);

function engine(values: readonly number[], root: boolean, over: number): number {
  const apart = spread(values.length, total(values, dyadicAdder), total(values, dyadicSquares));
  return (root ? roundRoot : roundQuotient)(apart, BigInt(values.length) * BigInt(over));
}

// biome-ignore format: a table, one case a line
test.each([
  { of: [2, 4, 4, 4, 5, 5, 7, 9], over: 8, variance: 4, stddev: 2, why: 'a population whose deviation is known to be 2' },
  { of: [1, 2, 3, 4, 5], over: 4, variance: 2.5, stddev: Math.sqrt(2.5), why: 'a sample: as pandas and SQL' },
  { of: [3, 3, 3], over: 2, variance: 0, stddev: 0, why: 'no spread' },
  { of: [0.1, 0.1, 0.1], over: 2, variance: 0, stddev: 0, why: 'no spread of what no double holds' },
  { of: [1e9 + 4, 1e9 + 7, 1e9 + 13, 1e9 + 16], over: 3, variance: 30, stddev: Math.sqrt(30), why: 'far from 0: squares in doubles lose it' },
  { of: [5e-324, 0], over: 2, variance: 0, stddev: 0, why: 'half of the least double: even is 0' },
  { of: [1e-323, 0], over: 2, variance: 0, stddev: 5e-324, why: 'a variance below every double has a root' },
  { of: [2 ** 900, -(2 ** 900)], over: 2, variance: Infinity, stddev: 2 ** 900, why: 'a variance beyond every double has a root' },
])('$why', ({ of, over, variance, stddev }) => {
  expect(engine(of, false, over)).toBe(variance);
  expect(engine(of, true, over)).toBe(stddev);
});

test('of any doubles, the nearest double to the exact result', () => {
  const value = fc.oneof(
    fc.double({ noNaN: true, noDefaultInfinity: true }),
    fc.integer({ min: -9, max: 9 }).map((whole) => whole * 2 ** -1074),
    fc.integer({ min: -9, max: 9 }).map((whole) => 2 ** 52 + whole),
  );
  fc.assert(
    fc.property(fc.array(value, { minLength: 1, maxLength: 5 }), fc.boolean(), (values, root) => {
      const said = engine(values, root, values.length);
      expect(Number.isFinite(said) ? said : null).toBe(deviation(values, root, values.length));
    }),
    { numRuns: Number(process.env.ALMANAC_TEST_RUNS ?? 300) },
  );
});
