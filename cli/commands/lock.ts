import { writeFile } from 'node:fs/promises';
import { type Lock, lockText } from '../../core/lock.js';
import { connect } from '../address.js';
import type { Call } from '../program.js';
import { pathOf } from './model.js';

export default async function lock(
  call: Call<{ registry?: string; out?: string; canary?: boolean }>,
): Promise<void> {
  const { args, options, out } = call;
  const state = options.canary ? 'canary' : 'live';
  const found = await connect(call).get<Lock>(`${pathOf(args[0]!)}/lock?state=${state}`);
  if (options.out === undefined) return out.result(found, () => lockText(found));
  await writeFile(options.out, lockText(found));
  out.result({ file: options.out, lock: found }, () => `${options.out}\n`);
}
