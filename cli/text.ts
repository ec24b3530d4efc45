/** How numbers, durations and tables look in a terminal. Pure. */

/** 1234567 → '1,234,567'. */
export function formatCount(value: number | bigint): string {
  const [whole = '', fraction] = String(value).split('.');
  const grouped = whole.replace(/\B(?=(\d{3})+$)/g, ',');
  return fraction === undefined ? grouped : `${grouped}.${fraction}`;
}

/** Milliseconds → '0.4 s', '12.3 s', '3 min 05 s', '1 h 02 min'. */
export function formatSeconds(ms: number): string {
  if (ms < 99_950) return `${(ms / 1000).toFixed(1)} s`;
  const seconds = Math.round(ms / 1000);
  if (seconds < 3600) return `${Math.floor(seconds / 60)} min ${String(seconds % 60).padStart(2, '0')} s`;
  return `${Math.floor(seconds / 3600)} h ${String(Math.floor((seconds % 3600) / 60)).padStart(2, '0')} min`;
}

export type Cell = string | number | null;

/**
 * Rows under headings, columns aligned, numbers to the right; a missing cell is '-'. Lines end without spaces.
 * `width` cuts the widest text column so that the table fits; a pipe gives none and loses nothing.
 */
export function formatTable(
  headings: readonly string[],
  rows: ReadonlyArray<readonly Cell[]>,
  width?: number,
): string {
  const texts = rows.map((row) => headings.map((_, i) => cellText(row[i] ?? null)));
  const isNumber = headings.map((_, i) => rows.some((row) => typeof row[i] === 'number'));
  const widths = headings.map((heading, i) =>
    Math.max(heading.length, ...texts.map((row) => row[i]!.length)),
  );
  const total = (): number => widths.reduce((sum, each) => sum + each + 2, -2);
  while (width !== undefined && total() > width) {
    const widest = widths.reduce(
      (best, each, i) => (!isNumber[i] && each > (widths[best] ?? 0) ? i : best),
      0,
    );
    if (widths[widest]! <= 8) break;
    widths[widest]!--;
  }
  const line = (cells: readonly string[]): string =>
    cells
      .map((text, i) => {
        const cut = text.length > widths[i]! ? `${text.slice(0, widths[i]! - 1)}…` : text;
        return isNumber[i] ? cut.padStart(widths[i]!) : cut.padEnd(widths[i]!);
      })
      .join('  ')
      .trimEnd();
  return [line(headings), ...texts.map(line)].map((text) => `${text}\n`).join('');
}

function cellText(cell: Cell): string {
  if (cell === null) return '-';
  return typeof cell === 'number' ? formatCount(cell) : cell;
}

/** Names and values, one pair a line. */
export function formatFacts(facts: ReadonlyArray<readonly [string, Cell]>): string {
  const width = Math.max(0, ...facts.map(([name]) => name.length));
  return facts.map(([name, value]) => `${name.padEnd(width)}  ${cellText(value)}\n`).join('');
}

/** A JSON value as one line of a table. */
export function formatValue(value: unknown): string {
  if (value === null || value === undefined) return 'null';
  if (typeof value === 'string') return value;
  if (Array.isArray(value)) return `[${value.map(formatValue).join(', ')}]`;
  if (typeof value === 'number' || typeof value === 'bigint' || typeof value === 'boolean')
    return String(value);
  return `{${Object.entries(value)
    .map(([key, item]) => `${key}: ${formatValue(item)}`)
    .join(', ')}}`;
}
