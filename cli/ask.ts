/** Asks whoever sits there for a line; who ends the input instead says an empty one. */
import { once } from 'node:events';
import { createInterface } from 'node:readline/promises';
import { UsageError } from './errors.js';
import type { Call } from './program.js';

/** @param option says it without being asked: for when there is nobody */
export async function ask(
  { isInteractive, out }: Pick<Call<unknown>, 'isInteractive' | 'out'>,
  question: string,
  option: string,
): Promise<string> {
  if (!isInteractive || out.json) throw new UsageError('there is nobody to ask', `give ${option}`);
  const terminal = createInterface({ input: process.stdin, output: process.stderr });
  try {
    const closed = once(terminal, 'close').then(() => '');
    return (await Promise.race([terminal.question(question), closed])).trim();
  } finally {
    terminal.close();
  }
}
