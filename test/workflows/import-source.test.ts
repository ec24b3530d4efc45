import { randomBytes } from 'node:crypto';
import { WorkflowFailedError, type WorkflowHandleWithFirstExecutionRunId } from '@temporalio/client';
import {
  Bool,
  Dictionary,
  Field,
  FixedSizeList,
  Float64,
  Int32,
  Int64,
  LargeUtf8,
  List,
  Table,
  TimestampMicrosecond,
  TimestampMillisecond,
  tableToIPC,
  Utf8,
  vectorFromArray,
} from 'apache-arrow';
import { describe, expect, test } from 'vitest';
import type { ImportResult } from '../../activities/import.js';
import type { Source } from '../../core/definition.js';
import { FeatureStoreError } from '../../core/error.js';
import { DAY, SECOND } from '../../core/time.js';
import { type ImportSourceInput, importSource } from '../../workflows/import-source.js';
import { pauseUpdate, progressQuery, resumeUpdate } from '../../workflows/progress.js';
import { definitionsOf, orders } from './definitions.js';
import { applyDefinitions, createEnvironment, putFile } from './environment.js';
import { losingAnswers, repeating } from './faults.js';

const env = await createEnvironment({ env: { SHOP_URL: process.env.ALMANAC_POSTGRES_URL! } });
const { pool } = env.deps;
const shop = `shop_${randomBytes(4).toString('hex')}`;
const tableSource: Source = {
  ...orders,
  name: 'table_orders',
  input: { type: 'table', connection: 'env:SHOP_URL', table: `${env.config.environment}.${shop}` },
};
/** Whole numbers of all 64 bits, and lists. */
const wide: Source = {
  ...orders,
  name: 'wide_file',
  columns: {
    order_id: { type: 'string', nullable: false },
    user_id: { type: 'int64', nullable: true },
    taste: { type: 'list<float64>', nullable: true, length: 2 },
    refs: { type: 'list<int64>', nullable: true },
    marks: { type: 'list<string>', nullable: true },
    created_at: { type: 'timestamp', nullable: false },
  },
  arrival: null,
};
const sources: Source[] = [
  orders,
  wide,
  { ...wide, name: 'wide_columns', input: { type: 'file', format: 'arrow' } },
  {
    ...wide,
    name: 'wide_table',
    input: { type: 'table', connection: 'env:SHOP_URL', table: `${env.config.environment}.${shop}_wide` },
  },
  { ...orders, name: 'killed' },
  { ...orders, name: 'faulty' },
  { ...orders, name: 'lost' },
  { ...orders, name: 'overlapping' },
  { ...orders, name: 'read_already' },
  { ...orders, name: 'anonymous', id: null, arrival: null, arrivalDelayMs: SECOND },
  { ...orders, name: 'columnar', input: { type: 'file', format: 'arrow' } },
  tableSource,
  { ...tableSource, name: 'table_anonymous', id: null },
  {
    ...tableSource,
    name: 'table_aborted',
    id: null,
    input: { type: 'table', connection: 'env:SHOP_URL', table: `${env.config.environment}.${shop}_long` },
  },
];
await applyDefinitions(env, { ...definitionsOf(orders), sources });
let workers = await env.startWorkers();

const HEADER = 'order_id,user_id,amount,express,note,created_at,loaded_at\n';
let count = 0;

function start(
  input: ImportSourceInput,
): Promise<WorkflowHandleWithFirstExecutionRunId<typeof importSource>> {
  return env.client.workflow.start(importSource, {
    workflowId: `import/${input.source}/${++count}`,
    taskQueue: env.controlQueue,
    args: [input],
  });
}
const run = async (input: ImportSourceInput): Promise<ImportResult> => (await start(input)).result();

async function failureOf(
  input: ImportSourceInput,
): Promise<{ type: string; message: string; details: Record<string, unknown> }> {
  try {
    await run(input);
  } catch (error) {
    if (!(error instanceof WorkflowFailedError)) throw error;
    // of the workflow itself, or of the activity that it met
    const cause = (error.cause?.cause ?? error.cause) as Error & {
      type: string;
      details: [Record<string, unknown>];
    };
    return { type: cause.type, message: cause.message, details: cause.details[0] };
  }
  throw new Error('it did not fail');
}

async function archived(source: string): Promise<Array<Record<string, unknown>>> {
  const { rows } = await pool.query<Record<string, unknown>>(
    `select * from archive_${source} order by partition desc, "offset"`,
  );
  return rows;
}

function rowsCsv(from: number, to: number, more: (i: number) => string = () => ''): string {
  const start = Date.parse('2026-01-01T00:00:00Z');
  let text = '';
  for (let i = from; i < to; i++) {
    const at = new Date(start + i * SECOND).toISOString();
    text += `o${i},${i % 97},${i / 4},${i % 2 === 0},note ${i % 10},${at},${at}\n${more(i)}`;
  }
  return text;
}

describe('a file', () => {
  const content = `${HEADER}a,1,2.5,true,"hi, ""you""",2026-01-01T00:00:00Z,2026-01-01T00:00:01Z
b,2,,false,,2026-01-01T00:00:02Z,
a,1,2.5,true,"hi, ""you""",2026-01-01T00:00:00Z,2026-01-01T06:00:00Z
a,1,9.5,true,"hi, ""you""",2026-01-01T00:00:00Z,2026-01-01T06:00:00Z
c,x,1,true,,2026-01-01T00:00:03Z,
d,1,1,true
e,1,1,true,,2999-01-01T00:00:00Z,
a,1,2.5,true,"hi, ""you""",2026-01-01T00:00:00Z,2026-01-03T00:00:02Z
`;
  const counts = { archived: 3, duplicate: 1, conflict: 1, invalid: 2, withheld: 1 };

  test('each row has its outcome', async () => {
    const result = await run({ source: 'orders', file: putFile(env, content), name: 'first' });
    expect(result).toMatchObject({
      alreadyImported: false,
      counts,
      firstEvent: '2026-01-01T00:00:00.000Z',
      lastEvent: '2026-01-01T00:00:02.000Z',
      shiftMs: 0,
    });
    const at = Date.parse('2026-01-01T00:00:00Z');
    expect(await archived('orders')).toEqual([
      { partition: -result.importId, offset: 0, sequence: expect.any(Number), event_ms: at, arrived_ms: at + 1000, arrival_assumed: false, ordinal: 0, event_id: 'a', c_order_id: 'a', c_user_id: 1, c_amount: 2.5, c_express: true, c_note: 'hi, "you"', c_created_at: at, c_loaded_at: at + 1000 },
      { partition: -result.importId, offset: 1, sequence: expect.any(Number), event_ms: at + 2000, arrived_ms: at + 2000, arrival_assumed: true, ordinal: 0, event_id: 'b', c_order_id: 'b', c_user_id: 2, c_amount: null, c_express: false, c_note: null, c_created_at: at + 2000, c_loaded_at: null },
      expect.objectContaining({ offset: 7, event_id: 'a', arrived_ms: at + 2 * DAY + 2000 }),
    ]); // biome-ignore format: rows of a table
    const { rows } = await pool.query(
      'select "offset", outcome, reason, body from set_aside where source = $1 order by 1',
      ['orders'],
    );
    expect(rows).toEqual([
      { offset: 3, outcome: 'conflict', reason: 'id "a" is archived with another "amount"', body: expect.stringContaining('9.5') },
      { offset: 4, outcome: 'invalid', reason: 'column "user_id" is "x", not a whole number of 64 bits (-2^63 to 2^63 - 1)', body: expect.stringContaining('"x"') },
      { offset: 5, outcome: 'invalid', reason: 'has 4 cells; the header has 7', body: '["d","1","1","true"]' },
    ]); // biome-ignore format: rows of a table
  });

  test('the very same again changes nothing', async () => {
    const before = await archived('orders');
    const result = await run({ source: 'orders', file: putFile(env, content), name: 'again' });
    expect(result).toMatchObject({ alreadyImported: true, counts, firstEvent: '2026-01-01T00:00:00.000Z' });
    expect(result.fix).toMatch(/^1 rows after .* were withheld: .*--until/);
    expect(await archived('orders')).toEqual(before);
  });

  test('the same up to another moment: what is archived is a duplicate', async () => {
    const result = await run({
      source: 'orders',
      file: putFile(env, content),
      until: '2026-01-01T00:00:01Z',
    });
    expect(result.counts).toEqual({ archived: 0, duplicate: 1, conflict: 0, invalid: 2, withheld: 5 });
  });

  test('shifted by two weeks', async () => {
    const result = await run({ source: 'orders', file: putFile(env, content), shiftMs: 14 * DAY });
    expect(result).toMatchObject({ counts, firstEvent: '2026-01-15T00:00:00.000Z', shiftMs: 14 * DAY });
  });

  test('without ids: positions are ids; arrival is assumed', async () => {
    const text = `${HEADER}a,1,1,true,,2026-01-01T00:00:00Z,\na,1,1,true,,2026-01-01T00:00:00Z,\n`;
    const { importId, counts } = await run({ source: 'anonymous', file: putFile(env, text) });
    expect(counts.archived).toBe(2);
    const [first, second] = await archived('anonymous');
    expect(first).toMatchObject({
      partition: -importId,
      arrival_assumed: true,
      arrived_ms: Date.parse('2026-01-01T00:00:01Z'),
    });
    expect(String(first!.event_id) < String(second!.event_id)).toBe(true);
    expect(
      await failureOf({ source: 'anonymous', file: putFile(env, text), until: '2026-02-01T00:00:00Z' }),
    ).toMatchObject({ type: 'FS_CONFLICT' });
  });

  test('duplicates are found across chunks and imports', async () => {
    const twice = (i: number) => (i === 11_999 ? rowsCsv(0, 1_000) : '');
    const first = await run({
      source: 'overlapping',
      file: putFile(env, HEADER + rowsCsv(0, 12_000, twice)),
    });
    expect(first.counts).toMatchObject({ archived: 12_000, duplicate: 1_000 });
    const second = await run({ source: 'overlapping', file: putFile(env, HEADER + rowsCsv(6_000, 14_000)) });
    expect(second.counts).toMatchObject({ archived: 2_000, duplicate: 6_000 });
    const ids = (await archived('overlapping')).map((row) => row.event_id);
    expect(new Set(ids).size).toBe(14_000);
    expect(ids.length).toBe(14_000);
  });
});

describe('into a source that is read', () => {
  test('what comes arrives now; what was there stays a duplicate', async () => {
    const source = 'read_already';
    await run({ source, file: putFile(env, HEADER + rowsCsv(0, 10)) });
    await pool.query(
      `insert into view_version (view, version, hash, kind, definition, source, entity, state)
       select 'reader', 1, 'reader', 'aggregation', '{}', jsonb_build_object('name', $1::text), '{}', 'live'`,
      [source],
    );
    await pool.query(
      `insert into view_progress (version_id, last_tick_ms) select id, 1 from view_version where view = 'reader'`,
    );
    const before = Date.now() - 60_000; // the database's clock is another one
    const { counts } = await run({ source, file: putFile(env, HEADER + rowsCsv(5, 15)) });
    expect(counts).toMatchObject({ archived: 5, duplicate: 5 });
    for (const row of (await archived(source)).slice(10)) {
      expect(row.arrived_ms).toBeGreaterThan(before);
      expect(row.arrival_assumed).toBe(false);
    }
  });
});

describe('Arrow', () => {
  const at = Date.parse('2026-01-01T00:00:00Z');
  const columns = (n: number) => {
    const of = <T>(make: (i: number) => T): T[] => Array.from({ length: n }, (_, i) => make(i));
    return {
      order_id: vectorFromArray(
        of((i) => `o${i}`),
        new Dictionary(new Utf8(), new Int32()),
      ),
      user_id: vectorFromArray(
        of((i) => (i % 3 === 0 ? null : BigInt(i % 97))),
        new Int64(),
      ),
      amount: vectorFromArray(
        of((i) => i / 4),
        new Float64(),
      ),
      express: vectorFromArray(
        of((i) => i % 2 === 0),
        new Bool(),
      ),
      note: vectorFromArray(
        of((i) => (i === 1 ? null : `note ${i}`)),
        new LargeUtf8(),
      ),
      created_at: vectorFromArray(
        of((i) => at + i * SECOND),
        new TimestampMillisecond('UTC'),
      ),
      loaded_at: vectorFromArray(
        of((i) => at + i * SECOND),
        new TimestampMicrosecond('Europe/Berlin'),
      ),
    };
  };

  test.each(['file', 'stream'] as const)('an IPC %s', async (kind) => {
    const n = 12_000;
    const table = new Table(columns(n));
    const bytes = tableToIPC(table, kind);
    const { counts } = await run({
      source: 'columnar',
      file: putFile(env, bytes),
      shiftMs: kind === 'file' ? 0 : 2 * DAY,
    });
    expect(counts).toEqual({ archived: n, duplicate: 0, conflict: 0, invalid: 0, withheld: 0 });
    const rows = await archived('columnar');
    expect(rows.at(-n + 1)).toMatchObject({
      c_order_id: 'o1',
      c_user_id: 1,
      c_amount: 0.25,
      c_express: false,
      c_note: null,
    });
    expect(rows[2]).toMatchObject({ c_created_at: at + 2000, c_loaded_at: at + 2000, arrived_ms: at + 2000 });
  });

  test.each([
    { why: 'a missing column', change: { created_at: undefined }, column: 'created_at', says: 'is missing' },
    {
      why: 'another type',
      change: { amount: vectorFromArray(['1'], new Utf8()) },
      column: 'amount',
      says: 'the source declares float64',
    },
    {
      why: 'no zone',
      change: { created_at: vectorFromArray([at], new TimestampMillisecond()) },
      column: 'created_at',
      says: 'without a time zone',
    },
  ])('refused: $why', async ({ change, column, says }) => {
    const given = Object.fromEntries(
      Object.entries({ ...columns(1), ...change }).filter(([, vector]) => vector !== undefined),
    );
    const file = putFile(env, tableToIPC(new Table(given as never), 'file'));
    const failure = await failureOf({ source: 'columnar', file });
    expect(failure).toMatchObject({ type: 'FS_DATA_INVALID', details: { column, file } });
    expect(failure.message).toContain(says);
  });

  test('refused: no Arrow at all', async () => {
    const failure = await failureOf({ source: 'columnar', file: putFile(env, 'a,b\n1,2\n') });
    expect(failure).toMatchObject({ type: 'FS_DATA_INVALID' });
  });
});

describe('whole numbers of 64 bits and lists', () => {
  const GREATEST = 9223372036854775807n;
  const LEAST = -9223372036854775808n;
  const at = Date.parse('2026-01-01T00:00:00Z');
  const good = [
    { c_order_id: 'a', c_user_id: GREATEST, c_taste: [0.1, -2.5e-300], c_refs: [LEAST, 7], c_marks: ['é "q"', '', 'NULL', 'a,b'], c_created_at: at },
    { c_order_id: 'b', c_user_id: LEAST, c_taste: null, c_refs: [], c_marks: null, c_created_at: at },
    { c_order_id: 'c', c_user_id: 9007199254740993n, c_taste: [0, 1e16], c_refs: null, c_marks: [], c_created_at: at },
  ]; // biome-ignore format: rows of a table
  const reasons = [
    'column "taste" has 1 elements, not 2',
    expect.stringMatching(
      /^column "taste" has an element 2 that is "?NaN"?, not a finite number below 2\^960$/,
    ),
    'column "refs" holds a null, as element 1',
  ];
  async function expectArchived(source: string, input: ImportSourceInput): Promise<void> {
    expect((await run(input)).counts).toMatchObject({ archived: 3, invalid: 3 });
    const rows = (await archived(source)).sort((a, b) =>
      String(a.c_order_id) < String(b.c_order_id) ? -1 : 1,
    );
    expect(
      rows.map((row) => Object.fromEntries(Object.keys(good[0]!).map((name) => [name, row[name]]))),
    ).toEqual(good);
    const aside = await pool.query<{ reason: string }>(
      'select reason from set_aside where source = $1 order by "offset"',
      [source],
    );
    expect(aside.rows.map(({ reason }) => reason)).toEqual(expect.arrayContaining(reasons));
    expect(aside.rowCount).toBe(reasons.length);
  }

  test('from CSV, lists as JSON', async () => {
    const text = `order_id,user_id,taste,refs,marks,created_at
a,9223372036854775807,"[0.1, -2.5e-300]","[-9223372036854775808, 7]","[""é \\""q\\"""", """", ""NULL"", ""a,b""]",2026-01-01T00:00:00Z
b,-9223372036854775808,,[],,2026-01-01T00:00:00Z
c,9007199254740993,"[-0.0, 1e16]",,[],2026-01-01T00:00:00Z
d,1,[1],,,2026-01-01T00:00:00Z
e,1,"[1, ""NaN""]",,,2026-01-01T00:00:00Z
f,1,,[null],,2026-01-01T00:00:00Z
`;
    await expectArchived('wide_file', { source: 'wide_file', file: putFile(env, text) });
  });

  test('from Arrow, of fixed size or not', async () => {
    const item = <T extends Float64 | Int64 | Utf8>(type: T) => new Field('item', type, true);
    const table = (tastes: unknown[], fixed: boolean) =>
      new Table({
        order_id: vectorFromArray(['a', 'b', 'c', 'd', 'e', 'f'], new Utf8()),
        user_id: vectorFromArray([GREATEST, LEAST, 9007199254740993n, 1n, 1n, 1n], new Int64()),
        taste: vectorFromArray(
          tastes,
          fixed ? new FixedSizeList(2, item(new Float64())) : new List(item(new Float64())),
        ),
        refs: vectorFromArray([[LEAST, 7n], [], null, null, null, [null]], new List(item(new Int64()))),
        marks: vectorFromArray(
          [['é "q"', '', 'NULL', 'a,b'], null, [], null, null, null],
          new List(item(new Utf8())),
        ),
        created_at: vectorFromArray(Array(6).fill(at), new TimestampMillisecond('UTC')),
      });
    const tastes = [[0.1, -2.5e-300], null, [-0, 1e16], [1], [1, Number.NaN], null];
    const file = putFile(env, tableToIPC(table(tastes, false), 'file'));
    await expectArchived('wide_columns', { source: 'wide_columns', file });
    const same = putFile(env, tableToIPC(table(tastes.with(3, [1, 2]), true), 'file'));
    expect((await run({ source: 'wide_columns', file: same })).counts).toMatchObject({
      duplicate: 3,
      archived: 1,
      invalid: 2,
    });
  });

  test('from a table, as Postgres arrays', async () => {
    await pool.query(
      `create table ${shop}_wide (order_id text, user_id bigint, taste double precision[], refs bigint[], marks text[], created_at timestamptz)`,
    );
    await pool.query(
      `insert into ${shop}_wide values
         ('a', 9223372036854775807, '{0.1,-2.5e-300}', '{-9223372036854775808,7}', array['é "q"', '', 'NULL', 'a,b'], '2026-01-01Z'),
         ('b', -9223372036854775808, null, '{}', null, '2026-01-01Z'),
         ('c', 9007199254740993, '{-0,1e16}', null, '{}', '2026-01-01Z'),
         ('d', 1, '{1}', null, null, '2026-01-01Z'),
         ('e', 1, '{1,NaN}', null, null, '2026-01-01Z'),
         ('f', 1, null, array[null]::bigint[], null, '2026-01-01Z')`,
    );
    await expectArchived('wide_table', { source: 'wide_table' });
  });
});

describe('a table', () => {
  test('is read in one snapshot; grown, it is read again and old rows are duplicates', async () => {
    await pool.query(
      `create table ${shop} (order_id text primary key, user_id integer, amount numeric(10, 2), express boolean, note varchar(40), created_at timestamptz not null, loaded_at timestamptz, other json)`,
    );
    await pool.query(
      `insert into ${shop} select 'o' || i, i % 7, i / 4.0, i % 2 = 0, case i % 3 when 0 then null when 1 then '' else E'a,"b"\n' end,
              '2026-01-01 00:00:00+02'::timestamptz + i * interval '1 second', null, '{}' from generate_series(1, 1000) i`,
    );
    const first = await run({ source: 'table_orders' });
    expect(first).toMatchObject({
      counts: { archived: 1000, invalid: 0 },
      firstEvent: '2025-12-31T22:00:01.000Z',
    });
    const rows = await archived('table_orders');
    expect(rows.slice(0, 3).map((row) => row.c_note)).toEqual(['', 'a,"b"\n', null]);
    expect(rows[0]).toMatchObject({ c_user_id: 1, c_amount: 0.25, c_express: false });
    expect(await run({ source: 'table_orders' })).toMatchObject({ alreadyImported: true });
    await pool.query(
      `insert into ${shop} values ('new', 1, 1, true, 'x', '2026-01-02 00:00:00Z', null, null)`,
    );
    expect((await run({ source: 'table_orders' })).counts).toMatchObject({ archived: 1, duplicate: 1000 });
  });

  test('without an id it can be read once', async () => {
    await run({ source: 'table_anonymous' });
    expect(await failureOf({ source: 'table_anonymous' })).toMatchObject({ type: 'FS_CONFLICT' });
  });

  test('without an id, left in the middle: it goes on while the table is the same, and is refused when it has grown', async () => {
    const source = 'table_aborted';
    await pool.query(
      `create table ${shop}_long as select 'o' || i as order_id, 1 as user_id, 1.0::float8 as amount, true as express, null::text as note,
              '2026-01-01Z'::timestamptz + i * interval '1 second' as created_at, null::timestamptz as loaded_at
         from generate_series(1, 12000) i`,
    );
    await workers.stop();
    workers = await env.startWorkers((activities) => ({
      ...activities,
      // as after an abort: the first chunk is archived
      importRange: async (input) => {
        await pool.query(
          `update import set next_offset = 5000, next_byte = total_bytes where id = $1 and next_offset = 0`,
          [input.importId],
        );
        throw new FeatureStoreError('FS_INTERNAL', 'aborted', { fix: 'none' });
      },
    }));
    expect(await failureOf({ source })).toMatchObject({ type: 'FS_INTERNAL' });
    expect(await failureOf({ source })).toMatchObject({ type: 'FS_INTERNAL' });
    await pool.query(`insert into ${shop}_long values ('new', 1, 1, true, null, '2026-02-01Z', null)`);
    await workers.stop();
    workers = await env.startWorkers();
    expect(await failureOf({ source })).toMatchObject({
      type: 'FS_CONFLICT',
      message: expect.stringContaining('has changed since'),
    });
    expect(await archived(source)).toEqual([]);
  });

  test('columns that cannot be read are named', async () => {
    await pool.query(`alter table ${shop} alter column created_at type timestamp`);
    expect(await failureOf({ source: 'table_orders' })).toMatchObject({
      type: 'FS_DATA_INVALID',
      message: expect.stringContaining('timestamp without time zone'),
      details: { column: 'created_at' },
    });
  });
});

describe('refused, and nothing archived', () => {
  test.each([
    {
      why: 'a missing column',
      content: 'order_id,user_id\na,1\n',
      details: { column: 'created_at', row: 0 },
    },
    {
      why: 'a column twice',
      content: HEADER.replace('note', 'amount') + rowsCsv(0, 1),
      details: { column: 'amount', row: 0 },
    },
    {
      why: 'semicolons',
      content: HEADER.replaceAll(',', ';'),
      details: { fix: 'separate the columns by commas' },
    },
    { why: 'an empty file', content: '', details: { row: 0 } },
    { why: 'an open quote in row 3', content: `${HEADER}${rowsCsv(0, 2)}"x`, details: { row: 3 } },
    {
      why: 'no UTF-8 in row 2',
      content: Buffer.concat([Buffer.from(HEADER + rowsCsv(0, 1)), Buffer.from([0xff, 10])]),
      details: { row: 2 },
    },
  ])('$why', async ({ content, details }) => {
    const file = putFile(env, content);
    const { rows: before } = await pool.query('select count(*) from import');
    expect(await failureOf({ source: 'orders', file })).toMatchObject({
      type: 'FS_DATA_INVALID',
      details: { ...details, file },
    });
    expect((await pool.query('select count(*) from import')).rows).toEqual(before);
  });

  test.each([
    { why: 'an unknown source', input: { source: 'ordrs', file: 'f'.repeat(64) }, type: 'FS_NOT_FOUND' },
    {
      why: 'a file nobody uploaded',
      input: { source: 'orders', file: 'f'.repeat(64) },
      type: 'FS_NOT_FOUND',
    },
    { why: 'a path', input: { source: 'orders', file: '../../etc/passwd' }, type: 'FS_REQUEST_INVALID' },
    { why: 'no file', input: { source: 'orders' }, type: 'FS_REQUEST_INVALID' },
    {
      why: 'a file for a table',
      input: { source: 'table_orders', file: 'f'.repeat(64) },
      type: 'FS_REQUEST_INVALID',
    },
    {
      why: 'until without a zone',
      input: { source: 'orders', file: 'f'.repeat(64), until: '2026-01-01' },
      type: 'FS_TIMESTAMP_INVALID',
    },
  ])('$why', async ({ input, type }) => {
    const failure = await failureOf(input);
    expect(failure.type).toBe(type);
    expect(failure.details.fix).toEqual(expect.any(String));
  });
});

describe('whatever happens on the way, the archive is the same', () => {
  const content = HEADER + rowsCsv(0, 23_000, (i) => (i % 1_000 === 0 ? `bad\n${rowsCsv(i, i + 1)}` : ''));
  const expected = { archived: 23_000, duplicate: 23, conflict: 0, invalid: 23, withheld: 0 };
  const asIfNothing = async (source: string) => {
    const rows = await archived(source);
    expect(rows.length).toBe(23_000);
    expect(new Set(rows.map((row) => row.event_id)).size).toBe(23_000);
    const { rows: aside } = await pool.query('select * from set_aside where source = $1', [source]);
    expect(aside.length).toBe(23);
  };

  test('each activity twice', async () => {
    await workers.stop();
    workers = await env.startWorkers(repeating);
    const { counts } = await run({ source: 'faulty', file: putFile(env, content) });
    expect(counts).toEqual(expected);
    await asIfNothing('faulty');
  });

  test('each answer lost once', async () => {
    await workers.stop();
    workers = await env.startWorkers(losingAnswers);
    const { counts } = await run({ source: 'lost', file: putFile(env, content) });
    expect(counts).toEqual(expected);
    await asIfNothing('lost');
  });

  test('connections killed in the middle of transactions', async () => {
    await workers.stop();
    workers = await env.startWorkers();
    const handle = await start({ source: 'killed', file: putFile(env, content) });
    let over = false;
    const result = handle.result().finally(() => {
      over = true;
    });
    let killed = 0;
    while (!over && killed < 5) {
      const { rows } = await pool.query<{ killed: number }>(
        `select count(*) filter (where pg_terminate_backend(pid)) as killed from pg_stat_activity
          where application_name = 'test' and pid <> pg_backend_pid() and state = 'active' and query like 'copy "archive_killed"%'`,
      );
      killed += rows[0]!.killed;
    }
    expect(killed).toBeGreaterThan(0);
    expect((await result).counts).toEqual(expected);
    await asIfNothing('killed');
  });
});

test('progress, pause and resume', async () => {
  const handle = await start({ source: 'overlapping', file: putFile(env, HEADER + rowsCsv(20_000, 60_000)) });
  expect(await handle.executeUpdate(pauseUpdate)).toBe('paused after the step under way');
  await expect(handle.executeUpdate(pauseUpdate)).rejects.toThrow();
  const progress = await handle.query(progressQuery);
  expect(progress.message).toMatch(/^paused: /);
  expect(await handle.executeUpdate(resumeUpdate)).toBe('resumed');
  await expect(handle.executeUpdate(resumeUpdate)).rejects.toThrow();
  await handle.result();
  expect(await handle.query(progressQuery)).toMatchObject({
    done: 40_000,
    total: 40_000,
    unit: 'rows',
    message: '40000 events archived',
    counts: { archived: 40_000 },
  });
});
