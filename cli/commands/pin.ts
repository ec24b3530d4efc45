import type { Schemas } from '../../clients/typescript/index.js';
import { connect } from '../address.js';
import { UsageError } from '../errors.js';
import type { Call } from '../program.js';
import { lockFile, pathOf, started } from './model.js';

interface Options {
  registry?: string;
  lock?: string;
  share?: number;
  trainingSet: string[];
  promote?: boolean;
  abort?: boolean;
  by?: string;
}

export default async function pin(call: Call<Options>): Promise<void> {
  const { args, options, out } = call;
  const { lock, share, trainingSet, promote, abort } = options;
  if ([lock, promote, abort].filter((each) => each !== undefined).length !== 1)
    throw new UsageError('what becomes of it?', 'give one of --lock almanac.lock, --promote and --abort');
  if (share !== undefined && lock === undefined)
    throw new UsageError('--share is of a lock', 'give --lock almanac.lock too');
  if (trainingSet.length > 0 && lock === undefined)
    throw new UsageError('--training-set is of a lock', 'give --lock almanac.lock too');
  const given = lock === undefined ? null : await lockFile(lock);
  const client = connect(call);
  const path = pathOf(args[0]!);
  // Of two that pin at once one is told.
  const { change } = await client.get<Model>(path);
  const run = await started(
    call,
    client,
    `${path}/pin`,
    given === null
      ? { canary: promote ? 'promote' : 'abort' }
      : {
          lock: given,
          ...(share === undefined ? {} : { share }),
          ...(trainingSet.length === 0 ? {} : { trainedOn: trainingSet }),
        },
    { 'if-match': `"${change}"` },
  );
  const model = await client.get<Model>(path);
  out.result({ run, model }, () =>
    model.locks
      .map(
        (each) =>
          `${each.state === 'live' ? 'lock' : 'canary'} ${each.number}: ${shareOf(each, model)} % of requests\n`,
      )
      .join(''),
  );
}

type Model = Schemas['ModelDetails'];

/** Of the live lock: what its canary leaves. */
function shareOf({ state, share }: Model['locks'][number], { locks }: Model): number {
  return state === 'canary' ? share : 100 - (locks.find((each) => each.state === 'canary')?.share ?? 0);
}
