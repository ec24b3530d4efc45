/**
 * The online set: the versions that somebody reads (core/readers.ts). It changes only here, under the definitions' lock, and each
 * change has a number, so that Redis, which refuses records of all other versions, keeps the newest it was told. How a version comes
 * and goes: docs/decisions/0020.
 */
import type { Definitions } from '../core/definition.js';
import type { Plan } from '../core/plan.js';
import { findRevision, readBy, readLive } from './resolve.js';
import { type Pool, type PoolClient, transaction } from './sql.js';

export interface OnlineSet {
  /** Names the data; Redis holds the same. */
  generation: string;
  change: number;
  /** Of stored versions. */
  versionIds: number[];
}

/** Of one instant. */
export async function readOnlineSet(db: Pool | PoolClient): Promise<OnlineSet> {
  const { rows } = await db.query<OnlineSet>(
    `select generation::text, online_change as change,
            array(select id from view_version where online and kind <> 'onDemand' order by id) as "versionIds"
       from generation`,
  );
  return rows[0]!;
}

/**
 * Whether somebody reads a version. A writer asks after it has committed what the record is made of: told no, whoever turns the
 * version on later finds that in Postgres.
 */
export async function isRead(db: Pool | PoolClient, versionId: number): Promise<boolean> {
  const { rowCount } = await db.query('select 1 from view_version where id = $1 and online', [versionId]);
  return rowCount === 1;
}

/** Definitions that are being applied, or were. */
type Applying = { plan: Pick<Plan, 'changes'>; definitions: Definitions };

/** Held to the end of the transaction by whoever changes definitions, or what follows from them. */
export async function lockDefinitions(client: PoolClient): Promise<void> {
  await client.query(
    `select pg_advisory_xact_lock(hashtextextended('almanac definitions ' || current_schema(), 0))`,
  );
}

/** Turns on what the plan's definitions read; nothing is turned off before they are live. Under the definitions' lock. */
export async function turnOn(client: PoolClient, applying: Applying): Promise<void> {
  const { rowCount } = await client.query(
    `update view_version set online = true, in_redis = kind <> 'onDemand'
      where view || '@' || version = any ($1) and not online`,
    [[...(await readNext(client, applying))]],
  );
  if (rowCount !== 0) await countChange(client);
}

/**
 * Turns off what neither the present definitions read nor those being applied. Nothing is owed of it any more. Under the definitions' lock.
 * @param hasServing serving reads by the present state; else it may read what that has left, and only versions that never were live go
 */
export async function turnOff(client: PoolClient, hasServing: boolean): Promise<void> {
  const { rows: open } = await client.query<Applying>(
    `select plan, definitions from plan where state = 'open'`,
  );
  const read = new Set([...(await listRead(client)), ...(open[0] ? await readNext(client, open[0]) : [])]);
  const { rowCount } = await client.query(
    `with gone as (update view_version set online = false
                    where online and not view || '@' || version = any ($1) and ($2 or state = 'abandoned') returning id),
          settled as (delete from owed using gone where version_id = gone.id)
     select 1 from gone`,
    [[...read], hasServing],
  );
  if (rowCount !== 0) await countChange(client);
}

/**
 * Stored versions that have something to serve, and get their first reader with the plan: as long as nobody read them nothing of them
 * went to Redis.
 */
export async function listFirstRead(
  client: PoolClient,
  applying: Applying,
): Promise<Array<{ view: string; version: number }>> {
  const before = await listRead(client);
  const added = [...(await readNext(client, applying))].filter((name) => !before.has(name));
  const { rows } = await client.query<{ view: string; version: number }>(
    `select view, version from view_version v
      where view || '@' || version = any ($1) and kind <> 'onDemand'
        and exists (select 1 from view_progress p where p.version_id = v.id)
      order by view collate "C", version`,
    [added],
  );
  return rows;
}

/** Versions that nobody reads, of which something may be in Redis, as of a change of the set. */
export async function listReclaimable(pool: Pool): Promise<Pick<OnlineSet, 'change' | 'versionIds'>> {
  const { rows } = await pool.query<Pick<OnlineSet, 'change' | 'versionIds'>>(
    `select online_change as change,
            array(select id from view_version where in_redis and not online order by id) as "versionIds"
       from generation`,
  );
  return rows[0]!;
}

/** Nothing of them is in Redis; unless the set has changed since: one that came, and perhaps went, may have left something. */
export function recordReclaimed(
  pool: Pool,
  { change, versionIds }: Pick<OnlineSet, 'change' | 'versionIds'>,
): Promise<void> {
  return transaction(pool, async (client) => {
    await lockDefinitions(client);
    await client.query(
      `update view_version set in_redis = false
        where id = any ($1) and (select online_change from generation) = $2`,
      [versionIds, change],
    );
  });
}

/** What the present definitions read, as view@version: all of it is in Redis. What a plan is about to read is on its way. */
export async function listRead(db: Pool | PoolClient): Promise<Set<string>> {
  const revision = await findRevision(db);
  return revision ? readBy(db, revision.definitions, await readLive(db)) : new Set();
}

async function readNext(client: PoolClient, { plan, definitions }: Applying): Promise<Set<string>> {
  const live = await readLive(client);
  for (const change of plan.changes)
    if (change.kind === 'view')
      if (change.action === 'remove') live.delete(change.name);
      else live.set(change.name, change.version);
  return readBy(client, definitions, live);
}

async function countChange(client: PoolClient): Promise<void> {
  await client.query('update generation set online_change = online_change + 1');
}
