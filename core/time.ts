/**
 * Time as the platform counts it: whole milliseconds since 1970, UTC, possibly negative. Durations as people write them,
 * hop and tick boundaries (aligned to the epoch), and the only way in for timestamps. Never reads a clock.
 */
import { assert } from './assert.js';
import { FeatureStoreError } from './error.js';

export const SECOND = 1_000;
export const MINUTE = 60 * SECOND;
export const HOUR = 60 * MINUTE;
export const DAY = 24 * HOUR;
export const WEEK = 7 * DAY;

const UNITS: ReadonlyArray<readonly [string, number]> = [['w', WEEK], ['d', DAY], ['h', HOUR], ['min', MINUTE], ['s', SECOND], ['ms', 1]]; // biome-ignore format: a table

/** '30min', '1h', '7d', '500ms' → milliseconds. Throws FS_DEFINITION_INVALID. */
export function parseDuration(text: string): number {
  const match = /^([0-9]{1,12})(ms|s|min|h|d|w)$/.exec(text);
  const unit = match && UNITS.find(([name]) => name === match[2]);
  if (!match || !unit)
    throw new FeatureStoreError('FS_DEFINITION_INVALID', `"${text}" is not a duration`, {
      fix: 'write a whole number and a unit: 500ms, 10s, 30min, 1h, 7d, 2w',
    });
  return Number(match[1]) * unit[1];
}

/** Milliseconds → the shortest exact text parseDuration reads back: 1_800_000 → '30min'. */
export function formatDuration(ms: number): string {
  if (ms === 0) return '0ms';
  const unit = UNITS.find(([name, size]) => name !== 'w' && ms % size === 0);
  assert(unit, `${ms} is not whole milliseconds`);
  return `${ms / unit[1]}${unit[0]}`;
}

// Each rung divides the next, and all divide the day: windows of different lengths share their boundaries.
const HOP_LADDER = [1, 10, 100, SECOND, 10 * SECOND, MINUTE, 10 * MINUTE, HOUR, 6 * HOUR, 12 * HOUR, DAY];

/** The hop a window gets when its author names none: the greatest rung that is at most 1/60 of it and divides it. */
export function defaultHop(windowMs: number): number {
  assert(Number.isSafeInteger(windowMs) && windowMs > 0, `window of ${windowMs} ms`);
  return HOP_LADDER.findLast((hop) => hop <= windowMs / 60 && windowMs % hop === 0) ?? 1;
}

/** The last multiple of `step` at or before `ms`; right before 1970 too. */
export function floorTo(ms: number, step: number): number {
  return Math.floor(ms / step) * step;
}

/** The first multiple of `step` at or after `ms`. */
export function ceilTo(ms: number, step: number): number {
  return Math.ceil(ms / step) * step + 0; // + 0: no negative zero
}

/**
 * When an event leaves a sliding window: the first hop boundary at or after `eventMs + windowMs`.
 * It counts at t when eventMs <= t < leavesAt. Events that leave together form one tile.
 */
export function leavesAt(eventMs: number, windowMs: number, hopMs: number): number {
  return ceilTo(eventMs + windowMs, hopMs);
}

// The first Monday.
const FIRST_WEEK = 4 * DAY;

/** The first boundary after `eventMs` of a running window: a multiple of its length; of whole weeks, counted from a Monday. */
export function tumblesAt(eventMs: number, windowMs: number): number {
  const origin = windowMs % WEEK === 0 ? FIRST_WEEK : 0;
  return floorTo(eventMs - origin, windowMs) + windowMs + origin;
}

// Years 0001 to 9999: what Postgres, Arrow and RFC 3339 all hold.
export const MIN_TIMESTAMP = -62_135_596_800_000;
export const MAX_TIMESTAMP = 253_402_300_799_999;

const ISO = /^(\d{4})-(\d{2})-(\d{2})[T ](\d{2}):(\d{2})(?::(\d{2})(?:\.(\d{1,9}))?)?(Z|[+-]\d{2}:?\d{2})?$/;

/**
 * An RFC 3339 text → epoch ms, finer digits cut off. Throws FS_TIMESTAMP_INVALID for anything else: no zone, 30 February, a
 * leap second, a bare number (seconds or milliseconds cannot be told apart).
 */
export function parseTimestamp(text: string): number {
  const refuse = (why: string): never => {
    throw new FeatureStoreError(
      'FS_TIMESTAMP_INVALID',
      `"${text.slice(0, 60)}" is not a usable timestamp: ${why}`,
      {
        fix: 'write an RFC 3339 instant with its zone, such as 2026-03-01T12:30:00Z',
      },
    );
  };
  const match = ISO.exec(text);
  if (!match) return refuse('it is not of the form 2026-03-01T12:30:00Z');
  const [, year, month, day, hour, minute, second = '0', fraction = '', zone] = match;
  if (zone === undefined) return refuse('it has no time zone');
  const parts = [year, month, day, hour, minute, second].map(Number) as [
    number,
    number,
    number,
    number,
    number,
    number,
  ];
  const date = new Date(0);
  date.setUTCFullYear(parts[0], parts[1] - 1, parts[2]);
  date.setUTCHours(parts[3], parts[4], parts[5], Number(fraction.padEnd(3, '0').slice(0, 3)));
  if (date.getUTCMonth() !== parts[1] - 1 || date.getUTCDate() !== parts[2])
    return refuse('there is no such day');
  if (parts[3] > 23 || parts[4] > 59 || parts[5] > 59) return refuse('there is no such time of day');
  let offset = 0;
  if (zone !== 'Z') {
    const [hours, minutes] = [Number(zone.slice(1, 3)), Number(zone.slice(-2))];
    if (hours > 23 || minutes > 59) return refuse('there is no such zone offset');
    offset = (zone[0] === '-' ? -1 : 1) * (hours * HOUR + minutes * MINUTE);
  }
  const ms = date.getTime() - offset;
  if (ms < MIN_TIMESTAMP || ms > MAX_TIMESTAMP) return refuse('its year is outside 0001 to 9999');
  return ms;
}

/** Epoch ms → '2026-03-01T12:30:00.000Z'. */
export function formatTimestamp(ms: number): string {
  assert(Number.isSafeInteger(ms) && ms >= MIN_TIMESTAMP && ms <= MAX_TIMESTAMP, `timestamp ${ms}`);
  return new Date(ms).toISOString();
}
