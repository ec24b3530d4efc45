/**
 * The shop's features. Purchases, products and prices are real (a grocery chain's, 2017); everything else is simulated from
 * the purchases by simulate.ts, and says so in its origin.
 */
import {
  aggregationView,
  batch,
  cart,
  count,
  define,
  distinct,
  entity,
  expect,
  file,
  last,
  lastN,
  lifetime,
  mean,
  onDemandView,
  ratio,
  request,
  service,
  sliding,
  source,
  sqlView,
  streaming,
  sum,
  table,
  timeSince,
  topK,
} from 'almanac';

const owner = 'shop';
const database = 'env:SHOP_DATABASE_URL';
const simulated = 'Simulated from the real purchases by examples/shop/simulate.ts.';
// From when on the shop tells by its topics what happens, and no longer by its files. Definitions are evaluated where they are
// applied, so whoever moves the files' times sets this to a moment of theirs: the demo, an hour before its end. Alone it is the
// end of the data, and the files are whole.
const cutAt = process.env.SHOP_CUT_AT ?? '2018-01-01T04:00:00Z';

// ---------------------------------------------------------------- what features are about

export const user = entity('user', {
  description: 'A household that buys.',
  owner,
  keys: { user_id: 'string' },
});

export const item = entity('item', {
  description: 'A product on sale.',
  owner,
  keys: { item_id: 'string' },
});

// ---------------------------------------------------------------- where events come from

export const orders = source('orders', {
  description: 'Lines of orders, and lines returned; a returned line carries the id of its order.',
  owner,
  origin: 'Purchases: Complete Journey study, 84.51° (CC0). Returns and arrival times: simulated.',
  input: file('csv'),
  stream: {
    topic: 'orders',
    cutAt,
    columns: {
      event_id: 'string',
      event_type: 'string',
      user_id: 'string',
      item_id: 'string',
      order_id: 'string',
      category: 'string?',
      quantity: 'int64',
      sales_cents: 'int64',
      event_time: 'timestamp',
      arrived_time: 'timestamp',
    },
  },
  columns: {
    event_id: 'string',
    event_type: 'string', // purchase, return
    user_id: 'string',
    item_id: 'string',
    order_id: 'string',
    category: 'string?', // the source knows none for some products
    quantity: 'int64', // 0 happens in the source
    sales_cents: 'int64',
    event_time: 'timestamp',
    arrived_time: 'timestamp',
  },
  eventTime: 'event_time',
  arrival: 'arrived_time',
  id: 'event_id',
  allowedLateness: '3d',
});

export const interactions = source('interactions', {
  description: 'What users do in the shop: view, cart_add, cart_remove, checkout.',
  owner,
  origin: simulated,
  input: file('csv'),
  stream: {
    topic: 'interactions',
    cutAt,
    columns: {
      event_id: 'string',
      event_type: 'string',
      user_id: 'string',
      item_id: 'string?',
      category: 'string?',
      dwell_ms: 'int64?',
      event_time: 'timestamp',
      arrived_time: 'timestamp',
    },
  },
  columns: {
    event_id: 'string',
    event_type: 'string',
    user_id: 'string',
    item_id: 'string?', // none at a checkout
    category: 'string?',
    dwell_ms: 'int64?', // views only
    event_time: 'timestamp',
    arrived_time: 'timestamp',
  },
  eventTime: 'event_time',
  arrival: 'arrived_time',
  id: 'event_id',
  allowedLateness: '3d',
});

export const searches = source('searches', {
  description:
    'Terms that users searched for. They carry no id: each is identified by its place in file or topic.',
  owner,
  origin: simulated,
  input: file('csv'),
  stream: {
    topic: 'searches',
    cutAt,
    columns: {
      user_id: 'string',
      term: 'string',
      event_time: 'timestamp',
      arrived_time: 'timestamp',
    },
  },
  columns: {
    user_id: 'string',
    term: 'string',
    event_time: 'timestamp',
    arrived_time: 'timestamp',
  },
  eventTime: 'event_time',
  arrival: 'arrived_time',
  allowedLateness: '3d',
});

export const ratings = source('ratings', {
  description: 'Stars, 1 to 5, that users gave to items they bought.',
  owner,
  origin: simulated,
  input: file('arrow'),
  columns: {
    event_id: 'string',
    item_id: 'string',
    user_id: 'string',
    stars: 'int64',
    event_time: 'timestamp',
    arrived_time: 'timestamp',
  },
  eventTime: 'event_time',
  arrival: 'arrived_time',
  id: 'event_id',
  allowedLateness: '3d',
});

export const listings = source('listings', {
  description: 'When an item was put on sale; before its first purchase.',
  owner,
  origin: simulated,
  input: table('shop.listings', database),
  columns: { event_id: 'string', item_id: 'string', category: 'string?', listed_at: 'timestamp' },
  eventTime: 'listed_at',
  id: 'event_id',
});

// ---------------------------------------------------------------- users, daily

const isPurchase = orders.col('event_type').eq('purchase');
const isReturn = orders.col('event_type').eq('return');

export const userOrders = aggregationView('user_orders', {
  description: 'What a user has bought and brought back.',
  owner,
  entity: user,
  source: orders,
  mode: batch('1d'),
  expectations: [
    expect.range('user_return_rate', { min: 0, max: 1 }),
    expect.nullRate('user_avg_order_value', { max: 0.5 }),
  ],
  features: {
    user_total_purchases: {
      description: 'Lines bought, of at least one piece.',
      aggregation: count(),
      where: isPurchase.and(orders.col('quantity').gt(0)),
      window: lifetime(),
    },
    user_avg_order_value: {
      description: 'Average value of an order of the last 90 days, in cents.',
      aggregation: ratio(sum(orders.col('sales_cents')), distinct(orders.col('order_id'))),
      where: isPurchase,
      window: sliding('90d'),
      nameException: 'models know it by this name; the window of 90 days is in the description',
    },
    user_return_rate: {
      description: 'Orders with a return over orders: 0 to 1.',
      aggregation: ratio(
        distinct(orders.col('order_id'), { limit: 10_000 }).where(isReturn),
        distinct(orders.col('order_id'), { limit: 10_000 }).where(isPurchase),
      ),
      window: lifetime(),
      coldStart: 0,
    },
    user_account_age_days: {
      description: 'Whole days since the first purchase, which stands for the opening of the account.',
      aggregation: timeSince('first', '1d'),
      where: isPurchase,
      window: lifetime(),
      coldStart: 0,
    },
  },
});

const isView = interactions.col('event_type').eq('view');

export const userTaste = aggregationView('user_taste', {
  description: 'What a user likes to look at.',
  owner,
  entity: user,
  source: interactions,
  where: isView,
  mode: batch('1d'),
  features: {
    user_preferred_categories: {
      description: 'The three categories that the user has spent most time looking at, most first.',
      aggregation: topK(interactions.col('category'), { weight: interactions.col('dwell_ms'), k: 3 }),
      window: lifetime(),
    },
  },
});

// ---------------------------------------------------------------- items, hourly

export const itemRatings = aggregationView('item_ratings', {
  description: 'How an item is rated, once three users have.',
  owner,
  entity: item,
  source: ratings,
  mode: batch('1h'),
  minEvents: 3,
  expectations: [expect.range('item_avg_rating', { min: 1, max: 5 })],
  features: {
    item_avg_rating: {
      description: 'Mean of the stars; 3.5 for items with fewer than three ratings.',
      aggregation: mean(ratings.col('stars')),
      window: lifetime(),
      coldStart: 3.5,
    },
  },
});

export const itemReviews = aggregationView('item_reviews', {
  description: 'How often an item was rated.',
  owner,
  entity: item,
  source: ratings,
  mode: batch('1h'),
  features: {
    item_total_reviews: { description: 'Ratings given.', aggregation: count(), window: lifetime() },
  },
});

export const itemSales = aggregationView('item_sales', {
  description: 'How an item sells.',
  owner,
  entity: item,
  source: orders,
  where: isPurchase,
  mode: batch('1h'),
  features: {
    item_purchase_count_7d: {
      description: 'Lines bought in the last 7 days.',
      aggregation: count(),
      window: sliding('7d'),
    },
  },
});

export const itemListing = aggregationView('item_listing', {
  description: 'How long an item has been on sale.',
  owner,
  entity: item,
  source: listings,
  mode: batch('1h'),
  features: {
    item_days_since_listed: {
      description: 'Whole days since the item was put on sale.',
      aggregation: timeSince('first', '1d'),
      window: lifetime(),
    },
  },
});

export const itemPrices = sqlView('item_prices', {
  description: 'Where the price of an item stands among those of its category.',
  owner,
  entity: item,
  connection: database,
  every: '1h',
  reads: { 'shop.prices': 'append' },
  expectations: [expect.range('item_price_percentile', { min: 0, max: 1, severity: 'block' })],
  query: `
    with current as (
      select distinct on (item_id) item_id, category, price_cents, valid_from
      from shop.prices
      where valid_from <= :as_of and category is not null
      order by item_id, valid_from desc
    )
    select item_id, valid_from as event_timestamp,
      percent_rank() over (partition by category order by price_cents) as item_price_percentile
    from current`,
  features: {
    item_price_percentile: {
      description: 'Share of the category that is cheaper, 0 to 1, by the price each item was last sold at.',
      type: 'float64',
    },
  },
});

// ---------------------------------------------------------------- users, streaming

export const userActivity = aggregationView('user_activity', {
  description: 'What a user is doing now.',
  owner,
  entity: user,
  source: interactions,
  mode: streaming(),
  expectations: [expect.freshness({ maxAge: '6h' })],
  features: {
    user_clicks_last_30min: {
      description: 'Items viewed in the last 30 minutes.',
      aggregation: count(),
      where: isView,
      window: sliding('30min'),
    },
    user_cart_items_current: {
      description: 'Items in the cart, newest first.',
      aggregation: cart(interactions.col('item_id'), {
        add: interactions.col('event_type').eq('cart_add'),
        remove: interactions.col('event_type').eq('cart_remove'),
        clear: interactions.col('event_type').eq('checkout'),
        limit: 50,
      }),
      window: lifetime(),
    },
    user_last_category_viewed: {
      description: 'Category of the item viewed last.',
      aggregation: last(interactions.col('category')),
      where: isView,
      window: lifetime(),
    },
  },
});

export const userSearches = aggregationView('user_searches', {
  description: 'What a user is looking for now.',
  owner,
  entity: user,
  source: searches,
  mode: streaming(),
  ttl: '30d',
  features: {
    user_search_queries_last_hour: {
      description: 'Terms of the last hour, at most 20, newest first.',
      aggregation: lastN(searches.col('term'), 20),
      window: sliding('1h'),
    },
    user_search_query_hashes_last_hour: {
      description: 'Stable hashes of these terms in lower case: the same for ever, for use as model input.',
      aggregation: lastN(searches.col('term').lower().hash(), 20),
      window: sliding('1h'),
    },
  },
});

export const userPurchases = aggregationView('user_purchases', {
  description: 'When a user last bought.',
  owner,
  entity: user,
  source: orders,
  where: isPurchase,
  mode: streaming(),
  features: {
    user_time_since_last_purchase: {
      description: 'Seconds since the last purchase.',
      aggregation: timeSince('last', '1s'),
      window: lifetime(),
    },
  },
});

// ---------------------------------------------------------------- computed when asked

const asked = request({ request_price_cents: 'int64' });

export const priceFit = onDemandView('price_fit', {
  description: 'How a price in the request compares with what the user spends.',
  owner,
  request: asked,
  features: {
    user_price_to_order_value: {
      description: 'The price asked about over the average value of an order of the user.',
      expression: asked.col('request_price_cents').div(userOrders.feature('user_avg_order_value')),
    },
  },
});

// ---------------------------------------------------------------- what models read

export const recommendation = service('recommendation', {
  description: 'Ranks candidate items for a user.',
  owner,
  features: [
    userOrders.feature('user_total_purchases'),
    userOrders.feature('user_avg_order_value'),
    userTaste.feature('user_preferred_categories'),
    userOrders.feature('user_account_age_days'),
    userOrders.feature('user_return_rate'),
    userActivity.feature('user_clicks_last_30min'),
    userActivity.feature('user_cart_items_current'),
    userActivity.feature('user_last_category_viewed'),
    userSearches.feature('user_search_queries_last_hour'),
    userSearches.feature('user_search_query_hashes_last_hour'),
    userPurchases.feature('user_time_since_last_purchase'),
    itemRatings.feature('item_avg_rating'),
    itemReviews.feature('item_total_reviews'),
    itemPrices.feature('item_price_percentile'),
    itemListing.feature('item_days_since_listed'),
    itemSales.feature('item_purchase_count_7d'),
  ],
});

export const pricing = service('pricing', {
  description: 'Judges a price for a user. Requests carry request_price_cents.',
  owner,
  features: [priceFit, userOrders.feature('user_avg_order_value')],
});

export default define([recommendation, pricing], {
  owners: [{ name: owner, contact: 'features@shop.example' }],
});
