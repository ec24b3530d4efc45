import { connect } from '../address.js';
import { UsageError } from '../errors.js';
import type { Call } from '../program.js';
import { instantOption, viewArgument } from './arguments.js';
import { runOne } from './views.js';

export default async function materialize(
  call: Call<{ registry?: string; tick?: string; trigger?: boolean }>,
): Promise<void> {
  const { options, out } = call;
  if (options.trigger && options.tick !== undefined)
    throw new UsageError('a schedule knows its own ticks', 'give --trigger or --tick, one of the two');
  const view = viewArgument(call.args[0]!);
  const tick = options.tick === undefined ? {} : { tick: instantOption('--tick', options.tick) };
  const trigger = options.trigger ? { trigger: true } : {};
  const client = connect(call);
  const run = await runOne(
    client,
    `materializing ${view.view}`,
    '/v1/materializations',
    { ...view, ...tick, ...trigger },
    out,
  );
  out.result(run, () => '');
}
