/**
 * The k keys of greatest positive total weight, or of most events; heaviest first, ties by key ascending. Totals are exact. A step is
 * the whole new list, and only where the list changes: it is short, the changes behind it are many.
 *
 * What each key weighs is kept as any total of a window is (sum.ts), or once for all windows that nest (nested.ts): each has a list of
 * its own, made of what lies in its level and the shorter ones. Records carry lists, never what keys weigh.
 */
import type { Codec, Scalar } from '../codec/scalar.js';
import { compareScalars, scalarCodecs } from '../codec/scalar.js';
import type { ScalarType } from '../definition.js';
import type { Event } from '../event.js';
import type { Adder, Total } from '../exact.js';
import { nothingAdder } from '../exact.js';
import type { Nest, NestedState, Sums } from './nested.js';
import { nestedPart, throughLevel } from './nested.js';
import { listCodec } from './newest.js';
import type { Part, Step } from './part.js';
import type { Sum, SumState } from './sum.js';
import { sumPart } from './sum.js';

/** What makes a key heavy. */
export interface Weighing<T> {
  adder: Adder<T>;
  /** What an event adds to its key; null: the event is skipped. */
  weight: (event: Event) => T | null;
  /** Positive where the first is heavier. */
  compare: (a: Readonly<Sum<T>>, b: Readonly<Sum<T>>) => number;
}

export interface Ranking<T> extends Weighing<T> {
  k: number;
  type: ScalarType;
  /** null: the event is skipped */
  key: (event: Event) => Scalar | null;
}

/** A key weighs what its events do. */
export function byWeight<T>(adder: Adder<T>, weight: (event: Event) => T | null): Weighing<T> {
  return { adder, weight, compare: (a, b) => adder.compare(a.total, b.total) };
}

/** A key weighs as much as it has events. */
export const byCount: Weighing<0> = {
  adder: nothingAdder,
  weight: () => nothingAdder.zero,
  compare: (a, b) => a.count - b.count,
};

export function topPart<T>(ranking: Ranking<T>): Part<SumState<Weights<T>>, Scalar[], Scalar[]> {
  const part = sumPart(weightsByKey(ranking), oneKey(ranking));
  const windowsOf = ({ total }: Sum<Weights<T>>): Array<Weights<T>> => [total];
  return {
    ...rankedPart(ranking, part, windowsOf),
    value: (state) => namesOf(top(ranking, part.value(state).total)),
    apply: (_, next) => next,
    ...listCodec(scalarCodecs[ranking.type]),
  };
}

/** @returns values: one list per level */
export function nestedTopPart<T>(
  ranking: Ranking<T>,
  nest: Nest,
): Part<NestedState<Weights<T>>, Scalar[][], Scalar[]> {
  const weights = weightsByKey(ranking);
  const part = nestedPart(weights, oneKey(ranking), nest);
  const list = listCodec(scalarCodecs[ranking.type]);
  const levels = Array.from({ length: nest.spans.length + (nest.lifetime ? 1 : 0) }, (_, level) => level);
  const windowsOf = (sums: Sums<Weights<T>>): Array<Weights<T>> =>
    levels.map((level) => throughLevel(weights, sums, level).total);
  return {
    ...rankedPart(ranking, part, windowsOf),
    value: (state) => windowsOf(part.value(state)).map((each) => namesOf(top(ranking, each))),
    apply: (lists, next, lane) => lists.with(lane, next),
    encodeValue(writer, lists) {
      for (const each of lists) list.encodeValue(writer, each);
    },
    decodeValue: (reader) => levels.map(() => list.decodeValue(reader)),
  };
}

/**
 * What a part of lists has from the part of weights they are made of.
 * @param windowsOf its value by window
 */
function rankedPart<T, State, Value>(
  ranking: Ranking<T>,
  part: Part<State, Value, Sum<Weights<T>>>,
  windowsOf: (value: Value) => Array<Weights<T>>,
): Omit<Part<State, unknown, Scalar[]>, 'value' | 'apply' | 'encodeValue' | 'decodeValue'> {
  const weights = weightsByKey(ranking);
  const list = listCodec(scalarCodecs[ranking.type]);
  return {
    lanes: part.lanes ?? 1,
    create: () => part.create(),
    add: (state, event, leaves) => part.add(state, event, leaves),
    leave: (state, until) => part.leave(state, until),
    nextLeave: (state) => part.nextLeave(state),
    steps(state) {
      const windows = windowsOf(part.value(state)).map((each) => weights.copy(each));
      const lists = windows.map((each) => top(ranking, each));
      const changes: Step<Scalar[]>[] = [];
      for (const { at, lane = 0, change } of part.steps(state)) {
        const rest = weights.subtract(windows[lane]!, change.total);
        const before = lists[lane]!;
        if (!isTouched(ranking, before, rest, change.total.keys())) continue;
        const after = top(ranking, rest);
        lists[lane] = after;
        const isSame =
          after.length === before.length && after.every(({ name }, place) => name === before[place]!.name);
        if (!isSame) changes.push({ at, lane, change: namesOf(after) });
      }
      return changes;
    },
    encodeState: (writer, state) => part.encodeState(writer, state),
    decodeState: (reader) => part.decodeState(reader),
    encodeChange: (writer, names) => list.encodeValue(writer, names),
    decodeChange: (reader) => list.decodeValue(reader),
  };
}

/** A key is in it while any of its events is in the window, whatever they weigh. What stands at a key is replaced, never changed. */
type Weights<T> = Map<Scalar, Readonly<Sum<T>>>;

function oneKey<T>({ key, weight }: Ranking<T>): (event: Event) => Weights<T> | null {
  return (event) => {
    const name = key(event);
    const total = weight(event);
    return name === null || total === null ? null : new Map().set(name, { count: 1, total });
  };
}

/** In place. Bytes: per key ascending the key | unless one event is left to tell of: varint how many | what they weigh */
function weightsByKey<T>({ type, adder }: Ranking<T>): Total<Weights<T>> {
  const codec: Codec<Scalar> = scalarCodecs[type];
  return {
    zero: new Map(),
    copy: (a) => new Map(a),
    add(a, b) {
      for (const [name, sum] of b) {
        const known = a.get(name);
        if (known === undefined) a.set(name, sum);
        else a.set(name, { count: known.count + sum.count, total: adder.add(known.total, sum.total) });
      }
      return a;
    },
    subtract(a, b) {
      for (const [name, { count, total }] of b) {
        const known = a.get(name)!;
        if (known.count === count) a.delete(name);
        else a.set(name, { count: known.count - count, total: adder.subtract(known.total, total) });
      }
      return a;
    },
    encode(writer, a, count) {
      let left = count;
      for (const [name, sum] of [...a].sort(([x], [y]) => compareScalars(x, y))) {
        codec.encode(writer, name);
        if (left > 1) writer.varint(sum.count);
        left -= sum.count;
        adder.encode(writer, sum.total);
      }
    },
    decode(reader, total) {
      const a: Weights<T> = new Map();
      for (let left = total; left > 0; ) {
        const name = codec.decode(reader);
        const count = left > 1 ? reader.varint() : 1;
        a.set(name, { count, total: adder.decode(reader) });
        left -= count;
      }
      return a;
    },
  };
}

interface Ranked<T> {
  name: Scalar;
  sum: Readonly<Sum<T>>;
}

/** k are kept of many, which are not sorted: it is asked again and again for the steps that come. */
function top<T>(ranking: Ranking<T>, weights: Weights<T>): Ranked<T>[] {
  const { k, compare } = ranking;
  const nothing = { count: 0, total: ranking.adder.zero };
  const best: Ranked<T>[] = [];
  for (const [name, sum] of weights) {
    if (compare(sum, nothing) <= 0) continue;
    let place = best.length;
    while (place > 0 && isBefore(ranking, name, sum, best[place - 1]!)) place--;
    if (place === k) continue;
    best.splice(place, 0, { name, sum });
    if (best.length > k) best.pop();
  }
  return best;
}

function isBefore<T>(
  { compare }: Ranking<T>,
  name: Scalar,
  sum: Readonly<Sum<T>>,
  other: Ranked<T>,
): boolean {
  return (compare(sum, other.sum) || -compareScalars(name, other.name)) > 0;
}

function namesOf(ranked: readonly Ranked<unknown>[]): Scalar[] {
  return ranked.map(({ name }) => name);
}

/** Whether keys that weigh otherwise now were among the heaviest, or would be: what loses a negative weight gets heavier. */
function isTouched<T>(
  ranking: Ranking<T>,
  heaviest: readonly Ranked<T>[],
  weights: Weights<T>,
  names: Iterable<Scalar>,
): boolean {
  if (heaviest.length < ranking.k) return true;
  for (const each of names) {
    if (heaviest.some(({ name }) => name === each)) return true;
    const sum = weights.get(each);
    if (sum !== undefined && isBefore(ranking, each, sum, heaviest.at(-1)!)) return true;
  }
  return false;
}
