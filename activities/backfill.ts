/**
 * Backfill: the values that a view version would have had, from the archive. The rows of `backfill` and `backfill_chunk` are the
 * truth of how far one is: its range of ticks and its bound are fixed when it is opened, and each chunk (a range of key hashes;
 * of a sql view: a tick) is computed from them alone, so it may be repeated, killed, or run twice at once.
 */
import { cancellationSignal } from '@temporalio/activity';
import { columnsRead } from '../core/canonical.js';
import { FeatureStoreError } from '../core/error.js';
import { countRepeated, Tally } from '../core/tally.js';
import { ceilTo, floorTo, formatTimestamp, parseTimestamp } from '../core/time.js';
import { getVersion, resolveStoredView, type StoredVersion } from '../registry/resolve.js';
import { type Pool, type PoolClient, transaction } from '../registry/sql.js';
import { archiveTable } from '../registry/tables.js';
import type { Deps } from './deps.js';
import { beating } from './heartbeat.js';
import {
  archiveBound,
  countEvents,
  type HashRange,
  hashRanges,
  MAX_HASH,
  MIN_HASH,
  readEvents,
} from './offline/archive.js';
import {
  cadenceOf,
  findProgress,
  newestCompleteTick,
  readClock,
  recordTicks,
  servedByTick,
} from './offline/ticks.js';
import { publishProgress } from './online/publish.js';
import {
  type AggregationVersion, assertOnline, type Compiled, type Counts, compileVersion, computeEntity, createTurns, NO_COUNTS, Output,
} from './output.js'; // biome-ignore format: one list
import { assertReadable, type SqlVersion, writeSqlTick } from './sql-view.js';
import {
  blockedBy,
  expects,
  type Judged,
  judgeTick,
  readRepeated,
  saveJudged,
  saveTickRows,
  tallyRows,
  type Written,
  warningsOf,
} from './statistics.js';

export interface OpenBackfillInput {
  view: string;
  version?: number;
  /** First tick, ISO; default: that of the first event (sql views: the one after the newest published tick, at first the newest complete one). */
  start?: string;
  /** Last tick, ISO; default: the newest complete tick. */
  end?: string;
  /** Default 50,000. */
  eventsPerChunk?: number;
}

/** What an operator should know of it, and how far it is. */
export interface BackfillStatus {
  backfillId: number;
  versionId: number;
  view: string;
  version: number;
  owner: string;
  /** Chunks of a sql view are its ticks: each is compared with the one before. */
  inOrder: boolean;
  /** ISO, both inside. */
  start: string;
  end: string;
  finished: boolean;
  chunks: number;
  chunksDone: number;
  counts: Counts;
}

// A chunk of streaming user features took 2 to 5 s; its memory stays below 100 MB.
const EVENTS_PER_CHUNK = 50_000;
const MAX_CHUNKS = 4_096;
// Hourly ticks of 500 years. A stray event of the year 1 should be named, not answered with a billion ticks.
const MAX_TICKS = 5_000_000;

export function createBackfillActivities(deps: Deps) {
  const { config, pool, redis } = deps;
  return {
    /** Fixes version, range and bound, or joins the backfill of the version that is running. */
    async openBackfill(input: OpenBackfillInput): Promise<BackfillStatus> {
      return beating(async () => {
        const version = await resolveStoredView(pool, referenceOf(input));
        await assertOnline(deps);
        const found = await open(pool, version, input);
        if (found.state === 'running')
          await splitOnce(pool, version, found, input.eventsPerChunk ?? EVENTS_PER_CHUNK);
        return statusOf(pool, version, found.id);
      });
    },

    /** Chunks that are to be done, the first `limit` in order. */
    async listOpenChunks({ backfillId, limit }: { backfillId: number; limit: number }): Promise<number[]> {
      const { rows } = await pool.query<{ chunk: number }>(
        'select chunk from backfill_chunk where backfill_id = $1 and not done order by chunk limit $2',
        [backfillId, limit],
      );
      return rows.map(({ chunk }) => chunk);
    },

    /** Computes a chunk and writes it, Postgres first; done when both stores have it. */
    async backfillChunk({ backfillId, chunk }: { backfillId: number; chunk: number }): Promise<Counts> {
      const backfill = await getBackfill(pool, backfillId);
      const { range, done, counts } = await getChunk(pool, backfillId, chunk);
      if (done) return counts;
      await assertOnline(deps);
      const version = await getVersion(pool, backfill.versionId);
      const { counts: written, tally } = await beating(() =>
        version.kind === 'sql'
          ? writeSqlTick(deps, version, backfill.start + chunk * version.view.cadenceMs)
          : computeRange(deps, compileVersion(version as AggregationVersion), backfill, range),
      );
      await pool.query(
        `update backfill_chunk set done = true, events = $3, entities = $4, rows = $5, tally = $6
          where backfill_id = $1 and chunk = $2 and not done`,
        [backfillId, chunk, written.events, written.entities, written.rows, Buffer.from(tally.encode())],
      );
      return written;
    },

    /** Publishes the ticks in Postgres, with what is known of their rows. Throws FS_EXPECTATION_FAILED: then nothing is published. */
    async recordBackfill({ backfillId }: { backfillId: number }): Promise<{ warnings: string[] }> {
      const { versionId, start, end, sequence } = await getBackfill(pool, backfillId);
      const version = (await getVersion(pool, versionId)) as StoredVersion;
      const written: Written = { versionId, what: 'backfill', reference: String(backfillId) };
      return beating(async () => {
        let tally = await readTally(pool, version, backfillId);
        if (version.kind === 'aggregation' && tally?.isWhole === false)
          tally = await recount(pool, version as AggregationVersion, { start, end, sequence });
        const judged = tally && (await judgeBackfill(pool, version, tally, end));
        const verdicts = judged?.verdicts ?? [];
        const blocked = blockedBy(version, `backfill ${backfillId}`, verdicts);
        await transaction(pool, async (client) => {
          await assertAllDone(client, backfillId);
          if (judged) await saveJudged(client, written, judged);
          if (blocked)
            await client.query(`update backfill set state = 'blocked' where id = $1`, [backfillId]);
          else {
            await client.query('update backfill_chunk set tally = null where backfill_id = $1', [backfillId]);
            // Of its first tick there are rows of all that was before, too.
            if (judged && version.kind !== 'sql' && start < end)
              await saveTickRows(client, version, end, judged.tally.rows);
            await recordTicks(client, version, { start, end, sequence });
          }
        });
        if (blocked) throw blocked;
        return { warnings: warningsOf(verdicts) };
      });
    },

    /** Lets serving know the newest published tick; nothing to tell of a streaming view. */
    async publishTicks({ versionId }: { versionId: number }): Promise<void> {
      const version = (await getVersion(pool, versionId)) as StoredVersion;
      if (servedByTick(version)) {
        const { rows } = await pool.query<{ last: number | null }>(
          'select last_tick_ms as last from view_progress where version_id = $1',
          [versionId],
        );
        const last = rows[0]?.last ?? null;
        if (last !== null) await publishProgress(redis, config.environment, [{ versionId, tickMs: last }]);
      }
    },

    async finishBackfill({ backfillId }: { backfillId: number }): Promise<BackfillStatus> {
      await pool.query(
        `update backfill set state = 'finished', finished_at = clock_timestamp() where id = $1 and state = 'running'`,
        [backfillId],
      );
      const { versionId } = await getBackfill(pool, backfillId);
      return statusOf(pool, (await getVersion(pool, versionId)) as StoredVersion, backfillId);
    },
  };
}

/** Every entity of a range of hashes, from all its events up to the bound. */
async function computeRange(
  deps: Deps,
  work: Compiled,
  { start, end, sequence }: { start: number; end: number; sequence: number },
  range: HashRange,
): Promise<{ counts: Counts; tally: Tally }> {
  const { version, compiled } = work;
  const tally = new Tally(version.view);
  const output = new Output(deps, work, { tally, until: end });
  const isUnique = expects(version, 'unique');
  const turn = createTurns();
  const of = { source: version.source, entity: version.entity, keyColumns: version.view.key };
  const span = {
    after: start - 1,
    until: end,
    opening: opens(await readFilled(deps.pool, version), start, cadenceOf(version).cadenceMs),
  };
  for await (const one of readEvents(deps.pool, of, {
    sequence,
    hashStart: range.start,
    hashEnd: range.end,
    columns: columnsRead(version.view, version.source),
    signal: cancellationSignal(),
  })) {
    const { rows, state } = computeEntity(compiled, one.events, span);
    await output.add(one, rows, state, one.events.length);
    if (isUnique) tally.addRepeated(countRepeated(compiled, one.events, () => true));
    await turn();
  }
  await output.flush();
  output.assertSame();
  return { counts: output.counts, tally };
}

const TALLIES_AT_ONCE = 50;

/** Of all chunks; null: it was published before. */
async function readTally(pool: Pool, version: StoredVersion, backfillId: number): Promise<Tally | null> {
  const tally = new Tally(version.view);
  for (let after = -1; ; ) {
    const { rows } = await pool.query<{ chunk: number; tally: Buffer | null }>(
      'select chunk, tally from backfill_chunk where backfill_id = $1 and chunk > $2 order by chunk limit $3',
      [backfillId, after, TALLIES_AT_ONCE],
    );
    for (const { tally: part } of rows) {
      if (part === null) return null;
      tally.merge(Tally.decode(version.view, part));
    }
    if (rows.length < TALLIES_AT_ONCE) return tally;
    after = rows.at(-1)!.chunk;
  }
}

/** Of its rows as they are stored: something is expected of them by now that was not when a chunk was counted. */
async function recount(
  pool: Pool,
  version: AggregationVersion,
  { start, end, sequence }: { start: number; end: number; sequence: number },
): Promise<Tally> {
  const tally = await transaction(pool, (client) =>
    tallyRows(client, version, { after: start - 1, until: end, newest: false }),
  );
  if (expects(version, 'unique'))
    tally.addRepeated(await readRepeated(pool, compileVersion(version), { sequence, signal: cancellationSignal() }, () => true)); // biome-ignore format: one thing
  return tally;
}

/** Age and number of rows by its last tick. A sql view's ticks were judged one by one. */
async function judgeBackfill(pool: Pool, version: StoredVersion, tally: Tally, end: number): Promise<Judged> {
  return version.kind === 'sql' ? { tally, verdicts: [] } : judgeTick(pool, version, tally, end);
}

export const referenceOf = ({ view, version }: { view: string; version?: number }): string =>
  version === undefined ? view : `${view}@${version}`;

/** A moment as people type it: an RFC 3339 instant, or a day, which begins at midnight UTC. */
export function parseMoment(text: string): number {
  return parseTimestamp(/^\d{4}-\d{2}-\d{2}$/.test(text) ? `${text}T00:00:00Z` : text);
}

interface BackfillRow {
  id: number;
  versionId: number;
  start: number;
  end: number;
  sequence: number;
  state: 'running' | 'finished' | 'blocked';
}

const BACKFILL = `id, version_id as "versionId", start_ms as start, end_ms as "end", sequence, state`;

async function getBackfill(pool: Pool, id: number): Promise<BackfillRow> {
  const { rows } = await pool.query<BackfillRow>(`select ${BACKFILL} from backfill where id = $1`, [id]);
  if (rows[0]) return rows[0];
  throw new FeatureStoreError('FS_NOT_FOUND', `there is no backfill ${id}`, { fix: 'start it again' });
}

/**
 * The backfill's row stands before any event beyond its bound: the archive's lock is held alone from the bound to the commit, so
 * whoever archives next finds the version being backfilled, and arrives now. What takes long is read before.
 */
async function open(pool: Pool, version: StoredVersion, input: OpenBackfillInput): Promise<BackfillRow> {
  const seen = version.kind === 'sql' ? 0 : await archiveBound(pool);
  const first = await firstEvent(pool, version, { after: 0, until: seen });
  return transaction(pool, async (client) => {
    await client.query('select 1 from view_version where id = $1 for update', [version.id]); // one opens at a time
    const { rows: running } = await client.query<BackfillRow>(
      `select ${BACKFILL} from backfill where version_id = $1 and state = 'running' order by id limit 1`,
      [version.id],
    );
    if (running[0] && !(await dropUnanswerable(client, version, running[0])))
      return join(version, running[0], input);
    const sequence = version.kind === 'sql' ? 0 : await archiveBound(client);
    const later = await firstEvent(client, version, { after: seen, until: sequence });
    const filled = await readFilled(client, version);
    const range = rangeOf(version, input, least(first, later), filled, await readClock(client));
    if (version.kind === 'sql' && filled) await assertNotBefore(client, version as SqlVersion, filled, range);
    await dropBlocked(client, version);
    const { rows } = await client.query<BackfillRow>(
      `insert into backfill (version_id, start_ms, end_ms, sequence, state) values ($1, $2, $3, $4, 'running')
       on conflict (version_id, start_ms, end_ms, sequence) do update set state = backfill.state
       returning ${BACKFILL}`,
      [version.id, range.start, range.end, sequence],
    );
    return rows[0]!;
  });
}

/**
 * A backfill over a table without history that did not end within its tick never will: what it asks for is gone. Nothing of it is
 * published, so it is forgotten.
 */
async function dropUnanswerable(
  client: PoolClient,
  version: StoredVersion,
  running: BackfillRow,
): Promise<boolean> {
  if (version.kind !== 'sql') return false;
  const { reads } = (version as SqlVersion).view;
  if (reads.every(({ kind }) => kind === 'append')) return false;
  if (running.end === newestCompleteTick(version, await readClock(client))) return false;
  await client.query('delete from backfill_chunk where backfill_id = $1', [running.id]);
  await client.query('delete from backfill where id = $1', [running.id]);
  return true;
}

/** What an expectation kept from being published is computed anew: the expectation, or the data, may be others now. */
async function dropBlocked(client: PoolClient, version: StoredVersion): Promise<void> {
  await client.query(
    `delete from backfill_chunk where backfill_id in (select id from backfill where version_id = $1 and state = 'blocked')`,
    [version.id],
  );
  await client.query(`delete from backfill where version_id = $1 and state = 'blocked'`, [version.id]);
}

/** The first and last tick that have rows; between them there is no gap. Null: it was never backfilled. */
interface Filled {
  first: number;
  last: number;
}

async function readFilled(db: Pool | PoolClient, version: StoredVersion): Promise<Filled | null> {
  const progress = await findProgress(db, version.id);
  if (progress === null || progress.lastTickMs === null) return null;
  return { first: progress.firstTickMs!, last: progress.lastTickMs };
}

/** Whether there is no row that one of the first tick could be compared with; also where the cadence of rows was another. */
function opens(filled: Filled | null, start: number, cadenceMs: number): boolean {
  return filled === null || start < filled.first || floorTo(filled.last, cadenceMs) !== filled.last;
}

/** A row of a sql view says what changed since the one before: filling a tick in between would leave the newer ones wrong. */
async function assertNotBefore(
  client: PoolClient,
  { id, view }: SqlVersion,
  { last }: Filled,
  { start, end }: { start: number; end: number },
): Promise<void> {
  const { rows } = await client.query<{ missing: number | null }>(
    `select min(tick) as missing from generate_series($2::bigint, $3::bigint, $4::bigint) as tick
      where not exists (select 1 from tick as published where version_id = $1 and published.tick_ms = tick)`,
    [id, start, Math.min(end, last), view.cadenceMs],
  );
  const missing = rows[0]!.missing;
  if (missing === null) return;
  throw new FeatureStoreError(
    'FS_REQUEST_INVALID',
    `tick ${formatTimestamp(missing)} of view "${view.name}" lies before tick ${formatTimestamp(last)}, which is published`,
    {
      fix: `start at ${formatTimestamp(last + view.cadenceMs)}; for older ticks publish the view as a new version and backfill all of it`,
      view: view.name,
    },
  );
}

const least = (a: number | null, b: number | null): number | null =>
  a === null ? b : b === null ? a : Math.min(a, b);

async function firstEvent(
  db: Pool | PoolClient,
  version: StoredVersion,
  { after, until }: { after: number; until: number },
): Promise<number | null> {
  if (version.kind !== 'aggregation' || until <= after) return null;
  const { rows } = await db.query<{ first: number | null }>(
    `select min(event_ms) as first from ${archiveTable(version.source.name)} where sequence > $1 and sequence <= $2`,
    [after, until],
  );
  return rows[0]!.first;
}

function join({ view, version }: StoredVersion, running: BackfillRow, input: OpenBackfillInput): BackfillRow {
  const other =
    (input.start !== undefined && parseMoment(input.start) !== running.start) ||
    (input.end !== undefined && parseMoment(input.end) !== running.end);
  if (!other) return running;
  throw new FeatureStoreError(
    'FS_CONFLICT',
    `${view.name}@${version} is being backfilled from ${formatTimestamp(running.start)} to ${formatTimestamp(running.end)}`,
    { fix: 'let that one end first: almanac backfill without a range goes on with it', view: view.name },
  );
}

function rangeOf(
  version: StoredVersion,
  input: OpenBackfillInput,
  firstMs: number | null,
  filled: Filled | null,
  nowMs: number,
): { start: number; end: number } {
  const { view } = version;
  const { cadenceMs } = cadenceOf(version);
  const newest = newestCompleteTick(version, nowMs);
  const end = input.end === undefined ? newest : floorTo(parseMoment(input.end), cadenceMs);
  const refuse = (what: string, fix: string): never => {
    throw new FeatureStoreError('FS_REQUEST_INVALID', what, { fix, view: view.name });
  };
  if (end > newest)
    refuse(
      `tick ${formatTimestamp(end)} of view "${view.name}" is in the future`,
      `end at ${formatTimestamp(newest)}, the newest complete tick, or before`,
    );
  // Between two ticks that have rows, every tick does; a table without history cannot be asked for those that were missed.
  const past =
    version.kind !== 'sql' || (version as SqlVersion).view.reads.every(({ kind }) => kind === 'append');
  const next = filled && past ? floorTo(filled.last, cadenceMs) + cadenceMs : null;
  // no event by then: the last tick alone, at which nothing is
  const first = Math.min(firstMs === null ? end : floorTo(firstMs, cadenceMs), next ?? end, end);
  const start = input.start === undefined ? first : ceilTo(parseMoment(input.start), cadenceMs);
  if (start > end)
    refuse(
      `the range from ${formatTimestamp(start)} to ${formatTimestamp(end)} has no tick`,
      'give a start before its end',
    );
  if (next !== null && start > next)
    refuse(
      `from tick ${formatTimestamp(start)} on, view "${view.name}" would have a gap after ${formatTimestamp(filled!.last)}, its newest tick`,
      `start at ${formatTimestamp(next)}, or give no start`,
    );
  if (filled && version.kind !== 'sql' && end < floorTo(filled.first - 1, cadenceMs))
    refuse(
      `up to tick ${formatTimestamp(end)}, view "${view.name}" would have a gap before ${formatTimestamp(filled.first)}, its first tick`,
      `end at ${formatTimestamp(floorTo(filled.first - 1, cadenceMs))} or later, or give no end`,
    );
  if ((end - start) / cadenceMs > MAX_TICKS)
    refuse(
      `from the first event, of ${formatTimestamp(start)}, view "${view.name}" has ${(end - start) / cadenceMs} ticks, beyond ${MAX_TICKS}`,
      'give the start from which ticks are wanted; older events count all the same',
    );
  if (version.kind === 'sql') assertReadable(version as SqlVersion, start, newest);
  return { start, end };
}

/** Writes the chunks, unless they are there. */
async function splitOnce(
  pool: Pool,
  version: StoredVersion,
  backfill: BackfillRow,
  eventsPerChunk: number,
): Promise<void> {
  const { rowCount } = await pool.query('select 1 from backfill_chunk where backfill_id = $1 limit 1', [
    backfill.id,
  ]);
  if (rowCount !== 0) return;
  const ranges = await split(pool, version, backfill, eventsPerChunk);
  await pool.query(
    `insert into backfill_chunk (backfill_id, chunk, hash_start, hash_end)
     select $1, place - 1, hash_start, hash_end
       from unnest($2::bigint[], $3::bigint[]) with ordinality as ranges (hash_start, hash_end, place)
     on conflict do nothing`,
    [backfill.id, ranges.map(({ start }) => String(start)), ranges.map(({ end }) => String(end))],
  );
}

async function split(
  pool: Pool,
  version: StoredVersion,
  backfill: BackfillRow,
  eventsPerChunk: number,
): Promise<HashRange[]> {
  if (version.kind !== 'aggregation') {
    const ticks = (backfill.end - backfill.start) / cadenceOf(version).cadenceMs + 1;
    return Array.from({ length: ticks }, () => ({ start: MIN_HASH, end: MAX_HASH }));
  }
  const { source, entity, view } = version as AggregationVersion;
  const events = await countEvents(pool, source, backfill.sequence);
  const parts = Math.min(MAX_CHUNKS, Math.max(1, Math.ceil(events / Math.max(1, eventsPerChunk))));
  return hashRanges(pool, { source, entity, keyColumns: view.key }, { sequence: backfill.sequence, parts });
}

async function getChunk(
  pool: Pool,
  backfillId: number,
  chunk: number,
): Promise<{ range: HashRange; done: boolean; counts: Counts }> {
  const { rows } = await pool.query<{
    start: string;
    end: string;
    done: boolean;
    events: number;
    entities: number;
    rows: number;
  }>(
    `select hash_start::text as start, hash_end::text as "end", done, events, entities, rows
       from backfill_chunk where backfill_id = $1 and chunk = $2`,
    [backfillId, chunk],
  );
  const row = rows[0];
  if (row === undefined)
    throw new FeatureStoreError('FS_NOT_FOUND', `backfill ${backfillId} has no chunk ${chunk}`, {
      fix: 'start it again',
    });
  return {
    range: { start: BigInt(row.start), end: BigInt(row.end) },
    done: row.done,
    counts: { ...NO_COUNTS, events: row.events, entities: row.entities, rows: row.rows },
  };
}

async function assertAllDone(client: PoolClient, backfillId: number): Promise<void> {
  const { rows } = await client.query<{ open: number }>(
    'select count(*) as open from backfill_chunk where backfill_id = $1 and not done',
    [backfillId],
  );
  if (rows[0]!.open === 0) return;
  throw new FeatureStoreError(
    'FS_CONFLICT',
    `${rows[0]!.open} chunks of backfill ${backfillId} are to be done`,
    {
      fix: 'start it again: it goes on where it stands',
    },
  );
}

async function statusOf(pool: Pool, version: StoredVersion, backfillId: number): Promise<BackfillStatus> {
  const { start, end, state } = await getBackfill(pool, backfillId);
  const { rows } = await pool.query<{
    chunks: number;
    done: number;
    events: number;
    entities: number;
    rows: number;
  }>(
    `select count(*) as chunks, count(*) filter (where done) as done, coalesce(sum(events), 0)::bigint as events,
            coalesce(sum(entities), 0)::bigint as entities, coalesce(sum(rows), 0)::bigint as rows
       from backfill_chunk where backfill_id = $1`,
    [backfillId],
  );
  const sums = rows[0]!;
  return {
    backfillId,
    versionId: version.id,
    view: version.view.name,
    version: version.version,
    owner: version.view.owner,
    inOrder: version.kind === 'sql',
    start: formatTimestamp(start),
    end: formatTimestamp(end),
    finished: state === 'finished',
    chunks: sums.chunks,
    chunksDone: sums.done,
    counts: { ...NO_COUNTS, events: sums.events, entities: sums.entities, rows: sums.rows },
  };
}
