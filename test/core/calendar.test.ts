/** Where local days, weeks and months begin: the engine, which searches offsets, beside the oracle, which looks at a clock. */
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { calendarBoundaries, findZone } from '../../core/calendar.js';
import { DAY, HOUR } from '../../core/time.js';
import { periodAt } from '../../oracle/calendar.js';

const RUNS = Number(process.env.ALMANAC_TEST_RUNS ?? 100);

test('in any zone the next boundary is where the oracle sees another day, week or month', () => {
  fc.assert(
    fc.property(
      fc.constantFrom(...Intl.supportedValuesOf('timeZone')),
      fc.constantFrom('day', 'week', 'month'),
      fc.oneof(
        fc.integer({ min: Date.UTC(1850, 0), max: Date.UTC(2150, 0) }),
        fc.constantFrom(Date.UTC(1, 0), Date.UTC(9999, 11, 31)),
      ),
      (zone, unit, at) => {
        const next = calendarBoundaries(unit, zone)(at);
        expect(next).toBeGreaterThan(at);
        const period = periodAt(unit, zone, at);
        expect(periodAt(unit, zone, next - 1)).toBe(period);
        expect(periodAt(unit, zone, next)).toBeGreaterThan(period);
      },
    ),
    { numRuns: RUNS },
  );
});

test('what is remembered is what is asked for the first time, in any order', () => {
  fc.assert(
    fc.property(
      fc.constantFrom('Europe/Berlin', 'America/Sao_Paulo', 'Pacific/Apia'),
      fc.constantFrom('day', 'week', 'month'),
      fc.array(fc.integer({ min: 0, max: 4 * 24 }).map((hours) => Date.UTC(2018, 10, 2) + hours * HOUR)),
      (zone, unit, times) => {
        const remembering = calendarBoundaries(unit, zone);
        for (const at of times) expect(remembering(at)).toBe(calendarBoundaries(unit, zone)(at));
      },
    ),
  );
});

test.each<[string, string | null]>([
  ['UTC', 'UTC'],
  ['Europe/Berlin', 'Europe/Berlin'],
  ['europe/berlin', 'Europe/Berlin'],
  ['Mars/Base', null],
  ['+01:00', null],
  ['', null],
])('the zone %s is %s', (name, zone) => expect(findZone(name)).toBe(zone));

test('a year has a boundary for each of its days, whatever its clocks do', () => {
  const count = (zone: string, year: number): number => {
    const next = calendarBoundaries('day', zone);
    const end = Date.UTC(year + 1, 0, 1) + DAY / 2;
    let days = 0;
    for (let at = next(Date.UTC(year, 0, 1) + DAY / 2); at <= end; at = next(at)) days++;
    return days;
  };
  expect(count('UTC', 2026)).toBe(365);
  expect(count('America/Sao_Paulo', 2018)).toBe(365);
  expect(count('America/St_Johns', 2006)).toBe(365);
});
