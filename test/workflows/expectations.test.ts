/** What is expected of values, where they are written: what warns is told, what blocks is not published; and what is known of them is true. */
import { randomUUID } from 'node:crypto';
import { afterAll, beforeAll, describe, expect, test, vi } from 'vitest';
import { createKafkaSource } from '../../activities/stream/event-source.js';
import { Shard } from '../../activities/stream/shard.js';
import type { AggregationView, Definitions, Expectation, StoredView } from '../../core/definition.js';
import { columnNames } from '../../core/event.js';
import { expect as expected } from '../../core/index.js';
import { DAY, floorTo, formatTimestamp, HOUR, MINUTE } from '../../core/time.js';
import { computePlan, savePlan } from '../../registry/apply.js';
import {
  type ExpectationResult,
  listExpectationResults,
  readViewStatistics,
} from '../../registry/statistics.js';
import { readStatus } from '../../registry/status.js';
import { setWanted } from '../../registry/streams.js';
import { applyPlan } from '../../workflows/apply-plan.js';
import { backfill } from '../../workflows/backfill.js';
import { materialize } from '../../workflows/materialize.js';
import { servicesOf } from './definitions.js';
import { applyDefinitions, createEnvironment, type TestEnvironment } from './environment.js';
import { repeating } from './faults.js';
import { checkOnline, message, offsetsOf, openTopic, streamWorld, untilRead } from './streaming.js';
import {
  archive,
  type MadeEvent,
  makeEvents,
  readStored,
  userHourly,
  userNow,
  versionOf,
  visitDaily,
  visits,
  world,
} from './world.js';

const now = Date.now();
const half = floorTo(now, DAY) - 2 * DAY;
const events = makeEvents(1_500, { start: half - 3 * DAY, end: now - 1000, seed: 11 });
const early = (event: MadeEvent): boolean => event.arrivedAt <= half + 15 * MINUTE;

const expecting = <V extends StoredView>(view: V, ...expectations: Expectation[]): V => ({
  ...view,
  expectations,
});
const definitionsOf = (...views: Definitions['views']): Definitions => ({
  ...world,
  views,
  services: servicesOf(views),
});
const resultsOf = async ({ deps }: TestEnvironment, view: string) =>
  (await listExpectationResults(deps.pool, view, { limit: 100 })).items;

let added = 0;
/** An event of a user, beside those that were made. */
function eventOf(user: string, at: number, columns: { cents?: number; score?: number | null; item?: null } = {}, arrivedAt = at): MadeEvent {
  const row = { user_id: user, store: 1, kind: 'view', item: 'a', cents: 1, score: 1, ref: null, taste: null, marks: null, ...columns };
  const id = `added-${++added}`;
  const values = { ...row, visit_id: id, happened_at: at, seen_at: arrivedAt } as Record<string, MadeEvent['values'][number]>;
  return { timestamp: at, arrivedAt, order: 0, id, values: columnNames(visits).map((name) => values[name]!) };
} // biome-ignore format: an event
const USER = columnNames(visits).indexOf('user_id');

describe('ticks', async () => {
  const env = await createEnvironment();
  const limit = (max: number) => expected.range('cents_1d', { max, severity: 'block' });
  const warns = [
    expected.range('visits_1h', { max: -1 }),
    expected.nullRate('score_mean', { max: 1 }),
    expected.freshness({ maxAge: '3h' }),
    expected.unique(),
  ];
  let partition = -10;
  const archived = [...events];
  const add = (...some: MadeEvent[]) => {
    archived.push(...some);
    return archive(env, some, partition--);
  };
  const tick = (at: number) =>
    env.client.workflow.execute(materialize, {
      workflowId: `materialize/user_hourly@1/${randomUUID()}`,
      taskQueue: `${env.config.environment}-batch`,
      args: [{ view: 'user_hourly', tick: formatTimestamp(at) }],
    });
  const failure = { cause: { cause: { type: 'FS_EXPECTATION_FAILED' } } };
  let meanwhile = async (): Promise<void> => {};

  beforeAll(async () => {
    await applyDefinitions(env, definitionsOf(expecting(userHourly, ...warns, limit(1_000_000))));
    await archive(env, events.filter(early), -1);
    // every activity twice, and ticks when this test says so
    await env.startWorkers((activities) => {
      const twice = repeating(activities);
      return {
        ...twice,
        settleSchedules: async () => {},
        lookAtPart: (part) => twice.lookAtPart(part).then(meanwhile),
      };
    });
    await env.client.workflow.execute(backfill, {
      workflowId: 'backfill/user_hourly',
      taskQueue: `${env.config.environment}-batch`,
      args: [{ view: 'user_hourly', end: formatTimestamp(half), eventsPerChunk: 200 }],
    });
    await archive(env, events.filter((event) => !early(event)), -2); // biome-ignore format: short
  });

  /** The same figures by SQL over rows. */
  async function bySql(where: string, feature: string) {
    const { id } = await versionOf(env, 'user_hourly');
    const { rows } = await env.deps.pool.query<Record<string, number>>(
      `select count(*) as count, count(*) - count(${feature}) as nulls, min(${feature}) as min, max(${feature}) as max,
              avg(${feature})::float8 as mean, stddev_pop(${feature})::float8 as deviation, count(distinct ${feature}) as distinct
         from rows_${id} where event_ms is not null and ${where}`,
    );
    return rows[0]!;
  }

  async function expectStatistics(what: 'tick' | 'backfill', where: string): Promise<void> {
    const { features } = await readViewStatistics(env.deps.pool, 'user_hourly', { what });
    for (const name of ['visits_1h', 'cents_1d', 'score_mean', 'items_1d']) {
      const { mean, deviation, distinct, ...exact } = await bySql(where, name);
      const found = features.find(({ feature }) => feature === name)!;
      expect(found).toMatchObject(exact);
      expect(found.mean).toBeCloseTo(mean!, 9);
      expect(found.deviation! / (deviation! || 1)).toBeCloseTo(deviation! === 0 ? 0 : 1, 9);
      expect(Math.abs(found.distinct! - distinct!)).toBeLessThanOrEqual(Math.max(3, 0.05 * distinct!));
    }
  }

  test('the statistics of a backfill are those of all its rows, though each chunk was computed twice', async () => {
    await expectStatistics('backfill', `tick_ms <= ${half}`);
  });

  test('a tick that warns is published, and the warning kept; its statistics are those of its rows', async () => {
    await tick(half + HOUR);
    expect((await readStored(env, userHourly)).onlineTick).toBe(half + HOUR);
    await expectStatistics('tick', `tick_ms = ${half + HOUR}`);
    const results = (await resultsOf(env, 'user_hourly')).filter(({ what }) => what === 'tick');
    expect(Object.fromEntries(results.map(({ expectation, passed }) => [expectation, passed]))).toMatchObject(
      {
        'range of visits_1h': false,
        'nullRate of score_mean': true,
        'range of cents_1d': true,
      },
    );
    expect(new Set(results.map(({ reference }) => reference))).toEqual(
      new Set([formatTimestamp(half + HOUR)]),
    );
    const { failedExpectations } = await readStatus(env.deps.pool);
    expect(failedExpectations).toContainEqual(
      expect.objectContaining({
        view: 'user_hourly',
        version: 1,
        expectation: 'range of visits_1h',
        severity: 'warn',
      }),
    );
  });

  test('of a tick that blocks nothing is there; the next one that is right goes on', async () => {
    await add(eventOf('spender', half + HOUR + 30 * MINUTE, { cents: 5_000_000 }));
    const before = await readStored(env, userHourly);
    for (const again of [1, 2])
      await expect(tick(half + 2 * HOUR), `attempt ${again}`).rejects.toMatchObject(failure);
    expect(await readStored(env, userHourly)).toEqual(before);
    const blocked = (await resultsOf(env, 'user_hourly')).filter(
      ({ severity, passed }) => severity === 'block' && !passed,
    );
    expect(blocked).toMatchObject([
      {
        expectation: 'range of cents_1d',
        feature: 'cents_1d',
        reference: formatTimestamp(half + 2 * HOUR),
        observed: 1,
        allowed: 0,
      },
    ]);
    // a day later the value is gone from the window, and what was not published with it
    await tick(half + 27 * HOUR);
    const after = await readStored(env, userHourly);
    expect(after.onlineTick).toBe(half + 27 * HOUR);
    expect(
      (await readStatus(env.deps.pool)).failedExpectations.map(({ severity }) => severity),
    ).not.toContain('block');
  });

  test('or the same one, when something else is expected: no new version of the view', async () => {
    const at = half + 28 * HOUR;
    await add(eventOf('spender', at - 30 * MINUTE, { cents: 7_000_000 }));
    await expect(tick(at)).rejects.toMatchObject(failure);
    await applyDefinitions(env, definitionsOf(expecting(userHourly, ...warns, limit(10_000_000))));
    expect((await tick(at)).version).toBe(1);
    await expectStatistics('tick', `tick_ms = ${at}`);
    expect((await readStored(env, userHourly)).onlineTick).toBe(at);
  });

  test('events that have the entity and instant of another are counted at the tick to which they come, and at no other', async () => {
    const at = half + 30 * HOUR;
    await tick(at - HOUR);
    await add(
      eventOf('twin', at - 90 * MINUTE), // arrived before
      eventOf('twin', at - 90 * MINUTE, {}, at - 20 * MINUTE),
      eventOf('twin', at - 50 * MINUTE),
      eventOf('twin', at - 50 * MINUTE),
      eventOf('twin', at - 10 * MINUTE),
    );
    await tick(at);
    const arrived = archived.filter(
      ({ arrivedAt, values }) => arrivedAt <= at + 15 * MINUTE && values[USER] !== null,
    );
    const isNew = ({ arrivedAt }: MadeEvent): boolean => arrivedAt > at - HOUR;
    const repeated = arrived.filter(
      (event, i) =>
        isNew(event) &&
        arrived.some(
          (other, j) =>
            i !== j &&
            other.values[USER] === event.values[USER] &&
            other.timestamp === event.timestamp &&
            (!isNew(other) || j < i),
        ),
    );
    expect(repeated.length).toBeGreaterThanOrEqual(2);
    const told = (await resultsOf(env, 'user_hourly')).find(({ expectation }) => expectation === 'unique');
    expect(told).toMatchObject({ reference: formatTimestamp(at), observed: repeated.length, passed: false });
  });

  test('what is expected of a tick once it was looked at is looked at too', async () => {
    meanwhile = () => applyDefinitions(env, definitionsOf(expecting(userHourly, limit(-1))));
    await expect(tick(half + 31 * HOUR)).rejects.toMatchObject(failure);
  });
});

describe('how many rows a tick has', async () => {
  const env = await createEnvironment();
  const view = expecting(
    { ...userHourly, features: userHourly.features.filter(({ name }) => name === 'score_mean') },
    expected.rowCount({ maxChange: 0.5, severity: 'block' }),
  );
  let partition = -1;
  /** One event of so many users at a tick, always the same first ones. */
  const visit = (hours: number, users: number) =>
    archive(env, Array.from({ length: users }, (_, user) => eventOf(`u${user}`, half + hours * HOUR, { score: hours })), partition--); // biome-ignore format: one thing
  const tick = (hours: number) =>
    env.client.workflow.execute(materialize, {
      workflowId: `materialize/user_hourly@1/${randomUUID()}`,
      taskQueue: `${env.config.environment}-batch`,
      args: [{ view: 'user_hourly', tick: formatTimestamp(half + hours * HOUR) }],
    });
  const start = (end: number) =>
    env.client.workflow.execute(backfill, {
      workflowId: `backfill/${randomUUID()}`,
      taskQueue: `${env.config.environment}-batch`,
      args: [{ view: 'user_hourly', end: formatTimestamp(half + end * HOUR) }],
    });
  const blocked = (said: string) => ({
    cause: { cause: { type: 'FS_EXPECTATION_FAILED', message: expect.stringContaining(said) } },
  });

  beforeAll(async () => {
    await applyDefinitions(env, definitionsOf(view));
    for (const hours of [0, 1]) await visit(hours, 4);
    await env.startWorkers((activities) => ({ ...activities, settleSchedules: async () => {} }));
    await start(1);
  });

  test('is compared with that of the newest published tick, however many were missed between them', async () => {
    await visit(2, 20);
    await expect(tick(2)).rejects.toMatchObject(blocked('20 rows after 4'));
    await visit(3, 5);
    expect(await tick(3)).toMatchObject({ ticks: 2, rows: 25 });

    for (const hours of [4, 5, 6]) await visit(hours, 6);
    expect(await tick(6)).toMatchObject({ ticks: 3, rows: 18 });
    await visit(7, 2);
    await expect(tick(7)).rejects.toMatchObject(blocked('2 rows after 6'));
  });

  test('also at the last tick of a backfill', async () => {
    await visit(8, 1);
    await expect(start(8)).rejects.toMatchObject(blocked('1 rows after 6'));
    await visit(9, 8);
    expect(await start(9)).toMatchObject({ finished: true });
  });
});

describe('backfills', async () => {
  const env = await createEnvironment();
  beforeAll(async () => {
    await env.startWorkers((activities) => ({
      ...activities,
      backfillChunk: async (chunk) => {
        const counts = await activities.backfillChunk(chunk);
        await meanwhile();
        return counts;
      },
    }));
    await apply(definitionsOf(userHourly));
    await archive(env, events, -1);
  });

  async function apply(definitions: Definitions): Promise<void> {
    const plan = await computePlan(env.deps.pool, definitions);
    await savePlan(env.deps.pool, plan, definitions);
    await env.client.workflow.execute(applyPlan, {
      workflowId: `apply/${randomUUID()}`,
      taskQueue: env.controlQueue,
      args: [{ planHash: plan.hash, by: 'test' }],
    });
  }

  test('one that blocks fails its apply before anything of the view is live; as expected, it goes live', async () => {
    const impossible = expected.range('score_least', { min: 1e9, severity: 'block' });
    const { id: other } = await versionOf(env, 'user_hourly');
    await expect(apply(definitionsOf(userHourly, expecting(visitDaily, impossible)))).rejects.toMatchObject({
      cause: { cause: { cause: { type: 'FS_EXPECTATION_FAILED' } } },
    });
    const { revision, views } = await readStatus(env.deps.pool);
    expect([revision, views.map(({ view }) => view)]).toEqual([1, ['user_hourly']]);
    const { rows: published } = await env.deps.pool.query('select 1 from tick where version_id <> $1', [
      other,
    ]);
    expect(published).toEqual([]);
    const { rows: kept } = await env.deps.pool.query('select passed, what, severity from expectation_result');
    expect(kept).toEqual([{ passed: false, what: 'backfill', severity: 'block' }]);

    await apply(
      definitionsOf(
        userHourly,
        expecting(visitDaily, expected.range('score_least', { min: 0, severity: 'block' })),
      ),
    );
    const stored = await readStored(env, visitDaily);
    expect(stored.ticks.length).toBeGreaterThan(0);
    expect((await resultsOf(env, 'visit_daily'))[0]).toMatchObject({
      passed: true,
      what: 'backfill',
      observed: 0,
    });
  });

  const start = () =>
    env.client.workflow.execute(backfill, {
      workflowId: `backfill/${randomUUID()}`,
      taskQueue: `${env.config.environment}-batch`,
      args: [{ view: 'user_hourly', eventsPerChunk: 300 }],
    });
  let meanwhile = async (): Promise<void> => {};

  test('one that blocks can be asked for again, and is computed anew with what is expected by then', async () => {
    const few = expected.allowed('visits_1h', { values: [0], severity: 'block' });
    await applyDefinitions(env, definitionsOf(expecting(userHourly, few), visitDaily));
    for (const again of [1, 2])
      await expect(start(), `attempt ${again}`).rejects.toMatchObject({
        cause: { cause: { type: 'FS_EXPECTATION_FAILED' } },
      });
    expect((await readStored(env, userHourly)).ticks).toEqual([]);
    await applyDefinitions(
      env,
      definitionsOf(expecting(userHourly, { ...few, severity: 'warn' }), visitDaily),
    );
    expect((await start()).finished).toBe(true);
    expect((await readStored(env, userHourly)).ticks.length).toBeGreaterThan(0);
  });

  test('what is expected of one while it runs is told of all its rows', async () => {
    const say = (severity: Expectation['severity']) =>
      applyDefinitions(
        env,
        definitionsOf(
          expecting(userHourly, expected.range('visits_1h', { max: 0, severity }), expected.unique()),
          visitDaily,
        ),
      );
    const told = async () => {
      const results = await resultsOf(env, 'user_hourly');
      const newest = results.filter(({ reference }) => reference === results[0]!.reference);
      return new Map(newest.map(({ expectation, observed }) => [expectation, observed]));
    };
    await archive(env, [eventOf('u0', half, {}, Date.now())], -2); // so that it is another one
    meanwhile = () => say('block');
    await expect(start()).rejects.toMatchObject({
      cause: { cause: { type: 'FS_EXPECTATION_FAILED' } },
    });
    const recounted = await told();
    expect([...recounted.keys()]).toEqual(['unique', 'range of visits_1h']);
    expect(recounted.get('unique')).toBeGreaterThan(0);

    meanwhile = async () => {};
    await say('warn');
    await start();
    expect(await told()).toEqual(recounted);
  });
});

describe('each kind blocks', async () => {
  const env = await createEnvironment();
  const block = { severity: 'block' } as const;
  // The hour 2 breaks the first four; after it nothing comes.
  const kinds = [
    { of: expected.nullRate('score_mean', { max: 0, ...block }), hour: 2, observed: 1 / 5, ofAll: 1 / 13 },
    { of: expected.range('score_mean', { max: 100, ...block }), hour: 2, observed: 1 },
    { of: expected.allowed('visits_1h', { values: [0, 1], ...block }), hour: 2, observed: 1 },
    { of: expected.unique(block), hour: 2, observed: 1 },
    { of: expected.freshness({ maxAge: '3h', ...block }), hour: 6, observed: 4 * HOUR },
    { of: expected.rowCount({ maxChange: 0.5, ...block }), hour: 6, observed: 1 },
  ].map(({ of, ...rest }) => {
    const features = userHourly.features.filter(({ name }) => name === 'visits_1h' || name === 'score_mean');
    const view: AggregationView = {
      ...userHourly,
      name: `user_${of.type.toLowerCase()}`,
      features,
      expectations: [of],
    };
    return { type: of.type, view, ...rest };
  });
  const run = (workflow: typeof materialize | typeof backfill, input: object): Promise<unknown> =>
    env.client.workflow.execute(workflow as typeof materialize, {
      workflowId: randomUUID(),
      taskQueue: `${env.config.environment}-batch`,
      args: [input as { view: string }],
    });
  const at = (hour: number): number => half + hour * HOUR;

  beforeAll(async () => {
    await applyDefinitions(env, definitionsOf(...kinds.map(({ view }) => view)));
    await env.startWorkers((activities) => ({ ...activities, settleSchedules: async () => {} }));
    await archive(env, [0, 1].flatMap((hour) => ['a', 'b', 'c', 'd'].map((user) => eventOf(user, at(hour)))), -1); // biome-ignore format: one list
    for (const { view } of kinds) await run(backfill, { view: view.name, end: formatTimestamp(at(1)) });
    const twice = [eventOf('a', at(2)), eventOf('a', at(2))];
    await archive(env, [...twice, eventOf('b', at(2), { score: 5_000 }), eventOf('c', at(2)), eventOf('d', at(2)), eventOf('e', at(2), { score: null })], -2); // biome-ignore format: one list
  });

  test.each(kinds)(
    '$type: a tick, and a backfill',
    async ({ type, view, hour, observed, ofAll = observed }) => {
      const before = await readStored(env, view);
      expect(before.onlineTick).toBe(at(1));
      const blocked = (figure: number) => ({
        cause: {
          cause: {
            type: 'FS_EXPECTATION_FAILED',
            details: [{ expectation: expect.stringMatching(`^${type}`), observed: expect.closeTo(figure) }],
          },
        },
      });
      const until = formatTimestamp(at(hour));
      await expect(run(materialize, { view: view.name, tick: until })).rejects.toMatchObject(
        blocked(observed),
      );
      await expect(run(backfill, { view: view.name, end: until })).rejects.toMatchObject(blocked(ofAll));
      const failed = (await resultsOf(env, view.name)).filter(({ passed }) => !passed);
      expect(failed).toMatchObject([{ what: 'backfill' }, { what: 'tick' }]);
      const { ticks, onlineTick, progress } = await readStored(env, view);
      expect([ticks, onlineTick, progress]).toEqual([before.ticks, before.onlineTick, before.progress]);
    },
  );
});

/** The stream of a view, read while the tests of a `describe` run. */
async function openStream(env: TestEnvironment, view: AggregationView, snapshotEveryMs: number) {
  const { pool } = env.deps;
  const topic = await openTopic(env, true);
  const stop = new AbortController();
  let ended: Promise<unknown>;

  const start = () => {
    ended = Shard.run(
      env.deps,
      { source: 'visits', partition: 0, snapshotEveryMs, runMs: HOUR },
      {
        open: ({ topic: name, epoch }) =>
          createKafkaSource({
            brokers: env.config.kafkaBrokers,
            topic: name,
            partition: 0,
            group: `${name}.${epoch}`,
          }),
        signal: stop.signal,
        report: () => {},
      },
    ).catch((error: unknown) => error);
  };
  beforeAll(async () => {
    await applyDefinitions(env, streamWorld([view]));
    await pool.query(`insert into stream_offset (source, partition, topic) values ('visits', 0, $1)`, [
      `${env.config.environment}.visits`,
    ]);
    await pool.query('insert into view_progress (version_id) select id from view_version');
    start();
  });
  afterAll(async () => {
    stop.abort(new Error('stopped'));
    await ended;
    await topic.close();
  });
  return { ...topic, start, end: () => ended };
}

/** Until what came of it in the stream is such. */
const untilTold = (env: TestEnvironment, told: Partial<ExpectationResult>) =>
  vi.waitFor(
    async () => expect(await resultsOf(env, 'user_now')).toContainEqual(expect.objectContaining(told)),
    { timeout: 30_000, interval: 50 },
  );

describe('a quiet stream', async () => {
  const env = await createEnvironment({ temporal: false });
  const block = 'block' as const;
  const view = expecting(
    userNow,
    expected.freshness({ maxAge: '1h', severity: block }),
    expected.rowCount({ maxChange: 0.1, severity: block }),
  );
  const topic = await openStream(env, view, 1_500);

  test('is told, and read on: only events that come can mend it', async () => {
    await untilTold(env, { expectation: 'rowCount', observed: null, said: expect.stringMatching(/^0 rows/) });
    expect((await resultsOf(env, 'user_now')).map(({ expectation }) => expectation)).toEqual(['rowCount']);

    await topic.produce([message(eventOf('late', now - 2 * HOUR))]);
    await untilTold(env, { expectation: 'freshness', severity: block, passed: false });
    await untilTold(env, { expectation: 'rowCount', severity: block, passed: false, observed: 1 });
    // another partition has newer ones
    await env.deps.pool.query('update view_progress set last_event_ms = $1', [now]);
    await untilTold(env, { expectation: 'freshness', severity: block, passed: true });
    await topic.produce([message(eventOf('calm', now - HOUR))]);
    await untilRead(env, 2);
    expect((await offsetsOf(env)).state).toBe('running');
  });
});

describe('a stream that dies between its snapshots and what comes of them', async () => {
  const env = await createEnvironment({ temporal: false });
  const { pool } = env.deps;
  const view = expecting(userNow, expected.range('score_sum_1d', { max: 10 }), expected.unique());
  const stream = await openStream(env, view, 300);

  test('leaves that to the next', async () => {
    await pool.query(`create function die() returns trigger language plpgsql as $$ begin
      if new.observed > 0 then raise 'died'; end if; return new; end $$`);
    await pool.query(
      'create trigger die before insert on expectation_result for each row execute function die()',
    );
    await stream.produce([50, 60].map((score) => message(eventOf('twice', now - HOUR, { score }))));
    expect(await stream.end()).toMatchObject({ message: expect.stringContaining('died') });
    expect((await readStored(env, userNow)).snapshots).toHaveLength(1);
    await pool.query('drop trigger die on expectation_result');
    stream.start();
    for (const expectation of ['range of score_sum_1d', 'unique'])
      await untilTold(env, { expectation, observed: 1, passed: false });
  });
});

describe('streams', async () => {
  const env = await createEnvironment({ temporal: false });
  const { pool } = env.deps;
  const view = expecting(
    userNow,
    expected.range('score_sum_1d', { max: 1_000, severity: 'block' }),
    expected.unique(),
  );
  const topic = await openStream(env, view, 300);

  const until = (state: string) =>
    vi.waitFor(async () => expect((await offsetsOf(env)).state).toBe(state), {
      timeout: 30_000,
      interval: 50,
    });

  test('one that blocks pauses with the reason; what it archived stays, and is served; resumed, it goes on', async () => {
    await topic.produce([
      message(eventOf('calm', now - HOUR, { score: 5 })),
      message(eventOf('calm', now - HOUR, { score: 6 })),
    ]);
    await untilRead(env, 2);
    await vi.waitFor(
      async () => {
        const told = (await resultsOf(env, 'user_now')).filter(({ observed }) => observed === 1);
        expect(told).toMatchObject([{ expectation: 'unique', passed: false, what: 'stream' }]);
      },
      { timeout: 30_000, interval: 50 },
    );
    expect((await offsetsOf(env)).state).toBe('running');

    await topic.produce([message(eventOf('wild', now - HOUR, { score: 5_000 }))]);
    await until('paused');
    const [status] = (await readStatus(pool)).streams;
    expect(status!.reason).toMatch(/range of score_sum_1d: 1 of \d+ values lie outside of at most 1000/);
    expect((await readStatus(pool)).failedExpectations).toContainEqual(
      expect.objectContaining({ expectation: 'range of score_sum_1d', severity: 'block', what: 'stream' }),
    );
    expect(await checkOnline(env, view)).toBeGreaterThan(0);

    await topic.produce([message(eventOf('calm', now - MINUTE, { score: 1 }))]);
    await setWanted(pool, 'visits', 'run', 'test');
    await untilRead(env, 4);
    await until('running');
    expect((await readStatus(pool)).streams[0]!.reason).toBe(null);
    expect(await checkOnline(env, view)).toBeGreaterThan(0);
  });

  const block = { severity: 'block' } as const;
  const busy = Array.from({ length: 4 }, () => eventOf('busy', now - MINUTE));
  test.each([
    { of: expected.unique(block), sent: busy.slice(0, 2) },
    {
      of: expected.nullRate('last_item', { max: 0, ...block }),
      sent: [eventOf('new', now, { item: null })],
    },
    { of: expected.allowed('visits_30min', { values: [0, 1, 2, 3], ...block }), sent: busy.slice(2) },
    { of: expected.range('score_sum_1d', { max: 1_000, ...block }), sent: [eventOf('wild', now)] },
  ])('$of.type pauses', async ({ of, sent }) => {
    await applyDefinitions(env, streamWorld([expecting(userNow, of)]));
    await topic.produce(sent.map((event) => message(event)));
    await until('paused');
    expect((await readStatus(pool)).streams[0]!.reason).toContain(of.type);
    await setWanted(pool, 'visits', 'run', 'test');
    await until('running');
  });
});
