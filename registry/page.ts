/**
 * Lists in pages. A page begins behind the last item of the one before, by the list's own order: what is there from the first page
 * to the last is given once, whatever is added meanwhile.
 */
import { z } from 'zod';
import { FeatureStoreError } from '../core/error.js';
import { type Pool, type PoolClient, quote } from './sql.js';

/** Of every list: extend it with filters. */
export const PageQuery = z.strictObject({
  limit: z
    .preprocess(
      (text) => (typeof text === 'string' && /^[0-9]{1,9}$/.test(text) ? Number(text) : text),
      z.number('is no whole number').int().min(1).max(1_000).meta({ default: 100 }),
    )
    .default(100),
  /** `next` of the page before, as it came. */
  after: z.string().exactOptional(),
});
export type PageQuery = z.infer<typeof PageQuery>;

export interface Page<Item> {
  items: Item[];
  /** What to give as `after` for the next page; null: this is the last. */
  next: string | null;
}
export function pageOf<Item>(item: z.ZodType<Item>): z.ZodType<Page<Item>> {
  return z.strictObject({ items: z.array(item), next: z.string().nullable() });
}

const KEY_TYPES = {
  text: z.string().refine((text) => text.isWellFormed() && !text.includes('\0')),
  bigint: z.number().int(),
};

export interface List {
  /** Stands in its cursors, so that those of another list are refused. */
  name: string;
  /** A query without order. */
  sql: string;
  values?: readonly unknown[];
  /** Columns of the query that order it: together unique, never null, never changed. */
  key: Readonly<Record<string, keyof typeof KEY_TYPES>>;
  /** By the key, descending. */
  newestFirst?: boolean;
}

/** Throws FS_REQUEST_INVALID for a cursor that is none of this list. */
export async function readPage<Row extends object, Item>(
  client: Pool | PoolClient,
  { name, sql, values = [], key, newestFirst = false }: List,
  { limit, after }: PageQuery,
  itemOf: (row: Row) => Item,
): Promise<Page<Item>> {
  const types = Object.values(key);
  const columns = Object.keys(key).map(
    (column, index) => `${quote(column)}${types[index] === 'text' ? ' collate "C"' : ''}`,
  );
  const order = newestFirst ? 'desc' : 'asc';
  const from = after === undefined ? [] : decodeCursor(name, types, after);
  const places = from.map((_, index) => `$${values.length + index + 2}::${types[index]}`);
  const isBehind =
    after === undefined ? 'true' : `(${columns.join()}) ${newestFirst ? '<' : '>'} (${places.join()})`;
  const { rows } = await client.query<Row & { cursor: unknown[] }>(
    `select listed.*, json_build_array(${columns.join()}) as cursor
       from (${sql}) as listed
      where ${isBehind}
      order by ${columns.map((column) => `${column} ${order}`).join()}
      limit $${values.length + 1} + 1`,
    [...values, limit, ...from],
  );
  return {
    items: rows.slice(0, limit).map(({ cursor: _cursor, ...row }) => itemOf(row as unknown as Row)),
    next: rows.length > limit ? encodeCursor(name, rows[limit - 1]!.cursor) : null,
  };
}

// ["versions","user_orders",2] as base64url

function encodeCursor(name: string, key: readonly unknown[]): string {
  return Buffer.from(JSON.stringify([name, ...key])).toString('base64url');
}

function decodeCursor(name: string, types: ReadonlyArray<keyof typeof KEY_TYPES>, cursor: string): unknown[] {
  const refuse = (): never => {
    throw new FeatureStoreError(
      'FS_REQUEST_INVALID',
      `after: ${JSON.stringify(cursor.slice(0, 80))} is no cursor of ${name}`,
      {
        fix: 'give `next` of the page before, as it came; the first page takes none',
        field: 'after',
      },
    );
  };
  let read: unknown;
  try {
    read = JSON.parse(Buffer.from(cursor, 'base64url').toString());
  } catch {
    return refuse();
  }
  const Cursor = z.tuple([z.literal(name), ...types.map((type) => KEY_TYPES[type])]);
  const { success, data } = Cursor.safeParse(read);
  if (!success || encodeCursor(name, data.slice(1)) !== cursor) return refuse();
  return data.slice(1);
}
