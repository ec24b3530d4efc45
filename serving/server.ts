/**
 * Serving over HTTP: POST /get-online-features in Feast's shape, GET /health, /ready, /metrics.
 *
 * fastify, with its defaults replaced: no schema coercion, no body parser of its own (request.ts takes the bytes, whatever the
 * content type: Feast's client sends none), limits on body and time, errors as problem+json. Plain node:http would save some 10 µs
 * of a request; what fastify does well here is refusing a body too large while it arrives and draining connections on close.
 */
import Fastify, { type FastifyInstance, type FastifyReply, type FastifyRequest } from 'fastify';
import type { Config } from '../core/config.js';
import { FeatureStoreError } from '../core/error.js';
import type { Lock } from '../core/lock.js';
import { createMetrics } from './metrics.js';
import { modelOf } from './plan.js';
import { notReady, startPlanSource } from './plan-source.js';
import { readFeatures } from './read.js';
import { startReads } from './reads.js';
import { connectRedis, tried, within } from './redis.js';
import { LIMITS, parseRequest } from './request.js';

export interface ServingOptions {
  config: Pick<Config, 'environment' | 'redisUrl' | 'servingUrl'>;
  instance: string | null;
  /** What requests are answered by that name no model; null: by what is live. */
  lock?: Lock | null;
  /** The clock: epoch ms. */
  now?: () => number;
}

export interface Serving {
  /** Where it listens; the port the system gave when 0 was asked for. */
  url: string;
  /** Reads the published plan now. */
  refresh: () => Promise<void>;
  /** Stops accepting, answers what is under way, disconnects. */
  close(): Promise<void>;
}

const DEADLINE_MS = { usual: 100, most: 5_000 };
// More than this at once cannot be answered in time anyway; what waits costs memory.
const MAX_IN_FLIGHT = 1_024;

/**
 * Throws FS_CONFIG_INVALID for an address that others could reach: there is no authentication yet. With a lock it waits for a look at
 * the published plan, and throws FS_LOCK_INVALID when that cannot be read by it.
 */
export async function startServing({
  config,
  instance,
  lock = null,
  now = Date.now,
}: ServingOptions): Promise<Serving> {
  const address = loopbackAddress(config.servingUrl);
  const redis = connectRedis(config.redisUrl);
  const plans = startPlanSource(redis, config.environment, lock);
  const reads = startReads(redis, config.environment);
  const isReady = (): boolean =>
    redis.status === 'ready' && plans.find() !== null && plans.problems().length === 0;
  const metrics = createMetrics(() => plans.find()?.revision ?? null, isReady);
  const app = Fastify({
    bodyLimit: LIMITS.bodyBytes,
    requestTimeout: 10_000,
    connectionTimeout: 30_000,
    keepAliveTimeout: 72_000,
    forceCloseConnections: 'idle',
  });
  app.removeAllContentTypeParsers();
  app.addContentTypeParser('*', { parseAs: 'buffer' }, (_request, body, done) => done(null, body));
  app.setErrorHandler(answerProblem);
  app.setNotFoundHandler((request) => {
    throw new FeatureStoreError('FS_NOT_FOUND', `there is no ${request.method} ${request.url.slice(0, 80)}`, {
      fix: 'use POST /get-online-features, GET /health, GET /ready or GET /metrics',
    });
  });

  let inFlight = 0;
  app.post('/get-online-features', async (request, reply) => {
    const started = performance.now();
    let service: string | null = null;
    let code = 'OK';
    inFlight++;
    try {
      if (inFlight > MAX_IN_FLIGHT) throw overloaded();
      const deadline = started + deadlineOf(request);
      let plan = plans.current();
      void reply.header('x-almanac-plan', plan.revision);
      const asked = parseRequest(Buffer.isBuffer(request.body) ? request.body : Buffer.alloc(0));
      const named = modelHeader(request);
      if ('service' in asked.target && modelOf(plan, named).live.services.has(asked.target.service))
        service = asked.target.service;
      const { environment } = config;
      const onRedisRead = metrics.redisRead;
      const at = now();
      const read = (): ReturnType<typeof readFeatures> => {
        const model = modelOf(plan, named);
        return readFeatures(asked, { redis, environment, plan, model, at, deadline, onRedisRead });
      };
      let answer = await read();
      // A look under way may have begun before the newest plan was there; the next one has not.
      for (let looks = 0; answer === null; looks++) {
        if (looks === 2) throw notReady(`plan ${plan.revision} reads what is not kept any more`);
        await within(plans.refresh(), deadline);
        plan = plans.current();
        void reply.header('x-almanac-plan', plan.revision);
        answer = await read();
      }
      metrics.values(answer.counts);
      reads.count(answer.vector, at);
      return await reply.type('application/json; charset=utf-8').send(answer.body);
    } catch (error) {
      code = error instanceof FeatureStoreError ? error.code : 'INTERNAL';
      throw error;
    } finally {
      inFlight--;
      metrics.answered(service, code, performance.now() - started);
    }
  });

  const state = (): Record<string, unknown> => ({
    process: 'serving',
    environment: config.environment,
    instance,
    ready: isReady(),
    planRevision: plans.find()?.revision ?? null,
    model: lock?.model ?? null,
    reasons: plans.problems(),
  });
  // Alive is not ready: a supervisor must not restart serving because Redis is away.
  app.get('/health', () => ({ ...state(), ok: true }));
  app.get('/ready', async (_request, reply) => {
    await plans.refresh();
    return reply.code(isReady() ? 200 : 503).send({ ...state(), ok: isReady() });
  });
  app.get('/metrics', async (_request, reply) =>
    reply.type(metrics.registry.contentType).send(await metrics.registry.metrics()),
  );

  const stop = async (): Promise<void> => {
    plans.stop();
    await reads.stop();
    redis.disconnect();
  };
  if (lock !== null) {
    await tried(redis);
    await plans.refresh();
  }
  try {
    plans.assertLock();
  } catch (error) {
    await stop();
    throw error;
  }
  try {
    await app.listen({ host: address.host, port: address.port });
  } catch (error) {
    await stop();
    throw new FeatureStoreError(
      'FS_UNAVAILABLE',
      `serving cannot listen on ${config.servingUrl}`,
      { fix: 'free the port, or set ALMANAC_SERVING_URL to another', variable: 'ALMANAC_SERVING_URL' },
      { cause: error },
    );
  }
  return {
    url: `http://${address.host.includes(':') ? `[${address.host}]` : address.host}:${portOf(app)}`,
    refresh: plans.refresh,
    async close() {
      await app.close();
      await stop();
    },
  };
}

function deadlineOf(request: FastifyRequest): number {
  const header = request.headers['x-deadline-ms'];
  if (header === undefined) return DEADLINE_MS.usual;
  const ms = typeof header === 'string' && /^[0-9]{1,6}$/.test(header) ? Number(header) : 0;
  if (ms < 1 || ms > DEADLINE_MS.most)
    throw new FeatureStoreError('FS_REQUEST_INVALID', 'the header x-deadline-ms is not usable', {
      fix: `give whole milliseconds, 1 to ${DEADLINE_MS.most}`,
      header: 'x-deadline-ms',
    });
  return ms;
}

function modelHeader({ headers }: FastifyRequest): string | null {
  const name = headers['x-almanac-model'] ?? null;
  return Array.isArray(name) ? name.join() : name;
}

function overloaded(): FeatureStoreError {
  return new FeatureStoreError('FS_UNAVAILABLE', `${MAX_IN_FLIGHT} requests are being answered already`, {
    fix: 'ask again shortly, or start another serving process',
  });
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
    return new FeatureStoreError('FS_REQUEST_TOO_LARGE', `the body is over ${LIMITS.bodyBytes} bytes`, {
      fix: 'ask in several requests',
    });
  if (error.statusCode !== undefined && error.statusCode < 500)
    return new FeatureStoreError('FS_REQUEST_INVALID', error.message, {
      fix: 'send an HTTP request with a JSON body',
    });
  process.stderr.write(`serving: ${error.stack ?? error.message}\n`);
  return new FeatureStoreError('FS_INTERNAL', 'serving made a mistake of its own', {
    fix: 'report it with the log of the serving process at this time',
  });
}

/** "http://127.0.0.1:7802" → host and port. */
export function loopbackAddress(url: string): { host: string; port: number } {
  const parsed = URL.canParse(url) ? new URL(url) : null;
  const host = parsed?.hostname.replace(/^\[|\]$/g, '') ?? '';
  const isLoopback = host === 'localhost' || host === '::1' || /^127(\.[0-9]{1,3}){3}$/.test(host);
  if (parsed?.protocol !== 'http:' || !isLoopback)
    throw new FeatureStoreError(
      'FS_CONFIG_INVALID',
      `ALMANAC_SERVING_URL "${url}" is no loopback HTTP address`,
      {
        fix: 'use http://127.0.0.1:<port>: serving has no authentication yet and must not be reachable from outside',
        variable: 'ALMANAC_SERVING_URL',
      },
    );
  return { host, port: parsed.port === '' ? 80 : Number(parsed.port) };
}

function portOf(app: FastifyInstance): number {
  const address = app.server.address();
  return typeof address === 'object' && address !== null ? address.port : 0;
}
