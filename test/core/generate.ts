/** Generators of definitions and of event streams, for the tests that compare every path with the oracle. */
import fc from 'fast-check';
import type {
  Aggregation,
  AggregationFeature,
  AggregationView,
  BucketAggregation,
  Expression,
  Source,
  Window,
} from '../../core/definition.js';
import type { Event, Value } from '../../core/event.js';
import { DAY, HOUR, MINUTE, SECOND, WEEK } from '../../core/time.js';

export const source: Source = {
  name: 'events',
  description: 'generated',
  owner: 'test',
  tags: [],
  origin: null,
  kind: 'append',
  input: { type: 'file', format: 'csv' },
  columns: {
    user_id: { type: 'string', nullable: false },
    kind: { type: 'string', nullable: false },
    item: { type: 'string', nullable: true },
    amount: { type: 'int64', nullable: true },
    score: { type: 'float64', nullable: true },
    at: { type: 'timestamp', nullable: false },
  },
  eventTime: 'at',
  arrival: null,
  id: 'item',
  sequence: null,
  arrivalDelayMs: 0,
  allowedLatenessMs: HOUR,
  maxFutureMs: 5 * SECOND,
  dedupeMs: DAY,
  retentionMs: null,
};

const col = (name: string): Expression => ({ col: name });
const is = (name: string, value: string): Expression => ({ op: 'eq', args: [col(name), { lit: value }] });

const window: fc.Arbitrary<Window> = fc.oneof(
  fc.constant<Window>({ type: 'lifetime' }),
  fc.constantFrom<Window>(
    { type: 'sliding', ms: 7, hopMs: 1 },
    { type: 'sliding', ms: MINUTE, hopMs: SECOND },
    { type: 'sliding', ms: 30 * MINUTE, hopMs: 10 * SECOND },
    { type: 'sliding', ms: HOUR, hopMs: 1 },
    { type: 'sliding', ms: 2 * HOUR, hopMs: SECOND },
    { type: 'sliding', ms: HOUR, hopMs: 20 * MINUTE },
    { type: 'sliding', ms: DAY, hopMs: DAY },
  ),
  fc.constantFrom<Window>(
    { type: 'tumbling', ms: MINUTE },
    { type: 'tumbling', ms: HOUR },
    { type: 'tumbling', ms: 3 * DAY },
    { type: 'tumbling', ms: WEEK },
    { type: 'hopping', ms: 3, hopMs: 1 },
    { type: 'hopping', ms: MINUTE, hopMs: SECOND },
    { type: 'hopping', ms: HOUR, hopMs: HOUR },
    { type: 'hopping', ms: DAY, hopMs: 20 * MINUTE },
  ),
  fc.constantFrom<Window>(
    { type: 'calendar', unit: 'day', zone: 'UTC' },
    { type: 'calendar', unit: 'week', zone: 'UTC' },
    { type: 'calendar', unit: 'month', zone: 'UTC' },
  ),
  fc.constantFrom<Window>(
    { type: 'session', gapMs: 1 },
    { type: 'session', gapMs: 5 * MINUTE },
    { type: 'session', gapMs: HOUR },
    { type: 'session', gapMs: 2 * DAY },
  ),
);

/** Clocks there go forward over midnight, go back over it, or are far from UTC. */
const zone = fc.constantFrom('UTC', 'Europe/Berlin', 'America/Sao_Paulo', 'America/St_Johns');
const CLOCK_CHANGES: readonly number[] = [
  Date.UTC(2026, 9, 25, 1), // Berlin: 3:00 is 2:00 again
  Date.UTC(2018, 10, 4, 3), // São Paulo: 0:00 is 1:00
  Date.UTC(2006, 9, 29, 2, 31), // St John's: 0:01 is 23:01 again
];

const where: fc.Arbitrary<Expression | null> = fc.constantFrom<Expression | null>(
  null,
  is('kind', 'a'),
  { op: 'gt', args: [col('amount'), { lit: 0 }] },
  { op: 'or', args: [is('kind', 'b'), { op: 'isNull', args: [col('item')] }] },
  { op: 'not', args: [{ op: 'in', args: [col('item'), { lit: 'x' }, { lit: null }] }] },
);

const number: fc.Arbitrary<Expression> = fc.constantFrom<Expression>(
  col('amount'),
  col('score'),
  { op: 'mul', args: [col('amount'), { lit: 3 }] },
  { op: 'div', args: [col('score'), col('amount')] },
  { op: 'coalesce', args: [col('score'), { lit: 0.1 }] },
  { op: 'add', args: [col('amount'), col('amount'), { lit: -1 }] },
);

const text: fc.Arbitrary<Expression> = fc.constantFrom<Expression>(col('item'), {
  op: 'lower',
  args: [col('kind')],
});
const scalar = fc.oneof(number, text, fc.constant<Expression>({ op: 'hash', args: [col('item')] }));
const side = fc.oneof(
  fc.record({ op: fc.constant('count' as const), where }),
  fc.record({ op: fc.constant('sum' as const), value: number, where }),
  fc.record({ op: fc.constant('distinct' as const), value: scalar, where }),
);

const halfLife = fc.constantFrom(1, 7, MINUTE, 100_003, HOUR, DAY, 400 * DAY);

const aggregation: fc.Arbitrary<Aggregation> = fc.oneof(
  fc.constant<Aggregation>({ op: 'count' }),
  fc.record({
    op: fc.constantFrom('sum' as const, 'mean' as const, 'min' as const, 'max' as const),
    value: number,
  }),
  fc.record({
    op: fc.constantFrom('variance' as const, 'stddev' as const),
    value: number,
    population: fc.boolean(),
  }),
  fc.record({ op: fc.constant('decayedSum' as const), value: number, halfLifeMs: halfLife }),
  fc.record({ op: fc.constant('decayedCount' as const), halfLifeMs: halfLife }),
  fc.record({ op: fc.constantFrom('first' as const, 'last' as const), value: scalar }),
  fc.record({
    op: fc.constantFrom('firstN' as const, 'lastN' as const),
    value: scalar,
    n: fc.integer({ min: 1, max: 4 }),
  }),
  fc
    .record({
      op: fc.constant('distinct' as const),
      value: scalar,
      limit: fc.option(fc.integer({ min: 1, max: 6 })),
    })
    .map(({ limit, ...rest }) => (limit === null ? rest : { ...rest, limit })),
  fc.record({
    op: fc.constant('approxDistinct' as const),
    value: scalar,
    exactTo: fc.constantFrom(0, 1, 2, 4, 256),
  }),
  fc.record({
    op: fc.constant('topK' as const),
    key: text,
    weight: fc.option(number),
    k: fc.integer({ min: 1, max: 3 }),
  }),
  fc.record({
    op: fc.constant('bucketed' as const),
    by: fc.oneof(text, fc.constantFrom<Expression>(col('amount'), { op: 'length', args: [col('item')] })),
    aggregation: fc.oneof(
      fc.constant<BucketAggregation>({ op: 'count' }),
      fc.record({
        op: fc.constantFrom('sum' as const, 'mean' as const, 'min' as const, 'max' as const),
        value: number,
      }),
      fc.record({ op: fc.constant('last' as const), value: scalar }),
    ),
    limit: fc.integer({ min: 1, max: 5 }),
  }),
  fc.record({
    op: fc.constant('histogram' as const),
    value: number,
    edges: fc.constantFrom<number[]>(
      [0],
      [-3, -1, 0.1, 2, 1e16],
      [Number.MIN_SAFE_INTEGER, 0, Number.MAX_SAFE_INTEGER],
    ),
  }),
  fc.record({
    op: fc.constant('percentile' as const),
    value: number,
    quantile: fc.constantFrom(0, 0.29, 0.5, 0.95, 0.9999, 1),
  }),
  fc.record({
    op: fc.constant('cart' as const),
    item: fc.constant(col('item')),
    add: fc.constant(is('kind', 'a')),
    remove: fc.constant(is('kind', 'b')),
    clear: fc.constantFrom(null, is('kind', 'c')),
    limit: fc.integer({ min: 1, max: 5 }),
  }),
  fc.record({ op: fc.constant('ratio' as const), numerator: side, denominator: side }),
  fc.record({
    op: fc.constant('timeSince' as const),
    edge: fc.constantFrom('first' as const, 'last' as const),
    unitMs: fc.constantFrom(1, MINUTE),
  }),
);

/** Of 64 half-lives, less than a month, no window may be longer. */
function needsLifetime(aggregation: Aggregation): boolean {
  if ('halfLifeMs' in aggregation) return aggregation.halfLifeMs < DAY;
  return aggregation.op === 'timeSince' && aggregation.edge === 'first';
}

// The engine does not look at a feature's declared type or cold start beyond what the status needs.
const feature: fc.Arbitrary<AggregationFeature> = fc
  .record({ where, window, aggregation })
  .map(({ where, window, aggregation }) => ({
    name: 'feature',
    description: 'generated',
    type: 'int64',
    coldStart: -1,
    nameException: null,
    where,
    window: needsLifetime(aggregation) ? { type: 'lifetime' } : window,
    aggregation,
  }));

const mode: fc.Arbitrary<AggregationView['mode']> = fc.oneof(
  fc.constant<AggregationView['mode']>({ type: 'streaming', rowsEveryMs: HOUR }),
  fc.constantFrom<AggregationView['mode']>(
    { type: 'batch', cadenceMs: HOUR, settleMs: 0 },
    { type: 'batch', cadenceMs: 10 * MINUTE, settleMs: 15 * MINUTE },
    { type: 'batch', cadenceMs: DAY, settleMs: HOUR },
  ),
);

export const view: fc.Arbitrary<AggregationView> = fc
  .record({
    mode,
    zone,
    where: fc.oneof({ weight: 3, arbitrary: fc.constant(null) }, { weight: 1, arbitrary: where }),
    features: fc.array(feature, { minLength: 1, maxLength: 5 }),
    ttlMs: fc.constantFrom(null, 1, HOUR, 3 * DAY),
    minAgeMs: fc.constantFrom(0, 0, HOUR),
    minEvents: fc.constantFrom(0, 0, 3),
  })
  .map(({ features, zone, ...rest }) => ({
    kind: 'aggregation',
    name: 'generated',
    description: 'generated',
    owner: 'test',
    tags: [],
    entity: 'user',
    freshness: { tier: 'hourly', expectedEveryMs: HOUR },
    source: 'events',
    key: ['user_id'],
    ...rest,
    features: features.map(({ window, ...each }, index) => ({
      ...each,
      window: window.type === 'calendar' ? { ...window, zone } : window,
      name: `feature_${index}`,
    })),
  }));

const HOT: readonly number[] = [-DAY, -1, 0, 1, SECOND, MINUTE, 30 * MINUTE, HOUR - 1, HOUR, HOUR + 1, DAY];

/** Milliseconds around edges that matter, near each other, or far apart; before 1970 too. */
const moment: fc.Arbitrary<number> = fc.oneof(
  fc.constantFrom(...HOT),
  fc.integer({ min: 0, max: 2 * HOUR }),
  fc.integer({ min: -3 * DAY, max: 30 * DAY }),
);

const amount: fc.Arbitrary<Value> = fc.oneof(
  fc.integer({ min: -3, max: 3 }),
  fc.constantFrom(null, Number.MAX_SAFE_INTEGER, Number.MIN_SAFE_INTEGER),
);
const score: fc.Arbitrary<Value> = fc.oneof(
  fc.constantFrom(null, 0.1, 0.2, -0.3, 1e-300, 5e-324, 2 ** 900, -(2 ** 900), 1e16),
  fc.double({ noNaN: true, noDefaultInfinity: true, min: -1e6, max: 1e6 }).map((x) => x + 0),
);

/** Events of one entity in the order they arrive, sequences ascending in small transactions: scattered, or a busy hour. */
export const events: fc.Arbitrary<Event[]> = fc.oneof(
  stream(moment),
  stream(fc.integer({ min: 0, max: HOUR })),
  fc
    .constantFrom(...CLOCK_CHANGES)
    .chain((change) => stream(fc.integer({ min: -DAY, max: DAY }).map((near) => change + near))),
);

function stream(timestamp: fc.Arbitrary<number>): fc.Arbitrary<Event[]> {
  return fc
    .array(
      fc.record({
        timestamp,
        delay: fc.oneof(
          fc.constant(0),
          fc.integer({ min: 0, max: 2 * HOUR }),
          fc.constantFrom(MINUTE, DAY, 5 * DAY),
        ),
        order: fc.constantFrom(0, 0, 1),
        kind: fc.constantFrom('a', 'b', 'c'),
        item: fc.constantFrom(null, 'x', 'y', 'é', 'Z'),
        amount,
        score,
      }),
      { maxLength: 40, size: 'large' },
    )
    .map((list) =>
      list
        .map((raw, index) => ({
          ...raw,
          arrivedAt: raw.timestamp + raw.delay,
          id: `e${String((index * 7919) % 1000).padStart(3, '0')}-${index}`,
        }))
        .sort((a, b) => a.arrivedAt - b.arrivedAt)
        .map(({ timestamp, arrivedAt, order, id, kind, item, amount, score }, index) => ({
          timestamp,
          arrivedAt,
          order,
          id,
          sequence: 1 + Math.floor(index / 3),
          // columns sorted by name: amount, at, item, kind, score, user_id
          values: [amount, timestamp, item, kind, score, 'u'],
        })),
    );
}

export const moments: fc.Arbitrary<number[]> = fc.array(
  fc.oneof(
    moment,
    moment.map((at) => at + DAY),
    moment.map((at) => at + HOUR),
  ),
  { minLength: 1, maxLength: 8 },
);
