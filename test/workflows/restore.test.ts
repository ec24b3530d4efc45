/**
 * A registry brought into another environment goes on there: by the commands that `restore` names, models get what their locks
 * say, of data that was imported anew and goes on as a stream.
 */
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test, vi } from 'vitest';
import { startRepairs } from '../../activities/index.js';
import { runProgram } from '../../cli/program.js';
import { assertDefinitions } from '../../core/check.js';
import { decodeKey } from '../../core/codec/key.js';
import type { AggregationView } from '../../core/definition.js';
import { HOUR } from '../../core/time.js';
import { answer } from '../../oracle/oracle.js';
import { registerModel } from '../../registry/models.js';
import { createProducer } from '../../registry/push.js';
import { createRuns } from '../../registry/runs.js';
import { startRegistry } from '../../registry/server.js';
import { type Serving, startServing } from '../../serving/server.js';
import { applyDefinitions, createEnvironment, type TestEnvironment } from './environment.js';
import {
  buysNow,
  checkOnline,
  csvOf,
  cutAtMs,
  makeMessages,
  openTopic,
  streamWorld,
  untilRead,
} from './streaming.js';
import { entitiesOf, makeEvents, userNow, versionOf } from './world.js';

const [from, into] = [await createEnvironment({ temporal: false }), await createEnvironment()];
const [first, second]: [AggregationView, AggregationView] = [userNow, { ...buysNow, name: userNow.name }];
const service = 'reads_user_now';
const folder = await mkdtemp(join(tmpdir(), 'almanac restored '));
const closing: Array<() => unknown> = [() => rm(folder, { recursive: true })];
/** Later than everything that happens here. */
const clock = Date.now() + HOUR;
let serving: Serving;

async function serve({ config, deps }: TestEnvironment): Promise<string> {
  const [runs, producer] = [createRuns(config), createProducer(config)];
  const server = await startRegistry({
    config: { ...config, registryUrl: 'http://127.0.0.1:0' },
    pool: deps.pool,
    runs,
    producer,
    instance: null,
  });
  closing.push(async () => {
    await server.close();
    await runs.close();
    await producer.close();
  });
  return server.url;
}

async function almanac(registry: string, ...argv: string[]): Promise<string> {
  const said = { stdout: '', stderr: '' };
  const write = (name: 'stdout' | 'stderr') => ({ write: (text: string) => (said[name] += text) });
  const code = await runProgram([...argv, '--registry', registry], {
    env: {},
    terminal: { stdout: write('stdout'), stderr: write('stderr') },
    isInteractive: false,
  });
  expect([code, said.stderr]).toEqual([0, said.stderr]);
  return said.stdout;
}

beforeAll(async () => {
  await into.startWorkers();
  const repairs = startRepairs(into.deps, into.client);
  serving = await startServing({
    config: {
      environment: into.config.environment,
      redisUrl: into.config.redisUrl,
      servingUrl: 'http://127.0.0.1:0',
    },
    instance: null,
    now: () => clock,
  });
  closing.push(
    () => repairs.stop(),
    () => serving.close(),
  );
});
afterAll(async () => {
  for (const close of closing.reverse()) await close();
});

/** Serving answers as the oracle does, for every entity. */
async function everyAnswerIsRight(model: string | null, version: number): Promise<void> {
  const view = { ...(version === 1 ? first : second), name: `user_now@${version}` };
  await vi.waitFor(async () => expect(await checkOnline(into, view)).toBeGreaterThan(20), {
    timeout: 30_000,
    interval: 100,
  });
  const { source, entity } = await versionOf(into, view.name);
  for (const { key, events } of (await entitiesOf(into, view)).slice(0, 8)) {
    const question = { type: 'record', at: clock, sequence: Number.MAX_SAFE_INTEGER } as const;
    const right = answer(view, source, events, question);
    const response = await fetch(`${serving.url}/get-online-features`, {
      method: 'POST',
      headers: { 'x-deadline-ms': '5000', ...(model === null ? {} : { 'x-almanac-model': model }) },
      body: JSON.stringify({
        feature_service: service,
        entities: { user_id: [decodeKey(entity, key)[0]] },
      }),
    });
    const { metadata, results } = (await response.json()) as {
      metadata: { plan: { model: string | null; versions: Record<string, number> } };
      results: Array<{ values: unknown[] }>;
    };
    expect(metadata.plan).toMatchObject({ model, versions: { user_now: version } });
    for (const name of ['visits_30min', 'score_sum_1d', 'last_item', 'cart', 'seen_items_1d']) {
      const place = view.features.findIndex((feature) => feature.name === name);
      if (right.status !== 'NOT_FOUND') expect(results[1 + place]!.values[0]).toEqual(right.values[name]);
    }
  }
}

test('restore, then what it says: a model reads the version of its lock, everybody else the live one', async () => {
  await applyDefinitions(from, assertDefinitions(streamWorld([first])));
  const reads = { services: [service] };
  await registerModel(from.deps.pool, { name: 'churn', owner: 'shop', description: '', reads, by: 'test' });
  await applyDefinitions(from, assertDefinitions(streamWorld([second])));
  await almanac(await serve(from), 'export', join(folder, 'export'));

  const registry = await serve(into);
  expect(await almanac(registry, 'restore', join(folder, 'export'))).toContain(`
next
  almanac import visits --file <csv>
  almanac backfill --all
  almanac stream resume visits
`);
  const file = join(folder, 'visits.csv');
  await writeFile(file, csvOf(makeEvents(400, { start: cutAtMs - 30 * HOUR, end: cutAtMs - 1, seed: 3 })));
  await almanac(registry, 'import', 'visits', '--file', file);
  await almanac(registry, 'backfill', '--all');
  await vi.waitFor(async () => expect((await fetch(`${serving.url}/ready`)).status).toBe(200), 30_000);
  await everyAnswerIsRight('churn', 1);
  await everyAnswerIsRight(null, 2);

  await almanac(registry, 'stream', 'resume', 'visits');
  const topic = await openTopic(into);
  closing.push(() => topic.close());
  const { messages } = makeMessages(60, 7, 2);
  await topic.produce(messages);
  await untilRead(into, messages.length);
  await everyAnswerIsRight('churn', 1);
  await everyAnswerIsRight(null, 2);
});
