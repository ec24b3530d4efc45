import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Field, Float64, List, Table, Utf8, vectorFromArray } from 'apache-arrow';
import { describe, expect, test } from 'vitest';
import { summarize } from '../../cli/demo/ask-serving.js';
import { compareTables } from '../../cli/demo/compare.js';
import { Freshness, LIMIT_MS } from '../../cli/demo/freshness.js';
import { activeUser, candidateItems, type Encounter, labelsCsv, makeLabels } from '../../cli/demo/labels.js';
import { sinceLastEvent, summarizeTable } from '../../cli/demo/last-event.js';
import { measureLatency, quantile } from '../../cli/demo/latency.js';
import { compareCounts } from '../../cli/demo/live.js';
import { type DemoReport, dataOrigin, renderReport } from '../../cli/demo/report.js';
import { readEncounters } from '../../cli/demo/shop-files.js';
import type { Definitions } from '../../core/definition.js';
import { MINUTE } from '../../core/time.js';
import { startStub } from './stub.js';

const at = (user: string, item: string, minute: number): Encounter => ({ user, item, atMs: minute * MINUTE });

describe('labels', () => {
  const all = { count: 100, untilMs: 1000 * MINUTE, seed: 1 };
  test.each([
    { bought: 1, label: true, why: 'a minute later' },
    { bought: 30, label: true, why: 'half an hour later, to the millisecond' },
    { bought: 31, label: false, why: 'after that' },
    { bought: 0, label: false, why: 'at the same instant: not because of the view' },
    { bought: -5, label: false, why: 'before' },
  ])('bought $why: $label', ({ bought, label }) => {
    const [only] = makeLabels([at('u', 'i', 0)], [at('u', 'i', bought)], all);
    expect(only!.bought).toBe(label);
  });
  test('another item, or another user, is no purchase', () => {
    const labels = makeLabels([at('u', 'i', 0)], [at('u', 'j', 1), at('v', 'i', 1)], all);
    expect(labels.map(({ bought }) => bought)).toEqual([false]);
  });
  test('views of the last half hour have no label yet', () => {
    const views = [at('u', 'a', 970), at('u', 'b', 971)];
    expect(makeLabels(views, [], all).map(({ item }) => item)).toEqual(['a']);
  });
  test('a sample is spread over time, has no row twice, and is the same for the same seed', () => {
    const views = Array.from({ length: 1000 }, (_, i) => at('u', `i${i}`, i % 900));
    for (const seed of [0, 1, 42, 20170101, -3]) {
      const labels = makeLabels(views, [], { ...all, count: 100, seed });
      expect(labels).toHaveLength(100);
      expect(new Set(labels.map(({ item }) => item)).size).toBe(100);
      expect(labels).toEqual(makeLabels([...views].reverse(), [], { ...all, count: 100, seed }));
    }
  });
  test('as a dataframe: a second before the view', () =>
    expect(labelsCsv([{ ...at('u', 'i', 1), bought: true }])).toBe(
      'user_id,item_id,event_timestamp,bought\nu,i,1970-01-01T00:00:59.000Z,1\n',
    ));
});

describe('who is asked about', () => {
  const seen = [at('a', 'x', 10), at('b', 'y', 80), at('b', 'z', 85), at('c', 'x', 90), at('d', 'x', 120)];
  test('of those seen in the last half hour the one seen most; nothing later counts', () =>
    expect(activeUser(seen, 100 * MINUTE)).toBe('b'));
  test('in a quiet hour, the user seen last', () =>
    expect(activeUser(seen, 119 * MINUTE + 59_999)).toBe('c'));
  test('candidates: their own items first, then those seen last, no item twice', () =>
    expect(candidateItems(seen, 'b', 4, 100 * MINUTE)).toEqual(['z', 'y', 'x']));
});

test('rows of the files: one event type, once per id, broken ones left out, times moved', async () => {
  const dir = await mkdtemp(join(tmpdir(), 'almanac-cli-'));
  try {
    const path = join(dir, 'rows.csv');
    const rows = [
      '1,view,u,i,1970-01-01T00:00:00Z',
      '1,view,u,i,1970-01-01T00:00:00Z',
      '2,checkout,u,,1970-01-01T00:00:00Z',
      '3,view,u,i,1970-01-01T00:00:00',
      '4,view,,i,1970-01-01T00:00:00Z',
    ];
    await writeFile(path, ['event_id,event_type,user_id,item_id,event_time', ...rows, ''].join('\n'));
    expect(await readEncounters(path, 'view', 5, 6)).toEqual([{ user: 'u', item: 'i', atMs: 5 }]);
  } finally {
    await rm(dir, { recursive: true });
  }
});

describe('latency', () => {
  test.each([
    { values: [1, 2, 3, 4], share: 0.5, is: 2 },
    { values: Array.from({ length: 100 }, (_, i) => i + 1), share: 0.99, is: 99 },
    { values: [7.126], share: 0.99, is: 7.13 },
    { values: [], share: 0.5, is: 0 },
  ])('quantile $share is $is', ({ values, share, is }) => expect(quantile(values, share)).toBe(is));
  test('an answer that is an error ends the measurement', async () => {
    const stub = await startStub((_asked, _body, _request, response) => {
      response.statusCode = 503;
      return {};
    });
    const options = { warmUp: 1, requests: 1, onProgress: () => {} };
    await expect(measureLatency(stub.url, '{}', options)).rejects.toMatchObject({ code: 'FS_UNAVAILABLE' });
    await stub.close();
  });
  test('the first answers do not count, nor do they have to be good', async () => {
    let asked = 0;
    const stub = await startStub((_asked, _body, _request, response) => {
      response.statusCode = asked++ === 0 ? 504 : 200;
      return {};
    });
    const options = { warmUp: 2, requests: 3, onProgress: () => {} };
    expect(await measureLatency(stub.url, '{}', options)).toMatchObject({ requests: 3 });
    await stub.close();
  });
  test('a connection that breaks says so', async () => {
    const stub = await startStub((_asked, _body, request) => {
      request.socket.destroy();
      return {};
    });
    const options = { warmUp: 1, requests: 1, onProgress: () => {} };
    await expect(measureLatency(stub.url, '{}', options)).rejects.toMatchObject({ code: 'FS_UNAVAILABLE' });
    await stub.close();
  });
});

test('where two training sets differ: rows, and rows by feature; nulls and lists too', () => {
  const texts = new List(new Field('item', new Utf8()));
  const made = (n: Array<number | null>, t: Array<string[] | null>) =>
    new Table({ n: vectorFromArray(n, new Float64()), t: vectorFromArray(t, texts) });
  const a = made([1, 2, 3, null], [['x'], ['y'], [], null]);
  const b = made([1, 5, 3, 0], [['x'], ['z'], [], null]);
  expect(compareTables(a, b)).toEqual({
    rows: 4,
    rowsDifferent: 2,
    byFeature: { n: 2, t: 1 },
  });
});

test.each([
  { origin: null, is: 'real' },
  { origin: 'Complete Journey (CC0).', is: 'real' },
  { origin: 'Purchases: real. Returns: simulated.', is: 'partly simulated' },
  { origin: 'Simulated from the purchases.', is: 'simulated' },
])('data that says "$origin" is $is', ({ origin, is }) => expect(dataOrigin(origin)).toBe(is));

test('the answer, feature by feature; a number beyond doubles keeps its digits', () => {
  const definitions = {
    services: [{ name: 's', features: ['v:n'] }],
    views: [{ kind: 'aggregation', name: 'v', source: 'e' }],
    sources: [{ name: 'e', origin: 'Simulated.' }],
  } as unknown as Definitions;
  const answer = {
    metadata: { feature_names: ['user_id', 'n'] },
    results: [
      { values: ['u', 'u'], statuses: ['PRESENT', 'PRESENT'], event_timestamps: ['', ''] },
      { values: [2n ** 60n, null], statuses: ['PRESENT', 'NOT_FOUND'], event_timestamps: ['T', ''] },
    ],
  };
  const lastEvent = new Map([['n', '1152921504606846976']]);
  expect(summarize(answer, definitions, 's', lastEvent)).toEqual({
    features: [
      {
        feature: 'n',
        value: '1152921504606846976',
        atLastEvent: '1152921504606846976',
        since: 'same',
        status: 'PRESENT',
        eventTimestamp: 'T',
        data: 'simulated',
      },
    ],
    statuses: { PRESENT: 1, NOT_FOUND: 1 },
  });
});

test('the report says everything the document holds', () => {
  const report: DemoReport = {
    seed: 1,
    shiftWeeks: 463,
    until: '2026-11-21T00:00:00.000Z',
    events: 1234567,
    imports: [{ source: 'orders', origin: 'Simulated.', outcomes: { archived: 1234567, invalid: 3 } }],
    views: [{ view: 'user_orders', version: 1, kind: 'batch', lastTick: '2026-11-21T00:00:00Z', rows: 4321 }],
    stream: {
      events: 2951, freshnessP50Ms: 61.5, freshnessP99Ms: 207.25, probes: 301, unread: 2,
      archived: 2869, late: 171, duplicate: 53, conflict: 4, invalid: 23, tooLate: 5,
      miscounted: [{ outcome: 'late', made: 172, counted: 171 }],
    }, // biome-ignore format: one thing
    online: {
      user: 'u1',
      item: 'i1',
      lastEvent: '2026-11-20T23:59:59.000Z',
      digest: 'd',
      features: [
        { feature: 'f', value: ['a'], atLastEvent: ['b'], since: 'time', status: 'PRESENT', eventTimestamp: 'T', data: 'simulated' },
        { feature: 'g', value: 3.5, atLastEvent: 3.5, since: 'same', status: 'NOT_FOUND', eventTimestamp: 'T', data: 'partly simulated' },
        { feature: 'h', value: 1, atLastEvent: 2, since: 'differs', status: 'PRESENT', eventTimestamp: 'T', data: 'real' },
      ], // biome-ignore format: a table
      statuses: { PRESENT: 1600 },
    },
    serving: { items: 100, features: 16, requests: 500, p50Ms: 1.23, p99Ms: 4.56 },
    training: {
      rows: 10_000, positive: 77, rowsDifferent: 88, byFeature: { f: 88 },
      files: { knownThen: '/x/a.parquet', eventTime: '/x/b.parquet' },
    }, // biome-ignore format: one thing
    parity: { checked: 15_000, different: 0, differences: [] },
    seconds: { up: 1.5, import: 20.25 },
    links: { 'Temporal UI': 'http://127.0.0.1:1' },
    stack: { name: 'demo', running: true, stop: 'npm run almanac -- down --name demo' },
  };
  const text = renderReport(report);
  for (const shown of [
    '463 whole weeks', '1,234,567', '4,321', 'simulated', '[a]', 'PRESENT 1,600', 'p50 1.23 ms', 'p99 4.56 ms', '10,000 rows',
    '77 of them', 'in 88 rows', 'f 88', '/x/a.parquet', '15,000 checked', '0 different', '21.8 in all', 'http://127.0.0.1:1',
    'down --name demo', '2,951', '171', '61.5 ms', '207.25 ms', 'of 301 events', '!! 2 of them', '!! 172 late were produced, 171 counted',
    '2026-11-20T23:59:59.000Z', '~ [a]', '[b]', '= NOT_FOUND', '!! 1',
  ]) // biome-ignore format: words
    expect(text).toContain(shown);
  for (const line of text.split('\n')) expect(line.length).toBeLessThanOrEqual(80);
});

describe('freshness', () => {
  const probe = { feature: 'v:f', user: 'u', eventMs: 100, producedMs: 1_000 };
  test('is the time from production until the answer is as new as the event', () => {
    const freshness = new Freshness();
    freshness.add(probe);
    freshness.answered('v:f', new Map([['u', 99]]), 1_010);
    freshness.answered('w:f', new Map([['u', 100]]), 1_020);
    freshness.answered('v:f', new Map([['other', 100]]), 1_030);
    expect(freshness.isDone).toBe(false);
    freshness.answered('v:f', new Map([['u', 100]]), 1_040);
    expect(freshness.isDone).toBe(true);
    expect(freshness.measured()).toEqual({ probes: 1, freshnessP50Ms: 40, freshnessP99Ms: 40, unread: 0 });
  });
  test('an event that is never readable is counted, not forgotten', () => {
    const freshness = new Freshness();
    freshness.add(probe);
    freshness.expire(probe.producedMs + LIMIT_MS);
    expect(freshness.isDone).toBe(false);
    freshness.expire(probe.producedMs + LIMIT_MS + 1);
    expect(freshness.measured()).toMatchObject({ probes: 1, unread: 1 });
  });
  test('asks each user once per feature, at most a hundred at a time', () => {
    const freshness = new Freshness();
    for (let i = 0; i < 150; i++) for (let n = 0; n < 2; n++) freshness.add({ ...probe, user: `u${i}` });
    freshness.add({ ...probe, feature: 'w:f' });
    const [v, w] = freshness.questions();
    expect(v!.users).toEqual(Array.from({ length: 100 }, (_, i) => `u${i}`));
    expect(w).toEqual({ feature: 'w:f', users: ['u'] });
  });
});

test('what was made and what was counted: only what differs, an outcome that is not counted too', () => {
  const made = { events: 9, archived: 5, late: 2, duplicate: 1, conflict: 1, invalid: 1, tooLate: 1 };
  const counted = { archived: 5, late: 2, duplicate: 0, conflict: 1, invalid: 1, held: 0 };
  expect(compareCounts(made, counted)).toEqual([
    { outcome: 'duplicate', made: 1, counted: 0 },
    { outcome: 'tooLate', made: 1, counted: 0 },
  ]);
});

describe('a value since the last event', () => {
  const feature = (name: string, type: string, op: string) => ({
    name,
    window: { type },
    aggregation: { op },
  });
  const definitions = {
    views: [
      { kind: 'sql', name: 'prices' },
      { kind: 'aggregation', name: 'daily', mode: { type: 'batch' }, features: [] },
      {
        kind: 'aggregation', name: 'live', mode: { type: 'streaming' },
        features: [feature('clicks', 'sliding', 'count'), feature('since', 'lifetime', 'timeSince'), feature('cart', 'lifetime', 'cart')],
      },
    ],
  } as unknown as Definitions; // biome-ignore format: views
  test.each([
    { of: 'live:cart', before: ['a'], now: ['a'], is: 'same' },
    { of: 'live:cart', before: ['a'], now: ['b'], is: 'differs' },
    { of: 'live:clicks', before: 2, now: 1, is: 'time' },
    { of: 'live:since', before: 2, now: 3, is: 'time' },
    { of: 'daily:orders', before: 2, now: 1, is: 'tick' },
    { of: 'prices:p', before: 2, now: 1, is: 'tick' },
  ])('$of from $before to $now: $is', ({ of, before, now, is }) =>
    expect(sinceLastEvent(definitions, of, { before, now })).toBe(is),
  );
  test('all values of all rows are in the digest', () => {
    const made = (n: number[], t: string[]) =>
      summarizeTable(new Table({ n: vectorFromArray(n, new Float64()), t: vectorFromArray(t, new Utf8()) }));
    const a = made([1, 2], ['x', 'y']);
    expect(Object.fromEntries(a.values)).toEqual({ n: 1, t: 'x' });
    expect(made([1, 2], ['x', 'y']).digest).toBe(a.digest);
    expect(made([1, 3], ['x', 'y']).digest).not.toBe(a.digest);
    expect(made([1, 2], ['x', 'z']).digest).not.toBe(a.digest);
  });
});
