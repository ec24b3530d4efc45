import { expect, test } from 'vitest';
import { type Migration, migrate, readMigrations } from '../../registry/migrate.js';
import { createDatabase } from './database.js';

const made = (): Promise<Awaited<ReturnType<typeof createDatabase>>> => createDatabase({ migrated: false });
const one: Migration = { name: '0001_one.sql', sql: 'create table one (n int)' };
const two: Migration = { name: '0002_two.sql', sql: 'create table two (n int)' };

test('applies the files there are, once', async () => {
  const { pool, environment } = await made();
  const names = (await readMigrations()).map(({ name }) => name);
  expect(names[0]).toBe('0001_platform.sql');
  expect(await migrate(pool, environment)).toEqual(names);
  expect(await migrate(pool, environment)).toEqual([]);
  expect((await pool.query('select count(*) from generation')).rows[0].count).toBe(1);
});

test('applies what is new', async () => {
  const { pool, environment } = await made();
  expect(await migrate(pool, environment, [one])).toEqual([one.name]);
  expect(await migrate(pool, environment, [one, two])).toEqual([two.name]);
});

test('ten at once apply each once', async () => {
  const { pool, environment } = await made();
  const applied = await Promise.all(Array.from({ length: 10 }, () => migrate(pool, environment, [one, two])));
  expect(applied.flat().sort()).toEqual([one.name, two.name]);
});

test('a migration that fails leaves nothing and can be corrected', async () => {
  const { pool, environment } = await made();
  const broken = { ...two, sql: 'create table two (n int); select 1 / 0' };
  await expect(migrate(pool, environment, [one, broken])).rejects.toMatchObject({ code: '22012' });
  expect(await migrate(pool, environment, [one, two])).toEqual([two.name]);
});

test('an applied migration that was changed is refused', async () => {
  const { pool, environment } = await made();
  await migrate(pool, environment, [one]);
  const changed = { ...one, sql: `${one.sql} -- changed` };
  await expect(migrate(pool, environment, [changed])).rejects.toMatchObject({
    code: 'FS_CONFLICT',
    details: { migration: one.name },
  });
});

test('a schema made by newer code is refused', async () => {
  const { pool, environment } = await made();
  await migrate(pool, environment, [one, two]);
  await expect(migrate(pool, environment, [one])).rejects.toMatchObject({
    code: 'FS_CONFLICT',
    details: { migrations: [two.name] },
  });
});

test('two environments do not see each other', async () => {
  const [a, b] = [await made(), await made()];
  await migrate(a.pool, a.environment, [one]);
  await migrate(b.pool, b.environment, [one]);
  await a.pool.query('insert into one values (1)');
  expect((await b.pool.query('select * from one')).rowCount).toBe(0);
});
