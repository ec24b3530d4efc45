import { userInfo } from 'node:os';
import { createInterface } from 'node:readline/promises';
import { connect } from '../address.js';
import { EXIT, UsageError } from '../errors.js';
import type { Call } from '../program.js';
import { followRun, type Started } from '../run.js';
import { requestPlan } from './definitions.js';

export default async function apply(
  call: Call<{ registry?: string; yes?: boolean; by?: string }>,
): Promise<number> {
  const { options, out } = call;
  const client = connect(call);
  const { definitions, plan, text } = await requestPlan(client, call.args[0], out);
  out.print(text);
  if (plan.empty) {
    out.result({ plan, run: null }, () => '');
    return EXIT.ok;
  }
  if (!options.yes && !(await isConfirmed(call))) {
    out.note('nothing was changed');
    out.result({ plan, run: null }, () => '');
    return EXIT.failed;
  }
  const { run } = await client.post<Started>('/v1/apply', {
    definitions,
    planHash: plan.hash,
    by: options.by ?? userInfo().username,
  });
  const finished = await out.step('applying', (step) => followRun(client, run, step));
  out.result({ plan, run: finished }, () => `applied as ${run}\n`);
  return EXIT.ok;
}

async function isConfirmed({ isInteractive, out }: Call<unknown>): Promise<boolean> {
  if (!isInteractive || out.json)
    throw new UsageError('there is nobody to ask whether to apply this', 'read the plan, then give --yes');
  const terminal = createInterface({ input: process.stdin, output: process.stderr });
  try {
    return /^y(es)?$/i.test((await terminal.question('Apply this? [y/N] ')).trim());
  } finally {
    terminal.close();
  }
}
