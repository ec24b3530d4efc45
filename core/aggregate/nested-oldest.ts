/**
 * The oldest n non-null values of several windows at once, each within the next. An element is kept once, in the level of the shortest
 * window that it is in (nested.ts), and each level keeps the oldest n of each of its tiles: what leaves that window with n older ones
 * leaves all longer ones with them, so it never comes to be among the oldest of any. A window has the elements of its own level and,
 * after them, those of the shorter ones.
 */
import type { Present } from '../codec/scalar.js';
import { manyOf, valueCodecs } from '../codec/scalar.js';
import type { ColumnType } from '../definition.js';
import type { Event, Value } from '../event.js';
import { compareEvents } from '../event.js';
import { ceilTo } from '../time.js';
import type { Span } from './nested.js';
import { leavesSpan, leftBy, stepsOfLanes } from './nested.js';
import type { Element, Moved } from './oldest.js';
import { elementCodec, moved, moves, movesCodec, oldestOf } from './oldest.js';
import type { Part } from './part.js';
import { NEVER } from './part.js';

interface NestedOldestState {
  /** One per span; each oldest first, and older than those of the level before. */
  levels: Element[][];
  /** What leaves by then has left. */
  until: number;
}

/** @returns values: one list per span */
export function nestedOldestPart(
  n: number,
  type: ColumnType,
  input: (event: Event) => Value,
  spans: readonly Span[],
): Part<NestedOldestState, Present[][], Moved> {
  const codec = valueCodecs[type];
  const list = movesCodec(codec);
  const elementsCodec = manyOf(elementCodec(codec));

  function inOneTile(a: Element | undefined, b: Element | undefined, level: number): boolean {
    if (a === undefined || b === undefined) return false;
    const { hopMs } = spans[level]!;
    return ceilTo(a.timestamp, hopMs) === ceilTo(b.timestamp, hopMs);
  }

  /** Puts an element in its place unless its tile has n older ones; of more than n in a tile the newest goes. */
  function insert(elements: Element[], element: Element, level: number): void {
    let index = elements.length;
    while (index > 0 && compareEvents(elements[index - 1]!, element) > 0) index--;
    if (inOneTile(elements[index - n], element, level)) return;
    elements.splice(index, 0, element);
    let newest = index;
    while (inOneTile(elements[newest + 1], element, level)) newest++;
    if (inOneTile(elements[newest - n], element, level)) elements.splice(newest, 1);
  }

  /** Of a window, oldest first. */
  const listsOf = ({ levels }: NestedOldestState, lane: number): Element[][] =>
    levels.slice(0, lane + 1).reverse();

  /** Of a window, no more than n elements leave it together. */
  function stepsOf(state: NestedOldestState, lane: number): Array<{ at: number; change: Moved }> {
    const tiles: Array<{ at: number; left: number }> = [];
    const values: Present[] = [];
    for (const elements of listsOf(state, lane))
      for (const { timestamp, value } of elements) {
        const at = leavesSpan(timestamp, spans[lane]!);
        if (tiles.at(-1)?.at !== at) tiles.push({ at, left: 0 });
        const tile = tiles.at(-1)!;
        if (tile.left === n) continue;
        tile.left += 1;
        values.push(value);
      }
    return moves(tiles, values, n);
  }

  return {
    lanes: spans.length,
    create: () => ({ levels: spans.map(() => []), until: -NEVER }),
    add({ levels, until }, event) {
      const value = input(event);
      if (value === null) return;
      const { timestamp, order, id } = event;
      const level = spans.findIndex((span) => leavesSpan(timestamp, span) > until);
      if (level >= 0) insert(levels[level]!, { timestamp, order, id, value }, level);
    },
    leave(state, until) {
      state.until = Math.max(state.until, until);
      spans.forEach((span, level) => {
        const elements = state.levels[level]!;
        const left = leftBy(state.until, span);
        let count = 0;
        while (count < elements.length && elements[count]!.timestamp <= left) count++;
        if (count === 0) return;
        const next = state.levels[level + 1];
        for (const element of elements.splice(0, count))
          if (next !== undefined) insert(next, element, level + 1);
      });
    },
    nextLeave: ({ levels }) =>
      levels.reduce((next, [oldest], level) => {
        return oldest === undefined ? next : Math.min(next, leavesSpan(oldest.timestamp, spans[level]!));
      }, NEVER),
    value: (state) => spans.map((_, lane) => oldestOf(listsOf(state, lane), n)),
    steps: (state) => stepsOfLanes(spans, (_, lane) => stepsOf(state, lane)),
    apply: (values, change, lane) => values.with(lane, moved(values[lane]!, change)),
    /** Of the longest window, all in one list; `leave` finds their levels. */
    encodeState: (writer, state) => elementsCodec.encode(writer, listsOf(state, spans.length - 1).flat()),
    decodeState: (reader) => ({
      levels: spans.map((_, level) => (level === 0 ? elementsCodec.decode(reader) : [])),
      until: -NEVER,
    }),
    ...list,
    encodeValue(writer, values) {
      for (const value of values) list.encodeValue(writer, value);
    },
    decodeValue: (reader) => spans.map(() => list.decodeValue(reader)),
  };
}
