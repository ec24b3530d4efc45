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

export function suggest(name: string, candidates: readonly string[]): string {
  const nearest = candidates
    .map((candidate) => ({ candidate, far: distance(name, candidate) }))
    .sort((x, y) => x.far - y.far)[0];
  if (nearest && nearest.far <= Math.max(2, name.length / 3)) return `did you mean "${nearest.candidate}"?`;
  return candidates.length === 0
    ? 'there are none: define it'
    : `use one of: ${candidates.slice(0, 20).join(', ')}`;
}

/** Levenshtein's: single characters put in, left out or changed. */
function distance(from: string, to: string): number {
  let row = Array.from({ length: to.length + 1 }, (_, index) => index);
  for (let i = 1; i <= from.length; i++) {
    const next = [i];
    for (let j = 1; j <= to.length; j++)
      next.push(Math.min(row[j]! + 1, next[j - 1]! + 1, row[j - 1]! + (from[i - 1] === to[j - 1] ? 0 : 1)));
    row = next;
  }
  return row[to.length]!;
}
