/** Sql views: their query at a tick, what it may not answer, rows and records of what changed. */
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { type SqlVersion, writeSqlTick } from '../../activities/sql-view.js';
import { encodeKey, onlineKey } from '../../core/codec/key.js';
import type { Definitions, Entity, Expectation, SqlView } from '../../core/definition.js';
import { readSqlRecord } from '../../core/record.js';
import { progressKey } from '../../core/serving-plan.js';
import { DAY, floorTo, formatTimestamp, HOUR, MINUTE } from '../../core/time.js';
import { bindAsOf } from '../../registry/author-database.js';
import { resolveView } from '../../registry/resolve.js';
import { readViewStatistics } from '../../registry/statistics.js';
import { backfill } from '../../workflows/backfill.js';
import { materialize } from '../../workflows/materialize.js';
import { refill } from '../../workflows/refill.js';
import { servicesOf } from './definitions.js';
import { applyDefinitions, createEnvironment } from './environment.js';

const env = await createEnvironment({ env: { SHOP_DATABASE_URL: process.env.ALMANAC_POSTGRES_URL! } });
const { pool, redis, config } = env.deps;
const shop = config.environment; // the shop's tables live beside ours, under names of their own

const item: Entity = {
  name: 'item',
  description: 'what is sold',
  owner: 'shop',
  tags: [],
  keys: [{ name: 'item_id', type: 'string' }],
};

function priceView(name: string, query: string, kind: 'append' | 'snapshot' = 'append'): SqlView {
  const feature = { description: 'made up', nameException: 'made up' };
  return {
    kind: 'sql',
    name,
    description: 'prices',
    owner: 'shop',
    tags: [],
    entity: 'item',
    ttlMs: null,
    freshness: { tier: 'hourly', expectedEveryMs: HOUR },
    connection: 'env:SHOP_DATABASE_URL',
    query,
    reads: [{ table: `${shop}.prices`, kind }],
    cadenceMs: HOUR,
    settleMs: 0,
    features: [
      { ...feature, name: 'percentile', type: 'float64', coldStart: 0 },
      { ...feature, name: 'cents', type: 'int64', coldStart: 0 },
      { ...feature, name: 'since', type: 'timestamp', coldStart: null },
      { ...feature, name: 'labels', type: 'list<string>', coldStart: [] },
    ],
  };
}

const PRICES = `
  -- newest price of each item, :as_of included
  with current as (
    select distinct on (item_id) item_id, cents, valid_from from ${shop}.prices
    where valid_from <= :as_of order by item_id, valid_from desc
  )
  select item_id, valid_from as event_timestamp, percent_rank() over (order by cents) as percentile,
    cents, valid_from as since, array['a,"b"', item_id] as labels
  from current;`;

// Each breaks one rule.
const wrong = (select: string): string =>
  `select ${select} from (select item_id, valid_from as event_timestamp, 0.5::float8 as percentile, 1::bigint as cents,
     valid_from as since, array['a'] as labels from ${shop}.prices where valid_from <= :as_of limit 1) as right_one`;
const all = 'item_id, event_timestamp, percentile, cents, since, labels';
const BROKEN = [
  { name: 'no_column', query: wrong('item_id, event_timestamp, percentile, since, labels'), code: 'FS_DATA_INVALID', column: 'cents' },
  { name: 'one_more', query: wrong(`${all}, 1 as more`), code: 'FS_DATA_INVALID', column: 'more' },
  { name: 'wrong_type', query: wrong(all.replace('cents', 'cents::text as cents')), code: 'FS_DATA_INVALID', column: 'cents' },
  { name: 'no_zone', query: wrong(all.replace('since', "since at time zone 'UTC' as since")), code: 'FS_TIMESTAMP_INVALID', column: 'since' },
  { name: 'not_a_number', query: wrong(all.replace('percentile', "'NaN'::float8 as percentile")), code: 'FS_DATA_INVALID', column: 'percentile' },
  { name: 'null_key', query: wrong(all.replace('item_id', 'null::text as item_id')), code: 'FS_DATA_INVALID', column: 'item_id' },
  { name: 'null_time', query: wrong(all.replace('event_timestamp', 'null::timestamptz as event_timestamp')), code: 'FS_DATA_INVALID', column: 'event_timestamp' },
  { name: 'future', query: wrong(all.replace('event_timestamp', "now() + interval '1 day' as event_timestamp")), code: 'FS_DATA_INVALID', column: 'event_timestamp' },
  { name: 'null_in_list', query: wrong(all.replace('labels', "array['a', null] as labels")), code: 'FS_DATA_INVALID', column: 'labels' },
  { name: 'twice', query: `${wrong(all)} union all ${wrong(all)}`, code: 'FS_DATA_INVALID', column: 'item_id' },
  { name: 'no_table', query: `${wrong(all)} union all select * from ${shop}.no_such_table`, code: 'FS_DATA_INVALID', column: undefined },
  { name: 'writes', query: `with gone as (delete from ${shop}.prices where valid_from <= :as_of returning *) select 1 from gone`, code: 'FS_DATA_INVALID', column: undefined },
]; // biome-ignore format: a table

const now = Date.now();
const newest = floorTo(now - 1, HOUR);
const views: Definitions['views'] = [
  priceView('prices', PRICES),
  priceView('prices_missed', PRICES),
  priceView('prices_now', PRICES, 'snapshot'),
  priceView('prices_later', PRICES),
  {
    ...priceView('prices_limited', PRICES.replaceAll('.prices', '.limited')),
    reads: [{ table: `${shop}.limited`, kind: 'append' }],
    expectations: [
      { type: 'range', feature: 'cents', min: 0, max: 1_000, severity: 'block' },
      { type: 'nullRate', feature: 'cents', max: 0, severity: 'warn' },
    ],
  },
  {
    ...priceView('prices_counted', PRICES.replaceAll('.prices', '.counted')),
    reads: [{ table: `${shop}.counted`, kind: 'append' }],
    expectations: [{ type: 'rowCount', maxChange: 0.5, severity: 'block' }],
  },
  ...BROKEN.map(({ name, query }) => priceView(name, query)),
];
const block = { severity: 'block' } as const;
const KINDS: Array<{ of: Expectation; observed: number }> = [
  { of: { type: 'nullRate', feature: 'cents', max: 0, ...block }, observed: 1 / 2 },
  { of: { type: 'range', feature: 'cents', min: 0, max: 1_000, ...block }, observed: 1 },
  { of: { type: 'allowed', feature: 'cents', values: [1], ...block }, observed: 1 },
  { of: { type: 'freshness', maxAgeMs: 90 * MINUTE, ...block }, observed: 119 * MINUTE },
  { of: { type: 'rowCount', maxChange: 0.5, ...block }, observed: 1 },
];
for (const { of } of KINDS)
  views.push({
    ...priceView(`kind_${of.type.toLowerCase()}`, PRICES.replaceAll('.prices', '.kinds')),
    reads: [{ table: `${shop}.kinds`, kind: 'append' }],
    expectations: [of],
  });
const definitions: Definitions = { entities: [item], sources: [], views, services: servicesOf(views) };

const setPrice = (id: string, cents: number, at: number) =>
  pool.query(`insert into ${shop}.prices values ($1, $2, $3)`, [id, cents, formatTimestamp(at)]);

beforeAll(async () => {
  await pool.query(`create table ${shop}.prices (item_id text, cents bigint, valid_from timestamptz)`);
  for (const table of ['limited', 'counted', 'kinds'])
    await pool.query(`create table ${shop}.${table} (item_id text, cents bigint, valid_from timestamptz)`);
  await setPrice('a', 100, newest - 3 * DAY);
  await setPrice('b', 200, newest - 5 * HOUR);
  await setPrice('é', 300, newest - 5 * HOUR);
  await setPrice('a', 250, newest - 2 * HOUR + 1);
  await applyDefinitions(env, definitions);
  // ticks come when this test says so
  await env.startWorkers((activities) => ({ ...activities, settleSchedules: async () => {} }));
});
afterAll(async () => {
  await pool.query(`drop table if exists ${shop}.prices, ${shop}.limited, ${shop}.counted, ${shop}.kinds`);
});

let runs = 0;
const options = () => ({ workflowId: `sql/${runs++}`, taskQueue: `${config.environment}-batch` });
const runBackfill = (view: string, range: { start?: string; end?: string } = {}) =>
  env.client.workflow.execute(backfill, { ...options(), args: [{ view, ...range }] });

async function readRows(view: string) {
  const { id } = await resolveView(pool, view);
  const { rows } = await pool.query(
    `select item_id, tick_ms, event_ms, percentile, cents, since, labels, committed_ms from rows_${id} order by tick_ms, item_id collate "C"`,
  );
  return rows as Array<
    Record<string, unknown> & { item_id: string; tick_ms: number; event_ms: number; committed_ms: number }
  >;
}

async function readOnline(view: string) {
  const version = await resolveView(pool, view);
  const readings = new Map<string, ReturnType<typeof readSqlRecord>>();
  for (const id of ['a', 'b', 'é', 'c']) {
    const key = onlineKey(config.environment, 'item', encodeKey(item, [id]));
    const record = await redis.hgetBuffer(key, String(version.id));
    if (record) readings.set(id, readSqlRecord(version.view as SqlView, record));
  }
  return readings;
}

async function readOnlineTick(view: string): Promise<number> {
  const { id } = await resolveView(pool, view);
  return Number(await redis.hget(progressKey(config.environment), String(id)));
}

const failure = (code: string, more: object = {}) => ({ cause: { cause: { type: code, ...more } } });

describe('an append table', () => {
  test('a range: rows where an entity changed, its newest row online', async () => {
    const start = newest - 6 * HOUR;
    const status = await runBackfill('prices', {
      start: formatTimestamp(start),
      end: formatTimestamp(newest - HOUR),
    });
    expect(status.chunks).toBe(6);
    const rows = await readRows('prices');
    expect(
      rows.map(({ item_id, tick_ms, cents, percentile }) => [
        item_id,
        (tick_ms - newest) / HOUR,
        cents,
        percentile,
      ]),
    ).toEqual([
      ['a', -6, 100, 0],
      ['b', -5, 200, 0.5],
      ['é', -5, 300, 1],
      ['a', -1, 250, 0.5],
      ['b', -1, 200, 0],
    ]);
    expect(rows.at(-1)).toMatchObject({
      since: newest - 5 * HOUR,
      labels: ['a,"b"', 'b'],
      event_ms: newest - 5 * HOUR,
    });
    const online = await readOnline('prices');
    expect(online.get('a')).toMatchObject({
      asOf: newest - HOUR,
      eventTimestamp: newest - 2 * HOUR + 1,
      values: [0.5, 250, newest - 2 * HOUR + 1, ['a,"b"', 'a']],
    });
    expect(online.get('é')).toMatchObject({
      asOf: newest - 5 * HOUR,
      values: [1, 300, newest - 5 * HOUR, ['a,"b"', 'é']],
    });
    const { rows: ticks } = await pool.query(
      `select count(*) as ticks, bool_and(published_ms = tick_ms and backfilled) as settled from tick where version_id = $1`,
      [status.versionId],
    );
    expect(ticks).toEqual([{ ticks: 6, settled: true }]);
  });

  test('the next tick, after a price that is new; again, it changes nothing', async () => {
    await setPrice('c', 50, newest - 1);
    const args: [{ view: string; tick: string }] = [{ view: 'prices', tick: formatTimestamp(newest) }];
    const result = await env.client.workflow.execute(materialize, { ...options(), args });
    expect(result).toMatchObject({ ticks: 1, rows: 3 }); // c is new, a and b are not where they were
    const { id } = await resolveView(pool, 'prices');
    expect(await redis.hget(progressKey(config.environment), String(id))).toBe(String(newest));
    expect((await readOnline('prices')).get('c')).toMatchObject({
      asOf: newest,
      values: [0, 50, newest - 1, ['a,"b"', 'c']],
    });

    const before = await readRows('prices');
    expect(await env.client.workflow.execute(materialize, { ...options(), args })).toMatchObject({
      ticks: 0,
    });
    expect(await readRows('prices')).toEqual(before);
  });

  test('many ticks were missed: one run goes on where the one before stopped', async () => {
    const at = (hours: number): string => formatTimestamp(newest + hours * HOUR);
    await runBackfill('prices_missed', { start: at(-6), end: at(-5) });
    const { workflowId, taskQueue } = options();
    const result = await env.client.workflow.execute(materialize, {
      workflowId,
      taskQueue,
      args: [{ view: 'prices_missed', tick: at(0), ticksPerRun: 2 }],
    });
    expect(result).toMatchObject({ version: 1, tick: at(0), ticks: 1 }); // -4 and -3, -2 and -1, 0
    const rowsOf = async (view: string) => (await readRows(view)).map((row) => ({ ...row, committed_ms: 0 }));
    expect(await rowsOf('prices_missed')).toEqual(await rowsOf('prices'));
    const { id } = await resolveView(pool, 'prices_missed');
    const { rows } = await pool.query('select count(*) as ticks from tick where version_id = $1', [id]);
    expect(rows).toEqual([{ ticks: 7 }]);
    expect(await redis.hget(progressKey(config.environment), String(id))).toBe(String(newest));
  });

  test('a refill brings the same readings back', async () => {
    const before = await readOnline('prices');
    for (const id of ['a', 'b', 'é', 'c'])
      await redis.del(onlineKey(config.environment, 'item', encodeKey(item, [id])));
    const result = await env.client.workflow.execute(refill, { ...options(), args: [{ view: 'prices' }] });
    expect(result).toMatchObject({ entities: 4, records: 4 });
    expect(await readOnline('prices')).toEqual(before);
  });
});

test('a backfill goes on after the newest tick; a gap, and what lies before, are refused', async () => {
  const at = (hours: number) => formatTimestamp(newest + hours * HOUR);
  const fix = (hours: number) =>
    failure('FS_REQUEST_INVALID', {
      details: [{ view: 'prices_later', fix: expect.stringContaining(at(hours)) }],
    });
  await runBackfill('prices_later', { start: at(-6), end: at(-5) });
  await expect(runBackfill('prices_later', { start: at(-3) })).rejects.toMatchObject(fix(-4));
  await expect(runBackfill('prices_later', { start: at(-8), end: at(-5) })).rejects.toMatchObject(fix(-4));
  expect(await runBackfill('prices_later', { end: at(-1) })).toMatchObject({ start: at(-4), end: at(-1) });
  const before = await readRows('prices_later');
  await runBackfill('prices_later', { start: at(-6), end: at(-1) });
  expect(await readRows('prices_later')).toEqual(before);
});

describe('what is expected of a tick', () => {
  const limit = (id: string, cents: number | null, at: number) =>
    pool.query(`insert into ${shop}.limited values ($1, $2, $3)`, [id, cents, formatTimestamp(at)]);
  const tick = (at: number) =>
    env.client.workflow.execute(materialize, {
      ...options(),
      args: [{ view: 'prices_limited', tick: formatTimestamp(at) }],
    });
  const results = async () => {
    const { id } = await resolveView(pool, 'prices_limited');
    const { rows } = await pool.query<{ tick: string; expectation: string; passed: boolean }>(
      'select reference as tick, expectation, passed from expectation_result where version_id = $1 order by reference, expectation',
      [id],
    );
    return rows.map(({ tick: at, expectation, passed }) => [
      (Date.parse(at) - newest) / HOUR,
      expectation.split(' ')[0],
      passed,
    ]);
  };

  test('one that blocks is rolled back with its rows; the schedule’s next run passes it over once another one is right', async () => {
    await limit('a', 10, newest - DAY);
    await runBackfill('prices_limited', {
      start: formatTimestamp(newest - 5 * HOUR),
      end: formatTimestamp(newest - 5 * HOUR),
    });
    await limit('a', 5_000, newest - 4 * HOUR - 1); // seen by the tick at -4
    await limit('b', null, newest - 3 * HOUR - 1);
    await limit('a', 20, newest - 3 * HOUR - 1);
    const before = await readOnline('prices_limited');
    await expect(tick(newest - 4 * HOUR)).rejects.toMatchObject(
      failure('FS_EXPECTATION_FAILED', {
        message: expect.stringContaining('1 of 1 values lie outside of 0 to 1000'),
        details: [
          expect.objectContaining({
            expectation: 'range of cents',
            feature: 'cents',
            fix: expect.any(String),
          }),
        ],
      }),
    );
    expect((await readRows('prices_limited')).map(({ tick_ms }) => (tick_ms - newest) / HOUR)).toEqual([-5]);
    expect(await readOnline('prices_limited')).toEqual(before);

    expect(await tick(newest - 3 * HOUR)).toMatchObject({ ticks: 2, rows: 2 });
    expect(
      (await readRows('prices_limited')).map(({ item_id, tick_ms, cents }) => [
        item_id,
        (tick_ms - newest) / HOUR,
        cents,
      ]),
    ).toEqual([
      ['a', -5, 10],
      ['a', -3, 20],
      ['b', -3, null],
    ]);
    expect(await results()).toEqual([
      [-5, 'nullRate', true], [-5, 'range', true],
      [-4, 'nullRate', true], [-4, 'range', false],
      [-3, 'nullRate', false], [-3, 'range', true],
    ]); // biome-ignore format: a table
  });

  test('its statistics are those of the rows it wrote', async () => {
    const { what, reference, features } = await readViewStatistics(pool, 'prices_limited', {});
    expect([what, reference]).toEqual(['tick', formatTimestamp(newest - 3 * HOUR)]);
    expect(features.find(({ feature }) => feature === 'cents')).toMatchObject({
      count: 2, nulls: 1, min: 20, max: 20, mean: 20, deviation: 0, distinct: 1, top: [{ value: 20, count: 1 }],
    }); // biome-ignore format: one thing
    expect(features.find(({ feature }) => feature === 'labels')).toMatchObject({
      count: 2,
      min: 2,
      max: 2,
      distinct: null,
    });
  });
});

describe('each kind blocks', () => {
  const price = (ids: string[], cents: number | null, at: number) =>
    pool.query(`insert into ${shop}.kinds select id, $2, $3 from unnest($1::text[]) as id`, [ids, cents, formatTimestamp(at)]); // biome-ignore format: one statement
  const at = (hours: number): string => formatTimestamp(newest + hours * HOUR);
  const view = ({ type }: Expectation): string => `kind_${type.toLowerCase()}`;

  beforeAll(async () => {
    await price(['a', 'b'], 1, newest - 6 * HOUR); // nothing is new at the tick after it
    for (const { of } of KINDS) await runBackfill(view(of), { start: at(-6), end: at(-5) });
    await price(['c'], null, newest - 6 * HOUR + MINUTE);
    await price(['d'], 5_000, newest - 6 * HOUR + MINUTE);
  });

  test.each(KINDS)('$of.type: a tick, and one of a backfill', async ({ of, observed }) => {
    const before = await readRows(view(of));
    const blocked = failure('FS_EXPECTATION_FAILED', {
      details: [{ expectation: expect.stringMatching(`^${of.type}`), observed: expect.closeTo(observed) }],
    });
    const args: [{ view: string; tick: string }] = [{ view: view(of), tick: at(-4) }];
    await expect(env.client.workflow.execute(materialize, { ...options(), args })).rejects.toMatchObject(
      blocked,
    );
    await expect(runBackfill(view(of), { end: at(-4) })).rejects.toMatchObject(blocked);
    expect(await readRows(view(of))).toEqual(before);
    expect(await readOnlineTick(view(of))).toBe(newest - 5 * HOUR);
  });
});

describe('how many rows a query gives', () => {
  const fill = (at: number, ids: readonly string[]) =>
    pool.query(`insert into ${shop}.counted select id, $2, $3 from unnest($1::text[]) as id`, [ids, at, formatTimestamp(newest - DAY)]); // biome-ignore format: one statement
  const tick = (hours: number) =>
    env.client.workflow.execute(materialize, {
      ...options(),
      args: [{ view: 'prices_counted', tick: formatTimestamp(newest + hours * HOUR) }],
    });

  test('is compared with the tick before that was published: not how many changed, and none is fewer', async () => {
    await fill(1, ['a', 'b', 'c', 'd']);
    const [start, end] = [-6, -5].map((hours) => formatTimestamp(newest + hours * HOUR));
    await runBackfill('prices_counted', { start: start!, end: end! });
    expect(await tick(-4)).toMatchObject({ rows: 0 });

    await pool.query(`delete from ${shop}.counted where item_id <> 'a'`);
    const tooFew = (rows: number) =>
      failure('FS_EXPECTATION_FAILED', { message: expect.stringContaining(`${rows} rows after 4`) });
    await expect(tick(-3)).rejects.toMatchObject(tooFew(1));
    await pool.query(`delete from ${shop}.counted`);
    await expect(tick(-2)).rejects.toMatchObject(tooFew(0)); // the one before is passed over, and no measure

    await fill(2, ['a', 'b', 'c']);
    expect(await tick(-1)).toMatchObject({ ticks: 3 });
    expect((await readRows('prices_counted')).map(({ tick_ms }) => (tick_ms - newest) / HOUR)).toEqual(
      [-6, -6, -6, -6, -3, -3, -3],
    ); // biome-ignore format: one list
  });
});

describe('a snapshot table', () => {
  test('past ticks are refused by name', async () => {
    await expect(runBackfill('prices_now', { start: formatTimestamp(newest - HOUR) })).rejects.toMatchObject(
      failure('FS_REQUEST_INVALID', { message: expect.stringContaining(`${shop}.prices keeps no history`) }),
    );
  });

  test('the newest tick alone is computed, once', async () => {
    const status = await runBackfill('prices_now');
    expect([status.start, status.end]).toEqual([formatTimestamp(newest), formatTimestamp(newest)]);
    const before = await readRows('prices_now');
    expect(before.map(({ item_id }) => item_id)).toEqual(['a', 'b', 'c', 'é']);
    await setPrice('d', 1, newest - 10);
    await runBackfill('prices_now', { end: formatTimestamp(newest) });
    expect(await readRows('prices_now')).toEqual(before);
  });

  test('an attempt that comes after its tick asks nothing', async () => {
    const version = (await resolveView(pool, 'prices_now')) as SqlVersion;
    await expect(writeSqlTick(env.deps, version, newest - HOUR)).rejects.toMatchObject({
      code: 'FS_REQUEST_INVALID',
      message: expect.stringContaining('keeps no history'),
    });
  });
});

test.each(BROKEN)('$name is refused: $code', async ({ name, code, column }) => {
  await expect(runBackfill(name)).rejects.toMatchObject(
    failure(code, {
      details: [expect.objectContaining({ view: name, fix: expect.any(String), ...(column && { column }) })],
    }),
  );
  expect(await readRows(name)).toEqual([]);
});

test.each([
  ['select :as_of', 'select $1::timestamptz'],
  [
    'select \':as_of\', ":as_of", x::as_of -- :as_of\n, :as_of;',
    'select \':as_of\', ":as_of", x::as_of -- :as_of\n, $1::timestamptz',
  ],
  [
    '/* :as_of */ select $$:as_of$$ where a <= :as_of and b > :as_of',
    '/* :as_of */ select $$:as_of$$ where a <= $1::timestamptz and b > $1::timestamptz',
  ],
  ['select :as_of_day', 'select :as_of_day'],
])('%j binds its moment', (query, text) => {
  expect(bindAsOf(query).text).toBe(text);
});
