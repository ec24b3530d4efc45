/** A plan looks at the real tables of what it changes. */
import { createServer } from 'node:net';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { assertDefinitions } from '../../core/check.js';
import type { Definitions, SqlView } from '../../core/definition.js';
import { FeatureStoreError } from '../../core/error.js';
import { activate, openRevision, savePlan } from '../../registry/apply.js';
import { authorClient, declareAnswers } from '../../registry/author-database.js';
import { planNow } from '../../registry/inspect.js';
import { createDatabase } from './database.js';
import { changed } from './definitions.js';

const { pool, environment, postgresUrl } = await createDatabase();
const env = { SHOP_DATABASE_URL: postgresUrl };
const shop = environment; // its tables lie beside ours, under names of their own

beforeAll(async () => {
  await pool.query(`create type mood as enum ('good', 'bad')`);
  await pool.query(
    `create table shop_orders (order_id uuid, user_id int, ordered_at timestamptz, known_at timestamptz, amount_cents int8, shop mood)`,
  );
  await pool.query(
    `create table shop_wrong (order_id text, user_id numeric, ordered_at timestamp, amount_cents text, shop text)`,
  );
  await pool.query(`create table ranks (user_id int8, at timestamptz, local timestamp, r float8)`);
});

const read = (table: string): Definitions =>
  changed((all) => {
    all.sources[0]!.input = { type: 'table', connection: 'env:SHOP_DATABASE_URL', table };
    all.views = all.views.filter(({ kind }) => kind !== 'sql');
  });
const asking = (query: string): Definitions =>
  changed((all) => {
    (all.views[2] as SqlView).query = query;
  });

async function found(all: Definitions, given: Record<string, string> = env): Promise<string[]> {
  try {
    const { warnings } = await planNow(pool, given, all);
    return warnings.map(({ code, path, message }) => `${code ?? 'warning'} ${path}: ${message}`);
  } catch (error) {
    expect(error).toBeInstanceOf(FeatureStoreError);
    const { code, details } = error as FeatureStoreError;
    expect(code).toBe('FS_DEFINITION_INVALID');
    return (details.problems as Array<Record<string, string>>).map((problem) => {
      expect(problem.fix).toMatch(/./);
      return `${problem.code} ${problem.path}: ${problem.message}`;
    });
  }
}
const empty =
  'warning views.user_orders: nothing of source "orders" is archived yet: it gives its cold start until an import';

describe('a table', () => {
  test('as declared', async () => expect(await found(read(`${shop}.shop_orders`))).toEqual([empty]));
  test('that is not there', async () =>
    expect(await found(read(`${shop}.shop_order`))).toEqual([
      `source sources.orders.input.table: there is no table ${shop}.shop_order`,
    ]));
  test('every column that is missing, of another type, or without a zone', async () =>
    expect((await found(read(`${shop}.shop_wrong`))).map((text) => text.replaceAll(shop, 'x'))).toEqual([
      'source sources.orders.columns.amount_cents: column "amount_cents" of table x.shop_wrong is text; the source declares int64',
      'source sources.orders.columns.known_at: table x.shop_wrong has no column "known_at"',
      'time-zone sources.orders.columns.ordered_at: column "ordered_at" of table x.shop_wrong is a timestamp without time zone; the source declares timestamp',
      'source sources.orders.columns.user_id: column "user_id" of table x.shop_wrong is numeric; the source declares int64',
    ]));
});

const gives = (columns: string): Definitions =>
  asking(`select ${columns} from ${shop}.ranks as ranks where at <= :as_of; -- the newest`);

describe('a query', () => {
  test('that gives what the view says', async () =>
    expect(await found(gives('user_id, at as event_timestamp, r as user_spend_rank'))).toEqual([empty]));
  test.each([
    {
      why: 'no join key',
      columns: 'at as event_timestamp, r as user_spend_rank',
      says: ['query: gives no column "user_id"'],
    },
    {
      why: 'no event_timestamp',
      columns: 'user_id, r as user_spend_rank',
      says: ['query: gives no column "event_timestamp"'],
    },
    {
      why: 'no feature, and one too many',
      columns: 'user_id, at as event_timestamp, r as user_rank',
      says: [
        'query: gives a column "user_rank" that is no key and no feature',
        'query: gives no column "user_spend_rank"',
      ],
    },
    {
      why: 'other types',
      columns: `user_id::text as user_id, at as event_timestamp, '1' as user_spend_rank`,
      says: [
        'query: gives "user_id" as a type that is not int64',
        'query: gives "user_spend_rank" as a type that is not float64',
      ],
    },
    {
      why: 'a time without a zone',
      columns: 'user_id, local as event_timestamp, r as user_spend_rank',
      says: ['time-zone: gives "event_timestamp" as a timestamp without time zone'],
    },
  ])('$why', async ({ columns, says }) =>
    expect(await found(gives(columns))).toEqual(
      says.map((text) => text.replace(/^(\S+):/, '$1 views.user_rank.query:')),
    ),
  );
  test.each([
    [
      'of a table that is not there',
      `select 1 from ${'nowhere'}_ranks, ranks where :as_of > now()`,
      /nowhere_ranks/,
    ],
    ['that is no SQL', 'select select from ranks where :as_of > now()', /syntax error/],
    ['that writes', 'with x as (delete from ranks returning *) select *, :as_of from x', /./],
  ])('%s', async (_, query, says) => {
    const all = await found(asking(query.replaceAll(' ranks', ` ${shop}.ranks`)));
    expect(all).toEqual([
      expect.stringMatching(/^query views.user_rank.query: the query of view "user_rank"/),
    ]);
    expect(all[0]).toMatch(says);
  });
  test('is not asked for a row', async () => {
    await pool.query(`insert into ranks values (1, now(), now(), 0)`);
    expect(await found(gives('user_id, at as event_timestamp, r / (r * 0) as user_spend_rank'))).toEqual([
      empty,
    ]); // a row would divide by zero
  });
});

test('a query is one statement where it runs, and writes nothing', async () => {
  const view = asking(
    `select 1; commit; begin transaction read write; create table ${shop}.made (); commit; begin; select 2`,
  ).views[2] as SqlView;
  const client = authorClient(view.connection, env, {});
  await client.connect();
  try {
    await client.query('begin transaction read only');
    await expect(declareAnswers(client, view, 0)).rejects.toMatchObject({ code: 'FS_DATA_INVALID' });
  } finally {
    await client.end();
  }
  expect((await pool.query(`select to_regclass('${shop}.made') as made`)).rows).toEqual([{ made: null }]);
});

describe('a database that is away is a warning', () => {
  const unseen = (reason: string): string[] => [
    empty,
    expect.stringMatching(
      `^unseen sources.orders.input: was not looked at: the database of env:SHOP_DATABASE_URL ${reason}`,
    ) as unknown as string,
  ];
  const all = read('shop_orders');
  const silent = createServer();
  const sockets: Array<{ destroy(): void }> = [];
  beforeAll(async () => {
    silent.on('connection', (socket) => sockets.push(socket));
    await new Promise<void>((resolve) => silent.listen(0, '127.0.0.1', resolve));
  });
  afterAll(() => {
    for (const socket of sockets) socket.destroy();
    silent.close();
  });
  const port = (): number => (silent.address() as { port: number }).port;

  test('nothing listens', async () =>
    expect(await found(all, { SHOP_DATABASE_URL: 'postgres://x:secret@127.0.0.1:1/x' })).toEqual(
      unseen('does not answer: .*ECONNREFUSED'),
    ));
  test('somebody listens and says nothing', async () =>
    expect(await found(all, { SHOP_DATABASE_URL: `postgres://x:secret@127.0.0.1:${port()}/x` })).toEqual(
      unseen('does not answer'),
    ));
  test('the variable is not set here', async () =>
    expect(await found(all, {})).toEqual(unseen('is not known where the registry runs')));
  test('the variable holds no address', async () => {
    const told = await found(all, { SHOP_DATABASE_URL: 'postgres://x:secret@[/x' });
    expect(told).toEqual(unseen('has no valid address|does not answer'));
    expect(told.join()).not.toContain('secret');
  });
});

async function applied(all: Definitions, given: Record<string, string>): Promise<void> {
  const plan = await planNow(pool, given, all);
  await savePlan(pool, plan, assertDefinitions(all));
  await openRevision(pool, plan.hash);
  await activate(pool, plan.hash, 'test');
}
const reworded = (all: Definitions): Definitions =>
  changed((next) => (next.views[2]!.description = 'else'), all);

test('what could not be looked at when it was applied is looked at by the next plan that can', async () => {
  const all = asking(`select user_id from ${shop}.ranks where at <= :as_of`);
  const wrong = [
    'query views.user_rank.query: gives no column "event_timestamp"',
    'query views.user_rank.query: gives no column "user_spend_rank"',
  ];
  expect(await found(all)).toEqual(wrong);
  await applied(all, {});
  expect(await found(all, {})).toEqual([expect.stringMatching(/^unseen views.user_rank.query/)]);
  expect(await found(all)).toEqual(wrong);
  await applied(reworded(all), {});
  expect(await found(all)).toEqual(wrong);
  const right = gives('user_id, at as event_timestamp, r as user_spend_rank');
  await applied(right, env);
  expect(await found(right)).toEqual([]);
});

test('what does not change, and was looked at, is not looked at again', async () => {
  await pool.query('alter table ranks drop column r');
  expect(await found(reworded(gives('user_id, at as event_timestamp, r as user_spend_rank')))).toEqual([]);
});
