/**
 * A part for each key: a map from key to what an aggregation gives for the key's own events. All keys of the window are kept. What is
 * answered, now and at every coming step, are the `limit` keys of most events in the window, ties by key ascending: a
 * function of these events alone, so a key that was left out is there again once others have left.
 *
 * Over several windows that nest, the part within a bucket is one over all of them. A key is kept once, while the longest has one of
 * its events. A shorter one loses nothing by it: the bucket tells it apart, and it ranks and answers its own keys.
 *
 * A record carries answers, not states, and a change says which of a window's change, by their place: most steps are of one or two keys.
 */
import type { ByteReader, ByteWriter } from '../codec/bytes.js';
import { type Codec, compareScalars, scalarCodecs } from '../codec/scalar.js';
import type { Event } from '../event.js';
import type { Int64 } from '../int64.js';
import type { Sharing, Span } from './nested.js';
import { stepsOfLanes } from './nested.js';
import type { Part, Step } from './part.js';
import { NEVER } from './part.js';
import type { Sum } from './sum.js';

/** What a key's value is. */
export type Answer = string | Int64;
/** By key, ascending. */
export type Answers = ReadonlyArray<readonly [key: string, answer: Answer]>;

interface Change {
  /** By place in the answers before it, ascending; null: the key is gone. */
  changed: ReadonlyArray<readonly [place: number, answer: Answer | null]>;
  entered: Answers;
}

/** A part within a bucket, of one window or of several that nest. It takes in events in any order; its values are not written. */
export interface Inner<State, Value, Change>
  extends Pick<
    Part<State, Value, Change>,
    'create' | 'add' | 'leave' | 'nextLeave' | 'steps' | 'encodeState' | 'decodeState'
  > {
  lanes: number;
  /** One per lane. Asked after `leave`. */
  values(state: State): Value[];
  /** A change of the lane that the value is of. */
  apply(value: Value, change: Change): Value;
}

/** @param spans of sliding windows that nest; null: of one other window */
export function innerOf<Value, Change>(
  { own, shared, pick }: Sharing<Value>,
  spans: readonly Span[] | null,
): Inner<unknown, Value, Change> {
  const one = own() as Part<unknown, Value, Change>;
  const apply = (value: Value, change: Change): Value => one.apply(value, change, 0);
  if (spans === null) return { ...one, lanes: 1, values: (state) => [one.value(state)], apply };
  const all = shared(spans) as Part<unknown, unknown, Change>;
  return {
    ...all,
    lanes: spans.length,
    values(state) {
      const value = all.value(state);
      return spans.map((_, lane) => pick(value, lane));
    },
    apply,
  };
}

export interface Bucket<State, Value, Change> {
  part: Inner<State, Value, Change>;
  /** Of a lane's value: how many events it is of. */
  count: (value: Value) => number;
  /** Of a lane's value: what the map shows; null: the key is not shown. */
  answer: (value: Value) => Answer | null;
  type: 'string' | 'int64' | 'float64';
}

interface BucketedState<State> {
  /** None of no events. */
  buckets: Map<string, State>;
  /**
   * The least time at which an event leaves, so that a tick at which none does costs nothing. -NEVER: of a state that was read, what has
   * left by now is not known.
   */
  soonest: number;
}

/** @param keyOf null: the event is skipped; else the bucket counts it. @returns values: the answers of each lane */
export function bucketedPart<State, Value, InnerChange>(
  limit: number,
  keyOf: (event: Event) => string | null,
  { part, count, answer, type }: Bucket<State, Value, InnerChange>,
): Part<BucketedState<State>, Answers[], Change> {
  const codec = scalarCodecs[type] as Codec<Answer>;

  /** By lane, the keys that have events in it. */
  function lanesOf({ buckets }: BucketedState<State>): Array<Map<string, Entry<Value>>> {
    const lanes = Array.from({ length: part.lanes }, () => new Map<string, Entry<Value>>());
    for (const [key, bucket] of buckets)
      part.values(bucket).forEach((value, lane) => {
        const entry = { key, value, count: count(value), shown: null };
        if (entry.count > 0) lanes[lane]!.set(key, entry);
      });
    return lanes;
  }

  /** Those of most events first: the first `limit` are answered. */
  function rank(entries: ReadonlyMap<string, Entry<Value>>): Entry<Value>[] {
    return [...entries.values()].sort(compareRanks);
  }

  /** Lets them show what they answer. @returns those that answer something, by key */
  function show(entries: Iterable<Entry<Value>>): Entry<Value>[] {
    const shown: Entry<Value>[] = [];
    for (const entry of entries) {
      entry.shown = answer(entry.value);
      if (entry.shown !== null) shown.push(entry);
    }
    return shown.sort(compareKeys);
  }

  /** Of one lane. @param coming what leaves its keys, by time */
  function stepsOf(
    ranking: Entry<Value>[],
    coming: ReadonlyArray<Leaving<Value, InnerChange>>,
  ): Step<Change>[] {
    let shown = show(ranking.slice(0, limit));
    const steps: Step<Change>[] = [];
    for (let i = 0; i < coming.length; ) {
      const { at } = coming[i]!;
      const touched = new Set<Entry<Value>>();
      for (; coming[i]?.at === at; i++) {
        const { entry, change } = coming[i]!;
        ranking.splice(placeOf(ranking, entry), 1);
        entry.value = part.apply(entry.value, change);
        entry.count = count(entry.value);
        if (entry.count > 0) ranking.splice(placeOf(ranking, entry), 0, entry);
        touched.add(entry);
      }
      // Events only leave: a key of which none left is answered as before, or enters because others fell behind it.
      const entering = new Set(ranking.slice(0, limit));
      const changed: Array<readonly [number, Answer | null]> = [];
      shown.forEach((entry, place) => {
        const stays = entering.delete(entry);
        if (stays && !touched.has(entry)) return;
        const next = stays ? answer(entry.value) : null;
        if (next !== entry.shown) changed.push([place, next]);
        entry.shown = next;
      });
      const entered = show(entering);
      if (changed.length + entered.length === 0) continue;
      steps.push({ at, change: { changed, entered: answersOf(entered) } });
      shown = shown.filter((entry) => entry.shown !== null);
      if (entered.length > 0) shown = [...shown, ...entered].sort(compareKeys);
    }
    return steps;
  }

  return {
    lanes: part.lanes,
    create: () => ({ buckets: new Map(), soonest: NEVER }),
    add(state, event, leaves) {
      const key = keyOf(event);
      if (key === null) return;
      const bucket = state.buckets.get(key) ?? part.create();
      state.buckets.set(key, bucket);
      part.add(bucket, event, leaves);
      state.soonest = Math.min(state.soonest, part.nextLeave(bucket));
    },
    leave(state, until) {
      if (state.soonest > until) return;
      state.soonest = NEVER;
      for (const [key, bucket] of state.buckets) {
        part.leave(bucket, until);
        if (count(part.values(bucket).at(-1)!) === 0) state.buckets.delete(key);
        else state.soonest = Math.min(state.soonest, part.nextLeave(bucket));
      }
    },
    nextLeave: ({ soonest }) => soonest,
    value: (state) => lanesOf(state).map((entries) => answersOf(show(rank(entries).slice(0, limit)))),
    steps(state) {
      const lanes = lanesOf(state);
      const coming = lanes.map((): Leaving<Value, InnerChange>[] => []);
      for (const [key, bucket] of state.buckets)
        for (const { at, lane = 0, change } of part.steps(bucket))
          coming[lane]!.push({ at, entry: lanes[lane]!.get(key)!, change });
      for (const leaving of coming) leaving.sort((a, b) => a.at - b.at);
      return stepsOfLanes(lanes, (entries, lane) => stepsOf(rank(entries), coming[lane]!));
    },
    apply: (value, change, lane) => value.with(lane, apply(value[lane]!, change)),
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
      return { buckets, soonest: -NEVER };
    },
    encodeValue(writer, value) {
      for (const answers of value) encodeAnswers(writer, answers);
    },
    decodeValue: (reader) => Array.from({ length: part.lanes }, () => decodeAnswers(reader)),
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

/** A key in one lane. */
interface Entry<Value> {
  key: string;
  value: Value;
  /** Of its value. */
  count: number;
  /** What the map shows; null: the key is not in it. */
  shown: Answer | null;
}

interface Leaving<Value, Change> {
  at: number;
  entry: Entry<Value>;
  change: Change;
}

function answersOf(shown: ReadonlyArray<Entry<unknown>>): Answers {
  return shown.map((entry) => [entry.key, entry.shown!]);
}

function apply(answers: Answers, { changed, entered }: Change): Answers {
  const next: Array<Answers[number] | null> = [...answers];
  for (const [place, answer] of changed) next[place] = answer === null ? null : [answers[place]![0], answer];
  const left = next.filter((entry) => entry !== null);
  return entered.length === 0 ? left : byKey([...left, ...entered]);
}

function compareRanks(a: Entry<unknown>, b: Entry<unknown>): number {
  return b.count - a.count || compareKeys(a, b);
}

function compareKeys(a: Entry<unknown>, b: Entry<unknown>): number {
  return compareScalars(a.key, b.key);
}

/** Where it stands in a ranking, or would. */
function placeOf(ranking: ReadonlyArray<Entry<unknown>>, entry: Entry<unknown>): number {
  let low = 0;
  let high = ranking.length;
  while (low < high) {
    const middle = (low + high) >>> 1;
    if (compareRanks(ranking[middle]!, entry) < 0) low = middle + 1;
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
export function counted<Counting, State, Value, Change>(
  counting: Inner<Counting, Sum<unknown>, Sum<unknown>>,
  part: Inner<State, Value, Change>,
): Inner<{ count: Counting; state: State }, { count: number; value: Value }, CountedChange<Change>> {
  return {
    lanes: part.lanes,
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
    values({ count, state }) {
      const values = part.values(state);
      return counting.values(count).map(({ count }, lane) => ({ count, value: values[lane]! }));
    },
    /** The part's value changes only when an event leaves, and then the count does. */
    steps({ count, state }) {
      const changes = part.steps(state);
      let next = 0;
      return counting.steps(count).map(({ at, lane = 0, change: { count: left } }) => {
        const own = changes[next];
        if (own?.at !== at || (own.lane ?? 0) !== lane) return { at, lane, change: { left, change: null } };
        next += 1;
        return { at, lane, change: { left, change: { of: own.change } } };
      });
    },
    apply: ({ count, value }, { left, change }) => ({
      count: count - left,
      value: change === null ? value : part.apply(value, change.of),
    }),
    encodeState(writer, { count, state }) {
      counting.encodeState(writer, count);
      part.encodeState(writer, state);
    },
    decodeState: (reader) => ({ count: counting.decodeState(reader), state: part.decodeState(reader) }),
  };
}
