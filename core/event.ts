/**
 * One archived event as every path sees it, and the order of events of one entity. No I/O.
 */
import type { Source } from './definition.js';
import type { Int64 } from './int64.js';
import { isValueMap, type ValueMap } from './value-map.js';

/** int64 in its one form (int64.ts): a bigint beyond ±(2^53 - 1) only; timestamp epoch ms; never NaN, never -0. */
export type Scalar = string | Int64 | boolean;

/** Of one type, none of them null. */
export type List = ReadonlyArray<string | Int64>;

/** A column's value; missing is null. */
export type Value = Scalar | List | null;

/** A feature's value. */
export type FeatureValue = Value | ValueMap;

export interface Event {
  /** When it happened, epoch ms. */
  timestamp: number;
  /** When the platform knew it, epoch ms; never before `timestamp`. */
  arrivedAt: number;
  /** Number of the transaction that archived it; events of one transaction share it. */
  sequence: number;
  /** Orders events of one timestamp first; 0 when the source declares no sequence column. */
  order: Int64;
  /** Orders events of one timestamp and order; the declared id, or partition and offset as fixed-width text. */
  id: string;
  /** The source's columns, in the order of `columnNames(source)`. */
  values: readonly Value[];
}

/** An event's place in the order of its entity's events. */
export type Place = Pick<Event, 'timestamp' | 'order' | 'id'>;

/** Negative when a comes before b: by timestamp, then declared sequence, then id (UTF-16 code units). */
export function compareEvents(a: Place, b: Place): number {
  if (a.timestamp !== b.timestamp) return a.timestamp - b.timestamp;
  if (a.order !== b.order) return a.order < b.order ? -1 : 1;
  return a.id < b.id ? -1 : a.id > b.id ? 1 : 0;
}

/** Whether two values are one, as Object.is has it; lists and maps element by element. */
export function sameValue(a: FeatureValue, b: FeatureValue): boolean {
  if (Array.isArray(a) && Array.isArray(b))
    return a.length === b.length && a.every((item, index) => Object.is(item, b[index]));
  if (!isValueMap(a) || !isValueMap(b)) return Object.is(a, b);
  const keys = Object.keys(a);
  return (
    keys.length === Object.keys(b).length &&
    keys.every((key) => Object.hasOwn(b, key) && Object.is(a[key], b[key]))
  );
}

/** The source's columns in the one order every path uses: sorted, since stored JSON keeps no key order. */
export function columnNames({ columns }: Pick<Source, 'columns'>): string[] {
  return Object.keys(columns).sort();
}
