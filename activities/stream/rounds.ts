/**
 * What is expected of what a stream writes is judged once in every round of snapshots, over all that was written since the last. Of
 * events one by one there is nothing to expect.
 */
import { judge } from '../../core/expectations.js';
import type { Tally } from '../../core/tally.js';
import { type PoolClient, transaction } from '../../registry/sql.js';
import { pauseStream } from '../../registry/streams.js';
import type { Deps } from '../deps.js';
import { blockedBy, expects, readRepeated, saveVerdicts } from '../statistics.js';
import type { Partition } from './partition.js';
import type { ViewStates } from './states.js';

export class Rounds {
  readonly #deps: Deps;
  readonly #partition: Partition;
  /** By version: up to where what was written was looked at, and how much it was in the round before; null: that was no whole one. */
  readonly #rounds = new Map<number, { until: number; rows: number | null }>();
  /** The stream has run since the round began, without catching up first: how much is written in it can be compared. */
  isWhole = false;

  constructor(deps: Deps, partition: Partition) {
    this.#deps = deps;
    this.#partition = partition;
  }

  /** Goes on from what another reader counted and left unjudged. @param sequence up to which there is nothing to count */
  async begin(versionId: number, states: ViewStates, sequence: number): Promise<void> {
    const { rows } = await this.#deps.pool.query<{ after: number; tally: Buffer }>(
      `select counted_after as after, tally from stream_attached
        where version_id = $1 and partition = $2 and counted_after is not null`,
      [versionId, this.#partition.number],
    );
    if (rows[0]) states.resumeTally(rows[0].tally);
    this.#rounds.set(versionId, { until: rows[0]?.after ?? sequence, rows: null });
  }

  /** With the snapshots: what is in them and not judged yet, for whoever reads on. */
  async save(client: PoolClient, versionId: number, tally: Tally): Promise<void> {
    await this.#save(client, versionId, { after: this.#rounds.get(versionId)!.until, tally });
  }

  /**
   * What is archived is true, and so are its records: what blocks is not taken back, but the stream pauses, with the reason, until somebody
   * has looked and resumes it. How much comes, and when, is no reason: only reading on can mend it. A version without events is not told
   * that they are old. @param sequence up to which everything is folded
   */
  async judge(
    states: ViewStates,
    tally: Tally,
    { sequence, signal, beat }: { sequence: number; signal: AbortSignal; beat: () => void },
  ): Promise<void> {
    const { source, number } = this.#partition;
    const { version } = states.work;
    const { until, rows } = this.#rounds.get(version.id)!;
    this.#rounds.set(version.id, { until: sequence, rows: this.isWhole ? tally.rows : null });
    if (expects(version, 'unique'))
      tally.addRepeated(
        await readRepeated(
          this.#deps.pool,
          states.work,
          { sequence, sequenceAfter: until, signal },
          (event) => event.sequence > until,
          beat,
        ),
      );
    const newestMs = await this.#newestOf(version.id);
    const verdicts = judge(version.view, tally, {
      nowMs: this.#deps.clock(),
      newestMs,
      rowsBefore: this.isWhole ? rows : null,
    }).filter(({ expectation }) => newestMs !== null || expectation !== 'freshness');
    const blocked = blockedBy(
      version,
      'what follows',
      verdicts.filter(({ expectation }) => expectation !== 'freshness' && expectation !== 'rowCount'),
    );
    await transaction(this.#deps.pool, async (client) => {
      await this.#partition.fence(client);
      const reference = `${number}/${sequence}`;
      await saveVerdicts(client, { versionId: version.id, what: 'stream', reference }, verdicts);
      await this.#save(client, version.id, null);
      if (blocked) await pauseStream(client, source, blocked.message);
    });
  }

  /** Of all partitions: this one may be idle. */
  async #newestOf(versionId: number): Promise<number | null> {
    const { rows } = await this.#deps.pool.query<{ newest: number | null }>(
      'select greatest(last_event_ms, $2) as newest from view_progress where version_id = $1',
      [versionId, this.#partition.greatestMs],
    );
    return rows[0]!.newest;
  }

  /** null: all of it is judged. */
  async #save(
    client: PoolClient,
    versionId: number,
    counted: { after: number; tally: Tally } | null,
  ): Promise<void> {
    await client.query(
      'update stream_attached set counted_after = $3, tally = $4 where version_id = $1 and partition = $2',
      [
        versionId,
        this.#partition.number,
        counted?.after ?? null,
        counted && Buffer.from(counted.tally.encode()),
      ],
    );
  }
}
