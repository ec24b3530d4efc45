/** The serving process: settings → server → run until told to stop. Wiring only. */
import { readFile } from 'node:fs/promises';
import { readConfig } from '../core/config.js';
import { FeatureStoreError } from '../core/error.js';
import { type Lock, readLock } from '../core/lock.js';
import { startServing } from './server.js';

// What is under way is answered within its deadline; a client that does not read must not keep the process.
const DRAIN_MS = 8_000;

async function readLockFile(path: string): Promise<Lock> {
  try {
    return readLock(await readFile(path, 'utf8'), path);
  } catch (error) {
    if (error instanceof FeatureStoreError) throw error;
    throw new FeatureStoreError(
      'FS_CONFIG_INVALID',
      `ALMANAC_LOCK names ${path}, which cannot be read: ${error instanceof Error ? error.message : String(error)}`,
      {
        fix: 'write it by: almanac lock <model> --out almanac.lock; or unset ALMANAC_LOCK',
        variable: 'ALMANAC_LOCK',
      },
      { cause: error },
    );
  }
}

try {
  const config = readConfig(process.env);
  const serving = await startServing({
    config,
    instance: process.env.ALMANAC_INSTANCE ?? null,
    lock: config.lockFile === null ? null : await readLockFile(config.lockFile),
  });
  let stopping = false;
  const stop = (): void => {
    if (stopping) return;
    stopping = true;
    setTimeout(() => process.exit(1), DRAIN_MS).unref();
    void serving.close();
  };
  process.on('SIGTERM', stop);
  process.on('SIGINT', stop);
  process.stdout.write(`serving listens on ${serving.url}\n`); // whoever reads it may stop us
} catch (error) {
  const text =
    error instanceof FeatureStoreError
      ? `${error.code}: ${error.message}\n  ${error.details.fix}`
      : String(error);
  process.stderr.write(`serving: ${text}\n`);
  process.exitCode = 1;
}
