/**
 * What becomes of the messages of a batch: archived, held, or set aside with the reason. Decided inside the batch's transaction, under
 * the source's lock, from what is committed there; message by message in their order, so the outcome does not depend on how the
 * topic was cut into batches.
 */
import { isUtf8 } from 'node:buffer';
import { parseJson } from '../../core/codec/json.js';
import type { Source } from '../../core/definition.js';
import { FeatureStoreError } from '../../core/error.js';
import { columnNames } from '../../core/event.js';
import { createIngest, type Ingested, positionId } from '../../core/ingest.js';
import { streamOf } from '../../core/stream.js';
import { formatTimestamp } from '../../core/time.js';
import type { PoolClient } from '../../registry/sql.js';
import type { ArchiveRow } from '../offline/archive.js';
import { archivedBodies, type Body, differs, nominalArrival } from '../offline/bodies.js';
import { bodyText, type SetAside } from '../offline/set-aside.js';
import type { Message } from './event-source.js';

/** A message as text, and the event in it or why there is none. */
export interface Read {
  offset: number;
  body: string;
  event: Ingested | null;
  reason: string;
}

/** Reads messages of a source. Pure. */
export function createReader(source: Source): (message: Message) => Read {
  const names = columnNames(source);
  const ingest = createIngest(source, {
    form: 'json',
    shiftMs: 0,
    untilMs: Number.POSITIVE_INFINITY,
    importedMs: null,
  });
  return ({ offset, value }) => {
    const body = value?.toString('utf8') ?? '';
    const invalid = (reason: string): Read => ({ offset, body, event: null, reason });
    if (value === null) return invalid('the message has no body');
    if (!isUtf8(value)) return invalid('the message is not UTF-8');
    let row: unknown;
    try {
      row = parseJson(body);
    } catch (error) {
      if (error instanceof FeatureStoreError) return invalid(error.message);
      throw error;
    }
    if (typeof row !== 'object' || row === null || Array.isArray(row))
      return invalid('the message is no JSON object');
    const outcome = ingest(names.map((name) => (row as Record<string, unknown>)[name]));
    if (outcome.outcome === 'event') return { offset, body, event: outcome.event, reason: '' };
    return invalid(outcome.outcome === 'invalid' ? outcome.reason : 'it was withheld');
  };
}

export interface Moment {
  partition: number;
  sequence: number;
  arrivedAt: number;
  /** Greatest event timestamp archived from the partition; null: none. */
  greatest: number | null;
}

export interface Sorted {
  rows: ArchiveRow[];
  held: Array<{ offset: number; eventMs: number; body: string }>;
  setAside: SetAside[];
  duplicates: number;
  /** Rows that are older than one archived before them. */
  late: number;
  greatest: number | null;
}

/** @param messages held ones whose time has come first, then the batch */
export async function sortOut(
  client: PoolClient,
  source: Source,
  messages: readonly Read[],
  moment: Moment,
): Promise<Sorted> {
  const { partition, sequence, arrivedAt } = moment;
  const cutAtMs = streamOf(source)?.cutAtMs ?? Number.NEGATIVE_INFINITY;
  const ids = messages.flatMap(({ event }) => (event?.id == null ? [] : [event.id]));
  const known = ids.length === 0 ? new Map<string, Body[]>() : await archivedBodies(client, source, ids);
  const sorted: Sorted = {
    rows: [],
    held: [],
    setAside: [],
    duplicates: 0,
    late: 0,
    greatest: moment.greatest,
  };
  for (const { offset, body, event, reason } of messages) {
    const setAside = (outcome: SetAside['outcome'], why: string): void => {
      sorted.setAside.push({ offset, outcome, reason: why, body: bodyText(() => body) });
    };
    if (event === null) {
      setAside('invalid', reason);
      continue;
    }
    const { timestamp, id, values } = event;
    if (timestamp > arrivedAt + source.maxFutureMs) {
      setAside(
        'invalid',
        `column "${source.eventTime}" ${formatTimestamp(timestamp)} lies more than ${source.maxFutureMs} ms after its arrival ${formatTimestamp(arrivedAt)}`,
      );
      continue;
    }
    if (timestamp > arrivedAt) {
      sorted.held.push({ offset, eventMs: timestamp, body });
      continue;
    }
    if (timestamp < cutAtMs && id === null) {
      setAside(
        'invalid',
        `it happened before ${formatTimestamp(cutAtMs)}, and no id tells it from what was imported`,
      );
      continue;
    }
    const one: Body = { knownMs: nominalArrival(source, timestamp, values), values };
    const others = id === null ? undefined : known.get(id);
    const same = others?.find(
      (other) => timestamp < cutAtMs || Math.abs(other.knownMs - one.knownMs) <= source.dedupeMs,
    );
    if (same !== undefined) {
      const column = differs(source, same.values, values);
      if (column === null) sorted.duplicates++;
      else setAside('conflict', `id ${JSON.stringify(id)} is archived with another "${column}"`);
      continue;
    }
    if (sorted.greatest !== null && timestamp < sorted.greatest - source.allowedLatenessMs) {
      setAside(
        'too_late',
        `${formatTimestamp(timestamp)} lies more than ${source.allowedLatenessMs} ms behind ${formatTimestamp(sorted.greatest)}, the newest event of its partition`,
      );
      continue;
    }
    if (others) others.push(one);
    else if (id !== null) known.set(id, [one]);
    if (sorted.greatest !== null && timestamp < sorted.greatest) sorted.late++;
    sorted.greatest = Math.max(sorted.greatest ?? timestamp, timestamp);
    sorted.rows.push({
      partition,
      offset,
      arrivalAssumed: false,
      event: {
        timestamp,
        arrivedAt,
        sequence,
        order: event.order,
        id: id ?? positionId(partition, offset),
        values,
      },
    });
  }
  return sorted;
}
