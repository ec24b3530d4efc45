/** A TCP proxy before Redis that counts what passes: how often a client asked, and how many hash reads were in it. */
import { connect, createServer } from 'node:net';

export interface CountingProxy {
  url: string;
  /** Turns of asking that held hash reads, and how many hash reads, since the last call. */
  take(): { trips: number; hashReads: number };
  close(): void;
}

export async function startCountingProxy(redisUrl: string): Promise<CountingProxy> {
  const target = new URL(redisUrl);
  let trips = 0;
  let hashReads = 0;
  let asking = false;
  const server = createServer((client) => {
    const upstream = connect(Number(target.port), target.hostname);
    client.on('error', () => upstream.destroy()).on('close', () => upstream.destroy());
    upstream.on('error', () => client.destroy()).on('close', () => client.destroy());
    client.on('data', (chunk) => {
      const reads = chunk.toString('latin1').split(/\r\nhmget\r\n/i).length - 1;
      hashReads += reads;
      if (reads > 0 && !asking) trips += 1;
      asking ||= reads > 0;
      upstream.write(chunk);
    });
    upstream.on('data', (chunk) => {
      asking = false;
      client.write(chunk);
    });
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const address = server.address();
  const url = new URL(redisUrl);
  url.port = String(typeof address === 'object' && address ? address.port : 0);
  return {
    url: url.href,
    take() {
      const taken = { trips, hashReads };
      [trips, hashReads] = [0, 0];
      return taken;
    },
    close: () => void server.close(),
  };
}
