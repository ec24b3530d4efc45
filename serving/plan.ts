/**
 * The serving plan, compiled: readers of records, on-demand functions, and for each service or list of features the vector that
 * answers it. Compiled once per published plan; vectors once per plan and list. No I/O; where plans come from is plan-source.ts.
 */
import { canonicalJson } from '../core/canonical.js';
import { valueEncoder } from '../core/codec/json.js';
import { compileView } from '../core/compile.js';
import type { Entity, FeatureType, ScalarType, StoredView } from '../core/definition.js';
import { FeatureStoreError } from '../core/error.js';
import type { FeatureValue } from '../core/event.js';
import { checkLock, type Lock, lockRefused } from '../core/lock.js';
import { nearest } from '../core/nearest.js';
import { type CompiledOnDemand, compileOnDemand, splitReference } from '../core/on-demand.js';
import { type Reading, readRecord, readSqlRecord } from '../core/record.js';
import type { ServedLock, ServedView, ServingPlan } from '../core/serving-plan.js';
import { cadenceOf } from '../core/vector.js';
import { invalid, type OnlineRequest } from './request.js';

export interface CompiledPlan {
  revision: number;
  generation: string;
  /** Whom requests are from that name no model. */
  usual: CompiledModel;
  models: ReadonlyMap<string, CompiledModel>;
}

/** Whoever reads, and by which locks. */
export interface CompiledModel {
  live: CompiledLock;
  /** Of the requests, `share` of (0, 1) is answered by it. */
  canary: { lock: CompiledLock; share: number } | null;
}

/** What requests are answered by: a lock of a model, or what is live. */
export interface CompiledLock {
  /** "": of no model, what is live. */
  model: string;
  /** null: what is live, or the lock of a file that is none of the model's. */
  number: number | null;
  services: ReadonlyMap<string, { features: readonly string[]; scope: Scope }>;
  /** For features without a service. */
  scope: Scope;
  /** Live views that nobody reads: they are in no scope. */
  unread: ReadonlySet<string>;
  /** Vectors compiled so far, of all locks of the plan, by lock and what was asked. */
  vectors: Map<string, Vector>;
}

/** One version of each view. */
interface Scope {
  views: ReadonlyMap<string, StoredReader>;
  onDemand: ReadonlyMap<string, ComputedView>;
  /** Views of which services of one lock read several versions: they are read by service alone. */
  several: ReadonlySet<string>;
}

interface ComputedView {
  versionId: number;
  version: number;
  compiled: CompiledOnDemand;
}

/** One stored view at its version. */
export interface StoredReader {
  versionId: number;
  version: number;
  /** The field of the entity's Redis hash that holds its record. */
  field: string;
  entity: Entity;
  view: StoredView;
  cadenceMs: number | null;
  /** Null: it has no events. */
  read(record: Uint8Array, at: number): Reading | null;
}

/** Everything needed to answer one list of features, decided before any value is seen. */
export interface Vector {
  /** "": a list of features. */
  service: string;
  lock: CompiledLock;
  /** Join keys by name; each value list is checked against its type. */
  joinKeys: ReadonlyMap<string, 'string' | 'int64'>;
  /** Fields of on-demand views by name. */
  requestFields: ReadonlyMap<string, ScalarType>;
  groups: readonly EntityGroup[];
  /** Version ids whose newest published tick is needed. */
  tickFields: readonly string[];
  onDemand: ReadonlyArray<{ compiled: CompiledOnDemand; inputs: readonly StoredFeature[] }>;
  columns: readonly Column[];
  /** Versions of the views that answer, on-demand ones too. */
  versions: Readonly<Record<string, number>>;
  versionIds: readonly number[];
}

/** The views of one entity: their records stand in one Redis hash. */
export interface EntityGroup {
  entity: Entity;
  readers: StoredReader[];
}

/** Where a stored feature stands: group, reader in it, feature of its view. */
export interface StoredFeature {
  group: number;
  reader: number;
  feature: number;
}

export interface Column {
  name: string;
  view: string;
  encode: (value: FeatureValue) => string;
  source: ({ stored: true } & StoredFeature) | { stored: false; onDemand: number; feature: number };
}

/**
 * @param own the lock of the process itself; null: it has none
 * Throws FS_LAYOUT_UNKNOWN for a plan of another program, FS_LOCK_INVALID when it cannot be read by the process's own lock, and
 * what compiling its definitions throws.
 */
export function compilePlan(plan: ServingPlan, own: Lock | null = null): CompiledPlan {
  if (plan.layout !== 2)
    throw new FeatureStoreError(
      'FS_LAYOUT_UNKNOWN',
      `the serving plan has layout ${String(plan.layout)}, this program reads 2`,
      {
        fix:
          Number(plan.layout) < 2
            ? 'publish it again, by workers of this version: almanac apply'
            : 'start a serving process of the version that published the plan',
      },
    );
  const common = { versions: compileVersions(plan), vectors: new Map<string, Vector>() };
  const compile = (model: string, { number, services }: PlanLock): CompiledLock =>
    compileLock(model, number, services, common);
  const models = plan.models.map(({ name, live: lock, canary }): [string, CompiledModel] => [
    name,
    { live: compile(name, lock), canary: canary && { lock: compile(name, canary), share: canary.share } },
  ]);
  const services = plan.services.map(({ name, features }) => ({ name, features, versions: plan.live }));
  const usual: CompiledModel = {
    live:
      own === null
        ? compileLock('', null, services, common, plan.live, plan.unread)
        : compile(own.model, ownLock(plan, own)),
    canary: null,
  };
  return {
    revision: plan.revision,
    generation: plan.generation,
    usual,
    models: new Map(own === null ? models : [...models, [own.model, usual]]),
  };
}

type PlanLock = Omit<ServedLock, 'number'> & { number: number | null };

/** The process's own lock, in the form of the plan's. Throws FS_LOCK_INVALID with everything that the plan lacks. */
function ownLock(plan: ServingPlan, own: Lock): PlanLock {
  const served = [
    ...plan.views.map((each) => ({ ...each, entity: each.entity as Entity | null })),
    ...plan.onDemand.map((each) => ({ ...each, entity: null })),
  ];
  const idOf = (view: string, version: number): number =>
    served.find((each) => each.view.name === view && each.version === version)!.versionId;
  const idsOf = (service: string): number[] =>
    Object.entries(own.services[service] ?? {}).map(([view, { version }]) => idOf(view, version));
  const model = plan.models.find(({ name }) => name === own.model);
  if (!model) throw lockRefused(`the lock is of the model "${own.model}", which is not registered`, []);
  const versions = [
    ...served.map(({ view, version, hash, versionId, entity }) => ({
      view: view.name,
      version,
      hash,
      state: plan.live.includes(versionId) ? ('live' as const) : ('deprecated' as const),
      kept: { definition: view, entity },
    })),
    ...plan.others.map((each) => ({ ...each, kept: null })),
  ];
  const problems = checkLock(own, versions, plan);
  if (problems.length > 0) throw lockRefused(`the lock of "${own.model}" is not served`, problems);
  const services = Object.keys(own.services).map((name) => ({
    name,
    features: own.features[name]!,
    versions: idsOf(name),
  }));
  const locks = [model.live, ...(model.canary ? [model.canary] : [])];
  return { number: locks.find((lock) => isSame(lock.services, services))?.number ?? null, services };
}

function isSame(a: ServedLock['services'], b: ServedLock['services']): boolean {
  const textOf = (services: ServedLock['services']): string =>
    services
      .map(({ name, features, versions }) =>
        [name, ...features, ...[...versions].sort((x, y) => x - y)].join(' '),
      )
      .sort()
      .join('\n');
  return textOf(a) === textOf(b);
}

/** Of the plan, by id. */
interface Versions {
  stored: ReadonlyMap<number, StoredReader>;
  onDemand: ReadonlyMap<number, ServingPlan['onDemand'][number]>;
}

function compileVersions(plan: ServingPlan): Versions {
  // One object per entity: readers of one are read together.
  const entities = new Map<string, Entity>();
  const one = (entity: Entity): Entity => {
    const text = canonicalJson([entity.name, entity.keys]);
    if (!entities.has(text)) entities.set(text, entity);
    return entities.get(text)!;
  };
  return {
    stored: new Map(plan.views.map((served) => [served.versionId, storedReader(served, one(served.entity))])),
    onDemand: new Map(plan.onDemand.map((served) => [served.versionId, served])),
  };
}

function compileLock(
  model: string,
  number: number | null,
  services: ServedLock['services'],
  { versions, vectors }: { versions: Versions; vectors: CompiledLock['vectors'] },
  all: readonly number[] = [...new Set(services.flatMap(({ versions: ids }) => ids))],
  unread: readonly string[] = [],
): CompiledLock {
  const scopes = new Map<string, Scope>(); // services over the same versions share one
  const scopeOf = (ids: readonly number[]): Scope => {
    const key = [...ids].sort((a, b) => a - b).join();
    if (!scopes.has(key)) scopes.set(key, compileScope(ids, versions));
    return scopes.get(key)!;
  };
  return {
    model,
    number,
    services: new Map(
      services.map(({ name, features, versions: ids }) => [name, { features, scope: scopeOf(ids) }]),
    ),
    scope: scopeOf(all),
    unread: new Set(unread),
    vectors,
  };
}

function compileScope(ids: readonly number[], { stored, onDemand }: Versions): Scope {
  const views = new Map<string, StoredReader>();
  const computed = new Map<string, ServingPlan['onDemand'][number]>();
  const several = new Set<string>();
  for (const id of ids) {
    const name = stored.get(id)?.view.name ?? found(onDemand.get(id), 'version', String(id)).view.name;
    if (views.has(name) || computed.has(name)) several.add(name);
    else if (stored.has(id)) views.set(name, stored.get(id)!);
    else computed.set(name, onDemand.get(id)!);
  }
  for (const name of several) {
    views.delete(name);
    computed.delete(name);
  }
  for (const [name, { view }] of computed)
    if (view.inputs.some((input) => several.has(splitReference(input).view))) {
      computed.delete(name);
      several.add(name);
    }
  const typeOf = (view: string, feature: string): FeatureType => featureType(views, view, feature);
  return {
    views,
    onDemand: new Map(
      [...computed].map(([name, { versionId, version, view }]) => [
        name,
        { versionId, version, compiled: compileOnDemand(view, typeOf) },
      ]),
    ),
    several,
  };
}

function storedReader(served: ServedView, entity: Entity): StoredReader {
  const common = {
    versionId: served.versionId,
    version: served.version,
    field: String(served.versionId),
    entity,
    cadenceMs: cadenceOf(served.view),
  };
  if (served.kind === 'sql') {
    const { view } = served;
    return { ...common, view, read: (record) => readSqlRecord(view, record) };
  }
  const compiled = compileView(served.view, served.source);
  return { ...common, view: served.view, read: (record, at) => readRecord(compiled, record, at) };
}

function featureType(views: Scope['views'], view: string, feature: string): FeatureType {
  const reader = found(views.get(view), 'view', view);
  return found(
    reader.view.features.find((candidate) => candidate.name === feature),
    'feature',
    `${view}:${feature}`,
  ).type;
}

function found<T>(thing: T | undefined, kind: string, name: string): T {
  if (thing === undefined)
    throw new FeatureStoreError(
      'FS_DEFINITION_INVALID',
      `the serving plan names the ${kind} "${name}", which it does not hold`,
      {
        fix: 'publish the plan again: almanac apply',
      },
    );
  return thing;
}

// Clients that spell their lists differently each time must not grow the process; services alone are few.
const VECTORS_KEPT = 1_000;

/** Whose locks answer. @param name null: the request names no model. Throws FS_NOT_FOUND for an unknown one, with the nearest. */
export function modelOf(plan: CompiledPlan, name: string | null): CompiledModel {
  if (name === null) return plan.usual;
  const model = plan.models.get(name);
  if (model) return model;
  return unknown('model', name, [...plan.models.keys()], { header: 'x-almanac-model' });
}

/** The vector of a request. Throws FS_NOT_FOUND for an unknown name, with the nearest known one, and FS_REQUEST_INVALID. */
export function vectorOf(
  lock: CompiledLock,
  request: Pick<OnlineRequest, 'target' | 'fullFeatureNames'>,
): Vector {
  const { target, fullFeatureNames } = request;
  const asked = 'service' in target ? `s:${target.service}` : `f:${target.features.join('\n')}`;
  const key = `${lock.model} ${lock.number} ${fullFeatureNames ? 'full' : 'short'} ${asked}`;
  const known = lock.vectors.get(key);
  if (known) return known;
  const vector = compileVector(lock, target, fullFeatureNames);
  if (lock.vectors.size >= VECTORS_KEPT) lock.vectors.clear();
  lock.vectors.set(key, vector);
  return vector;
}

function getService(
  { model, services }: CompiledLock,
  name: string,
): { features: readonly string[]; scope: Scope } {
  const service = services.get(name);
  if (service) return service;
  return unknown(
    model === '' ? 'feature service' : `feature service in the lock of model "${model}" named`,
    name,
    [...services.keys()],
    { pointer: '/feature_service' },
  );
}

function compileVector(lock: CompiledLock, target: OnlineRequest['target'], full: boolean): Vector {
  const ofService = 'service' in target;
  const { features: references, scope } = ofService
    ? getService(lock, target.service)
    : { features: target.features, scope: lock.scope };
  const joinKeys = new Map<string, 'string' | 'int64'>();
  const requestFields = new Map<string, ScalarType>();
  const groups: EntityGroup[] = [];
  const onDemand: Array<{ compiled: CompiledOnDemand; inputs: StoredFeature[] }> = [];
  const versions: Record<string, number> = Object.create(null) as Record<string, number>;
  const versionIds = new Set<number>();

  const place = (view: string, feature: string, pointer: string): StoredFeature => {
    const reader = scope.views.get(view) ?? noView(lock, scope, view, pointer);
    let group = groups.findIndex((candidate) => candidate.entity === reader.entity);
    if (group < 0) {
      group = groups.push({ entity: reader.entity, readers: [] }) - 1;
      for (const { name, type } of reader.entity.keys) joinKeys.set(name, type);
    }
    const { readers } = groups[group]!;
    if (!readers.includes(reader)) readers.push(reader);
    versions[view] = reader.version;
    versionIds.add(reader.versionId);
    return { group, reader: readers.indexOf(reader), feature: featureIndex(reader.view, feature, pointer) };
  };

  const columns = references.map((reference, index): Column => {
    const { view, feature } = splitReference(reference);
    const pointer = ofService ? '/feature_service' : `/features/${index}`;
    const computed = scope.onDemand.get(view);
    const name = full ? `${view}__${feature}` : feature;
    if (!computed) {
      const source = place(view, feature, pointer);
      const { type } = groups[source.group]!.readers[source.reader]!.view.features[source.feature]!;
      return { name, view, encode: valueEncoder(type), source: { stored: true, ...source } };
    }
    const { compiled, version, versionId } = computed;
    versions[view] = version;
    versionIds.add(versionId);
    let slot = onDemand.findIndex((candidate) => candidate.compiled === compiled);
    if (slot < 0) {
      slot =
        onDemand.push({
          compiled,
          inputs: compiled.inputs.map((input) => place(input.view, input.feature, pointer)),
        }) - 1;
      for (const field of compiled.request) requestFields.set(field.name, field.type);
    }
    const own = featureIndex(compiled.view, feature, pointer);
    const { type } = compiled.view.features[own]!;
    return {
      name,
      view,
      encode: valueEncoder(type),
      source: { stored: false, onDemand: slot, feature: own },
    };
  });
  refuseTwins(columns, joinKeys, ofService);
  const tickFields = groups.flatMap(({ readers }) =>
    readers.filter((r) => r.cadenceMs !== null).map((r) => r.field),
  );
  return {
    service: ofService ? target.service : '',
    lock,
    joinKeys,
    requestFields,
    groups,
    tickFields,
    onDemand,
    columns,
    versions,
    versionIds: [...versionIds],
  };
}

function noView({ model, unread }: CompiledLock, scope: Scope, view: string, pointer: string): never {
  if (unread.has(view))
    throw new FeatureStoreError('FS_NOT_FOUND', `view "${view}" is not served: nobody reads it`, {
      fix: 'name the view in a service and apply',
      pointer,
    });
  if (scope.several.has(view))
    return invalid(
      ['features'],
      `model "${model}" reads several versions of "${view}", by different services`,
      'ask for a service',
    );
  const names = [...scope.views.keys(), ...scope.onDemand.keys()];
  return unknown(model === '' ? 'view' : `view in the lock of model "${model}" named`, view, names, {
    pointer,
  });
}

function featureIndex(
  view: { name: string; features: ReadonlyArray<{ name: string }> },
  feature: string,
  pointer: string,
): number {
  const index = view.features.findIndex((candidate) => candidate.name === feature);
  if (index >= 0) return index;
  const names = view.features.map((candidate) => candidate.name);
  return unknown(`feature of view "${view.name}"`, feature, names, { pointer });
}

function refuseTwins(
  columns: readonly Column[],
  joinKeys: ReadonlyMap<string, string>,
  ofService: boolean,
): void {
  const seen = new Map<string, string>([...joinKeys.keys()].map((name) => [name, 'a join key']));
  columns.forEach(({ name, view }, index) => {
    const other = seen.get(name);
    if (other !== undefined)
      invalid(
        ofService ? ['feature_service'] : ['features', index],
        `the answer would hold "${name}" twice: from view "${view}" and from ${other}`,
        'set "full_feature_names": true',
      );
    seen.set(name, `view "${view}"`);
  });
}

function unknown(
  kind: string,
  name: string,
  known: readonly string[],
  where: { pointer: string } | { header: string },
): never {
  const shown = name.length > 80 ? `${name.slice(0, 80)}…` : name;
  const near = nearest(name, known);
  throw new FeatureStoreError('FS_NOT_FOUND', `there is no ${kind} "${shown}"`, {
    fix: near === null ? 'see what is being served: almanac status' : `did you mean "${near}"?`,
    ...where,
  });
}
