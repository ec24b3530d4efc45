/**
 * The plain answer that everything else is compared with: for each feature, loop over the entity's events, keep those
 * that count, fold them. It is written to be believed, not to be fast, and shares no code with what it judges: from
 * core it takes types only. Times are whole milliseconds, UTC.
 */
import type {
  AggregationFeature,
  AggregationView,
  FeatureLiteral,
  Sessions,
  Source,
  SqlView,
  Window,
} from '../core/definition.js';
import type { Event, FeatureValue, Value } from '../core/event.js';
import { aggregate, type Row } from './aggregate.js';
import { periodAt } from './calendar.js';
import { columnsOf, passes, withoutMinusZero } from './expression.js';
import { endedSessions, sessionSource } from './sessions.js';

export type Question =
  /**
   * The online record: exactly the events archived up to `sequence`, read at `at`, the later of the clock and the
   * record's as-of. A batch view needs `tick` too: of those events it is what the tick saw (as in `tick`).
   */
  | { type: 'record'; at: number; sequence: number; tick?: number }
  /**
   * A batch view's online record, or a tick row (`at` = `tick`): the events with timestamp <= tick that arrived by
   * tick + settleMs (a streaming view: by the tick). Values are read at the tick, the status is judged at `at`.
   */
  | { type: 'tick'; tick: number; at: number }
  /**
   * A training label at `at`.
   * Streaming. known-then: events with timestamp <= at that arrived by then; event-time: timestamp <= at.
   * Batch. known-then: the greatest tick published by then, with what it saw; event-time: the last tick <= at, with
   * every event of timestamp <= tick, whenever it arrived. Values are read at the tick, the status is judged at `at`.
   * `strict`: all of it one millisecond earlier. `published`: the ledger of the view's version; streaming: unused.
   */
  | {
      type: 'training';
      at: number;
      mode: TrainingMode;
      strict: boolean;
      published: ReadonlyArray<{ tick: number; publishedAt: number }>;
    };

export type TrainingMode = 'known-then' | 'event-time';

/** NOT_FOUND, OUTSIDE_MAX_AGE and IMMATURE: every feature has its cold start. */
export type EntityStatus = 'NOT_FOUND' | 'OUTSIDE_MAX_AGE' | 'IMMATURE' | 'PRESENT';

/** What every stored view answers for one entity. */
export interface StoredAnswer {
  status: EntityStatus;
  /** Of the newest event inside, epoch ms; null when not found. */
  eventTimestamp: number | null;
  /** By feature name; whole numbers beyond ±(2^53 - 1) are bigints. */
  values: Record<string, FeatureValue>;
  /** By feature name: the entity's status, or where that is PRESENT, PRESENT or NULL_VALUE. */
  statuses: Record<string, string>;
}

export interface Answer extends StoredAnswer {
  /** Of the oldest event inside, epoch ms; null when not found. */
  firstEventTimestamp: number | null;
  eventCount: number;
  /** The known events that belong to the view, or make its sessions, oldest first, whether or not a feature counts them. */
  included: Event[];
  /** The known retractions. */
  retractions: Event[];
}

export interface SqlAnswer extends StoredAnswer {
  /** The row answered from; null when not found. */
  row: SqlRow | null;
}

/** A row of a sql view as the platform stored it. Times are epoch ms. A feature missing from `values` is null. */
export interface SqlRow {
  tick: number;
  committedAt: number;
  publishedAt: number;
  eventTimestamp: number;
  values: Record<string, FeatureValue>;
}

/**
 * Of a view over sessions, status, timestamps and count are those of the archived events that make sessions; its features are over
 * the sessions of those known that have ended at the moment of reading.
 * @param events of one entity, in any order; those it does not know yet, or that do not belong, are left out
 */
export function answer(
  view: AggregationView,
  source: Source,
  events: readonly Event[],
  question: Question,
): Answer {
  const scope = scopeOf(view, question);
  const unsays = (event: Event): Value =>
    source.retracts === undefined ? null : (columnsOf(source, event).get(source.retracts) ?? null);
  const retractions = events.filter((event) => unsays(event) !== null && scope.knowsRetraction(event));
  const unsaid = new Set(retractions.map((event) => String(unsays(event))));
  const rows = events
    .filter((event) => unsays(event) === null && scope.knows(event) && !unsaid.has(event.id))
    .map((event): Row => ({ event, columns: columnsOf(source, event) }))
    .filter((row) => passes(view.sessions ? view.sessions.where : view.where, source, row.columns))
    .sort(compareRows);

  const eventTimestamp = rows.at(-1)?.event.timestamp ?? null;
  const firstEventTimestamp = rows.at(0)?.event.timestamp ?? null;
  const status = judge(view, scope.judgedAt, eventTimestamp, firstEventTimestamp, rows.length);
  const { from, counted } = view.sessions
    ? sessionsOf(view, view.sessions, source, rows, scope.readAt)
    : { from: source, counted: rows };
  const timestamps = counted.map((row) => row.event.timestamp);
  const valueFor = (feature: AggregationFeature): FeatureValue => {
    const counting = counted.filter(
      (row) =>
        passes(feature.where, from, row.columns) &&
        isInWindow(windowOf(feature), row.event.timestamp, scope.readAt, timestamps),
    );
    return aggregate(feature.aggregation, from, counting, scope.readAt);
  };
  return {
    ...tell(status, eventTimestamp, view.features, valueFor),
    firstEventTimestamp,
    eventCount: rows.length,
    included: rows.map((row) => row.event),
    retractions,
  };
}

/** The sessions that have ended by then and pass the view's filter, as rows of a source of their own. */
function sessionsOf(
  view: AggregationView,
  sessions: Sessions,
  source: Source,
  rows: readonly Row[],
  readAt: number,
): { from: Source; counted: Row[] } {
  const from = sessionSource(sessions, view.key, source);
  const ended = endedSessions(sessions, view.key, source, rows, readAt);
  return { from, counted: ended.filter((row) => passes(view.where, from, row.columns)) };
}

/**
 * known-then: of the rows published by the label, that of the greatest tick; event-time: that of the greatest tick up
 * to the label. Of two rows of one tick, the one committed last. `strict`: all of it one millisecond earlier.
 * @param rows of one entity, in any order
 */
export function answerSql(
  view: SqlView,
  rows: readonly SqlRow[],
  question: { at: number; mode: TrainingMode; strict: boolean },
): SqlAnswer {
  const at = question.strict ? question.at - 1 : question.at;
  const row =
    rows
      .filter((row) => (question.mode === 'known-then' ? row.publishedAt <= at : row.tick <= at))
      .sort((a, b) => a.tick - b.tick || a.committedAt - b.committedAt)
      .at(-1) ?? null;
  const eventTimestamp = row?.eventTimestamp ?? null;
  const status = judgeAge(view.ttlMs, at, eventTimestamp);
  return { ...tell(status, eventTimestamp, view.features, ({ name }) => row?.values[name] ?? null), row };
}

/** Which events are known, when values are read, and when the status is judged. */
interface Scope {
  knows: (event: Event) => boolean;
  /** As an event; but to event time a retraction is known always. */
  knowsRetraction: (event: Event) => boolean;
  readAt: number;
  judgedAt: number;
}

function scopeOf(view: AggregationView, question: Question): Scope {
  switch (question.type) {
    case 'record': {
      const archived = (event: Event) => event.sequence <= question.sequence;
      if (view.mode.type === 'streaming') {
        return { knows: archived, knowsRetraction: archived, readAt: question.at, judgedAt: question.at };
      }
      if (question.tick === undefined) {
        throw new Error(`the record of batch view "${view.name}" is of a tick, and none is given`);
      }
      const seen = seenByTick(view, question.tick);
      const knows = (event: Event) => archived(event) && seen(event);
      return {
        knows,
        knowsRetraction: knows,
        readAt: question.tick,
        judgedAt: question.at,
      };
    }
    case 'tick': {
      const seen = seenByTick(view, question.tick);
      return { knows: seen, knowsRetraction: seen, readAt: question.tick, judgedAt: question.at };
    }
    case 'training': {
      const at = question.strict ? question.at - 1 : question.at;
      if (view.mode.type === 'streaming') {
        const arrived = (event: Event) => event.timestamp <= at && event.arrivedAt <= at;
        return question.mode === 'known-then'
          ? { knows: arrived, knowsRetraction: arrived, readAt: at, judgedAt: at }
          : {
              knows: (event) => event.timestamp <= at,
              knowsRetraction: () => true,
              readAt: at,
              judgedAt: at,
            };
      }
      if (question.mode === 'event-time') {
        const tick = Math.floor(at / view.mode.cadenceMs) * view.mode.cadenceMs;
        return {
          knows: (event) => event.timestamp <= tick,
          knowsRetraction: () => true,
          readAt: tick,
          judgedAt: at,
        };
      }
      const ticks = question.published.filter(({ publishedAt }) => publishedAt <= at).map(({ tick }) => tick);
      const tick = ticks.sort((a, b) => a - b).at(-1);
      const seen = tick === undefined ? () => false : seenByTick(view, tick);
      return { knows: seen, knowsRetraction: seen, readAt: tick ?? at, judgedAt: at };
    }
  }
}

/** What a tick sees: the events up to it that had arrived when it settled. Streaming views do not settle. */
function seenByTick(view: AggregationView, tick: number): (event: Event) => boolean {
  const settleMs = view.mode.type === 'batch' ? view.mode.settleMs : 0;
  return (event) => event.timestamp <= tick && event.arrivedAt <= tick + settleMs;
}

/**
 * Whether an event counts at a moment. It never does before its own instant.
 * @param timestamps of all events of the view, ascending: sessions are made of them
 */
function isInWindow(window: Window, eventMs: number, readAt: number, timestamps: readonly number[]): boolean {
  if (eventMs > readAt) return false;
  switch (window.type) {
    case 'lifetime':
      return true;
    case 'sliding': {
      // it counts at once, and leaves at the first hop boundary at or after its end
      let leavesAt = eventMs + window.ms;
      const past = pastBoundary(leavesAt, window.hopMs);
      if (past > 0) leavesAt += window.hopMs - past;
      return readAt < leavesAt;
    }
    case 'hopping': {
      // the window is that of the last hop boundary, which belongs to it; its other end does not
      const end = readAt - pastBoundary(readAt, window.hopMs);
      return end - window.ms < eventMs && eventMs <= end;
    }
    case 'tumbling': {
      // the window in which we read began at the last boundary: a multiple of its length, for weeks a Monday's midnight
      const isWeeks = window.ms % (7 * 24 * 3_600_000) === 0;
      const origin = isWeeks ? Date.UTC(1970, 0, 5) : 0;
      return eventMs >= readAt - pastBoundary(readAt - origin, window.ms);
    }
    case 'calendar':
      return periodAt(window.unit, window.zone, eventMs) === periodAt(window.unit, window.zone, readAt);
    case 'session': {
      // from the event on there is no pause longer than the gap, and now it is not over
      const since = timestamps.filter((timestamp) => eventMs <= timestamp && timestamp <= readAt);
      const last = since.at(-1)!;
      const pauses = since.map((timestamp, index) => timestamp - since[Math.max(0, index - 1)]!);
      return pauses.every((pause) => pause <= window.gapMs) && readAt - last < window.gapMs;
    }
  }
}

/** How far a moment is past the last multiple of `step`. Never negative, also before 1970. */
function pastBoundary(ms: number, step: number): number {
  return ((ms % step) + step) % step;
}

/** What decays over a lifetime ends after 64 half-lives, at the next multiple of 16. */
function windowOf({ aggregation, window }: AggregationFeature): Window {
  if (!('halfLifeMs' in aggregation) || window.type !== 'lifetime') return window;
  return { type: 'sliding', ms: 64 * aggregation.halfLifeMs, hopMs: 16 * aggregation.halfLifeMs };
}

/** By timestamp, then declared order, then id by UTF-16 code units. */
function compareRows(a: Row, b: Row): number {
  if (a.event.timestamp !== b.event.timestamp) return a.event.timestamp - b.event.timestamp;
  if (a.event.order !== b.event.order) return a.event.order < b.event.order ? -1 : 1;
  if (a.event.id !== b.event.id) return a.event.id < b.event.id ? -1 : 1;
  return 0;
}

function judge(
  view: AggregationView,
  at: number,
  eventTimestamp: number | null,
  firstEventTimestamp: number | null,
  eventCount: number,
): EntityStatus {
  const status = judgeAge(view.ttlMs, at, eventTimestamp);
  if (status !== 'PRESENT' || firstEventTimestamp === null) return status;
  if (at - firstEventTimestamp < view.minAgeMs) return 'IMMATURE';
  if (eventCount < view.minEvents) return 'IMMATURE';
  return 'PRESENT';
}

/** An age of exactly the TTL is inside. */
function judgeAge(
  ttlMs: number | null,
  at: number,
  eventTimestamp: number | null,
): 'NOT_FOUND' | 'OUTSIDE_MAX_AGE' | 'PRESENT' {
  if (eventTimestamp === null) return 'NOT_FOUND';
  if (ttlMs !== null && at - eventTimestamp > ttlMs) return 'OUTSIDE_MAX_AGE';
  return 'PRESENT';
}

/** The features' own values where the entity is present, their cold starts where it is not. */
function tell<F extends { name: string; coldStart: FeatureLiteral }>(
  status: EntityStatus,
  eventTimestamp: number | null,
  features: readonly F[],
  valueFor: (feature: F) => FeatureValue,
): StoredAnswer {
  const told = features.map((feature) => {
    if (status !== 'PRESENT') return { name: feature.name, value: feature.coldStart, status };
    const value = valueFor(feature);
    return { name: feature.name, value, status: value === null ? 'NULL_VALUE' : 'PRESENT' };
  });
  return {
    status,
    eventTimestamp,
    values: Object.fromEntries(told.map(({ name, value }) => [name, withoutMinusZero(value)])),
    statuses: Object.fromEntries(told.map(({ name, status }) => [name, status])),
  };
}
