/**
 * The machine as the set-up sees it. One object, so that a test can hide a program or replace what running one does.
 */
import { spawnSync } from 'node:child_process';
import { accessSync, constants, existsSync, readdirSync, statSync } from 'node:fs';
import { delimiter, join } from 'node:path';
import { cacheDir } from './places.mjs';
import { createSteps, run } from './steps.mjs';

/**
 * @typedef {object} Machine
 * @property {Readonly<Record<string, string | undefined>>} env
 * @property {string} platform
 * @property {string} arch
 * @property {boolean} isRoot
 * @property {string} cache
 * @property {readonly string[]} postgresDirs where packages put Postgres outside PATH; `*` stands for a version
 * @property {readonly string[]} javaDirs the same for Java
 * @property {typeof run} run
 * @property {import('./steps.mjs').Steps} steps
 */

const POSTGRES_DIRS = [
  '/usr/lib/postgresql/*/bin', // Debian, Ubuntu
  '/usr/pgsql-*/bin', // the RPMs of postgresql.org
  '/opt/homebrew/opt/postgresql@*/bin',
  '/usr/local/opt/postgresql@*/bin',
  '/Applications/Postgres.app/Contents/Versions/*/bin',
];
const JAVA_DIRS = ['/usr/lib/jvm/*/bin', '/opt/homebrew/opt/openjdk*/bin', '/usr/local/opt/openjdk*/bin'];

/** @param {Partial<Machine>} [over] @returns {Machine} */
export function createMachine(over = {}) {
  const env = over.env ?? process.env;
  const platform = over.platform ?? process.platform;
  return {
    env,
    platform,
    arch: process.arch,
    isRoot: process.getuid?.() === 0,
    cache: cacheDir(env, platform),
    postgresDirs: POSTGRES_DIRS,
    javaDirs: JAVA_DIRS,
    run,
    steps: createSteps(),
    ...over,
  };
}

/**
 * Every executable of that name on PATH, first found first.
 * @param {Machine} machine @param {string} name @returns {string[]}
 */
export function onPath(machine, name) {
  const dirs = (machine.env.PATH ?? '').split(delimiter).filter(Boolean);
  return dirs.map((dir) => join(dir, name)).filter(isExecutable);
}

/**
 * Every executable of that name in directories given with one `*`, the highest version first.
 * @param {readonly string[]} patterns @param {string} name @returns {string[]}
 */
export function inDirs(patterns, name) {
  return patterns.flatMap((pattern) => {
    const parts = pattern.split('/');
    const at = parts.findIndex((part) => part.includes('*'));
    if (at < 0) return [join(pattern, name)].filter(isExecutable);
    const parent = parts.slice(0, at).join('/');
    const [prefix = '', suffix = ''] = (parts[at] ?? '').split('*');
    const entries = existsSync(parent) ? readdirSync(parent) : [];
    return entries
      .filter((entry) => entry.startsWith(prefix) && entry.endsWith(suffix))
      .sort((a, b) => b.localeCompare(a, 'en', { numeric: true }))
      .map((entry) => join(parent, entry, ...parts.slice(at + 1), name))
      .filter(isExecutable);
  });
}

/** @param {string} path */
export function isExecutable(path) {
  try {
    accessSync(path, constants.X_OK);
    return statSync(path).isFile();
  } catch {
    return false;
  }
}

/**
 * Why nothing of this can run here, with the way out; null when it can.
 * @param {{ platform: string, arch: string, nodeVersion: string, glibc: string | undefined }} facts
 * @returns {string | null}
 */
export function refusal({ platform, arch, nodeVersion, glibc }) {
  const [major = 0, minor = 0] = nodeVersion.replace(/^v/, '').split('.').map(Number);
  if (major < 20 || (major === 20 && minor < 19))
    return `Node ${nodeVersion} is too old: Almanac needs Node 20.19 or newer (https://nodejs.org)`;
  if (platform !== 'linux' && platform !== 'darwin')
    return `${platform} is not supported: use Linux or macOS (on Windows, WSL 2)`;
  if (arch !== 'x64' && arch !== 'arm64') return `${arch} processors are not supported: use x64 or arm64`;
  if (platform === 'linux' && !glibc)
    return 'this Linux uses musl (Alpine and its kin): the Temporal SDK has no build for musl. Use an image with glibc, such as node:20-bookworm-slim';
  return null;
}

/** The facts of this process, for `refusal`. */
export function platformFacts() {
  const report = /** @type {{ header: { glibcVersionRuntime?: string } }} */ (
    /** @type {unknown} */ (quietReport())
  );
  return {
    platform: process.platform,
    arch: process.arch,
    nodeVersion: process.version,
    glibc: report.header.glibcVersionRuntime,
  };
}

/** The report looks up names of network peers unless told not to, which may take seconds. */
function quietReport() {
  const report = /** @type {typeof process.report & { excludeNetwork?: boolean }} */ (process.report);
  const before = report.excludeNetwork;
  report.excludeNetwork = true;
  try {
    return report.getReport();
  } finally {
    if (before !== undefined) report.excludeNetwork = before;
  }
}

/**
 * The system user that Postgres runs as when we are root (Postgres refuses root); null when we are not.
 * Debian's `postgres` user is used when it is there; else a user of our own is made.
 * @param {Machine} machine
 * @returns {Promise<{ name: string, uid: number, gid: number } | null>}
 */
export async function postgresUser(machine) {
  if (!machine.isRoot || machine.platform !== 'linux') return null;
  for (const name of ['postgres', 'almanac-postgres']) {
    const user = lookUp(name);
    if (user) return user;
  }
  await machine.run('useradd', [
    '--system',
    '--no-create-home',
    '--shell',
    '/usr/sbin/nologin',
    '--user-group',
    'almanac-postgres',
  ]);
  const made = lookUp('almanac-postgres');
  if (!made)
    throw new Error('useradd made no user "almanac-postgres": Postgres refuses to run as root without one');
  return made;
}

/** @param {string} name */
function lookUp(name) {
  const ask = (/** @type {string} */ flag) =>
    spawnSync('id', [flag, name], { encoding: 'utf8' }).stdout?.trim();
  const [uid, gid] = [ask('-u'), ask('-g')];
  return uid && gid ? { name, uid: Number(uid), gid: Number(gid) } : null;
}
