/** TCP proxies before Redis. */
import { connect, createServer } from 'node:net';

interface Proxy {
  url: string;
  close(): void;
}

/** Counts what passes: how often a client asked, and how many hash reads were in it. */
export interface CountingProxy extends Proxy {
  /** Turns of asking that held hash reads, and how many hash reads, since the last call. */
  take(): { trips: number; hashReads: number };
}

export async function startCountingProxy(redisUrl: string): Promise<CountingProxy> {
  let trips = 0;
  let hashReads = 0;
  let asking = false;
  const proxy = await startProxy(
    redisUrl,
    (chunk) => {
      const reads = chunk.split(/\r\nhmget\r\n/i).length - 1;
      hashReads += reads;
      if (reads > 0 && !asking) trips += 1;
      asking ||= reads > 0;
    },
    (chunk) => {
      asking = false;
      return chunk;
    },
  );
  return {
    ...proxy,
    take() {
      const taken = { trips, hashReads };
      [trips, hashReads] = [0, 0];
      return taken;
    },
  };
}

/** Says of Redis that it loads its data. */
export function startLoadingProxy(redisUrl: string): Promise<Proxy> {
  return startProxy(
    redisUrl,
    () => {},
    (chunk) => chunk.replace('\r\nloading:0', '\r\nloading:1'),
  );
}

/** Bytes as latin1. */
async function startProxy(
  redisUrl: string,
  onAsked: (chunk: string) => void,
  answer: (chunk: string) => string,
): Promise<Proxy> {
  const target = new URL(redisUrl);
  const server = createServer((client) => {
    const upstream = connect(Number(target.port), target.hostname);
    client.on('error', () => upstream.destroy()).on('close', () => upstream.destroy());
    upstream.on('error', () => client.destroy()).on('close', () => client.destroy());
    client.on('data', (chunk) => {
      onAsked(chunk.toString('latin1'));
      upstream.write(chunk);
    });
    upstream.on('data', (chunk) => client.write(answer(chunk.toString('latin1')), 'latin1'));
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const address = server.address();
  const url = new URL(redisUrl);
  url.port = String(typeof address === 'object' && address ? address.port : 0);
  return { url: url.href, close: () => void server.close() };
}
