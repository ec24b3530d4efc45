/** A push of any size that the API takes, into a Kafka with the settings it comes with. */
import { Kafka, logLevel } from 'kafkajs';
import { afterAll, expect, test } from 'vitest';
import { createProducer, push } from '../../registry/push.js';
import { applyDefinitions, createEnvironment } from '../workflows/environment.js';
import { openTopic, streamWorld } from '../workflows/streaming.js';
import { userNow } from '../workflows/world.js';

const env = await createEnvironment({ temporal: false });
const { config, deps } = env;
await applyDefinitions(env, streamWorld([userNow]));
const topic = await openTopic(env, true);
const kafka = new Kafka({ clientId: 'test', brokers: config.kafkaBrokers, logLevel: logLevel.NOTHING });
const admin = kafka.admin();
await admin.connect();
const producer = createProducer(config);
afterAll(async () => {
  await producer.close();
  await admin.disconnect();
  await topic.close();
});

const to = { pool: deps.pool, environment: config.environment, producer };
const happened = new Date().toISOString();
const rowsOf = (ids: string[], item: (i: number) => string) => ({
  push_source_name: 'visits',
  df: {
    visit_id: ids,
    kind: ids.map(() => 'buy'),
    item: ids.map((_, i) => item(i)),
    happened_at: ids.map(() => happened),
  },
});
const produced = async (): Promise<number> => {
  const [partition] = await admin.fetchTopicOffsets(`${config.environment}.visits`);
  return Number(partition!.high);
};

test('more than a broker takes at once', async () => {
  const ids = Array.from({ length: 10_000 }, (_, i) => `v${i}`);
  const rows = rowsOf(ids, (i) => `${i} `.repeat(100));
  expect(Buffer.byteLength(JSON.stringify(rows))).toBeGreaterThan(4_000_000);
  expect(await push(to, rows)).toBe(10_000);
  expect(await produced()).toBe(10_000);
});

test('a row that is too long for a message refuses all, and is named', async () => {
  const before = await produced();
  const rows = rowsOf(['a', 'b'], (i) => (i === 1 ? 'x'.repeat(500_000) : 'x'));
  await expect(push(to, rows)).rejects.toMatchObject({
    code: 'FS_DATA_INVALID',
    message: expect.stringMatching(/^row 1 is 5\d{5} bytes as JSON/) as string,
    details: { row: 1 },
  });
  expect(await produced()).toBe(before);
});
