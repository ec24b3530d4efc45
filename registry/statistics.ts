/** What is known of the values of a view, and what came of what is expected of them: read from the tables of migration 0006. */
import { z } from 'zod';
import { FeatureType } from '../core/definition.js';
import { FeatureStoreError } from '../core/error.js';
import { formatTimestamp } from '../core/time.js';
import { type Page, type PageQuery, readPage } from './page.js';
import { Count, Timestamp } from './requests.js';
import { resolveView } from './resolve.js';
import type { Pool, PoolClient } from './sql.js';

const Figure = z.number().nullable();

export const WRITTEN = ['tick', 'backfill', 'training-set', 'served'] as const;

/** Of the values of a feature that were written at once. */
export const FeatureStatistics = z.strictObject({
  what: z.enum(WRITTEN),
  /** The tick, or the id of the backfill or of the training set. */
  reference: z.string(),
  at: Timestamp,
  count: Count,
  nulls: Count,
  /** Whole numbers beyond 2^53 are rounded here, in top too; the table has them exactly. */
  min: Figure,
  max: Figure,
  mean: Figure,
  deviation: Figure,
  p1: Figure,
  p5: Figure,
  p25: Figure,
  p50: Figure,
  p75: Figure,
  p95: Figure,
  p99: Figure,
  distinct: Count.nullable(),
  top: z
    .array(z.strictObject({ value: z.union([z.string(), z.number(), z.boolean()]), count: Count }))
    .nullable(),
  /** By how much each count of top may be too low. */
  topMissed: Count.nullable(),
});
export type FeatureStatistics = z.infer<typeof FeatureStatistics>;

const { what, reference, at, ...figures } = FeatureStatistics.shape;
export const ViewStatistics = z.strictObject({
  view: z.string(),
  version: Count,
  what,
  reference,
  at,
  features: z.array(z.strictObject({ feature: z.string(), type: FeatureType, ...figures })),
});
export type ViewStatistics = z.infer<typeof ViewStatistics>;

/** The newest, of one kind or all, or those of one reference. @param view "user_orders" or "user_orders@2" */
export async function readViewStatistics(
  pool: Pool,
  view: string,
  { what, reference }: { what?: (typeof WRITTEN)[number]; reference?: string },
): Promise<ViewStatistics> {
  const version = await resolveView(pool, view);
  const { rows } = await pool.query<
    Omit<ViewStatistics['features'][number], 'type'> &
      Pick<ViewStatistics, 'what' | 'reference'> & { at: number }
  >(
    `select what, reference, at, feature, count, nulls, min::double precision, max::double precision, mean, deviation,
            p1, p5, p25, p50, p75, p95, p99, distinct_values as "distinct", top, top_missed as "topMissed"
       from feature_statistics
      where version_id = $1
        and (what, reference) = (
          select what, reference from feature_statistics
           where version_id = $1 and ($2::text is null or what = $2) and ($3::text is null or reference = $3)
           order by at desc, what limit 1)
      order by feature collate "C"`,
    [version.id, what ?? null, reference ?? null],
  );
  const [first] = rows;
  if (!first)
    throw new FeatureStoreError('FS_NOT_FOUND', `there are no such statistics of ${version.view.name}@${version.version}`, {
      fix: reference === undefined ? `they come with its next tick or backfill: almanac materialize ${version.view.name}` : 'leave out the reference for the newest',
      view: version.view.name,
      version: version.version,
    }); // biome-ignore format: one thing
  return {
    view: version.view.name,
    version: version.version,
    what: first.what,
    reference: first.reference,
    at: formatTimestamp(first.at),
    features: rows.map(({ what: _what, reference: _reference, at: _at, ...figures }) => ({
      type: version.view.features.find(({ name }) => name === figures.feature)!.type,
      ...figures,
    })),
  };
}

export const ExpectationResult = z
  .strictObject({
    expectation: z.string(),
    feature: z.string().nullable(),
    severity: z.enum(['warn', 'block']),
    what: z.enum(['tick', 'backfill', 'stream']),
    /** The tick, the id of the backfill, or partition and sequence of the stream. */
    reference: z.string(),
    at: Timestamp,
    passed: z.boolean(),
    /** A share, a number of values or events, milliseconds, or a relative change; null: there was nothing to tell it by. */
    observed: z.number().nullable(),
    /** The greatest that passes. */
    allowed: z.number(),
    said: z.string(),
  })
  .meta({ id: 'ExpectationResult' });
export type ExpectationResult = z.infer<typeof ExpectationResult>;

const RESULT = 'expectation, feature, severity, what, reference, at, passed, observed, allowed, said';

/** Newest first. */
export async function listExpectationResults(
  pool: Pool,
  view: string,
  { passed, ...query }: PageQuery & { passed?: boolean },
): Promise<Page<ExpectationResult>> {
  const { id } = await resolveView(pool, view);
  return readPage(
    pool,
    {
      name: 'expectations',
      sql: `select ${RESULT}, (extract(epoch from at) * 1000000)::bigint as "order"
              from expectation_result where version_id = $1 and ($2::boolean is null or passed = $2)`,
      values: [id, passed ?? null],
      key: { order: 'bigint', what: 'text', reference: 'text', expectation: 'text', severity: 'text' },
      newestFirst: true,
    },
    query,
    resultOf,
  );
}

export type StoredResult = Omit<ExpectationResult, 'at'> & { at: number };

export function resultOf({ expectation, feature, severity, what, reference, at, passed, observed, allowed, said }: StoredResult): ExpectationResult {
  return { expectation, feature, severity, what, reference, at: formatTimestamp(at), passed, observed, allowed, said };
} // biome-ignore format: one list

export const FailedExpectation = ExpectationResult.extend({ view: z.string(), version: Count }).meta({
  id: 'FailedExpectation',
});
export type FailedExpectation = z.infer<typeof FailedExpectation>;

/** Of versions in use or on their way, those expectations whose newest result is a failure. */
export async function readFailed(client: PoolClient): Promise<FailedExpectation[]> {
  const { rows } = await client.query<StoredResult & { view: string; version: number }>(
    `select n.*
       from expectation_now n join view_version v on v.id = n.version_id
      where not n.passed and v.state not in ('abandoned', 'retired')
      order by n.view collate "C", n.version, n.expectation collate "C", n.severity`,
  );
  return rows.map((row) => ({ view: row.view, version: row.version, ...resultOf(row) }));
}
