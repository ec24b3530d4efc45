/**
 * A worker process: `node dist/workers/main.js --queues control,batch,stream`. Configuration → dependencies → run.
 * Stores that are away at its start are waited for, up to WAIT_SECONDS; Redis no longer than REDIS_MS, since streams go on without it.
 * Later ones show in /health and in the retries of activities.
 * Ends on SIGTERM or SIGINT: 0 when all is put down in order, 1 when it could not start or a worker failed.
 */
import type { AddressInfo } from 'node:net';
import { parseArgs } from 'node:util';
import { Client } from '@temporalio/client';
import { NativeConnection, Runtime, type Worker, type WorkflowBundleOption } from '@temporalio/worker';
import { assertKeepsRecords, createRedis, startRepairs, untilReady } from '../activities/index.js';
import { type Config, readConfig } from '../core/config.js';
import { FeatureStoreError } from '../core/error.js';
import { createPool, type Pool } from '../registry/sql.js';
import { startHealth } from './health.js';
import { createMetrics } from './metrics.js';
import { builtBundle, createWorkers, QUEUES, type Queue } from './worker.js';

const WAIT_SECONDS = 60;
const POLL_MS = 500;
const REDIS_MS = 5_000;

async function main(): Promise<void> {
  const given = parseArguments();
  const config = readConfig(process.env);
  // Temporal's runtime would stop its workers on these signals by itself, before there are any.
  Runtime.install({ shutdownSignals: [] });
  const ending = endSignal();
  const undo: Array<() => unknown> = [];
  try {
    const started = start(config, given, undo);
    const begun = await Promise.race([started, ending]);
    if (begun === null) return; // asked to end while waiting for a store
    const { workers, unfit } = begun;
    const running = Promise.all(workers.map((worker) => worker.run()));
    console.log(`workers run for ${workers.map(({ options }) => options.taskQueue).join(', ')}`);
    await Promise.race([ending, running, unfit]);
    for (const worker of workers) if (worker.getState() === 'RUNNING') worker.shutdown();
    await running;
  } finally {
    for (const step of undo) await step();
  }
}

/**
 * Everything up to workers that can run; `undo` grows with what has to be put down, the last first. `unfit` rejects when Redis, which
 * may come later, turns out to be none to work with.
 */
async function start(
  config: Config,
  { queues, workflowBundle, waitMs }: Arguments,
  undo: Array<() => unknown>,
): Promise<{ workers: Worker[]; unfit: Promise<never> }> {
  const pool = createPool(config, { application: `almanac worker ${queues.join(',')}`, max: 12 });
  undo.unshift(() => pool.end());
  let redisError = 'not connected yet';
  const redis = createRedis(config.redisUrl, (error) => {
    redisError = error.message;
  });
  undo.unshift(() => redis.disconnect());
  const metrics = createMetrics();
  let workers: Worker[] = [];
  let repairs: ReturnType<typeof startRepairs> | null = null;
  const check = async (): Promise<string[]> => [
    ...(workers.length === 0 ? ['still starting'] : []),
    ...(await postgresProblem(pool)),
    ...(redis.status === 'ready' ? [] : [`Redis is ${redis.status}: ${redisError}`]),
    ...workers
      .filter((worker) => worker.getState() !== 'RUNNING')
      .map((worker) => `${worker.options.taskQueue} is ${worker.getState()}`),
    ...(repairs?.problem() ? [repairs.problem()!] : []),
  ];
  const identity = {
    environment: config.environment,
    instance: process.env.ALMANAC_INSTANCE ?? null,
    queues,
  };
  const health = await startHealth(config.workerUrl, identity, check, metrics);
  const { address, port } = health.address() as AddressInfo;
  console.log(`workers listen on http://${address}:${port}`);
  undo.unshift(() => {
    health.close();
    health.closeAllConnections();
  });

  const deadline = Date.now() + waitMs;
  await untilSchema(pool, config, deadline);
  const fit = until(Number.POSITIVE_INFINITY, async () => {
    await untilReady(redis, REDIS_MS);
    await assertKeepsRecords(redis);
  });
  await Promise.race([fit, new Promise((resolve) => setTimeout(resolve, REDIS_MS))]);
  const connection = await connect(config, deadline);
  undo.unshift(() => connection.close());
  const deps = { config, pool, redis, clock: Date.now, env: process.env };
  workers = await createWorkers({
    connection,
    namespace: config.temporalNamespace,
    deps,
    queues,
    workflowBundle,
    metrics,
  });
  if (queues.includes('control')) {
    const started = startRepairs(deps, new Client({ connection, namespace: config.temporalNamespace }));
    undo.unshift(() => started.stop());
    repairs = started;
  }
  return { workers, unfit: fit.then(() => new Promise<never>(() => {})) };
}

interface Arguments {
  queues: Queue[];
  workflowBundle: WorkflowBundleOption;
  /** How long a store may be away at the start. */
  waitMs: number;
}

function parseArguments(): Arguments {
  const { values } = parseArgs({
    options: {
      queues: { type: 'string', default: QUEUES.join(',') },
      bundle: { type: 'string' }, // default: the one of the build
      wait: { type: 'string', default: String(WAIT_SECONDS) }, // seconds
    },
  });
  const names = values.queues.split(',').filter(Boolean);
  const unknown = names.find((name) => !(QUEUES as readonly string[]).includes(name));
  if (unknown === undefined && names.length > 0)
    return {
      queues: names as Queue[],
      waitMs: 1_000 * Number(values.wait),
      workflowBundle: values.bundle === undefined ? builtBundle() : { codePath: values.bundle },
    };
  throw new FeatureStoreError('FS_REQUEST_INVALID', `"${unknown ?? ''}" is not a task queue`, {
    fix: `--queues takes some of ${QUEUES.join(', ')}, separated by commas`,
  });
}

/** The first signal ends in order; a second one at once. */
function endSignal(): Promise<null> {
  return new Promise((resolve) => {
    let asked = false;
    for (const signal of ['SIGTERM', 'SIGINT'] as const)
      process.on(signal, () => {
        if (asked) process.exit(1);
        asked = true;
        resolve(null);
      });
  });
}

/** Postgres answers and the registry has made the schema. */
async function untilSchema(pool: Pool, config: Config, deadline: number): Promise<void> {
  await until(deadline, async () => {
    const { rows } = await pool.query<{ there: boolean }>(
      `select to_regclass('event_sequence') is not null and to_regclass('view_version') is not null as there`,
    );
    if (rows[0]!.there) return;
    throw new FeatureStoreError('FS_NOT_READY', `schema "${config.environment}" is not made yet`, {
      fix: 'start the registry, which makes it',
    });
  });
}

async function connect(config: Config, deadline: number): Promise<NativeConnection> {
  return until(deadline, async () => {
    try {
      return await NativeConnection.connect({ address: config.temporalAddress });
    } catch (error) {
      throw new FeatureStoreError(
        'FS_UNAVAILABLE',
        `Temporal does not answer at ${config.temporalAddress}: ${error instanceof Error ? error.message : String(error)}`,
        { fix: 'start it, or set ALMANAC_TEMPORAL_ADDRESS; then start the workers again' },
        { cause: error },
      );
    }
  });
}

/** Tries again what is retryable until the deadline. */
async function until<T>(deadline: number, attempt: () => Promise<T>): Promise<T> {
  for (;;) {
    try {
      return await attempt();
    } catch (error) {
      const retryable = error instanceof FeatureStoreError && error.retryable;
      if (!retryable || Date.now() + POLL_MS > deadline) throw error;
      await new Promise((resolve) => setTimeout(resolve, POLL_MS));
    }
  }
}

async function postgresProblem(pool: Pool): Promise<string[]> {
  try {
    await pool.query({ text: 'select 1', ...({ query_timeout: 1_000 } as object) });
    return [];
  } catch (error) {
    return [error instanceof Error ? error.message : String(error)];
  }
}

try {
  await main();
  process.exit(0);
} catch (error) {
  console.error(
    error instanceof FeatureStoreError ? `${error.code}: ${error.message}\n  ${error.details.fix}` : error,
  );
  process.exit(1);
}
