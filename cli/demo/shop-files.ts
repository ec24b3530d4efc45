/** The shop's written rows, as the demo reads them to choose labels and candidates: by id once, broken rows left out. */
import { createReadStream } from 'node:fs';
import { parse } from 'csv-parse';
import { parseTimestamp } from '../../core/time.js';
import { isFeatureStoreError } from '../errors.js';
import type { Encounter } from './labels.js';

/** Rows of one event type that name a user, an item and a usable time, moved by `shiftMs`: those before `endMs`. */
export async function readEncounters(
  path: string,
  eventType: string,
  shiftMs: number,
  endMs: number,
): Promise<Encounter[]> {
  const rows = createReadStream(path).pipe(parse({ columns: true }));
  const seen = new Set<string>();
  const found: Encounter[] = [];
  for await (const row of rows as AsyncIterable<Record<string, string>>) {
    const {
      event_id: id = '',
      event_type: type,
      user_id: user = '',
      item_id: item = '',
      event_time: time = '',
    } = row;
    if (type !== eventType || user === '' || item === '' || seen.has(id)) continue;
    const at = findTimestamp(time);
    if (at === null || at + shiftMs >= endMs) continue;
    seen.add(id);
    found.push({ user, item, atMs: at + shiftMs });
  }
  return found;
}

function findTimestamp(text: string): number | null {
  try {
    return parseTimestamp(text);
  } catch (error) {
    if (isFeatureStoreError(error)) return null; // a row that the import will set aside
    throw error;
  }
}
