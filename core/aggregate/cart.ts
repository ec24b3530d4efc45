/**
 * Items now in a cart. For each item its newest operation decides; a clear takes out everything before it. The state
 * keeps, per item, the newest operation after the newest clear (a removal too, since an older add may still arrive), so
 * events may come in any order.
 *
 * Of more than `kept` items those are kept whose newest operations are newest. What is dropped is older than all that stay: it
 * leaves no later, and no clear takes them out and spares it. So it would never be among the newest `kept` again.
 */
import type { ByteReader, ByteWriter } from '../codec/bytes.js';
import type { Scalar } from '../codec/scalar.js';
import { compareScalars, scalarCodecs } from '../codec/scalar.js';
import type { ScalarType } from '../definition.js';
import type { Event, Place, Value } from '../event.js';
import { compareEvents } from '../event.js';
import { decodePlace, encodePlace, leavesCodec, leavings, listCodec } from './newest.js';
import type { Part } from './part.js';
import { NEVER } from './part.js';

export interface CartInput {
  item: (event: Event) => Value;
  /** Tested in this order; at most the first that is true counts. */
  add: (event: Event) => Value;
  remove: (event: Event) => Value;
  clear: (event: Event) => Value;
}

/** Items of a cart that are kept, also those taken out of it. */
export const CART_KEPT = 10_000;

interface LeavingPlace extends Place {
  leaves: number;
}

/** @param limit the newest so many items are listed */
export function cartPart(
  limit: number,
  kept: number,
  type: ScalarType,
  input: CartInput,
): Part<CartState<LeavingPlace>, Scalar[], number> {
  const cart = cartOf<LeavingPlace>(limit, kept, type, input, {
    of: ({ timestamp, order, id }, leaves) => ({ timestamp, order, id, leaves }),
    encode(writer, place) {
      encodePlace(writer, place);
      leavesCodec.encode(writer, place.leaves);
    },
    decode: (reader) => ({ ...decodePlace(reader), leaves: leavesCodec.decode(reader) }),
  });
  return {
    ...cart,
    leave: (state, until) => cart.forget(state, ({ leaves }) => leaves <= until),
    nextLeave(state) {
      let next = NEVER;
      for (const { leaves, added } of state.items.values()) if (added && leaves < next) next = leaves;
      return next;
    },
    value: (state) => cart.listed(state).map(({ value }) => value),
    /** A change is how many of the longest listed leave: they were added first. */
    steps: (state) =>
      leavings(
        cart
          .listed(state)
          .map(({ leaves }) => leaves)
          .reverse(),
      ),
    apply: (value, left) => value.slice(0, value.length - left),
    ...listCodec(scalarCodecs[type]),
    encodeChange: (writer, left) => writer.varint(left),
    decodeChange: (reader) => reader.varint(),
  };
}

/** @template P where an operation stands, and all that is needed to know when it leaves */
export interface CartState<P extends Place> {
  cleared: P | null;
  items: Map<Scalar, P & { added: boolean }>;
}

/** What a cart keeps, whatever its windows. */
export function cartOf<P extends Place>(
  limit: number,
  kept: number,
  type: ScalarType,
  input: CartInput,
  place: {
    of(event: Event, leaves: number): P;
    encode(writer: ByteWriter, place: P): void;
    decode(reader: ByteReader): P;
  },
) {
  const codec = scalarCodecs[type];

  function prune(state: CartState<P>): void {
    const newest = [...state.items].sort(([, a], [, b]) => compareEvents(b, a));
    state.items = new Map(newest.slice(0, kept));
  }

  return {
    create: (): CartState<P> => ({ cleared: null, items: new Map() }),
    add(state: CartState<P>, event: Event, leaves: number): void {
      const added = input.add(event) === true;
      if (added || input.remove(event) === true) {
        const item = input.item(event) as Scalar | null;
        if (item === null || (state.cleared && compareEvents(event, state.cleared) < 0)) return;
        const known = state.items.get(item);
        if (!known || compareEvents(known, event) < 0)
          state.items.set(item, { ...place.of(event, leaves), added });
        if (state.items.size >= 2 * kept) prune(state);
      } else if (input.clear(event) === true && !(state.cleared && compareEvents(event, state.cleared) < 0)) {
        state.cleared = place.of(event, leaves);
        for (const [item, operation] of state.items)
          if (compareEvents(operation, event) < 0) state.items.delete(item);
      }
    },
    forget(state: CartState<P>, hasLeft: (place: P) => boolean): void {
      if (state.items.size > kept) prune(state);
      if (state.cleared && hasLeft(state.cleared)) state.cleared = null;
      for (const [item, operation] of state.items) if (hasLeft(operation)) state.items.delete(item);
    },
    /** The items listed, newest added first. */
    listed(state: CartState<P>): Array<P & { value: Scalar }> {
      const present: Array<P & { value: Scalar }> = [];
      for (const [value, operation] of state.items)
        if (operation.added) present.push({ ...operation, value });
      return present.sort((a, b) => compareEvents(b, a)).slice(0, limit);
    },
    encodeState(writer: ByteWriter, state: CartState<P>): void {
      writer.u8(state.cleared ? 1 : 0);
      if (state.cleared) place.encode(writer, state.cleared);
      writer.varint(state.items.size);
      for (const [item, operation] of [...state.items].sort(([a], [b]) => compareScalars(a, b))) {
        codec.encode(writer, item);
        place.encode(writer, operation);
        writer.u8(operation.added ? 1 : 0);
      }
    },
    decodeState(reader: ByteReader): CartState<P> {
      const cleared = reader.u8() === 1 ? place.decode(reader) : null;
      const items: CartState<P>['items'] = new Map();
      for (let size = reader.varint(); size > 0; size--)
        items.set(codec.decode(reader), { ...place.decode(reader), added: reader.u8() === 1 });
      return { cleared, items };
    },
  };
}
