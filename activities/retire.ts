/** The activities of workflows/retire.ts. */
import { type Retirement, retireVersion } from '../registry/retire.js';
import type { Deps } from './deps.js';
import { beating } from './heartbeat.js';
import { collectReads } from './reads.js';

export function createRetireActivities(deps: Deps) {
  const { pool } = deps;
  return {
    /** What serving has counted is in Postgres. Gives how many requests came with it. */
    collectReads: () => beating(() => collectReads(deps)),

    /** Throws FS_CONFLICT with everything that stands against it. */
    retireVersion: (retirement: Retirement) => beating(() => retireVersion(pool, retirement)),
  };
}
