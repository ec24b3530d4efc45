/**
 * An aggregation view made ready to run: what makes an event belong, the parts its features need (each once), and how each
 * feature is read from them. Input is a checked definition; anything else is our own mistake.
 */

import type { Answers, Bucket, Inner } from './aggregate/bucketed.js';
import { bucketedPart, counted, innerOf } from './aggregate/bucketed.js';
import type { Counts } from './aggregate/buckets.js';
import { bucketCounts, histogramOf, oneIn } from './aggregate/buckets.js';
import type { CartInput } from './aggregate/cart.js';
import { CART_KEPT, cartPart } from './aggregate/cart.js';
import { decayedTo, decayPart, decayWindow, nestedDecayPart } from './aggregate/decay.js';
import { distinctPart } from './aggregate/distinct.js';
import { elementwise, meanVector } from './aggregate/elementwise.js';
import { estimatedPart } from './aggregate/estimated.js';
import { extremePart } from './aggregate/extreme.js';
import { hoppingPart } from './aggregate/hopping.js';
import type { Nest, Sharing, Span, Sums } from './aggregate/nested.js';
import { nestedPart, throughLevel } from './aggregate/nested.js';
import { nestedCartPart } from './aggregate/nested-cart.js';
import { nestedDistinctPart } from './aggregate/nested-distinct.js';
import { nestedEstimatedPart } from './aggregate/nested-estimated.js';
import { nestedExtremePart } from './aggregate/nested-extreme.js';
import type { NestedNewest } from './aggregate/nested-newest.js';
import { listOfLane, nestedNewestPart } from './aggregate/nested-newest.js';
import { nestedOldestPart } from './aggregate/nested-oldest.js';
import { newestPart } from './aggregate/newest.js';
import { oldestPart } from './aggregate/oldest.js';
import type { AnyPart } from './aggregate/part.js';
import { NEVER } from './aggregate/part.js';
import { bucketOf, quantileOf } from './aggregate/percentile.js';
import { sessionPart } from './aggregate/session.js';
import type { Sum } from './aggregate/sum.js';
import { sumPart } from './aggregate/sum.js';
import { firstAtOrAfter } from './aggregate/tiles.js';
import type { Ranking, Weighing } from './aggregate/top.js';
import { byCount, byWeight, nestedTopPart, topPart } from './aggregate/top.js';
import { assert } from './assert.js';
import { calendarBoundaries } from './calendar.js';
import type { Present } from './codec/scalar.js';
import type {
  Aggregation,
  AggregationFeature,
  AggregationView,
  BucketAggregation,
  ColumnType,
  Expression,
  RatioSide,
  ScalarType,
  Source,
  Window,
} from './definition.js';
import type { Event, FeatureValue, Scalar, Value } from './event.js';
import { columnNames } from './event.js';
import type { Adder, DoubleTotal, Dyadic, Total } from './exact.js';
import {
  adderOf,
  doubleAdder,
  dyadicAdder,
  dyadicSquares,
  nothingAdder,
  roundQuotient,
  roundRoot,
  spread,
  wholeSquares,
} from './exact.js';
import type { Inputs } from './expression.js';
import { compileExpression, lengthOf, typeOf } from './expression.js';
import type { Int64 } from './int64.js';
import { toInt64 } from './int64.js';
import type { SessionTracker } from './sessions.js';
import { sessionTracker } from './sessions.js';
import { DAY, leavesAt, SECOND, tumblesAt, WEEK } from './time.js';

/** A part in its place: which events it takes in, and when they leave (several windows: the longest). */
export interface Slot {
  part: AnyPart;
  accepts: (event: Event) => boolean;
  leaves: (timestamp: number) => number;
  /** One per lane, ms: what comes to it comes at multiples of this. None: nothing ever does. */
  units: number[];
}

export interface CompiledView {
  view: AggregationView;
  source: Source;
  /** Whether an archived event belongs to the view at all; a retraction always does. */
  accepts(event: Event): boolean;
  /** The id of the event that this one, a retraction, unsays; null: it is none. */
  retracts(event: Event): string | null;
  /** Of a view over sessions: what makes session events of the archived ones. Its slots take in those, and no other. */
  sessions: SessionTracker | null;
  /** The values of the entity's join keys in an event. */
  keyOf(event: Event): Value[];
  slots: Slot[];
  /** For each feature in order: its value at `at`, from the value of each slot. */
  reads: Array<(values: readonly unknown[], at: number) => FeatureValue>;
  /** When an event leaves, by each window there is. */
  leavings: Array<(timestamp: number) => number>;
  /** Its states take in every event, in any order: nothing in them ever asks for a rebuild. */
  takesAll: boolean;
}

export function compileView(view: AggregationView, source: Source): CompiledView {
  const sessions = view.sessions ? sessionTracker(view.sessions, view.key, source) : null;
  const { columns } = sessions ?? source;
  const inputs: Inputs = new Map(
    columnNames({ columns }).map((name, index) => [name, { ...columns[name]!, index }]),
  );
  const slots: Slot[] = [];
  const known = new Map<string, number>();
  const leavings = new Map<string, (timestamp: number) => number>();
  const nests = new Map<string, Nested>();
  // A view has one zone; asking it is slow, so its slots share what was found.
  const calendars = new Map<string, (ms: number) => number>();

  function evaluator(expression: Expression): (event: Event) => Value {
    const evaluate = compileExpression(expression, inputs);
    return (event) => evaluate(event.values, event.timestamp);
  }

  /** A view over sessions asks its own filter about a session event, here, and about none before. */
  function predicates(where: readonly Expression[]): (event: Event) => boolean {
    const tests = (sessions && view.where ? [view.where, ...where] : where).map(predicate);
    if (tests.length < 2) return tests[0] ?? always;
    return (event) => tests.every((test) => test(event));
  }

  function predicate(where: Expression | null): (event: Event) => boolean {
    if (where === null) return always;
    const evaluate = evaluator(where);
    return (event) => evaluate(event) === true;
  }

  function valueType(expression: Expression): ColumnType {
    const result = typeOf(expression, inputs);
    assert('type' in result && result.type !== 'null', `${JSON.stringify(expression)} was never checked`);
    return result.type as ColumnType; // columns are no maps
  }

  function scalarType(expression: Expression): ScalarType {
    const type = valueType(expression);
    assert(!type.startsWith('list'), `${JSON.stringify(expression)} was never checked`);
    return type as ScalarType;
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

  /** @param windows those of the part, the longest last */
  function place(part: AnyPart, accepts: Slot['accepts'], windows: readonly Window[]): void {
    const found = windows.map(leavingOf);
    windows.forEach((window, index) => {
      if (!leavings.has(JSON.stringify(window))) leavings.set(JSON.stringify(window), found[index]!.at);
    });
    const units = found.flatMap(({ unitMs }) => (unitMs === 0 ? [] : [unitMs]));
    slots.push({ part, accepts, leaves: found.at(-1)!.at, units });
  }

  /** The slot of a part with this meaning; made when no feature needed it before. */
  function slot(meaning: unknown[], window: Window, where: Expression[], create: () => AnyPart): number {
    const identity = JSON.stringify([meaning, window, where]);
    const found = known.get(identity);
    if (found !== undefined) return found;
    const accepts = predicates(where);
    const part = create();
    if (window.type === 'hopping') place(hoppingPart(part, window.hopMs) as AnyPart, accepts, [window]);
    else if (window.type === 'session')
      place(sessionPart(part, window.gapMs, accepts) as AnyPart, always, [window]);
    else place(part, accepts, [window]);
    known.set(identity, slots.length - 1);
    return slots.length - 1;
  }

  function term<T>(adder: Adder<T>, value: Expression): (event: Event) => T | null {
    const evaluate = evaluator(value);
    return (event) => {
      const x = evaluate(event);
      return x === null ? null : adder.of(x as Int64);
    };
  }

  /** Number and total of what events add (the input's terms are the part's own) in a window. */
  function totalsOf<T>(
    meaning: Meaning,
    total: Total<T>,
    input: () => (event: Event) => T | null,
    window: Window,
    where: Expression[],
  ): (values: readonly unknown[]) => Sum<T> {
    return lasting(meaning, window, where, {
      own: () => sumPart(total, input()) as AnyPart,
      shared: (nest) => nestedPart(total, input(), nest) as AnyPart,
      pick: (sums, level) => throughLevel(total, sums as Sums<T>, level),
    });
  }

  /** Sliding windows of one meaning share a slot as far as they nest; where this one stands there is known when all have asked. */
  function nested(
    meaning: Meaning,
    window: NestedWindow,
    where: Expression[],
    create: (nest: Nest) => AnyPart,
  ): Asked {
    const identity = JSON.stringify([meaning, where]);
    const known = nests.get(identity) ?? { meaning, where, create, asked: [] };
    nests.set(identity, known);
    const asked: Asked = { window, at: -1, level: -1 };
    known.asked.push(asked);
    return asked;
  }

  /** What a part says of one window, whether it shares a slot (`pick` finds it there) or has one of its own. */
  function windowed<V>(
    meaning: Meaning,
    window: Window,
    where: Expression[],
    { own, shared, pick }: Sharing<V>,
  ): (values: readonly unknown[]) => V {
    if (window.type !== 'lifetime')
      return lasting(meaning, window, where, { own, shared: ({ spans }) => shared(spans), pick });
    const at = slot(meaning, window, where, own);
    return (values) => values[at] as V;
  }

  /** The same, where a lifetime shares the slot, too. */
  function lasting<V>(
    meaning: Meaning,
    window: Window,
    where: Expression[],
    { own, shared, pick }: Sharing<V, Nest>,
  ): (values: readonly unknown[]) => V {
    if (window.type === 'sliding' || window.type === 'lifetime') {
      const asked = nested(meaning, window, where, shared);
      return (values) => pick(values[asked.at], asked.level);
    }
    const at = slot(meaning, window, where, own);
    return (values) => values[at] as V;
  }

  /** Whether the value of an event that passes is always there: then as many are totalled as there are events. */
  function isNeverNull(value: Expression): boolean {
    return 'col' in value && columns[value.col]!.nullable === false;
  }

  function placeNests(): void {
    const all = [...nests.values()];
    for (const counts of all.filter(({ meaning: [name] }) => name === 'count')) {
      const same = JSON.stringify(counts.where);
      const host = all.find(
        ({ meaning: [name, value], where }) =>
          name === 'sum' && isNeverNull(value as Expression) && JSON.stringify(where) === same,
      );
      host?.asked.push(...counts.asked.splice(0));
    }
    for (const { create, where, asked } of all) {
      for (const { nest, windows } of nestsOf(asked.map(({ window }) => window))) {
        for (const one of asked) {
          const level = windows.findIndex((window) => isSame(window, one.window));
          if (level >= 0) Object.assign(one, { at: slots.length, level });
        }
        place(create(nest), predicates(where), windows);
      }
    }
  }

  function countSlot(window: Window, where: Expression[]): (values: readonly unknown[]) => number {
    const totals = totalsOf(['count'], nothingAdder, () => () => nothingAdder.zero, window, where);
    return (values) => totals(values).count;
  }

  function sumSlot(
    value: Expression,
    window: Window,
    where: Expression[],
  ): { totals: (values: readonly unknown[]) => Sum<unknown>; adder: Adder<unknown> } {
    const adder = adderOf(scalarType(value));
    return { totals: totalsOf(['sum', value], adder, () => term(adder, value), window, where), adder };
  }

  /** A key weighs as the total of a value, or by its events. */
  function weighing(value: Expression | null): Weighing<unknown> {
    if (value === null) return byCount as Weighing<unknown>;
    const adder = adderOf(scalarType(value));
    return byWeight(adder, term(adder, value));
  }

  /** Of vectors, element by element. */
  function vectorsOf(
    value: Expression,
    length: number,
    window: Window,
    where: Expression[],
  ): (values: readonly unknown[]) => Sum<DoubleTotal[]> {
    const input = (): ((event: Event) => number[] | null) => {
      const evaluate = evaluator(value) as (event: Event) => readonly number[] | null;
      return (event) => evaluate(event)?.slice() ?? null;
    };
    return totalsOf(['vectors', value], elementwise(doubleAdder, length), input, window, where);
  }

  /** How many values fall into each bucket. */
  function countsOf(
    meaning: Meaning,
    value: Expression,
    bucketOf: (value: Int64) => number,
    window: Window,
    where: Expression[],
  ): (values: readonly unknown[]) => Sum<Counts> {
    const input = (): ((event: Event) => Counts | null) => {
      const evaluate = evaluator(value) as (event: Event) => Int64 | null;
      return (event) => {
        const x = evaluate(event);
        return x === null ? null : oneIn(bucketOf(x));
      };
    };
    return totalsOf(meaning, bucketCounts, input, window, where);
  }

  function distinctOf(
    { value, limit = Number.POSITIVE_INFINITY }: { value: Expression; limit?: number },
    window: Window,
    where: Expression[],
  ): (values: readonly unknown[]) => number {
    return windowed(['distinct', value, limit], window, where, {
      own: () => distinctPart(limit, scalarType(value), evaluator(value)) as AnyPart,
      shared: (spans) => nestedDistinctPart(limit, scalarType(value), evaluator(value), spans) as AnyPart,
      pick: (counts, level) => (counts as number[])[level]!,
    });
  }

  /** The least or greatest of what an input gives. */
  function extremes(
    sign: 1 | -1,
    type: ScalarType,
    input: () => (event: Event) => Value,
  ): Sharing<Int64 | null> {
    return {
      own: () => extremePart(sign, type, input()) as AnyPart,
      shared: (spans) => nestedExtremePart(sign, type, input(), spans) as AnyPart,
      pick: (extremes, level) => (extremes as Array<Int64 | null>)[level]!,
    };
  }

  function newest(n: number, value: Expression): Sharing<Present[]> {
    return {
      own: () => newestPart(n, valueType(value), evaluator(value)) as AnyPart,
      shared: (spans) => nestedNewestPart(n, valueType(value), evaluator(value), spans) as AnyPart,
      pick: (list, level) => listOfLane(list as NestedNewest<Present>, level),
    };
  }

  /** One side of a ratio as a double. */
  function side(
    ratio: RatioSide,
    window: Window,
    outer: Expression[],
  ): (values: readonly unknown[]) => number {
    const where = ratio.where === null ? outer : [...outer, ratio.where];
    if (ratio.op === 'sum') {
      const { totals, adder } = sumSlot(ratio.value, window, where);
      return (values) => Number(adder.result(totals(values).total));
    }
    if (ratio.op === 'count') return countSlot(window, where);
    return distinctOf(ratio, window, where);
  }

  /** What each bucket keeps. @param spans as `innerOf` has them */
  function bucketOfEach(
    inner: BucketAggregation,
    spans: readonly Span[] | null,
  ): Bucket<unknown, unknown, unknown> {
    function bucket<Value>(
      type: ScalarType,
      given: Omit<Bucket<unknown, Value, unknown>, 'type'>,
    ): Bucket<unknown, unknown, unknown> {
      return { ...given, type } as Bucket<unknown, unknown, unknown>;
    }
    function sums<T>(adder: Adder<T>, input: (event: Event) => T | null): Inner<unknown, Sum<T>, Sum<T>> {
      const sharing: Sharing<Sum<T>> = {
        own: () => sumPart(adder, input) as AnyPart,
        shared: (spans) => nestedPart(adder, input, { spans, lifetime: false }) as AnyPart,
        pick: (sums, level) => throughLevel(adder, sums as Sums<T>, level),
      };
      return innerOf(sharing, spans);
    }
    const counts = (): Inner<unknown, Sum<unknown>, Sum<unknown>> =>
      sums(nothingAdder, () => nothingAdder.zero);
    if (inner.op === 'count')
      return bucket('int64', { part: counts(), count: ({ count }) => count, answer: ({ count }) => count });
    const { op, value } = inner;
    const type = scalarType(value);
    switch (op) {
      case 'sum':
      case 'mean': {
        const adder = adderOf(type);
        const isSum = op === 'sum';
        return bucket(isSum ? type : 'float64', {
          part: sums(adder, term(adder, value)),
          count: ({ count }) => count,
          answer: ({ count, total }) => {
            const result = adder.result(total);
            return isSum ? held(result) : finite(Number(result) / count);
          },
        });
      }
      case 'min':
      case 'max': {
        const each = extremes(op === 'max' ? 1 : -1, type, () => evaluator(value));
        return bucket(type, {
          part: counted(counts(), innerOf(each, spans)),
          count: ({ count }) => count,
          answer: ({ value }) => value,
        });
      }
      case 'last':
        return bucket(type, {
          part: counted(counts(), innerOf(newest(1, value), spans)),
          count: ({ count }) => count,
          answer: ({ value }) => value[0] as string | Int64,
        });
    }
  }

  function read(feature: AggregationFeature): CompiledView['reads'][number] {
    const { aggregation, window } = feature;
    const where = feature.where === null ? [] : [feature.where];
    switch (aggregation.op) {
      case 'count':
        return countSlot(window, where);
      case 'sum': {
        const { totals, adder } = sumSlot(aggregation.value, window, where);
        return (values) => held(adder.result(totals(values).total));
      }
      case 'mean': {
        const length = lengthOf(aggregation.value, inputs);
        if (length !== null) {
          const vectors = vectorsOf(aggregation.value, length, window, where);
          return (values) => meanVector(vectors(values));
        }
        const { totals, adder } = sumSlot(aggregation.value, window, where);
        return (values) => {
          const { count, total } = totals(values);
          return count === 0 ? null : finite(Number(adder.result(total)) / count);
        };
      }
      case 'variance':
      case 'stddev': {
        const { value, population } = aggregation;
        const { totals, adder } = sumSlot(value, window, where);
        const squaresAdder = (
          scalarType(value) === 'float64' ? dyadicSquares : wholeSquares
        ) as Adder<unknown>;
        const input = (): ((event: Event) => unknown) => term(squaresAdder, value);
        const squaresOf = totalsOf(['squares', value], squaresAdder, input, window, where);
        const round = aggregation.op === 'variance' ? roundQuotient : roundRoot;
        return (values) => {
          const { count, total } = totals(values);
          if (count < (population ? 1 : 2)) return null;
          const squares = squaresAdder.dyadic(squaresOf(values).total);
          const divisor = BigInt(count) * BigInt(population ? count : count - 1);
          return finite(round(spread(count, adder.dyadic(total), squares), divisor));
        };
      }
      case 'decayedSum':
      case 'decayedCount': {
        const { halfLifeMs } = aggregation;
        const value = aggregation.op === 'decayedSum' ? aggregation.value : null;
        const input = (): ((event: Event) => Int64 | null) =>
          value === null ? () => 1 : (evaluator(value) as (event: Event) => Int64 | null);
        const decayed = lasting(['decayed', value, halfLifeMs], decayWindow(window, halfLifeMs), where, {
          own: () => decayPart(halfLifeMs, input()) as AnyPart,
          shared: (nest) => nestedDecayPart(halfLifeMs, input(), nest) as AnyPart,
          pick: (sums, level) => throughLevel(dyadicAdder, sums as Sums<Dyadic>, level),
        });
        return (values, now) => finite(decayedTo(now, decayed(values).total, halfLifeMs));
      }
      case 'min':
      case 'max': {
        const { op, value } = aggregation;
        const each = extremes(op === 'max' ? 1 : -1, scalarType(value), () => evaluator(value));
        return windowed([op, value], window, where, each);
      }
      case 'last':
      case 'lastN': {
        const { op, value } = aggregation;
        const n = op === 'last' ? 1 : aggregation.n;
        const values = windowed(['newest', n, value], window, where, newest(n, value));
        if (op === 'lastN') return (all) => values(all) as FeatureValue;
        return (all) => values(all)[0] ?? null;
      }
      case 'first':
      case 'firstN': {
        const { op, value } = aggregation;
        const n = op === 'first' ? 1 : aggregation.n;
        const oldest = windowed(['oldest', n, value], window, where, {
          own: () => oldestPart(n, valueType(value), evaluator(value)) as AnyPart,
          shared: (spans) => nestedOldestPart(n, valueType(value), evaluator(value), spans) as AnyPart,
          pick: (lists, level) => (lists as Present[][])[level]!,
        });
        if (op === 'firstN') return (values) => oldest(values) as FeatureValue;
        return (values) => oldest(values)[0] ?? null;
      }
      case 'distinct':
        return distinctOf(aggregation, window, where);
      case 'approxDistinct': {
        const { value, exactTo } = aggregation;
        return windowed(['estimated', value, exactTo], window, where, {
          own: () => estimatedPart(exactTo, scalarType(value), evaluator(value)) as AnyPart,
          shared: (spans) =>
            nestedEstimatedPart(exactTo, scalarType(value), evaluator(value), spans) as AnyPart,
          pick: (counts, level) => (counts as number[])[level]!,
        });
      }
      case 'topK': {
        const { k, key, weight } = aggregation;
        const ranking = (): Ranking<unknown> => ({
          k,
          type: scalarType(key),
          key: evaluator(key) as (event: Event) => Scalar | null,
          ...weighing(weight),
        });
        const lists = lasting(['top', k, key, weight], window, where, {
          own: () => topPart(ranking()) as AnyPart,
          shared: (nest) => nestedTopPart(ranking(), nest) as AnyPart,
          pick: (lists, level) => (lists as Scalar[][])[level]!,
        });
        return (values) => lists(values) as FeatureValue;
      }
      case 'histogram': {
        const { value, edges } = aggregation;
        const bucketOf = (x: Int64): number => {
          const edge = firstAtOrAfter(edges, x);
          return edge < edges.length && edges[edge]! <= x ? edge + 1 : edge;
        };
        const counts = countsOf(['histogram', value, edges], value, bucketOf, window, where);
        return (values) => histogramOf(counts(values).total, edges.length + 1);
      }
      case 'percentile': {
        const { value, quantile } = aggregation;
        const whole = scalarType(value) === 'int64';
        const counts = countsOf(['percentile', value], value, (x) => bucketOf(Number(x)), window, where);
        return (values) => quantileOf(counts(values), quantile, whole);
      }
      case 'bucketed': {
        const { by, aggregation: inner, limit } = aggregation;
        const create = (spans: readonly Span[] | null): AnyPart => {
          const key = evaluator(by);
          const value = inner.op === 'count' ? () => true : evaluator(inner.value);
          const keyOf = (event: Event): string | null => {
            const name = key(event);
            return name === null || value(event) === null ? null : String(name);
          };
          return bucketedPart(limit, keyOf, bucketOfEach(inner, spans)) as AnyPart;
        };
        const answers = windowed(['bucketed', by, inner, limit], window, where, {
          own: () => create(null),
          shared: create,
          pick: (all, level) => [(all as Answers[])[level]!],
        });
        return (values) => Object.fromEntries(answers(values)[0]!);
      }
      case 'cart': {
        const { item, add, remove, clear, limit } = aggregation;
        const input = (): CartInput => ({
          item: evaluator(item),
          add: evaluator(add),
          remove: evaluator(remove),
          clear: clear === null ? () => false : evaluator(clear),
        });
        return windowed(['cart', item, add, remove, clear, limit], window, where, {
          own: () => cartPart(limit, CART_KEPT, scalarType(item), input()) as AnyPart,
          shared: (spans) => nestedCartPart(limit, CART_KEPT, scalarType(item), input(), spans) as AnyPart,
          pick: (list, level) => listOfLane(list as NestedNewest<Scalar>, level) as FeatureValue,
        });
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
        const times = extremes(sign, 'timestamp', () => (event) => event.timestamp);
        const time = windowed(['eventTime', sign], window, where, times);
        const { unitMs: unit } = aggregation;
        return (values, now) => {
          const at = time(values);
          return at === null ? null : Math.floor((now - Number(at)) / unit);
        };
      }
    }
  }

  const names = columnNames(source);
  const keyIndexes = view.key.map((column) => names.indexOf(column));
  const reads = view.features.map(read);
  placeNests();
  const belongs = sessions ? (event: Event) => sessions.accepts(event) : predicate(view.where);
  const retracts = retractsOf(source);
  return {
    view,
    source,
    accepts: retracts === null ? belongs : (event) => retracts(event) !== null || belongs(event),
    retracts: retracts ?? (() => null),
    sessions,
    keyOf: (event) => keyIndexes.map((index) => event.values[index] ?? null),
    reads,
    slots,
    leavings: [...leavings.values()],
    takesAll: sessions === null && slots.every(({ part }) => part.takesIn === undefined),
  };
}

const always = (): boolean => true;
/** The id that an event unsays, or null; null where the source has no retractions. An id is compared as the text it is archived as. */
function retractsOf(source: Source): ((event: Event) => string | null) | null {
  if (source.retracts === undefined) return null;
  const index = columnNames(source).indexOf(source.retracts);
  return (event) => {
    const id = event.values[index] ?? null;
    return id === null ? null : String(id);
  };
}

/** Whether the value moves between steps, by the clock alone: a row written at one moment does not tell it at another. */
export function isMoving({ op }: Aggregation): boolean {
  return op === 'timeSince' || op === 'decayedSum' || op === 'decayedCount';
}

/** What a part is: a name, and what it depends on. */
type Meaning = [string, ...unknown[]];

/** Windows of one meaning and filter, and, once they are placed, where each stands. */
interface Nested {
  meaning: Meaning;
  where: Expression[];
  create: (nest: Nest) => AnyPart;
  asked: Asked[];
}

type NestedWindow = Extract<Window, { type: 'sliding' | 'lifetime' }>;

interface Asked {
  window: NestedWindow;
  at: number;
  level: number;
}

/** Windows that fit into each other; mostly all of them do. `windows` by level. */
function nestsOf(asked: readonly NestedWindow[]): Array<{ nest: Nest; windows: NestedWindow[] }> {
  const sliding = asked
    .filter((window) => window.type === 'sliding')
    .sort((a, b) => a.ms - b.ms || a.hopMs - b.hopMs)
    .filter((window, index, all) => index === 0 || !isSame(window, all[index - 1]!));
  const nests: Array<{ nest: { spans: Span[]; lifetime: boolean }; windows: NestedWindow[] }> = [];
  for (const window of sliding) {
    let fitting = nests.find(({ nest }) => window.hopMs % nest.spans.at(-1)!.hopMs === 0);
    if (fitting === undefined) {
      fitting = { nest: { spans: [], lifetime: false }, windows: [] };
      nests.push(fitting);
    }
    fitting.nest.spans.push(window);
    fitting.windows.push(window);
  }
  const lifetime = asked.find(({ type }) => type === 'lifetime');
  if (lifetime !== undefined) {
    if (nests.length === 0) nests.push({ nest: { spans: [], lifetime: true }, windows: [] });
    nests[0]!.nest.lifetime = true;
    nests[0]!.windows.push(lifetime);
  }
  return nests;
}

function isSame(a: NestedWindow, b: NestedWindow): boolean {
  if (a.type === 'lifetime' || b.type === 'lifetime') return a.type === b.type;
  return a.ms === b.ms && a.hopMs === b.hopMs;
}

/** A total beyond 64 bits, or beyond the doubles, has no value. */
function held(total: number | bigint): Int64 | null {
  return typeof total === 'bigint' ? toInt64(total) : finite(total);
}

/** What is beyond the doubles has no value; there is no negative zero. */
function finite(value: number): number | null {
  return Number.isFinite(value) ? value + 0 : null;
}
