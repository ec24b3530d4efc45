/** What `plan` and `apply` share: evaluate the author's file and ask the registry for the plan. */
import type { Definitions } from '../../core/definition.js';
import type { Plan } from '../../core/plan.js';
import { renderPlan } from '../../core/render-plan.js';
import type { Client } from '../client.js';
import { DEFAULT_FILE, loadDefinitions } from '../load.js';
import type { Output } from '../output.js';

export async function requestPlan(
  client: Client,
  file: string | undefined,
  out: Output,
): Promise<{ definitions: Definitions; plan: Plan; text: string }> {
  const path = file ?? DEFAULT_FILE;
  const definitions = await out.step(`evaluating ${path}`, () => loadDefinitions(path));
  const plan = await client.post<Plan>('/v1/plan', { definitions });
  return { definitions, plan, text: renderPlan(plan) };
}
