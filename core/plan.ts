/**
 * What applying a feature repository would change: a pure difference between what the registry holds and what an author says. It
 * names every creation, change, new version and removal, and what a backfill would have to scan. Reads no store, changes nothing.
 */
import { sha256 } from '@noble/hashes/sha2.js';
import { bytesToHex, utf8ToBytes } from '@noble/hashes/utils.js';
import { canonicalDefinitions, canonicalJson, columnsRead, compareText, versionHash } from './canonical.js';
import { checkDefinitions, type Problem, refusal } from './check.js';
import {
  Definitions,
  type Entity,
  type Owner,
  type RuleSeverity,
  type Service,
  type Source,
  type Succession,
  type View,
} from './definition.js';
import { differences, type FieldChange } from './difference.js';
import {
  type Estimate,
  estimate,
  estimateRefill,
  type Facts,
  type Model,
  NO_COST,
  rowsToScan,
  servicesByView,
  type Touched,
  touchedBy,
} from './impact.js';
import { judge } from './policy.js';
import { versionsRead } from './readers.js';
import { archiveProblems, otherProject, removedButLocked, removedButUsed, sourcesLocked } from './refused.js';

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

export interface Plan {
  /** It holds against this revision and no other; 0: an empty registry. */
  baseRevision: number;
  /** Of the definitions as they will be. */
  definitionsHash: string;
  changes: Change[];
  /** What is live, and gets its first reader: it is refilled before the plan is live. Those that are opened say what they cost themselves. */
  firstRead: FirstRead[];
  /** What readers will notice, and the rules that the policy only warns of. */
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
  | { kind: 'project'; definition: { name: string } }
  | { kind: 'policy'; definition: { name: string; severity: RuleSeverity } }
  | { kind: 'owner'; definition: Owner }
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
  /** Version: what it is to the one that was live; what is not declared counts as breaking. Else null. */
  succession: Succession | 'undeclared' | null;
  touched: Touched;
  /** Archived events a backfill will scan; null: unknown, the view is a query. 0 when nothing is computed. */
  rowsToScan: number | null;
  estimate: Estimate;
}

export interface FirstRead {
  view: string;
  version: number;
  estimate: Estimate;
}

/** `code` and `fix`: of a rule that is broken; `unseen`: a table that could not be looked at. */
export interface Warning {
  path: string;
  message: string;
  code?: string;
  fix?: string;
}

/**
 * @param next what the author says, as it came: it is checked here, so that one answer names every problem
 * Throws FS_DEFINITION_INVALID with `problems` for definitions that are wrong in themselves, are another project's, remove what is in
 * use, contradict events that are archived already, or break a rule that is an error.
 */
export function planDefinitions(current: Current, next: unknown, facts: Facts): Plan {
  const checked = checkDefinitions(next);
  const problems: Problem[] = [...checked.problems];
  const before = current.definitions ?? { entities: [], sources: [], views: [], services: [] };
  // What is too broken to be read has been named; the rest is compared even when the parts do not fit.
  const isBroken = problems.some(({ code }) => code === 'structure');
  const readable = checked.definitions ?? (isBroken ? null : Definitions.safeParse(next).data);
  if (readable) {
    problems.push(...otherProject(before, readable));
    problems.push(...removedButUsed(before, readable));
    problems.push(...removedButLocked(before, readable, facts.models ?? []));
    problems.push(...sourcesLocked(readable, facts.models ?? [], facts.locked ?? []));
    problems.push(
      ...before.sources.flatMap((source) => archiveProblems(source, readable, facts.archived ?? {})),
    );
  }
  if (problems.length > 0 || checked.definitions === null) throw refusal(problems);
  const plan = compare(current, canonicalDefinitions(before), checked.definitions, facts);
  const { errors, warnings } = judge(
    [...successionProblems(plan.changes), ...leftModels(checked.definitions, facts.models ?? [])],
    checked.definitions.policy,
  );
  if (errors.length > 0) throw refusal(errors);
  return { ...plan, warnings: [...checked.warnings, ...warnings, ...plan.warnings] };
}

/**
 * What each removal takes away: `apply` wants these names said again, where several have one name with what each is: view:user. Of
 * rules and owners nothing is stored.
 */
export function removals({ changes }: Plan): string[] {
  const removed = changes.filter(
    ({ action, kind }) => action === 'remove' && kind !== 'policy' && kind !== 'owner',
  );
  return removed.map(({ kind, name }) =>
    removed.filter((each) => each.name === name).length === 1 ? name : `${kind}:${name}`,
  );
}

/** The exit code of a command that shows a plan: 0 there is nothing to do, 2 there are changes. Errors are 1. */
export function planExitCode(plan: Plan): 0 | 2 {
  return plan.empty ? 0 : 2;
}

// ---------------------------------------------------------------- the difference

function compare(current: Current, before: Definitions, after: Definitions, facts: Facts): Plan {
  const warnings: Warning[] = [];
  const changes: Change[] = [
    ...compareItems('project', projectOf(before), projectOf(after)),
    ...compareItems('policy', rulesOf(before), rulesOf(after)),
    ...compareItems('owner', before.owners ?? [], after.owners ?? []),
    ...compareItems('entity', before.entities, after.entities),
    ...compareItems('source', before.sources, after.sources),
    ...compareViews(current, before, after, facts, warnings),
    ...compareItems('service', before.services, after.services),
  ];
  for (const { action, kind, name } of changes)
    if (action === 'remove' && (kind === 'view' || kind === 'service'))
      warnings.push({
        path: `${kind}s.${name}`,
        message: 'requests that name it are refused once this is applied',
      });
  const plan = { baseRevision: current.revision, definitionsHash: hashDefinitions(after), changes };
  const firstRead = listFirstRead(current, before, after, changes, facts);
  return { ...plan, firstRead, warnings, hash: hashPlan(plan), empty: changes.length === 0 };
}

/** Of what stays live, what nobody reads now and somebody will. What has nothing stored is no refill. */
function listFirstRead(
  current: Current,
  before: Definitions,
  after: Definitions,
  changes: readonly Change[],
  facts: Facts,
): FirstRead[] {
  const opened = new Set(
    changes.filter(({ kind, action }) => kind === 'view' && action !== 'change').map(({ name }) => name),
  );
  const live = new Map(
    current.versions.filter(({ state }) => state === 'live').map(({ view, version }) => [view, version]),
  );
  const locks = (facts.models ?? []).map(({ lock }) => lock);
  const [read, next] = [versionsRead(before, live, locks), versionsRead(after, live, locks)];
  return after.views.flatMap((view): FirstRead[] => {
    const version = live.get(view.name);
    if (version === undefined || view.kind === 'onDemand' || opened.has(view.name)) return [];
    const reference = `${view.name}@${version}`;
    if (read.has(reference) || !next.has(reference) || rowsToScan(view, facts) === 0) return [];
    return [{ view: view.name, version, estimate: estimateRefill(view, facts) }];
  });
}

/** Covers what will be different: not whom it touches, nor what it costs. */
export function hashPlan({
  baseRevision,
  definitionsHash,
  changes,
}: Pick<Plan, 'baseRevision' | 'definitionsHash' | 'changes'>): string {
  const meaning = changes.map((change) =>
    change.kind === 'view'
      ? { ...change, touched: undefined, rowsToScan: undefined, estimate: undefined }
      : change,
  );
  return hashOf({ baseRevision, definitionsHash, changes: meaning });
}

const projectOf = ({ project }: Definitions): Array<{ name: string }> =>
  project === undefined ? [] : [{ name: project }];

const rulesOf = ({ policy = {} }: Definitions): Array<{ name: string; severity: RuleSeverity }> =>
  Object.entries(policy).map(([name, severity]) => ({ name, severity }));

/** What definitions hold of a kind of change. */
export function itemsOf(
  definitions: Definitions,
  kind: Change['kind'],
): ReadonlyArray<NonNullable<Change['definition']>> {
  switch (kind) {
    case 'project':
      return projectOf(definitions);
    case 'policy':
      return rulesOf(definitions);
    case 'owner':
      return definitions.owners ?? [];
    case 'entity':
      return definitions.entities;
    case 'source':
      return definitions.sources;
    case 'view':
      return definitions.views;
    case 'service':
      return definitions.services;
  }
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
  facts: Facts,
  warnings: Warning[],
): ViewChange[] {
  const readers = servicesByView(after);
  return pairs(before.views, after.views).flatMap(([old, young]): ViewChange[] => {
    const { name } = (young ?? old)!;
    const versions = current.versions.filter(({ view }) => view === name);
    const live = versions.find(({ state }) => state === 'live');
    const services = readers.get(name) ?? [];
    const still = {
      kind: 'view' as const,
      name,
      reused: false,
      replaces: null,
      fields: [],
      succession: null,
      touched: touchedBy(name, live?.version ?? null, null, services, facts),
      rowsToScan: 0,
      estimate: NO_COST,
    };
    if (!young) {
      const { version = 0, hash = '' } = live ?? {};
      return [{ ...still, action: 'remove', definition: null, version, hash }];
    }
    const hash = versionHash(young, sourceOf(young, after), entityOf(young, after));
    const known = versions.find((version) => version.hash === hash);
    const version = known?.version ?? Math.max(0, ...versions.map((each) => each.version)) + 1;
    const change = { ...still, definition: young, version, hash };
    if (old && live?.hash === hash) {
      const fields = differences(old, young);
      return fields.length === 0 ? [] : [{ ...change, action: 'change', fields }];
    }
    const opened = {
      ...change,
      reused: known !== undefined,
      rowsToScan: rowsToScan(young, facts),
      estimate: estimate(young, before, services.length > 0, facts),
    };
    warnings.push(...openingWarnings(young, opened.rowsToScan));
    if (!old) return [{ ...opened, action: 'create' }];
    const replaces = live?.version ?? null;
    const succession = young.succeeds?.version === replaces ? young.succeeds.as : 'undeclared';
    const touched = touchedBy(name, replaces, succession, services, facts);
    const fields = [...differences(old, young), ...inheritedDifferences(young, before, after)];
    return [{ ...opened, action: 'version', replaces, fields, succession, touched }];
  });
}

function successionProblems(changes: readonly Change[]): Problem[] {
  return changes.flatMap((change): Problem[] => {
    if (change.kind !== 'view' || change.succession !== 'undeclared' || change.replaces === null) return [];
    const { name, version, replaces, definition } = change;
    const said = definition?.succeeds;
    return [
      {
        code: 'succession',
        path: `views.${name}.succeeds`,
        message: said
          ? `says what v${version} is to v${said.version}, and v${replaces} is live: it counts as breaking`
          : `is not said of v${version}, which replaces v${replaces}: it counts as breaking`,
        fix: `say succeeds: { version: ${replaces}, as: 'same' (or 'fix', 'breaking'), reason: '…' }`,
      },
    ];
  });
}

function leftModels({ owners = [] }: Definitions, models: readonly Model[]): Problem[] {
  const left = new Set(owners.filter(({ hasLeft }) => hasLeft).map(({ name }) => name.normalize('NFC')));
  return models
    .filter(({ owner }) => left.has(owner.normalize('NFC')))
    .map(({ name, owner }) => ({
      code: 'owner-left',
      path: `owners.${owner}`,
      message: `has left and owns model "${name}"`,
      fix: 'give it to others',
    }));
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
