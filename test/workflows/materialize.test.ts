import { beforeAll, describe, expect, test } from 'vitest';
import type { Activities } from '../../activities/index.js';
import { onlineKey } from '../../core/codec/key.js';
import { ticksOf } from '../../core/sweep.js';
import { DAY, floorTo, formatTimestamp, HOUR, MINUTE } from '../../core/time.js';
import { backfill } from '../../workflows/backfill.js';
import { materialize } from '../../workflows/materialize.js';
import { refill } from '../../workflows/refill.js';
import { applyDefinitions, createEnvironment, type TestEnvironment } from './environment.js';
import { repeating } from './faults.js';
import {
  archive, checkWithOracle, comparable, type MadeEvent, makeEvents, random, readStored, userHourly, userNow, VIEWS, versionOf, world,
} from './world.js'; // biome-ignore format: one list

// One environment lives through a day and more tick by tick, the other is backfilled at their end.
const ticked = await createEnvironment();
const whole = await createEnvironment();
const now = Date.now();
const today = floorTo(now, DAY);
const half = today - DAY;
const events = makeEvents(1_500, { start: today - 4 * DAY, end: now - 1000, seed: 2 });
// What had arrived when the first was backfilled, settle times included; the rest came later.
const early = (event: MadeEvent): boolean => event.arrivedAt <= half + 15 * MINUTE;

beforeAll(async () => {
  for (const env of [ticked, whole]) {
    await applyDefinitions(env, world);
    await archive(env, events.filter(early), -1);
  }
  // ticks come when this test says so
  const unscheduled = (activities: Activities): Activities => ({
    ...activities,
    settleSchedules: async () => {},
  });
  await ticked.startWorkers((activities) => unscheduled(repeating(activities)));
  await whole.startWorkers(unscheduled);
});

const onBatch = (env: TestEnvironment, workflowId: string) => ({
  workflowId,
  taskQueue: `${env.config.environment}-batch`,
});
const runBackfill = (env: TestEnvironment, view: string, end?: string) =>
  env.client.workflow.execute(backfill, {
    ...onBatch(env, `backfill/${view}/${end}`),
    args: [{ view, eventsPerChunk: 400, ...(end !== undefined && { end }) }],
  });
const runTick = (view: string, tick?: number) =>
  ticked.client.workflow.execute(materialize, {
    ...onBatch(ticked, `materialize/${view}@1/${tick}`),
    args: [{ view, ...(tick !== undefined && { tick: formatTimestamp(tick) }) }],
  });

test('a view that was never backfilled is refused', async () => {
  await expect(runTick('user_hourly')).rejects.toMatchObject({
    cause: { cause: { type: 'FS_CONFLICT', details: [{ fix: 'almanac backfill user_hourly@1' }] } },
  });
});

describe('a day and more', () => {
  beforeAll(async () => {
    for (const view of VIEWS) await runBackfill(ticked, view.name, formatTimestamp(half));
    for (const env of [ticked, whole])
      await archive(
        env,
        events.filter((event) => !early(event)),
        -2,
      );
    for (const view of VIEWS) await runBackfill(whole, view.name);
  });

  test.each(VIEWS)('$name: tick by tick is the backfill of the range, byte for byte', async (view) => {
    const { cadenceMs, settleMs } = ticksOf(view);
    const wanted = await readStored(whole, view);
    const end = wanted.progress!.last_tick_ms;
    const next = random(3);
    // now and then a few ticks were missed and come at once
    for (let tick = half; tick < end; ) {
      const missed = next() < 0.2 ? Math.floor(next() * 6) : 0;
      tick = Math.min(end, tick + (1 + missed) * cadenceMs);
      const result = await runTick(view.name, tick);
      expect(result.tick).toBe(formatTimestamp(tick));
    }
    // a streaming view's records take in what no tick has seen yet
    if (view.mode.type === 'streaming')
      await ticked.client.workflow.execute(refill, {
        ...onBatch(ticked, `refill/${view.name}`),
        args: [{ view: view.name }],
      });
    const found = await readStored(ticked, view);
    const [a, b] = [comparable(found), comparable(wanted)];
    expect(a.rows).toEqual(b.rows);
    expect(a.snapshots).toEqual(b.snapshots);
    expect(a.records).toEqual(b.records);
    expect(found.ticks.map(({ tick_ms }) => tick_ms)).toEqual(wanted.ticks.map(({ tick_ms }) => tick_ms));
    for (const tick of found.ticks) {
      expect(tick.backfilled).toBe(tick.tick_ms <= half);
      if (tick.backfilled) expect(tick.published_ms).toBe(tick.tick_ms + settleMs);
      else expect(tick.published_ms).toBeGreaterThanOrEqual(now);
    }
    expect(found.onlineTick).toBe(wanted.onlineTick);
    const first = floorTo(Math.min(...events.map(({ timestamp }) => timestamp)), cadenceMs);
    await checkWithOracle(ticked, view, { start: first, end });
  });

  test.each([userHourly, userNow])('$name: a published tick changes nothing', async (view) => {
    const before = await readStored(ticked, view);
    const result = await ticked.client.workflow.execute(materialize, {
      ...onBatch(ticked, `materialize/${view.name}/again`),
      args: [{ view: view.name, tick: formatTimestamp(before.progress!.last_tick_ms - HOUR) }],
    });
    expect(result).toMatchObject({ ticks: 0, rows: 0, records: 0 });
    expect(await readStored(ticked, view)).toEqual(before);
  });

  test('a record that clashes holds up no tick of a streaming view, and is said in the end', async () => {
    const { pool, redis, config } = ticked.deps;
    const before = await readStored(ticked, userNow);
    const last = before.progress!.last_tick_ms;
    const { id } = await versionOf(ticked, userNow.name);
    await pool.query('update view_progress set last_tick_ms = $2 where version_id = $1', [id, last - HOUR]);
    await pool.query(`delete from rows_${id} where tick_ms = $1`, [last]);
    for (const { key } of before.snapshots)
      await redis.hset(onlineKey(config.environment, 'user', key), String(id), 'no record');
    await expect(runTick('user_now', last)).rejects.toMatchObject({ cause: { type: 'FS_PARITY' } });
    const found = await readStored(ticked, userNow);
    expect(found.progress!.last_tick_ms).toBe(last);
    expect(comparable(found).rows).toEqual(comparable(before).rows);
  });

  test.each([
    { tick: now + DAY - (now % HOUR), why: 'is in the future' },
    { tick: half + 1, why: 'is no tick' },
  ])('a tick that $why is refused', async ({ tick, why }) => {
    await expect(runTick('user_hourly', tick)).rejects.toMatchObject({
      cause: { cause: { type: 'FS_REQUEST_INVALID', message: expect.stringContaining(why) } },
    });
  });

  test('a Schedule gives the tick it means', async () => {
    const schedule = await ticked.client.schedule.create({
      scheduleId: 'schedule/user_hourly@1',
      spec: { intervals: [{ every: '1 day' }] },
      action: {
        type: 'startWorkflow',
        workflowType: materialize,
        workflowId: 'materialize/user_hourly@1',
        taskQueue: `${ticked.config.environment}-batch`,
        args: [{ view: 'user_hourly' }],
      },
    });
    await schedule.trigger();
    const found = async () => (await schedule.describe()).info.recentActions.at(-1);
    await expect.poll(found, { timeout: 20_000 }).toBeDefined();
    const { takenAt, action } = (await found())!;
    const result = await ticked.client.workflow.getHandle(action.workflow.workflowId).result();
    expect(result.tick).toBe(formatTimestamp(floorTo(takenAt.getTime() - 15 * MINUTE, HOUR)));
    await schedule.delete();
  });
});
