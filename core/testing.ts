/**
 * Tests for authors: a view's features over events written by hand, by the very engine that serves them, with no server.
 * What `at` gives is what serving would have returned then, had every batch tick been on time.
 */

import type { EntityDef, SourceDef, ViewDef } from './builder.js';
import { encodeKey } from './codec/key.js';
import { compileView } from './compile.js';
import type { AggregationView, FeatureType, Source } from './definition.js';
import { FeatureStoreError } from './error.js';
import type { Event, FeatureValue, Value } from './event.js';
import { columnNames } from './event.js';
import { createIngest, positionId } from './ingest.js';
import type { TrainingMode } from './sweep.js';
import { sweepLabels, ticksOf } from './sweep.js';
import { floorTo, MAX_TIMESTAMP, parseTimestamp } from './time.js';
import type { Status } from './vector.js';
import { judge } from './vector.js';

/** A row as the source would give it: timestamps as RFC 3339 text; a column left out is null. */
export type SampleRow = Readonly<Record<string, Value>>;

export interface FeatureAnswer<Names extends string> {
  values: Record<Names, FeatureValue>;
  statuses: Record<Names, Status>;
  /** Of the newest event inside, RFC 3339; null when there is none. */
  eventTimestamp: string | null;
}

export interface FeatureTest<Names extends string> {
  /** @param time RFC 3339. @param options known-then (default): what had arrived by then; event-time: all there is */
  at(time: string, options?: { mode?: TrainingMode }): FeatureAnswer<Names>;
}

/**
 * @param rows events of one entity. Throws FS_DATA_INVALID for a row the importer would set aside, naming row and column, and
 * FS_REQUEST_INVALID when the rows are of several entities.
 */
export function testFeature<F extends Record<string, FeatureType>>(
  view: ViewDef<AggregationView, F>,
  rows: readonly SampleRow[],
): FeatureTest<keyof F & string> {
  const source = dependency<SourceDef>(view, 'source').json;
  const entity = dependency<EntityDef>(view, 'entity').json;
  const compiled = compileView(view.json, source);
  const events = sampleEvents(source, rows).filter((event) => !compiled.keyOf(event).includes(null));
  const keys = new Set(events.map((event) => String(encodeKey(entity, compiled.keyOf(event)))));
  if (keys.size > 1)
    throw new FeatureStoreError('FS_REQUEST_INVALID', `the events are of ${keys.size} different entities`, {
      fix: `give events of one ${entity.name} to each test`,
      view: view.json.name,
    });
  return {
    at(time, { mode = 'known-then' } = {}) {
      const at = parseTimestamp(time);
      const { cadenceMs, settleMs } = ticksOf(view.json);
      const tick = floorTo(at - settleMs, cadenceMs);
      const published = [{ tick, publishedAt: tick + settleMs }];
      const [reading = null] = sweepLabels(compiled, events, [at], { mode, strict: false, published });
      const { values, statuses, eventTimestamp } = judge(view.json, reading, at);
      const byName = <T>(list: readonly T[]): Record<keyof F & string, T> =>
        Object.fromEntries(view.json.features.map(({ name }, index) => [name, list[index]!])) as Record<
          keyof F & string,
          T
        >;
      return {
        values: byName(values),
        statuses: byName(statuses),
        eventTimestamp: eventTimestamp === null ? null : new Date(eventTimestamp).toISOString(),
      };
    },
  };
}

/** Rows as archived events, in the order given. Throws FS_DATA_INVALID, naming row and column. */
export function sampleEvents(source: Source, rows: readonly SampleRow[]): Event[] {
  const names = columnNames(source);
  const ingest = createIngest(source, {
    form: 'typed',
    shiftMs: 0,
    untilMs: MAX_TIMESTAMP,
    importedMs: MAX_TIMESTAMP,
  });
  return rows.map((row, index) => {
    const unknown = Object.keys(row).find((name) => !names.includes(name));
    const fields = names.map((name) => typedField(source, name, row[name] ?? null));
    const ingested = unknown === undefined ? ingest(fields) : null;
    if (ingested?.outcome !== 'event')
      throw new FeatureStoreError(
        'FS_DATA_INVALID',
        `event ${index + 1}: ${ingested?.outcome === 'invalid' ? ingested.reason : `source "${source.name}" has no column "${unknown}"`}`,
        { fix: `give the columns ${names.join(', ')}`, source: source.name, row: index + 1 },
      );
    const { event } = ingested;
    return { ...event, id: event.id ?? positionId(0, index), sequence: index + 1 };
  });
}

function typedField(source: Source, name: string, value: Value): Value {
  return source.columns[name]!.type === 'timestamp' && typeof value === 'string'
    ? parseTimestamp(value)
    : value;
}

function dependency<D extends EntityDef | SourceDef>(
  view: ViewDef<AggregationView, Record<string, FeatureType>>,
  kind: D['kind'],
): D {
  return view.dependencies.find((each) => each.kind === kind) as D;
}
