/**
 * The states of one streaming version's entities, in memory. What is not there is loaded: its snapshot, and what was archived since.
 * A state whose sequence is s holds every event of its entity up to s: transactions of one source commit in order of sequence.
 */
import { columnsRead } from '../../core/canonical.js';
import { decodeKey, encodeKey, onlineKey } from '../../core/codec/key.js';
import { FeatureStoreError } from '../../core/error.js';
import { columnNames, type Event } from '../../core/event.js';
import { decodeHeader } from '../../core/record.js';
import { advance, decodeState, fold, isBlank, readState, type State } from '../../core/state.js';
import { Tally } from '../../core/tally.js';
import { MIN_TIMESTAMP } from '../../core/time.js';
import { type Pool, type PoolClient, transaction } from '../../registry/sql.js';
import type { Deps } from '../deps.js';
import { type HashRange, readEntities, readEvents } from '../offline/archive.js';
import { CopyText } from '../offline/copy.js';
import {
  type Ending,
  findSnapshots,
  listEnding,
  snapshotLine,
  writeSnapshots,
} from '../offline/snapshots.js';
import type { RecordRow } from '../online/write.js';
import { type Compiled, createTurns, type Entity, nameOf, rebuildAt, recordOf } from '../output.js';

interface InMemory extends Entity {
  state: State;
  /** Its snapshot is older than it. */
  changed: boolean;
  /** When its record ends though its steps go on; null: it holds them all. */
  refreshMs: number | null;
}

const ENTITIES_AT_ONCE = 500;
// A wide state takes 2 ms to write: a part must end long before a heartbeat is missed.
const SNAPSHOTS_AT_ONCE = 1_000;
const NOWHERE = new Uint8Array();

/** Every 50 ms the process does something else, so that the shard's own heartbeats are sent. */
const turns = (): ReturnType<typeof createTurns> => createTurns(() => {});

export class ViewStates {
  readonly #pool: Pool;
  readonly #environment: string;
  readonly #work: Compiled;
  readonly #keyIndexes: number[];
  readonly #entities = new Map<string, InMemory>();
  /** Snapshots whose records end by then have been looked at. */
  #refreshedMs = MIN_TIMESTAMP;
  #refreshed: InMemory[] = [];
  /** Of what was written since it was last asked for; null: nothing is expected of the view. */
  #tally: Tally | null;

  constructor({ pool, config }: Deps, work: Compiled) {
    const { source, view } = work.version;
    this.#pool = pool;
    this.#environment = config.environment;
    this.#work = work;
    this.#tally = newTally(work);
    const names = columnNames(source);
    this.#keyIndexes = view.key.map((column) => names.indexOf(column));
  }

  get size(): number {
    return this.#entities.size;
  }

  get work(): Compiled {
    return this.#work;
  }

  /** What was written since it was last taken, each time an entity was: as it stood then. */
  get tally(): Tally | null {
    return this.#tally;
  }

  /** Goes on from what another counted, unless something else is expected by now. */
  resumeTally(bytes: Uint8Array): void {
    const tally = this.#tally && Tally.decode(this.#work.version.view, bytes);
    if (tally?.isWhole) this.#tally = tally;
  }

  /** The next one begins. */
  takeTally(): Tally | null {
    const tally = this.#tally;
    this.#tally = newTally(this.#work);
    return tally;
  }

  /** Folds events of one transaction; every earlier one was folded before. Gives the records they make. */
  async fold(events: readonly Event[], sequence: number): Promise<RecordRow[]> {
    const { compiled } = this.#work;
    const byEntity = new Map<string, { key: Uint8Array; events: Event[] }>();
    for (const event of events) {
      if (!compiled.accepts(event)) continue;
      const key = this.#keyOf(event);
      if (key === null) continue;
      const name = nameOf(key);
      const found = byEntity.get(name);
      if (found) found.events.push(event);
      else byEntity.set(name, { key, events: [event] });
    }
    await this.#load([...byEntity.values()].map(({ key }) => key), sequence); // biome-ignore format: short
    const turn = turns();
    const rows: RecordRow[] = [];
    const stuck: Uint8Array[] = [];
    for (const [name, one] of byEntity) {
      const known = this.#entities.get(name)!;
      // one that was just loaded has them
      if (known.state.sequence < sequence) for (const event of one.events) fold(compiled, known.state, event);
      if (known.state.needsRebuild) stuck.push(one.key);
      else rows.push(this.#changed(known));
      await turn();
    }
    // Inside the loop, which waits for them; beside it their own later events would have to wait. It is seldom: docs/decisions/0011.
    return rows.concat(await this.#reload(stuck, sequence));
  }

  /** Entities with events after one sequence and up to another, whoever archived them; their records, some hundred at a time. */
  async *catchUp(after: number, until: number, signal: AbortSignal): AsyncGenerator<RecordRow[]> {
    for await (const touched of readTouched(this.#pool, this.#work, { after, until, signal }))
      yield await this.#reload(touched.map(({ key }) => key), until); // biome-ignore format: short
  }

  async #reload(keys: readonly Uint8Array[], sequence: number): Promise<RecordRow[]> {
    for (const key of keys) this.#entities.delete(nameOf(key));
    await this.#load(keys, sequence);
    const turn = turns();
    const rows: RecordRow[] = [];
    for (const key of keys) {
      rows.push(this.#changed(this.#entities.get(nameOf(key))!));
      await turn();
    }
    return rows;
  }

  /**
   * Records that have come to their end by `now`, written on from there, some hundred at a time: whoever takes them publishes them
   * and then calls `writeRefreshed`.
   */
  async *refresh(now: number, sequence: number): AsyncGenerator<RecordRow[]> {
    let after: Ending = { refreshMs: this.#refreshedMs, key: NOWHERE };
    for (;;) {
      const page = { after, until: now, limit: ENTITIES_AT_ONCE };
      const ending = await listEnding(this.#pool, this.#work.version.id, page);
      const loaded = await this.#load(ending.map(({ key }) => key), sequence); // biome-ignore format: short
      for (const one of loaded) one.refreshMs = this.#recordOf(one).refreshAt;
      if (ending.length < ENTITIES_AT_ONCE) break;
      yield* this.#refreshDue(loaded, now);
      after = ending.at(-1)!;
    }
    yield* this.#refreshDue([...this.#entities.values()], now);
    this.#refreshedMs = now;
  }

  async *#refreshDue(among: readonly InMemory[], now: number): AsyncGenerator<RecordRow[]> {
    const turn = turns();
    const due = among.filter(({ refreshMs }) => refreshMs !== null && refreshMs <= now);
    for (let i = 0; i < due.length; i += ENTITIES_AT_ONCE) {
      this.#refreshed = due.slice(i, i + ENTITIES_AT_ONCE);
      const rows: RecordRow[] = [];
      for (const one of this.#refreshed) {
        advance(this.#work.compiled, one.state, now);
        rows.push(this.#changed(one));
        await turn();
      }
      yield rows;
    }
  }

  /** Snapshots of those that were just refreshed. */
  async writeRefreshed(fence: (client: PoolClient) => Promise<void>): Promise<void> {
    await this.#write(this.#refreshed, fence);
    this.#refreshed = [];
  }

  /** Snapshots of all that changed. `fence` throws when the partition is another's. */
  async write(fence: (client: PoolClient) => Promise<void>): Promise<void> {
    await this.#write([...this.#entities.values()].filter((one) => one.changed), fence); // biome-ignore format: short
  }

  async #write(changed: readonly InMemory[], fence: (client: PoolClient) => Promise<void>): Promise<void> {
    const { version, compiled } = this.#work;
    const turn = turns();
    for (let i = 0; i < changed.length; i += SNAPSHOTS_AT_ONCE) {
      const part = changed.slice(i, i + SNAPSHOTS_AT_ONCE);
      const lines = new CopyText();
      for (const one of part) {
        lines.add(snapshotLine(compiled, one, one.state));
        await turn();
      }
      await transaction(this.#pool, async (client) => {
        await fence(client);
        await writeSnapshots(client, version.id, 'streaming', lines);
      });
      for (const one of part) {
        one.changed = false;
        const reading = this.#tally && readState(compiled, one.state, one.state.asOf);
        if (reading) this.#tally!.add(reading.values, reading.eventTimestamp);
      }
    }
  }

  /** Forgets what is in memory; only after `write` with nothing folded since. */
  forget(): void {
    this.#entities.clear();
    this.#refreshedMs = MIN_TIMESTAMP; // records of what was folded since may have ended before
  }

  #changed(one: InMemory): RecordRow {
    const { entity, id } = this.#work.version;
    const { record, refreshAt } = this.#recordOf(one);
    one.changed = true;
    one.refreshMs = refreshAt;
    return { key: onlineKey(this.#environment, entity.name, one.key), field: String(id), record };
  }

  #recordOf({ state }: InMemory): { record: Buffer; refreshAt: number | null } {
    const record = recordOf(this.#work.compiled, state);
    return { record, refreshAt: decodeHeader(record).refreshAt };
  }

  /** Gives those that were not in memory; when their records end is not known yet. */
  async #load(keys: readonly Uint8Array[], sequence: number): Promise<InMemory[]> {
    const missing = keys.filter((key) => !this.#entities.has(nameOf(key)));
    const added: InMemory[] = [];
    for (let i = 0; i < missing.length; i += ENTITIES_AT_ONCE) {
      const some = missing.slice(i, i + ENTITIES_AT_ONCE);
      for (const [name, one] of await loadStates(this.#pool, this.#work, some, sequence)) {
        const loaded: InMemory = { ...one, changed: false, refreshMs: null };
        this.#entities.set(name, loaded);
        added.push(loaded);
      }
    }
    return added;
  }

  #keyOf(event: Event): Uint8Array | null {
    const parts = this.#keyIndexes.map((index) => event.values[index]!);
    try {
      return encodeKey(this.#work.version.entity, parts);
    } catch (error) {
      if (error instanceof FeatureStoreError && error.code === 'FS_KEY_INVALID') return null; // belongs to no entity
      throw error;
    }
  }
}

function newTally({ version: { view } }: Compiled): Tally | null {
  return view.expectations === undefined || view.expectations.length === 0 ? null : new Tally(view);
}

export interface TouchedRange {
  /** Events after this sequence, */
  after: number;
  /** and up to this one, which is committed with everything below it. */
  until: number;
  /** Default: all. */
  hashes?: HashRange;
  signal: AbortSignal;
}

/** Entities with events of a range of sequences that count for the view, and how many; some hundred at a time, in order of hash. */
export async function* readTouched(
  pool: Pool,
  { version: { source, entity, view }, compiled }: Compiled,
  { after, until, hashes, signal }: TouchedRange,
): AsyncGenerator<Array<Entity & { events: number }>> {
  let touched: Array<Entity & { events: number }> = [];
  for await (const { key, keyHash, events } of readEvents(
    pool,
    { source, entity, keyColumns: view.key },
    {
      sequence: until,
      sequenceAfter: after,
      ...(hashes && { hashStart: hashes.start, hashEnd: hashes.end }),
      columns: columnsRead(view, source),
      signal,
    },
  )) {
    const counting = events.filter((event) => compiled.accepts(event)).length;
    if (counting > 0) touched.push({ key, keyHash, events: counting });
    if (touched.length < ENTITIES_AT_ONCE) continue;
    yield touched;
    touched = [];
  }
  if (touched.length > 0) yield touched;
}

/**
 * The states of some hundred entities with every event up to `sequence`, by name: their snapshots, and what was archived since. Where
 * there is no snapshot, or it cannot take in what came, of all archived events. One without events is not among them.
 */
export async function loadStates(
  pool: Pool,
  work: Compiled,
  keys: readonly Uint8Array[],
  sequence: number,
): Promise<Map<string, Entity & { state: State }>> {
  const { version, compiled } = work;
  const of = { source: version.source, entity: version.entity, keyColumns: version.view.key };
  const options = { sequence, columns: columnsRead(version.view, version.source) };
  const loaded = new Map<string, Entity & { state: State }>();
  for (const { key, keyHash, state } of await findSnapshots(pool, version.id, keys))
    loaded.set(nameOf(key), { key, keyHash, state: decodeState(compiled, state) });
  const stored = [...loaded.values()];
  if (stored.length > 0)
    for await (const one of readEvents(pool, of, {
      ...options,
      hashes: [...new Set(stored.map(({ keyHash }) => keyHash))],
      sequenceAfter: Math.min(...stored.map(({ state }) => state.sequence)),
    })) {
      const state = loaded.get(nameOf(one.key))?.state;
      if (state === undefined) continue;
      const known = state.sequence;
      for (const event of one.events) if (event.sequence > known) fold(compiled, state, event);
    }
  const parts = keys
    .filter((key) => loaded.get(nameOf(key))?.state.needsRebuild ?? true)
    .map((key) => decodeKey(version.entity, key));
  if (parts.length > 0)
    for await (const { key, keyHash, events } of readEntities(pool, of, parts, options)) {
      const state = rebuildAt(compiled, events, loaded.get(nameOf(key))?.state);
      if (!isBlank(state)) loaded.set(nameOf(key), { key, keyHash, state });
    }
  return loaded;
}
