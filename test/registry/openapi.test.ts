/** What runs is what is described: every route of a running registry is asked, and request and answer fit schema and document. */
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { Ajv2020 } from 'ajv/dist/2020.js';
import { beforeAll, expect, test } from 'vitest';
import type { z } from 'zod';
import type { AggregationView, Definitions } from '../../core/definition.js';
import { type OpenApi, Problem } from '../../registry/openapi.js';
import { routes } from '../../registry/routes/index.js';
import { mediaTypeOf, type Route } from '../../registry/routes/route.js';
import { createDatabase } from './database.js';
import { changed, source } from './definitions.js';
import { serve } from './serve.js';

const { pool, url, filesDir, finish, applyDirectly, start } = await serve();
/** Another, in which there is nothing. */
const empty = await start({ pool: (await createDatabase()).pool });

const ajv = new Ajv2020({ strict: false, validateFormats: false });
/** Throws what does not fit the component. */
function assertFits(reference: string, value: unknown): void {
  const validate = ajv.getSchema(`api${reference}`)!;
  if (!validate(value)) throw new Error(`${reference}: ${ajv.errorsText(validate.errors)}`);
}

interface Asked {
  /** Of a registry; left out: the one that is filled. */
  at?: string;
  params?: Record<string, string>;
  query?: Record<string, string>;
  body?: unknown;
}

const streamed = (): Definitions =>
  changed((all) => {
    all.sources.push({ ...source('clicks'), input: { type: 'topic', topic: 'clicks' } });
    const view = all.views[0] as AggregationView;
    view.minEvents = 1;
    view.expectations = [{ type: 'rowCount', maxChange: 0.5, severity: 'warn' }];
  });
const changedAgain = (): Definitions =>
  changed((all) => {
    all.services[0]!.owner = 'somebody else';
    all.views = all.views.filter(({ name }) => name !== 'user_rank');
  }, streamed());

let file = '';
let planHash = '';
let lock: unknown;
let bundle = '';
/** By operation: requests that go well. */
const asks: Record<string, () => Asked[]> = {
  getDefinitions: () => [{}],
  planDefinitions: () => [{ body: { definitions: streamed() } }, { body: { definitions: changedAgain() } }],
  applyDefinitions: () => [{ body: { definitions: streamed(), by: 'waits' } }],
  getPlan: () => [{ params: { hash: planHash } }],
  listRevisions: () => [{}, { query: { limit: '1' } }],
  listFeatures: () => [{}, { query: { entity: 'user', state: 'live', limit: '1' } }],
  getViewFeatures: () => [{ params: { view: 'user_orders' } }],
  getFeature: () => [
    { params: { view: 'user_rank@1', feature: 'user_spend_rank' } },
    { params: { view: 'user_orders', feature: 'user_user_orders_count_7d' } },
  ],
  getLineage: () =>
    ['up', 'down'].map((direction) => ({
      params: { kind: 'feature', name: 'user_orders:user_user_orders_count_7d' },
      query: { direction },
    })),
  listAudit: () => [{}, { query: { kind: 'view', name: 'user_orders', limit: '1' } }],
  exportRegistry: () => [{}],
  restoreRegistry: () => [{ at: empty, body: { file: bundle } }],
  uploadFile: () => [{ body: new TextEncoder().encode('a,b\n1,2\n') }],
  startImport: () => [{ body: { source: 'orders', file } }],
  listImports: () => [{}],
  listVersions: () => [{}, { query: { view: 'user_orders', state: 'live', limit: '1' } }],
  getViewProgress: () => [{ params: { view: 'user_orders' } }, { params: { view: 'user_rank@1' } }],
  startBackfill: () => [{ body: { view: 'user_orders', start: '2026-11-01T00:00:00Z' } }],
  startMaterialization: () => [{ body: { view: 'user_rank' } }],
  startRefill: () => [{ body: { view: 'user_orders', version: 1 } }],
  retireVersion: () => [{ params: { view: 'user_orders@9' }, body: { name: 'user_orders@9' } }],
  listModels: () => [{}],
  getModel: () => [{ params: { model: 'churn' } }],
  getModelLock: () => [{ params: { model: 'churn' } }],
  registerModel: () => [{ body: { name: 'fraud', owner: 'ml@shop.example', services: ['checkout'] } }],
  pinModel: () => [{ params: { model: 'churn' }, body: { lock, share: 10 } }],
  removeModel: () => [{ params: { model: 'churn' }, body: { name: 'churn' } }],
  getViewStatistics: () => [{ params: { view: 'user_orders' } }],
  listExpectationResults: () => [
    { params: { view: 'user_orders' } },
    { params: { view: 'user_orders' }, query: { passed: 'false' } },
  ],
  startTrainingSet: () => [
    {
      body: {
        dataframe: file, dataframeFormat: 'csv', service: 'checkout', mode: 'known-then', output: 'arrow',
      },
    },
  ], // biome-ignore format: a row
  listTrainingSets: () => [{}, { query: { limit: '1' } }],
  getTrainingSet: () => [{ params: { id: 'made' } }],
  downloadTrainingSet: () => [{ params: { id: 'made' } }],
  startVerification: () => [{ body: {} }, { body: { views: ['user_orders'], trainingSets: ['made'] } }],
  listVerifications: () => [{}],
  getVerification: () => [{ params: { id: 'found' } }],
  pushRows: () => [{ body: { push_source_name: 'clicks', df: {} } }],
  getRun: () => [{ query: { id: 'refill/user_orders@1' } }, { query: { id: 'import/orders/fails' } }],
  updateRun: () => [{ body: { id: 'refill/user_orders@1', update: 'pause' } }],
  orderStream: () => [{ body: { source: 'clicks', order: 'resume' } }],
  getStatus: () => [{}],
  getHealth: () => [{}],
  getMetrics: () => [{}],
  getOpenApi: () => [{}],
};

async function ask(
  route: Route,
  { at = url, params = {}, query = {}, body }: Asked,
): Promise<{ status: number; type: string | null; text: string }> {
  const path = route.path.replaceAll(/\{(\w+)\}/g, (_, name: string) => encodeURIComponent(params[name]!));
  const type = route.body === null ? null : mediaTypeOf(route.body);
  const response = await fetch(`${at}${path}?${new URLSearchParams(query).toString()}`, {
    method: route.method,
    ...(type !== null && {
      headers: { 'content-type': type },
      body: type === 'application/json' ? JSON.stringify(body) : (body as Uint8Array<ArrayBuffer>),
    }),
  });
  const { status, headers } = response;
  return { status, type: headers.get('content-type'), text: await response.text() };
}

const routeOf = (id: string): Route => routes.find((each) => each.id === id)!;

beforeAll(async () => {
  const document = (await (await fetch(`${url}/v1/openapi.json`)).json()) as OpenApi;
  ajv.addSchema({ ...document, $id: 'api' });
  await applyDirectly(streamed());
  planHash = (await pool.query<{ hash: string }>('select plan_hash as hash from revision')).rows[0]!.hash;
  const { text } = await ask(routeOf('uploadFile'), asks.uploadFile!()[0]!);
  ({ sha256: file } = JSON.parse(text) as { sha256: string });
  const { text: registry } = await ask(routeOf('exportRegistry'), {});
  const kept = await ask(routeOf('uploadFile'), { body: new TextEncoder().encode(registry) });
  ({ sha256: bundle } = JSON.parse(kept.text) as { sha256: string });
  await writeFile(join(filesDir, 'set.arrow'), 'the bytes');
  const { rows } = await pool.query<{ id: number }>(`select id from view_version where view = 'user_orders'`);
  const [{ id } = { id: 0 }] = rows;
  await pool.query(`
    insert into training_set (id, manifest) values
      ('made', '{"file": "set.arrow", "service": "checkout", "mode": "known-then", "output": {"rows": 3}}'), ('on its way', '{"file": null}');
    insert into import (source, name, content_sha256, format, shift_ms, until_ms, state, total_bytes, total_rows, counts, finished_at) values
      ('orders', 'first', 'x', 'csv', 604800000, 0, 'finished', 10, 43, '{"archived": 41, "duplicate": 2}', now()),
      ('orders', 'second', 'y', 'csv', 0, null, 'running', 10, 43, '{}', null);
    insert into stream_offset (source, partition, topic, next_offset, greatest_event_ms, archived, end_offset, rate_per_second, state, seen_at) values
      ('clicks', 0, 'clicks', 7, 86400000, 7, 9, 1.5, 'running', now()), ('clicks', 1, 'clicks', 0, null, 0, null, null, 'waiting', null);
    insert into view_progress (version_id, sequence, last_tick_ms, last_event_ms, last_write) values (${id}, 7, 86400000, 5, now());
    insert into feature_statistics (version_id, feature, what, reference, count, nulls, top, sketch) values
      (${id}, 'user_user_orders_count_7d', 'tick', '1970-01-02T00:00:00.000Z', 5, 1, '[{"value": 1, "count": 4}]', '');
    insert into expectation_result (version_id, expectation, severity, what, reference, passed, allowed, said) values
      (${id}, 'rowCount', 'warn', 'tick', '1970-01-02T00:00:00.000Z', false, 0.5, 'twice as many');
    insert into backfill (version_id, start_ms, end_ms, sequence, state) values (${id}, 0, 86400000, 7, 'running');
    insert into backfill_chunk (backfill_id, chunk, hash_start, hash_end, done, events, entities, rows)
      select id, 0, 0, 1, true, 5, 4, 3 from backfill;
    insert into verification (id, checked, different, result) values ('found', 5, 1, '{"input": {"entities": 5}, "finished": true,
      "neverBackfilled": ["user_rank@1"], "unread": [], "owed": [], "byPath": {"online": {"checked": 5, "different": 1, "values": 9}},
      "byView": {"user_orders": {"online": {"checked": 5, "different": 1, "values": 9}}}, "differences": [{"path": "online"}]}')`);
  await ask(routeOf('startImport'), { body: { source: 'orders', file, name: 'fails' } });
  await finish('import/orders/fails', 'FS_DATA_INVALID');
  await pool.query(
    `insert into view_version (view, version, hash, kind, definition, source, entity, state)
     select view, 9, repeat('0', 64), kind, definition, source, entity, 'deprecated' from view_version where id = $1`,
    [id],
  );
  // Once a model has locked what there is, nothing of it can be removed.
  const planned = await ask(routeOf('planDefinitions'), {
    body: { definitions: { entities: [], sources: [], views: [], services: [] } },
  });
  expect(routeOf('planDefinitions').response.parse(JSON.parse(planned.text))).toMatchObject({ empty: false });
  await ask(routeOf('registerModel'), {
    body: { name: 'churn', owner: 'ml@shop.example', services: ['checkout'] },
  });
  lock = JSON.parse((await ask(routeOf('getModelLock'), { params: { model: 'churn' } })).text);
});

test('every route is asked', () => expect(Object.keys(asks)).toEqual(routes.map(({ id }) => id)));

test.each(routes)('$method $path answers as it is described', async (route) => {
  for (const asked of asks[route.id]!()) {
    const { status, type, text } = await ask(route, asked);
    expect([status, text]).toEqual([route.status, text]);
    expect(type).toMatch(mediaTypeOf(route.response));
    if (mediaTypeOf(route.response) !== 'application/json') continue;
    const answer: unknown = JSON.parse(text);
    expect(route.response.parse(answer)).toEqual(answer);
    assertFits(component(route.response), answer);
    if (route.body !== null && mediaTypeOf(route.body) === 'application/json')
      assertFits(component(route.body), asked.body);
  }
});

test.each(routes)('$method $path refuses what nobody asked for, as a problem', async (route) => {
  const [asked = {}] = asks[route.id]!();
  const { status, type, text } = await ask(route, { ...asked, query: { ...asked.query, nobody: 'asked' } });
  expect(status).toBe(400);
  expect(type).toMatch('application/problem+json');
  const problem: unknown = JSON.parse(text);
  expect(Problem.parse(problem)).toMatchObject({ code: 'FS_REQUEST_INVALID' });
  assertFits('#/components/schemas/Problem', problem);
});

/** Where the document has it. */
function component(schema: z.ZodType): string {
  return `#/components/schemas/${schema.meta()!.id}`;
}
