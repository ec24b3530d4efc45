/** What the commands on stored views share: which views there are, and one run for each. */
import type { Client, Run } from '../client.js';
import { UsageError } from '../errors.js';
import type { Output } from '../output.js';
import { followRun, startRun } from '../run.js';
import { formatCount, formatSeconds } from '../text.js';
import { viewArgument } from './arguments.js';
import type { Status } from './status.js';

/** The view that was named, or all: every stored one, unless others are listed. */
export async function chosenViews(
  client: Client,
  name: string | undefined,
  all: boolean | undefined,
  list = listNames,
): Promise<Array<{ view: string; version?: number }>> {
  if ((name === undefined) === (all !== true))
    throw new UsageError(
      'name a view or give --all, one of the two',
      'for example: almanac refill user_spend',
    );
  if (name !== undefined) return [viewArgument(name)];
  return list(client);
}

async function listNames(client: Client): Promise<Array<{ view: string; version?: number }>> {
  return (await listStoredViews(client)).map(({ name: view }) => ({ view }));
}

/** Versions whose records are in Redis. */
export async function listOnline(client: Client): Promise<Array<{ view: string; version: number }>> {
  const { views } = await client.get<Status>('/v1/status');
  return views
    .filter(({ kind, state, online }) => online && kind !== 'onDemand' && state !== 'backfilling')
    .map(({ view, version }) => ({ view, version }));
}

export interface StoredViewName {
  name: string;
  kind: 'aggregation' | 'sql';
  /** Of batch and sql views; null for streaming ones. */
  cadenceMs: number | null;
}

/** In the order in which they were declared. */
export async function listStoredViews(client: Client): Promise<StoredViewName[]> {
  const { definitions } = await client.get<{
    definitions: {
      views: Array<{ name: string; kind: string; cadenceMs?: number; mode?: { cadenceMs?: number } }>;
    };
  }>('/v1/definitions');
  return definitions.views.flatMap(({ name, kind, cadenceMs, mode }) =>
    kind === 'aggregation' || kind === 'sql'
      ? [{ name, kind, cadenceMs: cadenceMs ?? mode?.cadenceMs ?? null }]
      : [],
  );
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
      const shares = [...under].map(([view, share]) => `${view} ${Math.floor(100 * share)} %`);
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
        under.set(request.view, 0);
        show();
        const run = await startRun(client, path, request);
        runs[index] = await followRun(client, run, {
          ...step,
          progress: ({ done, total }) => {
            under.set(request.view, total ? done / total : 0);
            show();
          },
        });
        under.delete(request.view);
        ended++;
        const counts = Object.entries(runs[index].progress?.counts ?? {}).flatMap(([name, n]) =>
          n === 0 ? [] : [`, ${formatCount(n)} ${name}`],
        );
        step.note(`   ${request.view}${counts.join('')} (${formatSeconds(performance.now() - began)})`);
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
