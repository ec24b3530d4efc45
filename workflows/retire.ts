/**
 * Retire: the end of a version that nobody reads. Its rows and snapshots stay as they are.
 *   reads counted until now → retired, or refused with who reads it → published → schedule gone → records gone
 */
import { proxyActivities } from '@temporalio/workflow';
import type { Activities } from '../activities/index.js';
import { followRun } from './progress.js';

export interface RetireInput {
  view: string;
  version: number;
  /** Nobody may have read it for so long. Default: 7. */
  unreadDays?: number;
  /** Who retires it. */
  by?: string;
}

export async function retire({
  view,
  version,
  unreadDays = 7,
  by = 'unknown',
}: RetireInput): Promise<RetireInput> {
  const steps = proxyActivities<Activities>({
    startToCloseTimeout: '1 h',
    heartbeatTimeout: '15 s',
    retry: { initialInterval: '500 ms', maximumInterval: '15 s' },
  });
  const run = followRun('steps');
  run.fact('View', `${view}@${version}`);
  run.fact('By', by);
  run.report({ total: 4, message: 'counting reads' });
  await steps.collectReads();
  run.report({ done: 1, message: 'asking who reads it' });
  await steps.retireVersion({ view, version, unreadDays, by });
  run.report({ done: 2, message: 'publishing' });
  await steps.awaitStreams({}); // of an apply that has not published yet
  await steps.publishServingPlan();
  await steps.settleOnline();
  await steps.settleSchedules();
  run.report({ done: 3, message: 'removing its records from Redis' });
  await steps.reclaim();
  run.report({ done: 4 });
  await run.end(`${view}@${version} is retired`);
  return { view, version, unreadDays, by };
}
