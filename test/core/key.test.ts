import fc from 'fast-check';
import { expect, test } from 'vitest';
import { decodeKey, encodeKey, onlineKey } from '../../core/codec/key.js';
import type { Entity } from '../../core/definition.js';

const entity = (...types: Array<'string' | 'int64'>): Entity => ({
  name: 'e',
  description: '-',
  owner: '-',
  tags: [],
  keys: types.map((type, index) => ({ name: `k${index}`, type })),
});

test.each([
  { types: ['int64'] as const, parts: [7], hex: '010107' },
  { types: ['string'] as const, parts: ['7'], hex: '020137' },
  { types: ['int64'] as const, parts: [0], hex: '010100' },
  { types: ['int64'] as const, parts: [-1], hex: '0101ff' },
  { types: ['int64'] as const, parts: [128], hex: '01020080' },
  { types: ['int64'] as const, parts: [-129], hex: '0102ff7f' },
  { types: ['string', 'int64'] as const, parts: ['ab', 1], hex: '02026162010101' },
])('$parts', ({ types, parts, hex }) => {
  expect(Buffer.from(encodeKey(entity(...types), [...parts])).toString('hex')).toBe(hex);
});

const text = fc.string({ unit: 'grapheme', maxLength: 40 }).map((value) => value.normalize('NFC'));
const whole = fc.maxSafeInteger();
const composite = entity('string', 'int64', 'string');

test('decoding gives the parts back, and different parts have different keys', () => {
  fc.assert(
    fc.property(fc.tuple(text, whole, text), fc.tuple(text, whole, text), (a, b) => {
      expect(decodeKey(composite, encodeKey(composite, a))).toEqual(a);
      const same = a.every((part, index) => part === b[index]);
      expect(
        onlineKey('dev', 'e', encodeKey(composite, a)) === onlineKey('dev', 'e', encodeKey(composite, b)),
      ).toBe(same);
    }),
  );
});

test('text is one key whatever its normal form, base64url as everybody writes it', () => {
  const one = entity('string');
  expect(encodeKey(one, ['e\u0301'])).toEqual(encodeKey(one, ['\u00e9']));
  fc.assert(
    fc.property(text, (value) => {
      const key = encodeKey(one, [value]);
      expect(onlineKey('dev', 'e', key)).toBe(`dev:{e:${Buffer.from(key).toString('base64url')}}`);
    }),
  );
});

test.each([
  { type: 'string' as const, part: null, why: 'null' },
  { type: 'string' as const, part: 7, why: 'a number for a text' },
  { type: 'int64' as const, part: '7', why: 'a text for a number' },
  { type: 'int64' as const, part: 2 ** 53, why: 'a number that may have been another' },
  { type: 'int64' as const, part: 2n ** 63n, why: 'beyond 64 bits' },
  { type: 'int64' as const, part: 7n, why: 'a bigint that is a number' },
  { type: 'int64' as const, part: [7], why: 'a list' },
  { type: 'int64' as const, part: 1.5, why: 'not whole' },
  { type: 'string' as const, part: '\ud800', why: 'half a surrogate pair' },
  { type: 'string' as const, part: 'x'.repeat(1025), why: 'over 1,024 bytes' },
])('refused: $why', ({ type, part }) => {
  expect(() => encodeKey(entity(type), [part])).toThrow(expect.objectContaining({ code: 'FS_KEY_INVALID' }));
});

test('a whole key has at most 2,048 bytes', () => {
  const pair = entity('string', 'string');
  const first = 'x'.repeat(1024); // 3 bytes before each part
  expect(encodeKey(pair, [first, 'x'.repeat(1018)]).length).toBe(2048);
  expect(() => encodeKey(pair, [first, 'x'.repeat(1019)])).toThrow(
    expect.objectContaining({
      code: 'FS_KEY_INVALID',
      details: expect.objectContaining({ column: 'k1' }) as object,
    }),
  );
});
