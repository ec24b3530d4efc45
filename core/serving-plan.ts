/**
 * What serving needs to know of the registry, compiled once per change and published to Redis as one JSON value, so that
 * serving never opens Postgres. Also the names of the platform's own Redis keys.
 */
import type { AggregationView, Entity, OnDemandView, Service, Source, SqlView } from './definition.js';
import type { VersionState } from './plan.js';

/** What a plan was compiled from: it tells which of two is newer. */
export interface Edition {
  /** Of the registry. */
  revision: number;
  /** How many changes of models it has seen. */
  modelChanges: number;
}

export interface ServingPlan extends Edition {
  /** Layout of this document; serving refuses one it does not know. */
  layout: 2;
  /** Equals the generation in Postgres. */
  generation: string;
  /** Every version that is live or locked, several of one view too. */
  views: ServedView[];
  onDemand: Array<ServedVersion & { view: OnDemandView }>;
  /** Ids of the live ones: what readers without a lock get. */
  live: number[];
  /** Live views that nobody reads: nothing of them is online. */
  unread: string[];
  services: Service[];
  models: ServedModel[];
  /** Every other version that there was to read, for a lock that names one. */
  others: Array<{ view: string; version: number; hash: string; state: VersionState }>;
}

/** `versionId` names the Redis field of its records. */
export interface ServedVersion {
  versionId: number;
  version: number;
  hash: string;
}
export type ServedView = ServedVersion & { entity: Entity } & (
    | { kind: 'aggregation'; view: AggregationView; source: Source }
    | { kind: 'sql'; view: SqlView }
  );

export interface ServedModel {
  name: string;
  live: ServedLock;
  /** Of the requests, `share` of (0, 1) is answered by it. */
  canary: (ServedLock & { share: number }) | null;
}
export interface ServedLock {
  number: number;
  /** Each with its features, as they were when it was locked, and the ids of the versions that it reads. */
  services: Array<{ name: string; features: string[]; versions: number[] }>;
}

/** The plan: a string. */
export const planKey = (environment: string): string => `${environment}:plan`;
/** Newest published tick of batch and sql view versions: a hash of version id → epoch ms in decimal. */
export const progressKey = (environment: string): string => `${environment}:progress`;
/**
 * The versions whose records are kept, and no others: a hash of version id → 1, and `change`, which numbers the set. Writers and
 * removers look at it with each record; absent: nothing is written.
 */
export const onlineSetKey = (environment: string): string => `${environment}:online`;
/** The generation of the data: a string; absent in an empty Redis, and until all that was served is back in it. */
export const generationKey = (environment: string): string => `${environment}:generation`;
/** While an emptied Redis is refilled: a set of the version ids that are back, and of the refills under way. */
export const refilledKey = (environment: string): string => `${environment}:refilled`;
/**
 * Requests that serving answered and nobody has collected: a hash of `[minute, model, service, version id]` → requests. Minutes since
 * 1970; model "" was not named, service "" was a list of features.
 */
export const readsKey = (environment: string): string => `${environment}:reads`;
