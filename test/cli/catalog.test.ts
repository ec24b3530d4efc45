/** What the catalogue's commands print of what a registry answers. */
import { afterEach, expect, test } from 'vitest';
import { runProgram } from '../../cli/program.js';
import { describeView, type Edge, type LineageKind } from '../../core/describe.js';
import { definitions } from '../registry/definitions.js';
import { problem, type Stub, startStub } from './stub.js';

let stub: Stub | null = null;
afterEach(async () => {
  await stub?.close();
  stub = null;
});

const all = definitions();
all.owners = [{ name: 'data@shop.example', contact: '#data-help' }];
const view = all.views[0]!;
if (view.kind === 'aggregation')
  view.expectations = [
    { type: 'range', feature: 'user_user_orders_count_7d', min: 0, max: 500, severity: 'block' },
  ];
const features = describeView(view, all).map((each) => ({
  ...each,
  exact: JSON.parse(each.exact) as unknown,
  version: 2,
  kind: 'aggregation',
  state: 'live',
  progress: {
    lastTick: null,
    lastEvent: '2026-11-01T00:00:00.000Z',
    lastWrite: null,
    watermark: null,
  },
  models: ['ranking'],
  lastRead: '2026-11-02T10:20:00.000Z',
  statistics:
    each.output.nullable ? null : {
      what: 'tick', reference: '2026-11-02T00:00:00.000Z', at: '2026-11-02T00:00:03.000Z', count: 12_345, nulls: 345,
      min: 0, max: 501, mean: 3.25, deviation: 2.123456, p1: 0, p5: 0, p25: 1, p50: 2, p75: 5, p95: 9, p99: 90,
      distinct: 60, top: [{ value: 2, count: 9000 }, { value: 1, count: 1200 }], topMissed: 0,
    },
  expectationResults: each.expectations.map(() => ({
    expectation: 'range of user_user_orders_count_7d', feature: each.feature, severity: 'block', what: 'tick',
    reference: '2026-11-02T00:00:00.000Z', at: '2026-11-02T00:00:02.000Z', passed: false, observed: 1, allowed: 0,
    said: '1 of 12000 values lie outside of 0 to 500',
  })),
})); // biome-ignore format: rows
const old = (models: string[]): typeof features =>
  features.map((each) => ({ ...each, version: 1, state: 'deprecated', models }));
const edge = (from: [LineageKind, string], to: [LineageKind, string]): Edge & { versions: number[] } => ({
  from: { kind: from[0], name: from[1] },
  to: { kind: to[0], name: to[1] },
  versions: [2],
});
const COUNT: [LineageKind, string] = ['feature', 'user_orders:user_user_orders_count_7d'];
const up = [
  edge(['source', 'orders'], ['column', 'orders.user_id']),
  edge(['column', 'orders.user_id'], ['view', 'user_orders']),
  edge(['source', 'orders'], ['view', 'user_orders']),
  edge(['entity', 'user'], ['view', 'user_orders']),
  edge(['topic', 'shop.orders'], ['source', 'orders']),
  edge(['view', 'user_orders'], COUNT),
];
const down = [edge(COUNT, ['service', 'checkout']), edge(['service', 'checkout'], ['trainingSet', 't1'])];

async function run(...argv: string[]): Promise<{ code: number; stdout: string; stderr: string }> {
  stub ??= await startStub((asked, _body, _request, response) => {
    if (asked.includes('/v1/lineage/')) return { edges: asked.endsWith('up') ? up : down };
    if (asked === 'GET /v1/features/user_orders') return { features };
    if (asked === 'GET /v1/features/user_orders%401') return { features: old(['ranking']) };
    if (asked === 'GET /v1/features/user_orders%400') return { features: old([]) };
    if (asked === 'GET /v1/features/user_orders%402/user_user_orders_count_7d') return features[0];
    if (asked.startsWith('GET /v1/audit'))
      return {
        items: [
          {
            id: 7, at: '2026-11-01T00:00:00.000Z', who: 'ann', action: 'version', kind: 'view', name: 'user_orders',
            before: {}, after: {}, planHash: 'h', workflow: 'apply/3f2a9c01d4e5b6a7',
          },
        ],
        next: null,
      }; // biome-ignore format: a row
    return problem(response, 404, 'FS_NOT_FOUND');
  });
  const said = { code: 0, stdout: '', stderr: '' };
  const write = (name: 'stdout' | 'stderr') => ({ write: (text: string) => (said[name] += text) });
  said.code = await runProgram(argv, {
    env: { ALMANAC_REGISTRY_URL: stub.url },
    terminal: { stdout: write('stdout'), stderr: write('stderr') },
    isInteractive: false,
  });
  return said;
}

test('show <view>', async () => {
  const { stdout } = await run('show', 'user_orders');
  expect(stdout.slice(0, stdout.indexOf('\nmade of'))).toBe(`user_orders v2, live
  owner      data@shop.example, #data-help
  entity     user (user_id)
  computed   every 1 day
  freshness  daily, expected every 1d
  last event 2026-11-01T00:00:00.000Z
  models     ranking
  last read  2026-11-02T10:20:00.000Z

  user_orders:user_user_orders_count_7d
    is         orders
    made by    count of orders, over the last 7 days, hop 1 h
    reads      orders.user_id
    value      int64, from 0, to 500, never null
    cold start 0
    counted    12,345 values of tick 2026-11-02T00:00:00.000Z, 345 null, 0 to
        501, median 2, mean 3.25, deviation 2.123, 60 different
    most often 2 75 %, 1 10 %
    must be    range {feature: user_user_orders_count_7d, min: 0, max: 500};
        failed 2026-11-02T00:00:02.000Z: 1 of 12000 values lie outside of 0 to
        500

  user_orders:user_user_orders_amount_cents_all_time
    is         spent
    made by    sum of amount_cents of orders where amount_cents > 0, of all time
    reads      orders.user_id, orders.amount_cents
    value      int64, may be null
    cold start 0
`);
});

test('show <view>:<feature>, with lineage both ways', async () => {
  const { stdout } = await run('show', 'user_orders@2:user_user_orders_count_7d');
  expect(stdout).toMatch(/^user_orders:user_user_orders_count_7d v2, live\n {2}owner/);
  expect(stdout.slice(stdout.indexOf('\nmade of'))).toBe(`
made of
  view user_orders
    column orders.user_id
      source orders
        topic shop.orders
    source orders …
    entity user

makes
  service checkout
    trainingSet t1
`);
});

test('an old version has lineage as long as a model reads it', async () => {
  expect((await run('show', 'user_orders@1')).stdout).toContain('\nmade of\n');
  expect((await run('show', 'user_orders@0')).stdout).not.toContain('\nmade of\n');
});

test('lineage <kind> <name>; --json gives every step', async () => {
  const { stdout } = await run('lineage', ...COUNT);
  expect(stdout).toMatch(/^feature user_orders:user_user_orders_count_7d\n\nmade of\n {2}view user_orders\n/);
  expect(stub!.asked[0]).toBe('GET /v1/lineage/feature/user_orders%3Auser_user_orders_count_7d?direction=up');
  const json = await run('lineage', ...COUNT, '--json');
  expect(JSON.parse(json.stdout)).toEqual({ kind: COUNT[0], name: COUNT[1], up, down });
});

test('audit', async () => {
  const { stdout } = await run('audit', '--kind', 'view', '--of', 'user_orders');
  expect(stub!.asked).toEqual(['GET /v1/audit?limit=20&kind=view&name=user_orders']);
  expect(stdout.split('\n')[1]).toMatch(
    /^2026-11-01T00:00:00.000Z {2}ann {2}version {2}view user_orders {2}apply\/3f2a9/,
  );
});

test('what is not there: exit 1 and the registry’s reason; lines of 80 columns', async () => {
  const { code, stderr } = await run('show', 'user_order');
  expect(code).toBe(1);
  expect(stderr).toContain('FS_NOT_FOUND');
  for (const argv of [['show', 'user_orders'], ['lineage', ...COUNT], ['audit']])
    for (const line of (await run(...argv)).stdout.split('\n')) expect(line.length).toBeLessThanOrEqual(80);
});
