import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import type { Source } from '../../core/definition.js';
import { columnNames } from '../../core/event.js';
import { createIngest, type IngestOptions, positionId } from '../../core/ingest.js';
import { HOUR, MINUTE, SECOND } from '../../core/time.js';

const T = Date.parse('2026-03-01T12:00:00Z');

const source: Source = {
  name: 'orders',
  description: 'orders',
  owner: 'shop',
  tags: [],
  origin: null,
  kind: 'append',
  input: { type: 'file', format: 'csv' },
  columns: {
    id: { type: 'string', nullable: false },
    at: { type: 'timestamp', nullable: false },
    known: { type: 'timestamp', nullable: true },
    count: { type: 'int64', nullable: true },
    amount: { type: 'float64', nullable: true },
    gift: { type: 'bool', nullable: true },
    note: { type: 'string', nullable: true },
    step: { type: 'int64', nullable: false },
  },
  eventTime: 'at',
  arrival: 'known',
  id: 'id',
  sequence: 'step',
  arrivalDelayMs: MINUTE,
  allowedLatenessMs: 0,
  maxFutureMs: 5 * SECOND,
  dedupeMs: HOUR,
  retentionMs: null,
};
const options: IngestOptions = { form: 'text', shiftMs: 0, untilMs: T + HOUR, importedMs: T + HOUR };
const row = { id: 'a', at: '2026-03-01T12:00:00Z', step: '0' };

function ingest(fields: Record<string, unknown>, other: Partial<IngestOptions> = {}, of: Source = source) {
  return createIngest(of, { ...options, ...other })(columnNames(of).map((name) => fields[name]));
}
function read(column: string, field: unknown, form: IngestOptions['form'] = 'text'): unknown {
  const base = form === 'text' ? row : { id: 'a', at: T, step: 0 };
  const result = ingest({ ...base, [column]: field }, { form });
  if (result.outcome !== 'event') return result;
  return result.event.values[columnNames(source).indexOf(column)];
}

describe('texts', () => {
  test.each([
    ['count', '-42', -42, 'a whole number'],
    ['count', '007', 7, 'leading zeros say nothing'],
    ['count', '9007199254740991', 2 ** 53 - 1, 'the greatest there is'],
    ['count', '-0', 0, 'no negative zero'],
    ['count', '', null, 'a quoted empty cell is no number'],
    ['count', null, null, 'an empty cell'],
    ['amount', '1.5e3', 1500, 'an exponent'],
    ['amount', '.5', 0.5, 'no leading zero'],
    ['amount', '-0.0', 0, 'no negative zero'],
    ['amount', '9.7453140113e+288', 9.7453140113e288, 'just below 2^960'],
    ['gift', 'true', true, 'true'],
    ['gift', 'false', false, 'false'],
    ['note', '', '', 'a quoted empty cell is a text'],
    ['note', 'ça 😀', 'ça 😀', 'any well-formed text'],
    ['known', '2026-03-01T13:00:00+01:00', T, 'a zone'],
  ])('%s %j → %j: %s', (column, field, value, _why) => expect(read(column, field)).toBe(value));

  test.each([
    ['count', '1.0', 'a fraction'],
    ['count', '1e3', 'an exponent in a whole number'],
    ['count', ' 1', 'a space'],
    ['count', '9007199254740992', 'beyond 2^53 - 1'],
    ['count', '9007199254740993', 'beyond, and would round'],
    ['amount', 'NaN', 'no number'],
    ['amount', 'Infinity', 'not finite'],
    ['amount', '1e400', 'overflows'],
    ['amount', '1e289', 'beyond 2^960'],
    ['amount', '1,5', 'a comma'],
    ['gift', 'TRUE', 'another spelling'],
    ['gift', '1', 'a number'],
    ['note', 'a\0b', 'NUL'],
    ['note', '\ud800', 'half of a surrogate pair'],
    ['known', '2026-03-01 12:00:00', 'no zone'],
    ['known', '2026-02-30T00:00:00Z', 'no such day'],
    ['known', '1767225600', 'a bare number'],
    ['id', null, 'null where none may be'],
    ['step', null, 'no sequence'],
  ])('%s %j is invalid: %s', (column, field, _why) =>
    expect(read(column, field)).toMatchObject({ outcome: 'invalid', column }),
  );

  test('the reason names column, value and what is wanted, and cuts a long value', () => {
    expect(read('count', 'x'.repeat(1000))).toMatchObject({
      reason: `column "count" is "${'x'.repeat(57)}...", not a whole number within ±(2^53 - 1)`,
    });
  });
});

describe('typed values', () => {
  test.each([
    ['count', 7n, 7, 'a bigint'],
    ['count', 7, 7, 'a number'],
    ['amount', 3n, 3, 'a whole number in a float column'],
    ['amount', -0, 0, 'no negative zero'],
    ['gift', false, false, 'a boolean'],
    ['known', T, T, 'epoch milliseconds'],
  ])('%s %s → %j: %s', (column, field, value, _why) => expect(read(column, field, 'typed')).toBe(value));

  test.each([
    ['count', '7', 'a text'],
    ['count', 7.5, 'a fraction'],
    ['count', 2n ** 53n, 'beyond 2^53 - 1'],
    ['amount', Number.NaN, 'NaN'],
    ['amount', Number.POSITIVE_INFINITY, 'infinite'],
    ['gift', 1, 'a number'],
    ['note', 5, 'a number'],
    ['known', '2026-03-01T12:00:00Z', 'a text'],
    ['known', 1e300, 'no time'],
  ])('%s %s is invalid: %s', (column, field, _why) =>
    expect(read(column, field, 'typed')).toMatchObject({ outcome: 'invalid', column }),
  );
});

describe('times', () => {
  const arrive = (fields: Record<string, unknown>, other: Partial<IngestOptions> = {}, of = source) => {
    const result = ingest({ ...row, ...fields }, other, of);
    return result.outcome === 'event'
      ? {
          at: result.event.timestamp - T,
          known: result.event.arrivedAt - T,
          assumed: result.event.arrivalAssumed,
        }
      : result.outcome;
  };
  test.each([
    { why: 'its own arrival', fields: { known: '2026-03-01T12:00:07Z' }, gives: { at: 0, known: 7000, assumed: false } },
    { why: 'none: the delay is assumed', fields: {}, gives: { at: 0, known: MINUTE, assumed: true } },
    { why: 'none: never after the import', fields: {}, other: { importedMs: T + 10 }, gives: { at: 0, known: 10, assumed: true } },
    { why: 'never before the event', fields: { known: '2026-03-01T11:59:58Z' }, gives: { at: 0, known: 0, assumed: false } },
    { why: 'too far before the event', fields: { known: '2026-03-01T11:59:54.999Z' }, gives: 'invalid' },
    { why: 'as far as it may be', fields: { known: '2026-03-01T11:59:55Z' }, gives: { at: 0, known: 0, assumed: false } },
    { why: 'until: the very instant is inside', fields: { known: '2026-03-01T12:00:00Z' }, other: { untilMs: T }, gives: { at: 0, known: 0, assumed: false } },
    { why: 'until: it happened later', fields: {}, other: { untilMs: T - 1 }, gives: 'withheld' },
    { why: 'until: it arrived later', fields: { known: '2026-03-01T12:00:01Z' }, other: { untilMs: T }, gives: 'withheld' },
    { why: 'every timestamp is shifted', fields: { known: '2026-03-01T12:00:07Z' }, other: { shiftMs: -1000 }, gives: { at: -1000, known: 6000, assumed: false } },
    { why: 'before 1970', fields: { at: '1969-12-31T23:59:59.999Z', known: '1969-12-31T23:59:59.999Z' }, gives: { at: -1 - T, known: -1 - T, assumed: false } },
    { why: 'shifted out of the calendar', fields: {}, other: { shiftMs: 8e15 }, gives: 'invalid' },
  ])('$why', ({ fields, other, gives }) => expect(arrive(fields, other)).toEqual(gives)); // biome-ignore format: a table
});

test('an event carries its order, its id as text and its values by sorted name', () => {
  const result = ingest({ ...row, step: '3', count: '5' });
  expect(result).toMatchObject({ outcome: 'event', event: { order: 3, id: 'a' } });
  expect(read('count', '5')).toBe(5);
  const numbered: Source = { ...source, id: 'count', columns: { ...source.columns } };
  expect(ingest({ ...row, count: '5' }, {}, numbered)).toMatchObject({ event: { id: '5' } });
  expect(ingest({ ...row }, {}, numbered)).toMatchObject({ outcome: 'invalid', column: 'count' });
  expect(ingest({ ...row }, {}, { ...source, id: null, sequence: null })).toMatchObject({
    event: { id: null, order: 0 },
  });
});

test('an id has at most 1,024 bytes of UTF-8', () => {
  expect(read('id', 'ä'.repeat(512))).toBe('ä'.repeat(512));
  expect(read('id', `${'ä'.repeat(512)}x`)).toEqual({
    outcome: 'invalid',
    column: 'id',
    reason: 'column "id" is longer than 1024 bytes',
  });
});

test('position ids sort as (partition, offset) do', () => {
  const position = fc.tuple(
    fc.integer({ min: -(2 ** 31), max: 2 ** 31 - 1 }),
    fc.nat({ max: Number.MAX_SAFE_INTEGER }),
  );
  fc.assert(
    fc.property(position, position, (a, b) => {
      const [x, y] = [positionId(...a), positionId(...b)];
      const order = Math.sign(a[0] - b[0] || a[1] - b[1]);
      expect(x < y ? -1 : x > y ? 1 : 0).toBe(order);
    }),
  );
});
