/**
 * The file of an import as rows of fields, from any row on; and the checks that come before its first row is archived. CSV and
 * Arrow give the same thing: fields in the order of `columnNames(source)`, or why a row has none.
 */
import { createHash } from 'node:crypto';
import { createReadStream } from 'node:fs';
import { stat } from 'node:fs/promises';
import { join } from 'node:path';
import type { Source } from '../../core/definition.js';
import { FeatureStoreError } from '../../core/error.js';
import { columnNames } from '../../core/event.js';
import type { Form } from '../../core/ingest.js';
import { readArrowBlocks } from './arrow.js';
import { type Cell, cellsOf, readCsvBlocks } from './csv.js';

export type FileFormat = 'csv' | 'arrow';

export interface FileRow {
  /** In the order of `columnNames(source)`; a text says why there are none. */
  fields: readonly unknown[] | string;
  /** What stood there, for the set-aside table. */
  body: () => unknown;
  /** Bytes of the file up to the end of this row; of an Arrow file, an estimate by rows. */
  nextByte: number;
}

export interface FileContent {
  bytes: number;
  rows: number;
}

export const formOf: Record<FileFormat, Form> = { csv: 'text', arrow: 'typed' };

/**
 * Reads the whole file once: it is there, its bytes are the ones it is named for, its rows can be told apart, its header has the
 * source's columns. Throws FS_NOT_FOUND or FS_DATA_INVALID with file, row, column. `onBlock` hears of every block.
 */
export async function checkFile(
  filesDir: string,
  sha256: string,
  format: FileFormat,
  source: Source,
  onBlock: () => void,
  signal?: AbortSignal,
): Promise<FileContent> {
  const path = filePath(filesDir, sha256);
  const bytes = await sizeOf(path, sha256);
  return naming(sha256, async () => {
    let rows = 0;
    if (format === 'csv') {
      for await (const block of readCsvBlocks(path, { byte: 0, firstRow: 0 }, signal)) {
        if (rows === 0) headerOf(cellsOf(block, 0), source);
        rows += block.ends.length;
        onBlock();
      }
      if (rows === 0) headerOf([], source);
      rows -= 1;
    } else {
      for await (const block of readArrowBlocks(path, source, signal)) {
        rows += block.rows;
        onBlock();
      }
    }
    // last: what is wrong inside is worth more to its reader than a checksum
    const hash = createHash('sha256');
    for await (const chunk of createReadStream(path, { highWaterMark: 1 << 20 })) {
      hash.update(chunk as Buffer);
      onBlock();
    }
    const found = hash.digest('hex');
    if (found !== sha256)
      throw new FeatureStoreError('FS_DATA_INVALID', `the file's content has the checksum ${found}`, {
        fix: 'upload it again',
      });
    return { bytes, rows };
  });
}

/** Rows from `from.offset` on (the number of the first one), in blocks. `from.byte` is where a CSV row begins; 0: at the header. */
export async function* readFileRows(
  filesDir: string,
  sha256: string,
  format: FileFormat,
  source: Source,
  from: { byte: number; offset: number },
  content: FileContent,
  signal?: AbortSignal,
): AsyncGenerator<FileRow[]> {
  const path = filePath(filesDir, sha256);
  yield* format === 'csv'
    ? csvRows(path, source, from, signal)
    : arrowRows(path, source, from.offset, content, signal);
}

async function* csvRows(
  path: string,
  source: Source,
  from: { byte: number; offset: number },
  signal: AbortSignal | undefined,
): AsyncGenerator<FileRow[]> {
  const { header, over } = await readHeader(path);
  const columns = headerOf(header, source);
  const width = header.length;
  for await (const block of readCsvBlocks(
    path,
    { byte: Math.max(from.byte, over), firstRow: from.offset + 1 },
    signal,
  )) {
    const rows: FileRow[] = [];
    for (let i = 0; i < block.ends.length; i++) {
      const cells = cellsOf(block, i);
      const body = (): unknown =>
        typeof cells === 'string' ? block.bytes.toString('utf8', block.starts[i], block.ends[i]) : cells;
      rows.push({ fields: fieldsOf(cells, columns, width), body, nextByte: block.next[i]! });
    }
    yield rows;
  }
}

function fieldsOf(
  cells: Cell[] | string,
  columns: ReadonlyArray<number | null>,
  width: number,
): unknown[] | string {
  if (typeof cells === 'string') return cells;
  if (cells.length !== width) return `has ${cells.length} cells; the header has ${width}`;
  return columns.map((index) => (index === null ? null : cells[index]));
}

async function readHeader(path: string): Promise<{ header: Cell[]; over: number }> {
  for await (const block of readCsvBlocks(path, { byte: 0, firstRow: 0 })) {
    const cells = cellsOf(block, 0);
    return { header: typeof cells === 'string' ? [] : cells, over: block.next[0]! };
  }
  return { header: [], over: 0 };
}

/** For each column of the source its place in the header; null for a nullable one that is not there. */
function headerOf(header: readonly Cell[] | string, source: Source): Array<number | null> {
  const refuse = (what: string, fix: string, column: string | null): never => {
    throw new FeatureStoreError('FS_DATA_INVALID', what, { fix, row: 0, ...(column !== null && { column }) });
  };
  if (typeof header === 'string') return refuse(`the header ${header}`, 'correct the first line', null);
  return columnNames(source).map((name) => {
    const first = header.indexOf(name);
    if (first === -1) {
      if (source.columns[name]!.nullable) return null;
      const only = header.length === 1 && /[;\t|]/.test(header[0] ?? '');
      return refuse(
        `column "${name}" is missing; the header has ${header.map((cell) => JSON.stringify(cell ?? '')).join(', ') || 'nothing'}`,
        only
          ? 'separate the columns by commas'
          : `add a column "${name}" to the file, or declare it nullable in source "${source.name}"`,
        name,
      );
    }
    if (header.indexOf(name, first + 1) !== -1)
      return refuse(`column "${name}" stands twice in the header`, 'give each column one name', name);
    return first;
  });
}

async function* arrowRows(
  path: string,
  source: Source,
  offset: number,
  content: FileContent,
  signal: AbortSignal | undefined,
): AsyncGenerator<FileRow[]> {
  let first = 0; // row number of the block's first row
  for await (const block of readArrowBlocks(path, source, signal)) {
    for (let start = Math.max(0, offset - first); start < block.rows; start += 10_000) {
      const rows: FileRow[] = [];
      for (let i = start; i < Math.min(block.rows, start + 10_000); i++) {
        const fields = block.cells(i);
        rows.push({
          fields,
          body: () => fields,
          nextByte: Math.floor((content.bytes * (first + i + 1)) / content.rows),
        });
      }
      yield rows;
    }
    first += block.rows;
  }
}

function filePath(filesDir: string, sha256: string): string {
  if (!/^[0-9a-f]{64}$/.test(sha256))
    throw new FeatureStoreError(
      'FS_REQUEST_INVALID',
      `"${sha256.slice(0, 80)}" is not the name of an uploaded file`,
      {
        fix: 'give the sha256 that the upload answered',
      },
    );
  return join(filesDir, sha256);
}

async function sizeOf(path: string, sha256: string): Promise<number> {
  try {
    return (await stat(path)).size;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw error;
    throw new FeatureStoreError('FS_NOT_FOUND', `there is no uploaded file ${sha256}`, {
      fix: 'upload it again; registry and workers must share ALMANAC_FILES_DIR',
      file: sha256,
    });
  }
}

/** Says in an error which file it is about. */
async function naming<T>(file: string, work: () => Promise<T>): Promise<T> {
  try {
    return await work();
  } catch (error) {
    if (!(error instanceof FeatureStoreError)) throw error;
    throw new FeatureStoreError(
      error.code,
      `file ${file.slice(0, 12)}: ${error.message}`,
      { ...error.details, file },
      { cause: error },
    );
  }
}
