/**
 * One archived event as every path sees it, and the order of events of one entity. No I/O.
 */
import type { Source } from './definition.js';
import type { ValueMap } from './value-map.js';

/** A column's value. int64 and timestamp are whole numbers (timestamp: epoch ms); missing is null; never NaN, never -0. */
export type Value = string | number | boolean | null;

/** A feature's value. Only an int64 sum beyond ±(2^53 - 1) is a bigint, alone or in a map. */
export type FeatureValue = Value | bigint | ReadonlyArray<string | number> | ValueMap;

export interface Event {
  /** When it happened, epoch ms. */
  timestamp: number;
  /** When the platform knew it, epoch ms; never before `timestamp`. */
  arrivedAt: number;
  /** Number of the transaction that archived it; events of one transaction share it. */
  sequence: number;
  /** Orders events of one timestamp first; 0 when the source declares no sequence column. */
  order: number;
  /** Orders events of one timestamp and order; the declared id, or partition and offset as fixed-width text. */
  id: string;
  /** The source's columns, in the order of `columnNames(source)`. */
  values: readonly Value[];
}

/** An event's place in the order of its entity's events. */
export type Place = Pick<Event, 'timestamp' | 'order' | 'id'>;

/** Negative when a comes before b: by timestamp, then declared sequence, then id (UTF-16 code units). */
export function compareEvents(a: Place, b: Place): number {
  return a.timestamp - b.timestamp || a.order - b.order || (a.id < b.id ? -1 : a.id > b.id ? 1 : 0);
}

/** The source's columns in the one order every path uses: sorted, since stored JSON keeps no key order. */
export function columnNames(source: Source): string[] {
  return Object.keys(source.columns).sort();
}
