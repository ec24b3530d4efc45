/**
 * One streaming version without its servers: what activities/stream (shard.ts, states.ts), backfill.ts, refill.ts and dual-write.ts do
 * to it, one after the other, as a plan of actions says.
 *
 *   here                           there
 *   archive, sequence              the source's archive, nextSequence: transactions commit in order of sequence
 *   topic, next, held              the partition, stream_offset.next_offset, the held table
 *   snapshots, progress, owed      tables snapshot, view_progress.sequence, owed.after_sequence
 *   online                         Redis: the greater 16 bytes win; the same with another record are a conflict
 *   states, folded, refreshedMs    ViewStates and Shard: memory, lost when the process dies
 *
 * Entities are their names; nothing is done in parts or at once, since each part is a transaction or a guarded write.
 */
import { computeEntity, rebuildAt } from '../../activities/output.js';
import { type CompiledView, compileView } from '../../core/compile.js';
import type { AggregationView, Source } from '../../core/definition.js';
import type { Event } from '../../core/event.js';
import { decodeHeader, encodeRecord } from '../../core/record.js';
import { advance, decodeState, encodeState, fold, isBlank, type State } from '../../core/state.js';
import { entryTick } from '../../core/sweep.js';
import { floorTo, MIN_TIMESTAMP } from '../../core/time.js';

export type Action =
  /** A batch from `again` messages before the next one; of its new ones every `held`-th waits. It may die after the commit. */
  | { do: 'take'; size: number; again: number; held: number; release: boolean; dies: boolean }
  | { do: 'import'; entity: number; size: number }
  /** Takes in what an import archived, with no batch. */
  | { do: 'follow' }
  | { do: 'snapshot' | 'evict'; every: number }
  | { do: 'crash' }
  /** The clock goes on; it dies after the records were published and before their snapshots were, or moves to another process after both. */
  | { do: 'refresh'; laterMs: number; end: 'goes on' | 'moves' | 'dies' }
  /** A chunk of the backfill; the first opens it. */
  | { do: 'backfill'; size: number }
  | { do: 'attach' }
  /** A record that was sent before is sent again, by whoever was slow. */
  | { do: 'send again'; which: number }
  | { do: 'Redis away' | 'Redis back' | 'dual write' | 'Redis emptied' };

interface InMemory {
  state: State;
  changed: boolean;
  refreshMs: number | null;
}
interface Snapshot {
  bytes: Uint8Array;
  sequence: number;
  asOf: number;
  refreshMs: number | null;
}

export class StreamModel {
  readonly compiled: CompiledView;
  readonly archive = new Map<string, Event[]>();
  readonly online = new Map<string, Uint8Array>();
  conflicts = 0;
  /** Records with an earlier as-of than the one before. */
  fellBack = 0;
  attached = false;
  away = false;
  clock = Number.NEGATIVE_INFINITY;
  /** After it, records may be missing online. */
  owed: number | null = null;
  folded = 0;
  readonly #topic: Event[];
  readonly #imports: Event[][];
  readonly #snapshots = new Map<string, Snapshot>();
  readonly #sent: Array<{ name: string; record: Uint8Array }> = [];
  #next = 0;
  #held: Event[] = [];
  #sequence = 0;
  #imported = 0;
  #progress = 0;
  #backfill: { bound: number; until: number; names: string[] } | null = null;
  #states = new Map<string, InMemory>();
  #refreshedMs = MIN_TIMESTAMP;

  /**
   * @param entities, imports events by entity
   * @param recordBytes where records are cut
   */
  constructor(
    view: AggregationView,
    source: Source,
    entities: readonly Event[][],
    imports: readonly Event[][],
    readonly recordBytes: number,
  ) {
    this.compiled = compileView(view, source);
    this.#topic = entities.flat().sort((a, b) => a.arrivedAt - b.arrivedAt);
    this.#imports = imports.map((events) => [...events]);
  }

  /** Everything has been read, taken in and published. */
  end(): void {
    this.away = false;
    if (!this.attached) this.attach();
    this.take({ size: this.#topic.length, again: 0, held: 0, release: true, dies: false });
    this.dualWrite();
  }

  run(action: Action): void {
    switch (action.do) {
      case 'take':
        this.take(action);
        break;
      case 'import':
        this.#import(action.entity, action.size);
        break;
      case 'follow':
        this.#follow();
        break;
      case 'snapshot':
        this.#write(this.#some(action.every));
        break;
      case 'evict': {
        const some = this.#some(action.every);
        this.#write(some);
        for (const name of some) this.#states.delete(name);
        this.#refreshedMs = MIN_TIMESTAMP;
        break;
      }
      case 'crash':
        this.#begin();
        break;
      case 'refresh':
        this.#refresh(action.laterMs, action.end);
        break;
      case 'backfill':
        this.#fill(action.size);
        break;
      case 'attach':
        this.attach();
        break;
      case 'send again': {
        const row = this.#sent.at(action.which % Math.max(1, this.#sent.length));
        if (row && !this.away) this.#set(row.name, row.record);
        break;
      }
      case 'Redis away':
        this.away = true;
        break;
      case 'Redis back':
        this.away = false;
        break;
      case 'dual write':
        this.dualWrite();
        break;
      case 'Redis emptied':
        this.#refill();
        break;
    }
  }

  // ---------------------------------------------------------------- the shard

  take({ size, again, held, release, dies }: Omit<Extract<Action, { do: 'take' }>, 'do'>): void {
    const first = Math.max(0, this.#next - again);
    const given = this.#topic.slice(first, this.#next + size);
    const messages = given.filter((_, index) => first + index >= this.#next);
    this.#next += messages.length;
    const waits = (index: number): boolean => held > 0 && index % held === 0;
    const due = release ? this.#held : [];
    this.#held = [...(release ? [] : this.#held), ...messages.filter((_, index) => waits(index))];
    const now = [...due, ...messages.filter((_, index) => !waits(index))];
    this.clock = Math.max(this.clock, ...messages.map(({ arrivedAt }) => arrivedAt));
    const { sequence, events } = this.#archive(now.map((event) => ({ ...event, arrivedAt: this.clock })));
    if (dies) this.#begin();
    if (dies || !this.attached) return;
    if (this.#imported > this.folded) this.#takeIn(sequence);
    else this.#fold(events, sequence);
    this.folded = sequence;
  }

  #archive(events: readonly Event[]): { sequence: number; events: Event[] } {
    const sequence = ++this.#sequence;
    const archived = events.map((event) => ({ ...event, sequence }));
    for (const event of archived) {
      const name = this.#nameOf(event);
      this.archive.set(name, [...this.eventsOf(name), event]);
    }
    return { sequence, events: archived };
  }

  /** ViewStates.fold */
  #fold(events: readonly Event[], sequence: number): void {
    const own = events.filter((event) => this.compiled.accepts(event));
    const names = [...new Set(own.map((event) => this.#nameOf(event)))];
    this.#load(names, sequence);
    const stuck: string[] = [];
    const whole: string[] = [];
    for (const name of names) {
      const { state } = this.#states.get(name)!;
      if (state.sequence < sequence)
        for (const event of own) if (this.#nameOf(event) === name) fold(this.compiled, state, event);
      (state.needsRebuild ? stuck : whole).push(name);
    }
    if (!this.#publish([...whole.map((name) => this.#changed(name)), ...this.#reload(stuck, sequence)]))
      this.owed ??= this.folded;
  }

  #reload(names: readonly string[], sequence: number): Row[] {
    for (const name of names) this.#states.delete(name);
    this.#load(names, sequence);
    return names.map((name) => this.#changed(name));
  }

  #load(names: readonly string[], sequence: number): string[] {
    const missing = names.filter((name) => !this.#states.has(name));
    for (const name of missing)
      this.#states.set(name, { state: this.#stored(name, sequence), changed: false, refreshMs: null });
    return missing;
  }

  /** loadStates */
  #stored(name: string, sequence: number): State {
    const events = this.eventsOf(name).filter((event) => event.sequence <= sequence);
    const snapshot = this.#snapshots.get(name);
    const state = snapshot && decodeState(this.compiled, snapshot.bytes);
    if (state)
      for (const event of events) if (event.sequence > snapshot.sequence) fold(this.compiled, state, event);
    return state && !state.needsRebuild ? state : rebuildAt(this.compiled, events, state);
  }

  #changed(name: string): Row {
    const one = this.#states.get(name)!;
    const record = this.recordOf(one.state);
    one.changed = true;
    one.refreshMs = decodeHeader(record).refreshAt;
    return { name, record };
  }

  /** Shard.attach: what was archived after the snapshots is folded, then the stream goes on. */
  attach(): void {
    if (this.attached) return;
    if (this.#backfill) this.#fill(Number.POSITIVE_INFINITY);
    this.attached = true;
    this.#begin();
  }

  /** Another process claims the partition. */
  #begin(): void {
    this.#states = new Map();
    this.#refreshedMs = MIN_TIMESTAMP;
    if (!this.attached) return;
    this.folded = ++this.#sequence;
    this.#catchUp(this.#progress, this.folded);
  }

  #follow(): void {
    if (!this.attached || this.#imported <= this.folded) return;
    const sequence = ++this.#sequence;
    this.#takeIn(sequence);
    this.folded = sequence;
  }

  #takeIn(sequence: number): void {
    this.#write([...this.#states.keys()]);
    this.#states.clear();
    this.#refreshedMs = MIN_TIMESTAMP;
    this.#catchUp(this.folded, sequence);
  }

  #catchUp(after: number, until: number): void {
    if (!this.#publish(this.#reload(this.#touched(after, until), until))) this.owed ??= after;
  }

  #refresh(laterMs: number, end: 'goes on' | 'moves' | 'dies'): void {
    this.clock += laterMs;
    if (!this.attached || this.away) return;
    const isDue = (refreshMs: number | null): boolean => refreshMs !== null && refreshMs <= this.clock;
    const ending = [...this.#snapshots].filter(
      ([, { refreshMs }]) => isDue(refreshMs) && refreshMs! >= this.#refreshedMs,
    );
    const loaded = this.#load(ending.map(([name]) => name), this.folded); // biome-ignore format: short
    for (const name of loaded) {
      const one = this.#states.get(name)!;
      one.refreshMs = decodeHeader(this.recordOf(one.state)).refreshAt;
    }
    const due = [...this.#states].filter(([, { refreshMs }]) => isDue(refreshMs)).map(([name]) => name);
    for (const name of due) {
      advance(this.compiled, this.#states.get(name)!.state, this.clock);
      this.#publish([this.#changed(name)]);
    }
    this.#refreshedMs = this.clock;
    if (end !== 'dies') for (const name of due) this.#snapshot(name, this.#states.get(name)!.state);
    if (end !== 'goes on') this.#begin();
  }

  /** Of all that changed: progress goes on. Of some: they alone are newer. */
  #write(names: readonly string[]): void {
    for (const name of names) {
      const one = this.#states.get(name)!;
      if (one.changed) this.#snapshot(name, one.state);
      one.changed = false;
    }
    if (this.attached && ![...this.#states.values()].some(({ changed }) => changed))
      this.#progress = Math.max(this.#progress, this.folded);
  }

  #snapshot(name: string, state: State): void {
    const { sequence, asOf } = state;
    const stored = this.#snapshots.get(name);
    if (stored && (stored.sequence > sequence || (stored.sequence === sequence && stored.asOf >= asOf)))
      return;
    const { refreshAt } = decodeHeader(this.recordOf(state));
    const bytes = encodeState(this.compiled, state);
    this.#snapshots.set(name, { bytes, sequence, asOf, refreshMs: refreshAt });
  }

  // ---------------------------------------------------------------- beside it

  #import(entity: number, size: number): void {
    const events = (this.#imports[entity % this.#imports.length] ?? []).splice(0, size);
    if (events.length > 0) this.#imported = this.#archive(events).sequence;
  }

  /** backfillChunk, over the archive up to the bound that openBackfill fixed. */
  #fill(size: number): void {
    const { mode } = this.compiled.view;
    if (this.away || mode.type !== 'streaming') return;
    this.#backfill ??= {
      bound: this.#sequence,
      until: floorTo(Math.max(0, this.clock), mode.rowsEveryMs),
      names: [...this.archive.keys()],
    };
    const { bound, until, names } = this.#backfill;
    for (const name of names.splice(0, size)) {
      const events = this.eventsOf(name).filter((event) => event.sequence <= bound);
      const first = Math.min(...events.map((event) => entryTick(event, mode.rowsEveryMs, 0)));
      const after = Math.min(first, until) - 1;
      const { state } = computeEntity(this.compiled, events, { after, until, opening: true });
      if (isBlank(state)) continue;
      this.#snapshot(name, state);
      this.#set(name, this.recordOf(state));
    }
    if (names.length > 0) return;
    this.#progress = Math.max(this.#progress, bound);
    this.#backfill = null;
  }

  /** What is owed, from snapshots and archive. */
  dualWrite(): void {
    if (this.away || this.owed === null) return;
    const after = this.owed;
    this.owed = null;
    for (const name of this.#touched(after, this.#sequence))
      this.#set(name, this.recordOf(this.#stored(name, this.#sequence)));
  }

  #refill(): void {
    if (this.away) return;
    this.online.clear();
    this.#sent.length = 0;
    const sequence = this.attached ? this.#sequence : this.#progress;
    const newer = this.#touched(this.#progress, sequence);
    for (const name of newer) this.#snapshot(name, this.#stored(name, sequence));
    for (const [name, { bytes }] of this.#snapshots)
      this.#set(name, this.recordOf(decodeState(this.compiled, bytes)));
    this.#progress = sequence;
  }

  // ---------------------------------------------------------------- stores

  recordOf(state: State): Uint8Array {
    return encodeRecord(this.compiled, state, { maxBytes: this.recordBytes });
  }

  eventsOf(name: string): readonly Event[] {
    return this.archive.get(name) ?? [];
  }

  /** Entities with events that count for the view, after one sequence and up to another. */
  #touched(after: number, until: number): string[] {
    const within = (event: Event): boolean =>
      event.sequence > after && event.sequence <= until && this.compiled.accepts(event);
    return [...this.archive].filter(([, events]) => events.some(within)).map(([name]) => name);
  }

  #some(every: number): string[] {
    return [...this.#states.keys()].filter((_, index) => index % every === 0);
  }

  #publish(rows: readonly Row[]): boolean {
    if (rows.length === 0) return true;
    if (this.away) return false;
    for (const { name, record } of rows) this.#set(name, record);
    return true;
  }

  #set(name: string, record: Uint8Array): void {
    this.#sent.push({ name, record });
    const stored = this.online.get(name);
    const order = stored ? Buffer.compare(record.subarray(1, 17), stored.subarray(1, 17)) : 1;
    if (order > 0) {
      if (stored && decodeHeader(record).asOf < decodeHeader(stored).asOf) this.fellBack += 1;
      this.online.set(name, record);
    }
    if (order === 0 && Buffer.compare(record, stored!) !== 0) this.conflicts += 1;
  }

  #nameOf(event: Event): string {
    return this.compiled.keyOf(event)[0] as string;
  }
}

interface Row {
  name: string;
  record: Uint8Array;
}
