/**
 * The registry over HTTP (docs/api.md). Reads and plans by itself; whatever takes long or changes something is a workflow that it
 * starts and describes. Never joins or computes features, never opens Redis.
 */
import { randomBytes } from 'node:crypto';
import type { Readable } from 'node:stream';
import Fastify, { type FastifyInstance, type FastifyReply, type FastifyRequest } from 'fastify';
import { collectDefaultMetrics, Histogram, Registry } from 'prom-client';
import { assertDefinitions } from '../core/check.js';
import type { Config } from '../core/config.js';
import { FeatureStoreError } from '../core/error.js';
import { hashDefinitions, type Plan } from '../core/plan.js';
import { floorTo, formatTimestamp } from '../core/time.js';
import { abandonPlan, anotherIsOpen, computePlan, findOpenPlan, findPlanState, savePlan } from './apply.js';
import { assertFile, keepFile, readKeptFile, removeLeftUploads } from './files.js';
import { type EventProducer, PushBody, push } from './push.js';
import {
  ApplyBody,
  BackfillBody,
  ImportBody,
  MaterializeBody,
  NoQuery,
  PlanBody,
  parse,
  RefillBody,
  RunQuery,
  readBody,
  readInstant,
  StreamBody,
  shortInstant,
  TrainingSetBody,
  UpdateBody,
  VerifyBody,
} from './requests.js';
import { findRevision, getSource, resolveStoredView, type StoredVersion, unknownName } from './resolve.js';
import type { Runs, StartRun } from './runs.js';
import type { Pool } from './sql.js';
import { readStatus, readViewProgress } from './status.js';
import { findStreamProgress, orderStream } from './streams.js';

export interface RegistryDeps {
  config: Pick<Config, 'environment' | 'filesDir' | 'registryUrl'>;
  pool: Pool;
  runs: Runs;
  producer: EventProducer;
  instance: string | null;
  /** The clock: epoch ms. */
  now?: () => number;
}

export interface RegistryServer {
  /** Where it listens; the port the system gave when 0 was asked for. */
  url: string;
  /** Stops accepting and answers what is under way. Pool and runs stay open: they are the caller's. */
  close(): Promise<void>;
}

const LIMITS = {
  jsonBytes: 16 * 1024 * 1024,
  uploadMs: 30 * 60_000,
  idleMs: 60_000,
  healthMs: 2_000,
} as const;

/** Throws FS_CONFIG_INVALID for an address that others could reach: there is no authentication yet. */
export async function startRegistry(deps: RegistryDeps): Promise<RegistryServer> {
  const { config } = deps;
  const address = loopbackAddress(config.registryUrl);
  await removeLeftUploads(config.filesDir, (deps.now ?? Date.now)());
  const app = createApp(deps);
  try {
    await app.listen(address);
  } catch (error) {
    throw new FeatureStoreError(
      'FS_UNAVAILABLE',
      `the registry cannot listen on ${config.registryUrl}`,
      { fix: 'free the port, or set ALMANAC_REGISTRY_URL to another', variable: 'ALMANAC_REGISTRY_URL' },
      { cause: error },
    );
  }
  const bound = app.server.address();
  const port = typeof bound === 'object' && bound !== null ? bound.port : address.port;
  const host = address.host.includes(':') ? `[${address.host}]` : address.host;
  return { url: `http://${host}:${port}`, close: () => app.close() };
}

function createApp(deps: RegistryDeps): FastifyInstance {
  const app = Fastify({
    bodyLimit: LIMITS.jsonBytes,
    requestTimeout: LIMITS.uploadMs, // for a whole request, uploads too; one that stands still ends earlier:
    connectionTimeout: LIMITS.idleMs,
    keepAliveTimeout: 72_000,
    forceCloseConnections: 'idle',
    routerOptions: { maxParamLength: 200 },
    // Schemas are zod's; should one of fastify's own come in, it changes nothing it is given.
    ajv: { customOptions: { coerceTypes: false, removeAdditional: false, useDefaults: false } },
  });
  app.removeAllContentTypeParsers();
  app.addContentTypeParser(/^application\/json\b/, { parseAs: 'buffer' }, (_request, body, done) => {
    try {
      done(null, readBody(body as Buffer));
    } catch (error) {
      done(error as Error);
    }
  });
  app.setErrorHandler(answerProblem);
  app.setNotFoundHandler((request) => {
    throw new FeatureStoreError('FS_NOT_FOUND', `there is no ${request.method} ${request.url.slice(0, 80)}`, {
      fix: 'docs/api.md lists what there is',
    });
  });
  const metrics = addMetrics(app);
  addReads(app, deps);
  addDefinitions(app, deps);
  addFiles(app, deps);
  app.post('/push', async (request) => ({
    rows: await push(
      { pool: deps.pool, environment: deps.config.environment, producer: deps.producer },
      parse(PushBody, request.body, 'body'),
    ),
  }));
  addRuns(app, deps);
  app.get('/metrics', async (_request, reply) =>
    reply.type(metrics.contentType).send(await metrics.metrics()),
  );
  return app;
}

// ---------------------------------------------------------------- reading

function addReads(app: FastifyInstance, { config, pool, runs, instance }: RegistryDeps): void {
  app.get('/health', async (_request, reply) => {
    const [postgres, temporal] = await Promise.all([answers(pool.query('select 1')), answers(runs.check())]);
    const ok = postgres === 'ok' && temporal === 'ok';
    const health = { process: 'registry', environment: config.environment, instance, ok, postgres, temporal };
    return reply.code(ok ? 200 : 503).send(health);
  });
  app.get('/v1/status', async (request) => {
    parse(NoQuery, request.query, 'query');
    const status = await readStatus(pool);
    const listed = await listRuns(runs);
    return {
      environment: config.environment,
      postgres: 'ok',
      ...listed.temporal,
      ...status,
      runs: listed.runs,
    };
  });
  app.get('/v1/definitions', async (request) => {
    parse(NoQuery, request.query, 'query');
    const found = await findRevision(pool);
    if (!found)
      return {
        revision: 0,
        definitionsHash: null,
        definitions: { entities: [], sources: [], views: [], services: [] },
      };
    return {
      revision: found.revision,
      definitionsHash: found.definitionsHash,
      definitions: found.definitions,
    };
  });
  app.get<{ Params: { view: string } }>('/v1/views/:view/progress', async (request) => {
    parse(NoQuery, request.query, 'query');
    return readViewProgress(pool, request.params.view);
  });
}

/** 'ok', or what is wrong; never later than health checkers wait. */
async function answers(work: Promise<unknown>): Promise<string> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<string>((resolve) => {
    timer = setTimeout(() => resolve(`no answer within ${LIMITS.healthMs} ms`), LIMITS.healthMs);
  });
  try {
    return await Promise.race([work.then(() => 'ok'), late]);
  } catch (error) {
    return error instanceof Error ? error.message : String(error);
  } finally {
    clearTimeout(timer);
  }
}

/** Without Temporal the rest of the status still holds. */
async function listRuns(
  runs: Runs,
): Promise<{ temporal: { temporal: string }; runs: Awaited<ReturnType<Runs['listRunning']>> }> {
  try {
    return { temporal: { temporal: 'ok' }, runs: await runs.listRunning() };
  } catch (error) {
    if (!(error instanceof FeatureStoreError)) throw error;
    return { temporal: { temporal: error.message }, runs: [] };
  }
}

// ---------------------------------------------------------------- definitions

function addDefinitions(app: FastifyInstance, { pool, runs }: RegistryDeps): void {
  app.post('/v1/plan', async (request) => {
    const { definitions } = parse(PlanBody, request.body, 'body');
    return computePlan(pool, definitions);
  });
  app.post('/v1/apply', async (request, reply) => {
    const { definitions, planHash, by } = parse(ApplyBody, request.body, 'body');
    const repeated = planHash === undefined ? null : await findRepeated(pool, planHash, definitions);
    const plan = repeated?.plan ?? (await computePlan(pool, definitions));
    if (planHash !== undefined && plan.hash !== planHash) throw stale(planHash, plan);
    if (!repeated) {
      await clearOpenPlan({ pool, runs }, plan.hash);
      await savePlan(pool, plan, assertDefinitions(definitions));
    }
    const id = applyId(plan.hash);
    if (repeated?.state !== 'applied')
      await runs.start({
        workflow: 'applyPlan',
        id,
        input: { planHash: plan.hash, by: by ?? 'unknown' },
        summary: `apply on revision ${plan.baseRevision}: ${plan.changes.length} changes`,
        ...(by === undefined ? {} : { owner: by }),
      });
    return reply.code(202).send({ run: id });
  });
}

/** The plan that this very request has begun or finished before, perhaps because the first answer was lost: the same run. */
async function findRepeated(
  pool: Pool,
  planHash: string,
  definitions: unknown,
): ReturnType<typeof findPlanState> {
  const found = await findPlanState(pool, planHash);
  if (!found || found.plan.definitionsHash !== hashDefinitions(assertDefinitions(definitions))) return null;
  if (found.state === 'open') return found;
  const revision = await findRevision(pool);
  const isPresent = found.plan.empty
    ? revision?.revision === found.plan.baseRevision
    : revision?.planHash === planHash;
  return found.state === 'applied' && isPresent ? found : null;
}

const applyId = (planHash: string): string => `apply/${planHash.slice(0, 16)}`;

function stale(planHash: string, plan: Plan): FeatureStoreError {
  return new FeatureStoreError(
    'FS_PLAN_STALE',
    `plan ${planHash.slice(0, 16)} is not what applying would do now`,
    {
      fix: 'look at the fresh plan, then apply with its hash',
      planHash,
      plan,
    },
  );
}

/** A plan whose run has ended without activating or abandoning it (terminated by hand) is given up; one that runs keeps its turn. */
async function clearOpenPlan(
  { pool, runs }: Pick<RegistryDeps, 'pool' | 'runs'>,
  planHash: string,
): Promise<void> {
  const open = await findOpenPlan(pool);
  if (!open || open.hash === planHash) return;
  if (await runs.isRunning(applyId(open.hash))) throw anotherIsOpen(open.hash);
  await abandonPlan(pool, open.hash);
}

// ---------------------------------------------------------------- files

function addFiles(app: FastifyInstance, { config, pool }: RegistryDeps): void {
  void app.register((uploads, _options, done) => {
    uploads.removeAllContentTypeParsers();
    uploads.addContentTypeParser('application/octet-stream', (_request, content, parsed) =>
      parsed(null, content),
    );
    uploads.post('/v1/files', async (request) => {
      if (request.body === undefined || request.body === null)
        throw new FeatureStoreError('FS_REQUEST_INVALID', 'there is no file in the body', {
          fix: 'send its bytes as application/octet-stream',
        });
      return keepFile(config.filesDir, request.body as Readable);
    });
    done();
  });
  app.get<{ Params: { id: string } }>('/v1/training-sets/:id', async (request) =>
    getTrainingSet(pool, request.params.id),
  );
  app.get<{ Params: { id: string } }>('/v1/training-sets/:id/file', async (request, reply) => {
    const { id, manifest } = await getTrainingSet(pool, request.params.id);
    const file = manifest.file;
    if (typeof file !== 'string')
      throw new FeatureStoreError('FS_NOT_FOUND', `training set ${id} has no file`, {
        fix: 'make it again',
        trainingSet: id,
      });
    const { bytes, stream } = await readKeptFile(config.filesDir, file);
    return reply.header('content-length', bytes).type('application/octet-stream').send(stream);
  });
}

/** What it was asked, and where answers differ: counts by path and by view, the first differences whole. */
async function getVerification(pool: Pool, id: string): Promise<Record<string, unknown>> {
  const { rows } = await pool.query<{
    checked: number;
    different: number;
    result: {
      input: unknown;
      finished: boolean;
      neverBackfilled: string[];
      owed: string[];
      byPath: unknown;
      byView: unknown;
      differences: unknown[];
    };
    at: number;
  }>('select checked, different, result, created_at as at from verification where id = $1', [id]);
  const [found] = rows;
  if (found) {
    const { input, finished, neverBackfilled, owed, byPath, byView, differences } = found.result;
    const { checked, different } = found;
    return {
      id,
      finished,
      checked,
      different,
      neverBackfilled,
      owed,
      byPath,
      byView,
      differences,
      input,
      createdAt: formatTimestamp(found.at),
    };
  }
  const { rows: recent } = await pool.query<{ id: string }>(
    'select id from verification order by created_at desc limit 1000',
  );
  throw unknownName('verification', id, recent.map((row) => row.id)); // biome-ignore format: short
}

async function getTrainingSet(
  pool: Pool,
  id: string,
): Promise<{ id: string; manifest: Record<string, unknown>; createdAt: string }> {
  const { rows } = await pool.query<{ manifest: Record<string, unknown>; at: number }>(
    'select manifest, created_at as at from training_set where id = $1',
    [id],
  );
  const [found] = rows;
  if (found) return { id, manifest: found.manifest, createdAt: formatTimestamp(found.at) };
  const { rows: recent } = await pool.query<{ id: string }>(
    'select id from training_set order by created_at desc limit 1000',
  );
  throw unknownName('training set', id, recent.map((row) => row.id)); // biome-ignore format: short
}

// ---------------------------------------------------------------- runs

function addRuns(app: FastifyInstance, deps: RegistryDeps): void {
  const { pool, runs, config } = deps;
  const now = deps.now ?? Date.now;
  const start = async (reply: FastifyReply, run: StartRun): Promise<unknown> => {
    await runs.start(run);
    return reply.code(202).send({ run: run.id });
  };
  const resolve = (view: string, version: number | undefined): Promise<StoredVersion> =>
    resolveStoredView(pool, version === undefined ? view : `${view}@${version}`);
  const ofView = ({ view, version }: StoredVersion) => ({ view: view.name, version, owner: view.owner });

  app.get('/v1/runs', async (request) => {
    const { id } = parse(RunQuery, request.query, 'query');
    const run = await runs.get(id);
    return { ...run, progress: (await findStreamProgress(pool, id)) ?? run.progress };
  });
  app.post('/v1/runs/updates', async (request) => {
    const { id, update } = parse(UpdateBody, request.body, 'body');
    await runs.update(id, update);
    return runs.get(id);
  });
  app.post('/v1/streams', async (request) => {
    const { source, order } = parse(StreamBody, request.body, 'body');
    return orderStream(deps, source, order);
  });
  app.post('/v1/imports', async (request, reply) => {
    const body = parse(ImportBody, request.body, 'body');
    return start(reply, await importRun(deps, body));
  });
  app.post('/v1/backfills', async (request, reply) => {
    const { view, version, start: from, end: to } = parse(BackfillBody, request.body, 'body');
    const found = await resolve(view, version);
    const startMs = from === undefined ? null : readInstant('start', from);
    const endMs = to === undefined ? null : readInstant('end', to);
    if (startMs !== null && endMs !== null && endMs < startMs)
      throw new FeatureStoreError('FS_REQUEST_INVALID', `the range ends before it starts`, {
        fix: 'exchange start and end',
        field: 'end',
      });
    const range = `${startMs === null ? 'beginning' : shortInstant(startMs)}..${endMs === null ? 'now' : shortInstant(endMs)}`;
    return start(reply, {
      workflow: 'backfill',
      id: `backfill/${found.view.name}@${found.version}/${range}`,
      input: {
        view: found.view.name,
        version: found.version,
        ...(startMs === null ? {} : { start: formatTimestamp(startMs) }),
        ...(endMs === null ? {} : { end: formatTimestamp(endMs) }),
      },
      summary: `backfill ${found.view.name} v${found.version}, ${range}`,
      ...ofView(found),
    });
  });
  app.post('/v1/materializations', async (request, reply) => {
    const { view, version, tick } = parse(MaterializeBody, request.body, 'body');
    const found = await resolve(view, version);
    const { cadenceMs, settleMs } = cadenceOf(found);
    const tickMs = tick === undefined ? floorTo(now() - settleMs, cadenceMs) : readInstant('tick', tick);
    if (tickMs !== floorTo(tickMs, cadenceMs))
      throw new FeatureStoreError(
        'FS_REQUEST_INVALID',
        `${formatTimestamp(tickMs)} is no tick of ${found.view.name}`,
        {
          fix: `the last one before it is ${formatTimestamp(floorTo(tickMs, cadenceMs))}`,
          field: 'tick',
        },
      );
    return start(reply, {
      workflow: 'materialize',
      id: `materialize/${found.view.name}@${found.version}/${shortInstant(tickMs)}`,
      input: { view: found.view.name, version: found.version, tick: formatTimestamp(tickMs) },
      summary: `materialize ${found.view.name} v${found.version} at ${shortInstant(tickMs)}`,
      ...ofView(found),
    });
  });
  app.post('/v1/refills', async (request, reply) => {
    const { view, version } = parse(RefillBody, request.body, 'body');
    const found = await resolve(view, version);
    return start(reply, {
      workflow: 'refill',
      id: `refill/${found.view.name}@${found.version}`,
      input: { view: found.view.name, version: found.version },
      summary: `refill ${found.view.name} v${found.version} in Redis`,
      ...ofView(found),
    });
  });
  app.post('/v1/verifications', async (request, reply) => {
    const body = parse(VerifyBody, request.body, 'body');
    for (const view of body.views ?? []) await resolveStoredView(pool, view);
    for (const id of body.trainingSets ?? []) await getTrainingSet(pool, id);
    const id = newId(now());
    const what = body.views?.join(', ') ?? 'every view';
    return start(reply, {
      workflow: 'verify',
      id: `verify/${id}`,
      input: { id, ...body },
      summary: `verify ${body.entities} entities at ${body.moments} moments: ${what}`,
    });
  });
  app.get<{ Params: { id: string } }>('/v1/verifications/:id', async (request) =>
    getVerification(pool, request.params.id),
  );
  app.post('/v1/training-sets', async (request, reply) => {
    const body = parse(TrainingSetBody, request.body, 'body');
    await assertFile(config.filesDir, body.dataframe);
    await assertFeatures(pool, body);
    const id = newId(now());
    return start(reply, {
      workflow: 'trainingSet',
      id: `training-set/${id}`,
      input: { id, ...body },
      summary: `training set of ${body.service ?? `${body.features?.length} features`}, ${body.mode}`,
    });
  });
}

async function importRun(
  { pool, config }: RegistryDeps,
  body: ReturnType<typeof ImportBody.parse>,
): Promise<StartRun> {
  const source = await getSource(pool, body.source);
  const refuse = (message: string, fix: string): never => {
    throw new FeatureStoreError('FS_REQUEST_INVALID', message, { fix, source: source.name });
  };
  const { input } = source;
  if (input.type === 'topic')
    refuse(`source "${source.name}" is the topic ${input.topic}`, 'produce to it, or POST /push');
  if (input.type === 'table' && (body.file !== undefined || body.format !== undefined))
    refuse(
      `source "${source.name}" is the table ${input.table}; it takes no file`,
      'leave out file and format',
    );
  if (input.type === 'file' && body.file === undefined)
    refuse(
      `source "${source.name}" takes a file`,
      'give one: almanac import <source> --file <path>; over HTTP, POST /v1/files first and give its sha256',
    );
  if (body.file !== undefined) await assertFile(config.filesDir, body.file);
  const name = body.name ?? body.file?.slice(0, 16) ?? 'table';
  return {
    workflow: 'importSource',
    id: `import/${source.name}/${name}`,
    input: {
      source: source.name,
      name,
      shiftMs: body.shiftMs ?? 0,
      ...(body.file === undefined ? {} : { file: body.file }),
      ...(input.type === 'file' ? { format: body.format ?? input.format } : {}),
      ...(body.until === undefined ? {} : { until: formatTimestamp(readInstant('until', body.until)) }),
    },
    summary: `import ${name} into ${source.name}`,
    owner: source.owner,
  };
}

/** The service or the features there are, by the nearest name where one is not. */
async function assertFeatures(pool: Pool, body: { service?: string; features?: string[] }): Promise<void> {
  const { views, services } = (await findRevision(pool))?.definitions ?? { views: [], services: [] };
  if (body.service !== undefined && !services.some(({ name }) => name === body.service))
    throw unknownName('service', body.service, services.map(({ name }) => name)); // biome-ignore format: short
  const known = views.flatMap((view) => view.features.map((feature) => `${view.name}:${feature.name}`));
  for (const feature of body.features ?? [])
    if (!known.includes(feature)) throw unknownName('feature', feature, known);
}

function cadenceOf({ view }: StoredVersion): { cadenceMs: number; settleMs: number } {
  if (view.kind === 'sql') return view;
  return view.mode.type === 'batch' ? view.mode : { cadenceMs: view.mode.rowsEveryMs, settleMs: 0 };
}

/** Sorts by time, clashes with none: 20261121T033000Z-1f0c9a2b. */
function newId(nowMs: number): string {
  return `${formatTimestamp(nowMs).replaceAll(/[-:]|\.\d+/g, '')}-${randomBytes(4).toString('hex')}`;
}

// ---------------------------------------------------------------- the edge

function addMetrics(app: FastifyInstance): Registry {
  const registry = new Registry();
  collectDefaultMetrics({ register: registry });
  const requests = new Histogram({
    name: 'almanac_registry_request_seconds',
    help: 'Time to answer, by route and status',
    labelNames: ['method', 'route', 'status'],
    buckets: [0.005, 0.02, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 60],
    registers: [registry],
  });
  app.addHook('onResponse', (request, reply, done) => {
    const route = request.routeOptions.url ?? 'unknown';
    requests.observe({ method: request.method, route, status: reply.statusCode }, reply.elapsedTime / 1000);
    done();
  });
  return registry;
}

/** Every answer of 400 and above, those of fastify itself included, is a problem document with code and fix. */
function answerProblem(
  error: Error & { statusCode?: number; code?: string },
  _request: FastifyRequest,
  reply: FastifyReply,
): void {
  const known = error instanceof FeatureStoreError ? error : translate(error);
  if (known.retryable) void reply.header('retry-after', 1);
  void reply.code(known.status).type('application/problem+json').send(JSON.stringify(known.toJSON()));
}

function translate(error: Error & { statusCode?: number; code?: string }): FeatureStoreError {
  if (error.code === 'FST_ERR_CTP_BODY_TOO_LARGE')
    return new FeatureStoreError('FS_REQUEST_TOO_LARGE', `the body is over ${LIMITS.jsonBytes} bytes`, {
      fix: 'send files to POST /v1/files',
    });
  if (error.code === 'FST_ERR_CTP_INVALID_MEDIA_TYPE')
    return new FeatureStoreError('FS_REQUEST_INVALID', error.message, {
      fix: 'send application/json; a file to POST /v1/files as application/octet-stream',
    });
  if (error.statusCode !== undefined && error.statusCode < 500)
    return new FeatureStoreError('FS_REQUEST_INVALID', error.message, {
      fix: 'docs/api.md shows each request',
    });
  process.stderr.write(`registry: ${error.stack ?? error.message}\n`);
  return new FeatureStoreError(
    'FS_INTERNAL',
    'the registry made a mistake of its own',
    { fix: 'report it with the log of the registry at this time' },
    { cause: error },
  );
}

function loopbackAddress(url: string): { host: string; port: number } {
  const parsed = URL.canParse(url) ? new URL(url) : null;
  const host = parsed?.hostname.replace(/^\[|\]$/g, '') ?? '';
  const isLoopback = host === 'localhost' || host === '::1' || /^127(\.[0-9]{1,3}){3}$/.test(host);
  if (parsed?.protocol === 'http:' && isLoopback)
    return { host, port: parsed.port === '' ? 80 : Number(parsed.port) };
  throw new FeatureStoreError(
    'FS_CONFIG_INVALID',
    `ALMANAC_REGISTRY_URL "${url}" is no loopback HTTP address`,
    {
      fix: 'use http://127.0.0.1:<port>: the registry has no authentication yet and must not be reachable from outside',
      variable: 'ALMANAC_REGISTRY_URL',
    },
  );
}
