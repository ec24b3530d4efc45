/**
 * The entity dataframe of a training set: checked whole, then written once as plain Arrow that the other steps read. Its rows and
 * their order, duplicates too, are kept; so are the columns it has beyond join keys and `event_timestamp`.
 *
 * CSV says nothing of types. Join keys, `event_timestamp` and request fields have theirs from the definitions; a further column is
 * int64, float64 or bool where every cell is one, else string. Numbers that would not be written back the same (007) are strings.
 * Arrow keeps its types; dictionary-encoded text becomes plain text, a column without a type (all null) a text one.
 */
import { join } from 'node:path';
import { DataType, DateUnit, Field, type RecordBatch, Schema, type Vector } from 'apache-arrow';
import type { ScalarType } from '../../core/definition.js';
import { FeatureStoreError } from '../../core/error.js';
import type { Value } from '../../core/event.js';
import { INT64_RANGE, isInt64, parseInt64 } from '../../core/int64.js';
import { formatTimestamp, MAX_TIMESTAMP, MIN_TIMESTAMP, parseTimestamp } from '../../core/time.js';
import {
  encodeArrowFile,
  featureData,
  featureField,
  featureReader,
  instantReader,
  makeBatch,
  openArrowFile,
} from '../arrow.js';
import { type Cell, cellsOf, readCsvBlocks } from './csv.js';
import { writeStaged } from './staged-file.js';

export const EVENT_TIMESTAMP = 'event_timestamp';

/** Rows of one record batch made from CSV. */
const BATCH_ROWS = 65_536;
const MAX_TEXT = 1024;

export interface DataframeRules {
  /** Join keys of the entities of the wanted views. */
  keys: ReadonlyArray<{ name: string; type: 'string' | 'int64' }>;
  /** Fields of the wanted on-demand views. */
  request: ReadonlyArray<{ name: string; type: ScalarType }>;
  /** Names the answer's columns will have. */
  features: ReadonlySet<string>;
  /** Labels after this are refused, epoch ms. */
  nowMs: number;
}

export interface DataframeContent {
  rows: number;
  fields: Field[];
}

/**
 * Checks the dataframe and writes it as an Arrow file: `event_timestamp` as timestamp[us, UTC], the other columns as above.
 * Throws FS_DATA_INVALID, FS_KEY_INVALID, FS_TIMESTAMP_INVALID with row (from 1) and column; then nothing was written.
 */
export async function prepareDataframe(
  input: { path: string; format: 'csv' | 'arrow' },
  output: string,
  rules: DataframeRules,
  beat: () => void,
): Promise<DataframeContent> {
  return input.format === 'csv'
    ? prepareCsv(input.path, output, rules, beat)
    : prepareArrow(input.path, output, rules, beat);
}

/** What each column must be; the others may be anything. */
function requiredTypes(rules: DataframeRules): Map<string, ScalarType> {
  const required = new Map<string, ScalarType>();
  for (const { name, type } of [...rules.request, ...rules.keys]) required.set(name, type);
  required.set(EVENT_TIMESTAMP, 'timestamp');
  return required;
}

function checkNames(names: readonly string[], rules: DataframeRules): void {
  const seen = new Set<string>();
  names.forEach((name, index) => {
    if (name === '')
      throw refuse(`column ${index + 1} has no name`, { column: index + 1 }, 'name every column');
    if (seen.has(name))
      throw refuse(
        `column "${name}" stands twice in the dataframe`,
        { column: name },
        'give each column one name',
      );
    if (rules.features.has(name))
      throw refuse(
        `column "${name}" is named like a feature that was asked for`,
        { column: name },
        'rename the column, or leave the feature out',
      );
    seen.add(name);
  });
  const missing = [...requiredTypes(rules).keys()].filter((name) => !seen.has(name));
  if (missing.length === 0) return;
  const what = (name: string): string =>
    name === EVENT_TIMESTAMP
      ? 'when each row is asked about'
      : rules.keys.some((key) => key.name === name)
        ? 'a join key'
        : 'a request field';
  throw refuse(
    `the dataframe has no column ${missing.map((name) => `"${name}" (${what(name)})`).join(', ')}; it has ${names.join(', ')}`,
    { column: missing[0]! },
    `add ${missing.length === 1 ? 'it' : 'them'}, or ask for features that do not need ${missing.length === 1 ? 'it' : 'them'}`,
  );
}

// ---------------------------------------------------------------- values

const SECOND_LOOKALIKE = 60 * 86_400_000;

function checkInstant(ms: number, nowMs: number, row: number): number {
  const stamp = (what: string, fix: string): FeatureStoreError =>
    new FeatureStoreError('FS_TIMESTAMP_INVALID', `${EVENT_TIMESTAMP} of row ${row} ${what}`, {
      fix,
      row,
      column: EVENT_TIMESTAMP,
    });
  if (ms < MIN_TIMESTAMP || ms > MAX_TIMESTAMP)
    throw stamp(
      'is outside the years 0001 to 9999',
      'milliseconds or finer were most likely read as seconds: give the unit',
    );
  if (ms > nowMs)
    throw stamp(
      `is ${formatTimestamp(ms)}, after now (${formatTimestamp(nowMs)})`,
      'ask about the past: what will be known then is not known yet',
    );
  // 1.7e9 seconds read as milliseconds, 1.7e12 ms read as microseconds or nanoseconds: all fall into the first weeks of 1970.
  if (ms >= 0 && ms < SECOND_LOOKALIKE)
    throw stamp(
      `is ${formatTimestamp(ms)}: seconds were most likely read as a finer unit`,
      "give the unit: pandas.to_datetime(column, unit='s', utc=True)",
    );
  return ms;
}

function finerThanMs(row: number, shown: string): FeatureStoreError {
  return new FeatureStoreError(
    'FS_TIMESTAMP_INVALID',
    `${EVENT_TIMESTAMP} of row ${row} is ${shown}: finer than a millisecond`,
    { fix: "cut it yourself, so that rows still match: column.dt.floor('ms')", row, column: EVENT_TIMESTAMP },
  );
}

function checkKey(name: string, value: Value, row: number): void {
  const bad = (what: string, fix: string): FeatureStoreError =>
    new FeatureStoreError('FS_KEY_INVALID', `join key "${name}" of row ${row} ${what}`, {
      fix,
      row,
      column: name,
    });
  if (value === null) throw bad('is null', 'drop the row, or fill the key');
  if ((typeof value === 'number' || typeof value === 'bigint') && !isInt64(value))
    throw bad(`is not ${INT64_RANGE}`, 'give such keys as text, in definitions too');
  if (typeof value !== 'string') return;
  if (!value.isWellFormed()) throw bad('is no well-formed Unicode', 'write the column again as UTF-8');
  if (value.includes('\0')) throw bad('holds a NUL character', 'remove it');
  if (Buffer.byteLength(value.normalize('NFC')) > MAX_TEXT)
    throw bad(`has more than ${MAX_TEXT} bytes`, 'give a shorter key');
}

// ---------------------------------------------------------------- CSV

const INT64 = /^(0|-?[1-9][0-9]{0,18})$/;
const FLOAT64 = /^[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]{1,4})?$/;
const LEADING_ZERO = /^-?0[0-9]/;

/** Parses a cell of a column of a known type; `undefined` when it is none. */
const PARSE: Record<ScalarType, (cell: string) => Value | undefined> = {
  string: (cell) => cell,
  bool: (cell) => (cell === 'true' ? true : cell === 'false' ? false : undefined),
  int64: (cell) => (INT64.test(cell) ? (parseInt64(cell) ?? undefined) : undefined),
  float64: (cell) => (FLOAT64.test(cell) && Number.isFinite(Number(cell)) ? Number(cell) : undefined),
  timestamp: (cell) => parseTimestamp(cell),
};

async function prepareCsv(
  path: string,
  output: string,
  rules: DataframeRules,
  beat: () => void,
): Promise<DataframeContent> {
  const required = requiredTypes(rules);
  const keys = new Set(rules.keys.map((key) => key.name));
  let names: string[] = [];
  /** Of each column that is not required: what every cell so far could be, narrowest first. */
  let could: Array<ScalarType[] | null> = [];
  let rows = 0;
  for await (const cells of csvRows(path, beat)) {
    if (cells.row === 0) {
      names = cells.cells.map((cell) => cell ?? '');
      checkNames(names, rules);
      could = names.map((name) => (required.has(name) ? null : ['bool', 'int64', 'float64', 'string']));
      continue;
    }
    if (cells.cells.length !== names.length)
      throw refuse(
        `row ${cells.row} has ${cells.cells.length} cells; the header has ${names.length}`,
        { row: cells.row },
        'write the file with a CSV library',
      );
    cells.cells.forEach((cell, i) => {
      const types = could[i];
      if (types === null || types === undefined)
        checkCell(names[i]!, required.get(names[i]!)!, cell, cells.row, keys, rules);
      else if (cell !== null) could[i] = types.filter((type) => fits(type, cell));
    });
    rows = cells.row;
  }
  if (names.length === 0) checkNames([], rules);
  const columns = names.map((name, i) => ({ name, type: required.get(name) ?? couldBe(could[i]!) }));
  const fields = columns.map(({ name, type }) => featureField(name, type));
  await writeStaged(output, encodeArrowFile(new Schema(fields), csvBatches(path, columns, rows, beat)));
  return { rows, fields };
}

/** The narrowest type; a column of nulls alone is a string one. */
function couldBe(types: readonly ScalarType[]): ScalarType {
  return types.length === 4 ? 'string' : types[0]!;
}

function fits(type: ScalarType, cell: string): boolean {
  if (type === 'float64' && LEADING_ZERO.test(cell)) return false;
  return PARSE[type](cell) !== undefined;
}

function checkCell(
  name: string,
  type: ScalarType,
  cell: Cell,
  row: number,
  keys: ReadonlySet<string>,
  rules: DataframeRules,
): void {
  if (name === EVENT_TIMESTAMP) {
    if (cell === null || cell === '') throw nullTimestamp(row);
    const fraction = /\.[0-9]{3}[0-9]*[1-9]/.exec(cell);
    const ms = parseAt(cell, name, row);
    if (fraction) throw finerThanMs(row, cell);
    checkInstant(ms, rules.nowMs, row);
    return;
  }
  const value = cell === null ? null : type === 'timestamp' ? parseAt(cell, name, row) : PARSE[type](cell);
  if (value === undefined)
    throw refuse(
      // errors travel through Temporal: no entity key does
      `column "${name}" of row ${row} is ${keys.has(name) ? '' : `${JSON.stringify(cell!.slice(0, 60))}, `}not ${type}`,
      { row, column: name },
      `write ${type} there${type === 'bool' ? ': true or false' : ''}`,
    );
  if (keys.has(name)) checkKey(name, value, row);
}

function parseAt(cell: string, column: string, row: number): number {
  try {
    return parseTimestamp(cell);
  } catch (error) {
    if (!(error instanceof FeatureStoreError)) throw error;
    throw new FeatureStoreError('FS_TIMESTAMP_INVALID', `${column} of row ${row}: ${error.message}`, {
      ...error.details,
      row,
      column,
    });
  }
}

function nullTimestamp(row: number): FeatureStoreError {
  return new FeatureStoreError('FS_TIMESTAMP_INVALID', `${EVENT_TIMESTAMP} of row ${row} is null`, {
    fix: 'drop the row, or fill its timestamp',
    row,
    column: EVENT_TIMESTAMP,
  });
}

async function* csvRows(path: string, beat: () => void): AsyncGenerator<{ row: number; cells: Cell[] }> {
  let row = 0;
  for await (const block of readCsvBlocks(path, { byte: 0, firstRow: 0 })) {
    for (let i = 0; i < block.ends.length; i++, row++) {
      const cells = cellsOf(block, i);
      if (typeof cells === 'string')
        throw refuse(`row ${row}: ${cells}`, { row }, 'write the file with a CSV library');
      yield { row, cells };
    }
    beat();
  }
}

async function* csvBatches(
  path: string,
  columns: ReadonlyArray<{ name: string; type: ScalarType }>,
  rows: number,
  beat: () => void,
): AsyncGenerator<RecordBatch> {
  const schema = new Schema(columns.map(({ name, type }) => featureField(name, type)));
  let values: Value[][] = columns.map(() => []);
  for await (const { row, cells } of csvRows(path, beat)) {
    if (row === 0) continue;
    cells.forEach((cell, i) => {
      values[i]!.push(cell === null ? null : (PARSE[columns[i]!.type](cell) ?? null));
    });
    if (values[0]!.length < BATCH_ROWS && row < rows) continue;
    const children = columns.map(({ type }, i) => featureData(type, values[i]!));
    yield makeBatch(schema, values[0]!.length, children);
    values = columns.map(() => []);
  }
}

// ---------------------------------------------------------------- Arrow

async function prepareArrow(
  path: string,
  output: string,
  rules: DataframeRules,
  beat: () => void,
): Promise<DataframeContent> {
  const content = await checkArrow(path, rules, beat);
  await writeStaged(
    output,
    encodeArrowFile(new Schema(content.fields), arrowBatches(path, content.fields, rules, beat)),
  );
  return content;
}

async function checkArrow(path: string, rules: DataframeRules, beat: () => void): Promise<DataframeContent> {
  const required = requiredTypes(rules);
  const keys = new Set(rules.keys.map((key) => key.name));
  const file = await openArrowFile(path);
  try {
    const { fields } = file.schema;
    checkNames(
      fields.map((field) => field.name),
      rules,
    );
    for (const field of fields) checkType(field, required.get(field.name) ?? null);
    let rows = 0;
    for await (const batch of file.batches()) {
      fields.forEach((field, index) => {
        const type = required.get(field.name);
        if (type === undefined) return;
        const column = batch.getChildAt(index)!;
        if (field.name === EVENT_TIMESTAMP) {
          checkInstants(column, rows, rules.nowMs);
          return;
        }
        if (!keys.has(field.name)) {
          checkRequest(field.name, column, type, rows);
          return;
        }
        const read = featureReader(column, type);
        for (let i = 0; i < batch.numRows; i++) {
          checkKey(field.name, read(i), rows + i + 1);
        }
      });
      rows += batch.numRows;
      beat();
    }
    return { rows, fields: fields.map((field) => plainField(field, required.get(field.name) ?? null)) };
  } finally {
    await file.close();
  }
}

function checkInstants(column: Vector, before: number, nowMs: number): void {
  const instant = instantReader(column);
  for (let i = 0; i < column.length; i++) {
    const row = before + i + 1;
    const ns = instant(i);
    if (ns === null) throw nullTimestamp(row);
    if (ns % 1_000_000n !== 0n) throw finerThanMs(row, `${ns} ns`);
    checkInstant(Number(ns / 1_000_000n), nowMs, row);
  }
}

/** Expressions over request fields know no NaN; unsigned columns may pass 64 bits. */
function checkRequest(name: string, column: Vector, type: ScalarType, before: number): void {
  if (type !== 'int64' && type !== 'float64') return;
  const read = featureReader(column, type);
  for (let i = 0; i < column.length; i++) {
    const value = read(i);
    const good = value === null || (type === 'int64' ? isInt64(value) : Number.isFinite(Number(value)));
    if (good) continue;
    throw refuse(
      `column "${name}" of row ${before + i + 1} is ${String(value)}, not ${type === 'int64' ? INT64_RANGE : 'a finite number'}`,
      { row: before + i + 1, column: name },
      'correct the value, or make it null',
    );
  }
}

/** Throws where the column cannot be read as what it must be, or cannot be written to every kind of output. */
function checkType(field: Field, required: ScalarType | null): void {
  const type = plainType(field.type as DataType);
  const shown = String(field.type);
  if (type === null || (required === null && !isKept(type)))
    throw refuse(
      `column "${field.name}" is of type ${shown}, which is not carried over`,
      { column: field.name },
      'leave the column out, or cast it to a text, a number, a bool or a timestamp',
    );
  if (required === null || (DataType.isNull(type) && required !== 'timestamp')) return;
  const fits = {
    string: DataType.isUtf8(type) || DataType.isLargeUtf8(type),
    int64: DataType.isInt(type),
    float64: DataType.isFloat(type) || DataType.isInt(type),
    bool: DataType.isBool(type),
    timestamp: DataType.isTimestamp(type),
  }[required];
  if (!fits)
    throw refuse(
      `column "${field.name}" is of type ${shown}, not ${required}`,
      { column: field.name },
      required === 'timestamp'
        ? "cast it: pandas.to_datetime(column, unit='ms', utc=True) for epoch milliseconds"
        : `cast it to ${required}`,
    );
  if (required === 'timestamp' && !(type as unknown as { timezone: string | null }).timezone)
    throw new FeatureStoreError(
      'FS_TIMESTAMP_INVALID',
      `column "${field.name}" is a timestamp without a time zone`,
      {
        fix: "say which it is: column.dt.tz_localize('UTC')",
        column: field.name,
      },
    );
}

/** The type without its dictionary; null for a dictionary of anything but text. */
function plainType(type: DataType): DataType | null {
  if (!DataType.isDictionary(type)) return type;
  const inner = type.dictionary as DataType;
  return DataType.isUtf8(inner) || DataType.isLargeUtf8(inner) ? inner : null;
}

function isKept(type: DataType): boolean {
  if (DataType.isList(type) || DataType.isFixedSizeList(type))
    return isKept(type.children[0]!.type as DataType);
  return (
    DataType.isNull(type) ||
    DataType.isUtf8(type) ||
    DataType.isLargeUtf8(type) ||
    DataType.isInt(type) ||
    (DataType.isFloat(type) && type.precision > 0) || // Parquet readers are at odds about half floats
    DataType.isBool(type) ||
    DataType.isTimestamp(type) ||
    (DataType.isDate(type) && type.unit === DateUnit.DAY) || // the other comes out of Parquet as a number
    DataType.isDecimal(type) ||
    DataType.isBinary(type) ||
    DataType.isFixedSizeBinary(type)
  );
}

/** The output's field: required ones as their declared type, dictionary-encoded text and what is all null as text, the rest as it is. */
function plainField(field: Field, required: ScalarType | null): Field {
  if (required !== null) return featureField(field.name, required);
  return isWrittenAsText(field.type as DataType)
    ? featureField(field.name, 'string')
    : new Field(field.name, field.type, true);
}

function isWrittenAsText(type: DataType): boolean {
  return DataType.isDictionary(type) || DataType.isNull(type);
}

async function* arrowBatches(
  path: string,
  fields: readonly Field[],
  rules: DataframeRules,
  beat: () => void,
): AsyncGenerator<RecordBatch> {
  const required = requiredTypes(rules);
  const schema = new Schema([...fields]);
  const file = await openArrowFile(path);
  try {
    for await (const batch of file.batches()) {
      const children = fields.map((field, index) => {
        const column = batch.getChildAt(index)!;
        const type = required.get(field.name) ?? (isWrittenAsText(column.type as DataType) ? 'string' : null);
        if (type === null) return column.data[0]!;
        const read = featureReader(column, type);
        return featureData(
          type,
          Array.from({ length: batch.numRows }, (_, i) => read(i)),
        );
      });
      yield makeBatch(schema, batch.numRows, children);
      beat();
    }
  } finally {
    await file.close();
  }
}

// ---------------------------------------------------------------- reading it again

/** Which rows ask about which entity, and when. */
export interface LabelTimes {
  /** By entity key as latin1 text. */
  byEntity: Map<string, { parts: Value[]; key: Uint8Array; rows: number[] }>;
  /** Of every row, epoch ms. */
  atMs: ArrayLike<number>;
}

/** Those of a prepared dataframe. */
export interface Labels extends LabelTimes {
  /** Rows of each record batch: what is written later has the same ones. */
  batchRows: number[];
}

/** The labels of one entity. @param encode entity key of join key values */
export async function readLabels(
  path: string,
  rows: number,
  keys: ReadonlyArray<{ name: string; type: 'string' | 'int64' }>,
  encode: (parts: Value[]) => Uint8Array,
): Promise<Labels> {
  const atMs = new Float64Array(rows);
  const labels: Labels = { byEntity: new Map(), atMs, batchRows: [] };
  const file = await openArrowFile(path);
  try {
    let before = 0;
    for await (const batch of file.batches()) {
      const at = featureReader(columnOf(batch, EVENT_TIMESTAMP), 'timestamp');
      const parts = keys.map(({ name, type }) => featureReader(columnOf(batch, name), type));
      for (let i = 0; i < batch.numRows; i++) {
        atMs[before + i] = at(i) as number;
        const values = parts.map((read) => read(i));
        const key = encode(values);
        const name = Buffer.from(key).toString('latin1');
        const found = labels.byEntity.get(name);
        if (found) found.rows.push(before + i);
        else labels.byEntity.set(name, { parts: values, key, rows: [before + i] });
      }
      labels.batchRows.push(batch.numRows);
      before += batch.numRows;
    }
    return labels;
  } finally {
    await file.close();
  }
}

export function columnOf(batch: RecordBatch, name: string): Vector {
  const column = batch.getChild(name);
  if (column === null) throw new Error(`the file has no column "${name}"`);
  return column;
}

function refuse(what: string, where: Record<string, unknown>, fix: string): FeatureStoreError {
  return new FeatureStoreError('FS_DATA_INVALID', what, { fix, ...where });
}

/** Where an uploaded file lies. Throws FS_REQUEST_INVALID for what is no sha256. */
export function uploadedPath(filesDir: string, sha256: string): string {
  if (/^[0-9a-f]{64}$/.test(sha256)) return join(filesDir, sha256);
  throw new FeatureStoreError(
    'FS_REQUEST_INVALID',
    `${JSON.stringify(sha256.slice(0, 80))} is no sha256 of a file`,
    {
      fix: 'upload the dataframe first (POST /v1/files) and give the sha256 it answers',
    },
  );
}
