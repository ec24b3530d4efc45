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
  response: z.strictObject({ rows: Count }),
  handle: async ({ body }, { pool, config, producer }) => ({
    rows: await push({ pool, environment: config.environment, producer }, body),
  }),
});

export default [pushRows];
