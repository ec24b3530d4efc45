/** The bytes of records, drawn: a change here is a new layout. */
import { expect, test } from 'vitest';
import { compileView } from '../../core/compile.js';
import type { AggregationView, SqlView } from '../../core/definition.js';
import {
  decodeHeader,
  encodeRecord,
  encodeSqlRecord,
  RECORD_BYTES,
  readRecord,
  readSqlRecord,
  recordSteps,
} from '../../core/record.js';
import { createState, decodeState, encodeState, fold } from '../../core/state.js';
import { HOUR, MINUTE } from '../../core/time.js';
import { source } from './generate.js';

const feature = { name: 'f', description: '-', type: 'int64' as const, coldStart: 0, nameException: null };
const view = {
  kind: 'aggregation',
  key: ['user_id'],
  where: null,
  mode: { type: 'streaming', rowsEveryMs: 3_600_000 },
  features: [
    {
      ...feature,
      where: null,
      window: { type: 'sliding', ms: 1_800_000, hopMs: 10_000 },
      aggregation: { op: 'count' },
    },
  ],
} as unknown as AggregationView;

const hex = (bytes: Uint8Array): string => Buffer.from(bytes).toString('hex');

function state() {
  const compiled = compileView(view, source);
  const state = createState(compiled);
  fold(compiled, state, {
    timestamp: 1_005_000,
    arrivedAt: 1_005_100,
    sequence: 7,
    order: 0,
    id: 'e',
    values: [],
  });
  return { compiled, state };
}

test('a record of layout 4', () => {
  const { compiled, state: one } = state();
  const bytes = encodeRecord(compiled, one);
  expect(hex(bytes)).toBe(
    [
      '04', // layout
      '0000000000000007', // sequence
      '00100000000f55c8', // as-of + 2^52
      '00', // flags
      '07', // sequence
      '88d77a', // as-of, signed: sign and low 6 bits 8, then 15,703
      '00', // as-of - event timestamp
      '00', // event - first
      '64', // created - event: 100 ms
      '01', // one event
      '00', // nothing was left out
      '01', // the count
      '03', // the lane has three bytes
      'b501', // 181 units of 10 s after 1,000,000: at 2,810,000
      '01', // one leaves
    ].join(''),
  );
  expect(recordSteps(compiled, bytes)).toEqual([2_810_000]);
  expect(readRecord(compiled, bytes, 2_809_999)!.values).toEqual([1]);
  expect(readRecord(compiled, bytes, 2_810_000)!.values).toEqual([0]);
  expect(decodeHeader(bytes)).toEqual({
    batch: false,
    sequence: 7,
    asOf: 1_005_000,
    eventTimestamp: 1_005_000,
    firstEventTimestamp: 1_005_000,
    createdTimestamp: 1_005_100,
    eventCount: 1,
    refreshAt: null,
  });
});

test('a record is cut where the next instant does not fit; until then it says what the whole one says', () => {
  const window = (ms: number, hopMs: number) => ({ type: 'sliding' as const, ms, hopMs });
  const windows = [window(HOUR, MINUTE), window(24 * HOUR, 10 * MINUTE), window(7 * 24 * HOUR, HOUR)];
  const [given] = view.features;
  const compiled = compileView(
    { ...view, features: windows.map((window) => ({ ...given!, window })) },
    source,
  );
  const one = createState(compiled);
  for (let minute = 0; minute < 8 * 24 * 60; minute += 1 + (minute % 7)) {
    const timestamp = minute * MINUTE + 1;
    fold(compiled, one, { timestamp, arrivedAt: timestamp, sequence: 1, order: 0, id: 'e', values: [] });
  }
  const whole = encodeRecord(compiled, one);
  const short = encodeRecord(compiled, one, { maxBytes: RECORD_BYTES });
  const { refreshAt } = decodeHeader(short);
  const steps = recordSteps(compiled, whole);
  expect(short.length).toBeGreaterThan(RECORD_BYTES - 16);
  expect(short.length).toBeLessThanOrEqual(RECORD_BYTES);
  expect(recordSteps(compiled, short)).toEqual(steps.filter((at) => at < refreshAt!));
  expect(steps).toContain(refreshAt);
  for (const at of [...steps.filter((at) => at < refreshAt!), refreshAt! - 1])
    expect(readRecord(compiled, short, at)).toEqual(readRecord(compiled, whole, at));
  const last = readRecord(compiled, short, refreshAt! - 1)!;
  expect(readRecord(compiled, short, refreshAt! + HOUR)).toEqual({ ...last, horizonPassed: true });
});

test.each([
  { at: Date.parse('2026-11-21T12:59:59.999Z'), why: 'today' },
  { at: -1, why: 'at 1970' },
  { at: Date.parse('0001-01-01T00:00:00Z'), why: 'in the first year' },
  { at: Date.parse('9999-12-31T23:59:59.998Z'), why: 'in the last year' },
])('each millisecond of as-of, tick and commit has a head of its own, in order: $why', ({ at }) => {
  const { compiled } = state();
  const heads = [at, at + 1].flatMap((asOf) => {
    const one = createState(compiled);
    fold(compiled, one, { timestamp: asOf, arrivedAt: asOf, sequence: 7, order: 0, id: 'e', values: [] });
    const head = (bytes: Uint8Array) => hex(bytes.slice(1, 17));
    return [
      head(encodeRecord(compiled, one)),
      head(encodeRecord(compiled, one, { tick: { tick: asOf, committedAt: asOf } })),
    ];
  });
  expect(heads[0]! < heads[2]!).toBe(true);
  expect(heads[1]! < heads[3]!).toBe(true);
});

test('a snapshot of layout 4', () => {
  const { compiled, state: one } = state();
  const bytes = encodeState(compiled, one);
  expect(hex(bytes)).toBe(
    ['04', '88d77a', '07', '88d77a', '00', '64', '01', '01', '01', '9904', '01'].join(''),
  );
  expect(encodeState(compiled, decodeState(compiled, bytes))).toEqual(bytes);
});

const retracting = {
  ...source,
  columns: { unsays: { type: 'string' as const, nullable: true } },
  retracts: 'unsays',
};
const row = { timestamp: 1_005_000, arrivedAt: 1_005_100, sequence: 7, order: 0, id: 'e' };

test('a snapshot of layout 5, with and without events, and a record of none', () => {
  const compiled = compileView({ ...view, key: [] }, retracting);
  const one = createState(compiled);
  fold(compiled, one, { ...row, id: 'r', values: ['x'] });
  const none = encodeState(compiled, one);
  const ids = ['01', '0178'];
  expect(hex(none)).toBe(['05', ...ids, '00', '88d77a', '07', '00', '00'].join(''));
  expect(encodeState(compiled, decodeState(compiled, none))).toEqual(none);

  const record = encodeRecord(compiled, one);
  expect(hex(record)).toBe(['04', '0000000000000007', '00100000000f55c8', '02', '07', '88d77a'].join(''));
  expect(readRecord(compiled, record, 2_000_000)).toBe(null);
  expect(decodeHeader(record)).toMatchObject({
    sequence: 7,
    asOf: 1_005_000,
    eventCount: 0,
    refreshAt: null,
  });
  expect(decodeHeader(encodeRecord(compiled, one, { tick: { tick: 1_005_000, committedAt: 0 } })).batch).toBe(
    true,
  );

  fold(compiled, one, { ...row, values: [null] });
  const some = encodeState(compiled, one);
  expect(hex(some)).toBe(
    ['05', ...ids, '01', '88d77a', '07', '88d77a', '00', '64', '01', '01', '01', '9904', '01'].join(''),
  );
  expect(encodeState(compiled, decodeState(compiled, some))).toEqual(some);
});

test('a row of a sql view', () => {
  const sql = {
    features: [{ type: 'float64' }, { type: 'list<string>' }, { type: 'int64' }],
  } as unknown as SqlView;
  const bytes = encodeSqlRecord(sql, 5_000, [0.5, ['a', 'b'], null], { tick: 10_000, committedAt: 11_000 });
  expect(hex(bytes)).toBe(
    '0200100000000027100010000000002af8' + '884e' + '013fe0000000000000' + '010201610162' + '00',
  );
  expect(readSqlRecord(sql, bytes).values).toEqual([0.5, ['a', 'b'], null]);
});

test.each([
  {
    damage: (bytes: Uint8Array) => Uint8Array.of(9, ...bytes.slice(1)),
    code: 'FS_LAYOUT_UNKNOWN',
    why: 'another layout',
  },
  { damage: (bytes: Uint8Array) => bytes.slice(0, 25), code: 'FS_RECORD_CORRUPT', why: 'cut short' },
  { damage: () => new Uint8Array(), code: 'FS_RECORD_CORRUPT', why: 'empty' },
])('refused, never guessed: $why', ({ damage, code }) => {
  const { compiled, state: one } = state();
  expect(() => readRecord(compiled, damage(encodeRecord(compiled, one)), 0)).toThrow(
    expect.objectContaining({ code }),
  );
});
