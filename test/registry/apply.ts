/** What the workflow of an apply does to the registry, without the workflow. */
import { assertDefinitions } from '../../core/check.js';
import type { Definitions } from '../../core/definition.js';
import { activate, computePlan, openRevision, savePlan } from '../../registry/apply.js';
import type { Pool } from '../../registry/sql.js';

/** Gives the plan's hash. */
export async function applyTo(pool: Pool, next: Definitions, by = 'test'): Promise<string> {
  const plan = await computePlan(pool, next);
  await savePlan(pool, plan, assertDefinitions(next), by);
  await openRevision(pool, plan.hash);
  await activate(pool, plan.hash, by);
  return plan.hash;
}
