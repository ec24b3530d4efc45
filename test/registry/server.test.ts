import { createHash, randomBytes } from 'node:crypto';
import { readdir, writeFile } from 'node:fs/promises';
import { request as httpRequest } from 'node:http';
import { type AddressInfo, createServer, type Socket } from 'node:net';
import { join } from 'node:path';
import { beforeAll, describe, expect, test } from 'vitest';
import { saveStatistics, saveVerdicts } from '../../activities/statistics.js';
import { assertDefinitions } from '../../core/check.js';
import type { AggregationView, Definitions, SqlView } from '../../core/definition.js';
import { FeatureStoreError } from '../../core/error.js';
import type { Plan } from '../../core/plan.js';
import { addValue, createSummary } from '../../core/statistics.js';
import { createRuns, type Run, type Runs } from '../../registry/runs.js';
import { createPool } from '../../registry/sql.js';
import { changed, source } from './definitions.js';
import { serve, temporalAddress } from './serve.js';

const {
  temporalNamespace,
  pool,
  environment,
  postgresUrl,
  filesDir,
  url,
  start,
  temporal,
  finish,
  applyDirectly,
  closing,
} = await serve();
const nothingThere = 'postgres://x@127.0.0.1:1/x';

interface Answer {
  status: number;
  // biome-ignore lint/suspicious/noExplicitAny: whatever came
  body: any;
}

async function get(path: string, base = url): Promise<Answer> {
  const response = await fetch(`${base}${path}`);
  return { status: response.status, body: JSON.parse(await response.text()) };
}

async function post(path: string, body: unknown, base = url): Promise<Answer> {
  return send(
    path,
    typeof body === 'string' || body instanceof Uint8Array ? body : JSON.stringify(body),
    'application/json',
    base,
  );
}

async function send(
  path: string,
  body: string | Uint8Array,
  type: string,
  base = url,
  headers: Record<string, string> = {},
): Promise<Answer> {
  const response = await fetch(`${base}${path}`, {
    method: 'POST',
    headers: { 'content-type': type, ...headers },
    body: body as string,
  });
  return { status: response.status, body: JSON.parse(await response.text()) };
}

/** Polls as a client does. */
async function runOf(id: string, until: (run: Run) => boolean): Promise<Run> {
  for (;;) {
    const { body } = await get(`/v1/runs?id=${encodeURIComponent(id)}`);
    if (until(body as Run)) return body as Run;
  }
}
const ended = (id: string): Promise<Run> => runOf(id, ({ state }) => state !== 'running');

/** What the audit says of a run, oldest first. */
async function asked(run: string): Promise<string[]> {
  const { body } = await get(`/v1/audit?kind=run&name=${encodeURIComponent(run)}`);
  return (body.items as Array<{ who: string; action: string }>)
    .map(({ who, action }) => `${who}: ${action}`)
    .reverse();
}

/** As long as an owner may be. */
const LONGEST = `${'😀'.repeat(93)}y@shop.example`;
const everything = (): Definitions =>
  changed((all) => {
    all.sources.push({
      ...source('visits'),
      owner: LONGEST,
      input: { type: 'table', connection: 'env:SHOP_DATABASE_URL', table: 'visits' },
    });
    const rank = all.views.find(({ name }) => name === 'user_rank') as SqlView;
    rank.expectations = [{ type: 'rowCount', maxChange: 0.5, severity: 'warn' }];
  });

describe('an empty registry', () => {
  test('is healthy', async () => {
    expect(await get('/health')).toEqual({
      status: 200,
      body: { process: 'registry', environment, instance: 'one', ok: true, postgres: 'ok', temporal: 'ok' },
    });
  });
  test('has no definitions', async () =>
    expect((await get('/v1/definitions')).body).toMatchObject({ revision: 0, definitions: { views: [] } }));
  test('says so', async () =>
    expect((await get('/v1/status')).body).toMatchObject({ revision: 0, sources: [], views: [], runs: [] }));
  test('knows no source', async () =>
    expect(await post('/v1/imports', { source: 'orders' })).toMatchObject({
      status: 404,
      body: { code: 'FS_NOT_FOUND' },
    }));
});

describe('bodies that are refused', () => {
  const wrapped = (json: string): string => `{"definitions":${json}}`;
  test.each<[string, string | Uint8Array, string]>([
    ['no JSON', '{"definitions": tru', 'FS_REQUEST_INVALID'],
    ['nothing', '', 'FS_REQUEST_INVALID'],
    ['a list', '[]', 'FS_REQUEST_INVALID'],
    ['null', 'null', 'FS_REQUEST_INVALID'],
    ['2^63', wrapped('9223372036854775808'), 'FS_REQUEST_INVALID'],
    ['1e400', wrapped('1e400'), 'FS_REQUEST_INVALID'],
    ['a key twice', '{"definitions":{},"definitions":{}}', 'FS_REQUEST_INVALID'],
    ['a field more', '{"definitions":{},"more":1}', 'FS_REQUEST_INVALID'],
    ['a field of every object', '{"definitions":{},"__proto__":{"x":1}}', 'FS_REQUEST_INVALID'],
    ['20,000 levels', wrapped('['.repeat(20_000) + ']'.repeat(20_000)), 'FS_REQUEST_INVALID'],
    ['no UTF-8', Buffer.from([0x7b, 0x22, 0xff, 0x22, 0x3a, 0x31, 0x7d]), 'FS_REQUEST_INVALID'],
    ['half a surrogate pair', wrapped('"\\ud800"'), 'FS_REQUEST_INVALID'],
    ['no definitions', wrapped('"text"'), 'FS_DEFINITION_INVALID'],
    ['120 levels', wrapped('['.repeat(120) + ']'.repeat(120)), 'FS_DEFINITION_INVALID'],
  ])('%s', async (_, body, code) => {
    const answer = await post('/v1/plan', body);
    expect(answer.body).toMatchObject({
      code,
      fix: expect.stringMatching(/./),
      type: `urn:almanac:error:${code}`,
    });
    expect(answer.status).toBe(code === 'FS_REQUEST_INVALID' ? 400 : 422);
  });
  test('too much', async () => {
    const answer = await post('/v1/plan', `"${'x'.repeat(17 * 1024 * 1024)}"`);
    expect(answer).toMatchObject({ status: 413, body: { code: 'FS_REQUEST_TOO_LARGE' } });
  });
  test('another content type', async () =>
    expect(await send('/v1/plan', '{}', 'text/plain')).toMatchObject({
      status: 400,
      body: { code: 'FS_REQUEST_INVALID' },
    }));
  test('a path that is not there', async () =>
    expect(await get('/v2/plan')).toMatchObject({ status: 404, body: { code: 'FS_NOT_FOUND' } }));
  test('text where a number belongs, several problems at once', async () => {
    const { status, body } = await post('/v1/verifications', { entities: '5', moments: 0, views: [] });
    expect(status).toBe(400);
    expect(body.problems.map(({ path }: { path: string }) => path)).toEqual(['entities', 'moments', 'views']);
  });
  test('a query that nobody asked for', async () =>
    expect(await get('/v1/status?verbose=1')).toMatchObject({
      status: 400,
      body: { code: 'FS_REQUEST_INVALID' },
    }));
});

describe('plan and apply', () => {
  test('a plan changes nothing', async () => {
    const { status, body } = await post('/v1/plan', { definitions: everything() });
    expect(status).toBe(200);
    expect((body as Plan).changes.map(({ action, kind, name }) => `${action} ${kind} ${name}`)).toContain(
      'create view user_orders',
    );
    expect((await get('/v1/definitions')).body.revision).toBe(0);
  });
  test('definitions that are wrong: every problem with its path and fix', async () => {
    const wrong = changed((all) => {
      all.services[0]!.features.push('user_orders:nothing');
      (all.views[0] as AggregationView).key = ['nobody'];
    });
    const { status, body } = await post('/v1/plan', { definitions: wrong });
    expect(status).toBe(422);
    expect(body.problems).toHaveLength(2);
    for (const problem of body.problems)
      expect(Object.keys(problem).sort()).toEqual(['code', 'fix', 'message', 'path']);
  });
  test('apply is a run; then everybody reads the new revision', async () => {
    const { body: plan } = await post('/v1/plan', { definitions: everything() });
    const { status, body } = await post('/v1/apply', {
      definitions: everything(),
      planHash: plan.hash,
      by: 'me',
    });
    expect([status, body]).toEqual([202, { run: `apply/${plan.hash.slice(0, 16)}` }]);
    expect(await ended(body.run)).toMatchObject({
      workflow: 'applyPlan',
      state: 'completed',
      result: { revision: 1 },
      error: null,
    });
    expect((await get('/v1/definitions')).body).toEqual({
      revision: 1,
      definitionsHash: plan.definitionsHash,
      definitions: assertDefinitions(everything()),
    });
    // The answer was lost, the client asks again: the same run.
    expect(await post('/v1/apply', { definitions: everything(), planHash: plan.hash })).toEqual({
      status: 202,
      body,
    });
  });
  test('a plan that was applied is not applied again with other definitions', async () => {
    const { planHash } = (await pool.query('select plan_hash as "planHash" from revision')).rows[0];
    const other = changed((all) => {
      all.services[0]!.owner = 'else';
    }, everything());
    expect(await post('/v1/apply', { definitions: other, planHash })).toMatchObject({
      status: 409,
      body: { code: 'FS_PLAN_STALE' },
    });
  });
  test('a hash that is not that of the plan now: refused with the fresh plan', async () => {
    const { status, body } = await post('/v1/apply', { definitions: everything(), planHash: 'f'.repeat(64) });
    expect(status).toBe(409);
    expect(body).toMatchObject({ code: 'FS_PLAN_STALE', plan: { baseRevision: 1, empty: true } });
  });
  test('a removal is named, each and no other, or nothing is changed', async () => {
    const fewer = changed((all) => {
      all.views = all.views.filter(({ name }) => name !== 'user_rank');
    }, everything());
    const before = (await get('/v1/definitions')).body;
    for (const remove of [undefined, [], ['user_ran'], ['user_rank', 'user_orders']])
      expect(await post('/v1/apply', { definitions: fewer, ...(remove && { remove }) })).toMatchObject({
        status: 400,
        body: {
          code: 'FS_REQUEST_INVALID',
          field: 'remove',
          removes: ['user_rank'],
          title: expect.stringContaining(remove?.at(-1) ?? 'user_rank'),
        },
      });
    expect(await post('/v1/apply', { definitions: everything(), remove: ['user_rank'] })).toMatchObject({
      status: 400,
      body: { removes: [] },
    });
    expect((await get('/v1/definitions')).body).toEqual(before);
    const { rows } = await pool.query(`select count(*)::int as plans from plan where state <> 'applied'`);
    expect(rows).toEqual([{ plans: 0 }]);
  });
  test('two projects under one name: what the second lacks is not removed unless it is named', async () => {
    const before = (await get('/v1/definitions')).body;
    const others = { project: 'shop', entities: [], sources: [], views: [], services: [] };
    const { status, body } = await post('/v1/apply', { definitions: others });
    expect(status).toBe(400);
    expect(body.removes.sort()).toEqual(
      ['entities', 'sources', 'views', 'services']
        .flatMap((section) => before.definitions[section].map(({ name }: { name: string }) => name))
        .sort(),
    );
    expect((await get('/v1/definitions')).body).toEqual(before);
  });
  const variant = (minEvents: number): Definitions =>
    changed((all) => {
      (all.views[0] as AggregationView).minEvents = minEvents;
    }, everything());
  const planned = async (
    definitions: Definitions,
  ): Promise<{ definitions: Definitions; planHash: string }> => ({
    definitions,
    planHash: (await post('/v1/plan', { definitions })).body.hash,
  });
  const told = { status: 409, body: { code: 'FS_PLAN_STALE' } };
  test.each(['waits', 'waits while open'])(
    'while one plan is applied (%s) another is told to wait; once it was ended by hand, it gives way',
    async (by) => {
      const { revision } = (await get('/v1/definitions')).body;
      const [first, second] = [await planned(variant(4)), variant(5 + revision)];
      const { run } = (await post('/v1/apply', { ...first, by })).body;
      await runOf(run, ({ progress }) => progress !== null);
      expect(await post('/v1/apply', { definitions: second })).toMatchObject(told);
      expect(await post('/v1/apply', first)).toEqual({ status: 202, body: { run } });
      await temporal.workflow.getHandle(run).terminate('by hand');
      const after = await post('/v1/apply', { definitions: second });
      expect(after.status).toBe(202);
      expect(await ended(after.body.run)).toMatchObject({
        state: 'completed',
        result: { revision: revision + 1 },
      });
      expect((await get(`/v1/runs?id=${encodeURIComponent(run)}`)).body).toMatchObject({
        state: 'terminated',
      });
    },
  );
  test('twenty at once, of two plans: all answers are one run or a refusal, and its plan is applied, whole', async () => {
    for (let round = 0; round < 5; round++) {
      const { revision } = (await get('/v1/definitions')).body;
      const plans = [await planned(variant(10 + 2 * round)), await planned(variant(11 + 2 * round))];
      const answers = await Promise.all(
        Array.from({ length: 20 }, (_, index) => post('/v1/apply', plans[index % 2])),
      );
      const runs = new Set<string>();
      for (const { status, body } of answers)
        if (status === 202) runs.add(body.run);
        else expect({ status, body }).toMatchObject(told);
      expect(runs.size).toBe(1);
      const [run] = [...runs];
      expect(await ended(run!)).toMatchObject({ state: 'completed', result: { revision: revision + 1 } });
      const winner = plans.find(({ planHash }) => run === `apply/${planHash.slice(0, 16)}`)!;
      expect((await get('/v1/definitions')).body).toMatchObject({
        revision: revision + 1,
        definitions: assertDefinitions(winner.definitions),
      });
      const { rows } = await pool.query<{ version: number; minEvents: number }>(
        `select version, (definition ->> 'minEvents')::int as "minEvents" from view_version
          where view = 'user_orders' and state not in ('deprecated', 'abandoned')`,
      );
      expect(rows).toMatchObject([{ minEvents: (winner.definitions.views[0] as AggregationView).minEvents }]);
      expect((await get('/v1/status')).body.openPlan).toBeNull();
    }
  });
  test('a plan whose run is about to begin keeps its turn', async () => {
    const runs = createRuns({ environment, temporalAddress, temporalNamespace, temporalUiUrl: null });
    const gate = () => {
      let open = (): void => {};
      const opened = new Promise<void>((resolve) => {
        open = resolve;
      });
      return { open, opened };
    };
    const [reached, begun] = [gate(), gate()];
    const slow = await start({
      runs: {
        ...runs,
        async start(run) {
          reached.open();
          await begun.opened;
          await runs.start(run);
        },
      },
    });
    const first = post('/v1/apply', { definitions: variant(30) }, slow);
    await reached.opened;
    const second = post('/v1/apply', { definitions: variant(31) });
    const waiting = `select from pg_locks where locktype = 'advisory' and not granted
                        and (classid::bigint << 32 | objid::bigint) = hashtextextended('almanac definitions ' || current_schema(), 0)`;
    await expect.poll(async () => (await pool.query(waiting)).rowCount).toBe(1);
    begun.open();
    const { status, body } = await first;
    expect(status).toBe(202);
    expect(await second).toMatchObject({ ...told, body: { ...told.body, plan: expect.anything() } });
    expect(await ended(body.run)).toMatchObject({ state: 'completed' });
  });
  test('a run that began, but whose plan was not committed, ends; nobody has the turn', async () => {
    const runs = createRuns({ environment, temporalAddress, temporalNamespace, temporalUiUrl: null });
    const lost = new FeatureStoreError('FS_UNAVAILABLE', 'the answer was lost', { fix: 'try again' });
    const dying = await start({
      runs: { ...runs, start: (run) => runs.start(run).then(() => Promise.reject(lost)) },
    });
    const plan = await planned(variant(32));
    expect((await post('/v1/apply', plan, dying)).status).toBe(503);
    expect(await ended(`apply/${plan.planHash.slice(0, 16)}`)).toMatchObject({
      state: 'failed',
      error: { code: 'FS_NOT_FOUND' },
    });
    const { status, body } = await post('/v1/apply', { definitions: variant(33) });
    expect(status).toBe(202);
    expect(await ended(body.run)).toMatchObject({ state: 'completed' });
  });
});

describe('entity tags', () => {
  const getWith = async (path: string, headers: Record<string, string> = {}) => {
    const response = await fetch(`${url}${path}`, { headers });
    return { status: response.status, tag: response.headers.get('etag')!, text: await response.text() };
  };
  const tagOf = async (path: string): Promise<string> => (await getWith(path)).tag;
  const applyOn = (ifMatch: string, body: object, path = '/v1/apply'): Promise<Answer> =>
    send(path, JSON.stringify(body), 'application/json', url, { 'if-match': ifMatch });
  const other = (owner: string): Definitions =>
    changed((all) => {
      all.services[0]!.owner = owner;
    }, everything());

  test.each(['/v1/definitions', '/v1/versions', '/v1/revisions', '/v1/openapi.json'])(
    'of %s: 304 while it is the same',
    async (path) => {
      const tag = await tagOf(path);
      expect(tag).toMatch(/^"[\w-]+"$/);
      for (const known of [tag, `W/${tag}`, `"other", ${tag}`, '*'])
        expect(await getWith(path, { 'if-none-match': known })).toEqual({ status: 304, tag, text: '' });
      for (const unknown of ['"other"', tag.slice(1, -1), ''])
        expect((await getWith(path, { 'if-none-match': unknown })).status).toBe(200);
    },
  );
  test('the definitions have another after each apply, a plan has the same', async () => {
    const { planHash } = (await pool.query('select plan_hash as "planHash" from revision')).rows[0];
    const [before, plan] = [await tagOf('/v1/definitions'), await tagOf(`/v1/plans/${planHash}`)];
    await applyDirectly(other('tagged'));
    const after = await tagOf('/v1/definitions');
    expect(after).not.toBe(before);
    expect((await getWith('/v1/definitions', { 'if-none-match': before })).status).toBe(200);
    expect(await tagOf(`/v1/plans/${planHash}`)).toBe(plan);
  });
  test('apply on definitions that are not the present ones changes nothing', async () => {
    const before = await tagOf('/v1/definitions');
    await applyDirectly(other('faster'));
    const present = await tagOf('/v1/definitions');
    for (const wrong of [before, `W/${present}`, '"other"', ''])
      expect(await applyOn(wrong, { definitions: other('slower') })).toMatchObject({
        status: 412,
        body: { code: 'FS_PRECONDITION_FAILED', fix: expect.stringMatching(/ETag/) },
      });
    expect(await tagOf('/v1/definitions')).toBe(present);
  });
  test('apply on the present ones; asked again with its plan, the same run', async () => {
    const tag = await tagOf('/v1/definitions');
    const { body: plan } = await post('/v1/plan', { definitions: other('on time') });
    const ask = (): Promise<Answer> => applyOn(tag, { definitions: other('on time'), planHash: plan.hash });
    const { status, body } = await ask();
    expect(status).toBe(202);
    await ended(body.run);
    expect(await ask()).toEqual({ status, body });
    expect(await tagOf('/v1/definitions')).not.toBe(tag);
  });
  test('where nothing is compared, If-Match is refused', async () =>
    expect(await applyOn('*', { view: 'user_rank' }, '/v1/refills')).toMatchObject({
      status: 400,
      body: { code: 'FS_REQUEST_INVALID', header: 'If-Match' },
    }));
  test('a plan that nobody knows', async () =>
    expect(await get(`/v1/plans/${'f'.repeat(64)}`)).toMatchObject({
      status: 404,
      body: { code: 'FS_NOT_FOUND' },
    }));
});

describe('files', () => {
  const upload = (content: Uint8Array): Promise<Answer> =>
    send('/v1/files', content, 'application/octet-stream');
  test('are kept under their hash, whatever they hold', async () => {
    const content = randomBytes(3_000_000);
    const sha256 = createHash('sha256').update(content).digest('hex');
    expect(await upload(content)).toEqual({ status: 200, body: { sha256, bytes: content.length } });
    expect(await Promise.all([upload(content), upload(content)])).toMatchObject([
      { status: 200 },
      { status: 200 },
    ]);
    expect(await readdir(filesDir)).toContain(sha256);
  });
  test('an empty one is refused', async () =>
    expect(await upload(new Uint8Array())).toMatchObject({ status: 400 }));
  test('JSON is not a file', async () =>
    expect(await send('/v1/files', '{}', 'application/json')).toMatchObject({ status: 400 }));
  test('an upload that breaks off leaves nothing', async () => {
    const before = (await readdir(filesDir)).sort();
    await new Promise<void>((resolve) => {
      const request = httpRequest(`${url}/v1/files`, {
        method: 'POST',
        headers: { 'content-type': 'application/octet-stream', 'content-length': 10_000_000 },
      });
      request.on('error', () => resolve());
      request.write(randomBytes(1_000_000), () => request.destroy(new Error('gone')));
    });
    for (;;) if ((await readdir(filesDir)).sort().join() === before.join()) break;
  });
});

describe('runs', () => {
  let file: string;
  beforeAll(async () => {
    await applyDirectly(everything());
    file = (await send('/v1/files', 'a,b\n1,2\n', 'application/octet-stream')).body.sha256;
  });

  test.each<{
    why: string;
    path: string;
    body: () => object;
    id: string | RegExp;
    input: object;
    owner?: string;
  }>([
    {
      why: 'a file into the archive',
      path: '/v1/imports',
      body: () => ({
        source: 'orders',
        file,
        name: 'orders 1',
        shiftMs: 604_800_000,
        until: '2026-11-21T05:00:00+02:00',
      }),
      id: 'import/orders/orders 1',
      input: {
        source: 'orders',
        name: 'orders 1',
        format: 'csv',
        shiftMs: 604_800_000,
        until: '2026-11-21T03:00:00.000Z',
      },
    },
    {
      why: 'a table into the archive',
      path: '/v1/imports',
      body: () => ({ source: 'visits' }),
      id: 'import/visits/table',
      input: { source: 'visits', name: 'table', shiftMs: 0 },
      owner: LONGEST,
    },
    {
      why: 'a backfill of everything',
      path: '/v1/backfills',
      body: () => ({ view: 'user_orders' }),
      id: /^backfill\/user_orders@\d+\/beginning\.\.now$/,
      input: { view: 'user_orders' },
    },
    {
      why: 'a backfill of a range of an old version',
      path: '/v1/backfills',
      body: () => ({
        view: 'user_rank',
        version: 1,
        start: '2026-11-01T00:00:00Z',
        end: '2026-11-08T06:30:00Z',
      }),
      id: 'backfill/user_rank@1/2026-11-01..2026-11-08T06:30:00Z',
      input: {
        view: 'user_rank',
        version: 1,
        start: '2026-11-01T00:00:00.000Z',
        end: '2026-11-08T06:30:00.000Z',
      },
    },
    {
      why: 'the last tick',
      path: '/v1/materializations',
      body: () => ({ view: 'user_rank' }),
      id: 'materialize/user_rank@1/2026-11-21',
      input: { view: 'user_rank', version: 1, tick: '2026-11-21T00:00:00.000Z' },
    },
    {
      why: 'a refill',
      path: '/v1/refills',
      body: () => ({ view: 'user_orders@1' }),
      id: 'refill/user_orders@1',
      input: { view: 'user_orders', version: 1 },
    },
    {
      why: 'a verification',
      path: '/v1/verifications',
      body: () => ({ views: ['user_orders'] }),
      id: /^verify\/20261121T033000Z-[0-9a-f]{8}$/,
      input: { entities: 500, moments: 3, seed: 1, views: ['user_orders'] },
    },
    {
      why: 'a training set',
      path: '/v1/training-sets',
      body: () => ({
        dataframe: file,
        dataframeFormat: 'csv',
        service: 'checkout',
        mode: 'known-then',
        output: 'parquet',
      }),
      id: /^training-set\/20261121T033000Z-[0-9a-f]{8}$/,
      input: {
        dataframeFormat: 'csv',
        service: 'checkout',
        mode: 'known-then',
        strict: false,
        output: 'parquet',
      },
    },
  ])('$why', async ({ path, body, id, input, owner }) => {
    const { status, body: answer } = await post(path, { ...body(), by: 'ann' });
    expect(status).toBe(202);
    expect(await asked(answer.run)).toEqual(['ann: start']);
    if (typeof id === 'string') expect(answer.run).toBe(id);
    else expect(answer.run).toMatch(id);
    await finish(answer.run);
    const run = await ended(answer.run);
    expect(run).toMatchObject({
      state: 'completed',
      error: null,
      result: { input, counts: { archived: 7 } },
    });
    const { searchAttributes } = await temporal.workflow.getHandle(answer.run).describe();
    expect(searchAttributes.AlmanacKind).toEqual([run.workflow]);
    if (owner) expect(searchAttributes.AlmanacOwner).toEqual([owner]);
  });

  test.each<[string, string, () => object, number, string, RegExp]>([
    [
      'a source that is not there',
      '/v1/imports',
      () => ({ source: 'order', file }),
      404,
      'FS_NOT_FOUND',
      /did you mean "orders"/,
    ],
    [
      'a file that is not there',
      '/v1/imports',
      () => ({ source: 'orders', file: 'a'.repeat(64) }),
      404,
      'FS_NOT_FOUND',
      /upload it/,
    ],
    [
      'a hash that is none',
      '/v1/imports',
      () => ({ source: 'orders', file: '../../etc/passwd' }),
      400,
      'FS_REQUEST_INVALID',
      /docs/,
    ],
    ['no file', '/v1/imports', () => ({ source: 'orders' }), 400, 'FS_REQUEST_INVALID', /--file <path>/],
    [
      'a file for a table',
      '/v1/imports',
      () => ({ source: 'visits', file }),
      400,
      'FS_REQUEST_INVALID',
      /leave out/,
    ],
    [
      'no zone',
      '/v1/imports',
      () => ({ source: 'visits', until: '2026-11-21T03:00:00' }),
      422,
      'FS_TIMESTAMP_INVALID',
      /RFC 3339/,
    ],
    [
      '30 February',
      '/v1/backfills',
      () => ({ view: 'user_rank', start: '2026-02-30T00:00:00Z' }),
      422,
      'FS_TIMESTAMP_INVALID',
      /RFC 3339/,
    ],
    [
      'a range that ends before it starts',
      '/v1/backfills',
      () => ({ view: 'user_rank', start: '2026-02-03T00:00:00Z', end: '2026-02-01T00:00:00Z' }),
      400,
      'FS_REQUEST_INVALID',
      /exchange/,
    ],
    [
      'a view that is not there',
      '/v1/backfills',
      () => ({ view: 'user_ranks' }),
      404,
      'FS_NOT_FOUND',
      /did you mean "user_rank"/,
    ],
    [
      'a version that is not there',
      '/v1/refills',
      () => ({ view: 'user_rank', version: 9 }),
      404,
      'FS_NOT_FOUND',
      /it has v1/,
    ],
    [
      'a version twice',
      '/v1/refills',
      () => ({ view: 'user_rank@1', version: 1 }),
      400,
      'FS_REQUEST_INVALID',
      /user_orders@2/,
    ],
    [
      'a view without rows',
      '/v1/refills',
      () => ({ view: 'user_now' }),
      400,
      'FS_REQUEST_INVALID',
      /user_orders/,
    ],
    [
      'no tick',
      '/v1/materializations',
      () => ({ view: 'user_rank', tick: '2026-11-20T05:00:00Z' }),
      400,
      'FS_REQUEST_INVALID',
      /2026-11-20T00:00:00.000Z/,
    ],
    [
      'a service that is not there',
      '/v1/training-sets',
      () => ({
        dataframe: file,
        dataframeFormat: 'csv',
        service: 'check',
        mode: 'known-then',
        output: 'arrow',
      }),
      404,
      'FS_NOT_FOUND',
      /use one of: checkout/,
    ],
    [
      'a feature that is not there',
      '/v1/training-sets',
      () => ({
        dataframe: file,
        dataframeFormat: 'csv',
        features: ['user_rank:user_spend_rang'],
        mode: 'known-then',
        output: 'arrow',
      }),
      404,
      'FS_NOT_FOUND',
      /did you mean "user_rank:user_spend_rank"/,
    ],
    [
      'both service and features',
      '/v1/training-sets',
      () => ({
        dataframe: file,
        dataframeFormat: 'csv',
        service: 'checkout',
        features: ['a:b'],
        mode: 'known-then',
        output: 'arrow',
      }),
      400,
      'FS_REQUEST_INVALID',
      /docs/,
    ],
    [
      'a training set that is not there',
      '/v1/verifications',
      () => ({ trainingSets: ['x'] }),
      404,
      'FS_NOT_FOUND',
      /no training set yet/,
    ],
    [
      'a line break in a name',
      '/v1/imports',
      () => ({ source: 'visits', name: 'a\nb' }),
      400,
      'FS_REQUEST_INVALID',
      /docs/,
    ],
  ])('%s is refused', async (_, path, body, status, code, fix) => {
    const answer = await post(path, body());
    expect(answer).toMatchObject({ status, body: { code } });
    expect(answer.body.fix).toMatch(fix);
  });

  test('asked twice, one run', async () => {
    const ask = (): Promise<Answer> => post('/v1/refills', { view: 'user_orders' });
    const [{ body }, again] = [await ask(), await ask()];
    expect(again.body).toEqual(body);
    const { body: run } = await get(`/v1/runs?id=${encodeURIComponent(body.run)}`);
    expect(run).toMatchObject({
      id: 'refill/user_orders@1',
      state: 'running',
      closedAt: null,
      progress: { done: 3, total: 10, unit: 'rows', ratePerSecond: 1.5, message: 'running' },
      uiUrl: expect.stringMatching(
        /^http:\/\/ui\.example\/namespaces\/[^/]+\/workflows\/refill%2Fuser_orders%401\/[0-9a-f-]+\/history$/,
      ),
    });
    await finish(body.run);
    const first = await ended(body.run);
    await ask();
    const second = await get(`/v1/runs?id=${encodeURIComponent(body.run)}`);
    expect([second.body.state, second.body.uiUrl === first.uiUrl]).toEqual(['running', false]);
    await finish(body.run);
  });

  test('are paused and go on', async () => {
    const { body } = await post('/v1/backfills', { view: 'user_orders', start: '2026-01-01T00:00:00Z' });
    const update = (name: string): Promise<Answer> =>
      post('/v1/runs/updates', { id: body.run, update: name, by: 'bob' });
    expect(await update('pause')).toMatchObject({ status: 200, body: { progress: { message: 'paused' } } });
    expect(await update('resume')).toMatchObject({ status: 200, body: { progress: { message: 'running' } } });
    expect(await update('resume')).toMatchObject({ status: 409, body: { code: 'FS_CONFLICT' } });
    expect(await update('stop')).toMatchObject({ status: 400 });
    await finish(body.run);
    await ended(body.run);
    expect(await update('pause')).toMatchObject({ status: 409, body: { code: 'FS_CONFLICT' } });
    expect(await asked(body.run)).toEqual(['unknown: start', 'bob: pause', 'bob: resume']);
  });

  test('the audit of what is no kind is refused, with the kinds', async () => {
    expect(await get('/v1/audit?kind=feature')).toMatchObject({
      status: 400,
      body: { code: 'FS_REQUEST_INVALID', title: expect.stringContaining('"model"') },
    });
  });

  test.each([
    [
      'FS_DATA_INVALID',
      { code: 'FS_DATA_INVALID', message: 'as told', details: { fix: 'do it right', view: 'v' } },
    ],
    ['plain', { code: 'FS_RUN_FAILED', message: 'something broke', details: { fix: expect.any(String) } }],
  ])('a run that fails with %s says so', async (how, error) => {
    const { body } = await post('/v1/imports', { source: 'visits', name: `fails ${how}` });
    await finish(body.run, how);
    expect(await ended(body.run)).toMatchObject({ state: 'failed', result: null, error });
  });

  test('a run that is not there', async () =>
    expect(await get('/v1/runs?id=refill%2Fnobody%401')).toMatchObject({
      status: 404,
      body: { code: 'FS_NOT_FOUND' },
    }));
  test('no id', async () =>
    expect(await get('/v1/runs')).toMatchObject({ status: 400, body: { code: 'FS_REQUEST_INVALID' } }));
});

describe('status', () => {
  test('shows sources, imports with their shift and origin, views, what runs', async () => {
    await applyDirectly(everything());
    await pool.query(
      `insert into import (source, name, content_sha256, format, shift_ms, state, next_offset, next_byte, total_bytes, total_rows, counts, finished_at)
       values ('orders', 'first', 'x', 'csv', 604800000, 'finished', 43, 10, 10, 43, '{"archived": 41, "duplicate": 2}', now()),
              ('orders', 'second', 'y', 'csv', 0, 'running', 1, 5, 10, 43, '{"archived": 1}', null)`,
    );
    await pool.query(
      `insert into view_progress (version_id, sequence, last_tick_ms, last_event_ms) select id, 7, 86400000, 5 from view_version where state = 'live' and view = 'user_orders'`,
    );
    const { body: started } = await post('/v1/refills', { view: 'user_orders' });
    const { status, body } = await (async () => {
      for (;;) {
        const answer = await get('/v1/status');
        if (answer.body.runs.length > 0) return answer; // the list of Temporal is a moment behind
      }
    })();
    await finish(started.run);
    expect(status).toBe(200);
    expect(body).toMatchObject({ environment, postgres: 'ok', temporal: 'ok', openPlan: null });
    expect(body.sources[0]).toEqual({
      source: 'orders', input: 'csv file', origin: 'made up for tests', owner: 'data@shop.example', events: 42, finishedImports: 1,
    }); // biome-ignore format: one thing
    expect(body.imports).toMatchObject([
      {
        name: 'second',
        state: 'running',
        bytesDone: 5,
        bytesTotal: 10,
        origin: 'made up for tests',
        finishedAt: null,
      },
      {
        name: 'first',
        state: 'finished',
        shiftMs: 604_800_000,
        until: null,
        counts: { archived: 41, duplicate: 2 },
      },
    ]);
    const live = body.views.find(
      (each: { view: string; state: string }) => each.view === 'user_orders' && each.state === 'live',
    );
    expect(live).toMatchObject({
      lastTick: '1970-01-02T00:00:00.000Z',
      lastEvent: '1970-01-01T00:00:00.005Z',
      sequence: 7,
      owner: 'data@shop.example',
    });
    expect(body.runs).toMatchObject([{ id: 'refill/user_orders@1', workflow: 'refill' }]);
    expect((await post('/v1/plan', { definitions: everything() })).body.empty).toBe(true);
  });
  test('a view: what it holds and its backfills', async () => {
    const { status, body } = await get('/v1/views/user_orders/progress');
    expect(status).toBe(200);
    expect(body).toMatchObject({
      view: 'user_orders', state: 'live', watermark: '1970-01-02T00:00:00.000Z', entities: 0, rows: 0, backfills: [],
    }); // biome-ignore format: one thing
    expect((await get('/v1/views/user_rank@1/progress')).body).toMatchObject({
      view: 'user_rank',
      version: 1,
      entities: 0,
    });
    expect(await get('/v1/views/user_rang/progress')).toMatchObject({
      status: 404,
      body: { fix: 'did you mean "user_rank"?' },
    });
  });
  test('a view of a stream: its watermark is the least of the partitions that have events, less the lateness', async () => {
    await applyDirectly(
      changed((all) => {
        all.sources[0]!.stream = { topic: 'orders', cutAtMs: 0 };
        (all.views[0] as AggregationView).mode = { type: 'streaming', rowsEveryMs: 3_600_000 };
      }, everything()),
    );
    const watermark = async (): Promise<string | null> =>
      (await get('/v1/views/user_orders/progress')).body.watermark;
    expect(await watermark()).toBe(null);
    await pool.query(
      `insert into stream_offset (source, partition, topic, greatest_event_ms)
       values ('orders', 0, 'orders', 200000000), ('orders', 1, 'orders', 172800000), ('orders', 2, 'orders', null), ('clicks', 0, 'clicks', 1)`,
    );
    expect(await watermark()).toBe('1970-01-02T00:00:00.000Z');
  });
  test('a view: what is known of its values', async () => {
    expect(await get('/v1/views/user_rank/statistics')).toMatchObject({
      status: 404,
      body: { code: 'FS_NOT_FOUND' },
    });
    const { rows } = await pool.query<{ id: number }>(
      `select id from view_version where view = 'user_rank' and version = 1`,
    );
    const versionId = rows[0]!.id;
    const { name, type } = everything().views.find((view) => view.name === 'user_rank')!.features[0]!;
    const summary = createSummary(type);
    for (const reference of ['2026-11-20T00:00:00.000Z', '2026-11-21T00:00:00.000Z']) {
      addValue(summary, null);
      await saveStatistics(pool, { versionId, what: 'tick', reference }, [[name, summary]]);
    }
    const { status, body } = await get('/v1/views/user_rank@1/statistics?what=tick');
    expect(status).toBe(200);
    expect(body).toMatchObject({
      view: 'user_rank',
      version: 1,
      what: 'tick',
      reference: '2026-11-21T00:00:00.000Z',
    });
    expect(body.features).toMatchObject([{ feature: name, type, count: 2, nulls: 2, min: null, top: null }]);
    const first = await get('/v1/views/user_rank/statistics?reference=2026-11-20T00:00:00.000Z');
    expect(first.body.features).toMatchObject([{ count: 1 }]);
    expect(await get('/v1/views/user_rank/statistics?what=tick&reference=2020')).toMatchObject({
      status: 404,
    });
    expect(await get('/v1/views/user_rank/statistics?what=everything')).toMatchObject({ status: 400 });
  });
  test('a view: what came of its expectations, newest first, and in the status while it is a failure', async () => {
    const { rows } = await pool.query<{ id: number }>(
      `select id from view_version where view = 'user_rank' and version = 1`,
    );
    const versionId = rows[0]!.id;
    const verdict = {
      expectation: 'rowCount',
      feature: null,
      severity: 'warn' as const,
      observed: 0.9,
      allowed: 0.5,
      said: 'fewer',
    };
    const save = (reference: string, passed: boolean) =>
      saveVerdicts(pool, { versionId, what: 'tick', reference }, [{ ...verdict, passed }]);
    await save('2026-11-20T00:00:00.000Z', true);
    await save('2026-11-21T00:00:00.000Z', false);
    const page = await get('/v1/views/user_rank/expectations?limit=1');
    expect(page.body.items).toMatchObject([
      { expectation: 'rowCount', passed: false, observed: 0.9, said: 'fewer' },
    ]);
    const next = await get(`/v1/views/user_rank/expectations?limit=1&after=${page.body.next}`);
    expect(next.body).toMatchObject({
      items: [{ passed: true, reference: '2026-11-20T00:00:00.000Z' }],
      next: null,
    });
    expect((await get('/v1/views/user_rank/expectations?passed=true')).body.items).toHaveLength(1);
    expect(await get('/v1/views/user_rank/expectations?passed=maybe')).toMatchObject({ status: 400 });
    const failed = async () => (await get('/v1/status')).body.failedExpectations;
    expect(await failed()).toMatchObject([{ view: 'user_rank', version: 1, expectation: 'rowCount' }]);
    await save('2026-11-22T00:00:00.000Z', true);
    expect(await failed()).toEqual([]);
  });
  test('metrics name routes, not requests', async () => {
    const text = await (await fetch(`${url}/metrics`)).text();
    expect(text).toMatch(
      /almanac_registry_request_seconds_count\{method="GET",route="\/v1\/views\/:view\/progress",status="404"\}/,
    );
    expect(text).not.toMatch(/user_rang/);
  });
});

describe('training sets', () => {
  test('are described, and their file streamed', async () => {
    await writeFile(join(filesDir, 'set.parquet'), 'the bytes');
    await pool.query(
      `insert into training_set (id, manifest) values ('made', '{"file": "set.parquet", "rows": 3}'), ('bare', '{}')`,
    );
    expect((await get('/v1/training-sets/made')).body).toMatchObject({ id: 'made', manifest: { rows: 3 } });
    const response = await fetch(`${url}/v1/training-sets/made/file`);
    expect([response.status, response.headers.get('content-length'), await response.text()]).toEqual([
      200,
      '9',
      'the bytes',
    ]);
    expect(await get('/v1/training-sets/bare/file')).toMatchObject({ status: 404 });
    expect(await get('/v1/training-sets/mad')).toMatchObject({
      status: 404,
      body: { fix: 'did you mean "made"?' },
    });
  });
});

describe('servers that are not well', () => {
  const sockets: Socket[] = [];
  const silent = async (): Promise<string> => {
    const server = createServer((socket) => {
      sockets.push(socket);
      socket.on('error', () => {});
    }).listen(0, '127.0.0.1');
    await new Promise((resolve) => server.once('listening', resolve));
    closing.push(() => {
      for (const socket of sockets) socket.destroy();
      server.close();
    });
    return `127.0.0.1:${(server.address() as AddressInfo).port}`;
  };
  const runsAt = (address: string): Runs =>
    createRuns(
      { environment, temporalAddress: address, temporalNamespace, temporalUiUrl: null },
      { callMs: 500, queryMs: 500, updateMs: 500 },
    );

  test.each([
    ['down', async () => '127.0.0.1:1'],
    ['silent', silent],
  ])('Temporal is %s: 503 for what needs it, the rest goes on', async (_, address) => {
    const base = await start({ runs: runsAt(await address()) });
    const answers = [
      await post('/v1/refills', { view: 'user_orders' }, base),
      await get('/v1/runs?id=x', base),
      await post('/v1/runs/updates', { id: 'x', update: 'pause' }, base),
    ];
    for (const answer of answers)
      expect(answer).toMatchObject({
        status: 503,
        body: { code: 'FS_UNAVAILABLE', fix: expect.stringMatching(/start it/) },
      });
    expect(await get('/health', base)).toMatchObject({
      status: 503,
      body: { ok: false, postgres: 'ok', temporal: expect.stringMatching(/does not answer/) },
    });
    expect(await get('/v1/status', base)).toMatchObject({
      status: 200,
      body: { temporal: expect.stringMatching(/does not answer/), runs: [] },
    });
    expect(await post('/v1/plan', { definitions: everything() }, base)).toMatchObject({ status: 200 });
  });
  test('a namespace that is not there is named', async () => {
    const runs = createRuns({
      environment,
      temporalAddress,
      temporalNamespace: 'nobody',
      temporalUiUrl: null,
    });
    const base = await start({ runs });
    expect(await post('/v1/refills', { view: 'user_orders' }, base)).toMatchObject({
      body: { code: 'FS_CONFIG_INVALID' },
    });
  });
  test.each([
    ['down', async () => nothingThere],
    ['silent', async () => `postgres://x@${await silent()}/x`],
  ])('Postgres is %s: 503, never a hang', async (_, address) => {
    const other = createPool({ environment, postgresUrl: await address() }, { connectTimeoutMs: 300 });
    closing.push(() => other.end());
    const base = await start({ pool: other });
    for (const answer of [
      await post('/v1/plan', { definitions: everything() }, base),
      await get('/v1/status', base),
      await get('/v1/definitions', base),
      await post('/v1/backfills', { view: 'user_rank' }, base),
    ])
      expect(answer).toMatchObject({
        status: 503,
        body: { code: 'FS_UNAVAILABLE', fix: expect.stringMatching(/start it/) },
      });
    expect(await get('/health', base)).toMatchObject({ status: 503, body: { ok: false, temporal: 'ok' } });
  });
  test('Postgres is slow: out of time', async () => {
    const slow = createPool({ environment, postgresUrl }, { statementTimeoutMs: 100 });
    closing.push(() => slow.end());
    const base = await start({ pool: slow });
    const blocker = await pool.connect();
    await blocker.query('begin');
    await blocker.query('lock table revision in access exclusive mode');
    expect(await get('/v1/definitions', base)).toMatchObject({ status: 504, body: { code: 'FS_DEADLINE' } });
    await blocker.query('rollback');
    blocker.release();
    expect(await get('/v1/definitions', base)).toMatchObject({ status: 200 });
  });
  test.each(['http://0.0.0.0:0', 'http://example.com:7801', 'https://127.0.0.1:0', 'nonsense'])(
    'it does not listen on %s',
    (registryUrl) => expect(start({ registryUrl })).rejects.toMatchObject({ code: 'FS_CONFIG_INVALID' }),
  );
  test('it says when its port is taken', () =>
    expect(start({ registryUrl: url })).rejects.toMatchObject({ code: 'FS_UNAVAILABLE' }));
});
