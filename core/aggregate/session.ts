/**
 * Any part over the current session: the events of the view, each within `gapMs` of the one before, up to the newest. It is
 * current while last <= t < last + gapMs; an event at last + gapMs still joins. All events of the view make the session, those that
 * pass the feature's filter count in it.
 *
 * An ended session is forgotten, and so is every one before the current. A late event that would join a forgotten one to the
 * current, or bring the last one back, cannot be taken in: what these held is not known any more. All else can, in any order.
 */
import type { Event } from '../event.js';
import type { Part } from './part.js';
import { NEVER } from './part.js';

interface SessionState<State> {
  /** Timestamp of the newest event; null: none yet. */
  last: number | null;
  /** null: ended. */
  current: Current<State> | null;
}

interface Current<State> {
  first: number;
  /** Timestamp of the newest event before it, more than the gap before `first`; null: none. */
  before: number | null;
  state: State;
}

/** @param accepts the feature's filter */
export function sessionPart<State, Value, Change>(
  part: Part<State, Value, Change>,
  gapMs: number,
  accepts: (event: Event) => boolean,
): Part<SessionState<State>, Value, null> {
  return {
    create: () => ({ last: null, current: null }),
    takesIn({ last, current }, { timestamp }, asOf) {
      if (last === null) return true;
      // Joined to what has ended: only if that has ended with this event, too.
      if (current === null) return timestamp <= last || timestamp - last > gapMs || timestamp + gapMs <= asOf;
      const { first, before } = current;
      return timestamp >= first || first - timestamp > gapMs || before === null || timestamp - before > gapMs;
    },
    add(state, event) {
      const { timestamp } = event;
      const { last, current } = state;
      if (last === null || timestamp > last) state.last = timestamp;
      if (last === null || timestamp - last > gapMs)
        state.current = { first: timestamp, before: last, state: part.create() };
      else if (current === null) return;
      else if (current.first - timestamp > gapMs) {
        if (current.before === null || current.before < timestamp) current.before = timestamp;
        return;
      } else if (timestamp < current.first) current.first = timestamp;
      if (accepts(event)) part.add(state.current!.state, event, NEVER);
    },
    leave(state, until) {
      if (state.current === null) return;
      if (state.last! + gapMs <= until) state.current = null;
      else part.leave(state.current.state, until);
    },
    nextLeave: ({ last, current }) => (current === null ? NEVER : last! + gapMs),
    value: ({ current }) => part.value(current === null ? part.create() : current.state),
    /** The whole session leaves at once. */
    steps: ({ last, current }) => (current === null ? [] : [{ at: last! + gapMs, change: null }]),
    apply: () => part.value(part.create()),
    encodeState(writer, { last, current }) {
      writer.u8((last === null ? 0 : 1) | (current === null ? 0 : 2) | (current?.before == null ? 0 : 4));
      if (last === null) return;
      writer.signed(last);
      if (current === null) return;
      writer.varint(last - current.first);
      if (current.before !== null) writer.varint(current.first - current.before);
      part.encodeState(writer, current.state);
    },
    decodeState(reader) {
      const flags = reader.u8();
      if (flags === 0) return { last: null, current: null };
      const last = reader.signed();
      if ((flags & 2) === 0) return { last, current: null };
      const first = last - reader.varint();
      const before = flags & 4 ? first - reader.varint() : null;
      return { last, current: { first, before, state: part.decodeState(reader) } };
    },
    encodeValue: (writer, value) => part.encodeValue(writer, value),
    decodeValue: (reader) => part.decodeValue(reader),
    encodeChange: () => {},
    decodeChange: () => null,
  };
}
