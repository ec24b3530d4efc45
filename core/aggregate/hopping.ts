/**
 * Any part in a hopping window: its events enter, too, on a hop boundary. What has not entered yet enters at one instant only,
 * the first boundary after the as-of, since no event is later than the as-of. So the state is the part's state twice: as it
 * stands, and, while something waits, as it will stand from that boundary on. An event that comes after its boundary enters at once.
 *
 * A waiting event costs nothing by itself: the state is at most twice the part's. Keeping the events instead would grow with
 * their number within a hop; merging at the boundary would ask every part for a merge.
 */
import { ByteReader, ByteWriter } from '../codec/bytes.js';
import { ceilTo } from '../time.js';
import type { Part, Step } from './part.js';

interface HoppingState<State> {
  present: State;
  coming: { at: number; state: State } | null;
}

/** What the record carries for the one boundary at which something enters is the whole value from there on. */
type HoppingChange<Value, Change> = { entered: Value } | { left: Change };

export function hoppingPart<State, Value, Change>(
  part: Part<State, Value, Change>,
  hopMs: number,
): Part<HoppingState<State>, Value, HoppingChange<Value, Change>> {
  function copy(state: State): State {
    const writer = new ByteWriter();
    part.encodeState(writer, state);
    return part.decodeState(new ByteReader(writer.finish()));
  }

  /** Lets in what waits for a boundary at or before `until`. */
  function enter(state: HoppingState<State>, until: number): void {
    if (state.coming === null || state.coming.at > until) return;
    state.present = state.coming.state;
    state.coming = null;
  }

  return {
    create: () => ({ present: part.create(), coming: null }),
    add(state, event, leaves) {
      const enters = ceilTo(event.timestamp, hopMs);
      enter(state, event.timestamp);
      if (state.coming === null && enters > event.timestamp)
        state.coming = { at: enters, state: copy(state.present) };
      if (state.coming === null || enters < state.coming.at) part.add(state.present, event, leaves);
      if (state.coming !== null) part.add(state.coming.state, event, leaves);
    },
    leave(state, until) {
      enter(state, until);
      part.leave(state.present, until);
      if (state.coming !== null) part.leave(state.coming.state, state.coming.at);
    },
    nextLeave: (state) => state.coming?.at ?? part.nextLeave(state.present),
    value: (state) => part.value(state.present),
    /** Nothing leaves before the boundary at which something enters: both lie on the hop. */
    steps(state) {
      const steps: Step<HoppingChange<Value, Change>>[] = part
        .steps(state.coming?.state ?? state.present)
        .map(({ at, change }) => ({ at, change: { left: change } }));
      if (state.coming !== null)
        steps.unshift({ at: state.coming.at, change: { entered: part.value(state.coming.state) } });
      return steps;
    },
    apply: (value, change, lane) =>
      'entered' in change ? change.entered : part.apply(value, change.left, lane),
    encodeState(writer, { present, coming }) {
      part.encodeState(writer, present);
      writer.u8(coming === null ? 0 : 1);
      if (coming === null) return;
      writer.signed(coming.at);
      part.encodeState(writer, coming.state);
    },
    decodeState: (reader) => ({
      present: part.decodeState(reader),
      coming: reader.u8() === 0 ? null : { at: reader.signed(), state: part.decodeState(reader) },
    }),
    encodeValue: (writer, value) => part.encodeValue(writer, value),
    decodeValue: (reader) => part.decodeValue(reader),
    encodeChange(writer, change) {
      writer.u8('entered' in change ? 1 : 0);
      if ('entered' in change) part.encodeValue(writer, change.entered);
      else part.encodeChange(writer, change.left);
    },
    decodeChange: (reader) =>
      reader.u8() === 1 ? { entered: part.decodeValue(reader) } : { left: part.decodeChange(reader) },
  };
}
