/**
 * CSV files as blocks of whole rows, from any row on: RFC 4180, UTF-8, commas, LF or CRLF. Reads only, and knows nothing of columns.
 *
 * Our own and not csv-parse because an import needs four things of its reader: the byte at which each row ends (to resume there),
 * the difference between an empty cell (null) and a quoted empty one (a text), a refusal of bytes that are no UTF-8 instead of
 * U+FFFD in their place, and speed. Rows without quotes, nearly all, are found and split by the engine's own memchr and split.
 */
import { isUtf8 } from 'node:buffer';
import { type FileHandle, open } from 'node:fs/promises';
import { FeatureStoreError } from '../../core/error.js';

/** Longer rows are refused: most likely a quote is opened and never closed. */
export const MAX_ROW_BYTES = 1 << 20;
const BLOCK_BYTES = 1 << 20;
const QUOTE = 34;
const COMMA = 44;
const LF = 10;
const CR = 13;

/** Whole rows: row i is bytes[starts[i] .. ends[i]), without its line end. Blank lines are no rows. */
export interface CsvBlock {
  bytes: Buffer;
  starts: number[];
  ends: number[];
  /** Where in the file row i is over: the next one starts there. */
  next: number[];
}

/** A cell: null when it is empty and not quoted. */
export type Cell = string | null;

/** Throws FS_DATA_INVALID, with the row counted from `firstRow`, for a row over MAX_ROW_BYTES, an open quote, bytes that are no UTF-8. */
export async function* readCsvBlocks(
  path: string,
  from: { byte: number; firstRow: number },
  signal?: AbortSignal,
  blockBytes = BLOCK_BYTES,
): AsyncGenerator<CsvBlock> {
  const file = await open(path);
  try {
    yield* blocks(file, from, signal, blockBytes);
  } finally {
    await file.close();
  }
}

async function* blocks(
  file: FileHandle,
  from: { byte: number; firstRow: number },
  signal: AbortSignal | undefined,
  blockBytes: number,
): AsyncGenerator<CsvBlock> {
  let rest: Buffer = Buffer.alloc(0); // the begin of a row whose end is not read yet
  let position = from.byte; // of the first byte after `rest`
  let row = from.firstRow;
  for (let last = false; !last; ) {
    signal?.throwIfAborted();
    const buffer = Buffer.allocUnsafe(rest.length + blockBytes);
    rest.copy(buffer);
    const { bytesRead } = await file.read(buffer, rest.length, blockBytes, position);
    last = bytesRead < blockBytes; // a regular file gives less only at its end
    const bytes = buffer.subarray(0, rest.length + bytesRead);
    const offset = position - rest.length; // of bytes[0] in the file
    position += bytesRead;
    const block: CsvBlock = { bytes, starts: [], ends: [], next: [] };
    const over = split(bytes, last, offset, block);
    if (last && over < bytes.length)
      throw refuse(
        `row ${row + block.ends.length} opens a quote that is never closed`,
        row + block.ends.length,
      );
    if (bytes.length - over > MAX_ROW_BYTES)
      throw refuse(
        `row ${row + block.ends.length} is longer than ${MAX_ROW_BYTES} bytes; perhaps a quote in it is never closed`,
        row + block.ends.length,
      );
    if (!isUtf8(bytes.subarray(0, over))) {
      const bad = block.ends.findIndex((end, i) => !isUtf8(bytes.subarray(block.starts[i], end)));
      throw refuse(`row ${row + bad} holds bytes that are not UTF-8`, row + bad);
    }
    rest = bytes.subarray(over);
    row += block.ends.length;
    if (block.ends.length > 0) yield block;
  }
}

/** Finds the whole rows of `bytes`; gives where the first one that is not whole begins. */
function split(bytes: Buffer, last: boolean, offset: number, block: CsvBlock): number {
  let start = 0;
  if (offset === 0 && bytes[0] === 0xef && bytes[1] === 0xbb && bytes[2] === 0xbf) start = 3; // byte order mark
  let quote = bytes.indexOf(QUOTE, start);
  while (start < bytes.length) {
    let end = bytes.indexOf(LF, start);
    if (quote !== -1 && quote < start) quote = bytes.indexOf(QUOTE, start);
    if (quote !== -1 && (end === -1 || quote < end)) end = quotedRowEnd(bytes, start, last);
    else if (end === -1 && last) end = bytes.length;
    if (end === -1) break;
    const over = Math.min(end + 1, bytes.length);
    const textEnd = end > start && bytes[end - 1] === CR ? end - 1 : end;
    if (textEnd > start) {
      block.starts.push(start);
      block.ends.push(textEnd);
      block.next.push(offset + over);
    }
    start = over;
  }
  return start;
}

/** The line end that is outside of quotes; -1 when it is not in `bytes`. A quote opens only at the begin of a cell. */
function quotedRowEnd(bytes: Buffer, start: number, last: boolean): number {
  let cellBegins = true;
  for (let i = start; i < bytes.length; i++) {
    const byte = bytes[i];
    if (cellBegins && byte === QUOTE) {
      for (i++; ; i += 2) {
        i = bytes.indexOf(QUOTE, i);
        if (i === -1) return -1;
        if (i + 1 === bytes.length && !last) return -1; // the next byte decides whether it closes
        if (bytes[i + 1] !== QUOTE) break;
      }
      cellBegins = false;
    } else if (byte === LF) return i;
    else cellBegins = byte === COMMA;
  }
  return last ? bytes.length : -1;
}

/** The cells of row i; a text says what is wrong with its quotes. */
export function cellsOf({ bytes, starts, ends }: CsvBlock, i: number): Cell[] | string {
  const text = bytes.toString('utf8', starts[i], ends[i]);
  if (!text.includes('"')) {
    const cells: Cell[] = text.split(',');
    for (let c = 0; c < cells.length; c++) if (cells[c] === '') cells[c] = null;
    return cells;
  }
  const cells: Cell[] = [];
  for (let at = 0; at <= text.length; ) {
    if (text[at] !== '"') {
      const comma = text.indexOf(',', at);
      const end = comma === -1 ? text.length : comma;
      const cell = text.slice(at, end);
      if (cell.includes('"')) return `cell ${cells.length + 1} has a quote in its middle`;
      cells.push(cell === '' ? null : cell);
      at = end + 1;
      continue;
    }
    let close = at + 1;
    for (;;) {
      close = text.indexOf('"', close);
      if (close === -1) return `cell ${cells.length + 1} opens a quote that is never closed`;
      if (text[close + 1] !== '"') break;
      close += 2;
    }
    if (close + 1 < text.length && text[close + 1] !== ',')
      return `cell ${cells.length + 1} goes on after its closing quote`;
    cells.push(text.slice(at + 1, close).replaceAll('""', '"'));
    at = close + 2;
  }
  return cells;
}

function refuse(what: string, row: number): FeatureStoreError {
  return new FeatureStoreError('FS_DATA_INVALID', what, {
    fix: 'correct that row, or write the file again as UTF-8 with a CSV library',
    row,
  });
}
