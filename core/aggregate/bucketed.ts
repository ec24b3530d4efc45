/**
 * A part for each key: a map from key to what an aggregation gives for the key's own events. All keys of the window are kept. What is
 * answered, now and at every coming step, are the `limit` keys of most events in the window, ties by key ascending: a
 * function of these events alone, so a key that was left out is there again once others have left.
 *
 * A record carries answers, not states, and a change says which of them change, by their place: most steps are of one or two keys.
 */
import type { ByteReader, ByteWriter } from '../codec/bytes.js';
import { type Codec, compareScalars, scalarCodecs } from '../codec/scalar.js';
import type { Event } from '../event.js';
import { nothingAdder } from '../exact.js';
import type { Int64 } from '../int64.js';
import type { Part, Step } from './part.js';
import { NEVER } from './part.js';
import type { SumState } from './sum.js';
import { sumPart } from './sum.js';

/** What a key's value is. */
export type Answer = string | Int64;
/** By key, ascending. */
export type Answers = ReadonlyArray<readonly [key: string, answer: Answer]>;

interface Change {
  /** By place in the answers before it, ascending; null: the key is gone. */
  changed: ReadonlyArray<readonly [place: number, answer: Answer | null]>;
  entered: Answers;
}

/** What is asked of a part within a bucket. It takes in events in any order; its values are not written. */
export type Inner<State, Value, Change> = Pick<
  Part<State, Value, Change>,
  'create' | 'add' | 'leave' | 'nextLeave' | 'value' | 'steps' | 'apply' | 'encodeState' | 'decodeState'
>;

export interface Bucket<State, Value, Change> {
  part: Inner<State, Value, Change>;
  /** Of its value: how many events it is of. */
  count: (value: Value) => number;
  /** Of its value: what the map shows; null: the key is not shown. */
  answer: (value: Value) => Answer | null;
  type: 'string' | 'int64' | 'float64';
}

interface BucketedState<State> {
  /** None of no events. */
  buckets: Map<string, State>;
  /** The least time at which an event leaves, so that a tick at which none does costs nothing; null: to be looked for. */
  soonest: number | null;
}

/** @param keyOf null: the event is skipped; else the bucket counts it */
export function bucketedPart<State, Value, InnerChange>(
  limit: number,
  keyOf: (event: Event) => string | null,
  { part, count, answer, type }: Bucket<State, Value, InnerChange>,
): Part<BucketedState<State>, Answers, Change> {
  const codec = scalarCodecs[type] as Codec<Answer>;

  function valuesOf({ buckets }: BucketedState<State>): Map<string, Value> {
    return new Map(Array.from(buckets, ([key, state]) => [key, part.value(state)]));
  }

  /** All keys, those of most events first: the first `limit` are answered. */
  function rank(values: ReadonlyMap<string, Value>): Rank[] {
    return Array.from(values, ([key, value]) => ({ key, count: count(value) })).sort(compareRanks);
  }

  function top(ranking: readonly Rank[]): Set<string> {
    return new Set(ranking.slice(0, limit).map(({ key }) => key));
  }

  function answersOf(values: ReadonlyMap<string, Value>, keys: Iterable<string>): Answers {
    const answers = Array.from(keys, (key) => [key, answer(values.get(key)!)] as const);
    return byKey(answers.filter((entry): entry is readonly [string, Answer] => entry[1] !== null));
  }

  function soonest(state: BucketedState<State>): number {
    if (state.soonest === null) {
      state.soonest = NEVER;
      for (const bucket of state.buckets.values())
        state.soonest = Math.min(state.soonest, part.nextLeave(bucket));
    }
    return state.soonest;
  }

  return {
    create: () => ({ buckets: new Map(), soonest: NEVER }),
    add(state, event, leaves) {
      const key = keyOf(event);
      if (key === null) return;
      const bucket = state.buckets.get(key) ?? part.create();
      state.buckets.set(key, bucket);
      part.add(bucket, event, leaves);
      if (state.soonest !== null) state.soonest = Math.min(state.soonest, leaves);
    },
    leave(state, until) {
      if (soonest(state) > until) return;
      for (const [key, bucket] of state.buckets) {
        part.leave(bucket, until);
        if (count(part.value(bucket)) === 0) state.buckets.delete(key);
      }
      state.soonest = null;
    },
    nextLeave: soonest,
    value(state) {
      const values = valuesOf(state);
      return answersOf(values, top(rank(values)));
    },
    steps(state) {
      const values = valuesOf(state);
      const ranking = rank(values);
      let answers = answersOf(values, top(ranking));
      const coming = Array.from(state.buckets, ([key, bucket]) =>
        part.steps(bucket).map(({ at, lane = 0, change }) => ({ at, key, lane, change })),
      ).flat();
      coming.sort((a, b) => a.at - b.at);
      const steps: Step<Change>[] = [];
      for (let i = 0; i < coming.length; ) {
        const { at } = coming[i]!;
        const touched = new Set<string>();
        for (; coming[i]?.at === at; i++) {
          const { key, lane, change } = coming[i]!;
          const before = values.get(key)!;
          const value = part.apply(before, change, lane);
          ranking.splice(placeOf(ranking, { key, count: count(before) }), 1);
          const after = { key, count: count(value) };
          if (after.count > 0) ranking.splice(placeOf(ranking, after), 0, after);
          values.set(key, value);
          touched.add(key);
        }
        // Events only leave: a key of which none left is answered as before, or enters because others fell behind it.
        const entering = top(ranking);
        const changed: Array<readonly [number, Answer | null]> = [];
        answers.forEach(([key, shown], place) => {
          const stays = entering.delete(key);
          if (stays && !touched.has(key)) return;
          const next = stays ? answer(values.get(key)!) : null;
          if (next !== shown) changed.push([place, next]);
        });
        const change = { changed, entered: answersOf(values, entering) };
        if (changed.length + change.entered.length === 0) continue;
        steps.push({ at, change });
        answers = apply(answers, change);
      }
      return steps;
    },
    apply,
    /** varint keys | per key, ascending: text | its state */
    encodeState(writer, { buckets }) {
      writer.varint(buckets.size);
      for (const [key, bucket] of byKey(buckets)) {
        writer.text(key);
        part.encodeState(writer, bucket);
      }
    },
    decodeState(reader) {
      const buckets = new Map<string, State>();
      for (let size = reader.varint(); size > 0; size--) buckets.set(reader.text(), part.decodeState(reader));
      return { buckets, soonest: null };
    },
    encodeValue: encodeAnswers,
    decodeValue: decodeAnswers,
    /** varint changed | per one: varint 2 · place + gone | unless gone the answer | those that entered, as a value */
    encodeChange(writer, { changed, entered }) {
      writer.varint(changed.length);
      for (const [place, answer] of changed) {
        writer.varint(2 * place + (answer === null ? 1 : 0));
        if (answer !== null) codec.encode(writer, answer);
      }
      encodeAnswers(writer, entered);
    },
    decodeChange(reader) {
      const changed = Array.from({ length: reader.varint() }, () => {
        const place = reader.varint();
        return [place >> 1, place % 2 === 1 ? null : codec.decode(reader)] as const;
      });
      return { changed, entered: decodeAnswers(reader) };
    },
  };

  /** varint keys | per key, ascending: text | answer */
  function encodeAnswers(writer: ByteWriter, answers: Answers): void {
    writer.varint(answers.length);
    for (const [key, answer] of answers) {
      writer.text(key);
      codec.encode(writer, answer);
    }
  }

  function decodeAnswers(reader: ByteReader): Answers {
    return Array.from({ length: reader.varint() }, () => [reader.text(), codec.decode(reader)] as const);
  }
}

function apply(answers: Answers, { changed, entered }: Change): Answers {
  const next: Array<Answers[number] | null> = [...answers];
  for (const [place, answer] of changed) next[place] = answer === null ? null : [answers[place]![0], answer];
  const left = next.filter((entry) => entry !== null);
  return entered.length === 0 ? left : byKey([...left, ...entered]);
}

interface Rank {
  key: string;
  count: number;
}

function compareRanks(a: Rank, b: Rank): number {
  return b.count - a.count || compareScalars(a.key, b.key);
}

/** Where it stands in a ranking, or would. */
function placeOf(ranking: readonly Rank[], rank: Rank): number {
  let low = 0;
  let high = ranking.length;
  while (low < high) {
    const middle = (low + high) >>> 1;
    if (compareRanks(ranking[middle]!, rank) < 0) low = middle + 1;
    else high = middle;
  }
  return low;
}

function byKey<T>(entries: Iterable<readonly [string, T]>): Array<readonly [string, T]> {
  return [...entries].sort(([a], [b]) => compareScalars(a, b));
}

interface CountedChange<Change> {
  left: number;
  /** null: the value stays. */
  change: { of: Change } | null;
}

/** A part that does not know how many events it is of, beside one that does. Every event it is given counts. */
export function counted<State, Value, Change>(
  part: Inner<State, Value, Change>,
): Inner<{ count: SumState<0>; state: State }, { count: number; value: Value }, CountedChange<Change>> {
  const counting = sumPart(nothingAdder, () => nothingAdder.zero);
  return {
    create: () => ({ count: counting.create(), state: part.create() }),
    add({ count, state }, event, leaves) {
      counting.add(count, event, leaves);
      part.add(state, event, leaves);
    },
    leave({ count, state }, until) {
      counting.leave(count, until);
      part.leave(state, until);
    },
    nextLeave: ({ count }) => counting.nextLeave(count),
    value: ({ count, state }) => ({ count: counting.value(count).count, value: part.value(state) }),
    /** The part's value changes only when an event leaves, and then the count does. */
    steps({ count, state }) {
      const changes = new Map(part.steps(state).map(({ at, change }) => [at, { of: change }]));
      return counting.steps(count).map(({ at, change: { count: left } }) => ({
        at,
        change: { left, change: changes.get(at) ?? null },
      }));
    },
    apply: ({ count, value }, { left, change }, lane) => ({
      count: count - left,
      value: change === null ? value : part.apply(value, change.of, lane),
    }),
    encodeState(writer, { count, state }) {
      counting.encodeState(writer, count);
      part.encodeState(writer, state);
    },
    decodeState: (reader) => ({ count: counting.decodeState(reader), state: part.decodeState(reader) }),
  };
}
