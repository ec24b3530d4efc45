/**
 * Postgres for one stack: loopback only, no Unix socket (its path has a length limit), a password drawn for it.
 * fsync and synchronous_commit stay on: what a commit means is tested with kill -9.
 *
 * As root it runs under a system user, because Postgres refuses root. That user must reach the data and the program,
 * which it cannot below a home of mode 0700: then both go under /var/lib/almanac, and .almanac holds a link.
 */
import { spawnSync } from 'node:child_process';
import { createHash, randomBytes } from 'node:crypto';
import {
  chmodSync,
  chownSync,
  cpSync,
  existsSync,
  lstatSync,
  mkdirSync,
  readlinkSync,
  realpathSync,
  renameSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { basename, dirname, join } from 'node:path';
import pg from 'pg';
import { createMachine, postgresUser } from './machine.mjs';
import type { Command } from './process.js';
import type { Found } from './servers.mjs';
import type { StackState, UnitState } from './state.js';
import { run } from './steps.mjs';
import { ATTEMPT_MS, baseEnvironment, type Environment, StrangerError, type Unit } from './unit.js';

const USER = 'almanac';
const DATABASE = 'almanac';
/** Where root keeps what another user must reach. */
const SHARED_DIR = '/var/lib/almanac';

type SystemUser = { uid: number; gid: number } | null;

const SETTINGS: Record<string, string> = {
  listen_addresses: '127.0.0.1',
  unix_socket_directories: '',
  max_connections: '100',
  shared_buffers: '128MB',
  max_wal_size: '2GB', // imports write in bursts; the default checkpoints every few seconds under them
  jit: 'off', // compiling costs more than it saves on queries of milliseconds
  timezone: 'UTC',
  log_timezone: 'UTC',
  log_line_prefix: '%m [%p] ',
};

export const postgres: Unit = {
  name: 'postgres',
  ports: ['main'],
  stop: 'SIGINT', // "fast": does not wait for clients to leave
  stopMs: 20_000,
  startMs: 90_000,
  prepare,
  check,
  settle,
  workingDir: (unit) => join(unit.dir, 'data'),
  address: (state, unit) => urlOf(state, unit, DATABASE),
};

async function prepare(
  state: StackState,
  unit: UnitState,
  found: Found | undefined,
  env: Environment,
): Promise<Command> {
  const user: SystemUser = await postgresUser(createMachine({ env }));
  const bin = reachableBin(found?.bin ?? {}, user);
  unit.dir = reachableDir(unit.dir, user);
  const data = join(unit.dir, 'data');
  if (!existsSync(data)) await initialize(bin.initdb, data, state.passwords.postgres, user, env);
  // Postgres takes any process with the pid in there for its predecessor: a zombie, or a stranger after a restart of
  // the container. Where /proc tells, the caller has just made sure that no Postgres works in this directory.
  if (process.platform === 'linux') rmSync(join(data, 'postmaster.pid'), { force: true });
  const settings = { ...SETTINGS, port: String(unit.ports.main), cluster_name: `almanac-${state.name}` };
  return {
    file: bin.postgres,
    args: ['-D', data, ...Object.entries(settings).flatMap(([key, value]) => ['-c', `${key}=${value}`])],
    env: baseEnvironment(env),
    cwd: data,
    ...user,
  };
}

/** Made aside and renamed: a data directory is complete, or absent. */
async function initialize(
  initdb: string,
  data: string,
  password: string,
  user: SystemUser,
  env: Environment,
): Promise<void> {
  const aside = `${data}.new`;
  const passwordFile = join(dirname(data), `.${randomBytes(6).toString('hex')}`);
  rmSync(aside, { recursive: true, force: true });
  mkdirSync(aside, { mode: 0o700 });
  writeFileSync(passwordFile, password, { mode: 0o600 });
  if (user) for (const path of [aside, passwordFile]) chownSync(path, user.uid, user.gid);
  try {
    const auth = ['--auth=scram-sha-256', `--pwfile=${passwordFile}`];
    await run(initdb, ['-D', aside, '-U', USER, '--encoding=UTF8', '--locale=C', ...auth], {
      env: baseEnvironment(env),
      cwd: dirname(data),
      ...user,
    });
    renameSync(aside, data);
  } finally {
    rmSync(passwordFile, { force: true });
    rmSync(aside, { recursive: true, force: true });
  }
}

async function check(state: StackState, unit: UnitState): Promise<void> {
  await query(state, unit, 'postgres', async (client) => {
    const { rows } = await client.query('select current_setting($1) as dir', ['data_directory']);
    if (unit.external) return;
    const expected = join(unit.dir, 'data');
    if (rows[0].dir !== expected)
      throw new StrangerError(
        `the Postgres on port ${unit.ports.main} keeps ${rows[0].dir}, not ${expected}`,
      );
  });
}

async function settle(state: StackState, unit: UnitState): Promise<void> {
  await query(state, unit, 'postgres', async (client) => {
    const { rowCount } = await client.query('select from pg_database where datname = $1', [DATABASE]);
    if (rowCount === 0) await client.query(`create database ${DATABASE}`);
  });
}

async function query(
  state: StackState,
  unit: UnitState,
  database: string,
  work: (client: pg.Client) => Promise<void>,
): Promise<void> {
  const client = new pg.Client({
    connectionString: unit.external ? unit.address : urlOf(state, unit, database),
    connectionTimeoutMillis: ATTEMPT_MS,
    query_timeout: 5 * ATTEMPT_MS,
  });
  client.on('error', () => {}); // a connection lost meanwhile fails the query, which is reported
  try {
    await client.connect();
    await work(client);
  } finally {
    await client.end().catch(() => {});
  }
}

function urlOf(state: StackState, unit: UnitState, database: string): string {
  return `postgres://${USER}:${state.passwords.postgres}@127.0.0.1:${unit.ports.main}/${database}`;
}

/** `wanted` if `user` can work there; else a directory it can reach, with a link to it at `wanted`. */
function reachableDir(wanted: string, user: SystemUser): string {
  if (!user) {
    mkdirSync(wanted, { recursive: true });
    return realpathSync(wanted);
  }
  const isLink = lstatSync(wanted, { throwIfNoEntry: false })?.isSymbolicLink() ?? false;
  const elsewhere = join(SHARED_DIR, createHash('sha256').update(wanted).digest('hex').slice(0, 12));
  if (isLink && readlinkSync(wanted) === elsewhere && existsSync(elsewhere)) return elsewhere;
  if (isLink) rmSync(wanted);
  mkdirSync(wanted, { recursive: true });
  chownSync(wanted, user.uid, user.gid);
  if (canWorkIn(wanted, user)) return realpathSync(wanted);
  // what a removed checkout left there belongs to nobody: this stack has just been made anew
  rmSync(elsewhere, { recursive: true, force: true });
  mkdirSync(elsewhere, { recursive: true });
  chmodSync(SHARED_DIR, 0o755);
  chownSync(elsewhere, user.uid, user.gid);
  rmSync(wanted, { recursive: true });
  symlinkSync(elsewhere, wanted);
  return elsewhere;
}

function canWorkIn(dir: string, user: NonNullable<SystemUser>): boolean {
  const script = 'cd "$1" && test -r . -a -w .';
  return spawnSync('/bin/sh', ['-c', script, 'sh', dir], { ...user, cwd: '/' }).status === 0;
}

/** The programs, copied to where `user` can execute them if they lie in a cache below a closed home. */
function reachableBin(bin: Record<string, string>, user: SystemUser): { postgres: string; initdb: string } {
  const { postgres = '', initdb = '' } = bin;
  if (!user || canExecute(initdb, user)) return { postgres, initdb };
  const installed = dirname(dirname(postgres)); // …/native, with bin, lib and share
  const copy = join(SHARED_DIR, basename(dirname(installed)));
  const copied = { postgres: join(copy, 'bin', 'postgres'), initdb: join(copy, 'bin', 'initdb') };
  if (!existsSync(copied.initdb)) {
    const aside = `${copy}.${randomBytes(4).toString('hex')}`;
    mkdirSync(SHARED_DIR, { recursive: true });
    chmodSync(SHARED_DIR, 0o755);
    cpSync(installed, aside, { recursive: true, verbatimSymlinks: true });
    renameSync(aside, copy);
  }
  return copied;
}

function canExecute(file: string, user: NonNullable<SystemUser>): boolean {
  return spawnSync(file, ['--version'], { ...user, cwd: '/' }).status === 0;
}
