/** What tells a repeated event from a new one: the bodies archived under its id. The caller holds the source's lock. */
import type { Source } from '../../core/definition.js';
import { columnNames, sameValue, type Value } from '../../core/event.js';
import { archiveColumn, type PoolClient } from '../../registry/sql.js';
import { archiveTable } from '../../registry/tables.js';

export interface Body {
  /** When it could have been known by the data's own account. */
  knownMs: number;
  values: readonly Value[];
}

/**
 * By the data's own account and not by `arrived_ms`: what is imported into a source that is read already arrives now, and is a
 * duplicate of the past all the same.
 */
export function nominalArrival(source: Source, timestamp: number, values: readonly Value[]): number {
  const declared = source.arrival === null ? null : values[columnNames(source).indexOf(source.arrival)];
  return Math.max(timestamp, (declared as number | null | undefined) ?? timestamp + source.arrivalDelayMs);
}

export async function archivedBodies(
  client: PoolClient,
  source: Source,
  ids: readonly string[],
): Promise<Map<string, Body[]>> {
  const { rows } = await client.query<[string, number, ...Value[]]>({
    rowMode: 'array',
    text: `select event_id, event_ms, ${columnNames(source).map(archiveColumn).join(', ')}
             from ${archiveTable(source.name)} where event_id = any($1::text[])`,
    values: [ids],
  });
  const bodies = new Map<string, Body[]>();
  for (const [id, eventMs, ...values] of rows) {
    const body = { knownMs: nominalArrival(source, eventMs, values), values };
    const others = bodies.get(id);
    if (others) others.push(body);
    else bodies.set(id, [body]);
  }
  return bodies;
}

/** The first column in which two bodies differ, the arrival aside. */
export function differs(source: Source, a: readonly Value[], b: readonly Value[]): string | null {
  const names = columnNames(source);
  const index = names.findIndex((name, i) => name !== source.arrival && !sameValue(a[i]!, b[i]!));
  return index === -1 ? null : names[index]!;
}
