/**
 * Rows pushed by other programs, in Feast's shape. Each is checked as the stream would, then produced to the source's topic; the
 * answer comes when every broker in charge has it. From there it is an event like any other: one durable path.
 */
import { Kafka, logLevel, type Producer } from 'kafkajs';
import { z } from 'zod';
import { writeJson } from '../core/codec/json.js';
import type { Config } from '../core/config.js';
import { MAX_ELEMENTS } from '../core/definition.js';
import { FeatureStoreError } from '../core/error.js';
import { columnNames } from '../core/event.js';
import { createIngest } from '../core/ingest.js';
import { streamOf, topicName } from '../core/stream.js';
import { getSource } from './resolve.js';
import type { Pool } from './sql.js';

const Scalar = z.union([z.string(), z.number(), z.bigint(), z.boolean()]);

export const PushBody = z.strictObject({
  push_source_name: z.string().min(1).max(200),
  /** Columns by name, all of one length. */
  df: z.record(
    z.string(),
    z.array(z.union([Scalar, z.null(), z.array(Scalar).max(MAX_ELEMENTS)])).max(10_000),
  ),
  /** Feast's; here the archive always comes first and online follows. */
  to: z.enum(['online', 'offline', 'online_and_offline']).exactOptional(),
  allow_registry_cache: z.boolean().exactOptional(),
  transform_on_write: z.boolean().exactOptional(),
});

export interface EventProducer {
  /** Throws FS_UNAVAILABLE: some may have arrived all the same, and may be sent again if they have ids. */
  send(topic: string, messages: readonly string[]): Promise<void>;
  close(): Promise<void>;
}

const SEND_MS = 10_000;
// The client makes one batch of what it is given; a broker takes 1 MB, unless told otherwise.
const PIECE_BYTES = 500_000;

/** Connects with the first message. */
export function createProducer({
  kafkaBrokers,
  environment,
}: Pick<Config, 'kafkaBrokers' | 'environment'>): EventProducer {
  let connected: Promise<Producer> | null = null;
  const connect = async (): Promise<Producer> => {
    const kafka = new Kafka({
      clientId: `almanac registry ${environment}`,
      brokers: kafkaBrokers,
      logLevel: logLevel.NOTHING,
      connectionTimeout: 2_000,
      requestTimeout: SEND_MS,
      retry: { retries: 2 },
    });
    const producer = kafka.producer({ allowAutoTopicCreation: false });
    await producer.connect();
    return producer;
  };
  return {
    async send(topic, messages) {
      try {
        connected ??= connect();
        const producing = connected;
        const sendAll = async (): Promise<void> => {
          const producer = await producing;
          for (const piece of piecesOf(messages))
            await producer.send({ topic, acks: -1, timeout: SEND_MS, messages: piece });
        };
        await withDeadline(sendAll()); // a broker that hangs takes connections, too
      } catch (error) {
        const broken = connected;
        connected = null;
        broken?.then((producer) => producer.disconnect()).catch(() => {}); // the next one connects anew
        throw new FeatureStoreError(
          'FS_UNAVAILABLE',
          `Kafka did not take the rows: ${error instanceof Error ? error.message : String(error)}`,
          { fix: 'start it, or set ALMANAC_KAFKA_BROKERS; then push again: rows with ids count once' },
          { cause: error },
        );
      }
    },
    async close() {
      const producer = await connected?.catch(() => null);
      await producer?.disconnect();
    },
  };
}

/** Gives the number of rows that were produced. Throws FS_DATA_INVALID, naming rows; then nothing was. */
export async function push(
  { pool, environment, producer }: { pool: Pool; environment: string; producer: EventProducer },
  { push_source_name: name, df }: z.infer<typeof PushBody>,
): Promise<number> {
  const source = await getSource(pool, name);
  const stream = streamOf(source);
  if (stream === null)
    throw new FeatureStoreError('FS_REQUEST_INVALID', `source "${name}" has no topic to push to`, {
      fix: 'declare its input as topic(...), or import a file',
      source: name,
    });
  const columns = Object.keys(df);
  const rows = df[columns[0] ?? '']?.length ?? 0;
  const odd = columns.find((column) => df[column]!.length !== rows || source.columns[column] === undefined);
  if (odd !== undefined)
    throw new FeatureStoreError(
      'FS_REQUEST_INVALID',
      source.columns[odd] === undefined
        ? `source "${name}" has no column "${odd}"`
        : `column "${odd}" has ${df[odd]!.length} rows, "${columns[0]}" has ${rows}`,
      {
        fix: `give the columns of the source, all of one length: ${columnNames(source).join(', ')}`,
        column: odd,
      },
    );
  const ingest = createIngest(source, {
    form: 'json',
    shiftMs: 0,
    untilMs: Number.POSITIVE_INFINITY,
    importedMs: null,
  });
  const messages: string[] = [];
  for (let i = 0; i < rows; i++) {
    const outcome = ingest(columnNames(source).map((column) => df[column]?.[i] ?? null));
    if (outcome.outcome === 'invalid')
      throw new FeatureStoreError('FS_DATA_INVALID', `row ${i}: ${outcome.reason}`, {
        fix: 'correct the row and push them all again: none was taken',
        row: i,
        column: outcome.column,
      });
    const message = writeJson(Object.fromEntries(columns.map((column) => [column, df[column]![i]])));
    const bytes = Buffer.byteLength(message);
    if (bytes > PIECE_BYTES)
      throw new FeatureStoreError(
        'FS_DATA_INVALID',
        `row ${i} is ${bytes} bytes as JSON, more than ${PIECE_BYTES}`,
        { fix: 'shorten the row and push them all again: none was taken', row: i, column: null },
      );
    messages.push(message);
  }
  if (messages.length > 0) await producer.send(topicName(environment, stream), messages);
  return messages.length;
}

/** In their order. */
function* piecesOf(messages: readonly string[]): Generator<Array<{ value: string }>> {
  let piece: Array<{ value: string }> = [];
  let bytes = 0;
  for (const value of messages) {
    const more = Buffer.byteLength(value);
    if (bytes + more > PIECE_BYTES) {
      yield piece;
      piece = [];
      bytes = 0;
    }
    piece.push({ value });
    bytes += more;
  }
  yield piece;
}

async function withDeadline<T>(work: Promise<T>): Promise<T> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(new Error(`no answer within ${SEND_MS} ms`)), SEND_MS);
  });
  try {
    return await Promise.race([work, late]);
  } finally {
    clearTimeout(timer);
  }
}
