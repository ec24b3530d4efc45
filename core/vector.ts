/**
 * From what a record says to what a model is given: value, status and event timestamp of each feature of one entity at one
 * moment. Serving and training sets call this one function, so a value never means two things. Pure; the moment is an argument.
 *
 * A status is decided in this order:
 *   NOT_FOUND         no record, or no event left in it                → cold start
 *   OUTSIDE_MAX_AGE   at - event timestamp > ttl (equal is inside)     → cold start
 *   IMMATURE          at - first event < minAge, or events < minEvents → cold start
 *   HORIZON_PASSED    read behind the last step the record carries: its last value, which may have changed since
 *   NULL_VALUE        the value is null; it is never replaced
 *   PRESENT
 * ERROR (the record could not be read) comes from `failed`. HORIZON_PASSED stands before NULL_VALUE: such a null is as uncertain
 * as any other value read there.
 */
import type { FeatureLiteral, StoredView } from './definition.js';
import type { FeatureValue } from './event.js';
import type { Reading } from './record.js';
import { floorTo } from './time.js';

export const STATUSES = [
  'PRESENT', 'NULL_VALUE', 'NOT_FOUND', 'OUTSIDE_MAX_AGE', 'IMMATURE', 'HORIZON_PASSED', 'ERROR',
] as const; // biome-ignore format: a table of words
export type Status = (typeof STATUSES)[number];

/** One view's features for one entity: the arrays follow the view's features. */
export interface Judged {
  statuses: readonly Status[];
  values: readonly FeatureValue[];
  /** Of the newest event inside, epoch ms; null when there is none, and for on-demand features. */
  eventTimestamp: number | null;
  /** Why the value is not the plain stored one; null when PRESENT or NULL_VALUE. */
  reasons: ReadonlyArray<string | null>;
}

/** What judging needs of a view; sql views have no maturity. */
export interface JudgedView {
  ttlMs: number | null;
  minAgeMs?: number;
  minEvents?: number;
  features: ReadonlyArray<{ coldStart: FeatureLiteral }>;
}

/**
 * @param reading null: no record, or nothing published yet
 * @param at the moment of the request or label, epoch ms; for batch views too, though their reading is made at a tick
 */
export function judge(view: JudgedView, reading: Reading | null, at: number): Judged {
  if (reading === null || reading.eventCount === 0) return coldStart(view, 'NOT_FOUND', null, 'no history');
  const { eventTimestamp, values } = reading;
  if (view.ttlMs !== null && at - eventTimestamp > view.ttlMs)
    return coldStart(view, 'OUTSIDE_MAX_AGE', eventTimestamp, 'newest event older than the ttl');
  if (at - reading.firstEventTimestamp < (view.minAgeMs ?? 0))
    return coldStart(view, 'IMMATURE', eventTimestamp, 'first event younger than minAge');
  if (reading.eventCount < (view.minEvents ?? 0))
    return coldStart(view, 'IMMATURE', eventTimestamp, 'fewer events than minEvents');
  if (reading.horizonPassed)
    return same(values, 'HORIZON_PASSED', eventTimestamp, 'read behind the last step the record carries');
  return { statuses: values.map(presence), values, eventTimestamp, reasons: values.map(() => null) };
}

/** A view whose record could not be read: no value, and the reason (an error code) beside it. Never a guess. */
export function failed(view: { features: readonly unknown[] }, reason: string): Judged {
  return same(
    view.features.map(() => null),
    'ERROR',
    null,
    reason,
  );
}

export function presence(value: FeatureValue): Status {
  return value === null ? 'NULL_VALUE' : 'PRESENT';
}

/** How far apart the ticks of a view are; null for streaming views, which have none. */
export function cadenceOf(view: StoredView): number | null {
  if (view.kind === 'sql') return view.cadenceMs;
  return view.mode.type === 'batch' ? view.mode.cadenceMs : null;
}

/**
 * The tick a batch view is read at: the last one at or before `at`, given the newest published one.
 * Null when none is published: then there is nothing to read.
 */
export function tickAt(cadenceMs: number, newestTick: number | null, at: number): number | null {
  return newestTick === null || newestTick <= at ? newestTick : floorTo(at, cadenceMs);
}

function coldStart(view: JudgedView, status: Status, eventTimestamp: number | null, reason: string): Judged {
  return same(
    view.features.map((feature) => feature.coldStart),
    status,
    eventTimestamp,
    `cold start: ${reason}`,
  );
}

function same(
  values: readonly FeatureValue[],
  status: Status,
  eventTimestamp: number | null,
  reason: string,
): Judged {
  return { statuses: values.map(() => status), values, eventTimestamp, reasons: values.map(() => reason) };
}
