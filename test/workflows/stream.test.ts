import { randomUUID } from 'node:crypto';
import { type AddressInfo, createServer } from 'node:net';
import { afterAll, beforeAll, expect, test, vi } from 'vitest';
import { runProgram } from '../../cli/program.js';
import { assertDefinitions } from '../../core/check.js';
import { encodeKey, onlineKey } from '../../core/codec/key.js';
import { readConfig } from '../../core/config.js';
import type { AggregationView } from '../../core/definition.js';
import { decodeHeader } from '../../core/record.js';
import { HOUR } from '../../core/time.js';
import { computePlan, savePlan } from '../../registry/apply.js';
import { createProducer } from '../../registry/push.js';
import { createRuns } from '../../registry/runs.js';
import { type RegistryDeps, type RegistryServer, startRegistry } from '../../registry/server.js';
import { applyPlan } from '../../workflows/apply-plan.js';
import { importSource } from '../../workflows/import-source.js';
import { pauseUpdate, resumeUpdate } from '../../workflows/progress.js';
import { drainUpdate } from '../../workflows/stream.js';
import { createEnvironment, putFile, type RunningWorkers } from './environment.js';
import {
  buysNow, checkOnline, checkSnapshots,
  csvOf,
  cutAtMs, makeMessages, offsetsOf, openTopic, streamWorld, type Topic, untilRead,
} from './streaming.js'; // biome-ignore format: one list
import { makeEvents, userNow, world } from './world.js';

const env = await createEnvironment();
let topic: Topic;
let produced = 0;

async function apply(views: AggregationView[]): Promise<void> {
  const definitions = assertDefinitions(streamWorld(views));
  const plan = await computePlan(env.deps.pool, definitions);
  await savePlan(env.deps.pool, plan, definitions);
  await env.client.workflow.execute(applyPlan, {
    workflowId: `apply/${randomUUID()}`,
    taskQueue: env.controlQueue,
    args: [{ planHash: plan.hash, by: 'test' }],
  });
}
async function produce(messages: readonly string[]): Promise<void> {
  await topic.produce(messages);
  produced += messages.length;
}
const stream = () => env.client.workflow.getHandle('stream/visits');

let workers: RunningWorkers;
let registry: RegistryServer;
const runs = createRuns(env.config, { updateMs: 5_000 });
const producer = createProducer(env.config);
const registryDeps = (): RegistryDeps => ({
  config: readConfig({ ...env.env, ALMANAC_REGISTRY_URL: 'http://127.0.0.1:0' }),
  pool: env.deps.pool,
  runs,
  producer,
  instance: null,
});

beforeAll(async () => {
  workers = await env.startWorkers();
  registry = await startRegistry(registryDeps());
  await apply([userNow]);
  topic = await openTopic(env);
});
afterAll(async () => {
  await registry.close();
  await producer.close();
  await runs.close();
  await topic.close();
});

test('late, doubled, reordered and invalid events: the records equal the oracle', async () => {
  const made = makeMessages(600, 1);
  for (let i = 0; i < made.messages.length; i += 90) await produce(made.messages.slice(i, i + 90));
  await untilRead(env, produced);
  const found = await offsetsOf(env);
  expect(found.invalid).toBe(made.invalid);
  expect(found.too_late).toBe(made.late);
  expect(found.duplicate).toBe(made.duplicates);
  expect(found.conflict).toBe(made.conflicts);
  expect(found.archived + found.duplicate + found.conflict + found.invalid + found.too_late).toBe(produced);
  await vi.waitFor(() => checkOnline(env, userNow), { timeout: 10_000 });
  expect(await checkOnline(env, userNow)).toBeGreaterThan(100);
});

test('paused it reads nothing; resumed it goes on', async () => {
  await stream().executeUpdate(pauseUpdate);
  await vi.waitFor(async () => expect((await offsetsOf(env)).state).toBe('paused'), { timeout: 10_000 });
  const before = await offsetsOf(env);
  await produce(makeMessages(20, 2).messages);
  expect((await offsetsOf(env)).next_offset).toBe(before.next_offset);
  await stream().executeUpdate(resumeUpdate);
  await untilRead(env, produced);
});

test('a view applied while events flow begins with its backfill and goes on with the stream', async () => {
  let flowing = true;
  const flow = (async () => {
    for (let seed = 10; flowing; seed++) await produce(makeMessages(15, seed, 1).messages);
  })();
  await apply([userNow, buysNow]);
  await vi.waitFor(
    async () => expect((await env.deps.pool.query('select 1 from stream_attached')).rowCount).toBe(2),
    { timeout: 30_000 },
  );
  const attached = produced;
  await vi.waitFor(() => expect(produced).toBeGreaterThan(attached + 100), { timeout: 30_000 });
  flowing = false;
  await flow;
  await untilRead(env, produced);
  for (const view of [userNow, buysNow]) {
    await vi.waitFor(() => checkOnline(env, view), { timeout: 10_000 });
  }
});

test('what a file brings meanwhile is taken in', async () => {
  const events = makeEvents(300, { start: cutAtMs - 2 * HOUR, end: cutAtMs + HOUR, seed: 77_777 });
  const file = putFile(env, csvOf(events));
  const importing = env.client.workflow.execute(importSource, {
    workflowId: 'import/visits/before',
    taskQueue: env.controlQueue,
    args: [{ source: 'visits', file, name: 'before', format: 'csv' }],
  });
  for (let seed = 700; seed < 705; seed++) await produce(makeMessages(20, seed, 2).messages);
  const { counts } = await importing;
  expect(counts.archived).toBe(events.filter(({ timestamp }) => timestamp < cutAtMs).length);
  expect(counts.withheld).toBeGreaterThan(0);
  await untilRead(env, produced);
  for (const view of [userNow, buysNow]) await vi.waitFor(() => checkOnline(env, view), { timeout: 10_000 });
});

const FEAST = { visit_id: ['p1', 'p2'], user_id: ['pushed', 'pushed'], kind: ['buy', 'view'] };

async function post(path: string, body: object, url = registry.url) {
  const response = await fetch(`${url}${path}`, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify(body),
    signal: AbortSignal.timeout(30_000),
  });
  return { status: response.status, body: (await response.json()) as Record<string, unknown> };
}
/** As Feast's feature server takes it. */
const pushed = (df: object) => ({
  push_source_name: 'visits',
  df,
  to: 'online_and_offline',
  allow_registry_cache: true,
  transform_on_write: true,
});

test("rows pushed in Feast's shape are events like any other", async () => {
  const now = new Date().toISOString();
  const pandas = now.replace('T', ' ').replace('Z', '000+00:00'); // str(pd.Timestamp.now('UTC'))
  const df = { ...FEAST, happened_at: [now, pandas] };
  expect(await post('/push', pushed(df))).toEqual({ status: 200, body: { rows: 2 } });
  produced += 2;
  await untilRead(env, produced);
  const key = onlineKey(env.config.environment, 'user', encodeKey(world.entities[0]!, ['pushed']));
  await vi.waitFor(
    async () => {
      const [first] = await env.deps.redis.hvalsBuffer(key);
      expect(decodeHeader(first!).eventCount).toBeGreaterThan(0);
    },
    { timeout: 10_000 },
  );
});

test.each([
  [
    'a time without a zone',
    { happened_at: ['2026-11-21 12:00:00.123', '2026-11-21T12:00:00'] },
    422,
    'FS_DATA_INVALID',
  ],
  ['a time that is none', { happened_at: ['yesterday', 'today'] }, 422, 'FS_DATA_INVALID'],
  ['columns of two lengths', { kind: ['buy'] }, 400, 'FS_REQUEST_INVALID'],
  ['a column of its own', { color: ['red', 'red'] }, 400, 'FS_REQUEST_INVALID'],
  ['a required column that is missing', { user_id: undefined, kind: undefined }, 422, 'FS_DATA_INVALID'],
])('what is pushed with %s is refused whole', async (_, wrong, status, code) => {
  const now = new Date().toISOString();
  const answer = await post('/push', pushed({ ...FEAST, happened_at: [now, now], ...wrong }));
  expect(answer).toMatchObject({ status, body: { code, fix: expect.any(String) as string } });
});

test('pushing to nothing, nothing to push, and a Kafka that hangs', async () => {
  expect(await post('/push', { ...pushed({}), push_source_name: 'visitz' })).toMatchObject({
    status: 404,
    body: { code: 'FS_NOT_FOUND', fix: expect.stringContaining('visits') as string },
  });
  expect(await post('/push', pushed({}))).toEqual({ status: 200, body: { rows: 0 } });
  const silent = createServer(() => {}); // takes connections and never answers
  await new Promise<void>((resolve) => silent.listen(0, '127.0.0.1', resolve));
  const away = createProducer({
    ...env.config,
    kafkaBrokers: [`127.0.0.1:${(silent.address() as AddressInfo).port}`],
  });
  const second = await startRegistry({ ...registryDeps(), producer: away });
  const now = new Date().toISOString();
  const answer = await post('/push', pushed({ ...FEAST, happened_at: [now, now] }), second.url);
  expect(answer).toMatchObject({ status: 503, body: { code: 'FS_UNAVAILABLE' } });
  await second.close();
  silent.close();
});

/** `almanac …`, against the registry of this file. */
async function almanac(...argv: string[]) {
  const ran = { code: 0, stdout: '', stderr: '' };
  const write = (name: 'stdout' | 'stderr') => ({
    write: (text: string) => {
      ran[name] += text;
    },
  });
  ran.code = await runProgram(argv, {
    env: { ALMANAC_REGISTRY_URL: registry.url },
    terminal: { stdout: write('stdout'), stderr: write('stderr') },
    isInteractive: false,
  });
  return ran;
}
interface Shown {
  streams: Array<Record<string, unknown>>;
}
const shown = ({ stdout }: { stdout: string }): Shown['streams'] => (JSON.parse(stdout) as Shown).streams;

test('orders by the command line; status shows the stream', async () => {
  const paused = await almanac('stream', 'pause', 'visits', '--json');
  expect(paused).toMatchObject({ code: 0 });
  expect(shown(paused)).toMatchObject([{ source: 'visits', partition: 0, state: 'paused' }]);
  await produce(makeMessages(20, 800, 1).messages);
  await vi.waitFor(
    async () => {
      const [visits] = shown(await almanac('status', '--json'));
      expect(visits).toMatchObject({
        state: 'paused',
        end: produced,
        lag: produced - (visits!.offset as number),
      });
    },
    { timeout: 10_000 },
  );
  expect(await almanac('stream', 'resume', 'visits')).toMatchObject({ code: 0 });
  await untilRead(env, produced);
  await vi.waitFor(
    async () => {
      const [visits] = shown(await almanac('status', '--json'));
      expect(visits).toMatchObject({
        state: 'running',
        offset: produced,
        end: produced,
        lag: 0,
        counts: { held: 0 },
      });
      expect(visits!.counts).toMatchObject({
        late: expect.any(Number) as number,
        tooLate: expect.any(Number) as number,
      });
    },
    { timeout: 10_000 },
  );
  const run = await fetch(`${registry.url}/v1/runs?id=stream/visits/0`);
  expect(await run.json()).toMatchObject({
    state: 'running',
    progress: { done: produced, total: produced, unit: 'messages', message: 'visits/0 is running, 0 behind' },
  });
  const { stdout } = await almanac('status');
  expect(stdout).toMatch(/^visits\/0 +running +/m);
  expect(Math.max(...stdout.split('\n').map(({ length }) => length))).toBeLessThanOrEqual(80);
  expect(await almanac('stream', 'stop', 'visits')).toMatchObject({ code: 2 });
  expect(await almanac('stream', 'pause', 'visitz')).toMatchObject({
    code: 1,
    stderr: expect.stringContaining('visits') as string,
  });
});

test('the heartbeat of the shard shows how far it is, and stays fresh', async () => {
  await produce(makeMessages(5, 900, 1).messages);
  await untilRead(env, produced);
  await vi.waitFor(
    async () => {
      const { raw } = await env.client.workflow.getHandle('stream/visits/0').describe();
      const payload = raw.pendingActivities![0]!.heartbeatDetails!.payloads![0]!;
      expect(JSON.parse(Buffer.from(payload.data!).toString())).toMatchObject({
        partition: 0,
        offset: produced,
        lag: 0,
        watermark: expect.any(String) as string,
        ratePerSecond: expect.any(Number) as number,
        state: 'running',
      });
    },
    { timeout: 15_000 },
  );
});

test('without a worker an order is written down, and said so; it is followed when one is back', async () => {
  await workers.stop();
  await vi.waitFor(
    async () => expect(shown(await almanac('status', '--json'))).toMatchObject([{ state: 'silent' }]),
    { timeout: 20_000 },
  );
  const ran = await almanac('stream', 'pause', 'visits');
  expect(ran).toMatchObject({ code: 3, stderr: expect.stringContaining('is written down') as string });
  workers = await env.startWorkers();
  await vi.waitFor(
    async () => expect(shown(await almanac('status', '--json'))).toMatchObject([{ state: 'paused' }]),
    { timeout: 60_000 },
  );
  expect(await almanac('stream', 'resume', 'visits')).toMatchObject({ code: 0 });
});

test('without Temporal an order is written down, said so, and followed', async () => {
  const nowhere = createRuns({ ...env.config, temporalAddress: '127.0.0.1:1' }, { callMs: 1_000 });
  const second = await startRegistry({ ...registryDeps(), runs: nowhere });
  expect(await post('/v1/streams', { source: 'visits', order: 'pause' }, second.url)).toMatchObject({
    status: 503,
    body: { code: 'FS_UNAVAILABLE', title: expect.stringContaining('is written down') as string },
  });
  await vi.waitFor(async () => expect((await offsetsOf(env)).state).toBe('paused'), { timeout: 10_000 });
  await second.close();
  await nowhere.close();
  expect(await almanac('stream', 'resume', 'visits')).toMatchObject({ code: 0 });
});

test('an order that reaches the run late does not undo what was ordered since', async () => {
  const allAnswered = async (): Promise<number> => {
    const { events } = await stream().fetchHistory();
    const answered = events!.filter((each) => each.workflowExecutionUpdateCompletedEventAttributes);
    const accepted = events!.filter((each) => each.workflowExecutionUpdateAcceptedEventAttributes);
    expect(answered).toHaveLength(accepted.length);
    return answered.length;
  };
  const before = await vi.waitFor(allAnswered, { timeout: 20_000 });
  await workers.stop();
  const order = (order: string, registry?: string) =>
    post('/v1/streams', { source: 'visits', order }, registry);
  expect(await order('pause')).toMatchObject({ status: 503 });
  const nowhere = createRuns({ ...env.config, temporalAddress: '127.0.0.1:1' }, { callMs: 1_000 });
  const second = await startRegistry({ ...registryDeps(), runs: nowhere });
  expect(await order('resume', second.url)).toMatchObject({ status: 503 });
  await second.close();
  await nowhere.close();
  workers = await env.startWorkers();
  await vi.waitFor(async () => expect(await allAnswered()).toBe(before + 1), { timeout: 60_000 });
  await vi.waitFor(
    async () =>
      expect(shown(await almanac('status', '--json'))).toMatchObject([{ state: 'running', wanted: 'run' }]),
    { timeout: 20_000 },
  );
});

test('the updates of the run answer with what came of it', async () => {
  expect(await stream().executeUpdate(pauseUpdate)).toMatch(
    /^visits\/0 is paused, at offset \d+, \d+ behind$/,
  );
  expect(await stream().executeUpdate(resumeUpdate)).toMatch(/^visits\/0 is running, at offset/);
  for (const update of ['pause', 'resume'])
    expect(await post('/v1/runs/updates', { id: 'stream/visits', update, by: 'ada' })).toMatchObject({
      status: 200,
      body: { id: 'stream/visits', state: 'running' },
    });
  const { rows } = await env.deps.pool.query(
    `select who, action from audit where kind = 'stream' and name = 'visits' order by id desc limit 2`,
  );
  expect(rows).toEqual([
    { who: 'ada', action: 'run' },
    { who: 'ada', action: 'pause' },
  ]);
});

test('drained by the command line it ends, takes no pause, and resumes', async () => {
  expect(await almanac('stream', 'drain', 'visits')).toMatchObject({ code: 0 });
  await stream().result();
  expect(await almanac('stream', 'pause', 'visits')).toMatchObject({
    code: 1,
    stderr: expect.stringContaining('almanac stream resume visits') as string,
  });
  await produce(makeMessages(20, 950, 1).messages);
  expect(await almanac('stream', 'resume', 'visits')).toMatchObject({ code: 0 });
  await untilRead(env, produced);
  // at once after one another
  await Promise.all([
    post('/v1/streams', { source: 'visits', order: 'drain' }),
    post('/v1/streams', { source: 'visits', order: 'resume' }),
  ]);
  expect(await almanac('stream', 'resume', 'visits')).toMatchObject({ code: 0 });
});

test('a topic that was read is not exchanged for another', async () => {
  const definitions = streamWorld([userNow, buysNow]);
  const [source] = definitions.sources;
  const other = {
    ...definitions,
    sources: [{ ...source!, stream: { ...source!.stream!, topic: 'others' } }],
  };
  await expect(computePlan(env.deps.pool, other)).rejects.toMatchObject({
    code: 'FS_DEFINITION_INVALID',
    details: { problems: [{ path: 'sources.visits.stream.topic' }] },
  });
});

test('drained it leaves snapshots of its records; started again it goes on from them', async () => {
  await stream().executeUpdate(drainUpdate);
  await stream().result();
  for (const view of [userNow, buysNow]) expect(await checkSnapshots(env, view)).toBeGreaterThan(10);
  await produce(makeMessages(200, 500, 1).messages);
  await apply([userNow, buysNow]);
  await untilRead(env, produced);
  for (const view of [userNow, buysNow]) await vi.waitFor(() => checkOnline(env, view), { timeout: 10_000 });
});
