/** A source that is a table up to an instant and a topic from it on: one archive, the same records. */
import { randomUUID } from 'node:crypto';
import { afterAll, beforeAll, expect, test, vi } from 'vitest';
import { assertDefinitions } from '../../core/check.js';
import type { Definitions } from '../../core/definition.js';
import { columnNames } from '../../core/event.js';
import { formatTimestamp, HOUR, MINUTE } from '../../core/time.js';
import { computePlan, savePlan } from '../../registry/apply.js';
import { quote } from '../../registry/sql.js';
import { applyPlan } from '../../workflows/apply-plan.js';
import { importSource } from '../../workflows/import-source.js';
import { createEnvironment } from './environment.js';
import {
  checkOnline,
  cutAtMs,
  message,
  offsetsOf,
  openTopic,
  streamWorld,
  type Topic,
  untilRead,
} from './streaming.js';
import { type MadeEvent, makeEvents, userNow, visits } from './world.js';

const env = await createEnvironment({ env: { SHOP_URL: process.env.ALMANAC_POSTGRES_URL! } });
const { pool } = env.deps;
const of = streamWorld([userNow]);
const definitions: Definitions = {
  ...of,
  sources: of.sources.flatMap(({ stream, ...source }) => [
    {
      ...source,
      stream: stream!,
      input: { type: 'table', connection: 'env:SHOP_URL', table: `${env.config.environment}.shop_visits` },
    },
    { ...source, name: 'reread', input: { type: 'topic', topic: stream!.topic } }, // the same topic, for itself
  ]),
};

const names = columnNames(visits);
const TYPES = {
  string: 'text',
  int64: 'bigint',
  float64: 'float8',
  bool: 'boolean',
  timestamp: 'timestamptz',
  'list<string>': 'text[]',
  'list<int64>': 'bigint[]',
  'list<float64>': 'float8[]',
};
async function insert(events: readonly MadeEvent[]): Promise<void> {
  for (const { values } of events)
    await pool.query(
      `insert into shop_visits values (${names.map((_, i) => `$${i + 1}`).join(', ')})`,
      values.map((value, i) =>
        visits.columns[names[i]!]!.type === 'timestamp' && value !== null
          ? formatTimestamp(value as number)
          : value,
      ),
    );
}

let topic: Topic;
beforeAll(async () => {
  await env.startWorkers();
  await pool.query(
    `create table shop_visits (${names.map((name) => `${quote(name)} ${TYPES[visits.columns[name]!.type]}`).join(', ')})`,
  );
  const plan = await computePlan(pool, assertDefinitions(definitions));
  await savePlan(pool, plan, definitions);
  await env.client.workflow.execute(applyPlan, {
    workflowId: `apply/${randomUUID()}`,
    taskQueue: env.controlQueue,
    args: [{ planHash: plan.hash, by: 'test' }],
  });
  topic = await openTopic(env);
});
afterAll(() => topic.close());

test('the table tells up to the instant, the topic from it on; what both tell counts once', async () => {
  const events = makeEvents(200, { start: cutAtMs - 2 * HOUR, end: cutAtMs + HOUR, seed: 5 });
  const before = events.filter(({ timestamp }) => timestamp < cutAtMs);
  const after = events.filter(({ timestamp }) => timestamp >= cutAtMs);
  await insert(events);
  const { counts } = await env.client.workflow.execute(importSource, {
    workflowId: 'import/visits/table',
    taskQueue: env.controlQueue,
    args: [{ source: 'visits', name: 'table' }],
  });
  expect(counts).toMatchObject({ archived: before.length, withheld: after.length });
  // at the seam, and again what the table has told
  const again = before.filter(({ timestamp }) => timestamp >= cutAtMs - 10 * MINUTE);
  expect(again.length).toBeGreaterThan(0);
  const ordered = [...again, ...after].sort((a, b) => a.timestamp - b.timestamp);
  await topic.produce(ordered.map((event) => message(event)));
  await untilRead(env, ordered.length);
  expect(await offsetsOf(env)).toMatchObject({
    archived: after.length,
    duplicate: again.length,
    conflict: 0,
    invalid: 0,
  });
  await vi.waitFor(
    async () => {
      const { rows } = await pool.query(
        `select next_offset, archived from stream_offset where source = 'reread'`,
      );
      expect(rows).toEqual([{ next_offset: ordered.length, archived: ordered.length }]);
    },
    { timeout: 30_000 },
  );
  await vi.waitFor(() => checkOnline(env, userNow), { timeout: 20_000 });
  expect(await checkOnline(env, userNow)).toBeGreaterThan(50);
});

test('what the table gets later, from before the instant, is taken in by the next import', async () => {
  const late = makeEvents(40, { start: cutAtMs - 2 * HOUR, end: cutAtMs, seed: 6 }).map((event) => ({
    ...event,
    values: event.values.with(
      names.indexOf('visit_id'),
      `late ${String(event.values[names.indexOf('visit_id')])}`,
    ),
  }));
  await insert(late);
  const { counts } = await env.client.workflow.execute(importSource, {
    workflowId: 'import/visits/later',
    taskQueue: env.controlQueue,
    args: [{ source: 'visits', name: 'later' }],
  });
  expect(counts).toMatchObject({ archived: late.length });
  await vi.waitFor(() => checkOnline(env, userNow), { timeout: 20_000 });
});
