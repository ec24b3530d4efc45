/** Entity dataframes as people make them: what is taken, and what is refused with row and column, before anything is written. */
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import {
  Dictionary,
  Field,
  Float64,
  Int32,
  Int64,
  LargeUtf8,
  RecordBatch,
  Schema,
  Table,
  TimestampMillisecond,
  TimestampNanosecond,
  tableFromIPC,
  tableToIPC,
  Utf8,
  type Vector,
  vectorFromArray,
} from 'apache-arrow';
import { beforeAll, describe, expect, test } from 'vitest';
import { featureReader } from '../../activities/arrow.js';
import { formatTimestamp, HOUR } from '../../core/time.js';
import type { TrainingSetInput } from '../../workflows/training-set.js';
import { applyDefinitions, putFile } from './environment.js';
import { createTrainingEnvironment, startTrainingSet, trainingWorld } from './training-world.js';
import { archive, makeEvents } from './world.js';

const env = await createTrainingEnvironment();
const now = Date.now();
const at = formatTimestamp(now - HOUR);
const events = makeEvents(50, { start: now - 24 * HOUR, end: now - 1000, seed: 1 });

beforeAll(async () => {
  await applyDefinitions(env, trainingWorld(env.config.environment));
  await archive(env, events);
  await env.startWorkers();
});

const USER = ['user_now:visits_30min'];
const VISIT = ['visit_daily:buy_share'];

async function refusal(input: Partial<TrainingSetInput> & { csv?: string }) {
  const before = readdirSync(env.config.filesDir).length;
  const handle = await startTrainingSet(env, { features: USER, mode: 'event-time', ...input });
  const uploaded = input.csv === undefined ? 0 : 1;
  const failure = await handle.result().then(
    () => null,
    (error: unknown) =>
      (error as { cause: { cause: { type: string; message: string; details: unknown[] } } }).cause.cause,
  );
  // nothing was written: no file but the upload, no manifest
  expect(readdirSync(env.config.filesDir).length).toBeLessThanOrEqual(before + uploaded);
  expect(
    (await env.deps.pool.query("select 1 from training_set where manifest->>'file' is null")).rowCount,
  ).toBe(0);
  return { type: failure?.type, message: failure?.message, ...(failure?.details[0] as object) };
}

describe('CSV', () => {
  test.each([
    {
      why: 'no key column',
      csv: `event_timestamp\n${at}\n`,
      code: 'FS_DATA_INVALID',
      says: 'no column "user_id" (a join key)',
    },
    { why: 'no timestamp', csv: 'user_id\nu1\n', code: 'FS_DATA_INVALID', says: '"event_timestamp"' },
    { why: 'nothing at all', csv: '\n', code: 'FS_DATA_INVALID', says: 'no column' },
    {
      why: 'a null key',
      csv: `user_id,event_timestamp\nu1,${at}\n,${at}\n`,
      code: 'FS_KEY_INVALID',
      row: 2,
      column: 'user_id',
    },
    {
      why: 'a zone-less timestamp',
      csv: 'user_id,event_timestamp\nu1,2026-01-01T00:00:00\n',
      code: 'FS_TIMESTAMP_INVALID',
      row: 1,
      says: 'no time zone',
    },
    {
      why: 'a null timestamp',
      csv: `user_id,event_timestamp\nu1,${at}\nu1,\n`,
      code: 'FS_TIMESTAMP_INVALID',
      row: 2,
      says: 'is null',
    },
    {
      why: 'epoch numbers',
      csv: 'user_id,event_timestamp\nu1,1767225600\n',
      code: 'FS_TIMESTAMP_INVALID',
      row: 1,
    },
    {
      why: 'the future',
      csv: `user_id,event_timestamp\nu1,${at}\nu1,${formatTimestamp(now + HOUR)}\n`,
      code: 'FS_TIMESTAMP_INVALID',
      row: 2,
      says: 'after now',
    },
    {
      why: 'finer than a millisecond',
      csv: 'user_id,event_timestamp\nu1,2026-01-01T00:00:00.000001Z\n',
      code: 'FS_TIMESTAMP_INVALID',
      row: 1,
      says: 'finer',
    },
    {
      why: 'a column twice',
      csv: `user_id,user_id,event_timestamp\nu1,u1,${at}\n`,
      code: 'FS_DATA_INVALID',
      says: 'twice',
    },
    {
      why: 'a column without a name',
      csv: `user_id,,event_timestamp\nu1,1,${at}\n`,
      code: 'FS_DATA_INVALID',
      says: 'has no name',
    },
    {
      why: 'a column named like a feature',
      csv: `user_id,event_timestamp,visits_30min\nu1,${at},1\n`,
      code: 'FS_DATA_INVALID',
      says: 'named like a feature',
    },
    {
      why: 'a ragged row',
      csv: `user_id,event_timestamp\nu1,${at},1\n`,
      code: 'FS_DATA_INVALID',
      row: 1,
      says: '3 cells',
    },
    {
      why: 'an open quote',
      csv: `user_id,event_timestamp\n"u1,${at}\n`,
      code: 'FS_DATA_INVALID',
      says: 'never closed',
    },
  ])('$why', async ({ csv, code, says = '', row, column }) => {
    const refused = await refusal({ csv });
    expect(refused).toMatchObject({ type: code, ...(row && { row }), ...(column && { column }) });
    expect(refused.message).toContain(says);
  });

  test.each([
    { csv: `user_id,store,event_timestamp\nu1,1.5,${at}\n`, says: 'not int64' },
    { csv: `user_id,store,event_timestamp\nu1,9223372036854775808,${at}\n`, says: 'not int64' },
    { csv: `user_id,store,event_timestamp\nu1,NaN,${at}\n`, says: 'not int64' },
  ])('an int64 key: $says, and its text stays out of the error', async ({ csv, says }) => {
    const refused = await refusal({ csv, features: VISIT });
    expect(refused).toMatchObject({ type: 'FS_DATA_INVALID', row: 1, column: 'store' });
    expect(refused.message).toContain(says);
    expect(JSON.stringify(refused)).not.toContain(csv.split('\n')[1]!.split(',')[1]!);
  });

  test('columns of their own kinds', async () => {
    const header = 'user_id,event_timestamp,flag,whole,big,share,zip,mixed,empty,quoted';
    const rows = [
      `u1,${at},true,1,9007199254740993,0.5,01234,1,,"a ""b"", c"`,
      `u2,2026-01-01T02:00:00+02:00,,-7,,-1e3,90210,x,,"line\nend"`,
    ];
    const { file } = await (
      await startTrainingSet(env, {
        csv: `\ufeff${header}\r\n${rows.join('\r\n')}\r\n`,
        features: USER,
        mode: 'event-time',
        output: 'arrow',
      })
    ).result();
    const table = tableFromIPC(readFileSync(join(env.config.filesDir, file)));
    const types = Object.fromEntries(table.schema.fields.map(({ name, type }) => [name, `${type.typeId}`]));
    expect(types.zip).toBe(types.user_id);
    const cell = (name: string, type: Parameters<typeof featureReader>[1]) =>
      [0, 1].map(featureReader(table.batches[0]!.getChild(name)!, type));
    expect(cell('flag', 'bool')).toEqual([true, null]);
    expect(cell('whole', 'int64')).toEqual([1, -7]);
    expect(cell('big', 'int64')).toEqual([9007199254740993n, null]);
    expect(cell('share', 'float64')).toEqual([0.5, -1000]);
    expect(cell('zip', 'string')).toEqual(['01234', '90210']);
    expect(cell('mixed', 'string')).toEqual(['1', 'x']);
    expect(cell('empty', 'string')).toEqual([null, null]);
    expect(cell('quoted', 'string')).toEqual(['a "b", c', 'line\nend']);
    expect(cell('event_timestamp', 'timestamp')).toEqual([now - HOUR, Date.parse('2026-01-01T00:00:00Z')]);
  });
});

describe('Arrow', () => {
  const users = (values: Array<string | null> = ['u1', 'u2']): Vector => vectorFromArray(values, new Utf8());
  const times = (
    ms: Array<number | null> = [now - HOUR, now - 2 * HOUR],
    zone: string | null = 'UTC',
  ): Vector => vectorFromArray(ms, new TimestampMillisecond(zone));
  const ns = (values: bigint[]): Vector => {
    const vector = vectorFromArray(
      values.map(() => 0),
      new TimestampNanosecond('Europe/Berlin'),
    );
    (vector.data[0]!.values as BigInt64Array).set(values);
    return vector;
  };
  const ipc = (columns: Record<string, Vector>, format: 'file' | 'stream' = 'file'): string =>
    putFile(env, tableToIPC(new Table(columns), format));
  const MS = 1_000_000n;

  test.each([
    { why: 'a plain one', columns: () => ({ user_id: users(), event_timestamp: times() }) },
    {
      why: 'a stream',
      columns: () => ({ user_id: users(), event_timestamp: times() }),
      format: 'stream' as const,
    },
    {
      why: 'nanoseconds of another zone, whole milliseconds',
      columns: () => ({
        user_id: users(),
        event_timestamp: ns([BigInt(now - HOUR) * MS, BigInt(now - 2 * HOUR) * MS]),
      }),
    },
    {
      why: 'large strings',
      columns: () => ({ user_id: vectorFromArray(['u1', 'u2'], new LargeUtf8()), event_timestamp: times() }),
    },
    {
      why: 'dictionaries, in other columns too',
      columns: () => ({
        user_id: vectorFromArray(['u1', 'u2'], new Dictionary(new Utf8(), new Int32())),
        event_timestamp: times(),
        colour: vectorFromArray(['red', null], new Dictionary(new Utf8(), new Int32())),
        weight: vectorFromArray([0.5, null], new Float64()),
      }),
    },
  ])('$why is taken, for both outputs', async ({ columns, format }) => {
    for (const output of ['arrow', 'parquet'] as const) {
      const result = await (
        await startTrainingSet(env, {
          dataframe: ipc(columns(), format),
          dataframeFormat: 'arrow',
          features: USER,
          mode: 'event-time',
          output,
        })
      ).result();
      expect(result.rows).toBe(2);
      if (output === 'parquet') continue;
      const table = tableFromIPC(readFileSync(join(env.config.filesDir, result.file)));
      const read = (name: string, type: 'string' | 'timestamp') =>
        [0, 1].map(featureReader(table.batches[0]!.getChild(name)!, type));
      expect(read('user_id', 'string')).toEqual(['u1', 'u2']);
      expect(read('event_timestamp', 'timestamp')).toEqual([now - HOUR, now - 2 * HOUR]);
      if ('colour' in columns()) expect(read('colour', 'string')).toEqual(['red', null]);
    }
  });

  test.each([
    {
      why: 'a null key',
      columns: () => ({ user_id: users(['u1', null]), event_timestamp: times() }),
      code: 'FS_KEY_INVALID',
      row: 2,
    },
    {
      why: 'a null timestamp',
      columns: () => ({ user_id: users(), event_timestamp: times([now - HOUR, null]) }),
      code: 'FS_TIMESTAMP_INVALID',
      row: 2,
    },
    {
      why: 'a timestamp without zone',
      columns: () => ({ user_id: users(), event_timestamp: times([1, 2], null) }),
      code: 'FS_TIMESTAMP_INVALID',
      says: 'without a time zone',
    },
    {
      why: 'whole numbers as timestamp',
      columns: () => ({ user_id: users(), event_timestamp: vectorFromArray([1n, 2n], new Int64()) }),
      code: 'FS_DATA_INVALID',
      says: 'not timestamp',
    },
    {
      why: 'seconds read as milliseconds',
      columns: () => ({ user_id: users(), event_timestamp: times([Math.floor(now / 1000), 0]) }),
      code: 'FS_TIMESTAMP_INVALID',
      row: 1,
      says: 'seconds',
    },
    {
      why: 'lost nanoseconds',
      columns: () => ({
        user_id: users(),
        event_timestamp: ns([BigInt(now - HOUR) * MS, BigInt(now - HOUR) * MS + 1n]),
      }),
      code: 'FS_TIMESTAMP_INVALID',
      row: 2,
      says: 'finer',
    },
    {
      why: 'the future',
      columns: () => ({ user_id: users(), event_timestamp: times([now + 24 * HOUR, 1]) }),
      code: 'FS_TIMESTAMP_INVALID',
      row: 1,
    },
    {
      why: 'a number as a text key',
      columns: () => ({ user_id: vectorFromArray([1n, 2n], new Int64()), event_timestamp: times() }),
      code: 'FS_DATA_INVALID',
      says: 'not string',
    },
    {
      why: 'a column named like a feature',
      columns: () => ({ user_id: users(), event_timestamp: times(), visits_30min: users() }),
      code: 'FS_DATA_INVALID',
      says: 'named like',
    },
    {
      why: 'numbers in a dictionary',
      columns: () => ({
        user_id: users(),
        event_timestamp: times(),
        d: vectorFromArray([1, 2], new Dictionary(new Int32(), new Int32())),
      }),
      code: 'FS_DATA_INVALID',
      says: 'not carried over',
    },
  ])('$why is refused', async ({ columns, code, row, says = '' }) => {
    const refused = await refusal({
      dataframe: ipc(columns() as Record<string, Vector>),
      dataframeFormat: 'arrow',
    });
    expect(refused).toMatchObject({ type: code, ...(row && { row }) });
    expect(refused.message).toContain(says);
  });

  test('a column twice', async () => {
    const data = users().data[0]!;
    const fields = ['user_id', 'user_id'].map((name) => new Field(name, new Utf8(), true));
    const table = new Table([
      new RecordBatch(new Schema(fields), new Table({ a: users(), b: users() }).batches[0]!.data),
    ]);
    expect(data.length).toBe(2);
    const refused = await refusal({
      dataframe: putFile(env, tableToIPC(table, 'file')),
      dataframeFormat: 'arrow',
    });
    expect(refused.message).toContain('twice');
  });

  test.each([
    { why: 'cut off', bytes: (all: Uint8Array) => all.subarray(0, all.length - 200) },
    { why: 'cut in the middle', bytes: (all: Uint8Array) => all.subarray(0, Math.floor(all.length / 2)) },
    { why: 'of another kind', bytes: () => Buffer.from('user_id,event_timestamp\n') },
    { why: 'empty', bytes: () => Buffer.alloc(0) },
  ])('a file that is $why', async ({ bytes }) => {
    const values = Array.from({ length: 500 }, (_, i) => `u${i}`);
    const columns = { user_id: users(values), event_timestamp: times(values.map(() => now - HOUR)) };
    for (const format of ['file', 'stream'] as const) {
      const dataframe = putFile(env, bytes(tableToIPC(new Table(columns), format)));
      expect(await refusal({ dataframe, dataframeFormat: 'arrow' })).toMatchObject({
        type: 'FS_DATA_INVALID',
      });
    }
  });
});

describe('requests', () => {
  const csv = `user_id,event_timestamp\nu1,${at}\n`;
  test.each([
    {
      why: 'an unknown feature',
      input: { features: ['user_now:visits_30mn'] },
      code: 'FS_NOT_FOUND',
      says: 'visits_30min',
    },
    {
      why: 'an unknown view',
      input: { features: ['user_noow:visits_30min'] },
      code: 'FS_NOT_FOUND',
      says: 'user_now',
    },
    {
      why: 'an unknown service',
      input: { features: undefined, service: 'everythin' },
      code: 'FS_NOT_FOUND',
      says: 'everything',
    },
    {
      why: 'a feature twice',
      input: { features: [...USER, ...USER] },
      code: 'FS_REQUEST_INVALID',
      says: 'would both be column',
    },
    { why: 'nothing', input: { features: [] }, code: 'FS_REQUEST_INVALID', says: 'no feature' },
    {
      why: 'neither service nor features',
      input: { features: undefined },
      code: 'FS_REQUEST_INVALID',
      says: 'a service or',
    },
    { why: 'an id that is a path', input: { id: '../x' }, code: 'FS_REQUEST_INVALID', says: 'cannot be' },
    {
      why: 'a file that is not there',
      input: { dataframe: '0'.repeat(64) },
      code: 'FS_NOT_FOUND',
      says: 'no uploaded file',
    },
    {
      why: 'a batch view without ticks, as known then',
      input: { features: ['user_hourly:visits_1h'], mode: 'known-then' as const },
      code: 'FS_CONFLICT',
      says: 'no published tick',
    },
    {
      why: 'a sql view without rows',
      input: { features: ['user_rank:rank_share'] },
      code: 'FS_CONFLICT',
      says: 'no published tick',
    },
  ])('$why', async ({ input, code, says }) => {
    const refused = await refusal({ csv, ...input } as Partial<TrainingSetInput> & { csv: string });
    expect(refused.type).toBe(code);
    expect(JSON.stringify(refused)).toContain(says);
  });

  test('a batch view without ticks is answered from its events, as of event time', async () => {
    const handle = await startTrainingSet(env, {
      csv,
      features: ['user_hourly:visits_1h'],
      mode: 'event-time',
    });
    expect((await handle.result()).rows).toBe(1);
  });
});
