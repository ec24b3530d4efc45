/**
 * Brings the environment's schema to what the code expects: registry/migrations/*.sql in order of their names, each once, each in its
 * own transaction, one process at a time. Never goes back, never changes what was applied.
 *
 * Own code instead of node-pg-migrate: that package numbers by its own file names, knows no checksums, and takes the schema from
 * options of its own beside the pool we already have; what we need of it is shorter than its configuration.
 */
import { createHash } from 'node:crypto';
import { readdir, readFile } from 'node:fs/promises';
import { FeatureStoreError } from '../core/error.js';
import { type Pool, quote, transaction } from './sql.js';

export interface Migration {
  name: string;
  sql: string;
}

/** Applies what is missing; gives the names it applied. Throws FS_CONFLICT when the schema was made by other files than these. */
export async function migrate(
  pool: Pool,
  environment: string,
  migrations?: readonly Migration[],
): Promise<string[]> {
  const files = migrations ?? (await readMigrations());
  const applied: string[] = [];
  await prepare(pool, environment, files);
  for (const file of files) if (await applyOne(pool, environment, file)) applied.push(file.name);
  return applied;
}

/** The files beside this module: sources and dist hold the same. */
export async function readMigrations(): Promise<Migration[]> {
  const folder = new URL('./migrations/', import.meta.url);
  const names = (await readdir(folder)).filter((name) => /^\d{4}_[a-z0-9_]+\.sql$/.test(name)).sort();
  return Promise.all(
    names.map(async (name) => ({ name, sql: await readFile(new URL(name, folder), 'utf8') })),
  );
}

async function prepare(pool: Pool, environment: string, files: readonly Migration[]): Promise<void> {
  await transaction(pool, async (client) => {
    await client.query(LOCK, [environment]);
    await client.query(`create schema if not exists ${quote(environment)}`);
    await client.query(`create table if not exists migration (
      name text primary key,
      checksum text not null,
      applied_at timestamptz not null default now()
    )`);
    const { rows } = await client.query<{ name: string }>('select name from migration');
    const unknown = rows.map(({ name }) => name).filter((name) => !files.some((file) => file.name === name));
    if (unknown.length > 0)
      throw new FeatureStoreError(
        'FS_CONFLICT',
        `schema "${environment}" was made by a newer version: it has ${unknown.join(', ')}`,
        {
          fix: 'run the newer version, or use another ALMANAC_ENVIRONMENT',
          migrations: unknown,
        },
      );
  });
}

const LOCK = `select pg_advisory_xact_lock(hashtextextended('almanac migrate ' || $1::text, 0))`;

/** False when it was applied before. */
function applyOne(pool: Pool, environment: string, { name, sql }: Migration): Promise<boolean> {
  const checksum = createHash('sha256').update(sql).digest('hex');
  return transaction(pool, async (client) => {
    await client.query(LOCK, [environment]);
    const { rows } = await client.query<{ checksum: string }>(
      'select checksum from migration where name = $1',
      [name],
    );
    if (rows[0] !== undefined) {
      if (rows[0].checksum === checksum) return false;
      throw new FeatureStoreError(
        'FS_CONFLICT',
        `migration ${name} was changed after it was applied to schema "${environment}"`,
        {
          fix: `restore ${name} and put the change into a new migration`,
          migration: name,
        },
      );
    }
    await client.query(sql);
    await client.query('insert into migration (name, checksum) values ($1, $2)', [name, checksum]);
    return true;
  });
}
