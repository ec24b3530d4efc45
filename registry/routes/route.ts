/**
 * What a route is: data that says what it takes and gives, and the function that answers. The server checks requests by it, and
 * the OpenAPI document is made from it (openapi.ts).
 */
import { randomBytes } from 'node:crypto';
import { Readable } from 'node:stream';
import { Registry as Metrics } from 'prom-client';
import { z } from 'zod';
import type { Config, Environment } from '../../core/config.js';
import { formatTimestamp } from '../../core/time.js';
import { record } from '../audit.js';
import type { OpenApi } from '../openapi.js';
import type { EventProducer } from '../push.js';
import type { Runs, StartRun } from '../runs.js';
import { type Pool, transaction } from '../sql.js';

/** What handlers have. */
export interface RouteDeps {
  config: Pick<Config, 'environment' | 'filesDir' | 'registryUrl'>;
  pool: Pool;
  /** Where definitions' `env:NAME` connections are looked up. */
  env: Environment;
  runs: Runs;
  producer: EventProducer;
  instance: string | null;
  /** The clock: epoch ms. */
  now: () => number;
  metrics: Metrics;
  /** Of this very API. */
  document: OpenApi;
}

export interface Request<P, Q, B> {
  params: P;
  query: Q;
  body: B;
  ifMatch: string | undefined;
}

const Nothing = z.strictObject({});

/** `example` is checked by a test. */
export interface Route<P = unknown, Q = unknown, B = unknown, R = unknown> {
  /** Of the operation, in OpenAPI and in clients: a verb and what it is done to. */
  id: string;
  method: 'GET' | 'POST';
  /** With its parameters in braces, as people write it: /v1/views/{view}/progress */
  path: `/${string}`;
  /** One line. */
  summary: string;
  /** A parameter, a field of the query or of the body that is not here is refused. */
  params: z.ZodType<P>;
  query: z.ZodType<Q>;
  /** null: a route that takes none. */
  body: z.ZodType<B> | null;
  response: z.ZodType<R>;
  /** Of what went well. */
  status: 200 | 202;
  /** The same answer under another status. */
  otherwise?: { status: number; when: (answer: R) => boolean };
  /** Strong (etag.ts); by itself it is made from the answer's bytes. GET only. */
  etag?: (answer: R) => string;
  /** Whether `handle` looks at If-Match; elsewhere one is refused. */
  ifMatch?: true;
  /** A body. */
  example?: unknown;
  /** Throws FeatureStoreError: its code makes the status. */
  handle(request: Request<P, Q, B>, deps: RouteDeps): Promise<NoInfer<R>> | NoInfer<R>;
}

/** Fills in what most routes leave out; the types of the request and of the answer follow from the schemas. */
export function route<P = Record<string, never>, Q = Record<string, never>, B = undefined, R = never>(
  described: Omit<Route<P, Q, B, R>, 'params' | 'query' | 'body' | 'status'> &
    Partial<Pick<Route<P, Q, B, R>, 'params' | 'query' | 'body' | 'status'>>,
): Route {
  return { params: Nothing, query: Nothing, body: null, status: 200, ...described } as unknown as Route;
}

// ---------------------------------------------------------------- what is not JSON

export const Upload = z.custom<Readable>(
  (body) => body instanceof Readable,
  'there is no file: send its bytes as application/octet-stream',
);
export const Download = z.custom<{ bytes: number; stream: Readable }>();
export const PrometheusText = z.string();

const MEDIA_TYPES = new Map<z.ZodType, string>([
  [Upload, 'application/octet-stream'],
  [Download, 'application/octet-stream'],
  [PrometheusText, Metrics.PROMETHEUS_CONTENT_TYPE],
]);

/** Of a body or an answer. */
export function mediaTypeOf(schema: z.ZodType): string {
  return MEDIA_TYPES.get(schema) ?? 'application/json';
}

// ---------------------------------------------------------------- what takes long

/** The answer of a route that starts a run. */
export const Started = z.strictObject({ run: z.string() }).meta({ id: 'Started' });

/** A run whose change stands in the audit already. */
export async function startRun(runs: Runs, run: StartRun): Promise<{ run: string }> {
  await runs.start(run);
  return { run: run.id };
}

/** A run that somebody asks for, written down before it starts: nothing runs that nobody asked for. */
export async function startAsked(
  { pool, runs }: Pick<RouteDeps, 'pool' | 'runs'>,
  by: string | undefined,
  run: StartRun,
): Promise<{ run: string }> {
  await recordAsked(pool, { by, action: 'start', run: run.id, asked: run.input });
  return startRun(runs, run);
}

/** What was asked of a run. */
export function recordAsked(
  pool: Pool,
  {
    by: who = 'unknown',
    action,
    run,
    asked,
  }: { by: string | undefined; action: string; run: string; asked?: unknown },
): Promise<void> {
  return transaction(pool, (client) =>
    record(client, [{ who, action, kind: 'run', name: run, after: asked, workflow: run }]),
  );
}

/** Sorts by time, clashes with none: 20261121T033000Z-1f0c9a2b. */
export function newId(nowMs: number): string {
  return `${formatTimestamp(nowMs).replaceAll(/[-:]|\.\d+/g, '')}-${randomBytes(4).toString('hex')}`;
}
