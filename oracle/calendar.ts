/**
 * The local day, week or month in a time zone, by looking at its clock on the wall. Nothing is known of offsets and changes: to
 * find when a day began, walk towards it and look.
 */
const SECOND = 1000;
const MINUTE = 60 * SECOND;
const HOUR = 60 * MINUTE;
const DAY = 24 * HOUR;

type Unit = 'day' | 'week' | 'month';

/** The local day, week or month that began last by `ms`: the first of its days, as that day's midnight in UTC. */
export function periodAt(unit: Unit, zone: string, ms: number): number {
  let day = midnightOf(clock(zone, ms));
  // Where clocks went back over midnight they show the old day again, though the new one has begun.
  while (beginning(zone, day + DAY) <= ms) day += DAY;
  const date = new Date(day);
  if (unit === 'week') while (date.getUTCDay() !== 1) date.setUTCDate(date.getUTCDate() - 1);
  if (unit === 'month') date.setUTCDate(1);
  return date.getTime();
}

const beginnings = new Map<string, number>();

/** The first instant at which the clock shows that day or a later one. Remembered, since looking takes long. */
function beginning(zone: string, day: number): number {
  const key = `${zone} ${day}`;
  const known = beginnings.get(key);
  if (known !== undefined) return known;
  let at = day - DAY;
  // No clock was ever put forward by more than 2 hours, but over the date line, and then at midnight.
  while (day - clock(zone, at) > 3 * HOUR) at += HOUR;
  while (clock(zone, at) < day) at += MINUTE;
  at -= MINUTE;
  while (clock(zone, at) < day) at += SECOND;
  beginnings.set(key, at);
  return at;
}

const midnightOf = (shown: number): number => Math.floor(shown / DAY) * DAY;

const clocks = new Map<string, Intl.DateTimeFormat>();
const shownAt = new Map<string, number>();

/** What the clock shows at an instant, to the second, as if it were UTC. */
function clock(zone: string, ms: number): number {
  const key = `${zone} ${ms}`;
  const known = shownAt.get(key);
  if (known !== undefined) return known;
  if (shownAt.size > 100_000) shownAt.clear();
  const shown = look(zone, ms);
  shownAt.set(key, shown);
  return shown;
}

function look(zone: string, ms: number): number {
  const format =
    clocks.get(zone) ??
    new Intl.DateTimeFormat('en-US', {
      timeZone: zone, hourCycle: 'h23', era: 'short', year: 'numeric', month: 'numeric', day: 'numeric',
      hour: 'numeric', minute: 'numeric', second: 'numeric',
    }); // biome-ignore format: two rows
  clocks.set(zone, format);
  const shown = Object.fromEntries(format.formatToParts(ms).map(({ type, value }) => [type, value]));
  const year = shown.era === 'BC' ? 1 - Number(shown.year) : Number(shown.year);
  const date = new Date(0);
  date.setUTCFullYear(year, Number(shown.month) - 1, Number(shown.day));
  date.setUTCHours(Number(shown.hour), Number(shown.minute), Number(shown.second));
  return date.getTime();
}
