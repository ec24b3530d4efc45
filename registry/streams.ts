/**
 * What an operator wants of a stream: written down for its readers, told to its run. The note is what counts: readers look at it
 * twice a second, also while Temporal or the workers of the queue `control` are away, and one that starts later finds it.
 */
import { z } from 'zod';
import type { Source } from '../core/definition.js';
import { FeatureStoreError } from '../core/error.js';
import { streamOf } from '../core/stream.js';
import { type Entry, record } from './audit.js';
import { getSource } from './resolve.js';
import type { Progress, Runs } from './runs.js';
import { type Pool, type PoolClient, transaction } from './sql.js';
import { readStreams, type StreamStatus, type Wanted } from './status.js';

export const Order = z.enum(['pause', 'resume', 'drain']);
export type Order = z.infer<typeof Order>;

export const WANTED = { pause: 'pause', resume: 'run', drain: 'drain' } as const satisfies Record<
  Order,
  Wanted
>;
/** The state of a partition when its reader has done what is wanted. */
const DONE: Record<Wanted, StreamStatus['state']> = { run: 'running', pause: 'paused', drain: 'drained' };

/** @param by who wants it */
export function setWanted(pool: Pool, source: string, wanted: Wanted, by: string): Promise<void> {
  return transaction(pool, async (client) => {
    const { rows } = await client.query<{ wanted: Wanted }>(
      'select wanted from stream_control where source = $1 for update',
      [source],
    );
    await client.query(
      `insert into stream_control (source, wanted) values ($1, $2)
       on conflict (source) do update set wanted = excluded.wanted, reason = null, changed_at = clock_timestamp()`,
      [source, wanted],
    );
    if (rows[0]?.wanted !== wanted)
      await record(client, [{ ...streamEntry(source, by, wanted), before: rows[0], after: { wanted } }]);
  });
}

/** By the platform itself; what an operator wants already stays as it is. */
export async function pauseStream(client: PoolClient, source: string, reason: string): Promise<void> {
  const { rowCount } = await client.query(
    `insert into stream_control (source, wanted, reason) values ($1, 'pause', $2)
     on conflict (source) do update set wanted = 'pause', reason = excluded.reason, changed_at = clock_timestamp()
      where stream_control.wanted = 'run'`,
    [source, reason],
  );
  if (rowCount === 1)
    await record(client, [
      { ...streamEntry(source, 'almanac', 'pause'), after: { wanted: 'pause', reason } },
    ]);
}

const streamRun = (source: string): string => `stream/${source}`;
/** Of which stream it is, all of it or one partition; null: it is the run of something else. */
export function streamOfRun(run: string): { source: string; partition: number | null } | null {
  const [, source, partition] = /^stream\/([^/]+)(?:\/(\d+))?$/.exec(run) ?? [];
  return source === undefined
    ? null
    : { source, partition: partition === undefined ? null : Number(partition) };
}

function streamEntry(source: string, who: string, action: string): Entry {
  return { who, action, kind: 'stream', name: source, workflow: streamRun(source) };
}

/** How the readers of a source are getting on with what is wanted of it, and that in words. */
export async function readObedience(
  pool: Pool,
  source: Source,
  wanted: Wanted,
): Promise<{ isDone: boolean; said: string }> {
  const streams = (await readStreams(pool, [source])).filter((each) => each.source === source.name);
  const words = streams.map(
    ({ partition, state, offset, lag, seenAt }) =>
      `${source.name}/${partition} ${state === 'silent' ? `was last seen at ${seenAt}` : `is ${state}`}, at offset ${offset}, ${lag ?? 'nobody knows how many'} behind`,
  );
  return { isDone: streams.every(({ state }) => state === DONE[wanted]), said: words.join('; ') };
}

/** Of the run of a stream, whose workflow cannot look at Postgres; null: it is the run of something else. */
export async function findStreamProgress(pool: Pool, run: string): Promise<Progress | null> {
  const asked = streamOfRun(run);
  if (asked === null) return null;
  const streams = (await readStreams(pool, [])).filter(
    ({ source, partition }) =>
      source === asked.source && (asked.partition === null || partition === asked.partition),
  );
  const sum = (of: (stream: StreamStatus) => number | null): number =>
    streams.reduce((total, stream) => total + (of(stream) ?? 0), 0);
  return {
    done: sum(({ offset }) => offset),
    total: sum(({ end }) => end),
    unit: 'messages',
    ratePerSecond: sum(({ ratePerSecond }) => ratePerSecond),
    message: streams
      .map((each) => `${each.source}/${each.partition} is ${each.state}, ${each.lag ?? 0} behind`)
      .join('; '),
  };
}

/**
 * Returns when the note is written and the source's run has heard of it; the readers follow within a second. `resume` starts the
 * run if there is none. Throws FS_CONFLICT when there is no run to pause or drain (then nothing is noted), FS_UNAVAILABLE when the
 * note is written but Temporal, or a worker, does not answer.
 */
export async function orderStream(
  { pool, runs }: { pool: Pool; runs: Runs },
  name: string,
  order: Order,
  by: string,
): Promise<{ source: string; wanted: Wanted; run: string }> {
  const source = await getSource(pool, name);
  if (streamOf(source) === null)
    throw new FeatureStoreError(
      'FS_REQUEST_INVALID',
      `source "${name}" has no topic, so there is no stream of it`,
      {
        fix: 'declare its input as topic(...), or give it a stream',
        source: name,
      },
    );
  const run = streamRun(name);
  const wanted = WANTED[order];
  const isRunning = await runs.isRunning(run).catch(ifAway);
  if (isRunning === false && order !== 'resume')
    throw new FeatureStoreError(
      'FS_CONFLICT',
      `the stream of source "${name}" does not run: there is nothing to ${order}`,
      {
        fix: `see why in its run; start it with: almanac stream resume ${name}`,
        source: name,
        run,
      },
    );
  await setWanted(pool, name, wanted, by);
  const hasHeard = isRunning !== null && (await tellRun(runs, run, source, order).catch(ifAway)) !== null;
  if (hasHeard) return { source: name, wanted, run };
  throw new FeatureStoreError(
    'FS_UNAVAILABLE',
    `"${order}" is written down for source "${name}"; Temporal, or a worker behind it, does not answer`,
    {
      fix: 'a reader that is alive follows within a second, any other when a worker is back: almanac up',
      source: name,
      run,
    },
  );
}

/** A run that ends just now is followed by another. */
async function tellRun(runs: Runs, run: string, source: Source, order: Order): Promise<void> {
  try {
    await runs.update(run, order, true); // it is written down
  } catch (error) {
    const hasEnded =
      error instanceof FeatureStoreError && ['FS_NOT_FOUND', 'FS_CONFLICT'].includes(error.code);
    if (!hasEnded) throw error;
    if (order !== 'resume') return;
    await runs.start({
      workflow: 'streamSource',
      id: run,
      input: { source: source.name },
      summary: `stream of ${source.name}`,
      owner: source.owner,
    });
  }
}

function ifAway(error: unknown): null {
  if (error instanceof FeatureStoreError && error.retryable) return null;
  throw error;
}
