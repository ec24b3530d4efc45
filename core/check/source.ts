/** Entities and sources: their columns, and the parts that some of them play. */
import type { Entity, Source } from '../definition.js';
import { streamOf } from '../stream.js';
import { formatDuration } from '../time.js';
import type { Check } from './run.js';

export function checkEntity(check: Check, entity: Entity): void {
  const path = `entities.${entity.name}`;
  check.name(entity.name, path);
  for (const { name } of entity.keys) {
    check.name(name, `${path}.keys.${name}`, { field: true });
    if (!check.joinKeys.has(name)) check.joinKeys.set(name, entity.name);
  }
  check.unique(entity.keys.map((key) => key.name), `${path}.keys`, 'join key'); // biome-ignore format: short
}

export function checkSource(check: Check, source: Source): void {
  const path = `sources.${source.name}`;
  // their places in the archive are called after them: archive_<source>, c_<column>
  check.name(source.name, path, { spare: 8 });
  for (const [column, { type, length }] of Object.entries(source.columns)) {
    check.name(column, `${path}.columns.${column}`, { spare: 2 });
    if (length !== undefined && type !== 'list<float64>')
      check.add(
        'type',
        `${path}.columns.${column}.length`,
        `is the length of a vector; the column is ${type}`,
        'leave it out, or declare the column as list<float64>',
      );
  }
  checkRole(check, source, 'eventTime', ['timestamp']);
  checkRole(check, source, 'arrival', ['timestamp']);
  checkRole(check, source, 'id', ['string', 'int64']);
  checkRole(check, source, 'sequence', ['int64', 'timestamp']);
  checkRetracts(check, source);
  if (source.input.type === 'table' && !/^[a-z_][a-z0-9_]*(\.[a-z_][a-z0-9_]*)?$/i.test(source.input.table))
    check.add(
      'source',
      `${path}.input.table`,
      `"${source.input.table}" is no table`,
      'write table or schema.table',
    );
  if (source.stream && source.input.type === 'topic')
    check.add(
      'source',
      `${path}.stream`,
      `its input is the topic "${source.input.topic}" already`,
      'leave out stream, or name the file or table of the time before as input',
    );
  if (streamOf(source) && source.kind === 'snapshot')
    check.add('source', `${path}.kind`, 'a topic holds events, not a snapshot', "declare kind: 'append'");
  if (source.stream?.columns) checkSkew(check, source, source.stream.columns);
  else if (source.stream)
    check.add(
      'stream-columns',
      `${path}.stream.columns`,
      `is not said of topic "${source.stream.topic}", so nothing compares it with the ${source.input.type} before it`,
      'declare the columns that its producers send',
    );
  if (source.retentionMs !== null && source.allowedLatenessMs > source.retentionMs)
    check.add(
      'source',
      `${path}.allowedLatenessMs`,
      `events may come ${formatDuration(source.allowedLatenessMs)} late and are kept ${formatDuration(source.retentionMs)}`,
      'keep them longer, or allow less lateness',
    );
}

/** What the topic carries is what the file or table has: a training set and serving read one schema. */
function checkSkew(check: Check, { name, columns }: Source, streamed: Source['columns']): void {
  const path = `sources.${name}.stream.columns`;
  for (const column of new Set([...Object.keys(columns), ...Object.keys(streamed)])) {
    const declared = Object.hasOwn(columns, column) ? columnSpec(columns[column]!) : null;
    const carried = Object.hasOwn(streamed, column) ? columnSpec(streamed[column]!) : null;
    if (declared === carried) continue;
    check.add(
      'schema-skew',
      `${path}.${column}`,
      carried === null
        ? `is missing in the topic; the source declares ${declared}`
        : declared === null
          ? `is ${carried} in the topic; the source does not declare it`
          : `is ${carried} in the topic; the source declares ${declared}`,
      carried === null
        ? 'let the producers send it, or take it out of the source'
        : 'declare the same on both sides',
    );
  }
}

/** As an author writes it: int64?, vector(64). */
function columnSpec({ type, nullable, length }: Source['columns'][string]): string {
  return `${length === undefined ? type : `vector(${length})`}${nullable ? '?' : ''}`;
}

/** A column with a part to play exists, has a fitting type and is always there; only an arrival may be assumed instead. */
function checkRole(
  check: Check,
  source: Source,
  role: 'eventTime' | 'arrival' | 'id' | 'sequence',
  types: readonly string[],
): void {
  const name = source[role];
  if (name === null) return;
  const path = `sources.${source.name}.${role}`;
  const column = check.column(source, name, path);
  if (!column) return;
  if (!types.includes(column.type))
    check.add(
      'type',
      path,
      `column "${name}" is ${column.type}`,
      `name a column of type ${types.join(' or ')}`,
    );
  else if (column.nullable && role !== 'arrival')
    check.add(
      'type',
      path,
      `column "${name}" may be missing`,
      `declare it as '${column.type}', without a question mark`,
    );
}

/** It says an id of its source, or nothing. */
function checkRetracts(check: Check, source: Source): void {
  const { id, retracts } = source;
  if (retracts === undefined) return;
  const path = `sources.${source.name}.retracts`;
  if (id === null)
    check.add(
      'source',
      path,
      'an event is unsaid by its id, and the source has none',
      "declare the column that identifies an event: id: 'order_id'",
    );
  const column = check.column(source, retracts, path);
  if (!column) return;
  const wanted = id === null ? undefined : source.columns[id]?.type;
  if (wanted !== undefined && column.type !== wanted)
    check.add(
      'type',
      path,
      `column "${retracts}" is ${column.type}, the id "${id}" is ${wanted}`,
      `name a column of type ${wanted}`,
    );
  else if (!column.nullable)
    check.add(
      'type',
      path,
      `column "${retracts}" is never missing: every row would be a retraction`,
      `declare it as '${column.type}?', and leave it out of what is no retraction`,
    );
}
