/**
 * An aggregation view made ready to run: what makes an event belong, the parts its features need (each once), and how each
 * feature is read from them. Input is a checked definition; anything else is our own mistake.
 */

import type { Answers, Bucket } from './aggregate/bucketed.js';
import { bucketedPart, counted } from './aggregate/bucketed.js';
import type { Counts } from './aggregate/buckets.js';
import { bucketsPart } from './aggregate/buckets.js';
import { CART_KEPT, cartPart } from './aggregate/cart.js';
import { countPart } from './aggregate/count.js';
import { decayedTo, decayPart, decayWindow } from './aggregate/decay.js';
import { distinctPart } from './aggregate/distinct.js';
import { estimatedPart } from './aggregate/estimated.js';
import { extremePart } from './aggregate/extreme.js';
import { hoppingPart } from './aggregate/hopping.js';
import { newestPart } from './aggregate/newest.js';
import { oldestPart } from './aggregate/oldest.js';
import type { AnyPart } from './aggregate/part.js';
import { NEVER } from './aggregate/part.js';
import { bucketOf, quantileOf } from './aggregate/percentile.js';
import { sessionPart } from './aggregate/session.js';
import type { Sum } from './aggregate/sum.js';
import { sumPart } from './aggregate/sum.js';
import { firstAtOrAfter } from './aggregate/tiles.js';
import { topPart } from './aggregate/top.js';
import { assert } from './assert.js';
import { calendarBoundaries } from './calendar.js';
import type {
  Aggregation,
  AggregationFeature,
  AggregationView,
  BucketAggregation,
  ColumnType,
  Expression,
  RatioSide,
  Source,
  Window,
} from './definition.js';
import type { Event, FeatureValue, Value } from './event.js';
import { columnNames } from './event.js';
import type { Adder, Dyadic } from './exact.js';
import {
  dyadicAdder,
  dyadicSquares,
  roundQuotient,
  roundRoot,
  spread,
  wholeAdder,
  wholeSquares,
} from './exact.js';
import type { Inputs } from './expression.js';
import { compileExpression, typeOf } from './expression.js';
import { DAY, leavesAt, SECOND, tumblesAt, WEEK } from './time.js';

/** A part in its place: which events it takes in, and when they leave. */
export interface Slot {
  part: AnyPart;
  accepts(event: Event): boolean;
  leaves(timestamp: number): number;
}

export interface CompiledView {
  view: AggregationView;
  source: Source;
  /** Whether an event belongs to the view at all. */
  accepts(event: Event): boolean;
  /** The values of the entity's join keys in an event. */
  keyOf(event: Event): Value[];
  slots: Slot[];
  /** For each feature in order: its value at `at`, from the value of each slot. */
  reads: Array<(values: readonly unknown[], at: number) => FeatureValue>;
  /** Every leaving time is a multiple of this. */
  unitMs: number;
}

export function compileView(view: AggregationView, source: Source): CompiledView {
  const names = columnNames(source);
  const inputs: Inputs = new Map(
    names.map((name, index) => [name, { index, type: source.columns[name]!.type }]),
  );
  const slots: Slot[] = [];
  const known = new Map<string, number>();
  // A view has one zone; asking it is slow, so its slots share what was found.
  const calendars = new Map<string, (ms: number) => number>();
  let unitMs = 0;

  function evaluator(expression: Expression): (event: Event) => Value {
    const evaluate = compileExpression(expression, inputs);
    return (event) => evaluate(event.values, event.timestamp);
  }

  function predicate(where: Expression | null): (event: Event) => boolean {
    if (where === null) return () => true;
    const evaluate = evaluator(where);
    return (event) => evaluate(event) === true;
  }

  function scalarType(expression: Expression): ColumnType {
    const result = typeOf(expression, inputs);
    assert(
      'type' in result && result.type !== 'null' && !result.type.startsWith('list'),
      `${JSON.stringify(expression)} was never checked`,
    );
    return result.type as ColumnType;
  }

  /** When an event leaves the window, and what all such times are multiples of; 0: there are none. */
  function leavingOf(window: Window): { at: (timestamp: number) => number; unitMs: number } {
    switch (window.type) {
      case 'lifetime':
        return { at: () => NEVER, unitMs: 0 };
      case 'session': // its part knows
        return { at: () => NEVER, unitMs: 1 };
      case 'sliding':
      case 'hopping':
        return { at: (timestamp) => leavesAt(timestamp, window.ms, window.hopMs), unitMs: window.hopMs };
      case 'tumbling':
        return {
          at: (timestamp) => tumblesAt(timestamp, window.ms),
          unitMs: window.ms % WEEK === 0 ? DAY : window.ms,
        };
      case 'calendar': {
        const at = calendars.get(window.unit) ?? calendarBoundaries(window.unit, window.zone);
        calendars.set(window.unit, at);
        return { at, unitMs: SECOND };
      }
    }
  }

  /** The slot of a part with this meaning; made when no feature needed it before. */
  function slot(meaning: unknown[], window: Window, where: Expression[], create: () => AnyPart): number {
    const identity = JSON.stringify([meaning, window, where]);
    const found = known.get(identity);
    if (found !== undefined) return found;
    const tests = where.map(predicate);
    const accepts = (event: Event): boolean => tests.every((test) => test(event));
    const part = create();
    const leaving = leavingOf(window);
    if (window.type === 'hopping')
      slots.push({ part: hoppingPart(part, window.hopMs) as AnyPart, accepts, leaves: leaving.at });
    else if (window.type === 'session')
      slots.push({
        part: sessionPart(part, window.gapMs, accepts) as AnyPart,
        accepts: () => true,
        leaves: leaving.at,
      });
    else slots.push({ part, accepts, leaves: leaving.at });
    unitMs = greatestCommonDivisor(unitMs, leaving.unitMs);
    known.set(identity, slots.length - 1);
    return slots.length - 1;
  }

  function term<T>(adder: Adder<T>, value: Expression): (event: Event) => T | null {
    const evaluate = evaluator(value);
    return (event) => {
      const x = evaluate(event);
      return x === null ? null : adder.of(x as number);
    };
  }

  function countSlot(window: Window, where: Expression[]): number {
    return slot(['count'], window, where, countPart as () => AnyPart);
  }

  function sumSlot(
    value: Expression,
    window: Window,
    where: Expression[],
  ): { at: number; adder: Adder<unknown> } {
    const adder = adderOf(scalarType(value));
    return {
      at: slot(['sum', value], window, where, () => sumPart(adder, term(adder, value)) as AnyPart),
      adder,
    };
  }

  function squaresSlot(value: Expression, window: Window, where: Expression[]): number {
    const adder = (scalarType(value) === 'float64' ? dyadicSquares : wholeSquares) as Adder<unknown>;
    return slot(['squares', value], window, where, () => sumPart(adder, term(adder, value)) as AnyPart);
  }

  function distinctSlot(
    { value, limit = Number.POSITIVE_INFINITY }: { value: Expression; limit?: number },
    window: Window,
    where: Expression[],
  ): number {
    return slot(
      ['distinct', value, limit],
      window,
      where,
      () => distinctPart(limit, scalarType(value), evaluator(value)) as AnyPart,
    );
  }

  /** One side of a ratio as a double. */
  function side(
    ratio: RatioSide,
    window: Window,
    outer: Expression[],
  ): (values: readonly unknown[]) => number {
    const where = ratio.where === null ? outer : [...outer, ratio.where];
    if (ratio.op === 'sum') {
      const { at, adder } = sumSlot(ratio.value, window, where);
      return (values) => Number(adder.result((values[at] as Sum<unknown>).total));
    }
    const at = ratio.op === 'count' ? countSlot(window, where) : distinctSlot(ratio, window, where);
    return (values) => values[at] as number;
  }

  /** What each bucket keeps. */
  function bucketOfEach(inner: BucketAggregation): Bucket<unknown, unknown, unknown> {
    function bucket<State, Value, Change>(
      type: ColumnType,
      given: Omit<Bucket<State, Value, Change>, 'type'>,
    ): Bucket<unknown, unknown, unknown> {
      return { ...given, type } as Bucket<unknown, unknown, unknown>;
    }
    if (inner.op === 'count')
      return bucket('int64', { part: countPart(), count: (count) => count, answer: (count) => count });
    const { op, value } = inner;
    const type = scalarType(value);
    switch (op) {
      case 'sum':
      case 'mean': {
        const adder = adderOf(type);
        const isSum = op === 'sum';
        return bucket(isSum ? type : 'float64', {
          part: sumPart(adder, term(adder, value)),
          count: ({ count }) => count,
          answer: ({ count, total }) =>
            finite(isSum ? adder.result(total) : Number(adder.result(total)) / count),
        });
      }
      case 'min':
      case 'max':
        return bucket(type, {
          part: counted(extremePart(op === 'max' ? 1 : -1, type, evaluator(value))),
          count: ({ count }) => count,
          answer: ({ value }) => value,
        });
      case 'last':
        return bucket(type, {
          part: counted(newestPart(1, type, evaluator(value))),
          count: ({ count }) => count,
          answer: ({ value }) => value[0] as string | number,
        });
    }
  }

  function read(feature: AggregationFeature): CompiledView['reads'][number] {
    const { aggregation, window } = feature;
    const where = feature.where === null ? [] : [feature.where];
    switch (aggregation.op) {
      case 'count': {
        const at = countSlot(window, where);
        return (values) => values[at] as number;
      }
      case 'sum': {
        const { at, adder } = sumSlot(aggregation.value, window, where);
        return (values) => finite(adder.result((values[at] as Sum<unknown>).total));
      }
      case 'mean': {
        const { at, adder } = sumSlot(aggregation.value, window, where);
        return (values) => {
          const { count, total } = values[at] as Sum<unknown>;
          return count === 0 ? null : finite(Number(adder.result(total)) / count);
        };
      }
      case 'variance':
      case 'stddev': {
        const { value, population } = aggregation;
        const { at, adder } = sumSlot(value, window, where);
        const squaresAt = squaresSlot(value, window, where);
        const round = aggregation.op === 'variance' ? roundQuotient : roundRoot;
        return (values) => {
          const { count, total } = values[at] as Sum<unknown>;
          if (count < (population ? 1 : 2)) return null;
          const squares = (values[squaresAt] as Sum<unknown>).total;
          const divisor = BigInt(count) * BigInt(population ? count : count - 1);
          return finite(round(spread(count, adder.dyadic(total), adder.dyadic(squares)), divisor));
        };
      }
      case 'decayedSum':
      case 'decayedCount': {
        const { halfLifeMs } = aggregation;
        const value = aggregation.op === 'decayedSum' ? aggregation.value : null;
        const at = slot(['decayed', value, halfLifeMs], decayWindow(window, halfLifeMs), where, () => {
          const input = value === null ? () => 1 : (evaluator(value) as (event: Event) => number | null);
          return decayPart(halfLifeMs, input) as AnyPart;
        });
        return (values, now) => finite(decayedTo(now, (values[at] as Sum<Dyadic>).total, halfLifeMs));
      }
      case 'min':
      case 'max': {
        const sign = aggregation.op === 'max' ? 1 : -1;
        const at = slot([aggregation.op, aggregation.value], window, where, () => {
          return extremePart(sign, scalarType(aggregation.value), evaluator(aggregation.value)) as AnyPart;
        });
        return (values) => values[at] as FeatureValue;
      }
      case 'last':
      case 'lastN': {
        const n = aggregation.op === 'last' ? 1 : aggregation.n;
        const at = slot(['newest', n, aggregation.value], window, where, () => {
          return newestPart(n, scalarType(aggregation.value), evaluator(aggregation.value)) as AnyPart;
        });
        if (aggregation.op === 'lastN') return (values) => values[at] as FeatureValue;
        return (values) => (values[at] as Value[])[0] ?? null;
      }
      case 'first':
      case 'firstN': {
        const n = aggregation.op === 'first' ? 1 : aggregation.n;
        const at = slot(['oldest', n, aggregation.value], window, where, () => {
          return oldestPart(n, scalarType(aggregation.value), evaluator(aggregation.value)) as AnyPart;
        });
        if (aggregation.op === 'firstN') return (values) => values[at] as FeatureValue;
        return (values) => (values[at] as Value[])[0] ?? null;
      }
      case 'distinct': {
        const at = distinctSlot(aggregation, window, where);
        return (values) => values[at] as number;
      }
      case 'approxDistinct': {
        const { value, exactTo } = aggregation;
        const at = slot(['estimated', value, exactTo], window, where, () => {
          return estimatedPart(exactTo, scalarType(value), evaluator(value)) as AnyPart;
        });
        return (values) => values[at] as number;
      }
      case 'topK': {
        const { k, key, weight } = aggregation;
        const at = slot(['top', k, key, weight], window, where, () => {
          return topPart(
            k,
            scalarType(key),
            adderOf(weight === null ? 'int64' : scalarType(weight)),
            evaluator(key),
            weight === null ? () => 1 : evaluator(weight),
          ) as AnyPart;
        });
        return (values) => values[at] as FeatureValue;
      }
      case 'histogram': {
        const { value, edges } = aggregation;
        const at = slot(['histogram', value, edges], window, where, () => {
          const evaluate = evaluator(value) as (event: Event) => number | null;
          return bucketsPart((event) => {
            const x = evaluate(event);
            if (x === null) return null;
            const edge = firstAtOrAfter(edges, x);
            return edges[edge] === x ? edge + 1 : edge;
          }) as AnyPart;
        });
        return (values) =>
          Array.from({ length: edges.length + 1 }, (_, bucket) => (values[at] as Counts).get(bucket) ?? 0);
      }
      case 'percentile': {
        const { value, quantile } = aggregation;
        const whole = scalarType(value) === 'int64';
        const at = slot(['percentile', value], window, where, () => {
          const evaluate = evaluator(value) as (event: Event) => number | null;
          return bucketsPart((event) => {
            const x = evaluate(event);
            return x === null ? null : bucketOf(x);
          }) as AnyPart;
        });
        return (values) => quantileOf(values[at] as Counts, quantile, whole);
      }
      case 'bucketed': {
        const { by, aggregation: inner, limit } = aggregation;
        const at = slot(['bucketed', by, inner, limit], window, where, () => {
          const key = evaluator(by);
          const value = inner.op === 'count' ? () => true : evaluator(inner.value);
          const keyOf = (event: Event): string | null => {
            const name = key(event);
            return name === null || value(event) === null ? null : String(name);
          };
          return bucketedPart(limit, keyOf, bucketOfEach(inner)) as AnyPart;
        });
        return (values) => Object.fromEntries(values[at] as Answers);
      }
      case 'cart': {
        const { item, add, remove, clear, limit } = aggregation;
        const at = slot(['cart', item, add, remove, clear, limit], window, where, () => {
          return cartPart(limit, CART_KEPT, scalarType(item), {
            item: evaluator(item),
            add: evaluator(add),
            remove: evaluator(remove),
            clear: clear === null ? () => false : evaluator(clear),
          }) as AnyPart;
        });
        return (values) => values[at] as FeatureValue;
      }
      case 'ratio': {
        const numerator = side(aggregation.numerator, window, where);
        const denominator = side(aggregation.denominator, window, where);
        return (values) => {
          const below = denominator(values);
          return below === 0 ? null : finite(numerator(values) / below);
        };
      }
      case 'timeSince': {
        // The newest (or first) event's time is the greatest (or least) of their times.
        const sign = aggregation.edge === 'last' ? 1 : -1;
        const at = slot(['eventTime', sign], window, where, () => {
          return extremePart(sign, 'timestamp', (event) => event.timestamp) as AnyPart;
        });
        const { unitMs: unit } = aggregation;
        return (values, now) =>
          values[at] === null ? null : Math.floor((now - (values[at] as number)) / unit);
      }
    }
  }

  const keyIndexes = view.key.map((column) => names.indexOf(column));
  return {
    view,
    source,
    accepts: predicate(view.where),
    keyOf: (event) => keyIndexes.map((index) => event.values[index] ?? null),
    reads: view.features.map(read),
    slots,
    unitMs: unitMs || 1,
  };
}

/** Whether the value moves between steps, by the clock alone: a row written at one moment does not tell it at another. */
export function isMoving({ op }: Aggregation): boolean {
  return op === 'timeSince' || op === 'decayedSum' || op === 'decayedCount';
}

function adderOf(type: ColumnType): Adder<unknown> {
  const adder: Adder<number | bigint> | Adder<Dyadic> = type === 'float64' ? dyadicAdder : wholeAdder;
  return adder as Adder<unknown>;
}

/** A total beyond the doubles has no value; there is no negative zero. */
function finite(value: number | bigint): number | bigint | null {
  if (typeof value === 'bigint') return value;
  return Number.isFinite(value) ? value + 0 : null;
}

function greatestCommonDivisor(a: number, b: number): number {
  return b === 0 ? a : greatestCommonDivisor(b, a % b);
}
