/**
 * Can this machine run Almanac, and if not, what is to be done: each check says what it found and the fix.
 */
import { randomBytes } from 'node:crypto';
import { existsSync, mkdirSync, readFileSync, rmSync, statfsSync, writeFileSync } from 'node:fs';
import { availableParallelism, freemem } from 'node:os';
import { join } from 'node:path';
import { createMachine, platformFacts, refusal } from './machine.mjs';
import { packageDir } from './places.mjs';
import { freePort } from './process.js';
import { resolveServers, SERVER_NAMES } from './servers.mjs';
import { findStack, listStacks } from './stack.js';
import type { Environment } from './unit.js';

export interface Check {
  name: string;
  ok: boolean;
  found: string;
  /** What to do; only where something is to be done. */
  fix?: string;
}

const MEMORY_MIN = 4e9;
const DISK_MIN = 3e9;

export async function doctor({
  root = packageDir,
  env = process.env,
}: {
  root?: string;
  env?: Environment;
} = {}): Promise<Check[]> {
  const machine = createMachine({ env });
  const facts = platformFacts();
  const refused = refusal(facts);
  const libc = facts.platform === 'linux' ? `, ${facts.glibc ? `glibc ${facts.glibc}` : 'musl'}` : '';
  const running = listStacks(root).filter((name) => findStack({ root, name }));
  const memory = availableMemory();
  return [
    check('node', !refused, facts.nodeVersion, refused),
    check('platform', !refused, `${facts.platform} ${facts.arch}${libc}`, refused),
    check(
      'cores',
      availableParallelism() >= 2,
      String(availableParallelism()),
      'two cores or more are needed to stay within the deadlines',
    ),
    // a stack that runs has taken its share already
    check(
      'memory',
      memory >= MEMORY_MIN || running.length > 0,
      gigabytes(memory),
      'free 4 GB: close programs, or give the container more',
    ),
    disk(root),
    ...(await servers(machine)),
    await loopback(),
    writable('directory', join(root, '.almanac'), 'make the checkout writable for this user'),
    writable('cache', machine.cache, 'make it writable, or set ALMANAC_CACHE to a directory that is'),
    ...stacks(root),
  ];
}

function check(name: string, ok: boolean, found: string, fix: string | null): Check {
  return ok || fix === null ? { name, ok, found } : { name, ok, found, fix };
}

const gigabytes = (bytes: number) => `${(bytes / 1e9).toFixed(1)} GB free`;

/** What a new process can get: free memory, and caches the kernel would give up; not more than the container may use. */
function availableMemory(): number {
  const meminfo = read('/proc/meminfo');
  const available = /^MemAvailable:\s+(\d+) kB/m.exec(meminfo)?.[1];
  const machine = available ? Number(available) * 1024 : freemem();
  const limit = Number(read('/sys/fs/cgroup/memory.max'));
  const used = Number(read('/sys/fs/cgroup/memory.current'));
  return limit > 0 ? Math.min(machine, limit - used) : machine;
}

function read(path: string): string {
  try {
    return readFileSync(path, 'utf8');
  } catch {
    return '';
  }
}

function disk(root: string): Check {
  const { bavail, bsize } = statfsSync(root);
  return check(
    'disk',
    bavail * bsize >= DISK_MIN,
    gigabytes(bavail * bsize),
    `free 3 GB on the disk of ${root}`,
  );
}

async function servers(machine: ReturnType<typeof createMachine>): Promise<Check[]> {
  const { found, missing } = await resolveServers(machine, SERVER_NAMES, { obtain: false });
  return SERVER_NAMES.map((name) => {
    const one = found[name];
    if (one)
      return check(
        name,
        true,
        one.from === 'environment'
          ? 'address from the environment'
          : `${one.version} (${Object.values(one.bin)[0]})`,
        null,
      );
    const why = missing.find(({ server }) => server === name);
    return check(name, false, 'not found', `run: ${why?.paste ?? 'npm run setup'}`);
  });
}

async function loopback(): Promise<Check> {
  try {
    return check(
      'loopback',
      true,
      `127.0.0.1 listens (tried port ${await freePort(undefined, new Set())})`,
      null,
    );
  } catch (error) {
    return check('loopback', false, String(error), 'allow programs to listen on 127.0.0.1');
  }
}

function writable(name: string, dir: string, fix: string): Check {
  const probe = join(dir, `.probe-${randomBytes(4).toString('hex')}`);
  try {
    mkdirSync(dir, { recursive: true });
    writeFileSync(probe, '');
    return check(name, true, dir, null);
  } catch (error) {
    return check(name, false, `${dir}: ${error instanceof Error ? error.message : String(error)}`, fix);
  } finally {
    if (existsSync(probe)) rmSync(probe);
  }
}

function stacks(root: string): Check[] {
  return listStacks(root).flatMap((name) => {
    const found = findStack({ root, name });
    if (!found) return [];
    const { alive, dead } = found;
    const text = `running: ${alive.join(', ')}${dead.length > 0 ? `; dead: ${dead.join(', ')}` : ''}`;
    return [
      check(`stack ${name}`, dead.length === 0, text, 'start the stack again: what lives is left alone'),
    ];
  });
}
