/** Many pieces of one piece of work, a few at a time, with pauses between them. */
import { CancellationScope } from '@temporalio/workflow';
import type { Counts } from '../activities/output.js';
import type { Run } from './progress.js';

/**
 * Takes `waiting` one by one until none is left. After a failure the others under way are cancelled, and have ended before its
 * error is thrown: whoever undoes the work has nobody writing behind his back. For that their activities need
 * `cancellationType: WAIT_CANCELLATION_COMPLETED`.
 */
export async function workOff<T>(
  run: Run,
  waiting: T[],
  atOnce: number,
  work: (one: T) => Promise<void>,
): Promise<void> {
  await CancellationScope.cancellable(async () => {
    const scope = CancellationScope.current();
    const errors: unknown[] = [];
    const worker = async (): Promise<void> => {
      try {
        for (let one = waiting.shift(); one !== undefined; one = waiting.shift()) {
          await run.mayGoOn();
          await work(one);
        }
      } catch (error) {
        errors.push(error);
        waiting.length = 0;
        scope.cancel();
      }
    };
    await Promise.all(Array.from({ length: atOnce }, worker));
    if (errors.length > 0) throw errors[0];
  });
}

/** Parts 0 to `parts` - 1, with progress; gives the sums of their counts. */
export async function workThrough(
  run: Run,
  parts: number,
  atOnce: number,
  work: (part: number) => Promise<Counts>,
): Promise<Counts> {
  const counts: Counts = { events: 0, entities: 0, rows: 0, records: 0 };
  let done = 0;
  run.report({ done, total: parts, message: 'computing' });
  await workOff(run, [...Array(parts).keys()], atOnce, async (part) => {
    const written = await work(part);
    for (const name of Object.keys(counts) as Array<keyof Counts>) counts[name] += written[name];
    run.report({ done: ++done, counts: { ...counts } });
  });
  return counts;
}
