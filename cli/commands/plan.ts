import { planExitCode } from '../../core/plan.js';
import { connect } from '../address.js';
import type { Call } from '../program.js';
import { requestPlan } from './definitions.js';

export default async function plan(call: Call<{ registry?: string }>): Promise<number> {
  const client = connect(call);
  const { plan, text } = await requestPlan(client, call.args[0], call.out);
  call.out.result(plan, () => text);
  return planExitCode(plan);
}
