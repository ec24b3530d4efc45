/**
 * A whole registry as files that people read and compare, and one stream of them for the wire: a line for each file, the JSON of its path
 * and its text. manifest.json says which files there are and what is in them; without it, or with others, it is no export. Pure.
 *
 *   manifest.json          project.json           what is applied: entities/user.json  sources/…  views/…  services/…
 *   versions/user_orders@2.json                   revisions/3.json   the present one's definitions are the files above
 *   models/ranking.json    locks/ranking@1.json   audit/0.jsonl
 *
 * All from versions on are rows of tables, as Postgres gives them; of a .jsonl one a line.
 */
import { z } from 'zod';
import { compareText } from './canonical.js';
import { FeatureStoreError } from './error.js';

/** Of the files; what stands in the rows goes by the migrations. */
export const LAYOUT = 1;
export const MANIFEST = 'manifest.json';

export const Manifest = z.strictObject({
  layout: z.literal(LAYOUT),
  /** Of the schema that the rows are of. */
  migrations: z.array(z.string()),
  /** By path, the SHA-256 of a file's UTF-8 in lower-case hex. */
  files: z.record(z.string(), z.string()),
});
export type Manifest = z.infer<typeof Manifest>;

/** Names in order, two spaces deep: equal values give equal bytes. */
export function fileText(value: unknown): string {
  return `${JSON.stringify(sorted(value), null, 2)}\n`;
}

/** One value of a .jsonl. */
export function lineText(value: unknown): string {
  return `${JSON.stringify(sorted(value))}\n`;
}

function sorted(value: unknown): unknown {
  if (typeof value !== 'object' || value === null) return value;
  if (Array.isArray(value)) return value.map(sorted);
  const entries = Object.entries(value).sort(([a], [b]) => compareText(a, b));
  return Object.fromEntries(entries.map(([name, item]) => [name, sorted(item)]));
}

/** The line of a file. It holds no line end of any alphabet, whatever the text holds. */
export function bundleLine(path: string, text: string): string {
  const escaped = JSON.stringify([path, text]).replace(/[\u2028\u2029]/g, (end) =>
    end === '\u2028' ? '\\u2028' : '\\u2029',
  );
  return `${escaped}\n`;
}

const Line = z.tuple([
  z.string().regex(/^(?:[a-z]+\/)?[a-z0-9_%@-][a-z0-9_%@.-]*\.jsonl?$/, 'is no path of an export'),
  z.string(),
]);

/** Throws FS_DATA_INVALID for what is none. */
export function readBundleLine(line: string): { path: string; text: string } {
  let read: unknown;
  try {
    read = JSON.parse(line);
  } catch {
    read = null;
  }
  const { data } = Line.safeParse(read);
  if (data) return { path: data[0], text: data[1] };
  throw new FeatureStoreError('FS_DATA_INVALID', `this is no export: ${JSON.stringify(line.slice(0, 60))}`, {
    fix: 'give what almanac export has written',
  });
}

/** The name of a file, from any name. */
export function fileName(name: string): string {
  return name.replace(/[^a-z0-9_@-]/gu, (sign) =>
    [...new TextEncoder().encode(sign)].map((byte) => `%${byte.toString(16).padStart(2, '0')}`).join(''),
  );
}

/** The manifest in a file. Throws FS_DATA_INVALID for another layout, too. */
export function readManifest(text: string | undefined): Manifest {
  const refuse = (what: string, fix: string): never => {
    throw new FeatureStoreError('FS_DATA_INVALID', `${MANIFEST} ${what}`, { fix, file: MANIFEST });
  };
  if (text === undefined) return refuse('is missing', 'give a whole export: almanac export <dir>');
  let read: unknown;
  try {
    read = JSON.parse(text);
  } catch {
    return refuse('is no JSON', 'restore the file as it was written');
  }
  const layout = z.looseObject({ layout: z.number() }).safeParse(read).data?.layout;
  if (layout !== undefined && layout > LAYOUT)
    return refuse(`is of layout ${layout}; ${LAYOUT} is the newest known here`, 'use the newer version');
  const { data } = Manifest.safeParse(read);
  return data ?? refuse('is no manifest of an export', 'restore the file as it was written');
}

/** @param sums of the files there are, by path. Throws FS_DATA_INVALID with every file that is missing, changed or not in the manifest. */
export function assertFiles({ files }: Manifest, sums: ReadonlyMap<string, string>): void {
  const missing = Object.keys(files).filter((path) => !sums.has(path));
  const changed = Object.keys(files).filter((path) => sums.has(path) && sums.get(path) !== files[path]);
  const foreign = [...sums.keys()].filter((path) => path !== MANIFEST && !Object.hasOwn(files, path));
  const said = [
    ...missing.map((path) => `${path} is missing`),
    ...changed.map((path) => `${path} was changed`),
    ...foreign.map((path) => `${path} is not in the manifest`),
  ];
  if (said.length === 0) return;
  const more = said.length > 5 ? `; and ${said.length - 5} more` : '';
  throw new FeatureStoreError(
    'FS_DATA_INVALID',
    `this is not what was exported: ${said.slice(0, 5).join('; ')}${more}`,
    {
      fix: 'restore the files as they were written: a registry is changed by applying definitions',
      missing,
      changed,
      foreign,
    },
  );
}
