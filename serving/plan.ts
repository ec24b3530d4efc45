/**
 * The serving plan, compiled: readers of records, on-demand functions, and for each service or list of features the vector that
 * answers it. Compiled once per published plan; vectors once per plan and list. No I/O; where plans come from is plan-source.ts.
 */
import { valueEncoder } from '../core/codec/json.js';
import { compileView } from '../core/compile.js';
import type { Entity, FeatureType, ScalarType, StoredView } from '../core/definition.js';
import { FeatureStoreError } from '../core/error.js';
import type { FeatureValue } from '../core/event.js';
import { type CompiledOnDemand, compileOnDemand, splitReference } from '../core/on-demand.js';
import { type Reading, readRecord, readSqlRecord } from '../core/record.js';
import type { ServedView, ServingPlan } from '../core/serving-plan.js';
import { cadenceOf } from '../core/vector.js';
import { invalid, type OnlineRequest } from './request.js';

export interface CompiledPlan {
  revision: number;
  generation: string;
  views: ReadonlyMap<string, StoredReader>;
  onDemand: ReadonlyMap<string, { version: number; compiled: CompiledOnDemand }>;
  /** Views that nobody reads: nothing of them is here. */
  unread: ReadonlySet<string>;
  services: ReadonlyMap<string, readonly string[]>;
  /** Vectors compiled so far, by what was asked. */
  vectors: Map<string, Vector>;
}

/** One stored view at its version. */
export interface StoredReader {
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

/** Throws FS_LAYOUT_UNKNOWN for a plan newer than this program, and what compiling its definitions throws. */
export function compilePlan(plan: ServingPlan): CompiledPlan {
  if (plan.layout !== 1)
    throw new FeatureStoreError(
      'FS_LAYOUT_UNKNOWN',
      `the serving plan has layout ${String(plan.layout)}, this program reads 1`,
      {
        fix: 'start a serving process of the version that published the plan',
      },
    );
  const entities = new Map(plan.entities.map((entity) => [entity.name, entity]));
  const views = new Map(plan.views.map((served) => [served.view.name, storedReader(served, entities)]));
  const typeOf = (view: string, feature: string): FeatureType => featureType(views, view, feature);
  return {
    revision: plan.revision,
    generation: plan.generation,
    views,
    onDemand: new Map(
      plan.onDemand.map(({ version, view }) => [
        view.name,
        { version, compiled: compileOnDemand(view, typeOf) },
      ]),
    ),
    unread: new Set(plan.unread),
    services: new Map(plan.services.map((service) => [service.name, service.features])),
    vectors: new Map(),
  };
}

function storedReader(served: ServedView, entities: ReadonlyMap<string, Entity>): StoredReader {
  const common = {
    version: served.version,
    field: String(served.versionId),
    entity: found(entities.get(served.view.entity), 'entity', served.view.entity),
    cadenceMs: cadenceOf(served.view),
  };
  if (served.kind === 'sql') {
    const { view } = served;
    return { ...common, view, read: (record) => readSqlRecord(view, record) };
  }
  const compiled = compileView(served.view, served.source);
  return { ...common, view: served.view, read: (record, at) => readRecord(compiled, record, at) };
}

function featureType(views: CompiledPlan['views'], view: string, feature: string): FeatureType {
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

/** The vector of a request. Throws FS_NOT_FOUND for an unknown name, with the nearest known one, and FS_REQUEST_INVALID. */
export function vectorOf(
  plan: CompiledPlan,
  request: Pick<OnlineRequest, 'target' | 'fullFeatureNames'>,
): Vector {
  const { target, fullFeatureNames } = request;
  const asked = 'service' in target ? `s:${target.service}` : `f:${target.features.join('\n')}`;
  const key = `${fullFeatureNames ? 'full' : 'short'} ${asked}`;
  const known = plan.vectors.get(key);
  if (known) return known;
  const references = 'service' in target ? serviceFeatures(plan, target.service) : target.features;
  const vector = compileVector(plan, references, fullFeatureNames, 'service' in target);
  if (plan.vectors.size >= VECTORS_KEPT) plan.vectors.clear();
  plan.vectors.set(key, vector);
  return vector;
}

function serviceFeatures(plan: CompiledPlan, service: string): readonly string[] {
  const features = plan.services.get(service);
  if (features) return features;
  return unknown('feature service', service, [...plan.services.keys()], '/feature_service');
}

function compileVector(
  plan: CompiledPlan,
  references: readonly string[],
  full: boolean,
  ofService: boolean,
): Vector {
  const joinKeys = new Map<string, 'string' | 'int64'>();
  const requestFields = new Map<string, ScalarType>();
  const groups: EntityGroup[] = [];
  const onDemand: Array<{ compiled: CompiledOnDemand; inputs: StoredFeature[] }> = [];
  const versions: Record<string, number> = Object.create(null) as Record<string, number>;

  const place = (view: string, feature: string, pointer: string): StoredFeature => {
    const reader = plan.views.get(view) ?? noReader(plan, view, pointer);
    let group = groups.findIndex((candidate) => candidate.entity === reader.entity);
    if (group < 0) {
      group = groups.push({ entity: reader.entity, readers: [] }) - 1;
      for (const { name, type } of reader.entity.keys) joinKeys.set(name, type);
    }
    const { readers } = groups[group]!;
    if (!readers.includes(reader)) readers.push(reader);
    versions[view] = reader.version;
    return { group, reader: readers.indexOf(reader), feature: featureIndex(reader.view, feature, pointer) };
  };

  const columns = references.map((reference, index): Column => {
    const { view, feature } = splitReference(reference);
    const pointer = ofService ? '/feature_service' : `/features/${index}`;
    const computed = plan.onDemand.get(view);
    const name = full ? `${view}__${feature}` : feature;
    if (!computed) {
      const source = place(view, feature, pointer);
      const { type } = groups[source.group]!.readers[source.reader]!.view.features[source.feature]!;
      return { name, view, encode: valueEncoder(type), source: { stored: true, ...source } };
    }
    const { compiled, version } = computed;
    versions[view] = version;
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
  return { joinKeys, requestFields, groups, tickFields, onDemand, columns, versions };
}

function noReader(plan: CompiledPlan, view: string, pointer: string): never {
  if (!plan.unread.has(view))
    return unknown('view', view, [...plan.views.keys(), ...plan.onDemand.keys()], pointer);
  throw new FeatureStoreError('FS_NOT_FOUND', `view "${view}" is not served: no service reads it`, {
    fix: 'name the view in a service and apply',
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
  return unknown(`feature of view "${view.name}"`, feature, names, pointer);
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

function unknown(kind: string, name: string, known: readonly string[], pointer: string): never {
  const shown = name.length > 80 ? `${name.slice(0, 80)}…` : name;
  const near = nearest(name, known);
  throw new FeatureStoreError('FS_NOT_FOUND', `there is no ${kind} "${shown}"`, {
    fix: near === null ? 'see what is being served: almanac status' : `did you mean "${near}"?`,
    pointer,
  });
}

/** The known name with the fewest edits to `name`, if these are no more than a third of it (at least 2); else null. */
export function nearest(name: string, known: readonly string[]): string | null {
  if (name.length > 80) return null;
  let best: string | null = null;
  let fewest = Math.max(2, Math.floor(name.length / 3)) + 1;
  for (const candidate of known) {
    const distance = edits(name, candidate);
    if (distance < fewest) [best, fewest] = [candidate, distance];
  }
  return best;
}

// Levenshtein's distance, one row at a time.
function edits(a: string, b: string): number {
  let row = Array.from({ length: b.length + 1 }, (_, j) => j);
  for (let i = 1; i <= a.length; i++) {
    const next = [i];
    for (let j = 1; j <= b.length; j++)
      next[j] = Math.min(row[j]! + 1, next[j - 1]! + 1, row[j - 1]! + (a[i - 1] === b[j - 1] ? 0 : 1));
    row = next;
  }
  return row[b.length]!;
}
