/**
 * A part: what an aggregation keeps of one entity's events in one window. Features are read from parts (compile.ts), and
 * features that need the same part share it.
 *
 * Laws, held by test/core/aggregate/laws.test.ts for every part:
 *   folding the same events in any order, as far as they are taken in, gives the same encoded state;
 *   value and steps at an instant = value after leaving up to it: apply(value(s), changes up to t) = value(leave(s, t)), whether
 *   they are applied in order of time, or lane by lane, as a record has them;
 *   decode(encode(s)) encodes to the same bytes, and, after `leave`, behaves as s.
 * They are why stream, backfill, batch and training agree.
 */
import type { ByteReader, ByteWriter } from '../codec/bytes.js';
import type { Event } from '../event.js';

/** When an event leaves a lifetime window. */
export const NEVER = Number.POSITIVE_INFINITY;

/** A change of value that is certain to come unless a new event does. */
export interface Step<Change> {
  at: number;
  /** Which of the part's windows changes; without it, the one it has. */
  lane?: number;
  change: Change;
}

/** What is to come of a lane, one after the other, times ascending, none made before it is asked for. */
export interface Cursor {
  /** When the present one comes, in the lane's units; NEVER: there is none. */
  time: number;
  /** Writes its change, as `encodeChange` does, and goes on to the next. */
  write(writer: ByteWriter): void;
}

/** States are mutable and owned by one caller. Values and changes are not mutated by who is given them; they hold until their state changes. */
export interface Part<State, Value, Change> {
  create(): State;
  /**
   * Whether the state can take the event in exactly; without it, always. When not, the entity is rebuilt from all of its events:
   * in event order every part takes in every event. `asOf` is never before the event.
   */
  takesIn?(state: State, event: Event, asOf: number): boolean;
  /** Takes in an event that passed the filter and leaves at `leaves` (NEVER: lifetime), in any order. */
  add(state: State, event: Event, leaves: number): void;
  /** Forgets what leaves at or before `until`. */
  leave(state: State, until: number): void;
  /** When the value next changes by itself; NEVER if it does not. Asked after `leave`. */
  nextLeave(state: State): number;
  /** What a record carries: enough to read every feature of this part. Asked after `leave`. */
  value(state: State): Value;
  /** How many windows it tells apart; without it, one. */
  lanes?: number;
  /** The coming changes, times ascending, of one time each lane at most once. Asked after `leave`. */
  steps(state: State): Step<Change>[];
  /**
   * What a record carries, lane by lane; without it, the steps. Of windows that nest it is each change once, in the lane where it comes
   * first: `onward` says when the others follow. They are gone with the next call.
   */
  cursors?(state: State): readonly Cursor[];
  /** When the change that comes to a lane at `at` comes to the next one; NEVER: there is none. Only beside `cursors`. */
  onward?(at: number, lane: number): number;
  apply(value: Value, change: Change, lane: number): Value;
  encodeState(writer: ByteWriter, state: State): void;
  decodeState(reader: ByteReader): State;
  encodeValue(writer: ByteWriter, value: Value): void;
  decodeValue(reader: ByteReader): Value;
  encodeChange(writer: ByteWriter, change: Change): void;
  decodeChange(reader: ByteReader): Change;
}

export type AnyPart = Part<unknown, unknown, unknown>;

/**
 * What is to come of each of a part's lanes, from where its state stands.
 * @param units ms, one per lane: what comes to it comes at multiples of this
 */
export function cursorsOf(part: AnyPart, state: unknown, units: readonly number[]): readonly Cursor[] {
  if (part.cursors) return part.cursors(state);
  const steps = part.steps(state);
  if (units.length === 1) return [new StepsCursor(part, steps, units[0]!)];
  return units.map((unitMs, own) => {
    const ofLane = steps.filter(({ lane }) => lane === own);
    return new StepsCursor(part, ofLane, unitMs);
  });
}

class StepsCursor implements Cursor {
  readonly #part: AnyPart;
  readonly #steps: readonly Step<unknown>[];
  readonly #unitMs: number;
  #index = 0;
  time: number;

  constructor(part: AnyPart, steps: readonly Step<unknown>[], unitMs: number) {
    this.#part = part;
    this.#steps = steps;
    this.#unitMs = unitMs;
    this.time = steps.length === 0 ? NEVER : steps[0]!.at / unitMs;
  }

  write(writer: ByteWriter): void {
    this.#part.encodeChange(writer, this.#steps[this.#index]!.change);
    this.#index += 1;
    this.time = this.#index === this.#steps.length ? NEVER : this.#steps[this.#index]!.at / this.#unitMs;
  }
}
