/** What a shard may believe of Kafka, on a broker of this file's own: it is stopped, killed and lied to. */

import { CompressionCodecs, CompressionTypes, Kafka, logLevel } from 'kafkajs';
import { afterAll, afterEach, beforeAll, describe, expect, test, vi } from 'vitest';
import {
  createKafkaSource,
  type EventSource,
  type MessageBatch,
  type Position,
} from '../../activities/stream/event-source.js';
import { killProcess, type StackState, startProcess, startStack, stopStack } from '../../cli/stack/stack.js';
import { removeStackFiles } from '../../cli/stack/state.js';
import { withoutAddresses } from '../stack/machine.js';

const name = `kafka${process.pid}`;
const env = withoutAddresses();
const START: Position = { offset: 0, mark: null };

let state: StackState;
let kafka: Kafka;
beforeAll(async () => {
  state = await startStack({ name, env, servers: ['kafka'], processes: [] });
  kafka = new Kafka({ clientId: 'test', brokers: brokers(), logLevel: logLevel.NOTHING });
});
afterAll(async () => {
  await stopStack({ name });
  removeStackFiles(state);
});
const brokers = (): string[] => [state.units.kafka!.address];

async function administer<T>(work: (admin: ReturnType<Kafka['admin']>) => Promise<T>): Promise<T> {
  const admin = kafka.admin();
  await admin.connect();
  try {
    return await work(admin);
  } finally {
    await admin.disconnect();
  }
}
async function makeTopic(topic: string, numPartitions = 1): Promise<void> {
  await administer((admin) =>
    admin.createTopics({ topics: [{ topic, numPartitions }], waitForLeaders: false }),
  );
  await untilListed(topic, true);
}
async function dropTopic(topic: string): Promise<void> {
  await administer((admin) => admin.deleteTopics({ topics: [topic] }));
  await untilListed(topic, false);
}
const untilListed = (topic: string, listed: boolean): Promise<void> =>
  administer((admin) =>
    vi.waitFor(async () => expect((await admin.listTopics()).includes(topic)).toBe(listed), {
      timeout: 30_000,
    }),
  );

async function produce(
  topic: string,
  values: readonly (string | null)[],
  compression = CompressionTypes.None,
): Promise<void> {
  const producer = kafka.producer();
  await producer.connect();
  await producer.send({ topic, acks: -1, compression, messages: values.map((value) => ({ value })) });
  await producer.disconnect();
}
async function transact(topic: string, values: readonly string[], end: 'commit' | 'abort'): Promise<void> {
  const producer = kafka.producer({ transactionalId: 'tx', idempotent: true, maxInFlightRequests: 1 });
  await producer.connect();
  const transaction = await producer.transaction();
  await transaction.send({ topic, messages: values.map((value) => ({ value })) });
  await transaction[end]();
  await producer.disconnect();
}
const numbers = (from: number, to: number): string[] =>
  Array.from({ length: to - from }, (_, i) => `m${from + i}`);

let group = 0;
const sources: EventSource[] = [];
async function open(topic: string, position = START): Promise<EventSource> {
  const source = createKafkaSource({ brokers: brokers(), topic, partition: 0, group: `g${group++}` });
  sources.push(source);
  await source.open(position);
  return source;
}
afterEach(async () => {
  for (const source of sources.splice(0)) await source.close();
});

/** Reads until that many messages came, or more; where to go on then. */
async function read(
  source: EventSource,
  count: number,
  at = START,
): Promise<{ values: string[]; position: Position }> {
  const values: string[] = [];
  let position = at;
  await vi.waitFor(
    async () => {
      const batch = await source.next(100);
      if (batch) {
        values.push(...valuesOf(batch));
        position = { offset: batch.nextOffset, mark: batch.mark ?? position.mark };
      }
      if (values.length < count) throw new Error(`${values.length} of ${count} messages came`);
    },
    { timeout: 60_000, interval: 0 },
  );
  return { values, position };
}
const valuesOf = ({ messages }: MessageBatch): string[] => messages.map(({ value }) => String(value));

/** What `next` ends with. */
async function failure(source: EventSource, timeout = 60_000): Promise<unknown> {
  let failed: unknown;
  await vi.waitFor(
    async () => {
      try {
        await source.next(100);
      } catch (error) {
        failed = error;
        return;
      }
      throw new Error('it goes on');
    },
    { timeout, interval: 0 },
  );
  return failed;
}

describe('reading', () => {
  test('goes on where it is told, and knows the end', async () => {
    await makeTopic('plain');
    await produce('plain', numbers(0, 50));
    const first = await open('plain');
    const { values, position } = await read(first, 50);
    expect(values).toEqual(numbers(0, 50));
    expect(first.endOffset).toBe(50);
    await produce('plain', numbers(50, 60));
    const second = await open('plain', position);
    expect(await read(second, 10, position)).toMatchObject({
      values: numbers(50, 60),
      position: { offset: 60 },
    });
  });

  test('a message without a body, one of nearly a megabyte, and gzip', async () => {
    await makeTopic('bodies');
    const long = 'x'.repeat(900_000);
    await produce('bodies', [null, '', long]);
    await produce('bodies', numbers(0, 3), CompressionTypes.GZIP);
    const source = await open('bodies');
    const { values, position } = await read(source, 6);
    expect(values).toEqual(['null', '', long, ...numbers(0, 3)]);
    await produce('bodies', ['after']);
    // it goes on inside of a compressed batch
    const inside = await open('bodies', { offset: 5, mark: null });
    expect((await read(inside, 2)).values).toEqual(['m2', 'after']);
    const next = await open('bodies', position);
    expect((await read(next, 1)).values).toEqual(['after']);
  });

  test('transactions: what was aborted is skipped, and the end is reached behind their markers', async () => {
    await makeTopic('transactions');
    await transact('transactions', ['a', 'b'], 'commit'); // offsets 0, 1, its marker 2
    const source = await open('transactions');
    const { values, position } = await read(source, 2);
    expect(values).toEqual(['a', 'b']);
    await transact('transactions', ['never'], 'abort'); // 3, marker 4
    let offset = position.offset;
    await vi.waitFor(
      async () => {
        const batch = await source.next(100);
        if (batch) {
          expect(batch.messages).toEqual([]);
          offset = batch.nextOffset;
        }
        expect(offset).toBe(5);
        expect(source.endOffset).toBe(5);
      },
      { timeout: 30_000, interval: 0 },
    );
    await transact('transactions', ['c'], 'commit');
    expect((await read(source, 1)).values).toEqual(['c']);
    const again = await open('transactions', { ...position, offset });
    expect((await read(again, 1)).values).toEqual(['c']);
  });

  test('more was aborted than a fetch holds', async () => {
    await makeTopic('aborted');
    await produce('aborted', ['a']);
    const source = await open('aborted');
    const { position } = await read(source, 1);
    for (let i = 0; i < 3; i++) await transact('aborted', ['x'.repeat(900_000)], 'abort');
    await produce('aborted', ['b', 'c']);
    expect((await read(source, 2)).values).toEqual(['b', 'c']);
    const again = await open('aborted', position);
    expect((await read(again, 2)).values).toEqual(['b', 'c']);
  });

  test('paused nothing comes, and the end is known all the same; resumed all of it comes', async () => {
    await makeTopic('paused');
    await produce('paused', ['a']);
    const source = await open('paused');
    await read(source, 1);
    source.pause();
    await produce('paused', ['b', 'c']);
    await vi.waitFor(
      async () => {
        expect(await source.next(50)).toBe(null);
        expect(source.endOffset).toBe(3);
      },
      { timeout: 30_000, interval: 0 },
    );
    source.resume();
    expect((await read(source, 2)).values).toEqual(['b', 'c']);
  });

  test('closed it gives nothing more, and leaves no group with members', async () => {
    await makeTopic('closed');
    await produce('closed', ['a', 'b']);
    const source = createKafkaSource({
      brokers: brokers(),
      topic: 'closed',
      partition: 0,
      group: 'to be left',
    });
    await source.open(START);
    await read(source, 2);
    await source.close();
    await expect(source.next(10)).rejects.toMatchObject({ code: 'FS_UNAVAILABLE' });
    const { groups } = await administer((admin) => admin.describeGroups(['to be left']));
    expect(groups[0]!.members).toEqual([]);
  });
});

describe('a topic that is not what it was', () => {
  test('made again with as many messages', async () => {
    await makeTopic('again');
    await produce('again', numbers(0, 10));
    const { position } = await read(await open('again'), 10);
    await dropTopic('again');
    await makeTopic('again');
    await produce('again', numbers(100, 130));
    const source = await open('again', position);
    expect(await failure(source)).toMatchObject({
      code: 'FS_CONFLICT',
      message: expect.stringContaining('message 9 ') as string,
    });
  });

  test('made again with fewer', async () => {
    await makeTopic('fewer');
    await produce('fewer', numbers(0, 10));
    const { position } = await read(await open('fewer'), 10);
    await dropTopic('fewer');
    await makeTopic('fewer');
    await expect(open('fewer', position)).rejects.toMatchObject({
      code: 'FS_CONFLICT',
      message: expect.stringContaining('ends at offset 0') as string,
    });
  });

  test.each([
    { topic: 'worked', has: 'a batch in hand', isIdle: false },
    { topic: 'waiting', has: 'nothing in hand', isIdle: true },
  ])('made again, as fast as can be, under a reader that has $has', async ({ topic: prefix, isIdle }) => {
    const producer = kafka.producer();
    await producer.connect();
    await administer(async (admin) => {
      for (let round = 0; round < 5; round++) {
        const topic = `${prefix}${round}`;
        await makeTopic(topic);
        await produce(topic, numbers(0, 10));
        const source = await open(topic);
        const { position } = await read(source, 10);
        if (isIdle) expect(await source.next(100)).toBe(null);
        await admin.deleteTopics({ topics: [topic] });
        await vi.waitFor(() => admin.createTopics({ topics: [{ topic }], waitForLeaders: false }), {
          timeout: 30_000,
          interval: 1,
        });
        await producer.send({ topic, messages: numbers(100, 130).map((value) => ({ value })) });
        // a fetch may find no topic at all: then the next reader compares
        const failed = await failure(source).then(async (error) =>
          (error as { code: string }).code === 'FS_UNAVAILABLE'
            ? failure(await open(topic, position))
            : error,
        );
        expect(failed).toMatchObject({
          code: 'FS_CONFLICT',
          message: expect.stringContaining('message 9 ') as string,
        });
      }
    });
    await producer.disconnect();
  });

  const deleteTo = (topic: string, offset: string): Promise<void> =>
    administer(async (admin) => {
      await admin.fetchTopicOffsets(topic); // else it knows no leader
      await admin.deleteTopicRecords({ topic, partitions: [{ partition: 0, offset }] });
    });

  test('what was read is lost under a reader: it goes on; what was not is lost too: nothing is skipped', async () => {
    await makeTopic('losing');
    await produce('losing', numbers(0, 10));
    const source = await open('losing');
    await read(source, 10);
    await deleteTo('losing', '10');
    await produce('losing', numbers(10, 20));
    expect((await read(source, 10)).values).toEqual(numbers(10, 20));
    await produce('losing', numbers(20, 25));
    await transact('losing', ['never'], 'abort'); // 25, its marker 26
    await deleteTo('losing', '25');
    await produce('losing', ['after']);
    expect(await failure(source)).toMatchObject({
      code: 'FS_CONFLICT',
      message: expect.stringContaining('begins at offset 25') as string,
    });
  });

  test('messages were lost before they were read: nothing is skipped', async () => {
    await makeTopic('lost');
    await produce('lost', numbers(0, 10));
    const { position } = await read(await open('lost'), 10);
    await produce('lost', numbers(10, 20));
    await deleteTo('lost', '10'); // what was read may go, the newest message of it too
    const source = await open('lost', position);
    expect((await read(source, 10)).values).toEqual(numbers(10, 20));
    await deleteTo('lost', '15');
    await expect(open('lost', position)).rejects.toMatchObject({
      code: 'FS_CONFLICT',
      message: expect.stringContaining('begins at offset 15') as string,
    });
  });

  test('not there', async () => {
    await expect(open('nowhere')).rejects.toMatchObject({
      code: 'FS_UNAVAILABLE',
      message: expect.stringContaining('has no topic nowhere') as string,
    });
  });

  test('more partitions than are read: at once, or when they are added', async () => {
    await makeTopic('wide', 2);
    await expect(open('wide')).rejects.toMatchObject({ code: 'FS_CONFLICT' });
    await makeTopic('wider');
    await produce('wider', ['a']);
    const source = await open('wider');
    await read(source, 1);
    await administer((admin) => admin.createPartitions({ topicPartitions: [{ topic: 'wider', count: 2 }] }));
    expect(await failure(source, 90_000)).toMatchObject({
      code: 'FS_CONFLICT',
      message: expect.stringContaining('2 partitions') as string,
    });
  });

  test('messages packed as we cannot unpack: an error that names it, not a loop', async () => {
    await makeTopic('snappy');
    const without = CompressionCodecs[CompressionTypes.Snappy];
    CompressionCodecs[CompressionTypes.Snappy] = () => ({
      compress: ({ buffer }: { buffer: Buffer }) => Promise.resolve(snappy(buffer)),
      decompress: () => Promise.reject(new Error('unused')),
    });
    await produce('snappy', ['a'], CompressionTypes.Snappy);
    CompressionCodecs[CompressionTypes.Snappy] = without;
    const source = await open('snappy');
    expect(await failure(source)).toMatchObject({
      code: 'FS_DATA_INVALID',
      message: expect.stringMatching(/topic snappy .*Snappy/) as string,
    });
  });
});

test('a broker that is killed and comes back: reading goes on, or says that it cannot', async () => {
  await makeTopic('restart');
  await produce('restart', numbers(0, 20));
  const source = await open('restart');
  const { position } = await read(source, 20);
  await killProcess(state, 'kafka', 'SIGKILL');
  await startProcess(state, 'kafka', { env });
  await produce('restart', numbers(20, 30));
  const { values } = await read(source, 10).catch(async (error: { code: string }) => {
    expect(error.code).toBe('FS_UNAVAILABLE'); // Temporal tries again: another reader
    return read(await open('restart', position), 10);
  });
  expect(values).toEqual(numbers(20, 30));
});

/** Snappy without any compression: its length, then literals of at most 60 bytes. */
function snappy(bytes: Buffer): Buffer {
  const parts: Buffer[] = [];
  let length = bytes.length;
  const head: number[] = [];
  for (; length >= 0x80; length >>>= 7) head.push((length & 0x7f) | 0x80);
  parts.push(Buffer.from([...head, length]));
  for (let i = 0; i < bytes.length; i += 60) {
    const literal = bytes.subarray(i, i + 60);
    parts.push(Buffer.from([(literal.length - 1) << 2]), literal);
  }
  return Buffer.concat(parts);
}
