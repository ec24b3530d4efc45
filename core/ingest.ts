/**
 * From the fields of one row to an event, or the reason why it is none. Pure; knows nothing of files or tables.
 * Every way in (CSV, Arrow, tables, later topics) goes through here, so a value means the same whichever way it came.
 *
 *   text   (CSV): int64 `-42`, float64 `1.5e3`, bool `true`, timestamp RFC 3339 with its zone, a list as a JSON array; an empty
 *          unquoted cell is null, an empty quoted one the empty text in a string column and null in any other
 *   json   (topics): string; int64, float64 a number (codec/json.ts: bigint beyond 2^53); boolean; timestamp RFC 3339 with its zone; array
 *   typed  (Arrow): string; int64 number or bigint; float64 number; boolean; timestamp whole epoch ms as number; array
 */
import { parseJson } from './codec/json.js';
import { MAX_ELEMENTS, type ScalarType, type Source } from './definition.js';
import { FeatureStoreError } from './error.js';
import { columnNames, type List, type Scalar, type Value } from './event.js';
import { INT64_RANGE, type Int64, parseInt64, toInt64 } from './int64.js';
import { formatTimestamp, MAX_TIMESTAMP, MIN_TIMESTAMP, parseTimestamp } from './time.js';

export type Form = 'text' | 'json' | 'typed';

export interface IngestOptions {
  form: Form;
  /** Added to every timestamp column. */
  shiftMs: number;
  /** Rows that happen or arrive after this are withheld. */
  untilMs: number;
  /** When the import began: no arrival is assumed to be later. null: a stream, whose events arrive when they are archived. */
  importedMs: number | null;
}

/** A valid row, before the archive gives it a position and a sequence. */
export interface Ingested {
  timestamp: number;
  /** When the platform could have known it; never before `timestamp`. */
  arrivedAt: number;
  /** `arrivedAt` was not in the data but event time + arrivalDelayMs. */
  arrivalAssumed: boolean;
  order: Int64;
  /** The declared id as text, at most 1,024 bytes of UTF-8; null when the source declares none. */
  id: string | null;
  /** In the order of `columnNames(source)`. */
  values: Value[];
}

export type Outcome =
  | { outcome: 'event'; event: Ingested }
  | { outcome: 'invalid'; reason: string; column: string | null }
  | { outcome: 'withheld' };

const WITHHELD: Outcome = { outcome: 'withheld' };
/** Exact sums hold what is below it (exact.ts). */
const FLOAT64_BOUND = 2 ** 960;
/** As UTF-8: an index row of Postgres holds some 2,700. */
const MAX_ID_BYTES = 1024;
const encoder = new TextEncoder();

/** @returns a function of a row's fields, in the order of `columnNames(source)`; a field that is missing is null */
export function createIngest(
  source: Source,
  options: IngestOptions,
): (fields: readonly unknown[]) => Outcome {
  const names = columnNames(source);
  const columns = names.map((name) => source.columns[name]!);
  const required = new Set([source.eventTime, source.id, source.sequence]);
  const nullable = names.map((name, i) => columns[i]!.nullable && !required.has(name));
  const parsers = columns.map((column) => parserOf(column, options.form));
  const isTimestamp = columns.map(({ type }) => type === 'timestamp');
  const at = (name: string | null): number => (name === null ? -1 : names.indexOf(name));
  const eventTime = at(source.eventTime);
  const arrival = at(source.arrival);
  const id = at(source.id);
  const sequence = at(source.sequence);

  return (fields) => {
    const values: Value[] = [];
    for (let i = 0; i < names.length; i++) {
      const field = fields[i];
      const value = field === null || field === undefined ? null : parsers[i]!(field);
      if (value === null) {
        if (!nullable[i]) return invalid(names[i]!, 'is null');
        values.push(null);
      } else if (value instanceof Refusal) return invalid(names[i]!, value.reason);
      else if (isTimestamp[i]) {
        const shifted = (value as number) + options.shiftMs;
        if (shifted < MIN_TIMESTAMP || shifted > MAX_TIMESTAMP)
          return invalid(names[i]!, 'is outside the years 0001 to 9999');
        values.push(shifted);
      } else values.push(value);
    }
    const declaredId = id === -1 ? null : String(values[id]);
    if (declaredId !== null && encoder.encode(declaredId).length > MAX_ID_BYTES)
      return invalid(source.id!, `is longer than ${MAX_ID_BYTES} bytes`);
    const timestamp = values[eventTime] as number;
    const declared = arrival === -1 ? null : (values[arrival] as number | null);
    const known =
      options.importedMs === null
        ? timestamp
        : (declared ?? Math.max(timestamp, Math.min(timestamp + source.arrivalDelayMs, options.importedMs)));
    if (timestamp > known + source.maxFutureMs)
      return invalid(
        source.eventTime,
        `${formatTimestamp(timestamp)} lies more than ${source.maxFutureMs} ms after its arrival ${formatTimestamp(known)}`,
      );
    if (timestamp > options.untilMs || known > options.untilMs) return WITHHELD;
    // what the topic brings is not taken from the file or table
    if (options.importedMs !== null && source.stream && timestamp >= source.stream.cutAtMs) return WITHHELD;
    const event: Ingested = {
      timestamp,
      arrivedAt: Math.max(known, timestamp),
      arrivalAssumed: options.importedMs !== null && declared === null,
      order: sequence === -1 ? 0 : (values[sequence] as Int64),
      id: declaredId,
      values,
    };
    return { outcome: 'event', event };
  };
}

/** The id of an event whose source declares none: sorts as (partition, offset) do. */
export function positionId(partition: number, offset: number): string {
  // partitions of imports are negative: shifted so that the text sorts as the number
  return `${String(partition + 2 ** 31).padStart(10, '0')}.${String(offset).padStart(16, '0')}`;
}

function invalid(column: string, why: string): Outcome {
  return { outcome: 'invalid', reason: `column "${column}" ${why}`, column };
}

class Refusal {
  constructor(readonly reason: string) {}
}

/** Null: the field says that there is no value. */
type Parse<V extends Value = Value> = (field: unknown) => V | null | Refusal;
const wanted = (field: unknown, what: string): Refusal => new Refusal(`is ${describe(field)}, not ${what}`);
const FLOAT64 = 'a finite number below 2^960';

const PARSERS_BY_FORM: Record<'text' | 'typed', Record<ScalarType, Parse<Scalar>>> = {
  text: {
    string: (field) => toText(field),
    int64: (field) => {
      if (field === '') return null;
      return (typeof field === 'string' ? parseInt64(field) : null) ?? wanted(field, INT64_RANGE);
    },
    float64: (field) => {
      if (field === '') return null;
      if (typeof field !== 'string' || !/^[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]{1,4})?$/.test(field))
        return wanted(field, FLOAT64);
      return toFloat(Number(field), field);
    },
    bool: (field) => {
      if (field === '') return null;
      return field === 'true' ? true : field === 'false' ? false : wanted(field, 'true or false');
    },
    timestamp: (field) => (field === '' ? null : toInstant(field)),
  },
  typed: {
    string: (field) => toText(field),
    int64: (field) => {
      if (typeof field === 'bigint') return toInt64(field) ?? wanted(field, INT64_RANGE);
      return Number.isSafeInteger(field) ? (field as number) + 0 : wanted(field, INT64_RANGE); // + 0: no negative zero
    },
    float64: (field) =>
      typeof field === 'number' || (typeof field === 'bigint' && Number.isSafeInteger(Number(field)))
        ? toFloat(Number(field), field)
        : wanted(field, FLOAT64),
    bool: (field) => (typeof field === 'boolean' ? field : wanted(field, 'true or false')),
    timestamp: (field) =>
      typeof field === 'number' && Number.isSafeInteger(field)
        ? field
        : wanted(field, 'whole epoch milliseconds'),
  },
};

const PARSERS: Record<Form, Record<ScalarType, Parse<Scalar>>> = {
  ...PARSERS_BY_FORM,
  json: {
    ...PARSERS_BY_FORM.typed,
    // in JSON the digits of a double may be those of a whole number; as in texts, the nearest double is meant
    float64: (field) => (typeof field === 'bigint' ? Number(field) : PARSERS_BY_FORM.typed.float64(field)),
    timestamp: toInstant,
  },
};

function parserOf({ type, length }: Source['columns'][string], form: Form): Parse {
  if (!type.startsWith('list')) return PARSERS[form][type as ScalarType];
  const element = type.slice('list<'.length, -1) as ScalarType;
  const parse = listParser(PARSERS[form === 'text' ? 'json' : form][element], length ?? null);
  return form === 'text' ? (field) => (field === '' ? null : parse(fromJson(field))) : parse;
}

/** @param length of a vector; null: any up to MAX_ELEMENTS */
function listParser(parse: Parse<Scalar>, length: number | null): Parse<List> {
  return (field) => {
    if (field instanceof Refusal) return field;
    if (!Array.isArray(field)) return wanted(field, 'a list');
    if (length !== null && field.length !== length)
      return new Refusal(`has ${field.length} elements, not ${length}`);
    if (field.length > MAX_ELEMENTS)
      return new Refusal(`has ${field.length} elements, more than ${MAX_ELEMENTS}`);
    const list: Array<string | Int64> = [];
    for (let i = 0; i < field.length; i++) {
      const item = (field as unknown[])[i] ?? null;
      const value = item === null ? null : parse(item);
      if (value === null) return new Refusal(`holds a null, as element ${i + 1}`);
      if (value instanceof Refusal) return new Refusal(`has an element ${i + 1} that ${value.reason}`);
      list.push(value as string | Int64);
    }
    return list;
  };
}

function fromJson(text: unknown): unknown {
  try {
    return parseJson(text as string);
  } catch (error) {
    if (error instanceof FeatureStoreError) return new Refusal(`is no JSON array: ${error.message}`);
    throw error;
  }
}

function toInstant(field: unknown): number | Refusal {
  if (typeof field !== 'string') return wanted(field, 'a timestamp');
  try {
    return parseTimestamp(field);
  } catch (error) {
    if (error instanceof FeatureStoreError) return new Refusal(`is ${error.message}`);
    throw error;
  }
}

function toFloat(value: number, field: unknown): number | Refusal {
  return Math.abs(value) < FLOAT64_BOUND ? value + 0 : wanted(field, FLOAT64); // NaN fails the comparison
}

function toText(field: unknown): string | Refusal {
  if (typeof field !== 'string') return wanted(field, 'a text');
  if (!field.isWellFormed()) return new Refusal('holds half of a surrogate pair: no well-formed Unicode');
  if (field.includes('\0')) return new Refusal('holds a NUL character, which Postgres cannot store');
  return field;
}

/** A clashing value, short enough for a message. */
function describe(field: unknown): string {
  if (typeof field === 'string')
    return JSON.stringify(field.length > 60 ? `${field.slice(0, 57)}...` : field);
  if (typeof field === 'number' || typeof field === 'bigint' || typeof field === 'boolean')
    return String(field);
  return `of type ${typeof field}`;
}
