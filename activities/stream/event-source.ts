/**
 * One partition of a topic, from a position on: what a shard knows of Kafka, and kafkajs behind it.
 *
 * Where reading goes on is Postgres' to say (stream_offset), never the broker's: nothing is committed to it, and each reader has a
 * group of its own, so that no rebalance of others touches it. (The broker forgets a group without members and offsets by itself,
 * within offsets.retention.check.interval.ms.) kafkajs starts a partition anew when it has to join again, and from its beginning,
 * without a word, where the topic does not hold what it asks for; topics have no identity that it could tell, and one may be deleted
 * and made again between any two fetches. So the newest message that was taken, the mark, is read once more for each batch and
 * compared: a topic that was made again has another message there, or none. A batch that was fetched from the mark on has it inside; one
 * that was waited for behind it is kept until the mark is seen after it, for a topic that is gone does not come back. Where more lies
 * ahead it is fetched from the mark on, so that only a reader that has caught up fetches twice. kafkajs may also give up for good with
 * the process alive, or go round in circles: `next` then throws.
 */
import { createHash } from 'node:crypto';
import { setTimeout as delay } from 'node:timers/promises';
import {
  type Admin,
  type Batch,
  type Consumer,
  type EachBatchPayload,
  Kafka,
  type KafkaMessage,
  logLevel,
} from 'kafkajs';
import { FeatureStoreError } from '../../core/error.js';
import { PARTITIONS } from '../../core/stream.js';

export interface Message {
  offset: number;
  /** null: a message without a body. */
  value: Buffer | null;
}

/** A message by which its topic is known again. */
export interface Mark {
  offset: number;
  /** Of its timestamp and body: sha256 in hex. */
  digest: string;
}

export interface Position {
  /** Of the next message. */
  offset: number;
  /** The newest message taken; null: none was. */
  mark: Mark | null;
}

export interface MessageBatch {
  messages: Message[];
  /** Where the next batch begins: offsets may have gaps. */
  nextOffset: number;
  /** Its last message; null: it has none, but moves on. */
  mark: Mark | null;
}

export interface EventSource {
  /** Of the topic, when it was last heard of: with each batch, and every two seconds while paused. */
  readonly endOffset: number;
  /** Begins at a position. Throws FS_CONFLICT when the topic does not hold it, or is another by now. */
  open(position: Position): Promise<void>;
  /**
   * What comes next; the batch before it is then done with. null: nothing within `waitMs`, or it is paused. Throws FS_UNAVAILABLE,
   * FS_CONFLICT as `open` does, FS_DATA_INVALID for messages that cannot be unpacked.
   */
  next(waitMs: number): Promise<MessageBatch | null>;
  pause(): void;
  resume(): void;
  /** Ends within some seconds, whatever Kafka does. Afterwards `next` throws. */
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
// Partitions that somebody adds are noticed after so long.
const METADATA_MS = 30_000;
const END_EVERY_MS = 2_000;
const END_ATTEMPTS = 6;
const END_PAUSE_MS = 500;
const CLOSE_MS = 5_000;

export function createKafkaSource(place: KafkaPlace): EventSource {
  return new KafkaSource(place);
}

class KafkaSource implements EventSource {
  readonly #place: KafkaPlace;
  readonly #admin: Admin;
  readonly #consumer: Consumer;
  #position: Position = { offset: 0, mark: null };
  /** Fetched, and given once the mark is seen. */
  #unproven: Batch | null = null;
  /** Whether its partitions were counted since the consumer joined. */
  #isCounted = false;
  #offered: { batch: MessageBatch; done: () => void } | null = null;
  #taken: { done: () => void } | null = null;
  #wake: () => void = () => {};
  #failure: FeatureStoreError | null = null;
  #isPaused = false;
  #lastSign = 0;
  #endOffset = 0;
  #endSeen = 0;

  constructor(place: KafkaPlace) {
    this.#place = place;
    const kafka = new Kafka({
      clientId: place.group,
      brokers: place.brokers,
      logLevel: logLevel.NOTHING, // what matters is thrown
      connectionTimeout: 5_000,
      requestTimeout: 15_000,
    });
    this.#admin = kafka.admin({ retry: { retries: 2 } });
    this.#consumer = kafka.consumer({
      groupId: place.group,
      maxWaitTimeInMs: MAX_WAIT_MS,
      sessionTimeout: SESSION_MS,
      metadataMaxAge: METADATA_MS,
      allowAutoTopicCreation: false,
    });
    // kafkajs may start anew by itself, but as another member of the group, and that waits until the session of the one before has
    // ended: 27 s after a broker came back. The next reader has a group of its own: 2 s.
    let hasJoined = false;
    this.#consumer.on('consumer.crash', ({ payload }) => {
      if (hasJoined || !payload.restart) this.#fail(payload.error);
    });
    // Before it has joined there is nothing to seek in; and it forgets where it was when it joins again.
    this.#consumer.on('consumer.group_join', () => {
      hasJoined = true;
      this.#isCounted = false;
      this.#unproven = null;
      this.#seek(this.#position.mark?.offset ?? this.#position.offset);
    });
    this.#consumer.on('consumer.fetch', () => {
      this.#lastSign = performance.now();
    });
    // Transaction markers and what was aborted are never offered; reading moves past them all the same, where it stands right before
    // them. The mark stays: the next message is compared.
    this.#consumer.on('consumer.end_batch_process', ({ payload }) => {
      const offset = this.#offered?.batch.nextOffset ?? this.#position.offset;
      if (payload.batchSize > 0 || payload.firstOffset !== String(offset)) return;
      const nextOffset = Number(payload.lastOffset) + 1;
      this.#endOffset = Number(payload.highWatermark);
      this.#offered = { batch: { messages: [], nextOffset, mark: null }, done: () => {} };
      this.#wake();
    });
  }

  get endOffset(): number {
    return this.#endOffset;
  }

  async open(position: Position): Promise<void> {
    const { topic } = this.#place;
    this.#position = position;
    this.#lastSign = performance.now();
    try {
      await this.#admin.connect();
      await this.#assertHeld();
      await this.#consumer.connect();
      await this.#consumer.subscribe({ topic, fromBeginning: true });
      await this.#consumer.run({
        autoCommit: false,
        eachBatchAutoResolve: false,
        eachBatch: (payload) => this.#offer(payload),
      });
    } catch (error) {
      throw explain(error, topic);
    }
  }

  async next(waitMs: number): Promise<MessageBatch | null> {
    if (this.#taken) {
      this.#taken.done();
      this.#taken = null;
      this.#lastSign = performance.now(); // until now it was not asked to fetch
    }
    if ((this.#offered === null || this.#isPaused) && this.#failure === null) {
      let timer: NodeJS.Timeout | undefined;
      await new Promise<void>((resolve) => {
        this.#wake = resolve;
        timer = setTimeout(resolve, waitMs);
      });
      clearTimeout(timer);
    }
    if (this.#failure) throw this.#failure;
    if (this.#isPaused) {
      this.#lookAtEnd();
      return null;
    }
    if (this.#offered === null) {
      if (performance.now() - this.#lastSign > SILENCE_MS)
        throw explain(new Error(`nothing was fetched for ${SILENCE_MS} ms`), this.#place.topic);
      return null;
    }
    const { batch, done } = this.#offered;
    this.#offered = null;
    this.#taken = { done };
    this.#position = { offset: batch.nextOffset, mark: batch.mark ?? this.#position.mark };
    return batch;
  }

  /** kafkajs forgets its own pause when it starts anew; here the next batch just waits to be taken, and the group hears that we live. */
  pause(): void {
    this.#isPaused = true;
  }

  resume(): void {
    this.#isPaused = false;
    this.#lastSign = performance.now();
  }

  async close(): Promise<void> {
    this.#fail(new Error('it was closed'));
    this.#taken?.done();
    this.#offered?.done();
    // What hangs ends with the timeouts of its sockets; the broker ends the group with its session.
    const ended = Promise.allSettled([this.#consumer.disconnect(), this.#admin.disconnect()]);
    await Promise.race([ended, delay(CLOSE_MS, undefined, { ref: false })]);
  }

  #seek(offset: number): void {
    const { topic, partition } = this.#place;
    if (this.#failure === null) this.#consumer.seek({ topic, partition, offset: String(offset) });
  }

  /** Hands a batch over and waits until it is done with; the group hears meanwhile that we live. */
  async #offer(payload: EachBatchPayload): Promise<void> {
    if (this.#failure || payload.isStale()) return;
    try {
      if (!this.#isCounted) await this.#assertHeld();
      if (payload.batch.partition !== this.#place.partition) return;
      if (!(await this.#isProven(payload.batch))) return;
    } catch (error) {
      this.#fail(error);
      return;
    }
    const batch = this.#unproven ?? payload.batch;
    this.#unproven = null;
    const last = Number(batch.lastOffset());
    const messages = batch.messages.filter(({ offset }) => Number(offset) >= this.#position.offset);
    const newest = messages.at(-1);
    const isNew = last >= this.#position.offset && this.#failure === null;
    if (isNew) {
      this.#endOffset = Number(batch.highWatermark);
      let isDone = false;
      const done = new Promise<void>((resolve) => {
        this.#offered = {
          batch: {
            messages: messages.map(({ offset, value }) => ({ offset: Number(offset), value })),
            nextOffset: last + 1,
            mark: newest ? markOf(newest) : null, // only markers behind what was read before
          },
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
    }
    const { offset, mark } = this.#position;
    const isBehind = offset < Number(batch.highWatermark);
    this.#seek(isNew && isBehind && mark ? mark.offset : offset);
  }

  /**
   * Whether the message at the mark is the one that was taken, or no longer kept. A batch that does not show it is kept, and the mark is
   * fetched. Throws FS_CONFLICT.
   */
  async #isProven(batch: Batch): Promise<boolean> {
    const { offset, mark } = this.#position;
    if (mark === null) {
      // The broker begins elsewhere by itself where it does not hold the place.
      if (batch.firstOffset() !== String(offset)) await this.#assertHeld();
      return true;
    }
    const there = batch.messages.find((message) => Number(message.offset) === mark.offset);
    if (there === undefined && this.#unproven === null) {
      this.#unproven = batch;
      this.#seek(mark.offset);
      return false;
    }
    const isSame = there
      ? markOf(there).digest === mark.digest
      : mark.offset < (await this.#assertHeld()).low;
    if (!isSame)
      throw this.#conflict(`message ${mark.offset} is not the one that was read: the topic was made again`);
    return true;
  }

  /** Throws FS_CONFLICT when the topic does not hold the position. */
  async #assertHeld(): Promise<{ low: number }> {
    for (let attempt = 1; ; attempt++) {
      const { offset } = this.#position;
      const { low, high } = await this.#askEnds();
      this.#endOffset = high;
      if (offset < low)
        throw this.#conflict(
          `it begins at offset ${low}, and ${offset} is next to be read: what lay between is lost`,
        );
      if (offset <= high) return { low };
      // A broker that was killed finds the end of its log a moment after it is back.
      if (attempt === END_ATTEMPTS)
        throw this.#conflict(
          `it ends at offset ${high}, and ${offset} is next to be read: it was made again`,
        );
      await delay(END_PAUSE_MS);
    }
  }

  async #askEnds(): Promise<{ low: number; high: number }> {
    const { topic, partition } = this.#place;
    const found = await this.#admin.fetchTopicOffsets(topic);
    if (found.length > PARTITIONS) throw tooWide(topic, found.length);
    const ends = found.find((each) => each.partition === partition);
    if (ends === undefined) throw new Error(`topic ${topic} shows no partition ${partition}`);
    this.#isCounted = true;
    return { low: Number(ends.low), high: Number(ends.high) };
  }

  #conflict(what: string): FeatureStoreError {
    const { topic, partition } = this.#place;
    return new FeatureStoreError('FS_CONFLICT', `topic ${topic}, partition ${partition}: ${what}`, {
      fix: 'bring back what is missing, or see "A topic that is another" in docs/streaming.md; nothing is skipped by itself',
      topic,
    });
  }

  /** For people: it stands still while Kafka is away. */
  #lookAtEnd(): void {
    if (performance.now() - this.#endSeen < END_EVERY_MS) return;
    this.#endSeen = performance.now();
    this.#askEnds().then(
      ({ high }) => {
        this.#endOffset = high;
      },
      () => {}, // whoever reads on will hear of it
    );
  }

  #fail(error: unknown): void {
    this.#failure ??= explain(error, this.#place.topic);
    this.#wake();
  }
}

/** A topic of which only a part would be read. */
export function tooWide(topic: string, partitions: number): FeatureStoreError {
  return new FeatureStoreError(
    'FS_CONFLICT',
    `topic ${topic} has ${partitions} partitions; ${PARTITIONS} is read, and what is in the others would be lost`,
    { fix: 'name a topic that is not there yet: the platform makes it, with one partition', topic },
  );
}

function markOf({ offset, timestamp, value }: KafkaMessage): Mark {
  const hash = createHash('sha256')
    .update(timestamp)
    .update(value === null ? 'null' : '\0');
  return { offset: Number(offset), digest: hash.update(value ?? '').digest('hex') };
}

function explain(error: unknown, topic: string): FeatureStoreError {
  if (error instanceof FeatureStoreError) return error;
  const { name, message, type, cause } = error as Partial<Record<'name' | 'message' | 'type', string>> & {
    cause?: unknown;
  };
  if (name === 'KafkaJSNumberOfRetriesExceeded' && cause) return explain(cause, topic);
  if (name === 'KafkaJSNotImplemented')
    // 'LZ4 compression not implemented'
    return new FeatureStoreError(
      'FS_DATA_INVALID',
      `topic ${topic} holds messages that cannot be unpacked: ${message}`,
      {
        fix: 'produce them again uncompressed or with gzip, and set compression.type=uncompressed on the topic, as the platform does on those it makes',
        topic,
      },
      { cause: error },
    );
  if (type === 'UNKNOWN_TOPIC_OR_PARTITION')
    return new FeatureStoreError(
      'FS_UNAVAILABLE',
      `Kafka has no topic ${topic}`,
      { fix: 'bring it back; one that was never read is made by applying the definitions', topic },
      { cause: error },
    );
  return new FeatureStoreError(
    'FS_UNAVAILABLE',
    `Kafka does not answer: ${message ?? String(error)}`,
    { fix: 'start it, or set ALMANAC_KAFKA_BROKERS; then try again' },
    { cause: error },
  );
}
