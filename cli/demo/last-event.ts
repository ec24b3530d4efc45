/**
 * The features at the moment of the last event: a training set of one moment, of all events known today. Serving's clock is its
 * own, so two demos are compared by this: it is the same for a seed and an end, whatever was killed and started again.
 */
import { createHash } from 'node:crypto';
import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { MapRow, type Table, tableFromIPC } from 'apache-arrow';
import type { AggregationFeature, Definitions } from '../../core/definition.js';
import { formatTimestamp } from '../../core/time.js';
import type { Client } from '../client.js';
import { makeTrainingSet } from '../commands/get-historical.js';
import type { Output } from '../output.js';
import type { Since } from './report.js';

export interface LastEvent {
  /** Of the first pair, by the features' short names. */
  values: Map<string, unknown>;
  /** sha256 of the values of all pairs. */
  digest: string;
}

/** @param pairs user and item */
export async function readLastEvent(options: {
  client: Client;
  service: string;
  pairs: ReadonlyArray<readonly [string, string]>;
  atMs: number;
  /** Where the files go. */
  dir: string;
  out: Output;
}): Promise<LastEvent> {
  const { client, service, pairs, atMs, dir, out } = options;
  const dataframe = join(dir, 'last-event-keys.csv');
  const moment = formatTimestamp(atMs);
  const lines = pairs.map(([user, item]) => `${user},${item},${moment}`);
  await writeFile(dataframe, ['user_id,item_id,event_timestamp', ...lines, ''].join('\n'));
  const target = join(dir, 'last-event.arrow');
  await makeTrainingSet(
    client,
    { dataframe, what: { service }, mode: 'event-time', strict: false, out: target },
    out,
  );
  return summarizeTable(tableFromIPC(await readFile(target)));
}

export function summarizeTable(table: Table): LastEvent {
  const hash = createHash('sha256');
  const values = new Map<string, unknown>();
  for (const { name } of table.schema.fields) {
    const column = table.getChild(name)!;
    const cells = Array.from({ length: table.numRows }, (_, row) => portable(column.get(row)));
    hash.update(`${JSON.stringify([name, cells])}\n`);
    values.set(name, cells[0]);
  }
  return { values, digest: hash.digest('hex') };
}

/** As JSON has it. A whole number beyond doubles: its digits, as text. */
function portable(value: unknown): unknown {
  if (typeof value === 'bigint') {
    const number = Number(value);
    return Number.isSafeInteger(number) ? number : String(value);
  }
  if (value instanceof MapRow)
    return Object.fromEntries(Array.from(value, ([key, item]) => [key, portable(item)]));
  if (typeof value === 'object' && value !== null && Symbol.iterator in value)
    return Array.from(value as Iterable<unknown>, portable);
  return value;
}

/** Why a value may be another one now. */
export function sinceLastEvent(
  definitions: Definitions,
  reference: string,
  { before, now }: { before: unknown; now: unknown },
): Since {
  if (JSON.stringify(before) === JSON.stringify(now)) return 'same';
  const [name, featureName] = reference.split(':');
  const view = definitions.views.find((each) => each.name === name);
  if (view?.kind === 'sql') return 'tick';
  if (view?.kind !== 'aggregation') return 'differs';
  if (view.mode.type === 'batch') return 'tick';
  const feature = view.features.find((each) => each.name === featureName);
  return feature !== undefined && movesWithTime(feature) ? 'time' : 'differs';
}

function movesWithTime({ window, aggregation }: AggregationFeature): boolean {
  return window.type !== 'lifetime' || aggregation.op === 'timeSince';
}
