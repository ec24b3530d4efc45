import { describe, expect, test } from 'vitest';
import type { SqlView } from '../../core/definition.js';
import { answerSql, type SqlRow } from '../../oracle/oracle.js';

const common = { description: 'made up', type: 'int64', coldStart: -1, nameException: null } as const;
const view: SqlView = {
  kind: 'sql',
  name: 'v',
  description: 'made up',
  owner: 'tests',
  tags: [],
  entity: 'user',
  ttlMs: 150,
  freshness: { tier: 'daily', expectedEveryMs: 100 },
  connection: 'env:DATABASE',
  query: 'select 1',
  reads: [{ table: 't', kind: 'append' }],
  cadenceMs: 100,
  settleMs: 0,
  features: [
    { ...common, name: 'a' },
    { ...common, name: 'b' },
  ],
};

const row = (tick: number, committedAt: number, publishedAt: number, a: number | null): SqlRow => ({
  tick,
  committedAt,
  publishedAt,
  eventTimestamp: tick - 10,
  values: { a, b: 7 },
});
const rows = [
  row(200, 205, 210, 3),
  row(100, 300, 310, 2), // the tick of 100 again, after that of 200
  row(100, 105, 110, 1),
];

describe('a row of a sql view', () => {
  test.each<{ at: number; mode: 'known-then' | 'event-time'; strict: boolean; a: number; why: string }>([
    { at: 109, mode: 'known-then', strict: false, a: -1, why: 'nothing published' },
    { at: 110, mode: 'known-then', strict: false, a: 1, why: 'published at the label' },
    { at: 110, mode: 'known-then', strict: true, a: -1, why: 'strict: not yet' },
    { at: 209, mode: 'known-then', strict: false, a: 1, why: 'the next is not published' },
    { at: 210, mode: 'known-then', strict: false, a: 3, why: 'a newer tick supersedes' },
    { at: 210, mode: 'known-then', strict: true, a: 1, why: 'strict: not yet superseded' },
    { at: 340, mode: 'known-then', strict: false, a: 3, why: 'an age of the TTL is inside' },
    { at: 341, mode: 'known-then', strict: false, a: -1, why: 'one more is not' },
    { at: 341, mode: 'known-then', strict: true, a: 3, why: 'strict: one less' },
    { at: 99, mode: 'event-time', strict: false, a: -1, why: 'before the first tick' },
    { at: 100, mode: 'event-time', strict: false, a: 2, why: 'the tick at the label, committed last' },
    { at: 100, mode: 'event-time', strict: true, a: -1, why: 'strict: the tick before' },
    { at: 200, mode: 'event-time', strict: false, a: 3, why: 'the next tick' },
  ])('$mode at $at: $why', ({ at, mode, strict, a }) =>
    expect(answerSql(view, rows, { at, mode, strict }).values.a).toBe(a),
  );

  test('published again after a newer tick, it does not supersede it', () => {
    const told = answerSql({ ...view, ttlMs: null }, rows, { at: 1000, mode: 'known-then', strict: false });
    expect(told).toEqual({
      status: 'PRESENT',
      eventTimestamp: 190,
      values: { a: 3, b: 7 },
      statuses: { a: 'PRESENT', b: 'PRESENT' },
      row: rows[0],
    });
  });

  test('null, or missing in the row, is a null value', () => {
    const told = answerSql(view, [{ ...row(100, 100, 100, null), values: { a: null } }], {
      at: 100,
      mode: 'known-then',
      strict: false,
    });
    expect(told.values).toEqual({ a: null, b: null });
    expect(told.statuses).toEqual({ a: 'NULL_VALUE', b: 'NULL_VALUE' });
  });

  test('none: not found; too old: says so; both give the cold start', () => {
    const question = { at: 1000, mode: 'known-then', strict: false } as const;
    expect(answerSql(view, [], question)).toEqual({
      status: 'NOT_FOUND',
      eventTimestamp: null,
      values: { a: -1, b: -1 },
      statuses: { a: 'NOT_FOUND', b: 'NOT_FOUND' },
      row: null,
    });
    expect(answerSql(view, rows, question)).toMatchObject({
      status: 'OUTSIDE_MAX_AGE',
      eventTimestamp: 190,
      values: { a: -1, b: -1 },
      statuses: { a: 'OUTSIDE_MAX_AGE', b: 'OUTSIDE_MAX_AGE' },
    });
  });
});
