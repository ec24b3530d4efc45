/** The shop's definitions: whole, and with the names that models and docs know. */
import { expect, test } from 'vitest';
import { checkDefinitions } from '../../core/check.js';
import definitions from '../../examples/shop/features.js';

test('they are whole', () => expect(checkDefinitions(definitions).problems).toEqual([]));

test('features by mode: daily, hourly and streaming', () => {
  const modes: Record<string, string[]> = {};
  for (const view of definitions.views) {
    const mode = view.kind === 'aggregation' ? view.mode.type : view.kind;
    const cadence =
      view.kind === 'aggregation' && view.mode.type === 'batch' ? view.mode.cadenceMs / 3_600_000 : '';
    const key = `${mode}${cadence === '' ? '' : ` ${cadence}h`}`;
    modes[key] = [...(modes[key] ?? []), ...view.features.map((feature) => feature.name)].sort();
  }
  expect(modes).toEqual({
    'batch 24h': [
      'user_account_age_days',
      'user_avg_order_value',
      'user_preferred_categories',
      'user_return_rate',
      'user_total_purchases',
    ],
    'batch 1h': ['item_avg_rating', 'item_days_since_listed', 'item_purchase_count_7d', 'item_total_reviews'],
    sql: ['item_price_percentile'],
    streaming: [
      'user_cart_items_current',
      'user_clicks_last_30min',
      'user_last_category_viewed',
      'user_search_queries_last_hour',
      'user_search_query_hashes_last_hour',
      'user_time_since_last_purchase',
    ],
    onDemand: ['user_price_to_order_value'],
  });
});

test('the recommendation service joins every stored feature, users first', () => {
  const service = definitions.services.find(({ name }) => name === 'recommendation');
  const stored = definitions.views
    .filter((view) => view.kind !== 'onDemand')
    .flatMap((view) => view.features.map((feature) => `${view.name}:${feature.name}`));
  expect([...(service?.features ?? [])].sort()).toEqual(stored.sort());
});

test('what is simulated says so', () => {
  for (const source of definitions.sources) expect(source.origin).toMatch(/simulated/i);
});
