/**
 * Feature values ⇄ Arrow, and Arrow files read and written a record batch at a time. Knows nothing of views.
 *
 *   string utf8 | int64 int64 (exact) | float64 | bool | timestamp timestamp[us, UTC] | list<t> list of these
 *   map<string, t> map from utf8 to these, in the order of keys
 *
 * Columns are built here from typed arrays: whole numbers stay exact, texts are encoded once. No two columns of a batch may share
 * one typed array: apache-arrow 21.2 then writes a file that nobody can read.
 */
import { open } from 'node:fs/promises';
import {
  AsyncByteQueue,
  Bool,
  type Data,
  DataType,
  Field,
  Float64,
  Int64,
  List,
  Map_,
  type MapRow,
  makeData,
  RecordBatch,
  RecordBatchFileWriter,
  RecordBatchReader,
  type Schema,
  Struct,
  TimestampMicrosecond,
  Type,
  Utf8,
  type Vector,
} from 'apache-arrow';
import type { ColumnType, FeatureType, MapType, ScalarType } from '../core/definition.js';
import { FeatureStoreError } from '../core/error.js';
import type { FeatureValue, List as ListValue, Value } from '../core/event.js';
import { narrow } from '../core/int64.js';
import { elementOf, entriesOf, type ValueMap } from '../core/value-map.js';

export function featureField(name: string, type: FeatureType): Field {
  return new Field(name, arrowType(type), true);
}

function arrowType(type: FeatureType): DataType {
  switch (type) {
    case 'string':
      return new Utf8();
    case 'int64':
      return new Int64();
    case 'float64':
      return new Float64();
    case 'bool':
      return new Bool();
    case 'timestamp':
      return new TimestampMicrosecond('UTC');
    case 'list<string>':
    case 'list<int64>':
    case 'list<float64>':
      return new List(new Field('item', arrowType(type.slice(5, -1) as ScalarType), true));
    case 'map<string,string>':
    case 'map<string,int64>':
    case 'map<string,float64>':
      return new Map_(new Field('entries', entriesType(type), false));
  }
}

function entriesType(type: MapType): Struct<{ key: Utf8; value: DataType }> {
  return new Struct([
    new Field('key', new Utf8(), false),
    new Field<DataType>('value', arrowType(elementOf(type)), true),
  ]) as Struct<{ key: Utf8; value: DataType }>;
}

/** A column of feature values; timestamps are epoch ms. */
export function featureData(type: FeatureType, values: readonly FeatureValue[]): Data {
  const { length } = values;
  const nulls = nullsOf(values);
  const common = { length, ...nulls };
  switch (type) {
    case 'int64':
    case 'timestamp': {
      const data = new BigInt64Array(length);
      const factor = type === 'timestamp' ? 1000n : 1n;
      for (let i = 0; i < length; i++) {
        const value = values[i];
        if (value !== null) data[i] = BigInt(value as number | bigint) * factor;
      }
      return makeData({ ...common, type: arrowType(type) as Int64, data });
    }
    case 'float64': {
      const data = new Float64Array(length);
      for (let i = 0; i < length; i++) data[i] = Number(values[i]); // of null: 0
      return makeData({ ...common, type: new Float64(), data });
    }
    case 'bool': {
      const data = new Uint8Array(bitmapBytes(length));
      for (let i = 0; i < length; i++) if (values[i] === true) data[i >> 3]! |= 1 << (i & 7);
      return makeData({ ...common, type: new Bool(), data });
    }
    case 'string': {
      const valueOffsets = new Int32Array(length + 1);
      let bytes = Buffer.allocUnsafe(Math.max(64, length * 8));
      let at = 0;
      for (let i = 0; i < length; i++) {
        const text = values[i] as string | null;
        if (text !== null) {
          if (at + text.length * 3 > bytes.length)
            bytes = Buffer.concat([bytes.subarray(0, at)], 2 * (at + text.length * 3));
          at += bytes.write(text, at);
        }
        valueOffsets[i + 1] = at;
      }
      return makeData({
        ...common,
        type: new Utf8(),
        valueOffsets,
        data: new Uint8Array(bytes.subarray(0, at)),
      });
    }
    case 'list<string>':
    case 'list<int64>':
    case 'list<float64>': {
      const valueOffsets = new Int32Array(length + 1);
      const items: FeatureValue[] = [];
      for (let i = 0; i < length; i++) {
        const list = values[i] as ListValue | null;
        if (list !== null) for (const item of list) items.push(item);
        valueOffsets[i + 1] = items.length;
      }
      const child = featureData(type.slice(5, -1) as ScalarType, items);
      return makeData({ ...common, type: arrowType(type) as List, valueOffsets, child });
    }
    case 'map<string,string>':
    case 'map<string,int64>':
    case 'map<string,float64>': {
      const valueOffsets = new Int32Array(length + 1);
      const keys: string[] = [];
      const items: FeatureValue[] = [];
      for (let i = 0; i < length; i++) {
        const map = values[i] as ValueMap | null;
        if (map !== null)
          for (const [key, item] of entriesOf(map)) {
            keys.push(key);
            items.push(item);
          }
        valueOffsets[i + 1] = keys.length;
      }
      const child = makeData({
        type: entriesType(type),
        length: keys.length,
        nullCount: 0,
        children: [featureData('string', keys), featureData(elementOf(type), items)],
      });
      return makeData({ ...common, type: arrowType(type) as Map_, valueOffsets, child });
    }
  }
}

function nullsOf(values: readonly FeatureValue[]): { nullCount: number; nullBitmap?: Uint8Array } {
  let nullCount = 0;
  for (const value of values) if (value === null) nullCount++;
  if (nullCount === 0) return { nullCount };
  const nullBitmap = new Uint8Array(bitmapBytes(values.length));
  values.forEach((value, i) => {
    if (value !== null) nullBitmap[i >> 3]! |= 1 << (i & 7);
  });
  return { nullCount, nullBitmap };
}

/** Whole words: readers may look at a bitmap 8 bytes at a time. */
function bitmapBytes(bits: number): number {
  return Math.ceil(bits / 64) * 8;
}

/** Row → feature value, of a column written by featureData or of any Arrow type that holds the same. */
export function featureReader(column: Vector, type: ColumnType): (row: number) => Value;
export function featureReader(column: Vector, type: FeatureType): (row: number) => FeatureValue;
export function featureReader(column: Vector, type: FeatureType): (row: number) => FeatureValue {
  switch (type) {
    case 'int64':
      return (row) => exact(column.get(row) as number | bigint | null);
    case 'timestamp':
      return timestampReader(column);
    case 'string':
    case 'float64':
    case 'bool':
      return (row) => column.get(row) as Value;
    case 'list<string>':
    case 'list<int64>':
    case 'list<float64>':
      return (row) => {
        const list = column.get(row) as Vector | null;
        return list && Array.from(list, (item: unknown) => exact(item as ListValue[number]));
      };
    case 'map<string,string>':
    case 'map<string,int64>':
    case 'map<string,float64>':
      return (row) => {
        const map = column.get(row) as MapRow<Utf8, DataType> | null;
        return (
          map && Object.fromEntries(Array.from(map, ([key, item]) => [key, exact(item as ListValue[number])]))
        );
      };
  }
}

function exact<T>(value: T): T | number | bigint {
  return typeof value === 'bigint' ? narrow(value) : value;
}

const PER_SECOND = [1n, 1_000n, 1_000_000n, 1_000_000_000n]; // by Arrow's TimeUnit: s, ms, us, ns

/** Row → the instant of a timestamp column in nanoseconds, exact. The library would give a double of milliseconds. */
export function instantReader(column: Vector): (row: number) => bigint | null {
  const [data] = column.data;
  const factor = 1_000_000_000n / PER_SECOND[(column.type as unknown as { unit: number }).unit]!;
  const values = data?.values as BigInt64Array;
  return (row) => (data!.getValid(row) ? values[row]! * factor : null);
}

const MS = 1_000_000n;

function timestampReader(column: Vector): (row: number) => number | null {
  const instant = instantReader(column);
  return (row) => {
    const ns = instant(row);
    return ns === null ? null : Number((ns - (((ns % MS) + MS) % MS)) / MS); // the floor, before 1970 too
  };
}

export function makeBatch(schema: Schema, length: number, children: Data[]): RecordBatch {
  const type = new Struct(schema.fields);
  return new RecordBatch(schema, makeData({ type, length, nullCount: 0, children }));
}

/** Arrow's name of a type as the manifest shows it. */
export function typeName(type: DataType): string {
  if (DataType.isUtf8(type)) return 'string';
  if (DataType.isTimestamp(type))
    return `timestamp[${['s', 'ms', 'us', 'ns'][type.unit]}${type.timezone ? `, ${type.timezone}` : ''}]`;
  if (DataType.isList(type)) return `list<${typeName(type.children[0]!.type as DataType)}>`;
  if (DataType.isMap(type)) {
    const [key, value] = (type.children[0]!.type as Struct).children.map((field) => typeName(field.type));
    return `map<${key},${value}>`;
  }
  if (DataType.isInt(type)) return `${type.isSigned ? '' : 'u'}int${type.bitWidth}`;
  if (DataType.isFloat(type)) return `float${16 << type.precision}`;
  return Type[type.typeId]!.toLowerCase();
}

/** The bytes of a writer, taken out by hand: the library's own queue grows without end where the disk is slower. */
class Bytes extends AsyncByteQueue {
  #chunks: Uint8Array[] = [];
  override write(chunk: unknown): void {
    this.#chunks.push(chunk as Uint8Array);
  }
  override close(): void {}
  take(): Uint8Array {
    const chunks = this.#chunks;
    this.#chunks = [];
    return Buffer.concat(chunks);
  }
}

/** An Arrow IPC file as chunks of bytes, at most one batch of them in memory. */
export async function* encodeArrowFile(
  schema: Schema,
  batches: AsyncIterable<RecordBatch>,
): AsyncGenerator<Uint8Array> {
  const bytes = new Bytes();
  const writer = new RecordBatchFileWriter({ autoDestroy: false });
  writer.reset(bytes as never, schema);
  for await (const batch of batches) {
    writer.write(batch);
    yield bytes.take();
  }
  writer.finish();
  yield bytes.take();
}

export interface ArrowFile {
  schema: Schema;
  batches(): AsyncGenerator<RecordBatch>;
  close(): Promise<void>;
}

/** Opens an Arrow IPC file or stream. Throws FS_DATA_INVALID where it is none, is compressed, or ends too early. */
export async function openArrowFile(path: string): Promise<ArrowFile> {
  const handle = await open(path);
  try {
    const reader = await RecordBatchReader.from(handle);
    await reader.open();
    if (!(reader.schema as Schema | undefined)) throw new Error('it is empty');
    return {
      schema: reader.schema,
      async *batches() {
        for (;;) {
          const next = await reader.next().catch(refuseContent);
          if (next.done) return;
          yield next.value as RecordBatch;
        }
      },
      async close() {
        await reader.cancel().catch(() => {}); // the file is only read: nothing is lost with it
        await handle.close().catch(() => {}); // the reader may have closed it
      },
    };
  } catch (error) {
    await handle.close().catch(() => {});
    return refuseContent(error);
  }
}

function refuseContent(error: unknown): never {
  if (error instanceof FeatureStoreError) throw error;
  const message = error instanceof Error ? error.message : String(error);
  if (/compress|codec/i.test(message))
    throw new FeatureStoreError(
      'FS_DATA_INVALID',
      'the Arrow file is compressed',
      {
        fix: "write it uncompressed (pyarrow: feather.write_feather(table, path, compression='uncompressed'))",
      },
      { cause: error },
    );
  throw new FeatureStoreError(
    'FS_DATA_INVALID',
    `the file is not readable as Arrow IPC: ${message}`,
    { fix: 'write it again as an Arrow IPC file or stream' },
    { cause: error },
  );
}
