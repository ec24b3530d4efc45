import { connect } from '../address.js';
import type { Call } from '../program.js';
import { chosenViews, runEach } from './views.js';

export default async function refill(call: Call<{ registry?: string; all?: boolean }>): Promise<void> {
  const { options, out } = call;
  const client = connect(call);
  const views = await chosenViews(client, call.args[0], options.all, ({ online }) => online);
  const runs = await runEach(client, 'refilling', '/v1/refills', views, out);
  out.result({ runs }, () => '');
}
