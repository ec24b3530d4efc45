import { connect } from '../address.js';
import type { Run } from '../client.js';
import type { Call } from '../program.js';
import { instantOption } from './arguments.js';
import { chosenViews, runOne } from './views.js';

export default async function backfill(
  call: Call<{ registry?: string; all?: boolean; start?: string; end?: string }>,
): Promise<void> {
  const { options, out } = call;
  const range = {
    ...(options.start === undefined ? {} : { start: instantOption('--start', options.start) }),
    ...(options.end === undefined ? {} : { end: instantOption('--end', options.end) }),
  };
  const client = connect(call);
  const runs: Run[] = [];
  for (const view of await chosenViews(client, call.args[0], options.all))
    runs.push(await runOne(client, `backfilling ${view.view}`, '/v1/backfills', { ...view, ...range }, out));
  out.result({ runs }, () => '');
}
