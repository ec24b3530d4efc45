/**
 * Which process a pid means. A pid alone is reused; a pid with its start time is not.
 * Zombies count as dead: in a container nobody may ever reap them.
 */
import { spawnSync } from 'node:child_process';
import { readFileSync } from 'node:fs';

/**
 * When the process started, in a form only good for comparing; null when there is no such living process.
 * @param {number} pid
 * @returns {string | null}
 */
export function startTime(pid) {
  return process.platform === 'linux' ? linuxStartTime(pid) : psStartTime(pid);
}

/**
 * True when `pid` is alive and is still the process that started at `started`.
 * @param {number} pid
 * @param {string} started
 */
export function isSameProcess(pid, started) {
  return startTime(pid) === started;
}

/** @param {number} pid @returns {string | null} */
function linuxStartTime(pid) {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, 'utf8');
    // the second field is the command in parentheses and may itself hold spaces and parentheses
    const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
    // a leader that is gone shows as a zombie while other threads still end, and hold its ports
    if (fields[0] === 'X' || (fields[0] === 'Z' && Number(fields[17]) <= 1)) return null;
    return `${bootId()}/${fields[19]}`; // field 22 of proc(5): clock ticks since boot
  } catch {
    return null;
  }
}

/** @type {string | undefined} */
let boot;
/** Ticks count from boot, so a state file that outlives a reboot must not match by chance. */
function bootId() {
  boot ??= readFileSync('/proc/sys/kernel/random/boot_id', 'utf8').trim();
  return boot;
}

/** @param {number} pid @returns {string | null} */
function psStartTime(pid) {
  const { stdout } = spawnSync('ps', ['-o', 'stat=,lstart=', '-p', String(pid)], {
    encoding: 'utf8',
    env: { PATH: process.env.PATH, LC_ALL: 'C', TZ: 'UTC' },
  });
  const line = stdout?.trim();
  if (!line || line.startsWith('Z')) return null;
  return line.slice(line.indexOf(' ') + 1).trim();
}
