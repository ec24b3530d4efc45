/** Readers that die, stall or are overtaken between any two steps: what is stored is what the archive says, once. */
import { type ChildProcess, spawn } from 'node:child_process';
import { randomUUID } from 'node:crypto';
import { fileURLToPath } from 'node:url';
import type { Redis } from 'ioredis';
import { afterAll, expect, test, vi } from 'vitest';
import { createKafkaSource, type EventSource } from '../../activities/stream/event-source.js';
import { Shard } from '../../activities/stream/shard.js';
import type { AggregationView, Source } from '../../core/definition.js';
import { columnNames } from '../../core/event.js';
import { decodeHeader } from '../../core/record.js';
import { HOUR } from '../../core/time.js';
import { activate, computePlan, openRevision, savePlan } from '../../registry/apply.js';
import { applyPlan } from '../../workflows/apply-plan.js';
import { createFlow, definitionsOf, source, VIEWS } from '../faults/made-stream.js';
import { checkStream, type Outcomes } from '../faults/recompute.js';
import { ALL_POINTS, type Point } from './death.js';
import { applyDefinitions, bundle, createEnvironment, type TestEnvironment } from './environment.js';
import {
  buysNow,
  checkOnline,
  checkSnapshots,
  makeMessages,
  message,
  offsetsOf,
  openTopic,
  streamed,
  untilRead,
} from './streaming.js';
import { makeEvents, readStored, userNow, visits } from './world.js';

/** A source that is applied, its topic, and views without history: as if backfilled before the first event. */
async function prepare(views: AggregationView[] = [userNow]) {
  const env = await createEnvironment({ temporal: false });
  await applyDefinitions(env, definitionsOf(views));
  const topic = await openTopic(env, true);
  await env.deps.pool.query(`insert into stream_offset (source, partition, topic) values ('visits', 0, $1)`, [
    `${env.config.environment}.visits`,
  ]);
  await env.deps.pool.query('insert into view_progress (version_id) select id from view_version');
  return { env, topic };
}

interface Reader {
  stop(): Promise<void>;
  /** What it ended with. */
  ended: Promise<unknown>;
}

function read(
  env: TestEnvironment,
  wrap: {
    events?: (events: EventSource) => EventSource;
    redis?: (redis: Redis) => Redis;
    clock?: () => number;
  } = {},
): Reader {
  const stop = new AbortController();
  const ended = Shard.run(
    { ...env.deps, redis: wrap.redis?.(env.deps.redis) ?? env.deps.redis, clock: wrap.clock ?? Date.now },
    { source: 'visits', partition: 0, snapshotEveryMs: 400, runMs: 3_600_000 },
    {
      open: ({ topic, epoch }) => {
        const source = createKafkaSource({
          brokers: env.config.kafkaBrokers,
          topic,
          partition: 0,
          group: `${topic}.${epoch}`,
        });
        return wrap.events?.(source) ?? source;
      },
      signal: stop.signal,
      report: () => {},
    },
  ).catch((error: unknown) => error);
  return {
    ended,
    stop: async () => {
      stop.abort(new Error('stopped'));
      await ended;
    },
  };
}

test('a reader that dies between transaction and publishing: the next one publishes', async () => {
  const { env, topic } = await prepare();
  let calls = 0;
  const dying = read(env, {
    redis: (redis) =>
      new Proxy(redis, {
        get(target, name) {
          if (name === 'evalsha' && ++calls > 2) throw new Error('killed');
          const value: unknown = Reflect.get(target, name);
          return typeof value === 'function' ? (value.bind(target) as unknown) : value;
        },
      }),
  });
  const made = makeMessages(300, 1);
  for (let i = 0; i < made.messages.length; i += 60) {
    await topic.produce(made.messages.slice(i, i + 60));
    await Promise.race([dying.ended, untilRead(env, Math.min(i + 60, made.messages.length))]);
  }
  expect(await dying.ended).toMatchObject({ message: 'killed' });
  await expect(checkOnline(env, userNow)).rejects.toThrow();
  const next = read(env);
  await untilRead(env, made.messages.length);
  await vi.waitFor(() => checkOnline(env, userNow), { timeout: 10_000 });
  await next.stop();
  expect(await checkSnapshots(env, userNow)).toBeGreaterThan(10);
  await topic.close();
});

test('a reader that was overtaken while it stalled writes nothing more', async () => {
  const { env, topic } = await prepare();
  const made = makeMessages(200, 2);
  let goOn = (): void => {};
  let stalled = (): void => {};
  const gate = new Promise<void>((resolve) => (goOn = resolve));
  const isStalled = new Promise<void>((resolve) => (stalled = resolve));
  const zombie = read(env, {
    events: (events) => ({
      get endOffset() {
        return events.endOffset;
      },
      open: (position) => events.open(position),
      pause: () => events.pause(),
      resume: () => events.resume(),
      close: () => events.close(),
      async next(waitMs) {
        const batch = await events.next(waitMs);
        if (batch === null) return null;
        stalled();
        await gate; // it has the batch in its hands
        return batch;
      },
    }),
  });
  await topic.produce(made.messages);
  await isStalled;
  const owner = read(env);
  await untilRead(env, made.messages.length);
  await vi.waitFor(() => checkOnline(env, userNow), { timeout: 10_000 });
  const before = await offsetsOf(env);
  goOn();
  expect(await zombie.ended).toMatchObject({ code: 'FS_FENCED' });
  expect(await offsetsOf(env)).toMatchObject({ archived: before.archived, epoch: 2 });
  await owner.stop();
  await checkOnline(env, userNow);
  await topic.close();
});

test('a version on its way, whose source has one column more, takes events when its definitions are in force', async () => {
  const { env, topic } = await prepare();
  const wider: Source = {
    ...streamed,
    columns: { ...streamed.columns, aside: { type: 'string', nullable: true } },
  };
  const definitions = { ...definitionsOf([userNow, buysNow]), sources: [wider] };
  const plan = await computePlan(env.deps.pool, definitions);
  await savePlan(env.deps.pool, plan, definitions);
  const { opened } = await openRevision(env.deps.pool, plan.hash);
  const id = opened.find(({ view }) => view === buysNow.name)!.versionId;
  await env.deps.pool.query('insert into view_progress (version_id) values ($1)', [id]); // as its backfill does

  const reader = read(env);
  const made = makeMessages(400, 3);
  await topic.produce(made.messages.slice(0, 200));
  await untilRead(env, 200);
  const attached = (): Promise<unknown[]> =>
    env.deps.pool.query('select 1 from stream_attached where version_id = $1', [id]).then(({ rows }) => rows);
  expect(await attached()).toEqual([]);
  await activate(env.deps.pool, plan.hash, 'test');
  await vi.waitFor(async () => expect(await attached()).toHaveLength(1), { timeout: 10_000 });
  await topic.produce(made.messages.slice(200));
  await untilRead(env, made.messages.length);
  await vi.waitFor(() => checkOnline(env, userNow), { timeout: 10_000 });
  await vi.waitFor(() => checkOnline(env, buysNow), { timeout: 10_000 });
  await reader.stop();
  expect(await checkSnapshots(env, buysNow)).toBeGreaterThan(10);
  await topic.close();
});

test('a source that is gone, and one that is to end while its topic is away: the reader ends', async () => {
  const { env, topic } = await prepare();
  const reader = read(env);
  await topic.produce(makeMessages(40, 4).messages.slice(0, 20));
  await untilRead(env, 20);
  await applyDefinitions(env, { entities: [], sources: [], views: [], services: [] });
  expect(await reader.ended).toBe('drained');
  expect(await offsetsOf(env)).toMatchObject({ state: 'drained', next_offset: 20 });

  await env.deps.pool.query(`insert into stream_control (source, wanted) values ('visits', 'drain')`);
  const never: EventSource = { endOffset: 0, open: () => new Promise(() => {}), next: () => new Promise(() => {}), pause() {}, resume() {}, close: async () => {} }; // biome-ignore format: short
  expect(await read(env, { events: () => never }).ended).toBe('drained');
  await topic.close();
});

test('an event ahead of the clock waits until its time has come', async () => {
  const { env, topic } = await prepare();
  const reader = read(env);
  const [event] = makeEvents(1, { start: 0, end: 1, seed: 1 });
  const values = [...event!.values];
  const now = Date.now();
  const at = columnNames(visits).indexOf('happened_at');
  values[columnNames(visits).indexOf('user_id')] = 'early';
  await topic.produce([
    message({ values: values.with(at, now + 3_000) }),
    message({ values: values.with(at, now + 3_600_000) }),
  ]);
  await untilRead(env, 2);
  expect(await offsetsOf(env)).toMatchObject({ archived: 0, invalid: 1 });
  expect((await env.deps.pool.query('select 1 from held')).rowCount).toBe(1);
  await vi.waitFor(async () => expect((await offsetsOf(env)).archived).toBe(1), { timeout: 20_000 });
  const { rows } = await env.deps.pool.query<{ arrived_ms: number }>('select arrived_ms from archive_visits');
  expect(rows[0]!.arrived_ms).toBeGreaterThanOrEqual(now + 3_000);
  await vi.waitFor(() => checkOnline(env, userNow), { timeout: 10_000 });
  await reader.stop();
  await topic.close();
});

test('records that end before their steps do are written on by the clock, with no event', async () => {
  const { env, topic } = await prepare();
  const first = read(env);
  const { messages } = makeMessages(900, 4);
  await topic.produce(messages);
  await untilRead(env, messages.length);
  await vi.waitFor(() => checkOnline(env, userNow), { timeout: 10_000 });
  await first.stop();
  const ends = async (): Promise<number[]> =>
    [...(await readStored(env, userNow)).records.values()].flatMap(
      (record) => decodeHeader(record).refreshAt ?? [],
    );
  const [soonest] = (await ends()).sort((a, b) => a - b);
  expect(soonest).toBeGreaterThan(0);
  const later = soonest! + HOUR;
  const second = read(env, { clock: () => later });
  await vi.waitFor(async () => expect(Math.min(later + 1, ...(await ends()))).toBeGreaterThan(later), {
    timeout: 20_000,
  });
  await second.stop();
  expect(await checkOnline(env, userNow)).toBeGreaterThan(100);
  expect(await checkSnapshots(env, userNow)).toBeGreaterThan(10);
  await topic.close();
});

// ---------------------------------------------------------------- processes

const processes: ChildProcess[] = [];
afterAll(() => {
  for (const one of processes) one.kill('SIGKILL');
});

function start({ env }: TestEnvironment, file: string, ...given: string[]): ChildProcess {
  const main = fileURLToPath(new URL(file, import.meta.url));
  const one = spawn(process.execPath, ['--import', 'jiti/register', main, ...given], {
    env,
    stdio: 'inherit',
  });
  processes.push(one);
  return one;
}

const isAlive = ({ exitCode, signalCode }: ChildProcess): boolean => exitCode === null && signalCode === null;

/** The stream has read it all, and archive, side table, counts, records and snapshots are what the topic says. */
async function checkAll(env: TestEnvironment, produced: number): Promise<Outcomes> {
  await untilRead(env, produced);
  await vi.waitFor(async () => expect((await env.deps.pool.query('select 1 from held')).rowCount).toBe(0), {
    timeout: 60_000,
  });
  const { pool, redis, config } = env.deps;
  const place = { pool, redis, environment: config.environment, brokers: config.kafkaBrokers };
  const topic = `${config.environment}.visits`;
  const views = VIEWS.map(({ name }) => name);
  return vi.waitFor(() => checkStream(place, source, topic, views), { timeout: 60_000, interval: 500 });
}

test('readers killed between any two steps: what they leave is what the topic says', {
  timeout: 600_000,
}, async () => {
  // a batch's records of all the users are more than one call to Redis
  const { env, topic } = await prepare(VIEWS);
  const flow = createFlow(5, 200);
  let produced = 0;
  const produce = async (): Promise<void> => {
    const bodies = flow(100);
    await topic.produce(bodies);
    produced += bodies.length;
  };
  const killAt = async (point: Point): Promise<void> => {
    const dying = start(env, 'reader-process.ts', point);
    while (isAlive(dying)) {
      await produce();
      await vi.waitFor(
        async () => expect(!isAlive(dying) || (await offsetsOf(env)).next_offset === produced).toBe(true),
        { timeout: 60_000 },
      );
    }
    expect({ point, signal: dying.signalCode }).toEqual({ point, signal: 'SIGKILL' });
  };
  for (const point of ALL_POINTS) {
    if (point === 'in the middle of catching up') await killAt('after the commit'); // leaves something to catch up with
    await killAt(point);
    const next = read(env);
    await produce();
    await checkAll(env, produced);
    await next.stop();
  }
  const outcomes = await checkAll(env, produced);
  expect(Object.entries(outcomes).filter(([, count]) => count === 0)).toEqual([]);
  await topic.close();
});

test('a worker killed in the middle, again and again: another takes over', async () => {
  const env = await createEnvironment();
  const startWorker = async () => start(env, 'worker-process.ts', await bundle());
  let worker = await startWorker();
  const definitions = definitionsOf(VIEWS);
  const plan = await computePlan(env.deps.pool, definitions);
  await savePlan(env.deps.pool, plan, definitions);
  await env.client.workflow.execute(applyPlan, {
    workflowId: `apply/${randomUUID()}`,
    taskQueue: env.controlQueue,
    args: [{ planHash: plan.hash, by: 'test' }],
  });
  const topic = await openTopic(env);
  const flow = createFlow(6);
  let produced = 0;
  for (let i = 0; i < 3; i++) {
    const bodies = flow(150);
    produced += bodies.length;
    const sent = topic.produce(bodies);
    if (i > 0) {
      await vi.waitFor(async () => expect((await offsetsOf(env)).epoch).toBeGreaterThanOrEqual(i), {
        timeout: 60_000,
      });
      worker.kill('SIGKILL');
      worker = await startWorker();
    }
    await sent;
  }
  await checkAll(env, produced);
  expect((await offsetsOf(env)).epoch).toBeGreaterThan(1);
  await topic.close();
});
