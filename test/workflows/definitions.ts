/** Small definitions for tests of imports and applies. */
import type { Definitions, Source } from '../../core/definition.js';
import { DAY, HOUR, SECOND } from '../../core/time.js';

export const orders: Source = {
  name: 'orders',
  description: 'orders of a made-up shop',
  owner: 'shop',
  tags: [],
  origin: 'made up for tests',
  kind: 'append',
  input: { type: 'file', format: 'csv' },
  columns: {
    order_id: { type: 'string', nullable: false },
    user_id: { type: 'int64', nullable: true },
    amount: { type: 'float64', nullable: true },
    express: { type: 'bool', nullable: true },
    note: { type: 'string', nullable: true },
    created_at: { type: 'timestamp', nullable: false },
    loaded_at: { type: 'timestamp', nullable: true },
  },
  eventTime: 'created_at',
  arrival: 'loaded_at',
  id: 'order_id',
  sequence: null,
  arrivalDelayMs: 0,
  allowedLatenessMs: 0,
  maxFutureMs: 5 * SECOND,
  dedupeMs: DAY,
  retentionMs: null,
};

/** A view per mode over one source, and the entity they are of. */
export function definitionsOf(
  source: Source,
  views: Definitions['views'] = [ordersView(source.name)],
): Definitions {
  return {
    entities: [
      {
        name: 'user',
        description: 'who buys',
        owner: 'shop',
        tags: [],
        keys: [{ name: 'user_id', type: 'int64' }],
      },
    ],
    sources: [source],
    views,
    services: servicesOf(views),
  };
}

/** A reader of each view: what nobody reads is not kept online. */
export function servicesOf(views: Definitions['views']): Definitions['services'] {
  return views.map(({ name, features }) => ({
    name: `reads_${name}`,
    description: `reads ${name}`,
    owner: 'shop',
    tags: [],
    features: features.map((feature) => `${name}:${feature.name}`),
  }));
}

export function ordersView(source: string, cadenceMs: number = HOUR): Definitions['views'][number] {
  return {
    kind: 'aggregation',
    name: 'user_orders',
    description: 'orders of a user',
    owner: 'shop',
    tags: [],
    entity: 'user',
    ttlMs: null,
    freshness: { tier: 'hourly', expectedEveryMs: HOUR },
    source,
    key: ['user_id'],
    where: null,
    mode: { type: 'batch', cadenceMs, settleMs: 0 },
    minAgeMs: 0,
    minEvents: 0,
    features: [
      {
        name: 'user_order_count_7d',
        description: 'orders in a week',
        type: 'int64',
        coldStart: 0,
        nameException: null,
        where: null,
        window: { type: 'sliding', ms: 7 * DAY, hopMs: HOUR },
        aggregation: { op: 'count' },
      },
    ],
  };
}
