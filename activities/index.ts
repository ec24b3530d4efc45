/** Every activity, over one set of dependencies. Workflows know the type alone. */
import { createApplyActivities } from './apply.js';
import { createBackfillActivities } from './backfill.js';
import type { Deps } from './deps.js';
import { createDualWriteActivities } from './dual-write.js';
import { createImportActivities } from './import.js';
import { createMaterializeActivities } from './materialize.js';
import { createRefillActivities } from './refill.js';
import { createRetireActivities } from './retire.js';
import { createStreamActivities } from './stream/stream.js';
import { createTrainingSetActivities } from './training-set.js';
import { createVerifyActivities } from './verify.js';

export type { Deps } from './deps.js';
export { ErrorInterceptor, toFailure } from './errors.js';
export { assertKeepsRecords, createRedis, untilReady } from './online/client.js';
export { startRepairs } from './repairs.js';

export function createActivities(deps: Deps) {
  return {
    ...createApplyActivities(deps),
    ...createBackfillActivities(deps),
    ...createDualWriteActivities(deps),
    ...createImportActivities(deps),
    ...createMaterializeActivities(deps),
    ...createRefillActivities(deps),
    ...createRetireActivities(deps),
    ...createStreamActivities(deps),
    ...createTrainingSetActivities(deps),
    ...createVerifyActivities(deps),
  };
}

export type Activities = ReturnType<typeof createActivities>;
