/**
 * An Almanac of one's own for a test file: schema, Redis prefix and Temporal namespace of a random environment on the shared
 * servers, workers in this process. Everything is given back at the end of the file.
 */
import { createHash, randomBytes } from 'node:crypto';
import {
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { Client, Connection } from '@temporalio/client';
import {
  bundleWorkflowCode,
  DefaultLogger,
  NativeConnection,
  Runtime,
  type Worker,
} from '@temporalio/worker';
import { afterAll } from 'vitest';
import {
  type Activities,
  createActivities,
  createRedis,
  type Deps,
  untilReady,
} from '../../activities/index.js';
import { assertOnline } from '../../activities/output.js';
import { type Config, readConfig } from '../../core/config.js';
import type { Definitions } from '../../core/definition.js';
import { activate, computePlan, openRevision, savePlan } from '../../registry/apply.js';
import { migrate } from '../../registry/migrate.js';
import { createPool, quote } from '../../registry/sql.js';
import { createWorkers, QUEUES } from '../../workers/worker.js';
import { createNamespace } from '../namespace.js';

const root = fileURLToPath(new URL('../..', import.meta.url));

export interface TestEnvironment {
  config: Config;
  /** For a process: the variables of this environment. */
  env: Record<string, string>;
  deps: Deps;
  client: Client;
  /** The queue `<environment>-control`. */
  controlQueue: string;
  /** Workers in this process for all queues. `wrap` puts something around every activity: see faults.ts. */
  startWorkers(wrap?: (activities: Activities) => Activities): Promise<RunningWorkers>;
}

export interface RunningWorkers {
  stop(): Promise<void>;
}

/** @param options.temporal false: stores only, for tests of activities */
export async function createEnvironment(
  options: { temporal?: boolean; env?: Record<string, string> } = {},
): Promise<TestEnvironment> {
  const environment = `t${randomBytes(6).toString('hex')}`;
  const filesDir = mkdtempSync(join(tmpdir(), 'almanac-files-'));
  const env: Record<string, string> = {
    ...(process.env as Record<string, string>),
    ...options.env,
    ALMANAC_ENVIRONMENT: environment,
    ALMANAC_TEMPORAL_NAMESPACE: environment,
    ALMANAC_FILES_DIR: filesDir,
  };
  const config = readConfig(env);
  const pool = createPool(config, { application: 'test' });
  await migrate(pool, environment);
  const redis = createRedis(config.redisUrl, () => {}); // commands say so themselves
  await untilReady(redis, 10_000);
  const deps: Deps = { config, pool, redis, clock: Date.now, env };
  const running = new Set<RunningWorkers>();
  let connection: Connection | undefined;
  let native: NativeConnection | undefined;
  if (options.temporal !== false) {
    quiet();
    connection = await Connection.connect({ address: config.temporalAddress });
    await createNamespace(connection, environment);
    native = await NativeConnection.connect({ address: config.temporalAddress });
  }
  afterAll(async () => {
    for (const workers of running) await workers.stop();
    await native?.close();
    await connection?.close();
    await removeKeys(deps);
    redis.disconnect();
    await pool.query(`drop schema if exists ${quote(environment)} cascade`);
    await pool.end();
    rmSync(filesDir, { recursive: true, force: true });
  });
  return {
    config,
    env,
    deps,
    get client() {
      return new Client({ connection: connection!, namespace: environment });
    },
    controlQueue: `${environment}-control`,
    async startWorkers(wrap = (activities) => activities) {
      const workers = await createWorkers({
        connection: native!,
        namespace: environment,
        deps,
        activities: wrap(createActivities(deps)),
        queues: QUEUES,
        workflowBundle: { codePath: await bundle() },
      });
      const ends = Promise.all(workers.map((worker: Worker) => worker.run()));
      const one: RunningWorkers = {
        async stop() {
          if (!running.delete(one)) return;
          for (const worker of workers) if (worker.getState() === 'RUNNING') worker.shutdown();
          await ends;
        },
      };
      running.add(one);
      return one;
    },
  };
}

/** Definitions as they stand after an apply, without its workflow: revision, versions, tables. */
export async function applyDefinitions({ deps }: TestEnvironment, definitions: Definitions): Promise<void> {
  const plan = await computePlan(deps.pool, definitions);
  await savePlan(deps.pool, plan, definitions);
  await openRevision(deps.pool, plan.hash);
  await assertOnline(deps); // tells Redis what is read now
  await activate(deps.pool, plan.hash, 'test');
}

/** Puts bytes among the uploaded files; gives their name. */
export function putFile({ config }: TestEnvironment, content: string | Uint8Array): string {
  const sha256 = createHash('sha256').update(content).digest('hex');
  mkdirSync(config.filesDir, { recursive: true });
  writeFileSync(join(config.filesDir, sha256), content);
  return sha256;
}

async function removeKeys({ redis, config }: Deps): Promise<void> {
  for await (const keys of redis.scanStream({
    match: `${config.environment}:*`,
    count: 1000,
  }) as AsyncIterable<string[]>)
    if (keys.length > 0) await redis.del(keys);
}

let silenced = false;
function quiet(): void {
  if (silenced) return;
  silenced = true;
  Runtime.install({ logger: new DefaultLogger('ERROR'), shutdownSignals: [] });
}

/** The workflows of the sources, bundled once for all files and runs: kept by the hash of what goes in. */
export async function bundle(): Promise<string> {
  const hash = createHash('sha256').update(readFileSync(join(root, 'package-lock.json')));
  for (const folder of ['workflows', 'core'])
    for (const name of (readdirSync(join(root, folder), { recursive: true }) as string[]).sort()) {
      const path = join(root, folder, name);
      if (statSync(path).isFile()) hash.update(`${folder}/${name}\0`).update(readFileSync(path)).update('\0');
    }
  const folder = join(root, 'node_modules', '.cache', 'almanac');
  const path = join(folder, `workflows-${hash.digest('hex').slice(0, 24)}.js`);
  try {
    statSync(path);
    return path;
  } catch {
    const { code } = await bundleWorkflowCode({
      workflowsPath: join(root, 'workflows', 'index.ts'),
      workflowInterceptorModules: [join(root, 'workflows', 'errors.ts')],
      logger: new DefaultLogger('ERROR'),
    });
    mkdirSync(folder, { recursive: true });
    const temporary = `${path}.${process.pid}`;
    writeFileSync(temporary, code);
    renameSync(temporary, path); // several files may do so at once: the same content
    return path;
  }
}
