import { expect, test } from 'vitest';
import {
  aggregationView,
  count,
  define,
  entity,
  file,
  lifetime,
  source,
  streaming,
  topK,
} from '../../core/index.js';
import { sampleFeatures } from '../../core/sample.js';
import { sampleEvents } from '../../core/testing.js';

const owner = 'shop@example.org';
const user = entity('user', { description: 'a person', owner, keys: { user_id: 'string' } });
const views = source('views', {
  description: 'pages seen',
  owner,
  input: file('csv'),
  columns: { user_id: 'string', page: 'string?', dwell_ms: 'int64?', seen_at: 'timestamp' },
  eventTime: 'seen_at',
});
const taste = aggregationView('user_taste', {
  description: 'what a user looks at',
  owner,
  entity: user,
  source: views,
  mode: streaming(),
  features: {
    user_total_views: { description: 'views', aggregation: count(), window: lifetime() },
    user_top_pages: {
      description: 'pages',
      aggregation: topK(views.col('page'), { weight: views.col('dwell_ms'), k: 2 }),
      window: lifetime(),
    },
  },
});

test('each feature over the entities of the sample, when the last event has arrived', () => {
  const row = (user_id: string, page: string | null, dwell_ms: number) => ({
    user_id,
    page,
    dwell_ms,
    seen_at: '2026-03-01T12:00:00Z',
  });
  const definitions = define([taste]);
  const events = sampleEvents(definitions.sources[0]!, [
    row('a', 'shoes', 5),
    row('a', 'hats', 9),
    row('b', 'shoes', 1),
    row('c', null, 1),
  ]);
  const found = sampleFeatures(definitions, 'views', events).sort((a, b) => (a.feature < b.feature ? 1 : -1));
  expect(found).toEqual([
    {
      view: 'user_taste',
      feature: 'user_total_views',
      type: 'int64',
      entities: 3,
      nullRate: 0,
      statuses: { PRESENT: 3 },
      distribution: { kind: 'numbers', min: 1, mean: expect.closeTo(4 / 3, 10), median: 1, p95: 2, max: 2 },
    },
    {
      view: 'user_taste',
      feature: 'user_top_pages',
      type: 'list<string>',
      entities: 3,
      nullRate: 0,
      statuses: { PRESENT: 3 },
      distribution: {
        kind: 'words',
        distinct: 2,
        top: [
          { value: 'shoes', count: 2 },
          { value: 'hats', count: 1 },
        ],
      },
    },
  ]);
});
