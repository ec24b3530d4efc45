/**
 * One partition of a topic, from an offset on: what a shard knows of Kafka, and kafkajs behind it.
 *
 * Where reading goes on is Postgres' to say (stream_offset), never the broker's: nothing is committed to it, and each reader has a
 * group of its own, so that no rebalance of others touches it. kafkajs starts a partition anew when it has to join again; what
 * comes below the offset asked for is skipped here. It may also give up for good with the process alive, or go round in circles:
 * `next` then throws.
 */
import { setTimeout as delay } from 'node:timers/promises';
import { type Consumer, type EachBatchPayload, Kafka, logLevel } from 'kafkajs';
import { FeatureStoreError } from '../../core/error.js';

export interface Message {
  offset: number;
  /** null: a message without a body. */
  value: Buffer | null;
}

export interface MessageBatch {
  messages: Message[];
  /** Where the next batch begins: offsets may have gaps. */
  nextOffset: number;
  /** Of the topic, when the batch was fetched. */
  endOffset: number;
}

export interface EventSource {
  /** Begins at an offset. Throws FS_CONFLICT when the topic does not hold it. */
  open(offset: number): Promise<void>;
  /** What comes next; the batch before it is then done with. null: nothing within `waitMs`. Throws FS_UNAVAILABLE. */
  next(waitMs: number): Promise<MessageBatch | null>;
  pause(): void;
  resume(): void;
  close(): Promise<void>;
}

export interface KafkaPlace {
  brokers: string[];
  topic: string;
  partition: number;
  /** Unique to this reader. */
  group: string;
}

// A batch waits this long at the broker for more, at most.
const MAX_WAIT_MS = 50;
const SESSION_MS = 30_000;
// Fetches of an idle partition end every MAX_WAIT_MS; a reader without any for so long is none.
const SILENCE_MS = 30_000;

export function createKafkaSource(place: KafkaPlace): EventSource {
  return new KafkaSource(place);
}

class KafkaSource implements EventSource {
  readonly #place: KafkaPlace;
  readonly #kafka: Kafka;
  readonly #consumer: Consumer;
  #expected = 0;
  #offered: { batch: MessageBatch; done: () => void } | null = null;
  #taken: { done: () => void } | null = null;
  #wake: () => void = () => {};
  #failure: FeatureStoreError | null = null;
  #paused = false;
  #lastSign = 0;

  constructor(place: KafkaPlace) {
    this.#place = place;
    this.#kafka = new Kafka({
      clientId: place.group,
      brokers: place.brokers,
      logLevel: logLevel.NOTHING, // what matters is thrown
      connectionTimeout: 5_000,
      requestTimeout: 15_000,
    });
    this.#consumer = this.#kafka.consumer({
      groupId: place.group,
      maxWaitTimeInMs: MAX_WAIT_MS,
      sessionTimeout: SESSION_MS,
      allowAutoTopicCreation: false,
    });
    this.#consumer.on('consumer.crash', ({ payload }) => {
      if (!payload.restart) this.#fail(payload.error);
    });
    // Before it has joined there is nothing to seek in; and it forgets where it was when it joins again.
    this.#consumer.on('consumer.group_join', () => {
      const { topic, partition } = this.#place;
      this.#consumer.seek({ topic, partition, offset: String(this.#expected) });
    });
    this.#consumer.on('consumer.fetch', () => {
      this.#lastSign = performance.now();
    });
  }

  async open(offset: number): Promise<void> {
    const { topic } = this.#place;
    this.#expected = offset;
    this.#lastSign = performance.now();
    try {
      await this.#assertHeld(offset);
      await this.#consumer.connect();
      await this.#consumer.subscribe({ topic, fromBeginning: true });
      await this.#consumer.run({
        autoCommit: false,
        eachBatchAutoResolve: false,
        eachBatch: (payload) => this.#offer(payload),
      });
    } catch (error) {
      throw away(error);
    }
  }

  async next(waitMs: number): Promise<MessageBatch | null> {
    this.#taken?.done();
    this.#taken = null;
    if (this.#offered === null && this.#failure === null) {
      let timer: NodeJS.Timeout | undefined;
      await new Promise<void>((resolve) => {
        this.#wake = resolve;
        timer = setTimeout(resolve, waitMs);
      });
      clearTimeout(timer);
    }
    if (this.#failure) throw this.#failure;
    if (this.#offered === null) {
      if (!this.#paused && performance.now() - this.#lastSign > SILENCE_MS)
        throw away(new Error(`nothing was fetched for ${SILENCE_MS} ms`));
      return null;
    }
    const { batch, done } = this.#offered;
    this.#offered = null;
    this.#taken = { done };
    this.#expected = batch.nextOffset;
    return batch;
  }

  pause(): void {
    this.#paused = true;
    this.#consumer.pause([{ topic: this.#place.topic }]);
  }

  resume(): void {
    this.#paused = false;
    this.#lastSign = performance.now();
    this.#consumer.resume([{ topic: this.#place.topic }]);
  }

  async close(): Promise<void> {
    this.#taken?.done();
    this.#offered?.done();
    await this.#consumer.disconnect();
  }

  /** Hands a batch over and waits until it is done with; the group hears meanwhile that we live. */
  async #offer(payload: EachBatchPayload): Promise<void> {
    const { batch } = payload;
    const { topic, partition } = this.#place;
    if (batch.partition !== partition || payload.isStale()) return;
    const first = Number(batch.firstOffset() ?? 0);
    const last = Number(batch.lastOffset());
    if (last < this.#expected) {
      this.#consumer.seek({ topic, partition, offset: String(this.#expected) });
      return;
    }
    if (first > this.#expected) {
      try {
        await this.#assertHeld(this.#expected); // else the broker has begun elsewhere by itself
      } catch (error) {
        this.#fail(error);
        return;
      }
    }
    const messages = batch.messages
      .map(({ offset, value }) => ({ offset: Number(offset), value }))
      .filter(({ offset }) => offset >= this.#expected);
    let isDone = false;
    const done = new Promise<void>((resolve) => {
      this.#offered = {
        batch: { messages, nextOffset: last + 1, endOffset: Number(batch.highWatermark) },
        done: () => {
          isDone = true;
          resolve();
        },
      };
    });
    this.#wake();
    while (!isDone) {
      await Promise.race([done, delay(1_000, undefined, { ref: false })]);
      if (!isDone) await payload.heartbeat();
    }
    payload.resolveOffset(String(last));
    this.#lastSign = performance.now();
  }

  async #assertHeld(offset: number): Promise<void> {
    const { topic, partition } = this.#place;
    const admin = this.#kafka.admin();
    await admin.connect();
    try {
      const found = (await admin.fetchTopicOffsets(topic)).find((each) => each.partition === partition);
      const low = Number(found?.low ?? 0);
      const high = Number(found?.high ?? 0);
      if (offset >= low && offset <= high) return;
      throw new FeatureStoreError(
        'FS_CONFLICT',
        `topic ${topic} holds offsets ${low} to ${high} of partition ${partition}; the stream is at ${offset}`,
        { fix: 'the topic was made again, or lost what was not read yet: bring back its messages', topic },
      );
    } finally {
      await admin.disconnect();
    }
  }

  #fail(error: unknown): void {
    this.#failure ??= away(error);
    this.#wake();
  }
}

function away(error: unknown): FeatureStoreError {
  if (error instanceof FeatureStoreError) return error;
  return new FeatureStoreError(
    'FS_UNAVAILABLE',
    `Kafka does not answer: ${error instanceof Error ? error.message : String(error)}`,
    { fix: 'start it, or set ALMANAC_KAFKA_BROKERS; then try again' },
    { cause: error },
  );
}
