/**
 * The Temporal development server with its UI, kept in one SQLite file. The search attributes that workflows set
 * are registered by flags: one that is not registered makes a workflow fail.
 */
import { mkdirSync, realpathSync } from 'node:fs';
import { join } from 'node:path';
import { type Command, commandLine } from './process.js';
import type { Found } from './servers.mjs';
import type { StackState, UnitState } from './state.js';
import { ATTEMPT_MS, baseEnvironment, type Environment, StrangerError, type Unit, within } from './unit.js';

export const NAMESPACE = 'default';

const SEARCH_ATTRIBUTES = {
  AlmanacView: 'Keyword',
  AlmanacVersion: 'Int',
  AlmanacKind: 'Keyword',
  AlmanacState: 'Keyword',
  AlmanacOwner: 'Keyword',
} as const;

export const temporal: Unit = {
  name: 'temporal',
  ports: ['main', 'ui'],
  stop: 'SIGTERM',
  stopMs: 15_000,
  startMs: 60_000,
  prepare,
  check,
  address: (_state, unit) => `127.0.0.1:${unit.ports.main}`,
};

const databaseFile = (unit: UnitState) => join(unit.dir, 'temporal.db');

async function prepare(
  _state: StackState,
  unit: UnitState,
  found: Found | undefined,
  env: Environment,
): Promise<Command> {
  mkdirSync(unit.dir, { recursive: true });
  unit.dir = realpathSync(unit.dir);
  const attributes = Object.entries(SEARCH_ATTRIBUTES).flatMap(([key, type]) => [
    '--search-attribute',
    `${key}=${type}`,
  ]);
  const args = [
    'server start-dev --ip 127.0.0.1 --log-level warn'.split(' '),
    ['--namespace', NAMESPACE],
    [
      '--port',
      String(unit.ports.main),
      '--ui-port',
      String(unit.ports.ui),
      '--db-filename',
      databaseFile(unit),
    ],
    attributes,
  ].flat();
  return { file: found?.bin.temporal ?? '', args, env: baseEnvironment(env), cwd: unit.dir };
}

async function check(_state: StackState, unit: UnitState): Promise<void> {
  if (!unit.external && unit.process) {
    // it would have ended had it not got the port of its command line: so the port is its own
    const line = commandLine(unit.process.pid);
    if (line && !line.includes(databaseFile(unit)))
      throw new StrangerError(`process ${unit.process.pid} is no Temporal server on ${databaseFile(unit)}`);
  }
  const { Connection } = await import('@temporalio/client');
  const connection = await Connection.connect({ address: unit.address, connectTimeout: ATTEMPT_MS });
  try {
    const describing = connection.workflowService.describeNamespace({ namespace: NAMESPACE });
    await within('Temporal', describing);
  } finally {
    await connection.close();
  }
}
