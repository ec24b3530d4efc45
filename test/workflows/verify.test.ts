import { randomUUID } from 'node:crypto';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { WorkflowFailedError } from '@temporalio/client';
import { tableFromIPC, tableToIPC } from 'apache-arrow';
import { beforeAll, describe, expect, test } from 'vitest';
import type { Difference } from '../../activities/findings.js';
import { ByteReader } from '../../core/codec/bytes.js';
import { encodeKey, onlineKey } from '../../core/codec/key.js';
import { compileView } from '../../core/compile.js';
import { decodeHeader, encodeRecord, MIN_STEPS, recordSteps } from '../../core/record.js';
import { createState, fold } from '../../core/state.js';
import { DAY, floorTo, MINUTE } from '../../core/time.js';
import { resolveView } from '../../registry/resolve.js';
import type { VerifyInput } from '../../workflows/verify.js';
import { verify } from '../../workflows/verify.js';
import { applyDefinitions } from './environment.js';
import {
  createTrainingEnvironment,
  fillRanks,
  makeLabels,
  runBackfill,
  startTrainingSet,
  toCsv,
  trainingWorld,
} from './training-world.js';
import { archive, entitiesOf, makeEvents, userHourly, userNow, versionOf, visits } from './world.js';

const env = await createTrainingEnvironment();
const now = Date.now();
const start = floorTo(now, DAY) - 5 * DAY;
const end = now - 1000;
const events = makeEvents(2_000, { start, end, seed: 21 });
const definitions = trainingWorld(env.config.environment);
const SETTLE = 15 * MINUTE; // of user_hourly
const user = definitions.entities[0]!;

beforeAll(async () => {
  await applyDefinitions(env, definitions);
  await archive(env, events);
  await fillRanks(env, { start: end - 2 * DAY, end, seed: 3 });
  await env.startWorkers();
  await Promise.all(['user_hourly', 'visit_daily', 'user_now'].map((view) => runBackfill(env, view)));
  await runBackfill(env, 'user_rank', end - 2 * DAY);
  for (const [id, mode, output] of [
    ['ts-known', 'known-then', 'parquet'],
    ['ts-event', 'event-time', 'arrow'],
  ] as const) {
    const csv = toCsv(makeLabels(events, 200, 13, end));
    await (await startTrainingSet(env, { id, csv, service: 'everything', mode, output })).result();
  }
});

const startVerify = (input: Partial<VerifyInput>) => {
  const id = input.id ?? randomUUID();
  return env.client.workflow.execute(verify, {
    workflowId: `verify/${id}`,
    taskQueue: `${env.config.environment}-control`,
    args: [{ entities: 40, ...input, id }],
  });
};

/** Runs one that must fail; what it kept, and what Temporal was told. */
async function differences(input: Partial<VerifyInput>): Promise<{ found: Difference[]; told: string }> {
  const id = randomUUID();
  const failure = await startVerify({ id, ...input }).then(
    () => null,
    (error: unknown) => error as WorkflowFailedError,
  );
  expect(failure?.cause).toMatchObject({ type: 'FS_PARITY', nonRetryable: true });
  const { rows } = await env.deps.pool.query<{ different: number; result: { differences: Difference[] } }>(
    'select different, result from verification where id = $1',
    [id],
  );
  expect(rows[0]!.different).toBeGreaterThan(0);
  return { found: rows[0]!.result.differences, told: JSON.stringify(failure!.cause) };
}

test('nothing differs: every view, every path, both files', async () => {
  const result = await startVerify({ trainingSets: ['ts-known', 'ts-event'] });
  expect(result.different).toBe(0);
  expect(Object.keys(result.byView).sort()).toEqual(
    [
      'training-set ts-event',
      'training-set ts-known',
      'user_hourly',
      'user_now',
      'user_rank',
      'visit_daily',
    ].sort(),
  );
  for (const view of ['user_hourly', 'user_now', 'user_rank', 'visit_daily'])
    for (const path of ['online', 'rows', 'training'] as const) {
      const counts = result.byView[view]![path]!;
      expect({ view, path, enough: counts.checked >= 3 * 12 }).toEqual({ view, path, enough: true });
    }
  expect(result.byView['training-set ts-event']!.file!.checked).toBeGreaterThan(120);
});

test('the same seed compares the same, another one other entities', async () => {
  const count = async (seed: number) =>
    (await startVerify({ seed, entities: 10, views: ['user_hourly'] })).checked;
  expect(await count(5)).toBe(await count(5));
});

async function busyEntity() {
  const all = await entitiesOf(env, userNow);
  const one = all.find(({ key }) => Buffer.from(key).equals(Buffer.from(encodeKey(user, ['u1']))))!;
  return one;
}

describe('a record written by hand', () => {
  test.each([
    { view: userNow, why: 'streaming' },
    { view: userHourly, why: 'batch' },
  ])('$why: without one event is found, and the event is named', async ({ view }) => {
    const { key, events } = await busyEntity();
    const version = await versionOf(env, view.name);
    const redisKey = onlineKey(env.config.environment, 'user', key);
    const field = String(version.id);
    const right = (await env.deps.redis.hgetBuffer(redisKey, field))!;
    const compiled = compileView(view, visits);
    const state = createState(compiled);
    const tick =
      view === userHourly
        ? (
            await env.deps.pool.query<{ t: number }>(
              `select last_tick_ms as t from view_progress where version_id = ${version.id}`,
            )
          ).rows[0]!.t
        : null;
    const seen =
      tick === null
        ? events
        : events.filter(({ timestamp, arrivedAt }) => timestamp <= tick && arrivedAt <= tick + SETTLE);
    const lost = seen.findLast(({ values }) =>
      values.some((value) => typeof value === 'number' && value % 1 !== 0),
    )!;
    for (const event of seen) if (event !== lost) fold(compiled, state, event);
    state.sequence = Math.max(...seen.map(({ sequence }) => sequence));
    if (tick !== null) state.asOf = Math.max(state.asOf, tick);
    await env.deps.redis.hset(
      redisKey,
      field,
      Buffer.from(encodeRecord(compiled, state, tick === null ? {} : { tick: { tick, committedAt: tick } })),
    );
    try {
      const { found, told } = await differences({ views: [view.name] });
      const [first] = found;
      expect(first).toMatchObject({
        path: 'online',
        view: view.name,
        version: 1,
        entity: { user_id: 'u1' },
        event: { id: lost.id, found: 'leaves it out' },
      });
      expect(found.every(({ entity }) => entity.user_id === 'u1')).toBe(true);
      expect(told).not.toContain('u1'); // no entity travels through Temporal
    } finally {
      await env.deps.redis.hset(redisKey, field, right);
    }
  });

  test('missing, cut off, or of somebody without events', async () => {
    const { key } = await busyEntity();
    const version = await versionOf(env, 'user_now');
    const redisKey = onlineKey(env.config.environment, 'user', key);
    const field = String(version.id);
    const right = (await env.deps.redis.hgetBuffer(redisKey, field))!;
    await env.deps.redis.hdel(redisKey, field);
    expect((await differences({ views: ['user_now'] })).found[0]).toMatchObject({ found: 'no record' });
    await env.deps.redis.hset(redisKey, field, right.subarray(0, 25));
    expect((await differences({ views: ['user_now'] })).found[0]).toMatchObject({
      found: 'FS_RECORD_CORRUPT',
    });
    await env.deps.redis.hset(redisKey, field, right);
  });
});

test('a record that says it is cut, and is not, is found', async () => {
  const { id } = await versionOf(env, 'user_now');
  const compiled = compileView(userNow, visits);
  let forged = 0;
  for (const { key } of await entitiesOf(env, userNow)) {
    const redisKey = onlineKey(env.config.environment, 'user', key);
    const right = (await env.deps.redis.hgetBuffer(redisKey, String(id)))!;
    if (recordSteps(compiled, right).length >= MIN_STEPS || decodeHeader(right).refreshAt !== null) continue;
    const reader = new ByteReader(right);
    reader.at = 18;
    reader.varint();
    reader.signed();
    for (let i = 0; i < 4; i++) reader.varint();
    const bytes = Buffer.from(right);
    bytes[reader.at] = 1; // it would answer nothing from the millisecond after its as-of on
    expect(decodeHeader(bytes).refreshAt).toBe(decodeHeader(right).asOf + 1);
    await env.deps.redis.hset(redisKey, String(id), bytes);
    try {
      const { found } = await differences({ views: ['user_now'] });
      expect(found[0]).toMatchObject({ path: 'online', found: 'HORIZON_PASSED', expected: 'PRESENT' });
    } finally {
      await env.deps.redis.hset(redisKey, String(id), right);
    }
    forged += 1;
    break;
  }
  expect(forged).toBe(1);
});

test('records of a sql view that are ahead of the ledger are compared with the rows of their tick', async () => {
  const { pool } = env.deps;
  const { id } = await resolveView(pool, 'user_rank');
  const all = await startVerify({ views: ['user_rank'] });
  const { rows } = await pool.query<{ last: number }>(`select max(tick_ms) as last from rows_${id}`);
  const [{ last }] = rows as [{ last: number }];
  const kept = await pool.query<{ row: object }>(
    'with gone as (delete from tick where version_id = $1 and tick_ms >= $2 returning *) select to_jsonb(gone) as row from gone',
    [id, last],
  );
  try {
    const ahead = await startVerify({ views: ['user_rank'] });
    expect(ahead.byView.user_rank!.online!.checked).toBeGreaterThan(
      all.byView.user_rank!.online!.checked / 2,
    );
    const changed = `update rows_${id} set rank_share = rank_share`;
    await pool.query(`${changed} + 2 where tick_ms = $1`, [last]);
    expect((await differences({ views: ['user_rank'] })).found[0]).toMatchObject({ path: 'online' });
    await pool.query(`${changed} - 2 where tick_ms = $1`, [last]);
  } finally {
    await pool.query(
      'insert into tick select (jsonb_populate_record(null::tick, row)).* from unnest($1::jsonb[]) as row',
      [kept.rows.map(({ row }) => JSON.stringify(row))],
    );
  }
});

test('a row changed by hand is found', async () => {
  const version = await versionOf(env, 'user_hourly');
  const changed = `update rows_${version.id} set visits_1h = visits_1h`;
  await env.deps.pool.query(`${changed} + 1 where user_id = 'u1'`);
  try {
    const { found } = await differences({ views: ['user_hourly'] });
    expect(found[0]).toMatchObject({
      path: 'rows',
      view: 'user_hourly',
      feature: 'visits_1h',
      entity: { user_id: 'u1' },
    });
  } finally {
    await env.deps.pool.query(`${changed} - 1 where user_id = 'u1'`);
  }
});

test('a row of a sql view changed by hand is found against the query', async () => {
  const version = (
    await env.deps.pool.query<{ id: number }>(`select id from view_version where view = 'user_rank'`)
  ).rows[0]!;
  const changed = `update rows_${version.id} set rank_share = rank_share`;
  await env.deps.pool.query(`${changed} + 2 where user_id = 'u2'`);
  try {
    const { found } = await differences({ views: ['user_rank'], moments: 8 });
    expect(found.map(({ path }) => path)).toContain('rows');
    expect(found.map(({ path }) => path)).toContain('online');
    expect(found.every(({ entity }) => entity.user_id === 'u2')).toBe(true);
  } finally {
    await env.deps.pool.query(`${changed} - 2 where user_id = 'u2'`);
  }
});

test('a training file changed by hand is found: its checksum, and the very row', async () => {
  const path = join(env.config.filesDir, 'training-set-ts-event.arrow');
  const right = readFileSync(path);
  const table = tableFromIPC(right);
  const column = table.schema.fields.findIndex(({ name }) => name === 'visits_1h');
  const values = table.batches[0]!.getChildAt(column)!.data[0]!.values as BigInt64Array;
  values[17] = values[17]! + 5n;
  writeFileSync(path, tableToIPC(table, 'file'));
  try {
    const { found } = await differences({ entities: 80, views: ['visit_daily'], trainingSets: ['ts-event'] });
    expect(found.map(({ where }) => where)).toEqual([
      expect.stringContaining('checksum') as string,
      expect.stringContaining('row 18; event-time') as string,
    ]);
    expect(found[1]).toMatchObject({ path: 'file', view: 'user_hourly', feature: 'visits_1h' });
  } finally {
    writeFileSync(path, right);
  }
});

test.each([
  { input: { views: ['user_horly'] }, code: 'FS_NOT_FOUND' },
  { input: { views: ['basket'] }, code: 'FS_REQUEST_INVALID' },
  { input: { trainingSets: ['never'] }, code: 'FS_NOT_FOUND' },
])('$input is refused: $code', async ({ input, code }) => {
  await expect(startVerify(input)).rejects.toMatchObject({ cause: { cause: { type: code } } });
});
