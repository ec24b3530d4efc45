/**
 * The body of POST /get-online-features, from bytes to a checked request. Feast's shape; nothing is coerced, dropped or guessed.
 * Names are not resolved here: that needs a plan (vector.ts).
 */
import { isUtf8 } from 'node:buffer';
import { type Json, jsonPointer, parseJson } from '../core/codec/json.js';
import { FeatureStoreError } from '../core/error.js';
import type { Value } from '../core/event.js';

/** Of one request. `values` = rows × features: one request must not hold the process for longer than others can wait. */
export const LIMITS = { bodyBytes: 4 * 1024 * 1024, rows: 10_000, features: 1_000, values: 200_000 } as const;

export interface OnlineRequest {
  /** Join keys and request fields, in the order given; each list has `rows` values or one. */
  columns: ReadonlyMap<string, readonly Value[]>;
  rows: number;
  /** What to read: a service by name, or "view:feature" references. */
  target: { service: string } | { features: readonly string[] };
  fullFeatureNames: boolean;
  withReasons: boolean;
  /** Feast's own way to ask for the versions of the views, sent by its client with every request. */
  withVersions: boolean;
}

const FIELDS = [
  'entities',
  'feature_service',
  'features',
  'full_feature_names',
  'with_reasons',
  'include_feature_view_version_metadata',
];

/** Throws FS_REQUEST_INVALID or FS_REQUEST_TOO_LARGE, with a JSON pointer to the place. */
export function parseRequest(body: Uint8Array): OnlineRequest {
  if (!isUtf8(body)) invalid([], 'the body is not UTF-8', 'send JSON in UTF-8');
  const document = parseJson(new TextDecoder('utf-8', { ignoreBOM: true }).decode(body));
  if (!isObject(document))
    return invalid([], 'the body is not a JSON object', `give an object with ${FIELDS.join(', ')}`);
  for (const name of Object.keys(document))
    if (!FIELDS.includes(name)) invalid([name], 'there is no such field', `use only ${FIELDS.join(', ')}`);
  return {
    ...parseColumns(document.entities),
    target: parseTarget(document.feature_service, document.features),
    fullFeatureNames: parseFlag('full_feature_names', document.full_feature_names),
    withReasons: parseFlag('with_reasons', document.with_reasons),
    withVersions: parseFlag(
      'include_feature_view_version_metadata',
      document.include_feature_view_version_metadata,
    ),
  };
}

function parseColumns(entities: Json | undefined): { columns: Map<string, Value[]>; rows: number } {
  if (entities === undefined || !isObject(entities) || Object.keys(entities).length === 0)
    return invalid(['entities'], 'this is not an object of lists', 'give {"join_key": [value, ...]}');
  const columns = new Map<string, Value[]>();
  let rows = 1;
  let longest = '';
  for (const [name, list] of Object.entries(entities)) {
    if (!Array.isArray(list))
      return invalid(['entities', name], 'this is not a list', 'give a list, one value per row');
    if (list.length > LIMITS.rows)
      tooLarge(
        ['entities', name],
        `${list.length} rows, the limit is ${LIMITS.rows}`,
        'ask in several requests',
      );
    list.forEach((value, row) => {
      if (typeof value === 'object' && value !== null)
        invalid(['entities', name, row], 'this is no scalar', 'give text, a number or true/false');
    });
    if (list.length !== 1) {
      if (longest !== '' && list.length !== rows)
        invalid(
          ['entities', name],
          `${list.length} values beside ${rows} of "${longest}"`,
          'give lists of one length; a list of one value counts for every row',
        );
      longest = name;
      rows = list.length;
    }
    columns.set(name, list as Value[]);
  }
  return { columns, rows };
}

function parseTarget(service: Json | undefined, features: Json | undefined): OnlineRequest['target'] {
  const named = service ?? null;
  // Clients that write every field give null, or an empty list, for the one they do not mean.
  const listed = Array.isArray(features) && features.length === 0 ? null : (features ?? null);
  if (named !== null && listed !== null)
    return invalid(
      ['features'],
      'a service and features are both given',
      'give one of feature_service and features',
    );
  if (named !== null) {
    if (typeof named !== 'string')
      return invalid(['feature_service'], 'this is not text', 'give the name of a service');
    return { service: named };
  }
  if (!Array.isArray(listed))
    return invalid(
      ['features'],
      'nothing is asked for',
      'give feature_service, or features as ["view:feature", ...]',
    );
  if (listed.length > LIMITS.features)
    tooLarge(
      ['features'],
      `${listed.length} features, the limit is ${LIMITS.features}`,
      'ask in several requests',
    );
  const seen = new Set<string>();
  for (const [index, reference] of listed.entries()) {
    if (typeof reference !== 'string' || !/^[^:]+:[^:]+$/.test(reference))
      return invalid(['features', index], 'this is no feature reference', 'write it as "view:feature"');
    if (seen.has(reference))
      invalid(['features', index], `"${cut(reference)}" is given twice`, 'ask for it once');
    seen.add(reference);
  }
  return { features: [...seen] };
}

function parseFlag(name: string, value: Json | undefined): boolean {
  if (value === undefined) return false;
  if (typeof value !== 'boolean') return invalid([name], 'this is not true or false', 'give true or false');
  return value;
}

function isObject(value: Json): value is { [key: string]: Json } {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

const cut = (text: string): string => (text.length > 80 ? `${text.slice(0, 80)}…` : text);

export function invalid(path: ReadonlyArray<string | number>, what: string, fix: string): never {
  const pointer = jsonPointer(path);
  throw new FeatureStoreError('FS_REQUEST_INVALID', `${pointer || 'the body'}: ${what}`, { fix, pointer });
}

export function tooLarge(path: ReadonlyArray<string | number>, what: string, fix: string): never {
  const pointer = jsonPointer(path);
  throw new FeatureStoreError('FS_REQUEST_TOO_LARGE', `${pointer || 'the request'}: ${what}`, {
    fix,
    pointer,
  });
}
