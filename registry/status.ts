/** What the registry says of itself: GET /v1/status, GET /v1/views/{view}/progress. Each is one instant of the database. */
import { z } from 'zod';
import type { Source, View } from '../core/definition.js';
import { VERSION_STATES, type VersionState } from '../core/plan.js';
import { formatTimestamp } from '../core/time.js';
import { readArchived } from './apply.js';
import { type Page, type PageQuery, readPage } from './page.js';
import { Count, Timestamp, ViewKind } from './requests.js';
import { findRevision, resolveStoredView } from './resolve.js';
import { type Pool, type PoolClient, transaction } from './sql.js';
import { FailedExpectation, readFailed } from './statistics.js';
import { rowsTable } from './tables.js';

/** Of a stream, by its operator or the platform. */
export const Wanted = z.enum(['run', 'pause', 'drain']);
export type Wanted = z.infer<typeof Wanted>;

/** One partition of a source's topic. */
const StreamStatus = z
  .strictObject({
    source: z.string(),
    partition: Count,
    topic: z.string(),
    /** 'waiting': never read. 'silent': its reader has shown nothing for some seconds; then what it said last is what is here. */
    state: z.enum(['waiting', 'running', 'paused', 'drained', 'silent']),
    /** What its reader is to do, whatever it does now. */
    wanted: Wanted,
    /** Why the platform itself has paused it; null: it did not. */
    reason: z.string().nullable(),
    offset: Count,
    /** Of the topic, as its reader last saw it. */
    end: Count.nullable(),
    /** Messages between the two. */
    lag: Count.nullable(),
    watermark: Timestamp.nullable(),
    ratePerSecond: z.number().nullable(),
    /** `late` are among the archived; `parity` counts online records that clashed with the streamed ones. */
    counts: z.record(
      z.enum(['archived', 'late', 'duplicate', 'conflict', 'invalid', 'tooLate', 'held', 'parity']),
      Count,
    ),
    /** Ranges that Redis missed and that are still to be written: dual-write/… */
    owed: Count,
    seenAt: Timestamp.nullable(),
  })
  .meta({ id: 'StreamStatus' });
export type StreamStatus = z.infer<typeof StreamStatus>;

const SourceStatus = z
  .strictObject({
    source: z.string(),
    input: z.string(),
    /** Where its data comes from, in words: a simulation says so here. */
    origin: z.string().nullable(),
    owner: z.string(),
    events: Count,
    finishedImports: Count,
  })
  .meta({ id: 'SourceStatus' });

export const ImportStatus = z
  .strictObject({
    id: Count,
    source: z.string(),
    name: z.string(),
    origin: z.string().nullable(),
    state: z.enum(['running', 'finished']),
    /** By how much its times were shifted. */
    shiftMs: Count,
    until: Timestamp.nullable(),
    /** Rows by outcome. */
    counts: z.record(z.string(), Count),
    bytesDone: Count,
    bytesTotal: Count,
    rowsDone: Count,
    rowsTotal: Count,
    startedAt: Timestamp,
    finishedAt: Timestamp.nullable(),
  })
  .meta({ id: 'ImportStatus' });
type ImportStatus = z.infer<typeof ImportStatus>;

/** One version that is in use or on its way. */
const ViewStatus = z
  .strictObject({
    view: z.string(),
    version: Count,
    versionId: Count,
    state: z.enum(VERSION_STATES),
    /** Somebody reads it: its records are in Redis. */
    online: z.boolean(),
    kind: ViewKind,
    entity: z.string().nullable(),
    source: z.string().nullable(),
    owner: z.string(),
    /** How new it should be; null for on-demand views. */
    freshness: z.string().nullable(),
    lastTick: Timestamp.nullable(),
    lastEvent: Timestamp.nullable(),
    lastWrite: Timestamp.nullable(),
    /** Every event up to this sequence is in its records. */
    sequence: Count.nullable(),
    /** Of its newest backfill; chunks of it done and in all. */
    entities: Count.nullable(),
    chunksDone: Count.nullable(),
    chunks: Count.nullable(),
  })
  .meta({ id: 'ViewStatus' });
type ViewStatus = z.infer<typeof ViewStatus>;

export const Status = z.strictObject({
  revision: Count,
  appliedBy: z.string().nullable(),
  appliedAt: Timestamp.nullable(),
  /** Names the data; Redis holds the same. */
  generation: z.string(),
  /** The plan being applied, if there is one. */
  openPlan: z.string().nullable(),
  sources: z.array(SourceStatus),
  imports: z.array(ImportStatus),
  streams: z.array(StreamStatus),
  views: z.array(ViewStatus),
  /** Those whose newest result is that they were not kept. */
  failedExpectations: z.array(FailedExpectation),
  services: z.array(z.strictObject({ service: z.string(), owner: z.string(), features: Count })),
});
export type Status = z.infer<typeof Status>;

// A reader shows itself twice a second, if nothing holds it up.
const SILENT_MS = 5_000;
// GET /v1/imports has the others.
const NEWEST_IMPORTS = 100;

export function readStatus(pool: Pool): Promise<Status> {
  return transaction(
    pool,
    async (client) => {
      const revision = await findRevision(client);
      const definitions = revision?.definitions ?? { entities: [], sources: [], views: [], services: [] };
      const archived = await readArchived(client);
      const { rows: generation } = await client.query<{ generation: string }>(
        'select generation::text from generation',
      );
      const { rows: open } = await client.query<{ hash: string }>(
        `select hash from plan where state in ('saved', 'open')`,
      );
      return {
        revision: revision?.revision ?? 0,
        appliedBy: revision?.appliedBy ?? null,
        appliedAt: iso(revision?.appliedAt ?? null),
        generation: generation[0]!.generation,
        openPlan: open[0]?.hash ?? null,
        sources: definitions.sources.map(({ name, input, stream, origin, owner }) => ({
          source: name,
          input: describeInput(input, stream?.topic),
          origin,
          owner,
          events: archived[name]?.events ?? 0,
          finishedImports: archived[name]?.finishedImports ?? 0,
        })),
        imports: (await listImports(client, { limit: NEWEST_IMPORTS }, definitions.sources)).items,
        streams: await readStreams(client, definitions.sources),
        views: await readViews(client),
        failedExpectations: await readFailed(client),
        services: definitions.services.map(({ name, owner, features }) => ({
          service: name,
          owner,
          features: features.length,
        })),
      };
    },
    'repeatable read',
  );
}

function describeInput(input: Source['input'], topic: string | undefined): string {
  if (input.type === 'topic') return `topic ${input.topic}`;
  const before = input.type === 'file' ? `${input.format} file` : `table ${input.table}`;
  return topic === undefined ? before : `${before}, then topic ${topic}`;
}

/** Newest first. @param sources of the present definitions */
export function listImports(
  client: Pool | PoolClient,
  query: PageQuery,
  sources: readonly Source[],
): Promise<Page<ImportStatus>> {
  const origins = new Map(sources.map(({ name, origin }) => [name, origin]));
  return readPage(
    client,
    {
      name: 'imports',
      sql: `select id, source, name, state, shift_ms as shift, until_ms as until, counts, next_byte as done, total_bytes as total,
                   next_offset as "rowsDone", total_rows as "rowsTotal", started_at as started, finished_at as finished
              from import`,
      key: { id: 'bigint' },
      newestFirst: true,
    },
    query,
    (row: {
      id: number; source: string; name: string; state: 'running' | 'finished'; shift: number; until: number | null;
      counts: Record<string, number>; done: number; total: number; rowsDone: number; rowsTotal: number; started: number; finished: number | null;
    }) => ({
      id: row.id,
      source: row.source,
      name: row.name,
      origin: origins.get(row.source) ?? null,
      state: row.state,
      shiftMs: row.shift,
      until: iso(row.until),
      counts: row.counts,
      bytesDone: row.state === 'finished' ? row.total : row.done,
      bytesTotal: row.total,
      rowsDone: row.rowsDone,
      rowsTotal: row.rowsTotal,
      startedAt: formatTimestamp(row.started),
      finishedAt: iso(row.finished),
    }),
  ); // biome-ignore format: a row of the query
}

export async function readStreams(
  client: Pool | PoolClient,
  sources: readonly Source[],
): Promise<StreamStatus[]> {
  const lateness = new Map(sources.map(({ name, allowedLatenessMs }) => [name, allowedLatenessMs]));
  const { rows } = await client.query<
    Pick<
      StreamStatus,
      | 'source'
      | 'partition'
      | 'topic'
      | 'state'
      | 'wanted'
      | 'reason'
      | 'offset'
      | 'end'
      | 'lag'
      | 'counts'
      | 'ratePerSecond'
      | 'owed'
    > & {
      greatest: number | null;
      seen: number | null;
    }
  >(
    `select o.source, partition, topic, next_offset as "offset", end_offset as "end", greatest(end_offset - next_offset, 0) as lag,
            case when state in ('running', 'paused') and seen_at < clock_timestamp() - interval '${SILENT_MS} ms' then 'silent' else state end as state,
            coalesce(c.wanted, 'run') as wanted, c.reason, greatest_event_ms as greatest, rate_per_second as "ratePerSecond", seen_at as seen,
            json_build_object('archived', archived, 'late', late, 'duplicate', duplicate, 'conflict', conflict, 'invalid', invalid,
              'tooLate', too_late, 'held', (select count(*) from held h where h.source = o.source and h.partition = o.partition),
              'parity', parity) as counts,
            (select count(*) from owed w join view_version v on v.id = w.version_id where v.source ->> 'name' = o.source) as owed
       from stream_offset o
       left join stream_control c on c.source = o.source
      order by o.source collate "C", partition`,
  );
  return rows.map(({ greatest, seen, ...row }) => ({
    ...row,
    watermark: iso(greatest === null ? null : greatest - (lateness.get(row.source) ?? 0)),
    seenAt: iso(seen),
  }));
}

async function readViews(client: PoolClient): Promise<ViewStatus[]> {
  const { rows } = await client.query<{
    view: string; version: number; id: number; state: VersionState; online: boolean; kind: View['kind']; definition: View;
    sequence: number | null; tick: number | null; event: number | null; write: number | null;
    entities: number | null; done: number | null; chunks: number | null;
  }>(
    `select v.view, v.version, v.id, v.state, v.kind, v.definition,
            v.online, p.sequence, p.last_tick_ms as tick, p.last_event_ms as event, p.last_write as write,
            c.entities, c.done, c.chunks
       from view_version v
       left join view_progress p on p.version_id = v.id
       left join lateral (
         -- the chunks of a sql view are ticks over the same entities
         select (case v.kind when 'sql' then max(entities) else sum(entities) end)::bigint as entities, count(*) filter (where done) as done, count(*) as chunks
           from backfill_chunk
          where backfill_id = (select max(id) from backfill where version_id = v.id)
       ) c on c.chunks > 0
      where v.state not in ('abandoned', 'retired')
      order by v.view collate "C", v.version`,
  ); // biome-ignore format: a row of the query
  return rows.map(({ view, version, id, state, online, kind, definition, ...row }) => ({
    view,
    version,
    versionId: id,
    state,
    online,
    kind,
    entity: definition.kind === 'onDemand' ? null : definition.entity,
    source: definition.kind === 'aggregation' ? definition.source : null,
    owner: definition.owner,
    freshness: definition.kind === 'onDemand' ? null : definition.freshness.tier,
    lastTick: iso(row.tick),
    lastEvent: iso(row.event),
    lastWrite: iso(row.write),
    sequence: row.sequence,
    entities: row.entities,
    chunksDone: row.done,
    chunks: row.chunks,
  }));
}

export const ViewProgress = z
  .strictObject({
    view: z.string(),
    version: Count,
    versionId: Count,
    state: z.enum(VERSION_STATES),
    /** Somebody reads it: its records are in Redis. */
    online: z.boolean(),
    sequence: Count.nullable(),
    lastTick: Timestamp.nullable(),
    lastEvent: Timestamp.nullable(),
    lastWrite: Timestamp.nullable(),
    /**
     * What happened up to here is in it, lateness allowed for. Of a view of a stream: the least of the partitions that have events; else the
     * last tick.
     */
    watermark: Timestamp.nullable(),
    /** Entities with a snapshot; of a sql view, those with rows. Counted now. */
    entities: Count,
    /** Tick rows. */
    rows: Count,
    /** The newest 20. */
    backfills: z.array(
      z.strictObject({
        id: Count,
        start: Timestamp,
        end: Timestamp,
        /** blocked: an expectation kept it from being published. */
        state: z.enum(['running', 'finished', 'blocked']),
        chunksDone: Count,
        chunks: Count,
        events: Count,
        entities: Count,
        rows: Count,
      }),
    ),
  })
  .meta({ id: 'ViewProgress' });
export type ViewProgress = z.infer<typeof ViewProgress>;

/** @param reference "user_orders" or "user_orders@2" */
export function readViewProgress(pool: Pool, reference: string): Promise<ViewProgress> {
  return transaction(
    pool,
    async (client) => {
      const { id, version, state, online, view } = await resolveStoredView(client, reference);
      const { rows: known } = await client.query<{
        sequence: number | null;
        tick: number | null;
        event: number | null;
        write: number | null;
        watermark: number | null;
      }>(
        `select sequence, last_tick as tick, last_event as event, last_write as write, watermark
           from progress
          where version_id = $1`,
        [id],
      );
      const { sequence, tick, event, write, watermark } = known[0]!;
      const { rows: counted } = await client.query<{ rows: number; entities: number }>(
        view.kind === 'sql'
          ? `select count(*) as rows, count(distinct key) as entities from ${rowsTable(id)}`
          : `select (select count(*) from ${rowsTable(id)}) as rows,
                    (select count(event_ms) from snapshot where version_id = ${id}) as entities`,
      );
      const { rows: backfills } = await client.query<{
        id: number; start: number; end: number; state: 'running' | 'finished' | 'blocked';
        done: number; chunks: number; events: number; entities: number; rows: number;
      }>(
        `select b.id, b.start_ms as start, b.end_ms as "end", b.state,
                count(*) filter (where c.done) as done, count(c.chunk) as chunks,
                coalesce(sum(c.events), 0)::bigint as events, coalesce(sum(c.entities), 0)::bigint as entities,
                coalesce(sum(c.rows), 0)::bigint as rows
           from backfill b left join backfill_chunk c on c.backfill_id = b.id
          where b.version_id = $1
          group by b.id
          order by b.id desc
          limit 20`,
        [id],
      ); // biome-ignore format: a row of the query
      return {
        view: view.name,
        version,
        versionId: id,
        state,
        online,
        sequence,
        lastTick: iso(tick),
        lastEvent: iso(event),
        lastWrite: iso(write),
        watermark: iso(watermark),
        entities: counted[0]!.entities,
        rows: counted[0]!.rows,
        backfills: backfills.map(({ start, end, done, ...rest }) => ({
          ...rest,
          start: formatTimestamp(start),
          end: formatTimestamp(end),
          chunksDone: done,
        })),
      };
    },
    'repeatable read',
  );
}

function iso(ms: number | null): string | null {
  return ms === null ? null : formatTimestamp(ms);
}
