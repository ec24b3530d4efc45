/** Totals of vectors, element by element: what a mean of vectors keeps. All have one length, known from the definition. */
import type { DoubleTotal, Total } from '../exact.js';
import { doubleAdder, roundQuotient } from '../exact.js';
import type { Sum } from './sum.js';

export function elementwise<T>(total: Total<T>, length: number): Total<readonly T[]> {
  return {
    zero: Array.from({ length }, () => total.zero),
    add: (a, b) => a.map((each, index) => total.add(each, b[index]!)),
    negate: (a) => a.map((each) => total.negate(each)),
    encode(writer, a) {
      for (const each of a) total.encode(writer, each);
    },
    decode: (reader) => Array.from({ length }, () => total.decode(reader)),
  };
}

/** Each element's exact total over the number of vectors, rounded once; null of none. */
export function meanVector({ count, total }: Sum<readonly DoubleTotal[]>): number[] | null {
  return count === 0 ? null : total.map((each) => roundQuotient(doubleAdder.dyadic(each), BigInt(count)));
}
