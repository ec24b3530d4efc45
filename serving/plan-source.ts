/**
 * Where serving's plan comes from: Redis, asked twice a second, compiled when it changed, swapped between requests. A plan that
 * cannot be compiled never replaces one that can. A Redis without plan or generation (new, or emptied) is "not ready".
 */
import type { Redis } from 'ioredis';
import { FeatureStoreError } from '../core/error.js';
import type { Lock } from '../core/lock.js';
import { generationKey, planKey, type ServingPlan } from '../core/serving-plan.js';
import { type CompiledPlan, compilePlan } from './plan.js';
import { within } from './redis.js';

const POLL_MS = 500;
const POLL_DEADLINE_MS = 2_000;

export interface PlanSource {
  /** The plan to answer with. Throws FS_NOT_READY, with the reason, when there is none. */
  current(): CompiledPlan;
  find(): CompiledPlan | null;
  /** What stands against answering, or against the newest plan; empty when all is well. */
  problems(): string[];
  /** Throws FS_LOCK_INVALID when the newest plan cannot be read by the process's own lock. */
  assertLock(): void;
  /** Asks Redis now; resolves when its plan, if new, is in force. */
  refresh: () => Promise<void>;
  stop(): void;
}

/** @param own the lock of the process itself */
export function startPlanSource(redis: Redis, environment: string, own: Lock | null): PlanSource {
  let plan: CompiledPlan | null = null;
  let published: Buffer | null = null;
  let generation: string | null = null;
  /** Why the published plan is not in force; stays until another is published. */
  let refusal: unknown = null;
  /** Why the last look at Redis failed. */
  let trouble: string | null = 'the plan has not been read yet';
  let running: Promise<void> | null = null;
  let timer: NodeJS.Timeout | undefined;
  let stopped = false;

  async function poll(): Promise<void> {
    if (redis.status !== 'ready') throw new Error(`the connection to Redis is "${redis.status}"`);
    const pipeline = redis.pipeline().getBuffer(planKey(environment)).get(generationKey(environment));
    const replies = (await within(pipeline.exec(), performance.now() + POLL_DEADLINE_MS)) ?? [];
    for (const [error] of replies) if (error) throw error;
    generation = replies[1]?.[1] as string | null;
    const bytes = replies[0]?.[1] as Buffer | null;
    if (bytes === null) [plan, published, refusal] = [null, null, null];
    else if (published === null || !published.equals(bytes)) take(bytes);
  }

  function take(bytes: Buffer): void {
    published = bytes;
    try {
      plan = compilePlan(JSON.parse(bytes.toString('utf8')) as ServingPlan, own);
      refusal = null;
    } catch (error) {
      refusal = error;
    }
  }

  function refresh(): Promise<void> {
    running ??= poll()
      .then(
        () => {
          trouble = null;
        },
        (error: unknown) => {
          trouble = `the plan cannot be read: ${messageOf(error)}`;
        },
      )
      .finally(() => {
        running = null;
      });
    return running;
  }

  function problems(): string[] {
    if (trouble !== null) return [trouble];
    const found = refusal === null ? [] : [`the published plan is refused: ${messageOf(refusal)}`];
    if (published === null) found.push(`no serving plan is published in environment "${environment}"`);
    else if (plan !== null && generation !== plan.generation)
      found.push(generationProblem(plan.generation, generation));
    return found;
  }

  function schedule(): void {
    if (!stopped) timer = setTimeout(() => void refresh().finally(schedule), POLL_MS);
  }

  const onReady = (): void => void refresh();
  redis.on('ready', onReady);
  void refresh().finally(schedule);
  return {
    current() {
      if (plan) return plan;
      throw notReady(problems().join('; '));
    },
    find: () => plan,
    problems,
    assertLock() {
      if (refusal instanceof FeatureStoreError && refusal.code === 'FS_LOCK_INVALID') throw refusal;
    },
    refresh,
    stop() {
      stopped = true;
      clearTimeout(timer);
      redis.off('ready', onReady);
    },
  };
}

export function notReady(why: string): FeatureStoreError {
  return new FeatureStoreError('FS_NOT_READY', `serving is not ready: ${why}`, {
    fix: 'apply the definitions (almanac apply); after a loss of Redis: almanac refill --all; see GET /ready',
  });
}

export function generationProblem(wanted: string, found: string | null): string {
  return found === null
    ? 'Redis holds no generation: it is new or was emptied'
    : `Redis holds the data of generation "${found}", the plan is of "${wanted}"`;
}

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
