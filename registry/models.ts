/**
 * Models and their locks: the only writer of both. Each change is one transaction under the definitions' lock, is refused whole, and
 * counts on `change`, by which of two that come together one is told that it lost. Making serving read by it is its run's (workflows/pin.ts).
 */
import { z } from 'zod';
import { FeatureStoreError } from '../core/error.js';
import {
  checkLock,
  Lock,
  type LockableVersion,
  type LockProblem,
  lockOf,
  lockRefused,
} from '../core/lock.js';
import { nameProblem } from '../core/naming.js';
import { formatTimestamp } from '../core/time.js';
import { record } from './audit.js';
import { listRead, lockDefinitions } from './online.js';
import { type Page, type PageQuery, readPage } from './page.js';
import { Count, Timestamp } from './requests.js';
import { assertTrainingSets, findRevision, unknownName } from './resolve.js';
import type { StartRun } from './runs.js';
import { type Pool, type PoolClient, transaction } from './sql.js';

export interface Registration {
  name: string;
  owner: string;
  description: string;
  /** The services it reads, at the versions that are live; or, of a lock, at those. */
  reads: { services: readonly string[] } | { lock: Lock };
  /** Ids of the training sets that it learned from. */
  trainedOn?: readonly string[];
  by: string;
}

/** A change that was made; `change` numbers it among those of its model. */
export interface ModelChange {
  model: string;
  change: number;
}

/** Throws FS_CONFLICT for a model that is registered, FS_NAME_INVALID, FS_NOT_FOUND for a service or a training set, FS_LOCK_INVALID. */
export function registerModel(
  pool: Pool,
  { name, owner, description, reads, trainedOn = [], by }: Registration,
): Promise<ModelChange> {
  const problem = nameProblem(name, 'name');
  if (problem)
    throw new FeatureStoreError('FS_NAME_INVALID', problem.message, { fix: problem.fix, field: 'name' });
  return changing(pool, { model: name, action: 'register', by }, async (client) => {
    const { rowCount } = await client.query(
      `insert into model (name, owner, description, registered_by) values ($1, $2, $3, $4)
       on conflict (name) do update
         set owner = excluded.owner, description = excluded.description, registered_by = excluded.registered_by,
             registered_at = now(), removed_at = null
         where model.removed_at is not null`,
      [name, owner, description, by],
    );
    if (rowCount === 0)
      throw new FeatureStoreError('FS_CONFLICT', `model "${name}" is registered already`, {
        fix: `move it by: almanac pin ${name}; or choose another name`,
        model: name,
      });
    const known = await readLockable(client);
    const lock = 'lock' in reads ? reads.lock : lockOf(name, known, known.versions, reads.services);
    await addLock(client, name, { lock, share: 1, trainedOn }, known, by);
  });
}

/** With a share below 1 it becomes the model's canary, and with 1 its live lock. */
interface NewLock {
  lock: Lock;
  share: number;
  /** Ids of the training sets that the model learned from which reads by it. */
  trainedOn?: readonly string[] | undefined;
}
/** What becomes of a model's locks. */
export type Move = NewLock | 'promote' | 'abort';

export interface Pin {
  model: string;
  move: Move;
  /** The model's `change` that the caller has seen; null: any. */
  seen: number | null;
  by: string;
}

/** Throws FS_NOT_FOUND, also for a training set, FS_PRECONDITION_FAILED for a change that is not the last, FS_LOCK_INVALID, FS_CONFLICT without a canary. */
export function pinModel(pool: Pool, { model, move, seen, by }: Pin): Promise<ModelChange> {
  const action = typeof move === 'object' ? 'pin' : move;
  return changing(pool, { model, action, by }, async (client) => {
    await getForChange(client, model, seen);
    if (typeof move === 'object') await addLock(client, model, move, await readLockable(client), by);
    else {
      if (move === 'promote')
        await client.query(
          `update model_lock set state = 'past' where model = $1 and state = 'live'
        and exists (select 1 from model_lock where model = $1 and state = 'canary')`,
          [model],
        );
      const { rowCount } = await client.query(
        `update model_lock set state = $2, share = null where model = $1 and state = 'canary'`,
        [model, move === 'promote' ? 'live' : 'past'],
      );
      if (rowCount === 0)
        throw new FeatureStoreError('FS_CONFLICT', `model "${model}" has no canary to ${move}`, {
          fix: `begin one: almanac pin ${model} --lock almanac.lock --share 10`,
          model,
        });
    }
  });
}

/** It reads nothing any more; its locks and what it read stay known. */
export function removeModel(pool: Pool, { model, seen, by }: Omit<Pin, 'move'>): Promise<ModelChange> {
  return changing(pool, { model, action: 'remove', by }, async (client) => {
    await getForChange(client, model, seen);
    await client.query(
      `update model_lock set state = 'past', share = null where model = $1 and state <> 'past'`,
      [model],
    );
    await client.query('update model set removed_at = now() where name = $1', [model]);
  });
}

const pinId = ({ model, change }: ModelChange): string => `pin/${model}/${change}`;

/** The run that makes serving read by a change, and by all that went before. One that never began is begun by the repairs. */
export function pinRun({ model, change }: ModelChange): StartRun {
  return {
    workflow: 'pin',
    id: pinId({ model, change }),
    input: { model, change },
    summary: `model ${model}, change ${change}: what it reads`,
  };
}

const LockItem = z.strictObject({
  number: Count,
  state: z.enum(['live', 'canary', 'past']),
  /** Percent of the model's requests. */
  share: z.number(),
  services: Lock.shape.services,
  features: Lock.shape.features,
  /** Ids of training sets. */
  trainedOn: z.array(z.string()),
  createdAt: Timestamp,
  createdBy: z.string(),
});
const ReadItem = z.strictObject({
  service: z.string(),
  view: z.string(),
  version: Count,
  reads: Count,
  /** The minute. */
  lastRead: Timestamp,
});
export const ModelItem = z
  .strictObject({
    name: z.string(),
    owner: z.string(),
    description: z.string(),
    registeredAt: Timestamp,
    registeredBy: z.string(),
    change: Count,
    /** The live one, then the canary. */
    locks: z.array(LockItem),
    reads: Count,
    lastRead: Timestamp.nullable(),
  })
  .meta({ id: 'Model' });
export type ModelItem = z.infer<typeof ModelItem>;
export const ModelDetails = ModelItem.extend({
  /** Of each service and version, as far as they are collected: every minute. Service "": lists of features. */
  readsOf: z.array(ReadItem),
}).meta({ id: 'ModelDetails' });
export type ModelDetails = z.infer<typeof ModelDetails>;

const MODELS = `
  select name, owner, description, registered_at as "registeredAt", registered_by as "registeredBy", change,
         (select json_agg(json_build_object('number', number, 'state', state, 'share', 100 * coalesce(share, 1),
                   'services', lock -> 'services', 'features', features, 'trainedOn', trained_on, 'createdAt', floor(extract(epoch from created_at) * 1000)::bigint,
                   'createdBy', created_by) order by state desc)
            from model_lock where model = model.name and state <> 'past') as locks,
         (select coalesce(sum(reads), 0)::bigint from read_total where model = model.name) as reads,
         (select max(last_read) from read_total where model = model.name) as "lastRead"
    from model
   where removed_at is null`;

type ModelRow = Omit<ModelItem, 'registeredAt' | 'lastRead' | 'locks'> & {
  registeredAt: number;
  lastRead: number | null;
  locks: Array<Omit<z.infer<typeof LockItem>, 'createdAt'> & { createdAt: number }>;
};

function itemOf({ registeredAt, lastRead, locks, ...row }: ModelRow): ModelItem {
  return {
    ...row,
    registeredAt: formatTimestamp(registeredAt),
    lastRead: lastRead === null ? null : formatTimestamp(lastRead),
    locks: locks.map((lock) => ({ ...lock, createdAt: formatTimestamp(lock.createdAt) })),
  };
}

export function listModels(pool: Pool, query: PageQuery): Promise<Page<ModelItem>> {
  return readPage(pool, { name: 'models', sql: MODELS, key: { name: 'text' } }, query, itemOf);
}

/** Throws FS_NOT_FOUND with the nearest name. */
export async function getModel(client: Pool | PoolClient, name: string): Promise<ModelDetails> {
  const { rows } = await client.query<ModelRow>(`${MODELS} and name = $1`, [name]);
  if (!rows[0]) throw await unknownModel(client, name);
  const { rows: reads } = await client.query<
    Omit<z.infer<typeof ReadItem>, 'lastRead'> & { lastRead: number }
  >(
    `select service, view, version, reads, last_read as "lastRead"
       from read_total join view_version on id = version_id
      where model = $1
      order by service collate "C", view collate "C", version`,
    [name],
  );
  return {
    ...itemOf(rows[0]),
    readsOf: reads.map((read) => ({ ...read, lastRead: formatTimestamp(read.lastRead) })),
  };
}

/** The present lock of a model, or its canary's. Throws FS_NOT_FOUND. */
export async function getLock(
  client: Pool | PoolClient,
  name: string,
  state: 'live' | 'canary',
): Promise<Lock> {
  const { locks } = await getModel(client, name);
  const lock = locks.find((each) => each.state === state);
  if (lock) return { lock: 1, model: name, services: lock.services, features: lock.features };
  throw new FeatureStoreError('FS_NOT_FOUND', `model "${name}" has no canary`, {
    fix: 'ask for its live lock',
    model: name,
  });
}

/** A lock for it on what is live now. @param services null: those that it reads. Throws FS_NOT_FOUND. */
export function getNextLock(pool: Pool, name: string, services: readonly string[] | null): Promise<Lock> {
  return transaction(
    pool,
    async (client) => {
      const lock = await getLock(client, name, 'live');
      const known = await readLockable(client);
      return lockOf(name, known, known.versions, services ?? Object.keys(lock.services));
    },
    'repeatable read',
  );
}

// ---------------------------------------------------------------- inside the transactions

/** Under the definitions' lock: a version that is locked is not given up meanwhile. */
function changing(
  pool: Pool,
  { model, action, by }: { model: string; action: string; by: string },
  work: (client: PoolClient) => Promise<void>,
): Promise<ModelChange> {
  return transaction(pool, async (client) => {
    await lockDefinitions(client);
    const before = await readState(client, model);
    await work(client);
    const { rows } = await client.query<ModelChange>(
      'update model set change = change + 1 where name = $1 returning name as model, change',
      [model],
    );
    const change = rows[0]!;
    const after = await readState(client, model);
    await record(client, [
      { who: by, action, kind: 'model', name: model, before, after, workflow: pinId(change) },
    ]);
    return change;
  });
}

/** As it stands in the audit; undefined: it is not registered. */
async function readState(client: PoolClient, model: string): Promise<object | undefined> {
  const { rows } = await client.query<object>(
    `select owner, description,
            (select json_agg(json_build_object('number', number, 'state', state, 'share', share, 'services', lock -> 'services',
                      'features', features, 'trainedOn', trained_on) order by state desc)
               from model_lock where model = model.name and state <> 'past') as locks
       from model where name = $1 and removed_at is null`,
    [model],
  );
  return rows[0];
}

async function getForChange(client: PoolClient, model: string, seen: number | null): Promise<void> {
  const { rows } = await client.query<{ change: number }>(
    'select change from model where name = $1 and removed_at is null',
    [model],
  );
  if (!rows[0]) throw await unknownModel(client, model);
  const { change } = rows[0];
  if (seen === null || seen === change) return;
  throw new FeatureStoreError(
    'FS_PRECONDITION_FAILED',
    `model "${model}" was changed meanwhile: If-Match names change ${seen}, the last is ${change}`,
    { fix: `look at it again: almanac model show ${model}`, model, change },
  );
}

interface Lockable {
  versions: LockableVersion[];
  services: Array<{ name: string; features: string[] }>;
}

async function readLockable(client: PoolClient): Promise<Lockable> {
  const revision = await findRevision(client);
  // A live version that only a plan being applied reads is on its way to Redis.
  const { rows: versions } = await client.query<LockableVersion>(
    `select view, version, hash, state,
            case when view || '@' || version = any ($1) or state = 'deprecated' and online
                 then json_build_object('definition', definition, 'entity', entity) end as kept
       from view_version
      order by view collate "C", version`,
    [[...(await listRead(client))]],
  );
  return { versions, services: revision?.definitions.services ?? [] };
}

/** Throws FS_LOCK_INVALID with everything that is wrong, FS_NOT_FOUND for a training set. */
async function addLock(
  client: PoolClient,
  model: string,
  { lock, share, trainedOn = [] }: NewLock,
  known: Lockable,
  by: string,
): Promise<void> {
  const isCanary = share < 1;
  const problems = [
    ...(lock.model === model
      ? []
      : [
          {
            path: 'model',
            message: `it is a lock of model "${lock.model}"`,
            fix: `give one of "${model}": almanac lock ${model} --next`,
          },
        ]),
    ...checkLock(lock, known.versions, known),
  ];
  if (isCanary) problems.push(...otherServices(await getLock(client, model, 'live'), lock));
  if (problems.length > 0) throw lockRefused(`the lock cannot be of model "${model}"`, problems);
  await assertTrainingSets(client, trainedOn);
  const state = isCanary ? 'canary' : 'live';
  // A new live lock ends the canary too: that was tried against the one before.
  await client.query(
    `update model_lock set state = 'past', share = null where model = $1 and state in ('canary', $2)`,
    [model, state],
  );
  const { features, ...pinned } = lock;
  await client.query(
    `insert into model_lock (model, number, lock, features, state, share, created_by, trained_on)
     select $1, coalesce(max(number), 0) + 1, $2, $3, $4, $5, $6, $7 from model_lock where model = $1`,
    [model, JSON.stringify(pinned), JSON.stringify(features), state, isCanary ? share : null, by, trainedOn],
  );
}

/** A request of a service is answered by either lock. */
function otherServices(live: Lock, canary: Lock): LockProblem[] {
  const only = (these: Lock, those: Lock): string[] =>
    Object.keys(these.services).filter((name) => !Object.hasOwn(those.services, name));
  const problem = (service: string, message: string): LockProblem => ({
    path: `services.${service}`,
    message,
    fix: `a canary reads the services of the live lock; move all requests: almanac pin ${live.model} --lock almanac.lock`,
  });
  return [
    ...only(canary, live).map((name) => problem(name, `the live lock has no service "${name}"`)),
    ...only(live, canary).map((name) => problem(name, `the live lock has "${name}", the canary has not`)),
  ];
}

async function unknownModel(client: Pool | PoolClient, name: string): Promise<FeatureStoreError> {
  const { rows } = await client.query<{ name: string }>(
    'select name from model where removed_at is null order by name',
  );
  return unknownName('model', name, rows.map((each) => each.name)); // biome-ignore format: short
}
