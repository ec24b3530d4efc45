import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { parseJson } from '../../core/codec/json.js';
import type { Source } from '../../core/definition.js';
import { columnNames, compareEvents } from '../../core/event.js';
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
    tags: { type: 'list<string>', nullable: true },
    seen: { type: 'list<int64>', nullable: true },
    point: { type: 'list<float64>', nullable: true, length: 3 },
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
    ['count', '9007199254740991', 2 ** 53 - 1, 'the greatest number'],
    ['count', '9007199254740993', 9007199254740993n, 'beyond, to the digit'],
    ['count', '9223372036854775807', 2n ** 63n - 1n, 'the greatest there is'],
    ['count', '-9223372036854775808', -(2n ** 63n), 'the least there is'],
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
  ])('%s %s → %s: %s', (column, field, value, _why) => expect(read(column, field)).toBe(value));

  test.each([
    ['count', '1.0', 'a fraction'],
    ['count', '1e3', 'an exponent in a whole number'],
    ['count', ' 1', 'a space'],
    ['count', '9223372036854775808', 'beyond 64 bits'],
    ['count', '-9223372036854775809', 'beyond, below'],
    ['count', '9'.repeat(400), 'far beyond'],
    ['tags', 'a,b', 'no JSON'],
    ['tags', '{"a":1}', 'no array'],
    ['tags', '["a",1]', 'a number among texts'],
    ['tags', '[["a"]]', 'a list in a list'],
    ['seen', '[1.5]', 'a fraction'],
    ['seen', '[9223372036854775808]', 'an element beyond 64 bits'],
    ['point', '[0.1,NaN,2]', 'NaN is no JSON'],
    ['point', '[0.1,1e400,2]', 'an element no double holds'],
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
      reason: `column "count" is "${'x'.repeat(57)}...", not a whole number of 64 bits (-2^63 to 2^63 - 1)`,
    });
  });
});

describe('typed values', () => {
  test.each([
    ['count', 7n, 7, 'a bigint'],
    ['count', 7, 7, 'a number'],
    ['count', 2n ** 53n + 1n, 2n ** 53n + 1n, 'a bigint beyond 2^53'],
    ['count', -(2n ** 63n), -(2n ** 63n), 'the least'],
    ['amount', 3n, 3, 'a whole number in a float column'],
    ['amount', -0, 0, 'no negative zero'],
    ['gift', false, false, 'a boolean'],
    ['known', T, T, 'epoch milliseconds'],
  ])('%s %s → %s: %s', (column, field, value, _why) => expect(read(column, field, 'typed')).toBe(value));

  test.each([
    ['count', '7', 'a text'],
    ['count', 7.5, 'a fraction'],
    ['count', 2 ** 53, 'a number beyond 2^53 - 1: it may have been another'],
    ['count', 2n ** 63n, 'beyond 64 bits'],
    ['amount', 2n ** 53n + 1n, 'a whole number that no double holds'],
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

describe('lists', () => {
  test.each([
    { why: 'texts', column: 'tags', json: '["a","","é😀"]', is: ['a', '', 'é😀'] },
    { why: 'whole numbers, to the digit', column: 'seen', json: '[1,-0,9223372036854775807]', is: [1, 0, 2n ** 63n - 1n] },
    { why: 'a vector; whole numbers are doubles, -0 is 0', column: 'point', json: '[0.1,-0.0,3]', is: [0.1, 0, 3] },
    { why: 'an empty one', column: 'tags', json: '[]', is: [] },
    { why: 'as many as there may be', column: 'seen', json: JSON.stringify(Array(4096).fill(7)), is: Array<number>(4096).fill(7) },
  ])('$why', ({ column, json, is }) => {
    expect(read(column, json)).toEqual(is);
    expect((read(column, json) as unknown[]).some((item) => Object.is(item, -0))).toBe(false);
    const known = '2026-03-01T12:00:00Z';
    const typed = ingest({ id: 'a', at: known, step: 0, [column]: parseJson(json) }, { form: 'json' });
    expect(typed).toMatchObject({ outcome: 'event' });
    expect(read(column, parseJson(json), 'typed')).toEqual(is);
  });

  test.each([
    { why: 'a null', column: 'tags', field: ['a', null], reason: 'column "tags" holds a null, as element 2' },
    { why: 'NaN', column: 'point', field: [0, 1, Number.NaN], reason: 'column "point" has an element 3 that is NaN, not a finite number below 2^960' },
    { why: 'a shorter vector', column: 'point', field: [0, 1], reason: 'column "point" has 2 elements, not 3' },
    { why: 'a longer vector', column: 'point', field: [0, 1, 2, 3], reason: 'column "point" has 4 elements, not 3' },
    { why: 'too many', column: 'seen', field: Array<number>(4097).fill(1), reason: 'column "seen" has 4097 elements, more than 4096' },
    { why: 'no list', column: 'seen', field: 7, reason: 'column "seen" is 7, not a list' },
    { why: 'a NUL', column: 'tags', field: ['a\0'], reason: 'column "tags" has an element 1 that holds a NUL character, which Postgres cannot store' },
  ])('$why is invalid, and says where', ({ column, field, reason }) =>
    expect(read(column, field, 'typed')).toEqual({ outcome: 'invalid', column, reason }),
  );

  test('a missing list is null', () => {
    expect(read('tags', null)).toBeNull();
    expect(read('tags', '')).toBeNull();
  });
}); // biome-ignore format: tables

test('in JSON the digits of a double may be those of a whole number', () => {
  const fields = { id: 'a', at: '2026-03-01T12:00:00Z', step: 0, amount: parseJson('1152921504606847000') };
  expect(ingest(fields, { form: 'json' })).toMatchObject({ outcome: 'event' });
});

test('a sequence beyond 2^53 orders to the digit', () => {
  const result = ingest({ ...row, step: '9007199254740993' });
  expect(result).toMatchObject({ event: { order: 9007199254740993n } });
  const place = (order: number | bigint) => ({ timestamp: 0, order, id: '' });
  const orders = [5n + 2n ** 62n, 3, 2n ** 53n + 1n, -(2n ** 63n), 2n ** 53n, 2 ** 53 - 1].map(place);
  expect(orders.sort(compareEvents).map(({ order }) => order)).toEqual([
    -(2n ** 63n), 3, 2 ** 53 - 1, 2n ** 53n, 2n ** 53n + 1n, 5n + 2n ** 62n,
  ]); // biome-ignore format: one list
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
