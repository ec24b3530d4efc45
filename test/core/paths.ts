/** Each path from events to a value, held against the oracle: values, statuses, timestamps to the byte. Named by what holds. */
import { expect } from 'vitest';
import { computeEntity } from '../../activities/output.js';
import { baselineOf, knownBy, openBaseline } from '../../core/baseline.js';
import { compileView, isMoving } from '../../core/compile.js';
import type { AggregationView, Source } from '../../core/definition.js';
import type { Event } from '../../core/event.js';
import { compareEvents } from '../../core/event.js';
import { decodeHeader, encodeRecord, MIN_STEPS, readRecord, recordSteps } from '../../core/record.js';
import {
  advance,
  createState,
  decodeState,
  encodeState,
  isBlank,
  nextStep,
  readState,
  rebuild,
  type State,
} from '../../core/state.js';
import { entryTick, sweepLabels, sweepTicks, ticksOf } from '../../core/sweep.js';
import { ceilTo, floorTo, HOUR } from '../../core/time.js';
import { expected, foldAll, foldOrRebuild, said } from './always.js';

/** What a path is tried on; a kept case is one as JSON. */
export interface Case {
  view: AggregationView;
  source: Source;
  /** Of one entity, in the order they arrive. */
  events: Event[];
  moments: number[];
  /** Decides what is left open: where to cut, in which order, strict or not. */
  chance: number;
}

export interface Path {
  mode: 'streaming' | 'batch' | 'any';
  holds: (given: Case) => void;
}

export const PATHS: Record<string, Path> = {
  'a record, whole or cut, at its as-of, at each step and around it': {
    mode: 'streaming',
    holds({ view, source, events, moments, chance }) {
      const compiled = compileView(view, source);
      const sequence = chance % ((events.at(-1)?.sequence ?? 0) + 1);
      const known = events.filter((event) => event.sequence <= sequence);
      const state = foldOrRebuild(compiled, known);
      if (isBlank(state)) {
        expect(expected(view, source, events, { type: 'record', sequence, at: 0 })).toEqual(
          said(view, null, 0),
        );
        return;
      }
      const whole = encodeRecord(compiled, state);
      const short = encodeRecord(compiled, state, { maxBytes: 64 });
      const { asOf, refreshAt } = decodeHeader(short);
      const steps = recordSteps(compiled, whole);
      expect(recordSteps(compiled, short).length).toBeGreaterThanOrEqual(Math.min(MIN_STEPS, steps.length));
      const times = [
        asOf,
        ...moments.map((at) => asOf + Math.abs(at)),
        ...steps.flatMap((at) => [at - 1, at, at + 1]),
      ];
      for (const at of times.filter((at) => at >= asOf)) {
        const truth = expected(view, source, events, { type: 'record', sequence, at });
        expect(said(view, readRecord(compiled, whole, at), at)).toEqual(truth);
        const reading = readRecord(compiled, short, at);
        const passed = reading?.horizonPassed ?? false;
        expect(passed).toBe(refreshAt !== null && at >= refreshAt);
        if (!passed) expect(said(view, reading, at)).toEqual(truth);
      }
    },
  },

  'the order of folding, a restart from a snapshot and a refresh leave no trace in the bytes': {
    mode: 'any',
    holds({ view, source, events, chance }) {
      const compiled = compileView(view, source);
      const straight = rebuild(compiled, events);
      if (isBlank(straight)) return;
      const rank = ({ id }: Event): number => (id.charCodeAt(3) * (chance % 97)) % 31;
      const shuffled = [...events].sort((a, b) => rank(a) - rank(b));
      const half = (chance >>> 7) % (events.length + 1);
      const held = shuffled.slice(0, half);
      let state = foldOrRebuild(compiled, held);
      if (!isBlank(state)) {
        encodeRecord(compiled, state);
        state = decodeState(compiled, encodeState(compiled, state));
      }
      state = foldOrRebuild(compiled, shuffled.slice(half), { state, held });
      expect(encodeState(compiled, state)).toEqual(encodeState(compiled, straight));
      expect(encodeRecord(compiled, state)).toEqual(encodeRecord(compiled, straight));
      const later = straight.asOf + (chance % (2 * HOUR));
      advance(compiled, straight, later);
      advance(compiled, state, later);
      expect(encodeState(compiled, decodeState(compiled, encodeState(compiled, state)))).toEqual(
        encodeState(compiled, straight),
      );
    },
  },

  'in event order, without retractions, no state asks to be rebuilt': {
    mode: 'any',
    holds({ view, source, events }) {
      if (source.retracts !== undefined) return;
      expect(foldAll(compileView(view, source), [...events].sort(compareEvents)).needsRebuild).toBe(false);
    },
  },

  'training labels in both modes, strict and not': {
    mode: 'any',
    holds({ view, source, events, moments, chance }) {
      const compiled = compileView(view, source);
      const strict = chance % 2 === 1;
      const labels = [
        ...moments,
        ...events.flatMap((event) => [event.timestamp, event.arrivedAt, event.arrivedAt + 1]),
      ];
      const { cadenceMs, settleMs } = ticksOf(view);
      const first = floorTo(Math.min(...labels), cadenceMs);
      const published = Array.from({ length: 20 }, (_, index) => {
        const tick = first + (index + 1) * cadenceMs;
        return { tick, publishedAt: tick + settleMs + ((chance >>> 1) % 4) * (index % 3) * HOUR };
      });
      for (const mode of ['known-then', 'event-time'] as const) {
        const readings = sweepLabels(compiled, events, labels, { mode, strict, published });
        labels.forEach((at, index) => {
          const truth = expected(view, source, events, { type: 'training', at, mode, strict, published });
          expect(said(view, readings[index]!, strict ? at - 1 : at), `${mode} at ${at}`).toEqual(truth);
        });
      }
    },
  },

  'tick rows: the last row at or before a tick is that tick, in one sweep or cut anywhere': {
    mode: 'any',
    holds({ view, source, events, chance }) {
      const compiled = compileView(view, source);
      const { cadenceMs, settleMs } = ticksOf(view);
      const entries = events.map((event) => entryTick(event, cadenceMs, settleMs));
      const start = Math.min(0, ...entries) - cadenceMs;
      const until = Math.max(0, ...entries) + 3 * cadenceMs;
      const whole = sweepTicks(compiled, events, { after: start, until });
      const middle = start + Math.floor((until - start) / cadenceMs / ((chance % 13) + 1)) * cadenceMs;
      const before = sweepTicks(compiled, events, { after: start, until: middle });
      const resumed = isBlank(before.state)
        ? createState(compiled)
        : decodeState(compiled, encodeState(compiled, before.state));
      const late = events.filter((event) => entryTick(event, cadenceMs, settleMs) > middle);
      const resume = sweepTicks(compiled, late, { after: middle, until, state: resumed });
      const after = resume.state.needsRebuild
        ? sweepTicks(compiled, events, { after: middle, until })
        : resume;
      expect([...before.rows, ...after.rows]).toEqual(whole.rows);

      const ticks = [...entries, ...whole.rows.map(({ tick }) => tick), until, ceilTo(0, cadenceMs)];
      for (const tick of ticks.flatMap((tick) => [tick - cadenceMs, tick, tick + cadenceMs])) {
        if (tick <= start || tick > until) continue;
        const row = whole.rows.findLast((each) => each.tick <= tick);
        const truth = expected(view, source, events, { type: 'tick', tick, at: tick });
        // A row holds the state: a value that moves by itself is read at the tick asked for.
        const moving = view.features.some(({ aggregation }) => isMoving(aggregation));
        if (!moving || row?.tick === tick || !row)
          expect(said(view, row?.reading ?? null, tick)).toEqual(truth);
      }
      const last = readState(compiled, whole.state, until);
      expect(said(view, last, until)).toEqual(
        expected(view, source, events, { type: 'tick', tick: until, at: until }),
      );
    },
  },

  // As activities/materialize.ts does: entities with arrivals, and those whose next step has come; each run may be repeated.
  'ticks materialized run by run, from snapshots and what entered since': {
    mode: 'batch',
    holds({ view, source, events, moments, chance }) {
      const compiled = compileView(view, source);
      const { cadenceMs, settleMs } = ticksOf(view);
      const own = events.filter((event) => compiled.accepts(event));
      const enters = (event: Event): number => entryTick(event, cadenceMs, settleMs);
      const start = Math.min(0, ...own.map(enters)) - cadenceMs;
      const end = Math.max(0, ...own.map(enters)) + 3 * cadenceMs;
      const runs = [...moments, ...own.slice(0, 3).map(enters), end]
        .map((at) => floorTo(at, cadenceMs))
        .filter((tick) => tick > start && tick <= end)
        .sort((a, b) => a - b);
      const rows = new Map<number, Uint8Array>();
      let snapshot: Uint8Array | null = null;
      const materialize = (after: number, until: number): void => {
        const state = snapshot === null ? createState(compiled) : decodeState(compiled, snapshot);
        const step = snapshot === null ? null : nextStep(compiled, state);
        const entering = own.filter((event) => enters(event) > after && enters(event) <= until);
        if (entering.length === 0 && (step === null || step > until)) return;
        const from = Math.max(after, state.asOf);
        const fresh = entering.filter((event) => enters(event) > from);
        let swept = sweepTicks(compiled, fresh, { after: from, until, state });
        if (swept.state.needsRebuild) {
          const arrived = own.filter((event) => event.arrivedAt <= until + settleMs);
          swept = computeEntity(compiled, arrived, { after: from, until });
        }
        for (const { tick, stored } of swept.rows) {
          expect(rows.has(tick), `a second row of tick ${tick}`).toBe(false);
          rows.set(tick, stored);
        }
        if (!isBlank(swept.state)) snapshot = encodeState(compiled, swept.state);
      };
      let after = start;
      for (const [index, until] of runs.entries()) {
        materialize(after, until);
        if ((chance >>> index) % 2 === 1) materialize(after, until);
        after = until;
        const truth = expected(view, source, events, { type: 'tick', tick: until, at: until });
        if (snapshot === null) expect(said(view, null, until)).toEqual(truth);
        else {
          const state: State = decodeState(compiled, snapshot);
          const record = encodeRecord(compiled, state, { tick: { tick: state.asOf, committedAt: until } });
          expect(said(view, readRecord(compiled, record, until), until), `tick ${until}`).toEqual(truth);
        }
      }
      const whole = sweepTicks(compiled, events, { after: start, until: end });
      expect([...rows]).toEqual(whole.rows.map(({ tick, stored }) => [tick, stored]));
    },
  },

  'a batch record, read at any later published tick until the next change': {
    mode: 'batch',
    holds({ view, source, events }) {
      const compiled = compileView(view, source);
      const { cadenceMs, settleMs } = ticksOf(view);
      const until = Math.max(0, ...events.map((event) => entryTick(event, cadenceMs, settleMs)));
      const { state } = sweepTicks(compiled, events, { after: Number.MIN_SAFE_INTEGER, until });
      if (isBlank(state)) return;
      const record = encodeRecord(compiled, state, { tick: { tick: state.asOf, committedAt: until } });
      expect(said(view, readRecord(compiled, record, until), until)).toEqual(
        expected(view, source, events, { type: 'tick', tick: until, at: until }),
      );
      expect(recordSteps(compiled, record)).toEqual([]);
    },
  },

  'a baseline: what begins from it is what all of the events give': {
    mode: 'any',
    holds({ view, source, events, moments, chance }) {
      const compiled = compileView(view, source);
      if (source.retracts !== undefined) return;
      const times = events.map(({ timestamp }) => timestamp);
      const cutMs = (times[chance % Math.max(1, times.length)] ?? 0) + (chance % 3);
      const baseline = baselineOf(compiled, events, cutMs);
      if (baseline === null) return;
      const rest = events.filter(({ timestamp }) => timestamp >= cutMs);
      const whole = encodeState(compiled, rebuild(compiled, events));
      const open = (): State => openBaseline(compiled, baseline, rest);
      expect(encodeState(compiled, rebuild(compiled, rest, [], open()))).toEqual(whole);
      const arrived = foldAll(compiled, rest, open());
      if (!arrived.needsRebuild) expect(encodeState(compiled, arrived)).toEqual(whole);

      const { cadenceMs, settleMs } = ticksOf(view);
      const since = ceilTo(knownBy(compiled, baseline), cadenceMs);
      const labels = [...moments.map((at) => since + Math.abs(at)), ...times].filter((at) => at >= since);
      const published = Array.from({ length: 20 }, (_, index) => {
        const tick = since + index * cadenceMs;
        return { tick, publishedAt: tick + settleMs };
      });
      for (const mode of ['known-then', 'event-time'] as const) {
        const options = { mode, strict: false, published };
        const readings = sweepLabels(compiled, rest, labels, { ...options, baseline });
        labels.forEach((at, index) => {
          const truth = expected(view, source, events, { type: 'training', at, ...options });
          if (view.mode.type === 'batch' && mode === 'known-then' && at < since + settleMs) return; // no tick by then
          expect(said(view, readings[index]!, at), `${mode} at ${at}`).toEqual(truth);
        });
      }

      const until = since + 3 * cadenceMs;
      const all = sweepTicks(compiled, events, { after: since - 1, until });
      const from = sweepTicks(compiled, rest, { after: since, until, baseline });
      expect(from.rows).toEqual(all.rows.filter(({ tick }) => tick > since));
    },
  },
};
