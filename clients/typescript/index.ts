/**
 * The registry's HTTP API for TypeScript programs. Paths, requests and answers are typed by api.ts, which is made from the OpenAPI document:
 * `npm run client`. Imports nothing of the platform.
 */
import createFetch, { type Client as FetchClient } from 'openapi-fetch';
import type { components, paths } from './api.js';

/** What the API takes and gives, by name: Schemas['Run']. */
export type Schemas = components['schemas'];

/** client.GET('/v1/versions', { params: { query: { view } } }) → `data`, or `error`: a problem with code and fix. */
export type Client = FetchClient<paths>;

/**
 * @param deadlineMs for a whole call, the reading of its answer included
 * A registry that cannot be reached, and a deadline that has passed, reject as fetch does (TypeError, TimeoutError).
 */
export function createClient({ url, deadlineMs = 30_000 }: { url: string; deadlineMs?: number }): Client {
  return createFetch<paths>({
    baseUrl: url,
    fetch: (request) =>
      fetch(request, { signal: AbortSignal.any([request.signal, AbortSignal.timeout(deadlineMs)]) }),
  });
}
