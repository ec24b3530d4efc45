/** Summaries against what a few lines of plain JavaScript say of the same values; and that no cut of them shows. */
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { compareText } from '../../core/canonical.js';
import { FeatureType } from '../../core/definition.js';
import type { FeatureValue, Scalar } from '../../core/event.js';
import {
  addValue,
  createSummary,
  decodeSummary,
  encodeSummary,
  type Figures,
  mergeSummary,
  QUANTILES,
  readSummary,
  type Summary,
} from '../../core/statistics.js';
import { deviation, exactMean } from '../../oracle/exact.js';
import { RUNS, SEED } from './always.js';

const DAY = 86_400_000;
const text = fc.oneof(fc.constantFrom('', 'a', 'b', 'é', 'a b'), fc.string({ maxLength: 200 }));
const int64 = fc.oneof(
  fc.integer({ min: -3, max: 200 }),
  fc.maxSafeInteger(),
  fc.constantFrom(2n ** 62n, -(2n ** 63n)),
);
const float64 = fc.oneof(
  fc.constantFrom(0, 0.1, 0.2, -1.5, 1e-40),
  fc
    .double({ noNaN: true, noDefaultInfinity: true, min: -(2 ** 900), max: 2 ** 900 })
    .map((value) => value + 0),
);
const list = <T>(item: fc.Arbitrary<T>) => fc.array(item, { maxLength: 6 });
const VALUES: Record<FeatureType, fc.Arbitrary<unknown>> = {
  string: text,
  int64,
  float64,
  bool: fc.boolean(),
  timestamp: fc.integer({ min: Date.UTC(1950, 0), max: Date.UTC(2120, 0) }),
  'list<string>': list(text),
  'list<int64>': list(int64),
  'list<float64>': list(float64),
  'map<string,string>': fc.dictionary(text, text, { maxKeys: 5 }),
  'map<string,int64>': fc.dictionary(text, int64, { maxKeys: 5 }),
  'map<string,float64>': fc.dictionary(text, float64, { maxKeys: 5 }),
}; // biome-ignore format: a table

const cases = (type: FeatureType): fc.Arbitrary<FeatureValue[]> =>
  fc.array(fc.option(VALUES[type], { freq: 8 }), { maxLength: 40 }) as fc.Arbitrary<FeatureValue[]>;

function summaryOf(type: FeatureType, values: readonly FeatureValue[]): Summary {
  const summary = createSummary(type);
  for (const value of values) addValue(summary, value);
  return summary;
}

const holds = <T>(given: fc.Arbitrary<T>, law: (given: T) => void): void =>
  fc.assert(fc.property(given, law), { numRuns: Math.min(RUNS, 300), seed: SEED });

describe.each(FeatureType.options)('of %s', (type) => {
  test('the figures are those of the values', () => {
    holds(cases(type), (values) => expectFigures(type, values, readSummary(summaryOf(type, values))));
  });

  test('the parts of any cut merge to the whole, in any order', () => {
    holds(fc.tuple(cases(type), fc.array(fc.nat(40), { maxLength: 4 })), ([values, cuts]) => {
      const edges = [
        0,
        ...cuts.map((cut) => Math.min(cut, values.length)).sort((a, b) => a - b),
        values.length,
      ];
      const parts = edges.slice(1).map((end, i) => summaryOf(type, values.slice(edges[i], end)));
      const merged = createSummary(type);
      for (const part of parts.reverse()) mergeSummary(merged, part);
      expect(encodeSummary(merged)).toEqual(encodeSummary(summaryOf(type, values)));
    });
  });

  test('what is written is read again', () => {
    holds(cases(type), (values) => {
      const bytes = encodeSummary(summaryOf(type, values));
      const read = decodeSummary(bytes);
      expect(readSummary(read)).toEqual(readSummary(summaryOf(type, values)));
      expect(encodeSummary(read)).toEqual(bytes);
    });
  });
});

/** Of few values the counts of the frequent ones are exact. */
function expectFigures(type: FeatureType, values: readonly FeatureValue[], said: Figures): void {
  const present = values.filter((value) => value !== null);
  const measures = present.map(measure).sort((a, b) => (a < b ? -1 : a > b ? 1 : 0));
  const n = measures.length;
  expect([said.count, said.nulls]).toEqual([values.length, values.length - n]);
  expect([said.min, said.max]).toEqual([measures[0] ?? null, measures.at(-1) ?? null]);
  if (n === 0) {
    expect(said).toMatchObject({ mean: null, deviation: null, quantiles: null, distinct: null, top: null });
    return;
  }
  if (measures.every((value) => typeof value === 'number'))
    expect([said.mean, said.deviation]).toEqual([exactMean(measures), deviation(measures, true, n)]);
  QUANTILES.forEach((quantile, i) => {
    const exact = Number(measures[Math.floor(quantile * (n - 1))]!);
    expect(Math.abs(said.quantiles![i]! - exact)).toBeLessThanOrEqual(allowed(type, exact));
  });
  const counts = new Map<unknown, number>();
  for (const value of present) counts.set(value, (counts.get(value) ?? 0) + 1);
  const apart = ['string', 'int64', 'float64', 'bool', 'timestamp'].includes(type);
  if (!apart) expect(said.distinct).toBeNull();
  else expect(Math.abs(said.distinct! - counts.size)).toBeLessThanOrEqual(3); // of 40, two or three pairs may share a register
  if (!['string', 'int64', 'bool'].includes(type)) expect(said.top).toBeNull();
  else {
    const ranked = [...counts]
      .filter(([value]) => typeof value !== 'string' || value.length <= 128)
      .map(([value, count]) => ({ value: value as Scalar, count }))
      .sort((a, b) => b.count - a.count || compare(a.value, b.value));
    expect(said.top).toEqual(ranked.slice(0, 10));
    expect(said.topMissed).toBe(0);
  }
}

function allowed(type: FeatureType, exact: number): number {
  if (type !== 'timestamp')
    return Math.abs(exact) > 2 ** 64 ? Infinity : Math.max(Math.abs(exact) / 128, 2 ** -32);
  return exact < 0 || exact >= Date.UTC(2100, 0) ? Infinity : DAY / 2;
}

function measure(value: NonNullable<FeatureValue>): number | bigint {
  if (typeof value === 'string' || Array.isArray(value)) return value.length;
  if (typeof value === 'boolean') return value ? 1 : 0;
  return typeof value === 'object' ? Object.keys(value).length : value;
}

const compare = (a: Scalar, b: Scalar): number =>
  typeof a === 'string' ? compareText(a, b as string) : a < b ? -1 : a > b ? 1 : 0;

// ---------------------------------------------------------------- many values

/** A generator of its own: the same values at every run. */
function* numbers(count: number): Generator<number> {
  let seed = 1;
  for (let i = 0; i < count; i++) {
    seed = (seed * 48_271) % 2_147_483_647;
    yield seed;
  }
}

test.each([
  ['whole numbers in a row', 'int64', (i: number) => i],
  ['cents', 'float64', (i: number) => i / 100],
  ['hours', 'timestamp', (i: number) => i * 3_600_000],
  ['texts', 'string', (i: number) => `user-${i}`],
] as const)('of 100,000 different %s the estimate is within three standard errors', (_, type, value) => {
  const many = Array.from({ length: 100_000 }, (__, i) => value(i));
  const { distinct } = readSummary(summaryOf(type, many));
  expect(Math.abs(distinct! - 100_000)).toBeLessThan(3 * 0.016 * 100_000);
});

test('of many values the frequent ones are found, each count no further off than it says, however they are cut', () => {
  const many = [...numbers(100_000)].map((seed) => (seed % 4 === 0 ? seed % 8 : seed % 50_000));
  const counts = new Map<number, number>();
  for (const value of many) counts.set(value, (counts.get(value) ?? 0) + 1);
  const whole = createSummary('int64');
  for (let i = 0; i < many.length; i += 7_919)
    mergeSummary(whole, summaryOf('int64', many.slice(i, i + 7_919)));
  for (const summary of [summaryOf('int64', many), whole]) {
    const { top, topMissed } = readSummary(summary);
    expect(topMissed).toBeLessThanOrEqual(100_000 / 101);
    expect(new Set(top!.slice(0, 2).map(({ value }) => value))).toEqual(new Set([0, 4]));
    for (const { value, count } of top!) {
      const exact = counts.get(Number(value))!;
      expect(count).toBeLessThanOrEqual(exact);
      expect(count).toBeGreaterThanOrEqual(exact - topMissed!);
    }
  }
  expect(encodeSummary(whole).length).toBeLessThan(8_000);
});

test.each([
  {
    at: '1999-01-01T05:00:00Z',
    said: '1999-01-01T12:00:00Z',
    why: 'a timestamp is told as the noon of its day',
  },
  { at: '1960-01-01T00:00:00Z', said: '1969-12-31T12:00:00Z', why: 'before 1970 as the day before it' },
  { at: '2200-01-01T00:00:00Z', said: '2100-01-01T12:00:00Z', why: 'from 2100 on as its first day' },
])('$why, between the least and the greatest', ({ at, said }) => {
  const values = [Date.UTC(1900, 0), Date.parse(at), Date.UTC(2300, 0)];
  expect(readSummary(summaryOf('timestamp', values)).quantiles![3]).toBe(Date.parse(said));
});

test('bytes of another layout are refused', () => {
  expect(() => decodeSummary(Uint8Array.of(9, 0))).toThrow(/layout 9/);
});
