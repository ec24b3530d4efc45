/**
 * What computed entities become: rows and snapshots in Postgres, records in Redis. Postgres first, in one transaction, then Redis:
 * everything online can be written again from what Postgres holds, never the reverse. Whatever is written again, or by two at
 * once, ends the same: rows are only added, of snapshots and records the newest wins. Of a version that nobody reads there are no
 * records.
 */
import { onlineKey } from '../core/codec/key.js';
import type { CompiledView } from '../core/compile.js';
import { compileView } from '../core/compile.js';
import { FeatureStoreError, recordsDiffer } from '../core/error.js';
import type { Event } from '../core/event.js';
import { encodeRecord, RECORD_BYTES } from '../core/record.js';
import { generationKey } from '../core/serving-plan.js';
import { advance, encodeValues, fold, isBlank, readState, rebuild, type State } from '../core/state.js';
import { entryTick, sweepTicks, type TickRow, ticksOf } from '../core/sweep.js';
import type { Tally } from '../core/tally.js';
import { floorTo } from '../core/time.js';
import { isRead, readOnlineSet } from '../registry/online.js';
import type { StoredVersion, ViewVersion } from '../registry/resolve.js';
import { transaction } from '../registry/sql.js';
import type { Deps } from './deps.js';
import { beat } from './heartbeat.js';
import { CopyText } from './offline/copy.js';
import { insertRows, rowLines } from './offline/rows.js';
import { snapshotLine, writeSnapshots } from './offline/snapshots.js';
import { call } from './online/client.js';
import { publishOnlineSet } from './online/publish.js';
import { type RecordRow, writeRecords } from './online/write.js';

export type AggregationVersion = Extract<ViewVersion, { kind: 'aggregation' }>;

/** A version that is ready to compute. */
export interface Compiled {
  version: AggregationVersion;
  compiled: CompiledView;
}

export function compileVersion(version: AggregationVersion): Compiled {
  return { version, compiled: compileView(version.view, version.source) };
}

/** Entities, of whichever source, and what was made of them. */
export interface Counts {
  events: number;
  entities: number;
  rows: number;
  /** Online records that were newer than what was there. */
  records: number;
}

export const NO_COUNTS: Counts = { events: 0, entities: 0, rows: 0, records: 0 };

export function addCounts(a: Counts, b: Counts): Counts {
  return {
    events: a.events + b.events,
    entities: a.entities + b.entities,
    rows: a.rows + b.rows,
    records: a.records + b.records,
  };
}

/**
 * Rows of the ticks (after, until] and the state at their end, from all events of an entity. A batch view's state is that of its
 * last tick; a streaming view's holds every event.
 * @param opening there is no row of the tick before to compare with: the first tick gets one whether or not something changed there
 */
export function computeEntity(
  compiled: CompiledView,
  events: readonly Event[],
  { after, until, opening = false }: { after: number; until: number; opening?: boolean },
): { rows: TickRow[]; state: State } {
  const { cadenceMs, settleMs } = ticksOf(compiled.view);
  const own = events.filter((event) => compiled.accepts(event));
  const enters = (event: Event): number => entryTick(event, cadenceMs, settleMs);
  const first = opening
    ? openingRow(compiled, own, Math.min(until, floorTo(after, cadenceMs) + cadenceMs))
    : null;
  const later =
    first &&
    sweepTicks(
      compiled,
      own.filter((event) => enters(event) > first.row.tick),
      { after: first.row.tick, until, state: first.state },
    );
  const { rows, state } =
    later && !later.state.needsRebuild
      ? later
      : sweepTicks(compiled, own, { after: first?.row.tick ?? after, until });
  if (compiled.view.mode.type === 'streaming')
    for (const event of own) if (enters(event) > until) fold(compiled, state, event);
  return {
    rows: first ? [first.row, ...rows] : rows,
    state: state.needsRebuild ? rebuildAt(compiled, own, state) : state,
  };
}

/** The state of all events of an entity; in place of another, which could not take one in, it speaks from that one's as-of on. */
export function rebuildAt(
  compiled: CompiledView,
  events: readonly Event[],
  replaced: State | undefined,
): State {
  const state = rebuild(compiled, events);
  if (replaced) advance(compiled, state, replaced.asOf);
  return state;
}

/** An entity as of a tick; null: there is nothing of it by then. */
function openingRow(
  compiled: CompiledView,
  events: readonly Event[],
  tick: number,
): { row: TickRow; state: State } | null {
  const { state } = sweepTicks(compiled, events, { after: tick, until: tick });
  if (isBlank(state)) return null;
  const reading = readState(compiled, state, tick);
  return { row: { tick, reading, stored: encodeValues(compiled, state) }, state };
}

/** The online record of a state. A batch view's says its tick; it was settled, hence the same, whoever writes it. */
export function recordOf(compiled: CompiledView, state: State): Buffer {
  const { mode } = compiled.view;
  const bytes = encodeRecord(
    compiled,
    state,
    mode.type === 'batch'
      ? { tick: { tick: state.asOf, committedAt: state.asOf + mode.settleMs } }
      : { maxBytes: RECORD_BYTES },
  );
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}

export interface Entity {
  key: Uint8Array;
  keyHash: bigint;
}

// A transaction of this size takes about a second, and four of them under way take little memory.
const FLUSH_BYTES = 8 << 20;

/** Takes what entities became. */
export type Sink = Pick<Output, 'add'>;

/** Rows up to a tick, and what is known of them. */
export interface Counted {
  tally: Tally;
  until: number;
}

/** Only looks at it: of each entity its newest row is counted, and nothing written. */
export function lookingSink({ tally, until }: Counted): Sink {
  return {
    async add(_, rows) {
      const { reading = null, tick } = rows.at(-1) ?? {};
      if (reading !== null) tally.add(reading.values, reading.eventTimestamp, tick === until);
    },
  };
}

/** Gathers what entities became and writes it, whole entities at a time. */
export class Output {
  readonly #deps: Deps;
  readonly #work: Compiled;
  readonly #counted: Counted | null;
  readonly counts: Counts = { ...NO_COUNTS };
  /** Online records that claim the moment of computed ones with other bytes: they stay, the others are written. */
  different = 0;
  #rows = new CopyText();
  #snapshots = new CopyText();
  #records: RecordRow[] = [];
  #recordBytes = 0;

  /** @param counted takes in every row */
  constructor(deps: Deps, work: Compiled, counted: Counted | null = null) {
    this.#deps = deps;
    this.#work = work;
    this.#counted = counted;
  }

  /** @param rows to add @param state null: what is stored of the entity stays */
  async add(entity: Entity, rows: readonly TickRow[], state: State | null, events: number): Promise<void> {
    const { version, compiled } = this.#work;
    this.counts.events += events;
    this.counts.entities += 1;
    this.counts.rows += rows.length;
    const toLine = rowLines(version, entity);
    for (const { tick, reading, stored } of rows) {
      const eventMs = reading?.eventTimestamp ?? null;
      this.#rows.add(toLine({ tickMs: tick, eventMs, values: reading?.values ?? [], record: stored }));
      if (reading !== null) this.#counted?.tally.add(reading.values, eventMs, tick === this.#counted.until);
    }
    if (state !== null && !isBlank(state)) {
      this.#snapshots.add(snapshotLine(compiled, entity, state));
      this.#addRecord(entity, state);
    }
    await this.#flushWhenLarge();
  }

  /** A record of what Postgres holds already. */
  async addRecord(entity: Entity, state: State): Promise<void> {
    this.counts.entities += 1;
    this.#addRecord(entity, state);
    await this.#flushWhenLarge();
  }

  #addRecord({ key }: Entity, state: State): void {
    const { version, compiled } = this.#work;
    const record = {
      key: onlineKey(this.#deps.config.environment, version.entity.name, key),
      field: String(version.id),
      record: recordOf(compiled, state),
    };
    this.#records.push(record);
    this.#recordBytes += record.key.length + record.record.length;
  }

  async #flushWhenLarge(): Promise<void> {
    if (this.#rows.bytes + this.#snapshots.bytes + this.#recordBytes > FLUSH_BYTES) await this.flush();
  }

  async flush(): Promise<void> {
    const { version } = this.#work;
    if (this.#rows.lines > 0 || this.#snapshots.lines > 0)
      await transaction(this.#deps.pool, async (client) => {
        await insertRows(client, version, this.#rows);
        await writeSnapshots(client, version.id, version.view.mode.type, this.#snapshots);
      });
    beat();
    const written = await writeIfRead(this.#deps, version, this.#records);
    this.counts.records += written.written;
    this.different += written.conflict;
    this.#rows = new CopyText();
    this.#snapshots = new CopyText();
    this.#records = [];
    this.#recordBytes = 0;
  }

  /** Throws FS_PARITY. For views whose records nobody else writes again. */
  assertSame(): void {
    assertSame(this.#work.version, this.different);
  }
}

/** Records of what is committed, if somebody reads the version. */
async function writeIfRead(
  { config, pool, redis }: Deps,
  { id }: StoredVersion,
  records: readonly RecordRow[],
): Promise<{ written: number; conflict: number }> {
  if (records.length === 0 || !(await isRead(pool, id))) return { written: 0, conflict: 0 };
  return writeRecords(redis, config.environment, records);
}

/**
 * Guarded writes of what is committed, if somebody reads the version; gives how many were newer than what was there. Throws FS_PARITY
 * for two records that both claim one moment.
 */
export async function writeOnline(
  deps: Deps,
  version: StoredVersion,
  records: readonly RecordRow[],
): Promise<number> {
  const { written, conflict } = await writeIfRead(deps, version, records);
  assertSame(version, conflict);
  return written;
}

function assertSame({ view, version }: StoredVersion, different: number): void {
  if (different > 0) throw recordsDiffer(view.name, version, different);
}

/**
 * Asked before anything is computed for Redis in vain, or for another installation's: it answers, holds this generation or none, and
 * is told whose records are kept. Throws FS_UNAVAILABLE, FS_DEADLINE, FS_CONFLICT.
 */
export async function assertOnline({ config, pool, redis }: Deps): Promise<void> {
  const [stored, { generation, ...set }] = await Promise.all([
    call(redis.get(generationKey(config.environment))),
    readOnlineSet(pool),
  ]);
  if (stored === null || stored === generation) return publishOnlineSet(redis, config.environment, set);
  throw new FeatureStoreError(
    'FS_CONFLICT',
    `Redis holds the records of generation ${stored}; Postgres is generation ${generation}`,
    { fix: 'they do not belong together: correct ALMANAC_REDIS_URL or ALMANAC_POSTGRES_URL' },
  );
}

/** An entity's name in memory. */
export const nameOf = (key: Uint8Array): string => Buffer.from(key).toString('latin1');

// Long enough to cost nothing, short enough for heartbeats and health checks to be answered in time.
const TURN_MS = 50;

/**
 * Lets other work of this process have its turn; called after every entity.
 * @param sign what tells that the work lives: a heartbeat, unless something else sends them
 */
export function createTurns(sign: () => void = beat): () => Promise<void> | undefined {
  let began = performance.now();
  return () => {
    if (performance.now() - began < TURN_MS) return undefined;
    sign();
    return new Promise((resolve) =>
      setImmediate(() => {
        began = performance.now();
        resolve();
      }),
    );
  };
}
