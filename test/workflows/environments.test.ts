/** Two environments on the same servers, with the same definitions, at work at the same time: neither has anything of the other's. */
import { randomUUID } from 'node:crypto';
import { Kafka, logLevel } from 'kafkajs';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { startStream } from '../../activities/stream/stream.js';
import { computePlan, savePlan } from '../../registry/apply.js';
import { quote } from '../../registry/sql.js';
import { applyPlan } from '../../workflows/apply-plan.js';
import { refill } from '../../workflows/refill.js';
import { createEnvironment, type TestEnvironment } from './environment.js';
import { checkOnline, makeMessages, openTopic, streamWorld, type Topic, untilRead } from './streaming.js';
import { userNow } from './world.js';

const one = await createEnvironment();
const other = await createEnvironment();
const both = [one, other];
const definitions = streamWorld([userNow]);
const topics: Topic[] = [];
const made = [makeMessages(80, 1), makeMessages(140, 2)] as const;

async function begin(env: TestEnvironment, messages: string[]): Promise<void> {
  await env.startWorkers();
  const plan = await computePlan(env.deps.pool, definitions);
  await savePlan(env.deps.pool, plan, definitions);
  await env.client.workflow.execute(applyPlan, {
    workflowId: `apply/${plan.hash.slice(0, 16)}`,
    taskQueue: env.controlQueue,
    args: [{ planHash: plan.hash, by: 'test' }],
  });
  const topic = await openTopic(env);
  topics.push(topic);
  await topic.produce(messages);
  await untilRead(env, messages.length);
}

beforeAll(() => Promise.all([begin(one, made[0].messages), begin(other, made[1].messages)]));
afterAll(() => Promise.all(topics.map((topic) => topic.close())));

const nameOf = ({ config }: TestEnvironment): string => config.environment;
const keysOf = async (env: TestEnvironment): Promise<string[]> =>
  (await env.deps.redis.keys(`*${nameOf(env)}*`)).sort();
async function offsets({ deps }: TestEnvironment): Promise<unknown> {
  return (await deps.pool.query('select partition, "offset", event_id from archive_visits order by 1, 2'))
    .rows;
}

test('Postgres: a schema for each, and nothing outside of it', async () => {
  const { rows } = await one.deps.pool.query<{ name: string; schemas: string[] }>(
    `select c.relname as name, array_agg(n.nspname::text order by n.nspname) as schemas
       from pg_class c join pg_namespace n on n.oid = c.relnamespace
      where n.nspname = any ($1) and c.relkind in ('r', 'v', 'S') group by 1`,
    [[...both.map(nameOf), 'public']],
  );
  const names = both.map(nameOf).sort();
  for (const { name, schemas } of rows) expect({ name, schemas }).toEqual({ name, schemas: names });
  expect(rows.map(({ name }) => name)).toEqual(expect.arrayContaining(['archive_visits', 'rows_1', 'audit']));
  expect(await offsets(one)).not.toEqual(await offsets(other));
});

test('Redis: a prefix for each; the records of each are those of its own events', async () => {
  for (const env of both) {
    const keys = await keysOf(env);
    expect(keys.length).toBeGreaterThan(5);
    expect(keys.filter((key) => !key.startsWith(`${nameOf(env)}:`))).toEqual([]);
    expect(await checkOnline(env, userNow)).toBeGreaterThan(0);
  }
});

test('Kafka: topics and groups of its own for each', async () => {
  const kafka = new Kafka({ brokers: one.config.kafkaBrokers, logLevel: logLevel.NOTHING });
  const admin = kafka.admin();
  await admin.connect();
  try {
    const [all, { groups }] = await Promise.all([admin.listTopics(), admin.listGroups()]);
    for (const env of both) {
      expect(all).toContain(`${nameOf(env)}.visits`);
      expect(groups.some(({ groupId }) => groupId.startsWith(`${nameOf(env)}.visits.`))).toBe(true);
    }
    expect(all).not.toContain('visits');
  } finally {
    await admin.disconnect();
  }
});

test('Temporal: a namespace for each, with task queues and schedules of its own', async () => {
  for (const env of both) {
    const queues = new Set<string>();
    for await (const { taskQueue } of env.client.workflow.list()) queues.add(taskQueue);
    expect(queues.size).toBeGreaterThan(1);
    for (const queue of queues) expect(queue.startsWith(`${nameOf(env)}-`)).toBe(true);
    const schedules: unknown[] = [];
    for await (const { memo } of env.client.schedule.list()) schedules.push(memo?.environment);
    expect(schedules).toEqual([nameOf(env)]);
  }
});

test('in a namespace that they share, which they should not, no run of one is taken for one of the other', async () => {
  const visits = { source: 'visits', owner: 'shop' };
  await startStream(one.client, nameOf(one), visits); // it goes on
  await expect(startStream(one.client, nameOf(other), visits)).rejects.toMatchObject({
    code: 'FS_CONFLICT',
    message: `run stream/visits is of environment "${nameOf(one)}" in the same Temporal namespace`,
  });
});

describe('what one loses the other keeps', () => {
  test('records in Redis', async () => {
    const before = await keysOf(other);
    const records = (await keysOf(one)).filter((key) => key.startsWith(`${nameOf(one)}:{`));
    expect(records.length).toBeGreaterThan(0);
    await one.deps.redis.del(records);
    expect(await keysOf(other)).toEqual(before);
    expect(await checkOnline(other, userNow)).toBeGreaterThan(0);
  });

  test('a Postgres of another generation is refused by Redis, and changes nothing there', async () => {
    const key = `${nameOf(one)}:generation`;
    const [generation, others] = [await one.deps.redis.get(key), await keysOf(other)];
    await one.deps.pool.query('update generation set generation = gen_random_uuid()');
    const run = one.client.workflow.execute(refill, {
      workflowId: `refill/${randomUUID()}`,
      taskQueue: `${nameOf(one)}-batch`,
      args: [{ view: userNow.name }],
    });
    await expect(run).rejects.toMatchObject({
      cause: { cause: { type: 'FS_CONFLICT', message: expect.stringContaining(`generation ${generation}`) } },
    });
    expect(await one.deps.redis.get(key)).toBe(generation);
    expect(await keysOf(other)).toEqual(others);
  });

  test('its schema', async () => {
    const events = await offsets(other);
    await one.deps.pool.query(`drop schema ${quote(nameOf(one))} cascade`);
    expect(await offsets(other)).toEqual(events);
  });
});
