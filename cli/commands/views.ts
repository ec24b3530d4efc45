/** What the commands on stored views share: which views there are, and one run for each. */
import type { Client, Run } from '../client.js';
import { UsageError } from '../errors.js';
import type { Output } from '../output.js';
import { followRun, type Started } from '../run.js';
import { viewArgument } from './arguments.js';

/** The view that was named, or every stored one. */
export async function chosenViews(
  client: Client,
  name: string | undefined,
  all: boolean | undefined,
): Promise<Array<{ view: string; version?: number }>> {
  if ((name === undefined) === (all !== true))
    throw new UsageError(
      'name a view or give --all, one of the two',
      'for example: almanac refill user_spend',
    );
  if (name !== undefined) return [viewArgument(name)];
  return (await listStoredViews(client)).map(({ name: view }) => ({ view }));
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

/** Starts a run and follows it. */
export async function runOne(
  client: Client,
  title: string,
  path: string,
  body: unknown,
  out: Output,
): Promise<Run> {
  return out.step(title, async (step) => {
    const { run } = await client.post<Started>(path, body);
    const finished = await followRun(client, run, step);
    const { progress } = finished;
    if (progress && progress.done > 0) step.done(`${progress.done} ${progress.unit}`);
    return finished;
  });
}
