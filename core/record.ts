/**
 * Records: what serving reads of one entity in one view version, values now and the steps certain to come.
 *
 *   0      u8     layout: 2 sql view, 3 aggregation view (1 had a number per slot, not per lane)
 *   1-8    u64    a  \  the newer record has the greater (a, b): Redis compares these 16 bytes
 *   9-16   u64    b  /  streaming: a = sequence, b = as-of + 2^52;  batch and sql: a = tick + 2^52, b = commit time + 2^52
 *  layout 3, from byte 17:
 *          u8     flags: 1 = batch (values of a tick, no horizon), 2 = cut (the refresh time follows), 4 = no events are left
 *          varint sequence | signed as-of         with flag 4 the end
 *          varint as-of - event timestamp | varint event - first event timestamp
 *          varint created - event timestamp | varint event count
 *         [varint refresh time - as-of]          steps from here on were left out
 *          each slot's value
 *          varint number of steps, then per step: varint time since the one before (the first: since as-of's last unit
 *                 boundary) in units | varint lane | change
 *                 a lane is a window of a slot; lanes have numbers, slot by slot
 *          of a view over sessions, per step: ... | varint 2 · lane | change, or 2 · (the slot's first lane) + 1 | value from there
 *                 on; values are whole at one instant, when the open session is closed: what then comes in is no change that leaves
 *  layout 2, from byte 17:
 *          signed event timestamp | per feature u8 0 = null, 1 = the value follows | value
 *
 * A worked example: a count over 30 min with a hop of 10 s, one event at 1,005,000 ms. The as-of's unit boundary is 1,000,000;
 * the event leaves at ceil(2,805,000) = 2,810,000, 181 units later. After the header: 01 (count) 01 (steps) b5 01 (181) 00 (lane) 01.
 */

import type { Cursor } from './aggregate/part.js';
import { cursorOf, NEVER } from './aggregate/part.js';
import { assert } from './assert.js';
import { ByteReader, ByteWriter, corrupt, equalBytes } from './codec/bytes.js';
import { type Present, valueCodecs } from './codec/scalar.js';
import type { CompiledView } from './compile.js';
import type { SqlView } from './definition.js';
import type { FeatureValue } from './event.js';
import type { Reading, State } from './state.js';
import { advance, assertWhole, decodeState, encodeState, expectLayout, isBlank } from './state.js';
import { floorTo } from './time.js';

export type { Reading } from './state.js';

const SQL = 2;
const AGGREGATION = 3;
const BATCH = 1;
const CUT = 2;
const NONE = 4;
// Years 1 to 9999 become positive, and every millisecond stays a double of its own (above 2^53 only each second one is).
const BIAS = 2 ** 52;

/** Online records are cut to this many bytes, unless fewer than MIN_STEPS steps would be left. */
export const RECORD_BYTES = 512;
export const MIN_STEPS = 8;

/** For a batch view: the tick it is of, and when it was committed (epoch ms). */
export interface TickCommit {
  tick: number;
  committedAt: number;
}

/**
 * The record of a state as of its as-of. Where all events were retracted, it says so: it is newer than the record that held them, and
 * reads as none. A batch record carries values only: what comes next comes with a tick.
 * @param maxBytes cut the horizon so that the record has at most so many bytes (values stay whole)
 */
export function encodeRecord(
  compiled: CompiledView,
  state: State,
  { tick, maxBytes = Number.POSITIVE_INFINITY }: { tick?: TickCommit; maxBytes?: number } = {},
): Uint8Array {
  assert(!isBlank(state), 'a blank state has no record');
  assertWhole(state);
  advance(compiled, state, state.asOf);
  const { slots, unitMs } = compiled;
  values.clear();
  for (let slot = 0; slot < slots.length; slot++) {
    const { part } = slots[slot]!;
    part.encodeValue(values, part.value(state.parts[slot]));
  }

  // Steps are written until the next instant would not fit; the changes of one instant stay together.
  const cursors = tick ? [] : stepsOf(compiled, state);
  const room = maxBytes - values.length - MAX_HEADER_BYTES;
  horizon.clear();
  let written = 0;
  let instants = 0;
  let end = 0; // length of the horizon up to the last whole instant
  let previous = floorTo(state.asOf, unitMs);
  let refreshAt: number | null = null;
  for (;;) {
    let at = NEVER;
    for (const { steps } of cursors) if (steps.at < at) at = steps.at;
    if (at === NEVER) break;
    let changes = 0;
    for (const { steps, firstLane } of cursors) {
      for (; steps.at === at; steps.next()) {
        horizon.varint((at - previous) / unitMs);
        horizon.varint(firstLane + steps.lane);
        steps.write(horizon);
        previous = at;
        changes += 1;
      }
    }
    if (horizon.length > room && instants >= MIN_STEPS) {
      refreshAt = at;
      break;
    }
    end = horizon.length;
    written += changes;
    instants += 1;
  }

  writer.clear();
  writer.u8(AGGREGATION);
  writer.u64(tick ? tick.tick + BIAS : state.sequence);
  writer.u64((tick ? tick.committedAt : state.asOf) + BIAS);
  const none = state.eventCount === 0;
  writer.u8((tick ? BATCH : 0) | (refreshAt === null ? 0 : CUT) | (none ? NONE : 0));
  writer.varint(state.sequence);
  writer.signed(state.asOf);
  if (none) return writer.finish();
  writer.varint(state.asOf - state.eventTimestamp);
  writer.varint(state.eventTimestamp - state.firstEventTimestamp);
  writer.varint(state.createdTimestamp - state.eventTimestamp);
  writer.varint(state.eventCount);
  if (refreshAt !== null) writer.varint(refreshAt - state.asOf);
  writer.raw(values.written());
  writer.varint(written);
  writer.raw(horizon.written(end));
  return writer.finish();
}

/** One at a time, in order of time; `lane` is counted from `firstLane` on. */
type Steps = Pick<Cursor<unknown>, 'at' | 'lane' | 'next' | 'write'>;

function stepsOf(compiled: CompiledView, state: State): Array<{ steps: Steps; firstLane: number }> {
  if (compiled.sessions !== null) return [{ steps: new SessionSteps(compiled, state), firstLane: 0 }];
  return compiled.slots.map(({ part, firstLane }, slot) => ({
    steps: cursorOf(part, state.parts[slot]),
    firstLane,
  }));
}

// One record is made at a time; room for it is kept.
const writer = new ByteWriter();
const values = new ByteWriter();
const horizon = new ByteWriter();

// 17 fixed, 1 flags, seven numbers of at most 8 bytes, the number of steps.
const MAX_HEADER_BYTES = 17 + 1 + 7 * 8 + 2;

/** A record's header, without its values. Of no events, its timestamps are as those of a state of none. */
export interface RecordHeader {
  batch: boolean;
  sequence: number;
  asOf: number;
  eventTimestamp: number;
  firstEventTimestamp: number;
  createdTimestamp: number;
  eventCount: number;
  /** From here on the record carries no steps, though there are some; null: its horizon is whole. */
  refreshAt: number | null;
}

function readHeader(reader: ByteReader): RecordHeader {
  expectLayout(reader, [AGGREGATION], 'record');
  reader.at += 16;
  const flags = reader.u8();
  const sequence = reader.varint();
  const asOf = reader.signed();
  const batch = (flags & BATCH) !== 0;
  if (flags & NONE)
    return {
      batch,
      sequence,
      asOf,
      eventTimestamp: Number.NEGATIVE_INFINITY,
      firstEventTimestamp: Number.POSITIVE_INFINITY,
      createdTimestamp: Number.NEGATIVE_INFINITY,
      eventCount: 0,
      refreshAt: null,
    };
  const eventTimestamp = asOf - reader.varint();
  return {
    batch,
    sequence,
    asOf,
    eventTimestamp,
    firstEventTimestamp: eventTimestamp - reader.varint(),
    createdTimestamp: eventTimestamp + reader.varint(),
    eventCount: reader.varint(),
    refreshAt: flags & CUT ? asOf + reader.varint() : null,
  };
}

/** Throws FS_LAYOUT_UNKNOWN, FS_RECORD_CORRUPT. */
export function decodeHeader(bytes: Uint8Array): RecordHeader {
  return readHeader(new ByteReader(bytes));
}

/**
 * Reads a record at `at` (serving: the clock; batch views: the last published tick), or at its as-of if that is later. Null: it has
 * no events. Throws FS_LAYOUT_UNKNOWN, FS_RECORD_CORRUPT.
 */
export function readRecord(compiled: CompiledView, bytes: Uint8Array, at: number): Reading | null {
  const reader = new ByteReader(bytes);
  const header = readHeader(reader);
  if (header.eventCount === 0) return null;
  const moment = Math.max(at, header.asOf);
  const values = compiled.slots.map(({ part }) => part.decodeValue(reader));
  for (const step of readSteps(compiled, reader, header.asOf)) {
    if (step.at > moment) break;
    apply(compiled, values, step);
  }
  return {
    asOf: header.asOf,
    sequence: header.sequence,
    eventTimestamp: header.eventTimestamp,
    firstEventTimestamp: header.firstEventTimestamp,
    eventCount: header.eventCount,
    horizonPassed: header.refreshAt !== null && moment >= header.refreshAt,
    values: compiled.reads.map((read) => read(values, moment)),
  };
}

/** The instants at which a record's values change by themselves, ascending. */
export function recordSteps(compiled: CompiledView, bytes: Uint8Array): number[] {
  const reader = new ByteReader(bytes);
  const { asOf, eventCount } = readHeader(reader);
  if (eventCount === 0) return [];
  for (const { part } of compiled.slots) part.decodeValue(reader);
  return [...new Set(Array.from(readSteps(compiled, reader, asOf), ({ at }) => at))];
}

function* readSteps(compiled: CompiledView, reader: ByteReader, asOf: number): Generator<SlotStep> {
  let at = floorTo(asOf, compiled.unitMs);
  for (let count = reader.varint(); count > 0; count--) {
    at += reader.varint() * compiled.unitMs;
    const number = reader.varint();
    const lane = compiled.sessions === null ? number : number >> 1;
    const slot = compiled.lanes[lane];
    if (slot === undefined) corrupt(`lane ${lane} of ${compiled.lanes.length}`);
    const { part, firstLane } = compiled.slots[slot]!;
    if (compiled.sessions !== null && number % 2 === 1) yield { at, slot, value: part.decodeValue(reader) };
    else yield { at, slot, lane: lane - firstLane, change: part.decodeChange(reader) };
  }
}

/** A change of a slot's value, or the whole value from there on. */
type SlotStep = { at: number; slot: number } & ({ lane: number; change: unknown } | { value: unknown });

function apply(compiled: CompiledView, values: unknown[], step: SlotStep): void {
  const { part } = compiled.slots[step.slot]!;
  values[step.slot] = 'value' in step ? step.value : part.apply(values[step.slot], step.change, step.lane);
}

/** Steps of a view over sessions, with the numbers that its records tell them by. */
class SessionSteps implements Steps {
  readonly #compiled: CompiledView;
  readonly #steps: readonly SlotStep[];
  #index = -1;
  at = NEVER;
  lane = 0;

  constructor(compiled: CompiledView, state: State) {
    this.#compiled = compiled;
    this.#steps = sessionSteps(compiled, state);
    this.next();
  }

  next(): void {
    const step = this.#steps[++this.#index];
    this.at = step === undefined ? NEVER : step.at;
    if (step === undefined) return;
    const { firstLane } = this.#compiled.slots[step.slot]!;
    this.lane = 2 * firstLane + ('value' in step ? 1 : 2 * step.lane);
  }

  write(writer: ByteWriter): void {
    const step = this.#steps[this.#index]!;
    const { part } = this.#compiled.slots[step.slot]!;
    if ('value' in step) part.encodeValue(writer, step.value);
    else part.encodeChange(writer, step.change);
  }
}

/** What an open session changes at its end, and all that comes after, is taken from a state that has closed it. */
function sessionSteps(compiled: CompiledView, state: State): SlotStep[] {
  const closesAt = compiled.sessions?.closesAt(state.sessions!) ?? null;
  if (closesAt === null) return changes(compiled, state);
  const closed = decodeState(compiled, encodeState(compiled, state));
  advance(compiled, closed, closesAt);
  const before = changes(compiled, state).filter(({ at }) => at < closesAt);
  const values = compiled.slots.map(({ part }, slot) => part.value(state.parts[slot]));
  for (const step of before) apply(compiled, values, step);
  const entered = compiled.slots.flatMap(({ part }, slot): SlotStep[] => {
    const value = part.value(closed.parts[slot]);
    const encoded = (it: unknown): Uint8Array => {
      const writer = new ByteWriter();
      part.encodeValue(writer, it);
      return writer.finish();
    };
    return equalBytes(encoded(value), encoded(values[slot])) ? [] : [{ at: closesAt, slot, value }];
  });
  return [...before, ...entered, ...changes(compiled, closed)];
}

function changes(compiled: CompiledView, state: State): SlotStep[] {
  const steps = compiled.slots.flatMap(({ part }, slot) =>
    part.steps(state.parts[slot]).map(({ at, lane = 0, change }) => ({ at, slot, lane, change })),
  );
  return steps.sort((a, b) => a.at - b.at || a.slot - b.slot || a.lane - b.lane);
}

/** A row of a sql view. @param values in the view's feature order */
export function encodeSqlRecord(
  view: SqlView,
  eventTimestamp: number,
  values: readonly FeatureValue[],
  { tick, committedAt }: TickCommit,
): Uint8Array {
  const writer = new ByteWriter();
  writer.u8(SQL);
  writer.u64(tick + BIAS);
  writer.u64(committedAt + BIAS);
  writer.signed(eventTimestamp);
  view.features.forEach(({ type }, index) => {
    const value = values[index] ?? null;
    writer.u8(value === null ? 0 : 1);
    if (value !== null) valueCodecs[type].encode(writer, value as Present);
  });
  return writer.finish();
}

/** Throws FS_LAYOUT_UNKNOWN, FS_RECORD_CORRUPT. Sql rows count no events: eventCount is 1, first = event timestamp. */
export function readSqlRecord(view: SqlView, bytes: Uint8Array): Reading {
  const reader = new ByteReader(bytes);
  expectLayout(reader, [SQL], 'record');
  const asOf = reader.u64() - BIAS;
  reader.at += 8;
  const eventTimestamp = reader.signed();
  return {
    asOf,
    sequence: 0,
    eventTimestamp,
    firstEventTimestamp: eventTimestamp,
    eventCount: 1,
    horizonPassed: false,
    values: view.features.map(({ type }) => (reader.u8() === 0 ? null : valueCodecs[type].decode(reader))),
  };
}
