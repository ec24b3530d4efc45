/**
 * Everything known about features, in tables that people query (migrations/0009_catalog.sql, 0013_known.sql): what definitions say, by core/describe.ts,
 * and what the stores know beside it.
 */
import { z } from 'zod';
import type { Definitions } from '../core/definition.js';
import { Expectation, FeatureLiteral, FeatureType } from '../core/definition.js';
import {
  describeView,
  type Edge,
  type FeatureDescription,
  LINEAGE_KINDS,
  type LineageKind,
  lineageOf,
  lineageOfService,
  type Node,
} from '../core/describe.js';
import { FeatureStoreError } from '../core/error.js';
import { VERSION_STATES } from '../core/plan.js';
import { formatTimestamp, parseTimestamp } from '../core/time.js';
import { type Page, type PageQuery, readPage } from './page.js';
import { Count, Timestamp, ViewKind } from './requests.js';
import { resolveView, unknownName, type ViewVersion } from './resolve.js';
import type { Pool, PoolClient } from './sql.js';
import { ExpectationResult, FeatureStatistics, resultOf } from './statistics.js';

// ---------------------------------------------------------------- writing

/** What is known of these versions and of the services, as it is now: rows that are so already stay as they are. */
export async function writeCatalog(
  client: PoolClient,
  definitions: Definitions,
  versions: readonly ViewVersion[],
): Promise<void> {
  const scopes = versions.map((version) => ({ version, scope: scopeOf(version, definitions) }));
  await writeFeatures(
    client,
    scopes.flatMap(({ version, scope }) =>
      describeView(version.view, scope).map((each) => rowOf(version.version, each)),
    ),
  );
  await writeLineage(
    client,
    versions.map(({ id }) => id),
    [
      ...scopes.flatMap(({ version, scope }) => lineageOf(version.view, scope).map((edge) => ({ ...edge, id: version.id }))), // biome-ignore format: short
      ...definitions.services.flatMap((service) => lineageOfService(service).map((edge) => ({ ...edge, id: null }))), // biome-ignore format: short
    ],
  );
}

/** A version goes by the entity and source that it keeps; they may have changed since. */
function scopeOf(version: ViewVersion, definitions: Definitions): Definitions {
  if (version.kind === 'onDemand') return definitions;
  return { ...definitions, entities: [version.entity], sources: version.source ? [version.source] : [] };
}

const rowOf = (version: number, each: FeatureDescription) => ({
  view: each.view,
  version,
  feature: each.feature,
  description: each.description,
  owner: each.owner,
  contact: each.contact,
  tags: each.tags,
  entities: each.entities,
  keys: each.keys,
  sources: each.sources,
  reads: each.reads,
  transformation: each.transformation,
  exact: JSON.parse(each.exact) as unknown,
  type: each.output.type,
  nullable: each.output.nullable,
  min: each.output.min,
  max: each.output.max,
  allowed: each.output.allowed,
  expectations: each.expectations,
  computed: each.computed,
  tier: each.freshness?.tier ?? null,
  expected_every_ms: each.freshness?.expectedEveryMs ?? null,
  ttl_ms: each.ttlMs,
  cold_start: each.coldStart,
});

const KEY = ['view', 'version', 'feature'];

async function writeFeatures(
  client: PoolClient,
  rows: ReadonlyArray<ReturnType<typeof rowOf>>,
): Promise<void> {
  if (rows.length === 0) return;
  const columns = Object.keys(rows[0]!);
  const said = columns.filter((column) => !KEY.includes(column));
  // A cold start of null is the JSON null, not a missing one.
  const given = columns.map((column) => (column === 'cold_start' ? `coalesce(cold_start, 'null')` : column));
  await client.query(
    `insert into feature as old (${columns.join()})
     select ${given.join()} from jsonb_populate_recordset(null::feature, $1)
     on conflict (${KEY.join()}) do update set ${said.map((column) => `${column} = excluded.${column}`).join()}
      where (${said.map((column) => `old.${column}`).join()}) is distinct from (${said.map((column) => `excluded.${column}`).join()})`,
    [JSON.stringify(rows)],
  );
}

async function writeLineage(
  client: PoolClient,
  versionIds: readonly number[],
  edges: ReadonlyArray<Edge & { id: number | null }>,
): Promise<void> {
  const rows = edges.map(({ from, to, id }) => ({
    from_kind: from.kind,
    from_name: from.name,
    to_kind: to.kind,
    to_name: to.name,
    version_id: id,
  }));
  await client.query(
    `with now as materialized (select * from jsonb_populate_recordset(null::lineage, $1)),
          gone as (
            delete from lineage old
             where (version_id is null or version_id = any ($2))
               and not exists (select from now
                                where (now.from_kind, now.from_name, now.to_kind, now.to_name) = (old.from_kind, old.from_name, old.to_kind, old.to_name)
                                  and now.version_id is not distinct from old.version_id))
     insert into lineage select * from now on conflict do nothing`,
    [JSON.stringify(rows), versionIds],
  );
}

// ---------------------------------------------------------------- reading

export const CatalogFeature = z
  .strictObject({
    view: z.string(),
    version: Count,
    feature: z.string(),
    kind: ViewKind,
    state: z.enum(VERSION_STATES),
    description: z.string(),
    owner: z.string(),
    /** null: nobody said. */
    contact: z.string().nullable(),
    tags: z.array(z.string()),
    entities: z.array(z.string()),
    keys: z.array(z.string()),
    sources: z.array(z.string()),
    /** Columns as "orders.amount", features as "view:feature", fields of the request as "request.field". */
    reads: z.array(z.string()),
    /** In words, and as it stands in the definition. */
    transformation: z.string(),
    exact: z.record(z.string(), z.unknown()),
    /** Of every value, the cold start's too; null: not known, or any. */
    output: z.strictObject({
      type: FeatureType,
      nullable: z.boolean(),
      min: z.number().nullable(),
      max: z.number().nullable(),
      allowed: z.array(z.union([z.string(), z.number(), z.boolean()])).nullable(),
    }),
    expectations: z.array(Expectation),
    /** When its values move. */
    computed: z.string(),
    freshness: z
      .strictObject({ tier: z.enum(['realtime', 'hourly', 'daily']), expectedEveryMs: Count })
      .nullable(),
    ttlMs: Count.nullable(),
    coldStart: FeatureLiteral,
    /** Of its values: of the newest published tick or backfill; where there is none, of the newest training set. */
    statistics: FeatureStatistics.nullable(),
    /** What came last of each of its expectations. */
    expectationResults: z.array(ExpectationResult),
    progress: z.strictObject({
      lastTick: Timestamp.nullable(),
      lastEvent: Timestamp.nullable(),
      lastWrite: Timestamp.nullable(),
      /** Of its source's stream. */
      watermark: Timestamp.nullable(),
    }),
    /** Whose lock reads the version. */
    models: z.array(z.string()),
    /** When serving last answered with the version, to the minute. */
    lastRead: Timestamp.nullable(),
  })
  .meta({ id: 'CatalogFeature' });
export type CatalogFeature = z.infer<typeof CatalogFeature>;

type CatalogRow = Omit<CatalogFeature, 'output' | 'freshness' | 'statistics' | 'expectationResults' | 'progress' | 'lastRead'> &
  CatalogFeature['output'] & {
    tier: 'realtime' | 'hourly' | 'daily' | null;
    every: number;
    statistics: (Omit<FeatureStatistics, 'distinct' | 'topMissed'> & { distinct_values: number | null; top_missed: number | null }) | null;
    results: ExpectationResult[] | null;
  } & Record<'tick' | 'event' | 'write' | 'watermark' | 'read', number | null>; // biome-ignore format: a row of the view

const COLUMNS = `view, version, feature, kind, state, description, owner, contact, tags, entities, keys, sources, reads,
  transformation, exact, type, nullable, min, max, allowed, expectations, computed, tier, expected_every_ms as every,
  ttl_ms as "ttlMs", cold_start as "coldStart", statistics, expectation_results as results, last_tick as tick, last_event as event, last_write as write, watermark,
  models, last_read as read`;

function itemOf(row: CatalogRow): CatalogFeature {
  const { type, nullable, min, max, allowed, tier, every, statistics, results, tick, event, write, watermark, read, ...rest } = row; // biome-ignore format: short
  const iso = (ms: number | null): string | null => (ms === null ? null : formatTimestamp(ms));
  return {
    ...rest,
    output: { type, nullable, min, max, allowed },
    freshness: tier === null ? null : { tier, expectedEveryMs: every },
    statistics: statistics && statisticsOf(statistics),
    expectationResults: (results ?? []).map(({ at, ...each }) =>
      resultOf({ ...each, at: parseTimestamp(at) }),
    ),
    progress: {
      lastTick: iso(tick),
      lastEvent: iso(event),
      lastWrite: iso(write),
      watermark: iso(watermark),
    },
    lastRead: iso(read),
  };
}

/** JSON has its own form of `at`. */
function statisticsOf({
  distinct_values: distinct,
  top_missed: topMissed,
  at,
  ...rest
}: NonNullable<CatalogRow['statistics']>): FeatureStatistics {
  return { ...rest, at: formatTimestamp(parseTimestamp(at)), distinct, topMissed };
}

export interface FeatureFilter {
  view?: string;
  owner?: string;
  tag?: string;
  entity?: string;
  source?: string;
  state?: string;
}

/** By view, version and feature. */
export function listFeatures(
  pool: Pool,
  { view, owner, tag, entity, source, state }: FeatureFilter,
  query: PageQuery,
): Promise<Page<CatalogFeature>> {
  return readPage(
    pool,
    {
      name: 'features',
      sql: `select ${COLUMNS} from feature_catalog
             where ($1::text is null or view = $1) and ($2::text is null or owner = $2)
               and ($3::text is null or $3 = any (tags)) and ($4::text is null or $4 = any (entities))
               and ($5::text is null or $5 = any (sources)) and ($6::text is null or state = $6)`,
      values: [view, owner, tag, entity, source, state].map((value) => value ?? null),
      key: { view: 'text', version: 'bigint', feature: 'text' },
    },
    query,
    itemOf,
  );
}

/**
 * Those of one version, or one of them, by name.
 * @param reference "user_orders" or "user_orders@2"
 * Throws FS_NOT_FOUND with the nearest name, and for a version that was never live.
 */
export async function getFeatures(pool: Pool, reference: string, name?: string): Promise<CatalogFeature[]> {
  const { view, version, state } = await resolveView(pool, reference);
  const names = view.features.map((each) => each.name);
  if (name !== undefined && !names.includes(name)) throw unknownName('feature', name, names);
  const { rows } = await pool.query<CatalogRow>(
    `select ${COLUMNS} from feature_catalog
      where (view, version) = ($1, $2) and ($3::text is null or feature = $3)
      order by feature collate "C"`,
    [view.name, version, name ?? null],
  );
  if (rows.length > 0) return rows.map(itemOf);
  throw new FeatureStoreError('FS_NOT_FOUND', `${view.name} v${version} was never live: it is ${state}`, {
    fix: 'ask again when its plan is applied',
    view: view.name,
  });
}

const NodeItem = z.strictObject({ kind: z.enum(LINEAGE_KINDS), name: z.string() });
export const Direction = z.enum(['up', 'down']);
export type Direction = z.infer<typeof Direction>;
export const Lineage = z
  .strictObject({
    kind: z.enum(LINEAGE_KINDS),
    name: z.string(),
    direction: Direction,
    /** `to` is made of `from`: every step of every way that leads from the node, or to it. By names. */
    edges: z.array(
      z.strictObject({
        from: NodeItem,
        to: NodeItem,
        /** Versions of the view by which it is so; none: it is no view's doing. */
        versions: z.array(Count),
      }),
    ),
  })
  .meta({ id: 'Lineage' });
export type Lineage = z.infer<typeof Lineage>;

/** What a node is made of, or what is made of it, all the way. Throws FS_NOT_FOUND with the nearest name of its kind. */
export async function readLineage(pool: Pool, { kind, name }: Node, direction: Direction): Promise<Lineage> {
  const [near, far] = direction === 'down' ? ['from', 'to'] : ['to', 'from'];
  const { rows } = await pool.query<Record<'fromKind' | 'toKind', LineageKind> & { fromName: string; toName: string; versions: number[] }>(
    `with recursive edge as materialized (
       select from_kind, from_name, to_kind, to_name, array_agg(distinct version order by version) filter (where version is not null) as versions
         from lineage_now group by 1, 2, 3, 4
     ), reached (kind, name) as (
       select $1::text, $2::text
        union
       select ${far}_kind, ${far}_name from reached join edge on (${near}_kind, ${near}_name) = (kind, name)
     )
     select from_kind as "fromKind", from_name as "fromName", to_kind as "toKind", to_name as "toName", coalesce(versions, '{}') as versions
       from edge join reached on (${near}_kind, ${near}_name) = (kind, name)
      order by from_kind, from_name collate "C", to_kind, to_name collate "C"`,
    [kind, name],
  ); // biome-ignore format: a row of the query
  if (rows.length === 0) await assertNode(pool, kind, name);
  return {
    kind,
    name,
    direction,
    edges: rows.map(({ fromKind, fromName, toKind, toName, versions }) => ({
      from: { kind: fromKind, name: fromName },
      to: { kind: toKind, name: toName },
      versions,
    })),
  };
}

async function assertNode(pool: Pool, kind: LineageKind, name: string): Promise<void> {
  const { rows } = await pool.query<{ name: string }>(
    `select from_name as name from lineage_now where from_kind = $1
      union select to_name from lineage_now where to_kind = $1 order by 1`,
    [kind],
  );
  const names = rows.map((row) => row.name);
  if (!names.includes(name)) throw unknownName(kind, name, names);
}
