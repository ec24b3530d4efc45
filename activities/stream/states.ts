/**
 * The states of one streaming version's entities, in memory. What is not there is loaded: its snapshot, and what was archived since.
 * A state whose sequence is s holds every event of its entity up to s: transactions of one source commit in order of sequence.
 */
import { columnsRead } from '../../core/canonical.js';
import { decodeKey, encodeKey, onlineKey } from '../../core/codec/key.js';
import { FeatureStoreError } from '../../core/error.js';
import { columnNames, type Event } from '../../core/event.js';
import { decodeHeader } from '../../core/record.js';
import { advance, createState, decodeState, fold, type State } from '../../core/state.js';
import { type Pool, type PoolClient, transaction } from '../../registry/sql.js';
import type { Deps } from '../deps.js';
import { type HashRange, type OneEntity, readEntities, readEvents } from '../offline/archive.js';
import { CopyText } from '../offline/copy.js';
import { findSnapshots, listEnding, snapshotLine, writeSnapshots } from '../offline/snapshots.js';
import type { RecordRow } from '../online/write.js';
import { type Compiled, type Entity, nameOf, recordOf } from '../output.js';

interface InMemory extends Entity {
  state: State;
  /** Its snapshot is older than it. */
  changed: boolean;
  /** When its record ends though its steps go on; null: it holds them all. */
  refreshMs: number | null;
}

const ENTITIES_AT_ONCE = 500;
const SNAPSHOTS_AT_ONCE = 10_000;

export class ViewStates {
  readonly #pool: Pool;
  readonly #environment: string;
  readonly #work: Compiled;
  readonly #keyIndexes: number[];
  readonly #entities = new Map<string, InMemory>();
  /** Snapshots whose records end by then have been looked at. */
  #refreshedMs = 0;
  #refreshed: InMemory[] = [];

  constructor({ pool, config }: Deps, work: Compiled) {
    const { source, view } = work.version;
    this.#pool = pool;
    this.#environment = config.environment;
    this.#work = work;
    const names = columnNames(source);
    this.#keyIndexes = view.key.map((column) => names.indexOf(column));
  }

  get size(): number {
    return this.#entities.size;
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
    return [...byEntity].map(([name, one]) => {
      const known = this.#entities.get(name)!;
      // one that was just loaded has them
      if (known.state.sequence < sequence) for (const event of one.events) fold(compiled, known.state, event);
      return this.#changed(known);
    });
  }

  /** Entities with events after one sequence and up to another, whoever archived them; their records, some hundred at a time. */
  async *catchUp(after: number, until: number, signal: AbortSignal): AsyncGenerator<RecordRow[]> {
    for await (const touched of readTouched(this.#pool, this.#work, { after, until, signal }))
      yield await this.#reload(touched.map(({ key }) => key), until); // biome-ignore format: short
  }

  async #reload(keys: readonly Uint8Array[], sequence: number): Promise<RecordRow[]> {
    for (const key of keys) this.#entities.delete(nameOf(key));
    await this.#load(keys, sequence);
    return keys.map((key) => this.#changed(this.#entities.get(nameOf(key))!));
  }

  /** Records that have come to their end by `now`, written on from there. */
  async refresh(now: number, sequence: number): Promise<RecordRow[]> {
    const ending = await listEnding(this.#pool, this.#work.version.id, {
      after: this.#refreshedMs,
      until: now,
    });
    await this.#load(ending, sequence);
    this.#refreshedMs = now;
    const rows: RecordRow[] = [];
    for (const one of this.#entities.values()) {
      if (one.refreshMs === null || one.refreshMs > now) continue;
      advance(this.#work.compiled, one.state, now);
      rows.push(this.#changed(one));
      this.#refreshed.push(one);
    }
    return rows;
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
    for (let i = 0; i < changed.length; i += SNAPSHOTS_AT_ONCE) {
      const part = changed.slice(i, i + SNAPSHOTS_AT_ONCE);
      const lines = new CopyText();
      for (const one of part) lines.add(snapshotLine(compiled, one, one.state));
      await transaction(this.#pool, async (client) => {
        await fence(client);
        await writeSnapshots(client, version.id, 'streaming', lines);
      });
      for (const one of part) one.changed = false;
    }
  }

  /** Forgets what is in memory; only after `write` with nothing folded since. */
  forget(): void {
    this.#entities.clear();
    this.#refreshedMs = 0; // records of what was folded since may have ended before
  }

  #changed(one: InMemory): RecordRow {
    const { version, compiled } = this.#work;
    const record = recordOf(compiled, one.state);
    one.changed = true;
    one.refreshMs = decodeHeader(record).refreshAt;
    return {
      key: onlineKey(this.#environment, version.entity.name, one.key),
      field: String(version.id),
      record,
    };
  }

  async #load(keys: readonly Uint8Array[], sequence: number): Promise<void> {
    const missing = keys.filter((key) => !this.#entities.has(nameOf(key)));
    for (let i = 0; i < missing.length; i += ENTITIES_AT_ONCE) {
      const some = missing.slice(i, i + ENTITIES_AT_ONCE);
      for (const [name, one] of await loadStates(this.#pool, this.#work, some, sequence)) {
        const { refreshAt } = decodeHeader(recordOf(this.#work.compiled, one.state));
        this.#entities.set(name, { ...one, changed: false, refreshMs: refreshAt });
      }
    }
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
      columns: columnsRead(view),
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
 * The states of some hundred entities with every event up to `sequence`, by name: their snapshots, and what was archived since. One
 * without events is not among them.
 */
export async function loadStates(
  pool: Pool,
  work: Compiled,
  keys: readonly Uint8Array[],
  sequence: number,
): Promise<Map<string, Entity & { state: State }>> {
  const { version, compiled } = work;
  const of = { source: version.source, entity: version.entity, keyColumns: version.view.key };
  const options = { sequence, columns: columnsRead(version.view) };
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
      const found = loaded.get(nameOf(one.key));
      if (found) foldAfter(work, found.state, one);
    }
  const parts = keys.filter((key) => !loaded.has(nameOf(key))).map((key) => decodeKey(version.entity, key));
  if (parts.length > 0)
    for await (const one of readEntities(pool, of, parts, options)) {
      const state = createState(compiled);
      foldAfter(work, state, one);
      if (state.eventCount > 0) loaded.set(nameOf(one.key), { key: one.key, keyHash: one.keyHash, state });
    }
  return loaded;
}

function foldAfter({ compiled }: Compiled, state: State, one: OneEntity): void {
  const known = state.sequence;
  for (const event of one.events) if (event.sequence > known) fold(compiled, state, event);
}
