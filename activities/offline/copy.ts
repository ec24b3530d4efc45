/** Rows into Postgres by COPY in text form. */
import { pipeline } from 'node:stream/promises';
import { from as copyFrom } from 'pg-copy-streams';
import type { List, Value } from '../../core/event.js';
import type { PoolClient } from '../../registry/sql.js';

/** A value of a typed column: bigint and number columns, text, boolean, timestamptz as text, lists, bytea. */
export type CopyValue = Value | Uint8Array;

/** One line of COPY's text form. */
export function copyLine(values: readonly CopyValue[]): string {
  let line = '';
  for (let i = 0; i < values.length; i++) line += (i === 0 ? '' : '\t') + copyField(values[i]!);
  return `${line}\n`;
}

/** One value of COPY's text form. */
export function copyField(value: CopyValue): string {
  if (value === null) return '\\N';
  if (typeof value === 'string') return escapeText(value);
  if (typeof value === 'boolean') return value ? 't' : 'f';
  if (typeof value !== 'object') return String(value);
  if (value instanceof Uint8Array)
    return `\\\\x${Buffer.from(value.buffer, value.byteOffset, value.byteLength).toString('hex')}`;
  return escapeText(listText(value));
}

/** A list as Postgres writes it: {"a","b"}. */
function listText(list: List): string {
  const items = list.map((item) =>
    typeof item === 'string' ? `"${item.replace(/["\\]/g, (c) => `\\${c}`)}"` : String(item),
  );
  return `{${items.join(',')}}`;
}

function escapeText(text: string): string {
  return /[\\\t\n\r]/.test(text)
    ? text.replace(/[\\\t\n\r]/g, (c) => ({ '\\': '\\\\', '\t': '\\t', '\n': '\\n', '\r': '\\r' })[c]!)
    : text;
}

const BLOCK_BYTES = 256 * 1024;

/** Lines on their way into COPY, as bytes: hundreds of thousands of short texts that wait would keep the garbage collector busy. */
export class CopyText {
  readonly #blocks: Buffer[] = [];
  #block: Buffer = Buffer.alloc(0);
  #at = 0;
  lines = 0;
  bytes = 0;

  /** @param line made by copyLine */
  add(line: string): void {
    const most = 3 * line.length; // bytes of UTF-8 per UTF-16 code unit
    if (this.#at + most > this.#block.length) {
      this.#blocks.push(this.#block.subarray(0, this.#at));
      this.#block = Buffer.allocUnsafe(Math.max(BLOCK_BYTES, most));
      this.#at = 0;
    }
    const written = this.#block.write(line, this.#at);
    this.#at += written;
    this.bytes += written;
    this.lines += 1;
  }

  get blocks(): Buffer[] {
    return [...this.#blocks, this.#block.subarray(0, this.#at)].filter((block) => block.length > 0);
  }
}

/** @param into the table and its columns as SQL: `t (a, b)` */
export async function copyInto(client: PoolClient, into: string, text: CopyText): Promise<void> {
  await pipeline(text.blocks, client.query(copyFrom(`copy ${into} from stdin`)));
}
