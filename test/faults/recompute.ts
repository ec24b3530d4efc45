/**
 * What a stream must have left behind, decided anew from its topic: every message from offset 0, one after the other, in the plainest
 * way; nothing of the product decides what is right, and from core it takes the codecs and what reads a record.
 *
 * Two things only the archive can tell, and are taken from it and checked apart: when an event that was ahead of the clock arrived,
 * hence its place among the others, and `arrived_ms`. Messages that lie less than an hour ahead count as early, others as wrong.
 */
import { isDeepStrictEqual } from 'node:util';
import type { Redis } from 'ioredis';
import { Kafka, logLevel } from 'kafkajs';
import { parse as parseLossless } from 'lossless-json';
import { expect } from 'vitest';
import { recordOf } from '../../activities/output.js';
import { encodeKey, onlineKey } from '../../core/codec/key.js';
import { type CompiledView, compileView } from '../../core/compile.js';
import type { AggregationView, Entity, Source } from '../../core/definition.js';
import type { Event, Value } from '../../core/event.js';
import { decodeHeader, encodeRecord, readRecord, recordSteps } from '../../core/record.js';
import { advance, createState, decodeState, fold, type State } from '../../core/state.js';
import { DAY, HOUR, MAX_TIMESTAMP, MINUTE } from '../../core/time.js';
import { judge } from '../../core/vector.js';
import { answer } from '../../oracle/oracle.js';
import { resolveView } from '../../registry/resolve.js';
import type { Pool } from '../../registry/sql.js';

export interface Place {
  pool: Pool;
  redis: Redis;
  environment: string;
  brokers: string[];
}

interface Message {
  offset: number;
  value: Buffer | null;
}

interface Archived {
  offset: number;
  sequence: number;
  event_ms: number;
  arrived_ms: number;
  ordinal: number;
  event_id: string;
  [column: `c_${string}`]: Value;
}

export type Outcome = 'archived' | 'duplicate' | 'conflict' | 'invalid' | 'too_late';
export type Outcomes = Record<Outcome, number> & {
  /** Of the archived ones, those that came after a newer one. */
  late: number;
  /** Of the archived ones, those that waited for their time. */
  held: number;
  /** Values of records that were compared. */
  values: number;
};

/**
 * Archive, side table, counts and every record and snapshot of the views are what the topic says. The stream has read all of it and
 * holds nothing back. Throws at the first difference.
 */
export async function checkStream(
  place: Place,
  source: Source,
  topic: string,
  views: readonly string[],
): Promise<Outcomes> {
  const messages = await readTopic(place.brokers, topic);
  const archived = await readArchive(place.pool, source, 'partition = 0');
  const imported = await readArchive(place.pool, source, 'partition < 0');
  const held = heldOffsets(archived);
  const decided = decide(source, inOrderOfDecision(source, messages, archived, held), imported);

  checkOrder(archived);
  expect(archived.map(({ offset }) => offset)).toEqual(offsetsOf(decided, 'archived'));
  for (const row of archived) {
    const { values } = decided.get(row.offset)!;
    expect({ ...row, arrived_ms: 0, sequence: 0 }).toEqual({
      offset: row.offset,
      sequence: 0,
      event_ms: values![source.eventTime],
      arrived_ms: 0,
      ordinal: source.sequence === null ? 0 : values![source.sequence],
      event_id: String(values![source.id!]),
      ...Object.fromEntries(Object.entries(values!).map(([name, value]) => [`c_${name}`, value])),
    });
  }
  await checkSetAside(place.pool, source, messages, decided);
  const counts = await checkCounts(place.pool, source, messages, decided);
  checkLate(archived, counts.late);

  const events = [...imported, ...archived].map((row) => eventOf(source, row));
  let values = 0;
  for (const view of views) values += await checkView(place, source, view, events);
  return { ...counts, held: held.size, values };
}

async function readTopic(brokers: string[], topic: string): Promise<Message[]> {
  const kafka = new Kafka({ clientId: 'oracle', brokers, logLevel: logLevel.NOTHING });
  const admin = kafka.admin();
  await admin.connect();
  const [partition] = await admin.fetchTopicOffsets(topic);
  await admin.disconnect();
  expect(partition).toMatchObject({ partition: 0, low: '0' });
  const end = Number(partition!.high);
  const messages: Message[] = [];
  if (end === 0) return messages;
  const consumer = kafka.consumer({
    groupId: `oracle-${process.pid}-${performance.now()}`,
    maxWaitTimeInMs: 50,
  });
  await consumer.connect();
  await consumer.subscribe({ topic, fromBeginning: true });
  try {
    await new Promise<void>((resolve, reject) => {
      const timer = setTimeout(() => reject(new Error(`read ${messages.length} of ${end} messages`)), 30_000);
      consumer
        .run({
          autoCommit: false,
          async eachBatch({ batch }) {
            for (const { offset, value } of batch.messages)
              if (Number(offset) === messages.length) messages.push({ offset: messages.length, value });
            if (messages.length < end) return;
            clearTimeout(timer);
            resolve();
          },
        })
        .catch(reject);
    });
  } finally {
    await consumer.disconnect();
  }
  return messages;
}

async function readArchive(pool: Pool, source: Source, where: string): Promise<Archived[]> {
  const columns = Object.keys(source.columns).map((name) => `c_${name}`);
  const { rows } = await pool.query<Archived>(
    `select "offset", sequence, event_ms, arrived_ms, ordinal, event_id, ${columns.join(', ')}
       from archive_${source.name} where ${where} order by "offset"`,
  );
  return rows;
}

/** Events archived after a message that came later: they waited. */
function heldOffsets(archived: readonly Archived[]): Set<number> {
  const held = new Set<number>();
  let least = Number.POSITIVE_INFINITY;
  for (const { offset, sequence } of archived.toReversed()) {
    if (sequence > least) held.add(offset);
    else least = sequence;
  }
  return held;
}

/** One instant per transaction, never decreasing; what did not wait, in the order of the topic; nothing before its time. */
function checkOrder(archived: readonly Archived[]): void {
  let before: Archived | undefined;
  for (const row of [...archived].sort((a, b) => a.sequence - b.sequence)) {
    if (before?.sequence === row.sequence) expect(row.arrived_ms).toBe(before.arrived_ms);
    expect(row.arrived_ms).toBeGreaterThanOrEqual(before?.arrived_ms ?? row.event_ms);
    expect(row.arrived_ms).toBeGreaterThanOrEqual(row.event_ms);
    before = row;
  }
}

/** Only the stream knows the order inside a transaction, where events that waited come first: the count lies between two bounds. */
function checkLate(archived: readonly Archived[], late: number): void {
  const newest = new Map<number, number>();
  for (const { sequence, event_ms } of archived)
    newest.set(sequence, Math.max(event_ms, newest.get(sequence) ?? event_ms));
  const before = new Map<number, number>();
  let greatest = Number.NEGATIVE_INFINITY;
  for (const sequence of [...newest.keys()].sort((a, b) => a - b)) {
    before.set(sequence, greatest);
    greatest = Math.max(greatest, newest.get(sequence)!);
  }
  const countBehind = (of: ReadonlyMap<number, number>) =>
    archived.filter(({ sequence, event_ms }) => event_ms < of.get(sequence)!).length;
  const least = countBehind(before);
  expect(late).toBeGreaterThanOrEqual(least);
  for (const [sequence, at] of before) newest.set(sequence, Math.max(at, newest.get(sequence)!));
  expect(late).toBeLessThanOrEqual(countBehind(newest));
}

/**
 * As the topic says it, but for what was, or may have been, ahead of the clock: that was decided when its time had come, before the
 * first message that arrived by then.
 */
function inOrderOfDecision(
  source: Source,
  messages: readonly Message[],
  archived: readonly Archived[],
  held: ReadonlySet<number>,
): Message[] {
  const rows = new Map(archived.map((row) => [row.offset, row]));
  const plain: Message[] = [];
  const moved: Array<{ message: Message; at: number; before: (row: Archived) => boolean }> = [];
  let arrived = Number.NEGATIVE_INFINITY;
  for (const message of messages) {
    const row = rows.get(message.offset);
    if (row !== undefined && held.has(row.offset)) {
      moved.push({ message, at: row.event_ms, before: ({ sequence }) => sequence >= row.sequence });
      continue;
    }
    const at = row?.event_ms ?? (parse(source, message.value)?.[source.eventTime] as number | undefined);
    if (row === undefined && at !== undefined && at > arrived)
      moved.push({ message, at, before: ({ arrived_ms }) => arrived_ms >= at });
    else plain.push(message);
    arrived = Math.max(arrived, row?.arrived_ms ?? arrived);
  }
  const placed = moved.map((one) => {
    const place = plain.findIndex(({ offset }) => {
      const row = rows.get(offset);
      return offset > one.message.offset && row !== undefined && one.before(row);
    });
    return { ...one, place: place === -1 ? plain.length : place };
  });
  placed.sort((a, b) => a.place - b.place || a.at - b.at || a.message.offset - b.message.offset);
  const ordered: Message[] = [];
  plain.forEach((message, place) => {
    while (placed[0]?.place === place) ordered.push(placed.shift()!.message);
    ordered.push(message);
  });
  return [...ordered, ...placed.map(({ message }) => message)];
}

interface Decision {
  outcome: Outcome;
  values: Record<string, Value> | null;
}

/** By offset. */
function decide(
  source: Source,
  messages: readonly Message[],
  imported: readonly Archived[],
): Map<number, Decision> {
  const cutAt = source.stream?.cutAtMs ?? Number.NEGATIVE_INFINITY;
  const known: Array<Record<string, Value>> = imported.map((row) => columnsOf(source, row));
  const decisions = new Map<number, Decision>();
  let greatest = Number.NEGATIVE_INFINITY;
  for (const { offset, value } of messages) {
    const values = parse(source, value);
    const outcome = ((): Outcome => {
      if (values === null) return 'invalid';
      const at = values[source.eventTime] as number;
      if (at > Date.now() + HOUR / 2) return 'invalid';
      const twin = known.find(
        (other) =>
          other[source.id!] === values[source.id!] &&
          (at < cutAt || Math.abs(knownAt(source, other) - knownAt(source, values)) <= source.dedupeMs),
      );
      if (twin !== undefined) {
        const columns = Object.keys(source.columns).filter((name) => name !== source.arrival);
        return columns.every((name) => isDeepStrictEqual(twin[name], values[name]))
          ? 'duplicate'
          : 'conflict';
      }
      if (at < greatest - source.allowedLatenessMs) return 'too_late';
      known.push(values);
      greatest = Math.max(greatest, at);
      return 'archived';
    })();
    decisions.set(offset, { outcome, values });
  }
  return decisions;
}

function knownAt(source: Source, values: Record<string, Value>): number {
  const at = values[source.eventTime] as number;
  const declared = source.arrival === null ? null : (values[source.arrival] as number | null);
  return Math.max(at, declared ?? at + source.arrivalDelayMs);
}

/** The columns of a message; null: it is no event. */
function parse(source: Source, value: Buffer | null): Record<string, Value> | null {
  let row: unknown;
  try {
    row = parseLossless(
      new TextDecoder('utf-8', { fatal: true }).decode(value ?? Buffer.of(0xff)),
      null,
      exact,
    );
  } catch {
    return null;
  }
  if (typeof row !== 'object' || row === null || Array.isArray(row)) return null;
  const values: Record<string, Value> = {};
  for (const [name, { type, nullable, length }] of Object.entries(source.columns)) {
    const field = (row as Record<string, unknown>)[name] ?? null;
    const isRequired = !nullable || [source.eventTime, source.id, source.sequence].includes(name);
    if (field === null && isRequired) return null;
    if (field === null) values[name] = null;
    else if (type === 'string' && typeof field === 'string') values[name] = field;
    else if (type === 'int64' && isWhole(field)) values[name] = field;
    else if (type === 'list<string>' && isListOf('string', field, length)) values[name] = field as string[];
    else if (type === 'list<float64>' && isListOf('number', field, length)) values[name] = field as number[];
    else if (type === 'float64' && typeof field === 'number') values[name] = field;
    else if (type === 'bool' && typeof field === 'boolean') values[name] = field;
    else if (type === 'timestamp' && typeof field === 'string' && !Number.isNaN(Date.parse(field)))
      values[name] = Date.parse(field);
    else return null;
  }
  return values;
}

/** Whole numbers beyond the safe ones are bigints. */
function exact(digits: string): number | bigint {
  return /^-?[0-9]+$/.test(digits) && !Number.isSafeInteger(Number(digits)) ? BigInt(digits) : Number(digits);
}

const isWhole = (field: unknown): field is number | bigint =>
  Number.isSafeInteger(field) || (typeof field === 'bigint' && BigInt.asIntN(64, field) === field);

const isListOf = (type: 'string' | 'number', field: unknown, length: number | undefined): boolean =>
  Array.isArray(field) &&
  (length === undefined || field.length === length) &&
  field.every((one) => typeof one === type);

const offsetsOf = (decided: ReadonlyMap<number, Decision>, wanted: Outcome): number[] =>
  [...decided]
    .filter(([, { outcome }]) => outcome === wanted)
    .map(([offset]) => offset)
    .sort((a, b) => a - b);

async function checkSetAside(
  pool: Pool,
  source: Source,
  messages: readonly Message[],
  decided: ReadonlyMap<number, Decision>,
): Promise<void> {
  const { rows } = await pool.query<{ offset: number; outcome: string; body: string; reason: string }>(
    `select "offset", outcome, body, reason from set_aside where source = $1 and partition = 0 order by "offset"`,
    [source.name],
  );
  const isAside = ({ outcome }: Decision) => outcome !== 'archived' && outcome !== 'duplicate';
  const expected = [...decided].filter(([, one]) => isAside(one)).sort(([a], [b]) => a - b);
  expect(rows.map(({ offset, outcome }) => [offset, outcome])).toEqual(
    expected.map(([offset, { outcome }]) => [offset, outcome]),
  );
  for (const { offset, body, reason } of rows) {
    expect(reason).not.toBe('');
    expect(JSON.parse(body)).toBe(messages[offset]!.value?.toString('utf8') ?? '');
  }
}

async function checkCounts(
  pool: Pool,
  source: Source,
  messages: readonly Message[],
  decided: ReadonlyMap<number, Decision>,
): Promise<Record<Outcome | 'late', number>> {
  const { rows } = await pool.query<{ late: number }>(
    `select next_offset, archived, duplicate, conflict, invalid, too_late, late, parity,
            (select count(*) from held where held.source = $1)::integer as held
       from stream_offset where source = $1`,
    [source.name],
  );
  const counts = Object.fromEntries(
    (['archived', 'duplicate', 'conflict', 'invalid', 'too_late'] as const).map((outcome) => [
      outcome,
      offsetsOf(decided, outcome).length,
    ]),
  ) as Record<Outcome, number>;
  const { late } = rows[0]!;
  expect(rows).toEqual([{ ...counts, late, next_offset: messages.length, parity: 0, held: 0 }]);
  return { ...counts, late };
}

function columnsOf(source: Source, row: Archived): Record<string, Value> {
  return Object.fromEntries(Object.keys(source.columns).map((name) => [name, row[`c_${name}`]!]));
}

function eventOf(source: Source, row: Archived): Event {
  return {
    timestamp: row.event_ms,
    arrivedAt: row.arrived_ms,
    sequence: row.sequence,
    order: row.ordinal,
    id: row.event_id,
    values: Object.keys(source.columns)
      .sort()
      .map((name) => row[`c_${name}`]!),
  };
}

/** Every record and snapshot of a view; gives the number of values compared. */
async function checkView(
  { pool, redis, environment }: Place,
  source: Source,
  name: string,
  events: readonly Event[],
): Promise<number> {
  const version = await resolveView(pool, name);
  if (version.kind !== 'aggregation') throw new Error(`${name} is no aggregation view`);
  const { view, entity } = version;
  const compiled = compileView(view, source);
  const records = await readRecords(redis, environment, entity.name, version.id);
  let compared = 0;
  for (const [key, own] of byEntity(source, view, entity, events)) {
    const at = onlineKey(environment, entity.name, Buffer.from(key, 'hex'));
    compared += checkRecord(compiled, source, records.get(at), own);
    records.delete(at);
  }
  expect([...records.keys()]).toEqual([]);

  const entities = byEntity(source, view, entity, events);
  const { rows } = await pool.query<{ key: Buffer; sequence: number; as_of_ms: number; state: Buffer }>(
    'select key, sequence, as_of_ms, state from snapshot where version_id = $1',
    [version.id],
  );
  for (const { key, sequence, as_of_ms, state } of rows) {
    const own = entities.get(key.toString('hex')) ?? [];
    expect(encodeRecord(compiled, decodeState(compiled, state))).toEqual(
      encodeRecord(compiled, stateOf(compiled, own, sequence, as_of_ms)),
    );
  }
  return compared;
}

async function readRecords(
  redis: Redis,
  environment: string,
  entity: string,
  versionId: number,
): Promise<Map<string, Buffer>> {
  const keys = await redis.keys(`${environment}:{${entity}:*}`);
  const records = new Map<string, Buffer>();
  for (const key of keys) {
    const record = await redis.hgetBuffer(key, String(versionId));
    if (record !== null) records.set(key, record);
  }
  return records;
}

/** By entity key in hex. */
function byEntity(
  source: Source,
  view: AggregationView,
  entity: Entity,
  events: readonly Event[],
): Map<string, Event[]> {
  const names = Object.keys(source.columns).sort();
  const entities = new Map<string, Event[]>();
  for (const event of events) {
    const parts = view.key.map((column) => event.values[names.indexOf(column)]!);
    if (parts.some((part) => part === null)) continue;
    const key = Buffer.from(encodeKey(entity, parts)).toString('hex');
    const own = entities.get(key);
    if (own) own.push(event);
    else entities.set(key, [event]);
  }
  return entities;
}

/** What the engine makes of these events in one go. */
function stateOf(compiled: CompiledView, events: readonly Event[], sequence: number, asOf: number): State {
  const state = createState(compiled);
  for (const event of events) if (event.sequence <= sequence) fold(compiled, state, event);
  advance(compiled, state, asOf);
  return state;
}

/** Of a record, at most so many are asked of the oracle, from the first to the last; the rest is in its bytes. */
const STEPS = 12;

function checkRecord(
  compiled: CompiledView,
  source: Source,
  record: Buffer | undefined,
  events: readonly Event[],
): number {
  const { view } = compiled;
  const ask = (at: number) =>
    answer(view, source, events, { type: 'record', at, sequence: Number.MAX_SAFE_INTEGER });
  const whole = ask(MAX_TIMESTAMP);
  if (whole.eventCount === 0) {
    expect(record).toBe(undefined);
    return 0;
  }
  if (record === undefined)
    throw new Error(`an entity of ${whole.eventCount} events has no record in ${view.name}`);
  const header = decodeHeader(record);
  expect(header).toMatchObject({
    eventCount: whole.eventCount,
    eventTimestamp: whole.eventTimestamp,
    firstEventTimestamp: whole.firstEventTimestamp,
    createdTimestamp: Math.max(...whole.included.map(({ arrivedAt }) => arrivedAt)),
    sequence: Math.max(...whole.included.map(({ sequence }) => sequence)),
  });
  expect(header.asOf).toBeGreaterThanOrEqual(header.eventTimestamp);
  expect(record).toEqual(recordOf(compiled, stateOf(compiled, events, header.sequence, header.asOf)));

  const all = recordSteps(compiled, record);
  const every = Math.ceil(all.length / STEPS);
  const steps = all.filter((_, i) => i % every === 0).flatMap((step) => [step - 1, step, step + 1]);
  const later = [1, 10 * MINUTE, HOUR, DAY, 30 * DAY].map((ms) => header.asOf + ms);
  let compared = 0;
  for (const at of [header.asOf, ...steps, ...later]) {
    if (at < header.asOf) continue;
    const reading = readRecord(compiled, record, at)!;
    expect(reading.horizonPassed).toBe(header.refreshAt !== null && at >= header.refreshAt);
    if (reading.horizonPassed) continue; // it says that it does not know
    const judged = judge(view, reading, at);
    const expected = ask(at);
    const told = view.features.map(({ name }, i) => ({
      name,
      value: judged.values[i],
      status: judged.statuses[i],
    }));
    expect({ at, eventTimestamp: judged.eventTimestamp, told }).toEqual({
      at,
      eventTimestamp: expected.eventTimestamp,
      told: view.features.map(({ name }) => ({
        name,
        value: expected.values[name],
        status: expected.statuses[name],
      })),
    });
    compared += told.length;
  }
  return compared;
}
