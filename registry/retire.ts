/** The end of a version: refused while anybody reads it. Its rows and snapshots stay as they are. */
import { FeatureStoreError } from '../core/error.js';
import type { VersionState } from '../core/plan.js';
import { DAY, formatTimestamp } from '../core/time.js';
import { record } from './audit.js';
import { lockDefinitions } from './online.js';
import { resolveView, type ViewVersion } from './resolve.js';
import { type Pool, type PoolClient, transaction } from './sql.js';

/** @param name view@version */
export const retireRun = (name: string): string => `retire/${name}`;

export interface Retirement {
  view: string;
  version: number;
  /** Nobody may have read it for so long; 0: that is not asked. */
  unreadDays: number;
  by: string;
}

/** One that is retired may be again: its run may have failed since. Throws FS_NOT_FOUND, and FS_CONFLICT with everything that stands against it. */
export async function assertRetirable(
  client: Pool | PoolClient,
  { view, version, unreadDays }: Omit<Retirement, 'by'>,
): Promise<ViewVersion> {
  const found = await resolveView(client, `${view}@${version}`);
  if (found.state === 'retired') return found;
  const { rows: locks } = await client.query<{ model: string; state: string; service: string }>(
    `select model, state, service from lock_version where version_id = $1 order by model collate "C", number, service collate "C"`,
    [found.id],
  );
  const { rows: reads } = await client.query<{ model: string; service: string; lastRead: number }>(
    `select model, service, last_read as "lastRead" from read_total
      where version_id = $1 and last_read > now() - make_interval(secs => $2)
      order by model collate "C", service collate "C"`,
    [found.id, (unreadDays * DAY) / 1000],
  );
  const reasons = [
    ...(found.state === 'deprecated' ? [] : [STATES[found.state]]),
    ...locks.map(
      ({ model, state, service }) => `the ${state} lock of model "${model}" reads it, by ${service}`,
    ),
    ...reads.map(
      ({ model, service, lastRead }) =>
        `${model === '' ? 'a reader without a name' : `model "${model}"`} read it at ${formatTimestamp(lastRead)}, ${service === '' ? 'by features' : `by ${service}`}`,
    ),
  ];
  if (reasons.length === 0) return found;
  throw new FeatureStoreError(
    'FS_CONFLICT',
    [`${view}@${version} cannot be retired`, ...reasons].join('\n'),
    {
      fix:
        locks.length > 0
          ? 'pin these models to another version first: almanac pin'
          : found.state === 'deprecated'
            ? `wait until it is unread for ${unreadDays} days, or say with --unread-days how long is enough`
            : 'only a deprecated version is retired: replace it first, by almanac apply',
      view,
      version,
      reasons,
    },
  );
}

const STATES: Record<Exclude<VersionState, 'deprecated' | 'retired'>, string> = {
  draft: 'it is on its way: a draft',
  backfilling: 'it is on its way: backfilling',
  shadow: 'it is on its way: a shadow',
  canary: 'it is on its way: a canary',
  live: 'it is live: readers without a lock read it',
  abandoned: 'it was given up: abandoned',
};

/** Throws as assertRetirable does; what is retired already stays so. */
export function retireVersion(pool: Pool, retirement: Retirement): Promise<{ versionId: number }> {
  return transaction(pool, async (client) => {
    await lockDefinitions(client);
    const { view, version, by: who } = retirement;
    const name = `${view}@${version}`;
    const { id, state } = await assertRetirable(client, retirement);
    if (state === 'retired') return { versionId: id };
    await client.query(`update view_version set state = 'retired' where id = $1`, [id]);
    const [before, after] = [
      { version, state },
      { version, state: 'retired' },
    ];
    await record(client, [
      { who, action: 'retire', kind: 'view', name: view, before, after, workflow: retireRun(name) },
    ]);
    return { versionId: id };
  });
}
