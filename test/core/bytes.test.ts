/** Numbers and texts survive their bytes, whichever way they are written; each has one form. */
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { ByteReader, ByteWriter } from '../../core/codec/bytes.js';
import { RUNS, SEED } from './always.js';

function bytesOf(write: (writer: ByteWriter) => void): Uint8Array {
  const writer = new ByteWriter();
  write(writer);
  return writer.finish();
}

const hex = (bytes: Uint8Array): string => Buffer.from(bytes).toString('hex');

test.each([
  { value: 127, bytes: '7f' },
  { value: 128, bytes: '8001' },
  { value: 16_383, bytes: 'ff7f' },
  { value: 16_384, bytes: '808001' },
  { value: 2 ** 31, bytes: '8080808008' },
  { value: Number.MAX_SAFE_INTEGER, bytes: 'ffffffffffffff0f' },
])('the varint $value', ({ value, bytes }) => {
  expect(hex(bytesOf((writer) => writer.varint(value)))).toBe(bytes);
});

test.each([
  { value: 63, bytes: '3f' },
  { value: 64, bytes: '8001' },
  { value: -64, bytes: 'c001' },
  { value: 2 ** 30 - 1, bytes: 'bfffffff07' },
  { value: 2 ** 30, bytes: '8080808008' },
])('the signed $value', ({ value, bytes }) => {
  expect(hex(bytesOf((writer) => writer.signed(value)))).toBe(bytes);
});

test.each([-1, 0.5, 128.5, 2 ** 53, Number.NaN, Number.POSITIVE_INFINITY])('%d is no varint', (value) => {
  expect(() => bytesOf((writer) => writer.varint(value))).toThrow(/varint/);
});

test('numbers and texts, one after the other, and what another has written', () => {
  const whole = fc.maxSafeInteger();
  const text = fc.oneof(fc.string(), fc.string({ unit: 'grapheme', maxLength: 40 }));
  fc.assert(
    fc.property(fc.array(fc.tuple(whole, text), { maxLength: 12 }), (list) => {
      const other = new ByteWriter();
      for (const [number, text] of list) {
        other.varint(Math.abs(number));
        other.signed(number);
        other.text(text);
      }
      const reader = new ByteReader(bytesOf((writer) => writer.append(other)));
      const read = list.map(() => [reader.varint(), reader.signed(), reader.text()]);
      expect(read).toEqual(list.map(([number, text]) => [Math.abs(number), number, text]));
      expect(reader.done).toBe(true);
    }),
    { numRuns: RUNS, seed: SEED },
  );
});

test('what is said to follow, and does not, is refused', () => {
  expect(() => new ByteReader(Uint8Array.of(2, 0)).span()).toThrow(
    expect.objectContaining({ code: 'FS_RECORD_CORRUPT' }),
  );
});
