import { beforeEach, expect, test } from 'vitest';
import { forget } from '../../activities/forget.js';
import { DAY, formatTimestamp } from '../../core/time.js';
import { createDatabase } from '../registry/database.js';

const { pool } = await createDatabase();
const now = Date.UTC(2026, 5, 1);
const ago = (days: number): string => formatTimestamp(now - days * DAY);

beforeEach(async () => {
  await pool.query('truncate view_version cascade');
  await pool.query(
    `insert into view_version (id, view, version, hash, kind, definition, state) overriding system value
     select id, 'v', id, id, 'aggregation', '{}', 'deprecated' from generate_series(1, 2) as id`,
  );
});

/** What is left of the days that were written. */
async function left(table: string, reference: string): Promise<unknown> {
  const { rows } = await pool.query<{ of: string }>(`select ${reference} as of from ${table} order by of`);
  return rows.map(({ of }) => of);
}

test('reads by the minute for 30 days; their totals stay', async () => {
  await pool.query(
    `insert into read_count (model, service, version_id, minute, reads)
     select 'churn', 'checkout', 1, minute, 7 from unnest($1::timestamptz[]) as minute`,
    [[ago(400), ago(30.01), ago(30), ago(1)]],
  );
  await pool.query(`insert into read_total values ('churn', 'checkout', 1, 28, $1)`, [ago(400)]);
  expect(await forget(pool, now)).toBe(2);
  expect(await left('read_count', 'minute')).toEqual([now - 30 * DAY, now - DAY]);
  expect(await left('read_total', 'reads')).toEqual([28]);
});

interface Result {
  at: number;
  what?: string;
  severity?: string;
  passed?: boolean;
  version?: number;
}
async function addResult({
  at,
  what = 'tick',
  severity = 'warn',
  passed = true,
  version = 1,
}: Result): Promise<void> {
  await pool.query(
    `insert into expectation_result (version_id, expectation, severity, what, reference, at, passed, allowed, said)
     values ($1, 'unique', $2, $3, $4::text, $4::timestamptz, $5, 0, '')`,
    [version, severity, what, ago(at), passed],
  );
}
const results = (): Promise<unknown> =>
  left('expectation_result', `concat_ws(' ', version_id, severity, what, date '2026-06-01' - at::date)`);

test('what came of expectations for 90 days; what came last, what blocked and what came of backfills stay', async () => {
  await addResult({ at: 300, what: 'backfill' });
  await addResult({ at: 200, passed: false });
  await addResult({ at: 199, severity: 'block', passed: false });
  await addResult({ at: 198, severity: 'block' });
  await addResult({ at: 197, severity: 'block' });
  await addResult({ at: 196, what: 'stream' });
  await addResult({ at: 90 });
  await addResult({ at: 1 });
  await addResult({ at: 200, version: 2 });
  await addResult({ at: 199, version: 2 });
  expect(await forget(pool, now)).toBe(4);
  expect(await results()).toEqual([
    '1 block tick 197',
    '1 block tick 199',
    '1 warn backfill 300',
    '1 warn tick 1',
    '1 warn tick 90',
    '2 warn tick 199',
  ]);
  expect(await forget(pool, now)).toBe(0);
});

async function addStatistics(at: number, { what = 'tick', version = 1 } = {}): Promise<void> {
  await pool.query(
    `insert into feature_statistics (version_id, feature, what, reference, at, count, nulls, sketch)
     select $1, feature, $2, case $2 when 'tick' then $3::text else '7' end, $3::timestamptz, 0, 0, '' from unnest(array['a', 'b']) as feature`,
    [version, what, ago(at)],
  );
}
const statistics = (): Promise<unknown> =>
  left('feature_statistics', `concat_ws(' ', version_id, feature, what, date '2026-06-01' - at::date)`);

test('statistics of ticks for 90 days; those of the last published tick, of what came after it and of a backfill stay', async () => {
  const publish = (version: number, days: number): Promise<unknown> =>
    pool.query('insert into view_progress (version_id, last_tick_ms) values ($1, $2)', [
      version,
      now - days * DAY,
    ]);
  await addStatistics(300, { what: 'backfill' });
  for (const at of [200, 199, 198, 90, 1]) await addStatistics(at);
  await publish(1, 1);
  for (const at of [200, 199, 198]) await addStatistics(at, { version: 2 });
  await publish(2, 199);
  await pool.query(`delete from feature_statistics where version_id = 2 and feature = 'b'`);
  expect(await forget(pool, now)).toBe(7);
  expect(await statistics()).toEqual([
    ...['a', 'b'].flatMap((feature) => [`1 ${feature} backfill 300`, `1 ${feature} tick 1`, `1 ${feature} tick 90`]), // biome-ignore format: short
    '2 a tick 198',
    '2 a tick 199',
  ]);
  expect(await forget(pool, now)).toBe(0);
});

test('more than a batch goes in several calls, also beside another', async () => {
  await pool.query(
    `insert into read_count (model, service, version_id, minute, reads)
     select '', '', 1, $1::timestamptz + n * interval '1 minute', 1 from generate_series(1, 25000) as n`,
    [ago(400)],
  );
  const forgotten = [await forget(pool, now), ...(await Promise.all([forget(pool, now), forget(pool, now)]))];
  expect(forgotten[0]).toBe(10_000);
  expect(forgotten.reduce((sum, each) => sum + each, 0)).toBe(25_000);
});

test('how many rows ticks had for 90 days; the last stays', async () => {
  const ticks = [300, 91, 90, 1].map((days) => now - days * DAY);
  await pool.query(
    `insert into tick_rows (version_id, tick_ms, cadence_ms, rows)
     select 1, tick, 1, 5 from unnest($1::bigint[]) as tick union all select 2, $2, 1, 5`,
    [ticks, ticks[0]],
  );
  expect(await forget(pool, now)).toBe(2);
  expect(await left('tick_rows', `version_id || ' ' || tick_ms`)).toEqual([
    `1 ${ticks[2]}`,
    `1 ${ticks[3]}`,
    `2 ${ticks[0]}`,
  ]);
});
