/** Whole numbers of 64 bits have one form, and bytes that their form does not show in. */
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { ByteReader, ByteWriter } from '../../core/codec/bytes.js';
import { isInt64, MAX_INT64, MIN_INT64, narrow, parseInt64, toInt64 } from '../../core/int64.js';

const any = fc.oneof(
  fc.bigInt({ min: MIN_INT64, max: MAX_INT64 }),
  fc.constantFrom(MIN_INT64, MAX_INT64, 0n, -1n),
  fc
    .constantFrom(53n, 54n, 60n, 62n)
    .chain((bits) => fc.bigInt({ min: -2n, max: 2n }).map((near) => 2n ** bits + near)),
);

test.each([
  { text: '9007199254740991', is: 9007199254740991, why: 'the greatest number' },
  { text: '9007199254740992', is: 9007199254740992n, why: 'the least bigint' },
  { text: '-9223372036854775808', is: MIN_INT64, why: 'the least' },
  { text: '9223372036854775807', is: MAX_INT64, why: 'the greatest' },
  { text: '9223372036854775808', is: null, why: 'one more' },
  { text: '00000000000000000007', is: 7, why: 'leading zeros say nothing' },
  { text: '-0', is: 0, why: 'no negative zero' },
  { text: '+1', is: null, why: 'a plus' },
  { text: '', is: null, why: 'nothing' },
])('$text: $why', ({ text, is }) => expect(parseInt64(text)).toBe(is));

test('equal values are one value, and compare as they should', () => {
  fc.assert(
    fc.property(any, any, (a, b) => {
      const [x, y] = [narrow(a), narrow(b)];
      expect(isInt64(x)).toBe(true);
      expect(x === y).toBe(a === b);
      expect(new Set([x, y]).size).toBe(a === b ? 1 : 2);
      expect(x < y).toBe(a < b);
      expect(parseInt64(String(a))).toBe(x);
    }),
  );
  for (const value of [2 ** 53, 7n, MAX_INT64 + 1n, 0.5, Number.NaN, '7', null])
    expect(isInt64(value)).toBe(false);
  expect(toInt64(MAX_INT64 + 1n)).toBeNull();
});

test('bytes: what is read is what was written, numbers in the form of `signed`', () => {
  fc.assert(
    fc.property(any, (a) => {
      const writer = new ByteWriter();
      writer.whole(narrow(a));
      if (typeof narrow(a) === 'number') {
        const signed = new ByteWriter();
        signed.signed(Number(a));
        expect(writer.finish()).toEqual(signed.finish());
      }
      const reader = new ByteReader(writer.finish());
      expect(reader.whole()).toBe(narrow(a));
      expect(reader.done).toBe(true);
    }),
    { numRuns: 1_000 },
  );
});
