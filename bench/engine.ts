/**
 * The engine on one core, from memory: events that fold into states, records made of them, and sorted sweeps that answer labels; beside
 * it the same labels answered by DuckDB from the same file. What a figure means is said where it is measured.
 */
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import type { CompiledView } from '../core/compile.js';
import { compileView } from '../core/compile.js';
import type { AggregationView } from '../core/definition.js';
import { decodeHeader, encodeRecord, RECORD_BYTES, readRecord } from '../core/record.js';
import type { State } from '../core/state.js';
import { advance, createState, fold } from '../core/state.js';
import { sweepLabels } from '../core/sweep.js';
import { HOUR } from '../core/time.js';
import { besideDuckdb } from './duckdb.js';
import type { Made } from './made.js';
import { createRandom, eventAt, make, plain, SPAN, START, source, wide } from './made.js';
import { median, say, seconds, table } from './report.js';

setFlagsFromString('--expose-gc');
const collect = runInNewContext('gc') as () => void;

/** Labels of one user each, drawn evenly, at any moment after the first day. */
export interface Labels {
  users: Int32Array;
  moments: Float64Array;
}

export async function engine({ json, quick }: { json: boolean; quick: boolean }): Promise<void> {
  const events = quick ? 500_000 : 10_000_000;
  const keys = quick ? 5_000 : 100_000;
  const labels = quick ? 5_000 : 100_000;
  say(`making ${events.toLocaleString('en')} events of ${keys.toLocaleString('en')} users …`);
  const made = make(events, keys);
  const asked = makeLabels(labels, keys);

  const shapes = { plain: plain(), doubles: plain('score'), wide: wide() };
  const measured = Object.fromEntries(
    Object.entries(shapes).map(([name, view]) => [name, measureShape(name, view, made, asked)]),
  ) as Record<keyof typeof shapes, Shape>;
  const growth = measureGrowth(quick);
  say('the same labels by DuckDB …');
  const peer = await besideDuckdb(made, asked, shapes.plain);

  const result = {
    events,
    keys,
    labels,
    incrementalEventsPerSecond: measured.plain.incrementalEventsPerSecond,
    recordEventsPerSecond: measured.plain.recordEventsPerSecond,
    sortedEventsPerSecond: measured.plain.sortedEventsPerSecond,
    bytesPerKey: measured.plain.bytesPerKey,
    duckdbRatio: peer.ratio,
    shapes: measured,
    growth,
    duckdb: peer,
  };
  if (json) console.log(JSON.stringify(result));
  else print(result);
}

interface Shape {
  features: number;
  slots: number;
  /** Events folded into the states of all users, in order of time, nothing read in between. */
  incrementalEventsPerSecond: number;
  /** Heap of all those states, over the users. */
  bytesPerKey: number;
  /** The last fifth of the events again, each followed by the record of its entity, cut as it is for serving. */
  recordEventsPerSecond: number;
  /** Such records of the last events' entities, read when all events have been. */
  readsPerSecond: number;
  /** Every user's events, from columns sorted by user and time, answering the labels; making events of columns is included. */
  sortedEventsPerSecond: number;
  recordBytes: { mean: number; p99: number; max: number };
  wholeRecordBytes: { mean: number; p99: number; max: number };
  /** Records written by the clock because the one before had come to its end. */
  refreshesPer10kEvents: number;
}

function measureShape(name: string, view: AggregationView, made: Made, labels: Labels): Shape {
  const compiled = compileView(view, source);
  const events = made.timestamps.length;
  const warm = Math.floor(events * 0.8);
  warmUp(compiled, made, labels);

  say(`${name}: folding …`);
  collect();
  const before = process.memoryUsage().heapUsed;
  const { states, stateOf } = createStates(compiled, made.keys);
  const first = seconds(() => {
    for (let i = 0; i < warm; i++) fold(compiled, stateOf(made.users[i]!), eventAt(made, i));
  });
  for (const state of states) if (state) advance(compiled, state, state.asOf);
  collect();
  const bytesPerKey = (process.memoryUsage().heapUsed - before) / made.keys;

  say(`${name}: a record for each event …`);
  collect();
  const sizes: number[] = [];
  const second = seconds(() => {
    for (let i = warm; i < events; i++) {
      const state = stateOf(made.users[i]!);
      fold(compiled, state, eventAt(made, i));
      sizes.push(encodeRecord(compiled, state, { maxBytes: RECORD_BYTES }).length);
    }
  });
  const last = Array.from(made.users.subarray(-100_000), (user) =>
    encodeRecord(compiled, stateOf(user), { maxBytes: RECORD_BYTES }),
  );
  const reading = seconds(() => {
    for (const bytes of last) readRecord(compiled, bytes, START + SPAN);
  });
  const whole = states.flatMap((state) => (state ? [encodeRecord(compiled, state).length] : []));
  states.length = 0;

  say(`${name}: sweeping …`);
  const sorted = sortByUser(made);
  const asked = groupLabels(labels, made.keys);
  collect();
  const third = seconds(() => {
    for (let user = 0; user < made.keys; user++) {
      const mine = asked[user];
      if (mine === undefined) continue;
      sweepLabels(compiled, eventsOf(sorted, user), mine, {
        mode: 'event-time',
        strict: false,
        published: [],
      });
    }
  });
  let touched = 0;
  for (let user = 0; user < made.keys; user++)
    if (asked[user] !== undefined) touched += sorted.starts[user + 1]! - sorted.starts[user]!;

  return {
    features: view.features.length,
    slots: compiled.slots.length,
    incrementalEventsPerSecond: Math.round(warm / first),
    bytesPerKey: Math.round(bytesPerKey),
    recordEventsPerSecond: Math.round((events - warm) / second),
    readsPerSecond: Math.round(last.length / reading),
    sortedEventsPerSecond: Math.round(touched / third),
    recordBytes: spread(sizes),
    wholeRecordBytes: spread(whole),
    refreshesPer10kEvents: refreshes(compiled, sorted),
  };
}

function createStates(compiled: CompiledView, keys: number) {
  const states = Array.from({ length: keys }, (): State | undefined => undefined);
  function stateOf(user: number): State {
    const known = states[user];
    if (known !== undefined) return known;
    const state = createState(compiled);
    states[user] = state;
    return state;
  }
  return { states, stateOf };
}

function warmUp(compiled: CompiledView, made: Made, labels: Labels): void {
  const state = createState(compiled);
  for (let i = 0; i < 20_000; i++) {
    fold(compiled, state, eventAt(made, i));
    if (i % 5 === 0)
      readRecord(compiled, encodeRecord(compiled, state, { maxBytes: RECORD_BYTES }), state.asOf);
  }
  const list = Array.from({ length: 2_000 }, (_, i) => eventAt(made, i));
  for (let i = 0; i < 20; i++)
    sweepLabels(compiled, list, [...labels.moments.subarray(i, i + 3)], {
      mode: 'event-time',
      strict: false,
      published: [],
    });
}

/** A thousandth of the users as the stream would serve them: a record for each event, and one whenever a cut one ends before the next event. */
function refreshes(compiled: CompiledView, sorted: Sorted): number {
  const { made } = sorted;
  let events = 0;
  let refreshed = 0;
  for (let user = 0; user < made.keys; user += Math.max(1, Math.floor(made.keys / 300))) {
    const state = createState(compiled);
    const list = eventsOf(sorted, user);
    list.forEach((event, index) => {
      fold(compiled, state, event);
      events += 1;
      const next = list[index + 1]?.timestamp ?? START + SPAN;
      for (;;) {
        const { refreshAt } = decodeHeader(encodeRecord(compiled, state, { maxBytes: RECORD_BYTES }));
        if (refreshAt === null || refreshAt > next) break;
        advance(compiled, state, refreshAt);
        refreshed += 1;
      }
    });
  }
  return Math.round((refreshed / events) * 1e5) / 10;
}

/** How the time of one event grows: with windows, with features that share nothing, with keys. Microseconds. */
function measureGrowth(quick: boolean): Array<{ what: string; foldUs: number; recordUs: number }> {
  const events = quick ? 100_000 : 1_000_000;
  const rows: Array<{ what: string; foldUs: number; recordUs: number }> = [];
  const measure = (what: string, view: AggregationView, keys: number): void => {
    say(`growth: ${what} …`);
    const made = make(events, keys, 2);
    const compiled = compileView(view, source);
    const runs = [0, 1, 2].map(() => {
      const { stateOf } = createStates(compiled, keys);
      const half = events >> 1;
      const folding = seconds(() => {
        for (let i = 0; i < half; i++) fold(compiled, stateOf(made.users[i]!), eventAt(made, i));
      });
      const some = Math.min(half, 100_000);
      const recording = seconds(() => {
        for (let i = half; i < half + some; i++) {
          const state = stateOf(made.users[i]!);
          fold(compiled, state, eventAt(made, i));
          encodeRecord(compiled, state, { maxBytes: RECORD_BYTES });
        }
      });
      return { foldUs: (folding / half) * 1e6, recordUs: (recording / some) * 1e6 };
    });
    rows.push({
      what,
      foldUs: round(median(runs.map((run) => run.foldUs))),
      recordUs: round(median(runs.map((run) => run.recordUs))),
    });
  };
  const windows = [HOUR, 24 * HOUR, 7 * 24 * HOUR, 30 * 24 * HOUR];
  for (const count of [1, 2, 4])
    measure(`${count} windows, 10,000 keys`, plain('amount', windows.slice(0, count)), 10_000);
  for (const keys of [100, 1_000, 100_000])
    measure(`4 windows, ${keys.toLocaleString('en')} keys`, plain(), keys);
  measure('57 features over 15 (filter, window), 10,000 keys', wide(), 10_000);
  return rows;
}

const round = (x: number): number => Math.round(x * 100) / 100;

function spread(sizes: number[]): { mean: number; p99: number; max: number } {
  const sorted = Float64Array.from(sizes).sort();
  return {
    mean: Math.round(sizes.reduce((a, b) => a + b, 0) / sizes.length),
    p99: sorted[Math.floor(sorted.length * 0.99)]!,
    max: sorted.at(-1)!,
  };
}

/** Every user's events together, by time: user's from `starts[user]` to `starts[user + 1]`. */
export interface Sorted {
  made: Made;
  starts: Int32Array;
}

export function sortByUser(made: Made): Sorted {
  const starts = new Int32Array(made.keys + 1);
  for (const user of made.users) starts[user + 1]! += 1;
  for (let user = 0; user < made.keys; user++) starts[user + 1]! += starts[user]!;
  const next = starts.slice();
  const sorted: Made = {
    keys: made.keys,
    timestamps: new Float64Array(made.timestamps.length),
    users: new Int32Array(made.users.length),
    amounts: new Int32Array(made.amounts.length),
    scores: new Float64Array(made.scores.length),
    kinds: new Uint8Array(made.kinds.length),
  };
  made.users.forEach((user, index) => {
    const at = next[user]!++;
    sorted.timestamps[at] = made.timestamps[index]!;
    sorted.users[at] = user;
    sorted.amounts[at] = made.amounts[index]!;
    sorted.scores[at] = made.scores[index]!;
    sorted.kinds[at] = made.kinds[index]!;
  });
  return { made: sorted, starts };
}

export function eventsOf({ made, starts }: Sorted, user: number): ReturnType<typeof eventAt>[] {
  const list: ReturnType<typeof eventAt>[] = [];
  for (let at = starts[user]!; at < starts[user + 1]!; at++) list.push(eventAt(made, at));
  return list;
}

function makeLabels(count: number, keys: number): Labels {
  const random = createRandom(7);
  const labels = { users: new Int32Array(count), moments: new Float64Array(count) };
  for (let i = 0; i < count; i++) {
    labels.users[i] = Math.floor(random() * keys);
    labels.moments[i] = START + Math.floor((0.02 + 0.98 * random()) * SPAN);
  }
  return labels;
}

export function groupLabels(labels: Labels, keys: number): Array<number[] | undefined> {
  const groups = Array.from({ length: keys }, (): number[] | undefined => undefined);
  labels.users.forEach((user, index) => {
    const group = groups[user];
    if (group === undefined) groups[user] = [labels.moments[index]!];
    else group.push(labels.moments[index]!);
  });
  return groups;
}

function print(result: {
  shapes: Record<string, Shape>;
  growth: ReturnType<typeof measureGrowth>;
  duckdb: Awaited<ReturnType<typeof besideDuckdb>>;
}): void {
  const shapes = Object.entries(result.shapes);
  const per = (value: (shape: Shape) => number | string): Array<number | string> =>
    shapes.map(([, shape]) => value(shape));
  const sizes = ({ mean, p99, max }: Shape['recordBytes']): string => `${mean} / ${p99} / ${max}`;
  console.log(
    table([
      ['', ...shapes.map(([name, { features }]) => `${name}, ${features} features`)],
      ['state updates, events/s', ...per((shape) => shape.incrementalEventsPerSecond)],
      ['coded records, events/s', ...per((shape) => shape.recordEventsPerSecond)],
      ['records read, per second', ...per((shape) => shape.readsPerSecond)],
      ['sorted sweep, events/s', ...per((shape) => shape.sortedEventsPerSecond)],
      ['state in memory, bytes/key', ...per((shape) => shape.bytesPerKey)],
      ['record, bytes: mean / p99 / max', ...per((shape) => sizes(shape.recordBytes))],
      ['whole record, bytes: mean / p99 / max', ...per((shape) => sizes(shape.wholeRecordBytes))],
      ['refreshes per 10,000 events', ...per((shape) => shape.refreshesPer10kEvents)],
    ]),
  );
  console.log(
    table([
      ['growth', 'fold, µs/event', 'fold and record, µs/event'],
      ...result.growth.map(({ what, foldUs, recordUs }) => [what, foldUs, recordUs]),
    ]),
  );
  const { almanacSeconds, duckdbSeconds, ratio, labels, different } = result.duckdb;
  console.log(
    `${labels.toLocaleString('en')} labels from one Parquet file: Almanac ${almanacSeconds} s, DuckDB (1 thread) ${duckdbSeconds} s: ${ratio} times; ${different} answers differ`,
  );
}
