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
import { findSource, getVersion } from '../../registry/resolve.js';
import { transaction } from '../../registry/sql.js';
import type { Wanted } from '../../registry/status.js';
import type { Deps } from '../deps.js';
import { findProgress } from '../offline/ticks.js';
import { takesWrites } from '../online/client.js';
import { type RecordRow, writeRecords } from '../online/write.js';
import { type AggregationVersion, assertOnline, compileVersion } from '../output.js';
import { createReader, type Read } from './batch.js';
import type { EventSource, Message, MessageBatch } from './event-source.js';
import { type Orders, readOrders } from './orders.js';
import { Partition } from './partition.js';
import { Rounds } from './rounds.js';
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

export class Shard {
  readonly #deps: Deps;
  readonly #options: ShardOptions;
  readonly #partition: Partition;
  readonly #rounds: Rounds;
  readonly #events: EventSource;
  readonly #signal: AbortSignal;
  readonly #report: (status: ShardStatus) => void;
  /** Every event of the source up to here is in the states, or in the archive after a version's snapshots. */
  #folded = 0;
  #revision = -1;
  /** The definitions have this source no more. */
  #isGone = false;
  #takenInAt = Number.NEGATIVE_INFINITY;
  #source!: Source;
  #read!: (message: Message) => Read;
  readonly #views = new Map<number, ViewStates>();
  /** Versions that somebody reads. */
  #served: ReadonlySet<number> = new Set();
  #paused = false;
  /** Redis takes writes. Once it did not, nothing is sent before a probe says that it does: each attempt may last COMMAND_MS. */
  #online = true;
  #probing = false;
  /** Of a probe. */
  #failure: Error | null = null;
  #rate: { at: number; offset: number; perSecond: number };

  private constructor(
    deps: Deps,
    options: ShardOptions,
    partition: Partition,
    events: EventSource,
    signal: AbortSignal,
    report: (status: ShardStatus) => void,
  ) {
    this.#deps = deps;
    this.#options = options;
    this.#partition = partition;
    this.#rounds = new Rounds(deps, partition);
    this.#rate = { at: performance.now(), offset: partition.next, perSecond: 0 };
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
    const { partition, wanted, mark, ...claim } = await Partition.claim(
      deps.pool,
      options.source,
      options.partition,
    );
    if (wanted === 'drain') {
      await partition.showDrained();
      return 'drained';
    }
    const events = open(claim);
    const shard = new Shard(deps, options, partition, events, signal, report);
    try {
      await events.open({ offset: partition.next, mark });
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
          this.#rounds.isWhole = !this.#paused;
          written = performance.now();
        }
        if (turned - began > this.#options.runMs) {
          await this.#endEarly();
          return 'over';
        }
      }
      const batch = await this.#events.next(WAIT_MS);
      if (batch !== null && batch.nextOffset > this.#partition.next) await this.#take(batch);
    }
  }

  /** Between two batches, twice a second: what is wanted, what is new, what the clock brings. */
  async #turn(): Promise<Wanted> {
    const wanted = await this.#follow();
    if (wanted === 'drain') return wanted;
    const { heldMs, next } = this.#partition;
    if (heldMs !== null && this.#deps.clock() >= heldMs)
      await this.#take({ messages: [], nextOffset: next, mark: null });
    if (this.#online) await this.#refresh();
    else this.#probe();
    await this.#show(this.#paused ? 'paused' : 'running');
    return wanted;
  }

  async #follow(): Promise<Wanted> {
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
    if (this.#paused) this.#rounds.isWhole = false;
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
    const { sequence, orders } = await this.#partition.attach(added, this.#source);
    this.#served = new Set(orders.served);
    if (orders.imported > this.#folded) await this.#takeIn(sequence);
    this.#folded = sequence;
    for (const id of added) {
      const version = (await getVersion(this.#deps.pool, id)) as AggregationVersion;
      const progress = (await findProgress(this.#deps.pool, id))!;
      const states = new ViewStates(this.#deps, compileVersion(version));
      await this.#rounds.begin(id, states, progress.sequence);
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
    this.#rounds.isWhole = false;
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
      await states.write(this.#partition.fence);
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
        await states.writeRefreshed(this.#partition.fence);
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
    const messages = batch.messages.filter(({ offset }) => offset >= this.#partition.next);
    const archive = (): ReturnType<Partition['archive']> =>
      this.#partition.archive(
        { ...batch, messages },
        { source: this.#source, revision: this.#revision, read: this.#read },
      );
    let done = await archive();
    while (done === null) {
      await this.#follow();
      done = await archive();
    }
    const { sequence, events, orders } = done;
    this.#served = new Set(orders.served);
    if (orders.imported > this.#folded) await this.#takeIn(sequence);
    else {
      const records: RecordRow[] = [];
      for (const [id, states] of this.#views) {
        const made = await states.fold(events, sequence);
        if (this.#served.has(id)) records.push(...made);
      }
      if (!(await this.#publish(records))) await this.#owe([...this.#views.keys()], this.#folded);
    }
    this.#folded = sequence;
    const all = [...this.#views.values()];
    if (all.reduce((sum, { size }) => sum + size, 0) > MAX_STATES) await this.#forget(all);
  }

  async #writeSnapshots(): Promise<void> {
    for (const states of this.#views.values()) await states.write(this.#partition.fence);
    await transaction(this.#deps.pool, async (client) => {
      await this.#partition.fence(client);
      await client.query(
        `update view_progress
            set sequence = greatest(sequence, $2), last_event_ms = greatest(last_event_ms, $3), last_write = clock_timestamp()
          where version_id = any ($1)`,
        [[...this.#views.keys()], this.#folded, this.#partition.greatestMs],
      );
      for (const [id, { tally }] of this.#views)
        if (tally !== null) await this.#rounds.save(client, id, tally);
    });
  }

  /** Snapshots, and what is to be said of all that was written since the last round. */
  async #endRound(): Promise<void> {
    await this.#writeSnapshots();
    if (this.#paused) return;
    for (const states of this.#views.values()) {
      const tally = states.takeTally();
      if (tally !== null)
        await this.#rounds.judge(states, tally, {
          sequence: this.#folded,
          signal: this.#signal,
          beat: () => this.#tell('running'),
        });
    }
  }

  #endEarly(): Promise<void> {
    this.#rounds.isWhole = false;
    return this.#endRound();
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
    const seconds = (performance.now() - this.#rate.at) / 1000;
    if (seconds > 2)
      this.#rate = {
        at: performance.now(),
        offset: this.#partition.next,
        perSecond: Math.round((this.#partition.next - this.#rate.offset) / seconds),
      };
    await this.#partition.show(state, {
      endOffset: this.#events.endOffset,
      ratePerSecond: this.#rate.perSecond,
    });
    await this.#deps.pool.query(
      `update stream_attached a
          set published = greatest(published, least($3, (select min(after_sequence) from owed o where o.version_id = a.version_id)))
        where version_id = any ($1) and partition = $2 and published < $3`,
      [[...this.#views.keys()], this.#partition.number, this.#folded],
    );
    if (state !== 'drained') this.#tell(state);
  }

  #tell(state: ShardStatus['state']): void {
    const { number, next, greatestMs } = this.#partition;
    const watermark = greatestMs === null ? null : greatestMs - this.#source.allowedLatenessMs;
    this.#report({
      partition: number,
      offset: next,
      lag: Math.max(0, this.#events.endOffset - next),
      watermark: watermark === null ? null : new Date(watermark).toISOString(),
      ratePerSecond: this.#rate.perSecond,
      state,
    });
  }
}

/** Whether Redis takes writes. Throws FS_CONFLICT when it is another installation's. */
async function isOnline(deps: Deps): Promise<boolean> {
  if (!(await takesWrites(deps.redis, deps.config.environment))) return false;
  await assertOnline(deps);
  return true;
}
