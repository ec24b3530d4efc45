/** The set-up as a program, in a checkout of its own with a stub npm and stub servers; the compiler is the real one. */
import { spawn } from 'node:child_process';
import {
  chmodSync,
  cpSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { createMachine } from '../../cli/stack/machine.mjs';
import { packageDir } from '../../cli/stack/places.mjs';
import { basics, stubs, temporaryDir } from './machine.js';

const ALL = ['postgres 17.2', 'initdb 17.2', 'redis-server 7.2.4', 'temporal 1.5.1', 'java 17.0.15'];

let dir: string;
let checkout: string;
let env: Record<string, string>;

beforeEach(() => {
  dir = temporaryDir();
  checkout = join(dir, 'my checkout');
  const scripts = join(checkout, 'cli', 'stack');
  mkdirSync(scripts, { recursive: true });
  for (const file of readdirSync(join(packageDir, 'cli', 'stack')))
    if (file.endsWith('.mjs')) cpSync(join(packageDir, 'cli', 'stack', file), join(scripts, file));
  for (const file of ['tsconfig.json', 'tsconfig.build.json'])
    cpSync(join(packageDir, file), join(checkout, file));
  writeFileSync(join(checkout, 'package.json'), '{ "name": "x", "type": "module" }');
  writeFileSync(join(checkout, 'package-lock.json'), '{ "lockfileVersion": 3, "packages": {} }');
  mkdirSync(join(checkout, 'core'));
  writeFileSync(join(checkout, 'core', 'one.ts'), 'export const one: number = 1;\n');

  // instead of installing, links what this checkout has installed; records what it was asked
  const npm = join(dir, 'npm-cli.js');
  writeFileSync(
    npm,
    `const fs = require('node:fs'), path = require('node:path');
     fs.appendFileSync(${JSON.stringify(join(dir, 'npm.log'))}, process.argv.slice(2).join(' ') + '\\n');
     fs.mkdirSync('node_modules/@types', { recursive: true });
     for (const name of ['typescript', '@typescript', '@types/node', 'undici-types', '@temporalio'])
       try { fs.symlinkSync(path.join(${JSON.stringify(join(packageDir, 'node_modules'))}, name), path.resolve('node_modules', name)); } catch {}`,
  );
  const cache = join(dir, 'cache');
  mkdirSync(cache);
  symlinkSync(join(createMachine().cache, 'kafka-4.1.0'), join(cache, 'kafka-4.1.0'));
  const bin = basics(stubs(join(dir, 'bin'), ...ALL));
  env = {
    PATH: bin,
    HOME: dir,
    ALMANAC_CACHE: cache,
    npm_execpath: npm,
    ALMANAC_TEMPORAL_BASE: 'http://127.0.0.1:9',
  };
});
afterEach(() => rmSync(dir, { recursive: true, force: true }));

function setUp(...args: string[]): Promise<{ code: number | null; output: string }> {
  return new Promise((resolve) => {
    const child = spawn(process.execPath, [join(checkout, 'cli', 'stack', 'setup.mjs'), ...args], {
      cwd: dir,
      env,
      stdio: ['ignore', 'pipe', 'pipe'],
    });
    let output = '';
    for (const stream of [child.stdout, child.stderr])
      stream.setEncoding('utf8').on('data', (text) => (output += text));
    child.on('close', (code) => resolve({ code, output }));
  });
}

const npmCalls = () => readFileSync(join(dir, 'npm.log'), 'utf8').trim().split('\n');
const dist = (path: string) => join(checkout, 'dist', path);

test('installs, builds and finds the servers; two at once do it once, and the second says whom it waits for', async () => {
  const results = await Promise.all([setUp(), setUp()]);
  expect(results).toMatchObject([{ code: 0 }, { code: 0 }]);
  expect(npmCalls()).toEqual([expect.stringMatching(/^ci --include=dev/)]);
  expect(existsSync(dist('core/one.js'))).toBe(true);
  expect(results.map(({ output }) => output).join('')).toMatch(
    /waiting for process \d+: installing and building/,
  );

  const again = await setUp('--quiet');
  expect(again).toEqual({ code: 0, output: '' });
  expect(npmCalls()).toHaveLength(1);
});

test('a lockfile that changed is installed; a source that changed is built, and what it replaced is gone', async () => {
  await setUp();
  writeFileSync(join(checkout, 'package-lock.json'), '{ "lockfileVersion": 3, "packages": { "": {} } }');
  writeFileSync(join(checkout, 'core', 'two.ts'), 'export const two: number = 2;\n');
  writeFileSync(join(checkout, 'core', 'two.sql'), 'select 2;\n');
  rmSync(join(checkout, 'core', 'one.ts'));
  expect(await setUp()).toMatchObject({ code: 0 });
  expect(npmCalls()).toHaveLength(2);
  expect(readdirSync(dist('core')).sort()).toEqual(['two.d.ts', 'two.js', 'two.js.map', 'two.sql']);
});

test('a source that does not compile is named, and the last good build stays', async () => {
  await setUp();
  writeFileSync(join(checkout, 'core', 'one.ts'), "export const one: number = 'one';\n");
  const { code, output } = await setUp();
  expect(code).toBe(1);
  expect(output).toMatch(/core\/one\.ts\(1,14\): error TS2322/);
  expect(readFileSync(dist('core/one.js'), 'utf8')).toContain('one = 1');
});

test('exit code 3 and the line to paste when a server cannot be had; everything else is done', async () => {
  rmSync(join(dir, 'bin', 'redis-server'));
  const { code, output } = await setUp();
  expect(code).toBe(3);
  expect(output).toMatch(
    /redis: no redis-server or valkey-server 7 or newer\n {2}run this, then try again: {2}\S+/,
  );
  expect(existsSync(dist('core/one.js'))).toBe(true);
});

describe('when npm ci finds the lockfile incomplete', () => {
  /** An npm whose `ci` says what the real one says; `install` succeeds. */
  const refusing = (line: string) => {
    const npm = readFileSync(env.npm_execpath!, 'utf8');
    const refuse = `console.error(${JSON.stringify(`npm error \`npm ci\` can only install packages when in sync.\nnpm error ${line}`)}); process.exit(1);`;
    writeFileSync(env.npm_execpath!, `if (process.argv[2] === 'ci') { ${refuse} }\n${npm}`);
    const packages = {
      'node_modules/tool': { version: '1.0.0', optionalDependencies: { '@tool/plan9-x64': '1.0.0' } },
    };
    writeFileSync(join(checkout, 'package-lock.json'), JSON.stringify({ lockfileVersion: 3, packages }));
  };

  test('of packages for other platforms only: npm install does it', async () => {
    refusing('Missing: @tool/plan9-x64@ from lock file');
    expect(await setUp()).toMatchObject({ code: 0 });
    expect(npmCalls()).toEqual([expect.stringMatching(/^install --no-save/)]);
  });

  test('of anything else: refused', async () => {
    refusing('Missing: left-pad@1.0.0 from lock file');
    const { code, output } = await setUp();
    expect(code).toBe(1);
    expect(output).toContain('left-pad@1.0.0');
  });
});

test('a broken npm leaves no stamp: the next set-up installs again', async () => {
  const npm = env.npm_execpath!;
  const good = readFileSync(npm, 'utf8');
  writeFileSync(npm, 'process.exit(7)');
  expect(await setUp()).toMatchObject({ code: 1, output: expect.stringContaining('exit code 7') });
  writeFileSync(npm, good);
  chmodSync(npm, 0o644);
  expect(await setUp()).toMatchObject({ code: 0 });
});
