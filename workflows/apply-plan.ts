/**
 * Apply: what a plan says becomes what readers get, all at once or not at all.
 *   open (versions, tables) → topics → schedules, paused → backfills, refills → taken over by streams → activate
 *   ─ the point of no return ─ → publish to serving → schedules run → streams → what nobody reads any more leaves Redis
 * A failure before it abandons what the plan opened; after it every step is tried until it succeeds.
 */
import {
  CancellationScope,
  ChildWorkflowCancellationType,
  executeChild,
  proxyActivities,
} from '@temporalio/workflow';
import type { Activities } from '../activities/index.js';
import { followRun, type Run } from './progress.js';
import { queue } from './queues.js';
import { workOff } from './work-through.js';

export interface ApplyPlanInput {
  planHash: string;
  /** Who applies it. */
  by: string;
}

export interface ApplyPlanResult {
  revision: number;
  versions: Array<{ view: string; version: number }>;
  backfilled: number;
}

// Each is bounded by the disks of one machine; more at once only share them.
const FILLS_AT_ONCE = 2;

const TAKEN_OVER = 'waiting up to a minute for running streams to take the new versions over';

export async function applyPlan({ planHash, by }: ApplyPlanInput): Promise<ApplyPlanResult> {
  // Statements of the registry may build an index on a grown archive: 10 min each (registry/tables.ts). Schedules and keys take one
  // remote call each. All give a sign every 2 s, so a dead worker is noticed after 15 s.
  const steps = proxyActivities<Activities>({
    startToCloseTimeout: '1 h',
    heartbeatTimeout: '15 s',
    retry: { initialInterval: '500 ms', maximumInterval: '15 s' },
  });
  const run = followRun('steps');
  run.fact('Plan', planHash.slice(0, 16));
  run.fact('By', by);
  const undo: Array<() => Promise<void>> = [];
  try {
    run.report({ total: 5, message: 'making versions and tables' });
    undo.unshift(() => steps.abandonPlan({ planHash }));
    const plan = await steps.openPlan({ planHash });
    run.fact('Revision', plan.revision);
    run.fact(
      'Versions',
      plan.versions.map(({ view, version }) => `${view}@${version}`).join(', ') || 'none new',
    );
    const fills = plan.backfills.length + plan.refills.length;
    await steps.createTopics({ planHash });
    if (!plan.applied) {
      run.report({ done: 1, total: 5 + fills, message: 'making schedules' });
      await steps.createSchedules({ planHash });
      await fillAll(plan, run);
      await run.mayGoOn();
      run.report({ message: TAKEN_OVER });
      await steps.awaitStreams({
        versions: plan.backfills.map(({ view, version }) => ({ view, version })),
      });
      run.report({ message: 'activating' });
      await steps.activatePlan({ planHash, by });
    }
    undo.length = 0; // readers have moved
    await CancellationScope.nonCancellable(async () => {
      run.report({ done: 3 + fills, total: 5 + fills, message: TAKEN_OVER });
      await steps.awaitStreams({}); // those that read columns which only this plan brought
      run.report({ message: 'publishing' });
      // Serving first: the versions it reads until then are kept up to date. Where nothing was ever applied it has nothing to read.
      if (plan.revision > 0) await steps.publishServingPlan();
      await steps.settleOnline();
      await steps.settleSchedules();
      await steps.startStreams();
      run.report({ message: 'removing what nobody reads from Redis' });
      await steps.reclaim();
    });
    run.report({ done: 5 + fills });
    await run.end(`revision ${plan.revision} is live`);
    return { revision: plan.revision, versions: plan.versions, backfilled: plan.backfills.length };
  } catch (error) {
    await CancellationScope.nonCancellable(async () => {
      if (undo.length > 0) run.report({ message: 'undoing' });
      for (const step of undo) await step();
      await run.end('failed');
    });
    throw error;
  }
}

interface Fill {
  workflow: 'backfill' | 'refill';
  view: string;
  version: number;
  /** Of the workflow's id, after view and version. */
  range: string;
  message: string;
}

type Opened = Awaited<ReturnType<Activities['openPlan']>>;

/** Backfills of new versions, and refills of those that nobody has read before. */
async function fillAll({ backfills, refills }: Opened, run: Run): Promise<void> {
  const fills: Fill[] = [
    ...backfills.map(({ view, version, start, end, events }): Fill => {
      const range = `/${start.slice(0, 10)}..${end.slice(0, 10)}`;
      return { workflow: 'backfill', view, version, range, message: `${events} events` };
    }),
    ...refills.map((one): Fill => ({ workflow: 'refill', ...one, range: '', message: 'its first reader' })),
  ];
  let done = 0;
  await workOff(run, fills, FILLS_AT_ONCE, async ({ workflow, view, version, range, message }) => {
    run.report({ done: 2 + done, message: `${workflow} ${view}@${version}: ${message}` });
    await executeChild(workflow, {
      workflowId: `${workflow}/${view}@${version}${range}`,
      taskQueue: queue('batch'),
      args: [{ view, version }],
      staticSummary: `${workflow} ${view}@${version}`,
      searchAttributes: { AlmanacKind: [workflow], AlmanacView: [view], AlmanacVersion: [version] },
      cancellationType: ChildWorkflowCancellationType.WAIT_CANCELLATION_COMPLETED,
    });
    run.report({ done: 2 + ++done });
  }); // all have ended before what they write to is taken away
}
