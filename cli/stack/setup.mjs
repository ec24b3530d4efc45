/**
 * Everything between a fresh clone and a stack that can start: packages, build, servers. Runs before `demo`, `test`,
 * `up` and `almanac`; does nothing when nothing changed. Node built-ins only.
 *
 * Exit codes: 1 a step failed, 2 this machine cannot run Almanac, 3 a server cannot be had (the line to paste is shown).
 */
import { createHash } from 'node:crypto';
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { argv, exit } from 'node:process';
import { build, setupLock } from './build.mjs';
import { withLock } from './lock.mjs';
import { createMachine, platformFacts, postgresUser, refusal } from './machine.mjs';
import { packageDir } from './places.mjs';
import { npm, resolveServers, SERVER_NAMES } from './servers.mjs';
import { CommandError, createSteps, endChildrenOnExit } from './steps.mjs';

/** @typedef {import('./machine.mjs').Machine} Machine */

/**
 * @param {Machine} machine @param {string} root
 * @returns {Promise<number>} the exit code
 */
async function setUp(machine, root) {
  const { log } = machine.steps;
  const refused = refusal(platformFacts());
  if (refused) {
    log(`almanac: ${refused}`);
    return 2;
  }
  // the servers do not need the packages: the longest of them (Temporal, when Go builds it) starts at once
  const servers = withLock(join(machine.cache, 'setup.lock'), 'obtaining servers', log, () =>
    obtainServers(machine),
  );
  const packages = withLock(setupLock(root), 'installing and building', log, () =>
    installAndBuild(machine, root),
  );
  const codes = await Promise.all([servers, packages]);
  return codes.find((code) => code !== 0) ?? 0;
}

/** @param {Machine} machine @param {string} root @returns {Promise<number>} */
async function installAndBuild(machine, root) {
  const { step, log } = machine.steps;
  try {
    await step('packages', 'checking', (report) => installPackages(machine, root, report));
    await step('build', 'checking', (report) => build(root, report));
    return 0;
  } catch (error) {
    log(`almanac: ${error instanceof Error ? error.message : String(error)}`);
    return 1;
  }
}

/** @param {Machine} machine @returns {Promise<number>} */
async function obtainServers(machine) {
  const { log } = machine.steps;
  const { found, missing } = await resolveServers(machine, SERVER_NAMES, { obtain: true });
  try {
    if (found.postgres && found.postgres.from !== 'environment') await postgresUser(machine);
  } catch (error) {
    log(`almanac: ${error instanceof Error ? error.message : String(error)}`);
    return 1;
  }
  for (const { message, paste } of missing) log(`almanac: ${message}\n  run this, then try again:  ${paste}`);
  return missing.length > 0 ? 3 : 0;
}

const STAMP = '.almanac-packages';
const FLAGS = ['--include=dev', '--no-audit', '--no-fund', '--prefer-offline'];

/**
 * `npm ci`, under npm's own configuration, when the lockfile is not the one that was installed last.
 * @param {Machine} machine @param {string} root @param {import('./steps.mjs').Report} report
 */
async function installPackages(machine, root, report) {
  const lockfile = readFileSync(join(root, 'package-lock.json'), 'utf8');
  const stamp = createHash('sha256').update(lockfile).digest('hex');
  const stampFile = join(root, 'node_modules', STAMP);
  if (existsSync(stampFile) && readFileSync(stampFile, 'utf8') === stamp) return;
  if (!isInstalled(root, lockfile)) {
    report('installing with npm ci');
    // dev included even under NODE_ENV=production: the compiler is one of them
    try {
      await npm(machine, ['ci', ...FLAGS]);
    } catch (error) {
      if (!(error instanceof CommandError) || !lacksOnlyOptional(error.output, lockfile)) throw error;
      // a lockfile written behind a registry without the other platforms' packages: npm ci refuses it, install does not
      report('installing with npm install');
      await npm(machine, ['install', '--no-save', ...FLAGS]);
    }
  }
  writeFileSync(stampFile, stamp);
}

/**
 * Whether all that npm misses in the lockfile are packages for other platforms.
 * @param {string} output of npm ci @param {string} lockfile
 */
function lacksOnlyOptional(output, lockfile) {
  /** @type {{ packages: Record<string, { optionalDependencies?: Record<string, string> }> }} */
  const { packages } = JSON.parse(lockfile);
  const optional = new Set(
    Object.values(packages).flatMap((one) => Object.keys(one.optionalDependencies ?? {})),
  );
  const missing = [...output.matchAll(/Missing: (\S+)@\S* from lock file/g)].map(([, name = '']) => name);
  return missing.length > 0 && missing.every((name) => optional.has(name)) && !output.includes('Invalid: ');
}

/**
 * Whether npm's own record of what it put into node_modules says the same as the lockfile: then somebody has run
 * `npm install` by hand, and there is nothing to repeat.
 * @param {string} root @param {string} lockfile
 */
function isInstalled(root, lockfile) {
  const record = join(root, 'node_modules', '.package-lock.json');
  if (!existsSync(record)) return false;
  /** @typedef {Record<string, { version?: string, integrity?: string, optional?: boolean }>} Packages */
  /** @type {{ packages: Packages }} */
  const { packages: wanted } = JSON.parse(lockfile);
  /** @type {{ packages: Packages }} */
  const { packages: present } = JSON.parse(readFileSync(record, 'utf8'));
  const isSame = (/** @type {string} */ path) =>
    wanted[path]?.version === present[path]?.version && wanted[path]?.integrity === present[path]?.integrity;
  const isComplete = Object.entries(wanted).every(
    ([path, { optional }]) => path === '' || isSame(path) || (optional && !present[path]),
  );
  return isComplete && Object.keys(present).every((path) => wanted[path]);
}

endChildrenOnExit();
const quiet = argv.includes('--quiet');
exit(await setUp(createMachine({ steps: createSteps({ quiet }) }), packageDir));
