/** What runs, and the streams among it. */
import { z } from 'zod';
import { By, Text } from '../requests.js';
import { Run } from '../runs.js';
import { Wanted } from '../status.js';
import { findStreamProgress, Order, orderStream, streamOfRun } from '../streams.js';
import { recordAsked, route } from './route.js';

const get = route({
  id: 'getRun',
  method: 'GET',
  path: '/v1/runs',
  summary: 'how a run does',
  query: z.strictObject({ id: Text }),
  response: Run,
  async handle({ query: { id } }, { pool, runs }) {
    const run = await runs.get(id);
    return { ...run, progress: (await findStreamProgress(pool, id)) ?? run.progress };
  },
});

const update = route({
  id: 'updateRun',
  method: 'POST',
  path: '/v1/runs/updates',
  summary: 'pause or resume it, drain a stream',
  body: z.strictObject({ id: Text, update: Order, by: By }),
  example: { id: 'refill/user_orders@2', update: 'pause' },
  response: Run,
  async handle({ body: { id, update, by } }, { pool, runs }) {
    const stream = streamOfRun(id);
    if (stream?.partition === null) await orderStream({ pool, runs }, stream.source, update, by ?? 'unknown');
    else {
      await runs.update(id, update);
      await recordAsked(pool, { by, action: update, run: id });
    }
    return runs.get(id);
  },
});

const order = route({
  id: 'orderStream',
  method: 'POST',
  path: '/v1/streams',
  summary: 'pause, resume, drain the stream of a source',
  body: z.strictObject({ source: Text, order: Order, by: By }),
  example: { source: 'clicks', order: 'pause', by: 'ada' },
  response: z.strictObject({ source: z.string(), wanted: Wanted, run: z.string() }),
  handle: ({ body: { source, order, by = 'unknown' } }, deps) => orderStream(deps, source, order, by),
});

export default [get, update, order];
