/**
 * A written training set against the oracle: the file is read back as anybody would, and a seeded choice of its rows compared with
 * what the manifest's bound and ledgers give.
 */
import { createHash } from 'node:crypto';
import { createReadStream } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { type Table, tableFromIPC } from 'apache-arrow';
import { encodeKey } from '../core/codec/key.js';
import type { Expression, FeatureType, Source } from '../core/definition.js';
import { FeatureStoreError } from '../core/error.js';
import { type Event, type FeatureValue, sameValue, type Value } from '../core/event.js';
import { splitReference } from '../core/on-demand.js';
import { formatTimestamp } from '../core/time.js';
import { evaluate } from '../oracle/expression.js';
import { answer, answerSql, type Question, type SqlRow } from '../oracle/oracle.js';
import type { StoredVersion } from '../registry/resolve.js';
import { quote } from '../registry/sql.js';
import { rowsTable } from '../registry/tables.js';
import { chunksOf } from './answers.js';
import { featureReader } from './arrow.js';
import type { Deps } from './deps.js';
import { type Disagreement, type Findings, findDifferingEvent, seeded, shown } from './findings.js';
import type { TrainingSetManifest } from './manifest.js';
import { readEntities } from './offline/archive.js';
import { EVENT_TIMESTAMP } from './offline/dataframe.js';
import { readParquetFile } from './offline/parquet.js';
import { decodeTicks, Published } from './offline/published.js';
import { type AggregationVersion, nameOf } from './output.js';
import type { SqlVersion } from './sql-view.js';
import { type OnDemandVersion, wantedOf } from './wanted.js';

/** Their events are held at once. */
const ENTITIES_AT_ONCE = 250;

/** @param rows how many of its rows; all, if it has fewer */
export async function checkFile(
  deps: Deps,
  manifest: TrainingSetManifest,
  { rows, seed }: { rows: number; seed: number },
  findings: Findings,
  turn: () => Promise<void> | undefined,
): Promise<void> {
  if (manifest.file === null || manifest.output === null)
    throw new FeatureStoreError('FS_CONFLICT', `training set ${manifest.id} was never completed`, {
      fix: 'build it again',
      trainingSet: manifest.id,
    });
  const path = join(deps.config.filesDir, manifest.file);
  const file = new WrittenFile(manifest, findings);
  const sha256 = await hashOf(path, manifest);
  file.check(
    sha256 === manifest.output.sha256
      ? null
      : { feature: null, found: sha256, expected: manifest.output.sha256 },
    'its checksum',
  );
  const table = await readTable(path, manifest);
  file.check(
    table.numRows === manifest.output.rows
      ? null
      : { feature: null, found: `${table.numRows} rows`, expected: `${manifest.output.rows} rows` },
    'its rows',
  );
  const columns = new Columns(table);
  const wanted = await wantedOf(deps.pool, manifest);
  const chosen = chooseRows(table.numRows, rows, seed);
  for (const [index, { version, features }] of wanted.stored.entries()) {
    const asked = features.filter((name) => manifest.features.includes(`${version.view.name}:${name}`));
    const published = new Published(decodeTicks(manifest.views[index]!.published));
    const rowsOf = new Map<string, { parts: Value[]; rows: number[] }>();
    for (const row of chosen) {
      const parts = version.entity.keys.map(({ name, type }) => columns.read(name, type, row) as Value);
      const name = nameOf(encodeKey(version.entity, parts));
      const found = rowsOf.get(name);
      if (found) found.rows.push(row);
      else rowsOf.set(name, { parts, rows: [row] });
    }
    for (const chunk of chunksOf([...rowsOf], ENTITIES_AT_ONCE)) {
      const entities = chunk.map(([, { parts }]) => parts);
      const known = await readKnown(deps, version, entities, manifest.archive.sequence, published);
      for (const [name, { parts, rows }] of chunk) {
        for (const row of rows) {
          const at = columns.read(EVENT_TIMESTAMP, 'timestamp', row) as number;
          const cell = { row, at, parts, published, features: asked };
          compareRow(file, version, cell, columns, known.get(name) ?? { events: [], rows: [] });
        }
        await turn();
      }
    }
  }
  const types = new Map(
    [...wanted.stored.map(({ version }) => version.view), ...wanted.onDemand.map(({ view }) => view)].flatMap(
      (view) => view.features.map(({ name, type }) => [`${view.name}:${name}`, type] as const),
    ),
  );
  // What it reads stands in the file only where that was asked for too.
  for (const version of wanted.onDemand)
    if (version.view.inputs.every((input) => manifest.features.includes(input)))
      for (const row of chosen) compareOnDemand(file, version, row, columns, types);
}

class WrittenFile {
  constructor(
    readonly manifest: TrainingSetManifest,
    readonly findings: Findings,
  ) {}

  /** Of the file as a whole. */
  check(disagreement: Disagreement | null, what: string): void {
    this.findings.add('file', [], disagreement, () => ({
      view: '',
      version: 0,
      entity: {},
      moment: this.manifest.createdAt,
      where: `${this.manifest.file}: ${what}`,
    }));
  }
}

async function hashOf(path: string, manifest: TrainingSetManifest): Promise<string> {
  const hash = createHash('sha256');
  try {
    for await (const chunk of createReadStream(path, { highWaterMark: 1 << 20 }))
      hash.update(chunk as Buffer);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw error;
    throw new FeatureStoreError(
      'FS_NOT_FOUND',
      `the file of training set ${manifest.id} is gone: ${manifest.file}`,
      {
        fix: `build it again with the same id: its manifest gives the same bytes`,
        trainingSet: manifest.id,
      },
    );
  }
  return hash.digest('hex');
}

async function readTable(path: string, manifest: TrainingSetManifest): Promise<Table> {
  return manifest.output!.format === 'parquet' ? readParquetFile(path) : tableFromIPC(await readFile(path));
}

/** Cells of a table by name and row. */
class Columns {
  readonly #table: Table;
  readonly #starts: number[] = [];
  readonly #readers = new Map<string, Array<(row: number) => FeatureValue>>();

  constructor(table: Table) {
    this.#table = table;
    let start = 0;
    for (const batch of table.batches) {
      this.#starts.push(start);
      start += batch.numRows;
    }
  }

  read(name: string, type: FeatureType, row: number): FeatureValue {
    const batch = this.#starts.findLastIndex((start) => start <= row);
    let readers = this.#readers.get(name);
    if (readers === undefined) {
      readers = this.#table.batches.map((each) => featureReader(each.getChild(name)!, type));
      this.#readers.set(name, readers);
    }
    return readers[batch]!(row - this.#starts[batch]!);
  }
}

function chooseRows(total: number, rows: number, seed: number): number[] {
  if (total <= rows) return Array.from({ length: total }, (_, row) => row);
  const next = seeded(seed, total);
  const chosen = new Set<number>();
  while (chosen.size < rows) chosen.add(Math.floor(next() * total));
  return [...chosen].sort((a, b) => a - b);
}

interface Known {
  events: Event[];
  rows: SqlRow[];
}

/** What the oracle needs of some entities, by entity key as text; of those that have any. */
async function readKnown(
  deps: Deps,
  version: StoredVersion,
  entities: readonly Value[][],
  sequence: number,
  published: Published,
): Promise<Map<string, Known>> {
  const known = new Map<string, Known>();
  if (version.kind === 'sql') {
    const rows = await readSqlRows(deps, version as SqlVersion, entities, published);
    for (const [name, each] of rows) known.set(name, { events: [], rows: each });
    return known;
  }
  const { source, entity, view } = version as AggregationVersion;
  const of = { source, entity, keyColumns: view.key };
  for await (const { key, events } of readEntities(deps.pool, of, entities, { sequence }))
    known.set(nameOf(key), { events, rows: [] });
  return known;
}

/**
 * The rows of some entities of a sql view whose ticks are in the ledger, as the oracle takes them; by entity key as text.
 * @param published null: those that are not in the ledger too
 */
export async function readSqlRows(
  { pool }: Deps,
  { id, view, entity }: SqlVersion,
  entities: readonly Value[][],
  published: Published | null,
): Promise<Map<string, SqlRow[]>> {
  const { rows } = await pool.query<[Buffer, number, number, number, ...FeatureValue[]]>({
    rowMode: 'array',
    text: `select key, tick_ms, committed_ms, event_ms, ${view.features.map(({ name }) => quote(name)).join(', ')}
             from ${rowsTable(id)} where key = any($1::bytea[]) order by key, tick_ms`,
    values: [entities.map((parts) => Buffer.from(encodeKey(entity, parts)))],
  });
  const byEntity = new Map<string, SqlRow[]>();
  for (const [key, tick, committedAt, eventTimestamp, ...values] of rows) {
    const publishedAt = published ? published.of(tick) : committedAt;
    if (publishedAt === null) continue;
    const named = Object.fromEntries(view.features.map(({ name }, index) => [name, values[index]!]));
    const row = { tick, committedAt, publishedAt, eventTimestamp, values: named };
    const found = byEntity.get(nameOf(key));
    if (found) found.push(row);
    else byEntity.set(nameOf(key), [row]);
  }
  return byEntity;
}

function compareRow(
  { manifest, findings }: WrittenFile,
  { kind, view, version, entity, source }: StoredVersion,
  {
    row,
    at,
    parts,
    published,
    features,
  }: { row: number; at: number; parts: Value[]; published: Published; features: readonly string[] },
  columns: Columns,
  { events, rows }: Known,
): void {
  const { mode, strict } = manifest;
  const question: Question = {
    type: 'training',
    at,
    mode,
    strict,
    published: published.before(strict ? at - 1 : at),
  };
  const types = new Map(view.features.map(({ name, type }) => [name, type]));
  const found = new Map(features.map((name) => [name, columns.read(name, types.get(name)!, row)]));
  const expected =
    kind === 'sql'
      ? answerSql(view as SqlVersion['view'], rows, { at, mode, strict })
      : answer(view as AggregationVersion['view'], source!, events, question);
  const differs = (other: { values: Record<string, FeatureValue> }): string | undefined =>
    features.find((name) => !sameValue(found.get(name)!, other.values[name]!));
  const feature = differs(expected);
  findings.add(
    'file',
    features,
    feature === undefined
      ? null
      : { feature, found: shown(found.get(feature)!), expected: shown(expected.values[feature]!) },
    () => ({
      view: view.name,
      version,
      entity: Object.fromEntries(entity.keys.map(({ name }, index) => [name, shown(parts[index]!)])),
      moment: formatTimestamp(at),
      where: `${manifest.file}, row ${row + 1}; ${mode}${strict ? ', strict' : ''}`,
    }),
    () =>
      kind === 'sql'
        ? null
        : findDifferingEvent(
            view as AggregationVersion['view'],
            source!,
            events,
            question,
            (other) => differs(other) === undefined,
          ),
  );
}

/** The oracle's own expressions over what stands in the file. */
function compareOnDemand(
  { manifest, findings }: WrittenFile,
  { view, version }: OnDemandVersion,
  row: number,
  columns: Columns,
  types: ReadonlyMap<string, FeatureType>,
): void {
  const at = (columns.read(EVENT_TIMESTAMP, 'timestamp', row) as number) - (manifest.strict ? 1 : 0);
  const inputs = view.inputs.map((input) => ({ ...splitReference(input), type: types.get(input)! }));
  const cells = new Map<string, Value>();
  for (const [name, type] of Object.entries(view.request))
    cells.set(name, columns.read(name, type, row) as Value);
  for (const { feature, type } of inputs) cells.set(feature, columns.read(feature, type, row) as Value); // no maps: check.ts
  const source = {
    name: view.name,
    columns: Object.fromEntries([
      ...Object.entries(view.request).map(([name, type]) => [name, { type, nullable: true }]),
      ...inputs.map(({ feature, type }) => [feature, { type, nullable: true }]),
    ]),
  } as unknown as Source;
  for (const { name, type, expression } of view.features) {
    if (!manifest.features.includes(`${view.name}:${name}`)) continue;
    const found = columns.read(name, type, row);
    const expected = evaluate(withClock(expression, at), source, cells);
    findings.add(
      'file',
      [name],
      sameValue(found, expected) ? null : { feature: name, found: shown(found), expected: shown(expected) },
      () => ({
        view: view.name,
        version,
        entity: {},
        moment: formatTimestamp(at),
        where: `${manifest.file}, row ${row + 1}, computed from the row's own columns`,
      }),
    );
  }
}

/** The oracle's expressions have no clock: now() becomes the moment itself. */
function withClock(expression: Expression, at: number): Expression {
  if (!('op' in expression)) return expression;
  if (expression.op === 'now') return { lit: at };
  return { op: expression.op, args: expression.args.map((arg) => withClock(arg, at)) };
}
