/**
 * Dual write: records of a streaming view that Redis may have missed, written again from the archive. The range says which entities,
 * by the sequences of their events; each gets its present record, and where Redis has a newer one that stays.
 */
import { cancellationSignal } from '@temporalio/activity';
import { onlineKey } from '../core/codec/key.js';
import { FeatureStoreError } from '../core/error.js';
import { getVersion, resolveOnlineView } from '../registry/resolve.js';
import { type PoolClient, transaction } from '../registry/sql.js';
import { archiveTable } from '../registry/tables.js';
import type { Deps } from './deps.js';
import { beating } from './heartbeat.js';
import { evenRange } from './materialize.js';
import { lockSource, newestSequence } from './offline/archive.js';
import { assertTakesWrites } from './online/client.js';
import { writeRecords } from './online/write.js';
import {
  type AggregationVersion,
  assertOnline,
  type Counts,
  compileVersion,
  createTurns,
  NO_COUNTS,
  nameOf,
  recordOf,
} from './output.js';
import { streaming } from './refill.js';
import { loadStates, readTouched } from './stream/states.js';

export interface DualWriteRange {
  /** Of a view name, or view@version. */
  view: string;
  /** Entities with events after this sequence; default 0. */
  after?: number;
  /** Up to this one. Default: the newest there is once Redis answers. */
  until?: number;
}

export interface DualWritePart {
  versionId: number;
  after: number;
  until: number;
  part: number;
  parts: number;
}

const EVENTS_PER_PART = 200_000;

export function createDualWriteActivities(deps: Deps) {
  const { config, pool, redis } = deps;
  return {
    /** What is meant. Throws FS_REQUEST_INVALID, FS_NOT_FOUND. */
    async findDualWrite({ view, after = 0, until }: DualWriteRange): Promise<{
      versionId: number;
      view: string;
      version: number;
      after: number;
    }> {
      const version = await resolveOnlineView(pool, view);
      if (!streaming(version))
        throw new FeatureStoreError(
          'FS_REQUEST_INVALID',
          `${version.view.name}@${version.version} is computed tick by tick, not from a range of events`,
          { fix: `almanac refill ${version.view.name}`, view: version.view.name },
        );
      const isSequence = (value: unknown): boolean => Number.isSafeInteger(value) && (value as number) >= 0;
      const newest = await newestSequence(pool);
      if (!isSequence(after) || !isSequence(until ?? newest) || after > (until ?? newest))
        throw new FeatureStoreError(
          'FS_REQUEST_INVALID',
          `there is no range of sequences after ${JSON.stringify(after)} up to ${JSON.stringify(until ?? newest)}`,
          { fix: `give whole numbers; the newest sequence is ${newest}`, field: 'after' },
        );
      return { versionId: version.id, view: version.view.name, version: version.version, after };
    },

    /** Throws until Redis takes writes: each attempt, and why it failed, is seen in the run. */
    async awaitRedis(): Promise<void> {
      await assertTakesWrites(redis, config.environment);
    },

    /**
     * Fixes the range. What is owed of the version ends with it, if no end was asked for.
     *
     * Nothing falls between two ranges. A reader first commits a batch, under the source's lock, then looks whether a row is open.
     * This transaction takes that lock, too, before it reads the newest sequence. If the batch committed before that, it is below the
     * sequence, hence in this range. If not, its transaction began to hold the lock after this one had ended, and its reader, who looks
     * later still, finds no open row and makes another.
     */
    async openDualWrite({
      versionId,
      after,
      until,
    }: {
      versionId: number;
      after: number;
      until?: number | undefined;
    }): Promise<{ until: number; parts: number }> {
      await assertOnline(deps);
      const { source } = (await getVersion(pool, versionId)) as AggregationVersion;
      return beating(async () => {
        const end =
          until ?? (await transaction(pool, (client) => closeOwed(client, source.name, versionId, after)));
        const { rows } = await pool.query<{ events: number }>(
          `select count(*) as events from ${archiveTable(source.name)} where sequence > $1 and sequence <= $2`,
          [after, end],
        );
        return { until: end, parts: Math.ceil(rows[0]!.events / EVENTS_PER_PART) };
      });
    },

    async dualWritePart({
      versionId,
      after,
      until,
      part,
      parts,
    }: DualWritePart): Promise<Counts & { different: number }> {
      await assertOnline(deps);
      const work = compileVersion((await getVersion(pool, versionId)) as AggregationVersion);
      const { entity } = work.version;
      const counts = { ...NO_COUNTS, different: 0 };
      const turn = createTurns();
      const signal = cancellationSignal();
      return beating(async () => {
        for await (const touched of readTouched(pool, work, {
          after,
          until,
          hashes: evenRange(part, parts),
          signal,
        })) {
          const states = await loadStates(pool, work, touched.map(({ key }) => key), until); // biome-ignore format: short
          const records = [];
          for (const { key, events } of touched) {
            records.push({
              key: onlineKey(config.environment, entity.name, key),
              field: String(versionId),
              record: recordOf(work.compiled, states.get(nameOf(key))!.state),
            });
            counts.events += events;
            await turn();
          }
          const { written, conflict } = await writeRecords(redis, config.environment, records);
          counts.entities += records.length;
          counts.records += written;
          counts.different += conflict;
        }
        return counts;
      });
    },

    /** What was owed within the range is no more, whichever run it waited for. */
    async settleOwed({ versionId, after, until }: Omit<DualWritePart, 'part' | 'parts'>): Promise<void> {
      await pool.query(
        'delete from owed where version_id = $1 and after_sequence >= $2 and until_sequence <= $3',
        [versionId, after, until],
      );
    },
  };
}

/** Gives the newest sequence of the source, where the version's open range ends from here on. */
async function closeOwed(
  client: PoolClient,
  source: string,
  versionId: number,
  after: number,
): Promise<number> {
  await lockSource(client, source);
  const newest = await newestSequence(client);
  await client.query(
    'update owed set until_sequence = $3 where version_id = $1 and after_sequence >= $2 and until_sequence is null',
    [versionId, after, newest],
  );
  return newest;
}
