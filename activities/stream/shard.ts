/**
 * The consumer loop of one partition of a source's topic.
 *
 *   claim an epoch ─→ attach versions ─→ [ batch: one transaction → fold → one record per entity, online ]* ─→ snapshots, end
 *
 * A batch's transaction first moves stream_offset on from (epoch, next offset): a reader that was overtaken stops there (FS_FENCED)
 * and nothing of its batch is archived. Everything after the commit may be lost and is made again: whoever claims next folds, for
 * each version, what was archived after its snapshots (view_progress.sequence) and writes those records. Online the newest record
 * wins, so it does not matter who writes first.
 *
 * When Redis is away the stream goes on: what could not be published is written down as owed, a range of sequences of each version,
 * and a workflow of its own writes it when Redis is back (activities/dual-write.ts). view_progress.sequence passes only what was
 * published or is owed. Of a version that nobody reads nothing is published, and nothing is owed; each batch's transaction says which
 * these are, so what is folded after a version got its first reader is published (docs/decisions/0020).
 *
 * Transactions that archive into one source commit in order of their sequence numbers (lockSource), and what an import of the same
 * source archived is taken in before anything later is folded: a state always holds all of its entity's events up to its sequence.
 */

import type { Source } from '../../core/definition.js';
import { FeatureStoreError } from '../../core/error.js';
import type { Event } from '../../core/event.js';
import { judge } from '../../core/expectations.js';
import type { Tally } from '../../core/tally.js';
import { findSource, getVersion, MAINTAINED } from '../../registry/resolve.js';
import { type PoolClient, transaction } from '../../registry/sql.js';
import { pauseStream } from '../../registry/streams.js';
import type { Deps } from '../deps.js';
import { appendEvents, lockArchiveShared, lockSource, nextSequence } from '../offline/archive.js';
import { insertSetAside } from '../offline/set-aside.js';
import { findProgress, readClock } from '../offline/ticks.js';
import { takesWrites } from '../online/client.js';
import { type RecordRow, writeRecords } from '../online/write.js';
import { type AggregationVersion, assertOnline, compileVersion } from '../output.js';
import { blockedBy, expects, readRepeated, saveVerdicts } from '../statistics.js';
import { createReader, type Read, sortOut } from './batch.js';
import type { EventSource, Mark, MessageBatch, Position } from './event-source.js';
import { ViewStates } from './states.js';

export interface ShardOptions {
  source: string;
  partition: number;
  snapshotEveryMs: number;
  /** How long one run lasts before it hands over to the next. */
  runMs: number;
}

/** How far a shard is; its heartbeat. */
export interface ShardStatus {
  partition: number;
  offset: number;
  lag: number;
  /** ISO; null: no event yet. */
  watermark: string | null;
  ratePerSecond: number;
  state: 'running' | 'paused';
}

const WAIT_MS = 100;
const TURN_MS = 500;
// While an import goes on, an idle reader takes in what it has archived so far no more often: the same entities come again and again.
const TAKE_IN_MS = 10_000;
// A state of a wide view takes some 35 kB, one of a narrow view 1 kB. Beyond it all are written and forgotten, and loaded again as they
// come.
const MAX_STATES = 50_000;

/** What the registry and the operator want of a stream. */
interface Orders {
  wanted: 'run' | 'pause' | 'drain';
  revision: number;
  /**
   * Versions in use, or on their way, that were backfilled; and those that went live when there was nothing to backfill. One whose
   * source has other columns than the present definitions' waits until its own are: events are folded by their columns' order.
   */
  versions: number[];
  /** Those of them that somebody reads. */
  served: number[];
  /** The newest transaction of an import into the source. */
  imported: number;
  /** One has not ended. */
  isImporting: boolean;
}

export class Shard {
  readonly #deps: Deps;
  readonly #options: ShardOptions;
  readonly #events: EventSource;
  readonly #signal: AbortSignal;
  readonly #report: (status: ShardStatus) => void;
  #epoch = 0;
  #next = 0;
  #greatest: number | null = null;
  /** Every event of the source up to here is in the states, or in the archive after a version's snapshots. */
  #folded = 0;
  #revision = -1;
  /** By version: up to where what was written was looked at, and how much it was in the round before; null: that was no whole one. */
  readonly #rounds = new Map<number, { until: number; rows: number | null }>();
  /** The stream has run since the round began, without catching up first: how much is written in it can be compared. */
  #isWhole = false;
  /** The definitions have this source no more. */
  #isGone = false;
  #takenInAt = Number.NEGATIVE_INFINITY;
  #source!: Source;
  #read!: (message: { offset: number; value: Buffer | null }) => Read;
  readonly #views = new Map<number, ViewStates>();
  /** Versions that somebody reads. */
  #served: ReadonlySet<number> = new Set();
  #paused = false;
  /** Redis takes writes. Once it did not, nothing is sent before a probe says that it does: each attempt may last COMMAND_MS. */
  #online = true;
  #probing = false;
  /** Of a probe. */
  #failure: Error | null = null;
  /** When the first of the held events is due; null: none is held. */
  #heldMs: number | null = null;
  #rate = { at: performance.now(), offset: 0, perSecond: 0 };

  private constructor(
    deps: Deps,
    options: ShardOptions,
    events: EventSource,
    signal: AbortSignal,
    report: (status: ShardStatus) => void,
  ) {
    this.#deps = deps;
    this.#options = options;
    this.#events = events;
    this.#signal = signal;
    this.#report = report;
  }

  /** Runs until it is drained, its time is over, or it fails. Aborted: writes its snapshots and throws the signal's reason. */
  static async run(
    deps: Deps,
    options: ShardOptions,
    {
      open,
      signal,
      report,
    }: {
      open: (claim: { topic: string; epoch: number }) => EventSource;
      signal: AbortSignal;
      report: (status: ShardStatus) => void;
    },
  ): Promise<'drained' | 'over'> {
    const claim = await claimPartition(deps, options);
    if (claim.wanted === 'drain') {
      await recordDrained(deps, options); // also while Kafka is away, or the topic gone
      return 'drained';
    }
    const events = open(claim);
    const shard = new Shard(deps, options, events, signal, report);
    shard.#epoch = claim.epoch;
    shard.#next = claim.next;
    shard.#greatest = claim.greatest;
    shard.#heldMs = claim.heldMs;
    shard.#rate.offset = claim.next;
    try {
      await events.open({ offset: claim.next, mark: claim.mark });
      return await shard.#loop();
    } finally {
      await events.close();
    }
  }

  async #loop(): Promise<'drained' | 'over'> {
    const began = performance.now();
    let turned = Number.NEGATIVE_INFINITY;
    let written = began;
    this.#online = await isOnline(this.#deps);
    for (;;) {
      if (this.#signal.aborted) {
        await this.#writeSnapshots();
        throw this.#signal.reason as Error;
      }
      if (performance.now() - turned > TURN_MS) {
        turned = performance.now();
        const wanted = await this.#turn();
        if (wanted === 'drain') {
          await this.#endEarly();
          await this.#show('drained');
          return 'drained';
        }
        if (turned - written > this.#options.snapshotEveryMs) {
          await this.#endRound();
          this.#isWhole = !this.#paused;
          written = performance.now();
        }
        if (turned - began > this.#options.runMs) {
          await this.#endEarly();
          return 'over';
        }
      }
      const batch = await this.#events.next(WAIT_MS);
      if (batch !== null && batch.nextOffset > this.#next) await this.#take(batch);
    }
  }

  /** Between two batches, twice a second: what is wanted, what is new, what the clock brings. */
  async #turn(): Promise<Orders['wanted']> {
    const wanted = await this.#follow();
    if (wanted === 'drain') return wanted;
    if (this.#heldMs !== null && this.#deps.clock() >= this.#heldMs)
      await this.#take({ messages: [], nextOffset: this.#next, mark: null });
    if (this.#online) await this.#refresh();
    else this.#probe();
    await this.#show(this.#paused ? 'paused' : 'running');
    return wanted;
  }

  async #follow(): Promise<Orders['wanted']> {
    const read = (): Promise<Orders> => readOrders(this.#deps.pool, this.#options.source, this.#source);
    let orders = await read();
    while (orders.revision !== this.#revision) {
      await this.#reload(orders.revision);
      orders = await read();
    }
    this.#served = new Set(orders.served);
    for (const id of this.#views.keys()) if (!orders.versions.includes(id)) this.#views.delete(id);
    const added = orders.versions.filter((id) => !this.#views.has(id));
    const isDue = !orders.isImporting || performance.now() - this.#takenInAt > TAKE_IN_MS;
    if (added.length > 0 || (orders.imported > this.#folded && isDue)) await this.#attach(added);
    if (orders.wanted === 'pause' && !this.#paused) this.#events.pause();
    if (orders.wanted === 'run' && this.#paused) this.#events.resume();
    this.#paused = orders.wanted === 'pause';
    if (this.#paused) this.#isWhole = false;
    return this.#isGone ? 'drain' : orders.wanted;
  }

  /** Columns may be others: nothing compiled before is used again. */
  async #reload(revision: number): Promise<void> {
    if (this.#views.size > 0) await this.#endEarly();
    this.#views.clear();
    this.#revision = revision;
    const source = await findSource(this.#deps.pool, this.#options.source);
    this.#isGone = source === null;
    if (source === null) return;
    this.#source = source;
    this.#read = createReader(source);
  }

  /**
   * From here on the versions' events come from the stream: what was archived after their backfills is folded now, before the next
   * batch. Without versions: takes in what an import has archived.
   */
  async #attach(added: readonly number[]): Promise<void> {
    const { source, partition } = this.#options;
    const { sequence, imported, served } = await transaction(this.#deps.pool, async (client) => {
      await this.#move(client, { offset: this.#next, mark: null });
      await lockArchiveShared(client);
      await lockSource(client, source);
      const drawn = await nextSequence(client);
      await client.query(
        `insert into stream_attached (version_id, partition, next_offset, sequence)
         select id, $2, $3, $4 from unnest($1::integer[]) as id on conflict do nothing`,
        [added, partition, this.#next, drawn],
      );
      await client.query(
        'insert into view_progress (version_id) select unnest($1::integer[]) on conflict do nothing',
        [added],
      );
      return { sequence: drawn, ...(await readOrders(client, source, this.#source)) };
    });
    this.#served = new Set(served);
    if (imported > this.#folded) await this.#takeIn(sequence);
    this.#folded = sequence;
    for (const id of added) {
      const version = (await getVersion(this.#deps.pool, id)) as AggregationVersion;
      const progress = (await findProgress(this.#deps.pool, id))!;
      const states = new ViewStates(this.#deps, compileVersion(version));
      const counted = await this.#findCounted(id);
      if (counted) states.resumeTally(counted.tally);
      this.#rounds.set(id, { until: counted?.after ?? progress.sequence, rows: null });
      await this.#catchUp(id, states, progress.sequence, sequence);
      this.#views.set(id, states);
    }
  }

  /** Folds what others archived since, in order: what is in memory does not hold it. */
  async #takeIn(sequence: number): Promise<void> {
    await this.#writeSnapshots();
    for (const [id, states] of this.#views) {
      states.forget();
      await this.#catchUp(id, states, this.#folded, sequence);
    }
    this.#takenInAt = performance.now();
  }

  async #catchUp(id: number, states: ViewStates, after: number, until: number): Promise<void> {
    this.#isWhole = false;
    let published = true;
    for await (const records of states.catchUp(after, until, this.#signal)) {
      if (this.#served.has(id) && !(await this.#publish(records))) published = false;
      this.#tell(this.#paused ? 'paused' : 'running');
      if (this.#size(states) > MAX_STATES) await this.#forget([...this.#views.values(), states]);
    }
    if (!published) await this.#owe([id], after);
  }

  /** @param besides of a version that is not among the views yet */
  #size(besides: ViewStates): number {
    return [...new Set([...this.#views.values(), besides])].reduce((sum, { size }) => sum + size, 0);
  }

  /** Writes what changed and makes room; it is loaded again as it comes. */
  async #forget(all: readonly ViewStates[]): Promise<void> {
    for (const states of all) {
      await states.write(this.#fence);
      states.forget();
    }
  }

  /**
   * What the clock brings, while Redis takes it. No event says that it is due, so no owed range covers it: when it cannot be published
   * the reader ends, and the next one finds it in the snapshots, which do not have it yet. Once published it is in them at once, so
   * that a refill or a dual write, which begin with snapshots, end with the records that are there, and not with older ones.
   */
  async #refresh(): Promise<void> {
    const now = this.#deps.clock();
    for (const [id, states] of this.#views) {
      if (!this.#served.has(id)) continue;
      for await (const records of states.refresh(now, this.#folded)) {
        await this.#send(records);
        await states.writeRefreshed(this.#fence);
        this.#tell(this.#paused ? 'paused' : 'running');
      }
    }
  }

  /** Beside the batches: what it finds counts from the next of them on, and another failure than that Redis is away at the next turn. */
  #probe(): void {
    if (this.#failure) throw this.#failure;
    if (this.#probing) return;
    this.#probing = true;
    void isOnline(this.#deps)
      .then(
        (online) => {
          this.#online = online;
        },
        (error: Error) => {
          this.#failure = error;
        },
      )
      .finally(() => {
        this.#probing = false;
      });
  }

  async #take(batch: MessageBatch): Promise<void> {
    const messages = batch.messages.filter(({ offset }) => offset >= this.#next);
    let done = await this.#archive({ ...batch, messages });
    while (done === null) {
      await this.#follow();
      done = await this.#archive({ ...batch, messages });
    }
    this.#next = batch.nextOffset;
    this.#greatest = done.greatest;
    this.#heldMs = done.heldMs;
    this.#served = new Set(done.served);
    if (done.imported > this.#folded) await this.#takeIn(done.sequence);
    else {
      const records: RecordRow[] = [];
      for (const [id, states] of this.#views) {
        const made = await states.fold(done.events, done.sequence);
        if (this.#served.has(id)) records.push(...made);
      }
      if (!(await this.#publish(records))) await this.#owe([...this.#views.keys()], this.#folded);
    }
    this.#folded = done.sequence;
    const all = [...this.#views.values()];
    if (all.reduce((sum, { size }) => sum + size, 0) > MAX_STATES) await this.#forget(all);
  }

  /** The batch's one transaction; null: the definitions are others by now, nothing was done. */
  async #archive({ messages, nextOffset, mark }: MessageBatch): Promise<Archived | null> {
    const { source: name, partition } = this.#options;
    const reads = messages.map(this.#read);
    try {
      return await transaction(this.#deps.pool, async (client) => {
        const before = await this.#move(client, { offset: nextOffset, mark });
        await lockArchiveShared(client);
        await lockSource(client, name);
        const { revision, imported, served } = await readOrders(client, name, this.#source);
        if (revision !== this.#revision) throw new OtherDefinitions();
        const sequence = await nextSequence(client);
        const arrivedAt = Math.max(await readClock(client), before.arrivedMs ?? 0);
        const due = await this.#releaseHeld(client, arrivedAt);
        const sorted = await sortOut(client, this.#source, [...due, ...reads], {
          partition,
          sequence,
          arrivedAt,
          greatest: before.greatestMs,
        });
        await appendEvents(client, this.#source, sorted.rows);
        await insertSetAside(client, name, partition, sorted.setAside);
        await client.query(
          `insert into held (source, partition, "offset", event_ms, body)
           select $1, $2, * from unnest($3::bigint[], $4::bigint[], $5::text[])`,
          [
            name,
            partition,
            sorted.held.map(({ offset }) => offset),
            sorted.held.map(({ eventMs }) => eventMs),
            sorted.held.map(({ body }) => body),
          ],
        );
        const count = (outcome: string): number =>
          sorted.setAside.filter((each) => each.outcome === outcome).length;
        await client.query(
          `update stream_offset
              set arrived_ms = $3, greatest_event_ms = $4, archived = archived + $5, duplicate = duplicate + $6,
                  conflict = conflict + $7, invalid = invalid + $8, too_late = too_late + $9, late = late + $10
            where source = $1 and partition = $2`,
          [
            name,
            partition,
            arrivedAt,
            sorted.greatest,
            sorted.rows.length,
            sorted.duplicates,
            count('conflict'),
            count('invalid'),
            count('too_late'),
            sorted.late,
          ],
        );
        const { rows: held } = await client.query<{ first: number | null }>(
          'select min(event_ms) as first from held where source = $1 and partition = $2',
          [name, partition],
        );
        const events = sorted.rows.map(({ event }) => event);
        return { sequence, imported, served, events, greatest: sorted.greatest, heldMs: held[0]!.first };
      });
    } catch (error) {
      if (error instanceof OtherDefinitions) return null;
      throw error;
    }
  }

  /** Held events whose time has come, oldest first. */
  async #releaseHeld(client: PoolClient, arrivedAt: number): Promise<Read[]> {
    if (this.#heldMs === null || this.#heldMs > arrivedAt) return [];
    const { source, partition } = this.#options;
    const { rows } = await client.query<{ offset: number; eventMs: number; body: string }>(
      `delete from held where source = $1 and partition = $2 and event_ms <= $3
       returning "offset", event_ms as "eventMs", body`,
      [source, partition, arrivedAt],
    );
    return rows
      .sort((a, b) => a.eventMs - b.eventMs || a.offset - b.offset)
      .map(({ offset, body }) => this.#read({ offset, value: Buffer.from(body) }));
  }

  /** Compare and set; the partition's row is ours until the transaction ends. */
  async #move(
    client: PoolClient,
    to: Position,
  ): Promise<{ arrivedMs: number | null; greatestMs: number | null }> {
    const { source, partition } = this.#options;
    const { rows } = await client.query<{ arrivedMs: number | null; greatestMs: number | null }>(
      `update stream_offset
          set next_offset = $5, mark_offset = coalesce($6, mark_offset), mark_digest = coalesce($7, mark_digest)
        where source = $1 and partition = $2 and epoch = $3 and next_offset = $4
        returning arrived_ms as "arrivedMs", greatest_event_ms as "greatestMs"`,
      [
        source,
        partition,
        this.#epoch,
        this.#next,
        to.offset,
        to.mark?.offset ?? null,
        to.mark?.digest ?? null,
      ],
    );
    if (rows[0]) return rows[0];
    throw this.#fenced();
  }

  #fenced(): FeatureStoreError {
    const { source, partition } = this.#options;
    return new FeatureStoreError(
      'FS_FENCED',
      `partition ${partition} of source "${source}" is read by another since epoch ${this.#epoch}`,
      { fix: 'nothing to do: the other one goes on', source, partition },
    );
  }

  readonly #fence = async (client: PoolClient): Promise<void> => {
    const { source, partition } = this.#options;
    const { rowCount } = await client.query(
      'select 1 from stream_offset where source = $1 and partition = $2 and epoch = $3 for share',
      [source, partition, this.#epoch],
    );
    if (rowCount !== 1) throw this.#fenced();
  };

  async #writeSnapshots(): Promise<void> {
    for (const states of this.#views.values()) await states.write(this.#fence);
    await transaction(this.#deps.pool, async (client) => {
      await this.#fence(client);
      await client.query(
        `update view_progress
            set sequence = greatest(sequence, $2), last_event_ms = greatest(last_event_ms, $3), last_write = clock_timestamp()
          where version_id = any ($1)`,
        [[...this.#views.keys()], this.#folded, this.#greatest],
      );
      for (const [id, { tally }] of this.#views)
        if (tally !== null)
          await this.#saveCounted(client, id, { after: this.#rounds.get(id)!.until, tally });
    });
  }

  /** What is in the snapshots and not judged yet, for whoever reads on; null: all of it is. */
  async #saveCounted(
    client: PoolClient,
    versionId: number,
    counted: { after: number; tally: Tally } | null,
  ): Promise<void> {
    await client.query(
      'update stream_attached set counted_after = $3, tally = $4 where version_id = $1 and partition = $2',
      [
        versionId,
        this.#options.partition,
        counted?.after ?? null,
        counted && Buffer.from(counted.tally.encode()),
      ],
    );
  }

  async #findCounted(versionId: number): Promise<{ after: number; tally: Buffer } | null> {
    const { rows } = await this.#deps.pool.query<{ after: number; tally: Buffer }>(
      `select counted_after as after, tally from stream_attached
        where version_id = $1 and partition = $2 and counted_after is not null`,
      [versionId, this.#options.partition],
    );
    return rows[0] ?? null;
  }

  /** Snapshots, and what is to be said of all that was written since the last round: of events one by one there is nothing to expect. */
  async #endRound(): Promise<void> {
    await this.#writeSnapshots();
    if (this.#paused) return;
    for (const states of this.#views.values()) {
      const tally = states.takeTally();
      if (tally !== null) await this.#judge(states, tally);
    }
  }

  #endEarly(): Promise<void> {
    this.#isWhole = false;
    return this.#endRound();
  }

  /**
   * What is archived is true, and so are its records: what blocks is not taken back, but the stream pauses, with the reason, until somebody
   * has looked and resumes it. How much comes, and when, is no reason: only reading on can mend it. A version without events is not told
   * that they are old.
   */
  async #judge(states: ViewStates, tally: Tally): Promise<void> {
    const { source, partition } = this.#options;
    const { version } = states.work;
    const { until, rows } = this.#rounds.get(version.id)!;
    this.#rounds.set(version.id, { until: this.#folded, rows: this.#isWhole ? tally.rows : null });
    if (expects(version, 'unique'))
      tally.addRepeated(
        await readRepeated(
          this.#deps.pool,
          states.work,
          { sequence: this.#folded, sequenceAfter: until, signal: this.#signal },
          ({ sequence }) => sequence > until,
          () => this.#tell('running'),
        ),
      );
    const newestMs = await this.#newestOf(version.id);
    const verdicts = judge(version.view, tally, {
      nowMs: this.#deps.clock(),
      newestMs,
      rowsBefore: this.#isWhole ? rows : null,
    }).filter(({ expectation }) => newestMs !== null || expectation !== 'freshness');
    const blocked = blockedBy(
      version,
      'what follows',
      verdicts.filter(({ expectation }) => expectation !== 'freshness' && expectation !== 'rowCount'),
    );
    await transaction(this.#deps.pool, async (client) => {
      await this.#fence(client);
      const reference = `${partition}/${this.#folded}`;
      await saveVerdicts(client, { versionId: version.id, what: 'stream', reference }, verdicts);
      await this.#saveCounted(client, version.id, null);
      if (blocked) await pauseStream(client, source, blocked.message);
    });
  }

  /** Of all partitions: this one may be idle. */
  async #newestOf(versionId: number): Promise<number | null> {
    const { rows } = await this.#deps.pool.query<{ newest: number | null }>(
      'select greatest(last_event_ms, $2) as newest from view_progress where version_id = $1',
      [versionId, this.#greatest],
    );
    return rows[0]!.newest;
  }

  /** Records of any versions. False: Redis is away, and some or all of them are not there. */
  async #publish(records: readonly RecordRow[]): Promise<boolean> {
    if (records.length === 0) return true;
    if (!this.#online) return false;
    try {
      await this.#send(records);
    } catch (error) {
      if (!(error instanceof FeatureStoreError && error.retryable)) throw error;
      this.#online = false;
    }
    return this.#online;
  }

  /**
   * Guarded writes. A record that clashes with one of the same moment stays as it is until its entity's next event, and is an alarm
   * in the status: one entity must not stop a stream.
   */
  async #send(records: readonly RecordRow[]): Promise<void> {
    const { redis, config } = this.#deps;
    const { conflict } = await writeRecords(redis, config.environment, records);
    if (conflict === 0) return;
    const { source, partition } = this.#options;
    await this.#deps.pool.query(
      'update stream_offset set parity = parity + $3 where source = $1 and partition = $2',
      [source, partition, conflict],
    );
  }

  /**
   * Everything after `after` that is committed, and what follows, is to be written again: a row that is open says so already, for
   * whoever closes it covers all that is committed by then (openDualWrite).
   */
  async #owe(versionIds: readonly number[], after: number): Promise<void> {
    await this.#deps.pool.query(
      `insert into owed (version_id, after_sequence) select id, $2 from view_version where id = any ($1) and online
       on conflict (version_id) where until_sequence is null do nothing`,
      [versionIds, after],
    );
  }

  async #show(state: 'running' | 'paused' | 'drained'): Promise<void> {
    const { source, partition } = this.#options;
    const seconds = (performance.now() - this.#rate.at) / 1000;
    if (seconds > 2)
      this.#rate = {
        at: performance.now(),
        offset: this.#next,
        perSecond: Math.round((this.#next - this.#rate.offset) / seconds),
      };
    const { rowCount } = await this.#deps.pool.query(
      `update stream_offset set end_offset = greatest($4, next_offset), rate_per_second = $5, state = $6, seen_at = clock_timestamp()
        where source = $1 and partition = $2 and epoch = $3`,
      [source, partition, this.#epoch, this.#events.endOffset, this.#rate.perSecond, state],
    );
    if (rowCount === 0) throw this.#fenced(); // also one that has nothing to write
    await this.#deps.pool.query(
      `update stream_attached a
          set published = greatest(published, least($3, (select min(after_sequence) from owed o where o.version_id = a.version_id)))
        where version_id = any ($1) and partition = $2 and published < $3`,
      [[...this.#views.keys()], partition, this.#folded],
    );
    if (state !== 'drained') this.#tell(state);
  }

  #tell(state: ShardStatus['state']): void {
    const watermark = this.#greatest === null ? null : this.#greatest - this.#source.allowedLatenessMs;
    this.#report({
      partition: this.#options.partition,
      offset: this.#next,
      lag: Math.max(0, this.#events.endOffset - this.#next),
      watermark: watermark === null ? null : new Date(watermark).toISOString(),
      ratePerSecond: this.#rate.perSecond,
      state,
    });
  }
}

interface Archived {
  sequence: number;
  imported: number;
  served: number[];
  events: Event[];
  greatest: number | null;
  heldMs: number | null;
}

interface Claim {
  wanted: Orders['wanted'];
  topic: string;
  epoch: number;
  next: number;
  mark: Mark | null;
  greatest: number | null;
  /** When the first of the held events is due; null: none is held. */
  heldMs: number | null;
}

/** Whether Redis takes writes. Throws FS_CONFLICT when it is another installation's. */
async function isOnline(deps: Deps): Promise<boolean> {
  if (!(await takesWrites(deps.redis, deps.config.environment))) return false;
  await assertOnline(deps);
  return true;
}

/** Rolls a batch's transaction back. */
class OtherDefinitions extends Error {}

/** Whoever read the partition before is fenced from here on. */
async function claimPartition({ pool }: Deps, { source, partition }: ShardOptions): Promise<Claim> {
  const { rows } = await pool.query<Claim>(
    `update stream_offset set epoch = epoch + 1 where source = $1 and partition = $2
     returning topic, epoch, next_offset as next, greatest_event_ms as greatest,
       coalesce((select wanted from stream_control where source = $1), 'run') as wanted,
       case when mark_offset is not null then json_build_object('offset', mark_offset, 'digest', mark_digest) end as mark,
       (select min(event_ms) from held where source = $1 and partition = $2) as "heldMs"`,
    [source, partition],
  );
  if (rows[0]) return rows[0];
  throw new FeatureStoreError('FS_NOT_FOUND', `source "${source}" has no partition ${partition} to read`, {
    fix: 'apply the definitions again: that makes its topic',
    source,
    partition,
  });
}

async function recordDrained({ pool }: Deps, { source, partition }: ShardOptions): Promise<void> {
  await pool.query(
    `update stream_offset set state = 'drained', seen_at = clock_timestamp() where source = $1 and partition = $2`,
    [source, partition],
  );
}

/** @param present the source as messages are read now; undefined: not known yet */
async function readOrders(
  client: Deps['pool'] | PoolClient,
  source: string,
  present: Source | undefined,
): Promise<Orders> {
  const { rows } = await client.query<Orders>(
    `select coalesce((select wanted from stream_control where source = $1), 'run') as wanted,
            coalesce((select max(revision) from revision), 0)::bigint as revision,
            array(select id from view_version where online) as served,
            array(select v.id from view_version v left join view_progress p on p.version_id = v.id
                   where v.kind = 'aggregation' and v.source ->> 'name' = $1 and v.definition #>> '{mode,type}' = 'streaming'
                     and ${MAINTAINED} and v.source -> 'columns' = $2::jsonb
                     and (p.version_id is not null
                          or v.state = 'live' and not exists (select 1 from backfill b where b.version_id = v.id)) order by v.id) as versions,
            coalesce((select max(last_sequence) from import where source = $1), 0)::bigint as imported,
            exists (select 1 from import where source = $1 and state = 'running') as "isImporting"`,
    [source, JSON.stringify(present?.columns ?? {})],
  );
  return rows[0]!;
}
