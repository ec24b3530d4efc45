/**
 * Arrow IPC files and streams as blocks of rows, each cell a plain value in the `typed` form of core/ingest.ts. A block is a record
 * batch: what the writer put into one is in memory at once.
 */
import { type FileHandle, open } from 'node:fs/promises';
import { DataType, type Field, RecordBatchReader, type Schema, type Vector } from 'apache-arrow';
import type { ColumnType, ScalarType, Source } from '../../core/definition.js';
import { FeatureStoreError } from '../../core/error.js';
import { columnNames } from '../../core/event.js';

export interface ArrowBlock {
  rows: number;
  /** Cells of row i, in the order of `columnNames(source)`. */
  cells(i: number): unknown[];
}

/** Throws FS_DATA_INVALID, naming the column, where the file's schema cannot be the source's. */
export async function* readArrowBlocks(
  path: string,
  source: Source,
  signal?: AbortSignal,
): AsyncGenerator<ArrowBlock> {
  const handle = await open(path);
  const reader = await openReader(handle);
  try {
    const columns = checkSchema(reader.schema, source);
    for (;;) {
      signal?.throwIfAborted();
      const next = await reader.next().catch(refuseContent);
      if (next.done) return;
      const batch = next.value;
      const getters = columns.map((index) =>
        index === null ? () => null : getterOf(batch.getChildAt(index)!, reader.schema.fields[index]!),
      );
      yield { rows: batch.numRows, cells: (row) => getters.map((get) => get(row)) };
    }
  } finally {
    await reader.cancel().catch(() => {}); // the file is only read: nothing is lost with it
    await handle.close().catch(() => {}); // the reader may have closed it
  }
}

async function openReader(handle: FileHandle) {
  try {
    const reader = await RecordBatchReader.from(handle);
    return await reader.open();
  } catch (error) {
    await handle.close();
    return refuseContent(error);
  }
}

function refuseContent(error: unknown): never {
  const message = error instanceof Error ? error.message : String(error);
  const compressed = /compress|codec/i.test(message);
  throw new FeatureStoreError(
    'FS_DATA_INVALID',
    compressed ? 'the Arrow file is compressed' : `the file is not readable as Arrow IPC: ${message}`,
    {
      fix: compressed
        ? "write it uncompressed (pyarrow: feather.write_feather(table, path, compression='uncompressed'))"
        : 'write it again as an Arrow IPC file or stream',
    },
    { cause: error },
  );
}

/** For each column of the source its index in the file; null for a nullable one that the file lacks. */
function checkSchema(schema: Schema, source: Source): Array<number | null> {
  return columnNames(source).map((name) => {
    const found = schema.fields.flatMap((field, index) => (field.name === name ? [index] : []));
    const column = source.columns[name]!;
    if (found.length > 1)
      throw refuse(
        `column "${name}" stands ${found.length} times in the file`,
        name,
        'give each column one name',
      );
    if (found.length === 0) {
      if (column.nullable) return null;
      throw refuse(
        `column "${name}" is missing; the file has ${schema.fields.map((field) => field.name).join(', ')}`,
        name,
        `add a column "${name}", or declare it nullable`,
      );
    }
    const why = cannotBe(column.type, schema.fields[found[0]!]!.type as DataType);
    if (why !== null)
      throw refuse(
        `column "${name}" is ${why}; the source declares ${column.type}`,
        name,
        fixOf(column.type),
      );
    return found[0]!;
  });
}

/** Null when the file's type can be read as the declared one, else its name. */
function cannotBe(type: ColumnType, found: DataType): string | null {
  const inner = DataType.isDictionary(found) ? (found.dictionary as DataType) : found;
  if (DataType.isNull(inner)) return null;
  const name = String((found as { toString(): string }).toString());
  if (type.startsWith('list')) {
    const isList = DataType.isList(inner) || DataType.isFixedSizeList(inner);
    return isList && cannotBe(elementOf(type), inner.children[0]!.type as DataType) === null ? null : name;
  }
  const fits = {
    string: DataType.isUtf8(inner) || DataType.isLargeUtf8(inner),
    int64: DataType.isInt(inner),
    float64: DataType.isFloat(inner) || DataType.isInt(inner),
    bool: DataType.isBool(inner),
    timestamp: DataType.isTimestamp(inner) && Boolean(inner.timezone),
  }[type as ScalarType];
  if (fits) return null;
  return DataType.isTimestamp(inner) && !inner.timezone ? `${name} without a time zone` : name;
}

function elementOf(list: ColumnType): ScalarType {
  return list.slice('list<'.length, -1) as ScalarType;
}

function fixOf(type: ColumnType): string {
  if (type.startsWith('list')) return `write it as a list (of fixed size or not): ${fixOf(elementOf(type))}`;
  return {
    string: 'write it as utf8 or large_utf8',
    int64: 'write it as int64',
    float64: 'write it as float64',
    bool: 'write it as bool',
    timestamp: "write it as timestamp with a time zone (pyarrow: pa.timestamp('ms', tz='UTC'))",
  }[type as ScalarType];
}

function getterOf(vector: Vector, field: Field): (row: number) => unknown {
  const type = (DataType.isDictionary(field.type) ? field.type.dictionary : field.type) as DataType;
  // The library gives milliseconds, with a fraction for finer units: finer digits are cut off, as in texts.
  if (DataType.isTimestamp(type))
    return (row) => {
      const value: unknown = vector.get(row);
      return typeof value === 'number' ? Math.floor(value) : value;
    };
  if (DataType.isList(type) || DataType.isFixedSizeList(type))
    return (row) => {
      const list = vector.get(row) as Iterable<unknown> | null;
      return list && Array.from(list);
    };
  return (row) => vector.get(row);
}

function refuse(what: string, column: string, fix: string): FeatureStoreError {
  return new FeatureStoreError('FS_DATA_INVALID', what, { fix, column });
}
