/**
 * Properties over generated cases, held against the oracle. A case that fails is printed as JSON: put into `kept/`, named by what it
 * shows, it is run by every path from then on (kept.test.ts), also when the generators have become others.
 */
import fc from 'fast-check';
import { writeJson } from '../../core/codec/json.js';
import type { CompiledView } from '../../core/compile.js';
import type { AggregationView, Source } from '../../core/definition.js';
import type { Event } from '../../core/event.js';
import { createState, fold, type Reading, rebuild, type State } from '../../core/state.js';
import { judge } from '../../core/vector.js';
import type { Question } from '../../oracle/oracle.js';
import { answer } from '../../oracle/oracle.js';

const { ALMANAC_TEST_RUNS, ALMANAC_TEST_SEED } = process.env;
/** How often each property is tried. */
export const RUNS = Number(ALMANAC_TEST_RUNS ?? 1000);
export const SEED = Number(ALMANAC_TEST_SEED ?? Math.floor(Math.random() * 2 ** 31));
if (ALMANAC_TEST_RUNS) process.stdout.write(`${RUNS} runs of each property: ALMANAC_TEST_SEED=${SEED}\n`);

export function always<T>(cases: fc.Arbitrary<T>, holds: (given: T) => void): void {
  fc.assert(fc.property(cases, holds), {
    numRuns: RUNS,
    seed: SEED,
    reporter(run) {
      if (!run.failed) return;
      const kept =
        run.counterexample && `\n\nto keep it, in test/core/kept:\n${writeJson(run.counterexample[0])}\n`;
      throw new Error(`${fc.defaultReportMessage(run)}${kept ?? ''}`, { cause: run.errorInstance });
    },
  });
}

/** What the engine says, in the oracle's words. */
export function said(view: AggregationView, reading: Reading | null, at: number) {
  const { values, statuses, eventTimestamp } = judge(view, reading, at);
  const name = (index: number): string => view.features[index]!.name;
  return {
    eventTimestamp,
    values: Object.fromEntries(values.map((value, index) => [name(index), value])),
    statuses: Object.fromEntries(statuses.map((status, index) => [name(index), status])),
  };
}

/** What the oracle says. */
export function expected(view: AggregationView, source: Source, all: readonly Event[], question: Question) {
  const { eventTimestamp, values, statuses } = answer(view, source, all, question);
  return { eventTimestamp, values, statuses };
}

export function foldAll(
  compiled: CompiledView,
  list: readonly Event[],
  state: State = createState(compiled),
): State {
  for (const event of list) fold(compiled, state, event);
  return state;
}

/** Folds as far as it goes, else makes the state anew of all it is to hold. */
export function foldOrRebuild(
  compiled: CompiledView,
  list: readonly Event[],
  { state, held }: { state: State; held: readonly Event[] } = { state: createState(compiled), held: [] },
): State {
  const folded = foldAll(compiled, list, state);
  return folded.needsRebuild ? rebuild(compiled, [...held, ...list]) : folded;
}
