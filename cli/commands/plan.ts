import { writeFile } from 'node:fs/promises';
import { planExitCode } from '../../core/plan.js';
import { renderPlan, renderPlanMarkdown } from '../../core/render-plan.js';
import { connect } from '../address.js';
import { UsageError } from '../errors.js';
import type { Call } from '../program.js';
import { requestPlan } from './definitions.js';

export default async function plan(
  call: Call<{ registry?: string; out?: string; markdown?: boolean }>,
): Promise<number> {
  const { options, out } = call;
  if (options.out?.endsWith('.json') === false)
    throw new UsageError(
      `${options.out} is no .json: "almanac apply" would take it for a definitions file`,
      `--out ${options.out}.json`,
    );
  const planned = await requestPlan(connect(call), call.args[0], out);
  if (options.out !== undefined) await writeFile(options.out, `${JSON.stringify(planned, null, 2)}\n`);
  out.result(planned.plan, () => (options.markdown ? renderPlanMarkdown : renderPlan)(planned.plan));
  return planExitCode(planned.plan);
}
