/**
 * One pass over an entity's events that answers many moments: the labels of a training set, in either mode, or the ticks of
 * a range. Pure; the events are all those the caller's bound allows, in any order.
 */

import { type Baseline, behindBaseline, knownBy } from './baseline.js';
import { equalBytes } from './codec/bytes.js';
import type { CompiledView } from './compile.js';
import type { AggregationView } from './definition.js';
import { Entering } from './entering.js';
import type { Event } from './event.js';
import { compareEvents } from './event.js';
import type { Reading, State } from './state.js';
import { advance, encodeValues, isBlank, nextStep, readState } from './state.js';
import { ceilTo, floorTo, formatTimestamp } from './time.js';

/** known-then: what serving could have returned. event-time: with all that is known today. */
export type TrainingMode = 'known-then' | 'event-time';

/** A tick of the ledger: serving had it from publishedAt on. */
export interface PublishedTick {
  tick: number;
  publishedAt: number;
}

export interface SweepOptions {
  mode: TrainingMode;
  /** The value one millisecond before the label, arrival bound too. */
  strict: boolean;
  /** Of a batch view: its ledger, ticks ascending. */
  published: readonly PublishedTick[];
  /** What stands for events that are no more; `events` are those from its cut on. */
  baseline?: Baseline | null;
}

/** The cadence and settle of a view's ticks; a streaming view's rows settle at once. */
export function ticksOf(view: AggregationView): { cadenceMs: number; settleMs: number } {
  return view.mode.type === 'batch'
    ? { cadenceMs: view.mode.cadenceMs, settleMs: view.mode.settleMs }
    : { cadenceMs: view.mode.rowsEveryMs, settleMs: 0 };
}

/** The first tick that sees the event. */
export function entryTick(
  event: Pick<Event, 'timestamp' | 'arrivedAt'>,
  cadenceMs: number,
  settleMs: number,
): number {
  return ceilTo(Math.max(event.timestamp, event.arrivedAt - settleMs), cadenceMs);
}

/**
 * The reading for each label (epoch ms, in any order), in the labels' order; null where there is no history by then.
 * Batch views are read at their tick; whether a value is too old is judged at the label by the caller (vector.ts).
 */
export function sweepLabels(
  compiled: CompiledView,
  events: readonly Event[],
  labels: readonly number[],
  { mode, strict, published, baseline = null }: SweepOptions,
): Array<Reading | null> {
  const { view } = compiled;
  const batch = view.mode.type === 'batch';
  const { cadenceMs, settleMs } = ticksOf(view);

  /** When an event becomes part of the answer, on the same axis as `momentOf`. */
  const enters = (event: Event): number => {
    if (batch && mode === 'known-then') return entryTick(event, cadenceMs, settleMs);
    return mode === 'known-then' ? event.arrivedAt : event.timestamp;
  };
  const known = greatestTicks(published);
  /** The moment the label's answer is read at; null: no tick by then. */
  const momentOf = (label: number): number | null => {
    const at = strict ? label - 1 : label;
    if (!batch) return at;
    return mode === 'event-time' ? floorTo(at, cadenceMs) : known(at);
  };

  const counting = mode === 'event-time' ? withoutRetracted(compiled, events) : [...events];
  const order = (a: Event, b: Event): number => enters(a) - enters(b) || compareEvents(a, b);
  // Mostly they are read in order: to see that is cheaper than to sort them.
  const isOrdered = counting.every((event, index) => index === 0 || order(counting[index - 1]!, event) <= 0);
  const ordered = isOrdered ? counting : counting.sort(order);
  const moments = labels.map(momentOf);
  const asked = moments.map((_, index) => index).sort((a, b) => (moments[a] ?? 0) - (moments[b] ?? 0));
  const readings = labels.map((): Reading | null => null);
  const entering = new Entering(compiled, ordered, { baseline });
  const since =
    baseline === null ? null : mode === 'known-then' ? knownBy(compiled, baseline) : baseline.cutMs;
  let next = 0;
  for (const index of asked) {
    const moment = moments[index]!;
    if (moment === null) continue;
    if (since !== null && moment < since)
      throw behindBaseline(
        compiled,
        `the ${batch ? 'tick' : 'moment'} ${formatTimestamp(moment)} that a label is read at`,
        since,
        mode === 'known-then' ? 'leave out older labels, or read by event time' : 'leave out older labels',
      );
    entering.readAt(moment);
    for (; next < ordered.length && enters(ordered[next]!) <= moment; next++) entering.take(ordered[next]!);
    readings[index] = readState(compiled, entering.state, moment);
  }
  return readings;
}

/** What is known today: an event that was retracted has never been, whenever that was. */
export function withoutRetracted(compiled: CompiledView, events: readonly Event[]): Event[] {
  if (compiled.source.retracts === undefined) return [...events];
  const retracted = new Set(events.map((event) => compiled.retracts(event)));
  return events.filter((event) => compiled.retracts(event) === null && !retracted.has(event.id));
}

/** at → the greatest tick published by then; null: none. A later tick may have been published earlier. */
function greatestTicks(published: readonly PublishedTick[]): (at: number) => number | null {
  const byTime = [...published].sort((a, b) => a.publishedAt - b.publishedAt);
  let greatest = Number.NEGATIVE_INFINITY;
  const reached = byTime.map(({ tick }) => (greatest = Math.max(greatest, tick)));
  return (at) => {
    let low = 0;
    let high = byTime.length;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if (byTime[middle]!.publishedAt <= at) low = middle + 1;
      else high = middle;
    }
    return low === 0 ? null : reached[low - 1]!;
  };
}

/** A tick at which something stored changed. */
export interface TickRow {
  tick: number;
  /** As read at the tick; null: no events are left. */
  reading: Reading | null;
  /** What is stored, as bytes (encodeValues; none are left: empty): the features, read at any later moment before the next row, come from it. */
  stored: Uint8Array;
}

/**
 * All ticks of (after, until] in one pass: a row where the stored values changed, then the state as of the last tick that
 * was looked at. Ticks at which nothing can change are not looked at.
 * @param baseline what stands for events that are no more; all of them entered by `after`, which is not before its cut
 * @param state without: from the first event on; else as it stood after tick `after`, and `events` are those it does not hold
 * @returns where a given state cannot take an event in, no rows and a state that `needsRebuild`: sweep all of the entity's events
 */
export function sweepTicks(
  compiled: CompiledView,
  events: readonly Event[],
  {
    after,
    until,
    state: given,
    baseline,
  }: { after: number; until: number; state?: State; baseline?: Baseline },
): { rows: TickRow[]; state: State } {
  const { cadenceMs, settleMs } = ticksOf(compiled.view);
  const due = events
    .map((event) => ({ event, tick: entryTick(event, cadenceMs, settleMs) }))
    .filter(({ tick }) => tick <= until)
    .sort((a, b) => a.tick - b.tick || compareEvents(a.event, b.event));
  const entering = new Entering(
    compiled,
    due.map(({ event }) => event),
    { given, baseline },
  );
  let { state } = entering;
  if (baseline) {
    const { createdTimestamp: arrivedAt, eventTimestamp: timestamp } = state;
    const since = Math.max(baseline.cutMs, entryTick({ timestamp, arrivedAt }, cadenceMs, settleMs));
    if (after < since)
      throw behindBaseline(compiled, `the tick ${formatTimestamp(after)}`, since, 'begin with a later tick');
  }
  const rows: TickRow[] = [];
  let previous = encodeValues(compiled, state);
  let next = 0;
  for (;;) {
    const step = nextStep(compiled, state);
    const tick = Math.min(
      due[next]?.tick ?? Number.POSITIVE_INFINITY,
      step === null ? Number.POSITIVE_INFINITY : ceilTo(step, cadenceMs),
    );
    if (tick > until) break;
    for (; next < due.length && due[next]!.tick === tick; next++) entering.take(due[next]!.event);
    state = entering.state;
    if (state.needsRebuild) return { rows: [], state };
    if (isBlank(state)) continue;
    advance(compiled, state, tick);
    const values = encodeValues(compiled, state);
    if (tick > after && !equalBytes(values, previous))
      rows.push({ tick, reading: readState(compiled, state, tick), stored: values });
    previous = values;
  }
  return { rows, state: entering.end() };
}
