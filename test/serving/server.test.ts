import { request as httpRequest } from 'node:http';
import { afterAll, beforeAll, describe, expect, test, vi } from 'vitest';
import { compileView } from '../../core/compile.js';
import type { AggregationView } from '../../core/definition.js';
import { encodeRecord } from '../../core/record.js';
import {
  generationKey,
  onlineSetKey,
  planKey,
  progressKey,
  type ServingPlan,
} from '../../core/serving-plan.js';
import { advance, createState } from '../../core/state.js';
import { DAY, MINUTE } from '../../core/time.js';
import { LIMITS } from '../../serving/request.js';
import { type Serving, startServing } from '../../serving/server.js';
import { type CountingProxy, startCountingProxy } from './proxy.js';
import { type OwnRedis, startOwnRedis } from './redis.js';
import { NOW, publish, redisKey, shop, shopPlan, TICK, writeClicks, writePrice } from './shop.js';

const environment = 'serving_test';
const big = Number.MAX_SAFE_INTEGER;
const plan = shopPlan();
let redis: OwnRedis;
let proxy: CountingProxy;
let serving: Serving;
let clock = NOW;

beforeAll(async () => {
  redis = await startOwnRedis();
  proxy = await startCountingProxy(redis.url);
  await publish(redis.client, environment, plan);
  await writeClicks(redis.client, environment, plan, [
    { user_id: 7, item_id: 'a', cents: big, dwell: 2, ago: 70 },
    { user_id: 7, item_id: 'b', cents: big, dwell: 2, ago: 10 },
    { user_id: 7, item_id: 'a', ago: 5 },
    { user_id: 8, item_id: 'a', ago: 8 * 24 * 60 },
    { user_id: 9, item_id: 'b', ago: 1 },
    { user_id: 2n ** 63n - 1n, item_id: 'b', ref: 2n ** 63n - 1n, taste: [0.1, -1], ago: 3 },
    { user_id: 2n ** 63n - 1n, item_id: 'b', ref: -(2n ** 63n), taste: [0.2, 1], ago: 2 },
    { user_id: -(2n ** 63n), item_id: 'b', ref: 2n ** 63n - 1n, ago: 3 },
    { user_id: -(2n ** 63n), item_id: 'b', ref: 1, ago: 2 },
  ]);
  await writePrice(redis.client, environment, plan, 'a', [NOW - DAY + 1, 12.5, ['new', 'red']]);
  await writePrice(redis.client, environment, plan, 'b', [null, 2, []]);
  serving = await startServing({
    config: { environment, redisUrl: proxy.url, servingUrl: 'http://127.0.0.1:0' },
    instance: 'test-instance',
    now: () => clock,
  });
  await vi.waitFor(async () => expect((await fetch(`${serving.url}/ready`)).status).toBe(200));
});

afterAll(async () => {
  await serving?.close();
  proxy?.close();
  await redis?.end();
});

interface Answered {
  status: number;
  headers: Headers;
  text: string;
  body: {
    metadata: { feature_names: string[]; plan: { revision: number; versions: Record<string, number> } };
    results: Array<{
      values: unknown[];
      statuses: string[];
      event_timestamps: string[];
      reasons?: unknown[];
    }>;
    code: string;
    title: string;
    fix: string;
    pointer: string;
  };
}

async function ask(body: unknown, headers: Record<string, string> = {}): Promise<Answered> {
  const raw = typeof body === 'string' || body instanceof Uint8Array;
  const response = await fetch(`${serving.url}/get-online-features`, {
    method: 'POST',
    body: (raw ? body : JSON.stringify(body)) as string,
    headers,
  });
  const text = await response.text();
  return {
    status: response.status,
    headers: response.headers,
    text,
    body: JSON.parse(text) as Answered['body'],
  };
}

const column = ({ body }: Answered, name: string) => body.results[body.metadata.feature_names.indexOf(name)]!;

describe("Feast's shape", () => {
  test('byte for byte: join keys first, columns, exact numbers, RFC 3339', async () => {
    const answer = await ask({
      entities: { user_id: [7], item_id: ['a', 'b'] },
      features: [
        'user_activity:user_clicks_last_30min',
        'user_activity:user_mean_dwell_7d',
        'user_activity:user_total_cents',
        'item_price:item_price',
        'item_price:item_tags',
        'item_price:item_listed_at',
      ],
    });
    expect(answer.headers.get('content-type')).toBe('application/json; charset=utf-8');
    expect(answer.headers.get('x-almanac-plan')).toBe('1');
    const two = '"statuses":["PRESENT","PRESENT"]';
    const clicked = '"event_timestamps":["2026-03-01T12:25:00Z","2026-03-01T12:25:00Z"]';
    const priced = '"event_timestamps":["2026-03-01T11:00:00Z","2026-03-01T11:00:00Z"]';
    const epoch = '"event_timestamps":["1970-01-01T00:00:00Z","1970-01-01T00:00:00Z"]';
    expect(answer.text).toBe(
      `${
        '{"metadata":{"feature_names":["user_id","item_id","user_clicks_last_30min","user_mean_dwell_7d",' +
        '"user_total_cents","item_price","item_tags","item_listed_at"],' +
        '"plan":{"revision":1,"model":null,"lock":null,"versions":{"user_activity":1,"item_price":1}}},"results":['
      }${[
        `{"values":[7,7],${two},${epoch}}`,
        `{"values":["a","b"],${two},${epoch}}`,
        `{"values":[2,2],${two},${clicked}}`,
        `{"values":[2.0,2.0],${two},${clicked}}`,
        `{"values":[18014398509481982,18014398509481982],${two},${clicked}}`,
        `{"values":[12.5,2.0],${two},${priced}}`,
        `{"values":[["new","red"],[]],${two},${priced}}`,
        `{"values":["2026-02-28T12:30:00.001Z",null],"statuses":["PRESENT","NULL_VALUE"],${priced}}`,
      ].join(',')}]}`,
    );
  });

  test('a map is an object, its keys in order, its numbers exact', async () => {
    const answer = await ask({
      entities: { user_id: [7, 8] },
      features: ['user_maturity:user_cents_by_item_7d', 'user_maturity:user_dwell_by_item_7d'],
    });
    expect(answer.text).toContain('"values":[{"a":9007199254740991,"b":9007199254740991},{}]');
    expect(answer.text).toContain('"values":[{"a":2.0,"b":2.0},{"none":0.0}]');
    expect(column(answer, 'user_dwell_by_item_7d').statuses).toEqual(['PRESENT', 'IMMATURE']);
  });

  test('whole numbers of 64 bits in question and answer; a vector; a sum beyond them is null', async () => {
    const answer = await ask(
      '{"entities":{"user_id":[9223372036854775807,-9223372036854775808]},"features":["user_taste:user_taste","user_taste:user_last_reference","user_taste:user_references"]}',
    );
    const stamps = '"event_timestamps":["2026-03-01T12:28:00Z","2026-03-01T12:28:00Z"]';
    const [key, ...results] = [
      '{"values":[9223372036854775807,-9223372036854775808],"statuses":["PRESENT","PRESENT"],"event_timestamps":["1970-01-01T00:00:00Z","1970-01-01T00:00:00Z"]}',
      `{"values":[[0.15000000000000002,0.0],null],"statuses":["PRESENT","NULL_VALUE"],${stamps}}`,
      `{"values":[-9223372036854775808,1],"statuses":["PRESENT","PRESENT"],${stamps}}`,
      `{"values":[-1,null],"statuses":["PRESENT","NULL_VALUE"],${stamps}}`,
    ];
    expect(answer.text.slice(answer.text.indexOf('"results":'))).toBe(
      `"results":[${[key, ...results].join(',')}]}`,
    );
  });

  test('as its Python client asks: no content type, features by reference, one entity', async () => {
    const body = JSON.stringify({
      features: ['user_activity:user_clicks_last_30min'],
      entities: { user_id: [7] },
    });
    const text = await new Promise<string>((resolve, reject) => {
      const sent = httpRequest(`${serving.url}/get-online-features`, { method: 'POST' }, (response) => {
        response.setEncoding('utf8');
        let got = '';
        response.on('data', (chunk: string) => (got += chunk)).on('end', () => resolve(got));
      });
      sent.on('error', reject);
      sent.end(body);
    });
    const answer = JSON.parse(text) as Answered['body'];
    expect(answer.results[1]!.event_timestamps[0]).toBe('2026-03-01T12:25:00Z');
    expect(answer.results[1]!.values).toEqual([2]);
  });

  test('full_feature_names', async () => {
    const { body } = await ask({
      entities: { item_id: ['a'] },
      features: ['item_price:item_price'],
      full_feature_names: true,
    });
    expect(body.metadata.feature_names).toEqual(['item_id', 'item_price__item_price']);
  });

  test('an empty list of candidates is answered with empty columns', async () => {
    const answer = await ask({ entities: { user_id: [7], item_id: [] }, feature_service: 'recommendation' });
    expect(answer.status).toBe(200);
    for (const { values, statuses, event_timestamps } of answer.body.results)
      expect([values, statuses, event_timestamps]).toEqual([[], [], []]);
  });

  test('versions in the form its client reads, when it asks', async () => {
    const request = { entities: { item_id: ['a'] }, features: ['item_price:item_price'] };
    const [asked, not] = await Promise.all(
      [true, false].map((flag) => ask({ ...request, include_feature_view_version_metadata: flag })),
    );
    expect(asked!.body.metadata).toMatchObject({
      feature_view_metadata: [{ name: 'item_price', version: 1 }],
    });
    expect(not!.body.metadata).not.toHaveProperty('feature_view_metadata');
  });

  test('an empty list of features beside a service stands for none', async () => {
    const answer = await ask({
      entities: { user_id: [7], item_id: ['a'] },
      feature_service: 'recommendation',
      features: [],
    });
    expect(answer.status).toBe(200);
  });

  test('a service gives its features in its order; null stands for not given', async () => {
    const answer = await ask({
      entities: { user_id: [7], item_id: ['a'] },
      feature_service: 'recommendation',
      features: null,
    });
    const { features } = shop.services.find(({ name }) => name === 'recommendation')!;
    expect(answer.body.metadata.feature_names.slice(2)).toEqual(features.map((ref) => ref.split(':')[1]));
  });
});

describe('one request, one round trip', () => {
  test('one user and 100 items: the user once, each item once, ticks and generation with them', async () => {
    const items = Array.from({ length: 100 }, (_, i) => (i % 2 ? 'b' : `item ${i}`));
    proxy.take();
    const answer = await ask({
      entities: { user_id: [7], item_id: items },
      feature_service: 'recommendation',
    });
    expect(answer.status).toBe(200);
    // 1 user, 50 items that differ and "b" once, the ticks, the online set
    expect(proxy.take()).toEqual({ trips: 1, hashReads: 1 + 51 + 1 + 1 });
    expect(column(answer, 'item_id').values).toEqual(items);
    expect(new Set(column(answer, 'user_clicks_last_30min').values)).toEqual(new Set([2]));
    expect(column(answer, 'item_price').values.slice(0, 2)).toEqual([1, 2]);
    expect(column(answer, 'item_price').statuses.slice(0, 2)).toEqual(['NOT_FOUND', 'PRESENT']);
  });

  test('rows may repeat entities in any order', async () => {
    const answer = await ask({
      entities: { user_id: [9, 7, 9, 10] },
      features: ['user_activity:user_clicks_last_30min'],
    });
    expect(column(answer, 'user_clicks_last_30min')).toMatchObject({
      values: [1, 2, 1, 0],
      statuses: ['PRESENT', 'PRESENT', 'PRESENT', 'NOT_FOUND'],
    });
  });

  test('a composite key takes its parts from both lists', async () => {
    const answer = await ask({
      entities: { user_id: [7], item_id: ['a', 'b', 'c'] },
      features: ['user_item_activity:user_item_clicks_7d'],
    });
    expect(column(answer, 'user_item_clicks_7d').values).toEqual([2, 1, 0]);
  });
});

describe('statuses', () => {
  test('the table', async () => {
    const answer = await ask({
      entities: { user_id: [7, 8, 404] },
      features: [
        'user_activity:user_clicks_last_30min',
        'user_activity:user_mean_dwell_7d',
        'user_maturity:user_clicks_7d',
      ],
      with_reasons: true,
    });
    expect(column(answer, 'user_clicks_last_30min')).toMatchObject({
      values: [2, 0, 0],
      statuses: ['PRESENT', 'OUTSIDE_MAX_AGE', 'NOT_FOUND'],
      event_timestamps: ['2026-03-01T12:25:00Z', '2026-02-21T12:30:00Z', '1970-01-01T00:00:00Z'],
      reasons: [null, 'cold start: newest event older than the ttl', 'cold start: no history'],
    });
    expect(column(answer, 'user_mean_dwell_7d')).toMatchObject({
      values: [2, null, null],
      statuses: ['PRESENT', 'OUTSIDE_MAX_AGE', 'NOT_FOUND'],
    });
    expect(column(answer, 'user_clicks_7d')).toMatchObject({
      values: [3, -1, -1],
      statuses: ['PRESENT', 'IMMATURE', 'NOT_FOUND'],
      reasons: [null, 'cold start: fewer events than minEvents', 'cold start: no history'],
    });
  });

  test('a known entity whose window is empty: 0 is present, a mean is null', async () => {
    const answer = await ask({
      entities: { user_id: [9] },
      features: ['user_activity:user_mean_dwell_7d', 'user_activity:user_total_cents'],
    });
    expect(column(answer, 'user_mean_dwell_7d')).toMatchObject({ values: [null], statuses: ['NULL_VALUE'] });
    expect(column(answer, 'user_total_cents')).toMatchObject({ values: [0], statuses: ['PRESENT'] });
  });

  test('an entity whose events were all retracted: as one without a record', async () => {
    const { view, versionId } = plan.views.find((served) => served.view.name === 'user_activity')!;
    const compiled = compileView(view as AggregationView, shop.sources[0]!);
    const state = createState(compiled);
    advance(compiled, state, NOW);
    const key = redisKey(environment, view, [10]);
    await redis.client.hset(key, versionId, Buffer.from(encodeRecord(compiled, state)));
    const answer = await ask({
      entities: { user_id: [10] },
      features: ['user_activity:user_clicks_last_30min'],
      with_reasons: true,
    });
    expect(column(answer, 'user_clicks_last_30min')).toMatchObject({
      values: [0],
      statuses: ['NOT_FOUND'],
      event_timestamps: ['1970-01-01T00:00:00Z'],
      reasons: ['cold start: no history'],
    });
  });

  test('values decay by the clock alone', async () => {
    clock = NOW + 26 * MINUTE;
    const later = await ask({
      entities: { user_id: [7] },
      features: ['user_activity:user_clicks_last_30min'],
    });
    clock = NOW;
    expect(column(later, 'user_clicks_last_30min').values).toEqual([0]);
  });

  test('a batch view that published no tick has no history, whatever record lies there', async () => {
    const { versionId } = plan.views.find((served) => served.view.name === 'item_popularity')!;
    await redis.client.hdel(progressKey(environment), String(versionId));
    const request = { entities: { item_id: ['a'] }, features: ['item_popularity:item_clicks_7d'] };
    const unpublished = await ask(request);
    await redis.client.hset(progressKey(environment), String(versionId), String(TICK));
    const published = await ask(request);
    expect(column(unpublished, 'item_clicks_7d')).toMatchObject({ values: [0], statuses: ['NOT_FOUND'] });
    expect(column(published, 'item_clicks_7d')).toMatchObject({ values: [1], statuses: ['PRESENT'] });
  });

  test.each([
    { why: 'a layout of another time', bytes: Buffer.from([99, 1, 2, 3]), reason: 'FS_LAYOUT_UNKNOWN' },
    { why: 'a record cut short', bytes: Buffer.from([2, 0, 0, 0]), reason: 'FS_RECORD_CORRUPT' },
    { why: 'no byte at all', bytes: Buffer.alloc(0), reason: 'FS_RECORD_CORRUPT' },
  ])('$why costs its own values and no others', async ({ bytes, reason }) => {
    const view = plan.views.find((served) => served.view.name === 'item_price')!;
    const key = redisKey(environment, view.view, ['broken']);
    await redis.client.hset(key, view.versionId, bytes);
    const answer = await ask({
      entities: { item_id: ['broken', 'b'] },
      features: ['item_price:item_price', 'item_popularity:item_clicks_7d'],
      with_reasons: true,
    });
    await redis.client.del(key);
    expect(column(answer, 'item_price')).toMatchObject({
      values: [null, 2],
      statuses: ['ERROR', 'PRESENT'],
      reasons: [reason, null],
    });
    expect(column(answer, 'item_clicks_7d').statuses).toEqual(['NOT_FOUND', 'NOT_FOUND']);
  });

  test('a Redis key of another type costs its entity and no others', async () => {
    const key = redisKey(environment, plan.views.find((served) => served.view.name === 'item_price')!.view, [
      'text',
    ]);
    await redis.client.set(key, 'not a hash');
    const answer = await ask({ entities: { item_id: ['text', 'b'] }, features: ['item_price:item_price'] });
    await redis.client.del(key);
    expect(column(answer, 'item_price').statuses).toEqual(['ERROR', 'PRESENT']);
  });
});

describe('on-demand features', () => {
  test('request fields stand in entities, as Feast has them, and are not echoed', async () => {
    const answer = await ask({
      entities: {
        user_id: [7],
        item_id: ['a', 'b', 'c'],
        discount: [0.5, 0.25, 2],
        asked_at: ['2026-03-01T12:00:00+01:00'],
      },
      feature_service: 'offers',
    });
    expect(answer.body.metadata.feature_names).toEqual([
      'user_id',
      'item_id',
      'item_discounted_price',
      'item_offer_clicks',
      'item_clicks_7d',
    ]);
    // c has no price: its cold start 1 counts
    expect(column(answer, 'item_discounted_price')).toMatchObject({
      values: [6.25, 0.5, 2],
      statuses: ['PRESENT', 'PRESENT', 'PRESENT'],
    });
    expect(column(answer, 'item_offer_clicks').values).toEqual([2, 2, 2]);
    expect(answer.body.metadata.plan.versions).toEqual({
      item_offer: 1,
      item_price: 1,
      user_activity: 1,
      item_popularity: 1,
    });
  });

  test('a null field gives null', async () => {
    const answer = await ask({
      entities: { user_id: [7], item_id: ['a'], discount: [null], asked_at: [null] },
      feature_service: 'offers',
    });
    expect(column(answer, 'item_discounted_price')).toMatchObject({
      values: [null],
      statuses: ['NULL_VALUE'],
    });
  });
});

describe('what is wrong is named', () => {
  const users = { user_id: [7] };
  const clicks = ['user_activity:user_clicks_last_30min'];
  const offers = { user_id: [7], item_id: ['a'], discount: [0.5], asked_at: ['2026-03-01T12:00:00Z'] };
  test.each<{
    why: string;
    body: unknown;
    status: number;
    code: string;
    pointer?: string;
    says: RegExp | string;
  }>([
    { why: 'no JSON', body: '{', status: 400, code: 'FS_REQUEST_INVALID', says: 'expected a key' },
    { why: 'no body', body: '', status: 400, code: 'FS_REQUEST_INVALID', says: 'the end' },
    { why: 'a list', body: [], status: 400, code: 'FS_REQUEST_INVALID', says: 'not a JSON object' },
    {
      why: 'invalid UTF-8',
      body: Uint8Array.from([0x7b, 0xff, 0x7d]),
      status: 400,
      code: 'FS_REQUEST_INVALID',
      says: 'UTF-8',
    },
    {
      why: '20,000 levels',
      body: `{"entities":${'['.repeat(20_000)}`,
      status: 400,
      code: 'FS_REQUEST_INVALID',
      says: 'deep',
    },
    {
      why: '2^63',
      body: `{"entities":{"user_id":[1,9223372036854775808]},"features":["${clicks[0]}"]}`,
      status: 400,
      code: 'FS_REQUEST_INVALID',
      pointer: '/entities/user_id/1',
      says: '64 bits',
    },
    {
      why: '1e400',
      body: `{"entities":{"user_id":[1e400]},"features":["${clicks[0]}"]}`,
      status: 400,
      code: 'FS_REQUEST_INVALID',
      pointer: '/entities/user_id/0',
      says: 'every double',
    },
    {
      why: 'half a surrogate pair',
      body: '{"entities":{"item_id":["\\ud800"]},"features":["item_price:item_price"]}',
      status: 400,
      code: 'FS_REQUEST_INVALID',
      pointer: '/entities/item_id/0',
      says: 'surrogate',
    },
    {
      why: 'a key twice',
      body: `{"entities":{"user_id":[1],"user_id":[1]},"features":["${clicks[0]}"]}`,
      status: 400,
      code: 'FS_REQUEST_INVALID',
      pointer: '/entities/user_id',
      says: 'twice',
    },
    {
      why: 'an unknown field',
      body: { entities: users, features: clicks, feature_servcie: 'x' },
      status: 400,
      code: 'FS_REQUEST_INVALID',
      pointer: '/feature_servcie',
      says: 'no such field',
    },
    {
      why: '__proto__ as a field',
      body: '{"__proto__":{"entities":{}},"entities":{"user_id":[1]}}',
      status: 400,
      code: 'FS_REQUEST_INVALID',
      pointer: '/__proto__',
      says: 'no such field',
    },
    {
      why: '__proto__ as a join key',
      body: `{"entities":{"user_id":[1],"__proto__":[1]},"features":["${clicks[0]}"]}`,
      status: 400,
      code: 'FS_REQUEST_INVALID',
      pointer: '/entities/__proto__',
      says: 'none of the features',
    },
    {
      why: 'constructor as a service',
      body: { entities: users, feature_service: 'constructor' },
      status: 404,
      code: 'FS_NOT_FOUND',
      says: 'constructor',
    },
    {
      why: 'toString as a view',
      body: { entities: users, features: ['toString:valueOf'] },
      status: 404,
      code: 'FS_NOT_FOUND',
      says: 'toString',
    },
    {
      why: 'nothing asked for',
      body: { entities: users },
      status: 400,
      code: 'FS_REQUEST_INVALID',
      pointer: '/features',
      says: 'nothing is asked for',
    },
    {
      why: 'no features',
      body: { entities: users, features: [] },
      status: 400,
      code: 'FS_REQUEST_INVALID',
      pointer: '/features',
      says: 'nothing is asked for',
    },
    {
      why: 'both a service and features',
      body: { entities: users, features: clicks, feature_service: 'recommendation' },
      status: 400,
      code: 'FS_REQUEST_INVALID',
      says: 'both given',
    },
    {
      why: 'a feature twice',
      body: { entities: users, features: [...clicks, ...clicks] },
      status: 400,
      code: 'FS_REQUEST_INVALID',
      pointer: '/features/1',
      says: 'given twice',
    },
    {
      why: 'no reference',
      body: { entities: users, features: ['user_clicks_last_30min'] },
      status: 400,
      code: 'FS_REQUEST_INVALID',
      pointer: '/features/0',
      says: 'view:feature',
    },
    {
      why: 'a service misspelt',
      body: { entities: users, feature_service: 'recomendation' },
      status: 404,
      code: 'FS_NOT_FOUND',
      pointer: '/feature_service',
      says: 'did you mean "recommendation"',
    },
    {
      why: 'a view misspelt',
      body: { entities: users, features: ['user_activty:user_clicks_last_30min'] },
      status: 404,
      code: 'FS_NOT_FOUND',
      pointer: '/features/0',
      says: 'did you mean "user_activity"',
    },
    {
      why: 'a feature misspelt',
      body: { entities: users, features: [clicks[0], 'user_activity:user_total_cent'] },
      status: 404,
      code: 'FS_NOT_FOUND',
      pointer: '/features/1',
      says: 'did you mean "user_total_cents"',
    },
    {
      why: 'a join key missing',
      body: { entities: users, feature_service: 'recommendation' },
      status: 400,
      code: 'FS_REQUEST_INVALID',
      pointer: '/entities',
      says: 'join key "item_id" is missing',
    },
    {
      why: 'a join key misspelt',
      body: { entities: { userid: [7] }, features: clicks },
      status: 400,
      code: 'FS_REQUEST_INVALID',
      pointer: '/entities/userid',
      says: 'did you mean "user_id"',
    },
    {
      why: 'no entities',
      body: { entities: {}, features: clicks },
      status: 400,
      code: 'FS_REQUEST_INVALID',
      pointer: '/entities',
      says: 'object of lists',
    },
    {
      why: 'a scalar for a list',
      body: { entities: { user_id: 7 }, features: clicks },
      status: 400,
      code: 'FS_REQUEST_INVALID',
      pointer: '/entities/user_id',
      says: 'not a list',
    },
    {
      why: 'a list in a list',
      body: { entities: { user_id: [7, [8]] }, features: clicks },
      status: 400,
      code: 'FS_REQUEST_INVALID',
      pointer: '/entities/user_id/1',
      says: 'no scalar',
    },
    {
      why: 'lists of two lengths',
      body: { entities: { user_id: [7, 8], item_id: ['a', 'b', 'c'] }, feature_service: 'recommendation' },
      status: 400,
      code: 'FS_REQUEST_INVALID',
      pointer: '/entities/item_id',
      says: '3 values beside 2',
    },
    {
      why: 'a null key',
      body: { entities: { user_id: [7, null] }, features: clicks },
      status: 422,
      code: 'FS_KEY_INVALID',
      pointer: '/entities/user_id/1',
      says: 'null',
    },
    {
      why: 'text for a number',
      body: { entities: { user_id: ['7'] }, features: clicks },
      status: 422,
      code: 'FS_KEY_INVALID',
      pointer: '/entities/user_id/0',
      says: 'user_id',
    },
    {
      why: 'a fraction for a key',
      body: { entities: { user_id: [7.5] }, features: clicks },
      status: 422,
      code: 'FS_KEY_INVALID',
      pointer: '/entities/user_id/0',
      says: '7.5',
    },
    {
      why: 'a number for text',
      body: { entities: { item_id: ['a', 7] }, features: ['item_price:item_price'] },
      status: 422,
      code: 'FS_KEY_INVALID',
      pointer: '/entities/item_id/1',
      says: 'item_id',
    },
    {
      why: 'a key of 2,000 bytes',
      body: { entities: { item_id: ['x'.repeat(2000)] }, features: ['item_price:item_price'] },
      status: 422,
      code: 'FS_KEY_INVALID',
      pointer: '/entities/item_id/0',
      says: '1024',
    },
    {
      why: 'a flag that is none',
      body: { entities: users, features: clicks, full_feature_names: 'yes' },
      status: 400,
      code: 'FS_REQUEST_INVALID',
      pointer: '/full_feature_names',
      says: 'true or false',
    },
    {
      why: 'a request field missing',
      body: { entities: { user_id: [7], item_id: ['a'], discount: [1] }, feature_service: 'offers' },
      status: 400,
      code: 'FS_REQUEST_INVALID',
      says: 'request field "asked_at" is missing',
    },
    {
      why: 'a request field of another type',
      body: { entities: { ...offers, discount: ['0.5'] }, feature_service: 'offers' },
      status: 400,
      code: 'FS_REQUEST_INVALID',
      pointer: '/entities/discount/0',
      says: 'a number',
    },
    {
      why: 'a timestamp without a zone',
      body: { entities: { ...offers, asked_at: ['2026-03-01T12:00:00'] }, feature_service: 'offers' },
      status: 422,
      code: 'FS_TIMESTAMP_INVALID',
      pointer: '/entities/asked_at/0',
      says: 'zone',
    },
    {
      why: 'a bare number for a timestamp',
      body: { entities: { ...offers, asked_at: [1] }, feature_service: 'offers' },
      status: 400,
      code: 'FS_REQUEST_INVALID',
      pointer: '/entities/asked_at/0',
      says: 'RFC 3339',
    },
    {
      why: 'too many rows',
      body: { entities: { user_id: Array.from({ length: LIMITS.rows + 1 }, () => 1) }, features: clicks },
      status: 413,
      code: 'FS_REQUEST_TOO_LARGE',
      pointer: '/entities/user_id',
      says: '10000',
    },
    {
      why: 'a million entities',
      body: { entities: { user_id: Array.from({ length: 1_000_000 }, (_, i) => i) }, features: clicks },
      status: 413,
      code: 'FS_REQUEST_TOO_LARGE',
      says: 'bytes',
    },
    {
      why: 'too many features',
      body: { entities: users, features: Array.from({ length: LIMITS.features + 1 }, (_, i) => `v:f${i}`) },
      status: 413,
      code: 'FS_REQUEST_TOO_LARGE',
      pointer: '/features',
      says: '1000',
    },
  ])('$why', async ({ body, status, code, pointer, says }) => {
    const answer = await ask(body, { 'x-deadline-ms': '5000' });
    expect(answer.status).toBe(status);
    expect(answer.headers.get('content-type')).toContain('application/problem+json');
    expect(answer.body.code).toBe(code);
    expect(`${answer.body.title} ${answer.body.fix}`).toMatch(says);
    expect(answer.body.fix).not.toBe('');
    if (pointer !== undefined) expect(answer.body.pointer).toBe(pointer);
  });

  test('too many values: neither the rows nor the features alone', async () => {
    const wide = structuredClone(plan);
    const { view } = wide.views.find((served) => served.view.name === 'item_popularity')!;
    const feature = view.features[0]!;
    const names = Array.from({ length: 21 }, (_, i) => `item_clicks_${i}`);
    view.features = names.map((name) => ({ ...feature, name })) as typeof view.features;
    await publish(redis.client, environment, { ...wide, revision: 2 });
    await serving.refresh();
    const answer = await ask({
      entities: { item_id: Array.from({ length: LIMITS.rows }, (_, i) => String(i)) },
      features: names.map((name) => `item_popularity:${name}`),
    });
    await publish(redis.client, environment, plan);
    await serving.refresh();
    expect(answer.status).toBe(413);
    expect(answer.body.title).toContain('10000 rows of 21 features, the limit is 200000 values');
  });

  test('one name from two views needs full names', async () => {
    const twin = structuredClone(plan);
    const view = twin.views.find((served) => served.view.name === 'item_popularity')!.view;
    view.features[0]!.name = 'user_clicks_7d';
    await publish(redis.client, environment, { ...twin, revision: 2 });
    await serving.refresh();
    const request = {
      entities: { user_id: [7], item_id: ['a'] },
      features: ['user_maturity:user_clicks_7d', 'item_popularity:user_clicks_7d'],
    };
    const refused = await ask(request);
    const full = await ask({ ...request, full_feature_names: true });
    await publish(redis.client, environment, plan);
    await serving.refresh();
    expect(refused.body).toMatchObject({ code: 'FS_REQUEST_INVALID', pointer: '/features/1' });
    expect(refused.body.fix).toContain('full_feature_names');
    expect(full.body.metadata.feature_names.slice(2)).toEqual([
      'user_maturity__user_clicks_7d',
      'item_popularity__user_clicks_7d',
    ]);
  });

  test.each(['0', '-1', 'soon', '1.5', '999999', ''])('a deadline of "%s" is refused', async (deadline) => {
    const answer = await ask({ entities: users, features: clicks }, { 'x-deadline-ms': deadline });
    expect(answer.body).toMatchObject({ code: 'FS_REQUEST_INVALID', header: 'x-deadline-ms' });
  });

  test('another path or method is a problem document too', async () => {
    for (const [method, path] of [
      ['GET', '/get-online-features'],
      ['POST', '/nothing'],
    ] as const) {
      const response = await fetch(serving.url + path, { method });
      expect(response.status).toBe(404);
      expect(await response.json()).toMatchObject({ code: 'FS_NOT_FOUND' });
    }
  });
});

describe('the plan', () => {
  test('a new one is in force for the next request; each answer names the one it had', async () => {
    const next = shopPlan(
      5,
      'g1',
      shop.services.map((of) => (of.name === 'offers' ? { ...of, features: of.features.slice(-1) } : of)),
    );
    next.views.find((served) => served.view.name === 'item_popularity')!.version = 3;
    await redis.client.set(planKey(environment), JSON.stringify(next));
    const request = { entities: { item_id: ['a'] }, feature_service: 'offers' };
    // Asked for by polling alone.
    await expect.poll(async () => (await ask(request)).headers.get('x-almanac-plan')).toBe('5');
    const { body } = await ask(request);
    await publish(redis.client, environment, plan);
    await serving.refresh();
    expect(body.metadata).toEqual({
      feature_names: ['item_id', 'item_clicks_7d'],
      plan: { revision: 5, model: null, lock: null, versions: { item_popularity: 3 } },
    });
  });

  test.each<{ why: string; value: string; says: string }>([
    {
      why: 'a layout of the future',
      value: JSON.stringify({ ...plan, layout: 3, revision: 9 }),
      says: 'layout 3',
    },
    { why: 'no JSON', value: '{', says: 'refused' },
    {
      why: 'a version that it does not hold',
      value: JSON.stringify({ ...plan, live: [99], revision: 9 } satisfies ServingPlan),
      says: 'version \\"99\\"',
    },
  ])('$why is refused: the old one answers on, and readiness says why', async ({ value, says }) => {
    await redis.client.set(planKey(environment), value);
    const ready = await fetch(`${serving.url}/ready`);
    const answer = await ask({ entities: { item_id: ['a'] }, features: ['item_price:item_price'] });
    await publish(redis.client, environment, plan);
    await serving.refresh();
    expect(ready.status).toBe(503);
    expect(JSON.stringify(await ready.json())).toContain(says);
    expect(answer.status).toBe(200);
    expect(answer.headers.get('x-almanac-plan')).toBe('1');
    expect((await fetch(`${serving.url}/ready`)).status).toBe(200);
  });

  test('a plan that reads what is not kept any more: the newest answers in the same request', async () => {
    const { versionId } = plan.views.find(({ view }) => view.name === 'item_price')!;
    const others = plan.views.flatMap((served) => (served.versionId === versionId ? [] : [served.versionId]));
    const price = { entities: { item_id: ['a'] }, features: ['item_price:item_price'] };
    const set = (ids: readonly number[]) =>
      redis.client.hset(onlineSetKey(environment), 'change', '1', ...ids.flatMap((id) => [id, 1]));
    await set([versionId, ...others]);
    expect((await ask(price)).status).toBe(200);
    // gone, and serving has not looked at its plan since
    await redis.client.del(onlineSetKey(environment));
    await set(others);
    expect(await ask(price)).toMatchObject({ status: 503, body: { code: 'FS_NOT_READY' } });
    const views = plan.views.filter((served) => served.versionId !== versionId);
    const services = plan.services.filter(({ features }) =>
      features.every((each) => !each.startsWith('item_price:')),
    );
    const live = views.map((served) => served.versionId);
    const next = { ...plan, revision: 7, views, services, onDemand: [], live, unread: ['item_price'] };
    await redis.client.set(planKey(environment), JSON.stringify(next));
    const late = await ask(price);
    await redis.client.del(onlineSetKey(environment));
    await publish(redis.client, environment, plan);
    await serving.refresh();
    expect(late).toMatchObject({ status: 404, body: { code: 'FS_NOT_FOUND' } });
    expect(late.body.title).toContain('view "item_price" is not served');
  });

  test('another generation is "not ready", at once, never an empty answer', async () => {
    await redis.client.set(generationKey(environment), 'g2');
    const answer = await ask({ entities: { item_id: ['a'] }, features: ['item_price:item_price'] });
    await redis.client.set(generationKey(environment), 'g1');
    expect(answer.status).toBe(503);
    expect(answer.body).toMatchObject({ code: 'FS_NOT_READY' });
    expect(answer.body.title).toContain('g2');
    expect(answer.headers.get('retry-after')).toBe('1');
  });
});

describe('the process', () => {
  test('health tells who it is', async () => {
    const response = await fetch(`${serving.url}/health`);
    expect(await response.json()).toEqual({
      process: 'serving',
      environment,
      instance: 'test-instance',
      ready: true,
      planRevision: 1,
      model: null,
      reasons: [],
      ok: true,
    });
  });

  test('metrics count by service, code, view and status, and hold no key', async () => {
    await ask({ entities: { user_id: [424242] }, features: ['user_activity:user_clicks_last_30min'] });
    const text = await (await fetch(`${serving.url}/metrics`)).text();
    expect(text).toMatch(/almanac_serving_request_seconds_count\{service="recommendation",code="OK"\} [1-9]/);
    expect(text).toMatch(
      /almanac_serving_request_seconds_count\{service="\(features\)",code="FS_KEY_INVALID"\} [1-9]/,
    );
    expect(text).toMatch(/almanac_serving_values_total\{view="user_activity",status="NOT_FOUND"\} [1-9]/);
    expect(text).toMatch(/almanac_serving_plan_revision 1/);
    expect(text).toMatch(/almanac_serving_ready 1/);
    expect(text).toMatch(/almanac_serving_redis_seconds_count [1-9]/);
    expect(text).not.toContain('424242');
    expect(text).not.toContain('recomendation');
  });

  test.each([
    'http://0.0.0.0:0',
    'http://example.com:80',
    'https://127.0.0.1:0',
    'http://[::]:0',
    'nonsense',
    'http://127.0.0.1.example.com',
  ])('it does not listen on %s', async (servingUrl) => {
    const starting = startServing({
      config: { environment, redisUrl: redis.url, servingUrl },
      instance: null,
    });
    await expect(starting).rejects.toMatchObject({ code: 'FS_CONFIG_INVALID' });
  });

  test('a port in use is named', async () => {
    const starting = startServing({
      config: { environment, redisUrl: redis.url, servingUrl: serving.url },
      instance: null,
    });
    await expect(starting).rejects.toMatchObject({
      code: 'FS_UNAVAILABLE',
      details: { variable: 'ALMANAC_SERVING_URL' },
    });
  });
});
