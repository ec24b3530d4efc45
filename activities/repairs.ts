/**
 * What starts by itself, some seconds after it is needed: the dual write of each range that is owed, the refill of every version that
 * an emptied Redis lacks, a stream that is drained but wanted again, and the run of a change of models that never began. Beside the
 * activities of a worker process; several may do so at once, since a run that goes on is left alone. Does no repair itself; once a
 * minute it collects what serving counted, and forgets what is old.
 */
import { setTimeout as delay } from 'node:timers/promises';
import type { Client } from '@temporalio/client';
import { FeatureStoreError } from '../core/error.js';
import { type ModelChange, pinRun } from '../registry/models.js';
import { getSource } from '../registry/resolve.js';
import { type StartRun, startRun } from '../registry/runs.js';
import type { Deps } from './deps.js';
import { translate } from './errors.js';
import { forget } from './forget.js';
import { readGeneration } from './offline/ticks.js';
import { listMissing, readPublished } from './online/publish.js';
import { collectReads } from './reads.js';
import { listFilled } from './refill.js';
import { startStream } from './stream/stream.js';

export interface Repairs {
  /** Why the last look came to nothing, unless a store was away; null: it did not. */
  problem(): string | null;
  stop(): Promise<void>;
}

const LOOK_MS = 2_000;
/** A run that failed is followed by another after so long. */
const AGAIN_MS = 60_000;
/** In less, a drained stream's run has ended. */
const ENDING_MS = 5_000;
const CALL_MS = 5_000;
const KEEP_MS = 60_000;

interface Named {
  view: string;
  version: number;
  owner: string;
}

export function startRepairs(deps: Deps, client: Client): Repairs {
  const stopped = new AbortController();
  const lacking = new Lacking();
  const resumed = new Map<string, number>();
  let keptAt = Number.NEGATIVE_INFINITY;
  let problem: string | null = null;
  const looking = (async () => {
    while (!stopped.signal.aborted) {
      try {
        await startDualWrites(deps, client);
        await startRefills(deps, client, lacking);
        await startDrained(deps, client, resumed);
        if (performance.now() - keptAt > KEEP_MS) {
          await collectReads(deps);
          await startPin(deps, client);
          await forget(deps.pool, deps.clock());
          keptAt = performance.now();
        }
        problem = null;
      } catch (error) {
        const known = translate(error);
        problem = known instanceof FeatureStoreError && known.retryable ? null : `repairs: ${String(known)}`;
      }
      await delay(LOOK_MS, undefined, { signal: stopped.signal }).catch(() => {}); // stopped
    }
  })();
  return {
    problem: () => problem,
    stop: () => {
      stopped.abort();
      return looking;
    },
  };
}

/** Of every owed range, also of one whose run was terminated; of versions that nobody reads nothing is owed. */
async function startDualWrites({ config, pool }: Deps, client: Client): Promise<void> {
  await pool.query('delete from owed where version_id in (select id from view_version where not online)');
  const { rows } = await pool.query<Named & { id: number; after: number }>(
    `select o.id, v.view, v.version, v.definition ->> 'owner' as owner, o.after_sequence as after
       from owed o join view_version v on v.id = o.version_id and v.online
      where o.asked_at is null or o.asked_at < clock_timestamp() - make_interval(secs => $1)
      order by o.id`,
    [AGAIN_MS / 1000],
  );
  for (const { id, after, ...named } of rows) {
    const view = `${named.view}@${named.version}`;
    await start(client, config.environment, {
      workflow: 'dualWrite',
      id: `dual-write/${view}/${after}`,
      input: { view, after },
      summary: `records of ${view} that Redis missed`,
      ...named,
    });
    await pool.query('update owed set asked_at = clock_timestamp() where id = $1', [id]);
  }
}

/** What two looks in a row found missing: one alone may fall between two steps of an apply. */
class Lacking {
  #before: number[] = [];
  readonly #startedAt = new Map<number, number>();

  /** Which refills are due. */
  look(missing: number[]): number[] {
    const due = missing.filter(
      (id) =>
        this.#before.includes(id) &&
        performance.now() - (this.#startedAt.get(id) ?? Number.NEGATIVE_INFINITY) > AGAIN_MS,
    );
    this.#before = missing;
    return due;
  }

  started(id: number): void {
    this.#startedAt.set(id, performance.now());
  }
}

async function startRefills({ config, pool, redis }: Deps, client: Client, lacking: Lacking): Promise<void> {
  const filled = await listFilled(pool);
  if (filled.size === 0) return;
  const missing = await listMissing(redis, config.environment, await readGeneration(pool), [
    ...filled.keys(),
  ]);
  for (const id of lacking.look(missing)) {
    const { rows } = await pool.query<Named>(
      `select view, version, definition ->> 'owner' as owner from view_version where id = $1`,
      [id],
    );
    const { view, version } = rows[0]!;
    await start(client, config.environment, {
      workflow: 'refill',
      id: `refill/${view}@${version}`,
      input: { view, version },
      summary: `refill of ${view}@${version}: Redis was emptied`,
      ...rows[0]!,
    });
    lacking.started(id);
  }
}

/**
 * Whoever wanted a stream again while it was draining found its run still open, and that run may have read `drain` by then. One that
 * failed is left to its operator. @param resumed source → when, by performance.now()
 */
async function startDrained(
  { config, pool }: Deps,
  client: Client,
  resumed: Map<string, number>,
): Promise<void> {
  const { rows } = await pool.query<{ source: string }>(
    `select distinct source from stream_offset join stream_control using (source)
      where wanted = 'run' and state = 'drained' and seen_at < clock_timestamp() - make_interval(secs => $1)`,
    [ENDING_MS / 1000],
  );
  for (const { source } of rows) {
    if (performance.now() - (resumed.get(source) ?? Number.NEGATIVE_INFINITY) < AGAIN_MS) continue;
    const { owner } = await getSource(pool, source);
    await client.connection.withDeadline(Date.now() + CALL_MS, () =>
      startStream(client, config.environment, { source, owner }),
    );
    resumed.set(source, performance.now());
  }
}

/**
 * The run of the newest change of models, when serving reads by an earlier one: whoever made the change died before its run began. It
 * publishes those before it, too. In a Redis that is new or was emptied the last refill does.
 */
async function startPin({ config, pool, redis }: Deps, client: Client): Promise<void> {
  const published = await readPublished(redis, config.environment);
  if (published === null) return;
  const { rows } = await pool.query<ModelChange & { changes: number }>(
    `select name as model, change, (select sum(change)::bigint from model) as changes
       from model join audit using (name)
      where kind = 'model'
      order by audit.id desc limit 1`,
  );
  const [newest] = rows;
  if (newest && newest.changes > published.modelChanges)
    await start(client, config.environment, pinRun(newest));
}

function start(client: Client, environment: string, run: StartRun): Promise<void> {
  return client.connection.withDeadline(Date.now() + CALL_MS, () => startRun(client, environment, run));
}
