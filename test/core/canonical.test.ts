/** Canonical JSON, and what does and what does not make a new version of a view. */
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { canonicalDefinitions, canonicalJson, columnsRead, versionHash } from '../../core/canonical.js';
import type {
  AggregationView,
  Definitions,
  Entity,
  OnDemandView,
  Sessions,
  Source,
  SqlView,
  Window,
} from '../../core/definition.js';

describe('canonicalJson', () => {
  test.each([
    { value: { b: 1, a: [true, null] }, text: '{"a":[true,null],"b":1}', why: 'keys are sorted' },
    { value: { B: 1, a: 2, ä: 3 }, text: '{"B":1,"a":2,"ä":3}', why: 'by code unit, not by language' },
    { value: { a: undefined, b: 1 }, text: '{"b":1}', why: 'what is undefined is not there' },
    {
      value: [-0, 1e21, 0.1, 1.0],
      text: '[0,1e+21,0.1,1]',
      why: 'numbers have one spelling, and no negative zero',
    },
    { value: 'e\u0301', text: '"é"', why: 'text is in NFC' },
    { value: { 'e\u0301': 1 }, text: '{"é":1}', why: 'keys too' },
    { value: Object.create(null), text: '{}', why: 'objects without a prototype are objects' },
    { value: JSON.parse('{"__proto__":1}'), text: '{"__proto__":1}', why: 'no key is lost' },
  ])('$why', ({ value, text }) => expect(canonicalJson(value)).toBe(text));

  const circle: unknown[] = [];
  circle.push({ circle });
  test.each([
    { value: { a: Number.NaN }, path: '$.a' },
    { value: [Number.POSITIVE_INFINITY], path: '$[0]' },
    { value: { a: { b: '\ud800' } }, path: '$.a.b' },
    { value: { '\udc00': 1 }, path: '$' },
    { value: [undefined], path: '$[0]' },
    { value: [1n], path: '$[0]' },
    { value: { a: () => 1 }, path: '$.a' },
    { value: new Date(0), path: '$' },
    { value: new Map(), path: '$' },
    { value: { é: 1, 'e\u0301': 2 }, path: '$' },
    { value: circle, path: '$[0].circle' },
  ])('refuses what JSON cannot say exactly: %#', ({ value, path }) =>
    expect(() => canonicalJson(value)).toThrow(
      expect.objectContaining({ code: 'FS_DEFINITION_INVALID', details: expect.objectContaining({ path }) }),
    ),
  );

  test('is JSON of the same value, whatever the order of keys', () => {
    const json = fc
      .jsonValue({ noUnicodeString: false })
      .filter((value) => JSON.stringify(value).isWellFormed());
    fc.assert(
      fc.property(json, (value) => {
        const plain: unknown = JSON.parse(JSON.stringify(value).normalize('NFC'));
        const text = canonicalJson(plain);
        expect(JSON.parse(text)).toEqual(JSON.parse(JSON.stringify(plain)));
        expect(canonicalJson(reversed(plain))).toBe(text);
        expect(canonicalJson(JSON.parse(text))).toBe(text);
      }),
    );
  });
});

function reversed(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(reversed);
  if (typeof value !== 'object' || value === null) return value;
  return Object.fromEntries(Object.entries(value).reverse().map(([key, item]) => [key, reversed(item)])); // biome-ignore format: short
}

const described = { description: 'x', owner: 'tests', tags: [] };
const entity: Entity = { name: 'user', ...described, keys: [{ name: 'user_id', type: 'string' }] };
const source: Source = {
  name: 'orders',
  ...described,
  origin: null,
  kind: 'append',
  input: { type: 'file', format: 'csv' },
  columns: {
    id: { type: 'string', nullable: false },
    user_id: { type: 'string', nullable: false },
    cents: { type: 'int64', nullable: true },
    unread: { type: 'string', nullable: true },
    at: { type: 'timestamp', nullable: false },
    seen: { type: 'timestamp', nullable: false },
  },
  eventTime: 'at',
  arrival: null,
  id: 'id',
  sequence: null,
  arrivalDelayMs: 0,
  allowedLatenessMs: 1,
  maxFutureMs: 1,
  dedupeMs: 1,
  retentionMs: null,
};
const feature = { description: 'x', coldStart: 0, nameException: null, where: null };
const aggregation: AggregationView = {
  kind: 'aggregation',
  name: 'user_spend',
  ...described,
  entity: 'user',
  ttlMs: null,
  freshness: { tier: 'daily', expectedEveryMs: 1 },
  source: 'orders',
  key: ['user_id'],
  where: null,
  mode: { type: 'batch', cadenceMs: 3_600_000, settleMs: 0 },
  minAgeMs: 0,
  minEvents: 0,
  features: [
    {
      name: 'user_spend_7d',
      type: 'int64',
      ...feature,
      window: { type: 'sliding', ms: 604_800_000, hopMs: 3_600_000 },
      aggregation: { op: 'sum', value: { col: 'cents' } },
    },
    {
      name: 'user_count',
      type: 'int64',
      ...feature,
      window: { type: 'lifetime' },
      aggregation: { op: 'count' },
    },
  ],
};
const sql: SqlView = {
  kind: 'sql',
  name: 'user_rank',
  ...described,
  entity: 'user',
  ttlMs: null,
  freshness: { tier: 'daily', expectedEveryMs: 1 },
  connection: 'env:SHOP_URL',
  query: 'select :as_of',
  reads: [{ table: 'a', kind: 'append' }],
  cadenceMs: 3_600_000,
  settleMs: 0,
  features: [{ name: 'user_rank', description: 'x', type: 'float64', coldStart: null, nameException: null }],
};
const onDemand: OnDemandView = {
  kind: 'onDemand',
  name: 'fit',
  ...described,
  request: { price: 'int64' },
  inputs: ['user_spend:user_spend_7d', 'user_spend:user_count'],
  features: [
    {
      name: 'user_fit',
      description: 'x',
      type: 'int64',
      coldStart: null,
      nameException: null,
      expression: { col: 'price' },
    },
  ],
};

/** The hash after a change to copies of the parts. */
function hashOf<V extends AggregationView | SqlView | OnDemandView>(
  view: V,
  change: (parts: { view: V; source: Source; entity: Entity }) => void = () => {},
): string {
  const parts = structuredClone({ view, source, entity });
  change(parts);
  const stored = parts.view.kind !== 'onDemand';
  return versionHash(
    parts.view,
    parts.view.kind === 'aggregation' ? parts.source : null,
    stored ? parts.entity : null,
  );
}

describe('the version of an aggregation view', () => {
  type Change = (parts: { view: AggregationView; source: Source; entity: Entity }) => void;
  const meaning: Record<string, Change> = {
    'join key name': ({ entity }) => (entity.keys[0]!.name = 'buyer'),
    'join key type': ({ entity }) => (entity.keys[0]!.type = 'int64'),
    'key column': ({ view }) => (view.key = ['id']),
    filter: ({ view }) => (view.where = { op: 'gt', args: [{ col: 'cents' }, { lit: 0 }] }),
    'filter of a feature': ({ view }) => (view.features[0]!.where = { lit: true }),
    value: ({ view }) =>
      (view.features[0]!.aggregation = {
        op: 'sum',
        value: { op: 'add', args: [{ col: 'cents' }, { lit: 1 }] },
      }),
    aggregation: ({ view }) => (view.features[0]!.aggregation = { op: 'max', value: { col: 'cents' } }),
    window: ({ view }) =>
      (view.features[0]!.window = { type: 'sliding', ms: 1_209_600_000, hopMs: 3_600_000 }),
    hop: ({ view }) => (view.features[0]!.window = { type: 'sliding', ms: 604_800_000, hopMs: 60_000 }),
    type: ({ view }) => (view.features[0]!.type = 'float64'),
    'cold start': ({ view }) => (view.features[0]!.coldStart = 1),
    'name of a feature': ({ view }) => (view.features[0]!.name = 'user_paid_7d'),
    'a feature less': ({ view }) => view.features.pop(),
    maturity: ({ view }) => (view.minEvents = 3),
    'age of maturity': ({ view }) => (view.minAgeMs = 3),
    ttl: ({ view }) => (view.ttlMs = 86_400_000),
    cadence: ({ view }) => (view.mode = { type: 'batch', cadenceMs: 86_400_000, settleMs: 0 }),
    settle: ({ view }) => (view.mode = { type: 'batch', cadenceMs: 3_600_000, settleMs: 1 }),
    mode: ({ view }) => (view.mode = { type: 'streaming', rowsEveryMs: 3_600_000 }),
    'allowed lateness': ({ source }) => (source.allowedLatenessMs = 2),
    'event time': ({ source }) => (source.eventTime = 'seen'),
    'arrival column': ({ source }) => (source.arrival = 'seen'),
    'assumed arrival': ({ source }) => (source.arrivalDelayMs = 1),
    id: ({ source }) => (source.id = null),
    sequence: ({ source }) => (source.sequence = 'cents'),
    retractions: ({ source }) => (source.retracts = 'unread'),
    'type of a column read': ({ source }) => (source.columns.cents!.type = 'float64'),
    'another source': ({ source, view }) => (source.name = view.source = 'returns'),
    'another place': ({ source }) => (source.input = { type: 'table', connection: 'env:A', table: 'orders' }),
  };
  /** A view over sessions has the version of a view over them, whatever the order of the sums. */
  const inSessions = (change: (sessions: Sessions) => void = () => {}): string =>
    hashOf(aggregation, ({ view }) => {
      view.sessions = {
        gapMs: 1_800_000,
        where: null,
        sums: [
          { name: 'total', value: { col: 'cents' } },
          { name: 'ids', value: { col: 'id' } },
        ],
      };
      change(view.sessions);
    });
  test('is new over sessions, and with another gap, filter or sum; not with their order', () => {
    const changes: Array<(sessions: Sessions) => void> = [
      () => {},
      (sessions) => (sessions.gapMs = 1),
      (sessions) => (sessions.where = { lit: true }),
      (sessions) => (sessions.sums[0]!.name = 'sum'),
      (sessions) => (sessions.sums[0]!.value = { lit: 1 }),
      (sessions) => sessions.sums.pop(),
    ];
    const hashes = [hashOf(aggregation), ...changes.map(inSessions)];
    expect(new Set(hashes).size).toBe(hashes.length);
    expect(inSessions((sessions) => sessions.sums.reverse())).toBe(inSessions());
    expect(inSessions()).toBe('2c7d19da3e9550b0c6d78345b490a2023b10703677b4153a29d31341909e3d5e');
  });

  test.each(Object.entries(meaning))('is new with another %s', (_, change) =>
    expect(hashOf(aggregation, change)).not.toBe(hashOf(aggregation)),
  );

  const noMeaning: Record<string, Change> = {
    description: ({ view, source, entity }) =>
      (view.description = source.description = entity.description = 'y'),
    'description of a feature': ({ view }) => (view.features[0]!.description = 'y'),
    owner: ({ view, source, entity }) => (view.owner = source.owner = entity.owner = 'y'),
    tags: ({ view, source }) => (view.tags = source.tags = ['y']),
    freshness: ({ view }) => (view.freshness = { tier: 'hourly', expectedEveryMs: 2 }),
    origin: ({ source }) => (source.origin = 'y'),
    'excuse for a name': ({ view }) => (view.features[0]!.nameException = 'y'),
    'order of features': ({ view }) => view.features.reverse(),
    'order of columns': ({ source }) =>
      (source.columns = Object.fromEntries(Object.entries(source.columns).reverse())),
    'column it does not read': ({ source }) => (source.columns.more = { type: 'string', nullable: true }),
    'file format': ({ source }) => (source.input = { type: 'file', format: 'arrow' }),
    'name of the view': ({ view }) => (view.name = 'y'),
  };
  test.each(Object.entries(noMeaning))('stays with another %s', (_, change) =>
    expect(hashOf(aggregation, change)).toBe(hashOf(aggregation)),
  );

  test('the cadence of rows for people is no part of a streaming view', () => {
    const streaming = (rowsEveryMs: number): string =>
      hashOf(aggregation, ({ view }) => (view.mode = { type: 'streaming', rowsEveryMs }));
    expect(streaming(3_600_000)).toBe(streaming(86_400_000));
  });

  test.each<[Window, string]>([
    [
      { type: 'hopping', ms: 604_800_000, hopMs: 3_600_000 },
      '3c0118f35a99089f98631d92a06987ef23a8a6c268a625af0c658709209c47b1',
    ],
    [
      { type: 'session', gapMs: 1_800_000 },
      '01b20db3247646dcf89a0d712e52d834702f3ce632f9f667e9954bdb8b463192',
    ],
    [
      { type: 'tumbling', ms: 604_800_000 },
      'b45ebc6816d4b5c215283dd5e007d7920f293ee14ebf56e3809c269af2692dee',
    ],
    [
      { type: 'calendar', unit: 'week', zone: 'UTC' },
      'f240066a6101bd6c62a70f9f1b638dcbd2c3df389d81c109600b666162109fdc',
    ],
    [
      { type: 'calendar', unit: 'week', zone: 'Europe/Berlin' },
      'ba0e64663f4d2c2773e4278cabfe4cd36e36390e96b1e7312e5b0e402130a202',
    ],
  ])('is the same for ever, over %j', (window, hash) =>
    expect(hashOf(aggregation, ({ view }) => (view.features[0]!.window = window))).toBe(hash),
  );

  test('is the same for ever: a stored version stays the version of its definition', () =>
    expect([hashOf(aggregation), hashOf(sql), hashOf(onDemand)]).toMatchInlineSnapshot(`
      [
        "f6d13d1e03cab40274e156f231556d5bef3a7c158109e6163107f48c921407e0",
        "99f221d94c3bcfdfd751dad6b9fe797399b9d6601ede00ca94cea96048fc327f",
        "650911ffaac409891dfc8672999665650c3a7b82d8b325922df7feb0f2383b56",
      ]
    `));
});

test.each<[string, (parts: { view: SqlView; entity: Entity }) => void]>([
  ['query', ({ view }) => (view.query += ' ')],
  ['connection', ({ view }) => (view.connection = 'env:OTHER_URL')],
  ['reads', ({ view }) => (view.reads[0]!.kind = 'snapshot')],
  ['cadence', ({ view }) => (view.cadenceMs = 86_400_000)],
  ['settle', ({ view }) => (view.settleMs = 1)],
  ['ttl', ({ view }) => (view.ttlMs = 86_400_000)],
  ['type', ({ view }) => (view.features[0]!.type = 'int64')],
  ['entity', ({ entity }) => (entity.keys[0]!.type = 'int64')],
])('a sql view is new with another %s', (_, change) => expect(hashOf(sql, change)).not.toBe(hashOf(sql)));

test.each<[string, (parts: { view: OnDemandView }) => void]>([
  ['expression', ({ view }) => (view.features[0]!.expression = { lit: 1 })],
  ['request field', ({ view }) => (view.request.more = 'string')],
  ['input', ({ view }) => view.inputs.pop()],
])('an on-demand view is new with another %s', (_, change) =>
  expect(hashOf(onDemand, change)).not.toBe(hashOf(onDemand)),
);

test('a view hashed with somebody else’s source or entity is our own mistake', () => {
  expect(() => versionHash(aggregation, null, entity)).toThrow(/reads orders/);
  expect(() => versionHash(aggregation, source, null)).toThrow(/keyed by user/);
});

test('columns read: key, filters and values, once each', () => {
  const view = structuredClone(aggregation);
  view.where = { op: 'isNull', args: [{ col: 'unread' }] };
  view.features[1]!.aggregation = {
    op: 'ratio',
    numerator: { op: 'count', where: { col: 'a' } },
    denominator: { op: 'sum', value: { col: 'b' }, where: { col: 'c' } },
  };
  expect(columnsRead(view, source).sort()).toEqual(['a', 'b', 'c', 'cents', 'unread', 'user_id']);
  expect(columnsRead(view, { retracts: 'unsays' })).toContain('unsays');
});

test('columns read of a view over sessions: key, and what makes them and their sums', () => {
  const view = structuredClone(aggregation);
  view.sessions = {
    gapMs: 1,
    where: { op: 'isNull', args: [{ col: 'unread' }] },
    sums: [{ name: 'total', value: { col: 'a' } }],
  };
  view.where = { op: 'gt', args: [{ col: 'duration_ms' }, { lit: 0 }] };
  expect(columnsRead(view, source).sort()).toEqual(['a', 'unread', 'user_id']);
});

test('definitions have one order; keys and the features of a service keep theirs', () => {
  const more = {
    ...entity,
    name: 'account',
    keys: [
      { name: 'z', type: 'string' as const },
      { name: 'a', type: 'string' as const },
    ],
  };
  const definitions: Definitions = {
    entities: [{ ...entity, tags: ['b', 'a', 'b'] }, more],
    sources: [source],
    views: [sql, aggregation, onDemand],
    services: [{ name: 's', ...described, features: ['user_spend:user_spend_7d', 'user_spend:user_count'] }],
  };
  const canonical = canonicalDefinitions(definitions);
  expect(canonical.entities.map(({ name, tags }) => [name, tags])).toEqual([['account', []], ['user', ['a', 'b']]]); // biome-ignore format: short
  expect(canonical.entities[0]!.keys.map((key) => key.name)).toEqual(['z', 'a']);
  expect(canonical.views.map((view) => view.name)).toEqual(['fit', 'user_rank', 'user_spend']);
  expect(canonical.views[2]!.features.map((item) => item.name)).toEqual(['user_count', 'user_spend_7d']);
  expect(canonical.services[0]!.features).toEqual(['user_spend:user_spend_7d', 'user_spend:user_count']);
  expect(canonicalDefinitions(canonical)).toEqual(canonical);
  expect(definitions.entities[0]!.name).toBe('user'); // what was given is left alone
});
