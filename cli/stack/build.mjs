/**
 * Compile to dist: JavaScript, the SQL beside it, and the workflow bundle. Nothing is written when the types do not
 * hold, so a failed build leaves the last good one. Does nothing when no source changed.
 */
import { createHash } from 'node:crypto';
import { cpSync, existsSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { dirname, join, relative } from 'node:path';
import { argv, execPath, exit } from 'node:process';
import { fileURLToPath, pathToFileURL } from 'node:url';
import { withLock } from './lock.mjs';
import { packageDir } from './places.mjs';
import { createSteps, endChildrenOnExit, run } from './steps.mjs';

const STAMP = '.almanac-build';
const BUNDLE = 'workflow-bundle.js';
const SOURCES = ['.ts', '.mts', '.mjs', '.sql'];
const SETTINGS = ['package-lock.json', 'tsconfig.json', 'tsconfig.build.json'];

/** Held by whoever changes node_modules or dist. @param {string} root */
export const setupLock = (root) => join(root, '.almanac', 'setup.lock');

/**
 * @param {string} root
 * @param {import('./steps.mjs').Report} [report]
 * @returns {Promise<boolean>} whether there was anything to do
 */
export async function build(root, report = () => {}) {
  const stamp = sourcesHash(root);
  const dist = join(root, 'dist');
  if (readStamp(dist) === stamp) return false;
  rmSync(join(dist, STAMP), { force: true }); // until it is whole again
  report('compiling TypeScript');
  const tsc = join(root, 'node_modules', 'typescript', 'bin', 'tsc');
  const flags = ['--incremental', 'false', '--pretty', 'false'];
  await run(execPath, [tsc, '-p', join(root, 'tsconfig.build.json'), ...flags], { cwd: root });
  for (const file of sources(root, ['.sql'])) {
    mkdirSync(dirname(join(dist, file)), { recursive: true });
    cpSync(join(root, file), join(dist, file));
  }
  removeStale(root, dist);
  report('bundling the workflows');
  await bundleWorkflows(root, dist);
  writeFileSync(join(dist, STAMP), stamp);
  return true;
}

/**
 * What no source stands for any more: a renamed module must not go on working.
 * @param {string} root @param {string} dist
 */
function removeStale(root, dist) {
  const wanted = new Set([...sources(root, SOURCES).flatMap(outputsOf), BUNDLE]);
  for (const entry of readdirSync(dist, { recursive: true, withFileTypes: true })) {
    const path = join(entry.parentPath, entry.name);
    if (entry.isFile() && !wanted.has(relative(dist, path))) rmSync(path);
  }
}

/** @param {string} source @returns {string[]} */
function outputsOf(source) {
  const stem = source.replace(/\.(m?)[jt]s$/, '');
  if (source.endsWith('.sql')) return [source];
  const m = /\.m[jt]s$/.test(source) ? 'm' : '';
  return [`${stem}.${m}js`, `${stem}.${m}js.map`, `${stem}.d.${m}ts`];
}

/**
 * Once for all workers: bundling at their start would cost each of them a second and more.
 * @param {string} root @param {string} dist
 */
async function bundleWorkflows(root, dist) {
  const workflowsPath = join(dist, 'workflows', 'index.js');
  if (!existsSync(workflowsPath)) return;
  const worker = pathToFileURL(join(root, 'node_modules', '@temporalio', 'worker', 'lib', 'index.js')).href;
  /** @type {typeof import('@temporalio/worker')} */
  const { bundleWorkflowCode } = (await import(worker)).default;
  const silent = () => {};
  const logger = {
    log: silent,
    trace: silent,
    debug: silent,
    info: silent,
    warn: console.warn,
    error: console.error,
  };
  const { code } = await bundleWorkflowCode({
    workflowsPath,
    workflowInterceptorModules: [join(dist, 'workflows', 'errors.js')],
    logger,
  });
  writeFileSync(join(dist, BUNDLE), code);
}

/** @param {string} root */
function sourcesHash(root) {
  const hash = createHash('sha256');
  for (const file of [...SETTINGS, ...sources(root, SOURCES)])
    hash
      .update(`${file}\0`)
      .update(readFileSync(join(root, file)))
      .update('\0');
  return hash.digest('hex');
}

/**
 * Paths under the folders that tsconfig.build.json includes, sorted.
 * @param {string} root @param {string[]} extensions @returns {string[]}
 */
function sources(root, extensions) {
  /** @type {{ include: string[] }} */
  const { include } = JSON.parse(readFileSync(join(root, 'tsconfig.build.json'), 'utf8'));
  return include
    .map((folder) => join(root, folder))
    .filter((folder) => existsSync(folder))
    .flatMap((folder) => readdirSync(folder, { recursive: true, withFileTypes: true }))
    .filter((entry) => entry.isFile() && extensions.some((extension) => entry.name.endsWith(extension)))
    .map((entry) => relative(root, join(entry.parentPath, entry.name)))
    .filter((path) => !path.includes('node_modules') && !path.endsWith('.test.ts'))
    .sort();
}

/** @param {string} dist @returns {string | null} */
function readStamp(dist) {
  const path = join(dist, STAMP);
  return existsSync(path) ? readFileSync(path, 'utf8') : null;
}

if (argv[1] && fileURLToPath(import.meta.url) === argv[1]) {
  endChildrenOnExit();
  const steps = createSteps();
  try {
    await withLock(setupLock(packageDir), 'building', steps.log, () =>
      steps.step('build', 'compiling', (report) => build(packageDir, report)),
    );
  } catch (error) {
    steps.log(error instanceof Error ? error.message : String(error));
    exit(1);
  }
}
