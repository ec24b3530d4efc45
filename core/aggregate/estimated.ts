/**
 * Number of different non-null values: exact while there are at most `exactTo`, estimated beyond. It keeps the values themselves
 * (distinct.ts), and a sketch (sketch.ts) only while there are more of them than that: as long as all values are known, with the
 * time each leaves, they make the sketch. So whether there is one, as all else, depends on the events in the window alone.
 */
import type { Scalar } from '../codec/scalar.js';
import type { ScalarType } from '../definition.js';
import type { Event, Value } from '../event.js';
import type { DistinctState } from './distinct.js';
import { distinctPart } from './distinct.js';
import type { Part, Step } from './part.js';
import type { SketchState } from './sketch.js';
import { sketch } from './sketch.js';

interface EstimatedState {
  /** Of at most `exactTo + 1` values: so many stand for more. */
  values: DistinctState;
  /** null: `values` are all there are. */
  sketch: SketchState | null;
}

export function estimatedPart(
  exactTo: number,
  type: ScalarType,
  input: (event: Event) => Value,
): Part<EstimatedState, number, number> {
  const most = exactTo + 1;
  const values = distinctPart(most, type, input);
  return {
    create: () => ({ values: values.create(), sketch: null }),
    add(state, event, leaves) {
      const value = input(event) as Scalar | null;
      if (value === null) return;
      values.add(state.values, event, leaves);
      if (state.sketch !== null) sketch.add(state.sketch, value, leaves);
      else if (state.values.leaves.size >= most) {
        state.sketch = sketch.create();
        for (const [known, last] of state.values.leaves) sketch.add(state.sketch, known, last);
      }
    },
    leave(state, until) {
      values.leave(state.values, until);
      if (state.values.leaves.size < most) state.sketch = null;
      else sketch.leave(state.sketch!, until);
    },
    nextLeave: (state) =>
      state.sketch === null
        ? values.nextLeave(state.values)
        : Math.min(values.nextLeave(state.values), sketch.nextLeave(state.sketch)),
    value: (state) => (state.sketch === null ? state.values.leaves.size : atLeast(state.sketch)),
    /** A change is the next value: estimates until the values that are kept are all that is left, then their number. */
    steps(state) {
      const exact = values.steps(state.values);
      const steps: Step<number>[] = [];
      if (state.sketch !== null) {
        let present = atLeast(state.sketch);
        for (const { at, change } of sketch.steps(state.sketch)) {
          if (exact.length > 0 && at >= exact[0]!.at) break;
          const next = Math.max(most, change);
          if (next !== present) steps.push({ at, change: next });
          present = next;
        }
      }
      let left = state.values.leaves.size;
      for (const { at, change } of exact) {
        left -= change;
        steps.push({ at, change: left });
      }
      return steps;
    },
    apply: (_, next) => next,
    /** the values | where they are one more than may be: the sketch */
    encodeState(writer, state) {
      values.encodeState(writer, state.values);
      if (state.sketch !== null) sketch.encodeState(writer, state.sketch);
    },
    decodeState(reader) {
      const known = values.decodeState(reader);
      return { values: known, sketch: known.leaves.size < most ? null : sketch.decodeState(reader) };
    },
    encodeValue: (writer, value) => writer.varint(value),
    decodeValue: (reader) => reader.varint(),
    encodeChange: (writer, next) => writer.varint(next),
    decodeChange: (reader) => reader.varint(),
  };

  function atLeast(state: SketchState): number {
    return Math.max(most, sketch.value(state));
  }
}
