/** A small made-up shop for the oracle's tests: one source, and short ways to write its events and views. */
import type {
  Aggregation,
  AggregationFeature,
  AggregationView,
  Expression,
  Literal,
  Operator,
  Source,
} from '../../core/definition.js';
import type { Event, FeatureValue, Value } from '../../core/event.js';
import { answer } from '../../oracle/oracle.js';

export const MINUTE = 60_000;
export const HOUR = 60 * MINUTE;
export const DAY = 24 * HOUR;

const nullable = (type: Source['columns'][string]['type']) => ({ type, nullable: true });

/** The columns stand in no order here; events hold them sorted: amount, bought_at, item, kind, paid, quantity. */
export const shop: Source = {
  name: 'shop',
  description: 'made up',
  owner: 'tests',
  tags: [],
  origin: null,
  kind: 'append',
  input: { type: 'file', format: 'csv' },
  columns: {
    quantity: nullable('int64'),
    kind: nullable('string'),
    item: nullable('string'),
    amount: nullable('float64'),
    paid: nullable('bool'),
    bought_at: nullable('timestamp'),
  },
  eventTime: 'bought_at',
  arrival: null,
  id: null,
  sequence: null,
  arrivalDelayMs: 0,
  allowedLatenessMs: 0,
  maxFutureMs: 5000,
  dedupeMs: 0,
  retentionMs: null,
};

export interface EventInWords {
  at: number;
  /** Epoch ms; by default at once. */
  arrivedAt?: number;
  sequence?: number;
  order?: number;
  id?: string;
  amount?: number | null;
  item?: string | null;
  kind?: string | null;
  paid?: boolean | null;
  quantity?: number | null;
}

export function event(words: EventInWords): Event {
  const { at, amount = null, item = null, kind = null, paid = null, quantity = null } = words;
  const values: Value[] = [amount, at, item, kind, paid, quantity];
  return {
    timestamp: at,
    arrivedAt: words.arrivedAt ?? at,
    sequence: words.sequence ?? 1,
    order: words.order ?? 0,
    id: words.id ?? 'e',
    values,
  };
}

export const col = (name: string): Expression => ({ col: name });
export const lit = (value: Literal): Expression => ({ lit: value });
export const op = (name: Operator, ...args: Expression[]): Expression => ({ op: name, args });
export const isKind = (kind: string): Expression => op('eq', col('kind'), lit(kind));

export function feature(parts: Partial<AggregationFeature>): AggregationFeature {
  return {
    name: 'f',
    description: 'made up',
    type: 'int64',
    coldStart: -1,
    nameException: null,
    where: null,
    window: { type: 'lifetime' },
    aggregation: { op: 'count' },
    ...parts,
  };
}

export function view(parts: Partial<AggregationView>): AggregationView {
  return {
    kind: 'aggregation',
    name: 'v',
    description: 'made up',
    owner: 'tests',
    tags: [],
    entity: 'user',
    ttlMs: null,
    freshness: { tier: 'realtime', expectedEveryMs: HOUR },
    source: 'shop',
    key: ['item'],
    where: null,
    mode: { type: 'streaming', rowsEveryMs: HOUR },
    minAgeMs: 0,
    minEvents: 0,
    features: [feature({})],
    ...parts,
  };
}

/** The value of one feature over all events, read at `at` (by default a day later than 1970 began). */
export function valueFor(
  aggregation: Aggregation,
  events: readonly EventInWords[],
  parts: Partial<AggregationFeature> = {},
  at = DAY,
): FeatureValue | undefined {
  // An event of another kind keeps the entity known when there is none to count.
  const known = [event({ at: -DAY * 365, kind: 'other' }), ...events.map(event)];
  const where = op('and', op('or', op('ne', col('kind'), lit('other')), op('isNull', col('kind'))));
  const features = [
    feature({ aggregation, ...parts, where: parts.where ? op('and', where, parts.where) : where }),
  ];
  return answer(view({ features }), shop, known, { type: 'record', at, sequence: 1 }).values.f;
}
