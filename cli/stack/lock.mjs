/**
 * A lock between processes: a file that names its holder. It is created whole (written aside, then linked), so
 * nobody ever reads half of it; a holder that died is recognised by pid and start time, and its lock taken over.
 */
import { randomBytes } from 'node:crypto';
import { linkSync, mkdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { dirname } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { isSameProcess, startTime } from './pids.mjs';

const POLL_MS = 100;
/** Taking over is three file operations; a guard this old was left by a process that died between them. */
const GUARD_STALE_MS = 10_000;

/**
 * Run `work` while holding the lock at `path`; wait for a living holder, however long it takes.
 * @template T
 * @param {string} path
 * @param {string} what what the holder does, shown to whoever waits
 * @param {(line: string) => void} log
 * @param {() => Promise<T>} work
 * @returns {Promise<T>}
 */
export async function withLock(path, what, log, work) {
  const token = await acquire(path, what, log);
  try {
    return await work();
  } finally {
    if (readHolder(path)?.token === token) rmSync(path, { force: true });
  }
}

/** @typedef {{ pid: number, started: string, what: string, token: string }} Holder */

/**
 * @param {string} path @param {string} what @param {(line: string) => void} log
 * @returns {Promise<string>} the token under which the lock is held
 */
async function acquire(path, what, log) {
  mkdirSync(dirname(path), { recursive: true });
  const token = randomBytes(8).toString('hex');
  /** @type {Holder} */
  const self = { pid: process.pid, started: startTime(process.pid) ?? '', what, token };
  const own = `${path}.${process.pid}.${token}`;
  writeFileSync(own, JSON.stringify(self));
  let waitsFor = '';
  try {
    for (;;) {
      if (tryLink(own, path)) return token;
      const holder = readHolder(path);
      if (holder && isSameProcess(holder.pid, holder.started)) {
        if (holder.token !== waitsFor) log(`waiting for process ${holder.pid}: ${holder.what}`);
        waitsFor = holder.token;
        await delay(POLL_MS);
      } else if (holder) {
        if (!takeOver(path, holder)) await delay(POLL_MS);
        else log(`took over from process ${holder.pid}, which died during: ${holder.what}`);
      }
    }
  } finally {
    rmSync(own, { force: true });
  }
}

/** @param {string} own @param {string} path */
function tryLink(own, path) {
  try {
    linkSync(own, path);
    return true;
  } catch (error) {
    if (errorCode(error) === 'EEXIST') return false;
    throw error;
  }
}

/**
 * Remove the lock of a dead holder. Two waiters may see it dead at once: the guard lets one of them remove it, and
 * only while it still is the dead one's, so that a fresh lock is never removed.
 * @param {string} path @param {Holder} dead @returns {boolean} whether we removed it
 */
function takeOver(path, dead) {
  const guard = `${path}.takeover`;
  try {
    writeFileSync(guard, '', { flag: 'wx' });
  } catch (error) {
    if (errorCode(error) !== 'EEXIST') throw error;
    const stat = statSync(guard, { throwIfNoEntry: false });
    if (stat && Date.now() - stat.mtimeMs > GUARD_STALE_MS) rmSync(guard, { force: true });
    return false;
  }
  try {
    const isDeads = readHolder(path)?.token === dead.token;
    if (isDeads) rmSync(path, { force: true });
    return isDeads;
  } finally {
    rmSync(guard, { force: true });
  }
}

/** @param {string} path @returns {Holder | null} null when it has just been released */
function readHolder(path) {
  try {
    return JSON.parse(readFileSync(path, 'utf8'));
  } catch (error) {
    if (errorCode(error) === 'ENOENT') return null;
    // not written by us: nobody can be waited for
    if (error instanceof SyntaxError)
      return { pid: 0, started: '-', what: 'an unreadable lock', token: 'unreadable' };
    throw error;
  }
}

/** @param {unknown} error @returns {string | undefined} */
function errorCode(error) {
  return error instanceof Error && 'code' in error ? String(error.code) : undefined;
}
