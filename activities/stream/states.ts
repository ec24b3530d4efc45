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
import { type EntityEvents, type OneEntity, readEntities, readEvents } from '../offline/archive.js';
import { CopyText } from '../offline/copy.js';
import { findSnapshots, listEnding, snapshotLine, writeSnapshots } from '../offline/snapshots.js';
import type { RecordRow } from '../online/write.js';
import { type Compiled, nameOf, recordOf } from '../output.js';

interface InMemory {
  key: Uint8Array;
  keyHash: bigint;
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
  readonly #of: EntityEvents;
  readonly #columns: string[];
  readonly #keyIndexes: number[];
  readonly #entities = new Map<string, InMemory>();
  /** Snapshots whose records end by then have been looked at. */
  #refreshedMs = 0;

  constructor({ pool, config }: Deps, work: Compiled) {
    const { source, entity, view } = work.version;
    this.#pool = pool;
    this.#environment = config.environment;
    this.#work = work;
    this.#of = { source, entity, keyColumns: view.key };
    this.#columns = columnsRead(view);
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
    let keys: Uint8Array[] = [];
    for await (const one of readEvents(this.#pool, this.#of, {
      sequence: until,
      sequenceAfter: after,
      columns: this.#columns,
      signal,
    })) {
      if (one.events.some((event) => this.#work.compiled.accepts(event))) keys.push(one.key);
      if (keys.length < ENTITIES_AT_ONCE) continue;
      yield await this.#reload(keys, until);
      keys = [];
    }
    if (keys.length > 0) yield await this.#reload(keys, until);
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
    }
    return rows;
  }

  /** Snapshots of all that changed. `fence` throws when the partition is another's. */
  async write(fence: (client: PoolClient) => Promise<void>): Promise<void> {
    const { version, compiled } = this.#work;
    const changed = [...this.#entities.values()].filter((one) => one.changed);
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
    for (let i = 0; i < missing.length; i += ENTITIES_AT_ONCE)
      await this.#loadSome(missing.slice(i, i + ENTITIES_AT_ONCE), sequence);
  }

  async #loadSome(keys: readonly Uint8Array[], sequence: number): Promise<void> {
    const { version, compiled } = this.#work;
    const loaded = new Map<string, InMemory>();
    for (const { key, keyHash, state } of await findSnapshots(this.#pool, version.id, keys))
      loaded.set(nameOf(key), inMemory(key, keyHash, decodeState(compiled, state)));
    const stored = [...loaded.values()];
    const options = { sequence, columns: this.#columns };
    if (stored.length > 0)
      for await (const one of readEvents(this.#pool, this.#of, {
        ...options,
        hashes: [...new Set(stored.map(({ keyHash }) => keyHash))],
        sequenceAfter: Math.min(...stored.map(({ state }) => state.sequence)),
      })) {
        const found = loaded.get(nameOf(one.key));
        if (found) foldAfter(this.#work, found.state, one);
      }
    const fresh = keys.filter((key) => !loaded.has(nameOf(key)));
    const parts = fresh.map((key) => decodeKey(version.entity, key));
    if (parts.length > 0)
      for await (const one of readEntities(this.#pool, this.#of, parts, options)) {
        const made = inMemory(one.key, one.keyHash, createState(compiled));
        foldAfter(this.#work, made.state, one);
        if (made.state.eventCount > 0) loaded.set(nameOf(one.key), made);
      }
    for (const [name, one] of loaded) {
      one.refreshMs = decodeHeader(recordOf(compiled, one.state)).refreshAt;
      this.#entities.set(name, one);
    }
  }

  #keyOf(event: Event): Uint8Array | null {
    const parts = this.#keyIndexes.map((index) => event.values[index]!);
    try {
      return encodeKey(this.#of.entity, parts);
    } catch (error) {
      if (error instanceof FeatureStoreError && error.code === 'FS_KEY_INVALID') return null; // belongs to no entity
      throw error;
    }
  }
}

function inMemory(key: Uint8Array, keyHash: bigint, state: State): InMemory {
  return { key, keyHash, state, changed: false, refreshMs: null };
}

function foldAfter({ compiled }: Compiled, state: State, one: OneEntity): void {
  const known = state.sequence;
  for (const event of one.events) if (event.sequence > known) fold(compiled, state, event);
}
