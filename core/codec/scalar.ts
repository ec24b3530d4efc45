/** One value of a column type ⇄ bytes. Its type is known from the definition and not written. Never null. */
import type { ColumnType } from '../definition.js';
import type { Value } from '../event.js';
import type { ByteReader, ByteWriter } from './bytes.js';

export type Scalar = Exclude<Value, null>;

export interface ScalarCodec {
  encode(writer: ByteWriter, value: Scalar): void;
  decode(reader: ByteReader): Scalar;
}

const whole: ScalarCodec = {
  encode: (writer, value) => writer.signed(value as number),
  decode: (reader) => reader.signed(),
};

export const scalarCodecs: Record<ColumnType, ScalarCodec> = {
  string: { encode: (writer, value) => writer.text(value as string), decode: (reader) => reader.text() },
  int64: whole,
  timestamp: whole,
  float64: { encode: (writer, value) => writer.f64(value as number), decode: (reader) => reader.f64() },
  bool: { encode: (writer, value) => writer.u8(value ? 1 : 0), decode: (reader) => reader.u8() === 1 },
};

/** The order lists and sets are written in: numbers by size, text by UTF-16 code units. */
export function compareScalars(a: Scalar, b: Scalar): number {
  return a < b ? -1 : a > b ? 1 : 0;
}
