/** Where two pieces of JSON differ, told by the names that stand in them. */
import { canonicalJson, compareText } from './canonical.js';

/** `path` goes by names: features.user_total_purchases.window.ms. Without `before` it is new, without `after` it is gone. */
export interface FieldChange {
  path: string;
  before?: unknown;
  after?: unknown;
}

/** The places where two pieces of JSON differ, down to what a person would call a field; expressions are one field. */
export function differences(before: unknown, after: unknown, path = ''): FieldChange[] {
  if (before === undefined) return after === undefined ? [] : [{ path, after }];
  if (after === undefined) return [{ path, before }];
  if (isEqual(before, after) || canonicalJson(before) === canonicalJson(after)) return [];
  const [old, young] = [parts(before), parts(after)];
  if (!old || !young || Array.isArray(before) !== Array.isArray(after)) return [{ path, before, after }];
  // Of a list of named things (join keys), the order is a meaning of its own.
  const both = (keys: string[], other: Record<string, unknown>): string =>
    keys.filter((key) => Object.hasOwn(other, key)).join();
  if (Array.isArray(before) && both(Object.keys(old), young) !== both(Object.keys(young), old))
    return [{ path, before, after }];
  const keys = [...new Set([...Object.keys(old), ...Object.keys(young)])].sort(compareText);
  return keys.flatMap((key) =>
    differences(
      Object.hasOwn(old, key) ? old[key] : undefined,
      Object.hasOwn(young, key) ? young[key] : undefined,
      path === '' ? key : `${path}.${key}`,
    ),
  );
}

/** Surely one canonical text; most of what is compared is, and this is much cheaper than two texts. */
function isEqual(a: unknown, b: unknown): boolean {
  if (a === b) return true;
  if (typeof a !== 'object' || typeof b !== 'object' || a === null || b === null) return false;
  const keys = Object.keys(a);
  return (
    Array.isArray(a) === Array.isArray(b) &&
    keys.length === Object.keys(b).length &&
    keys.every((key) => Object.hasOwn(b, key) && isEqual(Reflect.get(a, key), Reflect.get(b, key)))
  );
}

/** What a value is made of: an object's fields, a list's named items; null: it is one thing. */
function parts(value: unknown): Record<string, unknown> | null {
  if (typeof value !== 'object' || value === null) return null;
  if (!Array.isArray(value)) return isExpression(value) ? null : (value as Record<string, unknown>);
  const names = value.map((item: unknown) =>
    typeof item === 'object' && item !== null && 'name' in item && typeof item.name === 'string'
      ? item.name
      : null,
  );
  if (names.length === 0 || names.includes(null) || new Set(names).size < names.length) return null;
  return Object.fromEntries(value.map((item: unknown, index) => [names[index]!, item]));
}

/** By all of its shape: columns may be called col, lit or args too. */
function isExpression(value: object): boolean {
  const { col, lit, op, args } = value as Record<string, unknown>;
  if (Object.keys(value).length === 1)
    return typeof col === 'string' || lit === null || ['string', 'number', 'boolean'].includes(typeof lit);
  return typeof op === 'string' && Array.isArray(args);
}
