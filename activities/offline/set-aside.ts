/** What was not archived, and why. */
import type { PoolClient } from '../../registry/sql.js';

export interface SetAside {
  offset: number;
  outcome: 'invalid' | 'conflict' | 'too_late';
  reason: string;
  body: string;
}

const MAX_BODY = 16_384;

export async function insertSetAside(
  client: PoolClient,
  source: string,
  partition: number,
  rows: readonly SetAside[],
): Promise<void> {
  if (rows.length === 0) return;
  await client.query(
    `insert into set_aside (source, partition, "offset", outcome, reason, body)
     select $1, $2, * from unnest($3::bigint[], $4::text[], $5::text[], $6::text[])`,
    [
      source,
      partition,
      rows.map(({ offset }) => offset),
      rows.map(({ outcome }) => outcome),
      rows.map(({ reason }) => reason.toWellFormed().replaceAll('\0', '\\0')),
      rows.map(({ body }) => body),
    ],
  );
}

/** As JSON: it says NUL and lone surrogates, which Postgres' text cannot hold, with escapes. */
export function bodyText(body: () => unknown): string {
  const text = JSON.stringify(body(), (_, value: unknown) =>
    typeof value === 'bigint' ? String(value) : value,
  );
  return text.length > MAX_BODY ? `${text.slice(0, MAX_BODY).toWellFormed()}...` : text;
}
