/**
 * Parquet files, written and read through Arrow (parquet-wasm). Zstandard, row groups of at most 128 Ki rows; the writer is told
 * the types, so int64, timestamps in microseconds with UTC, lists and nulls stay what they are.
 */
import { readFile } from 'node:fs/promises';
import {
  type RecordBatch,
  RecordBatchStreamWriter,
  type Schema,
  Table,
  tableFromIPC,
  tableToIPC,
} from 'apache-arrow';
import parquet from 'parquet-wasm';
import { FeatureStoreError } from '../../core/error.js';

const ROW_GROUP_ROWS = 131_072;

/** A Parquet file as chunks of bytes; holds a row group at a time. */
export async function* encodeParquetFile(
  schema: Schema,
  batches: AsyncIterable<RecordBatch>,
): AsyncGenerator<Uint8Array> {
  const source = batches[Symbol.asyncIterator]();
  let next = await source.next();
  if (next.done) {
    const empty = parquet.Table.fromIPCStream(tableToIPC(new Table(schema, []), 'stream'));
    yield parquet.writeParquet(empty, properties());
    return;
  }
  let failure: unknown = null;
  const input = new ReadableStream<unknown>({
    async pull(controller) {
      try {
        if (next.done) {
          controller.close();
          return;
        }
        const stream = RecordBatchStreamWriter.writeAll([next.value]).toUint8Array(true);
        for (const batch of parquet.Table.fromIPCStream(stream).recordBatches()) controller.enqueue(batch);
        next = await source.next();
      } catch (error) {
        failure = error; // parquet-wasm would say that the stream ended with an error, not which
        controller.error(error);
      }
    },
  });
  try {
    yield* (await parquet.transformParquetStream(
      input,
      properties(),
    )) as unknown as AsyncIterable<Uint8Array>;
  } catch (error) {
    throw failure ?? refuse(error);
  }
  if (failure !== null) throw failure;
}

function properties() {
  return new parquet.WriterPropertiesBuilder()
    .setCompression(parquet.Compression.ZSTD)
    .setMaxRowGroupSize(ROW_GROUP_ROWS)
    .setCreatedBy('almanac')
    .build();
}

function refuse(error: unknown): FeatureStoreError {
  const message = error instanceof Error ? error.message : String(error);
  return new FeatureStoreError(
    'FS_DATA_INVALID',
    `the training set cannot be written as Parquet: ${message}`,
    { fix: 'leave out columns of unusual types, or write Arrow' },
    { cause: error },
  );
}

/** The whole file. Throws FS_DATA_INVALID where it is none. */
export async function readParquetFile(path: string): Promise<Table> {
  const bytes = await readFile(path);
  try {
    return tableFromIPC(parquet.readParquet(bytes).intoIPCStream());
  } catch (error) {
    throw new FeatureStoreError(
      'FS_DATA_INVALID',
      `the file is not readable as Parquet: ${error instanceof Error ? error.message : String(error)}`,
      { fix: 'build the training set again' },
      { cause: error },
    );
  }
}
