/** GET /health and GET /metrics of a worker process. Nothing else is answered. */
import { createServer, type Server, type ServerResponse } from 'node:http';
import type { Metrics } from './metrics.js';

/** Empty: all is well. Else what is not, in words. */
export type Check = () => Promise<string[]>;

export async function startHealth(
  url: string,
  identity: { environment: string; instance: string | null; queues: readonly string[] },
  check: Check,
  metrics: Metrics,
): Promise<Server> {
  const server = createServer((request, response) => {
    void answer(request.url ?? '/', response).catch((error: unknown) =>
      send(response, 500, 'application/json', JSON.stringify({ title: String(error), status: 500 })),
    );
  });
  async function answer(path: string, response: ServerResponse): Promise<void> {
    if (path === '/metrics') return send(response, 200, metrics.contentType, await metrics.text());
    if (path !== '/health')
      return send(
        response,
        404,
        'application/problem+json',
        JSON.stringify({
          title: `a worker answers /health and /metrics, not ${path}`,
          status: 404,
          code: 'FS_NOT_FOUND',
        }),
      );
    const reasons = await check();
    const ok = reasons.length === 0;
    const body = { process: 'worker', ...identity, ok, ...(ok ? {} : { reasons }) };
    send(response, ok ? 200 : 503, 'application/json', JSON.stringify(body));
  }
  server.requestTimeout = 5_000;
  server.headersTimeout = 5_000;
  const { hostname, port } = new URL(url);
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject);
    server.listen(Number(port), hostname, resolve);
  });
  return server;
}

function send(response: ServerResponse, status: number, type: string, body: string): void {
  response.writeHead(status, { 'content-type': type }).end(body);
}
