/** Every activity, over one set of dependencies. Workflows know the type alone. */
import { createApplyActivities } from './apply.js';
import type { Deps } from './deps.js';
import { createImportActivities } from './import.js';

export type { Deps } from './deps.js';
export { ErrorInterceptor, toFailure } from './errors.js';
export { assertKeepsRecords, createRedis, untilReady } from './online/client.js';

export function createActivities(deps: Deps) {
  return {
    ...createApplyActivities(deps),
    ...createImportActivities(deps),
  };
}

export type Activities = ReturnType<typeof createActivities>;
