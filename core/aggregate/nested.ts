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
import { copySum, decodeSum, encodeSum, exclude, include } from './sum.js';

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

/** Each total in it is its own: what a tile holds is in no other and not the level's. */
interface Level<T> extends Sum<T> {
  /** From `head` on, three by three: leaving time in hops, count, total; times ascending. */
  tiles: Array<number | T>;
  head: number;
}

export interface NestedState<T> {
  levels: Level<T>[];
  /** What leaves by then has left. */
  until: number;
  /** When the next does; NEVER: nothing does. */
  next: number;
}

const WIDTH = 3;
// A queue is cut when so much of it is behind its head.
const SLACK = 16 * WIDTH;

/** The sum of a level's window, from the sums of the levels. Not to be changed: the first one's is as it was given. */
export function throughLevel<T>(adder: Total<T>, levels: readonly Sum<T>[], level: number): Sum<T> {
  let { count, total } = levels[level]!;
  // A longer window's level mostly holds more: it is copied, the others are added to it.
  if (level > 0) total = adder.copy(total);
  for (let index = level - 1; index >= 0; index--) {
    count += levels[index]!.count;
    total = adder.add(total, levels[index]!.total);
  }
  return { count, total };
}

/**
 * @param term what an event adds, from then on the part's own; null: the event is skipped. A part of counts has an adder of nothing.
 * @returns values: one sum per level (`throughLevel` adds them up). Lanes: one per span.
 */
export function nestedPart<T>(
  adder: Total<T>,
  term: (event: Event) => T | null,
  { spans, lifetime }: Nest,
): Part<NestedState<T>, Sum<T>[], Sum<T>> {
  const spanMs = spans.map(({ ms }) => ms);
  const hopMs = spans.map(({ hopMs }) => hopMs);
  const bounded = spans.length;
  const levelCount = bounded + (lifetime ? 1 : 0);

  const createLevel = (): Level<T> => ({ count: 0, total: adder.zero, tiles: [], head: 0 });

  /** In hops of the level. */
  const leavesLevel = (timestamp: number, level: number): number =>
    Math.ceil(timestamp / hopMs[level]!) + spanMs[level]! / hopMs[level]!;

  /** The total becomes the tile's, where there is none yet. */
  function insert(level: Level<T>, leaves: number, count: number, total: T): void {
    include(adder, level, count, total);
    const { tiles, head } = level;
    let at = tiles.length - WIDTH;
    while (at >= head && (tiles[at] as number) > leaves) at -= WIDTH;
    if (at >= head && tiles[at] === leaves) {
      tiles[at + 1] = (tiles[at + 1] as number) + count;
      tiles[at + 2] = adder.add(tiles[at + 2] as T, total);
    } else if (at + WIDTH === tiles.length) tiles.push(leaves, count, total);
    else tiles.splice(at + WIDTH, 0, leaves, count, total);
  }

  function move(state: NestedState<T>, index: number, until: number): void {
    const level = state.levels[index]!;
    const { tiles } = level;
    const limit = Math.floor(until / hopMs[index]!);
    let { head } = level;
    while (head < tiles.length && (tiles[head] as number) <= limit) {
      const count = tiles[head + 1] as number;
      const total = tiles[head + 2] as T;
      exclude(adder, level, count, total);
      if (index + 1 < bounded) {
        // the boundary at which the tile ends: all its events are at or before it, and within one hop of the next level
        const end = (tiles[head] as number) * hopMs[index]! - spanMs[index]!;
        insert(state.levels[index + 1]!, leavesLevel(end, index + 1), count, total);
      } else if (lifetime) include(adder, state.levels[index + 1]!, count, total);
      head += WIDTH;
    }
    if (head === tiles.length) {
      tiles.length = 0;
      head = 0;
    } else if (head >= SLACK && head * 2 > tiles.length) {
      tiles.splice(0, head);
      head = 0;
    }
    level.head = head;
  }

  function leave(state: NestedState<T>, until: number): void {
    if (until > state.until) state.until = until;
    if (state.next > until) return;
    for (let index = 0; index < bounded; index++) move(state, index, until);
    state.next = soonest(state);
  }

  function soonest(state: NestedState<T>): number {
    let next = NEVER;
    for (let index = 0; index < bounded; index++) {
      const { tiles, head } = state.levels[index]!;
      if (head < tiles.length) next = Math.min(next, (tiles[head] as number) * hopMs[index]!);
    }
    return next;
  }

  /** Of a window: what leaves its own level as it is, what leaves a shorter one by its hops. */
  function stepsOf({ levels }: NestedState<T>, lane: number): Array<{ at: number; change: Sum<T> }> {
    const steps: Array<{ at: number; change: Sum<T> }> = [];
    for (let index = lane; index >= 0; index--) {
      const { tiles, head } = levels[index]!;
      for (let place = head; place < tiles.length; place += WIDTH) {
        const end = (tiles[place] as number) * hopMs[index]! - spanMs[index]!;
        const at = leavesSpan(end, spans[lane]!);
        const count = tiles[place + 1] as number;
        const total = tiles[place + 2] as T;
        const last = steps.at(-1);
        if (last?.at === at) include(adder, last.change, count, total);
        else steps.push({ at, change: copySum(adder, { count, total }) });
      }
    }
    return steps;
  }

  const cursors = spans.map(() => new TilesCursor(adder));

  return {
    lanes: bounded,
    create: () => ({ levels: Array.from({ length: levelCount }, createLevel), until: -NEVER, next: NEVER }),
    add(state, event) {
      const total = term(event);
      if (total === null) return;
      const { timestamp } = event;
      for (let index = 0; index < bounded; index++) {
        const leaves = leavesLevel(timestamp, index);
        const leavesAt = leaves * hopMs[index]!;
        if (leavesAt <= state.until) continue;
        insert(state.levels[index]!, leaves, 1, total);
        if (leavesAt < state.next) state.next = leavesAt;
        return;
      }
      if (!lifetime) return;
      include(adder, state.levels[bounded]!, 1, total);
    },
    leave,
    nextLeave: (state) => state.next,
    value: (state) => state.levels,
    steps: (state) => stepsOfLanes(spans, (_, lane) => stepsOf(state, lane)),
    cursors({ levels }) {
      for (let lane = 0; lane < bounded; lane++) cursors[lane]!.start(levels[lane]!);
      return cursors;
    },
    onward: (at, lane) => (lane + 1 < bounded ? leavesSpan(at - spanMs[lane]!, spans[lane + 1]!) : NEVER),
    /** What leaves a window is from then on in the next one's level. */
    apply: (value, { count, total }, lane) =>
      value.map((sum, index) => {
        if (index !== lane && index !== lane + 1) return sum;
        const next = copySum(adder, sum);
        if (index === lane) exclude(adder, next, count, total);
        else include(adder, next, count, total);
        return next;
      }),
    encodeState(writer, { levels }) {
      levels.forEach((level, index) => {
        encodeSum(adder, writer, level);
        if (index === bounded) return;
        const { tiles, head } = level;
        writer.varint((tiles.length - head) / WIDTH);
        for (let at = head; at < tiles.length; at += WIDTH) {
          if (at === head) writer.signed(tiles[at] as number);
          else writer.varint((tiles[at] as number) - (tiles[at - WIDTH] as number));
          writer.varint(tiles[at + 1] as number);
          adder.encode(writer, tiles[at + 2] as T, tiles[at + 1] as number);
        }
      });
    },
    decodeState(reader) {
      const levels = Array.from({ length: levelCount }, (_, index): Level<T> => {
        const { count, total } = decodeSum(adder, reader);
        const tiles: Array<number | T> = [];
        if (index === bounded) return { count, total, tiles, head: 0 };
        const length = reader.varint();
        for (let i = 0, leaves = 0; i < length; i++) {
          leaves = i === 0 ? reader.signed() : leaves + reader.varint();
          const tile = decodeSum(adder, reader);
          tiles.push(leaves, tile.count, tile.total);
        }
        return { count, total, tiles, head: 0 };
      });
      const state: NestedState<T> = { levels, until: -NEVER, next: NEVER };
      state.next = soonest(state);
      return state;
    },
    encodeValue(writer, value) {
      for (const sum of value) encodeSum(adder, writer, sum);
    },
    decodeValue: (reader) => Array.from({ length: levelCount }, () => decodeSum(adder, reader)),
    encodeChange: (writer, left) => encodeSum(adder, writer, left),
    decodeChange: (reader) => decodeSum(adder, reader),
  };
}

/** The tiles of a level. */
class TilesCursor<T> implements Cursor {
  readonly #adder: Total<T>;
  #tiles: Level<T>['tiles'] = [];
  #place = 0;
  time = NEVER;

  constructor(adder: Total<T>) {
    this.#adder = adder;
  }

  start({ tiles, head }: Level<T>): void {
    this.#tiles = tiles;
    this.#place = head;
    this.time = head < tiles.length ? (tiles[head] as number) : NEVER;
  }

  write(writer: ByteWriter): void {
    const tiles = this.#tiles;
    const place = this.#place;
    const next = place + WIDTH;
    const count = tiles[place + 1] as number;
    writer.varint(count);
    this.#adder.encode(writer, tiles[place + 2] as T, count);
    this.#place = next;
    this.time = next < tiles.length ? (tiles[next] as number) : NEVER;
  }
}
