/**
 * JSON on the wire, exactly: a strict parser for what comes in, and the text of values by type for what goes out. Pure.
 *
 * In: JSON.parse takes 9007199254740993 for ...992 (here: a bigint), 1e400 for Infinity, the last of two equal keys, `__proto__` and any depth; the
 * library that keeps numbers lossless takes equal duplicates, recurses without bound and cannot say where. So: one pass of our
 * own, compared with JSON.parse on generated documents in test/core/json.test.ts.
 *
 * Out, as Feast's clients read it: int64 as exact integers, float64 always with a point or exponent (2.0),
 * timestamps as RFC 3339 without an empty fraction (2026-03-01T12:30:00Z), maps as objects, missing values as null.
 */
import { assert } from '../assert.js';
import type { FeatureType, MapType, ScalarType } from '../definition.js';
import { FeatureStoreError } from '../error.js';
import type { FeatureValue, List } from '../event.js';
import { type Int64, isInt64, parseInt64, toInt64 } from '../int64.js';
import { DAY, formatTimestamp, HOUR, MINUTE, SECOND } from '../time.js';
import { elementOf, entriesOf, isMap, type ValueMap } from '../value-map.js';
import type { Scalar } from './scalar.js';

/**
 * Whole numbers are exact: bigint beyond ±(2^53 - 1), where they are written without point or exponent. Objects have no prototype: a
 * key named __proto__ or constructor is a key like any other.
 */
export type Json = string | Int64 | boolean | null | Json[] | { [key: string]: Json };

const NUMBER = /-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?/y;

/**
 * Throws FS_REQUEST_INVALID with a JSON pointer for text that is not JSON, a key twice in one object, a whole number beyond
 * 64 bits, a number no double holds (1e400), half of a surrogate pair, or more than `maxDepth` levels.
 */
export function parseJson(text: string, maxDepth = 16): Json {
  const path: Array<string | number> = [];
  let at = 0;
  const value = parseValue(0);
  skipSpace();
  if (at < text.length) unexpected('the end');
  return value;

  function parseValue(depth: number): Json {
    skipSpace();
    switch (text.charCodeAt(at)) {
      case 0x22:
        return parseString();
      case 0x7b:
        return parseObject(deeper(depth));
      case 0x5b:
        return parseArray(deeper(depth));
      case 0x74:
        return parseWord('true', true);
      case 0x66:
        return parseWord('false', false);
      case 0x6e:
        return parseWord('null', null);
      default:
        return parseNumber();
    }
  }

  function parseObject(depth: number): Json {
    const object = Object.create(null) as { [key: string]: Json };
    at++;
    skipSpace();
    if (text[at] === '}') {
      at++;
      return object;
    }
    for (;;) {
      skipSpace();
      if (text[at] !== '"') unexpected('a key in quotes');
      const key = parseString();
      path.push(key);
      if (key in object) refuse('this key is given twice', 'give it once');
      skipSpace();
      if (text[at] !== ':') unexpected('":"');
      at++;
      object[key] = parseValue(depth);
      path.pop();
      skipSpace();
      const next = text[at];
      if (next !== ',' && next !== '}') unexpected('"," or "}"');
      at++;
      if (next === '}') return object;
    }
  }

  function parseArray(depth: number): Json {
    const list: Json[] = [];
    at++;
    skipSpace();
    if (text[at] === ']') {
      at++;
      return list;
    }
    const place = path.length;
    for (;;) {
      path[place] = list.length;
      list.push(parseValue(depth));
      skipSpace();
      const next = text[at];
      if (next !== ',' && next !== ']') unexpected('"," or "]"');
      at++;
      if (next === ']') {
        path.length = place;
        return list;
      }
    }
  }

  function parseString(): string {
    const start = at++;
    let escaped = false;
    for (;;) {
      const code = text.charCodeAt(at);
      if (code === 0x22) break;
      if (code === 0x5c) {
        escaped = true;
        at++;
      }
      if (at >= text.length) unexpected('the closing quote');
      if (code < 0x20) unexpected('an escape: control characters do not stand in text as they are');
      at++;
    }
    at++;
    let value = text.slice(start + 1, at - 1);
    if (escaped) {
      try {
        value = JSON.parse(text.slice(start, at)) as string;
      } catch (cause) {
        refuse('this text holds an escape that JSON does not know', 'escape as \\n, \\" or \\u0000', cause);
      }
    }
    if (!value.isWellFormed())
      refuse('this text holds half of a surrogate pair', 'give well-formed Unicode text');
    return value;
  }

  function parseNumber(): Int64 {
    NUMBER.lastIndex = at;
    if (!NUMBER.test(text)) unexpected('a value');
    const literal = text.slice(at, NUMBER.lastIndex);
    const value = Number(literal);
    const shown = literal.length > 40 ? `${literal.slice(0, 40)}…` : literal;
    if (!Number.isFinite(value)) refuse(`${shown} is beyond every double`, 'give a number below 1.8e308');
    let exact: Int64 | null = value + 0; // no negative zero
    if (!Number.isSafeInteger(value) && !/[.eE]/.test(literal)) {
      exact = literal.length > 20 ? null : toInt64(BigInt(literal));
      if (exact === null)
        refuse(`${shown} is beyond 64 bits`, 'give an id as text, a double with a point or an exponent');
    }
    at = NUMBER.lastIndex;
    return exact as Int64;
  }

  function parseWord<T>(word: string, value: T): T {
    if (!text.startsWith(word, at)) unexpected('a value');
    at += word.length;
    return value;
  }

  function deeper(depth: number): number {
    if (depth >= maxDepth) refuse(`this is more than ${maxDepth} levels deep`, 'give a flatter document');
    return depth + 1;
  }

  function skipSpace(): void {
    for (;;) {
      const code = text.charCodeAt(at);
      if (code !== 0x20 && code !== 0x0a && code !== 0x0d && code !== 0x09) return;
      at++;
    }
  }

  function unexpected(wanted: string): never {
    const found = at < text.length ? JSON.stringify(text[at]) : 'the end';
    return refuse(`found ${found} at character ${at}, expected ${wanted}`, 'give valid JSON (RFC 8259)');
  }

  function refuse(what: string, fix: string, cause?: unknown): never {
    const pointer = jsonPointer(path);
    throw new FeatureStoreError(
      'FS_REQUEST_INVALID',
      `${pointer || 'the document'}: ${what}`,
      { fix, pointer },
      { cause },
    );
  }
}

/** As JSON.stringify, of plain data, so that parseJson gives it back: bigints as digits, a whole double beyond 2^53 with an exponent. */
export function writeJson(value: unknown): string {
  if (typeof value === 'bigint') return String(value);
  if (typeof value === 'number' && Number.isInteger(value) && !Number.isSafeInteger(value))
    return value.toExponential();
  if (typeof value !== 'object' || value === null) return JSON.stringify(value);
  if (Array.isArray(value)) return `[${value.map(writeJson).join(',')}]`;
  const fields = Object.entries(value).filter(([, field]) => field !== undefined);
  return `{${fields.map(([key, field]) => `${JSON.stringify(key)}:${writeJson(field)}`).join(',')}}`;
}

/** RFC 6901; '' is the whole document. Long keys are cut: a pointer is for people. */
export function jsonPointer(path: ReadonlyArray<string | number>): string {
  return path
    .map((step) => `/${String(step).slice(0, 80).replaceAll('~', '~0').replaceAll('/', '~1')}`)
    .join('');
}

/** The text of a value of this type; decided once per column, not per value. */
export function valueEncoder(type: FeatureType): (value: FeatureValue) => string {
  const encode = isMap(type)
    ? mapEncoder(type)
    : type.startsWith('list<')
      ? listEncoder(type.slice(5, -1) as FeatureType)
      : (scalarEncoders[type as ScalarType] as (value: FeatureValue) => string);
  return (value) => (value === null ? 'null' : encode(value));
}

/** Epoch ms → RFC 3339 as protobuf writes it: no fraction when it is a whole second. */
export function wireTimestamp(ms: number): string {
  assert(Number.isSafeInteger(ms), `timestamp ${ms}`);
  const day = Math.floor(ms / DAY);
  const rest = ms - day * DAY;
  const clock = `${dateText(day)}T${two(rest / HOUR)}:${two((rest / MINUTE) % 60)}:${two((rest / SECOND) % 60)}`;
  return rest % SECOND === 0 ? `${clock}Z` : `${clock}.${String(rest % SECOND).padStart(3, '0')}Z`;
}

const two = (part: number): string => (part < 10 ? `0${Math.floor(part)}` : String(Math.floor(part)));

// Formatting a Date was a tenth of an answer for 100 items; their timestamps share a few days.
const dates = new Map<number, string>();
function dateText(day: number): string {
  let text = dates.get(day);
  if (text === undefined) {
    text = formatTimestamp(day * DAY).slice(0, 10);
    if (dates.size >= 10_000) dates.clear();
    dates.set(day, text);
  }
  return text;
}

const scalarEncoders: Record<ScalarType, (value: Scalar) => string> = {
  string: (value) => JSON.stringify(value),
  int64: (value) => {
    assert(isInt64(value), `int64 ${String(value)}`);
    return String(value);
  },
  float64: (value) => {
    assert(Number.isFinite(value), `float64 ${String(value)}`);
    const text = String(value);
    // Whole values print without a point up to 1e21; a reader would take them for integers.
    return Number.isInteger(value) && !text.includes('e') ? `${text}.0` : text;
  },
  bool: (value) => String(value),
  timestamp: (value) => `"${wireTimestamp(value as number)}"`,
};

function listEncoder(element: FeatureType): (value: FeatureValue) => string {
  const encode = valueEncoder(element);
  return (value) => `[${(value as List).map(encode).join(',')}]`;
}

function mapEncoder(type: MapType): (value: FeatureValue) => string {
  const encode = valueEncoder(elementOf(type));
  return (value) =>
    `{${entriesOf(value as ValueMap)
      .map(([key, item]) => `${JSON.stringify(key)}:${encode(item)}`)
      .join(',')}}`;
}

/** A map's text back to its value, exact. The text is one of ours, or the same document as Postgres writes it. */
export function decodeMap(type: MapType, text: string): ValueMap {
  if (type !== 'map<string,int64>') return JSON.parse(text) as ValueMap;
  const quoted = text.replace(/"(?:[^"\\]|\\.)*"|-?[0-9]+/g, (found) =>
    found.startsWith('"') ? found : `"${found}"`,
  );
  const entries = Object.entries(JSON.parse(quoted) as Record<string, string>);
  return Object.fromEntries(entries.map(([key, whole]) => [key, parseInt64(whole)!]));
}
