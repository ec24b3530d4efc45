/** The builder: the JSON it yields, its defaults, and what the compiler refuses (the `@ts-expect-error` lines, held by tsc). */
import { describe, expect, test } from 'vitest';
import {
  aggregationView,
  approxDistinct,
  batch,
  bucketed,
  calendar,
  cart,
  count,
  type Definitions,
  decayedCount,
  decayedSum,
  define,
  distinct,
  entity,
  FeatureStoreError,
  file,
  first,
  firstN,
  histogram,
  hopping,
  last,
  lastN,
  lifetime,
  max,
  mean,
  min,
  now,
  onDemandView,
  percentile,
  ratio,
  request,
  service,
  session,
  sliding,
  source,
  sqlView,
  stddev,
  streaming,
  sum,
  table,
  timeSince,
  topK,
  tumbling,
  variance,
  vector,
} from '../../core/index.js';

const owner = 'tests';
const described = { description: 'for tests', owner };
const user = entity('user', { ...described, keys: { user_id: 'string' } });
const orders = source('orders', {
  ...described,
  input: file('csv'),
  columns: {
    id: 'string',
    user_id: 'string',
    item: 'string?',
    cents: 'int64',
    weight: 'float64?',
    paid: 'bool',
    at: 'timestamp',
  },
  eventTime: 'at',
  id: 'id',
});
const other = source('other', {
  ...described,
  input: table('shop.other', 'env:SHOP_URL'),
  columns: { user_id: 'string', term: 'string', seen_at: 'timestamp' },
  eventTime: 'seen_at',
});
const spend = aggregationView('user_spend', {
  ...described,
  entity: user,
  source: orders,
  where: orders.col('paid'),
  mode: streaming(),
  features: {
    user_spend_7d: { description: 'cents', aggregation: sum(orders.col('cents')), window: sliding('7d') },
    user_items_all_time: {
      description: 'items',
      aggregation: lastN(orders.col('item'), 3),
      window: lifetime(),
    },
  },
});

test('lists and vectors', () => {
  const looks = source('looks', {
    ...described,
    input: file('arrow'),
    columns: {
      user_id: 'string',
      at: 'timestamp',
      tags: 'list<string>?',
      ids: 'list<int64>',
      taste: vector(64),
      other: vector(64, { nullable: true }),
    },
    eventTime: 'at',
  });
  expect(looks.json.columns).toMatchObject({
    tags: { type: 'list<string>', nullable: true },
    taste: { type: 'list<float64>', nullable: false, length: 64 },
    other: { type: 'list<float64>', nullable: true, length: 64 },
  });
  const view = aggregationView('user_looks', {
    ...described,
    entity: user,
    source: looks,
    mode: streaming(),
    where: looks.col('tags').contains('new').or(looks.col('ids').contains(7)),
    features: {
      user_taste: {
        description: 'a vector',
        aggregation: mean(looks.col('other').coalesce(looks.col('taste'))),
        window: lifetime(),
      },
      user_tags: {
        description: 'tags',
        aggregation: last(looks.col('tags')),
        window: lifetime(),
        coldStart: ['a'],
      },
      user_tag_count: {
        description: 'how many',
        aggregation: sum(looks.col('tags').length()),
        window: lifetime(),
      },
    },
  });
  const [all] = define([view]).views as [typeof view.json];
  expect(all.features.map(({ name, type, coldStart }) => ({ name, type, coldStart }))).toEqual([
    { name: 'user_tag_count', type: 'int64', coldStart: 0 },
    { name: 'user_tags', type: 'list<string>', coldStart: ['a'] },
    { name: 'user_taste', type: 'list<float64>', coldStart: null },
  ]);
  // @ts-expect-error: texts hold no numbers
  looks.col('tags').contains(7);
  // @ts-expect-error: a list is no number
  sum(looks.col('taste'));
  // @ts-expect-error: nor has it an order
  distinct(looks.col('tags'));
  const tagged = {
    ...described,
    input: file('csv'),
    columns: { at: 'timestamp', tags: 'list<string>' },
  } as const;
  // @ts-expect-error: an id is a scalar
  source('wrong', { ...tagged, eventTime: 'at', id: 'tags' });
});

test('a whole repository, from what a service reaches', () => {
  const all = define([service('ranking', { ...described, features: [spend] })]);
  expect(all.entities).toEqual([
    { name: 'user', ...described, tags: [], keys: [{ name: 'user_id', type: 'string' }] },
  ]);
  expect(all.sources).toEqual([
    {
      name: 'orders',
      ...described,
      tags: [],
      origin: null,
      kind: 'append',
      input: { type: 'file', format: 'csv' },
      columns: {
        id: { type: 'string', nullable: false },
        user_id: { type: 'string', nullable: false },
        item: { type: 'string', nullable: true },
        cents: { type: 'int64', nullable: false },
        weight: { type: 'float64', nullable: true },
        paid: { type: 'bool', nullable: false },
        at: { type: 'timestamp', nullable: false },
      },
      eventTime: 'at',
      arrival: null,
      id: 'id',
      sequence: null,
      arrivalDelayMs: 0,
      allowedLatenessMs: 3_600_000,
      maxFutureMs: 5_000,
      dedupeMs: 86_400_000,
      retentionMs: null,
    },
  ]);
  expect(all.views).toEqual([
    {
      kind: 'aggregation',
      name: 'user_spend',
      ...described,
      tags: [],
      entity: 'user',
      ttlMs: null,
      freshness: { tier: 'realtime', expectedEveryMs: 3_600_000 },
      source: 'orders',
      key: ['user_id'],
      where: { col: 'paid' },
      mode: { type: 'streaming', rowsEveryMs: 3_600_000 },
      minAgeMs: 0,
      minEvents: 0,
      features: [
        {
          name: 'user_items_all_time',
          description: 'items',
          type: 'list<string>',
          coldStart: [],
          nameException: null,
          where: null,
          window: { type: 'lifetime' },
          aggregation: { op: 'lastN', value: { col: 'item' }, n: 3 },
        },
        {
          name: 'user_spend_7d',
          description: 'cents',
          type: 'int64',
          coldStart: 0,
          nameException: null,
          where: null,
          window: { type: 'sliding', ms: 604_800_000, hopMs: 3_600_000 },
          aggregation: { op: 'sum', value: { col: 'cents' } },
        },
      ],
    },
  ]);
  expect(all.services).toEqual([
    {
      name: 'ranking',
      ...described,
      tags: [],
      features: ['user_spend:user_spend_7d', 'user_spend:user_items_all_time'],
    },
  ]);
});

test('the JSON is plain: it survives the wire unchanged', () => {
  const all = define([spend]);
  expect(JSON.parse(JSON.stringify(all))).toEqual(all);
});

const col = orders.col.bind(orders);
test.each([
  { aggregation: count(), type: 'int64', empty: 0 },
  { aggregation: sum(col('cents')), type: 'int64', empty: 0 },
  { aggregation: sum(col('cents').mul(0.01)), type: 'float64', empty: 0 },
  { aggregation: sum(col('weight')), type: 'float64', empty: 0 },
  { aggregation: mean(col('cents')), type: 'float64', empty: null },
  { aggregation: decayedSum(col('cents'), { halfLife: '7d' }), type: 'float64', empty: 0 },
  { aggregation: decayedCount({ halfLife: '1h' }), type: 'float64', empty: 0 },
  { aggregation: variance(col('cents')), type: 'float64', empty: null },
  { aggregation: stddev(col('weight'), { population: true }), type: 'float64', empty: null },
  { aggregation: min(col('at')), type: 'timestamp', empty: null },
  { aggregation: max(col('weight')), type: 'float64', empty: null },
  { aggregation: last(col('paid')), type: 'bool', empty: null },
  { aggregation: lastN(col('item').hash(), 5), type: 'list<int64>', empty: [] },
  { aggregation: first(col('paid')), type: 'bool', empty: null },
  { aggregation: firstN(col('weight'), 2), type: 'list<float64>', empty: [] },
  { aggregation: distinct(col('item').lower(), { limit: 10 }), type: 'int64', empty: 0 },
  { aggregation: approxDistinct(col('item')), type: 'int64', empty: 0 },
  { aggregation: bucketed(col('item'), count(), { limit: 9 }), type: 'map<string,int64>', empty: {} },
  {
    aggregation: bucketed(col('cents'), mean(col('cents')), { limit: 9 }),
    type: 'map<string,float64>',
    empty: {},
  },
  {
    aggregation: bucketed(col('item'), last(col('item')), { limit: 9 }),
    type: 'map<string,string>',
    empty: {},
  },
  { aggregation: topK(col('item'), { weight: col('cents'), k: 3 }), type: 'list<string>', empty: [] },
  { aggregation: topK(col('cents'), { k: 3 }), type: 'list<int64>', empty: [] },
  { aggregation: histogram(col('cents'), [0, 100]), type: 'list<int64>', empty: [0, 0, 0] },
  { aggregation: percentile(col('cents'), 0.95), type: 'float64', empty: null },
  {
    aggregation: cart(col('item'), { add: col('paid'), remove: col('paid').not() }),
    type: 'list<string>',
    empty: [],
  },
  { aggregation: ratio(sum(col('weight')), count().where(col('paid'))), type: 'float64', empty: null },
  { aggregation: timeSince('first', '1d'), type: 'int64', empty: null },
])('$aggregation.json.op gives $type, $empty when empty', ({ aggregation, type, empty }) => {
  const view = aggregationView('user_view', {
    ...described,
    entity: user,
    source: orders,
    mode: batch('1d'),
    features: { user_value: { description: 'x', aggregation, window: lifetime() } },
  });
  expect(define([view]).views[0]?.features[0]).toMatchObject({ type, coldStart: empty });
});

test('expressions are operators over columns and literals', () => {
  const expression = col('cents')
    .add(col('weight'))
    .ge(10)
    .and(col('item').in('a', 'b').not())
    .or(col('item').isNull());
  expect(expression.json).toEqual({
    op: 'or',
    args: [
      {
        op: 'and',
        args: [
          { op: 'ge', args: [{ op: 'add', args: [{ col: 'cents' }, { col: 'weight' }] }, { lit: 10 }] },
          { op: 'not', args: [{ op: 'in', args: [{ col: 'item' }, { lit: 'a' }, { lit: 'b' }] }] },
        ],
      },
      { op: 'isNull', args: [{ col: 'item' }] },
    ],
  });
});

test('the sides of a ratio carry their own filters', () => {
  expect(ratio(distinct(col('item')).where(col('paid')), count()).json).toEqual({
    op: 'ratio',
    numerator: { op: 'distinct', value: { col: 'item' }, where: { col: 'paid' } },
    denominator: { op: 'count', where: null },
  });
});

describe('windows, modes and freshness', () => {
  test('the hop is the default for the window, unless named', () => {
    expect(sliding('30min')).toEqual({ type: 'sliding', ms: 1_800_000, hopMs: 10_000 });
    expect(hopping('1h', '10min')).toEqual({ type: 'hopping', ms: 3_600_000, hopMs: 600_000 });
    expect(session('30min')).toEqual({ type: 'session', gapMs: 1_800_000 });
    expect(tumbling('1w')).toEqual({ type: 'tumbling', ms: 604_800_000 });
    expect(calendar('month', 'Europe/Berlin')).toEqual({ type: 'calendar', unit: 'month', zone: 'Europe/Berlin' }); // biome-ignore format: short
    expect(calendar('day')).toEqual({ type: 'calendar', unit: 'day', zone: 'UTC' });
    expect(sliding('30min', { hop: '1min' })).toEqual({ type: 'sliding', ms: 1_800_000, hopMs: 60_000 });
  });
  test.each([
    { mode: batch('1d'), freshness: { tier: 'daily', expectedEveryMs: 86_400_000 } },
    { mode: batch('1h', { settle: '5min' }), freshness: { tier: 'hourly', expectedEveryMs: 3_600_000 } },
    { mode: streaming({ rowsEvery: '6h' }), freshness: { tier: 'realtime', expectedEveryMs: 3_600_000 } },
  ] as const)('a view of mode $mode.type is expected as often as it ticks', ({ mode, freshness }) => {
    const view = aggregationView('user_view', {
      ...described,
      entity: user,
      source: orders,
      mode,
      features: { user_count_all_time: { description: 'x', aggregation: count(), window: lifetime() } },
    });
    expect(view.json).toMatchObject({ mode, freshness });
  });
});

test('an on-demand view finds its inputs and its types in its expressions', () => {
  const asked = request({ price_cents: 'int64', asked_at: 'timestamp' });
  const view = onDemandView('price_fit', {
    ...described,
    request: asked,
    features: {
      user_price_share: {
        description: 'x',
        expression: asked.col('price_cents').div(spend.feature('user_spend_7d')),
      },
      user_price_left: {
        description: 'x',
        expression: spend.feature('user_spend_7d').sub(asked.col('price_cents')),
      },
      user_wait_hours: { description: 'x', expression: now().sub(asked.col('asked_at')).div(3_600_000) },
      user_items_known: { description: 'x', expression: spend.feature('user_items_all_time').length() },
    },
  });
  const found = define([view]).views.find((item) => item.kind === 'onDemand');
  expect(found).toMatchObject({
    request: { price_cents: 'int64', asked_at: 'timestamp' },
    inputs: ['user_spend:user_items_all_time', 'user_spend:user_spend_7d'],
  });
  expect(found?.features.map(({ name, type }) => [name, type])).toEqual([
    ['user_items_known', 'int64'],
    ['user_price_left', 'int64'],
    ['user_price_share', 'float64'],
    ['user_wait_hours', 'float64'],
  ]);
});

test('a composite key, and a key column of another name', () => {
  const pair = entity('pair', { ...described, keys: { buyer: 'string', cents: 'int64' } });
  const view = aggregationView('pair_view', {
    ...described,
    entity: pair,
    source: orders,
    key: ['user_id', 'cents'],
    mode: batch('1d'),
    features: { pair_count_all_time: { description: 'x', aggregation: count(), window: lifetime() } },
  });
  const all = define([view]);
  expect(all.entities[0]?.keys.map((key) => key.name)).toEqual(['buyer', 'cents']);
  expect(all.views[0]).toMatchObject({ key: ['user_id', 'cents'] });
});

test('nothing is thrown before define, and define names everything at once', () => {
  const wrong = aggregationView('user_wrong', {
    ...described,
    entity: user,
    source: orders,
    mode: batch('7h'),
    features: {
      user_count_1d: {
        description: 'x',
        aggregation: count(),
        window: sliding('30 minutes' as '30min'),
      },
    },
  });
  const broken = aggregationView('user_unknown', {
    ...described,
    entity: user,
    source: orders,
    mode: batch('7h'),
    features: {
      spend: { description: 'x', aggregation: sum(orders.col('centz' as 'cents')), window: lifetime() },
    },
  });
  const error = thrown(() => define([wrong, broken]));
  expect(error.code).toBe('FS_DEFINITION_INVALID');
  expect((error.details.problems as Array<{ path: string }>).map((problem) => problem.path)).toEqual([
    'views.user_wrong.features.user_count_1d.window.ms',
    'views.user_unknown.mode.cadenceMs',
    'views.user_unknown.features.spend.aggregation.value',
  ]);
  expect(error.message).toContain('"30 minutes" is not a duration');
  expect(error.message).toContain('did you mean "cents"?');
});

test('two different things of one name are refused, one thing reached twice is one', () => {
  const twin = entity('user', { ...described, keys: { user_id: 'int64' } });
  expect(thrown(() => define([user, twin])).message).toContain('there are two entities called "user"');
  expect(define([user, spend, user]).entities).toHaveLength(1);
});

function thrown(run: () => Definitions): FeatureStoreError {
  try {
    run();
  } catch (error) {
    if (error instanceof FeatureStoreError) return error;
    throw error;
  }
  throw new Error('nothing was thrown');
}

test('sessions of a source: what a view is over', () => {
  const sessions = orders.sessions({
    by: 'user_id',
    gap: '30min',
    where: orders.col('paid'),
    sums: { total: orders.col('cents') },
  });
  const view = aggregationView('user_sessions', {
    ...described,
    entity: user,
    source: sessions,
    mode: streaming(),
    where: sessions.col('event_count').gt(1),
    features: {
      session_total: { description: 'x', aggregation: sum(sessions.col('total')), window: lifetime() },
      session_newest: {
        description: 'x',
        aggregation: last(sessions.col('ended_at')),
        window: lifetime(),
        where: sessions.col('user_id').ne('robot'),
      },
    },
  });
  expect(view.json).toMatchObject({
    source: 'orders',
    key: ['user_id'],
    sessions: {
      gapMs: 1_800_000,
      where: { col: 'paid' },
      sums: [{ name: 'total', value: { col: 'cents' } }],
    },
    where: { op: 'gt', args: [{ col: 'event_count' }, { lit: 1 }] },
  });
  expect(view.json.features.map(({ type }) => type)).toEqual(['int64', 'timestamp']);
  expect(define([view]).sources.map(({ name }) => name)).toEqual(['orders']);
});

// Each `@ts-expect-error` fails the type check if the line below it becomes legal. Nothing throws: see above.
test('what the compiler refuses', () => {
  // @ts-expect-error no such column
  orders.col('centz');
  // @ts-expect-error a text is not summed
  sum(orders.col('item'));
  // @ts-expect-error a number is not compared with a text
  orders.col('cents').gt('7');
  // @ts-expect-error a number is no condition
  orders.col('cents').and(orders.col('paid'));
  // @ts-expect-error only a first or last edge
  timeSince('middle', '1d');
  // @ts-expect-error no such unit
  sliding('30minutes');
  // @ts-expect-error the event time is a timestamp
  source('x', { ...described, input: file('csv'), columns: { a: 'string' }, eventTime: 'a' });
  // @ts-expect-error no such type
  source('x', { ...described, input: file('csv'), columns: { a: 'text', t: 'timestamp' }, eventTime: 't' });
  // @ts-expect-error no such feature
  spend.feature('user_spend_8d');
  // @ts-expect-error the filtered side of a ratio is no feature of its own
  const whole: ReturnType<typeof count> = count().where(orders.col('paid'));
  const of = { ...described, entity: user, source: orders, mode: batch('1d') };
  aggregationView('v', {
    ...of,
    // @ts-expect-error a column of another source
    features: { f: { description: 'x', aggregation: last(other.col('term')), window: lifetime() } },
  });
  // @ts-expect-error a filter over another source
  aggregationView('v', { ...of, where: other.col('term').eq('a'), features: {} });
  // @ts-expect-error no such key column
  aggregationView('v', { ...of, key: ['buyer'], features: {} });
  const sessions = orders.sessions({ by: 'user_id', gap: '1h' });
  // @ts-expect-error a column of the source
  sessions.col('cents');
  // @ts-expect-error by no such column
  orders.sessions({ by: 'buyer', gap: '1h' });
  // @ts-expect-error a text is not summed
  orders.sessions({ by: 'user_id', gap: '1h', sums: { items: orders.col('item') } });
  // @ts-expect-error they are by their key already
  aggregationView('v', { ...of, source: sessions, key: ['user_id'], features: {} });
  aggregationView('v', {
    ...of,
    // @ts-expect-error a cold start of another type
    features: { f: { description: 'x', aggregation: count(), window: lifetime(), coldStart: 'none' } },
  });
  sqlView('v', {
    ...described,
    entity: user,
    // @ts-expect-error a connection is named, never written down
    connection: 'postgres://localhost/shop',
    query: '',
    reads: {},
    every: '1h',
    features: {},
  });
  expect(whole).toBeDefined();
});
