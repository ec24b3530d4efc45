/**
 * One file over HTTPS: written under a temporary name, checked, and only then given its own.
 * Node built-ins only; HTTPS_PROXY and NO_PROXY are respected (Node 20's own fetch does not).
 */
import { createHash, randomBytes } from 'node:crypto';
import { createReadStream, createWriteStream, mkdirSync, renameSync, rmSync } from 'node:fs';
import http from 'node:http';
import https from 'node:https';
import { dirname } from 'node:path';
import { pipeline } from 'node:stream/promises';
import tls from 'node:tls';

/** A server that says nothing for so long will not: the next way of obtaining the thing is better. */
const CONNECT_MS = 8_000;
const IDLE_MS = 30_000;
const REDIRECTS_MAX = 5;

/** @typedef {Readonly<Record<string, string | undefined>>} Environment */

/** What arrived is not what was pinned. Nothing was kept. */
export class ChecksumError extends Error {
  /** @param {string} what @param {string} expected @param {string} found */
  constructor(what, expected, found) {
    super(`${what}: checksum ${found} instead of ${expected}; nothing of it was kept`);
    this.name = 'ChecksumError';
  }
}

/**
 * @param {string} url @param {string} file @param {string} sha256 hex
 * @param {{ env?: Environment, onBytes?: (bytes: number) => void }} [options]
 */
export async function download(url, file, sha256, { env = process.env, onBytes } = {}) {
  mkdirSync(dirname(file), { recursive: true });
  const temporary = `${file}.${process.pid}.${randomBytes(4).toString('hex')}.part`;
  try {
    const response = await get(new URL(url), env, REDIRECTS_MAX);
    const hash = createHash('sha256');
    let bytes = 0;
    await pipeline(
      response,
      async function* (source) {
        for await (const chunk of source) {
          hash.update(chunk);
          bytes += chunk.length;
          onBytes?.(bytes);
          yield chunk;
        }
      },
      createWriteStream(temporary),
    );
    const found = hash.digest('hex');
    if (found !== sha256) throw new ChecksumError(url, sha256, found);
    renameSync(temporary, file);
  } finally {
    rmSync(temporary, { force: true });
  }
}

/**
 * @param {string} file @param {'sha256' | 'sha512'} algorithm @param {'hex' | 'base64'} encoding
 * @returns {Promise<string>}
 */
export async function hashFile(file, algorithm, encoding) {
  const hash = createHash(algorithm);
  await pipeline(createReadStream(file), hash);
  return hash.digest(encoding);
}

/**
 * @param {URL} url @param {Environment} env @param {number} redirects
 * @returns {Promise<http.IncomingMessage>}
 */
async function get(url, env, redirects) {
  const proxy = proxyFor(url, env);
  const socket = proxy ? await tunnel(proxy, url) : undefined;
  /** @type {http.IncomingMessage} */
  const response = await new Promise((resolve, reject) => {
    const client = url.protocol === 'http:' ? http : https;
    const request = client.get(url, {
      headers: { 'user-agent': 'almanac-setup' },
      ...(socket ? { createConnection: () => socket, agent: false } : {}),
    });
    const deadline = setTimeout(
      () => request.destroy(new Error(`${url.host}: no answer within ${CONNECT_MS / 1000} s`)),
      CONNECT_MS,
    );
    request.setTimeout(IDLE_MS, () =>
      request.destroy(new Error(`${url.host}: silent for ${IDLE_MS / 1000} s`)),
    );
    request.on('response', (message) => {
      clearTimeout(deadline);
      resolve(message);
    });
    request.on('error', (error) => {
      clearTimeout(deadline);
      reject(error);
    });
  });
  const { statusCode = 0, headers } = response;
  if (statusCode === 200) return response;
  response.resume();
  if (statusCode >= 300 && statusCode < 400 && headers.location && redirects > 0)
    return get(new URL(headers.location, url), env, redirects - 1);
  throw new Error(`${url.href}: HTTP ${statusCode}`);
}

/** @param {URL} url @param {Environment} env @returns {URL | null} */
export function proxyFor(url, env) {
  if (url.protocol !== 'https:') return null;
  const proxy = env.HTTPS_PROXY || env.https_proxy || env.ALL_PROXY || env.all_proxy;
  if (!proxy) return null;
  const direct = (env.NO_PROXY || env.no_proxy || '')
    .split(',')
    .map((host) => host.trim().replace(/^\*?\./, ''));
  const isDirect = direct.some(
    (host) => host && (host === '*' || url.hostname === host || url.hostname.endsWith(`.${host}`)),
  );
  return isDirect ? null : new URL(proxy.includes('://') ? proxy : `http://${proxy}`);
}

/**
 * A TLS connection to `url` through an HTTP proxy (CONNECT).
 * @param {URL} proxy @param {URL} url @returns {Promise<tls.TLSSocket>}
 */
function tunnel(proxy, url) {
  return new Promise((resolve, reject) => {
    const authority = `${url.hostname}:${url.port || 443}`;
    const credentials = `${decodeURIComponent(proxy.username)}:${decodeURIComponent(proxy.password)}`;
    const client = proxy.protocol === 'https:' ? https : http;
    const request = client.request(proxy, {
      method: 'CONNECT',
      path: authority,
      timeout: CONNECT_MS,
      headers: {
        host: authority,
        ...(proxy.username
          ? { 'proxy-authorization': `Basic ${Buffer.from(credentials).toString('base64')}` }
          : {}),
      },
    });
    request.on('timeout', () => request.destroy(new Error(`proxy ${proxy.host}: no answer`)));
    request.on('error', reject);
    request.on('connect', (response, socket) => {
      if (response.statusCode !== 200) {
        socket.destroy();
        reject(new Error(`proxy ${proxy.host}: HTTP ${response.statusCode} for ${authority}`));
        return;
      }
      const secure = tls.connect({ socket, servername: url.hostname }, () => resolve(secure));
      secure.on('error', reject);
    });
    request.end();
  });
}
