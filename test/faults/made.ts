/**
 * What the fault tests compute: a seeded source with every outcome an import can have, and a view of each kind over it. All times
 * lie in the past and are fixed, so every run has the same answer.
 */
import {
  aggregationView,
  batch,
  cart,
  count,
  define,
  distinct,
  entity,
  file,
  last,
  lastN,
  lifetime,
  mean,
  min,
  ratio,
  service,
  sliding,
  source,
  sqlView,
  streaming,
  sum,
  topK,
} from '../../core/index.js';
import { DAY, formatTimestamp, HOUR, MINUTE, SECOND } from '../../core/time.js';

const about = { description: 'Made up for tests.', owner: 'faults' };
const user = entity('user', { ...about, keys: { user_id: 'string' } });
const item = entity('item', { ...about, keys: { item_id: 'int64' } });

const visits = source('visits', {
  ...about,
  input: file('csv'),
  columns: {
    visit_id: 'string',
    user_id: 'string?',
    item_id: 'int64?',
    kind: 'string',
    cents: 'int64?',
    score: 'float64?',
    happened_at: 'timestamp',
    seen_at: 'timestamp',
  },
  eventTime: 'happened_at',
  arrival: 'seen_at',
  id: 'visit_id',
});
const is = (kind: string) => visits.col('kind').eq(kind);

const userDaily = aggregationView('user_daily', {
  ...about,
  entity: user,
  source: visits,
  mode: batch('1d', { settle: '30min' }),
  features: {
    user_visits_7d: { description: 'Visits.', aggregation: count(), window: sliding('7d') },
    user_cents_all_time: {
      description: 'Spent.',
      aggregation: sum(visits.col('cents')),
      where: is('buy'),
      window: lifetime(),
    },
    user_items_7d: {
      description: 'Items.',
      aggregation: distinct(visits.col('item_id')),
      window: sliding('7d'),
    },
    user_top_items_all_time: {
      description: 'Items that cost most.',
      aggregation: topK(visits.col('item_id'), { weight: visits.col('cents'), k: 3 }),
      window: lifetime(),
    },
  },
});
const itemDaily = aggregationView('item_daily', {
  ...about,
  entity: item,
  source: visits,
  mode: batch('1d'),
  features: {
    item_buy_share_3d: {
      description: 'Share bought.',
      aggregation: ratio(count().where(is('buy')), count()),
      window: sliding('3d'),
    },
    item_score_mean_all_time: {
      description: 'Mean score.',
      aggregation: mean(visits.col('score')),
      window: lifetime(),
    },
    item_score_least_7d: {
      description: 'Least score.',
      aggregation: min(visits.col('score')),
      window: sliding('7d'),
    },
  },
});
const userNow = aggregationView('user_now', {
  ...about,
  entity: user,
  source: visits,
  mode: streaming({ rowsEvery: '6h' }),
  features: {
    user_visits_last_30min: { description: 'Visits.', aggregation: count(), window: sliding('30min') },
    user_cart_current: {
      description: 'Items in the cart.',
      aggregation: cart(visits.col('item_id'), {
        add: is('buy'),
        remove: is('drop'),
        clear: is('clear'),
        limit: 20,
      }),
      window: lifetime(),
      nameException: 'a cart has no window',
    },
  },
});
const itemNow = aggregationView('item_now', {
  ...about,
  entity: item,
  source: visits,
  mode: streaming({ rowsEvery: '1d' }),
  features: {
    item_visits_last_6h: { description: 'Visits.', aggregation: count(), window: sliding('6h') },
    item_score_sum_1d: {
      description: 'Exact sum.',
      aggregation: sum(visits.col('score')),
      window: sliding('1d'),
    },
    item_last_kind_all_time: {
      description: 'Last thing done.',
      aggregation: last(visits.col('kind')),
      window: lifetime(),
    },
    item_latest_cents_1d: {
      description: 'Latest amounts.',
      aggregation: lastN(visits.col('cents'), 5),
      window: sliding('1d'),
    },
  },
});
const itemPrice = sqlView('item_price', {
  ...about,
  entity: item,
  connection: 'env:FAULTS_DATABASE_URL',
  every: '1d',
  reads: { 'made.prices': 'append' },
  query: `
    select item_id, valid_from as event_timestamp, cents as item_price_current_cents from (
      select distinct on (item_id) item_id, valid_from, cents
      from made.prices where valid_from <= :as_of order by item_id, valid_from desc
    ) newest`,
  features: {
    item_price_current_cents: {
      description: 'Price.',
      type: 'int64',
      nameException: 'a price has no window',
    },
  },
});

export const definitions = define([
  service('of_users', { ...about, features: [userDaily, userNow] }),
  service('of_items', { ...about, features: [itemDaily, itemNow, itemPrice] }),
]);

const START = Date.parse('2025-03-01T00:00:00Z');
const DAYS = 14;
/** A moment of the data: what arrives later is withheld. */
export const UNTIL = formatTimestamp(START + DAYS * DAY + 7 * HOUR);
/** The last tick of every backfill; of the first day's night on, not all events had arrived when they happened. */
export const END = formatTimestamp(START + DAYS * DAY);
/** A tick of a sql view is a query each. */
export const SQL_START = formatTimestamp(START + 4 * DAY);
export const SHIFT_MS = 7 * DAY;

export const USERS = 500;
export const ITEMS = 150;
const ROWS = 30_000;
const KINDS = ['view', 'view', 'view', 'buy', 'buy', 'drop', 'clear'];
const DELAYS = [0, 0, SECOND, SECOND, 20 * MINUTE, 3 * HOUR, 30 * HOUR];

/** Rows of `visits`, a week before they are told to have been: in order of arrival, some of them twice, changed, or broken. */
export function makeVisits(): string {
  const next = random(7);
  const pick = <T>(list: readonly T[]): T => list[Math.floor(next() * list.length)]!;
  const rows: Array<{ at: number; line: string }> = [];
  for (let i = 0; i < ROWS; i++) {
    const happened = Math.floor(START + next() * (DAYS * DAY + 8 * HOUR));
    const seen = happened + pick(DELAYS);
    const cells = [
      `v${i}`,
      next() < 0.01 ? '' : `user ${Math.floor(USERS * next() ** 2)}`,
      next() < 0.01 ? '' : Math.floor(ITEMS * next() ** 2),
      pick(KINDS),
      next() < 0.05 ? '' : Math.floor(next() * 10_000),
      next() < 0.05 ? '' : Math.round(next() * 1_000) / 10,
      formatTimestamp(happened - SHIFT_MS),
      formatTimestamp(seen - SHIFT_MS),
    ];
    rows.push({ at: seen, line: cells.join(',') });
    if (next() < 0.02) rows.push({ at: seen + HOUR, line: cells.join(',') });
    if (next() < 0.005) rows.push({ at: seen + HOUR, line: cells.with(3, 'changed').join(',') });
    if (next() < 0.005) rows.push({ at: seen, line: cells.with(4, 'much').with(0, `w${i}`).join(',') });
  }
  rows.sort((a, b) => a.at - b.at);
  const header = 'visit_id,user_id,item_id,kind,cents,score,happened_at,seen_at';
  return `${[header, ...rows.map(({ line }) => line)].join('\n')}\n`;
}

/** What the sql view reads, as SQL. */
export function makePrices(): string {
  const next = random(8);
  const rows = Array.from({ length: ITEMS * 6 }, (_, i) => {
    const at = formatTimestamp(Math.floor(START + next() * DAYS * DAY));
    return `(${i % ITEMS}, ${Math.floor(next() * 10_000)}, '${at}')`;
  });
  return `create schema made;
    create table made.prices (item_id bigint not null, cents bigint not null, valid_from timestamptz not null);
    insert into made.prices values ${rows.join(', ')}`;
}

/** A generator of numbers in [0, 1): the same for the same seed. */
function random(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let t = Math.imul(state ^ (state >>> 15), state | 1);
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
  };
}
