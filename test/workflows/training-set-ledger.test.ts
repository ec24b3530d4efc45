import fc from 'fast-check';
import { expect, test } from 'vitest';
import { decodeTicks, encodeTicks, Published } from '../../activities/offline/published.js';
import type { PublishedTick } from '../../core/sweep.js';

const MINUTE = 60_000;
/** At a cadence with gaps, mostly published alike, some late: also after later ticks. */
const ledger: fc.Arbitrary<PublishedTick[]> = fc
  .array(
    fc.record({ gap: fc.constantFrom(1, 1, 1, 1, 2, 7), lag: fc.constantFrom(0, 0, 0, 0, 5, 30 * MINUTE) }),
    { maxLength: 300 },
  )
  .map((list) => {
    let tick = -3 * MINUTE;
    return list.map(({ gap, lag }) => {
      tick += gap * MINUTE;
      return { tick, publishedAt: tick + lag };
    });
  });

const naive = (ticks: readonly PublishedTick[], at: number): number | null => {
  const known = ticks.filter(({ publishedAt }) => publishedAt <= at).map(({ tick }) => tick);
  return known.length === 0 ? null : Math.max(...known);
};

test('a ledger survives its short form', () => {
  fc.assert(
    fc.property(ledger, (ticks) => {
      expect(decodeTicks(encodeTicks(ticks))).toEqual(ticks);
    }),
  );
});

test('a year of hours is one run', () => {
  const ticks = Array.from({ length: 8_760 }, (_, i) => ({
    tick: i * 60 * MINUTE,
    publishedAt: i * 60 * MINUTE + 5,
  }));
  expect(encodeTicks(ticks)).toEqual([[0, 8_760, 60 * MINUTE, 5]]);
});

test('the greatest tick published by a moment, and what suffices to find it', () => {
  fc.assert(
    fc.property(
      ledger,
      fc.array(fc.integer({ min: -5 * MINUTE, max: 900 * MINUTE }), { minLength: 1 }),
      (ticks, moments) => {
        const published = new Published(ticks);
        const deciding = published.deciding(moments);
        for (const at of moments) {
          expect(published.by(at)?.tick ?? null).toBe(naive(ticks, at));
          expect(naive(deciding, at)).toBe(naive(ticks, at));
          expect(naive(published.before(at), at)).toBe(naive(ticks, at));
        }
      },
    ),
  );
});
