/**
 * Number of different non-null values: exact while there are at most `exactTo`, estimated beyond. It keeps the values themselves
 * (distinct.ts), and a sketch (sketch.ts) only while there are more of them than that: as long as all values are known, with the
 * time each leaves, they make the sketch. So whether there is one, as all else, depends on the events in the window alone.
 */
import type { ByteReader, ByteWriter } from '../codec/bytes.js';
import type { Codec, Scalar } from '../codec/scalar.js';
import type { ScalarType } from '../definition.js';
import type { Event, Value } from '../event.js';
import type { DistinctState } from './distinct.js';
import { distinctPart } from './distinct.js';
import { leavesCodec } from './newest.js';
import type { Part } from './part.js';
import type { SketchState, Within } from './sketch.js';
import { sketch } from './sketch.js';

export function estimatedPart(
  exactTo: number,
  type: ScalarType,
  input: (event: Event) => Value,
): Part<EstimatedState<DistinctState>, number, number> {
  const values = distinctPart(exactTo + 1, type, input);
  const estimated = estimatedOf(exactTo, input, values, {
    of: (_, leaves) => leaves,
    codec: leavesCodec,
  });
  return {
    ...estimated,
    leave: (state, until) => estimated.forget(state, until, until),
    nextLeave: (state) =>
      state.sketch === null
        ? values.nextLeave(state.values)
        : Math.min(values.nextLeave(state.values), sketch.nextLeave(state.sketch)),
    value: (state) => estimated.count(state, state.values.times.size),
    steps: (state) => estimated.counts(state, state.values.times.size, values.steps(state.values)),
    apply: (_, next) => next,
    encodeValue: (writer, value) => writer.varint(value),
    decodeValue: (reader) => reader.varint(),
    encodeChange: (writer, next) => writer.varint(next),
    decodeChange: (reader) => reader.varint(),
  };
}

export interface EstimatedState<Values> {
  /** Of at most `exactTo + 1` values: so many stand for more. */
  values: Values;
  /** null: `values` are all there are. */
  sketch: SketchState | null;
}

/**
 * What is kept, whatever the windows.
 * @param time of an event in the values and the sketch
 */
export function estimatedOf<Values extends DistinctState>(
  exactTo: number,
  input: (event: Event) => Value,
  values: Pick<Part<Values, unknown, unknown>, 'create' | 'add' | 'leave' | 'encodeState' | 'decodeState'>,
  time: { of(event: Event, leaves: number): number; codec: Codec<number> },
) {
  type State = EstimatedState<Values>;
  const most = exactTo + 1;

  /** Of one window, which has `known` of the values. */
  function count(state: State, known: number, within?: Within): number {
    return known < most ? known : Math.max(most, sketch.value(state.sketch!, within));
  }

  return {
    create: (): State => ({ values: values.create(), sketch: null }),
    add(state: State, event: Event, leaves: number): void {
      const value = input(event) as Scalar | null;
      if (value === null) return;
      values.add(state.values, event, leaves);
      const { times } = state.values;
      if (state.sketch !== null) sketch.add(state.sketch, value, time.of(event, leaves));
      else if (times.size >= most) {
        state.sketch = sketch.create();
        for (const [known, last] of times) sketch.add(state.sketch, known, last);
      }
    },
    /** @param left the same as a time of the values */
    forget(state: State, until: number, left: number): void {
      values.leave(state.values, until);
      if (state.values.times.size < most) state.sketch = null;
      else sketch.leave(state.sketch!, left);
    },
    count,
    /**
     * The next count at each step of that window: estimates until the values that are kept are all that is left, then their number.
     * @param lefts how many of them leave, and when
     */
    counts(
      state: State,
      known: number,
      lefts: ReadonlyArray<{ at: number; change: number }>,
      within?: Within,
    ): Array<{ at: number; change: number }> {
      const steps: Array<{ at: number; change: number }> = [];
      if (known === most) {
        let present = count(state, known, within);
        for (const { at, change } of sketch.steps(state.sketch!, within)) {
          if (lefts.length > 0 && at >= lefts[0]!.at) break;
          const next = Math.max(most, change);
          if (next !== present) steps.push({ at, change: next });
          present = next;
        }
      }
      let left = known;
      for (const { at, change } of lefts) {
        left -= change;
        steps.push({ at, change: left });
      }
      return steps;
    },
    /** the values | where they are one more than may be: the sketch */
    encodeState(writer: ByteWriter, state: State): void {
      values.encodeState(writer, state.values);
      if (state.sketch !== null) sketch.encodeState(writer, state.sketch, time.codec);
    },
    decodeState(reader: ByteReader): State {
      const known = values.decodeState(reader);
      return {
        values: known,
        sketch: known.times.size < most ? null : sketch.decodeState(reader, time.codec),
      };
    },
  };
}
