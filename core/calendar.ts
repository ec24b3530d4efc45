/**
 * Where local days, weeks and months begin in one IANA zone, also where clocks change. Day D begins at the first instant at which
 * the zone's clocks show D or later: where midnight is skipped at the change, where it comes twice at the first, where a whole day
 * is skipped together with the next. Weeks begin on Monday. Nothing local goes further than this file.
 *
 * The rules of the zones are those of the process (Intl); docs/decisions/0010 says what holds when they change.
 */
import { assert } from './assert.js';
import { DAY, HOUR, MINUTE, SECOND } from './time.js';

export type CalendarUnit = 'day' | 'week' | 'month';

/** The zone's name as this process spells it; null: it knows none of that name. Plain offsets (+01:00) are no zones. */
export function findZone(name: string): string | null {
  if (!/^[a-z]/i.test(name)) return null;
  try {
    return new Intl.DateTimeFormat('en', { timeZone: name }).resolvedOptions().timeZone;
  } catch (error) {
    if (error instanceof RangeError) return null;
    throw error;
  }
}

// Days whose boundaries are remembered: a century, in some 5 MB.
const DAYS_KNOWN = 40_000;

/**
 * A function from an instant to the first beginning of a unit after it, in whole seconds. It remembers what it found, by UTC day:
 * asking the zone takes some 20 µs, remembering 0.3.
 */
export function calendarBoundaries(unit: CalendarUnit, zone: string): (ms: number) => number {
  const offsetAt = offsetsOf(zone);
  const known = new Map<number, readonly number[]>();

  /** The beginnings after a UTC day's first instant, up to the first behind its last. */
  function boundariesAfter(start: number): number[] {
    const found: number[] = [];
    for (let day = Math.floor((start + offsetAt(start)) / DAY); (found.at(-1) ?? start) < start + DAY; ) {
      day = nextUnit(day, unit);
      const begins = beginningOf(day);
      // Where clocks went back over midnight, the day shown next has begun before.
      if (begins > start) found.push(begins);
    }
    return found;
  }

  /** @param day a local day, counted from 1970-01-01 */
  function beginningOf(day: number): number {
    const midnight = day * DAY; // as a clock in UTC shows it; no offset is a day
    for (let start = midnight - DAY; ; start += DAY)
      for (const { from, until, offset } of stretches(start)) {
        const begins = Math.max(from, midnight - offset);
        if (begins < until) return begins;
      }
  }

  /** A UTC day cut where the offset changes. No zone ever changed twice within 3 days (tzdata 2025b), so once suffices. */
  function stretches(start: number): Array<{ from: number; until: number; offset: number }> {
    const end = start + DAY;
    const [before, after] = [offsetAt(start), offsetAt(end)];
    if (before === after) return [{ from: start, until: end, offset: before }];
    let [unchanged, changed] = [start, end];
    while (changed - unchanged > SECOND) {
      const middle = unchanged + Math.floor((changed - unchanged) / 2 / SECOND) * SECOND;
      if (offsetAt(middle) === before) unchanged = middle;
      else changed = middle;
    }
    return [
      { from: start, until: changed, offset: before },
      { from: changed, until: end, offset: after },
    ];
  }

  return (ms) => {
    const day = Math.floor(ms / DAY);
    let boundaries = known.get(day);
    if (!boundaries) {
      if (known.size >= DAYS_KNOWN) known.clear();
      boundaries = boundariesAfter(day * DAY);
      known.set(day, boundaries);
    }
    return boundaries.find((boundary) => boundary > ms)!;
  };
}

/** The first day of the unit after the one a day lies in, in days since 1970-01-01. */
function nextUnit(day: number, unit: CalendarUnit): number {
  if (unit === 'day') return day + 1;
  if (unit === 'week') return day + 7 - ((((day + 3) % 7) + 7) % 7); // 1970-01-01 was a Thursday
  const date = new Date(day * DAY);
  date.setUTCMonth(date.getUTCMonth() + 1, 1);
  return date.getTime() / DAY;
}

/** How far the zone's clocks are ahead of UTC at an instant, in whole seconds (local mean time was no whole minutes). */
function offsetsOf(zone: string): (ms: number) => number {
  if (zone === 'UTC') return () => 0;
  const format = new Intl.DateTimeFormat('en', { timeZone: zone, timeZoneName: 'longOffset' });
  return (ms) => {
    // '11/4/2018, GMT-03:00', '1/1/1900, GMT-03:06:28'
    const match = /GMT([+-])(\d\d):(\d\d)(?::(\d\d))?$/.exec(format.format(ms));
    assert(match, `offset of ${zone} at ${ms}`);
    const [, sign, hours, minutes, seconds = '0'] = match;
    const size = Number(hours) * HOUR + Number(minutes) * MINUTE + Number(seconds) * SECOND;
    return sign === '-' ? -size : size;
  };
}
