/**
 * What serving needs to know of the registry, compiled once per change and published to Redis as one JSON value, so that
 * serving never opens Postgres. Also the names of the platform's own Redis keys.
 */
import type { AggregationView, Entity, OnDemandView, Service, Source, SqlView } from './definition.js';

export interface ServingPlan {
  /** Layout of this document; serving refuses one it does not know. */
  layout: 1;
  /** Registry revision it was compiled from. */
  revision: number;
  /** Equals the generation in Postgres. */
  generation: string;
  entities: Entity[];
  views: ServedView[];
  onDemand: Array<{ version: number; hash: string; view: OnDemandView }>;
  /** Views that nobody reads: nothing of them is online. Absent in plans of older programs, which kept everything. */
  unread?: string[];
  services: Service[];
}

/** A stored view at the version its unpinned readers read. `versionId` names the Redis field of its records. */
export type ServedView = { versionId: number; version: number; hash: string } & (
  | { kind: 'aggregation'; view: AggregationView; source: Source }
  | { kind: 'sql'; view: SqlView }
);

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
