/**
 * The registry over HTTP, as the CLI uses it. Every call has a deadline. A registry that has answered once may be killed
 * and started again under us: from then on calls are tried again until it has been silent for `patienceMs`. A registry
 * that never answered fails at once. Starting a run twice gives the same run (its id is made from what it does).
 */
import { createReadStream } from 'node:fs';
import { stat } from 'node:fs/promises';
import { Readable, type Writable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { setTimeout as delay } from 'node:timers/promises';
import { createGunzip } from 'node:zlib';
import type { Schemas } from '../clients/typescript/index.js';
import { writeJson } from '../core/codec/json.js';
import { FeatureStoreError } from '../core/error.js';
import { fromWire, isFeatureStoreError } from './errors.js';

/** How far a run is. Also what any step of the CLI reports. */
export type Progress = Schemas['Progress'];
export type Run = Schemas['Run'];

export interface ClientOptions {
  url: string;
  /** How long a server that once answered may be away. */
  patienceMs?: number;
  /** Told when a wait begins, and again from time to time. */
  onWait?: (text: string) => void;
}

export interface Client {
  readonly url: string;
  get<T>(path: string): Promise<T>;
  post<T>(path: string, body: unknown, headers?: Readonly<Record<string, string>>): Promise<T>;
  /** The answer to a POST, unread: whoever needs every digit of it parses it. */
  text(path: string, body: unknown, headers?: Readonly<Record<string, string>>): Promise<string>;
  /** Sends a file, unpacked when it ends in .gz, as a stream. */
  upload(
    path: string,
    onBytes?: (sent: number, total: number) => void,
  ): Promise<{ sha256: string; bytes: number }>;
  /** `target` is opened for each attempt; one that cannot be opened again is given `once`. */
  download(
    path: string,
    target: () => Writable,
    onBytes?: (received: number) => void,
    once?: boolean,
  ): Promise<void>;
}

const ANSWER_MS = 30_000;
/** A transfer may take long; it may not stand still. */
const IDLE_MS = 60_000;
const PATIENCE_MS = 60_000;
const SAY_EVERY_MS = 10_000;

export function createClient({ url, patienceMs = PATIENCE_MS, onWait = () => {} }: ClientOptions): Client {
  const base = url.replace(/\/+$/, '');
  let hasAnswered = false;
  let saidAt = -Infinity; // once for all calls under way

  async function attempt<T>(once: () => Promise<T>): Promise<T> {
    const began = performance.now();
    for (let pause = 100; ; pause = Math.min(2 * pause, 1_000)) {
      try {
        const value = await once();
        hasAnswered = true;
        return value;
      } catch (error) {
        const waited = performance.now() - began;
        if (!isAway(error) || !hasAnswered || waited >= patienceMs) throw error;
        if (performance.now() - saidAt >= SAY_EVERY_MS) {
          saidAt = performance.now();
          onWait(`${error.message}; trying for another ${Math.ceil((patienceMs - waited) / 1000)} s`);
        }
        await delay(pause);
      }
    }
  }

  /** `alive` is called whenever bytes move. */
  async function call(
    path: string,
    init: RequestInit & { duplex?: 'half' },
    limitMs: number,
    read: (response: Response, alive: () => void) => Promise<unknown>,
    onAlive?: (alive: () => void) => void,
  ): Promise<unknown> {
    const abort = new AbortController();
    const timer = setTimeout(
      () => abort.abort(new DOMException(`no answer within ${limitMs / 1000} s`, 'TimeoutError')),
      limitMs,
    );
    const alive = (): void => void timer.refresh();
    onAlive?.(alive);
    try {
      const response = await fetch(`${base}${path}`, { ...init, signal: abort.signal });
      if (!response.ok) throw await readProblem(response, base);
      return await read(response, alive);
    } catch (error) {
      throw toUnavailable(error, abort.signal, base);
    } finally {
      clearTimeout(timer);
    }
  }

  const readJson = async (response: Response): Promise<unknown> => {
    const text = await response.text();
    try {
      return JSON.parse(text);
    } catch (error) {
      throw notOurs(base, `answered ${response.status} without JSON`, error);
    }
  };

  const post = (
    path: string,
    body: unknown,
    read: (response: Response) => Promise<unknown>,
    more: Readonly<Record<string, string>> = {},
  ): Promise<unknown> => {
    const headers = { 'content-type': 'application/json', ...more };
    return attempt(() => call(path, { method: 'POST', headers, body: writeJson(body) }, ANSWER_MS, read));
  };

  return {
    url: base,
    get: <T>(path: string) => attempt(() => call(path, {}, ANSWER_MS, readJson) as Promise<T>),
    post: <T>(path: string, body: unknown, headers?: Readonly<Record<string, string>>) =>
      post(path, body, readJson, headers) as Promise<T>,
    text: (path, body, headers) =>
      post(path, body, (response) => response.text(), headers) as Promise<string>,
    upload: async (path, onBytes) => {
      const { size } = await stat(path);
      return attempt(async () => {
        let alive = (): void => {};
        let sent = 0;
        let failure: unknown = null;
        const file = createReadStream(path);
        file.on('data', (chunk) => {
          alive();
          sent += chunk.length;
          onBytes?.(sent, size);
        });
        const body: Readable = path.endsWith('.gz') ? file.pipe(createGunzip()) : file;
        file.on('error', (error) => body.destroy(error));
        body.on('error', (error) => {
          failure = error; // fetch says no more than "terminated"
        });
        try {
          return (await call(
            '/v1/files',
            {
              method: 'POST',
              headers: { 'content-type': 'application/octet-stream' },
              body: Readable.toWeb(body) as ReadableStream,
              duplex: 'half',
            },
            IDLE_MS,
            readJson,
            (refresh) => {
              alive = refresh;
            },
          )) as { sha256: string; bytes: number };
        } catch (error) {
          if (failure === null || isFeatureStoreError(failure)) throw error;
          throw new FeatureStoreError('FS_DATA_INVALID', `${path} could not be read: ${messageOf(failure)}`, {
            fix: path.endsWith('.gz') ? 'check the file with "gzip -t"' : 'check the file',
            file: path,
          });
        } finally {
          file.destroy();
          body.destroy();
        }
      });
    },
    download: async (path, target, onBytes, once = false) => {
      const fetchOnce = async (): Promise<void> => {
        await call(path, {}, IDLE_MS, async (response, alive) => {
          let received = 0;
          const body = Readable.fromWeb(response.body as Parameters<typeof Readable.fromWeb>[0]);
          body.on('data', (chunk: Uint8Array) => {
            alive();
            received += chunk.length;
            onBytes?.(received);
          });
          await pipeline(body, target());
        });
      };
      await (once ? fetchOnce() : attempt(fetchOnce));
    },
  };
}

/** A server that cannot answer just now, as opposed to one that said no. */
function isAway(error: unknown): error is FeatureStoreError {
  return isFeatureStoreError(error) && ['FS_UNAVAILABLE', 'FS_DEADLINE', 'FS_NOT_READY'].includes(error.code);
}

async function readProblem(response: Response, base: string): Promise<FeatureStoreError> {
  const text = await response.text();
  let problem: unknown;
  try {
    problem = JSON.parse(text);
  } catch {
    return notOurs(base, `answered ${response.status}: ${text.slice(0, 80).replaceAll('\n', ' ')}`);
  }
  if (typeof problem !== 'object' || problem === null || !('code' in problem))
    return notOurs(base, `answered ${response.status} without a code`);
  const { type: _type, title, status: _status, code, ...details } = problem as Record<string, unknown>;
  return fromWire(
    { code, message: typeof title === 'string' ? title : `HTTP ${response.status}`, details },
    response.status >= 500 ? 'FS_UNAVAILABLE' : 'FS_REQUEST_INVALID',
  );
}

function toUnavailable(error: unknown, signal: AbortSignal, base: string): unknown {
  if (signal.aborted)
    return new FeatureStoreError(
      'FS_DEADLINE',
      `${base} gives no answer: ${messageOf(signal.reason)}`,
      { fix: 'see what hangs: almanac doctor, and the log of that process', url: base },
      { cause: error },
    );
  // fetch wraps what happened to the connection
  if (!(error instanceof TypeError) || isFeatureStoreError(error)) return error;
  const cause = error.cause;
  const why = cause instanceof Error ? ('code' in cause ? String(cause.code) : cause.message) : error.message;
  const said = why === 'ECONNREFUSED' ? 'refuses connections' : `broke the connection (${why})`;
  return new FeatureStoreError(
    'FS_UNAVAILABLE',
    `${base} ${said}`,
    {
      fix: 'start the stack with "npm run up", or name a running one: ALMANAC_REGISTRY_URL, ALMANAC_SERVING_URL',
      url: base,
    },
    { cause: error },
  );
}

function notOurs(base: string, said: string, cause?: unknown): FeatureStoreError {
  return new FeatureStoreError(
    'FS_CONFIG_INVALID',
    `${base} is not one of our processes: it ${said}`,
    { fix: 'check the address: something else listens there', url: base },
    { cause },
  );
}

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
