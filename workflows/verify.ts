/**
 * Verify: recompute with the oracle, compare with what the platform gives; nothing is changed.
 *   fix bound, clock and parts → parts (250 entities of a view; a training set) → sums
 * It fails (FS_PARITY) where anything differs. Which entity, value and event is kept in Postgres: GET /v1/verifications/<id>.
 */
import { ApplicationFailure, proxyActivities } from '@temporalio/workflow';
import type { Activities } from '../activities/index.js';
import type { VerificationResult } from '../activities/verify.js';
import { followRun } from './progress.js';
import { queue } from './queues.js';
import { workOff } from './work-through.js';

export interface VerifyInput {
  id: string;
  /** Entities per view, at least; default 500. */
  entities?: number;
  /** Moments per entity and path, at least; default 3. */
  moments?: number;
  /** The same seed chooses the same entities and moments; default 1. */
  seed?: number;
  /** Ids of training sets whose files are compared too. */
  trainingSets?: string[];
  /** Default: every live stored view. */
  views?: string[];
}

// Nested loops are bound by the processor: one computes while the other waits for Postgres.
const PARTS_AT_ONCE = 2;

export async function verify(input: VerifyInput): Promise<VerificationResult> {
  const retry = { initialInterval: '500 ms', maximumInterval: '15 s' } as const;
  const { openVerification, closeVerification } = proxyActivities<Activities>({
    taskQueue: queue('batch'),
    startToCloseTimeout: '1 min',
    retry,
  });
  // A part takes seconds; of entities with 100,000 events each, or a sql view's query of 10 min, much longer. It lives as long as
  // it gives a sign every 60 s.
  const { verifyPart } = proxyActivities<Activities>({
    taskQueue: queue('batch'),
    startToCloseTimeout: '2 h',
    heartbeatTimeout: '60 s',
    retry,
  });
  const run = followRun('parts');
  run.report({ message: 'opening' });
  const { id, entities = 500, moments = 3, seed = 1 } = input;
  const { parts, sequence } = await openVerification({ ...input, entities, moments, seed });
  run.fact('Sample', `${entities} entities per view, ${moments} moments, seed ${seed}`);
  run.fact('Archive', `up to sequence ${sequence}`);

  const counts = { checked: 0, different: 0 };
  let done = 0;
  run.report({ total: parts.length, message: 'comparing', counts: { ...counts } });
  await workOff(run, [...parts.entries()], PARTS_AT_ONCE, async ([part, { name }]) => {
    for (const { checked, different } of Object.values(await verifyPart({ id, part }))) {
      counts.checked += checked;
      counts.different += different;
    }
    run.report({ done: ++done, message: `compared ${name}`, counts: { ...counts } });
  });
  const result = await closeVerification({ id });
  const say = (what: string, names: string[]): string =>
    names.length > 0 ? `; ${what}: ${names.join(', ')}` : '';
  const without = say('never backfilled', result.neverBackfilled);
  const behind = say('behind, Redis was away', result.owed);
  await run.end(`${result.checked} answers compared, ${result.different} different${without}${behind}`);
  if (result.different > 0)
    throw ApplicationFailure.nonRetryable(
      `${result.different} of ${result.checked} answers differ from the oracle's`,
      'FS_PARITY',
      { fix: `see which: GET /v1/verifications/${id}`, verification: id, ...result },
    );
  return result;
}
