/**
 * Backfill: the history and the present of a view version, from the archive (a sql view: from its query).
 *   open (range, bound, chunks) → chunks, a few at a time → ticks published in Postgres → progress to serving → finished
 * How far it is stands in Postgres: a new run of the same backfill goes on where the last one stopped. Aborting leaves rows,
 * snapshots and records that are right; no tick of them is published. So does an expectation that blocks, looked at before the ticks are.
 */
import { ActivityCancellationType, continueAsNew, proxyActivities } from '@temporalio/workflow';
import type { BackfillStatus } from '../activities/backfill.js';
import type { Activities } from '../activities/index.js';
import { followRun } from './progress.js';
import { queue } from './queues.js';
import { workOff } from './work-through.js';

export interface BackfillInput {
  view: string;
  /** Default: the live version; while none is live, the newest one on its way. */
  version?: number;
  /** First tick: an ISO instant or day. Default: that of the first event; for a sql view the one after its newest, at first the newest complete tick. */
  start?: string;
  /** Last tick. Default: the newest complete tick. */
  end?: string;
  /** Size of a chunk; default 50,000. Smaller ones take less memory, and lose less when a worker dies. */
  eventsPerChunk?: number;
}

// Two cores: one computes while others wait for Postgres and Redis.
const CHUNKS_AT_ONCE = 4;
// A chunk is three events of the history; its limit is 10,240 before Temporal warns.
const CHUNKS_PER_RUN = 2_000;
const CHUNKS_PER_LIST = 500;

export async function backfill(input: BackfillInput): Promise<BackfillStatus> {
  const retry = { initialInterval: '500 ms', maximumInterval: '15 s' } as const;
  // Opening counts the archive once and samples it: 2 s per 10 million events. A dead worker is noticed after 15 s, here and below.
  const { openBackfill, listOpenChunks, recordBackfill, publishTicks, finishBackfill, settleSchedules } =
    proxyActivities<Activities>({
      taskQueue: queue('batch'),
      startToCloseTimeout: '10 min',
      heartbeatTimeout: '15 s',
      retry,
    });
  // A chunk takes about 5 s; a sql view's query up to 10 min.
  const { backfillChunk } = proxyActivities<Activities>({
    taskQueue: queue('batch'),
    startToCloseTimeout: '1 h',
    heartbeatTimeout: '15 s',
    cancellationType: ActivityCancellationType.WAIT_CANCELLATION_COMPLETED,
    retry,
  });
  const run = followRun('chunks');
  run.report({ message: 'opening' });
  const opened = await openBackfill(input);
  const counts = { ...opened.counts };
  let done = opened.chunksDone;
  run.fact('View', `${opened.view}@${opened.version}`);
  run.fact('Ticks', `${opened.start} to ${opened.end}`);
  run.report({ done, total: opened.chunks, counts: { ...counts }, message: 'computing' });
  if (opened.finished) {
    await run.end('it was backfilled before: nothing changed');
    return opened;
  }

  const { backfillId, versionId } = opened;
  // Named in full from here on: what is typed as a view alone must stay the version it was.
  const same = { ...input, view: opened.view, version: opened.version };
  for (let inThisRun = 0; ; ) {
    const pending = await listOpenChunks({ backfillId, limit: CHUNKS_PER_LIST });
    if (pending.length === 0) break;
    if (inThisRun >= CHUNKS_PER_RUN) {
      await run.end('continued in a new run');
      await continueAsNew<typeof backfill>(same);
    }
    inThisRun += pending.length;
    await workOff(run, pending, opened.inOrder ? 1 : CHUNKS_AT_ONCE, async (chunk) => {
      const written = await backfillChunk({ backfillId, chunk });
      for (const name of Object.keys(written) as Array<keyof typeof written>) counts[name] += written[name];
      done += 1;
      run.report({ done, counts: { ...counts } });
    });
  }
  run.report({ message: 'publishing' });
  const { warnings } = await recordBackfill({ backfillId });
  if (warnings.length > 0) run.fact('Not as expected', warnings.join('; '));
  await publishTicks({ versionId });
  const finished = await finishBackfill({ backfillId });
  await settleSchedules(); // it has a tick to go on from
  await run.end(`${counts.entities} entities, ${counts.rows} rows`);
  return { ...finished, counts };
}
