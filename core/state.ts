/**
 * The state of one entity in one view: events fold in (in any order), time moves forward, and at any moment from its as-of
 * on it can be read, written whole (a snapshot) or turned into a record for serving (record.ts). The one engine of stream,
 * backfill, batch and training.
 */
import { assert } from './assert.js';
import { ByteReader, ByteWriter } from './codec/bytes.js';
import type { CompiledView } from './compile.js';
import { FeatureStoreError } from './error.js';
import type { Event, FeatureValue } from './event.js';
import { compareEvents } from './event.js';
import type { SessionState } from './sessions.js';

export interface State {
  /** The instant from which it speaks: the greatest timestamp folded, of retractions and what they unsay too, or a later advance. */
  asOf: number;
  /** The greatest sequence folded. */
  sequence: number;
  /** Of the newest event. What was retracted is no event, here and below; without any, -Infinity (of the first: Infinity). */
  eventTimestamp: number;
  firstEventTimestamp: number;
  /** When the last of its events became known. */
  createdTimestamp: number;
  eventCount: number;
  /** Ids of all events that were retracted, whether or not they have come: an id may come again (docs/decisions/0013). */
  retracted: Set<string>;
  /**
   * An event came that a part could not take in, or a retraction of one that may be inside. From then on it keeps to its header only
   * (so it knows its sequence) and cannot be read or written; `rebuild` makes the state from all of the entity's events up to that
   * sequence.
   */
  needsRebuild: boolean;
  /** Of a view over sessions: the open one. */
  sessions: SessionState | null;
  /** One per slot of the view. */
  parts: unknown[];
}

/** What a state or record says at a moment. */
export interface Reading {
  asOf: number;
  sequence: number;
  eventTimestamp: number;
  firstEventTimestamp: number;
  eventCount: number;
  /** The moment lies past the last step a cut record carries: values may be old. */
  horizonPassed: boolean;
  /** In the view's feature order. */
  values: FeatureValue[];
}

// Of all states whose source knows no retractions: nothing is ever put into it.
const NO_IDS = new Set<string>();

/** A state into which nothing was folded. */
export function createState(compiled: CompiledView): State {
  return {
    asOf: Number.NEGATIVE_INFINITY,
    sequence: 0,
    eventTimestamp: Number.NEGATIVE_INFINITY,
    firstEventTimestamp: Number.POSITIVE_INFINITY,
    createdTimestamp: Number.NEGATIVE_INFINITY,
    eventCount: 0,
    retracted: compiled.source.retracts === undefined ? NO_IDS : new Set(),
    needsRebuild: false,
    sessions: compiled.sessions?.create() ?? null,
    parts: compiled.slots.map(({ part }) => part.create()),
  };
}

/** Whether nothing was folded in: then there is no record or snapshot. What held events and lost all of them has both. */
export function isBlank(state: State): boolean {
  return state.asOf === Number.NEGATIVE_INFINITY;
}

// Tiles are dropped when the state is read; a long fold without reads drops them now and then.
const EVENTS_BETWEEN_DROPS = 1024;

/**
 * Folds an event in; one that does not belong to the view changes nothing, one that is or was retracted nothing but as-of and sequence.
 * Ask `needsRebuild` before reading or writing.
 */
export function fold(compiled: CompiledView, state: State, event: Event): void {
  if (!compiled.accepts(event)) return;
  state.asOf = Math.max(state.asOf, event.timestamp);
  state.sequence = Math.max(state.sequence, event.sequence);
  const retracted = compiled.retracts(event);
  if (retracted !== null) {
    // Where no event is left, each that came is in `retracted`: none of them is meant.
    if (state.eventCount > 0 && !state.retracted.has(retracted)) state.needsRebuild = true;
    state.retracted.add(retracted);
    return;
  }
  if (state.retracted.size > 0 && state.retracted.has(event.id)) return;
  state.eventTimestamp = Math.max(state.eventTimestamp, event.timestamp);
  state.firstEventTimestamp = Math.min(state.firstEventTimestamp, event.timestamp);
  state.createdTimestamp = Math.max(state.createdTimestamp, event.arrivedAt);
  state.eventCount += 1;
  if (state.needsRebuild) return;
  if (compiled.sessions === null) addToSlots(compiled, state, event);
  else if (!compiled.sessions.takesIn(state.sessions!, event)) state.needsRebuild = true;
  else {
    for (const session of compiled.sessions.add(state.sessions!, event, state.asOf))
      addToSlots(compiled, state, session);
  }
  if (state.eventCount % EVENTS_BETWEEN_DROPS === 0) advance(compiled, state, state.asOf);
}

function addToSlots(compiled: CompiledView, state: State, event: Event): void {
  for (let index = 0; index < compiled.slots.length; index++) {
    const { part, accepts, leaves: leavesOf } = compiled.slots[index]!;
    const leaves = leavesOf(event.timestamp);
    // An event later than its own window has left already.
    if (leaves <= state.asOf || !accepts(event)) continue;
    if (part.takesIn?.(state.parts[index], event, state.asOf) === false) state.needsRebuild = true;
    else part.add(state.parts[index], event, leaves);
  }
}

/**
 * The state of all events of an entity, whatever their order: what is done when a state `needsRebuild`.
 * @param retracted ids of events that are left out, besides those that retractions among the events unsay
 * @param start what they are folded into, when it is not all that there ever were (baseline.ts)
 */
export function rebuild(
  compiled: CompiledView,
  events: readonly Event[],
  retracted: Iterable<string> = [],
  start: State = createState(compiled),
): State {
  for (const id of retracted) start.retracted.add(id);
  for (const event of events) {
    const id = compiled.retracts(event);
    if (id !== null) start.retracted.add(id);
  }
  for (const event of [...events].sort(compareEvents)) fold(compiled, start, event);
  assertWhole(start);
  return start;
}

/** Each reader and writer of a state asks this first: a caller that forgot to rebuild fails, and never tells a wrong value. */
export function assertWhole(state: State): void {
  assert(
    !state.needsRebuild,
    `a state of sequence ${state.sequence} could not take an event in and was not rebuilt`,
  );
}

/** Moves the as-of forward (never back), closes the session that has ended and forgets what has left by then. */
export function advance(compiled: CompiledView, state: State, at: number): void {
  state.asOf = Math.max(state.asOf, at);
  const session = compiled.sessions?.close(state.sessions!, state.asOf) ?? null;
  if (session !== null) addToSlots(compiled, state, session);
  for (let index = 0; index < compiled.slots.length; index++)
    compiled.slots[index]!.part.leave(state.parts[index], state.asOf);
}

/** Reads the state at `at`, not before its as-of, and moves it there. Null: no events. */
export function readState(compiled: CompiledView, state: State, at: number): Reading | null {
  if (state.eventCount === 0) return null;
  assertWhole(state);
  assert(at >= state.asOf, `a state as of ${state.asOf} cannot be read at ${at}`);
  advance(compiled, state, at);
  const values = compiled.slots.map(({ part }, index) => part.value(state.parts[index]));
  return {
    asOf: state.asOf,
    sequence: state.sequence,
    eventTimestamp: state.eventTimestamp,
    firstEventTimestamp: state.firstEventTimestamp,
    eventCount: state.eventCount,
    horizonPassed: false,
    values: compiled.reads.map((read) => read(values, at)),
  };
}

/** When its values next change by themselves; null: never. */
export function nextStep(compiled: CompiledView, state: State): number | null {
  assertWhole(state);
  let next = compiled.sessions?.closesAt(state.sessions!) ?? Number.POSITIVE_INFINITY;
  compiled.slots.forEach(({ part }, index) => {
    part.leave(state.parts[index], state.asOf);
    next = Math.min(next, part.nextLeave(state.parts[index]));
  });
  return Number.isFinite(next) ? next : null;
}

/** The values alone, as bytes: equal where nothing stored would differ (a moving value alone makes no difference). No events: none. */
export function encodeValues(compiled: CompiledView, state: State): Uint8Array {
  assertWhole(state);
  if (state.eventCount === 0) return new Uint8Array();
  const writer = new ByteWriter();
  writer.signed(state.eventTimestamp);
  writer.varint(state.eventTimestamp - state.firstEventTimestamp); // where one is retracted as another comes, the count stays
  writer.varint(state.eventCount);
  compiled.slots.forEach(({ part }, index) => {
    part.leave(state.parts[index], state.asOf);
    part.encodeValue(writer, part.value(state.parts[index]));
  });
  return writer.finish();
}

/*
 * A snapshot, layout 4 (in 1 every window had tiles of its own, in 2 and 3 those of some aggregations):
 *   u8 layout | signed as-of | varint sequence | signed event timestamp | varint event - first | varint created - event
 *   varint count | of a view over sessions: the tracker's state | each part's state in slot order
 * Layout 5, where something was retracted:
 *   u8 layout | varint number of ids | each id, ascending by UTF-16 code units | u8 1 = events are left, 0 = none
 *   the rest of layout 4; without events from event timestamp to count nothing
 */
const PLAIN = 4;
const RETRACTED = 5;

/** Equal bytes for equal events and as-of, whatever the way there. The state must not be blank. */
export function encodeState(compiled: CompiledView, state: State): Uint8Array {
  assert(!isBlank(state), 'a blank state has no snapshot');
  assertWhole(state);
  const hasEvents = state.eventCount > 0;
  const writer = new ByteWriter();
  if (state.retracted.size === 0) writer.u8(PLAIN);
  else {
    writer.u8(RETRACTED);
    writer.varint(state.retracted.size);
    for (const id of [...state.retracted].sort()) writer.text(id);
    writer.u8(hasEvents ? 1 : 0);
  }
  writer.signed(state.asOf);
  writer.varint(state.sequence);
  if (hasEvents) {
    writer.signed(state.eventTimestamp);
    writer.varint(state.eventTimestamp - state.firstEventTimestamp);
    writer.varint(state.createdTimestamp - state.eventTimestamp);
    writer.varint(state.eventCount);
  }
  advance(compiled, state, state.asOf);
  compiled.sessions?.encode(writer, state.sessions!);
  compiled.slots.forEach(({ part }, index) => {
    part.encodeState(writer, state.parts[index]);
  });
  return writer.finish();
}

/** Throws FS_LAYOUT_UNKNOWN, FS_RECORD_CORRUPT. */
export function decodeState(compiled: CompiledView, bytes: Uint8Array): State {
  const reader = new ByteReader(bytes);
  const state = createState(compiled);
  let hasEvents = true;
  if (expectLayout(reader, [PLAIN, RETRACTED], 'snapshot') === RETRACTED) {
    for (let count = reader.varint(); count > 0; count--) state.retracted.add(reader.text());
    hasEvents = reader.u8() === 1;
  }
  state.asOf = reader.signed();
  state.sequence = reader.varint();
  if (hasEvents) {
    state.eventTimestamp = reader.signed();
    state.firstEventTimestamp = state.eventTimestamp - reader.varint();
    state.createdTimestamp = state.eventTimestamp + reader.varint();
    state.eventCount = reader.varint();
  }
  state.sessions = compiled.sessions?.decode(reader) ?? null;
  state.parts = compiled.slots.map(({ part }) => part.decodeState(reader));
  return state;
}

/** Gives which it is. An unknown layout is an error, never a guess. */
export function expectLayout(reader: ByteReader, known: readonly number[], what: string): number {
  const found = reader.u8();
  if (known.includes(found)) return found;
  throw new FeatureStoreError(
    'FS_LAYOUT_UNKNOWN',
    `a ${what} has layout ${found}; this process knows ${known.join(' and ')}`,
    {
      fix: 'run the version of the platform that wrote it, or refill the view',
    },
  );
}
