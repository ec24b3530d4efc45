/**
 * The columns of one stored view for every row of an entity dataframe: a value per feature, its cold start where there is no history.
 */
import { cancellationSignal } from '@temporalio/activity';
import { type RecordBatch, Schema } from 'apache-arrow';
import { canonicalJson, columnsRead } from '../core/canonical.js';
import { compileView } from '../core/compile.js';
import type { FeatureType, Source, SqlView } from '../core/definition.js';
import type { Event, FeatureValue } from '../core/event.js';
import type { Reading } from '../core/record.js';
import { sweepLabels, type TrainingMode } from '../core/sweep.js';
import { floorTo } from '../core/time.js';
import { judge, type Status } from '../core/vector.js';
import type { StoredVersion } from '../registry/resolve.js';
import { type Pool, quote } from '../registry/sql.js';
import { archiveTable, rowsTable } from '../registry/tables.js';
import { featureData, featureField, makeBatch } from './arrow.js';
import { beat } from './heartbeat.js';
import { readEntities, readEvents } from './offline/archive.js';
import type { Labels, LabelTimes } from './offline/dataframe.js';
import type { Published } from './offline/published.js';
import { type AggregationVersion, createTurns, nameOf } from './output.js';
import type { SqlVersion } from './sql-view.js';

const ENTITIES_AT_ONCE = 250;
// Finding an entity's events by the index costs as much as passing by some hundred events.
const EVENTS_PER_LOOKUP = 100;
const SQL_LABELS = 5_000;

/** How, and up to where, the labels are answered. */
export interface Scope {
  mode: TrainingMode;
  strict: boolean;
  /** Events up to this one are known, and no others. */
  sequence: number;
}

/** A view, and when serving had its ticks. */
export interface Asked {
  version: StoredVersion;
  published: Published;
}

/**
 * Views that one pass over their entities' events answers: of one source, entity and key. Each sql view stands alone. A version keeps
 * its own copy of source and entity: where their columns or keys differ, an event's values stand at other places.
 * @returns indexes into `versions`
 */
export function groupViews(versions: readonly StoredVersion[]): number[][] {
  const groups = new Map<string, number[]>();
  versions.forEach(({ view, entity, source, id }, index) => {
    const name = canonicalJson(
      view.kind === 'sql' ? id : [view.source, source?.columns ?? null, entity.name, entity.keys, view.key],
    );
    const group = groups.get(name);
    if (group) group.push(index);
    else groups.set(name, [index]);
  });
  return [...groups.values()];
}

/** @param group as of groupViews, each with the names of the features that are wanted, in the order of the columns */
export async function answerViews(
  pool: Pool,
  group: ReadonlyArray<Asked & { features: readonly string[] }>,
  labels: Labels,
  scope: Scope,
): Promise<Answers[]> {
  const answers = group.map(({ version, features }) => new Answers(version, features, labels, scope));
  await readEach(pool, group, labels, scope, (view, row, reading) => {
    answers[view]!.set(row, reading);
  });
  return answers;
}

/** @param view its index in the group @param reading null: no history by the row's time */
type Take = (view: number, row: number, reading: Reading | null) => void;

/** The reading of every row in every view of a group, once each and in any order, before it is judged. */
export async function readEach(
  pool: Pool,
  group: readonly Asked[],
  labels: LabelTimes,
  scope: Scope,
  take: Take,
): Promise<void> {
  const [first] = group;
  if (first?.version.kind === 'sql')
    await readSqlView(pool, first.version, first.published, labels, scope, (row, reading) => {
      take(0, row, reading);
    });
  else
    await readAggregationViews(
      pool,
      group as ReadonlyArray<Asked & { version: AggregationVersion }>,
      labels,
      scope,
      take,
    );
}

/** The columns in the making. */
export class Answers {
  readonly schema: Schema;
  readonly statuses: Partial<Record<Status, number>> = {};
  readonly #features: Array<{ name: string; type: FeatureType; index: number }>;
  readonly #columns: FeatureValue[][];
  readonly #version: StoredVersion;

  constructor(
    version: StoredVersion,
    features: readonly string[],
    readonly labels: Labels,
    readonly scope: Scope,
  ) {
    this.#version = version;
    this.#features = features.map((name) => {
      const index = version.view.features.findIndex((feature) => feature.name === name);
      return { name, index, type: version.view.features[index]!.type };
    });
    this.schema = new Schema(this.#features.map(({ name, type }) => featureField(name, type)));
    this.#columns = this.#features.map(() =>
      Array.from<FeatureValue>({ length: labels.atMs.length }).fill(null),
    );
  }

  set(row: number, reading: Reading | null): void {
    const at = this.labels.atMs[row]! - (this.scope.strict ? 1 : 0);
    const { statuses, values } = judge(this.#version.view, reading, at);
    this.#features.forEach(({ index }, column) => {
      this.#columns[column]![row] = values[index]!;
    });
    const [first] = statuses;
    const status = first === 'NULL_VALUE' ? 'PRESENT' : first!;
    this.statuses[status] = (this.statuses[status] ?? 0) + 1;
  }

  async *batches(): AsyncGenerator<RecordBatch> {
    let start = 0;
    for (const rows of this.labels.batchRows) {
      const end = start + rows;
      const children = this.#features.map(({ type }, column) =>
        featureData(type, this.#columns[column]!.slice(start, end)),
      );
      yield makeBatch(this.schema, rows, children);
      start = end;
      beat();
    }
  }
}

async function readAggregationViews(
  pool: Pool,
  group: ReadonlyArray<Asked & { version: AggregationVersion }>,
  labels: LabelTimes,
  scope: Scope,
  take: Take,
): Promise<void> {
  const compiled = group.map(({ version: { view, source } }) => compileView(view, source));
  const turn = createTurns();
  const pending = new Map(labels.byEntity);
  const answer = (name: string, events: readonly Event[]): void => {
    const label = pending.get(name);
    if (label === undefined) return;
    pending.delete(name);
    const times = label.rows.map((row) => labels.atMs[row]!);
    const moments = scope.strict ? times.map((at) => at - 1) : times;
    group.forEach(({ published }, view) => {
      const readings = sweepLabels(compiled[view]!, events, times, {
        mode: scope.mode,
        strict: scope.strict,
        published: published.deciding(moments),
      });
      label.rows.forEach((row, i) => {
        take(view, row, readings[i]!);
      });
    });
  };
  const { source, entity, view } = group[0]!.version;
  const of = { source, entity, keyColumns: view.key };
  const columns = [...new Set(group.flatMap(({ version }) => columnsRead(version.view, version.source)))];
  const options = { sequence: scope.sequence, columns };
  const signal = cancellationSignal();
  const passes =
    labels.byEntity.size * EVENTS_PER_LOOKUP < (await estimateEvents(pool, source))
      ? chunksOf(
          [...labels.byEntity.values()].map(({ parts }) => parts),
          ENTITIES_AT_ONCE,
        ).map((parts) => readEntities(pool, of, parts, { ...options, signal }))
      : [readEvents(pool, of, { ...options, signal })];
  for (const pass of passes)
    for await (const { key, events } of pass) {
      answer(nameOf(key), events);
      await turn();
    }
  for (const { rows } of pending.values())
    for (const row of rows)
      group.forEach((_, each) => {
        take(each, row, null);
      });
}

/** What the planner believes; good enough to choose by. */
async function estimateEvents(pool: Pool, source: Source): Promise<number> {
  const { rows } = await pool.query<{ events: number }>(
    'select reltuples::bigint as events from pg_class where oid = to_regclass($1)',
    [archiveTable(source.name)],
  );
  return rows[0]?.events ?? 0;
}

export function chunksOf<T>(list: readonly T[], size: number): T[][] {
  return Array.from({ length: Math.ceil(list.length / size) }, (_, i) =>
    list.slice(i * size, (i + 1) * size),
  );
}

/**
 * As-of join over the rows of a sql view. The last tick a label may see is known from the ledger; the row at or before it is one
 * step in the primary key. A row in between that was published later than the label is stepped over.
 */
async function readSqlView(
  pool: Pool,
  version: SqlVersion,
  published: Published,
  labels: LabelTimes,
  scope: Scope,
  take: (row: number, reading: Reading | null) => void,
): Promise<void> {
  let open: SqlLabel[] = [];
  for (const { key, rows } of labels.byEntity.values())
    for (const row of rows) {
      const at = labels.atMs[row]! - (scope.strict ? 1 : 0);
      const tick = scope.mode === 'known-then' ? published.by(at)?.tick : floorTo(at, version.view.cadenceMs);
      if (tick === undefined) take(row, null);
      else open.push({ row, key: Buffer.from(key), tick, at });
    }
  while (open.length > 0) {
    const again: SqlLabel[] = [];
    for (let i = 0; i < open.length; i += SQL_LABELS) {
      const chunk = open.slice(i, i + SQL_LABELS);
      const found = await readSqlRows(pool, version, chunk);
      chunk.forEach((label, j) => {
        const row = found[j] ?? null;
        const seenAt = row && published.of(row.tick);
        const seen = seenAt !== null && (scope.mode === 'event-time' || seenAt <= label.at);
        if (row && !seen) again.push({ ...label, tick: row.tick - 1 });
        else take(label.row, row?.reading ?? null);
      });
      beat();
    }
    open = again;
  }
}

interface SqlLabel {
  row: number;
  key: Buffer;
  /** The last tick that it may see. */
  tick: number;
  at: number;
}

/** For each label the last row at or before its tick, or null. */
async function readSqlRows(
  pool: Pool,
  { id, view }: SqlVersion,
  labels: readonly SqlLabel[],
): Promise<Array<{ tick: number; reading: Reading } | null>> {
  const features = view.features.map(({ name }) => `found.${quote(name)}`).join(', ');
  const { rows } = await pool.query<[number, number | null, number | null, ...FeatureValue[]]>({
    rowMode: 'array',
    text: `select place, found.tick_ms, found.event_ms, ${features}
             from unnest($1::bytea[], $2::bigint[]) with ordinality as label (label_key, label_tick, place)
             left join lateral (
               select * from ${rowsTable(id)} as stored
                where stored.key = label_key and stored.tick_ms <= label_tick
                order by stored.tick_ms desc limit 1) as found on true
            order by place`,
    values: [labels.map(({ key }) => key), labels.map(({ tick }) => tick)],
  });
  return rows.map(([, tick, eventMs, ...values]) =>
    tick === null ? null : { tick, reading: readingOf(view, tick, eventMs, values) },
  );
}

/** A sql row as a reading: it counts no events. */
function readingOf(view: SqlView, tick: number, eventMs: number | null, values: FeatureValue[]): Reading {
  const eventTimestamp = eventMs ?? tick;
  return {
    asOf: tick,
    sequence: 0,
    eventTimestamp,
    firstEventTimestamp: eventTimestamp,
    eventCount: eventMs === null ? 0 : 1, // null: the entity left the view
    horizonPassed: false,
    values: view.features.map((_, index) => values[index] ?? null),
  };
}
