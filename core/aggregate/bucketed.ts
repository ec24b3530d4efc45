/**
 * A part for each key: a map from key to what an aggregation gives for the key's own events. All keys of the window are kept. What is
 * answered, now and at every coming step, are the `limit` keys of most events in the window, ties by key ascending: a
 * function of these events alone, so a key that was left out is there again once others have left.
 *
 * A record carries answers, not states: a change is, of the keys whose answer changes, the new one.
 */
import type { ByteReader, ByteWriter } from '../codec/bytes.js';
import { compareScalars, scalarCodecs } from '../codec/scalar.js';
import type { Event } from '../event.js';
import { wholeAdder } from '../exact.js';
import { countPart } from './count.js';
import type { Part, Step } from './part.js';
import { NEVER } from './part.js';

/** What a key's value is: exact, so an int64 may be a bigint. */
export type Answer = string | number | bigint;
export type Answers = ReadonlyMap<string, Answer>;
/** null: the key is gone. */
type Change = ReadonlyMap<string, Answer | null>;

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
  const codec = type === 'int64' ? wholeAdder : scalarCodecs[type];

  /** The keys that are answered. */
  function chosen(values: ReadonlyMap<string, Value>): ReadonlySet<string> | ReadonlyMap<string, Value> {
    if (values.size <= limit) return values;
    const fullest = [...values].map(([key, value]) => ({ key, count: count(value) }));
    fullest.sort((a, b) => b.count - a.count || compareScalars(a.key, b.key));
    return new Set(fullest.slice(0, limit).map(({ key }) => key));
  }

  function valuesOf({ buckets }: BucketedState<State>): Map<string, Value> {
    return new Map(Array.from(buckets, ([key, state]) => [key, part.value(state)]));
  }

  function answersOf(values: ReadonlyMap<string, Value>): Map<string, Answer> {
    const answers = new Map<string, Answer>();
    for (const key of chosen(values).keys()) {
      const shown = answer(values.get(key)!);
      if (shown !== null) answers.set(key, shown);
    }
    return answers;
  }

  function soonest(state: BucketedState<State>): number {
    if (state.soonest === null) {
      state.soonest = NEVER;
      for (const bucket of state.buckets.values())
        state.soonest = Math.min(state.soonest, part.nextLeave(bucket));
    }
    return state.soonest;
  }

  const encodeAnswer = codec.encode as (writer: ByteWriter, answer: Answer) => void;
  const decodeAnswer = codec.decode as (reader: ByteReader) => Answer;

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
    value: (state) => answersOf(valuesOf(state)),
    steps(state) {
      const values = valuesOf(state);
      const shown = answersOf(values);
      const coming = Array.from(state.buckets, ([key, bucket]) =>
        part.steps(bucket).map(({ at, change }) => ({ at, key, change })),
      ).flat();
      coming.sort((a, b) => a.at - b.at);
      const steps: Step<Change>[] = [];
      for (let i = 0; i < coming.length; ) {
        const { at } = coming[i]!;
        const bounded = values.size > limit;
        const touched: string[] = [];
        for (; coming[i]?.at === at; i++) {
          const { key, change } = coming[i]!;
          const value = part.apply(values.get(key)!, change);
          if (count(value) === 0) values.delete(key);
          else values.set(key, value);
          touched.push(key);
        }
        // While all keys are answered, only those that were touched can change.
        const keys = chosen(values);
        const change = new Map<string, Answer | null>();
        for (const key of bounded ? [...shown.keys(), ...keys.keys()] : touched) {
          const next = keys.has(key) ? answer(values.get(key)!) : null;
          if (next === (shown.get(key) ?? null)) continue;
          change.set(key, next);
          if (next === null) shown.delete(key);
          else shown.set(key, next);
        }
        if (change.size > 0) steps.push({ at, change });
      }
      return steps;
    },
    apply(answers, change) {
      const next = new Map(answers);
      for (const [key, answer] of change)
        if (answer === null) next.delete(key);
        else next.set(key, answer);
      return next;
    },
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
    encodeValue(writer, answers) {
      writer.varint(answers.size);
      for (const [key, answer] of byKey(answers)) {
        writer.text(key);
        encodeAnswer(writer, answer);
      }
    },
    decodeValue(reader) {
      const answers = new Map<string, Answer>();
      for (let size = reader.varint(); size > 0; size--) answers.set(reader.text(), decodeAnswer(reader));
      return answers;
    },
    /** varint keys | per key, ascending: text | u8 0 = gone, 1 = the answer follows */
    encodeChange(writer, change) {
      writer.varint(change.size);
      for (const [key, answer] of byKey(change)) {
        writer.text(key);
        writer.u8(answer === null ? 0 : 1);
        if (answer !== null) encodeAnswer(writer, answer);
      }
    },
    decodeChange(reader) {
      const change = new Map<string, Answer | null>();
      for (let size = reader.varint(); size > 0; size--)
        change.set(reader.text(), reader.u8() === 0 ? null : decodeAnswer(reader));
      return change;
    },
  };
}

function byKey<T>(map: ReadonlyMap<string, T>): Array<[string, T]> {
  return [...map].sort(([a], [b]) => compareScalars(a, b));
}

interface CountedChange<Change> {
  left: number;
  /** null: the value stays. */
  change: { of: Change } | null;
}

/** A part that does not know how many events it is of, beside one that does. Every event it is given counts. */
export function counted<State, Value, Change>(
  part: Inner<State, Value, Change>,
): Inner<{ count: unknown; state: State }, { count: number; value: Value }, CountedChange<Change>> {
  const counting: Inner<unknown, number, number> = countPart() as Part<unknown, number, number>;
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
    value: ({ count, state }) => ({ count: counting.value(count), value: part.value(state) }),
    /** The part's value changes only when an event leaves, and then the count does. */
    steps({ count, state }) {
      const changes = new Map(part.steps(state).map(({ at, change }) => [at, { of: change }]));
      return counting
        .steps(count)
        .map(({ at, change }) => ({ at, change: { left: change, change: changes.get(at) ?? null } }));
    },
    apply: ({ count, value }, { left, change }) => ({
      count: counting.apply(count, left),
      value: change === null ? value : part.apply(value, change.of),
    }),
    encodeState(writer, { count, state }) {
      counting.encodeState(writer, count);
      part.encodeState(writer, state);
    },
    decodeState: (reader) => ({ count: counting.decodeState(reader), state: part.decodeState(reader) }),
  };
}
