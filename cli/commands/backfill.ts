import { connect } from '../address.js';
import type { Call } from '../program.js';
import { instantOption } from './arguments.js';
import { chosenViews, runEach } from './views.js';

export default async function backfill(
  call: Call<{ registry?: string; all?: boolean; start?: string; end?: string }>,
): Promise<void> {
  const { options, out } = call;
  const range = {
    ...(options.start === undefined ? {} : { start: instantOption('--start', options.start) }),
    ...(options.end === undefined ? {} : { end: instantOption('--end', options.end) }),
  };
  const client = connect(call);
  // A version that only models read, by their locks, is live no more.
  const isRead = ({ state, online }: { state: string; online: boolean }): boolean =>
    state === 'live' || online;
  const views = await chosenViews(client, call.args[0], options.all, isRead);
  const requests = views.map((view) => ({ ...view, ...range }));
  const runs = await runEach(client, 'backfilling', '/v1/backfills', requests, out);
  out.result({ runs }, () => '');
}
