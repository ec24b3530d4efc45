/** Totals of vectors, element by element, in place: what a mean of vectors keeps. All have one length, known from the definition. */
import type { DoubleTotal, Total } from '../exact.js';
import { doubleAdder, roundQuotient } from '../exact.js';
import type { Sum } from './sum.js';

export function elementwise<T>(total: Total<T>, length: number): Total<T[]> {
  return {
    zero: Array.from({ length }, () => total.zero),
    copy: (a) => a.slice(),
    add(a, b) {
      for (let index = 0; index < length; index++) a[index] = total.add(a[index]!, b[index]!);
      return a;
    },
    subtract(a, b) {
      for (let index = 0; index < length; index++) a[index] = total.subtract(a[index]!, b[index]!);
      return a;
    },
    encode(writer, a, count) {
      for (const each of a) total.encode(writer, each, count);
    },
    decode: (reader, count) => Array.from({ length }, () => total.decode(reader, count)),
  };
}

/** Each element's exact total over the number of vectors, rounded once; null of none. */
export function meanVector({ count, total }: Sum<readonly DoubleTotal[]>): number[] | null {
  return count === 0 ? null : total.map((each) => roundQuotient(doubleAdder.dyadic(each), BigInt(count)));
}
