/**
 * Workflows as the registry's callers see them: started by an id that says what they do, described, told to pause. Every call to
 * Temporal has a deadline; a Temporal that is down or hangs is FS_UNAVAILABLE.
 */
import {
  Client,
  Connection,
  isGrpcServiceError,
  NamespaceNotFoundError,
  QueryNotRegisteredError,
  QueryRejectedError,
  WorkflowExecutionAlreadyStartedError,
  type WorkflowExecutionDescription,
  WorkflowFailedError,
  WorkflowNotFoundError,
  WorkflowUpdateFailedError,
} from '@temporalio/client';
import {
  ApplicationFailure,
  defineSearchAttributeKey,
  SearchAttributeType,
  TypedSearchAttributes,
} from '@temporalio/common';
import { z } from 'zod';
import type { Config } from '../core/config.js';
import { ERRORS, FeatureStoreError } from '../core/error.js';
import type { ApplyPlanInput } from '../workflows/apply-plan.js';
import type { BackfillInput } from '../workflows/backfill.js';
import type { DualWriteInput } from '../workflows/dual-write.js';
import type { ImportSourceInput } from '../workflows/import-source.js';
import type { MaterializeInput } from '../workflows/materialize.js';
import type { PinInput } from '../workflows/pin.js';
import type { RefillInput } from '../workflows/refill.js';
import type { RetireInput } from '../workflows/retire.js';
import type { StreamSourceInput } from '../workflows/stream.js';
import type { TrainingSetInput } from '../workflows/training-set.js';
import { Count, Timestamp } from './requests.js';

/** How far a run is; the answer of every workflow's `progress` query. */
const Progress = z
  .strictObject({
    done: z.number(),
    total: z.number().nullable(),
    unit: z.string(),
    ratePerSecond: z.number().nullable(),
    message: z.string(),
    counts: z.record(z.string(), Count).exactOptional(),
  })
  .meta({ id: 'Progress' });
export type Progress = z.infer<typeof Progress>;

export const Run = z
  .strictObject({
    id: z.string(),
    workflow: z.string(),
    state: z.enum(['running', 'completed', 'failed', 'cancelled', 'terminated', 'timed-out']),
    startedAt: Timestamp,
    closedAt: Timestamp.nullable(),
    /** null: no worker answers, or it was not asked. */
    progress: Progress.nullable(),
    result: z.unknown(),
    error: z
      .strictObject({ code: z.string(), message: z.string(), details: z.record(z.string(), z.unknown()) })
      .nullable(),
    uiUrl: z.string().nullable(),
  })
  .meta({ id: 'Run' });
export type Run = z.infer<typeof Run>;
type RunState = Run['state'];

/** The workflows that are started by themselves, and what each takes. */
interface Inputs {
  applyPlan: ApplyPlanInput;
  importSource: ImportSourceInput;
  backfill: BackfillInput;
  dualWrite: DualWriteInput;
  materialize: MaterializeInput;
  pin: PinInput;
  refill: RefillInput;
  retire: RetireInput;
  streamSource: StreamSourceInput;
  trainingSet: TrainingSetInput;
  verify: VerifyInput;
}

export interface VerifyInput {
  id: string;
  entities: number;
  moments: number;
  seed: number;
  /** Default: every stored view. */
  views?: string[];
  trainingSets?: string[];
}

export type StartRun = { [W in keyof Inputs]: { workflow: W; input: Inputs[W] } }[keyof Inputs] & {
  /** Says what it does. A run that goes on under this id is the answer; one that has ended is followed by another. */
  id: string;
  /** One line for the Temporal UI. */
  summary: string;
  /** Search attributes. */
  view?: string;
  version?: number;
  owner?: string;
};

export const RunningRun = z
  .strictObject({
    id: z.string(),
    workflow: z.string(),
    startedAt: Timestamp,
    uiUrl: z.string().nullable(),
  })
  .meta({ id: 'RunningRun' });
export type RunningRun = z.infer<typeof RunningRun>;

export interface Runs {
  start(run: StartRun): Promise<void>;
  /** Throws FS_NOT_FOUND. */
  get(id: string): Promise<Run>;
  isRunning(id: string): Promise<boolean>;
  /** `input`: what the update takes, if anything. Throws FS_NOT_FOUND, and FS_CONFLICT when it has ended or refuses. */
  update(id: string, update: 'pause' | 'resume' | 'drain', input?: unknown): Promise<void>;
  /** At most 100, newest first; as Temporal's list has it, up to a second behind. */
  listRunning(): Promise<RunningRun[]>;
  /** Throws when Temporal does not answer, or has no such namespace. */
  check(): Promise<void>;
  close(): Promise<void>;
}

type RunsConfig = Pick<Config, 'environment' | 'temporalAddress' | 'temporalNamespace' | 'temporalUiUrl'>;

const CALL_MS = 5_000;
// A query needs a worker to answer; without one the run is shown without its progress.
const QUERY_MS = 2_000;
const UPDATE_MS = 15_000;
const SUMMARY_BYTES = 200;

const ATTRIBUTES = {
  kind: defineSearchAttributeKey('AlmanacKind', SearchAttributeType.KEYWORD),
  view: defineSearchAttributeKey('AlmanacView', SearchAttributeType.KEYWORD),
  owner: defineSearchAttributeKey('AlmanacOwner', SearchAttributeType.KEYWORD),
  version: defineSearchAttributeKey('AlmanacVersion', SearchAttributeType.INT),
};

export function createRuns(
  config: RunsConfig,
  { callMs = CALL_MS, queryMs = QUERY_MS, updateMs = UPDATE_MS } = {},
): Runs {
  const connection = Connection.lazy({
    address: config.temporalAddress,
    // gRPC waits up to two minutes between attempts otherwise, long after Temporal is back.
    channelArgs: { 'grpc.initial_reconnect_backoff_ms': 100, 'grpc.max_reconnect_backoff_ms': 1_000 },
  });
  const client = new Client({ connection, namespace: config.temporalNamespace });
  const { workflow } = client;
  const underWay = new Set<Promise<unknown>>();
  /** A stopped server is not noticed by gRPC's own deadline alone: its retries begin anew. */
  const call = async <T>(work: () => Promise<T>, ms = callMs): Promise<T> => {
    let timer: NodeJS.Timeout | undefined;
    const late = new Promise<never>((_, reject) => {
      timer = setTimeout(() => reject(unavailable(`it did not answer within ${ms} ms`)), ms);
    });
    const answer = connection.withDeadline(Date.now() + ms, work);
    const settled: Promise<boolean> = answer.then(
      () => underWay.delete(settled),
      () => underWay.delete(settled),
    );
    underWay.add(settled);
    try {
      return await Promise.race([answer, late]);
    } catch (error) {
      throw translate(error, config);
    } finally {
      clearTimeout(timer);
    }
  };
  const uiUrl = (id: string, runId: string): string | null =>
    config.temporalUiUrl === null
      ? null
      : `${config.temporalUiUrl.replace(/\/+$/, '')}/namespaces/${encodeURIComponent(config.temporalNamespace)}` +
        `/workflows/${encodeURIComponent(id)}/${runId}/history`;
  const describe = (id: string): Promise<WorkflowExecutionDescription> =>
    call(() => describeRun(client, config.environment, id));

  return {
    start: (run) => call(() => startRun(client, config.environment, run)),
    async get(id) {
      const found = await describe(id);
      const state = stateOf(found);
      const handle = workflow.getHandle(id, found.runId, { followRuns: false });
      const [progress, outcome] = await Promise.all([
        state === 'terminated' || state === 'timed-out'
          ? null
          : askProgress(() => call(() => handle.query('progress'), queryMs)),
        state === 'running' ? null : readOutcome(() => call(() => handle.result())),
      ]);
      return {
        id,
        workflow: found.type,
        state,
        startedAt: found.startTime.toISOString(),
        closedAt: found.closeTime?.toISOString() ?? null,
        progress,
        result: outcome?.result ?? null,
        error: outcome?.error ?? null,
        uiUrl: uiUrl(id, found.runId),
      };
    },
    async isRunning(id) {
      try {
        return stateOf(await describe(id)) === 'running';
      } catch (error) {
        if (error instanceof FeatureStoreError && error.code === 'FS_NOT_FOUND') return false;
        throw error;
      }
    },
    async update(id, update, input) {
      const found = await describe(id);
      if (stateOf(found) !== 'running')
        throw new FeatureStoreError('FS_CONFLICT', `${id} is ${stateOf(found)}: it cannot ${update}`, {
          fix: 'start it again if it is needed',
          run: id,
        });
      await call(
        () =>
          workflow.getHandle(id, found.runId).executeUpdate<unknown, [unknown]>(update, { args: [input] }),
        updateMs,
      );
    },
    async listRunning() {
      const query = `ExecutionStatus = 'Running' AND TaskQueue = '${config.environment}-control'`;
      return call(async () => {
        const runs: RunningRun[] = [];
        for await (const found of workflow.list({ query, pageSize: 100 })) {
          const { workflowId: id, type, startTime, runId } = found;
          runs.push({ id, workflow: type, startedAt: startTime.toISOString(), uiUrl: uiUrl(id, runId) });
          if (runs.length === 100) break;
        }
        return runs;
      });
    },
    async check() {
      await call(
        () => connection.workflowService.describeNamespace({ namespace: config.temporalNamespace }),
        queryMs,
      );
    },
    async close() {
      // A call that was given up is tried again some times; on a closed channel that throws out of a timer, where nobody catches it.
      const closed = Promise.all(underWay).then(() => connection.close());
      if (underWay.size === 0) await closed;
    },
  };
}

/** As Runs has it, by any client, and throws what that throws. */
export async function startRun(
  client: Client,
  environment: string,
  { workflow, id, input, summary, view, version, owner }: StartRun,
): Promise<void> {
  for (;;)
    try {
      await client.workflow.start(workflow, {
        workflowId: id,
        taskQueue: `${environment}-control`,
        args: [input],
        workflowIdConflictPolicy: 'FAIL',
        workflowIdReusePolicy: 'ALLOW_DUPLICATE',
        staticSummary: cut(summary),
        typedSearchAttributes: new TypedSearchAttributes([
          { key: ATTRIBUTES.kind, value: workflow },
          ...(view === undefined ? [] : [{ key: ATTRIBUTES.view, value: view }]),
          ...(version === undefined ? [] : [{ key: ATTRIBUTES.version, value: version }]),
          ...(owner === undefined ? [] : [{ key: ATTRIBUTES.owner, value: owner }]),
        ]),
      });
      return;
    } catch (error) {
      if (!(error instanceof WorkflowExecutionAlreadyStartedError)) throw error;
      // One that has ended since is followed by ours.
      if (stateOf(await describeRun(client, environment, id)) === 'running') return;
    }
}

/** Throws FS_CONFLICT for a run of another environment. */
async function describeRun(
  client: Client,
  environment: string,
  id: string,
): Promise<WorkflowExecutionDescription> {
  const found = await client.workflow.getHandle(id).describe();
  const other = found.taskQueue.replace(/-[^-]*$/, '');
  if (other === environment) return found;
  throw new FeatureStoreError(
    'FS_CONFLICT',
    `run ${id} is of environment "${other}" in the same Temporal namespace`,
    {
      fix: 'give each environment a namespace of its own: ALMANAC_TEMPORAL_NAMESPACE',
      run: id,
      environment: other,
    },
  );
}

const ENDED: Readonly<Record<string, RunState>> = {
  COMPLETED: 'completed',
  FAILED: 'failed',
  CANCELLED: 'cancelled',
  TERMINATED: 'terminated',
  TIMED_OUT: 'timed-out',
};

/** Running, paused, continued as new: the id goes on. */
function stateOf({ status }: WorkflowExecutionDescription): RunState {
  return ENDED[status.name] ?? 'running';
}

/** null where nobody can say: no worker, a workflow without the query, one whose history no worker can replay. */
async function askProgress(ask: () => Promise<unknown>): Promise<Progress | null> {
  try {
    return (await ask()) as Progress;
  } catch (error) {
    if (error instanceof FeatureStoreError && error.code === 'FS_UNAVAILABLE') return null;
    if (error instanceof QueryNotRegisteredError || error instanceof QueryRejectedError) return null;
    // the client wraps some of them; a run whose history fails to replay answers like that, too
    if (isGrpcServiceError(error) || (error instanceof Error && isGrpcServiceError(error.cause))) return null;
    throw error;
  }
}

async function readOutcome(read: () => Promise<unknown>): Promise<Pick<Run, 'result' | 'error'>> {
  try {
    return { result: await read(), error: null };
  } catch (error) {
    if (!(error instanceof WorkflowFailedError)) throw error;
    return { result: null, error: failureOf(error) };
  }
}

/** What it failed with: the first cause that carries one of our codes, else the last cause there is. */
function failureOf(failed: WorkflowFailedError): NonNullable<Run['error']> {
  let last: Error = failed;
  for (let cause: unknown = failed.cause; cause instanceof Error; cause = cause.cause) {
    last = cause;
    if (!(cause instanceof ApplicationFailure) || !Object.hasOwn(ERRORS, cause.type ?? '')) continue;
    const details: unknown = cause.details?.[0];
    return {
      code: cause.type!,
      message: cause.message,
      details: typeof details === 'object' && details !== null ? { ...details } : {},
    };
  }
  return {
    code: 'FS_RUN_FAILED',
    message: last.message,
    details: { fix: 'see its history in the Temporal UI; start it again when the reason is gone' },
  };
}

const UNAVAILABLE = new Set([4, 8, 14]); // DEADLINE_EXCEEDED, RESOURCE_EXHAUSTED, UNAVAILABLE
const NOT_FOUND = 5;

function translate(error: unknown, config: RunsConfig): unknown {
  if (error instanceof FeatureStoreError || !(error instanceof Error)) return error;
  if (error instanceof WorkflowNotFoundError)
    return new FeatureStoreError('FS_NOT_FOUND', `there is no run ${JSON.stringify(error.workflowId)}`, {
      fix: 'GET /v1/status lists what runs; the Temporal UI lists what ran',
      run: error.workflowId,
    });
  if (error instanceof WorkflowUpdateFailedError)
    return new FeatureStoreError(
      'FS_CONFLICT',
      `the run refused: ${error.cause?.message ?? error.message}`,
      { fix: 'see what it does: GET /v1/runs' },
      { cause: error },
    );
  const grpc = isGrpcServiceError(error) ? error : isGrpcServiceError(error.cause) ? error.cause : null;
  if (grpc && UNAVAILABLE.has(grpc.code)) return unavailable(grpc.details || grpc.message, error);
  if (
    error instanceof NamespaceNotFoundError ||
    (grpc?.code === NOT_FOUND && /namespace/i.test(grpc.message))
  )
    return new FeatureStoreError(
      'FS_CONFIG_INVALID',
      `Temporal has no namespace "${config.temporalNamespace}"`,
      { fix: 'make it, or set ALMANAC_TEMPORAL_NAMESPACE', variable: 'ALMANAC_TEMPORAL_NAMESPACE' },
      { cause: error },
    );
  // The deadline of an update or a result that waits shows as an error of the SDK's own.
  if (
    /Timeout|Cancelled|deadline/i.test(`${error.name} ${error.message}`) &&
    !(error instanceof WorkflowFailedError)
  )
    return unavailable(error.message, error);
  return error;
}

function unavailable(why: string, cause?: unknown): FeatureStoreError {
  return new FeatureStoreError(
    'FS_UNAVAILABLE',
    `Temporal, or a worker behind it, does not answer: ${why}`,
    { fix: 'start it, or set ALMANAC_TEMPORAL_ADDRESS; then try again' },
    { cause },
  );
}

function cut(summary: string): string {
  let text = summary;
  while (Buffer.byteLength(text) > SUMMARY_BYTES) text = text.slice(0, -1);
  return text.toWellFormed();
}
