import { type Plan, removals } from '../../core/plan.js';
import { renderPlan } from '../../core/render-plan.js';
import { connect } from '../address.js';
import { ask } from '../ask.js';
import type { Client } from '../client.js';
import { EXIT, isFeatureStoreError, UsageError } from '../errors.js';
import type { Call } from '../program.js';
import { followRun, startRun } from '../run.js';
import { type Planned, readPlanned, requestPlan } from './definitions.js';

type ApplyCall = Call<{ registry?: string; yes?: boolean; by?: string; remove: string[] }>;

export default async function apply(call: ApplyCall): Promise<number> {
  const { args, out } = call;
  const client = connect(call);
  const planned = args[0]?.endsWith('.json')
    ? await readPlanned(args[0])
    : await requestPlan(client, args[0], out);
  const { plan } = planned;
  out.print(renderPlan(plan));
  const remove = plan.empty ? [] : await confirmed(call, plan); // what changes nothing publishes again, by workers of now
  if (remove === null) {
    out.note('nothing was changed');
    out.result({ plan, run: null }, () => '');
    return EXIT.failed;
  }
  const run = await start(client, call, planned, remove);
  const finished = await out.step('applying', (step) => followRun(client, run, step));
  out.result({ plan, run: finished }, () => `applied as ${run}\n`);
  return EXIT.ok;
}

/** Exactly this plan; if it is not what applying would do now, that is shown. */
async function start(
  client: Client,
  { options, out }: ApplyCall,
  { definitions, plan }: Planned,
  remove: readonly string[],
): Promise<string> {
  const by = options.by === undefined ? {} : { by: options.by };
  try {
    return await startRun(client, '/v1/apply', { definitions, planHash: plan.hash, remove, ...by });
  } catch (error) {
    if (isFeatureStoreError(error) && error.code === 'FS_PLAN_STALE' && error.details.plan)
      out.note(`the plan of now, of which nothing was applied:\n${renderPlan(error.details.plan as Plan)}`);
    throw error;
  }
}

/** The names of what is removed, each said by whoever applies; null: they do not want it. */
async function confirmed(call: ApplyCall, plan: Plan): Promise<string[] | null> {
  const { options, isInteractive, out } = call;
  const removed = removals(plan);
  const kept = options.remove.filter((name) => !removed.includes(name));
  if (kept.length > 0)
    throw new UsageError(`the plan does not remove ${kept.join(', ')}`, 'leave out these --remove');
  const unnamed = removed.filter((name) => !options.remove.includes(name));
  const canAsk = isInteractive && !out.json && !options.yes;
  if (unnamed.length > 0 && !canAsk)
    throw new UsageError(
      `the plan removes ${unnamed.join(', ')}`,
      `say so: ${unnamed.map((name) => `--remove ${name}`).join(' ')}`,
    );
  if (options.yes) return removed;
  if (!canAsk)
    throw new UsageError('there is nobody to ask whether to apply this', 'read the plan, then give --yes');
  for (const name of unnamed)
    if ((await ask(call, `Type ${name} to remove it: `, `--remove ${name}`)) !== name) return null;
  return /^y(es)?$/i.test(await ask(call, 'Apply this? [y/N] ', '--yes')) ? removed : null;
}
