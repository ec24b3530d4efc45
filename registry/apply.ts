/**
 * Applies a plan. The only writer of revisions and versions; each function is one transaction under one lock, and may be repeated or
 * killed at any statement.
 *
 *   savePlan ─→ openRevision ─→ (backfills) ─→ activate        whoever reads sees the old revision until activate, the new one after
 *                    └───────────────┴──────→ abandonPlan      and the old one for ever
 *
 * From savePlan on a plan has its turn, until it is activated or abandoned. Whoever comes meanwhile, and a plan whose base has moved,
 * gets FS_PLAN_STALE and changes nothing.
 */
import type { Definitions, Entity, Source, View } from '../core/definition.js';
import { FeatureStoreError } from '../core/error.js';
import type { Archived, Facts } from '../core/impact.js';
import {
  type Change,
  type Current,
  itemsOf,
  type KnownVersion,
  type Plan,
  planDefinitions,
  type ViewChange,
} from '../core/plan.js';
import { removedButLocked, sourcesLocked } from '../core/refused.js';
import type { Edition } from '../core/serving-plan.js';
import { streamOf } from '../core/stream.js';
import { type Entry, record } from './audit.js';
import { writeCatalog } from './catalog.js';
import { listFirstRead, lockDefinitions, turnOff, turnOn } from './online.js';
import { findRevision, LIVE, LOCKED, listLocks, listVersions, readEdition } from './resolve.js';
import type { Runs, StartRun } from './runs.js';
import { type Pool, type PoolClient, transaction } from './sql.js';
import { createArchive, createKeyIndex, createRows, dropRows, findArchiveConflicts } from './tables.js';

/** A version that a plan opened. */
export interface OpenedVersion {
  versionId: number;
  view: string;
  version: number;
  kind: View['kind'];
  /** Its state before; null: it did not exist. */
  before: KnownVersion['state'] | null;
  /** As it was said before: what is no part of a version may be other by now. */
  definition: View | null;
  /** Archived events to scan, when the plan was made; null: a query. 0 for on-demand views. */
  rowsToScan: number | null;
}

export interface OpenedRevision {
  /** What it is, or will be. */
  revision: number;
  /** The plan was activated before: nothing is left to do but publishing. */
  applied: boolean;
  /** Versions to fill, then activate; on-demand views are among them and have nothing to fill. */
  opened: OpenedVersion[];
  /** Versions whose records are to be in Redis by then, and were not: nobody has read them before. */
  firstRead: Array<{ view: string; version: number }>;
}

/** What the definitions would change now. Throws FS_DEFINITION_INVALID with every problem. Saves nothing. */
export function computePlan(pool: Pool, definitions: unknown): Promise<Plan> {
  return transaction(
    pool,
    async (client) => {
      const current = await readCurrent(client);
      const plan = planDefinitions(current, definitions, await readFacts(client));
      const sources = plan.changes.flatMap((change) =>
        change.kind === 'source' && change.action !== 'remove' ? [change.definition] : [],
      );
      // A source or a column that was removed left its archive behind.
      const conflicts: FeatureStoreError[] = [];
      for (const source of sources)
        conflicts.push(
          ...(await findArchiveConflicts(client, source)),
          ...(await findTopicConflicts(client, source)),
        );
      if (conflicts.length > 0)
        throw new FeatureStoreError(
          'FS_DEFINITION_INVALID',
          conflicts.map(({ message }) => message).join('\n'),
          {
            fix: conflicts[0]!.details.fix,
            problems: conflicts.map(({ message, details }) => ({
              code: 'source',
              path: `sources.${String(details.source)}.${String(details.path)}`,
              message,
              fix: details.fix,
            })),
          },
        );
      return plan;
    },
    'repeatable read',
  );
}

/** Offsets in an archive are those of one topic. */
async function findTopicConflicts(client: PoolClient, source: Source): Promise<FeatureStoreError[]> {
  const stream = streamOf(source);
  if (stream === null) return [];
  const { rows } = await client.query<{ topic: string }>(
    `select topic from stream_offset where source = $1 and next_offset > 0 and topic <> current_schema() || '.' || $2`,
    [source.name, stream.topic],
  );
  return rows.map(
    ({ topic }) =>
      new FeatureStoreError(
        'FS_CONFLICT',
        `source "${source.name}" declares the topic ${stream.topic}; it has read ${topic} (the name of the environment, then the topic)`,
        {
          fix: 'restore the topic, or declare a new source for the other one',
          source: source.name,
          path: source.stream ? 'stream.topic' : 'input.topic',
        },
      ),
  );
}

async function readCurrent(client: PoolClient): Promise<Current> {
  const revision = await findRevision(client);
  const { rows } = await client.query<KnownVersion>('select view, version, hash, state from view_version');
  return { revision: revision?.revision ?? 0, definitions: revision?.definitions ?? null, versions: rows };
}

/** What a plan is told beside the definitions. */
async function readFacts(client: PoolClient): Promise<Facts> {
  const archived = await readArchived(client);
  const { rows: trainingSets } = await client.query<{ id: string; versions: string[] }>(
    `select id, array(select format('%s@%s', read ->> 'view', read ->> 'version')
                        from jsonb_array_elements(coalesce(manifest -> 'views', '[]') || coalesce(manifest -> 'onDemand', '[]')) as read)
              as versions
       from training_set
      order by id`,
  );
  // Entities as the greatest backfill counted them: snapshots are too many to count.
  const { rows: stored } = await client.query<{ view: string; entities: number; rowBytes: number }>(
    `select view, entities, pg_total_relation_size(to_regclass(format('rows_%s', id))) as "rowBytes"
       from view_version
       join lateral (select sum(entities)::bigint as entities
                       from backfill join backfill_chunk on backfill_id = backfill.id
                      where version_id = view_version.id
                      group by backfill.id order by 1 desc limit 1) as filled on true
      where state = 'live' and kind <> 'onDemand'`,
  );
  return {
    archived,
    models: await listLocks(client),
    locked: await listVersions(client, LOCKED),
    trainingSets,
    stored: Object.fromEntries(stored.map(({ view, ...of }) => [view, of])),
  };
}

/** By the ledgers of imports and streams, which count in the transactions that archive: the archives themselves are too long to count. */
export async function readArchived(client: Pool | PoolClient): Promise<Archived> {
  const { rows } = await client.query<{ source: string; events: number; finished: number }>(
    `select source, sum(events)::bigint as events, sum(finished)::bigint as finished
       from (select source, coalesce((counts ->> 'archived')::bigint, 0) as events, (state = 'finished')::int as finished from import
              union all
             select source, archived, 0 from stream_offset) as ledger
      group by source`,
  );
  return Object.fromEntries(
    rows.map(({ source, events, finished }) => [source, { events, finishedImports: finished }]),
  );
}

/**
 * Keeps the plan and its definitions under its hash, for a workflow that carries the hash alone, gives it its turn and begins its run.
 * One that has its turn, or was activated, keeps it: its run goes on, or another follows. Throws FS_PLAN_STALE when the base has moved,
 * a model reads what the plan removes, or another plan is being applied; one whose run has ended without activating or abandoning it
 * (terminated by hand) is given up.
 *
 * The run begins inside the transaction, under the lock that its first step waits for: a plan that has its turn has a run, or had one.
 * Hence one without a run is never about to get it from another request, and nobody's death leaves a turn that is not used. A run
 * whose plan was not committed finds none, and ends.
 * @param runs left out: the caller begins the run
 */
export async function savePlan(
  pool: Pool,
  plan: Plan,
  definitions: Definitions,
  by: string = 'unknown',
  runs?: Pick<Runs, 'isRunning' | 'start'>,
): Promise<void> {
  await findLeft(pool, plan.hash, runs); // at once: a step of the other may hold the lock for minutes
  return transaction(pool, async (client) => {
    await lockDefinitions(client);
    const state = (await findPlanState(client, plan.hash))?.state ?? 'abandoned';
    if (state === 'abandoned') {
      await assertBase(client, plan);
      await assertUnlocked(client, { plan, definitions });
      const left = await findLeft(client, plan.hash, runs);
      if (left !== null) await giveUp(client, await readPlan(client, left), by);
      // Abandoned just now, by a run that has not ended: it must not be taken for the next.
      if (await runs?.isRunning(applyId(plan.hash))) throw beingApplied(plan.hash);
      await client.query(
        `insert into plan (hash, base_revision, definitions, plan, saved_by) values ($1, $2, $3, $4, $5)
         on conflict (hash) do update set plan = excluded.plan, saved_by = excluded.saved_by, state = 'saved', opened = '[]'`,
        [plan.hash, plan.baseRevision, JSON.stringify(definitions), JSON.stringify(plan), by],
      );
      await record(client, [planEntry('save', plan, by)]);
    }
    await runs?.start(applyRun(plan, by));
  });
}

/** The other plan that has its turn, if its run has ended. Throws FS_PLAN_STALE when that goes on. */
async function findLeft(
  db: Pool | PoolClient,
  planHash: string,
  runs?: Pick<Runs, 'isRunning'>,
): Promise<string | null> {
  const other = await findOther(db, planHash);
  if (other === null || (runs && !(await runs.isRunning(applyId(other))))) return other;
  throw beingApplied(other);
}

/** The run that applies a plan. */
export const applyId = (planHash: string): string => `apply/${short(planHash)}`;

export function applyRun({ hash, baseRevision, changes }: Plan, by: string): StartRun {
  return {
    workflow: 'applyPlan',
    id: applyId(hash),
    input: { planHash: hash, by },
    summary: `apply on revision ${baseRevision}: ${changes.length} changes`,
    ...(by === 'unknown' ? {} : { owner: by }),
  };
}

/** What was done with a plan; what it did to each thing stands in rows of its own. */
function planEntry(action: string, { hash, baseRevision }: Plan, who: string, after: object = {}): Entry {
  return {
    who,
    action,
    kind: 'plan',
    name: short(hash),
    after: { baseRevision, ...after },
    planHash: hash,
    workflow: applyId(hash),
  };
}

/**
 * Makes the plan's new versions, their tables and the indexes they need; nobody reads them yet. Throws FS_NOT_FOUND for an unknown
 * plan, FS_PLAN_STALE for one that was given up.
 */
export function openRevision(pool: Pool, planHash: string): Promise<OpenedRevision> {
  return transaction(pool, async (client) => {
    const saved = await lockPlan(client, planHash);
    const revision = saved.plan.baseRevision + (saved.plan.empty ? 0 : 1);
    if (saved.state === 'applied') return { revision, applied: true, opened: saved.opened, firstRead: [] };
    if (saved.state === 'open') return openedOf(client, saved, revision);
    if (saved.state === 'abandoned')
      throw new FeatureStoreError('FS_PLAN_STALE', `plan ${short(planHash)} was given up`, {
        fix: 'plan again and apply that',
        plan: planHash,
      });
    for (const source of saved.definitions.sources) await createArchive(client, source);
    const opened: OpenedVersion[] = [];
    for (const change of saved.plan.changes)
      if (change.kind === 'view' && (change.action === 'create' || change.action === 'version'))
        opened.push(await openVersion(client, change, saved.definitions));
    await client.query(`update plan set state = 'open', opened = $2 where hash = $1`, [
      planHash,
      JSON.stringify(opened),
    ]);
    await turnOn(client, saved);
    await record(client, [
      planEntry('open', saved.plan, saved.by, {
        versions: opened.map(({ view, version }) => `${view}@${version}`),
      }),
    ]);
    return openedOf(client, { ...saved, opened }, revision);
  });
}

async function openedOf(client: PoolClient, saved: SavedPlan, revision: number): Promise<OpenedRevision> {
  return { revision, applied: false, opened: saved.opened, firstRead: await listFirstRead(client, saved) };
}

/**
 * Makes the plan the present revision: one transaction moves every reader. Throws FS_CONFLICT for a plan that is not open, FS_PLAN_STALE
 * when a model reads what it removes.
 */
export function activate(pool: Pool, planHash: string, by: string): Promise<{ revision: number }> {
  return transaction(pool, async (client) => {
    const saved = await lockPlan(client, planHash);
    const revision = saved.plan.baseRevision + (saved.plan.empty ? 0 : 1);
    if (saved.state === 'applied') return { revision };
    if (saved.state !== 'open')
      throw new FeatureStoreError('FS_CONFLICT', `plan ${short(planHash)} is ${saved.state}, not open`, {
        fix: 'apply the definitions again',
        plan: planHash,
      });
    await assertUnlocked(client, saved);
    const before = (await findRevision(client))?.definitions;
    if (!saved.plan.empty)
      await client.query(
        `insert into revision (revision, definitions, definitions_hash, plan_hash, applied_by) values ($1, $2, $3, $4, $5)`,
        [revision, JSON.stringify(saved.definitions), saved.plan.definitionsHash, planHash, by],
      );
    for (const change of saved.plan.changes) if (change.kind === 'view') await moveReaders(client, change);
    await refreshCopies(client, saved.definitions);
    await writeCatalog(client, saved.definitions, await listVersions(client, LIVE));
    await client.query(`update plan set state = 'applied' where hash = $1`, [planHash]);
    await record(client, [
      planEntry('activate', saved.plan, by, { revision }),
      ...saved.plan.changes.map((change) => changeEntry(change, before, saved.plan.hash, by)),
    ]);
    return { revision };
  });
}

/**
 * Gives up a plan that was not activated: the versions it made are abandoned with all that Postgres holds of them, those it took up
 * again are as they were, and what only it would have read is read by nobody. Gives the ids of those that are abandoned; none when
 * there was nothing to give up.
 * @param by who gives it up; left out: the run of whoever saved it
 */
export function abandonPlan(pool: Pool, planHash: string, by?: string): Promise<{ versionIds: number[] }> {
  return transaction(pool, async (client) => {
    const saved = await lockPlan(client, planHash);
    return saved.state === 'applied' ? { versionIds: [] } : giveUp(client, saved, by ?? saved.by);
  });
}

/**
 * What nobody reads any more, once serving has the present plan. Where it has an older one, whoever made the change since publishes it,
 * and settles then. @param published of the plan that serving has; null: it has none
 */
export function settleOnline(pool: Pool, published: Edition | null): Promise<void> {
  return transaction(pool, async (client) => {
    await lockDefinitions(client);
    const { revision, modelChanges } = await readEdition(client);
    await turnOff(client, revision === published?.revision && modelChanges === published.modelChanges);
  });
}

/** A saved plan and how far it came. */
export async function findPlanState(
  db: Pool | PoolClient,
  planHash: string,
): Promise<{ plan: Plan; state: SavedPlan['state'] } | null> {
  const { rows } = await db.query<{ plan: Plan; state: SavedPlan['state'] }>(
    'select plan, state from plan where hash = $1',
    [planHash],
  );
  return rows[0] ?? null;
}

// ---------------------------------------------------------------- inside the transactions

interface SavedPlan {
  plan: Plan;
  definitions: Definitions;
  state: 'saved' | 'open' | 'applied' | 'abandoned';
  opened: OpenedVersion[];
  by: string;
}

async function lockPlan(client: PoolClient, planHash: string): Promise<SavedPlan> {
  await lockDefinitions(client);
  return readPlan(client, planHash);
}

async function readPlan(client: PoolClient, planHash: string): Promise<SavedPlan> {
  const { rows } = await client.query<SavedPlan>(
    'select plan, definitions, state, opened, saved_by as by from plan where hash = $1',
    [planHash],
  );
  if (rows[0]) return rows[0];
  throw new FeatureStoreError('FS_NOT_FOUND', `there is no plan ${short(planHash)}`, {
    fix: 'send the definitions to apply',
    plan: planHash,
  });
}

async function assertBase(client: PoolClient, plan: Plan): Promise<void> {
  const { rows } = await client.query<{ revision: number }>(
    'select coalesce(max(revision), 0)::bigint as revision from revision',
  );
  const { revision } = rows[0]!;
  if (revision === plan.baseRevision) return;
  throw new FeatureStoreError(
    'FS_PLAN_STALE',
    `plan ${short(plan.hash)} was made on revision ${plan.baseRevision}; the registry is at ${revision}`,
    {
      fix: 'plan again and look at what is different now',
      plan: plan.hash,
      baseRevision: plan.baseRevision,
      revision,
    },
  );
}

/** Models move while a plan waits and fills, and make no revision: what they read by now stays. */
async function assertUnlocked(
  client: PoolClient,
  { plan, definitions }: Pick<SavedPlan, 'plan' | 'definitions'>,
): Promise<void> {
  const before = (await findRevision(client))?.definitions;
  const models = await listLocks(client);
  const problems = [
    ...(before ? removedButLocked(before, definitions, models) : []),
    ...sourcesLocked(definitions, models, await listVersions(client, LOCKED)),
  ];
  if (problems.length === 0) return;
  throw new FeatureStoreError(
    'FS_PLAN_STALE',
    [
      `plan ${short(plan.hash)} takes away what models read since`,
      ...problems.map(({ path, message }) => `${path}: ${message}`),
    ].join('\n'),
    { fix: problems[0]!.fix, plan: plan.hash, problems },
  );
}

/** Another plan that has its turn. */
async function findOther(db: Pool | PoolClient, planHash: string): Promise<string | null> {
  const { rows } = await db.query<{ hash: string }>(
    `select hash from plan where state in ('saved', 'open') and hash <> $1`,
    [planHash],
  );
  return rows[0]?.hash ?? null;
}

function beingApplied(planHash: string): FeatureStoreError {
  return new FeatureStoreError('FS_PLAN_STALE', `plan ${short(planHash)} is being applied`, {
    fix: `wait for ${applyId(planHash)} to end, then plan again`,
    plan: planHash,
  });
}

async function giveUp(client: PoolClient, saved: SavedPlan, by: string): Promise<{ versionIds: number[] }> {
  const versionIds: number[] = [];
  for (const { versionId, before, definition } of saved.opened) {
    if (before === null || before === 'abandoned') versionIds.push(versionId);
    // Asked again, the state may be another's: a later plan opened or activated the version.
    if (saved.state === 'abandoned') continue;
    await client.query(
      'update view_version set state = $2, definition = coalesce($3, definition) where id = $1',
      [versionId, before ?? 'abandoned', json(definition)],
    );
    if (before === null || before === 'abandoned') await dropVersion(client, versionId);
  }
  if (saved.state !== 'abandoned') {
    await client.query(`update plan set state = 'abandoned' where hash = $1`, [saved.plan.hash]);
    await turnOff(client, false);
    await record(client, [planEntry('abandon', saved.plan, by)]);
  }
  if (versionIds.length === 0) return { versionIds };
  const { rows } = await client.query<{ id: number }>(
    `select id from view_version where id = any ($1) and state = 'abandoned' order by id`,
    [versionIds],
  );
  return { versionIds: rows.map(({ id }) => id) };
}

async function openVersion(
  client: PoolClient,
  change: ViewChange,
  definitions: Definitions,
): Promise<OpenedVersion> {
  const view = change.definition!;
  const { source, entity } = copiesFor(view, definitions);
  const state = view.kind === 'onDemand' ? 'draft' : 'backfilling';
  const found = await findOpened(client, change);
  const { rows } = await client.query<{ id: number }>(
    `insert into view_version (view, version, hash, kind, definition, source, entity, state)
     values ($1, $2, $3, $4, $5, $6, $7, $8)
     on conflict (view, hash) do update set state = excluded.state, definition = excluded.definition
     returning id`,
    [
      view.name,
      change.version,
      change.hash,
      view.kind,
      JSON.stringify(view),
      json(source),
      json(entity),
      state,
    ],
  );
  const versionId = rows[0]!.id;
  // A stream may still read with the columns of one that is in use.
  if (found?.state === 'abandoned')
    await client.query('update view_version set source = $2, entity = $3 where id = $1', [
      versionId,
      json(source),
      json(entity),
    ]);
  if (entity && view.kind !== 'onDemand') await createRows(client, versionId, view, entity);
  if (entity && source && view.kind === 'aggregation') await createKeyIndex(client, source, entity, view.key);
  return {
    versionId,
    view: view.name,
    version: change.version,
    kind: view.kind,
    before: found?.state ?? null,
    definition: found?.definition ?? null,
    rowsToScan: change.rowsToScan,
  };
}

/** The version that the plan names, null if there is none. A plan made before another gave up its versions may clash. */
async function findOpened(
  client: PoolClient,
  { name, version, hash }: ViewChange,
): Promise<(KnownVersion & { definition: View }) | null> {
  const { rows } = await client.query<KnownVersion & { definition: View }>(
    'select view, version, hash, state, definition from view_version where view = $1 and (version = $2 or hash = $3)',
    [name, version, hash],
  );
  const [found] = rows;
  if (!found) return null;
  if (found.version === version && found.hash === hash) return found;
  throw new FeatureStoreError(
    'FS_PLAN_STALE',
    `${name} v${version} was taken by another plan, given up since`,
    {
      fix: 'plan again: it gets another number',
      view: name,
    },
  );
}

async function moveReaders(client: PoolClient, change: ViewChange): Promise<void> {
  if (change.action === 'change') return;
  // First the one that leaves: a view never has two live versions.
  await client.query(`update view_version set state = 'deprecated' where view = $1 and state = 'live'`, [
    change.name,
  ]);
  if (change.action === 'remove') return;
  const { name, version, replaces, succession, definition } = change;
  const declared = succession === 'undeclared' ? null : succession;
  await client.query(
    `update view_version set state = 'live', succeeds = $3, succession = $4, reason = $5
      where view = $1 and version = $2`,
    [name, version, replaces, declared, declared && definition?.succeeds?.reason],
  );
}

/** What is no part of a version (owner, description, cadence of tick rows, a column it does not read) is kept as the authors say now. */
async function refreshCopies(client: PoolClient, definitions: Definitions): Promise<void> {
  for (const view of definitions.views) {
    const { source, entity } = copiesFor(view, definitions);
    await client.query(
      `update view_version set definition = $2, source = $3, entity = $4
        where view = $1 and state = 'live'
          and (definition, source, entity) is distinct from ($2::jsonb, $3::jsonb, $4::jsonb)`,
      [view.name, JSON.stringify(view), json(source), json(entity)],
    );
  }
  // What only models read goes on with its source: events are folded by the order of all columns.
  for (const { name, columns } of definitions.sources)
    await client.query(
      `update view_version set source = jsonb_set(source, '{columns}', $2)
        where kind = 'aggregation' and source ->> 'name' = $1 and state <> 'live' and online`,
      [name, JSON.stringify(columns)],
    );
}

function copiesFor(view: View, definitions: Definitions): { source: Source | null; entity: Entity | null } {
  const source =
    view.kind === 'aggregation' ? definitions.sources.find(({ name }) => name === view.source) : null;
  const entity =
    view.kind === 'onDemand' ? null : definitions.entities.find(({ name }) => name === view.entity);
  return { source: source ?? null, entity: entity ?? null };
}

function json(value: unknown): string | null {
  return value === null ? null : JSON.stringify(value);
}

async function dropVersion(client: PoolClient, versionId: number): Promise<void> {
  await dropRows(client, versionId);
  await client.query(
    'delete from backfill_chunk where backfill_id in (select id from backfill where version_id = $1)',
    [versionId],
  );
  for (const table of [
    'backfill',
    'snapshot',
    'stream_attached',
    'tick',
    'tick_rows',
    'tick_tally',
    'view_progress',
  ])
    await client.query(`delete from ${table} where version_id = $1`, [versionId]);
  // Why its backfill was refused stays.
  await client.query(`delete from feature_statistics where version_id = $1 and what = 'tick'`, [versionId]);
}

/** Of a view with its version, before and after. */
function changeEntry(
  change: Change,
  definitions: Definitions | undefined,
  planHash: string,
  who: string,
): Entry {
  const { action, kind, name, definition } = change;
  const old = definitions && itemsOf(definitions, kind).find((each) => each.name === name);
  const with_ = (version: number | null, of: object): object =>
    kind === 'view' ? { version, definition: of } : of;
  const { version, replaces } = kind === 'view' ? change : { version: null, replaces: null };
  return {
    who,
    action,
    kind,
    name,
    ...(old && { before: with_(action === 'version' ? replaces : version, old) }),
    ...(definition && { after: with_(version, definition) }),
    planHash,
    workflow: applyId(planHash),
  };
}

function short(planHash: string): string {
  return planHash.slice(0, 16);
}
