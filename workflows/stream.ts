/**
 * Stream: a source's topic, read for as long as it is applied.
 *   streamSource  stream/<source>           one shard per partition; takes orders
 *   streamShard   stream/<source>/<shard>   one long activity, the consumer loop; its heartbeat shows partition, offset, lag, watermark, rate
 * How far it is stands in Postgres (stream_offset), so an activity whose worker died goes on elsewhere. The updates pause, resume and
 * drain write down what is wanted, which the loops read. Drained, both end; resume, or the next apply, starts them again.
 * The registry has written it down already, and says so: an update that found no worker comes late, after other orders perhaps, and
 * only tells then how the readers do.
 */
import {
  allHandlersFinished,
  condition,
  continueAsNew,
  defineUpdate,
  executeChild,
  ParentClosePolicy,
  proxyActivities,
  setCurrentDetails,
  setHandler,
  workflowInfo,
} from '@temporalio/workflow';
import type { Activities } from '../activities/index.js';
import { pauseUpdate, resumeUpdate } from './progress.js';
import { queue } from './queues.js';

export interface StreamSourceInput {
  source: string;
}

export interface StreamShardInput {
  source: string;
  shard: number;
  /** Default: 300,000. Between two writings of the states that changed. */
  snapshotEveryMs?: number;
}

export const drainUpdate = defineUpdate<string>('drain');

export async function streamSource({ source }: StreamSourceInput): Promise<void> {
  // Each waits up to 3 s for the readers.
  const { controlStream, readWanted } = proxyActivities<Activities>({
    taskQueue: queue('control'),
    startToCloseTimeout: '10 s',
    retry: { initialInterval: '500 ms', maximumInterval: '5 s' },
  });
  const shard = `stream/${source}/0`;
  const show = (now: string): string => {
    setCurrentDetails(`**At the last order:** ${now}\n\n${whereToLook(shard)}`);
    return now;
  };
  const order =
    (wanted: 'run' | 'pause' | 'drain') =>
    async (isWritten = false) =>
      show(await controlStream({ source, wanted, isWritten }));
  show('started');
  setHandler(pauseUpdate, order('pause'));
  setHandler(resumeUpdate, order('run'));
  setHandler(drainUpdate, order('drain'));
  do {
    await executeChild(streamShard, {
      workflowId: shard,
      taskQueue: queue('stream'),
      args: [{ source, shard: 0 }],
      staticSummary: `partition 0 of ${source}`,
      searchAttributes: { AlmanacKind: ['streamShard'] },
      parentClosePolicy: ParentClosePolicy.REQUEST_CANCEL,
    });
    await condition(allHandlersFinished);
  } while ((await readWanted({ source })) !== 'drain'); // resumed while it was draining
}

export async function streamShard(input: StreamShardInput): Promise<void> {
  // Runs a day at a time; a dead worker is noticed after 10 s. Whatever fails, short of a mistake, is tried again.
  const { runShard } = proxyActivities<Activities>({
    taskQueue: queue('stream'),
    startToCloseTimeout: '2 days',
    heartbeatTimeout: '10 s',
    retry: { initialInterval: '500 ms', maximumInterval: '10 s' },
  });
  setCurrentDetails(whereToLook(workflowInfo().workflowId));
  while ((await runShard(input)) !== 'drained')
    if (workflowInfo().continueAsNewSuggested) await continueAsNew<typeof streamShard>(input);
}

/** A workflow cannot look at Postgres by itself, and an activity for it every second would fill its history. */
function whereToLook(shard: string): string {
  return `Offset, end, lag, watermark and rate: the heartbeat of the pending activity of \`${shard}\`, every second; or \`almanac status\`.`;
}
