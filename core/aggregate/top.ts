/**
 * The k keys of greatest positive total weight, heaviest first, ties by key ascending. Totals are exact. A step is the
 * whole new list, and only where the list changes: it is short, the changes behind it are many.
 */
import type { ByteReader, ByteWriter } from '../codec/bytes.js';
import type { Scalar } from '../codec/scalar.js';
import { compareScalars, scalarCodecs } from '../codec/scalar.js';
import type { ScalarType } from '../definition.js';
import type { Event, Value } from '../event.js';
import type { Adder } from '../exact.js';
import type { Int64 } from '../int64.js';
import { listCodec } from './newest.js';
import type { Part, Step } from './part.js';
import { NEVER } from './part.js';
import type { Tiles } from './tiles.js';
import { addToTile, createTiles, decodeTiles, encodeTiles, takeLeft } from './tiles.js';

/** A key is in it while any of its events is in the window, whatever they weigh. */
type Totals<T> = Map<Scalar, { count: number; weight: T }>;

interface TopState<T> {
  totals: Totals<T>;
  tiles: Tiles<Totals<T>>;
}

export function topPart<T>(
  k: number,
  type: ScalarType,
  adder: Adder<T>,
  key: (event: Event) => Value,
  weight: (event: Event) => Value,
): Part<TopState<T>, Scalar[], Scalar[]> {
  const codec = scalarCodecs[type];
  const list = listCodec(codec);

  function merge(into: Totals<T>, from: Totals<T>): Totals<T> {
    for (const [name, { count, weight }] of from) {
      const total = into.get(name) ?? { count: 0, weight: adder.zero };
      into.set(name, { count: total.count + count, weight: adder.add(total.weight, weight) });
    }
    return into;
  }

  function subtract(into: Totals<T>, left: Totals<T>): void {
    for (const [name, { count, weight }] of left) {
      const total = into.get(name)!;
      if (total.count === count) into.delete(name);
      else into.set(name, { count: total.count - count, weight: adder.subtract(total.weight, weight) });
    }
  }

  function isBefore(name: Scalar, weight: T, other: { name: Scalar; weight: T }): boolean {
    return (adder.compare(weight, other.weight) || -compareScalars(name, other.name)) > 0;
  }

  function top(totals: Totals<T>): Scalar[] {
    // Asked once per coming step: k are kept of many, which are not sorted.
    const best: Array<{ name: Scalar; weight: T }> = [];
    for (const [name, { weight }] of totals) {
      if (adder.compare(weight, adder.zero) <= 0) continue;
      let place = best.length;
      while (place > 0 && isBefore(name, weight, best[place - 1]!)) place--;
      if (place >= k) continue;
      best.splice(place, 0, { name, weight });
      if (best.length > k) best.pop();
    }
    return best.map(({ name }) => name);
  }

  function encodeTotals(writer: ByteWriter, totals: Totals<T>): void {
    writer.varint(totals.size);
    for (const [name, { count, weight }] of [...totals].sort(([a], [b]) => compareScalars(a, b))) {
      codec.encode(writer, name);
      writer.varint(count);
      adder.encode(writer, weight);
    }
  }

  function decodeTotals(reader: ByteReader): Totals<T> {
    const totals: Totals<T> = new Map();
    for (let size = reader.varint(); size > 0; size--)
      totals.set(codec.decode(reader), { count: reader.varint(), weight: adder.decode(reader) });
    return totals;
  }

  return {
    create: () => ({ totals: new Map(), tiles: createTiles() }),
    add(state, event, leaves) {
      const name = key(event) as Scalar | null;
      const size = weight(event) as Int64 | null;
      if (name === null || size === null) return;
      const one: Totals<T> = new Map([[name, { count: 1, weight: adder.of(size) }]]);
      merge(state.totals, one);
      if (leaves !== NEVER) addToTile(state.tiles, leaves, one, merge);
    },
    leave(state, until) {
      for (const left of takeLeft(state.tiles, until)) subtract(state.totals, left);
    },
    nextLeave: (state) => state.tiles.leaves[0] ?? NEVER,
    value: (state) => top(state.totals),
    steps({ totals, tiles }) {
      const rest = new Map(totals);
      const steps: Step<Scalar[]>[] = [];
      let present = top(rest);
      tiles.leaves.forEach((at, index) => {
        subtract(rest, tiles.contents[index]!);
        const next = top(rest);
        if (next.length === present.length && next.every((name, place) => name === present[place])) return;
        present = next;
        steps.push({ at, change: next });
      });
      return steps;
    },
    apply: (_, next) => next,
    encodeState(writer, state) {
      encodeTotals(writer, state.totals);
      encodeTiles(writer, state.tiles, (totals) => encodeTotals(writer, totals));
    },
    decodeState: (reader) => ({
      totals: decodeTotals(reader),
      tiles: decodeTiles(reader, () => decodeTotals(reader)),
    }),
    ...list,
    encodeChange: (writer, next) => list.encodeValue(writer, next),
    decodeChange: (reader) => list.decodeValue(reader),
  };
}
