/** The documents say what is: their links lead somewhere, and the README's first feature and its test run as printed. */
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { createJiti } from 'jiti';
import { expect, test } from 'vitest';

const root = fileURLToPath(new URL('../..', import.meta.url));
const pages = [
  'README.md',
  'ARCHITECTURE.md',
  'CHANGELOG.md',
  ...pagesIn('docs'),
  ...pagesIn('docs/decisions'),
  ...pagesIn('examples/shop'),
];

function pagesIn(folder: string): string[] {
  return readdirSync(join(root, folder))
    .filter((name) => name.endsWith('.md'))
    .map((name) => join(folder, name));
}

test.each(pages)('every link of %s leads to a file', (page) => {
  const text = readFileSync(join(root, page), 'utf8');
  const links = [...text.matchAll(/\]\((?!https?:|#|mailto:)([^)#\s]+)/g)].map(([, link]) => link!);
  expect(links.filter((link) => !existsSync(join(root, dirname(page), link)))).toEqual([]);
});

test('the first feature of the README, and its test, run as they are printed', async () => {
  const [feature, check] = [
    ...readFileSync(join(root, 'README.md'), 'utf8').matchAll(/```ts\n([\s\S]*?)```/g),
  ].map(([, code]) => code!);
  const dir = mkdtempSync(join(tmpdir(), 'almanac-readme-'));
  try {
    const ran: string[] = [];
    writeFileSync(
      join(dir, 'readme.ts'),
      `${check!.match(/^import.*$/m)![0]}\n${feature}\nexport function run(test, expect) {\n${check!.replace(/^import.*$/m, '')}\n}\n`,
    );
    const jiti = createJiti(dir, {
      alias: { 'almanac/testing': join(root, 'core/testing.ts'), almanac: join(root, 'core/index.ts') },
      moduleCache: false,
      fsCache: false,
    });
    const { run } = await jiti.import<{
      run: (test: (name: string, body: () => void) => void, check: typeof expect) => void;
    }>(join(dir, 'readme.ts'));
    run((name, body) => {
      body();
      ran.push(name);
    }, expect);
    expect(ran).toEqual(['a click counts for half an hour']);
  } finally {
    rmSync(dir, { recursive: true });
  }
});
