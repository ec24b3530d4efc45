/**
 * A part: what an aggregation keeps of one entity's events in one window. Features are read from parts (compile.ts), and
 * features that need the same part share it.
 *
 * Laws, held by test/core/aggregate/laws.test.ts for every part:
 *   folding the same events in any order, as far as they are taken in, gives the same encoded state;
 *   value and steps at an instant = value after leaving up to it: apply(value(s), changes up to t) = value(leave(s, t));
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

/** Steps one after the other, none made before it is asked for. Past the last one, `at` is NEVER. */
export interface Cursor<Change> extends Required<Step<Change>> {
  next(): void;
  /** The present step's change, as `encodeChange` writes it. */
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
  /** The same, where making them all would be waste; one at a time. */
  cursor?(state: State): Cursor<Change>;
  apply(value: Value, change: Change, lane: number): Value;
  encodeState(writer: ByteWriter, state: State): void;
  decodeState(reader: ByteReader): State;
  encodeValue(writer: ByteWriter, value: Value): void;
  decodeValue(reader: ByteReader): Value;
  encodeChange(writer: ByteWriter, change: Change): void;
  decodeChange(reader: ByteReader): Change;
}

export type AnyPart = Part<unknown, unknown, unknown>;

/** The steps of a part from where its state stands. */
export function cursorOf(part: AnyPart, state: unknown): Cursor<unknown> {
  return part.cursor ? part.cursor(state) : new StepsCursor(part, part.steps(state));
}

export function stepsOf<Change>(cursor: Cursor<Change>): Step<Change>[] {
  const steps: Step<Change>[] = [];
  for (; cursor.at < NEVER; cursor.next())
    steps.push({ at: cursor.at, lane: cursor.lane, change: cursor.change });
  return steps;
}

class StepsCursor implements Cursor<unknown> {
  readonly #part: AnyPart;
  readonly #steps: readonly Step<unknown>[];
  #index = -1;
  at = NEVER;
  lane = 0;
  change: unknown;

  constructor(part: AnyPart, steps: readonly Step<unknown>[]) {
    this.#part = part;
    this.#steps = steps;
    this.next();
  }

  next(): void {
    const step = this.#steps[++this.#index];
    this.at = step === undefined ? NEVER : step.at;
    this.lane = step?.lane ?? 0;
    this.change = step?.change;
  }

  write(writer: ByteWriter): void {
    this.#part.encodeChange(writer, this.change);
  }
}
