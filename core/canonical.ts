/**
 * One text for one meaning: canonical JSON, definitions in their one order, and the hash that is a view's version.
 *
 * The hash covers what changes a value and nothing else (docs/definitions.md, "Versions"). Two definitions with one hash give the
 * same values for the same events; a hash never depends on key order, feature order or the spelling of a text's accents.
 */
import { sha256 } from '@noble/hashes/sha2.js';
import { bytesToHex, utf8ToBytes } from '@noble/hashes/utils.js';
import { assert } from './assert.js';
import type {
  AggregationView,
  Definitions,
  Entity,
  Expression,
  OnDemandView,
  RatioSide,
  Sessions,
  Source,
  SqlView,
  View,
} from './definition.js';
import { FeatureStoreError } from './error.js';

/**
 * JSON with sorted keys (by UTF-16 code units), no spaces, text in NFC, -0 as 0, numbers as JavaScript's shortest. Keys whose value
 * is undefined are left out. Throws FS_DEFINITION_INVALID for what JSON cannot say exactly: NaN, infinities, lone surrogates,
 * bigints, functions, symbols, undefined in an array, two keys that are one in NFC, anything that contains itself.
 */
export function canonicalJson(value: unknown): string {
  return write(value, null);
}

/** An object or list that is being written, the key it has come to, and what it lies in. */
interface Open {
  readonly value: object;
  at: string | number;
  readonly outer: Open | null;
}

function write(value: unknown, outer: Open | null): string {
  if (typeof value === 'string') return writeText(value, outer);
  if (value === null || typeof value === 'boolean') return String(value);
  if (typeof value === 'number') {
    if (!Number.isFinite(value)) refuse(outer, `holds ${value}`, 'give a finite number, or null');
    return String(value); // -0 is written as 0
  }
  if (typeof value !== 'object')
    return refuse(
      outer,
      `holds a ${typeof value}`,
      'give plain JSON: text, numbers, booleans, null, lists, objects',
    );
  for (let open = outer; open !== null; open = open.outer)
    if (open.value === value) refuse(outer, 'contains itself', 'give plain JSON');
  return Array.isArray(value) ? writeList(value, outer) : writeObject(value, outer);
}

function writeList(value: readonly unknown[], outer: Open | null): string {
  const open: Open = { value, at: 0, outer };
  const items: string[] = [];
  for (const item of value) {
    open.at = items.length;
    items.push(write(item, open));
  }
  return `[${items.join(',')}]`;
}

function writeObject(value: object, outer: Open | null): string {
  const prototype: unknown = Object.getPrototypeOf(value);
  if (prototype !== Object.prototype && prototype !== null)
    refuse(outer, `holds a ${value.constructor?.name ?? 'foreign object'}`, 'give plain JSON objects');
  const open: Open = { value, at: '', outer };
  const fields = Object.keys(value).every(isPlain) ? value : withKeysInNfc(value, outer);
  let items = '';
  for (const key of Object.keys(fields).sort()) {
    const item: unknown = Reflect.get(fields, key);
    if (item === undefined) continue;
    open.at = key;
    items += `${items === '' ? '' : ','}${writeText(key, open)}:${write(item, open)}`;
  }
  return `{${items}}`;
}

/** Most text by far: it is in NFC, and stands in JSON as it is. */
const isPlain = (text: string): boolean => /^[ !#-[\]-~]*$/.test(text);

function writeText(value: string, outer: Open | null): string {
  return isPlain(value) ? `"${value}"` : JSON.stringify(inNfc(value, outer));
}

function withKeysInNfc(value: object, outer: Open | null): object {
  const fields = Object.entries(value)
    .filter(([, item]) => item !== undefined)
    .map(([key, item]) => [inNfc(key, outer), item] as const);
  const keys = new Set<string>();
  for (const [key] of fields) {
    if (keys.has(key)) refuse(outer, `holds the key "${key}" twice`, 'rename one of them');
    keys.add(key);
  }
  return Object.fromEntries(fields);
}

function inNfc(value: string, outer: Open | null): string {
  if (!value.isWellFormed()) refuse(outer, 'holds half of a surrogate pair', 'give well-formed Unicode text');
  return value.normalize('NFC');
}

function refuse(outer: Open | null, what: string, fix: string): never {
  let path = '';
  for (let open = outer; open !== null; open = open.outer)
    path = `${typeof open.at === 'number' ? `[${open.at}]` : `.${open.at}`}${path}`;
  throw new FeatureStoreError('FS_DEFINITION_INVALID', `$${path} ${what}, which has no canonical JSON`, {
    fix,
    path: `$${path}`,
  });
}

/** Order of names everywhere: by UTF-16 code units, the same on every machine. */
export function compareText(a: string, b: string): number {
  return a < b ? -1 : a > b ? 1 : 0;
}

const byName = (a: { name: string }, b: { name: string }): number => compareText(a.name, b.name);

/**
 * The same definitions in the one order: everything with a name sorted by it, features too, tags sorted and once each. Where order
 * is meaning it stays: join keys, key columns, the features of a service.
 */
export function canonicalDefinitions(definitions: Definitions): Definitions {
  const tagged = <T extends { tags: string[] }>(item: T): T => ({
    ...item,
    tags: [...new Set(item.tags)].sort(compareText),
  });
  const { project, policy = {}, owners = [] } = definitions;
  return {
    ...(project !== undefined && { project }),
    ...(Object.keys(policy).length > 0 && { policy }),
    ...(owners.length > 0 && { owners: [...owners].sort(byName) }),
    entities: definitions.entities.map(tagged).sort(byName),
    sources: definitions.sources.map(tagged).sort(byName),
    views: definitions.views.map((view) => canonicalView(tagged(view))).sort(byName),
    services: definitions.services.map(tagged).sort(byName),
  };
}

function canonicalView(view: View): View {
  switch (view.kind) {
    case 'aggregation':
      return {
        ...view,
        ...(view.sessions && { sessions: sessionsMeaning(view.sessions) }),
        features: [...view.features].sort(byName),
      };
    case 'sql':
      return {
        ...view,
        reads: [...view.reads].sort((a, b) => compareText(a.table, b.table)),
        features: [...view.features].sort(byName),
      };
    case 'onDemand':
      return {
        ...view,
        inputs: [...view.inputs].sort(compareText),
        features: [...view.features].sort(byName),
      };
  }
}

/**
 * The version of a view: sha256 (hex) over its meaning. `source` is given for aggregation views, `entity` for stored views.
 *
 * Of the source only the columns that the view reads count, so a new column elsewhere in it makes no new version.
 */
export function versionHash(view: View, source: Source | null, entity: Entity | null): string {
  return bytesToHex(sha256(utf8ToBytes(canonicalJson(meaning(view, source, entity)))));
}

function meaning(view: View, source: Source | null, entity: Entity | null): unknown {
  switch (view.kind) {
    case 'aggregation':
      return { ...stored(view, entity), source: sourceMeaning(view, source), ...aggregationMeaning(view) };
    case 'sql':
      return {
        ...stored(view, entity),
        connection: view.connection,
        query: view.query,
        reads: [...view.reads].sort((a, b) => compareText(a.table, b.table)),
        cadenceMs: view.cadenceMs,
        settleMs: view.settleMs,
        features: view.features.map(featureMeaning).sort(byName),
      };
    case 'onDemand':
      return onDemandMeaning(view);
  }
}

function stored(view: AggregationView | SqlView, entity: Entity | null): object {
  assert(
    entity?.name === view.entity,
    `${view.name} is keyed by ${view.entity}, given was ${entity?.name ?? 'none'}`,
  );
  return { kind: view.kind, entity: { name: entity.name, keys: entity.keys }, ttlMs: view.ttlMs };
}

function aggregationMeaning(view: AggregationView): object {
  return {
    key: view.key,
    ...(view.sessions && { sessions: sessionsMeaning(view.sessions) }),
    where: view.where,
    // The cadence of tick rows is for people: no part of the meaning.
    mode: view.mode.type === 'streaming' ? { type: 'streaming' } : view.mode,
    minAgeMs: view.minAgeMs,
    minEvents: view.minEvents,
    features: view.features
      .map((feature) => ({
        ...featureMeaning(feature),
        where: feature.where,
        window: feature.window,
        aggregation: feature.aggregation,
      }))
      .sort(byName),
  };
}

function sessionsMeaning(sessions: Sessions): Sessions {
  return { ...sessions, sums: [...sessions.sums].sort(byName) };
}

function onDemandMeaning(view: OnDemandView): object {
  return {
    kind: view.kind,
    request: view.request,
    inputs: [...view.inputs].sort(compareText),
    features: view.features
      .map((feature) => ({ ...featureMeaning(feature), expression: feature.expression }))
      .sort(byName),
  };
}

function featureMeaning(feature: View['features'][number]): {
  name: string;
  type: string;
  coldStart: unknown;
} {
  return { name: feature.name, type: feature.type, coldStart: feature.coldStart };
}

function sourceMeaning(view: AggregationView, source: Source | null): object {
  assert(
    source?.name === view.source,
    `${view.name} reads ${view.source}, given was ${source?.name ?? 'none'}`,
  );
  const { name, kind, input, eventTime, arrival, arrivalDelayMs, id, sequence, retracts, allowedLatenessMs } =
    source;
  const read = [...columnsRead(view, source), eventTime, arrival, id, sequence].filter(
    (column) => column !== null,
  );
  return {
    name,
    kind,
    // A file may come as CSV today and as Arrow tomorrow; a table's place is what it is. A topic that goes on where it ends
    // (`stream`) brings more events, not another meaning.
    input: input.type === 'file' ? { type: 'file' } : input,
    columns: Object.fromEntries(read.map((column) => [column, source.columns[column] ?? null])),
    eventTime,
    arrival,
    arrivalDelayMs,
    id,
    sequence,
    retracts,
    allowedLatenessMs,
  };
}

/** Every column of its source that a view reads, once each, in no order. */
export function columnsRead(view: AggregationView, { retracts }: Pick<Source, 'retracts'>): string[] {
  const found = new Set(view.key);
  if (retracts !== undefined) found.add(retracts);
  const visit = (expression: Expression | null): void =>
    eachColumn(expression, (column) => found.add(column));
  // All else in a view over sessions reads the columns of these.
  if (view.sessions) {
    visit(view.sessions.where);
    for (const { value } of view.sessions.sums) visit(value);
    return [...found];
  }
  visit(view.where);
  for (const feature of view.features) {
    visit(feature.where);
    for (const expression of expressionsOf(feature.aggregation)) visit(expression);
  }
  return [...found];
}

/** The columns an expression names, with repetition. */
export function columnsOf(expression: Expression | null): string[] {
  const found: string[] = [];
  eachColumn(expression, (column) => found.push(column));
  return found;
}

function eachColumn(expression: Expression | null, take: (column: string) => void): void {
  if (expression === null || 'lit' in expression) return;
  if ('col' in expression) take(expression.col);
  else for (const argument of expression.args) eachColumn(argument, take);
}

/** The expressions inside an aggregation. */
export function expressionsOf(aggregation: AggregationView['features'][number]['aggregation']): Expression[] {
  const side = (part: RatioSide): Array<Expression | null> => [
    part.op === 'count' ? null : part.value,
    part.where,
  ];
  const parts = (): Array<Expression | null> => {
    const { op } = aggregation;
    if (op === 'count' || op === 'decayedCount' || op === 'timeSince') return [];
    if (op === 'bucketed')
      return [aggregation.by, 'value' in aggregation.aggregation ? aggregation.aggregation.value : null];
    if (op === 'topK') return [aggregation.key, aggregation.weight];
    if (op === 'cart') return [aggregation.item, aggregation.add, aggregation.remove, aggregation.clear];
    if (op === 'ratio') return [...side(aggregation.numerator), ...side(aggregation.denominator)];
    return [aggregation.value];
  };
  return parts().filter((expression) => expression !== null);
}
