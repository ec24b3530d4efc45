/** The steps of an apply: registry transactions, schedules, what serving reads. Each may be repeated. */
import { getClient } from '@temporalio/activity';
import {
  ScheduleAlreadyRunning,
  type ScheduleClient,
  type ScheduleDescription,
  ScheduleNotFoundError,
  ScheduleOverlapPolicy,
} from '@temporalio/client';
import { FeatureStoreError } from '../core/error.js';
import { formatTimestamp } from '../core/time.js';
import { abandonPlan, activate, type OpenedVersion, openRevision, settleOnline } from '../registry/apply.js';
import { listReclaimable, readOnlineSet, recordReclaimed } from '../registry/online.js';
import {
  GIVEN_UP,
  getVersion,
  IN_USE,
  listVersions,
  type StoredVersion,
  type ViewVersion,
} from '../registry/resolve.js';
import { archiveTable } from '../registry/tables.js';
import type { Deps } from './deps.js';
import { beat, beating } from './heartbeat.js';
import { beginsLive, cadenceOf } from './offline/ticks.js';
import { publishOnlineSet, readPublished } from './online/publish.js';
import { removeVersions } from './online/remove.js';
import { assertOnline } from './output.js';
import { assertNotEmptied, emptied, publishCurrentPlan } from './refill.js';

export interface OpenedPlan {
  revision: number;
  /** Applied before: only publishing is left. */
  applied: boolean;
  versions: Array<{ view: string; version: number }>;
  /** Versions whose source has events already. */
  backfills: Array<{ view: string; version: number; start: string; end: string; events: number }>;
  /** Those of the others that get their first reader: Postgres has all of them, Redis nothing. */
  refills: Array<{ view: string; version: number }>;
}

export function createApplyActivities(deps: Deps) {
  const { config, pool, redis } = deps;
  const environment = config.environment;

  return {
    /**
     * New versions with their tables and indexes; nobody reads them yet. From here on Redis takes the records of all that the plan's
     * definitions read. Throws FS_CONFLICT when Redis was emptied.
     */
    async openPlan({ planHash }: { planHash: string }): Promise<OpenedPlan> {
      return beating(async () => {
        await assertOnline(deps);
        await assertNotEmptied(deps);
        const { revision, applied, opened, firstRead } = await openRevision(pool, planHash);
        await publishOnlineSet(redis, environment, await readOnlineSet(pool));
        const backfills = applied ? [] : await backfillsOf(opened);
        const isFilled = (one: { view: string; version: number }): boolean =>
          backfills.some(({ view, version }) => view === one.view && version === one.version);
        return {
          revision,
          applied,
          versions: opened.map(({ view, version }) => ({ view, version })),
          backfills,
          refills: firstRead.filter((one) => !isFilled(one)),
        };
      });
    },

    /** Schedules of the plan's versions, paused: a tick before the version is filled would compute nothing true. */
    async createSchedules({ planHash }: { planHash: string }): Promise<void> {
      const { opened } = await openRevision(pool, planHash);
      const { schedule } = getClient();
      for (const { versionId } of opened) {
        const version = await getVersion(pool, versionId);
        if (hasTicks(version)) await putSchedule(schedule, environment, version);
        beat();
      }
    },

    /** One transaction moves every reader. */
    async activatePlan({ planHash, by }: { planHash: string; by: string }): Promise<{ revision: number }> {
      return beating(() => activate(pool, planHash, by));
    },

    /**
     * Schedules of versions in use that have a tick to go on from, or need none, run; the others wait for their backfill. Those of
     * versions that nobody reads any more are gone. After an apply, and after a backfill.
     */
    async settleSchedules(): Promise<void> {
      const { schedule } = getClient();
      const filled = await filledVersions();
      for (const version of (await listVersions(pool, IN_USE)).filter(hasTicks)) {
        await putSchedule(schedule, environment, version);
        if (filled.has(version.id) || beginsLive(version)) await resume(schedule, scheduleId(version));
        beat();
      }
      const gone = await listVersions(pool, GIVEN_UP); // also one of the above, since
      await deleteSchedules(schedule, environment, gone.filter(hasTicks));
    },

    /** What serving reads, whole. Throws FS_CONFLICT when Redis was emptied: the last refill publishes it then. */
    async publishServingPlan(): Promise<{ revision: number }> {
      const { revision, missing } = await publishCurrentPlan(deps);
      if (missing.length === 0) return { revision };
      throw emptied(`revision ${revision} is live, but Redis was emptied`, missing);
    },

    /** Once serving has the present plan, streams, schedules and repairs leave what nobody reads any more alone. */
    settleOnline: () => beating(settle),

    /** Removes from Redis what nobody reads; an attempt that was cut off is ended by the next, of whichever plan. */
    async reclaim(): Promise<void> {
      await beating(reclaim);
    },

    /** Undo of everything before activation: versions, tables, schedules, online records. */
    async abandonPlan({ planHash }: { planHash: string }): Promise<void> {
      const { versionIds } = await beating(() => abandonPlan(pool, planHash));
      const versions: ViewVersion[] = [];
      for (const id of versionIds) versions.push(await getVersion(pool, id));
      await deleteSchedules(getClient().schedule, environment, versions);
      await beating(settle);
      await beating(reclaim);
    },
  };

  async function settle(): Promise<void> {
    await settleOnline(pool, await readPublished(redis, environment));
  }

  async function reclaim(): Promise<void> {
    for (;;) {
      const reclaimable = await listReclaimable(pool);
      if (reclaimable.versionIds.length === 0) return;
      await assertOnline(deps); // Redis takes no record of theirs from here on
      await removeVersions(redis, environment, reclaimable.versionIds, beat);
      await recordReclaimed(pool, reclaimable);
    }
  }

  async function filledVersions(): Promise<Set<number>> {
    const { rows } = await pool.query<{ id: number }>(
      'select version_id as id from view_progress where last_tick_ms is not null',
    );
    return new Set(rows.map(({ id }) => id));
  }

  async function backfillsOf(opened: readonly OpenedVersion[]): Promise<OpenedPlan['backfills']> {
    const backfills: OpenedPlan['backfills'] = [];
    for (const { versionId, view, version, kind } of opened) {
      if (kind !== 'aggregation') continue;
      const { source } = await getVersion(pool, versionId);
      const { rows } = await pool.query<{ first: number | null; events: number; now: number }>(
        `select min(event_ms) as first, count(*) as events,
                floor(extract(epoch from now()) * 1000)::bigint as now from ${archiveTable(source!.name)}`,
      );
      const { first, events, now } = rows[0]!;
      if (first === null) continue;
      backfills.push({ view, version, start: day(first), end: formatTimestamp(now), events });
      beat();
    }
    return backfills;
  }
}

/** The begin of its day, so that a person can type it. */
function day(ms: number): string {
  return `${formatTimestamp(ms).slice(0, 10)}T00:00:00.000Z`;
}

const WAITS = 'waits for its backfill';

function scheduleId({ view, version }: ViewVersion): string {
  return `schedule/${view.name}@${version}`;
}

function hasTicks(version: ViewVersion): version is StoredVersion {
  return version.kind !== 'onDemand';
}

/** Makes it, or lets it come as often as the definitions say now: how often a streaming view has rows is no part of its version. */
async function putSchedule(
  schedules: ScheduleClient,
  environment: string,
  version: StoredVersion,
): Promise<void> {
  const { cadenceMs, settleMs } = cadenceOf(version);
  // An interval takes an offset below its length; settle longer than that falls on the same instants.
  const spec = { intervals: [{ every: cadenceMs, offset: settleMs % cadenceMs }] };
  const { name, owner } = version.view;
  try {
    await schedules.create({
      scheduleId: scheduleId(version),
      spec,
      policies: { overlap: ScheduleOverlapPolicy.BUFFER_ONE, catchupWindow: '1 day' },
      state: { paused: true, note: WAITS },
      memo: { environment },
      action: {
        type: 'startWorkflow',
        workflowType: 'materialize',
        workflowId: `materialize/${name}@${version.version}`,
        taskQueue: `${environment}-batch`,
        args: [{ view: name, version: version.version }],
        staticSummary: `tick of ${name}@${version.version}`,
        searchAttributes: {
          AlmanacKind: ['materialize'],
          AlmanacView: [name],
          AlmanacVersion: [version.version],
          AlmanacOwner: [owner],
        },
      },
    });
  } catch (error) {
    if (!(error instanceof ScheduleAlreadyRunning)) throw error;
    const handle = schedules.getHandle(scheduleId(version));
    const found = await handle.describe();
    assertOurs(found, environment);
    if (found.spec.intervals?.[0]?.every !== cadenceMs)
      await handle.update((before) => ({ ...before, spec }));
  }
}

function assertOurs({ scheduleId: id, memo }: ScheduleDescription, environment: string): void {
  if (memo?.environment === environment) return;
  throw new FeatureStoreError(
    'FS_CONFLICT',
    `schedule ${id} belongs to environment "${String(memo?.environment)}" in the same Temporal namespace`,
    {
      fix: 'give each environment a Temporal namespace of its own (ALMANAC_TEMPORAL_NAMESPACE)',
      schedule: id,
    },
  );
}

/** Unless an operator paused it since. */
async function resume(schedules: ScheduleClient, id: string): Promise<void> {
  const handle = schedules.getHandle(id);
  const { state } = await handle.describe();
  if (state.paused && state.note === WAITS) await handle.unpause('its version is live');
}

async function deleteSchedules(
  schedules: ScheduleClient,
  environment: string,
  versions: readonly ViewVersion[],
): Promise<void> {
  if (versions.length === 0) return;
  const ids = new Set(versions.map(scheduleId));
  for await (const { scheduleId: id, memo } of schedules.list()) {
    if (ids.has(id) && memo?.environment === environment) await deleteSchedule(schedules, id);
    beat();
  }
}

async function deleteSchedule(schedules: ScheduleClient, id: string): Promise<void> {
  try {
    await schedules.getHandle(id).delete();
  } catch (error) {
    if (!(error instanceof ScheduleNotFoundError)) throw error;
  }
}
