/** What a percentile promises: within 1 % of the exact value, whatever the values; whole numbers to 128 as they are. */
import fc from 'fast-check';
import { expect, test } from 'vitest';
import type { Counts } from '../../../core/aggregate/buckets.js';
import { bucketCounts, oneIn } from '../../../core/aggregate/buckets.js';
import { bucketOf, quantileOf } from '../../../core/aggregate/percentile.js';
import type { Sum } from '../../../core/aggregate/sum.js';

function countsOf(values: readonly number[]): Sum<Counts> {
  const total: Counts = [];
  for (const value of values) bucketCounts.add(total, oneIn(bucketOf(value)));
  return { count: values.length, total };
}

// biome-ignore format: a table, one case a line
test.each([
  { of: [], quantile: 0.5, is: null, why: 'no value has no median' },
  { of: [7], quantile: 0.99, is: 7, why: 'one value is every percentile' },
  { of: [1, 2, 3, 4], quantile: 0.5, is: 2, why: 'of an even number the lower one: nothing is made up between two values' },
  { of: [1, 2, 3, 4], quantile: 0, is: 1, why: 'the least' },
  { of: [1, 2, 3, 4], quantile: 1, is: 4, why: 'the greatest' },
  { of: Array.from({ length: 101 }, (_, index) => index), quantile: 0.29, is: 29, why: 'rank 29, though 0.29 * 100 is less in doubles' },
  { of: [-5, 0, 5], quantile: 0.5, is: 0, why: 'zero is itself' },
  { of: [-5, -4, 0], quantile: 0, is: -5, why: 'the negative in their order' },
  { of: [128, 129], quantile: 1, is: 128, why: 'from 128 on two whole numbers share a bucket' },
])('$why', ({ of, quantile, is }) => expect(quantileOf(countsOf(of), quantile, true)).toBe(is));

// biome-ignore format: a table, one case a line
test.each([
  { value: 2 ** -32, bucket: 1, why: 'the least magnitude told from 0' },
  { value: -(2 ** -32), bucket: -1, why: 'and its opposite' },
  { value: 2 ** -32 - 2 ** -85, bucket: 0, why: 'just below it' },
  { value: 5e-324, bucket: 0, why: 'the least double' },
  { value: 3, bucket: 2145, why: 'the example of the file' },
  { value: 2 ** 64 - 2 ** 11, bucket: 6144, why: 'the last bucket' },
  { value: 2 ** 64, bucket: 6144, why: 'what is beyond counts as the last' },
  { value: Number.MAX_VALUE, bucket: 6144, why: 'the greatest double too' },
])('$why', ({ value, bucket }) => expect(bucketOf(value)).toBe(bucket));

test('within 1 % of the exact value', () => {
  const sizes = fc.oneof(
    fc.double({ min: 2 ** -32, max: 2 ** 64 - 2 ** 11, noNaN: true }),
    fc.integer({ min: 1, max: 1e9 }),
  );
  const value = fc.tuple(sizes, fc.constantFrom(1, -1)).map(([size, sign]) => size * sign);
  const whole = fc.maxSafeInteger();
  fc.assert(
    fc.property(
      fc
        .boolean()
        .chain((are) => fc.tuple(fc.constant(are), fc.array(are ? whole : value, { minLength: 1 }))),
      fc.integer({ min: 0, max: 10_000 }),
      ([are, values], quantile) => {
        const exact = [...values].sort((a, b) => a - b)[
          Math.floor((quantile * (values.length - 1)) / 10_000)
        ]!;
        const said = quantileOf(countsOf(values), quantile / 10_000, are)!;
        expect(Math.abs(said - exact)).toBeLessThanOrEqual(0.01 * Math.abs(exact));
        if (are && Math.abs(exact) < 128) expect(said).toBe(exact);
      },
    ),
    { numRuns: Number(process.env.ALMANAC_TEST_RUNS ?? 500) },
  );
});
