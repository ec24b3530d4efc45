/** Generators of definitions and of event streams, for the tests that compare every path with the oracle. */
import fc from 'fast-check';
import type {
  Aggregation,
  AggregationFeature,
  AggregationView,
  BucketAggregation,
  Expression,
  Sessions,
  Source,
  Window,
} from '../../core/definition.js';
import type { Event, Value } from '../../core/event.js';
import { compareEvents } from '../../core/event.js';
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
    vector: { type: 'list<float64>', nullable: true, length: 3 },
    visits: { type: 'list<int64>', nullable: true },
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

const SLIDING: Window[] = [
  { type: 'sliding', ms: 7, hopMs: 1 },
  { type: 'sliding', ms: MINUTE, hopMs: SECOND },
  { type: 'sliding', ms: 30 * MINUTE, hopMs: 10 * SECOND },
  { type: 'sliding', ms: HOUR, hopMs: 1 },
  { type: 'sliding', ms: 2 * HOUR, hopMs: SECOND },
  { type: 'sliding', ms: HOUR, hopMs: 20 * MINUTE },
  { type: 'sliding', ms: DAY, hopMs: DAY },
];

const window: fc.Arbitrary<Window> = fc.oneof(
  fc.constant<Window>({ type: 'lifetime' }),
  fc.constantFrom(...SLIDING),
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

/** Of one aggregation: mostly one, else several that nest as far as their hops divide each other. */
const windows: fc.Arbitrary<Window[]> = fc.oneof(
  { weight: 2, arbitrary: window.map((one) => [one]) },
  {
    weight: 1,
    arbitrary: fc.subarray<Window>([...SLIDING, { type: 'lifetime' }], { minLength: 2, maxLength: 4 }),
  },
);

/** Clocks there go forward over midnight, go back over it, or are far from UTC. */
const zone = fc.constantFrom('UTC', 'Europe/Berlin', 'America/Sao_Paulo', 'America/St_Johns');
const CLOCK_CHANGES: readonly number[] = [
  Date.UTC(2026, 9, 25, 1), // Berlin: 3:00 is 2:00 again
  Date.UTC(2018, 10, 4, 3), // São Paulo: 0:00 is 1:00
  Date.UTC(2006, 9, 29, 2, 31), // St John's: 0:01 is 23:01 again
];

/** Expressions over columns: of the source, or of its sessions. */
interface Over {
  where: fc.Arbitrary<Expression | null>;
  number: fc.Arbitrary<Expression>;
  text: fc.Arbitrary<Expression>;
  /** Of type int64. */
  whole: Expression;
  /** What only lists are made into. */
  lists: Aggregation[];
  cart: { item: Expression; add: Expression; remove: Expression; clear: Expression };
}

const overEvents: Over = {
  where: fc.constantFrom<Expression | null>(
    null,
    is('kind', 'a'),
    { op: 'gt', args: [col('amount'), { lit: 0 }] },
    { op: 'or', args: [is('kind', 'b'), { op: 'isNull', args: [col('item')] }] },
    { op: 'not', args: [{ op: 'in', args: [col('item'), { lit: 'x' }, { lit: null }] }] },
    { op: 'contains', args: [col('visits'), col('amount')] },
    { op: 'eq', args: [col('amount'), { op: 'coalesce', args: [col('score'), { lit: 2 ** 53 }] }] },
  ),
  number: fc.constantFrom<Expression>(
    col('amount'),
    col('score'),
    { op: 'mul', args: [col('amount'), { lit: 3 }] },
    { op: 'div', args: [col('score'), col('amount')] },
    { op: 'coalesce', args: [col('score'), { lit: 0.1 }] },
    { op: 'add', args: [col('amount'), col('amount'), { lit: -1 }] },
    { op: 'sub', args: [{ op: 'mul', args: [col('amount'), { lit: 2 }] }, col('amount')] },
    { op: 'sub', args: [col('amount'), col('score')] },
    { op: 'coalesce', args: [col('amount'), col('score')] },
    { op: 'length', args: [col('visits')] },
  ),
  text: fc.constantFrom<Expression>(col('item'), { op: 'lower', args: [col('kind')] }),
  whole: col('amount'),
  lists: [
    { op: 'last', value: col('vector') },
    { op: 'first', value: col('visits') },
    { op: 'mean', value: col('vector') },
    { op: 'mean', value: { op: 'coalesce', args: [{ lit: null }, col('vector')] } },
  ],
  cart: { item: col('item'), add: is('kind', 'a'), remove: is('kind', 'b'), clear: is('kind', 'c') },
};

const moreThan = (name: string, value: number): Expression => ({
  op: 'gt',
  args: [col(name), { lit: value }],
});
const overSessions: Over = {
  where: fc.constantFrom<Expression | null>(
    null,
    moreThan('duration_ms', 0),
    { op: 'or', args: [{ op: 'isNull', args: [col('amounts')] }, moreThan('event_count', 1)] },
    { op: 'ne', args: [col('user_id'), { lit: 'u' }] },
    { op: 'lt', args: [{ op: 'sub', args: [col('ended_at'), col('started_at')] }, { lit: MINUTE }] },
  ),
  number: fc.constantFrom<Expression>(
    col('duration_ms'),
    col('event_count'),
    col('amounts'),
    col('scores'),
    { op: 'div', args: [col('scores'), col('event_count')] },
    { op: 'sub', args: [col('ended_at'), { lit: HOUR }] },
  ),
  text: fc.constant<Expression>({ op: 'lower', args: [col('user_id')] }),
  whole: col('event_count'),
  lists: [],
  cart: {
    item: col('event_count'),
    add: moreThan('amounts', 0),
    remove: moreThan('scores', 0),
    clear: { op: 'eq', args: [col('duration_ms'), { lit: 0 }] },
  },
};

const sessions: fc.Arbitrary<Sessions> = fc.record({
  gapMs: fc.constantFrom(1, 5 * MINUTE, HOUR, 2 * DAY),
  where: fc.oneof({ weight: 3, arbitrary: fc.constant(null) }, { weight: 1, arbitrary: overEvents.where }),
  sums: fc
    .record({
      amounts: fc.constantFrom<Expression>(col('amount'), {
        op: 'coalesce',
        args: [col('amount'), { lit: 7 }],
      }),
      scores: fc.constantFrom<Expression>(col('score'), { op: 'mul', args: [col('score'), col('amount')] }),
    })
    .map(({ amounts, scores }) => [
      { name: 'scores', value: scores },
      { name: 'amounts', value: amounts },
    ]),
});

const halfLife = fc.constantFrom(1, 7, MINUTE, 100_003, HOUR, DAY, 400 * DAY);

function aggregationOver({ where, number, text, whole, lists, cart }: Over): fc.Arbitrary<Aggregation> {
  const scalar = fc.oneof(
    number,
    text,
    fc.oneof(text, fc.constant(whole)).map((value): Expression => ({ op: 'hash', args: [value] })),
  );
  const side = fc.oneof(
    fc.record({ op: fc.constant('count' as const), where }),
    fc.record({ op: fc.constant('sum' as const), value: number, where }),
    fc.record({ op: fc.constant('distinct' as const), value: scalar, where }),
  );
  return fc.oneof(
    fc.constant<Aggregation>({ op: 'count' }),
    ...(lists.length > 0 ? [fc.constantFrom(...lists)] : []),
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
      key: fc.oneof(text, fc.constant(whole)),
      weight: fc.option(number),
      k: fc.integer({ min: 1, max: 3 }),
    }),
    fc.record({
      op: fc.constant('bucketed' as const),
      by: fc.oneof(
        text,
        fc.constant(whole),
        text.map((value): Expression => ({ op: 'length', args: [value] })),
      ),
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
        [-(2 ** 63), 2 ** 53, 2 ** 53 + 2, 2 ** 63],
      ),
    }),
    fc.record({
      op: fc.constant('percentile' as const),
      value: number,
      quantile: fc.constantFrom(0, 0.29, 0.5, 0.95, 0.9999, 1),
    }),
    fc.record({
      op: fc.constant('cart' as const),
      item: fc.constant(cart.item),
      add: fc.constant(cart.add),
      remove: fc.constant(cart.remove),
      clear: fc.constantFrom(null, cart.clear),
      limit: fc.integer({ min: 1, max: 5 }),
    }),
    fc.record({ op: fc.constant('ratio' as const), numerator: side, denominator: side }),
    fc.record({
      op: fc.constant('timeSince' as const),
      edge: fc.constantFrom('first' as const, 'last' as const),
      unitMs: fc.constantFrom(1, MINUTE),
    }),
  );
}

/** Of 64 half-lives, less than a month, no window may be longer. */
function needsLifetime(aggregation: Aggregation): boolean {
  if ('halfLifeMs' in aggregation) return aggregation.halfLifeMs < DAY;
  return aggregation.op === 'timeSince' && aggregation.edge === 'first';
}

// The engine does not look at a feature's declared type or cold start beyond what the status needs.
const featuresOver = (over: Over): fc.Arbitrary<AggregationFeature[]> =>
  fc
    .record({ where: over.where, windows, aggregation: aggregationOver(over) })
    .map(({ where, windows, aggregation }) =>
      (needsLifetime(aggregation) ? [{ type: 'lifetime' } as const] : windows).map((window) => ({
        name: 'feature',
        description: 'generated',
        type: 'int64',
        coldStart: -1,
        nameException: null,
        where,
        window,
        aggregation,
      })),
    );

const mode: fc.Arbitrary<AggregationView['mode']> = fc.oneof(
  fc.constant<AggregationView['mode']>({ type: 'streaming', rowsEveryMs: HOUR }),
  fc.constantFrom<AggregationView['mode']>(
    { type: 'batch', cadenceMs: HOUR, settleMs: 0 },
    { type: 'batch', cadenceMs: 10 * MINUTE, settleMs: 15 * MINUTE },
    { type: 'batch', cadenceMs: DAY, settleMs: HOUR },
  ),
);

const viewOver = (over: Over): fc.Arbitrary<AggregationView> =>
  fc
    .record({
      mode,
      zone,
      where: fc.oneof({ weight: 3, arbitrary: fc.constant(null) }, { weight: 1, arbitrary: over.where }),
      features: fc.array(featuresOver(over), { minLength: 1, maxLength: 4 }),
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
      features: features.flat().map(({ window, ...each }, index) => ({
        ...each,
        window: window.type === 'calendar' ? { ...window, zone } : window,
        name: `feature_${index}`,
      })),
    }));

/** Sessions of sessions there are none. */
export const sessionView: fc.Arbitrary<AggregationView> = fc
  .record({ view: viewOver(overSessions), sessions })
  .map(({ view, sessions }) => ({
    ...view,
    sessions,
    features: view.features.map((each) =>
      each.window.type === 'session' ? { ...each, window: { type: 'lifetime' } } : each,
    ),
  }));

export const view: fc.Arbitrary<AggregationView> = fc.oneof(
  { weight: 3, arbitrary: viewOver(overEvents) },
  { weight: 1, arbitrary: sessionView },
);

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
  fc.constantFrom(2n ** 53n, 2n ** 53n + 1n, -(2n ** 53n) - 1n, 2n ** 63n - 1n, -(2n ** 63n)),
);
const double = fc.constantFrom(0, 0.1, -0.2, 0.3, 5e-324, -1e-300, 2 ** 900, -(2 ** 959), 1e16);
const vector: fc.Arbitrary<Value> = fc.oneof(fc.constant(null), fc.tuple(double, double, double));
const visits: fc.Arbitrary<Value> = fc.option(
  fc.array(
    amount.map((value) => (value ?? 0) as number),
    { maxLength: 3 },
  ),
);
const score: fc.Arbitrary<Value> = fc.oneof(
  fc.constantFrom(null, 2 ** 53, 0.1, 0.2, -0.3, 1e-300, 5e-324, 2 ** 900, -(2 ** 900), 1e16),
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

/** The same source, with retractions. */
const retracting: Source = {
  ...source,
  columns: {
    ...source.columns,
    event_id: { type: 'string', nullable: false },
    unsays: { type: 'string', nullable: true },
  },
  id: 'event_id',
  retracts: 'unsays',
};

/** Events over a source: with retractions in half of the cases. */
export interface History {
  source: Source;
  events: Event[];
}
export const SOURCES = {
  plain: { source, events },
  retracting: { source: retracting, events: retracted(events) },
};
export const history: fc.Arbitrary<History> = fc.oneof(
  events.map((list) => ({ source, events: list })),
  ...[retracted(events), retracted(stream(moment, 2))].map((lists) =>
    lists.map((list) => ({ source: retracting, events: list })),
  ),
);

/** Retractions of a few events: before and after them, of the newest, of each other, of none, some twice; and ids that come again. */
function retracted(list: fc.Arbitrary<Event[]>): fc.Arbitrary<Event[]> {
  const retraction = fc.record({
    of: fc.oneof({ weight: 4, arbitrary: fc.nat(40) }, { weight: 1, arbitrary: fc.constantFrom(-1, 1000) }),
    happens: fc.oneof(fc.constantFrom(0, -HOUR, -1, 1, MINUTE, DAY), fc.integer({ min: -HOUR, max: HOUR })),
    arrives: fc.oneof(fc.constantFrom(0, -1, 1, HOUR, 2 * DAY), fc.integer({ min: -HOUR, max: HOUR })),
  });
  return fc.tuple(list, fc.array(retraction, { maxLength: 8 }), fc.nat(12)).map(([events, some, again]) => {
    const all = events.map((event, index) => {
      const twin = events[index - 1];
      const taken = index % 13 === again && twin && twin.timestamp !== event.timestamp;
      const values = [
        ...event.values.slice(0, 2),
        event.id,
        ...event.values.slice(2, 5),
        null,
        ...event.values.slice(5),
      ];
      return { ...event, values, id: taken ? twin.id : event.id };
    });
    const newest = [...all].sort(compareEvents).at(-1);
    some.forEach(({ of, happens, arrives }, index) => {
      const target = of === -1 ? newest : all[of];
      const timestamp = (target?.timestamp ?? 0) + happens;
      const id = `r${String((index * 7919) % 1000).padStart(3, '0')}-${index}`;
      all.push({
        timestamp,
        arrivedAt: Math.max(timestamp, (target?.arrivedAt ?? 0) + arrives),
        order: 0,
        id,
        sequence: 0,
        // amount, at, event_id, item, kind, score, unsays, user_id, vector, visits
        values: [7, timestamp, id, 'x', 'a', 0.5, target?.id ?? 'nothing', 'u', null, null],
      });
    });
    all.sort((a, b) => a.arrivedAt - b.arrivedAt);
    return all.map((event, index) => ({ ...event, sequence: 1 + Math.floor(index / 3) }));
  });
}

function stream(timestamp: fc.Arbitrary<number>, maxLength = 40): fc.Arbitrary<Event[]> {
  return fc
    .array(
      fc.record({
        timestamp,
        delay: fc.oneof(
          fc.constant(0),
          fc.integer({ min: 0, max: 2 * HOUR }),
          fc.constantFrom(MINUTE, DAY, 5 * DAY),
        ),
        order: fc.constantFrom<Event['order']>(0, 0, 1, 2n ** 63n - 1n, -(2n ** 63n)),
        kind: fc.constantFrom('a', 'b', 'c'),
        item: fc.constantFrom(null, 'x', 'y', 'é', 'Z'),
        amount,
        score,
        vector,
        visits,
      }),
      { maxLength, size: 'large' },
    )
    .map((list) =>
      list
        .map((raw, index) => ({
          ...raw,
          arrivedAt: raw.timestamp + raw.delay,
          id: `e${String((index * 7919) % 1000).padStart(3, '0')}-${index}`,
        }))
        .sort((a, b) => a.arrivedAt - b.arrivedAt)
        .map(({ timestamp, arrivedAt, order, id, kind, item, amount, score, vector, visits }, index) => ({
          timestamp,
          arrivedAt,
          order,
          id,
          sequence: 1 + Math.floor(index / 3),
          // columns sorted by name: amount, at, item, kind, score, user_id, vector, visits
          values: [amount, timestamp, item, kind, score, 'u', vector, visits],
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
