/**
 * Count and exact total over several windows at once, each within the next: 1 h, 1 d, 7 d, and without end. An event is kept once. What
 * can be added up and taken away again is a total: sums, also of vectors, counts by bucket, weights by key, what decays.
 *
 * Windows are levels, shortest first. A level holds the events that have left every shorter window and not yet its own, in tiles of
 * what leaves it together. What leaves a level goes on to the next, whose tiles are coarser, so 30 days cost 60 tiles and not
 * 43,200; what leaves the last is gone, or, where one window has no end, stays in a total without tiles. A window's value is the sum
 * of its level and all shorter ones. So an event costs one addition when it comes and one for each level it passes, however many
 * windows there are.
 *
 *   windows 1 h and 1 d, hops 1 min and 10 min, events at 10:00:30 and 10:07; at 11:05 the first has gone on:
 *   level 0: (leaves 11:07, 1)      level 1: (leaves 10:10 on the next day, 1)      values: 1 and 2
 */
import type { ByteWriter } from '../codec/bytes.js';
import type { Codec } from '../codec/scalar.js';
import type { Event } from '../event.js';
import type { Total } from '../exact.js';
import { ceilTo, floorTo } from '../time.js';
import type { AnyPart, Cursor, Part, Step } from './part.js';
import { NEVER } from './part.js';
import type { Sum } from './sum.js';
import { copySum, decodeSum, encodeSum, include as includeSum } from './sum.js';

/** Of a sliding window. */
export interface Span {
  ms: number;
  hopMs: number;
}

/** When what happened at `timestamp`, or in the hop that ends then, leaves. */
export function leavesSpan(timestamp: number, { ms, hopMs }: Span): number {
  return ceilTo(timestamp, hopMs) + ms;
}

/** The last such timestamp that has left by `until`: what is later is inside. */
export function leftBy(until: number, { ms, hopMs }: Span): number {
  return floorTo(until - ms, hopMs);
}

/** An end of the window's hops, in hops. */
export const endCodec = ({ hopMs }: Span): Codec<number> => ({
  encode: (writer, end) => writer.signed(end / hopMs),
  decode: (reader) => reader.signed() * hopMs,
});

/** The steps of each window, its own in order of time, as those of one part. */
export function stepsOfLanes<Window, Change>(
  windows: readonly Window[],
  steps: (window: Window, lane: number) => Array<{ at: number; change: Change }>,
): Step<Change>[] {
  if (windows.length === 1) return steps(windows[0]!, 0);
  const all = windows.flatMap((window, lane) =>
    steps(window, lane).map(({ at, change }) => ({ at, lane, change })),
  );
  return all.sort((a, b) => a.at - b.at);
}

/** Shortest first; each hop divides the next one, so what has left together in one leaves together in all that follow. */
export interface Nest {
  spans: readonly Span[];
  /** After them one that has no end. */
  lifetime: boolean;
}

/** What an aggregation keeps of one window, and of several that nest. Changes are the same of both. */
export interface Sharing<Value, Windows = readonly Span[]> {
  own: () => AnyPart;
  shared: (windows: Windows) => AnyPart;
  /** Of a value of `shared`: what `own`'s would be of one window. */
  pick: (value: unknown, level: number) => Value;
}

/**
 * In one array, since memory is what a state costs: count and total of each level, shortest first; until when all that leaves has left; when
 * something does next (NEVER: nothing does); where the tiles of each level with an end begin and end. Then the tiles, three by three,
 * leaving time in hops of their level, count, total: those of the longest window first, so all in order of time, with gaps where some
 * have gone. The array ends with the last of level 0, where most events come. Each total is in one place only.
 */
export type NestedState<T> = Array<number | T>;

/** Count and total of each level, shortest first; what follows is not looked at. */
export type Sums<T> = ReadonlyArray<number | T>;

const WIDTH = 3;
// Gaps are closed when they take so much room, and more than what is left.
const SLACK = 16 * WIDTH;

/** The sum of a level's window, from the sums of the levels. Not to be changed: the first one's is as it was given. */
export function throughLevel<T>(adder: Total<T>, sums: Sums<T>, level: number): Sum<T> {
  let count = sums[2 * level] as number;
  let total = sums[2 * level + 1] as T;
  // A longer window's level mostly holds more: it is copied, the others are added to it.
  if (level > 0) total = adder.copy(total);
  for (let at = 2 * level - 2; at >= 0; at -= 2) {
    count += sums[at] as number;
    total = adder.add(total, sums[at + 1] as T);
  }
  return { count, total };
}

/**
 * @param term what an event adds, from then on the part's own; null: the event is skipped. A part of counts has an adder of nothing.
 * @returns values: `throughLevel` adds up their sums. Lanes: one per span.
 */
export function nestedPart<T>(
  adder: Total<T>,
  term: (event: Event) => T | null,
  { spans, lifetime }: Nest,
): Part<NestedState<T>, Sums<T>, Sum<T>> {
  const spanMs = spans.map(({ ms }) => ms);
  const hopMs = spans.map(({ hopMs }) => hopMs);
  const bounded = spans.length;
  const levelCount = bounded + (lifetime ? 1 : 0);
  const UNTIL = 2 * levelCount;
  const NEXT = UNTIL + 1;
  const STARTS = NEXT + 1;
  const ENDS = STARTS + bounded;
  const TILES = ENDS + bounded;

  const blank: NestedState<T> = [
    ...Array.from({ length: levelCount }, () => [0, adder.zero]).flat(),
    -NEVER,
    NEVER,
    ...spans.flatMap(() => [TILES, TILES]),
  ];

  /** What is no total. */
  const number = (state: NestedState<T>, at: number): number => state[at] as number;

  /** In hops of the level. */
  const leavesLevel = (timestamp: number, level: number): number =>
    Math.ceil(timestamp / hopMs[level]!) + spanMs[level]! / hopMs[level]!;

  /** To the count and total that stand there. */
  function include(state: NestedState<T>, at: number, count: number, total: T): void {
    const known = number(state, at);
    state[at + 1] = known === 0 ? adder.copy(total) : adder.add(state[at + 1] as T, total);
    state[at] = known + count;
  }

  function exclude(state: NestedState<T>, at: number, count: number, total: T): void {
    const rest = number(state, at) - count;
    state[at + 1] = rest === 0 ? adder.zero : adder.subtract(state[at + 1] as T, total);
    state[at] = rest;
  }

  /** The total becomes the tile's, where there is none yet. */
  function insert(state: NestedState<T>, level: number, leaves: number, count: number, total: T): void {
    include(state, 2 * level, count, total);
    const start = number(state, STARTS + level);
    let at = number(state, ENDS + level);
    while (at > start && number(state, at - WIDTH) > leaves) at -= WIDTH;
    if (at > start && state[at - WIDTH] === leaves) {
      state[at - 2] = number(state, at - 2) + count;
      state[at - 1] = adder.add(state[at - 1] as T, total);
      return;
    }
    open(state, level, at);
    state[at] = leaves;
    state[at + 1] = count;
    state[at + 2] = total;
  }

  /** Makes room for a tile of a level: of the gap behind it, or by moving all that is later. */
  function open(state: NestedState<T>, level: number, at: number): void {
    const end = number(state, ENDS + level);
    state[ENDS + level] = end + WIDTH;
    if (level > 0 && number(state, STARTS + level - 1) - end >= WIDTH) {
      for (let place = end - 1; place >= at; place--) state[place + WIDTH] = state[place]!;
      return;
    }
    if (at === state.length) state.push(0, 0, 0);
    else state.splice(at, 0, 0, 0, 0);
    for (let shorter = 0; shorter < level; shorter++) {
      state[STARTS + shorter] = number(state, STARTS + shorter) + WIDTH;
      state[ENDS + shorter] = number(state, ENDS + shorter) + WIDTH;
    }
  }

  function move(state: NestedState<T>, level: number, until: number): void {
    const limit = Math.floor(until / hopMs[level]!);
    for (;;) {
      const at = number(state, STARTS + level);
      if (at === number(state, ENDS + level)) return;
      const leaves = number(state, at);
      if (leaves > limit) return;
      const count = number(state, at + 1);
      const total = state[at + 2] as T;
      exclude(state, 2 * level, count, total);
      state[STARTS + level] = at + WIDTH;
      if (level + 1 < bounded) {
        // the boundary at which the tile ends: all its events are at or before it, and within one hop of the next level
        const end = leaves * hopMs[level]! - spanMs[level]!;
        insert(state, level + 1, leavesLevel(end, level + 1), count, total);
      } else if (lifetime) include(state, 2 * level + 2, count, total);
    }
  }

  function leave(state: NestedState<T>, until: number): void {
    if (until > number(state, UNTIL)) state[UNTIL] = until;
    if (number(state, NEXT) > until) return;
    for (let level = 0; level < bounded; level++) move(state, level, until);
    close(state);
    state[NEXT] = soonest(state);
  }

  /** Closes the gaps that tiles have left, when they are large. */
  function close(state: NestedState<T>): void {
    let used = 0;
    for (let level = 0; level < bounded; level++)
      used += number(state, ENDS + level) - number(state, STARTS + level);
    const gaps = state.length - TILES - used;
    if (used > 0 && (gaps < SLACK || gaps < used)) return;
    let to = TILES;
    for (let level = bounded - 1; level >= 0; level--) {
      const start = number(state, STARTS + level);
      const end = number(state, ENDS + level);
      state[STARTS + level] = to;
      for (let place = start; place < end; place++) state[to++] = state[place]!;
      state[ENDS + level] = to;
    }
    if (to < state.length) state.length = to;
  }

  function soonest(state: NestedState<T>): number {
    let next = NEVER;
    for (let level = 0; level < bounded; level++) {
      const start = number(state, STARTS + level);
      if (start < number(state, ENDS + level)) next = Math.min(next, number(state, start) * hopMs[level]!);
    }
    return next;
  }

  /** Of a window: what leaves its own level as it is, what leaves a shorter one by its hops. */
  function stepsOf(state: NestedState<T>, lane: number): Array<{ at: number; change: Sum<T> }> {
    const steps: Array<{ at: number; change: Sum<T> }> = [];
    for (let level = lane; level >= 0; level--) {
      const end = number(state, ENDS + level);
      for (let place = number(state, STARTS + level); place < end; place += WIDTH) {
        const at = leavesSpan(number(state, place) * hopMs[level]! - spanMs[level]!, spans[lane]!);
        const tile = { count: number(state, place + 1), total: state[place + 2] as T };
        const last = steps.at(-1);
        if (last?.at === at) includeSum(adder, last.change, tile.count, tile.total);
        else steps.push({ at, change: copySum(adder, tile) });
      }
    }
    return steps;
  }

  const cursors = spans.map(() => new TilesCursor(adder));

  function encodeSums(writer: ByteWriter, sums: Sums<T>, level: number): void {
    const count = sums[2 * level] as number;
    writer.varint(count);
    if (count > 0) adder.encode(writer, sums[2 * level + 1] as T, count);
  }

  return {
    lanes: bounded,
    create: () => blank.slice(),
    add(state, event) {
      const total = term(event);
      if (total === null) return;
      const { timestamp } = event;
      for (let level = 0; level < bounded; level++) {
        const leaves = leavesLevel(timestamp, level);
        const leavesAt = leaves * hopMs[level]!;
        if (leavesAt <= number(state, UNTIL)) continue;
        insert(state, level, leaves, 1, total);
        if (leavesAt < number(state, NEXT)) state[NEXT] = leavesAt;
        return;
      }
      if (lifetime) include(state, 2 * bounded, 1, total);
    },
    leave,
    nextLeave: (state) => number(state, NEXT),
    value: (state) => state,
    steps: (state) => stepsOfLanes(spans, (_, lane) => stepsOf(state, lane)),
    cursors(state) {
      for (let lane = 0; lane < bounded; lane++)
        cursors[lane]!.start(state, number(state, STARTS + lane), number(state, ENDS + lane));
      return cursors;
    },
    onward: (at, lane) => (lane + 1 < bounded ? leavesSpan(at - spanMs[lane]!, spans[lane + 1]!) : NEVER),
    /** What leaves a window is from then on in the next one's level. */
    apply(value, { count, total }, lane) {
      const next = value.slice(0, 2 * levelCount);
      for (let at = 2 * lane; at < next.length && at <= 2 * lane + 2; at += 2) {
        next[at + 1] = adder.copy(next[at + 1] as T);
        if (at === 2 * lane) exclude(next, at, count, total);
        else include(next, at, count, total);
      }
      return next;
    },
    encodeState(writer, state) {
      for (let level = 0; level < levelCount; level++) {
        encodeSums(writer, state, level);
        if (level === bounded) return;
        const start = number(state, STARTS + level);
        const end = number(state, ENDS + level);
        writer.varint((end - start) / WIDTH);
        for (let at = start; at < end; at += WIDTH) {
          if (at === start) writer.signed(number(state, at));
          else writer.varint(number(state, at) - number(state, at - WIDTH));
          writer.varint(number(state, at + 1));
          adder.encode(writer, state[at + 2] as T, number(state, at + 1));
        }
      }
    },
    decodeState(reader) {
      const state = blank.slice();
      const tilesOf: NestedState<T>[] = [];
      for (let level = 0; level < levelCount; level++) {
        const { count, total } = decodeSum(adder, reader);
        state[2 * level] = count;
        state[2 * level + 1] = total;
        if (level === bounded) break;
        const tiles: NestedState<T> = [];
        const length = reader.varint();
        for (let i = 0, leaves = 0; i < length; i++) {
          leaves = i === 0 ? reader.signed() : leaves + reader.varint();
          const tile = decodeSum(adder, reader);
          tiles.push(leaves, tile.count, tile.total);
        }
        tilesOf.push(tiles);
      }
      for (let level = bounded - 1; level >= 0; level--) {
        state[STARTS + level] = state.length;
        for (const one of tilesOf[level]!) state.push(one);
        state[ENDS + level] = state.length;
      }
      state[NEXT] = soonest(state);
      return state;
    },
    encodeValue(writer, value) {
      for (let level = 0; level < levelCount; level++) encodeSums(writer, value, level);
    },
    decodeValue(reader) {
      const sums: Array<number | T> = [];
      for (let level = 0; level < levelCount; level++) {
        const { count, total } = decodeSum(adder, reader);
        sums.push(count, total);
      }
      return sums;
    },
    encodeChange: (writer, left) => encodeSum(adder, writer, left),
    decodeChange: (reader) => decodeSum(adder, reader),
  };
}

/** The tiles of a level. */
class TilesCursor<T> implements Cursor {
  readonly #adder: Total<T>;
  #state: NestedState<T> = [];
  #place = 0;
  #end = 0;
  time = NEVER;

  constructor(adder: Total<T>) {
    this.#adder = adder;
  }

  start(state: NestedState<T>, start: number, end: number): void {
    this.#state = state;
    this.#place = start;
    this.#end = end;
    this.time = start < end ? (state[start] as number) : NEVER;
  }

  write(writer: ByteWriter): void {
    const state = this.#state;
    const place = this.#place;
    const next = place + WIDTH;
    const count = state[place + 1] as number;
    writer.varint(count);
    this.#adder.encode(writer, state[place + 2] as T, count);
    this.#place = next;
    this.time = next < this.#end ? (state[next] as number) : NEVER;
  }
}
