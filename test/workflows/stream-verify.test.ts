/** Verification, tick rows and backfills while events flow: nothing differs that is right, and what is wrong is found. */
import { randomUUID } from 'node:crypto';
import type { WorkflowFailedError } from '@temporalio/client';
import { afterAll, beforeAll, describe, expect, test, vi } from 'vitest';
import type { Difference } from '../../activities/findings.js';
import { recordOf } from '../../activities/output.js';
import { assertDefinitions } from '../../core/check.js';
import { encodeKey, onlineKey } from '../../core/codec/key.js';
import { compileView } from '../../core/compile.js';
import type { Definitions } from '../../core/definition.js';
import { columnNames, type Event } from '../../core/event.js';
import { decodeHeader } from '../../core/record.js';
import { createState, fold } from '../../core/state.js';
import { ceilTo, HOUR } from '../../core/time.js';
import { computePlan, savePlan } from '../../registry/apply.js';
import { archiveColumn } from '../../registry/sql.js';
import { applyPlan } from '../../workflows/apply-plan.js';
import { backfill } from '../../workflows/backfill.js';
import { importSource } from '../../workflows/import-source.js';
import { type VerifyInput, verify } from '../../workflows/verify.js';
import { createEnvironment, putFile, type TestEnvironment } from './environment.js';
import {
  checkOnline, csvOf, cutAtMs, makeMessages, message, offsetsOf, openTopic, streamed, streamWorld, type Topic, untilRead,
} from './streaming.js'; // biome-ignore format: one list
import {
  entitiesOf,
  makeEvents,
  readStored,
  userHourly,
  userNow,
  versionOf,
  visits,
  world,
} from './world.js';

/** A topic that brings events for as long as it is open; those asked for among them. */
class Flow {
  readonly #env: TestEnvironment;
  readonly #topic: Topic;
  readonly #ended: Promise<void>;
  #flowing = true;
  #next: string[] = [];
  produced = 0;

  private constructor(env: TestEnvironment, topic: Topic) {
    this.#env = env;
    this.#topic = topic;
    this.#ended = this.#run();
  }

  static async open(env: TestEnvironment): Promise<Flow> {
    return new Flow(env, await openTopic(env));
  }

  async #run(): Promise<void> {
    let seed = 1_000;
    while (this.#flowing) {
      const messages = [...this.#next.splice(0), ...makeMessages(8, seed++, 1).messages];
      await this.#topic.produce(messages);
      this.produced += messages.length;
      await untilRead(this.#env, this.produced);
    }
  }

  /** Among the others; there when it is in the archive. */
  async bring(user: string, id: string, timestamp = Date.now()): Promise<Event> {
    const [made] = makeEvents(1, { start: timestamp, end: timestamp, seed: 5 });
    const named: Record<string, string> = { visit_id: id, user_id: user, kind: 'view', item: id };
    const values = columnNames(visits).map((name, i) =>
      name === 'happened_at' ? timestamp : (named[name] ?? made!.values[i]!),
    );
    this.#next.push(message({ values }));
    return vi.waitFor(
      async () => {
        const found = (await eventsOf(this.#env, user)).find((event) => event.id === id);
        if (!found) throw new Error(`${id} is not archived`);
        return found;
      },
      { timeout: 20_000 },
    );
  }

  async close(): Promise<void> {
    this.#flowing = false;
    await this.#ended;
    await this.#topic.close();
  }
}

const eventsOf = async (env: TestEnvironment, user: string): Promise<Event[]> => {
  const key = Buffer.from(encodeKey(world.entities[0]!, [user]));
  return (await entitiesOf(env, userNow)).find((one) => key.equals(one.key))?.events ?? [];
};

async function apply(env: TestEnvironment, definitions: Definitions): Promise<void> {
  const checked = assertDefinitions(definitions);
  const plan = await computePlan(env.deps.pool, checked);
  await savePlan(env.deps.pool, plan, checked);
  await env.client.workflow.execute(applyPlan, {
    workflowId: `apply/${randomUUID()}`,
    taskQueue: env.controlQueue,
    args: [{ planHash: plan.hash, by: 'test' }],
  });
}

const runVerify = (env: TestEnvironment, input: Partial<VerifyInput> = {}) => {
  const id = input.id ?? randomUUID();
  return env.client.workflow.execute(verify, {
    workflowId: `verify/${id}`,
    taskQueue: env.controlQueue,
    args: [{ entities: 40, ...input, id }],
  });
};

const runBackfill = (env: TestEnvironment, view: string) =>
  env.client.workflow.execute(backfill, {
    workflowId: `backfill/${view}/${randomUUID()}`,
    taskQueue: `${env.config.environment}-batch`,
    args: [{ view, eventsPerChunk: 200 }],
  });

describe('a file, then a topic', async () => {
  const env = await createEnvironment();
  const { pool, redis } = env.deps;
  const described = { ...userNow, description: 'described anew' };
  let flow: Flow;
  const importFile = (name: string, seed: number) => {
    const events = makeEvents(400, { start: cutAtMs - 30 * HOUR, end: cutAtMs, seed });
    return env.client.workflow.execute(importSource, {
      workflowId: `import/visits/${name}`,
      taskQueue: env.controlQueue,
      args: [{ source: 'visits', file: putFile(env, csvOf(events)), name, format: 'csv' }],
    });
  };

  beforeAll(async () => {
    await env.startWorkers();
    await apply(env, streamWorld([userNow]));
    flow = await Flow.open(env);
  });
  afterAll(() => flow.close());

  test('a live view that was never backfilled has no ticks, and its history arrives when it happened', async () => {
    const paused = async () =>
      (await env.client.schedule.getHandle('schedule/user_now@1').describe()).state.paused;
    await flow.bring('early', 'e1');
    await apply(env, streamWorld([described])); // for other definitions the stream writes its states
    await vi.waitFor(
      async () => expect((await readStored(env, userNow)).progress!.sequence).toBeGreaterThan(0),
      { timeout: 20_000 },
    );
    expect(await paused()).toBe(true);
    const { counts } = await importFile('before', 31);
    const { rows } = await pool.query<{ past: number }>(
      `select count(*) as past from archive_visits where event_id like 'v31-%' and arrived_ms <= $1`,
      [cutAtMs],
    );
    expect(rows[0]!.past).toBe(counts.archived);
    await runBackfill(env, 'user_now');
    expect(await paused()).toBe(false);
    await apply(env, streamWorld([described, userHourly]));
  });

  /** Runs a verification of the streaming view that must fail. */
  async function differences(): Promise<Difference[]> {
    const id = randomUUID();
    const failure = await runVerify(env, { id, views: ['user_now'] }).then(
      () => null,
      (error: unknown) => error as WorkflowFailedError,
    );
    expect(failure?.cause).toMatchObject({ type: 'FS_PARITY' });
    const { rows } = await pool.query<{ result: { differences: Difference[] } }>(
      'select result from verification where id = $1',
      [id],
    );
    return rows[0]!.result.differences;
  }

  /** The record of somebody who comes no more, and what writes another in its place. */
  async function recordOfUser(user: string) {
    const { id } = await versionOf(env, userNow.name);
    const key = onlineKey(env.config.environment, 'user', encodeKey(world.entities[0]!, [user]));
    return {
      read: () => redis.hgetBuffer(key, String(id)),
      write: (record: Buffer) => redis.hset(key, String(id), record),
      /** Until the record has so many events, and the stream has said so. */
      async untilEvents(count: number): Promise<Buffer> {
        return vi.waitFor(
          async () => {
            const record = await redis.hgetBuffer(key, String(id));
            const { eventCount, sequence } = decodeHeader(record!);
            expect(eventCount).toBe(count);
            const { rows } = await pool.query<{ published: number }>(
              'select published from stream_attached where version_id = $1',
              [id],
            );
            expect(rows[0]!.published).toBeGreaterThanOrEqual(sequence);
            return record!;
          },
          { timeout: 20_000 },
        );
      },
    };
  }

  test('nothing differs', async () => {
    const before = await offsetsOf(env);
    for (const seed of [1, 2]) {
      const { different, owed, byView } = await runVerify(env, { seed });
      expect({ different, owed }).toEqual({ different: 0, owed: [] });
      for (const path of ['online', 'rows', 'training'] as const)
        expect(byView.user_now![path]!.checked).toBeGreaterThan(50);
    }
    expect((await offsetsOf(env)).archived).toBeGreaterThan(before.archived + 50);
  });

  test('nor after an import and a backfill of what is attached', async () => {
    await Promise.all([importFile('again', 32), runBackfill(env, 'user_now')]);
    const { rows } = await pool.query<{ events: number; now: number }>(
      `select count(*) as events, count(*) filter (where arrived_ms > $1) as now
         from archive_visits where event_id like 'v32-%'`,
      [cutAtMs],
    );
    expect(rows[0]!.events).toBeGreaterThan(300);
    expect(rows[0]!.now).toBe(rows[0]!.events); // the views have ticks: what comes now is known from now on
    expect(await runVerify(env, { seed: 3 })).toMatchObject({ different: 0 });
  });

  test('a record that is some seconds behind what was published is found', async () => {
    const record = await recordOfUser('behind');
    await flow.bring('behind', 'b1');
    const old = await record.untilEvents(1);
    await flow.bring('behind', 'b2');
    const right = await record.untilEvents(2);
    await record.write(old);
    const found = await differences();
    expect(found[0]).toMatchObject({
      path: 'online',
      entity: { user_id: 'behind' },
      where: 'the record is behind what was published',
      event: { id: 'b2' },
    });
    expect(found.every(({ entity }) => entity.user_id === 'behind')).toBe(true);
    await record.write(right);
  });

  test.each([
    { why: 'that leaves an event out', leaves: 1, raised: 1_000_000, finds: { event: { id: 'gone2' } } },
    { why: 'whose bytes alone are others', leaves: 0, raised: 1, finds: { feature: null, event: null } },
  ])('a record of a higher sequence $why is found', async ({ leaves, raised, finds }) => {
    const user = `raised${leaves}`;
    const record = await recordOfUser(user);
    for (const id of ['gone1', 'gone2']) await flow.bring(user, `${id}${leaves === 1 ? '' : 'x'}`);
    const right = await record.untilEvents(2);
    const { view, source } = await versionOf(env, userNow.name);
    const compiled = compileView(view, source);
    const events = await eventsOf(env, user);
    const state = createState(compiled);
    for (const event of events.slice(0, events.length - leaves)) fold(compiled, state, event);
    state.sequence = decodeHeader(right).sequence + raised;
    state.asOf = decodeHeader(right).asOf;
    await record.write(recordOf(compiled, state));
    const found = await differences();
    expect(found[0]).toMatchObject({ path: 'online', entity: { user_id: user }, ...finds });
    expect(found.at(-1)!.where).toContain('its bytes');
    await record.write(right);
  });

  test('an archived event that was changed is found', async () => {
    const record = await recordOfUser('changed');
    await flow.bring('changed', 'c1');
    await record.untilEvents(1);
    const change = (item: string) =>
      pool.query(`update archive_visits set ${archiveColumn('item')} = $1 where event_id = 'c1'`, [item]);
    await change('another');
    expect((await differences())[0]).toMatchObject({
      path: 'online',
      feature: 'last_item',
      entity: { user_id: 'changed' },
      found: { value: 'c1' },
      expected: { value: 'another' },
    });
    await change('c1');
    expect(await runVerify(env, { views: ['user_now'] })).toMatchObject({ different: 0 });
  });
});

describe('a topic alone', async () => {
  const env = await createEnvironment();
  const { pool } = env.deps;
  let flow: Flow;
  const EVERY = 2_000;
  const { stream, ...alone } = streamed;
  const definitions = (rowsEveryMs: number): Definitions => ({
    ...streamWorld([{ ...userNow, mode: { type: 'streaming', rowsEveryMs } }]),
    sources: [{ ...alone, input: { type: 'topic', topic: stream!.topic } }],
  });
  const schedule = () => env.client.schedule.getHandle('schedule/user_now@1');

  async function untilTick(at: number): Promise<void> {
    await vi.waitFor(
      async () => {
        const { rows } = await pool.query<{ last: number | null }>(
          'select last_tick_ms as last from view_progress',
        );
        expect(rows[0]!.last).toBeGreaterThanOrEqual(at);
      },
      { timeout: 40_000, interval: 100 },
    );
  }

  beforeAll(async () => {
    await env.startWorkers();
    await apply(env, definitions(EVERY));
    flow = await Flow.open(env);
  });
  afterAll(async () => {
    await flow.close();
    await schedule().pause();
  });

  test('rows come by the schedule from the first event on; a late one enters at the next tick', async () => {
    expect((await schedule().describe()).state.paused).toBe(false);
    const first = await flow.bring('late', 'first');
    const tick = ceilTo(first.arrivedAt, EVERY);
    await untilTick(tick);
    const written = await rowsOf('late');
    expect(written[0]).toMatchObject({ tick, visits: 1 });
    const late = await flow.bring('late', 'late', first.timestamp - 60_000);
    const next = ceilTo(late.arrivedAt, EVERY);
    await untilTick(next);
    expect(next).toBeGreaterThan(tick);
    const rows = await rowsOf('late');
    expect(rows.slice(0, written.length)).toEqual(written); // what was written stays
    expect(rows.find((row) => row.tick === next)).toMatchObject({ visits: 2, last: 'first' });
    expect(rows.filter((row) => row.tick > tick && row.tick < next)).toEqual([]);
    const { different, byView } = await runVerify(env, { moments: 40 });
    expect(different).toBe(0);
    expect(byView.user_now!.rows!.checked).toBeGreaterThan(100);
  });

  test('as often as the definitions say now', async () => {
    await apply(env, definitions(3 * EVERY));
    expect((await schedule().describe()).spec.intervals).toMatchObject([{ every: 3 * EVERY }]);
    const event = await flow.bring('late', 'third');
    await untilTick(ceilTo(event.arrivedAt, 3 * EVERY));
    expect(await runVerify(env, { moments: 20 })).toMatchObject({ different: 0 });
    const online = { ...userNow, mode: { type: 'streaming', rowsEveryMs: 3 * EVERY } } as const;
    await vi.waitFor(() => checkOnline(env, online), { timeout: 20_000 });
  });

  async function rowsOf(user: string) {
    const { id } = await versionOf(env, 'user_now');
    const { rows } = await pool.query<{ tick: number; visits: number; last: string | null }>(
      `select tick_ms as tick, visits_30min as visits, last_item as last from rows_${id} where user_id = $1 order by tick_ms`,
      [user],
    );
    return rows;
  }
});
