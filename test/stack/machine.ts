/** Helpers of the stack tests: an environment without addresses, and machines on which programs are hidden. */
import { chmodSync, mkdirSync, mkdtempSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createMachine, type Machine } from '../../cli/stack/machine.mjs';
import { ADDRESS_VARIABLE } from '../../cli/stack/servers.mjs';

export function withoutAddresses(env: NodeJS.ProcessEnv = process.env): Record<string, string | undefined> {
  const addresses = new Set<string>(Object.values(ADDRESS_VARIABLE));
  return Object.fromEntries(Object.entries(env).filter(([key]) => !addresses.has(key)));
}

export const temporaryDir = () => mkdtempSync(join(tmpdir(), 'almanac setup '));

/** What the real programs print when asked for their version; a number after the name is the version. */
const VERSIONS: Record<string, (version: string) => string> = {
  postgres: (version) => `postgres (PostgreSQL) ${version}`,
  initdb: (version) => `initdb (PostgreSQL) ${version}`,
  'redis-server': (version) => `Redis server v=${version} sha=00000000:0 malloc=jemalloc-5.3.0 bits=64`,
  'valkey-server': (version) => `Valkey server v=${version} sha=00000000:0 malloc=jemalloc-5.3.0 bits=64`,
  temporal: (version) => `temporal version ${version} (Server 1.29.1, UI 2.42.1)`,
  java: (version) => `openjdk version "${version}" 2025-04-15`,
};

/** A directory of stub programs, given as `redis-server 7.2.4`, or by name alone when their version does not matter. */
export function stubs(dir: string, ...programs: string[]): string {
  mkdirSync(dir, { recursive: true });
  for (const program of programs) {
    const [name = '', version = ''] = program.split(' ');
    const path = join(dir, name);
    writeFileSync(path, `#!/bin/sh\necho '${VERSIONS[name]?.(version) ?? ''}'\n`);
    chmodSync(path, 0o755);
  }
  return dir;
}

/** The few programs that any Unix has. */
export function basics(dir: string): string {
  mkdirSync(dir, { recursive: true });
  for (const name of ['sh', 'tar', 'gzip', 'id', 'dirname', 'uname', 'sed'])
    for (const from of ['/usr/bin', '/bin']) {
      try {
        symlinkSync(join(from, name), join(dir, name));
      } catch {
        // there already
      }
    }
  return dir;
}

export interface HiddenMachine {
  machine: Machine;
  /** Every command that was run but for asking versions, in order. */
  commands: string[];
}

/**
 * A machine with nothing but the given stubs. Commands other than asking a stub for its version are recorded, and
 * do what `effects` says for the first word that matches; without an effect they fail, as on a machine offline.
 */
export function hiddenMachine(
  dir: string,
  {
    programs = [],
    effects = {},
    ...over
  }: {
    programs?: string[];
    effects?: Record<string, (args: readonly string[], env: Machine['env']) => void>;
  } & Partial<Machine> = {},
): HiddenMachine {
  const path = stubs(join(dir, 'bin'), ...programs);
  const commands: string[] = [];
  const base = createMachine();
  const machine = createMachine({
    platform: 'linux',
    arch: 'x64',
    isRoot: false,
    cache: join(dir, 'cache'),
    postgresDirs: [],
    javaDirs: [],
    steps: { log: () => {}, step: (_name, _what, work) => work(() => {}) },
    ...over,
    env: { PATH: path, ALMANAC_TEMPORAL_BASE: 'http://127.0.0.1:9', ...over.env },
    run: async (file, args, options) => {
      if (args.length === 1 && /^--?version$/.test(args[0]!))
        return base.run(file, args, { ...options, env: { PATH: '/usr/bin:/bin' } });
      const name = file.split('/').at(-1)!;
      commands.push([name, ...args].join(' '));
      const effect = effects[name];
      if (!effect) throw new Error(`${name}: not reachable`);
      effect(args, options?.env ?? {});
      return '';
    },
  });
  return { machine, commands };
}
