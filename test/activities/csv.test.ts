import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import fc from 'fast-check';
import { afterAll, expect, test } from 'vitest';
import { type Cell, cellsOf, MAX_ROW_BYTES, readCsvBlocks } from '../../activities/offline/csv.js';

const folder = mkdtempSync(join(tmpdir(), 'almanac-csv-'));
const path = join(folder, 'file.csv');
afterAll(() => rmSync(folder, { recursive: true }));

interface Read {
  cells: Cell[] | string;
  next: number;
}

async function read(content: string | Uint8Array, blockBytes = 1 << 20, byte = 0): Promise<Read[]> {
  writeFileSync(path, content);
  const rows: Read[] = [];
  for await (const block of readCsvBlocks(path, { byte, firstRow: 0 }, undefined, blockBytes))
    for (let i = 0; i < block.ends.length; i++) rows.push({ cells: cellsOf(block, i), next: block.next[i]! });
  return rows;
}
const cells = async (content: string | Uint8Array) => (await read(content)).map((row) => row.cells);

test.each([
  { why: 'plain rows', content: 'a,b\n1,2\n', rows: [['a', 'b'], ['1', '2']] },
  { why: 'no line end at the end', content: 'a,b\n1,2', rows: [['a', 'b'], ['1', '2']] },
  { why: 'CRLF', content: 'a,b\r\n1,2\r\n', rows: [['a', 'b'], ['1', '2']] },
  { why: 'a byte order mark', content: '\ufeffa,b\n', rows: [['a', 'b']] },
  { why: 'an empty cell is null, a quoted one the empty text', content: ',""\n"",\n', rows: [[null, ''], ['', null]] },
  { why: 'commas, quotes and line ends inside quotes', content: '"a,b","c""d","e\nf"\n', rows: [['a,b', 'c"d', 'e\nf']] },
  { why: 'CRLF after a quoted cell', content: '"a"\r\n"b"\r\n', rows: [['a'], ['b']] },
  { why: 'blank lines are no rows', content: 'a\n\n\r\nb\n', rows: [['a'], ['b']] },
  { why: 'a quote in the middle spoils its row alone', content: 'a"b,c\nd,e\n', rows: ['cell 1 has a quote in its middle', ['d', 'e']] },
  { why: 'text after a closing quote too', content: '"a"b,c\nd,e\n', rows: ['cell 1 goes on after its closing quote', ['d', 'e']] },
  { why: 'nothing', content: '', rows: [] },
])('$why', async ({ content, rows }) => expect(await cells(content)).toEqual(rows)); // biome-ignore format: a table

test.each([
  { why: 'an open quote', content: 'a\n"b\nc\n', says: 'row 1 opens a quote that is never closed' },
  { why: 'bytes that are no UTF-8', content: Buffer.from([0x61, 10, 0x62, 0xff, 10]), says: 'row 1 holds bytes that are not UTF-8' },
  { why: 'a row without end', content: `a\n${'x'.repeat(3 * MAX_ROW_BYTES)}`, says: `row 1 is longer than ${MAX_ROW_BYTES} bytes` },
])('$why is refused, with its row', async ({ content, says }) => {
  await expect(read(content)).rejects.toMatchObject({ code: 'FS_DATA_INVALID', details: { row: 1 } });
  await expect(read(content)).rejects.toThrow(says);
}); // biome-ignore format: a table

test('what a library writes is read back, however the file is cut into blocks, and from any row on', async () => {
  const cell = fc.oneof(
    fc.constant(null),
    fc.string({ unit: fc.constantFrom('a', 'é', '😀', ',', '"', '\n', '\r', ' ', '1'), maxLength: 6 }),
  );
  const row = fc.array(cell, { minLength: 2, maxLength: 4 });
  await fc.assert(
    fc.asyncProperty(
      fc.array(row, { maxLength: 12 }),
      fc.integer({ min: 1, max: 40 }),
      fc.boolean(),
      async (rows, blockBytes, last) => {
        const text = rows.map((each) => each.map(encode).join(',')).join('\n') + (last ? '\n' : '');
        const found = await read(text, blockBytes);
        expect(found.map((each) => each.cells)).toEqual(rows);
        for (let i = 0; i < found.length; i++) {
          const rest = await read(text, blockBytes, found[i]!.next);
          expect(rest).toEqual(found.slice(i + 1));
        }
      },
    ),
    { numRuns: 200 },
  );
});

function encode(value: string | null): string {
  if (value === null) return '';
  return value === '' || /[",\n\r]/.test(value) ? `"${value.replaceAll('"', '""')}"` : value;
}
