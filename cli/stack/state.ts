/**
 * What a running stack is, as one file: .almanac/<name>/stack.json, readable by its owner only (it holds passwords).
 * Written before a process is started and after, so that whoever comes next knows what may be running.
 */
import { randomBytes } from 'node:crypto';
import {
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  realpathSync,
  renameSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { FeatureStoreError } from '../../core/error.js';
import { packageDir } from './places.mjs';
import { isAlive } from './process.js';

export type ServerName = 'postgres' | 'redis' | 'temporal' | 'kafka';
export type ProcessName = 'registry' | 'worker' | 'serving';
export type UnitName = ServerName | ProcessName;

export const SERVERS: readonly ServerName[] = ['postgres', 'redis', 'temporal', 'kafka'];
export const PROCESSES: readonly ProcessName[] = ['registry', 'worker', 'serving'];

/** A process of ours, recognised by pid, start time and program; a pid alone may be a stranger's by now. */
export interface RunningProcess {
  pid: number;
  started: string;
  /** The program behind the pid, known once it answered; null before. */
  executable: string | null;
  /** Of the environment it was given: with another one it has to be started again. */
  environmentHash: string;
}

export interface UnitState {
  /** True when the address came by environment: nothing of it was started, nothing of it is stopped. */
  external: boolean;
  /** URL, or host:port, as the variable of its name wants it. */
  address: string;
  /** By purpose: `main`, and `ui`, `controller` where there is one. Kept across restarts while free. */
  ports: Record<string, number>;
  log: string;
  /** Its working directory, and its data. */
  dir: string;
  process: RunningProcess | null;
}

export interface StackState {
  layout: 1;
  name: string;
  /** The directory that holds .almanac. */
  root: string;
  /** `<root>/.almanac/<name>` with all links resolved. */
  dir: string;
  environment: string;
  /** The compiled code that our processes run. */
  dist: string;
  /** Given to each of our processes, which answer with it: so we know them from another stack's. */
  instance: string;
  passwords: { postgres: string; redis: string };
  kafkaClusterId: string;
  /** Variables of the user's own that our processes are given beside ours: what definitions name as `env:…`. */
  settings: Record<string, string>;
  units: Partial<Record<UnitName, UnitState>>;
}

const STATE_FILE = 'stack.json';

/** The stack as it was last written; null when there never was one. */
export function readState(root: string, name: string): StackState | null {
  const path = join(stackDir(root, name), STATE_FILE);
  if (!existsSync(path)) return null;
  try {
    const state: StackState = JSON.parse(readFileSync(path, 'utf8'));
    const dir = realpathSync(stackDir(root, name));
    // A checkout that was moved or copied: its data came along, the processes written down are not its own.
    if (state.layout === 1)
      return state.dir === dir ? state : { ...state, root, dir, units: {}, dist: join(root, 'dist') };
  } catch (cause) {
    throw unreadable(path, cause);
  }
  throw unreadable(path, undefined);
}

function unreadable(path: string, cause: unknown): FeatureStoreError {
  return new FeatureStoreError(
    'FS_CONFIG_INVALID',
    `${path} is not a stack of this version`,
    { fix: 'end its processes, remove its directory and start the stack again', path },
    { cause },
  );
}

/** A stack as it was written down, and which of it runs. */
export interface FoundStack {
  state: StackState;
  alive: UnitName[];
  dead: UnitName[];
}

/** The stack of that name if any of it runs; null otherwise. */
export function findStack({ root = packageDir, name }: { root?: string; name: string }): FoundStack | null {
  const state = readState(root, name);
  if (!state) return null;
  const units = Object.entries(state.units) as [UnitName, UnitState][];
  const known = units.filter(([, unit]) => unit.external || unit.process);
  const alive = known.filter(([, unit]) => unit.external || isAlive(unit.process)).map(([unit]) => unit);
  const dead = known.map(([unit]) => unit).filter((unit) => !alive.includes(unit));
  return units.some(([, unit]) => isAlive(unit.process)) ? { state, alive, dead } : null;
}

export function writeState(state: StackState): void {
  const path = join(state.dir, STATE_FILE);
  const aside = `${path}.${process.pid}`;
  writeFileSync(aside, `${JSON.stringify(state, null, 2)}\n`, { mode: 0o600 });
  renameSync(aside, path);
}

/** A new stack: secrets and identity drawn once, kept as long as its data. */
export function createState(root: string, name: string, environment: string, dist: string): StackState {
  mkdirSync(stackDir(root, name), { recursive: true });
  const dir = realpathSync(stackDir(root, name));
  mkdirSync(join(dir, 'logs'), { recursive: true });
  const secret = () => randomBytes(18).toString('base64url');
  return {
    layout: 1,
    name,
    root,
    dir,
    environment,
    dist,
    instance: randomBytes(9).toString('base64url'),
    passwords: { postgres: secret(), redis: secret() },
    // Kafka's own form: 22 characters of base64url, the first no hyphen, which its tools take for an option
    kafkaClusterId: randomBytes(16).toString('base64url').replace(/^-/, 'A'),
    settings: {},
    units: {},
  };
}

/** Names of the stacks that have a state file under this root. */
export function listStacks(root: string): string[] {
  const parent = join(root, '.almanac');
  if (!existsSync(parent)) return [];
  return readdirSync(parent).filter((name) => existsSync(join(parent, name, STATE_FILE)));
}

export function stackDir(root: string, name: string): string {
  if (!/^[a-z][a-z0-9-]{0,40}$/.test(name))
    throw new FeatureStoreError('FS_CONFIG_INVALID', `"${name}" cannot be the name of a stack`, {
      fix: 'use lower-case letters, digits and hyphens, a letter first',
      name,
    });
  return join(root, '.almanac', name);
}

export function lockPath(root: string, name: string): string {
  return `${stackDir(root, name)}.lock`;
}

/** The data of a stopped stack, wherever it lies. */
export function removeStackFiles(state: StackState): void {
  const postgres = state.units.postgres?.dir; // may lie elsewhere, behind a link (postgres.ts)
  for (const dir of [postgres, state.dir]) if (dir) rmSync(dir, { recursive: true, force: true });
  rmSync(state.dir, { recursive: true, force: true });
}
