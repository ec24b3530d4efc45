/**
 * Items now in a cart. For each item its newest operation decides; a clear takes out everything before it. The state
 * keeps, per item, the newest operation after the newest clear (a removal too, since an older add may still arrive), so
 * events may come in any order.
 *
 * Of more than `kept` items those are kept whose newest operations are newest. What is dropped is older than all that stay: it
 * leaves no later, and no clear takes them out and spares it. So it would never be among the newest `kept` again.
 */
import type { Scalar } from '../codec/scalar.js';
import { compareScalars, scalarCodecs } from '../codec/scalar.js';
import type { ScalarType } from '../definition.js';
import type { Event, Place, Value } from '../event.js';
import { compareEvents } from '../event.js';
import {
  decodeLeaves,
  decodePlace,
  encodeLeaves,
  encodePlace,
  leavingFromTheEnd,
  listCodec,
} from './newest.js';
import type { Part } from './part.js';
import { NEVER } from './part.js';

interface Operation extends Place {
  leaves: number;
  added: boolean;
}

interface CartState {
  cleared: (Place & { leaves: number }) | null;
  items: Map<Scalar, Operation>;
}

export interface CartInput {
  item: (event: Event) => Value;
  /** Tested in this order; at most the first that is true counts. */
  add: (event: Event) => Value;
  remove: (event: Event) => Value;
  clear: (event: Event) => Value;
}

/** Items of a cart that are kept, also those taken out of it. */
export const CART_KEPT = 10_000;

/** @param limit the newest so many items are listed */
export function cartPart(
  limit: number,
  kept: number,
  type: ScalarType,
  input: CartInput,
): Part<CartState, Scalar[], number> {
  const codec = scalarCodecs[type];

  function prune(state: CartState): void {
    const newest = [...state.items].sort(([, a], [, b]) => compareEvents(b, a));
    state.items = new Map(newest.slice(0, kept));
  }

  /** The items listed, newest added first. */
  function listed(state: CartState): Array<Operation & { item: Scalar }> {
    const present: Array<Operation & { item: Scalar }> = [];
    for (const [item, operation] of state.items) if (operation.added) present.push({ ...operation, item });
    return present.sort((a, b) => compareEvents(b, a)).slice(0, limit);
  }

  return {
    create: () => ({ cleared: null, items: new Map() }),
    add(state, event, leaves) {
      const { timestamp, order, id } = event;
      const place = { timestamp, order, id, leaves };
      const added = input.add(event) === true;
      if (added || input.remove(event) === true) {
        const item = input.item(event) as Scalar | null;
        if (item === null || (state.cleared && compareEvents(event, state.cleared) < 0)) return;
        const known = state.items.get(item);
        if (!known || compareEvents(known, event) < 0) state.items.set(item, { ...place, added });
        if (state.items.size >= 2 * kept) prune(state);
      } else if (input.clear(event) === true && !(state.cleared && compareEvents(event, state.cleared) < 0)) {
        state.cleared = place;
        for (const [item, operation] of state.items)
          if (compareEvents(operation, event) < 0) state.items.delete(item);
      }
    },
    leave(state, until) {
      if (state.items.size > kept) prune(state);
      if (state.cleared && state.cleared.leaves <= until) state.cleared = null;
      for (const [item, { leaves }] of state.items) if (leaves <= until) state.items.delete(item);
    },
    nextLeave(state) {
      let next = NEVER;
      for (const { leaves, added } of state.items.values()) if (added && leaves < next) next = leaves;
      return next;
    },
    value: (state) => listed(state).map(({ item }) => item),
    /** A change is how many of the longest listed leave: they were added first. */
    steps: (state) => leavingFromTheEnd(listed(state)),
    apply: (value, left) => value.slice(0, value.length - left),
    encodeState(writer, state) {
      writer.u8(state.cleared ? 1 : 0);
      if (state.cleared) {
        encodePlace(writer, state.cleared);
        encodeLeaves(writer, state.cleared.leaves);
      }
      writer.varint(state.items.size);
      for (const [item, operation] of [...state.items].sort(([a], [b]) => compareScalars(a, b))) {
        codec.encode(writer, item);
        encodePlace(writer, operation);
        encodeLeaves(writer, operation.leaves);
        writer.u8(operation.added ? 1 : 0);
      }
    },
    decodeState(reader) {
      const cleared = reader.u8() === 1 ? { ...decodePlace(reader), leaves: decodeLeaves(reader) } : null;
      const items = new Map<Scalar, Operation>();
      for (let size = reader.varint(); size > 0; size--)
        items.set(codec.decode(reader), {
          ...decodePlace(reader),
          leaves: decodeLeaves(reader),
          added: reader.u8() === 1,
        });
      return { cleared, items };
    },
    ...listCodec(codec),
    encodeChange: (writer, left) => writer.varint(left),
    decodeChange: (reader) => reader.varint(),
  };
}
