/** Rows of other programs. */
import { z } from 'zod';
import { PushBody, push } from '../push.js';
import { Count } from '../requests.js';
import { route } from './route.js';

const pushRows = route({
  id: 'pushRows',
  method: 'POST',
  path: '/push',
  summary: "rows into a source's topic, in Feast's shape",
  body: PushBody,
  example: {
    push_source_name: 'clicks',
    df: { click_id: ['c1'], user_id: ['u1'], clicked_at: ['2026-11-21T12:00:00Z'] },
  },
  response: z.strictObject({ rows: Count }),
  handle: async ({ body }, { pool, config, producer }) => ({
    rows: await push({ pool, environment: config.environment, producer }, body),
  }),
});

export default [pushRows];
