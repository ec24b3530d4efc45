/** Every route there is. A new one: a `route` in the file of its noun, or a new file and its line here. */
import catalog from './catalog.js';
import definitions from './definitions.js';
import exports from './export.js';
import files from './files.js';
import models from './models.js';
import openApi from './openapi.js';
import push from './push.js';
import type { Route } from './route.js';
import runs from './runs.js';
import statistics from './statistics.js';
import status from './status.js';
import trainingSets from './training-sets.js';
import verifications from './verifications.js';
import views from './views.js';

/** In the order in which docs/api.md lists them. */
export const routes: readonly Route[] = [
  ...definitions,
  ...catalog,
  ...exports,
  ...files,
  ...views,
  ...models,
  ...statistics,
  ...trainingSets,
  ...verifications,
  ...push,
  ...runs,
  ...status,
  ...openApi,
];
