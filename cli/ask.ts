/** Asks whoever sits there for a line. */
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
    return (await terminal.question(question)).trim();
  } finally {
    terminal.close();
  }
}
