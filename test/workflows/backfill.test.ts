import { beforeAll, describe, expect, test } from 'vitest';
import { ticksOf } from '../../core/sweep.js';
import { DAY, floorTo, formatTimestamp, HOUR } from '../../core/time.js';
import { backfill } from '../../workflows/backfill.js';
import { applyDefinitions, createEnvironment } from './environment.js';
import { archive, checkWithOracle, comparable, makeEvents, readStored, VIEWS, world } from './world.js';

const env = await createEnvironment();
const now = Date.now();
const start = floorTo(now, DAY) - 6 * DAY;

beforeAll(async () => {
  await applyDefinitions(env, world);
  await archive(env, makeEvents(2_000, { start, end: now - 1000, seed: 1 }));
  // what a test reads twice must not get another tick in between
  await env.startWorkers((activities) => ({ ...activities, settleSchedules: async () => {} }));
});

const run = (view: string, more: { start?: string; end?: string } = {}) =>
  env.client.workflow.execute(backfill, {
    workflowId: `backfill/${view}@1/${start}..${JSON.stringify(more)}`,
    taskQueue: `${env.config.environment}-batch`,
    args: [{ view, ...more }],
  });

describe.each(VIEWS)('$name', (view) => {
  test('rows of every tick, snapshots and records equal the oracle', async () => {
    const status = await run(view.name);
    expect(status.finished).toBe(true);
    const range = { start: Date.parse(status.start), end: Date.parse(status.end) };
    const { cadenceMs, settleMs } = ticksOf(view);
    expect(range.end).toBeGreaterThan(now - settleMs - 2 * cadenceMs);
    expect((await checkWithOracle(env, view, range)).checked).toBeGreaterThan(500);

    const stored = await readStored(env, view);
    expect(stored.progress?.last_tick_ms).toBe(range.end);
    if (view.mode.type === 'streaming') {
      expect(stored.ticks).toEqual([]);
      expect(stored.onlineTick).toBe(null);
      return;
    }
    expect(stored.onlineTick).toBe(range.end);
    expect(stored.ticks.map(({ tick_ms }) => tick_ms)).toEqual(
      Array.from(
        { length: (range.end - range.start) / cadenceMs + 1 },
        (_, i) => range.start + i * cadenceMs,
      ),
    );
    expect(
      stored.ticks.every((tick) => tick.backfilled && tick.published_ms === tick.tick_ms + settleMs),
    ).toBe(true);
  });

  test('again over the same bound and range writes nothing', async () => {
    const before = await readStored(env, view);
    const status = await run(view.name, { end: formatTimestamp(before.progress!.last_tick_ms) });
    expect(status.counts.records).toBe(0);
    expect(comparable(await readStored(env, view))).toEqual(comparable(before));
  });
});

test('from a later start: every entity has a row there, and older events count', async () => {
  const late = await createEnvironment();
  await applyDefinitions(late, world);
  await archive(late, makeEvents(600, { start, end: now - 1000, seed: 1 }));
  const workers = await late.startWorkers();
  for (const view of VIEWS) {
    const from = formatTimestamp(start + 3 * DAY);
    const status = await late.client.workflow.execute(backfill, {
      workflowId: `backfill/${view.name}`,
      taskQueue: `${late.config.environment}-batch`,
      args: [{ view: view.name, start: from.slice(0, 10) }],
    });
    expect(status.start).toBe(from);
    await checkWithOracle(late, view, { start: Date.parse(status.start), end: Date.parse(status.end) });
  }
  await workers.stop();
});

test.each([
  { input: { view: 'user_horly' }, code: 'FS_NOT_FOUND', message: 'did you mean' },
  {
    input: { view: 'user_hourly', end: formatTimestamp(now + DAY) },
    code: 'FS_REQUEST_INVALID',
    message: 'is in the future',
  },
  {
    input: { view: 'user_hourly', start: formatTimestamp(now - HOUR), end: formatTimestamp(now - DAY) },
    code: 'FS_REQUEST_INVALID',
    message: 'has no tick',
  },
  { input: { view: 'user_hourly', start: 'yesterday' }, code: 'FS_TIMESTAMP_INVALID', message: 'yesterday' },
])('$input is refused: $code', async ({ input, code, message }) => {
  const failed = env.client.workflow.execute(backfill, {
    workflowId: `backfill/refused/${JSON.stringify(input)}`,
    taskQueue: `${env.config.environment}-batch`,
    args: [input],
  });
  await expect(failed).rejects.toMatchObject({ cause: { cause: { type: code } } });
  expect(
    JSON.stringify(await failed.catch((error: { cause: { cause: unknown } }) => error.cause.cause)),
  ).toContain(message);
});
