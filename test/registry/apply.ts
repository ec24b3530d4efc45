/** What the workflow of an apply does to the registry, without the workflow. */
import { assertDefinitions } from '../../core/check.js';
import type { Definitions } from '../../core/definition.js';
import type { Plan } from '../../core/plan.js';
import {
  abandonPlan,
  activate,
  computePlan,
  openRevision,
  savePlan,
  settleOnline,
} from '../../registry/apply.js';
import type { Pool } from '../../registry/sql.js';

export interface Applying {
  plan: Plan;
  definitions: Definitions;
  by: string;
}

export const STEPS = {
  save: (pool, { plan, definitions, by }) => savePlan(pool, plan, definitions, by),
  open: (pool, { plan }) => openRevision(pool, plan.hash),
  activate: (pool, { plan, by }) => activate(pool, plan.hash, by),
  settle: (pool, { plan }) => settleOnline(pool, { revision: plan.baseRevision + 1, modelChanges: 0 }),
  abandon: (pool, { plan }) => abandonPlan(pool, plan.hash),
} satisfies Record<string, (pool: Pool, applying: Applying) => Promise<unknown>>;
export type Step = keyof typeof STEPS;

export async function planOf(pool: Pool, next: Definitions, by = 'test'): Promise<Applying> {
  return { plan: await computePlan(pool, next), definitions: assertDefinitions(next), by };
}

/** Gives the plan's hash. */
export async function applyTo(pool: Pool, next: Definitions, by?: string): Promise<string> {
  const applying = await planOf(pool, next, by);
  for (const step of ['save', 'open', 'activate'] as const) await STEPS[step](pool, applying);
  return applying.plan.hash;
}
