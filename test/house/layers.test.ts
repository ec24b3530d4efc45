/** Who may import whom, read from the real imports; and no cycle of imports at run time. */
import { readdirSync, readFileSync } from 'node:fs';
import { builtinModules } from 'node:module';
import { dirname, join, normalize, relative } from 'node:path';
import { fileURLToPath } from 'node:url';
import { expect, test } from 'vitest';

const root = fileURLToPath(new URL('../..', import.meta.url));

/** Folders a folder may import at run time; `types` only for their types. test, bench and examples may import all. */
const LAYERS: Record<string, { imports: string[]; types?: string[]; packages: string[] }> = {
  core: { imports: [], packages: ['zod', '@noble/hashes'] },
  oracle: { imports: [], types: ['core'], packages: [] },
  serving: { imports: ['core'], packages: ['ioredis', 'fastify', 'prom-client', 'lossless-json'] },
  registry: {
    imports: ['core'],
    types: ['workflows'],
    packages: [
      'pg',
      'pg-copy-streams',
      'kafkajs',
      'fastify',
      'lossless-json',
      'zod',
      'prom-client',
      '@temporalio/client',
      '@temporalio/common',
    ],
  },
  workflows: { imports: ['core'], types: ['activities'], packages: ['@temporalio/workflow'] },
  activities: {
    imports: ['core', 'registry', 'oracle'],
    packages: [
      'pg', 'pg-copy-streams', 'ioredis', 'kafkajs', 'apache-arrow', 'parquet-wasm', 'csv-parse', 'lossless-json',
      '@temporalio/activity', '@temporalio/client', '@temporalio/common', '@temporalio/worker',
    ], // biome-ignore format: names
  },
  clients: { imports: [], packages: ['openapi-fetch', 'openapi-typescript', 'typescript'] },
  workers: {
    imports: ['core', 'registry', 'activities', 'workflows'],
    packages: ['@temporalio/worker', '@temporalio/client', '@temporalio/common', 'prom-client'],
  },
  cli: {
    imports: ['core'],
    types: ['clients'],
    packages: [
      'commander',
      'jiti',
      '@swc/core',
      'pg',
      'ioredis',
      'kafkajs',
      '@temporalio/client',
      '@temporalio/worker',
      'apache-arrow',
      'parquet-wasm',
      'csv-parse',
      'lossless-json',
    ],
  },
};
// The demo plays the shop of examples/shop; nothing else in cli knows it.
const EXCEPTIONS = [{ from: /^cli\/demo/, to: 'examples' }];
// Only core and oracle are free of I/O: nothing of Node but, in the oracle, hashing.
const NODE: Record<string, string[] | 'all'> = { core: [], oracle: ['node:crypto'] };

interface Import {
  from: string;
  to: string;
  typeOnly: boolean;
}

function filesBelow(folder: string): string[] {
  return readdirSync(join(root, folder), { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile() && /\.(ts|mjs)$/.test(entry.name))
    .map((entry) => relative(root, join(entry.parentPath, entry.name)))
    .filter((path) => !path.includes('node_modules'));
}

function importsOf(file: string): Import[] {
  const text = readFileSync(join(root, file), 'utf8');
  const found: Import[] = [];
  const pattern =
    /^\s*(?:import|export)\s+(type\s+)?(?:([^'";]*?)\s+from\s+)?['"]([^'"]+)['"]|\bimport\(\s*['"]([^'"]+)['"]\s*\)/gm;
  for (const [, type, names, specifier, dynamic] of text.matchAll(pattern)) {
    const to = specifier ?? dynamic;
    if (!to) continue;
    const inner = names
      ?.match(/^\{([\s\S]*)\}$/)?.[1]
      ?.split(',')
      .map((name) => name.trim())
      .filter(Boolean);
    const typeOnly =
      Boolean(type) ||
      (inner !== undefined && inner.length > 0 && inner.every((name) => name.startsWith('type ')));
    found.push({ from: file, to, typeOnly });
  }
  return found;
}

const present = Object.keys(LAYERS).filter((folder) => readdirSync(root).includes(folder));
const all = present.flatMap(filesBelow).flatMap(importsOf);

function resolve({ from, to }: Import): string | null {
  return to.startsWith('.') ? normalize(join(dirname(from), to)).replace(/\.js$/, '.ts') : null;
}

test.each(present)('%s imports only what its layer may', (folder) => {
  const layer = LAYERS[folder]!;
  const wrong = all
    .filter(({ from }) => from.startsWith(`${folder}/`))
    .filter((each) => {
      const target = resolve(each);
      if (target !== null) {
        const to = target.split('/')[0]!;
        if (to === folder || layer.imports.includes(to)) return false;
        if (EXCEPTIONS.some((exception) => exception.from.test(each.from) && exception.to === to))
          return false;
        return !(each.typeOnly && layer.types?.includes(to));
      }
      if (each.to.startsWith('node:') || builtinModules.includes(each.to)) {
        const allowed = NODE[folder] ?? 'all';
        return allowed !== 'all' && !allowed.includes(each.to);
      }
      const name = each.to.startsWith('@')
        ? each.to.split('/').slice(0, 2).join('/')
        : each.to.split('/')[0]!;
      return !layer.packages.includes(name);
    })
    .map(({ from, to }) => `${from} → ${to}`);
  expect(wrong).toEqual([]);
});

test('no cycle of imports at run time', () => {
  const edges = new Map<string, string[]>();
  for (const each of all) {
    const target = resolve(each);
    if (target && !each.typeOnly) edges.set(each.from, [...(edges.get(each.from) ?? []), target]);
  }
  const done = new Set<string>();
  const cycles: string[] = [];
  function visit(file: string, path: string[]): void {
    if (path.includes(file)) {
      cycles.push([...path.slice(path.indexOf(file)), file].join(' → '));
      return;
    }
    if (done.has(file)) return;
    for (const next of edges.get(file) ?? []) visit(next, [...path, file]);
    done.add(file);
  }
  for (const file of edges.keys()) visit(file, []);
  expect(cycles).toEqual([]);
});
