/** What a decaying sum promises: the plain formula within 2^-46, whenever its events happened. */
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { decayedTo, decayPart } from '../../../core/aggregate/decay.js';
import { NEVER } from '../../../core/aggregate/part.js';
import type { Event } from '../../../core/event.js';
import { DAY, HOUR, MAX_TIMESTAMP, MIN_TIMESTAMP } from '../../../core/time.js';

interface Term {
  x: number;
  timestamp: number;
}

function sumAt(at: number, halfLifeMs: number, terms: readonly Term[]): number {
  const part = decayPart(halfLifeMs, ({ values }) => values[0] as number);
  const state = part.create();
  for (const { x, timestamp } of terms)
    part.add(state, { timestamp, values: [x] } as unknown as Event, NEVER);
  return decayedTo(at, state.sum.total, halfLifeMs);
}

// biome-ignore format: a table, one case a line
test.each([
  { at: 0, halfLife: DAY, terms: [], is: 0, why: 'of nothing' },
  { at: 5, halfLife: DAY, terms: [{ x: 0.1, timestamp: 5 }], is: 0.1, why: 'at its own instant a value is itself' },
  { at: DAY, halfLife: DAY, terms: [{ x: 8, timestamp: 0 }], is: 4, why: 'a half-life later it is half' },
  { at: -DAY, halfLife: HOUR, terms: [{ x: -8, timestamp: -DAY - 3 * HOUR }], is: -1, why: 'before 1970, negative' },
  { at: DAY, halfLife: DAY, terms: [{ x: 8, timestamp: 0 }, { x: -4, timestamp: DAY }], is: 0, why: 'what cancels is 0, not nearly' },
  { at: MAX_TIMESTAMP, halfLife: 1, terms: [{ x: 3, timestamp: MAX_TIMESTAMP - 1 }], is: 1.5, why: 'the last year, the shortest half-life' },
  { at: MIN_TIMESTAMP + 1, halfLife: 1, terms: [{ x: 3, timestamp: MIN_TIMESTAMP }], is: 1.5, why: 'the first year' },
  { at: 2000, halfLife: 1, terms: [{ x: 3, timestamp: 0 }], is: 0, why: 'below every double' },
])('$why', ({ at, halfLife, terms, is }) => expect(sumAt(at, halfLife, terms)).toBe(is));

test('the plain formula, within 2^-46', () => {
  fc.assert(
    fc.property(
      fc.integer({ min: 1, max: 3_155_760_000_000 }),
      fc.integer({ min: MIN_TIMESTAMP + 1e9, max: MAX_TIMESTAMP }),
      fc.array(
        fc.tuple(
          fc.double({ min: 1e-9, max: 1e9, noNaN: true }),
          fc.double({ min: 0, max: 60, noNaN: true }),
        ),
        { minLength: 1 },
      ),
      (halfLife, at, list) => {
        const terms = list
          .map(([x, age]) => ({ x, timestamp: Math.max(MIN_TIMESTAMP, at - Math.floor(age * halfLife)) }))
          .sort((a, b) => a.timestamp - b.timestamp);
        const plain = terms.reduce(
          (sum, { x, timestamp }) => sum + x * 2 ** (-(at - timestamp) / halfLife),
          0,
        );
        expect(Math.abs(sumAt(at, halfLife, terms) / plain - 1)).toBeLessThan(2 ** -46);
      },
    ),
    { numRuns: Number(process.env.ALMANAC_TEST_RUNS ?? 300) },
  );
});
