import { connect } from '../address.js';
import type { Run } from '../client.js';
import type { Call } from '../program.js';
import { chosenViews, runOne } from './views.js';

export default async function refill(call: Call<{ registry?: string; all?: boolean }>): Promise<void> {
  const { options, out } = call;
  const client = connect(call);
  const runs: Run[] = [];
  for (const view of await chosenViews(client, call.args[0], options.all))
    runs.push(await runOne(client, `refilling ${view.view}`, '/v1/refills', view, out));
  out.result({ runs }, () => '');
}
