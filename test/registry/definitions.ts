/** A small feature repository, as plain JSON: one of each kind of thing. Each call gives a new one, to be changed by the test. */
import type { AggregationView, Definitions, OnDemandView, SqlView } from '../../core/definition.js';

const described = { description: 'for tests', owner: 'data@shop.example', tags: [] };
const DAY = 86_400_000;

export const entity = (
  name = 'user',
  keys = [{ name: `${name}_id`, type: 'int64' as const }],
): Definitions['entities'][number] => ({
  name,
  ...described,
  keys,
});

export const source = (name = 'orders'): Definitions['sources'][number] => ({
  name,
  ...described,
  origin: 'made up for tests',
  kind: 'append',
  input: { type: 'file', format: 'csv' },
  columns: {
    order_id: { type: 'string', nullable: false },
    user_id: { type: 'int64', nullable: false },
    ordered_at: { type: 'timestamp', nullable: false },
    known_at: { type: 'timestamp', nullable: false },
    amount_cents: { type: 'int64', nullable: true },
    shop: { type: 'string', nullable: true },
  },
  eventTime: 'ordered_at',
  arrival: 'known_at',
  id: 'order_id',
  sequence: null,
  arrivalDelayMs: 0,
  allowedLatenessMs: DAY,
  maxFutureMs: 5_000,
  dedupeMs: DAY,
  retentionMs: null,
});

export const aggregationView = (name = 'user_orders', from = 'orders'): AggregationView => ({
  kind: 'aggregation',
  name,
  ...described,
  entity: 'user',
  ttlMs: null,
  freshness: { tier: 'daily', expectedEveryMs: DAY },
  source: from,
  key: ['user_id'],
  where: null,
  mode: { type: 'batch', cadenceMs: DAY, settleMs: 0 },
  minAgeMs: 0,
  minEvents: 0,
  features: [
    {
      name: `user_${name}_count_7d`,
      description: 'orders',
      type: 'int64',
      coldStart: 0,
      nameException: null,
      where: null,
      window: { type: 'sliding', ms: 7 * DAY, hopMs: 3_600_000 },
      aggregation: { op: 'count' },
    },
    {
      name: `user_${name}_amount_cents_all_time`,
      description: 'spent',
      type: 'int64',
      coldStart: 0,
      nameException: null,
      where: { op: 'gt', args: [{ col: 'amount_cents' }, { lit: 0 }] },
      window: { type: 'lifetime' },
      aggregation: { op: 'sum', value: { col: 'amount_cents' } },
    },
  ],
});

export const sqlView = (name = 'user_rank'): SqlView => ({
  kind: 'sql',
  name,
  ...described,
  entity: 'user',
  ttlMs: null,
  freshness: { tier: 'daily', expectedEveryMs: DAY },
  connection: 'env:SHOP_DATABASE_URL',
  query:
    'select user_id, at as event_timestamp, percent_rank as user_spend_rank from ranks where at <= :as_of',
  reads: [{ table: 'ranks', kind: 'append' }],
  cadenceMs: DAY,
  settleMs: 0,
  features: [
    { name: 'user_spend_rank', description: 'rank', type: 'float64', coldStart: null, nameException: null },
  ],
});

export const onDemandView = (name = 'user_now', reads = 'user_orders'): OnDemandView => ({
  kind: 'onDemand',
  name,
  ...described,
  request: { cart_cents: 'int64' },
  inputs: [`${reads}:user_${reads}_count_7d`],
  features: [
    {
      name: 'user_has_ordered',
      description: 'this week, and is about to',
      type: 'bool',
      coldStart: false,
      nameException: null,
      expression: {
        op: 'and',
        args: [
          { op: 'gt', args: [{ col: `user_${reads}_count_7d` }, { lit: 0 }] },
          { op: 'gt', args: [{ col: 'cart_cents' }, { lit: 0 }] },
        ],
      },
    },
  ],
});

export const definitions = (): Definitions => ({
  entities: [entity()],
  sources: [source()],
  views: [aggregationView(), onDemandView(), sqlView()],
  services: [
    {
      name: 'checkout',
      ...described,
      features: ['user_orders:user_user_orders_count_7d', 'user_now:user_has_ordered'],
    },
  ],
});

/** One of each kind, changed by `change`. */
export function changed(
  change: (definitions: Definitions) => void,
  from: Definitions = definitions(),
): Definitions {
  const copy = structuredClone(from);
  change(copy);
  return copy;
}
