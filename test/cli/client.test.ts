import { createWriteStream } from 'node:fs';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { gzipSync } from 'node:zlib';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { createClient, type Run } from '../../cli/client.js';
import { followRun } from '../../cli/run.js';
import { problem, type Stub, startStub } from './stub.js';

const stubs: Stub[] = [];
let dir = '';
const stub = async (...args: Parameters<typeof startStub>): Promise<Stub> => {
  const started = await startStub(...args);
  stubs.push(started);
  return started;
};
beforeEach(async () => {
  dir = await mkdtemp(join(tmpdir(), 'almanac-cli-'));
});
afterEach(async () => {
  await Promise.all(stubs.splice(0).map((each) => each.close()));
  await rm(dir, { recursive: true });
});

describe('a registry that says no', () => {
  test('its code, message, fix and place arrive', async () => {
    const { url } = await stub((_asked, _body, _request, response) =>
      problem(response, 409, 'FS_PLAN_STALE', { view: 'a' }),
    );
    await expect(createClient({ url }).post('/v1/apply', {})).rejects.toMatchObject({
      code: 'FS_PLAN_STALE',
      message: 'it is FS_PLAN_STALE',
      details: { fix: 'do otherwise', view: 'a' },
    });
  });
  test('something else at that address is named as such', async () => {
    const { url } = await stub((_asked, _body, _request, response) => void response.end('<html>hello'));
    await expect(createClient({ url }).get('/v1/status')).rejects.toMatchObject({
      code: 'FS_CONFIG_INVALID',
    });
  });
});

describe('a registry that goes away', () => {
  test('one that never answered fails at once', async () => {
    const gone = await stub(() => ({}));
    await gone.close();
    const waits: string[] = [];
    const client = createClient({ url: gone.url, onWait: (text) => waits.push(text) });
    await expect(client.get('/health')).rejects.toMatchObject({ code: 'FS_UNAVAILABLE' });
    expect(waits).toEqual([]);
  });
  test('one that answered before is waited for, aloud, and found again', async () => {
    const first = await stub(() => ({ n: 1 }));
    const waits: string[] = [];
    const client = createClient({ url: first.url, onWait: (text) => waits.push(text) });
    await client.get('/health');
    await first.close();
    const again = client.get('/health');
    await expect.poll(() => waits.length).toBe(1);
    expect(waits[0]).toMatch(/refuses connections; trying for another 60 s/);
    await stub(() => ({ n: 2 }), Number(new URL(first.url).port));
    expect(await again).toEqual({ n: 2 });
  });
  test('its own "not now" is waited out too: Temporal may be away behind it', async () => {
    let calls = 0;
    const { url } = await stub((_asked, _body, _request, response) =>
      ++calls === 2 ? problem(response, 503, 'FS_UNAVAILABLE') : { calls },
    );
    const client = createClient({ url });
    await client.get('/health');
    expect(await client.get('/health')).toEqual({ calls: 3 });
  });
  test('patience ends', async () => {
    const first = await stub(() => ({}));
    const client = createClient({ url: first.url, patienceMs: 150 });
    await client.get('/health');
    await first.close();
    await expect(client.get('/health')).rejects.toMatchObject({ code: 'FS_UNAVAILABLE' });
  });
});

describe('files', () => {
  test.each([
    { name: 'rows.csv', bytes: Buffer.from('a,b\n1,2\n') },
    { name: 'rows.csv.gz', bytes: gzipSync('a,b\n1,2\n') },
  ])('$name arrives unpacked', async ({ name, bytes }) => {
    const path = join(dir, name);
    await writeFile(path, bytes);
    const server = await stub(() => ({ sha256: 'x', bytes: 8 }));
    let last = 0;
    await createClient({ url: server.url }).upload(path, (sent) => {
      last = sent;
    });
    expect(server.bodies[0]!.toString()).toBe('a,b\n1,2\n');
    expect(last).toBe(bytes.length);
  });
  test('a broken .gz is the file’s fault, not the registry’s', async () => {
    const path = join(dir, 'rows.csv.gz');
    await writeFile(path, 'no gzip at all');
    const server = await stub(() => ({ sha256: 'x', bytes: 0 }));
    await expect(createClient({ url: server.url }).upload(path)).rejects.toMatchObject({
      code: 'FS_DATA_INVALID',
      details: { file: path },
    });
  });
  test('a download broken off in the middle is fetched again, whole', async () => {
    let calls = 0;
    const server = await stub((_asked, _body, _request, response) => {
      if (++calls === 2) {
        response.write('half');
        setImmediate(() => response.destroy());
        return undefined;
      }
      return 'whole';
    });
    const client = createClient({ url: server.url });
    await client.get('/health');
    const path = join(dir, 'got');
    await client.download('/file', () => createWriteStream(path));
    expect(await readFile(path, 'utf8')).toBe('"whole"');
  });
});

describe('following a run', () => {
  const run = (more: Partial<Run>): Run => ({
    id: 'backfill/a@1/x..y',
    workflow: 'backfill',
    state: 'running',
    startedAt: '2026-01-01T00:00:00Z',
    closedAt: null,
    progress: null,
    result: null,
    error: null,
    uiUrl: 'http://ui',
    ...more,
  });
  const step = { progress: () => {}, done: () => {}, note: () => {} };

  test('to its result; its id travels whole', async () => {
    let calls = 0;
    const server = await stub(() => run(++calls < 3 ? {} : { state: 'completed', result: { rows: 3 } }));
    const finished = await followRun(createClient({ url: server.url }), 'backfill/a@1/x..y', step);
    expect(finished.result).toEqual({ rows: 3 });
    expect(server.asked[0]).toBe('GET /v1/runs?id=backfill%2Fa%401%2Fx..y');
  });
  test.each([
    {
      more: {
        state: 'failed' as const,
        error: { code: 'FS_DATA_INVALID', message: 'bad', details: { fix: 'mend it' } },
      },
      expected: {
        code: 'FS_DATA_INVALID',
        message: 'bad',
        details: { fix: 'mend it', run: 'backfill/a@1/x..y' },
      },
    },
    {
      more: {
        state: 'failed' as const,
        error: { code: 'TypeError', message: 'x is undefined', details: {} },
      },
      expected: { code: 'FS_RUN_FAILED', message: 'x is undefined' },
    },
    {
      more: { state: 'terminated' as const },
      expected: { code: 'FS_RUN_FAILED', details: { ui: 'http://ui' } },
    },
  ])('$more.state: $expected.code', async ({ more, expected }) => {
    const server = await stub(() => run(more));
    await expect(followRun(createClient({ url: server.url }), 'x', step)).rejects.toMatchObject(expected);
  });
});
