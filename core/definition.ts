/**
 * What an author says, as plain JSON: entities, sources, views, services. This file is the one description of its
 * shape; the types are inferred from the schemas. It says nothing of meaning (compile.ts) nor of agreement between
 * the parts (check.ts). Times are whole milliseconds, UTC.
 */
import { z } from 'zod';

/** int64 is a whole number of 64 bits (int64.ts); timestamp is epoch milliseconds. */
export const ScalarType = z.enum(['string', 'int64', 'float64', 'bool', 'timestamp']);
export type ScalarType = z.infer<typeof ScalarType>;

/** Column types of events. A list has at most MAX_ELEMENTS elements, none of them null. */
export const ColumnType = z.enum([
  'string', 'int64', 'float64', 'bool', 'timestamp',
  'list<string>', 'list<int64>', 'list<float64>',
]); // biome-ignore format: two rows, scalars and lists
export type ColumnType = z.infer<typeof ColumnType>;

/** Of a list column. */
export const MAX_ELEMENTS = 4096;

/** Features of a view, columns, inputs: Postgres has rows of so many columns, and not of many more. */
const MAX_PARTS = 1000;
/** Join keys: the bytes of a whole key are bounded too. */
const MAX_KEYS = 32;

/** Types of feature values: those of columns, or a map from text to a value (value-map.ts). */
export const FeatureType = z.enum([
  ...ColumnType.options,
  'map<string,string>',
  'map<string,int64>',
  'map<string,float64>',
]);
export type FeatureType = z.infer<typeof FeatureType>;
export type MapType = Exclude<FeatureType, ColumnType>;

const Name = z.string().min(1).max(63);
const byName = <T extends z.ZodType>(part: T): z.ZodRecord<typeof Name, T> =>
  z.record(Name, part).refine((parts) => Object.keys(parts).length <= MAX_PARTS, `give at most ${MAX_PARTS}`);
const Ms = z.number().int().nonnegative().max(Number.MAX_SAFE_INTEGER);
const PositiveMs = Ms.positive();
/** What Kafka takes, with room for the environment's name before it. */
const Topic = z.string().regex(/^[a-zA-Z0-9][a-zA-Z0-9._-]{0,199}$/, 'is no name of a topic');
const Words = z.string().min(1).max(10_000);
/** A run has it as a search attribute: of 2 kB at most, in some of the stores that Temporal takes of 255 characters. */
const Who = z.string().min(1).max(200);
const Described = {
  description: Words,
  owner: Who,
  tags: z.array(z.string().max(200)).max(MAX_PARTS).default([]),
};

/** A value as it stands in JSON: timestamps as epoch milliseconds, missing as null. */
export const Literal = z.union([z.string(), z.number(), z.boolean(), z.null()]);
export type Literal = z.infer<typeof Literal>;
export const FeatureLiteral = z.union([
  Literal,
  z.array(z.union([z.string(), z.number()])),
  z.record(z.string(), z.union([z.string(), z.number()])),
]);
export type FeatureLiteral = z.infer<typeof FeatureLiteral>;

export const OPERATORS = [
  'eq', 'ne', 'lt', 'le', 'gt', 'ge', 'and', 'or', 'not', 'isNull', 'in',
  'add', 'sub', 'mul', 'div', 'coalesce', 'hash', 'lower', 'length', 'contains', 'now',
] as const; // biome-ignore format: a table of words
export type Operator = (typeof OPERATORS)[number];

/**
 * An expression over named inputs: a column (of an event; in an on-demand view, a request field or a feature),
 * a literal, or an operator. Nulls as in SQL: any null operand gives null, but for and/or (three-valued), isNull and
 * coalesce. See expression.ts for each operator's types.
 */
export type Expression = { col: string } | { lit: Literal } | { op: Operator; args: Expression[] };
export const Expression: z.ZodType<Expression> = z.lazy(() =>
  z.union([
    z.strictObject({ col: z.string() }),
    z.strictObject({ lit: Literal }),
    z.strictObject({ op: z.enum(OPERATORS), args: z.array(Expression) }),
  ]),
);

export const Entity = z.strictObject({
  name: Name,
  ...Described,
  /** Join keys in declared order; more than one makes a composite key. */
  keys: z
    .array(z.strictObject({ name: Name, type: z.enum(['string', 'int64']) }))
    .min(1)
    .max(MAX_KEYS),
});
export type Entity = z.infer<typeof Entity>;

/** `length`: of a list<float64>, which it makes a vector: so many elements, never others. */
const Columns = byName(
  z.strictObject({
    type: ColumnType,
    nullable: z.boolean(),
    length: z.number().int().min(1).max(MAX_ELEMENTS).exactOptional(),
  }),
);
export const Source = z.strictObject({
  name: Name,
  ...Described,
  /** Where the data comes from, in words; shown wherever it is shown ("simulated from ..."). */
  origin: z.string().max(10_000).nullable(),
  /** append: rows are only added, so the past can be read again. snapshot: only now can be read. */
  kind: z.enum(['append', 'snapshot']),
  input: z.discriminatedUnion('type', [
    z.strictObject({ type: z.literal('file'), format: z.enum(['csv', 'arrow']) }),
    /** A Postgres table; `connection` names the environment variable that holds its URL. */
    z.strictObject({
      type: z.literal('table'),
      connection: z.string().regex(/^env:[A-Z][A-Z0-9_]*$/),
      table: z.string(),
    }),
    /** JSON objects with the source's columns, one per message; the platform owns the topic. */
    z.strictObject({ type: z.literal('topic'), topic: Topic }),
  ]),
  /**
   * A file or table holds what happened before `cutAtMs`, the topic what happened from then on. `columns`: what its producers say that
   * it carries; a check compares it with what is declared below. Absent: just that.
   */
  stream: z.strictObject({ topic: Topic, cutAtMs: Ms, columns: Columns.exactOptional() }).exactOptional(),
  columns: Columns,
  /** Column of type timestamp: when it happened. */
  eventTime: Name,
  /** Column of type timestamp: when the platform could have known it; null: event time + arrivalDelayMs, assumed. */
  arrival: Name.nullable(),
  /** Column that identifies an event; null: identified by (partition, offset). */
  id: Name.nullable(),
  /** Column (int64 or timestamp) that orders events of one instant, before the id. */
  sequence: Name.nullable(),
  /**
   * Column of the id's type, nullable. A row in which it is not null is a retraction: it unsays the event with that id, as if that had
   * never been, and is itself no event of any view. Absent: there are none.
   */
  retracts: Name.exactOptional(),
  arrivalDelayMs: Ms,
  allowedLatenessMs: Ms,
  maxFutureMs: Ms,
  dedupeMs: Ms,
  retentionMs: PositiveMs.nullable(),
});
export type Source = z.infer<typeof Source>;

/** When an event at s counts at t. Boundaries are aligned to the epoch. */
export const Window = z.discriminatedUnion('type', [
  /** s <= t < ceil_hop(s + ms). `ms` is a multiple of `hopMs`. */
  z.strictObject({ type: z.literal('sliding'), ms: PositiveMs, hopMs: PositiveMs }),
  /** Both edges on the hop: ceil_hop(s) <= t < ceil_hop(s) + ms, so at t what happened in (floor_hop(t) - ms, floor_hop(t)]. */
  z.strictObject({ type: z.literal('hopping'), ms: PositiveMs, hopMs: PositiveMs }),
  /** The running window: s <= t < the first multiple of `ms` after s; whole weeks begin on Monday. */
  z.strictObject({ type: z.literal('tumbling'), ms: PositiveMs }),
  /** The running day, week (from Monday) or month of an IANA zone; one zone per view. Boundaries: calendar.ts. */
  z.strictObject({ type: z.literal('calendar'), unit: z.enum(['day', 'week', 'month']), zone: z.string() }),
  /**
   * The current session: of the view's events those up to the newest, each at most `gapMs` after the one before; from the newest's
   * last + gapMs on, none. The feature's filter says which of them count.
   */
  z.strictObject({ type: z.literal('session'), gapMs: PositiveMs }),
  z.strictObject({ type: z.literal('lifetime') }),
]);
export type Window = z.infer<typeof Window>;

const value = Expression;
const DistinctLimit = z.number().int().min(1).max(1_000_000);
/** At most so long: half-lives, gaps of a source. */
const HundredYears = PositiveMs.max(3_155_760_000_000);
/** Counted, summed or counted apart: the two sides of a ratio. `where` narrows the feature's own filter. */
export const RatioSide = z.discriminatedUnion('op', [
  z.strictObject({ op: z.literal('count'), where: Expression.nullable() }),
  z.strictObject({ op: z.literal('sum'), value, where: Expression.nullable() }),
  z.strictObject({
    op: z.literal('distinct'),
    value,
    limit: DistinctLimit.exactOptional(),
    where: Expression.nullable(),
  }),
]);
export type RatioSide = z.infer<typeof RatioSide>;

/** What may be asked of each bucket: the aggregations of one value. */
export const BucketAggregation = z.discriminatedUnion('op', [
  z.strictObject({ op: z.literal('count') }),
  z.strictObject({ op: z.literal('sum'), value }),
  z.strictObject({ op: z.literal('mean'), value }),
  z.strictObject({ op: z.literal('min'), value }),
  z.strictObject({ op: z.literal('max'), value }),
  z.strictObject({ op: z.literal('last'), value }),
]);
export type BucketAggregation = z.infer<typeof BucketAggregation>;

/**
 * Aggregations. A null input is skipped everywhere. Empty window: counts and sums 0; lists and maps empty, of a histogram zeros;
 * mean, variance, stddev, min, max, first, last, percentile, ratio and timeSince null.
 */
export const Aggregation = z.discriminatedUnion('op', [
  /** Events that pass the filter. → int64 */
  z.strictObject({ op: z.literal('count') }),
  /** Exact; rounded once when read. Beyond 64 bits, or beyond the doubles: null. → the value's type (int64 or float64) */
  z.strictObject({ op: z.literal('sum'), value }),
  /**
   * Exact sum, rounded, over the number of non-null values. → float64. Of a vector, element by element: exact sum over number, rounded
   * once. → list<float64>
   */
  z.strictObject({ op: z.literal('mean'), value }),
  /**
   * Σ value · 2^(-age / halfLife), or Σ 2^(-age / halfLife), at the moment of reading: it moves between steps. The value does not
   * depend on order; its powers are within 2^-46 of the true ones (aggregate/decay.ts). The window is a lifetime, in which an event
   * ends after 64 half-lives (at a multiple of 16), or not longer than these. State: one exact sum per hop, or per 16 half-lives.
   * Beyond the doubles: null. → float64
   */
  z.strictObject({ op: z.literal('decayedSum'), value, halfLifeMs: HundredYears }),
  z.strictObject({ op: z.literal('decayedCount'), halfLifeMs: HundredYears }),
  /**
   * The mean square of the distance from the mean, over n - 1 (sample; of fewer than two values: null) or over n (population).
   * Exact, rounded once; stddev is the root of the exact variance, rounded once. Beyond the doubles: null. → float64
   */
  z.strictObject({ op: z.literal('variance'), value, population: z.boolean() }),
  z.strictObject({ op: z.literal('stddev'), value, population: z.boolean() }),
  /** → the value's type (int64, float64, timestamp) */
  z.strictObject({ op: z.literal('min'), value }),
  z.strictObject({ op: z.literal('max'), value }),
  /** The non-null value of the newest event. → the value's type */
  z.strictObject({ op: z.literal('last'), value }),
  /** The newest n non-null values, newest first. → list of the value's type (string, int64, float64) */
  z.strictObject({ op: z.literal('lastN'), value, n: z.number().int().min(1).max(1000) }),
  /** The non-null value of the oldest event. → the value's type */
  z.strictObject({ op: z.literal('first'), value }),
  /**
   * The oldest n non-null values in the window, oldest first. Keeps the oldest n of each hop: what leaves makes room for the next.
   * → list of the value's type (string, int64, float64)
   */
  z.strictObject({ op: z.literal('firstN'), value, n: z.number().int().min(1).max(1000) }),
  /**
   * Number of different non-null values, exact; with a limit, exact below it, and the limit where there are more. A lifetime asks for a
   * limit. State: each value with the time it leaves, at most `limit`. → int64
   */
  z.strictObject({ op: z.literal('distinct'), value, limit: DistinctLimit.exactOptional() }),
  /**
   * The same, exact while there are at most `exactTo` values, beyond that estimated with a standard error of 1.6 % (HyperLogLog,
   * aggregate/sketch.ts), never below exactTo + 1. State: at most exactTo + 1 values with the time each leaves; while there are more,
   * at most 4,096 registers, each with the ranks still to come (41 at most). → int64
   */
  z.strictObject({ op: z.literal('approxDistinct'), value, exactTo: z.number().int().min(0).max(10_000) }),
  /**
   * The k keys (string or int64) of greatest positive total weight (int64 or float64), or, with weight null, of most events;
   * greatest first, ties by key ascending. Exact: every key in the window is kept. → list of the key's type
   */
  z.strictObject({
    op: z.literal('topK'),
    key: Expression,
    weight: Expression.nullable(),
    k: z.number().int().min(1).max(100),
  }),
  /**
   * How many non-null values lie in each bucket: below the first edge, from each edge (inclusive) to the next (exclusive), from the
   * last edge on. Of an empty window: zeros. State: one count per bucket and hop. → list<int64>, one longer than the edges
   */
  z.strictObject({
    op: z.literal('histogram'),
    value,
    edges: z
      .array(z.number())
      .min(1)
      .max(1000)
      .refine(
        (edges) => edges.every((edge, index) => index === 0 || edge > edges[index - 1]!),
        'give each edge once, in ascending order',
      ),
  }),
  /**
   * Of n non-null values in ascending order that of rank floor(quantile · (n - 1)), counted from 0; within 1 % of it (DDSketch,
   * aggregate/percentile.ts), whole for int64 and exact up to 128. Magnitudes below 2^-32 count as 0, from 2^64 on as just below
   * 2^64. State: at most 12,289 counts per hop, shared by all percentiles of one value. → float64
   */
  z.strictObject({
    op: z.literal('percentile'),
    value,
    quantile: z
      .number()
      .min(0)
      .max(1)
      .refine(
        (quantile) => Number(quantile.toFixed(4)) === quantile,
        'give at most four decimals: 0.5, 0.95, 0.9999',
      ),
  }),
  /**
   * For each key (string, or int64 as decimal text) the aggregation of its own events, those in which neither key nor value is null.
   * Of more than `limit` keys those of most such events in the window, ties by key ascending; a key without a value (a sum beyond 64 bits,
   * or beyond the doubles) is left out. State: every key in the window, each as the aggregation keeps it. → map<string, its type>, where that is
   * string, int64 or float64
   */
  z.strictObject({
    op: z.literal('bucketed'),
    by: Expression,
    aggregation: BucketAggregation,
    limit: z.number().int().min(1).max(1000),
  }),
  /**
   * Items (string or int64) in the cart: those whose newest event is an add, newer than the newest clear; newest
   * added first, at most `limit`. An event may be one of add, remove, clear (tested in this order). Of more than 10,000 items since
   * the clear those count that were added or removed last. State: these. → list of the item's type
   */
  z.strictObject({
    op: z.literal('cart'), item: Expression, add: Expression, remove: Expression, clear: Expression.nullable(),
    limit: z.number().int().min(1).max(1000),
  }), // biome-ignore format: one thing
  /** numerator / denominator; null when the denominator is 0. → float64 */
  z.strictObject({ op: z.literal('ratio'), numerator: RatioSide, denominator: RatioSide }),
  /** Whole units (floor) from the newest or the first event to the moment of reading. `first` needs lifetime. → int64 */
  z.strictObject({ op: z.literal('timeSince'), edge: z.enum(['first', 'last']), unitMs: PositiveMs }),
]);
export type Aggregation = z.infer<typeof Aggregation>;

const FeatureCommon = {
  name: Name,
  description: Words,
  type: FeatureType,
  /** Cold start: the value given when there is no usable history. */
  coldStart: FeatureLiteral,
  /** Why this name may break a rule of the naming lint. */
  nameException: Words.nullable(),
};
export const AggregationFeature = z.strictObject({
  ...FeatureCommon,
  where: Expression.nullable(),
  window: Window,
  aggregation: Aggregation,
});
export type AggregationFeature = z.infer<typeof AggregationFeature>;

/**
 * One event for each session of an entity that has ended: of the source's events those of which each comes at most `gapMs` after the
 * one before. It happens at last + gapMs. Its columns: the view's key, `started_at`, `ended_at`, `duration_ms`, `event_count`, and
 * the sums by name (sessions.ts).
 */
export const Sessions = z.strictObject({
  gapMs: HundredYears,
  /** Events of the source that make sessions; null: every one. */
  where: Expression.nullable(),
  /** Over the events of a session; a null is skipped. → the value's type (int64 or float64); beyond it: null */
  sums: z.array(z.strictObject({ name: Name, value })).max(MAX_PARTS),
});
export type Sessions = z.infer<typeof Sessions>;

const Freshness = z.strictObject({
  tier: z.enum(['realtime', 'hourly', 'daily']),
  expectedEveryMs: PositiveMs,
});
/** What a new version is to the one it comes after: the same values, computed in another way; a mistake mended; another meaning. */
export const Succession = z.enum(['same', 'fix', 'breaking']);
export type Succession = z.infer<typeof Succession>;
/**
 * Of a view whose meaning changes: said of the version that was live before, and of no later one. A change that is not declared counts as
 * breaking. No part of the version.
 */
const Succeeds = z.strictObject({
  version: z.number().int().positive(),
  as: Succession,
  reason: Words,
});

/** `warn`: told, and nothing else; `block`: what was to be written is not. */
const Severity = z.enum(['warn', 'block']);
/** What an author expects of what a view writes, looked at where it writes (expectations.ts). No part of the version. */
export const Expectation = z.discriminatedUnion('type', [
  /** Nulls among the values of a feature: this share of them at most, 0 to 1. */
  z.strictObject({
    type: z.literal('nullRate'),
    feature: Name,
    max: z.number().min(0).max(1),
    severity: Severity,
  }),
  /** Every value that is not null lies between, both inside; null: no bound. Of int64, float64 and timestamp (epoch ms). */
  z.strictObject({
    type: z.literal('range'),
    feature: Name,
    min: z.number().nullable(),
    max: z.number().nullable(),
    severity: Severity,
  }),
  /** Every value that is not null is one of these. Of string, int64 and bool. */
  z.strictObject({
    type: z.literal('allowed'),
    feature: Name,
    values: z.array(z.union([z.string(), z.number(), z.boolean()])).min(1),
    severity: Severity,
  }),
  /** An entity has at most one event at one timestamp. */
  z.strictObject({ type: z.literal('unique'), severity: Severity }),
  /** The newest event is at most so much older than the moment of writing. */
  z.strictObject({ type: z.literal('freshness'), maxAgeMs: PositiveMs, severity: Severity }),
  /** Rows written, against the last time: at most this share more or fewer (0.5: half as many again, or half). */
  z.strictObject({ type: z.literal('rowCount'), maxChange: z.number().positive(), severity: Severity }),
]);
export type Expectation = z.infer<typeof Expectation>;

const ViewCommon = {
  name: Name,
  ...Described,
  succeeds: Succeeds.exactOptional(),
  entity: Name,
  /** Older than this (by event timestamp) counts as no history; null: never. */
  ttlMs: PositiveMs.nullable(),
  freshness: Freshness,
  expectations: z.array(Expectation).max(MAX_PARTS).exactOptional(),
};

export const AggregationView = z.strictObject({
  kind: z.literal('aggregation'),
  ...ViewCommon,
  source: Name,
  /** Source columns that hold the entity's join keys, in the entity's order. */
  key: z.array(Name).min(1).max(MAX_KEYS),
  /** With it the view is over the sessions of the source's events, and every expression below over their columns. */
  sessions: Sessions.exactOptional(),
  /** Events that belong to the view at all; null: every one. */
  where: Expression.nullable(),
  mode: z.discriminatedUnion('type', [
    /** `rowsEveryMs`: cadence of the tick rows for people; no part of the version. */
    z.strictObject({ type: z.literal('streaming'), rowsEveryMs: PositiveMs }),
    /** value(t) = F(last tick <= t); ticks at multiples of the cadence; tick T sees what arrived by T + settleMs. */
    z.strictObject({ type: z.literal('batch'), cadenceMs: PositiveMs, settleMs: Ms }),
  ]),
  /** Younger or poorer entities are IMMATURE and get the cold start. */
  minAgeMs: Ms,
  minEvents: z.number().int().nonnegative(),
  features: z.array(AggregationFeature).min(1).max(MAX_PARTS),
});
export type AggregationView = z.infer<typeof AggregationView>;

export const SqlView = z.strictObject({
  kind: z.literal('sql'),
  ...ViewCommon,
  connection: z.string().regex(/^env:[A-Z][A-Z0-9_]*$/),
  /** One SELECT with :as_of (timestamptz); gives the join keys, event_timestamp (timestamptz) and each feature. */
  query: z.string().min(1),
  /** Tables it reads, for lineage; all append, or past ticks are refused. */
  reads: z
    .array(z.strictObject({ table: z.string(), kind: z.enum(['append', 'snapshot']) }))
    .min(1)
    .max(MAX_PARTS),
  cadenceMs: PositiveMs,
  settleMs: Ms,
  features: z
    .array(z.strictObject({ ...FeatureCommon, type: ColumnType }))
    .min(1)
    .max(MAX_PARTS),
});
export type SqlView = z.infer<typeof SqlView>;

export const OnDemandView = z.strictObject({
  kind: z.literal('onDemand'),
  name: Name,
  ...Described,
  succeeds: Succeeds.exactOptional(),
  /** Fields that every request, or entity dataframe, carries. */
  request: byName(ScalarType),
  /** Stored features it reads, as "view:feature"; in expressions by the feature's name. */
  inputs: z.array(z.string()).max(MAX_PARTS),
  features: z
    .array(z.strictObject({ ...FeatureCommon, expression: Expression }))
    .min(1)
    .max(MAX_PARTS),
});
export type OnDemandView = z.infer<typeof OnDemandView>;

export const View = z.discriminatedUnion('kind', [AggregationView, SqlView, OnDemandView]);
export type View = z.infer<typeof View>;
export type StoredView = AggregationView | SqlView;

export const Service = z.strictObject({
  name: Name,
  ...Described,
  /** "view:feature", in the order of the vector. */
  features: z.array(z.string()).min(1).max(10_000),
});
export type Service = z.infer<typeof Service>;

/** Who answers for what is `owner`: how to reach them. */
export const Owner = z.strictObject({
  name: Who,
  contact: Words,
  /** They are gone: what they own is to be given to others. */
  hasLeft: z.boolean().exactOptional(),
});
export type Owner = z.infer<typeof Owner>;

/** What breaking a rule is (policy.ts). */
export const RuleSeverity = z.enum(['error', 'warning', 'off']);
export type RuleSeverity = z.infer<typeof RuleSeverity>;

/** A whole feature repository: everything one `plan` compares with the registry. */
export const Definitions = z.strictObject({
  /** Whose definitions these are: an environment holds those of one project. */
  project: Name.exactOptional(),
  /** By code of a rule (policy.ts), what breaking it is; rules that are not named are as they are by default. */
  policy: z.record(z.string(), RuleSeverity).exactOptional(),
  owners: z.array(Owner).exactOptional(),
  entities: z.array(Entity),
  sources: z.array(Source),
  views: z.array(View),
  services: z.array(Service),
});
export type Definitions = z.infer<typeof Definitions>;

/** almanac.policy.json, beside an author's file: what becomes `project` and `policy` of its definitions. */
export const PolicyFile = z.strictObject({
  project: Definitions.shape.project,
  rules: Definitions.shape.policy,
});
