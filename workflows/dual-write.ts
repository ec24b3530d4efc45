/**
 * Dual write: what Redis missed of a streaming view, as after an outage of Redis; also a repair by hand.
 *   wait until Redis takes writes → fix the range → parts of its entities → nothing of it is owed any more
 * Entities with events in the range get their present records; newer ones in Redis stay. It may be repeated and aborted at any point:
 * what is owed is written down, and a new run of the same id begins again.
 */
import { ActivityCancellationType, proxyActivities } from '@temporalio/workflow';
import type { Activities } from '../activities/index.js';
import { recordsDiffer } from '../core/error.js';
import { followRun } from './progress.js';
import { queue } from './queues.js';
import { workThrough } from './work-through.js';

export interface DualWriteInput {
  /** A streaming view: user_spend, or user_spend@3. */
  view: string;
  /** A sequence: entities with events after it. Default: 0, all of them. */
  after?: number;
  /** Default: the newest there is once Redis takes writes. */
  until?: number;
}

export interface DualWriteResult {
  view: string;
  version: number;
  after: number;
  until: number;
  entities: number;
  /** Those whose record was newer than what was there. */
  records: number;
}

const PARTS_AT_ONCE = 4;

export async function dualWrite(input: DualWriteInput): Promise<DualWriteResult> {
  const { findDualWrite, settleOwed } = proxyActivities<Activities>({
    taskQueue: queue('control'),
    startToCloseTimeout: '1 min',
    retry: { initialInterval: '500 ms', maximumInterval: '15 s' },
  });
  // As long as it takes: an attempt lasts 2 s at most, and shows what Redis said.
  const { awaitRedis } = proxyActivities<Activities>({
    taskQueue: queue('control'),
    startToCloseTimeout: '10 s',
    retry: { initialInterval: '500 ms', maximumInterval: '2 s' },
  });
  // Opening counts the range by block ranges, a part is 200,000 events. A dead worker is noticed after 15 s.
  const { openDualWrite, dualWritePart } = proxyActivities<Activities>({
    taskQueue: queue('batch'),
    startToCloseTimeout: '1 h',
    heartbeatTimeout: '15 s',
    cancellationType: ActivityCancellationType.WAIT_CANCELLATION_COMPLETED,
    retry: { initialInterval: '500 ms', maximumInterval: '15 s' },
  });
  const run = followRun('parts');
  run.report({ message: 'looking it up' });
  const { versionId, view, version, after } = await findDualWrite(input);
  run.fact('View', `${view}@${version}`);
  run.fact('After', after);
  run.report({ message: 'waiting for Redis' });
  await awaitRedis();
  await run.mayGoOn();
  run.report({ message: 'fixing the range' });
  const { until, parts } = await openDualWrite({ versionId, after, until: input.until });
  run.fact('Until', until);
  let different = 0;
  const { entities, records } = await workThrough(run, parts, PARTS_AT_ONCE, async (part) => {
    const written = await dualWritePart({ versionId, after, until, part, parts });
    different += written.different;
    return written;
  });
  await settleOwed({ versionId, after, until });
  await run.end(`${entities} entities, ${records} records written`);
  if (different === 0) return { view, version, after, until, entities, records };
  // The others are written: nothing is left to repeat, and somebody has to look.
  throw recordsDiffer(view, version, different);
}
