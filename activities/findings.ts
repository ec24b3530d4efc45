/**
 * What a verification finds: how many answers were compared on each path, and where two differ. Pure.
 * Answers are equal when values, statuses and event timestamps are: as Object.is has it, lists and maps element by element. No tolerance.
 */
import type { AggregationView, Source } from '../core/definition.js';
import { compareEvents, type Event, type FeatureValue, sameValue } from '../core/event.js';
import { formatTimestamp } from '../core/time.js';
import { entriesOf, isValueMap } from '../core/value-map.js';
import { answer, type Question, type StoredAnswer } from '../oracle/oracle.js';

/** online: records in Redis. rows: tick rows in Postgres. training: the sweep. file: written training sets. */
export type Path = 'online' | 'rows' | 'training' | 'file';

export interface Counts {
  /** Answers compared: one entity of one view at one moment. */
  checked: number;
  different: number;
  /** Feature values in them. */
  values: number;
}

/** One answer that is not what the oracle says. Values as JSON: timestamps in values as epoch ms, whole numbers beyond 2^53 as text. */
export interface Difference {
  path: Path;
  view: string;
  version: number;
  entity: Record<string, unknown>;
  /** ISO. */
  moment: string;
  /** What differs: a feature, or the whole answer. */
  feature: string | null;
  found: unknown;
  expected: unknown;
  /** Which record, row or file, and why, where a value alone does not say it. */
  where: string;
  /** The first event by which the two can be told apart; null: none explains it. */
  event: DifferingEvent | null;
}

export interface DifferingEvent {
  id: string;
  timestamp: string;
  arrivedAt: string;
  sequence: number;
  /** Of what was found. */
  found: 'leaves it out' | 'has it too early';
}

/** An answer as either side gives it. */
export interface Told {
  status: string;
  eventTimestamp: number | null;
  values: Readonly<Record<string, FeatureValue>>;
  statuses: Readonly<Record<string, string>>;
}

/** Kept of each part; of the whole verification the first ones. */
export const KEPT = 20;

export class Findings {
  readonly counts: Partial<Record<Path, Counts>> = {};
  readonly differences: Difference[] = [];

  /** @param explain makes the difference's event, for those that are kept */
  add(
    path: Path,
    features: readonly string[],
    disagreement: Disagreement | null,
    tell: () => Omit<Difference, keyof Disagreement | 'path' | 'event'>,
    explain: () => DifferingEvent | null = () => null,
  ): void {
    this.counts[path] ??= { checked: 0, different: 0, values: 0 };
    const counts = this.counts[path];
    counts.checked += 1;
    counts.values += features.length;
    if (disagreement === null) return;
    counts.different += 1;
    if (this.differences.length >= KEPT) return;
    this.differences.push({ path, ...tell(), ...disagreement, event: explain() });
  }
}

export interface Disagreement {
  feature: string | null;
  found: unknown;
  expected: unknown;
}

/** Null when the two say the same of every feature. */
export function disagreement(features: readonly string[], found: Told, expected: Told): Disagreement | null {
  for (const feature of features)
    if (
      found.statuses[feature] !== expected.statuses[feature] ||
      !sameValue(found.values[feature] ?? null, expected.values[feature] ?? null)
    )
      return {
        feature,
        found: { value: shown(found.values[feature] ?? null), status: found.statuses[feature] ?? null },
        expected: {
          value: shown(expected.values[feature] ?? null),
          status: expected.statuses[feature] ?? null,
        },
      };
  if (found.eventTimestamp !== expected.eventTimestamp)
    return {
      feature: null,
      found: { eventTimestamp: instant(found.eventTimestamp) },
      expected: { eventTimestamp: instant(expected.eventTimestamp) },
    };
  return null;
}

export function shown(value: FeatureValue): unknown {
  if (typeof value === 'bigint') return String(value);
  if (isValueMap(value)) return Object.fromEntries(entriesOf(value).map(([key, item]) => [key, shown(item)]));
  if (Array.isArray(value)) return value.map(shown);
  return Object.is(value, -0) ? '-0' : value;
}

function instant(ms: number | null): string | null {
  return ms === null ? null : formatTimestamp(ms);
}

/** What `judge` says, by name. */
export function toldOf(
  features: ReadonlyArray<{ name: string }>,
  judged: {
    values: readonly FeatureValue[];
    statuses: readonly string[];
    eventTimestamp: number | null;
  },
): Told {
  const named = <T>(list: readonly T[]): Record<string, T> =>
    Object.fromEntries(features.map(({ name }, index) => [name, list[index]!]));
  return {
    status: judged.statuses[0] ?? '',
    eventTimestamp: judged.eventTimestamp,
    values: named(judged.values),
    statuses: named(judged.statuses),
  };
}

/** More events than this are not tried one by one. */
const TRIED = 300;

/**
 * The first event by which what was found can be told from what is right: the oracle is asked again over other events, until it
 * gives what was found. First without the newest known ones (by sequence), ever more of them: the first that is left out. Then
 * without each one alone, and without each retraction. Then with each one alone that is not known at the moment.
 */
export function findDifferingEvent(
  view: AggregationView,
  source: Source,
  events: readonly Event[],
  question: Question,
  isFound: (answer: StoredAnswer) => boolean,
): DifferingEvent | null {
  const { included, retractions } = answer(view, source, events, question);
  const known = [...included].sort((a, b) => a.sequence - b.sequence || compareEvents(a, b));
  const gives = (others: readonly Event[]): boolean => isFound(answer(view, source, others, question));
  const first = Math.max(0, known.length - TRIED);
  for (let count = known.length - 1; count >= first; count--)
    if (gives(known.slice(0, count))) return describe(known[count]!, 'leaves it out');
  for (const event of known.slice(first))
    if (gives(known.filter((other) => other !== event))) return describe(event, 'leaves it out');
  for (const event of retractions.slice(-TRIED))
    if (gives(events.filter((other) => other !== event))) return describe(event, 'leaves it out');
  const ids = new Set([...included, ...retractions].map(({ id }) => id));
  const unknown = events.filter(({ id }) => !ids.has(id)).slice(0, TRIED);
  for (const event of unknown)
    if (gives([...events, { ...event, id: `${event.id} `, arrivedAt: event.timestamp, sequence: 0 }]))
      return describe(event, 'has it too early');
  return null;
}

function describe(event: Event, found: DifferingEvent['found']): DifferingEvent {
  return {
    id: event.id,
    timestamp: formatTimestamp(event.timestamp),
    arrivedAt: formatTimestamp(event.arrivedAt),
    sequence: event.sequence,
    found,
  };
}

/** Numbers in [0, 1), the same for the same seed (mulberry32). */
export function seeded(...seeds: readonly number[]): () => number {
  let state = seeds.reduce((mixed, seed) => Math.imul(mixed ^ seed, 0x9e3779b1) ^ (mixed >>> 15), 0x2545f491);
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}

/** At most `count` different ones of a list, in no order. */
export function choose<T>(list: readonly T[], count: number, next: () => number): T[] {
  const left = [...list];
  const chosen: T[] = [];
  while (chosen.length < count && left.length > 0) {
    const at = Math.floor(next() * left.length);
    chosen.push(left[at]!);
    left[at] = left.at(-1)!;
    left.pop();
  }
  return chosen;
}
