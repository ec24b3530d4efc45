/**
 * What a change of a view touches, and about what it costs. Touched is who reads the view; costs are estimates from what is known of
 * the stores, and are in no hash. Pure: the facts are given.
 */
import type { Definitions, FeatureType, Source, StoredView, Succession, View } from './definition.js';

/** Per source, what lies in its archive. A source without an entry has nothing there. */
export type Archived = Readonly<Record<string, { events: number; finishedImports: number }>>;

/** What one lock of a model reads: service → view → version. A model with a canary has two. */
export type Lock = Readonly<Record<string, Readonly<Record<string, { version: number; hash: string }>>>>;
export interface Model {
  name: string;
  owner: string;
  lock: Lock;
}

export interface LockedVersion {
  version: number;
  view: View;
  /** null: it reads none. */
  source: Source | null;
}

/** What is known beside the definitions; what is not given is not there. */
export interface Facts {
  archived?: Archived;
  models?: readonly Model[];
  /** The versions in their locks. */
  locked?: readonly LockedVersion[];
  /** The versions each was made of, as "view@2". */
  trainingSets?: ReadonlyArray<{ id: string; versions: readonly string[] }>;
  /** By view, of its live version: entities, and bytes of its tick rows with their indexes. */
  stored?: Readonly<Record<string, { entities: number; rowBytes: number }>>;
}

export interface Touched {
  /** Services that list its features, or on-demand features over them. */
  services: string[];
  /** Models whose lock reads the view; `version` is what they read and go on reading. `retrain`: its values mean something else now. */
  models: Array<{ name: string; owner: string; services: string[]; version: number; retrain: boolean }>;
  /** Made of the version that readers had until now. */
  trainingSets: string[];
}

/** Of a backfill or a refill, about; null: unknown. */
export interface Estimate {
  minutes: number | null;
  postgresBytes: number | null;
  redisBytes: number | null;
}

/** The slowest view of docs/decisions/0007-backfill-and-ticks.md, on two shared cores. */
const EVENTS_PER_SECOND = 50_000;
/** So much of a backfill is a record of a refill, which reads a snapshot and writes it to Redis alone; a guess on the safe side. */
const EVENTS_PER_RECORD = 10;

/** Bytes of a value in a record, about: lists and maps as of ten elements. */
const VALUE_BYTES: Readonly<Record<FeatureType, number>> = {
  string: 16, int64: 5, float64: 9, bool: 1, timestamp: 7,
  'list<string>': 160, 'list<int64>': 50, 'list<float64>': 80,
  'map<string,string>': 320, 'map<string,int64>': 210, 'map<string,float64>': 250,
}; // biome-ignore format: a table
/** Header of a record and its field in the entity's hash; a tick row with key, times and index entries. */
const RECORD_BYTES = 60;
const ROW_BYTES = 150;
/** What stands online at most: record.ts cuts it there. */
const RECORD_BYTES_MAX = 512;

/**
 * @param replaced the version that readers had until now; null: none
 * @param succession of the version that they get; null: they get none, or the values that they had
 * @param services those that read it, once the plan is applied
 */
export function touchedBy(
  name: string,
  replaced: number | null,
  succession: Succession | 'undeclared' | null,
  services: readonly string[],
  { models = [], trainingSets = [] }: Facts,
): Touched {
  return {
    services: [...services],
    models: readersOf(name, models).map((reader) => ({
      ...reader,
      retrain: succession !== null && succession !== 'same',
    })),
    trainingSets:
      replaced === null
        ? []
        : trainingSets.filter(({ versions }) => versions.includes(`${name}@${replaced}`)).map(({ id }) => id),
  };
}

/** Models whose lock reads the view, each with the services by which it does. */
export function readersOf(
  view: string,
  models: readonly Model[],
): Array<{ name: string; owner: string; services: string[]; version: number }> {
  return models.flatMap(({ name, owner, lock }) => {
    const services = Object.keys(lock).filter((service) => Object.hasOwn(lock[service]!, view));
    return services.length === 0
      ? []
      : [{ name, owner, services, version: lock[services[0]!]![view]!.version }];
  });
}

/** By view, the services that list its features, or on-demand features over them. */
export function servicesByView({ views, services }: Definitions): ReadonlyMap<string, string[]> {
  const inputs = new Map(
    views.map((view) => [view.name, view.kind === 'onDemand' ? view.inputs.map(viewOf) : []]),
  );
  const found = new Map<string, string[]>();
  for (const service of services) {
    const listed = service.features.map(viewOf);
    for (const view of new Set([...listed, ...listed.flatMap((name) => inputs.get(name) ?? [])]))
      found.set(view, [...(found.get(view) ?? []), service.name]);
  }
  return found;
}

/** The view in "view:feature". */
export const viewOf = (reference: string): string => reference.split(':')[0]!;

/** Archived events that a backfill of the view scans; null: unknown, it is a query. */
export function rowsToScan(view: View, { archived = {} }: Facts): number | null {
  switch (view.kind) {
    case 'aggregation':
      return known(archived, view.source)?.events ?? 0;
    case 'sql':
      return null;
    case 'onDemand':
      return 0;
  }
}

/** What it takes to compute a version from nothing: as many entities as the view has, or else others of its entity. Online: somebody reads it. */
export function estimate(view: View, before: Definitions, isOnline: boolean, facts: Facts): Estimate {
  const rows = rowsToScan(view, facts);
  if (view.kind === 'onDemand' || rows === 0) return NO_COST;
  const present = known(facts.stored ?? {}, view.name);
  const entities = present?.entities ?? entitiesBeside(view, before, facts);
  const values = valueBytes(view);
  const snapshot = view.kind === 'sql' ? 0 : RECORD_BYTES + values;
  return {
    minutes: rows === null ? null : rows / EVENTS_PER_SECOND / 60,
    postgresBytes:
      entities === null ? null : (present?.rowBytes ?? entities * (ROW_BYTES + values)) + entities * snapshot,
    redisBytes: !isOnline ? 0 : entities === null ? null : entities * recordBytes(view),
  };
}

/** What it takes to bring a version online that is there already: a record of each of its entities. */
export function estimateRefill(view: StoredView, facts: Facts): Estimate {
  const entities = known(facts.stored ?? {}, view.name)?.entities ?? null;
  return {
    minutes: entities === null ? null : (entities * EVENTS_PER_RECORD) / EVENTS_PER_SECOND / 60,
    postgresBytes: 0,
    redisBytes: entities === null ? null : entities * recordBytes(view),
  };
}

const valueBytes = ({ features }: View): number =>
  features.reduce((sum, { type }) => sum + VALUE_BYTES[type], 0);
const recordBytes = (view: View): number => Math.min(RECORD_BYTES + valueBytes(view), RECORD_BYTES_MAX);

export const NO_COST: Estimate = { minutes: 0, postgresBytes: 0, redisBytes: 0 };

function entitiesBeside(
  { entity }: StoredView,
  { views }: Definitions,
  { stored = {} }: Facts,
): number | null {
  const others = views.flatMap((view) =>
    view.kind !== 'onDemand' && view.entity === entity ? (known(stored, view.name)?.entities ?? []) : [],
  );
  return others.length === 0 ? null : Math.max(...others);
}

function known<T>(record: Readonly<Record<string, T>>, name: string): T | null {
  return Object.hasOwn(record, name) ? record[name]! : null;
}
