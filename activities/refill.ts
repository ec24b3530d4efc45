/**
 * Refill: Redis from what Postgres holds. A batch view's records are its snapshots', a sql view's its newest rows; a streaming
 * view's are its snapshots and what was archived since, which makes newer snapshots of them.
 */
import { activityInfo, cancellationSignal } from '@temporalio/activity';
import { FeatureStoreError } from '../core/error.js';
import { decodeState } from '../core/state.js';
import {
  compileServingPlan,
  getVersion,
  IN_USE,
  resolveOnlineView,
  type StoredVersion,
} from '../registry/resolve.js';
import type { Pool } from '../registry/sql.js';
import { referenceOf } from './backfill.js';
import type { Deps } from './deps.js';
import { beating } from './heartbeat.js';
import { evenRange } from './materialize.js';
import { archiveBound } from './offline/archive.js';
import { countSnapshots, readSnapshots } from './offline/snapshots.js';
import { findProgress, readGeneration } from './offline/ticks.js';
import { beginRefill, endRefill, isWhole, publishPlan } from './online/publish.js';
import {
  type AggregationVersion, assertOnline, type Compiled, type Counts, compileVersion, createTurns, NO_COUNTS, nameOf, Output,
} from './output.js'; // biome-ignore format: one list
import { type SqlVersion, writeSqlRecords } from './sql-view.js';
import { loadStates, readTouched } from './stream/states.js';

export interface RefillStatus {
  versionId: number;
  view: string;
  version: number;
  owner: string;
  /** Entities with a snapshot; null: not counted. */
  entities: number | null;
  parts: number;
  /** A streaming view's: events after `sequenceAfter`, up to `sequence`, are folded in. */
  sequenceAfter: number;
  sequence: number;
}

export interface RefillPart {
  versionId: number;
  sequenceAfter: number;
  sequence: number;
  part: number;
  parts: number;
}

const ENTITIES_PER_PART = 50_000;

export function createRefillActivities(deps: Deps) {
  const { config, pool, redis } = deps;
  return {
    async openRefill(input: { view: string; version?: number }): Promise<RefillStatus> {
      const version = await resolveOnlineView(pool, referenceOf(input));
      await assertOnline(deps);
      await beginRefill(redis, config.environment, await readGeneration(pool), markOf(version.id));
      // None: it was never backfilled, or is being so; what there is of it comes back, and nothing is folded in.
      const found = await findProgress(pool, version.id);
      const sequenceAfter = found?.sequence ?? 0;
      const status = {
        versionId: version.id,
        view: version.view.name,
        version: version.version,
        owner: version.view.owner,
        sequenceAfter,
      };
      if (version.kind === 'sql') return { ...status, entities: null, parts: 1, sequence: sequenceAfter };
      return beating(async () => {
        const entities = await countSnapshots(pool, version.id);
        return {
          ...status,
          entities,
          parts: Math.max(1, Math.ceil(entities / ENTITIES_PER_PART)),
          sequence: streaming(version) && found !== null ? await archiveBound(pool) : sequenceAfter,
        };
      });
    },

    async refillPart(input: RefillPart): Promise<Counts & { different: number }> {
      await assertOnline(deps);
      const version = await getVersion(pool, input.versionId);
      return beating(async () =>
        version.kind === 'sql'
          ? { ...(await refillSql(deps, version)), different: 0 }
          : refillRange(deps, compileVersion(version as AggregationVersion), input),
      );
    },

    /** Everything up to the bound is in the view's records and snapshots now. */
    async recordRefill({ versionId, sequence }: { versionId: number; sequence: number }): Promise<void> {
      await pool.query(
        'update view_progress set sequence = greatest(sequence, $2), last_write = clock_timestamp() where version_id = $1',
        [versionId, sequence],
      );
    },

    /** The version is back. The last one that comes back to an emptied Redis lets serving answer again. */
    async finishRefill({ versionId }: { versionId: number }): Promise<{ missing: string[] }> {
      const mark = markOf(versionId);
      const generation = await readGeneration(pool);
      if (await endRefill(redis, config.environment, generation, { mark, versionId })) return { missing: [] };
      return publishCurrentPlan(deps);
    },
  };
}

/** Of this run: a repeated activity leaves the same. */
const markOf = (versionId: number): string => `${versionId}/${activityInfo().workflowExecution!.runId}`;

/**
 * Publishes the plan of the present revision, unless Redis was emptied and not every view that was filled is back in it: gives
 * the names of those that are missing.
 */
export async function publishCurrentPlan({
  config,
  pool,
  redis,
}: Deps): Promise<{ revision: number; missing: string[] }> {
  const plan = await compileServingPlan(pool);
  const filled = await listFilled(pool);
  const { missing } = await publishPlan(redis, config.environment, plan, [...filled.keys()]);
  return { revision: plan.revision, missing: missing.map((id) => filled.get(id)!) };
}

/** Throws FS_CONFLICT when Redis was emptied, before a plan is made in vain for it. */
export async function assertNotEmptied({ config, pool, redis }: Deps): Promise<void> {
  const filled = await listFilled(pool);
  if (filled.size > 0 && !(await isWhole(redis, config.environment, await readGeneration(pool))))
    throw emptied('Redis was emptied', [...filled.values()]);
}

export function emptied(what: string, missing: readonly string[]): FeatureStoreError {
  return new FeatureStoreError('FS_CONFLICT', `${what}: serving lacks ${missing.join(', ')}`, {
    fix: 'almanac refill --all: serving answers when every view is back',
    missing,
  });
}

/** Versions that are read and have something to serve, or will soon: id → name. */
export async function listFilled(pool: Pool): Promise<Map<number, string>> {
  const { rows } = await pool.query<{ id: number; name: string }>(
    `select id, view || '@' || version as name from view_version v
      where online and ${IN_USE}
        and (exists (select 1 from view_progress p where p.version_id = v.id)
             or exists (select 1 from backfill b where b.version_id = v.id))
      order by id`,
  );
  return new Map(rows.map(({ id, name }) => [id, name]));
}

async function refillSql(deps: Deps, version: SqlVersion): Promise<Counts> {
  const counts = { ...NO_COUNTS };
  counts.records = await writeSqlRecords(deps, version, {}, (rows) => {
    counts.entities += rows;
  });
  return counts;
}

async function refillRange(
  deps: Deps,
  work: Compiled,
  part: RefillPart,
): Promise<Counts & { different: number }> {
  const output = new Output(deps, work);
  const newer = await foldNewer(deps, work, part, output);
  await writeStored(deps, work, part, output, newer);
  return { ...output.counts, different: output.different };
}

export const streaming = ({ view }: StoredVersion): boolean =>
  view.kind === 'aggregation' && view.mode.type === 'streaming';

/** Entities of a streaming view with events after what its snapshots are known to hold; gives their names. */
async function foldNewer(
  { pool }: Deps,
  work: Compiled,
  { sequenceAfter, sequence, part, parts }: RefillPart,
  output: Output,
): Promise<ReadonlySet<string>> {
  const names = new Set<string>();
  if (!streaming(work.version) || sequence <= sequenceAfter) return names;
  const turn = createTurns();
  for await (const touched of readTouched(pool, work, {
    after: sequenceAfter,
    until: sequence,
    hashes: evenRange(part, parts),
    signal: cancellationSignal(),
  })) {
    const states = await loadStates(pool, work, touched.map(({ key }) => key), sequence); // biome-ignore format: short
    for (const one of touched) {
      await output.add(one, [], states.get(nameOf(one.key))!.state, one.events);
      names.add(nameOf(one.key));
      await turn();
    }
  }
  await output.flush();
  return names;
}

/** The snapshots as they are, but for those just written. */
async function writeStored(
  { pool }: Deps,
  { version, compiled }: Compiled,
  { part, parts }: RefillPart,
  output: Output,
  written: ReadonlySet<string>,
): Promise<void> {
  const turn = createTurns();
  for await (const snapshots of readSnapshots(pool, version.id, evenRange(part, parts)))
    for (const snapshot of snapshots) {
      if (written.has(nameOf(snapshot.key))) continue;
      await output.addRecord(snapshot, decodeState(compiled, snapshot.state));
      await turn();
    }
  await output.flush();
}
