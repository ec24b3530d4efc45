import { expect, test } from 'vitest';
import type { OnDemandView } from '../../core/definition.js';
import { compileOnDemand } from '../../core/on-demand.js';
import { MINUTE } from '../../core/time.js';

const feature = (name: string, expression: OnDemandView['features'][number]['expression']) => ({
  name,
  description: name,
  type: 'float64' as const,
  coldStart: null,
  nameException: null,
  expression,
});

const view: OnDemandView = {
  kind: 'onDemand',
  name: 'user_offer',
  description: 'an offer',
  owner: 'team',
  tags: [],
  request: { discount: 'float64', asked_at: 'timestamp' },
  inputs: ['user_orders:user_mean_order_90d', 'user_orders:user_total_cents_all_time'],
  features: [
    feature('price', {
      op: 'mul',
      args: [{ col: 'user_mean_order_90d' }, { op: 'sub', args: [{ lit: 1 }, { col: 'discount' }] }],
    }),
    feature('minutes', {
      op: 'div',
      args: [{ op: 'sub', args: [{ op: 'now', args: [] }, { col: 'asked_at' }] }, { lit: MINUTE }],
    }),
    feature('total', {
      op: 'coalesce',
      args: [{ op: 'mul', args: [{ col: 'user_total_cents_all_time' }, { lit: 1 }] }, { lit: -1 }],
    }),
  ],
};
const compiled = compileOnDemand(view, (_, name) => (name === 'user_mean_order_90d' ? 'float64' : 'int64'));
const present = (value: number | bigint | null) => ({ value, status: 'PRESENT' as const });
const at = Date.UTC(2026, 2, 1);

test('the order of its arguments is told, fields by name', () => {
  expect(compiled.request.map(({ name }) => name)).toEqual(['asked_at', 'discount']);
  expect(compiled.inputs).toEqual([
    { view: 'user_orders', feature: 'user_mean_order_90d' },
    { view: 'user_orders', feature: 'user_total_cents_all_time' },
  ]);
});

test.each([
  {
    why: 'fields, features and the clock',
    stored: [present(80), present(5)],
    discount: 0.25,
    values: [60, 30, 5],
  },
  { why: 'a null goes through', stored: [present(null), present(5)], discount: 0.25, values: [null, 30, 5] },
  { why: 'a null field too', stored: [present(80), present(5)], discount: null, values: [null, 30, 5] },
  {
    why: 'a cold start counts as the value it is',
    stored: [{ value: 10, status: 'NOT_FOUND' as const }, present(5)],
    discount: 0.5,
    values: [5, 30, 5],
  },
  {
    why: 'a whole number beyond 2^53 as it is',
    stored: [present(80), present(2n ** 60n)],
    discount: 0,
    values: [80, 30, 2n ** 60n],
  },
])('$why', ({ stored, discount, values }) => {
  const judged = compiled.evaluate([at - 30 * MINUTE, discount], stored, at);
  expect(judged.values).toEqual(values);
  expect(judged.statuses).toEqual(values.map((value) => (value === null ? 'NULL_VALUE' : 'PRESENT')));
  expect(judged.eventTimestamp).toBeNull();
});

test('an input that failed fails the view, by name', () => {
  const judged = compiled.evaluate([at, 0], [present(1), { value: null, status: 'ERROR' }], at);
  expect(judged.statuses).toEqual(['ERROR', 'ERROR', 'ERROR']);
  expect(judged.values).toEqual([null, null, null]);
  expect(judged.reasons[0]).toContain('user_orders:user_total_cents_all_time');
});
