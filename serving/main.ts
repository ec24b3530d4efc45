/** The serving process: settings → server → run until told to stop. Wiring only. */
import { readConfig } from '../core/config.js';
import { FeatureStoreError } from '../core/error.js';
import { startServing } from './server.js';

// What is under way is answered within its deadline; a client that does not read must not keep the process.
const DRAIN_MS = 8_000;

try {
  const serving = await startServing({
    config: readConfig(process.env),
    instance: process.env.ALMANAC_INSTANCE ?? null,
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
