/** A schema of its own for each test file, dropped at its end. */
import { randomBytes } from 'node:crypto';
import { afterAll } from 'vitest';
import { migrate } from '../../registry/migrate.js';
import { createPool, type Pool, type PoolOptions, quote } from '../../registry/sql.js';

export interface Database {
  environment: string;
  postgresUrl: string;
  pool: Pool;
}

/** `migrated: false`: the schema does not exist yet. */
export async function createDatabase({
  migrated = true,
  ...options
}: PoolOptions & { migrated?: boolean } = {}): Promise<Database> {
  const environment = `t${randomBytes(6).toString('hex')}`;
  const postgresUrl = process.env.ALMANAC_POSTGRES_URL;
  if (postgresUrl === undefined)
    throw new Error('these tests need ALMANAC_POSTGRES_URL: run them by npm test');
  const pool = createPool({ environment, postgresUrl }, options);
  if (migrated) await migrate(pool, environment);
  afterAll(async () => {
    await pool.query(`drop schema if exists ${quote(environment)} cascade`);
    await pool.end();
  });
  return { environment, postgresUrl, pool };
}
