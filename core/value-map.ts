/**
 * Values of type map: by key, as text. They are plain objects, as in JSON, made by Object.fromEntries: any text is a key of their own,
 * `__proto__` too. An object's own order puts whole numbers first, so whoever writes one asks `entriesOf`.
 */
import { compareText } from './canonical.js';
import type { FeatureType, MapType } from './definition.js';
import type { FeatureValue } from './event.js';
import type { Int64 } from './int64.js';

export interface ValueMap {
  readonly [key: string]: string | Int64;
}

export function isMap(type: FeatureType): type is MapType {
  return type.startsWith('map<');
}

export function isValueMap(value: FeatureValue): value is ValueMap {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

/** The type of a map's values. */
export function elementOf(type: MapType): 'string' | 'int64' | 'float64' {
  return type.slice('map<string,'.length, -1) as 'string' | 'int64' | 'float64';
}

/** In the order of keys, by UTF-16 code units: the order maps are written in everywhere. */
export function entriesOf(map: ValueMap): Array<[string, string | Int64]> {
  return Object.entries(map).sort(([a], [b]) => compareText(a, b));
}
