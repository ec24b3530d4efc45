/** A small shop for the serving tests: its definitions, its plan as the registry publishes it, and its records. */
import type { Redis } from 'ioredis';
import {
  aggregationView,
  batch,
  bucketed,
  count,
  define,
  entity,
  file,
  last,
  lifetime,
  mean,
  onDemandView,
  request,
  service,
  sliding,
  source,
  sqlView,
  streaming,
  sum,
  vector,
} from '../../core/builder.js';
import { encodeKey, onlineKey } from '../../core/codec/key.js';
import { compileView } from '../../core/compile.js';
import type { AggregationView, Definitions, SqlView } from '../../core/definition.js';
import { columnNames, type Event, type FeatureValue, type Value } from '../../core/event.js';
import { encodeRecord, encodeSqlRecord } from '../../core/record.js';
import {
  generationKey,
  planKey,
  progressKey,
  type ServedView,
  type ServingPlan,
} from '../../core/serving-plan.js';
import { createState, fold } from '../../core/state.js';
import { HOUR, MINUTE } from '../../core/time.js';

/** The moment of every request. */
export const NOW = Date.UTC(2026, 2, 1, 12, 30);
/** The newest published tick of the hourly views. */
export const TICK = NOW - 30 * MINUTE;

const said = { owner: 'shop', description: 'for the serving tests' };
const user = entity('user', { ...said, keys: { user_id: 'int64' } });
const item = entity('item', { ...said, keys: { item_id: 'string' } });
const userItem = entity('user_item', { ...said, keys: { user_id: 'int64', item_id: 'string' } });

const clicks = source('clicks', {
  ...said,
  input: file('csv'),
  columns: {
    user_id: 'int64',
    item_id: 'string',
    cents: 'int64?',
    dwell: 'float64?',
    ref: 'int64?',
    taste: vector(2, { nullable: true }),
    clicked_at: 'timestamp',
  },
  eventTime: 'clicked_at',
});

const userActivity = aggregationView('user_activity', {
  ...said,
  entity: user,
  source: clicks,
  mode: streaming(),
  ttl: '7d',
  features: {
    user_clicks_last_30min: { ...said, aggregation: count(), window: sliding('30min') },
    user_last_item_viewed: { ...said, aggregation: last(clicks.col('item_id')), window: lifetime() },
    user_mean_dwell_7d: { ...said, aggregation: mean(clicks.col('dwell')), window: sliding('7d') },
    user_total_cents: {
      ...said,
      aggregation: sum(clicks.col('cents')),
      window: lifetime(),
      nameException: 'short for the tests',
    },
  },
});
const userMaturity = aggregationView('user_maturity', {
  ...said,
  entity: user,
  source: clicks,
  mode: streaming(),
  minEvents: 3,
  features: {
    user_clicks_7d: { ...said, aggregation: count(), window: sliding('7d'), coldStart: -1 },
    user_cents_by_item_7d: {
      ...said,
      aggregation: bucketed(clicks.col('item_id'), sum(clicks.col('cents')), { limit: 5 }),
      window: sliding('7d'),
    },
    user_dwell_by_item_7d: {
      ...said,
      aggregation: bucketed(clicks.col('item_id'), mean(clicks.col('dwell')), { limit: 5 }),
      window: sliding('7d'),
      coldStart: { none: 0 },
    },
  },
});
const itemPopularity = aggregationView('item_popularity', {
  ...said,
  entity: item,
  source: clicks,
  mode: batch('1h'),
  features: { item_clicks_7d: { ...said, aggregation: count(), window: sliding('7d') } },
});
const pairActivity = aggregationView('user_item_activity', {
  ...said,
  entity: userItem,
  source: clicks,
  mode: streaming(),
  features: { user_item_clicks_7d: { ...said, aggregation: count(), window: sliding('7d') } },
});
const itemPrice = sqlView('item_price', {
  ...said,
  entity: item,
  connection: 'env:SHOP_URL',
  query:
    'select item_id, event_timestamp, item_price, item_tags, item_listed_at from items where :as_of > now()',
  reads: { items: 'append' },
  every: '1h',
  features: {
    item_price: { ...said, type: 'float64', coldStart: 1 },
    item_tags: { ...said, type: 'list<string>', coldStart: [] },
    item_listed_at: { ...said, type: 'timestamp' },
  },
});
const userTaste = aggregationView('user_taste', {
  ...said,
  entity: user,
  source: clicks,
  mode: streaming(),
  features: {
    user_taste: { ...said, aggregation: mean(clicks.col('taste')), window: lifetime() },
    user_last_reference: { ...said, aggregation: last(clicks.col('ref')), window: lifetime() },
    user_references: {
      ...said,
      aggregation: sum(clicks.col('ref')),
      window: lifetime(),
      nameException: 'short for the tests',
    },
  },
});
const fields = request({ discount: 'float64', asked_at: 'timestamp' });
const offer = onDemandView('item_offer', {
  ...said,
  request: fields,
  features: {
    item_discounted_price: {
      ...said,
      expression: itemPrice.feature('item_price').mul(fields.col('discount')),
    },
    item_offer_clicks: {
      ...said,
      expression: userActivity.feature('user_clicks_last_30min').mul(1),
    },
  },
});

export const shop: Definitions = define([
  userActivity,
  userMaturity,
  itemPopularity,
  pairActivity,
  itemPrice,
  userTaste,
  offer,
  service('recommendation', { ...said, features: [userActivity, itemPopularity, itemPrice] }),
  service('offers', { ...said, features: [offer, itemPopularity] }),
]);

/** The plan of the shop: version 1 of every view. */
export function shopPlan(revision = 1, generation = 'g1', services = shop.services): ServingPlan {
  const entityOf = (name: string) => shop.entities.find((candidate) => candidate.name === name)!;
  const ids = shop.views.map((_, index) => 11 + index);
  return {
    layout: 2,
    revision,
    modelChanges: 0,
    generation,
    views: shop.views.flatMap((view, index): ServedView[] => {
      if (view.kind === 'onDemand') return [];
      const hash = `hash of ${view.name}`;
      const common = { versionId: ids[index]!, version: 1, hash, entity: entityOf(view.entity) };
      if (view.kind === 'sql') return [{ ...common, kind: 'sql', view }];
      return [{ ...common, kind: 'aggregation', view, source: shop.sources[0]! }];
    }),
    onDemand: shop.views.flatMap((view, index) =>
      view.kind === 'onDemand'
        ? [{ versionId: ids[index]!, version: 1, hash: `hash of ${view.name}`, view }]
        : [],
    ),
    live: ids,
    services,
    models: [],
    others: [],
    unread: [],
  };
}

export const publish = async (redis: Redis, environment: string, plan: ServingPlan): Promise<void> => {
  const ticks = plan.views.flatMap((served) => [String(served.versionId), String(TICK)]);
  await redis.set(planKey(environment), JSON.stringify(plan));
  await redis.hset(progressKey(environment), ...ticks);
  await redis.set(generationKey(environment), plan.generation);
};

export interface Click {
  user_id: number | bigint;
  item_id: string;
  cents?: number;
  dwell?: number;
  ref?: number | bigint;
  taste?: number[];
  /** Minutes before NOW. */
  ago: number;
}

/** Writes the records that these clicks make, in every view, as backfill would. */
export async function writeClicks(
  redis: Redis,
  environment: string,
  plan: ServingPlan,
  clicksOf: Click[],
): Promise<void> {
  const names = columnNames(shop.sources[0]!);
  const events = clicksOf.map((click, index): Event => {
    const at = NOW - click.ago * MINUTE;
    const row: Record<string, Value> = { ...click, clicked_at: at };
    return {
      timestamp: at,
      arrivedAt: at,
      sequence: 5,
      order: 0,
      id: String(index),
      values: names.map((name) => row[name] ?? null),
    };
  });
  for (const served of plan.views) {
    if (served.kind !== 'aggregation') continue;
    const compiled = compileView(served.view, served.source);
    const batchView = served.view.mode.type === 'batch';
    const states = new Map<string, ReturnType<typeof createState>>();
    for (const event of events) {
      if (batchView && event.timestamp > TICK) continue;
      const key = redisKey(environment, served.view, compiled.keyOf(event));
      const state = states.get(key) ?? createState(compiled);
      states.set(key, state);
      fold(compiled, state, event);
    }
    for (const [key, state] of states) {
      const options = batchView ? { tick: { tick: TICK, committedAt: TICK + 1_000 } } : { maxBytes: 512 };
      await redis.hset(key, served.versionId, Buffer.from(encodeRecord(compiled, state, options)));
    }
  }
}

export async function writePrice(
  redis: Redis,
  environment: string,
  plan: ServingPlan,
  itemId: string,
  values: FeatureValue[],
): Promise<void> {
  const served = plan.views.find((candidate) => candidate.kind === 'sql')!;
  const view = served.view as SqlView;
  const record = encodeSqlRecord(view, TICK - HOUR, values, { tick: TICK, committedAt: TICK + 1_000 });
  await redis.hset(redisKey(environment, view, [itemId]), served.versionId, Buffer.from(record));
}

export function redisKey(environment: string, view: AggregationView | SqlView, key: Value[]): string {
  const of = shop.entities.find((candidate) => candidate.name === view.entity)!;
  return onlineKey(environment, of.name, encodeKey(of, key));
}
