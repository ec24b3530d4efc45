/**
 * Pin: serving reads by what the registry holds of models now. The registry has decided it already, whole, in one transaction.
 *   taken over by streams → publish to serving → schedules → what nobody reads any more leaves
 * The first is of an apply that was activated just now, and has not published: its versions come with the same plan. Every step is tried until it succeeds; a later pin does the same for an earlier one.
 */
import { proxyActivities } from '@temporalio/workflow';
import type { Activities } from '../activities/index.js';
import { followRun } from './progress.js';

export interface PinInput {
  model: string;
  /** Which change of it. */
  change: number;
}

export async function pin({ model, change }: PinInput): Promise<{ revision: number }> {
  const steps = proxyActivities<Activities>({
    startToCloseTimeout: '1 h',
    heartbeatTimeout: '15 s',
    retry: { initialInterval: '500 ms', maximumInterval: '15 s' },
  });
  const run = followRun('steps');
  run.fact('Model', model);
  run.fact('Change', change);
  run.report({ total: 2, message: 'publishing' });
  await steps.awaitStreams({});
  const { revision } = await steps.publishServingPlan();
  run.report({ done: 1, message: 'removing what nobody reads from Redis' });
  await steps.settleOnline();
  await steps.settleSchedules();
  await steps.reclaim();
  run.report({ done: 2 });
  await run.end(`serving reads by change ${change} of ${model}`);
  return { revision };
}
