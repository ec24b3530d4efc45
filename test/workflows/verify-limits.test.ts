/** Verifications where there is nothing to compare, or where what is compared is at the edge of what is stored. */
import { randomUUID } from 'node:crypto';
import { expect, test } from 'vitest';
import type { AggregationView, Definitions } from '../../core/definition.js';
import { columnNames } from '../../core/event.js';
import { DAY, floorTo, MINUTE } from '../../core/time.js';
import { backfill } from '../../workflows/backfill.js';
import { verify } from '../../workflows/verify.js';
import { servicesOf } from './definitions.js';
import { applyDefinitions, createEnvironment } from './environment.js';
import { archive, makeEvents, userNow, visits, world } from './world.js';

const env = await createEnvironment();
const now = Date.now();
const start = floorTo(now, DAY) - 3 * DAY;
const CENTS = columnNames(visits).indexOf('cents');

const sums: AggregationView = {
  ...userNow,
  name: 'user_sums',
  features: [
    {
      ...userNow.features[0]!,
      name: 'cents_sum',
      window: { type: 'lifetime' },
      aggregation: { op: 'sum', value: { col: 'cents' } },
    },
  ],
};
const definitions = (rowsEveryMs: number): Definitions => {
  const views = [{ ...userNow, mode: { type: 'streaming' as const, rowsEveryMs } }, sums];
  return { ...world, views, services: servicesOf(views) };
};

const runVerify = () => {
  const id = randomUUID();
  return env.client.workflow.execute(verify, {
    workflowId: `verify/${id}`,
    taskQueue: env.controlQueue,
    args: [{ id, entities: 20, moments: 10 }],
  });
};
const runBackfill = (view: string) =>
  env.client.workflow.execute(backfill, {
    workflowId: `backfill/${view}`,
    taskQueue: `${env.config.environment}-batch`,
    args: [{ view }],
  });

test('nothing backfilled, sums beyond 2^53, rows at another cadence than now', async () => {
  await applyDefinitions(env, definitions(15 * MINUTE));
  await env.startWorkers((activities) => ({ ...activities, settleSchedules: async () => {} }));
  expect(await runVerify()).toMatchObject({ checked: 0, neverBackfilled: ['user_now@1', 'user_sums@1'] });

  const large = makeEvents(300, { start, end: now - 1000, seed: 8 }).map((event) => ({
    ...event,
    values: event.values.map((value, i) =>
      i === CENTS && value !== null ? Number.MAX_SAFE_INTEGER - 7 : value,
    ),
  }));
  await archive(env, large);
  await runBackfill('user_now');
  await expect(runVerify()).rejects.toMatchObject({
    cause: {
      cause: { type: 'FS_CONFLICT', message: expect.stringContaining('user_sums@1 was never backfilled') },
    },
  });

  await runBackfill('user_sums');
  expect(await runVerify()).toMatchObject({ different: 0, neverBackfilled: [] });

  await applyDefinitions(env, definitions(40 * MINUTE));
  const { different, byView } = await runVerify();
  expect(different).toBe(0);
  expect(byView.user_now!.rows!.checked).toBeGreaterThan(200);
});
