/**
 * A reader's hold on one partition of a source's topic, as Postgres knows it (stream_offset): where it goes on, the epoch that fences
 * whoever read before, and the one transaction of each batch. Every change of it throws FS_FENCED once another has claimed it.
 */
import type { Source } from '../../core/definition.js';
import { FeatureStoreError } from '../../core/error.js';
import type { Event } from '../../core/event.js';
import { type Pool, type PoolClient, transaction } from '../../registry/sql.js';
import type { StreamStatus, Wanted } from '../../registry/status.js';
import { appendEvents, lockArchiveShared, lockSource, nextSequence } from '../offline/archive.js';
import { insertSetAside } from '../offline/set-aside.js';
import { readClock } from '../offline/ticks.js';
import { type Read, sortOut } from './batch.js';
import type { Mark, Message, MessageBatch, Position } from './event-source.js';
import { type Orders, readOrders } from './orders.js';

interface Claim {
  wanted: Wanted;
  topic: string;
  epoch: number;
  next: number;
  mark: Mark | null;
  greatest: number | null;
  heldMs: number | null;
}

/** What a batch's transaction came to. */
export interface Archived {
  sequence: number;
  events: Event[];
  orders: Orders;
}

/** Rolls a batch's transaction back. */
class OtherDefinitions extends Error {}

export class Partition {
  readonly source: string;
  readonly number: number;
  readonly #pool: Pool;
  readonly #epoch: number;
  #next: number;
  #greatest: number | null;
  #heldMs: number | null;

  private constructor(pool: Pool, source: string, number: number, { epoch, next, greatest, heldMs }: Claim) {
    this.#pool = pool;
    this.source = source;
    this.number = number;
    this.#epoch = epoch;
    this.#next = next;
    this.#greatest = greatest;
    this.#heldMs = heldMs;
  }

  /** Whoever read it before is fenced from here on. Throws FS_NOT_FOUND. */
  static async claim(
    pool: Pool,
    source: string,
    number: number,
  ): Promise<{ partition: Partition; wanted: Wanted; topic: string; epoch: number; mark: Mark | null }> {
    const { rows } = await pool.query<Claim>(
      `update stream_offset set epoch = epoch + 1 where source = $1 and partition = $2
       returning topic, epoch, next_offset as next, greatest_event_ms as greatest,
         coalesce((select wanted from stream_control where source = $1), 'run') as wanted,
         case when mark_offset is not null then json_build_object('offset', mark_offset, 'digest', mark_digest) end as mark,
         (select min(event_ms) from held where source = $1 and partition = $2) as "heldMs"`,
      [source, number],
    );
    if (rows[0]) {
      const { wanted, topic, epoch, mark } = rows[0];
      return { partition: new Partition(pool, source, number, rows[0]), wanted, topic, epoch, mark };
    }
    throw new FeatureStoreError('FS_NOT_FOUND', `source "${source}" has no partition ${number} to read`, {
      fix: 'apply the definitions again: that makes its topic',
      source,
      partition: number,
    });
  }

  /** Offset of the next message. */
  get next(): number {
    return this.#next;
  }

  /** The newest time of an archived event; null: none came. */
  get greatestMs(): number | null {
    return this.#greatest;
  }

  /** When the first of the held events is due; null: none is held. */
  get heldMs(): number | null {
    return this.#heldMs;
  }

  /**
   * Archives a batch in one transaction, and moves on behind it. null: the definitions are others than those of `revision` by now,
   * nothing was done.
   */
  async archive(
    { messages, nextOffset, mark }: MessageBatch,
    { source, revision, read }: { source: Source; revision: number; read: (message: Message) => Read },
  ): Promise<Archived | null> {
    const reads = messages.map(read);
    try {
      const { greatest, heldMs, ...archived } = await transaction(this.#pool, async (client) => {
        const before = await this.#move(client, { offset: nextOffset, mark });
        await lockArchiveShared(client);
        await lockSource(client, this.source);
        const orders = await readOrders(client, this.source, source);
        if (orders.revision !== revision) throw new OtherDefinitions();
        const sequence = await nextSequence(client);
        const arrivedAt = Math.max(await readClock(client), before.arrivedMs ?? 0);
        const due = await this.#releaseHeld(client, arrivedAt, read);
        const sorted = await sortOut(client, source, [...due, ...reads], {
          partition: this.number,
          sequence,
          arrivedAt,
          greatest: before.greatestMs,
        });
        await appendEvents(client, source, sorted.rows);
        await insertSetAside(client, this.source, this.number, sorted.setAside);
        await client.query(
          `insert into held (source, partition, "offset", event_ms, body)
           select $1, $2, * from unnest($3::bigint[], $4::bigint[], $5::text[])`,
          [
            this.source,
            this.number,
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
            this.source,
            this.number,
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
          [this.source, this.number],
        );
        const events = sorted.rows.map(({ event }) => event);
        return { sequence, events, orders, greatest: sorted.greatest, heldMs: held[0]!.first };
      });
      this.#next = nextOffset;
      this.#greatest = greatest;
      this.#heldMs = heldMs;
      return archived;
    } catch (error) {
      if (error instanceof OtherDefinitions) return null;
      throw error;
    }
  }

  /**
   * From here on the versions' events come from the stream: each is marked with the sequence up to which its events are archived, all
   * of it committed. Without versions: draws such a sequence.
   */
  async attach(versions: readonly number[], source: Source): Promise<{ sequence: number; orders: Orders }> {
    return transaction(this.#pool, async (client) => {
      await this.#move(client, { offset: this.#next, mark: null });
      await lockArchiveShared(client);
      await lockSource(client, this.source);
      const sequence = await nextSequence(client);
      await client.query(
        `insert into stream_attached (version_id, partition, next_offset, sequence)
         select id, $2, $3, $4 from unnest($1::integer[]) as id on conflict do nothing`,
        [versions, this.number, this.#next, sequence],
      );
      await client.query(
        'insert into view_progress (version_id) select unnest($1::integer[]) on conflict do nothing',
        [versions],
      );
      return { sequence, orders: await readOrders(client, this.source, source) };
    });
  }

  /** Shows that it is read, and how far; whoever has nothing to write is fenced here. */
  async show(
    state: Extract<StreamStatus['state'], 'running' | 'paused' | 'drained'>,
    { endOffset, ratePerSecond }: { endOffset: number; ratePerSecond: number },
  ): Promise<void> {
    const { rowCount } = await this.#pool.query(
      `update stream_offset set end_offset = greatest($4, next_offset), rate_per_second = $5, state = $6, seen_at = clock_timestamp()
        where source = $1 and partition = $2 and epoch = $3`,
      [this.source, this.number, this.#epoch, endOffset, ratePerSecond, state],
    );
    if (rowCount === 0) throw this.#fenced();
  }

  /** Drained before anything of it was opened: also while Kafka is away, or the topic gone. */
  async showDrained(): Promise<void> {
    await this.#pool.query(
      `update stream_offset set state = 'drained', seen_at = clock_timestamp() where source = $1 and partition = $2`,
      [this.source, this.number],
    );
  }

  /** In a transaction that writes what a reader knows: that it still is the reader. */
  readonly fence = async (client: PoolClient): Promise<void> => {
    const { rowCount } = await client.query(
      'select 1 from stream_offset where source = $1 and partition = $2 and epoch = $3 for share',
      [this.source, this.number, this.#epoch],
    );
    if (rowCount !== 1) throw this.#fenced();
  };

  /** Held events whose time has come, oldest first. */
  async #releaseHeld(
    client: PoolClient,
    arrivedAt: number,
    read: (message: Message) => Read,
  ): Promise<Read[]> {
    if (this.#heldMs === null || this.#heldMs > arrivedAt) return [];
    const { rows } = await client.query<{ offset: number; eventMs: number; body: string }>(
      `delete from held where source = $1 and partition = $2 and event_ms <= $3
       returning "offset", event_ms as "eventMs", body`,
      [this.source, this.number, arrivedAt],
    );
    return rows
      .sort((a, b) => a.eventMs - b.eventMs || a.offset - b.offset)
      .map(({ offset, body }) => read({ offset, value: Buffer.from(body) }));
  }

  /** Compare and set; the partition's row is ours until the transaction ends. */
  async #move(
    client: PoolClient,
    to: Position,
  ): Promise<{ arrivedMs: number | null; greatestMs: number | null }> {
    const { rows } = await client.query<{ arrivedMs: number | null; greatestMs: number | null }>(
      `update stream_offset
          set next_offset = $5, mark_offset = coalesce($6, mark_offset), mark_digest = coalesce($7, mark_digest)
        where source = $1 and partition = $2 and epoch = $3 and next_offset = $4
        returning arrived_ms as "arrivedMs", greatest_event_ms as "greatestMs"`,
      [
        this.source,
        this.number,
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
    return new FeatureStoreError(
      'FS_FENCED',
      `partition ${this.number} of source "${this.source}" is read by another since epoch ${this.#epoch}`,
      { fix: 'nothing to do: the other one goes on', source: this.source, partition: this.number },
    );
  }
}
