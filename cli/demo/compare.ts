/** Two training sets of the same rows, from Parquet: where do their features differ? */
import { readFile } from 'node:fs/promises';
import { type Table, tableFromIPC } from 'apache-arrow';
import { FeatureStoreError } from '../../core/error.js';

export interface ModeDifference {
  rows: number;
  /** Rows with at least one feature that differs. */
  rowsDifferent: number;
  /** Rows that differ, by feature; features without one are left out. */
  byFeature: Record<string, number>;
}

export async function compareTrainingSets(a: string, b: string): Promise<ModeDifference> {
  return compareTables(await readParquetFile(a), await readParquetFile(b));
}

/** Row i of one is row i of the other. Values are compared exactly; lists by their elements. */
export function compareTables(a: Table, b: Table): ModeDifference {
  const names = a.schema.fields.map(({ name }) => name);
  const others = b.schema.fields.map(({ name }) => name);
  if (a.numRows !== b.numRows || names.join() !== others.join())
    throw new FeatureStoreError(
      'FS_DATA_INVALID',
      `two training sets of the same rows do not match: ${a.numRows} rows of ${names.length} columns, ${b.numRows} of ${others.length}`,
      {
        fix: 'report it with both files',
      },
    );
  const rowDiffers = new Uint8Array(a.numRows);
  const byFeature: Record<string, number> = {};
  for (const name of names) {
    const [left, right] = [a.getChild(name)!, b.getChild(name)!];
    let count = 0;
    for (let row = 0; row < a.numRows; row++) {
      if (text(left.get(row)) === text(right.get(row))) continue;
      rowDiffers[row] = 1;
      count++;
    }
    if (count > 0) byFeature[name] = count;
  }
  return { rows: a.numRows, rowsDifferent: rowDiffers.reduce((sum, each) => sum + each, 0), byFeature };
}

function text(value: unknown): string {
  if (value === null || value === undefined) return 'null';
  if (typeof value === 'object' && Symbol.iterator in value)
    return `[${Array.from(value as Iterable<unknown>, text).join(',')}]`;
  return typeof value === 'string' ? JSON.stringify(value) : `${typeof value} ${String(value as number)}`;
}

async function readParquetFile(path: string): Promise<Table> {
  const { readParquet } = await import('parquet-wasm');
  return tableFromIPC(readParquet(await readFile(path)).intoIPCStream());
}
