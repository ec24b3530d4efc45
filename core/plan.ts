/**
 * What applying a feature repository would change: a pure difference between what the registry holds and what an author says. It
 * names every creation, change, new version and removal, and what a backfill would have to scan. Reads no store, changes nothing.
 */
import { sha256 } from '@noble/hashes/sha2.js';
import { bytesToHex, utf8ToBytes } from '@noble/hashes/utils.js';
import { canonicalDefinitions, canonicalJson, columnsRead, compareText, versionHash } from './canonical.js';
import { checkDefinitions, type Problem } from './check.js';
import { Definitions, type Entity, type Service, type Source, type View } from './definition.js';
import { FeatureStoreError } from './error.js';

export const VERSION_STATES = [
  'draft', 'backfilling', 'shadow', 'canary', 'live', 'deprecated', 'retired', 'abandoned',
] as const; // biome-ignore format: a row of words
export type VersionState = (typeof VERSION_STATES)[number];

/** What the registry holds. `definitions` is null in an empty one, whose revision is 0. */
export interface Current {
  revision: number;
  definitions: Definitions | null;
  /** Every version there ever was, in any order; at most one of a view is live: the one its unpinned readers read. */
  versions: readonly KnownVersion[];
}

export interface KnownVersion {
  view: string;
  version: number;
  hash: string;
  state: VersionState;
}

/** Per source, what lies in its archive. A source without an entry has nothing there. */
export type Archived = Readonly<Record<string, { events: number; finishedImports: number }>>;

export interface Plan {
  /** It holds against this revision and no other; 0: an empty registry. */
  baseRevision: number;
  /** Of the definitions as they will be. */
  definitionsHash: string;
  changes: Change[];
  warnings: Warning[];
  /** Names the plan. It covers what will be different, not how much there is to scan today. */
  hash: string;
  empty: boolean;
}

export type Change = ItemChange | ViewChange;

export type ItemChange =
  | { action: 'create'; name: string; fields: [] } & Item
  | { action: 'change'; name: string; fields: FieldChange[] } & Item
  | { action: 'remove'; kind: Item['kind']; name: string; fields: []; definition: null }; // biome-ignore format: one line each

type Item =
  | { kind: 'entity'; definition: Entity }
  | { kind: 'source'; definition: Source }
  | { kind: 'service'; definition: Service };

/** `change` leaves every value as it is and makes no version; `version` moves the view's unpinned readers to another one. */
export interface ViewChange {
  action: 'create' | 'change' | 'version' | 'remove';
  kind: 'view';
  name: string;
  /** After the change; null: the view is removed. */
  definition: View | null;
  /** The version that readers get; of a removal, the one that they lose. */
  version: number;
  hash: string;
  /** Create and version: the version existed before and comes back. */
  reused: boolean;
  /** Version: the one that was live. */
  replaces: number | null;
  fields: FieldChange[];
  /** Archived events a backfill will scan; null: unknown, the view is a query. 0 when nothing is computed. */
  rowsToScan: number | null;
}

/** `path` goes by names: features.user_total_purchases.window.ms. Without `before` it is new, without `after` it is gone. */
export interface FieldChange {
  path: string;
  before?: unknown;
  after?: unknown;
}

export interface Warning {
  path: string;
  message: string;
}

/**
 * @param next what the author says, as it came: it is checked here, so that one answer names every problem
 * Throws FS_DEFINITION_INVALID with `problems` for definitions that are wrong in themselves, remove what is in use, or contradict
 * events that are archived already.
 */
export function planDefinitions(current: Current, next: unknown, archived: Archived): Plan {
  const checked = checkDefinitions(next);
  const problems: Problem[] = [...checked.problems];
  const before = current.definitions ?? { entities: [], sources: [], views: [], services: [] };
  // What is too broken to be read has been named; the rest is compared even when the parts do not fit.
  const readable = problems.some(({ code }) => code === 'structure')
    ? null
    : Definitions.safeParse(next).data;
  if (readable) {
    problems.push(...removedButUsed(before, readable));
    problems.push(...before.sources.flatMap((source) => archiveProblems(source, readable, archived)));
  }
  if (problems.length > 0 || checked.definitions === null) throw refusal(problems);
  return compare(current, canonicalDefinitions(before), checked.definitions, archived);
}

/** The exit code of a command that shows a plan: 0 there is nothing to do, 2 there are changes. Errors are 1. */
export function planExitCode(plan: Plan): 0 | 2 {
  return plan.empty ? 0 : 2;
}

function refusal(problems: readonly Problem[]): FeatureStoreError {
  const lines = problems.map(({ path, message, fix }) => `  ${path}: ${message}; ${fix}`);
  const count = problems.length === 1 ? 'one problem' : `${problems.length} problems`;
  return new FeatureStoreError('FS_DEFINITION_INVALID', `${count} in the definitions\n${lines.join('\n')}`, {
    fix: problems.length === 1 ? problems[0]!.fix : 'correct each place named',
    problems,
  });
}

// ---------------------------------------------------------------- the difference

function compare(current: Current, before: Definitions, after: Definitions, archived: Archived): Plan {
  const warnings: Warning[] = [];
  const changes: Change[] = [
    ...compareItems('entity', before.entities, after.entities),
    ...compareItems('source', before.sources, after.sources),
    ...compareViews(current, before, after, archived, warnings),
    ...compareItems('service', before.services, after.services),
  ];
  for (const { action, kind, name } of changes)
    if (action === 'remove' && (kind === 'view' || kind === 'service'))
      warnings.push({
        path: `${kind}s.${name}`,
        message: 'requests that name it are refused once this is applied',
      });
  const definitionsHash = hashDefinitions(after);
  const meaning = changes.map((change) =>
    change.kind === 'view' ? { ...change, rowsToScan: undefined } : change,
  );
  return {
    baseRevision: current.revision,
    definitionsHash,
    changes,
    warnings,
    hash: hashOf({ baseRevision: current.revision, definitionsHash, changes: meaning }),
    empty: changes.length === 0,
  };
}

/** What `definitionsHash` is of: canonical definitions (core/check.ts gives them). */
export function hashDefinitions(definitions: Definitions): string {
  return hashOf(canonicalDefinitions(definitions));
}

function hashOf(value: unknown): string {
  return bytesToHex(sha256(utf8ToBytes(canonicalJson(value))));
}

/** Both sides of everything that has a name on either side, in the order of names. */
function pairs<T extends { name: string }>(
  before: readonly T[],
  after: readonly T[],
): Array<[T | undefined, T | undefined]> {
  const [old, young] = [byName(before), byName(after)];
  const names = [...new Set([...old.keys(), ...young.keys()])].sort(compareText);
  return names.map((name) => [old.get(name), young.get(name)]);
}

function byName<T extends { name: string }>(items: readonly T[]): Map<string, T> {
  return new Map(items.map((item) => [item.name, item]));
}

function compareItems<K extends Item['kind']>(
  kind: K,
  before: ReadonlyArray<Extract<Item, { kind: K }>['definition']>,
  after: ReadonlyArray<Extract<Item, { kind: K }>['definition']>,
): ItemChange[] {
  return pairs<Item['definition']>(before, after).flatMap(([old, young]): ItemChange[] => {
    if (!young) return [{ action: 'remove', kind, name: old!.name, fields: [], definition: null }];
    const item = { kind, name: young.name, definition: young } as Item & { name: string };
    if (!old) return [{ ...item, action: 'create', fields: [] }];
    const fields = differences(old, young);
    return fields.length === 0 ? [] : [{ ...item, action: 'change', fields }];
  });
}

function compareViews(
  current: Current,
  before: Definitions,
  after: Definitions,
  archived: Archived,
  warnings: Warning[],
): ViewChange[] {
  return pairs(before.views, after.views).flatMap(([old, young]): ViewChange[] => {
    const versions = current.versions.filter(({ view }) => view === (young ?? old)!.name);
    const live = versions.find(({ state }) => state === 'live');
    if (!young) {
      const { version = 0, hash = '' } = live ?? {};
      return [
        { action: 'remove', kind: 'view', name: old!.name, definition: null, version, hash, reused: false, replaces: null, fields: [], rowsToScan: 0 },
      ]; // biome-ignore format: one thing
    }
    const hash = versionHash(young, sourceOf(young, after), entityOf(young, after));
    const known = versions.find((version) => version.hash === hash);
    const version = known?.version ?? Math.max(0, ...versions.map((each) => each.version)) + 1;
    const change = { kind: 'view' as const, name: young.name, definition: young, version, hash };
    if (old && live?.hash === hash) {
      const fields = differences(old, young);
      if (fields.length === 0) return [];
      return [{ ...change, action: 'change', reused: false, replaces: null, fields, rowsToScan: 0 }];
    }
    const opened = { ...change, reused: known !== undefined, rowsToScan: rowsToScan(young, archived) };
    warnings.push(...openingWarnings(young, opened.rowsToScan));
    if (!old) return [{ ...opened, action: 'create', replaces: null, fields: [] }];
    for (const service of after.services)
      if (service.features.some((feature) => feature.startsWith(`${young.name}:`)))
        warnings.push({
          path: `services.${service.name}`,
          message: `reads ${young.name} v${version} once it is live`,
        });
    const fields = [...differences(old, young), ...inheritedDifferences(young, before, after)];
    return [{ ...opened, action: 'version', replaces: live?.version ?? null, fields }];
  });
}

function rowsToScan(view: View, archived: Archived): number | null {
  switch (view.kind) {
    case 'aggregation':
      return Object.hasOwn(archived, view.source) ? archived[view.source]!.events : 0;
    case 'sql':
      return null;
    case 'onDemand':
      return 0;
  }
}

function openingWarnings(view: View, rows: number | null): Warning[] {
  const path = `views.${view.name}`;
  if (view.kind === 'aggregation' && rows === 0)
    return [
      {
        path,
        message: `nothing of source "${view.source}" is archived yet: it gives its cold start until an import`,
      },
    ];
  if (view.kind !== 'sql') return [];
  return view.reads
    .filter(({ kind }) => kind === 'snapshot')
    .map(({ table }) => ({
      path,
      message: `table ${table} is a snapshot: values of the past cannot be computed`,
    }));
}

/** Differences of the source and the entity that a view takes its meaning from. */
function inheritedDifferences(view: View, before: Definitions, after: Definitions): FieldChange[] {
  const found: FieldChange[] = [];
  const [oldEntity, newEntity] = [entityOf(view, before), entityOf(view, after)];
  if (oldEntity && newEntity)
    found.push(...differences({ keys: oldEntity.keys }, { keys: newEntity.keys }, 'entity'));
  const [oldSource, newSource] = [sourceOf(view, before), sourceOf(view, after)];
  if (view.kind === 'aggregation' && oldSource && newSource) {
    const read = new Set([oldSource, newSource].flatMap((source) => columnsRead(view, source)));
    const meaning = (source: Source) => ({
      ...pick(source, [
        'kind',
        'input',
        'eventTime',
        'arrival',
        'arrivalDelayMs',
        'id',
        'sequence',
        'retracts',
        'allowedLatenessMs',
      ]),
      columns: Object.fromEntries(Object.entries(source.columns).filter(([name]) => read.has(name))),
    });
    found.push(...differences(meaning(oldSource), meaning(newSource), 'source'));
  }
  return found;
}

function pick<T, K extends keyof T>(item: T, keys: readonly K[]): Record<string, unknown> {
  return Object.fromEntries(keys.map((key) => [key, item[key]]));
}

function sourceOf(view: View, definitions: Definitions): Source | null {
  if (view.kind !== 'aggregation') return null;
  return definitions.sources.find(({ name }) => name === view.source) ?? null;
}

function entityOf(view: View, definitions: Definitions): Entity | null {
  if (view.kind === 'onDemand') return null;
  return definitions.entities.find(({ name }) => name === view.entity) ?? null;
}

/** The places where two pieces of JSON differ, down to what a person would call a field; expressions are one field. */
export function differences(before: unknown, after: unknown, path = ''): FieldChange[] {
  if (before === undefined) return after === undefined ? [] : [{ path, after }];
  if (after === undefined) return [{ path, before }];
  if (canonicalJson(before) === canonicalJson(after)) return [];
  const [old, young] = [parts(before), parts(after)];
  if (!old || !young || Array.isArray(before) !== Array.isArray(after)) return [{ path, before, after }];
  // Of a list of named things (join keys), the order is a meaning of its own.
  const both = (keys: string[], other: Record<string, unknown>): string =>
    keys.filter((key) => Object.hasOwn(other, key)).join();
  if (Array.isArray(before) && both(Object.keys(old), young) !== both(Object.keys(young), old))
    return [{ path, before, after }];
  const keys = [...new Set([...Object.keys(old), ...Object.keys(young)])].sort(compareText);
  return keys.flatMap((key) =>
    differences(
      Object.hasOwn(old, key) ? old[key] : undefined,
      Object.hasOwn(young, key) ? young[key] : undefined,
      path === '' ? key : `${path}.${key}`,
    ),
  );
}

/** What a value is made of: an object's fields, a list's named items; null: it is one thing. */
function parts(value: unknown): Record<string, unknown> | null {
  if (typeof value !== 'object' || value === null) return null;
  if (!Array.isArray(value)) {
    const expression = ['col', 'lit', 'args'].some((key) => Object.hasOwn(value, key));
    return expression ? null : (value as Record<string, unknown>);
  }
  const names = value.map((item: unknown) =>
    typeof item === 'object' && item !== null && 'name' in item && typeof item.name === 'string'
      ? item.name
      : null,
  );
  if (names.length === 0 || names.includes(null) || new Set(names).size < names.length) return null;
  return Object.fromEntries(value.map((item: unknown, index) => [names[index]!, item]));
}

// ---------------------------------------------------------------- what may not change

function removedButUsed(before: Definitions, after: Definitions): Problem[] {
  const problems: Problem[] = [];
  const missing = (kind: 'entities' | 'sources' | 'views', name: string): boolean =>
    before[kind].some((item) => item.name === name) && !after[kind].some((item) => item.name === name);
  const use = (kind: 'entities' | 'sources' | 'views', name: string, user: string): void => {
    if (!missing(kind, name)) return;
    problems.push({
      code: 'unknown-reference',
      path: `${kind}.${name}`,
      message: `is removed, but ${user} reads it`,
      fix: 'put it back, or remove what reads it too',
    });
  };
  const views = (features: readonly string[]): Set<string> =>
    new Set(features.map((feature) => feature.split(':')[0]!));
  for (const view of after.views) {
    const user = `view "${view.name}"`;
    if (view.kind !== 'onDemand') use('entities', view.entity, user);
    if (view.kind === 'aggregation') use('sources', view.source, user);
    if (view.kind === 'onDemand') for (const name of views(view.inputs)) use('views', name, user);
  }
  for (const service of after.services)
    for (const name of views(service.features)) use('views', name, `service "${service.name}"`);
  return problems;
}

/** An archive keeps what it was given: what its events were read with cannot change under them. */
function archiveProblems(old: Source, after: Definitions, archived: Archived): Problem[] {
  const source = after.sources.find(({ name }) => name === old.name);
  if (!source) return [];
  const events = Object.hasOwn(archived, old.name) ? archived[old.name]!.events : 0;
  const problems: Problem[] = [];
  const refuse = (path: string, message: string, fix: string): void => {
    problems.push({ code: 'source', path: `sources.${old.name}.${path}`, message, fix });
  };
  for (const [name, column] of Object.entries(old.columns)) {
    const next = Object.hasOwn(source.columns, name) ? source.columns[name]! : null;
    if (next === null) {
      const readers = after.views.filter(
        (view) =>
          view.kind === 'aggregation' && view.source === old.name && columnsRead(view, source).includes(name),
      );
      if (readers.length > 0)
        refuse(
          `columns.${name}`,
          `is removed, but ${readers.map((view) => `view "${view.name}"`).join(', ')} reads it`,
          'put it back, or change what reads it',
        );
    } else if (events > 0 && next.type !== column.type)
      refuse(
        `columns.${name}.type`,
        `was ${column.type} and becomes ${next.type}, with ${events} events archived`,
        `restore ${column.type}, or declare a new column of type ${next.type}`,
      );
    else if (events > 0 && column.nullable && !next.nullable)
      refuse(
        `columns.${name}.nullable`,
        `becomes false, with ${events} events archived that may lack it`,
        'restore true',
      );
  }
  for (const [name, column] of Object.entries(source.columns))
    if (events > 0 && !Object.hasOwn(old.columns, name) && !column.nullable)
      refuse(
        `columns.${name}.nullable`,
        `is false in a new column, which the ${events} archived events lack`,
        'declare it nullable',
      );
  for (const role of ['eventTime', 'arrival', 'id', 'sequence'] as const)
    if (events > 0 && old[role] !== source[role])
      refuse(
        role,
        `was ${show(old[role])} and becomes ${show(source[role])}, with ${events} events archived by it`,
        'restore it, or declare a new source and import again',
      );
  return problems;
}

// ---------------------------------------------------------------- for people

const WIDTH = 80;
const SIGNS = { create: '+', change: '~', version: '~', remove: '-' } as const;

/** Plain text of at most 80 columns. */
export function renderPlan(plan: Plan): string {
  const lines = wrap(summary(plan), '');
  if (!plan.empty) lines.push('');
  for (const change of plan.changes) {
    lines.push(...wrap(title(change), ''));
    for (const field of change.fields) lines.push(...renderField(field));
  }
  if (plan.warnings.length > 0) lines.push('');
  for (const { path, message } of plan.warnings) lines.push(...wrap(`warning: ${path}: ${message}`, ''));
  const rows = plan.changes.map((change) => (change.kind === 'view' ? change.rowsToScan : 0));
  const total = rows.reduce<number>((sum, count) => sum + (count ?? 0), 0);
  if (total > 0) lines.push('', `backfill: ${grouped(total)} events to scan in all`);
  return `${lines.join('\n')}\n`;
}

function summary(plan: Plan): string {
  const on = plan.baseRevision === 0 ? 'an empty registry' : `revision ${plan.baseRevision}`;
  if (plan.empty) return `no changes on ${on}`;
  const count = (action: Change['action'], word: string): string[] => {
    const found = plan.changes.filter((change) => change.action === action).length;
    return found === 0 ? [] : [`${found} ${word}`];
  };
  const counts = [
    ...count('create', 'to create'),
    ...count('version', 'to a new version'),
    ...count('change', 'to change'),
    ...count('remove', 'to remove'),
  ];
  return `plan ${plan.hash.slice(0, 16)} on ${on}: ${counts.join(', ')}`;
}

function title(change: Change): string {
  const head = `${SIGNS[change.action]} ${change.kind} ${change.name}`;
  if (change.kind !== 'view') return head;
  const again = change.reused ? ', as it was before' : '';
  switch (change.action) {
    case 'create':
      return `${head} v${change.version}${again}${scan(change.rowsToScan)}`;
    case 'version':
      return `${head} ${change.replaces === null ? '' : `v${change.replaces} → `}v${change.version}${again}${scan(change.rowsToScan)}`;
    case 'change':
      return `${head} v${change.version}: same values, no new version`;
    case 'remove':
      return `${head} v${change.version}`;
  }
}

function scan(rows: number | null): string {
  if (rows === null) return ': a query to run';
  return rows === 0 ? '' : `: ${grouped(rows)} events to scan`;
}

function renderField(field: FieldChange): string[] {
  const text =
    field.before === undefined
      ? `${field.path}: + ${show(field.after)}`
      : field.after === undefined
        ? `${field.path}: - ${show(field.before)}`
        : `${field.path}: ${show(field.before)} → ${show(field.after)}`;
  return wrap(text, '    ');
}

function show(value: unknown): string {
  return value === null ? 'none' : canonicalJson(value);
}

function grouped(count: number): string {
  return String(count).replace(/\B(?=(\d{3})+$)/g, ',');
}

/** Lines of at most 80 characters, broken at spaces where there are any; lines after the first stand four deeper. */
function wrap(text: string, indent: string): string[] {
  const lines: string[] = [];
  let rest = Array.from(text.replace(/[\p{Cc}\p{Cf}]/gu, ' '));
  for (let margin = indent; ; margin = `${indent}    `) {
    const room = WIDTH - margin.length;
    if (rest.length <= room) return [...lines, margin + rest.join('')];
    const space = rest.lastIndexOf(' ', room);
    const end = space > room / 2 ? space : room;
    lines.push((margin + rest.slice(0, end).join('')).trimEnd());
    rest = rest.slice(rest[end] === ' ' ? end + 1 : end);
  }
}
