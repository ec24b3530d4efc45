/**
 * Materialize: the ticks of a version since its newest published one. Only entities with arrivals since then are computed, and those
 * whose next leaving step has come. A batch view's snapshot says how far the entity is (its as-of is a tick it was looked at, and
 * every event that had entered by then is in), so a range may be computed again, by two at once, or up to another tick.
 * A streaming view's rows are computed from the entity's whole archive: its snapshot is ahead of its ticks.
 */
import { cancellationSignal } from '@temporalio/activity';
import { assert } from '../core/assert.js';
import { columnsRead } from '../core/canonical.js';
import { decodeKey } from '../core/codec/key.js';
import { FeatureStoreError } from '../core/error.js';
import type { Event } from '../core/event.js';
import { createState, decodeState } from '../core/state.js';
import { entryTick, sweepTicks, ticksOf } from '../core/sweep.js';
import { Tally } from '../core/tally.js';
import { ceilTo, floorTo, formatTimestamp } from '../core/time.js';
import { getVersion, resolveStoredView, type StoredVersion } from '../registry/resolve.js';
import { type Pool, transaction } from '../registry/sql.js';
import { archiveTable } from '../registry/tables.js';
import { parseMoment, referenceOf } from './backfill.js';
import type { Deps } from './deps.js';
import { beating } from './heartbeat.js';
import {
  archiveBound,
  type HashRange,
  MAX_HASH,
  MIN_HASH,
  readEntities,
  readEvents,
} from './offline/archive.js';
import {
  countDueSnapshots,
  findSnapshots,
  listDueSnapshots,
  readSnapshots,
  type Snapshot,
} from './offline/snapshots.js';
import {
  beginsLive,
  cadenceOf,
  findProgress,
  newestCompleteTick,
  readClock,
  recordTicks,
} from './offline/ticks.js';
import {
  type AggregationVersion, assertOnline, type Compiled, type Counts, compileVersion, computeEntity, createTurns, type Entity, lookingSink, NO_COUNTS, nameOf, Output, type Sink,
} from './output.js'; // biome-ignore format: one list
import { assertReadable, type SqlVersion, writeSqlTick } from './sql-view.js';
import {
  blockedBy, expects, type Judged, judgeTick, mayBlock, readRepeated, saveJudged, saveTickRows, tallyRows, tickWritten, warningsOf,
} from './statistics.js'; // biome-ignore format: one list

export interface OpenMaterializeInput {
  view: string;
  version?: number;
  /** ISO. */
  tick?: string;
  /** Without a tick: the newest one that had settled by then (epoch ms). */
  at: number;
  /** A sql view's ticks of one run, at most. */
  ticksPerRun?: number;
}

export interface MaterializeStatus {
  versionId: number;
  view: string;
  version: number;
  owner: string;
  /** ISO; the newest published tick before this run, and the one it brings the view to. Equal: nothing to do. */
  after: string;
  until: string;
  /** ISO; the tick that was asked for. After `until` when so many were missed that another run has to go on. */
  last: string;
  /** Ticks to publish. */
  ticks: number;
  /** Parts of the work; of a sql view: the ticks. */
  parts: number;
  inOrder: boolean;
  /** The archive's bound. */
  sequence: number;
  /** Something of it may be kept from being published: it is computed once to be looked at, and then written. */
  looks: boolean;
}

/** The ticks of a run, and of how many parts they are made. */
export interface TicksInput {
  versionId: number;
  after: string;
  until: string;
  last: string;
  sequence: number;
  parts: number;
}

export interface MaterializePart extends TicksInput {
  part: number;
}

const WORK_PER_PART = 50_000;
const MAX_PARTS = 1_000;
const ENTITIES_AT_ONCE = 500;
// Each tick of a sql view is an activity, three events of the history; its limit is 10,240 before Temporal warns.
const TICKS_PER_RUN = 1_000;
// Our clock and the database's are different ones; a tick is computed when the database's is past it.
const CLOCKS_APART_MS = 10_000;

export function createMaterializeActivities(deps: Deps) {
  const { pool } = deps;
  return {
    async openMaterialize(input: OpenMaterializeInput): Promise<MaterializeStatus> {
      const version = await resolveStoredView(pool, referenceOf(input));
      const due = tickOf(version, input, await readClock(pool));
      const after = await lastTick(pool, version, due);
      const until = Math.max(after, due);
      const { cadenceMs } = cadenceOf(version);
      const status = {
        versionId: version.id,
        view: version.view.name,
        version: version.version,
        owner: version.view.owner,
        after: formatTimestamp(after),
        until: formatTimestamp(until),
        last: formatTimestamp(until),
        ticks: (until - floorTo(after, cadenceMs)) / cadenceMs,
        inOrder: version.kind === 'sql',
        looks: version.kind === 'aggregation' && mayBlock(version),
      };
      if (until === after) return { ...status, parts: 0, sequence: 0 };
      if (version.kind === 'sql') {
        const first = firstSqlTick(
          version as SqlVersion,
          after,
          until,
          newestCompleteTick(version, await readClock(pool)),
        );
        const end = Math.min(until, first + ((input.ticksPerRun ?? TICKS_PER_RUN) - 1) * cadenceMs);
        return {
          ...status,
          until: formatTimestamp(end),
          ticks: (end - after) / cadenceMs,
          parts: (end - first) / cadenceMs + 1,
          sequence: 0,
        };
      }
      // Whoever archived at an arrival that this tick sees has committed: the bound waits for them.
      return beating(async () => {
        const sequence = await archiveBound(pool);
        const work = await countWork(pool, version as AggregationVersion, after, until);
        const parts = Math.min(MAX_PARTS, Math.max(1, Math.ceil(work / WORK_PER_PART)));
        return { ...status, sequence, parts };
      });
    },

    /** Computes a part and counts what it would write. */
    async lookAtPart(input: MaterializePart): Promise<void> {
      const version = (await getVersion(pool, input.versionId)) as AggregationVersion;
      const { until } = spanOf(input);
      await beating(async () => {
        const tally = await lookAt(deps, compileVersion(version), input);
        await pool.query(
          `insert into tick_tally (version_id, until_ms, part, tally) values ($1, $2, $3, $4)
           on conflict (version_id, until_ms, part) do update set tally = excluded.tally`,
          [version.id, until, input.part, Buffer.from(tally.encode())],
        );
      });
    },

    /** What came of the parts together. Throws FS_EXPECTATION_FAILED when the ticks are not to be written. */
    async judgeParts(input: TicksInput): Promise<void> {
      const version = (await getVersion(pool, input.versionId)) as AggregationVersion;
      const until = parseMoment(input.until);
      await beating(async () => {
        const tally = new Tally(version.view);
        const { rows } = await pool.query<{ tally: Buffer }>(
          'select tally from tick_tally where version_id = $1 and until_ms = $2 and part < $3 order by part',
          [version.id, until, input.parts],
        );
        assert(rows.length === input.parts, `of ${input.parts} parts ${rows.length} were looked at`);
        for (const [part, { tally: bytes }] of rows.entries()) {
          const seen = Tally.decode(version.view, bytes);
          // What is expected may have changed since.
          tally.merge(seen.isWhole ? seen : await lookAt(deps, compileVersion(version), { ...input, part }));
        }
        await countRepeatedAt(deps, version, tally, input);
        const judged = await judgeTick(pool, version, tally, until);
        const blocked = blockedBy(version, `tick ${input.until}`, judged.verdicts);
        if (!blocked) return;
        await saveJudged(pool, tickWritten(version, until), judged);
        throw blocked;
      });
    },

    async materializePart(
      input: MaterializePart,
    ): Promise<Counts & { different: number; warnings: string[] }> {
      await assertOnline(deps);
      const version = await getVersion(pool, input.versionId);
      const { until } = spanOf(input);
      if (version.kind === 'sql') {
        const tick = until - (input.parts - 1 - input.part) * version.view.cadenceMs;
        return beating(() => sqlPart(deps, version, tick, parseMoment(input.last)));
      }
      const work = compileVersion(version as AggregationVersion);
      const compute = work.compiled.view.mode.type === 'batch' ? computeBatch : computeStreaming;
      return beating(async () => ({ ...(await compute(deps, work, spanOf(input))), warnings: [] }));
    },

    /** Publishes the ticks in Postgres, with what is known of their rows: the database's clock says when. Gives what was not as expected. */
    async recordMaterialize(input: TicksInput): Promise<{ warnings: string[] }> {
      const version = (await getVersion(pool, input.versionId)) as StoredVersion;
      const { cadenceMs } = cadenceOf(version);
      const [after, end] = [parseMoment(input.after), parseMoment(input.until)];
      const start = version.kind === 'sql' ? end - (input.parts - 1) * cadenceMs : after + cadenceMs;
      const ticks = { start, end, sequence: streaming(version) ? null : input.sequence };
      return beating(async () => {
        const found =
          version.kind === 'sql' ? null : await tallyTicks(deps, version as AggregationVersion, input);
        await transaction(pool, async (client) => {
          if (found) {
            await saveJudged(client, tickWritten(version, end), found);
            if (start <= end) await saveTickRows(client, version, end, found.tally.rows);
            await client.query('delete from tick_tally where version_id = $1 and until_ms <= $2', [
              version.id,
              end,
            ]);
          }
          await recordTicks(client, version, ticks);
        });
        return { warnings: warningsOf(found?.verdicts ?? []) };
      });
    },
  };
}

const spanOf = ({ after, until, sequence, part, parts }: MaterializePart): Span => ({
  after: parseMoment(after),
  until: parseMoment(until),
  sequence,
  range: evenRange(part, parts),
});

/** One of several ticks that were missed, and blocks, is passed over: what was wrong with it must not hold up the newest for ever. */
async function sqlPart(
  deps: Deps,
  version: SqlVersion,
  tick: number,
  last: number,
): Promise<Counts & { different: number; warnings: string[] }> {
  try {
    const { counts, verdicts } = await writeSqlTick(deps, version, tick);
    return { ...counts, different: 0, warnings: warningsOf(verdicts) };
  } catch (error) {
    if (tick === last || !(error instanceof FeatureStoreError && error.code === 'FS_EXPECTATION_FAILED'))
      throw error;
    return { ...NO_COUNTS, different: 0, warnings: [error.message] };
  }
}

async function lookAt(deps: Deps, work: Compiled, input: MaterializePart): Promise<Tally> {
  const { view } = work.version;
  const span = spanOf(input);
  const tally = new Tally(view);
  const compute = view.mode.type === 'batch' ? sweepBatch : sweepStreaming;
  await compute(deps, work, span, lookingSink({ tally, until: span.until }));
  return tally;
}

/** Of the rows that the ticks have brought. */
async function tallyTicks(deps: Deps, version: AggregationVersion, input: TicksInput): Promise<Judged> {
  const [after, until] = [parseMoment(input.after), parseMoment(input.until)];
  const { cadenceMs } = cadenceOf(version);
  const tally = await transaction(deps.pool, (client) =>
    tallyRows(client, version, { after, until, newest: until - after > cadenceMs }),
  );
  await countRepeatedAt(deps, version, tally, input);
  return judgeTick(deps.pool, version, tally, until);
}

/** Events that arrived for the ticks, where they are expected to be unique. */
async function countRepeatedAt(
  { pool }: Deps,
  version: AggregationVersion,
  tally: Tally,
  { after, until, sequence }: TicksInput,
): Promise<void> {
  if (!expects(version, 'unique')) return;
  const arrivedAfterMs = parseMoment(after);
  const arrivedUntilMs = parseMoment(until) + cadenceOf(version).settleMs;
  tally.addRepeated(
    await readRepeated(
      pool,
      compileVersion(version),
      { sequence, arrivedAfterMs, arrivedUntilMs, signal: cancellationSignal() },
      ({ arrivedAt }) => arrivedAt > arrivedAfterMs && arrivedAt <= arrivedUntilMs,
    ),
  );
}

const streaming = ({ view }: StoredVersion): boolean =>
  view.kind === 'aggregation' && view.mode.type === 'streaming';

/** The newest tick there is. Where a version begins live: the one before its first event arrived, and up to `due` while there is none. */
async function lastTick(pool: Pool, version: StoredVersion, due: number): Promise<number> {
  const last = (await findProgress(pool, version.id))?.lastTickMs ?? null;
  if (last !== null) return last;
  if (beginsLive(version)) {
    const { rows } = await pool.query<{ first: number | null }>(
      `select min(arrived_ms) as first from ${archiveTable(version.source!.name)}`,
    );
    const { first } = rows[0]!;
    const { cadenceMs } = cadenceOf(version);
    return first === null ? due : Math.min(due, ceilTo(first, cadenceMs) - cadenceMs);
  }
  const name = `${version.view.name}@${version.version}`;
  throw new FeatureStoreError('FS_CONFLICT', `${name} was never backfilled: there is no tick to go on from`, {
    fix: `almanac backfill ${name}`,
    view: version.view.name,
    version: version.version,
  });
}

function tickOf(version: StoredVersion, { tick, at }: OpenMaterializeInput, nowMs: number): number {
  const { cadenceMs, settleMs } = cadenceOf(version);
  const view = version.view.name;
  const wanted = tick === undefined ? floorTo(at - settleMs, cadenceMs) : parseMoment(tick);
  const newest = newestCompleteTick(version, nowMs);
  if (wanted !== floorTo(wanted, cadenceMs))
    throw new FeatureStoreError(
      'FS_REQUEST_INVALID',
      `${formatTimestamp(wanted)} is no tick of view "${view}", whose ticks are ${cadenceMs} ms apart`,
      { fix: `give ${formatTimestamp(floorTo(wanted, cadenceMs))}, the tick before it`, view },
    );
  if (wanted <= newest) return wanted;
  if (tick === undefined && wanted + settleMs - nowMs < CLOCKS_APART_MS)
    throw new FeatureStoreError(
      'FS_NOT_READY',
      `tick ${formatTimestamp(wanted)} of view "${view}" settles now`,
      {
        fix: 'nothing to do: it is tried again',
        view,
      },
    );
  throw new FeatureStoreError(
    'FS_REQUEST_INVALID',
    `tick ${formatTimestamp(wanted)} of view "${view}" is in the future`,
    { fix: `give ${formatTimestamp(newest)}, the newest complete tick, or an earlier one`, view },
  );
}

/** All ticks that were missed; of tables without history only the newest. */
function firstSqlTick(version: SqlVersion, after: number, until: number, newest: number): number {
  if (version.view.reads.every(({ kind }) => kind === 'append')) return after + version.view.cadenceMs;
  assertReadable(version, until, newest);
  return until;
}

/** Hash range `part` of `parts` equal ones. */
export function evenRange(part: number, parts: number): HashRange {
  const width = 2n ** 64n;
  const bound = (index: number): bigint => MIN_HASH + (width * BigInt(index)) / BigInt(parts);
  return { start: bound(part), end: part === parts - 1 ? MAX_HASH : bound(part + 1) - 1n };
}

async function countWork(
  pool: Pool,
  version: AggregationVersion,
  after: number,
  until: number,
): Promise<number> {
  const { settleMs } = cadenceOf(version);
  const { rows } = await pool.query<{ count: number }>(
    `select count(*) as count from ${archiveTable(version.source.name)} where arrived_ms > $1 and arrived_ms <= $2`,
    [after, until + settleMs],
  );
  return rows[0]!.count + (await countDueSnapshots(pool, version.id, until));
}

interface Span {
  after: number;
  until: number;
  sequence: number;
  range: HashRange;
}

/** By entity, the events of a range that enter at a tick of (after, until]. */
async function enteringEvents(
  { pool }: Deps,
  { version, compiled }: Compiled,
  { after, until, sequence, range }: Span,
): Promise<Map<string, Entity & { events: Event[] }>> {
  const { cadenceMs, settleMs } = ticksOf(version.view);
  const found = new Map<string, Entity & { events: Event[] }>();
  const of = { source: version.source, entity: version.entity, keyColumns: version.view.key };
  for await (const { key, keyHash, events } of readEvents(pool, of, {
    sequence,
    hashStart: range.start,
    hashEnd: range.end,
    // what happened after the last tick has arrived after it too
    arrivedAfterMs: after,
    arrivedUntilMs: until + settleMs,
    columns: columnsRead(version.view, version.source),
    signal: cancellationSignal(),
  })) {
    const entering = events.filter((event) => {
      const tick = entryTick(event, cadenceMs, settleMs);
      return tick > after && tick <= until && compiled.accepts(event);
    });
    if (entering.length > 0) found.set(nameOf(key), { key, keyHash, events: entering });
  }
  return found;
}

async function computeBatch(deps: Deps, work: Compiled, span: Span): Promise<Counts & { different: number }> {
  const output = new Output(deps, work);
  await sweepBatch(deps, work, span, output);
  await output.flush();
  await repeatRecords(deps, work, span, output);
  output.assertSame();
  return { ...output.counts, different: 0 };
}

async function sweepBatch(deps: Deps, work: Compiled, span: Span, output: Sink): Promise<void> {
  const { version, compiled } = work;
  const { after, until, sequence, range } = span;
  const { cadenceMs, settleMs } = ticksOf(version.view);
  const of = { source: version.source, entity: version.entity, keyColumns: version.view.key };
  const turn = createTurns();
  const stuck = new Map<string, { from: number; events: number }>();
  const entering = await enteringEvents(deps, work, span);
  const snapshots = new Map<string, Snapshot>();
  const known = await findSnapshots(
    deps.pool,
    version.id,
    [...entering.values()].map(({ key }) => key),
  );
  for (const each of known) snapshots.set(nameOf(each.key), each);
  for (const each of await listDueSnapshots(deps.pool, version.id, range, until, null))
    snapshots.set(nameOf(each.key), each);

  for (const name of new Set([...snapshots.keys(), ...entering.keys()])) {
    const snapshot = snapshots.get(name);
    const arrived = entering.get(name);
    const state = snapshot ? decodeState(compiled, snapshot.state) : createState(compiled);
    // What it was looked at for already, in an earlier attempt, is in it.
    const from = Math.max(after, state.asOf);
    const events = arrived?.events.filter((event) => entryTick(event, cadenceMs, settleMs) > from) ?? [];
    const swept = sweepTicks(compiled, events, { after: from, until, state });
    if (swept.state.needsRebuild) stuck.set(name, { from, events: events.length });
    else await output.add(snapshot ?? arrived!, swept.rows, swept.state, events.length);
    await turn();
  }
  // Their snapshots cannot take in what came.
  const keys = [...stuck.keys()].map((name) => decodeKey(version.entity, Buffer.from(name, 'latin1')));
  for (let i = 0; i < keys.length; i += ENTITIES_AT_ONCE)
    for await (const one of readEntities(deps.pool, of, keys.slice(i, i + ENTITIES_AT_ONCE), {
      sequence,
      arrivedUntilMs: until + settleMs,
      columns: columnsRead(version.view, version.source),
      signal: cancellationSignal(),
    })) {
      const { from, events } = stuck.get(nameOf(one.key))!;
      const { rows, state } = computeEntity(compiled, one.events, { after: from, until });
      await output.add(one, rows, state, events);
      await turn();
    }
}

/** Records of an earlier attempt may have missed Redis: what Postgres has moved since the last tick is written again. */
async function repeatRecords(
  deps: Deps,
  { version, compiled }: Compiled,
  span: Span,
  output: Output,
): Promise<void> {
  const { entities } = output.counts;
  for await (const snapshots of readSnapshots(deps.pool, version.id, span.range, { asOfAfter: span.after }))
    for (const snapshot of snapshots) await output.addRecord(snapshot, decodeState(compiled, snapshot.state));
  await output.flush();
  output.counts.entities = entities;
}

/** An entity whose record clashes holds up no rows: they are not made of records, and its next event writes it anew. */
async function computeStreaming(
  deps: Deps,
  work: Compiled,
  span: Span,
): Promise<Counts & { different: number }> {
  const output = new Output(deps, work);
  await sweepStreaming(deps, work, span, output);
  await output.flush();
  return { ...output.counts, different: output.different };
}

async function sweepStreaming(deps: Deps, work: Compiled, span: Span, output: Sink): Promise<void> {
  const { version, compiled } = work;
  const { after, until, sequence, range } = span;
  const turn = createTurns();
  const touched = new Map<string, Entity>(await enteringEvents(deps, work, span));
  for (const each of await listDueSnapshots(deps.pool, version.id, range, until, after))
    touched.set(nameOf(each.key), each);
  // Where rows come at another cadence than before, the sweep did not look at the last tick: there is nothing to compare with.
  const opening = after !== floorTo(after, ticksOf(version.view).cadenceMs);
  const of = { source: version.source, entity: version.entity, keyColumns: version.view.key };
  for (const hash of new Set([...touched.values()].map(({ keyHash }) => keyHash)))
    for await (const one of readEvents(deps.pool, of, {
      sequence,
      hashStart: hash,
      hashEnd: hash,
      columns: columnsRead(version.view, version.source),
      signal: cancellationSignal(),
    })) {
      const { rows, state } = computeEntity(compiled, one.events, { after, until, opening });
      await output.add(one, rows, state, one.events.length);
      await turn();
    }
}
