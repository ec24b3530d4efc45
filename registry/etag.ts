/** Entity tags (RFC 9110): what names an answer, and conditions on it. */
import { createHash } from 'node:crypto';

/** A strong tag: equal for equal bytes. */
export function tagOf(content: string): string {
  return `"${createHash('sha256').update(content).digest('base64url').slice(0, 22)}"`;
}

/**
 * Whether If-None-Match or If-Match names the tag; "*" names any. `weakly`: also where the client's is marked weak (W/), as it may be after
 * a proxy that compressed.
 */
export function namesTag(condition: string, tag: string, { weakly }: { weakly: boolean }): boolean {
  if (condition.trim() === '*') return true;
  const tags = condition.match(/(?:W\/)?"[^"]*"/g) ?? [];
  return tags.some((each) => (weakly ? each.replace(/^W\//, '') : each) === tag);
}
