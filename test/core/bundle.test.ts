import { createHash } from 'node:crypto';
import { createInterface } from 'node:readline';
import { Readable } from 'node:stream';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import {
  assertFiles,
  bundleLine,
  fileName,
  fileText,
  LAYOUT,
  lineText,
  type Manifest,
  readBundleLine,
  readManifest,
} from '../../core/bundle.js';

const text = fc.string({
  unit: fc.constantFrom('a', '"', '\\', '\n', '\r', '\u2028', '\u2029', '\u0085', '😀', 'é'),
});

test('a line holds any text, and ends where it ends', async () => {
  await fc.assert(
    fc.asyncProperty(fc.array(text, { minLength: 1, maxLength: 5 }), async (texts) => {
      const lines = texts.map((each, index) => bundleLine(`audit/${index}.jsonl`, each));
      const read: unknown[] = [];
      for await (const line of createInterface({ input: Readable.from([lines.join('')]) }))
        read.push(readBundleLine(line));
      expect(read).toEqual(texts.map((each, index) => ({ path: `audit/${index}.jsonl`, text: each })));
    }),
    { numRuns: 300 },
  );
});

/** The names of every object in the opposite order. */
function reversed(value: unknown): unknown {
  if (typeof value !== 'object' || value === null) return value;
  if (Array.isArray(value)) return value.map(reversed);
  return Object.fromEntries(Object.entries(value).reverse().map(([name, item]) => [name, reversed(item)])); // biome-ignore format: short
}

test('equal values are equal bytes, whatever the order of their names, and are read as they were', () => {
  const holds = (value: unknown): void => {
    for (const write of [fileText, lineText]) {
      expect(JSON.parse(write(value))).toEqual(JSON.parse(JSON.stringify(value)));
      expect(write(reversed(value))).toBe(write(value));
    }
  };
  fc.assert(fc.property(fc.jsonValue(), holds), { numRuns: 200 });
  expect(fileText({ b: 1, a: 2 })).toBe('{\n  "a": 2,\n  "b": 1\n}\n');
  expect(lineText({ b: 1, a: 2 })).toBe('{"a":2,"b":1}\n');
});

test('names of files: a name as it is, any other told apart, none that leads elsewhere', () => {
  expect(fileName('user_orders')).toBe('user_orders');
  expect(fileName('../Etc')).toBe('%2e%2e%2f%45tc');
  const names = ['a', 'A', '%41', '😀', '😁', 'é', 'e\u0301', 'a.b', 'a/b'];
  expect(new Set(names.map(fileName)).size).toBe(names.length);
  for (const name of names)
    expect(readBundleLine(bundleLine(`views/${fileName(name)}.json`, '')).path).toMatch(/^views/);
});

test.each([
  '',
  'x',
  '[]',
  '["a.json"]',
  '["../a.json",""]',
  '["/a.json",""]',
  '["views/../a.json",""]',
  '["a/b/c.json",""]',
  '["views/.json",""]',
  '["a.sh",""]',
])('%s is no line of an export', (line) => expect(() => readBundleLine(line)).toThrow('this is no export'));

describe('the manifest', () => {
  const sum = (of: string): string => createHash('sha256').update(of).digest('hex');
  const files = { 'a.json': sum('a'), 'b.json': sum('b') };
  const manifest: Manifest = { layout: LAYOUT, migrations: [], files };

  test('is read as it was written', () => expect(readManifest(fileText(manifest))).toEqual(manifest));
  test.each([
    [undefined, 'is missing'],
    ['{', 'is no JSON'],
    ['{}', 'is no manifest'],
    [fileText({ ...manifest, more: 1 }), 'is no manifest'],
    [fileText({ ...manifest, layout: LAYOUT + 1, more: 1 }), `is of layout ${LAYOUT + 1}`],
  ])('%j %s', (given, said) => expect(() => readManifest(given)).toThrow(said));

  test('names what is missing, changed, or none of its files', () => {
    const found = (...names: string[]) => new Map(names.map((name) => [`${name[0]}.json`, sum(name)]));
    expect(() => assertFiles(manifest, found('a', 'b'))).not.toThrow();
    expect(() => assertFiles(manifest, found('a'))).toThrow('b.json is missing');
    expect(() => assertFiles(manifest, found('a', 'bb'))).toThrow('b.json was changed');
    expect(() => assertFiles(manifest, found('a', 'b', 'c'))).toThrow('c.json is not in the manifest');
  });
});
