/**
 * Reads the registry: the present definitions, versions by what people call them, and the plan that serving reads. Writes nothing.
 */
import type {
  AggregationView,
  Definitions,
  Entity,
  OnDemandView,
  Source,
  SqlView,
  StoredView,
  View,
} from '../core/definition.js';
import { FeatureStoreError } from '../core/error.js';
import type { Lock } from '../core/lock.js';
import { nearest } from '../core/nearest.js';
import type { VersionState } from '../core/plan.js';
import { versionsRead } from '../core/readers.js';
import type { Edition, ServedLock, ServedModel, ServedView, ServingPlan } from '../core/serving-plan.js';
import { type Pool, type PoolClient, transaction } from './sql.js';

/** One version of a view. `id` names its Redis field and its rows table. */
export type ViewVersion = {
  id: number;
  version: number;
  hash: string;
  state: VersionState;
  /** Somebody reads it: its records are in Redis. */
  online: boolean;
} & (
  | { kind: 'aggregation'; view: AggregationView; source: Source; entity: Entity }
  | { kind: 'sql'; view: SqlView; source: null; entity: Entity }
  | { kind: 'onDemand'; view: OnDemandView; source: null; entity: null }
);
/** A version that has records and rows. */
export type StoredVersion = ViewVersion & { view: StoredView; entity: Entity };

interface VersionRow {
  id: number;
  version: number;
  hash: string;
  kind: View['kind'];
  definition: View;
  source: Source | null;
  entity: Entity | null;
  state: VersionState;
  online: boolean;
}

const VERSION_COLUMNS = 'id, version, hash, kind, definition, source, entity, state, online';

/** What an unpinned reader reads, as a condition on view_version. */
export const LIVE = `state = 'live'`;
/** Those that a model's lock names. */
export const LOCKED = `id in (select version_id from lock_version)`;
/** There ever were. */
export const EVERY = 'true';
/** Versions that streams keep up to date: also one that only models read still, by their locks. */
export const MAINTAINED = `(state in ('backfilling', 'shadow', 'canary', 'live') or online)`;
/** Those of them that have ticks, and something to serve: a locked one also while it is opened again. */
export const IN_USE = `(state = 'live' or state = 'deprecated' and online or ${LOCKED})`;
/** Those that nobody will read again, unless they are applied again. */
export const GIVEN_UP = `(state in ('deprecated', 'retired', 'abandoned') and not online)`;

function versionOf({ definition, ...row }: VersionRow): ViewVersion {
  return { ...row, view: definition } as ViewVersion;
}

export interface Revision {
  revision: number;
  definitions: Definitions;
  definitionsHash: string;
  planHash: string;
  appliedBy: string;
  appliedAt: number;
}

/** The present definitions; null in an empty registry. One row: whole, whatever is being applied. */
export async function findRevision(client: Pool | PoolClient): Promise<Revision | null> {
  const { rows } = await client.query<Revision>(
    `select revision, definitions, definitions_hash as "definitionsHash", plan_hash as "planHash",
            applied_by as "appliedBy", applied_at as "appliedAt"
       from revision
      order by revision desc
      limit 1`,
  );
  return rows[0] ?? null;
}

/**
 * A version by what people call it: "user_orders@2", or "user_orders" for the live version; while none is live, the newest one on its
 * way. Throws FS_REQUEST_INVALID, or FS_NOT_FOUND with the nearest name.
 */
export async function resolveView(client: Pool | PoolClient, reference: string): Promise<ViewVersion> {
  const match = /^([^@]{1,200})(?:@([1-9][0-9]{0,8}))?$/.exec(reference);
  if (!match)
    throw new FeatureStoreError('FS_REQUEST_INVALID', `${show(reference)} names no view`, {
      fix: 'write the name of a view, with @ and a version number if it is not the live one: user_orders@2',
      view: reference.slice(0, 200),
    });
  const [, name, number] = match as unknown as [string, string, string | undefined];
  const { rows } = await client.query<VersionRow>(
    `select ${VERSION_COLUMNS}
       from view_version
      where view = $1
        and case when $2::integer is null then state in ('live', 'canary', 'shadow', 'backfilling', 'draft') else version = $2 end
      order by (state = 'live') desc, version desc
      limit 1`,
    [name, number ?? null],
  );
  if (rows[0]) return versionOf(rows[0]);
  throw await notFound(client, name, number);
}

/** Like resolveView, for what only versions with records and rows can do. Throws FS_REQUEST_INVALID for an on-demand view. */
export async function resolveStoredView(
  client: Pool | PoolClient,
  reference: string,
): Promise<StoredVersion> {
  const version = await resolveView(client, reference);
  if (version.kind !== 'onDemand') return version as StoredVersion;
  throw new FeatureStoreError(
    'FS_REQUEST_INVALID',
    `view "${version.view.name}" is computed on demand: nothing of it is stored`,
    {
      fix: `name one of the views that it reads: ${[...new Set(version.view.inputs.map((input) => input.split(':')[0]))].join(', ')}`,
      view: version.view.name,
    },
  );
}

/** Like resolveStoredView, for what is done to records in Redis. Throws FS_REQUEST_INVALID for a version that nobody reads. */
export async function resolveOnlineView(
  client: Pool | PoolClient,
  reference: string,
): Promise<StoredVersion> {
  const version = await resolveStoredView(client, reference);
  if (version.online) return version;
  throw new FeatureStoreError(
    'FS_REQUEST_INVALID',
    `nobody reads ${version.view.name}@${version.version}: nothing of it is kept in Redis`,
    { fix: 'name the view in a service and apply', view: version.view.name, version: version.version },
  );
}

/** A version by its id. Throws FS_NOT_FOUND. */
export async function getVersion(client: Pool | PoolClient, id: number): Promise<ViewVersion> {
  const { rows } = await client.query<VersionRow>(
    `select ${VERSION_COLUMNS} from view_version where id = $1`,
    [id],
  );
  if (rows[0]) return versionOf(rows[0]);
  throw new FeatureStoreError('FS_NOT_FOUND', `there is no view version with id ${id}`, {
    fix: 'plan and apply again',
  });
}

/** By view and version. */
export async function listVersions(
  client: Pool | PoolClient,
  which: typeof LIVE | typeof LOCKED | typeof EVERY | typeof MAINTAINED | typeof IN_USE | typeof GIVEN_UP,
): Promise<ViewVersion[]> {
  const { rows } = await client.query<VersionRow>(
    `select ${VERSION_COLUMNS} from view_version where ${which} order by view collate "C", version`,
  );
  return rows.map(versionOf);
}

/** A source of the present definitions; null: they have none of this name. */
export async function findSource(client: Pool | PoolClient, name: string): Promise<Source | null> {
  const { definitions } = (await findRevision(client)) ?? {};
  return definitions?.sources.find((each) => each.name === name) ?? null;
}

/** A source of the present definitions. Throws FS_NOT_FOUND with the nearest name. */
export async function getSource(client: Pool | PoolClient, name: string): Promise<Source> {
  const sources = (await findRevision(client))?.definitions.sources ?? [];
  const source = sources.find((each) => each.name === name);
  if (source) return source;
  throw unknownName('source', name, sources.map((each) => each.name)); // biome-ignore format: short
}

/** What serving needs, of one instant. Throws FS_NOT_READY before anything was applied. */
export function compileServingPlan(pool: Pool): Promise<ServingPlan> {
  return transaction(
    pool,
    async (client) => {
      const revision = await findRevision(client);
      if (!revision)
        throw new FeatureStoreError('FS_NOT_READY', 'nothing was applied yet', {
          fix: 'apply definitions: almanac apply',
        });
      const { rows } = await client.query<{ generation: string }>('select generation::text from generation');
      const plan: ServingPlan = {
        layout: 2,
        ...(await readEdition(client)),
        generation: rows[0]!.generation,
        views: [],
        onDemand: [],
        live: [],
        unread: [],
        services: revision.definitions.services,
        models: await readServedModels(client),
        others: [],
      };
      // Online is also what its last reader has just left, and what a plan being applied is about to read.
      const read = await readBy(client, revision.definitions, await readLive(client));
      for (const each of await readServed(client)) {
        const { id: versionId, version, hash, state } = each;
        if (!read.has(`${each.view.name}@${version}`)) {
          plan.unread.push(each.view.name);
          continue;
        }
        if (state === 'live') plan.live.push(versionId);
        if (each.kind === 'onDemand') plan.onDemand.push({ versionId, version, hash, view: each.view });
        else plan.views.push(servedView(each));
      }
      const served = [...plan.views, ...plan.onDemand].map(({ versionId }) => versionId);
      plan.others = (
        await client.query<ServingPlan['others'][number]>(
          `select view, version, hash, state from view_version where id <> all ($1) and state <> 'abandoned' order by view collate "C", version`,
          [served],
        )
      ).rows;
      return plan;
    },
    'repeatable read',
  );
}

/** Of the plan that would be compiled now. */
export async function readEdition(client: PoolClient): Promise<Edition> {
  const { rows } = await client.query<Edition>(
    `select (select coalesce(max(revision), 0)::bigint from revision) as revision,
            (select coalesce(sum(change), 0)::bigint from model) as "modelChanges"`,
  );
  return rows[0]!;
}

/** Versions that are live, and those that a model's lock names. */
async function readServed(client: PoolClient): Promise<ViewVersion[]> {
  const { rows } = await client.query<VersionRow>(
    `select ${VERSION_COLUMNS} from view_version
      where ${LIVE} or ${LOCKED}
      order by view collate "C", version`,
  );
  return rows.map(versionOf);
}

async function readServedModels(client: PoolClient): Promise<ServedModel[]> {
  const { rows } = await client.query<{ model: string; locks: Array<ServedLock & { share: number | null }> }>(
    `select model, json_agg(json_build_object('number', number, 'share', share, 'services', services) order by state desc) as locks
       from (select model, number, state, share,
                    (select json_agg(json_build_object('name', name, 'features', features -> name, 'versions', versions) order by name)
                       from (select service as name, array_agg(version_id order by version_id) as versions
                               from lock_version v
                              where v.model = l.model and v.number = l.number
                              group by service) as pinned) as services
               from model_lock l
              where state <> 'past') as each
      group by model
      order by model collate "C"`,
  );
  return rows.map(({ model: name, locks: [live, canary] }) => {
    const { number, services } = live!;
    return {
      name,
      live: { number, services },
      canary: (canary as ServedModel['canary'] | undefined) ?? null,
    };
  });
}

function servedView(each: Exclude<ViewVersion, { kind: 'onDemand' }>): ServedView {
  const common = { versionId: each.id, version: each.version, hash: each.hash, entity: each.entity };
  return each.kind === 'aggregation'
    ? { ...common, kind: each.kind, view: each.view, source: each.source }
    : { ...common, kind: each.kind, view: each.view };
}

/** Every lock that is read by, for what asks who reads a version. A model with a canary has two. */
export async function listLocks(
  client: Pool | PoolClient,
): Promise<Array<{ name: string; owner: string; lock: Lock['services'] }>> {
  const { rows } = await client.query<{ name: string; owner: string; lock: Lock['services'] }>(
    `select name, owner, lock -> 'services' as lock
       from model_lock join model on name = model
      where state <> 'past'
      order by name collate "C", number`,
  );
  return rows;
}

/** What definitions and the models' locks read, as view@version. @param live view → its live version */
export async function readBy(
  db: Pool | PoolClient,
  definitions: Definitions,
  live: ReadonlyMap<string, number>,
): Promise<Set<string>> {
  const locks = (await listLocks(db)).map(({ lock }) => lock);
  return versionsRead(definitions, live, locks);
}

/** View → its live version. */
export async function readLive(db: Pool | PoolClient): Promise<Map<string, number>> {
  const { rows } = await db.query<{ view: string; version: number }>(
    `select view, version from view_version where state = 'live'`,
  );
  return new Map(rows.map(({ view, version }) => [view, version]));
}

/** Throws FS_NOT_FOUND with the nearest id for the first that was not made. */
export async function assertTrainingSets(db: Pool | PoolClient, ids: readonly string[]): Promise<void> {
  const { rows } = await db.query<{ id: string }>(
    `select given as id from unnest($1::text[]) with ordinality as _ (given, place)
      where not exists (select from training_set where id = given)
      order by place limit 1`,
    [ids],
  );
  if (!rows[0]) return;
  const { rows: recent } = await db.query<{ id: string }>(
    'select id from training_set order by created_at desc limit 1000',
  );
  throw unknownName('training set', rows[0].id, recent.map(({ id }) => id)); // biome-ignore format: short
}

async function notFound(
  client: Pool | PoolClient,
  view: string,
  number: string | undefined,
): Promise<FeatureStoreError> {
  const { rows } = await client.query<{ view: string; version: number; state: VersionState }>(
    'select view, version, state from view_version order by view, version',
  );
  const versions = rows.filter((row) => row.view === view);
  if (versions.length === 0) return unknownName('view', view, [...new Set(rows.map((row) => row.view))]);
  const have = versions.map(({ version, state }) => `v${version} (${state})`).join(', ');
  return new FeatureStoreError(
    'FS_NOT_FOUND',
    number === undefined ? `view "${view}" has no version in use` : `view "${view}" has no version ${number}`,
    { fix: `it has ${have}`, view },
  );
}

/** FS_NOT_FOUND that offers the nearest name there is. */
export function unknownName(what: string, name: string, names: readonly string[]): FeatureStoreError {
  const near = nearest(name, names);
  const fix =
    near !== null
      ? `did you mean "${near}"?`
      : names.length === 0
        ? `there is no ${what} yet: apply definitions that have one`
        : `use one of: ${names.slice(0, 20).join(', ')}`;
  return new FeatureStoreError('FS_NOT_FOUND', `there is no ${what} ${show(name)}`, {
    fix,
    [what]: name.slice(0, 200),
  });
}

function show(name: string): string {
  return JSON.stringify(name.length > 80 ? `${name.slice(0, 80)}…` : name);
}
