/** How long serving takes to answer, seen by one client that asks again and again over one connection. */
import { Agent, request } from 'node:http';
import { FeatureStoreError } from '../../core/error.js';
import { isFeatureStoreError } from '../errors.js';

export interface Latency {
  requests: number;
  p50Ms: number;
  p99Ms: number;
}

/**
 * One request after another: `warmUp` that do not count, then `requests` that do. Times include reading the whole body. A serving
 * that was just started is slow to its first callers and may refuse some of them; one that refuses all of the warm-up is at fault.
 */
export async function measureLatency(
  url: string,
  body: string,
  { warmUp, requests, onProgress }: { warmUp: number; requests: number; onProgress: (done: number) => void },
): Promise<Latency> {
  const agent = new Agent({ keepAlive: true, maxSockets: 1 });
  const times: number[] = [];
  try {
    const warm = [];
    for (let i = 0; i < warmUp; i++) warm.push((await Promise.allSettled([ask(url, body, agent)]))[0]);
    const refused = warm.find((result) => result.status === 'rejected');
    if (refused && warm.every(({ status }) => status === 'rejected')) throw refused.reason;
    for (let i = 0; i < requests; i++) {
      const began = performance.now();
      await ask(url, body, agent);
      times.push(performance.now() - began);
      onProgress(i + 1);
    }
  } finally {
    agent.destroy();
  }
  times.sort((a, b) => a - b);
  return { requests, p50Ms: quantile(times, 0.5), p99Ms: quantile(times, 0.99) };
}

/** The smallest value that at least `share` of them do not exceed; two digits. */
export function quantile(sorted: readonly number[], share: number): number {
  const value = sorted[Math.max(0, Math.ceil(share * sorted.length) - 1)] ?? 0;
  return Math.round(value * 100) / 100;
}

function ask(url: string, body: string, agent: Agent): Promise<void> {
  return new Promise((resolve, reject) => {
    const headers = { 'content-type': 'application/json', 'content-length': Buffer.byteLength(body) };
    const sent = request(
      `${url}/get-online-features`,
      { method: 'POST', agent, headers, timeout: 10_000 },
      (response) => {
        response.resume();
        response.once('error', (error) => reject(failure(url, `broke off (${error.message})`)));
        response.once('end', () => {
          if (response.statusCode === 200) resolve();
          else reject(failure(url, `answered ${response.statusCode}`));
        });
      },
    );
    sent.once('timeout', () => sent.destroy(failure(url, 'gave no answer within 10 s')));
    sent.once('error', (error) =>
      reject(isFeatureStoreError(error) ? error : failure(url, `broke the connection (${error.message})`)),
    );
    sent.end(body);
  });
}

function failure(url: string, what: string): FeatureStoreError {
  return new FeatureStoreError('FS_UNAVAILABLE', `serving at ${url} ${what} while it was measured`, {
    fix: 'read the log of serving',
    url,
  });
}
