import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import {
  decodeMap,
  type Json,
  jsonPointer,
  parseJson,
  valueEncoder,
  wireTimestamp,
  writeJson,
} from '../../core/codec/json.js';
import type { FeatureType, MapType } from '../../core/definition.js';
import { FeatureStoreError } from '../../core/error.js';
import type { FeatureValue } from '../../core/event.js';
import { MAX_INT64, MIN_INT64, narrow } from '../../core/int64.js';
import { DAY, floorTo, MAX_TIMESTAMP, MIN_TIMESTAMP } from '../../core/time.js';
import { entriesOf } from '../../core/value-map.js';

function refusal(text: string): { code: string; pointer: unknown; message: string } {
  try {
    parseJson(text);
  } catch (error) {
    if (error instanceof FeatureStoreError)
      return { code: error.code, pointer: error.details.pointer, message: error.message };
    throw error;
  }
  throw new Error(`${text.slice(0, 80)} was taken`);
}

describe('in', () => {
  test('what JSON.parse makes of any document, we make too', () => {
    fc.assert(
      fc.property(fc.json({ maxDepth: 6 }), fc.constantFrom(0, 2, '\t'), (text, indent) => {
        const given = JSON.stringify(JSON.parse(text), null, indent);
        fc.pre(!/[0-9]{16}/.test(given)); // whole numbers beyond 2^53 are bigints on purpose
        expect(plain(parseJson(given))).toEqual(plain(JSON.parse(given) as Json));
      }),
      { numRuns: 2_000 },
    );
  });

  test('what is no JSON is refused, whatever is cut out or put in', () => {
    const base = '{"a":[1,-2.5e3,"x\\n\\u00e9",true,null,{}],"b":{"c":[]}}';
    fc.assert(
      fc.property(
        fc.nat(base.length),
        fc.nat(3),
        fc.string({ maxLength: 3, unit: 'binary' }),
        (at, cut, put) => {
          const text = base.slice(0, at) + put + base.slice(at + cut);
          let expected: Json | undefined;
          try {
            expected = JSON.parse(text) as Json;
          } catch {
            expect(refusal(text).code).toBe('FS_REQUEST_INVALID');
            return;
          }
          // Valid for JSON.parse: ours may refuse only what this file says it refuses.
          try {
            expect(plain(parseJson(text))).toEqual(plain(expected));
          } catch (error) {
            expect(error).toBeInstanceOf(FeatureStoreError);
            expect((error as Error).message).toMatch(/given twice|surrogate|beyond/);
          }
        },
      ),
      { numRuns: 5_000 },
    );
  });

  test.each([
    { text: '{"entities":{"id":[1,9223372036854775808]}}', pointer: '/entities/id/1', why: '2^63' },
    { text: '{"a":-9223372036854775809}', pointer: '/a', why: 'below -2^63' },
    { text: `[${'9'.repeat(1_000_000)}]`, pointer: '/0', why: 'a million digits' },
    { text: '[1e400]', pointer: '/0', why: 'no double' },
    { text: '{"a":1,"a":1}', pointer: '/a', why: 'equal twins too' },
    { text: '{"a":{"b":1,"\\u0062":2}}', pointer: '/a/b', why: 'twins by another spelling' },
    { text: '["\\ud800"]', pointer: '/0', why: 'half a surrogate pair' },
    { text: '{"x/y~z":[NaN]}', pointer: '/x~1y~0z/0', why: 'NaN; a pointer escapes' },
    { text: '[01]', pointer: '/0', why: 'a leading zero' },
    { text: '[1,]', pointer: '/1', why: 'a comma too many' },
    { text: '[1] 2', pointer: '', why: 'something behind the end' },
    { text: '', pointer: '', why: 'nothing' },
    { text: '\ufeff{}', pointer: '', why: 'a byte order mark' },
    { text: '["\t"]', pointer: '/0', why: 'a bare control character' },
    { text: '["\\x41"]', pointer: '/0', why: 'an escape of other languages' },
    { text: '["abc', pointer: '/0', why: 'an open text' },
    { text: '["abc\\', pointer: '/0', why: 'an open escape' },
  ])('refused with its place: $why', ({ text, pointer }) => {
    expect(refusal(text)).toMatchObject({ code: 'FS_REQUEST_INVALID', pointer });
  });

  test('20,000 levels are refused, not a stack overflow', () => {
    expect(refusal('['.repeat(20_000)).message).toContain('levels deep');
    expect(refusal(`{"a":${'{"a":'.repeat(20_000)}`).message).toContain('levels deep');
  });

  test('names of the language are keys like any other', () => {
    const parsed = parseJson('{"__proto__":{"x":1},"constructor":2,"toString":3}') as Record<string, Json>;
    expect(Object.keys(parsed)).toEqual(['__proto__', 'constructor', 'toString']);
    expect(({} as Record<string, unknown>).x).toBeUndefined();
  });

  test.each([
    ['9007199254740991', 9007199254740991],
    ['9007199254740992', 9007199254740992n],
    ['-9007199254740993', -9007199254740993n],
    ['9223372036854775807', 9223372036854775807n],
    ['-9223372036854775808', -9223372036854775808n],
    ['9007199254740993.0', 9007199254740992],
    ['1e18', 1e18],
  ])('%s is %s', (text, value) => expect(parseJson(text)).toBe(value));

  test('what is written is read again, whole numbers to the digit', () => {
    const document = { a: [1, -9223372036854775808n, 'x"\n', null, true], b: { c: [], d: 0.1 } };
    expect(plain(parseJson(writeJson({ ...document, left: undefined })))).toEqual(plain(document));
  });

  test('any double and any whole number of 64 bits is written so that it is read as what it was', () => {
    const number = fc.oneof(
      fc.double({ noNaN: true, noDefaultInfinity: true }).map((value) => value + 0),
      fc.constantFrom(2 ** 53, -(2 ** 63), 1e20, 1e21, 1152921504606847000),
      fc.bigInt({ min: MIN_INT64, max: MAX_INT64 }).map(narrow),
    );
    fc.assert(
      fc.property(number, (value) => {
        expect(parseJson(writeJson(value))).toBe(value);
      }),
    );
  });

  test('negative zero is zero', () => expect(Object.is(parseJson('-0.0'), 0)).toBe(true));

  test('a pointer is for people: long keys are cut', () =>
    expect(jsonPointer(['k'.repeat(1000), 3]).length).toBeLessThan(100));
});

describe('out', () => {
  test.each<{ type: FeatureType; value: FeatureValue; text: string; why: string }>([
    { type: 'float64', value: 2, text: '2.0', why: 'a whole double keeps its point' },
    { type: 'float64', value: 0, text: '0.0', why: 'zero too' },
    { type: 'float64', value: 0.1, text: '0.1', why: 'the shortest text that reads back' },
    { type: 'float64', value: 1e21, text: '1e+21', why: 'an exponent needs no point' },
    { type: 'float64', value: 1e20, text: '100000000000000000000.0', why: 'below that no exponent' },
    { type: 'float64', value: 5e-324, text: '5e-324', why: 'the smallest' },
    { type: 'int64', value: 9007199254740991, text: '9007199254740991', why: '2^53 - 1' },
    { type: 'int64', value: 9223372036854775807n, text: '9223372036854775807', why: 'beyond doubles, exact' },
    { type: 'int64', value: -7, text: '-7', why: 'a plain number' },
    { type: 'bool', value: false, text: 'false', why: 'a bool' },
    { type: 'string', value: 'a"\u2028\n', text: '"a\\"\u2028\\n"', why: 'text is escaped' },
    { type: 'timestamp', value: 0, text: '"1970-01-01T00:00:00Z"', why: 'a whole second' },
    { type: 'timestamp', value: 1, text: '"1970-01-01T00:00:00.001Z"', why: 'a millisecond' },
    { type: 'list<string>', value: ['a', 'b'], text: '["a","b"]', why: 'a list' },
    { type: 'list<float64>', value: [1, 2.5], text: '[1.0,2.5]', why: 'a list keeps its points' },
    { type: 'list<int64>', value: [], text: '[]', why: 'an empty list' },
    { type: 'list<int64>', value: null, text: 'null', why: 'no list' },
    {
      type: 'map<string,int64>',
      value: { b: 1, '10': 2n ** 60n, '9': 3 },
      text: '{"10":1152921504606846976,"9":3,"b":1}',
      why: 'a map in the order of its keys',
    },
    {
      type: 'map<string,float64>',
      value: { é: 2, '"': 1e21 },
      text: '{"\\"":1e+21,"é":2.0}',
      why: 'its values by their type',
    },
    { type: 'map<string,string>', value: {}, text: '{}', why: 'an empty map' },
  ])('$why: $text', ({ type, value, text }) => expect(valueEncoder(type)(value)).toBe(text));

  test('maps read back to the same', () => {
    const key = fc.oneof(
      fc.string({ unit: 'binary' }),
      fc.constantFrom('__proto__', '1', 'a"1', '\\', ':2,'),
    );
    const whole = fc.oneof(fc.integer(), fc.bigInt({ min: 2n ** 53n, max: 2n ** 63n - 1n }));
    const double = fc.double({ noNaN: true, noDefaultInfinity: true }).map((x) => x + 0);
    const check = (type: MapType, value: fc.Arbitrary<string | number | bigint>): void =>
      fc.assert(
        fc.property(fc.array(fc.tuple(key, value)), (entries) => {
          const map = Object.fromEntries(entries);
          expect(entriesOf(decodeMap(type, valueEncoder(type)(map)))).toEqual(entriesOf(map));
        }),
      );
    check('map<string,int64>', whole);
    check('map<string,float64>', double);
    check('map<string,string>', key);
    expect(decodeMap('map<string,int64>', '{"a 1": 9007199254740993, "b": -2}')).toEqual({
      'a 1': 9007199254740993n, // as Postgres writes it
      b: -2,
    });
  });

  test('NaN is a mistake of ours, never an answer', () => {
    expect(() => valueEncoder('float64')(Number.NaN)).toThrow('assertion');
    expect(() => valueEncoder('int64')(1.5)).toThrow('assertion');
  });

  test('doubles read back to the same bits', () => {
    fc.assert(
      fc.property(fc.double({ noNaN: true, noDefaultInfinity: true }), (x) => {
        const text = valueEncoder('float64')(x + 0);
        expect(Object.is(Number(text), x + 0)).toBe(true);
        expect(text).toMatch(/[.e]/);
      }),
    );
  });

  test('timestamps are those of Date, before 1970 too', () => {
    fc.assert(
      fc.property(
        fc.integer({ min: MIN_TIMESTAMP, max: MAX_TIMESTAMP }),
        fc.constantFrom(1, 1_000, DAY),
        (ms, step) => {
          const at = Math.max(floorTo(ms, step), MIN_TIMESTAMP);
          expect(wireTimestamp(at)).toBe(new Date(at).toISOString().replace('.000Z', 'Z'));
        },
      ),
      { numRuns: 2_000 },
    );
  });

  test('years beyond the calendar are a mistake of ours', () =>
    expect(() => wireTimestamp(Number.MAX_SAFE_INTEGER)).toThrow('assertion'));
});

/** Objects with a prototype, no negative zero: what toEqual compares. */
function plain(value: Json): unknown {
  if (Array.isArray(value)) return value.map(plain);
  if (typeof value === 'number') return value + 0;
  if (typeof value !== 'object' || value === null) return value;
  return new Map(Object.entries(value).map(([key, item]) => [key, plain(item)]));
}
