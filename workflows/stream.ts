/**
 * Stream: a source's topic, read for as long as it is applied.
 *   streamSource  stream/<source>           one shard per partition
 *   streamShard   stream/<source>/<shard>   one long activity, the consumer loop; its heartbeat shows partition, offset, lag, watermark, rate
 * How far it is stands in Postgres (stream_offset), so an activity whose worker died goes on elsewhere. The updates pause, resume and
 * drain write a control row that the loops read; drained, both end, and the next apply starts them again.
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
import { type Progress, pauseUpdate, progressQuery, resumeUpdate } from './progress.js';
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
  takeOrders(source);
  await executeChild(streamShard, {
    workflowId: `stream/${source}/0`,
    taskQueue: queue('stream'),
    args: [{ source, shard: 0 }],
    staticSummary: `partition 0 of ${source}`,
    searchAttributes: { AlmanacKind: ['streamShard'] },
    parentClosePolicy: ParentClosePolicy.REQUEST_CANCEL,
  });
  await condition(allHandlersFinished);
}

export async function streamShard(input: StreamShardInput): Promise<void> {
  // Runs a day at a time; a dead worker is noticed after 10 s. Whatever fails, short of a mistake, is tried again.
  const { runShard } = proxyActivities<Activities>({
    taskQueue: queue('stream'),
    startToCloseTimeout: '2 days',
    heartbeatTimeout: '10 s',
    retry: { initialInterval: '500 ms', maximumInterval: '10 s' },
  });
  takeOrders(input.source);
  while ((await runShard(input)) !== 'drained') {
    if (!workflowInfo().continueAsNewSuggested) continue;
    await condition(allHandlersFinished);
    await continueAsNew<typeof streamShard>(input);
  }
  await condition(allHandlersFinished);
}

function takeOrders(source: string): void {
  const { controlStream } = proxyActivities<Activities>({
    taskQueue: queue('control'),
    startToCloseTimeout: '10 s',
    retry: { initialInterval: '500 ms', maximumInterval: '5 s' },
  });
  let message = 'reading';
  const show = (now: string): string => {
    message = now;
    setCurrentDetails(`**Now:** ${message}`);
    return message;
  };
  show(message);
  setHandler(
    progressQuery,
    (): Progress => ({ done: 0, total: null, unit: 'events', ratePerSecond: null, message }),
  );
  setHandler(pauseUpdate, async () => {
    await controlStream({ source, wanted: 'pause' });
    return show('paused');
  });
  setHandler(resumeUpdate, async () => {
    await controlStream({ source, wanted: 'run' });
    return show('reading');
  });
  setHandler(drainUpdate, async () => {
    await controlStream({ source, wanted: 'drain' });
    return show('ending');
  });
}
