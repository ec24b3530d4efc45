/**
 * What the fault tests of streams produce: events about now with everything wrong with them, for as long as they are asked for, over
 * the source and views of the workflow tests.
 */
import { Kafka, logLevel } from 'kafkajs';
import { assertDefinitions } from '../../core/check.js';
import type { AggregationView, Definitions, Source } from '../../core/definition.js';
import { columnNames, type Value } from '../../core/event.js';
import { DAY, HOUR, MINUTE, SECOND } from '../../core/time.js';
import { servicesOf } from '../workflows/definitions.js';
import { message, streamed } from '../workflows/streaming.js';
import { makeEvents, random, userNow, visitDaily, world } from '../workflows/world.js';

export const source: Source = streamed;

/** Few events and old ones are told apart from enough and new ones. */
const userBuys: AggregationView = {
  ...userNow,
  name: 'user_buys',
  where: { op: 'eq', args: [{ col: 'kind' }, { lit: 'buy' }] },
  ttlMs: 10 * MINUTE,
  minEvents: 3,
  features: userNow.features.map((feature) => ({ ...feature, name: `buys_${feature.name}` })),
};
const visitNow: AggregationView = {
  ...visitDaily,
  name: 'visit_now',
  mode: { type: 'streaming', rowsEveryMs: HOUR },
};

export const VIEWS = [userNow, userBuys, visitNow];

/** @param views of them, those that are applied */
export function definitionsOf(views: readonly AggregationView[]): Definitions {
  return assertDefinitions({
    ...world,
    sources: [source],
    views: [...views],
    services: servicesOf([...views]),
  });
}

export type Body = Buffer | string | null;

/**
 * The next messages, the same kinds for the same seed: most events are of this second, some up to 50 minutes late, some hours, some
 * seconds ahead, some a day; some are told twice, or again with another body; some are no events.
 */
export function createFlow(seed: number, users = 25): (count: number) => Body[] {
  const next = random(seed);
  const pick = <T>(list: readonly T[]): T => list[Math.floor(next() * list.length)]!;
  const names = columnNames(source);
  const at = {
    time: names.indexOf(source.eventTime),
    seen: names.indexOf('seen_at'),
    cents: names.indexOf('cents'),
  };
  const told: Array<{ values: readonly Value[] }> = [];
  const shiftOf = (): number => {
    const dice = next();
    if (dice < 0.04) return -Math.floor((2 + 3 * next()) * HOUR);
    if (dice < 0.3) return -Math.floor(50 * MINUTE * next());
    if (dice < 0.36) return Math.floor((1 + 2 * next()) * SECOND);
    if (dice < 0.37) return DAY;
    return -Math.floor(SECOND * next());
  };
  const broken = (): Body =>
    pick<Body>(['{', 'null', '[]', '{"visit_id": 5}', null, Buffer.of(0x7b, 0xff, 0x7d), '']);
  let round = 0;
  return (count) => {
    const now = Date.now();
    const events = makeEvents(count, { start: 0, end: 1, seed: seed * 1_000_000 + round++, users });
    return events.flatMap(({ values }): Body[] => {
      const time = now + shiftOf();
      const event = {
        values: values.with(at.time, time).with(at.seen, next() < 0.5 ? null : time + pick([0, 0, MINUTE])),
      };
      told.push(event);
      const bodies: Body[] = [message(event)];
      if (next() < 0.05) bodies.push(message(event));
      if (next() < 0.05) bodies.push(message(pick(told)));
      if (next() < 0.03) bodies.push(message({ values: pick(told).values.with(at.cents, 123_456) }));
      if (next() < 0.03) bodies.push(broken());
      return bodies;
    });
  };
}

export interface Production {
  /** Messages that the brokers have acknowledged. */
  readonly sent: number;
  /** Ends it; what was made is delivered first. */
  stop(): Promise<void>;
}

// A rate, not a wait: some 60 messages a second.
const EVERY_MS = 100;
const AT_ONCE = 5;

/** Goes on producing through any outage of the brokers; a message may be in the topic twice, then. */
export async function startProduction(brokers: string[], topic: string, seed: number): Promise<Production> {
  const kafka = new Kafka({
    clientId: 'flow',
    brokers,
    logLevel: logLevel.NOTHING,
    connectionTimeout: 1_000,
    requestTimeout: 5_000,
    retry: { initialRetryTime: 100, maxRetryTime: 1_000, retries: 1_000 },
  });
  const producer = kafka.producer({
    idempotent: true,
    maxInFlightRequests: 1,
    allowAutoTopicCreation: false,
  });
  await producer.connect();
  const flow = createFlow(seed);
  let isOn = true;
  let sent = 0;
  const running = (async () => {
    while (isOn) {
      const bodies = flow(AT_ONCE);
      await producer.send({ topic, acks: -1, messages: bodies.map((value) => ({ value })) });
      sent += bodies.length;
      await new Promise((resolve) => setTimeout(resolve, EVERY_MS));
    }
  })();
  running.catch(() => {}); // heard by stop
  return {
    get sent() {
      return sent;
    },
    async stop() {
      isOn = false;
      await running;
      await producer.disconnect();
    },
  };
}
