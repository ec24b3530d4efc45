import { beforeAll, describe, expect, test } from 'vitest';
import { ticksOf } from '../../core/sweep.js';
import { DAY, floorTo, formatTimestamp, HOUR } from '../../core/time.js';
import { backfill } from '../../workflows/backfill.js';
import { verify } from '../../workflows/verify.js';
import { applyDefinitions, createEnvironment } from './environment.js';
import {
  archive,
  checkWithOracle,
  comparable,
  makeEvents,
  readStored,
  userHourly,
  VIEWS,
  world,
} from './world.js';

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
  const { different, byView } = await late.client.workflow.execute(verify, {
    workflowId: 'verify/late',
    taskQueue: late.controlQueue,
    args: [{ id: 'late', entities: 30, moments: 10 }],
  });
  expect(different).toBe(0);
  expect(Object.values(byView).every(({ rows }) => rows!.checked > 300)).toBe(true);
  await workers.stop();
});

test('no gap is left: not after the newest tick, not before the first; what is filled before is whole', async () => {
  const other = await createEnvironment();
  await applyDefinitions(other, world);
  await archive(other, makeEvents(600, { start, end: now - 1000, seed: 1 }));
  const workers = await other.startWorkers((activities) => ({
    ...activities,
    settleSchedules: async () => {},
  }));
  let runs = 0;
  const fill = (more: { start?: number; end?: number }) =>
    other.client.workflow.execute(backfill, {
      workflowId: `backfill/${runs++}`,
      taskQueue: `${other.config.environment}-batch`,
      args: [{ view: userHourly.name, ...mapValues(more, formatTimestamp) }],
    });
  const refused = (fix: number) => ({
    cause: {
      cause: {
        type: 'FS_REQUEST_INVALID',
        details: [{ fix: expect.stringContaining(formatTimestamp(fix)) }],
      },
    },
  });
  const hours = (days: number) => start + days * DAY;
  await fill({ start: hours(2), end: hours(3) });
  await expect(fill({ start: hours(3) + 2 * HOUR })).rejects.toMatchObject(refused(hours(3) + HOUR));
  await expect(fill({ start: hours(0), end: hours(1) })).rejects.toMatchObject(refused(hours(2) - HOUR));
  await fill({ start: hours(3) + HOUR, end: hours(4) });
  await fill({ start: hours(1), end: hours(2) - HOUR });
  const status = await fill({});
  await checkWithOracle(other, userHourly, { start: Date.parse(status.start), end: Date.parse(status.end) });
  await workers.stop();
});

const mapValues = <T, U>(of: Record<string, T>, map: (value: T) => U): Record<string, U> =>
  Object.fromEntries(Object.entries(of).map(([name, value]) => [name, map(value)]));

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
