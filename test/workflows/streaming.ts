/** For tests of streams: a topic of one's own in the shared Kafka, events with everything wrong with them, and the check with the oracle. */

import { Kafka, logLevel, type Producer } from 'kafkajs';
import { expect, vi } from 'vitest';
import { recordOf } from '../../activities/output.js';
import { writeJson } from '../../core/codec/json.js';
import { compileView } from '../../core/compile.js';
import type { AggregationView, Definitions, Source } from '../../core/definition.js';
import { columnNames } from '../../core/event.js';
import { decodeHeader, readRecord, recordSteps } from '../../core/record.js';
import { decodeState } from '../../core/state.js';
import { formatTimestamp, HOUR, MAX_TIMESTAMP } from '../../core/time.js';
import { answer } from '../../oracle/oracle.js';
import { servicesOf } from './definitions.js';
import type { TestEnvironment } from './environment.js';
import {
  entitiesOf,
  type MadeEvent,
  makeEvents,
  readStored,
  userNow,
  versionOf,
  visits,
  world,
} from './world.js';

/** Before it a file tells, from it on the topic. */
export const cutAtMs = Date.now() - 3 * HOUR;

/** The source of world.ts, going on as a topic. */
export const streamed: Source = {
  ...visits,
  stream: { topic: 'visits', cutAtMs },
  allowedLatenessMs: HOUR,
};

export const streamWorld = (views: AggregationView[]): Definitions => ({
  ...world,
  sources: [streamed],
  views,
  services: servicesOf(views),
});

export const buysNow: AggregationView = {
  ...userNow,
  name: 'user_buys',
  where: { op: 'eq', args: [{ col: 'kind' }, { lit: 'buy' }] },
};

export interface Topic {
  produce(values: ReadonlyArray<string | Buffer | null>): Promise<void>;
  close(): Promise<void>;
}

export async function openTopic({ config }: TestEnvironment, create = false): Promise<Topic> {
  const kafka = new Kafka({ clientId: 'test', brokers: config.kafkaBrokers, logLevel: logLevel.NOTHING });
  const topic = `${config.environment}.visits`;
  if (create) {
    const admin = kafka.admin();
    await admin.connect();
    await admin.createTopics({ topics: [{ topic, numPartitions: 1 }] });
    await admin.disconnect();
  }
  const producer: Producer = kafka.producer();
  await producer.connect();
  return {
    async produce(values) {
      await producer.send({ topic, acks: -1, messages: values.map((value) => ({ value })) });
    },
    close: () => producer.disconnect(),
  };
}

export function message({ values }: Pick<MadeEvent, 'values'>, source: Source = visits): string {
  const row = Object.fromEntries(
    columnNames(source).map((name, i) => [
      name,
      source.columns[name]!.type === 'timestamp' && values[i] !== null
        ? formatTimestamp(values[i] as number)
        : values[i],
    ]),
  );
  return writeJson(row);
}

/** Rows as a file says them. */
export function csvOf(events: readonly MadeEvent[], source: Source = visits): string {
  const names = columnNames(source);
  const field = (name: string, value: MadeEvent['values'][number]): string => {
    if (value === null) return '';
    if (source.columns[name]!.type === 'timestamp') return formatTimestamp(value as number);
    const text = typeof value === 'object' ? writeJson(value) : String(value);
    return typeof value === 'object' || typeof value === 'string' ? `"${text.replaceAll('"', '""')}"` : text;
  };
  const lines = events.map(({ values }) => values.map((value, i) => field(names[i]!, value)).join(','));
  return [names.join(','), ...lines, ''].join('\n');
}

export interface Made {
  messages: string[];
  duplicates: number;
  conflicts: number;
  invalid: number;
  /** Later than allowed, if the events span more than that. */
  late: number;
}

/** Events of the last hours in about the order of time, some late, some of them twice or under an id that is taken; some are none. */
export function makeMessages(count: number, seed: number, hours = 6): Made {
  const now = Date.now();
  const events = makeEvents(count, { start: now - hours * HOUR, end: now - 1_000, seed });
  // somewhat out of order, within the allowed lateness
  const ordered = events
    .map((event, i) => ({ event, at: event.timestamp + ((i * 7919) % 50) * 60_000 }))
    .sort((a, b) => a.at - b.at)
    .map(({ event }) => event);
  const made: Made = { messages: [], duplicates: 0, conflicts: 0, invalid: 0, late: 0 };
  const late: string[] = [];
  ordered.forEach((event, i) => {
    if (i % 40 === 9 && i < count / 2) {
      late.push(message(event));
      return;
    }
    made.messages.push(message(event));
    if (i % 11 === 3) {
      made.messages.push(message(event));
      made.duplicates++;
    }
    if (i % 29 === 5) {
      const cents = columnNames(visits).indexOf('cents');
      made.messages.push(message({ values: event.values.with(cents, 123_456) }));
      made.conflicts++;
    }
    if (i % 17 === 2) {
      const wrong = ['{', 'null', '{"visit_id": 5}', message(event).replace('"kind":"', '"kind":7,"k":"')];
      made.messages.push(wrong[i % wrong.length]!);
      made.invalid++;
    }
  });
  made.messages.push(...late);
  return { ...made, late: late.length };
}

export interface Offsets {
  next_offset: number;
  epoch: number;
  archived: number;
  duplicate: number;
  conflict: number;
  invalid: number;
  too_late: number;
  state: string;
}

export async function offsetsOf({ deps }: TestEnvironment): Promise<Offsets> {
  const { rows } = await deps.pool.query<Offsets>(`select * from stream_offset where source = 'visits'`);
  return rows[0]!;
}

export async function untilRead(env: TestEnvironment, offset: number): Promise<void> {
  await vi.waitFor(async () => expect((await offsetsOf(env)).next_offset).toBe(offset), {
    timeout: 60_000,
    interval: 50,
  });
}

async function compiledOf(env: TestEnvironment, { name }: AggregationView) {
  const { view, source } = await versionOf(env, name);
  return compileView(view, source);
}

/** The record of every entity holds all its archived events and reads, at each of its steps, as the oracle answers. */
export async function checkOnline(env: TestEnvironment, view: AggregationView): Promise<number> {
  const compiled = await compiledOf(env, view);
  const { records } = await readStored(env, view);
  let checked = 0;
  for (const { key, events } of await entitiesOf(env, view)) {
    const record = records.get(Buffer.from(key).toString('hex'));
    const ask = (at: number) =>
      answer(view, compiled.source, events, { type: 'record', at, sequence: Number.MAX_SAFE_INTEGER });
    const whole = ask(MAX_TIMESTAMP);
    if (whole.status === 'NOT_FOUND' && whole.retractions.length === 0) {
      expect(record).toBe(undefined);
      continue;
    }
    if (record === undefined) throw new Error(`an entity has no record in ${view.name}`);
    const header = decodeHeader(record);
    expect(header.eventCount).toBe(whole.eventCount);
    const folded = events.filter((event) => compiled.accepts(event));
    expect(header.sequence).toBe(Math.max(...folded.map(({ sequence }) => sequence)));
    if (whole.eventCount === 0) {
      expect(readRecord(compiled, record, MAX_TIMESTAMP)).toBe(null);
      checked++;
      continue;
    }
    expect(header.eventTimestamp).toBe(whole.eventTimestamp);
    for (const at of [header.asOf, ...recordSteps(compiled, record).flatMap((step) => [step - 1, step])]) {
      if (at < header.asOf) continue;
      const { values } = readRecord(compiled, record, at)!;
      expect(Object.fromEntries(compiled.view.features.map(({ name }, i) => [name, values[i]]))).toEqual(
        ask(at).values,
      );
      checked++;
    }
  }
  return checked;
}

/** Snapshots are the states of the records, to the byte. */
export async function checkSnapshots(env: TestEnvironment, view: AggregationView): Promise<number> {
  const compiled = await compiledOf(env, view);
  const { records, snapshots } = await readStored(env, view);
  expect(snapshots.length).toBe(records.size);
  for (const { key, state } of snapshots)
    expect(recordOf(compiled, decodeState(compiled, state))).toEqual(records.get(key.toString('hex')));
  return snapshots.length;
}
