/**
 * What authors write. Each function returns an object that holds plain JSON of core/definition.ts; `define` collects everything
 * reachable from what it is given, checks it and returns the canonical definitions. Expressions are made by methods
 * (`orders.col('sales_cents').gt(0)`), typed by the source's columns; there are no closures and no text to parse but durations.
 *
 * Nothing here throws but `define`, and that once, with every problem found: a mistake the compiler did not catch is carried
 * along as it stands and named by check.ts.
 */
import { assertSound, expressionTypeOf, featureTypeOf, inputsOf } from './check.js';
import type {
  Aggregation as AggregationJson,
  AggregationView as AggregationViewJson,
  BucketAggregation,
  ColumnType,
  Definitions,
  Entity as EntityJson,
  Expectation,
  Expression,
  FeatureLiteral,
  FeatureType,
  Literal,
  OnDemandView as OnDemandViewJson,
  Operator,
  Owner,
  RatioSide as RatioSideJson,
  ScalarType,
  Service as ServiceJson,
  Sessions as SessionsJson,
  Source as SourceJson,
  SqlView as SqlViewJson,
  Succession,
  View as ViewJson,
  Window as WindowJson,
} from './definition.js';
import { FeatureStoreError } from './error.js';
import { type SESSION_COLUMNS, sessionColumns } from './sessions.js';
import { DAY, defaultHop, HOUR, parseDuration, parseTimestamp } from './time.js';

// ---------------------------------------------------------------- durations and windows

/** '500ms', '10s', '30min', '1h', '7d', '2w'. */
export type Duration = `${number}${'ms' | 's' | 'min' | 'h' | 'd' | 'w'}`;

/** A text that is no duration stays as it is: the check names it with its place. */
export function ms(duration: Duration): number {
  try {
    return parseDuration(duration);
  } catch (error) {
    if (error instanceof FeatureStoreError) return duration as unknown as number;
    throw error;
  }
}

/** The newest `window` of time. An event leaves at the first hop boundary after its window is over; the head is exact. */
export function sliding(window: Duration, options: { hop?: Duration } = {}): WindowJson {
  const length = ms(window);
  const usable = typeof length === 'number' && length > 0 && Number.isSafeInteger(length);
  return {
    type: 'sliding',
    ms: length,
    hopMs: options.hop !== undefined ? ms(options.hop) : usable ? defaultHop(length) : 1,
  };
}

/** The newest `window` of time up to the last hop boundary: nothing counts before the first one at or after it, and then for `window`. */
export function hopping(window: Duration, hop: Duration): WindowJson {
  return { type: 'hopping', ms: ms(window), hopMs: ms(hop) };
}

/** Since the last multiple of `window`, in UTC; weeks begin on Monday. Empty again at each. */
export function tumbling(window: Duration): WindowJson {
  return { type: 'tumbling', ms: ms(window) };
}

/** Since local midnight, Monday or the first of the month in an IANA zone: 'Europe/Berlin'. One zone per view. */
export function calendar(unit: 'day' | 'week' | 'month', zone = 'UTC'): WindowJson {
  return { type: 'calendar', unit, zone };
}

/** The running session: it ends when the view has had no event for `gap`. A feature's filter says what counts in it. */
export function session(gap: Duration): WindowJson {
  return { type: 'session', gapMs: ms(gap) };
}

/** Everything since the first event. */
export function lifetime(): WindowJson {
  return { type: 'lifetime' };
}

/** Batch: values as of ticks at multiples of `every`; a tick sees what arrived by `settle` after it. */
export function batch(every: Duration, options: { settle?: Duration } = {}): Mode {
  return { type: 'batch', cadenceMs: ms(every), settleMs: ms(options.settle ?? '0ms') };
}

/** Streaming: values as of every event. `rowsEvery` is how often they are also written as rows for people. */
export function streaming(options: { rowsEvery?: Duration } = {}): Mode {
  return { type: 'streaming', rowsEveryMs: ms(options.rowsEvery ?? '1h') };
}
export type Mode = AggregationViewJson['mode'];

// ---------------------------------------------------------------- expressions

type Num = 'int64' | 'float64';
type Ordered = Num | 'timestamp' | 'string';
/** The plain value of a type, as it stands in a definition. Timestamps are epoch milliseconds. */
type Plain<T extends FeatureType> = T extends 'string'
  ? string
  : T extends Num | 'timestamp'
    ? number
    : T extends 'bool'
      ? boolean
      : T extends 'list<string>'
        ? readonly string[]
        : T extends 'map<string,string>'
          ? Readonly<Record<string, string>>
          : T extends `map<${string}`
            ? Readonly<Record<string, number>>
            : readonly number[];
/** What may stand beside a value of type T: another expression (any number beside a number) or a plain value. */
type Operand<T extends FeatureType> = Expr<T extends Addable ? Addable : T, string> | Plain<T>;
/** Whole numbers (timestamps too) make a whole number, anything else a double; a plain number may be either. */
type Sum<A extends FeatureType, B> = A extends 'int64' | 'timestamp'
  ? B extends Expr<'int64' | 'timestamp', string>
    ? 'int64'
    : B extends number
      ? Num
      : 'float64'
  : 'float64';
type Addable = Num | 'timestamp';
type ListType = 'list<string>' | 'list<int64>' | 'list<float64>';
type ElementOf<T extends FeatureType> = T extends `list<${infer E extends 'string' | Num}>` ? E : never;

/** An expression of type T over inputs called Names. Types live in the compiler only: JSON is all there is at run time. */
export class Expr<T extends FeatureType, Names extends string> {
  declare readonly $type?: T;
  declare readonly $names?: Names;
  constructor(
    readonly json: Expression,
    private readonly reads: ReadonlyArray<FeatureRef<FeatureType, string>> = [],
  ) {}
  /** The stored features it reads: what makes the inputs of an on-demand view. */
  get inputs(): ReadonlyArray<FeatureRef<FeatureType, string>> {
    return this.reads;
  }

  eq<B extends Operand<T>>(other: B): Expr<'bool', Names | NamesOf<B>> {
    return op('eq', this, other);
  }
  ne<B extends Operand<T>>(other: B): Expr<'bool', Names | NamesOf<B>> {
    return op('ne', this, other);
  }
  lt<B extends Operand<T>>(this: Expr<Ordered, Names>, other: B): Expr<'bool', Names | NamesOf<B>> {
    return op('lt', this, other);
  }
  le<B extends Operand<T>>(this: Expr<Ordered, Names>, other: B): Expr<'bool', Names | NamesOf<B>> {
    return op('le', this, other);
  }
  gt<B extends Operand<T>>(this: Expr<Ordered, Names>, other: B): Expr<'bool', Names | NamesOf<B>> {
    return op('gt', this, other);
  }
  ge<B extends Operand<T>>(this: Expr<Ordered, Names>, other: B): Expr<'bool', Names | NamesOf<B>> {
    return op('ge', this, other);
  }
  and<B extends Expr<'bool', string>>(this: Expr<'bool', Names>, other: B): Expr<'bool', Names | NamesOf<B>> {
    return op('and', this, other);
  }
  or<B extends Expr<'bool', string>>(this: Expr<'bool', Names>, other: B): Expr<'bool', Names | NamesOf<B>> {
    return op('or', this, other);
  }
  not(this: Expr<'bool', Names>): Expr<'bool', Names> {
    return op('not', this);
  }
  isNull(): Expr<'bool', Names> {
    return op('isNull', this);
  }
  /** Equal to one of the values. */
  in(...values: ReadonlyArray<Plain<T>>): Expr<'bool', Names> {
    return op('in', this, ...values);
  }
  add<B extends Expr<Addable, string> | number>(
    this: Expr<Addable, Names>,
    other: B,
  ): Expr<Sum<T, B>, Names | NamesOf<B>> {
    return op('add', this, other);
  }
  sub<B extends Expr<Addable, string> | number>(
    this: Expr<Addable, Names>,
    other: B,
  ): Expr<Sum<T, B>, Names | NamesOf<B>> {
    return op('sub', this, other);
  }
  mul<B extends Expr<Addable, string> | number>(
    this: Expr<Addable, Names>,
    other: B,
  ): Expr<Sum<T, B>, Names | NamesOf<B>> {
    return op('mul', this, other);
  }
  /** Always a double; null when the divisor is 0. */
  div<B extends Expr<Addable, string> | number>(
    this: Expr<Addable, Names>,
    other: B,
  ): Expr<'float64', Names | NamesOf<B>> {
    return op('div', this, other);
  }
  /** The first that is not null. */
  coalesce<B extends Operand<T>>(...others: readonly B[]): Expr<T, Names | NamesOf<B>> {
    return op('coalesce', this, ...others);
  }
  /** The same text, or whole number, gives the same whole number for ever. */
  hash(this: Expr<'string' | 'int64', Names>): Expr<'int64', Names> {
    return op('hash', this);
  }
  lower(this: Expr<'string', Names>): Expr<'string', Names> {
    return op('lower', this);
  }
  /** Characters of a text, elements of a list. */
  length(this: Expr<'string' | ListType, Names>): Expr<'int64', Names> {
    return op('length', this);
  }
  /** Whether a list has an element equal to this. */
  contains<B extends Operand<ElementOf<T>>>(
    this: Expr<ListType, Names>,
    other: B,
  ): Expr<'bool', Names | NamesOf<B>> {
    return op('contains', this, other);
  }
}
/** By the one property: an inference from a whole Expr goes through each of its methods. */
type NamesOf<B> = B extends { readonly json: Expression; readonly $names?: infer M extends string }
  ? M
  : never;
type AnyExpr = Expr<FeatureType, string>;

function op<T extends FeatureType, Names extends string>(
  name: Operator,
  ...operands: ReadonlyArray<AnyExpr | FeatureLiteral | readonly (string | number)[]>
): Expr<T, Names> {
  const args = operands.map((operand) =>
    operand instanceof Expr ? operand.json : { lit: operand as Literal },
  );
  const inputs = operands.flatMap((operand) => (operand instanceof Expr ? operand.inputs : []));
  return new Expr({ op: name, args }, inputs);
}

/** The moment of reading: the request's clock in serving, the label's time in training. For on-demand views. */
export function now(): Expr<'timestamp', never> {
  return new Expr({ op: 'now', args: [] });
}

/**
 * A stored feature: what services list and on-demand expressions read. To the compiler no class of its own: whether a subclass is an
 * Expr it would find out method by method, for each feature anew.
 */
export type FeatureRef<T extends FeatureType, Name extends string> = Expr<T, Name> & {
  readonly view: AnyView;
  readonly feature: Name;
};
class StoredFeature<T extends FeatureType, Name extends string> extends Expr<T, Name> {
  constructor(
    readonly view: AnyView,
    readonly feature: Name,
  ) {
    super({ col: feature });
  }
  override get inputs(): ReadonlyArray<FeatureRef<FeatureType, string>> {
    return [this];
  }
}

// ---------------------------------------------------------------- entities and sources

interface Described {
  /** One sentence for the reader who does not know the data. */
  description: string;
  owner: string;
  tags?: readonly string[];
}
const described = (given: Described): { description: string; owner: string; tags: string[] } => ({
  description: given.description,
  owner: given.owner,
  tags: [...(given.tags ?? [])],
});

type Keys = Readonly<Record<string, 'string' | 'int64'>>;

export interface EntityDef<K extends Keys = Keys> {
  readonly kind: 'entity';
  readonly json: EntityJson;
  readonly $keys?: K;
}

/** A thing that features are about, and its join keys in order. */
export function entity<const K extends Keys>(name: string, spec: Described & { keys: K }): EntityDef<K> {
  const keys = Object.entries(spec.keys).map(([key, type]) => ({ name: key, type }));
  return { kind: 'entity', json: { name, ...described(spec), keys } };
}

/** A column's type; with a question mark it may be missing. */
export type ColumnSpec = ColumnType | `${ColumnType}?` | Vector;
type ColumnSpecs = Readonly<Record<string, ColumnSpec>>;
type TypeOfSpec<S extends ColumnSpec> = S extends `${infer T extends ColumnType}?`
  ? T
  : S extends ColumnType
    ? S
    : S extends Vector
      ? 'list<float64>'
      : never;

/** A column of vectors of one length. */
export interface Vector {
  readonly length: number;
  readonly nullable: boolean;
}

/** Vectors of `length` doubles, an embedding: whatever else stands in the column is invalid. */
export function vector(length: number, options: { nullable?: boolean } = {}): Vector {
  return { length, nullable: options.nullable ?? false };
}
type Column<C> = keyof C & string;
type ColumnOf<C extends ColumnSpecs, T extends ColumnType> = {
  [K in Column<C>]: TypeOfSpec<C[K]> extends T ? K : never;
}[Column<C>];

export class SourceDef<C extends ColumnSpecs = ColumnSpecs> {
  declare readonly $columns?: C;
  readonly kind = 'source';
  constructor(readonly json: SourceJson) {}
  /** One of its columns, as an expression. */
  col<K extends Column<C>>(name: K): Expr<TypeOfSpec<C[K]>, K> {
    return new Expr({ col: name });
  }
  /** Its sessions, as the source of a view: one event for each that has ended. */
  sessions<const By extends Column<C>, S extends Sums<Column<C>> = Record<never, never>>(
    spec: SessionsSpec<Column<C>, By, S>,
  ): SessionsDef<SessionColumns<C, By, S>> {
    return new SessionsDef(
      this as unknown as SourceDef,
      typeof spec.by === 'string' ? [spec.by] : [...spec.by],
      {
        gapMs: ms(spec.gap),
        where: spec.where?.json ?? null,
        sums: Object.entries(spec.sums ?? ({} as S)).map(([name, value]) => ({ name, value: value.json })),
      },
    );
  }
}

type Sums<N extends string> = Readonly<Record<string, Expr<Num, N>>>;
type SessionColumns<C extends ColumnSpecs, By extends Column<C>, S extends Sums<string>> = {
  readonly [K in
    | By
    | keyof typeof SESSION_COLUMNS
    | (keyof S & string)]: K extends keyof typeof SESSION_COLUMNS
    ? (typeof SESSION_COLUMNS)[K]['type']
    : K extends keyof S
      ? S[K] extends Expr<infer T extends Num, string>
        ? T
        : never
      : C[K];
};

export interface SessionsSpec<N extends string, By extends N, S extends Sums<N>> {
  /** Columns that hold the join keys of the view's entity, in its order: a session is one entity's. */
  by: By | readonly By[];
  /** Events further apart than this are of two sessions. A session counts from its last event + gap. */
  gap: Duration;
  /** Events that make sessions. */
  where?: Expr<'bool', N>;
  /** Columns of a session: sums over its events, exact. */
  sums?: S;
}

/** Sessions of a source: the key columns, `started_at`, `ended_at`, `duration_ms`, `event_count` and the sums. */
export class SessionsDef<C extends ColumnSpecs = ColumnSpecs> {
  declare readonly $columns?: C;
  constructor(
    readonly source: SourceDef,
    readonly by: readonly string[],
    readonly json: SessionsJson,
  ) {}
  /** One of their columns, as an expression. */
  col<K extends Column<C>>(name: K): Expr<TypeOfSpec<C[K]>, K> {
    return new Expr({ col: name });
  }
}

export interface SourceSpec<C extends ColumnSpecs> extends Described {
  input: SourceJson['input'];
  columns: C;
  /** A topic that goes on from the instant `cutAt` (RFC 3339), where the file or table ends. */
  stream?: {
    topic: string;
    cutAt: string;
    /** What its producers say that it carries, to be compared with `columns`. */
    columns?: ColumnSpecs;
  };
  /** When it happened. */
  eventTime: ColumnOf<C, 'timestamp'>;
  /** When the platform could have known it; without one it is taken to be `arrivalDelay` after it happened. */
  arrival?: ColumnOf<C, 'timestamp'>;
  /** What identifies an event: duplicates are told by it. */
  id?: ColumnOf<C, 'string' | 'int64'>;
  /** What orders events of one instant. */
  sequence?: ColumnOf<C, 'int64' | 'timestamp'>;
  /** A row with a value here unsays the event that has it as its id, and is no event itself. */
  retracts?: ColumnOf<C, 'string' | 'int64'>;
  /** append (default): rows are only added. snapshot: only now can be read. */
  kind?: SourceJson['kind'];
  /** Where the data comes from, in words; shown wherever the data is. */
  origin?: string;
  arrivalDelay?: Duration;
  allowedLateness?: Duration;
  maxFuture?: Duration;
  dedupe?: Duration;
  retention?: Duration;
}

/** Where events come from. */
export function source<const C extends ColumnSpecs>(name: string, spec: SourceSpec<C>): SourceDef<C> {
  return new SourceDef<C>({
    name,
    ...described(spec),
    origin: spec.origin ?? null,
    kind: spec.kind ?? 'append',
    input: spec.input,
    ...(spec.stream && {
      stream: {
        topic: spec.stream.topic,
        cutAtMs: parseTimestamp(spec.stream.cutAt),
        ...(spec.stream.columns && { columns: columnsJson(spec.stream.columns) }),
      },
    }),
    columns: columnsJson(spec.columns),
    eventTime: spec.eventTime,
    arrival: spec.arrival ?? null,
    id: spec.id ?? null,
    sequence: spec.sequence ?? null,
    ...(spec.retracts !== undefined && { retracts: spec.retracts }),
    arrivalDelayMs: ms(spec.arrivalDelay ?? '0ms'),
    allowedLatenessMs: ms(spec.allowedLateness ?? '1h'),
    maxFutureMs: ms(spec.maxFuture ?? '5s'),
    dedupeMs: ms(spec.dedupe ?? '24h'),
    retentionMs: spec.retention === undefined ? null : ms(spec.retention),
  });
}

function columnsJson(columns: ColumnSpecs): SourceJson['columns'] {
  return Object.fromEntries(
    Object.entries(columns).map(([column, given]) => {
      if (typeof given !== 'string')
        return [column, { type: 'list<float64>' as const, nullable: given.nullable, length: given.length }];
      const nullable = given.endsWith('?');
      return [column, { type: (nullable ? given.slice(0, -1) : given) as ColumnType, nullable }];
    }),
  );
}

/** Files of events, imported one by one. */
export function file(format: 'csv' | 'arrow'): SourceJson['input'] {
  return { type: 'file', format };
}

/** An environment variable that holds a connection's URL, as `env:NAME`. */
export type Connection = `env:${string}`;

/** A Postgres table. */
export function table(name: string, connection: Connection): SourceJson['input'] {
  return { type: 'table', connection, table: name };
}

/** A Kafka topic of JSON objects; the platform makes it. */
export function topic(name: string): SourceJson['input'] {
  return { type: 'topic', topic: name };
}

// ---------------------------------------------------------------- aggregations

/** An aggregation whose result is of type T, over columns called Names. */
export class Aggregation<T extends FeatureType, Names extends string> {
  declare readonly $type?: T;
  declare readonly $names?: Names;
  constructor(readonly json: AggregationJson) {}
}

/** One side of a ratio. */
export class RatioSide<Names extends string> {
  declare readonly $names?: Names;
  constructor(readonly side: RatioSideJson) {}
}

/** An aggregation that may also be a side of a ratio, there with a filter of its own. */
export class Countable<T extends FeatureType, Names extends string> extends Aggregation<T, Names> {
  constructor(json: Extract<AggregationJson, { op: RatioSideJson['op'] }>) {
    super(json);
  }
  /** Only the events that pass. For the side of a ratio; a feature has its own `where`. */
  where<M extends string>(filter: Expr<'bool', M>): RatioSide<Names | M> {
    return new RatioSide({ ...this.json, where: filter.json } as RatioSideJson);
  }
}

/** Events. */
export function count(): Countable<'int64', never> {
  return new Countable({ op: 'count' });
}
/** The exact sum; whole numbers stay whole. */
export function sum<T extends Num, N extends string>(value: Expr<T, N>): Countable<T, N> {
  return new Countable({ op: 'sum', value: value.json });
}
/** The number of different values, exact; with a limit, never more than that. A lifetime asks for one. */
export function distinct<N extends string>(
  value: Expr<ScalarType, N>,
  options: { limit?: number } = {},
): Countable<'int64', N> {
  return new Countable({ op: 'distinct', value: value.json, ...options });
}
/** The number of different values: exact to `exactTo`, then estimated with a standard error of 1.6 %, in bounded space. */
export function approxDistinct<N extends string>(
  value: Expr<ScalarType, N>,
  options: { exactTo?: number } = {},
): Aggregation<'int64', N> {
  return new Aggregation({ op: 'approxDistinct', value: value.json, exactTo: options.exactTo ?? 256 });
}
/** The sum of values that halve with every half-life since their event. */
export function decayedSum<N extends string>(
  value: Expr<Num, N>,
  options: { halfLife: Duration },
): Aggregation<'float64', N> {
  return new Aggregation({ op: 'decayedSum', value: value.json, halfLifeMs: ms(options.halfLife) });
}
/** The number of events, each of which halves with every half-life. */
export function decayedCount(options: { halfLife: Duration }): Aggregation<'float64', never> {
  return new Aggregation({ op: 'decayedCount', halfLifeMs: ms(options.halfLife) });
}
/** Of numbers, or of vectors of one length, element by element. */
export function mean<T extends Num | 'list<float64>', N extends string>(
  value: Expr<T, N>,
): Aggregation<T extends Num ? 'float64' : 'list<float64>', N> {
  return new Aggregation({ op: 'mean', value: value.json });
}
/** The variance of a sample (over n - 1), unless these are all there are: `{ population: true }` (over n). Exact, rounded once. */
export function variance<N extends string>(
  value: Expr<Num, N>,
  options: { population?: boolean } = {},
): Aggregation<'float64', N> {
  return new Aggregation({ op: 'variance', value: value.json, population: options.population ?? false });
}
/** The standard deviation: the root of the variance, with the same choice. */
export function stddev<N extends string>(
  value: Expr<Num, N>,
  options: { population?: boolean } = {},
): Aggregation<'float64', N> {
  return new Aggregation({ op: 'stddev', value: value.json, population: options.population ?? false });
}
export function min<T extends Num | 'timestamp', N extends string>(value: Expr<T, N>): Aggregation<T, N> {
  return new Aggregation({ op: 'min', value: value.json });
}
export function max<T extends Num | 'timestamp', N extends string>(value: Expr<T, N>): Aggregation<T, N> {
  return new Aggregation({ op: 'max', value: value.json });
}
/** The value of the newest event that has one. */
export function last<T extends ColumnType, N extends string>(value: Expr<T, N>): Aggregation<T, N> {
  return new Aggregation({ op: 'last', value: value.json });
}
/** The newest n values, newest first. */
export function lastN<T extends 'string' | Num, N extends string>(
  value: Expr<T, N>,
  n: number,
): Aggregation<`list<${T}>`, N> {
  return new Aggregation({ op: 'lastN', value: value.json, n });
}
/** The value of the oldest event in the window that has one. */
export function first<T extends ColumnType, N extends string>(value: Expr<T, N>): Aggregation<T, N> {
  return new Aggregation({ op: 'first', value: value.json });
}
/** The oldest n values in the window, oldest first. */
export function firstN<T extends 'string' | Num, N extends string>(
  value: Expr<T, N>,
  n: number,
): Aggregation<`list<${T}>`, N> {
  return new Aggregation({ op: 'firstN', value: value.json, n });
}
/** The k keys of greatest total weight, heaviest first; without a weight, of most events. */
export function topK<T extends 'string' | 'int64', N extends string, M extends string = never>(
  key: Expr<T, N>,
  by: { weight?: Expr<Num, M>; k: number },
): Aggregation<`list<${T}>`, N | M> {
  return new Aggregation({ op: 'topK', key: key.json, weight: by.weight?.json ?? null, k: by.k });
}
/**
 * For each key a count, sum, mean, min, max or last of its own events: spend per category. Of more than `limit` keys those of most
 * events in the window, ties by key ascending.
 */
export function bucketed<T extends 'string' | Num, N extends string, M extends string>(
  by: Expr<'string' | 'int64', N>,
  aggregation: Aggregation<T, M>,
  options: { limit: number },
): Aggregation<`map<string,${T}>`, N | M> {
  return new Aggregation({
    op: 'bucketed',
    by: by.json,
    aggregation: aggregation.json as BucketAggregation,
    limit: options.limit,
  });
}
/** How many values lie below the first edge, from each edge up to the next, and from the last edge on. */
export function histogram<N extends string>(
  value: Expr<Num, N>,
  edges: readonly number[],
): Aggregation<'list<int64>', N> {
  return new Aggregation({ op: 'histogram', value: value.json, edges: [...edges] });
}
/** The value that a share `quantile` (0 to 1) of all lies below, within 1 %. */
export function percentile<N extends string>(
  value: Expr<Num, N>,
  quantile: number,
): Aggregation<'float64', N> {
  return new Aggregation({ op: 'percentile', value: value.json, quantile });
}
/** The items now in the cart, newest added first. `clear` empties it (a checkout). */
export function cart<T extends 'string' | 'int64', N extends string, M extends string>(
  item: Expr<T, N>,
  when: { add: Expr<'bool', M>; remove: Expr<'bool', M>; clear?: Expr<'bool', M>; limit?: number },
): Aggregation<`list<${T}>`, N | M> {
  return new Aggregation({
    op: 'cart',
    item: item.json,
    add: when.add.json,
    remove: when.remove.json,
    clear: when.clear?.json ?? null,
    limit: when.limit ?? 100,
  });
}
type Side<N extends string> = Countable<Num, N> | RatioSide<N>;
/** One over the other, divided when read; null over 0. */
export function ratio<N extends string, M extends string>(
  numerator: Side<N>,
  denominator: Side<M>,
): Aggregation<'float64', N | M> {
  return new Aggregation({ op: 'ratio', numerator: sideJson(numerator), denominator: sideJson(denominator) });
}
function sideJson(side: Side<string>): RatioSideJson {
  return side instanceof RatioSide ? side.side : ({ ...side.json, where: null } as RatioSideJson);
}
/** Whole units since the newest event, or since the first (then over a lifetime). */
export function timeSince(edge: 'first' | 'last', unit: Duration): Aggregation<'int64', never> {
  return new Aggregation({ op: 'timeSince', edge, unitMs: ms(unit) });
}

// ---------------------------------------------------------------- views

interface Served {
  description: string;
  /** Why this name may break a rule of the naming lint. */
  nameException?: string;
}
/** What a changed view is to the version that was live before: the same values, a mistake mended, or another meaning. */
interface Succeeding {
  succeeds?: { version: number; as: Succession; reason: string };
}
interface Stored extends Described, Succeeding {
  /** Older than this, by the newest event, counts as no history. */
  ttl?: Duration;
  freshness?: { tier: 'realtime' | 'hourly' | 'daily'; expectedEvery: Duration };
  /** Of what is written: expect.nullRate(...) and the others. */
  expectations?: readonly Expectation[];
}
const succession = ({ succeeds }: Succeeding): Succeeding => (succeeds ? { succeeds } : {});
type Types = Record<string, FeatureType>;

/** A view, and its features by name. */
export class ViewDef<V extends ViewJson, F extends Types> {
  declare readonly $features?: F;
  constructor(
    readonly json: V,
    /** What it is built on: collected with it. */
    readonly dependencies: ReadonlyArray<EntityDef | SourceDef | AnyView>,
  ) {}
  get kind(): V['kind'] {
    return this.json.kind;
  }
  /** One of its features, for a service or an on-demand expression. */
  feature<K extends keyof F & string>(name: K): FeatureRef<F[K], K> {
    return new StoredFeature<F[K], K>(this, name);
  }
}
export type AnyView = ViewDef<ViewJson, Types>;

interface AggregationFeature<T extends FeatureType, N extends string> extends Served {
  aggregation: Aggregation<T, N>;
  window: WindowJson;
  where?: Expr<'bool', N>;
  /** The value when there is no usable history; by default what an empty window gives. */
  coldStart?: NoInfer<Plain<T>> | null;
}
type AggregationFeatures<F extends Types, N extends string> = {
  [K in keyof F]: AggregationFeature<F[K], N>;
};

/** Windows over the events of one source, or over its sessions, by entity. */
export function aggregationView<const C extends ColumnSpecs, F extends Types, N extends Column<C>>(
  name: string,
  spec: Stored & {
    entity: EntityDef;
    /** Events that belong to the view at all. */
    where?: Expr<'bool', Column<C>>;
    mode: Mode;
    /** Entities younger or poorer than this are immature and get the cold start. */
    minAge?: Duration;
    minEvents?: number;
    features: AggregationFeatures<F, N>;
  } & (
      | {
          source: SourceDef<C>;
          /** Columns that hold the entity's join keys, in its order; by default the columns called like them. */
          key?: ReadonlyArray<Column<C>>;
        }
      /** The key of sessions is what they are by. */
      | { source: SessionsDef<C>; key?: never }
    ),
): ViewDef<AggregationViewJson, F> {
  const sessions = spec.source instanceof SessionsDef ? spec.source : null;
  const source = (sessions?.source ?? spec.source) as SourceDef;
  const key: readonly string[] = sessions?.by ?? spec.key ?? spec.entity.json.keys.map(({ name }) => name);
  const columns = sessions ? sessionColumns(sessions.json, key, source.json.columns) : source.json.columns;
  const inputs = inputsOf(columns);
  const features = Object.entries(spec.features as AggregationFeatures<Types, string>).map(
    ([feature, given]) => {
      const aggregation = given.aggregation.json;
      return {
        name: feature,
        description: given.description,
        type: featureTypeOf(aggregation, inputs) ?? 'float64', // without a type the check names the reason, not this
        coldStart:
          given.coldStart === undefined ? emptyValue(aggregation) : (given.coldStart as FeatureLiteral),
        nameException: given.nameException ?? null,
        where: given.where?.json ?? null,
        window: given.window,
        aggregation,
      };
    },
  );
  const json: AggregationViewJson = {
    kind: 'aggregation',
    name,
    ...described(spec),
    ...succession(spec),
    entity: spec.entity.json.name,
    ttlMs: spec.ttl === undefined ? null : ms(spec.ttl),
    freshness: freshness(spec, spec.mode.type === 'batch' ? spec.mode.cadenceMs : null),
    ...(spec.expectations && { expectations: [...spec.expectations] }),
    source: source.json.name,
    key: [...key],
    ...(sessions && { sessions: sessions.json }),
    where: spec.where?.json ?? null,
    mode: spec.mode,
    minAgeMs: ms(spec.minAge ?? '0ms'),
    minEvents: spec.minEvents ?? 0,
    features,
  };
  return new ViewDef(json, [spec.entity, source]);
}

/** What an aggregation gives for no events. */
function emptyValue(aggregation: AggregationJson): FeatureLiteral {
  const { op } = aggregation;
  if (op === 'histogram') return Array.from({ length: aggregation.edges.length + 1 }, () => 0);
  if (op === 'count' || op === 'sum' || op === 'distinct' || op === 'approxDistinct') return 0;
  if (op === 'decayedSum' || op === 'decayedCount') return 0;
  if (op === 'bucketed') return {};
  return op === 'lastN' || op === 'firstN' || op === 'topK' || op === 'cart' ? [] : null;
}

/** Unless said otherwise: as often as the view ticks; a streaming view is real time and expected every hour. */
function freshness(spec: Stored, cadenceMs: number | null): AggregationViewJson['freshness'] {
  if (spec.freshness) return { tier: spec.freshness.tier, expectedEveryMs: ms(spec.freshness.expectedEvery) };
  if (cadenceMs === null) return { tier: 'realtime', expectedEveryMs: HOUR };
  return { tier: cadenceMs < DAY ? 'hourly' : 'daily', expectedEveryMs: cadenceMs };
}

type ColumnTypes = Record<string, ColumnType>;
interface TypedFeature<T extends ColumnType> extends Served {
  type: T;
  coldStart?: NoInfer<Plain<T>> | null;
}
type TypedFeatures<F extends ColumnTypes> = { [K in keyof F]: TypedFeature<F[K]> };

/** A query on a schedule, for what aggregations cannot say. It gives the join keys, event_timestamp and each feature. */
export function sqlView<F extends ColumnTypes>(
  name: string,
  spec: Stored & {
    entity: EntityDef;
    connection: Connection;
    /** One SELECT with `:as_of`, the tick. */
    query: string;
    /** The tables it reads. append: rows are only added, so a past tick can be computed. */
    reads: Readonly<Record<string, 'append' | 'snapshot'>>;
    every: Duration;
    settle?: Duration;
    features: TypedFeatures<F>;
  },
): ViewDef<SqlViewJson, F> {
  const cadenceMs = ms(spec.every);
  const json: SqlViewJson = {
    kind: 'sql',
    name,
    ...described(spec),
    ...succession(spec),
    entity: spec.entity.json.name,
    ttlMs: spec.ttl === undefined ? null : ms(spec.ttl),
    freshness: freshness(spec, cadenceMs),
    ...(spec.expectations && { expectations: [...spec.expectations] }),
    connection: spec.connection,
    query: spec.query.trim(),
    reads: Object.entries(spec.reads).map(([read, kind]) => ({ table: read, kind })),
    cadenceMs,
    settleMs: ms(spec.settle ?? '0ms'),
    features: Object.entries(spec.features as TypedFeatures<ColumnTypes>).map(([feature, given]) => ({
      name: feature,
      description: given.description,
      type: given.type,
      coldStart: (given.coldStart ?? null) as FeatureLiteral,
      nameException: given.nameException ?? null,
    })),
  };
  return new ViewDef(json, [spec.entity]);
}

type RequestSpecs = Readonly<Record<string, ScalarType>>;

/** Fields that every request carries for an on-demand view. */
export class RequestFields<R extends RequestSpecs> {
  constructor(readonly fields: R) {}
  col<K extends Column<R>>(name: K): Expr<R[K], K> {
    return new Expr({ col: name });
  }
}
export function request<const R extends RequestSpecs>(fields: R): RequestFields<R> {
  return new RequestFields(fields);
}

interface OnDemandFeature<T extends FeatureType> extends Served {
  expression: Expr<T, string>;
  coldStart?: NoInfer<Plain<T>> | null;
}
type OnDemandFeatures<F extends Types> = { [K in keyof F]: OnDemandFeature<F[K]> };

/** Computed when read, from request fields, stored features and the request's clock. What it reads is found in the expressions. */
export function onDemandView<F extends Types>(
  name: string,
  spec: Described & Succeeding & { request?: RequestFields<RequestSpecs>; features: OnDemandFeatures<F> },
): ViewDef<OnDemandViewJson, F> {
  const given = Object.entries(spec.features as OnDemandFeatures<Types>);
  const inputs = given.flatMap(([, feature]) => feature.expression.inputs);
  const fields = { ...spec.request?.fields };
  const types: Record<string, { type: FeatureType }> = {
    ...Object.fromEntries(Object.entries(fields).map(([field, type]) => [field, { type }])),
    ...Object.fromEntries(inputs.map((input) => [input.feature, { type: featureType(input) }])),
  };
  const json: OnDemandViewJson = {
    kind: 'onDemand',
    name,
    ...described(spec),
    ...succession(spec),
    request: fields,
    inputs: [...new Set(inputs.map((input) => refName(input)))],
    features: given.map(([feature, of]) => ({
      name: feature,
      description: of.description,
      type: expressionTypeOf(of.expression.json, types) ?? 'float64', // without a type the check names the reason, not this
      coldStart: (of.coldStart ?? null) as FeatureLiteral,
      nameException: of.nameException ?? null,
      expression: of.expression.json,
    })),
  };
  return new ViewDef(json, [...new Set(inputs.map((input) => input.view))]);
}

function featureType(ref: FeatureRef<FeatureType, string>): FeatureType {
  return ref.view.json.features.find((feature) => feature.name === ref.feature)?.type ?? 'float64';
}

const refName = (ref: FeatureRef<FeatureType, string>): string => `${ref.view.json.name}:${ref.feature}`;

// ---------------------------------------------------------------- services and the whole

export interface ServiceDef {
  readonly kind: 'service';
  readonly json: ServiceJson;
  readonly dependencies: readonly AnyView[];
}

/** The features a model reads, in the order of its vector. A view stands for all of its features. */
export function service(
  name: string,
  spec: Described & { features: ReadonlyArray<AnyView | FeatureRef<FeatureType, string>> },
): ServiceDef {
  const refs = spec.features.flatMap((part) =>
    part instanceof ViewDef
      ? part.json.features.map((feature): FeatureRef<FeatureType, string> => part.feature(feature.name))
      : [part],
  );
  return {
    kind: 'service',
    json: { name, ...described(spec), features: refs.map(refName) },
    dependencies: [...new Set(refs.map((ref) => ref.view))],
  };
}

export type Part = EntityDef | SourceDef | AnyView | ServiceDef;

/**
 * Everything reachable from the given parts, checked and canonical. Throws FS_DEFINITION_INVALID, naming every problem; rules that a
 * policy may bend (policy.ts) are for `plan` and `test`, which know it. Two different things under one name are kept, for the check to name.
 * @param parts as a list or as a tuple: of a list written out the compiler would look for one type of all views, comparing each with each
 * @param options owners: how to reach those whom `owner` names
 */
export function define(
  parts: readonly [] | readonly Part[],
  { owners = [] }: { owners?: readonly Owner[] } = {},
): Definitions {
  const found = new Set<Part>();
  const collect = (part: Part): void => {
    if (found.has(part)) return;
    found.add(part);
    if ('dependencies' in part) part.dependencies.forEach(collect);
  };
  parts.forEach(collect);
  const all = [...found];
  return assertSound({
    owners,
    entities: all.filter((part) => part.kind === 'entity').map((part) => part.json),
    sources: all.filter((part) => part.kind === 'source').map((part) => part.json),
    views: all.filter((part): part is AnyView => part instanceof ViewDef).map((part) => part.json),
    services: all.filter((part) => part.kind === 'service').map((part) => part.json),
  });
}
