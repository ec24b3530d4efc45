/**
 * Showing progress without a terminal, and running other programs: plain lines, each with the step's name.
 */
import { spawn } from 'node:child_process';

/** A step shows itself after this long; a quiet one only when it takes really long. */
const SHOW_MS = 1_000;
const SHOW_QUIET_MS = 4_000;
const STILL_MS = 10_000;

/**
 * @typedef {(status: string) => void} Report
 * @typedef {{ step: <T>(name: string, what: string, work: (report: Report) => Promise<T>) => Promise<T>, log: (line: string) => void }} Steps
 */

/**
 * @param {{ quiet?: boolean, write?: (line: string) => void }} [options]
 * @returns {Steps}
 */
export function createSteps({ quiet = false, write = (line) => process.stderr.write(`${line}\n`) } = {}) {
  return {
    log: write,
    async step(name, what, work) {
      const start = performance.now();
      const seconds = () => `${((performance.now() - start) / 1000).toFixed(1)} s`;
      let status = what;
      let shown = false;
      /** @type {NodeJS.Timeout | undefined} */
      let still;
      const show = setTimeout(
        () => {
          shown = true;
          write(`${name.padEnd(10)} ${status} …`);
          still = setInterval(() => write(`${name.padEnd(10)} ${status} … ${seconds()}`), STILL_MS);
        },
        quiet ? SHOW_QUIET_MS : SHOW_MS,
      );
      try {
        const result = await work((next) => {
          status = next;
        });
        if (shown) write(`${name.padEnd(10)} ready after ${seconds()}`);
        return result;
      } finally {
        clearTimeout(show);
        clearInterval(still);
      }
    },
  };
}

/** A program that ended badly or could not be started; the message holds the end of what it said. */
export class CommandError extends Error {
  /** @param {string} message @param {string} output */
  constructor(message, output) {
    super(message);
    this.name = 'CommandError';
    this.output = output;
  }
}

/** @type {Set<import('node:child_process').ChildProcess>} */
const running = new Set();
/** Whoever is ended in the middle takes along what it started. */
export function endChildrenOnExit() {
  for (const signal of /** @type {const} */ (['SIGINT', 'SIGTERM', 'SIGHUP']))
    process.once(signal, () => {
      for (const child of running) child.kill('SIGTERM');
      process.exit(signal === 'SIGINT' ? 130 : 143);
    });
}

/**
 * @typedef {object} RunOptions
 * @property {string} [cwd]
 * @property {Readonly<Record<string, string | undefined>>} [env]
 * @property {number} [timeoutMs]
 * @property {(line: string) => void} [onLine]
 * @property {number} [uid]
 * @property {number} [gid]
 */

/**
 * Run a program to its end and return all it printed (stdout and stderr in one). Never through a shell.
 * @param {string} file @param {readonly string[]} args @param {RunOptions} [options]
 * @returns {Promise<string>}
 */
export function run(file, args, { cwd, env = process.env, timeoutMs, onLine, uid, gid } = {}) {
  return new Promise((resolve, reject) => {
    const child = spawn(file, args, {
      stdio: ['ignore', 'pipe', 'pipe'],
      env: { ...env },
      ...(cwd === undefined ? {} : { cwd }),
      ...(uid === undefined ? {} : { uid }),
      ...(gid === undefined ? {} : { gid }),
    });
    running.add(child);
    let output = '';
    const command = [file, ...args].join(' ');
    const timer = timeoutMs && setTimeout(() => child.kill('SIGKILL'), timeoutMs);
    for (const stream of [child.stdout, child.stderr])
      stream.setEncoding('utf8').on('data', (text) => {
        output += text;
        if (onLine) for (const line of String(text).split('\n')) if (line.trim()) onLine(line.trim());
      });
    /** @param {string} why */
    const fail = (why) => {
      const end = output.trim().split('\n').slice(-12).join('\n');
      reject(new CommandError(`${command}: ${why}${end ? `\n${end}` : ''}`, output));
    };
    child.on('error', (error) => {
      clearTimeout(timer || undefined);
      running.delete(child);
      fail(error.message);
    });
    child.on('close', (code, signal) => {
      clearTimeout(timer || undefined);
      running.delete(child);
      if (code === 0) resolve(output);
      else fail(signal ? `ended by ${signal}` : `exit code ${code}`);
    });
  });
}
