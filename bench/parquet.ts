/** Columns of numbers to a Parquet file and back. */
import { readFileSync, writeFileSync } from 'node:fs';
import { makeVector, Table, tableFromIPC, tableToIPC } from 'apache-arrow';
import parquet from 'parquet-wasm';

const { Table: WasmTable, readParquet: read, writeParquet: write } = parquet;

type Column = Int32Array | Float64Array;

export function writeParquet(file: string, columns: Record<string, Column>): void {
  const arrow = new Table(
    Object.fromEntries(Object.entries(columns).map(([name, data]) => [name, makeVector(data)])),
  );
  writeFileSync(file, write(WasmTable.fromIPCStream(tableToIPC(arrow, 'stream'))));
}

export function readParquet(file: string): Record<string, Column> {
  const arrow = tableFromIPC(read(readFileSync(file)).intoIPCStream());
  return Object.fromEntries(
    arrow.schema.fields.map(({ name }) => [name, arrow.getChild(name)!.toArray() as Column]),
  );
}
