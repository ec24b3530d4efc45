/** Who changed what (table audit): rows in the transaction of the change, so that there is none without the other. */
import { z } from 'zod';
import { formatTimestamp } from '../core/time.js';
import { type Page, type PageQuery, readPage } from './page.js';
import { Count, Timestamp } from './requests.js';
import type { Pool, PoolClient } from './sql.js';

export const AUDIT_KINDS = [
  'plan', 'project', 'policy', 'owner', 'entity', 'source', 'view', 'service', 'model', 'stream', 'run',
] as const; // biome-ignore format: one list

export interface Entry {
  who: string;
  /** A verb. */
  action: string;
  /** Of what was changed; run: what somebody asked of one. */
  kind: (typeof AUDIT_KINDS)[number];
  name: string;
  /** Left out: it was not there, it is not there any more. */
  before?: unknown;
  after?: unknown;
  planHash?: string;
  /** The run that it was part of. */
  workflow?: string;
}

export async function record(client: PoolClient, entries: readonly Entry[]): Promise<void> {
  await client.query(
    `insert into audit (who, action, kind, name, before, after, plan_hash, workflow)
     select who, action, kind, name, before, after, "planHash", workflow
       from rows from (jsonb_to_recordset($1)
              as (who text, action text, kind text, name text, before jsonb, after jsonb, "planHash" text, workflow text))
              with ordinality as entry (who, action, kind, name, before, after, "planHash", workflow, place)
      order by place`,
    [JSON.stringify(entries)],
  );
}

export const AuditItem = z
  .strictObject({
    id: Count,
    at: Timestamp,
    who: z.string(),
    action: z.string(),
    kind: z.string(),
    name: z.string(),
    /** null: it was not there. */
    before: z.unknown(),
    /** null: it is not there any more. */
    after: z.unknown(),
    planHash: z.string().nullable(),
    workflow: z.string().nullable(),
  })
  .meta({ id: 'AuditItem' });
export type AuditItem = z.infer<typeof AuditItem>;

/** Newest first. */
export function listAudit(
  pool: Pool,
  {
    who,
    action,
    kind,
    name,
    planHash,
  }: Partial<Pick<Entry, 'who' | 'action' | 'kind' | 'name' | 'planHash'>>,
  query: PageQuery,
): Promise<Page<AuditItem>> {
  return readPage(
    pool,
    {
      name: 'audit',
      sql: `select id, at, who, action, kind, name, before, after, plan_hash as "planHash", workflow
              from audit
             where ($1::text is null or who = $1) and ($2::text is null or action = $2) and ($3::text is null or kind = $3)
               and ($4::text is null or name = $4) and ($5::text is null or plan_hash = $5)`,
      values: [who, action, kind, name, planHash].map((value) => value ?? null),
      key: { id: 'bigint' },
      newestFirst: true,
    },
    query,
    (row: Omit<AuditItem, 'at'> & { at: number }) => ({ ...row, at: formatTimestamp(row.at) }),
  );
}
