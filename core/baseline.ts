/**
 * A baseline: an entity's state of everything that happened before a cut, written before those events are dropped. From then on it stands
 * for them: a state made anew, and both sweeps, start from it and take in what happened from the cut on. Whole states forget nothing that
 * could matter later, so what comes out is what all of the events would give, to the byte (test/core/baseline.test.ts).
 *
 * What reaches behind the cut is refused by name, never guessed: an event from before it, a label or a tick before it, and a label *as
 * known then* of a time when not everything in the baseline had arrived. A source with retractions has no baselines: one could not be
 * told which of the events inside a retraction means.
 */
import type { CompiledView } from './compile.js';
import { FeatureStoreError } from './error.js';
import type { Event } from './event.js';
import { decodeState, encodeState, isBlank, rebuild, type State } from './state.js';
import { formatTimestamp } from './time.js';

export interface Baseline {
  /** What happened before it is inside. */
  cutMs: number;
  /** A snapshot (state.ts). */
  snapshot: Uint8Array;
}

/**
 * Of all events of an entity, in any order. Null: none lies before the cut.
 * Throws FS_BEHIND_BASELINE for a view whose source has retractions.
 */
export function baselineOf(compiled: CompiledView, events: readonly Event[], cutMs: number): Baseline | null {
  const { name, retracts } = compiled.source;
  if (retracts !== undefined)
    throw new FeatureStoreError(
      'FS_BEHIND_BASELINE',
      `source "${name}" has retractions (${retracts}): what they unsay cannot be found in a baseline`,
      { fix: 'keep the source for ever, or cut it where nothing is retracted', source: name },
    );
  const state = rebuild(compiled, events.filter(({ timestamp }) => timestamp < cutMs)); // biome-ignore format: short
  return isBlank(state) ? null : { cutMs, snapshot: encodeState(compiled, state) };
}

/** The state that stands for what was dropped. Throws FS_BEHIND_BASELINE where one of the events to come lies before the cut. */
export function openBaseline(
  compiled: CompiledView,
  { cutMs, snapshot }: Baseline,
  events: readonly Event[],
): State {
  const behind = events.find(({ timestamp }) => timestamp < cutMs);
  if (behind)
    throw behindBaseline(
      compiled,
      `an event of ${formatTimestamp(behind.timestamp)}`,
      cutMs,
      'set it aside; what happened before the cut can no longer change',
    );
  return decodeState(compiled, snapshot);
}

/** When everything inside was known: a label before it, *as known then*, cannot be told. */
export function knownBy(compiled: CompiledView, { cutMs, snapshot }: Baseline): number {
  return Math.max(cutMs, decodeState(compiled, snapshot).createdTimestamp);
}

export function behindBaseline(
  compiled: CompiledView,
  what: string,
  since: number,
  fix: string,
): FeatureStoreError {
  return new FeatureStoreError(
    'FS_BEHIND_BASELINE',
    `${what} lies behind the baseline of view "${compiled.view.name}", which speaks from ${formatTimestamp(since)} on`,
    { fix, view: compiled.view.name },
  );
}
