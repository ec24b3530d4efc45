/**
 * The main job from beginning to end, on the shop of examples/shop: everything goes through the commands' own functions and
 * the public HTTP APIs, in the order in which a person would do it. What the report shows was read back from there.
 */

import { existsSync } from 'node:fs';
import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { Definitions, StoredView } from '../../core/definition.js';
import { FeatureStoreError } from '../../core/error.js';
import { streamOf, topicName } from '../../core/stream.js';
import { DAY, floorTo, formatTimestamp, HOUR, parseTimestamp, SECOND, WEEK } from '../../core/time.js';
import type { LiveShop } from '../../examples/shop/live.js';
import type { WrittenShop } from '../../examples/shop/simulate.js';
import { type Client, createClient, type Run } from '../client.js';
import { makeTrainingSet } from '../commands/get-historical.js';
import { outcomes, runImport } from '../commands/import.js';
import { runVerify } from '../commands/verify.js';
import { runEach, type ViewRun } from '../commands/views.js';
import { isFeatureStoreError, UsageError } from '../errors.js';
import { loadDefinitions } from '../load.js';
import { stackLinks, stopCommand, wipeStack } from '../local.js';
import type { Output } from '../output.js';
import { followRun, startRun } from '../run.js';
import { doctor } from '../stack/doctor.js';
import { packageDir } from '../stack/places.mjs';
import { stackEnv, startStack, stopStack } from '../stack/stack.js';
import { formatCount } from '../text.js';
import { askServing } from './ask-serving.js';
import { compareTrainingSets } from './compare.js';
import { generateShop } from './generate.js';
import { activeUser, candidateItems, type Encounter, labelsCsv, makeLabels } from './labels.js';
import { readLastEvent } from './last-event.js';
import { streamHour } from './live.js';
import type { DemoReport } from './report.js';
import { connectSchedules } from './schedule.js';
import { readEncounters } from './shop-files.js';
import { readViewProgress } from './view-progress.js';

const NAME = 'demo';
const SERVICE = 'recommendation';
const LABELS = 10_000;
const ITEMS = 100;
const LIVE_MS = 25 * SECOND;

export interface DemoOptions {
  seed: number | undefined;
  /** The demo's end, RFC 3339; by default when its last event is produced. */
  end: string | undefined;
  once: boolean;
  env: Readonly<Record<string, string | undefined>>;
  out: Output;
}

export async function runDemo(options: DemoOptions): Promise<DemoReport> {
  const { once, out } = options;
  let report: Omit<DemoReport, 'stack'>;
  try {
    report = await runSteps(options);
  } finally {
    // also when a step failed: whoever wants to look at it leaves out --once
    if (once) await out.step('stopping the stack', () => stopStack({ name: NAME }));
  }
  return { ...report, stack: { name: NAME, running: !once, stop: once ? null : stopCommand(NAME) } };
}

async function runSteps({ seed: given, end, env, out }: DemoOptions): Promise<Omit<DemoReport, 'stack'>> {
  const shop = await import('../../examples/shop/simulate.js');
  const { countMade, liveHour } = await import('../../examples/shop/live.js');
  const { loadShopTables } = await import('../../examples/shop/tables.js');
  const seed = given ?? shop.DEFAULT_SEED;
  const seconds: Record<string, number> = {};
  const stage = createStages(seconds, out);

  await stage('doctor', 'this machine', () =>
    out.step('checking memory, disk and servers', () => checkMachine(env)),
  );

  await stage('wipe', 'a fresh stack', () => out.step('removing what the last demo left', () => wipe()));
  const dir = join(packageDir, '.almanac', NAME, 'shop');
  await mkdir(dir, { recursive: true });
  const generating = generateShop({ directory: dir, seed }); // while the servers start
  let state = await stage('up', 'its servers', () =>
    out.step('starting the servers', (step) =>
      startStack({ name: NAME, env, processes: [], onProgress: (line) => step.note(`   ${line}`) }),
    ),
  );
  const written = await stage('generate', 'the shop', () =>
    out.step('simulating a year around the real purchases', async (step) => {
      const files = await generating;
      step.done(`${formatCount(files.files.reduce((sum, { rows }) => sum + rows, 0))} rows`);
      return files;
    }),
  );
  const nowMs = end === undefined ? Date.now() : endOf(end); // fixed once: everything imported speaks of this moment
  const until = formatTimestamp(nowMs);
  const cutAtMs = nowMs - HOUR; // what comes after it is streamed
  const shiftMs = shop.wholeWeekShift(written.lastEventMs, nowMs);

  const links = await stage('processes', 'registry, workers, serving', async () => {
    const databaseUrl = stackEnv(state).ALMANAC_POSTGRES_URL!;
    await out.step('loading the shop’s own tables', () => loadShopTables(databaseUrl, written, shiftMs));
    state = await out.step('starting our processes', (step) =>
      startStack({
        name: NAME,
        env,
        settings: { SHOP_DATABASE_URL: databaseUrl, SHOP_CUT_AT: formatTimestamp(cutAtMs) },
        onProgress: (line) => step.note(`   ${line}`),
      }),
    );
    return Object.fromEntries(stackLinks(state));
  });
  const urls = stackEnv(state);
  const onWait = (text: string): void => out.note(`.. ${text}`);
  const client = createClient({ url: urls.ALMANAC_REGISTRY_URL!, onWait });
  const serving = createClient({ url: urls.ALMANAC_SERVING_URL!, onWait });

  const definitions = await stage('apply', 'plan and apply', () => applyShop(client, cutAtMs, out));

  const imported = await stage('import', 'a year of events', async () => {
    const runs: Array<{ source: string; run: Run }> = [];
    for (const { name: source, input } of definitions.sources) {
      const file = written.files.find((each) => each.source === source);
      const request =
        input.type === 'table' || !file
          ? { source, until } // the table was loaded with its times moved
          : { source, file: file.path, format: file.format, shiftMs, until };
      runs.push({ source, run: await runImport(client, request, out) });
    }
    return runs;
  });

  const stored = definitions.views.filter((view) => view.kind !== 'onDemand');
  await stage('backfill', 'every view, from its first event', () =>
    runEach(
      client,
      'backfilling',
      '/v1/backfills',
      stored.map((view) => backfillOf(view, nowMs)),
      out,
    ),
  );

  await stage('materialize', 'the last tick, by the schedule of each view', async () => {
    const schedules = await connectSchedules(urls.ALMANAC_TEMPORAL_ADDRESS!, 'default');
    try {
      for (const view of stored.filter((each) => each.kind === 'sql' || each.mode.type === 'batch'))
        await out.step(`materializing ${view.name}`, async (step) => {
          await followRun(client, await schedules.trigger(view.name, 1), step); // a fresh registry: version 1
        });
    } finally {
      await schedules.close();
    }
  });

  const views = await readEncounters(join(dir, 'interactions.csv'), 'view', shiftMs, cutAtMs);
  const purchases = await readEncounters(join(dir, 'orders.csv'), 'purchase', shiftMs, cutAtMs);
  const user = activeUser(views, cutAtMs);

  const live = await stage('stream', 'the last hour, live', async () => {
    const endMs = end === undefined ? Date.now() + LIVE_MS : nowMs;
    const messages = liveHour({
      shop: liveShop(written, views, cutAtMs),
      asked: user,
      seed,
      startMs: cutAtMs,
      endMs,
    });
    out.note(`   watch stream/interactions/0 at ${links['Temporal UI']}`);
    const stream = await streamHour({
      messages,
      made: countMade(messages),
      startMs: cutAtMs,
      endMs,
      paceMs: LIVE_MS,
      topicOf: (source) => topicOf(definitions, state.environment, source),
      kafkaBrokers: urls.ALMANAC_KAFKA_BROKERS!.split(','),
      registryUrl: urls.ALMANAC_REGISTRY_URL!,
      servingUrl: urls.ALMANAC_SERVING_URL!,
      out,
    });
    return { stream, endMs, messages };
  });

  const asked = await stage('serving', 'a recommendation request', async () => {
    const items = candidateItems(views, user, ITEMS, cutAtMs);
    const visitors = new Set(live.messages.map((each) => each.user));
    visitors.delete(user);
    const pairs = [
      ...items.map((item) => [user, item] as const),
      ...[...visitors].map((each) => [each, items[0]!] as const),
    ];
    const lastEvent = await readLastEvent({ client, service: SERVICE, pairs, atMs: live.endMs, dir: state.dir, out }); // biome-ignore format: one thing
    return askServing({
      serving,
      service: SERVICE,
      definitions,
      user,
      items,
      lastEvent: { ...lastEvent, atMs: live.endMs },
      out,
    });
  });

  const training = await stage('training', `a training set of ${formatCount(LABELS)} rows`, async () => {
    const labels = makeLabels(views, purchases, { count: LABELS, untilMs: cutAtMs, seed });
    const dataframe = join(state.dir, 'labels.csv');
    await writeFile(dataframe, labelsCsv(labels));
    const make = (mode: 'known-then' | 'event-time') =>
      makeTrainingSet(
        client,
        {
          dataframe,
          what: { service: SERVICE },
          mode,
          strict: false,
          out: join(state.dir, `training-${mode}.parquet`),
        },
        out,
      );
    const knownThen = await make('known-then');
    const eventTime = await make('event-time');
    const { rows, rowsDifferent, byFeature } = await out.step('comparing the two modes', () =>
      compareTrainingSets(knownThen.out, eventTime.out),
    );
    return {
      rows,
      positive: labels.filter(({ bought }) => bought).length,
      rowsDifferent,
      byFeature,
      files: { knownThen: knownThen.out, eventTime: eventTime.out },
      ids: [knownThen.id, eventTime.id],
    };
  });

  const parity = await stage('verify', 'the same values, by the oracle', () =>
    runVerify(client, { entities: 500, moments: 3, seed: 1, trainingSets: training.ids }, out),
  );

  const progress = await readViewProgress(client, stored);
  const { ids: _ids, ...trainingReport } = training;
  const importReports = imported.map(({ source, run }) => ({
    source,
    origin: definitions.sources.find(({ name }) => name === source)?.origin ?? null,
    outcomes: outcomes(run),
  }));
  return {
    seed,
    shiftWeeks: shiftMs / WEEK,
    until,
    events: importReports.reduce((sum, each) => sum + (each.outcomes.archived ?? 0), live.stream.archived),
    imports: importReports,
    views: progress,
    stream: live.stream,
    ...asked,
    training: trainingReport,
    parity: { checked: parity.checked, different: parity.different, differences: parity.differences },
    seconds,
    links,
  };
}

/** One tick is left to the schedules. Each tick of a sql view is a query of half a second: a day of them will do. */
function backfillOf(view: StoredView, nowMs: number): ViewRun {
  const cadenceMs =
    view.kind === 'sql' ? view.cadenceMs : view.mode.type === 'batch' ? view.mode.cadenceMs : null;
  if (cadenceMs === null) return { view: view.name };
  const endMs = floorTo(nowMs, cadenceMs) - cadenceMs;
  const start = view.kind === 'sql' ? { start: formatTimestamp(endMs - DAY) } : {};
  return { view: view.name, ...start, end: formatTimestamp(endMs) };
}

/** Runs the parts under headings and takes their time; a failure says in which part, and where the logs are. */
function createStages(seconds: Record<string, number>, out: Output) {
  return async function stage<T>(name: string, title: string, work: () => Promise<T>): Promise<T> {
    const began = performance.now();
    out.note(`\n${title}`);
    try {
      return await work();
    } catch (error) {
      if (isFeatureStoreError(error))
        Object.assign(error.details, { step: name, logs: join(packageDir, '.almanac', NAME, 'logs') });
      throw error;
    } finally {
      seconds[name] = Math.round((performance.now() - began) / 100) / 10;
    }
  };
}

async function checkMachine(env: DemoOptions['env']): Promise<void> {
  const bad = (await doctor({ env })).filter(({ ok, name }) => !ok && !name.startsWith('stack '));
  if (bad.length === 0) return;
  throw new FeatureStoreError(
    'FS_CONFIG_INVALID',
    `this machine is not ready: ${bad.map(({ name, found }) => `${name} (${found})`).join(', ')}`,
    {
      fix: bad.map(({ fix }) => fix).join('; '),
    },
  );
}

async function wipe(): Promise<void> {
  await stopStack({ name: NAME });
  wipeStack(NAME);
}

/** Those who were in the shop in the four weeks before, with what they looked at last. */
function liveShop({ listings, prices }: WrittenShop, views: readonly Encounter[], untilMs: number): LiveShop {
  const known = new Map<string, Set<string>>();
  for (const { user, item, atMs } of views) {
    if (atMs <= untilMs - 4 * WEEK) continue;
    known.set(user, (known.get(user) ?? new Set()).add(item));
  }
  const cents = new Map(prices.map(({ item_id, price_cents }) => [item_id, price_cents])); // the last one
  return {
    users: [...known].map(([user, items]) => ({ user, items: [...items].slice(-20) })),
    items: listings.map(({ item_id: item, category }) => ({
      item,
      category,
      priceCents: cents.get(item) ?? 100,
    })),
  };
}

function topicOf(definitions: Definitions, environment: string, name: string): string {
  return topicName(environment, streamOf(definitions.sources.find((each) => each.name === name)!)!);
}

function endOf(text: string): number {
  const endMs = parseTimestamp(text);
  const agoMs = Date.now() - endMs;
  if (agoMs >= 0 && agoMs <= 6 * HOUR) return endMs;
  throw new UsageError(
    `--end ${text} is not within the last 6 hours`,
    'give a moment of the last hours, or leave it out',
  );
}

async function applyShop(client: Client, cutAtMs: number, out: Output): Promise<Definitions> {
  process.env.SHOP_CUT_AT = formatTimestamp(cutAtMs); // features.ts, evaluated here, reads it
  const file = ['examples/shop/features.ts', 'dist/examples/shop/features.js'].map((each) =>
    join(packageDir, each),
  );
  const definitions = await out.step('evaluating examples/shop/features.ts', () =>
    loadDefinitions(file.find(existsSync) ?? file[0]!),
  );
  const { renderPlan } = await import('../../core/render-plan.js');
  const plan = await client.post<Parameters<typeof renderPlan>[0]>('/v1/plan', { definitions });
  out.note(renderPlan(plan).split('\n')[0]!);
  await out.step('applying', async (step) => {
    const run = await startRun(client, '/v1/apply', { definitions, planHash: plan.hash });
    await followRun(client, run, step);
  });
  return definitions;
}
