/** The registry process: settings → Postgres and migrations → server → run until told to stop. Wiring only. */
import { setTimeout as delay } from 'node:timers/promises';
import { readConfig } from '../core/config.js';
import { FeatureStoreError } from '../core/error.js';
import { migrate } from './migrate.js';
import { createProducer } from './push.js';
import { createRuns } from './runs.js';
import { startRegistry } from './server.js';
import { createPool, type Pool } from './sql.js';

// Servers of a stack start together: Postgres may recover for a while.
const POSTGRES_MS = 60_000;
// What is under way is answered within its deadlines; a client that does not read must not keep the process.
const DRAIN_MS = 15_000;

try {
  await main();
} catch (error) {
  const text =
    error instanceof FeatureStoreError
      ? `${error.code}: ${error.message}\n  ${error.details.fix}`
      : String(error);
  process.stderr.write(`registry: ${text}\n`);
  process.exit(1);
}

async function main(): Promise<void> {
  const config = readConfig(process.env);
  // Statements are short: what takes long is a workflow.
  const pool = createPool(config, { application: 'almanac registry', statementTimeoutMs: 10_000 });
  const applied = await migrateWhenThere(pool, config.environment);
  for (const name of applied) process.stdout.write(`registry: applied ${name}\n`);
  const runs = createRuns(config);
  const producer = createProducer(config);
  const server = await startRegistry({
    config,
    pool,
    runs,
    producer,
    instance: process.env.ALMANAC_INSTANCE ?? null,
  });
  let stopping = false;
  const stop = (): void => {
    if (stopping) return;
    stopping = true;
    setTimeout(() => process.exit(1), DRAIN_MS).unref();
    void server
      .close()
      .then(() => Promise.all([pool.end(), runs.close(), producer.close()]))
      .then(() => process.exit(0));
  };
  process.on('SIGTERM', stop);
  process.on('SIGINT', stop);
  process.stdout.write(`registry listens on ${server.url}\n`); // whoever reads it may stop us
}

async function migrateWhenThere(pool: Pool, environment: string): Promise<string[]> {
  const until = performance.now() + POSTGRES_MS;
  for (;;) {
    try {
      return await migrate(pool, environment);
    } catch (error) {
      if (!(error instanceof FeatureStoreError && error.retryable) || performance.now() > until) throw error;
    }
    await delay(250);
  }
}
