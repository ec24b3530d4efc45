/** Rows into Postgres by COPY in text form. */
import { pipeline } from 'node:stream/promises';
import { from as copyFrom } from 'pg-copy-streams';
import type { PoolClient } from '../../registry/sql.js';

/** A value of a typed column: bigint and number columns, text, boolean, timestamptz as text, lists, bytea. */
export type CopyValue =
  | string
  | number
  | bigint
  | boolean
  | null
  | ReadonlyArray<string | number>
  | Uint8Array;

/** One line of COPY's text form. */
export function copyLine(values: readonly CopyValue[]): string {
  let line = '';
  for (let i = 0; i < values.length; i++) line += (i === 0 ? '' : '\t') + copyField(values[i]!);
  return `${line}\n`;
}

function copyField(value: CopyValue): string {
  if (value === null) return '\\N';
  if (typeof value === 'string') return escapeText(value);
  if (typeof value === 'boolean') return value ? 't' : 'f';
  if (typeof value !== 'object') return String(value);
  if (value instanceof Uint8Array)
    return `\\\\x${Buffer.from(value.buffer, value.byteOffset, value.byteLength).toString('hex')}`;
  return escapeText(listText(value));
}

/** A list as Postgres writes it: {"a","b"}. */
function listText(list: ReadonlyArray<string | number>): string {
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

/** @param into the table and its columns as SQL: `t (a, b)`. @param lines made by copyLine */
export async function copyLines(client: PoolClient, into: string, lines: readonly string[]): Promise<void> {
  if (lines.length === 0) return;
  const stream = client.query(copyFrom(`copy ${into} from stdin`));
  await pipeline(function* () {
    for (let i = 0; i < lines.length; i += 500) yield lines.slice(i, i + 500).join('');
  }, stream);
}
