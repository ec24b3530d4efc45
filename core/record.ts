/**
 * Records: what serving reads of one entity in one view version, values now and the steps certain to come.
 *
 *   0      u8     layout: 1 aggregation view, 2 sql view
 *   1-8    u64    a  \  the newer record has the greater (a, b): Redis compares these 16 bytes
 *   9-16   u64    b  /  streaming: a = sequence, b = as-of + 2^52;  batch and sql: a = tick + 2^52, b = commit time + 2^52
 *  layout 1, from byte 17:
 *          u8     flags: 1 = batch (values of a tick, no horizon), 2 = cut (the refresh time follows)
 *          varint sequence | signed as-of | varint as-of - event timestamp | varint event - first event timestamp
 *          varint created - event timestamp | varint event count
 *         [varint refresh time - as-of]          steps from here on were left out
 *          each slot's value
 *          varint number of steps, then per step: varint time since the one before (the first: since as-of's last unit
 *                 boundary) in units | varint slot | change
 *  layout 2, from byte 17:
 *          signed event timestamp | per feature u8 0 = null, 1 = the value follows | value
 *
 * A worked example: a count over 30 min with a hop of 10 s, one event at 1,005,000 ms. The as-of's unit boundary is 1,000,000;
 * the event leaves at ceil(2,805,000) = 2,810,000, 181 units later. After the header: 01 (count) 01 (steps) b5 01 (181) 00 (slot) 01.
 */
import { assert } from './assert.js';
import { ByteReader, ByteWriter } from './codec/bytes.js';
import { valueCodecs } from './codec/scalar.js';
import type { CompiledView } from './compile.js';
import type { SqlView } from './definition.js';
import type { FeatureValue } from './event.js';
import type { Reading, State } from './state.js';
import { advance, assertWhole, expectLayout } from './state.js';
import { floorTo } from './time.js';

export type { Reading } from './state.js';

const AGGREGATION = 1;
const SQL = 2;
const BATCH = 1;
const CUT = 2;
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
 * The record of a state as of its as-of. A batch record carries values only: what comes next comes with a tick.
 * @param maxBytes cut the horizon so that the record has at most so many bytes (values stay whole)
 */
export function encodeRecord(
  compiled: CompiledView,
  state: State,
  { tick, maxBytes = Number.POSITIVE_INFINITY }: { tick?: TickCommit; maxBytes?: number } = {},
): Uint8Array {
  assert(state.eventCount > 0, 'a state of no events has no record');
  assertWhole(state);
  advance(compiled, state, state.asOf);
  const steps = tick ? [] : mergeSteps(compiled, state);
  const values = new ByteWriter();
  compiled.slots.forEach(({ part }, index) => {
    part.encodeValue(values, part.value(state.parts[index]));
  });

  // Steps are written until the next instant would not fit; the changes of one instant stay together.
  const horizon = new ByteWriter();
  const start = floorTo(state.asOf, compiled.unitMs);
  const room = maxBytes - values.length - MAX_HEADER_BYTES;
  let written = 0;
  let instants = 0;
  let end = 0; // length of the horizon up to the last whole instant
  let previous = start;
  let refreshAt: number | null = null;
  for (let i = 0; i < steps.length; ) {
    const { at } = steps[i]!;
    let next = i;
    for (; next < steps.length && steps[next]!.at === at; next++) {
      const { slot, change } = steps[next]!;
      horizon.varint((at - previous) / compiled.unitMs);
      horizon.varint(slot);
      compiled.slots[slot]!.part.encodeChange(horizon, change);
      previous = at;
    }
    if (horizon.length > room && instants >= MIN_STEPS) {
      refreshAt = at;
      break;
    }
    end = horizon.length;
    written += next - i;
    instants += 1;
    i = next;
  }

  const writer = new ByteWriter();
  writer.u8(AGGREGATION);
  writer.u64(tick ? tick.tick + BIAS : state.sequence);
  writer.u64((tick ? tick.committedAt : state.asOf) + BIAS);
  writer.u8((tick ? BATCH : 0) | (refreshAt === null ? 0 : CUT));
  writer.varint(state.sequence);
  writer.signed(state.asOf);
  writer.varint(state.asOf - state.eventTimestamp);
  writer.varint(state.eventTimestamp - state.firstEventTimestamp);
  writer.varint(state.createdTimestamp - state.eventTimestamp);
  writer.varint(state.eventCount);
  if (refreshAt !== null) writer.varint(refreshAt - state.asOf);
  writer.raw(values.finish());
  writer.varint(written);
  writer.raw(horizon.finish().subarray(0, end));
  return writer.finish();
}

// 17 fixed, 1 flags, seven numbers of at most 8 bytes, the number of steps.
const MAX_HEADER_BYTES = 17 + 1 + 7 * 8 + 2;

/** A record's header, without its values. */
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
  expectLayout(reader, AGGREGATION, 'record');
  reader.at += 16;
  const flags = reader.u8();
  const sequence = reader.varint();
  const asOf = reader.signed();
  const eventTimestamp = asOf - reader.varint();
  return {
    batch: (flags & BATCH) !== 0,
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
 * Reads a record at `at` (serving: the clock; batch views: the last published tick), or at its as-of if that is later.
 * Throws FS_LAYOUT_UNKNOWN, FS_RECORD_CORRUPT.
 */
export function readRecord(compiled: CompiledView, bytes: Uint8Array, at: number): Reading {
  const reader = new ByteReader(bytes);
  const header = readHeader(reader);
  const moment = Math.max(at, header.asOf);
  const values = compiled.slots.map(({ part }) => part.decodeValue(reader));
  for (const { at: time, slot, change } of readSteps(compiled, reader, header.asOf)) {
    if (time > moment) break;
    values[slot] = compiled.slots[slot]!.part.apply(values[slot], change);
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
  const { asOf } = readHeader(reader);
  for (const { part } of compiled.slots) part.decodeValue(reader);
  return [...new Set(Array.from(readSteps(compiled, reader, asOf), ({ at }) => at))];
}

function* readSteps(compiled: CompiledView, reader: ByteReader, asOf: number): Generator<SlotStep> {
  let at = floorTo(asOf, compiled.unitMs);
  for (let count = reader.varint(); count > 0; count--) {
    at += reader.varint() * compiled.unitMs;
    const slot = reader.varint();
    yield { at, slot, change: compiled.slots[slot]!.part.decodeChange(reader) };
  }
}

interface SlotStep {
  at: number;
  slot: number;
  change: unknown;
}

function mergeSteps(compiled: CompiledView, state: State): SlotStep[] {
  const steps = compiled.slots.flatMap(({ part }, slot) =>
    part.steps(state.parts[slot]).map(({ at, change }) => ({ at, slot, change })),
  );
  return steps.sort((a, b) => a.at - b.at || a.slot - b.slot);
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
    if (value !== null) valueCodecs[type].encode(writer, value);
  });
  return writer.finish();
}

/** Throws FS_LAYOUT_UNKNOWN, FS_RECORD_CORRUPT. Sql rows count no events: eventCount is 1, first = event timestamp. */
export function readSqlRecord(view: SqlView, bytes: Uint8Array): Reading {
  const reader = new ByteReader(bytes);
  expectLayout(reader, SQL, 'record');
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
