/** How problems speak of what they found. */
import { writeJson } from '../codec/json.js';

export function nameOf(item: unknown): string | null {
  if (typeof item !== 'object' || item === null || !Object.hasOwn(item, 'name')) return null;
  const { name } = item as { name: unknown };
  return typeof name === 'string' && name !== '' ? name.slice(0, 80) : null;
}

export function show(value: unknown): string {
  if (value === undefined) return 'nothing';
  if (typeof value === 'number') return String(value);
  const shown = writeJson(value) ?? typeof value;
  return shown.length > 60 ? `${shown.slice(0, 60)}…` : shown;
}
