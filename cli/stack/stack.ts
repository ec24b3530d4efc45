/**
 * The local stack: four servers and our own processes, started, recognised, stopped. There is no daemon: what runs
 * is written in .almanac/<name>/stack.json, and every call compares that with the processes there are. So `start`
 * after a crash of anything, the caller included, starts what is dead and leaves what lives.
 */
import type { ChildProcess } from 'node:child_process';
import { createHash } from 'node:crypto';
import { existsSync, mkdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { FeatureStoreError } from '../../core/error.js';
import { kafka } from './kafka.js';
import { withLock } from './lock.mjs';
import { createMachine, type Machine } from './machine.mjs';
import { buildStamp, ownProcess, stackEnv } from './own.js';
import { startTime } from './pids.mjs';
import { packageDir } from './places.mjs';
import { postgres } from './postgres.js';
import {
  endGroup,
  endRemnants,
  executableOf,
  freePort,
  isAlive,
  isFree,
  isGoneWithin,
  signal,
  spawnDetached,
} from './process.js';
import { redis } from './redis.js';
import { ADDRESS_VARIABLE, type Found, resolveServers } from './servers.mjs';
import {
  createState,
  lockPath,
  PROCESSES,
  type ProcessName,
  readState,
  SERVERS,
  type ServerName,
  type StackState,
  type UnitName,
  type UnitState,
  writeState,
} from './state.js';
import { temporal } from './temporal.js';
import { type Environment, StrangerError, type Unit, within } from './unit.js';

export { stackEnv } from './own.js';
export type { ProcessName, ServerName, StackState, UnitName, UnitState } from './state.js';
export { findStack, listStacks, PROCESSES, SERVERS } from './state.js';

const UNITS: Record<UnitName, Unit> = {
  postgres,
  redis,
  temporal,
  kafka,
  registry: ownProcess('registry'),
  worker: ownProcess('worker'),
  serving: ownProcess('serving'),
};

const POLL_MS = 50;
/** A living process that has answered before and does not for so long hangs: it is started again. */
const HUNG_MS = 6_000;
const EXTERNAL_MS = 5_000;
/** Between choosing a port and binding it somebody else may come. */
const START_ATTEMPTS = 3;

export interface StackOptions {
  /** The directory that holds .almanac; by default the package's own. */
  root?: string;
  /** `demo`, `dev`, `test`…: stacks of different names know nothing of each other. */
  name: string;
  env?: Environment;
  /** Where servers are looked for; by default this machine under `env`. */
  machine?: Machine;
  onProgress?: (line: string) => void;
}

export interface StartOptions extends StackOptions {
  /** Prefixes what the platform owns in the servers; by default the name. */
  environment?: string;
  servers?: readonly ServerName[];
  processes?: readonly ProcessName[];
  /** Variables for our processes, beside ours; kept with the stack, so that a later start gives them again. */
  settings?: Readonly<Record<string, string>>;
  /** The compiled code that the processes run; by default the package's own. */
  dist?: string;
}

/**
 * Start what is not running of the stack, and return when all of it answers.
 * Throws FS_UNAVAILABLE naming the server, its last log lines and its log; what started stays up.
 */
export async function startStack(options: StartOptions): Promise<StackState> {
  const { name, root = packageDir, onProgress = () => {} } = options;
  const { servers = SERVERS, processes = PROCESSES, environment, dist = join(packageDir, 'dist') } = options;
  return withLock(lockPath(root, name), `starting the stack "${name}"`, onProgress, async () => {
    const state = openState(root, name, environment, dist);
    state.settings = { ...state.settings, ...options.settings };
    mkdirSync(join(state.dir, 'files'), { recursive: true });
    const env = withoutOwnAddresses(options.env ?? process.env, state);
    const found = await resolve(servers, options.machine ?? createMachine({ env }));
    const supervisor = new Supervisor(state, env, found, onProgress);
    await supervisor.placePorts([...servers, ...PROCESSES]);
    await settleAll(servers.map((server) => supervisor.ensure(server)));
    if (processes.includes('registry')) await supervisor.ensure('registry'); // it migrates the tables the others use
    const others = processes.filter((process) => process !== 'registry');
    await settleAll(others.map((process) => supervisor.ensure(process)));
    return state;
  });
}

/** Stop everything of the stack that runs, last started first; its data stays. Returns what was stopped. */
export async function stopStack({
  root = packageDir,
  name,
  onProgress = () => {},
}: StackOptions): Promise<UnitName[]> {
  if (!readState(root, name)) return [];
  return withLock(lockPath(root, name), `stopping the stack "${name}"`, onProgress, async () => {
    const state = readState(root, name);
    if (!state) return [];
    const stopped: UnitName[] = [];
    for (const unit of [...SERVERS, ...PROCESSES].reverse())
      if (await stopUnit(state, unit, onProgress)) stopped.push(unit);
    return stopped;
  });
}

/** Send a signal to one process of the stack, for fault tests; after SIGKILL it is gone when this returns. */
export async function killProcess(
  state: StackState,
  name: UnitName,
  what: NodeJS.Signals = 'SIGKILL',
): Promise<void> {
  const running = readState(state.root, state.name)?.units[name]?.process;
  if (!isAlive(running))
    throw new FeatureStoreError('FS_NOT_FOUND', `the stack "${state.name}" runs no ${name}`, {
      fix: 'start it first',
    });
  signal(running.pid, what);
  if (what === 'SIGKILL') await isGoneWithin(running, 10_000);
}

/** Start one process of the stack if it is dead, as `startStack` would; returns the stack as it is then. */
export async function startProcess(
  state: StackState,
  name: UnitName,
  options: Pick<StackOptions, 'env' | 'machine' | 'onProgress'> = {},
): Promise<StackState> {
  const { onProgress = () => {} } = options;
  return withLock(lockPath(state.root, state.name), `starting ${name}`, onProgress, async () => {
    const now = openState(state.root, state.name, state.environment, state.dist);
    const env = withoutOwnAddresses(options.env ?? process.env, now);
    const servers = SERVERS.filter((server) => server === name);
    const found = await resolve(servers, options.machine ?? createMachine({ env }));
    const supervisor = new Supervisor(now, env, found, onProgress);
    await supervisor.placePorts([name]);
    await supervisor.ensure(name);
    return now;
  });
}

/** Stop one process of the stack in the polite way. */
export async function stopProcess(state: StackState, name: UnitName): Promise<void> {
  await withLock(
    lockPath(state.root, state.name),
    `stopping ${name}`,
    () => {},
    async () => {
      const now = readState(state.root, state.name);
      if (now) await stopUnit(now, name, () => {});
    },
  );
}

function openState(root: string, name: string, environment: string | undefined, dist: string): StackState {
  const state = readState(root, name);
  if (!state) {
    const fresh = createState(root, name, environment ?? name.replaceAll('-', '_'), dist);
    writeState(fresh);
    return fresh;
  }
  if (environment && environment !== state.environment)
    throw new FeatureStoreError(
      'FS_CONFLICT',
      `the stack "${name}" holds the environment "${state.environment}", not "${environment}"`,
      { fix: 'use another stack name, or remove its directory under .almanac', name },
    );
  return { ...state, dist };
}

/** A shell that was given this stack's own addresses does not mean servers from elsewhere by them. */
function withoutOwnAddresses(env: Environment, state: StackState): Environment {
  const own = SERVERS.filter((name) => {
    const unit = state.units[name];
    return unit && !unit.external && env[ADDRESS_VARIABLE[name]] === unit.address;
  });
  const variables = new Set<string>(own.map((name) => ADDRESS_VARIABLE[name]));
  return Object.fromEntries(Object.entries(env).filter(([key]) => !variables.has(key)));
}

async function resolve(
  servers: readonly ServerName[],
  machine: Machine,
): Promise<Partial<Record<ServerName, Found>>> {
  const { found, missing } = await resolveServers(machine, servers, { obtain: false });
  const [first] = missing;
  if (first)
    throw new FeatureStoreError(
      'FS_UNAVAILABLE',
      first.message,
      { fix: `run: ${first.paste}`, server: first.server },
      { cause: first },
    );
  return found;
}

/** Starts units of one state; the caller holds the lock. */
class Supervisor {
  private readonly takenPorts = new Set<number>();

  constructor(
    private readonly state: StackState,
    private readonly env: Environment,
    private readonly found: Partial<Record<ServerName, Found>>,
    private readonly log: (line: string) => void,
  ) {
    for (const unit of Object.values(state.units))
      if (isAlive(unit.process)) for (const port of Object.values(unit.ports)) this.takenPorts.add(port);
  }

  /** Give each unit that does not run its ports, the ones it had if they are free, before anyone is told them. */
  async placePorts(names: readonly UnitName[]): Promise<void> {
    for (const name of names) await this.placeUnit(name);
    writeState(this.state);
  }

  private async placeUnit(name: UnitName): Promise<void> {
    const { state } = this;
    const before = state.units[name];
    const address = isServer(name) ? this.env[ADDRESS_VARIABLE[name]] : undefined;
    if (address !== undefined && address !== '') {
      if (before && isAlive(before.process)) await stopUnit(state, name, this.log);
      state.units[name] = { external: true, address, ports: {}, log: '', dir: '', process: null };
      return;
    }
    if (before && !before.external && isAlive(before.process)) return;
    const ports: Record<string, number> = {};
    for (const purpose of UNITS[name].ports)
      ports[purpose] = await freePort(before?.ports[purpose], this.takenPorts);
    const unit: UnitState = {
      external: false,
      address: '',
      ports,
      log: join(state.dir, 'logs', `${name}.log`),
      dir: join(state.dir, name),
      process: before?.process ?? null,
    };
    unit.address = UNITS[name].address(state, unit);
    state.units[name] = unit;
  }

  /** Leave it when it lives, answers and was given what it would be given now; start it otherwise. */
  async ensure(name: UnitName): Promise<void> {
    const unit = this.state.units[name];
    if (!unit) throw new Error(`no ports were placed for ${name}`);
    if (unit.external) {
      await this.waitUntilAnswering(name, unit, null, EXTERNAL_MS);
      this.log(`${name} answers at the address from ${ADDRESS_VARIABLE[name as ServerName]}`);
      return;
    }
    if (isAlive(unit.process)) {
      if (unit.process.environmentHash === this.environmentHash(name) && (await this.answers(name, unit)))
        return;
      await stopUnit(this.state, name, this.log);
    }
    for (let attempt = 1; ; attempt += 1) {
      try {
        await this.start(name);
        return;
      } catch (error) {
        await stopUnit(this.state, name, () => {});
        if (attempt >= START_ATTEMPTS || !(await this.lostPort(name))) throw error;
        await this.placePorts([name]);
      }
    }
  }

  private async answers(name: UnitName, unit: UnitState): Promise<boolean> {
    try {
      const hasAnswered = unit.process?.executable !== null;
      await this.waitUntilAnswering(name, unit, null, hasAnswered ? HUNG_MS : UNITS[name].startMs);
      return true;
    } catch (error) {
      this.log(`${name} runs but does not answer; starting it again (${firstLine(error)})`);
      return false;
    }
  }

  private async lostPort(name: UnitName): Promise<boolean> {
    const ports = Object.values(this.state.units[name]?.ports ?? {});
    return (await Promise.all(ports.map(isFree))).includes(false);
  }

  private async start(name: UnitName): Promise<void> {
    const definition = UNITS[name];
    const unit = this.state.units[name]!;
    const begin = performance.now();
    const found = isServer(name) ? this.found[name] : undefined;
    let child: ChildProcess;
    try {
      await endRemnantsOf(name, unit, isServer(name) ? Object.values(found?.bin ?? {}) : [process.execPath]);
      const command = await definition.prepare(this.state, unit, found, this.env);
      child = await spawnDetached(command, unit.log);
    } catch (cause) {
      throw this.failure(name, unit, firstLine(cause), cause);
    }
    const pid = child.pid!;
    const environmentHash = this.environmentHash(name);
    unit.process = { pid, started: startTime(pid) ?? '', executable: null, environmentHash };
    writeState(this.state);
    await this.waitUntilAnswering(name, unit, child, definition.startMs);
    unit.process.executable = executableOf(pid);
    writeState(this.state);
    await definition.settle?.(this.state, unit);
    this.log(`${name} ready after ${((performance.now() - begin) / 1000).toFixed(1)} s (${shown(unit)})`);
  }

  private async waitUntilAnswering(
    name: UnitName,
    unit: UnitState,
    child: ChildProcess | null,
    deadlineMs: number,
  ): Promise<void> {
    const end = performance.now() + deadlineMs;
    let ended = false;
    const exit = new Promise<void>((resolve) => {
      child?.once('exit', () => {
        ended = true;
        resolve();
      });
    });
    for (;;) {
      let reason: unknown;
      try {
        await UNITS[name].check(this.state, unit);
        return;
      } catch (error) {
        reason = error;
      }
      if (!unit.external && (ended || !isAlive(unit.process))) {
        if (child) await within(name, exit).catch(() => {}); // its exit code comes a moment after its end
        const how = child ? `ended with ${child.signalCode ?? `exit code ${child.exitCode}`}` : 'ended';
        throw this.failure(name, unit, how, reason);
      }
      if (reason instanceof StrangerError) throw this.failure(name, unit, reason.message, reason);
      if (performance.now() > end)
        throw this.failure(
          name,
          unit,
          `did not answer within ${deadlineMs / 1000} s: ${firstLine(reason)}`,
          reason,
        );
      await delay(POLL_MS);
    }
  }

  private failure(name: UnitName, unit: UnitState, how: string, cause: unknown): FeatureStoreError {
    if (unit.external && isServer(name))
      return new FeatureStoreError(
        'FS_UNAVAILABLE',
        `${name} at ${withoutPassword(unit.address)}: ${how}`,
        { fix: `start it, or unset ${ADDRESS_VARIABLE[name]} to have one started here`, server: name },
        { cause },
      );
    const tail = lastLines(unit.log, 8);
    return new FeatureStoreError(
      'FS_UNAVAILABLE',
      `${name} did not start: ${how}${tail ? `\n${tail}` : ''}`,
      { fix: `read ${unit.log}, then start the stack again`, server: name, log: unit.log },
      { cause },
    );
  }

  /** Servers are given nothing that matters to a client; our processes are given addresses and a build. */
  private environmentHash(name: UnitName): string {
    if (isServer(name)) return '';
    return createHash('sha256')
      .update(JSON.stringify(stackEnv(this.state)))
      .update(buildStamp(this.state.dist))
      .digest('hex')
      .slice(0, 16);
  }
}

/** @returns whether there was anything to stop */
async function stopUnit(state: StackState, name: UnitName, log: (line: string) => void): Promise<boolean> {
  const unit = state.units[name];
  if (!unit || unit.external) return false;
  const definition = UNITS[name];
  const running = unit.process;
  const wasAlive = isAlive(running);
  const executables = [running?.executable, running && executableOf(running.pid)];
  if (wasAlive) await endGroup(running, definition.stop, definition.stopMs);
  if (wasAlive && isAlive(running))
    throw new FeatureStoreError('FS_UNAVAILABLE', `${name} (process ${running.pid}) cannot be ended`, {
      fix: `end process ${running.pid} by hand`,
      server: name,
    });
  await endRemnantsOf(name, unit, executables);
  unit.process = null;
  writeState(state);
  if (wasAlive) log(`${name} stopped`);
  return wasAlive;
}

async function endRemnantsOf(
  name: UnitName,
  unit: UnitState,
  executables: readonly (string | null | undefined)[],
): Promise<void> {
  const dir = UNITS[name].workingDir?.(unit) ?? unit.dir;
  if (dir) await endRemnants(dir, executables);
}

/** All of them to their end, so that nothing is left half-started behind the first error. */
async function settleAll(work: Promise<unknown>[]): Promise<void> {
  const results = await Promise.allSettled(work);
  const failed = results.find((result) => result.status === 'rejected');
  if (failed) throw failed.reason;
}

function isServer(name: UnitName): name is ServerName {
  return (SERVERS as readonly string[]).includes(name);
}

function shown(unit: UnitState): string {
  return `port ${unit.ports.main}`;
}

function withoutPassword(address: string): string {
  return address.replace(/:[^:@/]*@/, ':***@');
}

function firstLine(error: unknown): string {
  const text =
    error instanceof AggregateError
      ? String(error.errors[0])
      : error instanceof Error
        ? error.message
        : String(error);
  return text.split('\n')[0] ?? '';
}

function lastLines(path: string, count: number): string {
  if (!path || !existsSync(path)) return '';
  return readFileSync(path, 'utf8').trimEnd().split('\n').slice(-count).join('\n');
}
