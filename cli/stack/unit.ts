/**
 * A unit is one thing the stack keeps running: how to start it, and how to know that what answers is ours.
 */

import type { Command } from './process.js';
import type { Found } from './servers.mjs';
import type { StackState, UnitName, UnitState } from './state.js';

export type Environment = Readonly<Record<string, string | undefined>>;

export interface Unit {
  name: UnitName;
  /** Purposes of its ports; the first is `main`. */
  ports: readonly string[];
  /** The polite way to end it, and how long that may take before it is forced. */
  stop: NodeJS.Signals;
  stopMs: number;
  /** From the start of the process to the first good answer; recovery after a crash included. */
  startMs: number;
  /** Make its data if there is none, and say how to start it. `unit.ports` and `unit.dir` are set. */
  prepare(state: StackState, unit: UnitState, found: Found | undefined, env: Environment): Promise<Command>;
  /** What clients are given. */
  address(state: StackState, unit: UnitState): string;
  /** Resolves when it answers by its own protocol and is the one we started; throws otherwise. */
  check(state: StackState, unit: UnitState): Promise<void>;
  /** Once after a start, when it answers. */
  settle?(state: StackState, unit: UnitState): Promise<void>;
  /** Where its processes work, when that is not `unit.dir`. */
  workingDir?(unit: UnitState): string;
}

/** No attempt to reach a server may hang: a stopped process accepts connections and never answers. */
export const ATTEMPT_MS = 2_000;

/** Thrown by a check when somebody else answers on our port: waiting will not help. */
export class StrangerError extends Error {
  override readonly name = 'StrangerError';
}

/** What any program needs of its surroundings, and nothing that changes what a server does. */
export function baseEnvironment(env: Environment): Record<string, string> {
  const kept = ['PATH', 'HOME', 'LANG', 'TMPDIR', 'SSL_CERT_FILE', 'SSL_CERT_DIR', 'NODE_EXTRA_CA_CERTS'];
  const base = Object.fromEntries(kept.flatMap((key) => (env[key] ? [[key, env[key]]] : [])));
  return { ...base, TZ: 'UTC' };
}

/** `work`, or an error after ATTEMPT_MS; for clients without a deadline of their own. */
export async function within<T>(what: string, work: Promise<T>, ms: number = ATTEMPT_MS): Promise<T> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<never>((_resolve, reject) => {
    timer = setTimeout(() => reject(new Error(`${what}: no answer within ${ms} ms`)), ms);
  });
  try {
    return await Promise.race([work, late]);
  } finally {
    clearTimeout(timer);
  }
}
