/** What is known of the values that a view has written, and what came of its expectations. */
import { z } from 'zod';
import { PageQuery, pageOf } from '../page.js';
import { Text } from '../requests.js';
import {
  ExpectationResult,
  listExpectationResults,
  readViewStatistics,
  ViewStatistics,
  WRITTEN,
} from '../statistics.js';
import { route } from './route.js';

const statistics = route({
  id: 'getViewStatistics',
  method: 'GET',
  path: '/v1/views/{view}/statistics',
  summary: 'of each feature of a view: counts, range, quantiles, the most frequent values',
  params: z.strictObject({ view: z.string() }),
  query: z.strictObject({ what: z.enum(WRITTEN).exactOptional(), reference: Text.exactOptional() }),
  response: ViewStatistics,
  handle: ({ params, query }, { pool }) => readViewStatistics(pool, params.view, query),
});

const expectations = route({
  id: 'listExpectationResults',
  method: 'GET',
  path: '/v1/views/{view}/expectations',
  summary: 'what came of a view’s expectations; newest first',
  params: z.strictObject({ view: z.string() }),
  query: PageQuery.extend({
    passed: z
      .enum(['true', 'false'])
      .transform((text) => text === 'true')
      .exactOptional(),
  }),
  response: pageOf(ExpectationResult),
  handle: ({ params, query }, { pool }) => listExpectationResults(pool, params.view, query),
});

export default [statistics, expectations];
