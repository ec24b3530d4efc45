/** Task queues: `<environment>-control`, `-batch`, `-stream`. A workflow learns its environment from the queue it runs on. */
import { workflowInfo } from '@temporalio/workflow';

export type Queue = 'control' | 'batch' | 'stream';

export function queue(kind: Queue): string {
  return `${workflowInfo().taskQueue.replace(/-(control|batch|stream)$/, '')}-${kind}`;
}
