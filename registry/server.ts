/**
 * The registry over HTTP (docs/api.md): the edge of its routes (routes/). Reads and plans by itself; whatever takes long or changes
 * something is a workflow that it starts and describes. Never joins or computes features, never opens Redis.
 */
import Fastify, { type FastifyInstance, type FastifyReply, type FastifyRequest } from 'fastify';
import { collectDefaultMetrics, Histogram, Registry } from 'prom-client';
import type { z } from 'zod';
import { FeatureStoreError } from '../core/error.js';
import { namesTag, tagOf } from './etag.js';
import { removeLeftUploads } from './files.js';
import { describeApi } from './openapi.js';
import { parse, readBody } from './requests.js';
import { routes } from './routes/index.js';
import { Download, mediaTypeOf, PrometheusText, type Route, type RouteDeps, Upload } from './routes/route.js';

export interface RegistryDeps extends Omit<RouteDeps, 'env' | 'now' | 'metrics' | 'document'> {
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
  const routeDeps: RouteDeps = {
    env: process.env,
    now: Date.now,
    ...deps,
    metrics: addMetrics(app),
    document: describeApi(routes),
  };
  const [uploads, others] = [true, false].map((takes) =>
    routes.filter(({ body }) => (body === Upload) === takes),
  );
  void app.register((scope, _options, done) => {
    scope.removeAllContentTypeParsers();
    scope.addContentTypeParser(mediaTypeOf(Upload), (_request, content, parsed) => parsed(null, content));
    for (const each of uploads!) addRoute(scope, each, routeDeps);
    done();
  });
  for (const each of others!) addRoute(app, each, routeDeps);
  return app;
}

function addRoute(app: FastifyInstance, each: Route, deps: RouteDeps): void {
  app.route({
    method: each.method,
    url: each.path.replaceAll(/\{(\w+)\}/g, ':$1'),
    async handler(request, reply) {
      const params = parse(each.params, request.params, 'path');
      const query = parse(each.query, request.query, 'query');
      const body = each.body === null ? undefined : parse(each.body, request.body, 'body');
      const ifMatch = request.headers['if-match'];
      if (ifMatch !== undefined && !each.ifMatch)
        throw new FeatureStoreError('FS_REQUEST_INVALID', 'nothing is compared with If-Match here', {
          fix: 'leave it out',
          header: 'If-Match',
        });
      const answer = await each.handle({ params, query, body, ifMatch }, deps);
      const status = each.otherwise?.when(answer) ? each.otherwise.status : each.status;
      void reply.code(status).type(mediaTypeOf(each.response));
      if (each.response === PrometheusText) return answer;
      if (each.response === Download) {
        const { bytes, stream } = answer as z.infer<typeof Download>;
        return reply.header('content-length', bytes).send(stream);
      }
      const text = JSON.stringify(answer);
      if (each.method !== 'GET') return text;
      const tag = each.etag?.(answer) ?? tagOf(text);
      void reply.header('etag', tag);
      const ifNoneMatch = request.headers['if-none-match'];
      const isKnown = ifNoneMatch !== undefined && namesTag(ifNoneMatch, tag, { weakly: true });
      return isKnown && status === 200 ? reply.code(304).send() : text;
    },
  });
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
