/**
 * Records: what serving reads of one entity in one view version, values now and the steps certain to come.
 *
 *   0      u8     layout: 2 sql view, 4 aggregation view (1 and 3 had one list of steps)
 *   1-8    u64    a  \  the newer record has the greater (a, b): Redis compares these 16 bytes
 *   9-16   u64    b  /  streaming: a = sequence, b = as-of + 2^52;  batch and sql: a = tick + 2^52, b = commit time + 2^52
 *  layout 4, from byte 17:
 *          u8     flags: 1 = batch (values of a tick, no steps), 2 = no events are left
 *          varint sequence | signed as-of         with flag 2 the end
 *          varint as-of - event timestamp | varint event - first event timestamp
 *          varint created - event timestamp | varint event count
 *          varint refresh time - as-of: steps from there on were left out; 0: none were
 *         [of a view over sessions: varint end of the open session - as-of; 0: there is none]
 *          each slot's value                      with flag 1 the end
 *          each lane, slot by slot, a lane being a window of a slot: varint its bytes, then per step:
 *                 varint time since the one before (the first: since as-of's last unit boundary) in the lane's units | change
 *                 of windows that nest, what leaves one is a step of the shortest alone: the others follow from it
 *         [before the refresh time, the end of an open session: each slot's value and each lane again, as of then]
 *  layout 2, from byte 17:
 *          signed event timestamp | per feature u8 0 = null, 1 = the value follows | value
 *
 * A worked example: a count over 30 min with a hop of 10 s, one event at 1,005,000 ms. The as-of's unit boundary is 1,000,000;
 * the event leaves at ceil(2,805,000) = 2,810,000, 181 units later. After the header: 01 (count) 03 (bytes) b5 01 (181) 01.
 */

import type { Cursor } from './aggregate/part.js';
import { cursorsOf, NEVER } from './aggregate/part.js';
import { assert } from './assert.js';
import { ByteReader, ByteWriter } from './codec/bytes.js';
import { type Present, valueCodecs } from './codec/scalar.js';
import type { CompiledView } from './compile.js';
import type { SqlView } from './definition.js';
import type { FeatureValue } from './event.js';
import type { Reading, State } from './state.js';
import { advance, assertWhole, decodeState, encodeState, expectLayout, isBlank } from './state.js';

export type { Reading } from './state.js';

const SQL = 2;
const AGGREGATION = 4;
const BATCH = 1;
const NONE = 2;
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
  const none = state.eventCount === 0;
  writer.clear();
  writer.u8(AGGREGATION);
  writer.u64(tick ? tick.tick + BIAS : state.sequence);
  writer.u64((tick ? tick.committedAt : state.asOf) + BIAS);
  writer.u8((tick ? BATCH : 0) | (none ? NONE : 0));
  writer.varint(state.sequence);
  writer.signed(state.asOf);
  if (none) return writer.finish();
  writer.varint(state.asOf - state.eventTimestamp);
  writer.varint(state.eventTimestamp - state.firstEventTimestamp);
  writer.varint(state.createdTimestamp - state.eventTimestamp);
  writer.varint(state.eventCount);
  const closesAt = compiled.sessions?.closesAt(state.sessions!) ?? null;
  body.clear();
  if (compiled.sessions) body.varint(closesAt === null ? 0 : closesAt - state.asOf);
  writeValues(compiled, state);
  const room = maxBytes - writer.length - MAX_TIME_BYTES;
  const refreshAt = tick ? null : writeSteps(compiled, state, closesAt, room);
  writer.varint(refreshAt === null ? 0 : refreshAt - state.asOf);
  writer.append(body);
  return writer.finish();
}

// One record is made at a time; room for it is kept.
const writer = new ByteWriter();
const body = new ByteWriter();
const MAX_TIME_BYTES = 7;

function writeValues({ slots }: CompiledView, { parts }: State): void {
  for (let slot = 0; slot < slots.length; slot++) {
    const { part } = slots[slot]!;
    part.encodeValue(body, part.value(parts[slot]));
  }
}

/** What an open session changes at its end, and all that comes after, is taken from a state that has closed it. @returns the refresh time */
function writeSteps(
  compiled: CompiledView,
  state: State,
  closesAt: number | null,
  room: number,
): number | null {
  const { cutAt, instants } = writeLanes(compiled, state, { end: closesAt ?? NEVER, room, least: MIN_STEPS });
  if (closesAt === null || cutAt !== null) return cutAt;
  const closed = decodeState(compiled, encodeState(compiled, state));
  advance(compiled, closed, closesAt);
  const { length } = body;
  writeValues(compiled, closed);
  const least = MIN_STEPS - instants - 1;
  const laneCount = compiled.slots.reduce((count, { units }) => count + units.length, 0);
  if (body.length + laneCount > room && least < 0) {
    body.length = length;
    return closesAt;
  }
  return writeLanes(compiled, closed, { end: NEVER, room, least }).cutAt;
}

/**
 * Steps before `end` are written until the body would be longer than `room` with the next instant; the changes of one instant stay together.
 * @param least of so many instants, at least
 * @returns the instant from which steps were left out for want of room
 */
function writeLanes(
  { slots }: CompiledView,
  { parts, asOf }: State,
  { end, room, least }: { end: number; room: number; least: number },
): { cutAt: number | null; instants: number } {
  let count = 0;
  for (let slot = 0; slot < slots.length; slot++) {
    const { part, units } = slots[slot]!;
    const cursors = cursorsOf(part, parts[slot], units);
    for (let lane = 0; lane < units.length; lane++) {
      lanes[count] ??= new LaneWriter();
      lanes[count++]!.start(cursors[lane]!, units[lane]!, asOf);
    }
  }
  if (times.length < count) times = new Float64Array(2 * count);
  for (let i = 0; i < count; i++) times[i] = lanes[i]!.at;
  let free = room - body.length - count; // a byte for the length of each lane
  let instants = 0;
  let cutAt: number | null = null;
  while (cutAt === null) {
    // the (first) lane whose step comes next, and when one of another does
    let next = -1;
    let at = end;
    let following = end;
    for (let i = 0; i < count; i++) {
      const time = times[i]!;
      if (time < at) {
        following = at;
        at = time;
        next = i;
      } else if (time < following) following = time;
    }
    if (next < 0) break;
    const last = following === at ? count - 1 : next;
    do {
      at = times[next]!;
      for (let i = next; i <= last; i++) {
        if (times[i] !== at) continue;
        free -= lanes[i]!.write();
        times[i] = lanes[i]!.at;
      }
      instants += 1;
      if (free < 0 && instants > least) cutAt = at;
    } while (times[next]! < following && cutAt === null);
  }
  for (let i = 0; i < count; i++) {
    if (cutAt !== null) lanes[i]!.cut(cutAt);
    lanes[i]!.finish();
  }
  return { cutAt, instants };
}

// By lane: its writer, and when its next step comes.
const lanes: LaneWriter[] = [];
let times = new Float64Array(16);

/** Writes what is to come of a lane, step by step. */
class LaneWriter {
  readonly #writer = new ByteWriter();
  #cursor!: Cursor;
  #unitMs = 1;
  /** In units, of the step written last; before the first, of the as-of. */
  #time = 0;
  /** When the next step comes; NEVER: there is none. */
  at = NEVER;
  /** Where the step written last begins. */
  #last = 0;

  start(cursor: Cursor, unitMs: number, asOf: number): void {
    this.#writer.clear();
    this.#cursor = cursor;
    this.#unitMs = unitMs;
    this.#time = Math.floor(asOf / unitMs);
    this.at = cursor.time * unitMs;
    this.#last = 0;
  }

  /** The next step. @returns how many bytes the lane grew by */
  write(): number {
    const writer = this.#writer;
    const cursor = this.#cursor;
    const before = writer.length;
    const { time } = cursor;
    writer.varint(time - this.#time);
    cursor.write(writer);
    this.#time = time;
    this.#last = before;
    this.at = cursor.time * this.#unitMs;
    const { length } = writer;
    return length - before + (before < 128 && length >= 128 ? 1 : 0); // then its length takes two bytes
  }

  /** Forgets the step written last, if it is of that instant. */
  cut(at: number): void {
    if (this.#time * this.#unitMs === at) this.#writer.length = this.#last;
  }

  finish(): void {
    body.varint(this.#writer.length);
    body.append(this.#writer);
  }
}

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
    refreshAt: momentAfter(reader, asOf),
  };
}

function momentAfter(reader: ByteReader, asOf: number): number | null {
  const ms = reader.varint();
  return ms === 0 ? null : asOf + ms;
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
  const { refreshAt } = header;
  const horizonPassed = refreshAt !== null && moment >= refreshAt;
  const values = readValues(compiled, reader, header, horizonPassed ? refreshAt - 1 : moment);
  return {
    asOf: header.asOf,
    sequence: header.sequence,
    eventTimestamp: header.eventTimestamp,
    firstEventTimestamp: header.firstEventTimestamp,
    eventCount: header.eventCount,
    horizonPassed,
    values: compiled.reads.map((read) => read(values, moment)),
  };
}

/** The value of each slot. @param moment before the refresh time */
function readValues(
  compiled: CompiledView,
  reader: ByteReader,
  { asOf, batch }: RecordHeader,
  moment: number,
): unknown[] {
  const closesAt = compiled.sessions ? momentAfter(reader, asOf) : null;
  let values = decodeValues(compiled, reader);
  if (batch) return values;
  const isOpen = closesAt === null || moment < closesAt;
  if (!isOpen) {
    for (const { units } of compiled.slots) for (const _ of units) reader.at = reader.span();
    values = decodeValues(compiled, reader);
  }
  compiled.slots.forEach(({ part, units }, slot) => {
    for (let lane = 0; lane < units.length; lane++) {
      const unitMs = units[lane]!;
      const end = reader.span();
      let time = Math.floor((isOpen ? asOf : closesAt) / unitMs);
      while (reader.at < end) {
        time += reader.varint();
        let at = time * unitMs;
        if (at > moment) break;
        const change = part.decodeChange(reader);
        for (let other = lane; at <= moment; other++) {
          values[slot] = part.apply(values[slot], change, other);
          at = part.onward?.(at, other) ?? NEVER;
        }
      }
      reader.at = end;
    }
  });
  return values;
}

function decodeValues({ slots }: CompiledView, reader: ByteReader): unknown[] {
  return slots.map(({ part }) => part.decodeValue(reader));
}

/** The instants at which a record's values may change by themselves, ascending. */
export function recordSteps(compiled: CompiledView, bytes: Uint8Array): number[] {
  const reader = new ByteReader(bytes);
  const { asOf, batch, eventCount, refreshAt } = readHeader(reader);
  if (eventCount === 0 || batch) return [];
  const closesAt = compiled.sessions ? momentAfter(reader, asOf) : null;
  const instants = new Set<number>();
  const cutAt = refreshAt ?? NEVER;
  readInstants(compiled, reader, { start: asOf, end: Math.min(cutAt, closesAt ?? NEVER) }, instants);
  if (closesAt !== null && closesAt < cutAt) {
    instants.add(closesAt);
    readInstants(compiled, reader, { start: closesAt, end: cutAt }, instants);
  }
  return [...instants].sort((a, b) => a - b);
}

function readInstants(
  compiled: CompiledView,
  reader: ByteReader,
  { start, end }: { start: number; end: number },
  into: Set<number>,
): void {
  decodeValues(compiled, reader);
  for (const { part, units } of compiled.slots)
    units.forEach((unitMs, lane) => {
      const own = new ByteReader(reader.take());
      for (let time = Math.floor(start / unitMs); !own.done; ) {
        time += own.varint();
        part.decodeChange(own);
        let at = time * unitMs;
        for (let other = lane; at < end; other++) {
          into.add(at);
          at = part.onward?.(at, other) ?? NEVER;
        }
      }
    });
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
