/**
 * What was written of a view at once, as far as its statistics and expectations ask: rows are counted into it, tallies of parts merge to
 * that of the whole, and it goes from process to process as bytes. Nothing in it depends on order, but which of the rare values
 * are among a summary's most frequent.
 */
import { assert } from './assert.js';
import { canonicalJson } from './canonical.js';
import { ByteReader, ByteWriter } from './codec/bytes.js';
import type { CompiledView } from './compile.js';
import type { Expectation, StoredView } from './definition.js';
import { FeatureStoreError } from './error.js';
import type { Event, FeatureValue } from './event.js';
import { breakingValue } from './expectations.js';
import {
  addValue,
  createSummary,
  decodeSummary,
  encodeSummary,
  mergeSummary,
  type Summary,
} from './statistics.js';
import { withoutRetracted } from './sweep.js';

const LAYOUT = 2;

export class Tally {
  /** Those by which `rowCount` is told: of the newest tick, or of a round of a stream. */
  rows = 0;
  /** Of the newest event in the rows; null: none has one. */
  newestMs: number | null = null;
  readonly #view: StoredView;
  /** As the view's features. */
  readonly #summaries: Summary[];
  /** Of the expectations about single values and events. */
  readonly #counters: Counter[];

  constructor(view: StoredView) {
    this.#view = view;
    this.#summaries = view.features.map(({ type }) => createSummary(type));
    this.#counters = (view.expectations ?? []).flatMap((expectation): Counter[] => {
      const name = counterName(expectation);
      if (expectation.type === 'unique') return [{ name, index: -1, isBreaking: null, broken: 0 }];
      const isBreaking = breakingValue(expectation);
      if (isBreaking === null || !('feature' in expectation)) return [];
      const index = view.features.findIndex((feature) => feature.name === expectation.feature);
      return [{ name, index, isBreaking, broken: 0 }];
    });
  }

  /** @param values in the view's feature order @param isCounted among `rows` */
  add(values: readonly FeatureValue[], eventMs: number | null, isCounted = true): void {
    if (isCounted) this.rows += 1;
    this.#seen(eventMs);
    for (let i = 0; i < this.#summaries.length; i++) addValue(this.#summaries[i]!, values[i] ?? null);
    for (const counter of this.#counters)
      if (counter.broken !== null && counter.isBreaking?.(values[counter.index] ?? null)) counter.broken += 1;
  }

  /** @param events that have the entity and timestamp of another */
  addRepeated(events: number): void {
    for (const counter of this.#counters)
      if (counter.broken !== null && counter.isBreaking === null) counter.broken += events;
  }

  /** Adds one of the same version, of other expectations perhaps. */
  merge(other: Tally): void {
    this.rows += other.rows;
    this.#seen(other.newestMs);
    this.#summaries.forEach((summary, index) => {
      mergeSummary(summary, other.#summaries[index]!);
    });
    for (const counter of this.#counters) {
      const broken = other.#counters.find(({ name }) => name === counter.name)?.broken ?? null;
      counter.broken = counter.broken === null || broken === null ? null : counter.broken + broken;
    }
  }

  /** By feature. */
  get summaries(): Array<[feature: string, Summary]> {
    return this.#view.features.map(({ name }, index) => [name, this.#summaries[index]!]);
  }

  summaryOf(feature: string): Summary {
    return this.#summaries[this.#view.features.findIndex(({ name }) => name === feature)]!;
  }

  /** False: a part was counted before something was expected that cannot be told without it. */
  get isWhole(): boolean {
    return this.#counters.every(({ broken }) => broken !== null);
  }

  /** How many values or events break it. */
  brokenBy(expectation: Expectation): number {
    const name = counterName(expectation);
    const broken = this.#counters.find((counter) => counter.name === name)?.broken ?? null;
    assert(broken !== null, `${name} was not counted`);
    return broken;
  }

  /**
   * u8 layout | varint rows | u8 has newest, signed newest | per feature, in the version's order: bytes of its summary |
   * varint counted expectations | per: text canonical JSON of no severity, varint broken
   */
  encode(): Uint8Array {
    const writer = new ByteWriter();
    writer.u8(LAYOUT);
    writer.varint(this.rows);
    writer.u8(this.newestMs === null ? 0 : 1);
    if (this.newestMs !== null) writer.signed(this.newestMs);
    for (const summary of this.#summaries) writer.bytes(encodeSummary(summary));
    const counted = this.#counters.filter(({ broken }) => broken !== null);
    writer.varint(counted.length);
    for (const { name, broken } of counted) {
      writer.text(name);
      writer.varint(broken!);
    }
    return writer.finish();
  }

  /** Throws FS_RECORD_CORRUPT, FS_LAYOUT_UNKNOWN. */
  static decode(view: StoredView, bytes: Uint8Array): Tally {
    const reader = new ByteReader(bytes);
    const layout = reader.u8();
    if (layout !== LAYOUT)
      throw new FeatureStoreError('FS_LAYOUT_UNKNOWN', `a tally has layout ${layout}; this version reads ${LAYOUT}`, {
        fix: 'run the version that wrote it, or a newer one',
      }); // biome-ignore format: one thing
    const tally = new Tally(view);
    tally.rows = reader.varint();
    if (reader.u8() === 1) tally.newestMs = reader.signed();
    tally.#summaries.forEach((_, index) => {
      tally.#summaries[index] = decodeSummary(reader.take());
    });
    const broken = new Map<string, number>();
    for (let count = reader.varint(); count > 0; count--) broken.set(reader.text(), reader.varint());
    for (const counter of tally.#counters) counter.broken = broken.get(counter.name) ?? null;
    return tally;
  }

  #seen(eventMs: number | null): void {
    if (eventMs !== null && (this.newestMs === null || eventMs > this.newestMs)) this.newestMs = eventMs;
  }
}

interface Counter {
  name: string;
  /** Of the feature. */
  index: number;
  /** null: it is about events. */
  isBreaking: ((value: FeatureValue) => boolean) | null;
  broken: number | null;
}

/** What blocks is counted as what warns is. */
const counterName = (expectation: Expectation): string => canonicalJson({ ...expectation, severity: null });

/**
 * How many of an entity's events have the timestamp of another, beyond the first at each; what was retracted aside.
 * @param events all of them @param isNew those that count: one that others repeat does not
 */
export function countRepeated(
  compiled: CompiledView,
  events: readonly Event[],
  isNew: (event: Event) => boolean,
): number {
  const byTime = new Map<number, { all: number; added: number }>();
  for (const event of withoutRetracted(compiled, events)) {
    if (!compiled.accepts(event)) continue;
    const at = byTime.get(event.timestamp) ?? { all: 0, added: 0 };
    byTime.set(event.timestamp, { all: at.all + 1, added: at.added + (isNew(event) ? 1 : 0) });
  }
  let repeated = 0;
  for (const { all, added } of byTime.values()) repeated += Math.min(all - 1, added);
  return repeated;
}
