import { connect } from '../address.js';
import type { Call } from '../program.js';
import { instantOption, viewArgument } from './arguments.js';
import { runOne } from './views.js';

export default async function materialize(call: Call<{ registry?: string; tick?: string }>): Promise<void> {
  const { options, out } = call;
  const view = viewArgument(call.args[0]!);
  const tick = options.tick === undefined ? {} : { tick: instantOption('--tick', options.tick) };
  const client = connect(call);
  const run = await runOne(
    client,
    `materializing ${view.view}`,
    '/v1/materializations',
    { ...view, ...tick },
    out,
  );
  out.result(run, () => '');
}
