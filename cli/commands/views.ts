/** What the commands on stored views share: which views there are, and one run for each. */
import type { Client, Run } from '../client.js';
import { UsageError } from '../errors.js';
import type { Output } from '../output.js';
import { followRun, startRun } from '../run.js';
import { formatCount, formatSeconds } from '../text.js';
import { viewArgument } from './arguments.js';
import type { Status } from './status.js';

type View = Status['views'][number];

/** The view that was named, or all versions that are filled and of which that is true. */
export async function chosenViews(
  client: Client,
  name: string | undefined,
  all: boolean | undefined,
  which: (view: View) => boolean,
): Promise<Array<{ view: string; version?: number }>> {
  if ((name === undefined) === (all !== true))
    throw new UsageError(
      'name a view or give --all, one of the two',
      'for example: almanac refill user_spend',
    );
  if (name !== undefined) return [viewArgument(name)];
  const { views } = await client.get<Status>('/v1/status');
  return views
    .filter((view) => view.kind !== 'onDemand' && view.state !== 'backfilling' && which(view))
    .map(({ view, version }) => ({ view, version }));
}

export interface ViewRun {
  view: string;
  version?: number;
  start?: string;
  end?: string;
}

/** More at once only share the two cores of a small machine. */
const AT_ONCE = 2;

/** One run for each, two at a time, under one step; each is named when it is done. A failure lets those under way end. */
export async function runEach(
  client: Client,
  title: string,
  path: string,
  requests: readonly ViewRun[],
  out: Output,
): Promise<Run[]> {
  return out.step(title, async (step) => {
    const waiting = [...requests.entries()];
    const runs: Run[] = [];
    const under = new Map<string, number>();
    let ended = 0;
    const show = (): void => {
      const shares = [...under].map(([name, share]) => `${name} ${Math.floor(100 * share)} %`);
      step.progress({
        done: ended,
        total: requests.length,
        unit: 'views',
        ratePerSecond: null,
        message: shares.join(', '),
      });
    };
    const work = async (): Promise<void> => {
      for (let next = waiting.shift(); next; next = waiting.shift()) {
        const [index, request] = next;
        const began = performance.now();
        const { view, version } = request;
        const name = version === undefined ? view : `${view}@${version}`;
        under.set(name, 0);
        show();
        const run = await startRun(client, path, request);
        runs[index] = await followRun(client, run, {
          ...step,
          progress: ({ done, total }) => {
            under.set(name, total ? done / total : 0);
            show();
          },
        });
        under.delete(name);
        ended++;
        const counts = Object.entries(runs[index].progress?.counts ?? {}).flatMap(([name, n]) =>
          n === 0 ? [] : [`, ${formatCount(n)} ${name}`],
        );
        step.note(`   ${name}${counts.join('')} (${formatSeconds(performance.now() - began)})`);
      }
    };
    const failed = (
      await Promise.allSettled(
        Array.from({ length: AT_ONCE }, () =>
          work().catch((error: unknown) => {
            waiting.length = 0;
            throw error;
          }),
        ),
      )
    ).find((result) => result.status === 'rejected');
    if (failed) throw failed.reason;
    step.done(`${ended} views`);
    return runs;
  });
}

/** Starts a run and follows it. */
export async function runOne(
  client: Client,
  title: string,
  path: string,
  body: object,
  out: Output,
): Promise<Run> {
  return out.step(title, async (step) => {
    const run = await startRun(client, path, body);
    const finished = await followRun(client, run, step);
    const { progress } = finished;
    if (progress && progress.done > 0) step.done(`${progress.done} ${progress.unit}`);
    return finished;
  });
}
