/**
 * Processes that outlive us: started detached, recognised later, ended with everything they started.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import {
  closeSync,
  openSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  realpathSync,
  renameSync,
  statSync,
} from 'node:fs';
import { createServer } from 'node:net';
import { basename } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { startTime } from './pids.mjs';
import type { RunningProcess } from './state.js';

const POLL_MS = 25;
/** A log this long is put aside at the next start; the one put aside before it is dropped. */
const LOG_BYTES_MAX = 20e6;

export interface Command {
  file: string;
  args: string[];
  /** The whole environment, not an addition to ours. */
  env: Record<string, string>;
  cwd: string;
  uid?: number;
  gid?: number;
}

/** Start in a process group of its own, output appended to `log`; throws when the program cannot be executed. */
export async function spawnDetached(command: Command, log: string): Promise<ChildProcess> {
  const { file, args, env, cwd, uid, gid } = command;
  const size = statSync(log, { throwIfNoEntry: false })?.size ?? 0;
  if (size > LOG_BYTES_MAX) renameSync(log, `${log}.1`);
  const output = openSync(log, 'a', 0o600);
  try {
    const child = spawn(file, args, {
      detached: true,
      stdio: ['ignore', output, output],
      env,
      cwd,
      ...(uid === undefined ? {} : { uid }),
      ...(gid === undefined ? {} : { gid }),
    });
    await new Promise((resolve, reject) => child.once('spawn', resolve).once('error', reject));
    child.on('error', () => {}); // a failing kill() is found out by looking at the process
    child.unref();
    return child;
  } finally {
    closeSync(output);
  }
}

/** True when the process in the state file still runs: pid, start time and, where /proc tells, program. */
export function isAlive(running: RunningProcess | null | undefined): running is RunningProcess {
  if (!running || startTime(running.pid) !== running.started) return false;
  const now = executableOf(running.pid);
  return running.executable === null || now === null || now === running.executable;
}

/** The program behind a pid; null where it cannot be known (macOS, or another user's process). */
export function executableOf(pid: number): string | null {
  try {
    // a package upgrade replaces the file under a running server
    return readlinkSync(`/proc/${pid}/exe`).replace(/ \(deleted\)$/, '');
  } catch {
    return null;
  }
}

/** End a process group: ask, wait, then force. Returns when the leader is gone. */
export async function endGroup(
  running: RunningProcess,
  ask: NodeJS.Signals,
  patienceMs: number,
): Promise<void> {
  if (!isAlive(running)) return;
  signal(running.pid, ask);
  signal(running.pid, 'SIGCONT'); // a stopped process would never hear it
  if (await isGoneWithin(running, patienceMs)) {
    signal(-running.pid, 'SIGKILL'); // children that outlived their leader
    return;
  }
  signal(-running.pid, 'SIGKILL');
  signal(running.pid, 'SIGKILL');
  await isGoneWithin(running, 10_000);
}

export async function isGoneWithin(running: RunningProcess, patienceMs: number): Promise<boolean> {
  const end = performance.now() + patienceMs;
  while (isAlive(running)) {
    if (performance.now() > end) return false;
    await delay(POLL_MS);
  }
  return true;
}

/** Signal a process or, negative, a group; one that is gone already is no error. */
export function signal(pid: number, name: NodeJS.Signals): void {
  try {
    process.kill(pid, name);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ESRCH') throw error;
  }
}

/**
 * Processes of this program that work in this directory: what is left of a server whose state was never written,
 * or of one killed before its children noticed. Every unit has a working directory of its own, so nothing else is
 * meant by it. Linux only; elsewhere the state file has to do.
 */
export function findRemnants(dir: string, executables: readonly (string | null | undefined)[]): number[] {
  // by name: the program may have been copied to where its user can execute it
  const programs = new Set(
    executables.filter((path) => typeof path === 'string').map((path) => basename(resolved(path))),
  );
  const where = resolved(dir);
  return pids().filter((pid) => {
    try {
      return readlinkSync(`/proc/${pid}/cwd`) === where && programs.has(basename(executableOf(pid) ?? ''));
    } catch {
      return false;
    }
  });
}

/** End what is left, and wait until it is gone. */
export async function endRemnants(
  dir: string,
  executables: readonly (string | null | undefined)[],
): Promise<void> {
  for (let round = 0; round < 400; round += 1) {
    const left = findRemnants(dir, executables).filter((pid) => startTime(pid) !== null);
    if (left.length === 0) return;
    for (const pid of left) signal(pid, 'SIGKILL');
    await delay(POLL_MS);
  }
}

function pids(): number[] {
  try {
    return readdirSync('/proc').map(Number).filter(Number.isInteger);
  } catch {
    return [];
  }
}

function resolved(path: string): string {
  try {
    return realpathSync(path);
  } catch {
    return path;
  }
}

/** The command line of a process, as it was started; null where it cannot be read. */
export function commandLine(pid: number): string[] | null {
  try {
    return readFileSync(`/proc/${pid}/cmdline`, 'utf8').split('\0');
  } catch {
    return null;
  }
}

/** Below the range from which the system draws ports for outgoing connections, so that none of those takes ours. */
const PORT_MIN = 20_000;
const PORT_MAX = 32_000;

/** `wanted` when it is free on loopback, else a free one; never one in `taken`. */
export async function freePort(wanted: number | undefined, taken: Set<number>): Promise<number> {
  // the kernel may take a moment to free the port of a process that has just ended
  for (let wait = 0; wanted && !taken.has(wanted) && wait < 20 && !(await isFree(wanted)); wait += 1)
    await delay(POLL_MS);
  for (let attempt = 0; attempt < 500; attempt += 1) {
    const random = PORT_MIN + Math.floor(Math.random() * (PORT_MAX - PORT_MIN));
    const port = attempt === 0 && wanted ? wanted : random;
    if (taken.has(port) || !(await isFree(port))) continue;
    taken.add(port);
    return port;
  }
  throw new Error(`no free port between ${PORT_MIN} and ${PORT_MAX} on 127.0.0.1`);
}

export function isFree(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const server = createServer();
    server.once('error', () => resolve(false));
    server.listen({ port, host: '127.0.0.1', exclusive: true }, () => server.close(() => resolve(true)));
  });
}
