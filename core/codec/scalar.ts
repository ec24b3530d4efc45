/** One value of a column type ⇄ bytes. Its type is known from the definition and not written. Never null. */
import type { ColumnType, ScalarType } from '../definition.js';
import type { List, Scalar, Value } from '../event.js';
import type { ByteReader, ByteWriter } from './bytes.js';

export type { Scalar } from '../event.js';

/** A scalar or a list. */
export type Present = NonNullable<Value>;

export interface Codec<V> {
  encode(writer: ByteWriter, value: V): void;
  decode(reader: ByteReader): V;
}

export const scalarCodecs: Record<ScalarType, Codec<Scalar>> = {
  string: { encode: (writer, value) => writer.text(value as string), decode: (reader) => reader.text() },
  int64: {
    encode: (writer, value) => writer.whole(value as number | bigint),
    decode: (reader) => reader.whole(),
  },
  timestamp: {
    encode: (writer, value) => writer.signed(value as number),
    decode: (reader) => reader.signed(),
  },
  float64: { encode: (writer, value) => writer.f64(value as number), decode: (reader) => reader.f64() },
  bool: { encode: (writer, value) => writer.u8(value ? 1 : 0), decode: (reader) => reader.u8() === 1 },
};

export const valueCodecs: Record<ColumnType, Codec<Present>> = {
  ...(scalarCodecs as Record<ScalarType, Codec<Present>>),
  'list<string>': listOf('string'),
  'list<int64>': listOf('int64'),
  'list<float64>': listOf('float64'),
};

/** varint length | each element */
function listOf(type: ScalarType): Codec<Present> {
  const many = manyOf(scalarCodecs[type]);
  return {
    encode: (writer, value) => many.encode(writer, value as Scalar[]),
    decode: (reader) => many.decode(reader) as List,
  };
}

/** Values as a counted list of one type. */
export function manyOf<V>(codec: Codec<V>): Codec<V[]> {
  return {
    encode(writer, values) {
      writer.varint(values.length);
      for (const value of values) codec.encode(writer, value);
    },
    decode: (reader) => Array.from({ length: reader.varint() }, () => codec.decode(reader)),
  };
}

/** u8 0: null; 1: the value follows */
export function nullable<V>(codec: Codec<V>): Codec<V | null> {
  return {
    encode(writer, value) {
      writer.u8(value === null ? 0 : 1);
      if (value !== null) codec.encode(writer, value);
    },
    decode: (reader) => (reader.u8() === 0 ? null : codec.decode(reader)),
  };
}

/** The order lists and sets are written in: numbers by size, text by UTF-16 code units. */
export function compareScalars(a: Scalar, b: Scalar): number {
  return a < b ? -1 : a > b ? 1 : 0;
}
