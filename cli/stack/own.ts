/**
 * The platform's own processes: registry, worker, serving. Each listens on the port of its own URL and answers
 * GET /health with who it is.
 */
import { existsSync, mkdirSync, readFileSync, realpathSync } from 'node:fs';
import { join } from 'node:path';
import { execPath } from 'node:process';
import type { Command } from './process.js';
import type { ProcessName, StackState, UnitState } from './state.js';
import { ATTEMPT_MS, baseEnvironment, type Environment, StrangerError, type Unit } from './unit.js';

const MAIN: Record<ProcessName, string[]> = {
  registry: ['registry/main.js'],
  worker: ['workers/main.js', '--queues', 'control,batch,stream'],
  serving: ['serving/main.js'],
};

export function ownProcess(name: ProcessName): Unit {
  return {
    name,
    ports: ['main'],
    stop: 'SIGTERM',
    stopMs: name === 'worker' ? 30_000 : 10_000, // a worker lets its activities reach a heartbeat
    startMs: 60_000,
    address: (_state, unit) => `http://127.0.0.1:${unit.ports.main}`,
    check: (state, unit) => checkHealth(name, state, unit),
    prepare: async (state, unit, _found, env) => prepare(name, state, unit, env),
  };
}

async function prepare(
  name: ProcessName,
  state: StackState,
  unit: UnitState,
  env: Environment,
): Promise<Command> {
  mkdirSync(unit.dir, { recursive: true });
  unit.dir = realpathSync(unit.dir);
  const [main = '', ...args] = MAIN[name];
  const file = join(state.dist, main);
  if (!existsSync(file)) throw new Error(`${file} is missing: npm run build makes it`);
  // Registry and workers look up by name what sources and queries connect to: env:SHOP_DATABASE_URL.
  const isConnection = (value = ''): boolean => name !== 'serving' && /^postgres(ql)?:\/\//.test(value);
  const settings = Object.entries(env).filter(
    ([key, value]) => key.startsWith('ALMANAC_') || isConnection(value),
  );
  return {
    file: execPath,
    args: ['--enable-source-maps', file, ...args],
    env: {
      ...baseEnvironment(env),
      ...(Object.fromEntries(settings) as Record<string, string>),
      ...stackEnv(state),
    },
    cwd: unit.dir,
  };
}

async function checkHealth(name: ProcessName, state: StackState, unit: UnitState): Promise<void> {
  const response = await fetch(`${unit.address}/health`, { signal: AbortSignal.timeout(ATTEMPT_MS) });
  const body = (await response.json()) as { process?: string; instance?: string };
  if (body.process !== name || body.instance !== state.instance)
    throw new StrangerError(
      `${unit.address} is ${body.process ?? 'unknown'} of instance ${body.instance ?? 'unknown'}, not ${name} of ${state.instance}`,
    );
  if (!response.ok) throw new Error(`${unit.address}/health: HTTP ${response.status}`);
}

/** What changes when the code changes: processes of another build are started again. */
export function buildStamp(dist: string): string {
  const path = join(dist, '.almanac-build');
  return existsSync(path) ? readFileSync(path, 'utf8') : 'none';
}

/** The environment that points a process or a client at this stack (names: core/config.ts). */
export function stackEnv(state: StackState): Record<string, string> {
  const { postgres, redis, temporal, kafka, registry, worker, serving } = state.units;
  const all: Record<string, string | undefined> = {
    ...state.settings,
    ALMANAC_ENVIRONMENT: state.environment,
    ALMANAC_INSTANCE: state.instance,
    ALMANAC_POSTGRES_URL: postgres?.address,
    ALMANAC_REDIS_URL: redis?.address,
    ALMANAC_TEMPORAL_ADDRESS: temporal?.address,
    ALMANAC_TEMPORAL_UI_URL: temporal?.ports.ui ? `http://127.0.0.1:${temporal.ports.ui}` : undefined,
    ALMANAC_KAFKA_BROKERS: kafka?.address,
    ALMANAC_REGISTRY_URL: registry?.address,
    ALMANAC_WORKER_URL: worker?.address,
    ALMANAC_SERVING_URL: serving?.address,
    ALMANAC_FILES_DIR: join(state.dir, 'files'),
  };
  return Object.fromEntries(
    Object.entries(all).filter((entry): entry is [string, string] => entry[1] !== undefined),
  );
}
