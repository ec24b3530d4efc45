/**
 * Values of type map: by key, as text. They are plain objects, as in JSON, made by Object.fromEntries: any text is a key of their own,
 * `__proto__` too. An object's own order puts whole numbers first, so whoever writes one asks `entriesOf`.
 */
import { compareText } from './canonical.js';
import type { FeatureType, MapType } from './definition.js';

/** An int64 beyond ±(2^53 - 1) is a bigint. */
export interface ValueMap {
  readonly [key: string]: string | number | bigint;
}

export function isMap(type: FeatureType): type is MapType {
  return type.startsWith('map<');
}

/** The type of a map's values. */
export function elementOf(type: MapType): 'string' | 'int64' | 'float64' {
  return type.slice('map<string,'.length, -1) as 'string' | 'int64' | 'float64';
}

/** In the order of keys, by UTF-16 code units: the order maps are written in everywhere. */
export function entriesOf(map: ValueMap): Array<[string, string | number | bigint]> {
  return Object.entries(map).sort(([a], [b]) => compareText(a, b));
}
