/** Steps that run twice, whose answers are lost, that fail, that are cancelled: the same bytes, or nothing. */
import { readdirSync } from 'node:fs';
import { Context } from '@temporalio/activity';
import { beforeAll, describe, expect, test } from 'vitest';
import type { Activities } from '../../activities/index.js';
import { DAY, floorTo } from '../../core/time.js';
import { verify } from '../../workflows/verify.js';
import { applyDefinitions } from './environment.js';
import { failing, losingAnswers, repeating } from './faults.js';
import {
  createTrainingEnvironment,
  fillRanks,
  makeLabels,
  runBackfill,
  startTrainingSet,
  toCsv,
  trainingWorld,
} from './training-world.js';
import { archive, makeEvents } from './world.js';

const env = await createTrainingEnvironment();
const now = Date.now();
const start = floorTo(now, DAY) - 2 * DAY;
const end = now - 1000;
const events = makeEvents(600, { start, end, seed: 4 });
const csv = toCsv(makeLabels(events, 60, 2, end));
let plain: { sha256: string; bytes: number; rows: number };

async function withWorkers<T>(
  wrap: ((activities: Activities) => Activities) | undefined,
  work: () => Promise<T>,
): Promise<T> {
  const workers = await env.startWorkers(wrap);
  try {
    return await work();
  } finally {
    await workers.stop();
  }
}

const build = async (id: string) =>
  (await startTrainingSet(env, { id, csv, service: 'everything' })).result();
const runVerify = (id: string, trainingSets: string[]) =>
  env.client.workflow.execute(verify, {
    workflowId: `verify/${id}`,
    taskQueue: env.controlQueue,
    args: [{ id, entities: 20, trainingSets }],
  });

beforeAll(async () => {
  await applyDefinitions(env, trainingWorld(env.config.environment));
  await archive(env, events);
  await fillRanks(env, { start: end - DAY, end, seed: 3 });
  await withWorkers(undefined, async () => {
    await Promise.all(['user_hourly', 'visit_daily', 'user_now'].map((view) => runBackfill(env, view)));
    await runBackfill(env, 'user_rank', end - DAY);
    plain = await build('plain');
  });
});

async function leftOf(id: string) {
  const { rowCount } = await env.deps.pool.query('select 1 from training_set where id = $1', [id]);
  return { manifests: rowCount, files: readdirSync(env.config.filesDir).filter((name) => name.includes(id)) };
}

describe.each([
  { why: 'each step twice', wrap: repeating },
  { why: 'each answer lost', wrap: losingAnswers },
])('$why', ({ why, wrap }) => {
  test('the same bytes, and no differences', async () => {
    const id = why.replaceAll(' ', '-');
    await withWorkers(wrap, async () => {
      const { sha256, bytes, rows } = await build(id);
      expect({ sha256, bytes, rows }).toEqual({ sha256: plain.sha256, bytes: plain.bytes, rows: plain.rows });
      const result = await runVerify(id, [id]);
      expect(result.different).toBe(0);
      expect(result.checked).toBeGreaterThan(500);
    });
    expect(await leftOf(id)).toEqual({ manifests: 1, files: [`training-set-${id}.parquet`] });
  });
});

test.each(['answerTrainingViews', 'finishTrainingSet'] as const)(
  '%s fails: nothing is left',
  async (name) => {
    await withWorkers(failing(name), () => expect(build(`failed-${name}`)).rejects.toThrow());
    expect(await leftOf(`failed-${name}`)).toEqual({ manifests: 0, files: [] });
  },
);

test('cancelled: nothing is left', async () => {
  const handle = await startTrainingSet(env, { id: 'cancelled', csv, service: 'everything' });
  await handle.cancel();
  await withWorkers(undefined, () => expect(handle.result()).rejects.toThrow());
  expect(await leftOf('cancelled')).toEqual({ manifests: 0, files: [] });
});

test('its worker is stopped in the middle, another goes on', async () => {
  const handle = await startTrainingSet(env, { id: 'moved', csv, service: 'everything' });
  let answered = 0;
  let reached = (): void => {};
  const second = new Promise<void>((resolve) => {
    reached = resolve;
  });
  const workers = await env.startWorkers((activities) => ({
    ...activities,
    answerTrainingViews: async (input) => {
      if (answered++ > 0) {
        reached();
        await Context.current().cancelled; // by the shutdown
      }
      return activities.answerTrainingViews(input);
    },
  }));
  await second;
  await workers.stop();
  await withWorkers(undefined, async () => {
    const { sha256 } = await handle.result();
    expect(sha256).toBe(plain.sha256);
  });
});
