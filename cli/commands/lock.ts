import { writeFile } from 'node:fs/promises';
import { type Lock, lockText } from '../../core/lock.js';
import { connect } from '../address.js';
import { UsageError } from '../errors.js';
import type { Call } from '../program.js';
import { pathOf } from './model.js';

interface Options {
  registry?: string;
  out?: string;
  canary?: boolean;
  next?: boolean;
  service: string[];
}

export default async function lock(call: Call<Options>): Promise<void> {
  const { args, options, out } = call;
  const { canary, next, service } = options;
  if (canary && next) throw new UsageError('which lock?', 'give one of --canary and --next');
  if (service.length > 0 && !next) throw new UsageError('--service is of the next lock', 'give --next too');
  const query = new URLSearchParams({ state: canary ? 'canary' : next ? 'next' : 'live' });
  for (const each of service) query.append('service', each);
  const found = await connect(call).get<Lock>(`${pathOf(args[0]!)}/lock?${query.toString()}`);
  if (options.out === undefined) return out.result(found, () => lockText(found));
  await writeFile(options.out, lockText(found));
  out.result({ file: options.out, lock: found }, () => `${options.out}\n`);
}
