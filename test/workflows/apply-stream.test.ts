/** An apply over streams that run: a version that readers move to is the stream's by then. */
import { randomUUID } from 'node:crypto';
import { Kafka, logLevel } from 'kafkajs';
import { afterAll, beforeAll, expect, test, vi } from 'vitest';
import type { Activities } from '../../activities/index.js';
import { assertDefinitions } from '../../core/check.js';
import type { AggregationView, Definitions } from '../../core/definition.js';
import { computePlan, savePlan } from '../../registry/apply.js';
import { pinRun, registerModel } from '../../registry/models.js';
import { setWanted } from '../../registry/streams.js';
import { applyPlan } from '../../workflows/apply-plan.js';
import { pin } from '../../workflows/pin.js';
import { createEnvironment } from './environment.js';
import {
  buysNow,
  makeMessages,
  offsetsOf,
  openTopic,
  streamWorld,
  type Topic,
  untilRead,
} from './streaming.js';
import { userNow } from './world.js';

const env = await createEnvironment();
const { pool } = env.deps;
let topic: Topic;
let steps: string[] = [];
let afterActivating = async (): Promise<void> => {};

const takenOver = async (): Promise<string> => {
  const { rows } = await pool.query<{ name: string }>(
    `select view || '@' || version as name from stream_attached join view_version v on v.id = version_id
      where published >= sequence order by 1`,
  );
  return rows.map(({ name }) => name).join(' ');
};

/** Notes, before each step of interest, which versions the stream has taken over. */
function noting(activities: Activities): Activities {
  const note =
    <A extends unknown[], R>(name: string, activity: (...args: A) => Promise<R>) =>
    async (...args: A): Promise<R> => {
      steps.push(`${name}: ${await takenOver()}`);
      return activity(...args);
    };
  return {
    ...activities,
    activatePlan: note('activate', async (plan: Parameters<Activities['activatePlan']>[0]) => {
      const activated = await activities.activatePlan(plan);
      await afterActivating();
      return activated;
    }),
    publishServingPlan: note('publish', () => activities.publishServingPlan()),
    settleSchedules: note('settle', () => activities.settleSchedules()),
  };
}

async function apply(definitions: Definitions): Promise<void> {
  const plan = await computePlan(pool, assertDefinitions(definitions));
  await savePlan(pool, plan, definitions);
  await env.client.workflow.execute(applyPlan, {
    workflowId: `apply/${randomUUID()}`,
    taskQueue: env.controlQueue,
    args: [{ planHash: plan.hash, by: 'test' }],
  });
}

beforeAll(async () => {
  await env.startWorkers(noting);
  await apply(streamWorld([userNow]));
  topic = await openTopic(env);
  const { messages } = makeMessages(300, 1);
  await topic.produce(messages);
  await untilRead(env, messages.length);
});
afterAll(() => topic.close());

test('before readers move to it; serving hears of it before anything else', async () => {
  steps = [];
  await apply(streamWorld([userNow, buysNow]));
  const both = 'user_buys@1 user_now@1';
  expect(steps.slice(-3)).toEqual([`activate: ${both}`, `publish: ${both}`, `settle: ${both}`]);
});

test('columns that only the plan brings: once it is active, before serving hears of it, also from a pin', async () => {
  const definitions = streamWorld([userNow, buysNow]);
  const [source] = definitions.sources;
  const columns = { ...source!.columns, color: { type: 'string' as const, nullable: true } };
  const colors: AggregationView = {
    ...buysNow,
    where: { op: 'eq', args: [{ col: 'color' }, { lit: 'red' }] },
  };
  steps = [];
  afterActivating = async () => {
    const reads = { services: ['reads_user_now'] };
    const change = await registerModel(pool, {
      name: 'churn',
      owner: 'ml',
      description: '',
      reads,
      by: 'test',
    });
    await env.client.workflow.execute(pin, {
      workflowId: pinRun(change).id,
      taskQueue: env.controlQueue,
      args: [change],
    });
    expect(steps.filter((step) => step.startsWith('publish'))).toHaveLength(1);
  };
  await apply({ ...definitions, sources: [{ ...source!, columns }], views: [userNow, colors] });
  afterActivating = async () => {};
  expect(steps.find((step) => step.startsWith('activate'))).not.toContain('user_buys@2');
  expect(steps.find((step) => step.startsWith('publish'))).toContain('user_buys@2');
});

test('a topic that is compacted is refused', async () => {
  const kafka = new Kafka({
    clientId: 'test',
    brokers: env.config.kafkaBrokers,
    logLevel: logLevel.NOTHING,
  });
  const admin = kafka.admin();
  await admin.connect();
  const configEntries = [{ name: 'cleanup.policy', value: 'compact' }];
  await admin.createTopics({
    topics: [{ topic: `${env.config.environment}.compacted`, numPartitions: 1, configEntries }],
  });
  await admin.disconnect();
  const definitions = streamWorld([userNow]);
  const [source] = definitions.sources;
  const other = { ...source!, name: 'others', stream: { ...source!.stream!, topic: 'compacted' } };
  await expect(apply({ ...definitions, sources: [...definitions.sources, other] })).rejects.toMatchObject({
    cause: {
      cause: {
        type: 'FS_CONFLICT',
        message: expect.stringContaining('compacted is compacted') as string,
      },
    },
  });
});

test('a stream that is paused stops no apply', async () => {
  await setWanted(pool, 'visits', 'pause', 'test');
  await vi.waitFor(async () => expect((await offsetsOf(env)).state).toBe('paused'), { timeout: 20_000 });
  await apply(streamWorld([userNow, { ...buysNow, description: 'another', where: null }]));
});
