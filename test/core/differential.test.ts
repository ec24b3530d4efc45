/** Every path against the oracle, on generated definitions and event streams: values, statuses, timestamps to the byte. */
import fc from 'fast-check';
import { expect, test } from 'vitest';
import type { CompiledView } from '../../core/compile.js';
import { compileView, isMoving } from '../../core/compile.js';
import type { AggregationView, Source } from '../../core/definition.js';
import type { Event } from '../../core/event.js';
import { compareEvents } from '../../core/event.js';
import { decodeHeader, encodeRecord, MIN_STEPS, readRecord, recordSteps } from '../../core/record.js';
import type { Reading, State } from '../../core/state.js';
import {
  advance,
  createState,
  decodeState,
  encodeState,
  fold,
  isBlank,
  readState,
  rebuild,
} from '../../core/state.js';
import { entryTick, sweepLabels, sweepTicks, ticksOf } from '../../core/sweep.js';
import { ceilTo, floorTo, HOUR } from '../../core/time.js';
import { judge } from '../../core/vector.js';
import type { Question } from '../../oracle/oracle.js';
import { answer } from '../../oracle/oracle.js';
import { events, history, moments, source, view } from './generate.js';

const RUNS = Number(process.env.ALMANAC_TEST_RUNS ?? 400);

/** What the engine says, in the oracle's words. */
function said(view: AggregationView, reading: Reading | null, at: number) {
  const { values, statuses, eventTimestamp } = judge(view, reading, at);
  const name = (index: number) => view.features[index]!.name;
  return {
    eventTimestamp,
    values: Object.fromEntries(values.map((value, index) => [name(index), value])),
    statuses: Object.fromEntries(statuses.map((status, index) => [name(index), status])),
  };
}

function expected(view: AggregationView, source: Source, all: readonly Event[], question: Question) {
  const { eventTimestamp, values, statuses } = answer(view, source, all, question);
  return { eventTimestamp, values, statuses };
}

function foldAll(
  compiled: CompiledView,
  list: readonly Event[],
  state: State = createState(compiled),
): State {
  for (const event of list) fold(compiled, state, event);
  return state;
}

/** Folds as far as it goes, else makes the state anew of all it is to hold. */
function foldOrRebuild(
  compiled: CompiledView,
  list: readonly Event[],
  { state, held }: { state: State; held: readonly Event[] } = { state: createState(compiled), held: [] },
): State {
  const folded = foldAll(compiled, list, state);
  return folded.needsRebuild ? rebuild(compiled, [...held, ...list]) : folded;
}

const streaming = view.filter(({ mode }) => mode.type === 'streaming');

test('a record, whole or cut, at its as-of, at each step and around it', () => {
  fc.assert(
    fc.property(streaming, history, moments, fc.nat(), (view, { source, events: all }, later, cut) => {
      const compiled = compileView(view, source);
      const sequence = cut % ((all.at(-1)?.sequence ?? 0) + 1);
      const known = all.filter((event) => event.sequence <= sequence);
      const state = foldOrRebuild(compiled, known);
      if (isBlank(state)) {
        expect(expected(view, source, all, { type: 'record', sequence, at: 0 })).toEqual(said(view, null, 0));
        return;
      }
      const whole = encodeRecord(compiled, state);
      const short = encodeRecord(compiled, state, { maxBytes: 64 });
      const { asOf, refreshAt } = decodeHeader(short);
      const steps = recordSteps(compiled, whole);
      expect(recordSteps(compiled, short).length).toBeGreaterThanOrEqual(Math.min(MIN_STEPS, steps.length));
      const times = [
        asOf,
        ...later.map((at) => asOf + Math.abs(at)),
        ...steps.flatMap((at) => [at - 1, at, at + 1]),
      ];
      for (const at of times.filter((at) => at >= asOf)) {
        const truth = expected(view, source, all, { type: 'record', sequence, at });
        expect(said(view, readRecord(compiled, whole, at), at)).toEqual(truth);
        const reading = readRecord(compiled, short, at);
        const passed = reading?.horizonPassed ?? false;
        expect(passed).toBe(refreshAt !== null && at >= refreshAt);
        if (!passed) expect(said(view, reading, at)).toEqual(truth);
      }
    }),
    { numRuns: RUNS },
  );
});

test('the order of folding, a restart from a snapshot and a refresh leave no trace in the bytes', () => {
  fc.assert(
    fc.property(view, history, fc.nat(), fc.nat(), (view, { source, events: all }, seed, where) => {
      const compiled = compileView(view, source);
      const straight = rebuild(compiled, all);
      if (isBlank(straight)) return;
      const shuffled = [...all].sort(
        (a, b) => ((a.id.charCodeAt(3) * (seed % 97)) % 31) - ((b.id.charCodeAt(3) * (seed % 97)) % 31),
      );
      const half = where % (all.length + 1);
      const held = shuffled.slice(0, half);
      let state = foldOrRebuild(compiled, held);
      if (!isBlank(state)) {
        encodeRecord(compiled, state);
        state = decodeState(compiled, encodeState(compiled, state));
      }
      state = foldOrRebuild(compiled, shuffled.slice(half), { state, held });
      expect(encodeState(compiled, state)).toEqual(encodeState(compiled, straight));
      expect(encodeRecord(compiled, state)).toEqual(encodeRecord(compiled, straight));
      const later = straight.asOf + (seed % (2 * HOUR));
      advance(compiled, straight, later);
      advance(compiled, state, later);
      expect(encodeState(compiled, decodeState(compiled, encodeState(compiled, state)))).toEqual(
        encodeState(compiled, straight),
      );
    }),
    { numRuns: RUNS },
  );
});

test('in event order, without retractions, no state asks to be rebuilt', () => {
  fc.assert(
    fc.property(view, events, (view, all) => {
      const compiled = compileView(view, source);
      expect(foldAll(compiled, [...all].sort(compareEvents)).needsRebuild).toBe(false);
    }),
    { numRuns: RUNS },
  );
});

test('training labels in both modes, strict and not', () => {
  fc.assert(
    fc.property(
      view,
      history,
      moments,
      fc.boolean(),
      fc.nat(3),
      (view, { source, events: all }, extra, strict, delay) => {
        const compiled = compileView(view, source);
        const labels = [
          ...extra,
          ...all.flatMap((event) => [event.timestamp, event.arrivedAt, event.arrivedAt + 1]),
        ];
        const { cadenceMs, settleMs } = ticksOf(view);
        const first = floorTo(Math.min(...labels), cadenceMs);
        const published = Array.from({ length: 20 }, (_, index) => {
          const tick = first + (index + 1) * cadenceMs;
          return { tick, publishedAt: tick + settleMs + delay * (index % 3) * HOUR };
        });
        for (const mode of ['known-then', 'event-time'] as const) {
          const readings = sweepLabels(compiled, all, labels, { mode, strict, published });
          labels.forEach((at, index) => {
            const truth = expected(view, source, all, { type: 'training', at, mode, strict, published });
            expect(said(view, readings[index]!, strict ? at - 1 : at), `${mode} at ${at}`).toEqual(truth);
          });
        }
      },
    ),
    { numRuns: RUNS },
  );
});

test('tick rows: the last row at or before a tick is that tick, in one sweep or cut anywhere', () => {
  fc.assert(
    fc.property(view, history, fc.nat(12), (view, { source, events: all }, cut) => {
      const compiled = compileView(view, source);
      const { cadenceMs, settleMs } = ticksOf(view);
      const entries = all.map((event) => entryTick(event, cadenceMs, settleMs));
      const start = Math.min(0, ...entries) - cadenceMs;
      const until = Math.max(0, ...entries) + 3 * cadenceMs;
      const whole = sweepTicks(compiled, all, { after: start, until });
      const middle = start + Math.floor((until - start) / cadenceMs / (cut + 1)) * cadenceMs;
      const before = sweepTicks(compiled, all, { after: start, until: middle });
      const resumed = isBlank(before.state)
        ? createState(compiled)
        : decodeState(compiled, encodeState(compiled, before.state));
      const late = all.filter((event) => entryTick(event, cadenceMs, settleMs) > middle);
      const resume = sweepTicks(compiled, late, { after: middle, until, state: resumed });
      const after = resume.state.needsRebuild ? sweepTicks(compiled, all, { after: middle, until }) : resume;
      expect([...before.rows, ...after.rows]).toEqual(whole.rows);

      const ticks = [...entries, ...whole.rows.map(({ tick }) => tick), until, ceilTo(0, cadenceMs)];
      for (const tick of ticks.flatMap((tick) => [tick - cadenceMs, tick, tick + cadenceMs])) {
        if (tick <= start || tick > until) continue;
        const row = whole.rows.findLast((each) => each.tick <= tick);
        const truth = expected(view, source, all, { type: 'tick', tick, at: tick });
        // A row holds the state: a value that moves by itself is read at the tick asked for.
        const moving = view.features.some(({ aggregation }) => isMoving(aggregation));
        if (!moving || row?.tick === tick || !row)
          expect(said(view, row?.reading ?? null, tick)).toEqual(truth);
      }
      const last = readState(compiled, whole.state, until);
      expect(said(view, last, until)).toEqual(
        expected(view, source, all, { type: 'tick', tick: until, at: until }),
      );
    }),
    { numRuns: RUNS },
  );
});

test('a batch record, read at any later published tick until the next change', () => {
  fc.assert(
    fc.property(
      view.filter(({ mode }) => mode.type === 'batch'),
      history,
      (view, { source, events: all }) => {
        const compiled = compileView(view, source);
        const { cadenceMs, settleMs } = ticksOf(view);
        const until = Math.max(0, ...all.map((event) => entryTick(event, cadenceMs, settleMs)));
        const { state } = sweepTicks(compiled, all, { after: Number.MIN_SAFE_INTEGER, until });
        if (isBlank(state)) return;
        const record = encodeRecord(compiled, state, { tick: { tick: state.asOf, committedAt: until } });
        expect(said(view, readRecord(compiled, record, until), until)).toEqual(
          expected(view, source, all, { type: 'tick', tick: until, at: until }),
        );
        expect(recordSteps(compiled, record)).toEqual([]);
      },
    ),
    { numRuns: RUNS },
  );
});
