/**
 * An installation to break: servers of its own, and, for each scenario, an environment of its own with registry, worker and
 * serving as real processes. Everything is read back through the servers, and nothing waits but for a condition.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { createHash } from 'node:crypto';
import { once } from 'node:events';
import { readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { Connection, Client as TemporalClient } from '@temporalio/client';
import { createRedis, untilReady } from '../../activities/index.js';
import { type Client, createClient, type Run } from '../../cli/client.js';
import { followRun, type Started } from '../../cli/run.js';
import { freePort } from '../../cli/stack/process.js';
import {
  killProcess,
  type ServerName,
  type StackState,
  stackEnv,
  startProcess,
  startStack,
  stopStack,
  type UnitName,
} from '../../cli/stack/stack.js';
import { removeStackFiles } from '../../cli/stack/state.js';
import { readConfig } from '../../core/config.js';
import type { Definitions } from '../../core/definition.js';
import { createPool, type Pool } from '../../registry/sql.js';
import { createNamespace } from '../namespace.js';
import { withoutAddresses } from '../stack/machine.js';
import { definitions, END, makePrices, makeVisits, SHIFT_MS, SQL_START, UNTIL } from './made.js';

const CONDITION_MS = 120_000;
/** 30,000 events make 20 chunks of each view: many to be between. */
const EVENTS_PER_CHUNK = 1_500;
const VIEWS = definitions.views.map(({ name }) => name);

/** Servers that many environments share. */
export interface Installation {
  state: StackState;
  env: Record<string, string | undefined>;
  servers: readonly ServerName[];
  visits: string;
  /** Stops of the worlds in it. */
  worlds: Array<() => Promise<void>>;
  stop(): Promise<void>;
}

export async function startInstallation(
  name: string,
  servers: readonly ServerName[] = ['postgres', 'redis', 'temporal'],
): Promise<Installation> {
  process.setMaxListeners(100); // every run that is followed listens for an interruption
  const env = withoutAddresses();
  for (const key of Object.keys(env)) if (key.startsWith('ALMANAC_')) delete env[key];
  const state = await startStack({ name, env, servers, processes: [] });
  const visits = join(state.dir, 'visits.csv');
  writeFileSync(visits, makeVisits());
  const pool = createPool(readConfig(stackEnv(state)));
  await pool.query(makePrices());
  await pool.end();
  const worlds: Installation['worlds'] = [];
  return {
    state,
    env,
    servers,
    visits,
    worlds,
    async stop() {
      for (const stop of worlds) await stop();
      await stopStack({ name });
      removeStackFiles(state);
    },
  };
}

export interface World {
  readonly name: string;
  /** Variables for a process of this environment. */
  env: Record<string, string>;
  pool: Pool;
  registry: Client;
  serving: string;
  temporal: TemporalClient;
  /** SIGKILL; its address stays. */
  kill(unit: UnitName): Promise<void>;
  signal(unit: UnitName, signal: NodeJS.Signals): Promise<void>;
  start(unit: UnitName): Promise<void>;
  /** Kills Redis and starts it again without what it held. */
  emptyRedis(): Promise<void>;
  /** A second worker, besides that of the stack. */
  startSecondWorker(): Promise<ChildProcess>;
  /** The end of it. */
  workerLog(): string;
  stop(): Promise<void>;
}

/** An environment with the definitions applied, and nothing in it. */
export async function createWorld(
  installation: Installation,
  name: string,
  given: Definitions = definitions,
): Promise<World> {
  const servers = installation.state;
  const environment = `faults_${name}`;
  const stackName = `${servers.name}-${name.replaceAll('_', '-')}`;
  const { ALMANAC_POSTGRES_URL, ALMANAC_REDIS_URL, ALMANAC_TEMPORAL_ADDRESS, ALMANAC_KAFKA_BROKERS } =
    stackEnv(servers);
  const connection = await Connection.connect({
    address: ALMANAC_TEMPORAL_ADDRESS!,
    channelArgs: { 'grpc.initial_reconnect_backoff_ms': 50, 'grpc.max_reconnect_backoff_ms': 200 },
  });
  await createNamespace(connection, environment);
  const others: ChildProcess[] = [];
  const ends: Array<() => unknown> = [];
  const stop = async (): Promise<void> => {
    for (const child of others.splice(0))
      if (child.exitCode === null && child.signalCode === null) {
        child.kill('SIGKILL');
        await once(child, 'exit');
      }
    for (const end of ends.splice(0).reverse()) await end();
  };
  installation.worlds.push(stop); // also of one that was never finished
  ends.push(() => connection.close());
  const addresses = {
    ...installation.env,
    ALMANAC_POSTGRES_URL,
    ALMANAC_REDIS_URL,
    ALMANAC_TEMPORAL_ADDRESS,
    ALMANAC_KAFKA_BROKERS,
  };
  ends.push(() => stopStack({ name: stackName }));
  const state = await startStack({
    name: stackName,
    environment,
    env: addresses,
    servers: installation.servers, // by their addresses
    settings: { ALMANAC_TEMPORAL_NAMESPACE: environment, FAULTS_DATABASE_URL: ALMANAC_POSTGRES_URL! },
  });
  ends.splice(-1, 0, () => removeStackFiles(state)); // once it is stopped
  const env = stackEnv(state);
  const pool = createPool(readConfig(env), { application: 'faults' });
  ends.push(() => pool.end());
  const registry = createClient({ url: env.ALMANAC_REGISTRY_URL! });
  const stackOf = (unit: UnitName): { state: StackState; env: Record<string, string | undefined> } =>
    (installation.servers as readonly UnitName[]).includes(unit)
      ? { state: servers, env: installation.env }
      : { state, env: addresses };

  const world: World = {
    name,
    env,
    pool,
    registry,
    serving: env.ALMANAC_SERVING_URL!,
    temporal: new TemporalClient({ connection, namespace: environment }),
    kill: (unit) => killProcess(stackOf(unit).state, unit),
    signal: (unit, signal) => killProcess(stackOf(unit).state, unit, signal),
    async start(unit) {
      const stack = stackOf(unit);
      await startProcess(stack.state, unit, { env: stack.env });
    },
    async emptyRedis() {
      await world.kill('redis');
      rmSync(join(servers.units.redis!.dir, 'appendonlydir'), { recursive: true });
      await world.start('redis');
    },
    async startSecondWorker() {
      const address = `http://127.0.0.1:${await freePort(undefined, new Set())}`;
      const main = join(state.dist, 'workers', 'main.js');
      const child = spawn(process.execPath, [main], {
        env: { ...addresses, ...env, ALMANAC_WORKER_URL: address } as NodeJS.ProcessEnv,
        stdio: ['ignore', 'ignore', 'inherit'],
      });
      others.push(child);
      await until('a second worker', async () => (await fetch(`${address}/health`)).ok);
      return child;
    },
    workerLog: () => readFileSync(state.units.worker!.log, 'utf8').slice(-6_000),
    stop,
  };
  const { run } = await registry.post<Started>('/v1/apply', {
    definitions: given,
    by: 'faults',
  });
  await follow(world, run);
  return world;
}

/** Polls until it is true. What cannot be asked just now is not true. Throws when it stays false. */
export async function until(what: string, condition: () => Promise<boolean>): Promise<void> {
  const end = performance.now() + CONDITION_MS;
  let last: unknown;
  while (performance.now() < end) {
    try {
      if (await condition()) return;
      last = undefined;
    } catch (error) {
      last = error;
    }
    await delay(10);
  }
  throw new Error(`waited in vain for ${what}`, { cause: last });
}

/** Until the worker of the stack reaches every server: one that was started again is there before its clients have noticed. */
export const workerIsWell = ({ env }: World): Promise<void> =>
  until('a worker that works', async () => (await fetch(`${env.ALMANAC_WORKER_URL}/health`)).ok);

const quiet = { progress: () => {}, done: () => {}, note: () => {} };

/** To its end, through any outage. */
export const follow = ({ registry }: World, id: string): Promise<Run> => followRun(registry, id, quiet);

/** Uploads the file and starts its import; gives the run. */
export async function startImport(world: World, { visits }: Installation): Promise<string> {
  const { sha256 } = await world.registry.upload(visits);
  const { run } = await world.registry.post<Started>('/v1/imports', {
    source: 'visits',
    file: sha256,
    name: 'visits',
    shiftMs: SHIFT_MS,
    until: UNTIL,
  });
  return run;
}

/** Starts a backfill of every view, in small chunks, as an operator does in the Temporal UI. */
export async function startBackfills({ temporal, env }: World): Promise<string[]> {
  const ids: string[] = [];
  for (const view of VIEWS) {
    const start = view === 'item_price' ? { start: SQL_START } : {};
    const { workflowId } = await temporal.workflow.start('backfill', {
      workflowId: `backfill/${view}@1/beginning..${END.slice(0, 10)}`,
      taskQueue: `${env.ALMANAC_ENVIRONMENT}-control`,
      args: [{ view, version: 1, ...start, end: END, eventsPerChunk: EVENTS_PER_CHUNK }],
    });
    ids.push(workflowId);
  }
  return ids;
}

/** A sample of what is there, recomputed by the oracle. Throws FS_PARITY where anything differs. */
export async function verify(world: World): Promise<unknown> {
  const { run } = await world.registry.post<Started>('/v1/verifications', {
    entities: 10,
    moments: 3,
    seed: 1,
  });
  return (await follow(world, run)).result;
}

/** The import has archived some rows, and not all. */
export const importIsUnderWay = ({ pool }: World): Promise<void> =>
  until('an import under way', async () => {
    const { rows } = await pool.query<{ done: number; state: string }>(
      'select next_offset as done, state from import',
    );
    return rows[0]?.state === 'running' && rows[0].done > 0;
  });

/** Chunks of every backfill are done, and not all of any. */
export const backfillsAreUnderWay = ({ pool }: World): Promise<void> =>
  until('backfills under way', async () => {
    const { rows } = await pool.query<{ done: number; total: number }>(
      'select count(*) filter (where done) as done, count(*) as total from backfill_chunk group by backfill_id',
    );
    return rows.length === VIEWS.length && rows.every(({ done, total }) => done > 0 && done < total);
  });

/** An activity of one of the runs has failed and is tried again. */
export const retriedIn = ({ temporal }: World, ids: readonly string[]): Promise<void> =>
  until('a failed attempt', async () => {
    const runs = await Promise.all(ids.map((id) => temporal.workflow.getHandle(id).describe()));
    return runs.some(({ raw }) => raw.pendingActivities?.some(({ lastFailure }) => lastFailure != null));
  });

/** A transaction of this environment has waited for rows from its client for some time. */
export async function isCopying({ pool }: World): Promise<boolean> {
  const { rowCount } = await pool.query(
    `select 1 from pg_stat_activity a
      where state = 'active' and wait_event = 'ClientRead' and query ilike 'copy%stdin%'
        and query_start < clock_timestamp() - interval '10 s'
        and exists (select 1 from pg_locks l join pg_class c on c.oid = l.relation
                     where l.pid = a.pid and c.relnamespace = current_schema()::regnamespace)`,
  );
  return rowCount !== 0;
}

/** Runs `during` while nobody else can take the lock that `text` takes, once a transaction waits for it. */
export async function whileBlocked(
  { pool }: World,
  text: string,
  during: () => Promise<void>,
): Promise<void> {
  const client = await pool.connect();
  try {
    await client.query('begin');
    await client.query('set local idle_in_transaction_session_timeout = 0');
    await client.query(text);
    const { rows } = await client.query<{ pid: number }>('select pg_backend_pid() as pid');
    await until('a transaction that waits', async () => {
      const { rowCount } = await pool.query(
        `select 1 from pg_stat_activity where xact_start is not null and $1 = any(pg_blocking_pids(pid))`,
        [rows[0]!.pid],
      );
      return rowCount !== 0;
    });
    await during();
    await client.query('rollback');
  } finally {
    client.release();
  }
}

export const sha = (text: string): string => createHash('sha256').update(text).digest('hex').slice(0, 16);

/** A connection to Redis, for the time of `work`. */
export async function withRedis<T>(
  { env }: World,
  work: (redis: ReturnType<typeof createRedis>) => Promise<T>,
): Promise<T> {
  const redis = createRedis(env.ALMANAC_REDIS_URL!, () => {}); // commands say so themselves
  try {
    await untilReady(redis, 10_000);
    return await work(redis);
  } finally {
    redis.disconnect();
  }
}
