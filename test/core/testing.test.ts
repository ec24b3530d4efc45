import { expect, test } from 'vitest';
import {
  aggregationView,
  batch,
  count,
  entity,
  file,
  last,
  lifetime,
  sliding,
  source,
  streaming,
} from '../../core/index.js';
import { testFeature } from '../../core/testing.js';

const owner = 'shop@example.org';
const user = entity('user', { description: 'a person', owner, keys: { user_id: 'string' } });
const clicks = source('clicks', {
  description: 'clicks',
  owner,
  input: file('csv'),
  columns: { user_id: 'string', page: 'string?', clicked_at: 'timestamp', known_at: 'timestamp?' },
  eventTime: 'clicked_at',
  arrival: 'known_at',
});
const recent = aggregationView('user_recent', {
  description: 'what a user just did',
  owner,
  entity: user,
  source: clicks,
  mode: streaming(),
  features: {
    user_clicks_last_30min: { description: 'clicks', aggregation: count(), window: sliding('30min') },
    user_last_page: {
      description: 'page',
      aggregation: last(clicks.col('page')),
      window: lifetime(),
      coldStart: 'home',
    },
  },
});

const click = (clicked_at: string, page: string | null = null, known_at: string | null = null) => ({
  user_id: 'u1',
  clicked_at,
  page,
  known_at,
});

test('values, statuses and the event timestamp, as serving gives them', () => {
  const of = testFeature(recent, [click('2026-03-01T12:00:00Z', 'shoes'), click('2026-03-01T12:10:00Z')]);
  expect(of.at('2026-03-01T12:20:00Z')).toEqual({
    values: { user_clicks_last_30min: 2, user_last_page: 'shoes' },
    statuses: { user_clicks_last_30min: 'PRESENT', user_last_page: 'PRESENT' },
    eventTimestamp: '2026-03-01T12:10:00.000Z',
  });
  expect(of.at('2026-03-01T12:30:00Z').values.user_clicks_last_30min).toBe(1);
  expect(of.at('2026-03-01T11:00:00Z')).toEqual({
    values: { user_clicks_last_30min: 0, user_last_page: 'home' },
    statuses: { user_clicks_last_30min: 'NOT_FOUND', user_last_page: 'NOT_FOUND' },
    eventTimestamp: null,
  });
});

test('an event that arrives late counts from its arrival, in event time from its own', () => {
  const of = testFeature(recent, [click('2026-03-01T12:00:00Z', null, '2026-03-01T12:15:00Z')]);
  expect(of.at('2026-03-01T12:10:00Z').values.user_clicks_last_30min).toBe(0);
  expect(of.at('2026-03-01T12:10:00Z', { mode: 'event-time' }).values.user_clicks_last_30min).toBe(1);
  expect(of.at('2026-03-01T12:15:00Z').values.user_clicks_last_30min).toBe(1);
});

test('a batch view is read at its last tick', () => {
  const daily = aggregationView('user_daily', {
    description: 'daily',
    owner,
    entity: user,
    source: clicks,
    mode: batch('1d', { settle: '2h' }),
    features: { user_total_clicks: { description: 'clicks', aggregation: count(), window: lifetime() } },
  });
  const of = testFeature(daily, [click('2026-03-01T12:00:00Z')]);
  expect(of.at('2026-03-02T01:59:59Z').statuses.user_total_clicks).toBe('NOT_FOUND');
  expect(of.at('2026-03-02T02:00:00Z').values.user_total_clicks).toBe(1);
});

test.each([
  { rows: [{ ...click('2026-03-01T12:00:00') }], why: 'no time zone' },
  { rows: [{ ...click('2026-03-01T12:00:00Z'), pgae: 'x' }], why: 'has no column "pgae"' },
  { rows: [{ user_id: 'u1' }], why: 'column "clicked_at" is null' },
  {
    rows: [click('2026-03-01T12:00:00Z'), { ...click('2026-03-01T12:00:00Z'), user_id: 'u2' }],
    why: '2 different entities',
  },
])('refused: $why', ({ rows, why }) => {
  expect(() => testFeature(recent, rows)).toThrow(why);
});
