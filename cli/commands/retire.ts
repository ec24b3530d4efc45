import { connect } from '../address.js';
import { ask } from '../ask.js';
import { UsageError } from '../errors.js';
import type { Call } from '../program.js';
import { viewArgument } from './arguments.js';
import { started } from './model.js';

interface Options {
  registry?: string;
  unreadDays?: number;
  confirm?: string;
  by?: string;
}

export default async function retire(call: Call<Options>): Promise<void> {
  const { args, options, out } = call;
  const { view, version } = viewArgument(args[0]!);
  if (version === undefined) throw new UsageError('which version?', `almanac retire ${view}@1`);
  const named = `${view}@${version}`;
  const name =
    options.confirm ?? (await ask(call, `Type the version to retire it: `, '--confirm <view@version>'));
  const run = await started(call, connect(call), `/v1/views/${encodeURIComponent(named)}/retire`, {
    name,
    ...(options.unreadDays === undefined ? {} : { unreadDays: options.unreadDays }),
  });
  out.result({ run }, () => `${named} is retired\n`);
}
