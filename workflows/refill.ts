/**
 * Refill: a view version's records in Redis from what Postgres holds, as after a loss of Redis.
 *   open → ranges of entities → progress to serving; when this was the last view that an emptied Redis lacked, the plan too
 * Nothing online is made older by it; it may be repeated and aborted at any point.
 */
import { ActivityCancellationType, proxyActivities } from '@temporalio/workflow';
import type { Activities } from '../activities/index.js';
import { recordsDiffer } from '../core/error.js';
import { followRun } from './progress.js';
import { queue } from './queues.js';
import { workThrough } from './work-through.js';

export interface RefillInput {
  view: string;
  /** Default: the live version; while none is live, the newest one on its way. */
  version?: number;
}

export interface RefillResult {
  view: string;
  version: number;
  entities: number;
  /** Events that were archived after the snapshots, and are in them now. */
  events: number;
  /** Records that were newer than what was there. */
  records: number;
}

const PARTS_AT_ONCE = 4;

export async function refill(input: RefillInput): Promise<RefillResult> {
  const retry = { initialInterval: '500 ms', maximumInterval: '15 s' } as const;
  // A dead worker is noticed after 15 s, here and below.
  const { openRefill, recordRefill, publishTicks, finishRefill } = proxyActivities<Activities>({
    taskQueue: queue('batch'),
    startToCloseTimeout: '1 min',
    heartbeatTimeout: '15 s',
    retry,
  });
  // 50,000 entities take about 3 s; a sql view is one part.
  const { refillPart } = proxyActivities<Activities>({
    taskQueue: queue('batch'),
    startToCloseTimeout: '1 h',
    heartbeatTimeout: '15 s',
    cancellationType: ActivityCancellationType.WAIT_CANCELLATION_COMPLETED,
    retry,
  });
  const run = followRun('parts');
  run.report({ message: 'opening' });
  const { versionId, view, version, sequenceAfter, sequence, parts } = await openRefill(input);
  run.fact('View', `${view}@${version}`);
  let different = 0;
  const counts = await workThrough(run, parts, PARTS_AT_ONCE, async (part) => {
    const written = await refillPart({ versionId, sequenceAfter, sequence, part, parts });
    different += written.different;
    return written;
  });
  run.report({ message: 'publishing' });
  await recordRefill({ versionId, sequence });
  await publishTicks({ versionId });
  const { missing } = await finishRefill({ versionId });
  const waits = missing.length === 0 ? '' : `; serving waits for ${missing.join(', ')}`;
  await run.end(`${counts.entities} entities, ${counts.records} records written${waits}`);
  // Everything else is back, and somebody has to look.
  if (different > 0) throw recordsDiffer(view, version, different);
  return { view, version, entities: counts.entities, events: counts.events, records: counts.records };
}
