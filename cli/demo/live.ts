/**
 * The demo's last hour, as it happens: produces a list of messages to the shop's topics at their pace, then waits until all of it is
 * archived and readable. Any process may be killed meanwhile and started again: whatever is away is waited for, aloud.
 *
 * Searches have no id, so none may be produced twice: the producer is idempotent, and a batch that was not acknowledged is sent
 * again as it was, by the same producer, so that the broker knows it.
 */
import { setTimeout as delay } from 'node:timers/promises';
import { Kafka, logLevel } from 'kafkajs';
import { FeatureStoreError } from '../../core/error.js';
import type { LiveCounts, LiveMessage, LiveSource } from '../../examples/shop/live.js';
import { createClient } from '../client.js';
import type { Status } from '../commands/status.js';
import type { Output } from '../output.js';
import { formatCount } from '../text.js';
import { Freshness, watchFreshness } from './freshness.js';
import type { DemoReport, Miscount } from './report.js';

/** The view of each source that a service reads, by one of its features: its event timestamp is looked at. */
const READ_THROUGH: Record<LiveSource, string> = {
  interactions: 'user_activity:user_last_category_viewed',
  searches: 'user_searches:user_search_queries_last_hour',
  orders: 'user_purchases:user_time_since_last_purchase',
};
const SOURCES = ['interactions', 'searches', 'orders'] as const;
const PROBES = 300;
const BATCH = 200;
/** A server that was killed is started again by hand. */
const PATIENCE_MS = 10 * 60_000;
/** A stream that does not move at all for so long will not. */
const STANDS_MS = 5 * 60_000;
const SAY_EVERY_MS = 10_000;

export interface LivePhase {
  /** In the order in which they are produced. */
  messages: readonly LiveMessage[];
  /** What should become of them. */
  made: LiveCounts;
  startMs: number;
  endMs: number;
  /** The hour takes so long. */
  paceMs: number;
  topicOf: (source: LiveSource) => string;
  kafkaBrokers: string[];
  registryUrl: string;
  servingUrl: string;
  out: Output;
}

export async function streamHour(phase: LivePhase): Promise<DemoReport['stream']> {
  const { messages, made, out } = phase;
  const onWait = (text: string): void => out.note(`.. ${text}`);
  const registry = createClient({ url: phase.registryUrl, patienceMs: PATIENCE_MS, onWait });
  const readStreams = async (): Promise<Stream[]> => (await registry.get<Status>('/v1/status')).streams;
  const began = await readStreams();

  const freshness = new Freshness();
  const ended = new AbortController();
  let isOver = false;
  const watching = watchFreshness({
    url: phase.servingUrl,
    freshness,
    isOver: () => isOver,
    signal: ended.signal,
    onWait,
  });
  try {
    await out.step(`an hour in ${phase.paceMs / 1000} s`, async (step) => {
      let sent = 0;
      await produce(phase, freshness, (count) => {
        sent += count;
        step.progress({
          done: sent,
          total: messages.length,
          unit: 'events',
          ratePerSecond: null,
          message: '',
        });
      });
      step.done(`${formatCount(sent)} events produced`);
    });
    const streams = await out.step('waiting until all of it is archived', () =>
      untilThrough(
        readStreams,
        (source) => {
          const before = began.find((each) => each.source === source)?.offset ?? 0;
          return before + messages.filter((each) => each.source === source).length;
        },
        onWait,
      ),
    );
    isOver = true;
    await out.step('waiting until all of it is readable', async (step) => {
      await watching;
      const { probes, freshnessP50Ms, freshnessP99Ms } = freshness.measured();
      step.done(`p50 ${freshnessP50Ms} ms, p99 ${freshnessP99Ms} ms of ${probes} events`);
    });
    const counted = subtract(sum(streams), sum(began));
    return {
      events: messages.length,
      ...freshness.measured(),
      archived: counted.archived ?? 0,
      late: counted.late ?? 0,
      duplicate: counted.duplicate ?? 0,
      conflict: counted.conflict ?? 0,
      invalid: counted.invalid ?? 0,
      tooLate: counted.tooLate ?? 0,
      miscounted: compareCounts(made, counted),
    };
  } finally {
    ended.abort();
  }
}

/** What was made on purpose, where the platform counted otherwise. */
export function compareCounts(made: LiveCounts, counted: Readonly<Record<string, number>>): Miscount[] {
  const { events: _events, ...outcomes } = made;
  return Object.entries(outcomes).flatMap(([outcome, count]) =>
    counted[outcome] === count ? [] : [{ outcome, made: count, counted: counted[outcome] ?? 0 }],
  );
}

type Stream = Status['streams'][number];

/** Each topic in its order, each message at its time. */
async function produce(
  phase: LivePhase,
  freshness: Freshness,
  onSent: (count: number) => void,
): Promise<void> {
  const { messages, startMs, endMs, paceMs, topicOf } = phase;
  const kafka = new Kafka({
    clientId: 'almanac demo',
    brokers: phase.kafkaBrokers,
    logLevel: logLevel.NOTHING, // what matters is said below
    connectionTimeout: 2_000,
    requestTimeout: 10_000,
    retry: { retries: 5, initialRetryTime: 100, maxRetryTime: 1_000 },
  });
  const producer = kafka.producer({
    idempotent: true,
    maxInFlightRequests: 1,
    allowAutoTopicCreation: false,
  });
  const probed = sample(messages);
  const say = sayEvery((text) => phase.out.note(`.. ${text}`));
  try {
    const deadline = performance.now() + paceMs + PATIENCE_MS;
    await untilTaken(() => producer.connect(), deadline, say);
    const began = performance.now();
    const dueAt = ({ atMs }: LiveMessage): number => began + (paceMs * (atMs - startMs)) / (endMs - startMs);
    await Promise.all(
      SOURCES.map(async (source) => {
        const own = messages.filter((each) => each.source === source);
        for (let next = 0; next < own.length; ) {
          await delay(Math.max(0, Math.ceil(dueAt(own[next]!) - performance.now())));
          const now = performance.now();
          const due: LiveMessage[] = [];
          while (next < own.length && due.length < BATCH && dueAt(own[next]!) <= now) due.push(own[next++]!);
          for (const each of due)
            if (probed.has(each))
              freshness.add({ feature: READ_THROUGH[source], user: each.user, eventMs: each.eventMs, producedMs: now }); // biome-ignore format: one thing
          const messages = due.map(({ body }) => ({ value: body }));
          await untilTaken(
            () => producer.send({ topic: topicOf(source), acks: -1, messages }),
            deadline,
            say,
          );
          onSent(due.length);
        }
      }),
    );
  } finally {
    await producer.disconnect();
  }
}

/** Events that are the newest of their user then, spread evenly; the last of each source among them. */
function sample(messages: readonly LiveMessage[]): Set<LiveMessage> {
  const newest = messages.filter(({ isNewest }) => isNewest);
  const every = Math.max(1, Math.floor(newest.length / PROBES));
  const chosen = new Set(newest.filter((_, i) => i % every === 0));
  for (const source of SOURCES) {
    const last = newest.findLast((each) => each.source === source);
    if (last) chosen.add(last);
  }
  return chosen;
}

/** Tries until Kafka does it; a batch is sent again as it was. */
async function untilTaken(
  work: () => Promise<unknown>,
  deadline: number,
  say: (text: string) => void,
): Promise<void> {
  for (;;) {
    try {
      await work();
      return;
    } catch (error) {
      const why = error instanceof Error ? error.message : String(error);
      if (performance.now() > deadline)
        throw new FeatureStoreError(
          'FS_UNAVAILABLE',
          `Kafka has not taken the events for ${PATIENCE_MS / 60_000} min: ${why}`,
          { fix: 'start it again: npm run almanac -- up --name demo; then run the demo again' },
          { cause: error },
        );
      say(`waiting for Kafka: ${why}`);
      await delay(250);
    }
  }
}

/** Until every stream has read all that was produced, nothing is held, and nothing is owed online. */
async function untilThrough(
  readStreams: () => Promise<Stream[]>,
  endOf: (source: LiveSource) => number,
  onWait: (text: string) => void,
): Promise<Stream[]> {
  let moved = { at: performance.now(), left: Number.POSITIVE_INFINITY };
  const say = sayEvery(onWait);
  for (;;) {
    const streams = await readStreams();
    const behind = SOURCES.flatMap((source) => {
      const stream = streams.find((each) => each.source === source);
      const left = stream ? Math.max(endOf(source) - stream.offset, stream.lag ?? 0) : endOf(source);
      const [held, owed] = [stream?.counts.held ?? 0, stream?.owed ?? 0];
      return left + held + owed === 0 ? [] : [{ source, left, held, owed }];
    });
    if (behind.length === 0) return streams;
    const left = behind.reduce((total, each) => total + each.left + each.held + each.owed, 0);
    const now = performance.now();
    if (left !== moved.left) moved = { at: now, left };
    const what = behind
      .map(
        ({ source, ...each }) =>
          `${source} (${each.left} unread, ${each.held} held, ${each.owed} owed online)`,
      )
      .join(', ');
    if (now - moved.at > STANDS_MS)
      throw new FeatureStoreError('FS_DEADLINE', `nothing has moved for ${STANDS_MS / 60_000} min: ${what}`, {
        fix: 'start what died: npm run almanac -- up --name demo; see stream/<source> in the Temporal UI',
      });
    if (now - moved.at > SAY_EVERY_MS) say(`waiting for ${what}`);
    await delay(100);
  }
}

function sayEvery(note: (text: string) => void): (text: string) => void {
  let saidAt = Number.NEGATIVE_INFINITY;
  return (text) => {
    if (performance.now() - saidAt < SAY_EVERY_MS) return;
    saidAt = performance.now();
    note(text);
  };
}

function sum(streams: readonly Stream[]): Record<string, number> {
  const total: Record<string, number> = {};
  for (const { counts } of streams)
    for (const [outcome, count] of Object.entries(counts)) total[outcome] = (total[outcome] ?? 0) + count;
  return total;
}

function subtract(counts: Record<string, number>, before: Record<string, number>): Record<string, number> {
  return Object.fromEntries(
    Object.entries(counts).map(([outcome, count]) => [outcome, count - (before[outcome] ?? 0)]),
  );
}
