import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import type { AggregationView, Definitions, Expression } from '../../core/definition.js';
import { describeView, type Edge, lineageOf, lineageOfService } from '../../core/describe.js';
import { HOUR } from '../../core/time.js';
import { answer } from '../../oracle/oracle.js';
import { definitions } from '../registry/definitions.js';
import { always } from './always.js';
import { history, moments, source, view } from './generate.js';

const described = (all: Definitions, name: string) =>
  describeView(all.views.find((each) => each.name === name)!, all);
const isAbout = (feature: string) => expect.objectContaining({ feature });

test('a feature of an aggregation view', () => {
  const all = { ...definitions(), owners: [{ name: 'data@shop.example', contact: '#data' }] };
  expect(described(all, 'user_orders')[1]).toEqual({
    view: 'user_orders',
    feature: 'user_user_orders_amount_cents_all_time',
    description: 'spent',
    owner: 'data@shop.example',
    contact: '#data',
    tags: [],
    entities: ['user'],
    keys: ['user_id'],
    sources: ['orders'],
    reads: ['orders.user_id', 'orders.amount_cents'],
    transformation: 'sum of amount_cents of orders where amount_cents > 0, of all time',
    exact:
      '{"aggregation":{"op":"sum","value":{"col":"amount_cents"}},"source":"orders","viewWhere":null,' +
      '"where":{"args":[{"col":"amount_cents"},{"lit":0}],"op":"gt"},"window":{"type":"lifetime"}}',
    output: { type: 'int64', nullable: true, min: null, max: null, allowed: null },
    expectations: [],
    computed: 'every 1 day',
    freshness: { tier: 'daily', expectedEveryMs: 24 * HOUR },
    ttlMs: null,
    coldStart: 0,
  });
});

test('features of sql and on-demand views', () => {
  const all = definitions();
  expect(described(all, 'user_rank')[0]).toMatchObject({
    contact: 'data@shop.example',
    sources: ['ranks'],
    reads: ['ranks'],
    transformation: 'column user_spend_rank of a query over ranks',
  });
  expect(described(all, 'user_now')[0]).toMatchObject({
    entities: ['user'],
    keys: ['user_id'],
    sources: ['orders'],
    reads: ['user_orders:user_user_orders_count_7d', 'request.cart_cents'],
    transformation: 'user_user_orders_count_7d > 0 and cart_cents > 0',
    computed: 'when it is asked for',
    freshness: null,
    output: { type: 'bool', nullable: true, min: null, max: null, allowed: null },
  });
});

describe('what values may be', () => {
  const output = (change: (view: AggregationView) => void) => {
    const all = definitions();
    change(all.views[0] as AggregationView);
    return described(all, 'user_orders')[0]!.output;
  };
  const feature = 'user_user_orders_count_7d';

  test('is narrowed by what the author expects, and holds the cold start', () => {
    expect(output(() => {})).toMatchObject({ nullable: false, min: 0, max: null, allowed: null });
    const expected = output((one) => {
      one.features[0]!.coldStart = -1;
      one.expectations = [
        { type: 'range', feature, min: 1, max: 9, severity: 'block' },
        { type: 'range', feature, min: null, max: 8, severity: 'warn' },
        {
          type: 'range',
          feature: 'user_user_orders_amount_cents_all_time',
          min: 0,
          max: 1,
          severity: 'warn',
        },
        { type: 'allowed', feature, values: [1, 2, 3], severity: 'warn' },
        { type: 'allowed', feature, values: [2, 3, 4], severity: 'warn' },
      ];
    });
    expect(expected).toMatchObject({ min: -1, max: 8, allowed: [2, 3, -1] });
    expect(output((one) => (one.features[0]!.coldStart = null))).toMatchObject({ nullable: true });
  });

  test('of an on-demand feature goes through what it reads', () => {
    const nullable = (expression: Expression): boolean => {
      const all = definitions();
      const now = all.views[1]!;
      if (now.kind === 'onDemand') now.features[0]!.expression = expression;
      return described(all, 'user_now')[0]!.output.nullable;
    };
    const count: Expression = { col: feature };
    expect(nullable({ op: 'gt', args: [count, { lit: 0 }] })).toBe(false);
    expect(nullable({ op: 'gt', args: [{ col: 'cart_cents' }, { lit: 0 }] })).toBe(true);
    expect(nullable({ op: 'isNull', args: [{ col: 'cart_cents' }] })).toBe(false);
    expect(nullable({ op: 'coalesce', args: [{ lit: null }, count] })).toBe(false);
    expect(nullable({ op: 'gt', args: [{ op: 'add', args: [count, count] }, { lit: 0 }] })).toBe(true);
  });

  test('is true of every value', () => {
    const cases = fc.record({ view, history, moments });
    always(cases, ({ view: one, history: { source: of, events }, moments: times }) => {
      const streaming: AggregationView = { ...one, mode: { type: 'streaming', rowsEveryMs: HOUR } };
      const all = { entities: [], sources: [of], views: [streaming], services: [] };
      const outputs = describeView(streaming, all).map((each) => [each.feature, each.output] as const);
      for (const at of times) {
        const { values } = answer(streaming, of, events, {
          type: 'training',
          at,
          mode: 'event-time',
          strict: false,
          published: [],
        });
        for (const [name, { nullable, min, max }] of outputs) {
          const value = values[name] ?? null;
          if (value === null) expect(nullable).toBe(true);
          if (typeof value !== 'number' && typeof value !== 'bigint') continue;
          expect(min === null || value >= min).toBe(true);
          expect(max === null || value <= max).toBe(true);
        }
      }
    });
  });
});

const said = (edges: readonly Edge[]): string[] =>
  edges.map(({ from, to }) => `${from.kind} ${from.name} → ${to.kind} ${to.name}`).sort();

test('what depends on what', () => {
  const all = definitions();
  const [orders, now, rank] = all.views;
  expect(said(lineageOf(orders!, all))).toEqual([
    'column orders.amount_cents → feature user_orders:user_user_orders_amount_cents_all_time',
    'column orders.known_at → view user_orders',
    'column orders.order_id → view user_orders',
    'column orders.ordered_at → view user_orders',
    'column orders.user_id → view user_orders',
    'entity user → view user_orders',
    ...['amount_cents', 'known_at', 'order_id', 'ordered_at', 'user_id'].map(
      (column) => `source orders → column orders.${column}`,
    ),
    'source orders → view user_orders',
    'view user_orders → feature user_orders:user_user_orders_amount_cents_all_time',
    'view user_orders → feature user_orders:user_user_orders_count_7d',
  ]);
  expect(said(lineageOf(now!, all))).toEqual([
    'feature user_orders:user_user_orders_count_7d → feature user_now:user_has_ordered',
    'request request.cart_cents → feature user_now:user_has_ordered',
    'view user_now → feature user_now:user_has_ordered',
  ]);
  expect(said(lineageOf(rank!, all))).toEqual([
    'entity user → view user_rank',
    'table ranks → view user_rank',
    'view user_rank → feature user_rank:user_spend_rank',
  ]);
  expect(said(lineageOfService(all.services[0]!))).toEqual([
    'feature user_now:user_has_ordered → service checkout',
    'feature user_orders:user_user_orders_count_7d → service checkout',
  ]);
});

test('where data comes in', () => {
  const all = definitions();
  const came = (change: Partial<Definitions['sources'][number]>): string[] =>
    said(lineageOf(all.views[0]!, { ...all, sources: [{ ...all.sources[0]!, ...change }] })).filter((edge) =>
      edge.includes('→ source'),
    );
  expect(came({})).toEqual([]);
  expect(came({ input: { type: 'topic', topic: 'orders.v1' } })).toEqual(['topic orders.v1 → source orders']);
  expect(
    came({
      input: { type: 'table', connection: 'env:SHOP', table: 'shop.orders' },
      stream: { topic: 'orders.v1', cutAtMs: 0 },
    }),
  ).toEqual(['table shop.orders → source orders', 'topic orders.v1 → source orders']);
});

test('a feature over sessions depends on what its sums are over', () => {
  const one: AggregationView = {
    ...(definitions().views[0] as AggregationView),
    source: 'events',
    sessions: {
      gapMs: HOUR,
      where: { op: 'isNull', args: [{ col: 'item' }] },
      sums: [
        { name: 'amounts', value: { col: 'amount' } },
        { name: 'scores', value: { col: 'score' } },
      ],
    },
    features: [
      { ...(definitions().views[0] as AggregationView).features[0]!, name: 'spent', aggregation: { op: 'sum', value: { col: 'amounts' } } }, // biome-ignore format: short
      { ...(definitions().views[0] as AggregationView).features[0]!, name: 'ended' },
    ],
  };
  const all = { ...definitions(), sources: [source] };
  expect(describeView(one, all).map(({ reads }) => reads)).toEqual([
    ['events.user_id', 'events.item', 'events.amount'],
    ['events.user_id', 'events.item'],
  ]);
  expect(describeView(one, all)).toEqual([isAbout('spent'), isAbout('ended')]);
  expect(said(lineageOf(one, all))).toContain('column events.amount → feature user_orders:spent');
});
