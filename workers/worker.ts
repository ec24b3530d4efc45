/**
 * Workers for task queues: one Temporal Worker per queue over one set of dependencies. Wiring only.
 *
 * Per queue the number of activities at once: control's are short registry and client calls; batch's hold a core or a Postgres
 * connection each, and the pool has ten; a stream shard's loop runs for ever and shares a core with its neighbours.
 */
import { fileURLToPath } from 'node:url';
import { type NativeConnection, Worker, type WorkflowBundleOption } from '@temporalio/worker';
import { type Activities, createActivities, type Deps, ErrorInterceptor } from '../activities/index.js';
import type { Metrics } from './metrics.js';

export const QUEUES = ['control', 'batch', 'stream'] as const;
export type Queue = (typeof QUEUES)[number];

const ACTIVITIES_AT_ONCE: Record<Queue, number> = { control: 16, batch: 4, stream: 8 };

/** What `npm run build` makes; beside this file's folder in dist. */
export function builtBundle(): WorkflowBundleOption {
  return { codePath: fileURLToPath(new URL('../workflow-bundle.js', import.meta.url)) };
}

export interface WorkerOptions {
  connection: NativeConnection;
  namespace: string;
  deps: Deps;
  queues: readonly Queue[];
  workflowBundle: WorkflowBundleOption;
  metrics?: Metrics;
  /** Default: createActivities(deps). Tests wrap them. */
  activities?: Activities;
}

export async function createWorkers(options: WorkerOptions): Promise<Worker[]> {
  const { connection, namespace, deps, queues, workflowBundle, metrics } = options;
  const activities = options.activities ?? createActivities(deps);
  const workers: Worker[] = [];
  for (const queue of queues)
    workers.push(
      await Worker.create({
        connection,
        namespace,
        taskQueue: `${deps.config.environment}-${queue}`,
        workflowBundle,
        activities,
        interceptors: {
          activity: [
            () => ({ inbound: new ErrorInterceptor() }),
            ...(metrics ? [metrics.activityInterceptor] : []),
          ],
        },
        maxCachedWorkflows: 100,
        maxConcurrentActivityTaskExecutions: ACTIVITIES_AT_ONCE[queue],
        // Cancellation reaches an activity with a heartbeat: the default of 60 s between them is too long for an operator.
        maxHeartbeatThrottleInterval: '5 s',
        defaultHeartbeatThrottleInterval: '2 s',
        // An activity hears of the shutdown at its next beat, at most some seconds on; then nothing is waited for.
        shutdownGraceTime: '3 s',
        shutdownForceTime: '10 s',
      }),
    );
  return workers;
}
