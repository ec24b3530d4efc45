import { once } from 'node:events';
import { type AddressInfo, createServer, type Server, type Socket } from 'node:net';
import { pipeline } from 'node:stream/promises';
import fc from 'fast-check';
import { to as copyTo } from 'pg-copy-streams';
import { afterAll, describe, expect, test } from 'vitest';
import type { Entity } from '../../core/definition.js';
import { FeatureStoreError } from '../../core/error.js';
import { createPool, keyHashOf, keyHashSql, quote, transaction, translate } from '../../registry/sql.js';
import { createDatabase } from './database.js';

const { pool, environment, postgresUrl } = await createDatabase({ migrated: false });
await pool.query(`create schema ${environment}`);

const codeOf = (error: unknown): string => (error instanceof FeatureStoreError ? error.code : String(error));

describe('quote', () => {
  test.each([
    ['select', 'a word of SQL'],
    ['a"b', 'a quote'],
    [`"; drop table x; --`, 'an attempt'],
    ['é'.repeat(31), '62 bytes'],
    ['😀', 'an emoji'],
    ['__proto__', 'a property of every object'],
    [' ', 'a space'],
    ["it's \\ here", 'an apostrophe and a backslash'],
  ])('%j: %s', async (name) => {
    const { rows } = await pool.query<Record<string, number>>(`select 1 as ${quote(name)}`);
    expect(Object.keys(rows[0]!)).toEqual([name]);
  });
  test.each([
    ['', 'empty'],
    ['a\0b', 'NUL'],
    ['a'.repeat(64), '64 bytes'],
    ['é'.repeat(32), '64 bytes in 32 characters'],
    ['\ud800', 'half a surrogate pair'],
  ])('%j is refused: %s', (name) => {
    expect(() => quote(name)).toThrowError(expect.objectContaining({ code: 'FS_NAME_INVALID' }));
  });
  test('any name comes back as it was, or is refused', async () => {
    const property = fc.asyncProperty(fc.string({ unit: 'binary', maxLength: 70 }), async (name) => {
      let quoted: string;
      try {
        quoted = quote(name);
      } catch (error) {
        expect(codeOf(error)).toBe('FS_NAME_INVALID');
        return;
      }
      const { rows, fields } = await pool.query(`select 1 as ${quoted}`);
      expect(fields[0]?.name).toBe(name);
      expect(rows).toHaveLength(1);
    });
    await fc.assert(property, { numRuns: 200 });
  });
});

describe('types', () => {
  const one = async (expression: string): Promise<unknown> =>
    (await pool.query(`select ${expression} as v`)).rows[0].v;
  test.each([
    [`9007199254740991::bigint`, 9007199254740991],
    [`array[1, null, -9007199254740991]::bigint[]`, [1, null, -9007199254740991]],
    [`'2026-03-01T12:30:00.123456+02:00'::timestamptz`, Date.UTC(2026, 2, 1, 10, 30, 0, 123)],
    [`'0001-01-01T00:00:00Z'::timestamptz`, -62_135_596_800_000],
    [`array['1970-01-01T00:00:00Z'::timestamptz]`, [0]],
    [`'{"a":1}'::jsonb`, { a: 1 }],
    [`0.1::float8`, 0.1],
    [`null::bigint`, null],
    [`9007199254740993::bigint`, 9007199254740993n],
    [`array[1, -9223372036854775808]::bigint[]`, [1, -9223372036854775808n]],
  ])('%s', async (expression, expected) => expect(await one(expression)).toEqual(expected));
  test.each([
    [`'2026-03-01 12:30:00'::timestamp`, 'FS_TIMESTAMP_INVALID'],
    [`'infinity'::timestamptz`, 'FS_TIMESTAMP_INVALID'],
  ])('%s is refused', async (expression, code) => {
    await expect(one(expression)).rejects.toMatchObject({ code });
    expect(await one('1')).toBe(1); // and the connection goes on
  });
});

describe('keyHashSql', () => {
  const entity: Entity = {
    name: 'basket', description: 'd', owner: 'o', tags: [],
    keys: [{ name: 'user_id', type: 'int64' }, { name: 'shop', type: 'string' }],
  }; // biome-ignore format: one thing
  const hashOf = async (user: string, shop: string): Promise<string | null> =>
    (await pool.query(`select (${keyHashOf(entity, [`${user}::bigint`, `${shop}::text`])})::text as h`))
      .rows[0].h;

  test('is an immutable expression: an index takes it', async () => {
    await pool.query('create table a (c_u bigint, c_s text)');
    await pool.query(`create index on a ((${keyHashSql(entity, ['u', 's'])}))`);
  });
  test('an entity has one hash however its text is spelled', async () =>
    expect(await hashOf('7', `U&'e\\0301'`)).toBe(await hashOf('7', `U&'\\00e9'`)));
  test('parts are not interchangeable', async () =>
    expect(await hashOf('1', `'2'`)).not.toBe(await hashOf('2', `'1'`)));
  test('a missing part has no hash', async () => expect(await hashOf('1', 'null')).toBeNull());
});

describe('transaction', () => {
  test('commits what it did, gives what it got', async () => {
    await pool.query('create table t (n int)');
    expect(
      await transaction(pool, async (client) => (await client.query('insert into t values (1)')).rowCount),
    ).toBe(1);
    expect((await pool.query('select count(*) from t')).rows[0].count).toBe(1);
  });
  test('leaves nothing behind when it throws, and lets our own errors through', async () => {
    const error = new FeatureStoreError('FS_CONFLICT', 'no', { fix: 'no' });
    await expect(
      transaction(pool, async (client) => {
        await client.query('insert into t values (2)');
        throw error;
      }),
    ).rejects.toBe(error);
    expect((await pool.query('select * from t where n = 2')).rowCount).toBe(0);
  });
  test('runs again after a serialization failure', async () => {
    let attempts = 0;
    await transaction(
      pool,
      async (client) => {
        attempts++;
        const { rows } = await client.query<{ n: number }>('select n from t where n < 100');
        if (attempts === 1) await pool.query('update t set n = n + 1'); // somebody else, between our two statements
        await client.query('update t set n = $1', [rows[0]!.n + 10]);
      },
      'repeatable read',
    );
    expect(attempts).toBe(2);
    expect((await pool.query('select n from t')).rows[0].n).toBe(12);
  });
  test('does not run again after a broken constraint, which stays what it is', async () => {
    let attempts = 0;
    await expect(
      transaction(pool, async (client) => {
        attempts++;
        await client.query('select 1 / 0');
      }),
    ).rejects.toMatchObject({ code: '22012' });
    expect(attempts).toBe(1);
  });
  test('a swallowed error is no commit', async () => {
    await expect(
      transaction(pool, async (client) => {
        await client.query('select 1 / 0').catch(() => {});
      }),
    ).rejects.toThrow(/swallowed/);
  });
  test('a connection lost between two statements ends the transaction, not the process', async () => {
    await expect(
      transaction(pool, async (client) => {
        const { rows } = await client.query<{ pid: number }>('select pg_backend_pid() as pid');
        const gone = new Promise((resolve) => client.once('end', resolve)); // once() would also wait for 'error'
        await pool.query('select pg_terminate_backend($1)', [rows[0]!.pid]);
        await gone;
        await client.query('select 1');
      }),
    ).rejects.toMatchObject({ code: 'FS_UNAVAILABLE' });
    expect((await pool.query('select 1 as v')).rows[0].v).toBe(1);
  });
});

describe('servers that are not well', () => {
  const servers: Server[] = [];
  const sockets: Socket[] = [];
  afterAll(() => {
    for (const socket of sockets) socket.destroy();
    for (const server of servers) server.close();
  });
  const listen = async (onConnection: (socket: Socket) => void): Promise<string> => {
    const server = createServer((socket) => {
      sockets.push(socket);
      socket.on('error', () => {});
      onConnection(socket);
    }).listen(0, '127.0.0.1');
    servers.push(server);
    await once(server, 'listening');
    return `postgres://x@127.0.0.1:${(server.address() as AddressInfo).port}/x`;
  };
  const ask = async (url: string, options = {}): Promise<unknown> => {
    const other = createPool({ environment: 'x', postgresUrl: url }, options);
    try {
      return await other.query('select 1');
    } finally {
      await other.end();
    }
  };

  test('down: unavailable at once', async () => {
    await expect(ask('postgres://x@127.0.0.1:1/x')).rejects.toMatchObject({
      code: 'FS_UNAVAILABLE',
      retryable: true,
    });
  });
  test('accepting and silent: unavailable after the connection timeout', async () => {
    const url = await listen(() => {});
    await expect(ask(url, { connectTimeoutMs: 100 })).rejects.toMatchObject({ code: 'FS_UNAVAILABLE' });
  });
  test('hanging up: unavailable', async () => {
    const url = await listen((socket) => socket.destroy());
    await expect(ask(url)).rejects.toMatchObject({ code: 'FS_UNAVAILABLE' });
  });
  test('wrong database: the setting is named', async () => {
    const url = new URL(postgresUrl);
    url.pathname = '/there_is_no_such_database';
    await expect(ask(url.href)).rejects.toMatchObject({ code: 'FS_CONFIG_INVALID' });
  });
  test('a slow statement: out of time, ended by the server', async () => {
    const slow = createPool({ environment, postgresUrl }, { statementTimeoutMs: 50 });
    await expect(slow.query('select pg_sleep(10)')).rejects.toMatchObject({ code: 'FS_DEADLINE' });
    await slow.end();
  });
  test.each([
    ['53100', 'FS_DISK_FULL'],
    ['53300', 'FS_UNAVAILABLE'],
    ['57P03', 'FS_UNAVAILABLE'],
    ['08006', 'FS_UNAVAILABLE'],
  ])('%s is %s', async (state, code) => {
    const raise = pool.query(`do $$ begin raise exception 'made up' using errcode = '${state}'; end $$`);
    await expect(raise).rejects.toMatchObject({ code });
  });
  test('translate leaves what it does not know', () => {
    const error = new Error('something else');
    expect(translate(error)).toBe(error);
  });
});

test('COPY TO streams through the pool', async () => {
  const client = await pool.connect();
  let bytes = 0;
  const stream = client.query(copyTo('copy (select * from generate_series(1, 1000)) to stdout'));
  await pipeline(stream, async (chunks: AsyncIterable<Buffer>) => {
    for await (const chunk of chunks) bytes += chunk.length;
  });
  client.release();
  expect(bytes).toBeGreaterThan(1000);
});
