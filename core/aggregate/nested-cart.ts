/**
 * A cart in several windows at once, each within the next. The newest operation of an item and the newest clear in the longest window
 * are those of each window they are in; what is older than one that is inside never counted there. Of more than `kept` items the newest
 * are kept, as in cart.ts: a shorter window drops none of its own for others. The items listed in a window are the first of those of
 * the longest.
 */
import type { Scalar } from '../codec/scalar.js';
import { scalarCodecs } from '../codec/scalar.js';
import type { ScalarType } from '../definition.js';
import type { Place } from '../event.js';
import type { CartInput, CartState } from './cart.js';
import { cartOf } from './cart.js';
import type { Span } from './nested.js';
import { leftBy } from './nested.js';
import type { NestedNewest } from './nested-newest.js';
import { nestedList } from './nested-newest.js';
import { decodePlace, encodePlace } from './newest.js';
import type { Part } from './part.js';
import { NEVER } from './part.js';

interface NestedCartState extends CartState<Place> {
  /** What leaves by then has left. */
  until: number;
}

export function nestedCartPart(
  limit: number,
  kept: number,
  type: ScalarType,
  input: CartInput,
  spans: readonly Span[],
): Part<NestedCartState, NestedNewest<Scalar>, number> {
  const cart = cartOf<Place>(limit, kept, type, input, {
    of: ({ timestamp, order, id }) => ({ timestamp, order, id }),
    encode: encodePlace,
    decode: decodePlace,
  });
  const list = nestedList(scalarCodecs[type], spans);
  const longest = spans.at(-1)!;
  const listed = (state: NestedCartState) => ({ elements: cart.listed(state), until: state.until });
  return {
    ...cart,
    ...list,
    lanes: spans.length,
    create: () => ({ ...cart.create(), until: -NEVER }),
    leave(state, until) {
      state.until = Math.max(state.until, until);
      const left = leftBy(state.until, longest);
      cart.forget(state, ({ timestamp }) => timestamp <= left);
    },
    nextLeave: (state) => list.nextLeave(listed(state)),
    value: (state) => list.value(listed(state)),
    steps: (state) => list.steps(listed(state)),
    decodeState: (reader) => ({ ...cart.decodeState(reader), until: -NEVER }),
  };
}
