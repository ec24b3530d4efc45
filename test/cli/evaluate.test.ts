/** An author's file and what it imports: run by us where we can, by jiti where we cannot, with one outcome. */
import { mkdirSync, mkdtempSync, realpathSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { evaluate } from '../../cli/evaluate.js';
import { entity } from '../../core/index.js';

let directory: string;
beforeEach(() => {
  directory = realpathSync(mkdtempSync(join(tmpdir(), 'almanac-evaluate-')));
});
afterEach(() => rmSync(directory, { recursive: true }));

/** What the first of the files exports by default. */
function evaluated(files: Record<string, string>): Promise<unknown> {
  for (const [name, text] of Object.entries(files)) {
    mkdirSync(dirname(join(directory, name)), { recursive: true });
    writeFileSync(join(directory, name), text);
  }
  return evaluate(join(directory, Object.keys(files)[0]!));
}

test.each([
  { why: 'a .js that is a .ts', from: './other.js', file: 'other.ts' },
  { why: 'a name without its ending', from: './other', file: 'other.ts' },
  { why: 'a .ts by its name', from: './other.ts', file: 'other.ts' },
  { why: 'a .mjs that is a .mts', from: './other.mjs', file: 'other.mts' },
  { why: 'a folder', from: './views', file: 'views/index.ts' },
  { why: 'a module in JavaScript', from: './other.js', file: 'other.js' },
  { why: 'a file of the folder above', from: '../other.js', file: '../other.ts' },
])('imports $why', async ({ from, file }) =>
  expect(
    await evaluated({
      'in/features.ts': `import { a } from '${from}'; export default a as number;`,
      [join('in', file)]: 'export const a = 7;',
    }),
  ).toBe(7),
);

test('a .js beside a .ts is what it is', async () =>
  expect(
    await evaluated({
      'features.ts': `import { a } from './other.js'; export default a;`,
      'other.js': 'export const a = 1;',
      'other.ts': 'export const a = 2;',
    }),
  ).toBe(1));

test('JSON, modules of Node, and almanac: this very one', async () => {
  const exported = (await evaluated({
    'features.ts': `import { entity } from 'almanac'; import { join } from 'node:path'; import data from './data.json';
      export default { entity, joined: join('a', 'b'), data };`,
    'data.json': '{ "a": [1] }',
  })) as { entity: unknown };
  expect(exported).toEqual({ entity, joined: 'a/b', data: { a: [1] } });
  expect(exported.entity).toBe(entity);
});

test('each file once, and anew whenever it is asked for', async () => {
  const files = {
    'features.ts': `import { state } from './state.js'; import './left.js'; import './right.js'; export default state;`,
    'left.ts': `import { state } from './state.js'; state.seen.push('left');`,
    'right.ts': `import { state } from './state.js'; state.seen.push('right');`,
    'state.ts': 'export const state = { seen: [] as string[] };',
  };
  const first = await evaluated(files);
  expect(first).toEqual({ seen: ['left', 'right'] });
  const second = await evaluated(files);
  expect(second).toEqual(first);
  expect(second).not.toBe(first);
});

test('files that import each other', async () =>
  expect(
    await evaluated({
      'features.ts': `import { b } from './b.js'; export const a = 1; export default () => b();`,
      'b.ts': `import { a } from './features.js'; export const b = () => a + 1;`,
    }).then((sum) => (sum as () => number)()),
  ).toBe(2));

test('await at the top of a module: by jiti', async () =>
  expect(
    await evaluated({
      'features.ts': `import { a } from './other.js'; export default a;`,
      'other.ts': 'export const a = await Promise.resolve(3);',
    }),
  ).toBe(3));

test.each([
  { why: 'what it throws', text: `throw new Error('mine');`, says: /^mine$/ },
  { why: 'a file that is not there', text: `import './gone.js';`, says: /gone\.js/ },
  { why: 'what is no TypeScript', text: 'export default {', says: /features\.ts/ },
])('says $why', async ({ text, says }) => expect(evaluated({ 'features.ts': text })).rejects.toThrow(says));

test('errors of ours as they are, without a second run', async () => {
  const run = evaluated({
    'features.ts': `import { define } from 'almanac'; import { appendFileSync } from 'node:fs'; import { join } from 'node:path';
      appendFileSync(join(__dirname, 'runs'), 'x'); export default define([{ kind: 'entity', json: {} } as never]);`,
  });
  await expect(run).rejects.toMatchObject({ code: 'FS_DEFINITION_INVALID' });
  expect(await evaluated({ 'read.ts': `import { readFileSync } from 'node:fs'; export default readFileSync('${join(directory, 'runs')}', 'utf8');` })).toBe('x'); // biome-ignore format: short
});
