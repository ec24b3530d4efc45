/** Events of a busy shop, made up: 100,000 users, the busiest of whom make most of it (Zipf), over 45 days. The same seed gives the same events. */
import type { AggregationFeature, AggregationView, Expression, Source } from '../core/definition.js';
import type { Event } from '../core/event.js';
import { DAY, HOUR, MINUTE } from '../core/time.js';

/** In columns, in order of time: what a computation over them reads first. */
export interface Made {
  keys: number;
  /** Epoch ms, ascending. */
  timestamps: Float64Array;
  /** 0 to keys - 1. */
  users: Int32Array;
  /** Cents, 1 to 50,000. */
  amounts: Int32Array;
  /** Seconds of attention, a double with many digits. */
  scores: Float64Array;
  /** 0 to 4: view, cart, search, buy, rate. */
  kinds: Uint8Array;
}

export const START = Date.UTC(2026, 0, 1);
export const SPAN = 45 * DAY;
export const KINDS = ['view', 'cart', 'search', 'buy', 'rate'];

/** Numbers from 0 to 1 (mulberry32). */
export function createRandom(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}

export function make(events: number, keys: number, seed = 1): Made {
  const random = createRandom(seed);
  const rank = zipf(keys, random);
  const made: Made = {
    keys,
    timestamps: new Float64Array(events),
    users: new Int32Array(events),
    amounts: new Int32Array(events),
    scores: new Float64Array(events),
    kinds: new Uint8Array(events),
  };
  for (let i = 0; i < events; i++) {
    made.timestamps[i] = START + Math.floor(random() * SPAN);
    made.users[i] = rank();
    made.amounts[i] = 1 + Math.floor(50_000 * random() ** 3);
    made.scores[i] = -Math.log(1 - random()) * 30;
    made.kinds[i] = Math.floor(5 * random() ** 2);
  }
  made.timestamps.sort();
  return made;
}

/** A rank, 0 the most frequent: rank r comes in proportion to 1 / (r + 1). */
function zipf(keys: number, random: () => number): () => number {
  const reached = new Float64Array(keys);
  let sum = 0;
  for (let rank = 0; rank < keys; rank++) reached[rank] = sum += 1 / (rank + 1);
  return () => {
    const wanted = random() * sum;
    let low = 0;
    let high = keys - 1;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if (reached[middle]! < wanted) low = middle + 1;
      else high = middle;
    }
    return low;
  };
}

export const source: Source = {
  name: 'clicks',
  description: 'made up for measuring',
  owner: 'bench',
  tags: [],
  origin: 'made up',
  kind: 'append',
  input: { type: 'file', format: 'arrow' },
  columns: {
    user_id: { type: 'int64', nullable: false },
    at: { type: 'timestamp', nullable: false },
    amount: { type: 'int64', nullable: false },
    score: { type: 'float64', nullable: false },
    kind: { type: 'string', nullable: false },
  },
  eventTime: 'at',
  arrival: null,
  id: null,
  sequence: null,
  arrivalDelayMs: 0,
  allowedLatenessMs: HOUR,
  maxFutureMs: 5_000,
  dedupeMs: DAY,
  retentionMs: null,
};

/** The event of a place in the columns, as the archive's reader gives it. Columns in the order of their names. */
export function eventAt(made: Made, index: number): Event {
  const timestamp = made.timestamps[index]!;
  return {
    timestamp,
    arrivedAt: timestamp,
    sequence: index + 1,
    order: 0,
    id: '',
    values: [
      made.amounts[index]!,
      timestamp,
      KINDS[made.kinds[index]!]!,
      made.scores[index]!,
      made.users[index]!,
    ],
  };
}

const HOPS: Record<number, number> = {
  [HOUR]: MINUTE,
  [DAY]: 10 * MINUTE,
  [7 * DAY]: HOUR,
  [30 * DAY]: 12 * HOUR,
};
const WINDOWS = Object.keys(HOPS).map(Number);
const col = (name: string): Expression => ({ col: name });

export function viewOf(
  features: Array<Pick<AggregationFeature, 'where' | 'window' | 'aggregation'>>,
): AggregationView {
  return {
    kind: 'aggregation',
    name: 'measured',
    description: 'measured',
    owner: 'bench',
    tags: [],
    entity: 'user',
    ttlMs: null,
    freshness: { tier: 'realtime', expectedEveryMs: HOUR },
    source: source.name,
    key: ['user_id'],
    where: null,
    mode: { type: 'streaming', rowsEveryMs: HOUR },
    minAgeMs: 0,
    minEvents: 0,
    features: features.map((feature, index) => ({
      name: `feature_${index}`,
      description: 'measured',
      type: 'float64',
      coldStart: null,
      nameException: null,
      ...feature,
    })),
  };
}

/** Count, sum and mean of one number over the windows: by default 1 h, 1 d, 7 d and 30 d, 12 features. */
export function plain(
  value: 'amount' | 'score' = 'amount',
  windows: readonly number[] = WINDOWS,
): AggregationView {
  return viewOf(
    windows.flatMap((ms) =>
      [
        { op: 'count' } as const,
        { op: 'sum', value: col(value) } as const,
        { op: 'mean', value: col(value) } as const,
      ].map((aggregation) => ({
        where: null,
        window: { type: 'sliding', ms, hopMs: HOPS[ms]! } as const,
        aggregation,
      })),
    ),
  );
}

/** 57 features of 15 (filter, window) pairs: all events, and those of four kinds, over 1 h, 7 d and 30 d. */
export function wide(): AggregationView {
  const filters: Array<Expression | null> = [
    null,
    ...KINDS.slice(0, 4).map((kind): Expression => ({ op: 'eq', args: [col('kind'), { lit: kind }] })),
  ];
  const pairs = filters.flatMap((where) => [HOUR, 7 * DAY, 30 * DAY].map((ms) => ({ where, ms })));
  const features = pairs.flatMap(({ where, ms }) =>
    (
      [
        { op: 'count' },
        { op: 'sum', value: col('amount') },
        { op: 'mean', value: col('score') },
        ...(ms === HOUR ? [{ op: 'last', value: col('kind') }] : []),
        ...(ms === 7 * DAY ? [{ op: 'max', value: col('amount') }] : []),
        ...(ms === 30 * DAY && where === null
          ? [
              { op: 'timeSince', edge: 'last', unitMs: MINUTE },
              { op: 'distinct', value: col('kind') },
            ]
          : []),
      ] as AggregationFeature['aggregation'][]
    ).map((aggregation) => ({
      where,
      window: { type: 'sliding', ms, hopMs: HOPS[ms]! } as const,
      aggregation,
    })),
  );
  return viewOf(features);
}
