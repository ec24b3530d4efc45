/** A few lines of HTTP that answer as a registry would: for how the CLI behaves, never for what the platform does. */
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';

export interface Stub {
  url: string;
  /** What was asked, as 'POST /v1/plan'. */
  asked: string[];
  bodies: Buffer[];
  close(): Promise<void>;
}

export type Answer = (
  asked: string,
  body: Buffer,
  request: IncomingMessage,
  response: ServerResponse,
) => unknown;

/** `answer` gives what goes out as JSON; undefined: it has answered by itself. */
export async function startStub(answer: Answer, port = 0): Promise<Stub> {
  const stub = { asked: [] as string[], bodies: [] as Buffer[] };
  const server = createServer((request, response) => {
    const chunks: Buffer[] = [];
    request.on('data', (chunk: Buffer) => chunks.push(chunk));
    request.on('end', () => {
      const asked = `${request.method} ${request.url}`;
      const body = Buffer.concat(chunks);
      stub.asked.push(asked);
      stub.bodies.push(body);
      const document = answer(asked, body, request, response);
      if (document === undefined) return;
      if (!response.headersSent) response.setHeader('content-type', 'application/json');
      response.end(JSON.stringify(document));
    });
  });
  await new Promise<void>((resolve) => server.listen(port, '127.0.0.1', resolve));
  return {
    ...stub,
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    close: () =>
      new Promise((resolve) => {
        server.close(() => resolve());
        server.closeAllConnections();
      }),
  };
}

export function problem(response: ServerResponse, status: number, code: string, more: object = {}): object {
  response.statusCode = status;
  return {
    type: `urn:almanac:error:${code}`,
    title: `it is ${code}`,
    status,
    code,
    fix: 'do otherwise',
    ...more,
  };
}
