/** A registry written to files by the command line, and brought into another, on real servers. */
import { mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { runProgram } from '../../cli/program.js';
import type { AggregationView, Definitions } from '../../core/definition.js';
import { changed, definitions } from '../registry/definitions.js';
import { serve } from '../registry/serve.js';

const [from, into] = [await serve(), await serve()];
const folder = await mkdtemp(join(tmpdir(), 'almanac export '));
afterAll(() => rm(folder, { recursive: true }));
beforeAll(() => from.applyDirectly(definitions()));

const richer = (all: Definitions): void => {
  (all.views[0] as AggregationView).minEvents = 2;
};

async function almanac(
  registry: string,
  ...argv: string[]
): Promise<{ code: number; stdout: string; stderr: string }> {
  const said = { code: 0, stdout: '', stderr: '' };
  const write = (name: 'stdout' | 'stderr') => ({ write: (text: string) => (said[name] += text) });
  said.code = await runProgram([...argv, '--registry', registry], {
    env: {},
    terminal: { stdout: write('stdout'), stderr: write('stderr') },
    isInteractive: false,
  });
  return said;
}

async function filesOf(dir: string): Promise<Record<string, string>> {
  const entries = await readdir(dir, { recursive: true, withFileTypes: true });
  const paths = entries
    .filter((each) => each.isFile())
    .map((each) => join(each.parentPath, each.name))
    .sort();
  return Object.fromEntries(
    await Promise.all(
      paths.map(async (path) => [path.slice(dir.length + 1), await readFile(path, 'utf8')] as const),
    ),
  );
}

const at = (name: string): string => join(folder, name);

test('export, restore, export again: the same files; a folder of an export is brought up to date', async () => {
  await from.applyDirectly(
    changed((all) => {
      richer(all);
      all.services.push({ ...all.services[0]!, name: 'second' });
    }),
  );
  const { code, stdout } = await almanac(from.url, 'export', at('one'), '--json');
  expect(code).toBe(0);
  const one = await filesOf(at('one'));
  expect((JSON.parse(stdout) as { files: string[] }).files).toEqual(Object.keys(one));
  expect(Object.keys(one)).toContain('services/second.json');

  const restored = await almanac(into.url, 'restore', at('one'));
  expect(restored.stdout).toBe(`revision 2: 4 versions, 1 sources; their archives are empty

next
  almanac import orders --file <csv>
  almanac backfill --all
`);
  await almanac(into.url, 'export', at('two'));
  expect(await filesOf(at('two'))).toEqual(one);

  await from.applyDirectly(changed(richer));
  await writeFile(at('one/.gitignore'), 'kept');
  expect((await almanac(from.url, 'export', at('one'))).code).toBe(0);
  const next = await filesOf(at('one'));
  expect(Object.keys(next)).toEqual(expect.arrayContaining(['.gitignore', 'revisions/3.json']));
  expect(Object.keys(next)).not.toContain('services/second.json');
});

test('what is restored is asked as what was exported', async () => {
  const feature = 'user_orders:user_user_orders_count_7d';
  for (const argv of [
    ['show', `user_orders@1`],
    ['lineage', 'column', 'orders.amount_cents'],
    ['audit', '--kind', 'entity'],
  ]) {
    const answers = await Promise.all([from.url, into.url].map((url) => almanac(url, ...argv)));
    expect(answers[1]).toEqual(answers[0]);
    expect(answers[0]!.code).toBe(0);
  }
  expect((await almanac(into.url, 'show', feature)).stdout).toContain(
    'count of orders, over the last 7 days',
  );
});

test('refused, each with what is wrong', async () => {
  const refused = async (url: string, ...argv: string[]): Promise<string> => {
    const { code, stderr, stdout } = await almanac(url, ...argv);
    expect(code).not.toBe(0);
    expect(stdout).toBe('');
    return stderr;
  };
  expect(await refused(into.url, 'restore', at('two'))).toContain(
    `environment "${into.environment}" is not empty`,
  );
  expect(await refused(into.url, 'restore', at('nowhere'))).toContain('manifest.json is missing in');
  await rm(at('two/entities/user.json'));
  expect(await refused(into.url, 'restore', at('two'))).toContain('entities/user.json is missing in');
  await writeFile(at('two/entities/user.json'), '{}\n');
  expect(await refused(into.url, 'restore', at('two'))).toContain('entities/user.json was changed');
  await rm(at('one/manifest.json'));
  expect(await refused(from.url, 'export', at('one'))).toContain('holds something that is no export');
});
