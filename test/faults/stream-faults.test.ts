/**
 * Whatever process dies or stops while a stream is live, and comes back: archive and Redis are what its topic says. On real servers
 * and real processes, one fault after the other in one environment, with a producer that does not stop for any of them.
 */
import { Kafka, logLevel } from 'kafkajs';
import { afterAll, beforeAll, expect, test, vi } from 'vitest';
import { definitionsOf, type Production, source, startProduction, VIEWS } from './made-stream.js';
import { checkStream, type Outcomes } from './recompute.js';
import {
  createWorld,
  type Installation,
  startInstallation,
  until,
  type World,
  withRedis,
  workerIsWell,
} from './world.js';

// A hang is named by what was waited for, before this.
vi.setConfig({ testTimeout: 300_000, hookTimeout: 300_000 });

let installation: Installation;
let world: World;
let brokers: string[];
let topic: string;
beforeAll(async () => {
  installation = await startInstallation(`streams${process.pid}`, ['postgres', 'redis', 'temporal', 'kafka']);
  world = await createWorld(installation, 'live', definitionsOf(VIEWS));
  brokers = world.env.ALMANAC_KAFKA_BROKERS!.split(',');
  topic = `${world.env.ALMANAC_ENVIRONMENT}.visits`;
});
afterAll(() => installation?.stop());

interface Offsets {
  epoch: number;
  next_offset: number;
  archived: number;
  held: number;
  owed: number;
}

async function readOffsets(): Promise<Offsets> {
  const { rows } = await world.pool.query<Offsets>(
    `select epoch, next_offset, archived, (select count(*)::integer from held) as held,
            (select count(*)::integer from owed) as owed
       from stream_offset where source = 'visits'`,
  );
  return rows[0]!;
}

/** More events are archived than now. */
async function untilMore(events = 50): Promise<void> {
  let before: number | undefined;
  await until('a stream that goes on', async () => {
    const { archived } = await readOffsets();
    before ??= archived;
    return archived > before + events;
  });
}

/** What happens while events flow; what is left when they have ended. */
async function during(fault: (production: Production) => Promise<void>): Promise<Outcomes> {
  try {
    const production = await startProduction(brokers, topic, Math.floor(performance.now()));
    try {
      await untilMore();
      await fault(production);
      await untilMore();
    } finally {
      await production.stop();
    }
    return await settled();
  } catch (error) {
    throw new Error(`in a world whose worker wrote\n${world.workerLog()}`, { cause: error });
  }
}

/** All is read and published and nothing owed: it equals the topic, and serving answers from it. */
async function settled(): Promise<Outcomes> {
  const end = await endOf();
  await until('the end of the topic', async () => {
    const { next_offset, held, owed } = await readOffsets();
    return next_offset === end && held === 0 && owed === 0;
  });
  const views = VIEWS.map(({ name }) => name);
  const environment = world.env.ALMANAC_ENVIRONMENT!;
  const outcomes = await withRedis(world, (redis) =>
    vi.waitFor(() => checkStream({ pool: world.pool, redis, environment, brokers }, source, topic, views), {
      timeout: 120_000,
      interval: 500,
    }),
  );
  await checkServed();
  return outcomes;
}

async function withKafka<T>(work: (admin: ReturnType<Kafka['admin']>) => Promise<T>): Promise<T> {
  const admin = new Kafka({ clientId: 'test', brokers, logLevel: logLevel.NOTHING }).admin();
  await admin.connect();
  try {
    return await work(admin);
  } finally {
    await admin.disconnect();
  }
}

const endOf = (): Promise<number> =>
  withKafka(async (admin) => Number((await admin.fetchTopicOffsets(topic))[0]!.high));

/** Of the group of the reader with this epoch. */
const membersOf = (epoch: number): Promise<number> =>
  withKafka(async (admin) => {
    const { groups } = await admin.describeGroups([`${topic}.visits.0.${epoch}`]);
    return groups[0]!.members.length;
  });

/** Of every user, the instant of the newest event: of the archive, and as serving says it. */
async function checkServed(): Promise<void> {
  const { rows } = await world.pool.query<{ user: string; at: number }>(
    `select c_user_id as user, max(event_ms) as at from archive_visits where c_user_id is not null group by 1 order by 1`,
  );
  expect(rows.length).toBeGreaterThan(10);
  await until('serving', async () => (await fetch(`${world.serving}/ready`)).ok);
  const response = await fetch(`${world.serving}/get-online-features`, {
    method: 'POST',
    headers: { 'content-type': 'application/json', 'x-deadline-ms': '5000' },
    body: JSON.stringify({
      feature_service: `reads_${VIEWS[0]!.name}`,
      entities: { user_id: rows.map(({ user }) => user) },
    }),
  });
  const { results } = (await response.json()) as { results: Array<{ event_timestamps: string[] }> };
  expect(results.at(-1)!.event_timestamps.map((text) => Date.parse(text))).toEqual(rows.map(({ at }) => at));
}

/** States of the workflows of a type. */
async function runsOf(type: string): Promise<string[]> {
  const states: string[] = [];
  for await (const { status } of world.temporal.workflow.list({ query: `WorkflowType = '${type}'` }))
    states.push(status.name);
  return states;
}

test('nothing dies: every outcome', async () => {
  const outcomes = await during(() => untilMore(300));
  expect(Object.entries(outcomes).filter(([, count]) => count === 0)).toEqual([]);
});

test('registry and serving killed', async () => {
  await during(async () => {
    await world.kill('registry');
    await world.kill('serving');
    await untilMore();
    await world.start('registry');
    await world.start('serving');
  });
});

test('worker killed', async () => {
  await during(async () => {
    await world.kill('worker');
    await world.start('worker');
  });
});

test('worker stopped past its session, another takes over, and it wakes up', async () => {
  await during(async () => {
    const { epoch } = await readOffsets();
    expect(await membersOf(epoch)).toBe(1);
    await world.signal('worker', 'SIGSTOP');
    const second = await world.startSecondWorker();
    await until('another reader', async () => (await readOffsets()).epoch > epoch);
    await untilMore();
    await until('the end of its session at the broker', async () => (await membersOf(epoch)) === 0);
    await world.signal('worker', 'SIGCONT');
    await workerIsWell(world);
    // Attempts that Temporal gave it while it was stopped claim the partition now, and it goes to and fro; only one archives at a time.
    await untilMore();
    second.kill('SIGTERM');
  });
});

test('Kafka killed', async () => {
  await during(async (production) => {
    await world.kill('kafka');
    const { sent } = production;
    await world.start('kafka');
    await until('a producer that goes on', async () => production.sent > sent);
  });
});

test('Postgres killed', async () => {
  await during(async (production) => {
    await world.kill('postgres');
    const { sent } = production;
    await until('events meanwhile', async () => production.sent > sent + 50);
    await world.start('postgres');
  });
});

test('every session of Postgres ended, again and again', async () => {
  await during(async () => {
    for (let i = 0; i < 3; i++) {
      await world.pool.query(
        `select pg_terminate_backend(pid) from pg_stat_activity where usename = current_user and pid <> pg_backend_pid()`,
      );
      await untilMore();
    }
  });
});

test('Temporal killed', async () => {
  await during(async () => {
    await world.kill('temporal');
    await untilMore();
    await world.start('temporal');
  });
});

test('Redis killed, back with what it held', async () => {
  await during(async () => {
    await world.kill('redis');
    await untilMore();
    await world.start('redis');
  });
});

test('Redis stopped for 20 s, then back empty: all of it comes back by itself', async () => {
  await during(async () => {
    const stopped = performance.now();
    await world.signal('redis', 'SIGSTOP');
    await untilMore();
    await until('what is owed', async () => (await readOffsets()).owed > 0);
    await until('20 s', async () => performance.now() - stopped > 20_000);
    await world.emptyRedis();
    await until('nothing owed', async () => (await readOffsets()).owed === 0);
    await until('refills', async () => (await runsOf('refill')).length >= VIEWS.length);
  });
  for (const type of ['dualWrite', 'refill']) {
    // what they write is seen before their end is
    await until(`the end of every ${type}`, async () => !(await runsOf(type)).includes('RUNNING'));
    const states = await runsOf(type);
    expect(states.length).toBeGreaterThan(0);
    expect(new Set(states)).toEqual(new Set(['COMPLETED']));
  }
});
