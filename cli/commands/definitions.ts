/** What `plan` and `apply` share: the author's file, the registry's plan of it, and both in a file of their own. */
import { readFile } from 'node:fs/promises';
import type { Definitions } from '../../core/definition.js';
import { hashDefinitions, hashPlan, type Plan } from '../../core/plan.js';
import type { Client } from '../client.js';
import { UsageError } from '../errors.js';
import { DEFAULT_FILE, loadDefinitions } from '../load.js';
import type { Output } from '../output.js';

/** What `plan --out` writes. */
export interface Planned {
  definitions: Definitions;
  plan: Plan;
}

/** Evaluates the author's file and asks the registry for the plan. */
export async function requestPlan(client: Client, file: string | undefined, out: Output): Promise<Planned> {
  const path = file ?? DEFAULT_FILE;
  const definitions = await out.step(`evaluating ${path}`, () => loadDefinitions(path));
  return { definitions, plan: await client.post<Plan>('/v1/plan', { definitions }) };
}

/** A file of `plan --out`, as it was written: what is shown of it is what its hash says. */
export async function readPlanned(file: string): Promise<Planned> {
  let planned: Planned;
  try {
    planned = JSON.parse(await readFile(file, 'utf8')) as Planned;
    const { plan, definitions } = planned;
    if (plan.hash === hashPlan(plan) && plan.definitionsHash === hashDefinitions(definitions)) return planned;
  } catch (error) {
    throw new UsageError(
      `${file} is no file of a plan: ${error instanceof Error ? error.message : String(error)}`,
      'make one: almanac plan features.ts --out plan.json',
      { file },
    );
  }
  throw new UsageError(`${file} was changed after the plan was made`, 'make the plan again', { file });
}
