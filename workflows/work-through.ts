/** Parts 0 to `parts` - 1 of one piece of work, a few at a time, with progress and pauses between them. */
import type { Counts } from '../activities/output.js';
import type { Run } from './progress.js';

export async function workThrough(
  run: Run,
  parts: number,
  atOnce: number,
  work: (part: number) => Promise<Counts>,
): Promise<Counts> {
  const counts: Counts = { events: 0, entities: 0, rows: 0, records: 0 };
  let next = 0;
  let done = 0;
  run.report({ done, total: parts, message: 'computing' });
  const worker = async (): Promise<void> => {
    while (next < parts) {
      const part = next++;
      await run.mayGoOn();
      const written = await work(part);
      for (const name of Object.keys(counts) as Array<keyof Counts>) counts[name] += written[name];
      run.report({ done: ++done, counts: { ...counts } });
    }
  };
  await Promise.all(Array.from({ length: atOnce }, worker));
  return counts;
}
