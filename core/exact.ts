/**
 * Exact sums, whatever the order: whole numbers as number while safe and bigint beyond, doubles as one or two doubles while these say
 * it all, else as a dyadic rational (mantissa × 2^exponent, a bigint). Rounded once, to the nearest double, ties to even, when read; so are variances. No value is too small; a
 * double of 2^960 or more is refused at the source, so no sum can pass the greatest double.
 */
import type { ByteReader, ByteWriter } from './codec/bytes.js';
import type { ScalarType } from './definition.js';
import { narrow } from './int64.js';

/**
 * What can be added up and taken away again. Equal totals may have several forms in memory; they have one in bytes. One that is
 * large is changed in place: whoever adds to a total owns it, no one else holds it. Numbers never change, so they are their own copies.
 */
export interface Total<T> {
  /** Not to be changed. */
  readonly zero: T;
  copy(a: T): T;
  /** Gives a + b, which may be `a` itself; `b` stays as it is, and is no part of what is given. */
  add(a: T, b: T): T;
  /** Likewise a - b, where b is among what was added to a. */
  subtract(a: T, b: T): T;
  /** @param count of how many it is the total; at least 1 */
  encode(writer: ByteWriter, a: T, count: number): void;
  decode(reader: ByteReader, count: number): T;
}

/** An exact total of numbers; which one is decided once by the type of what is summed. */
export interface Adder<T> extends Total<T> {
  of(value: number | bigint): T;
  /** Negative, zero or positive, as a comes before b. */
  compare(a: T, b: T): number;
  /** int64: number while safe, else bigint, of any size; float64: the nearest double, never -0. */
  result(a: T): number | bigint;
  dyadic(a: T): Dyadic;
  encode(writer: ByteWriter, a: T): void;
  decode(reader: ByteReader): T;
}

type Whole = number | bigint;

const same = <T>(a: T): T => a;

export const wholeAdder: Adder<Whole> = {
  zero: 0,
  of: (value) => value,
  copy: same,
  add: addWhole,
  subtract(a, b) {
    if (typeof a === 'number' && typeof b === 'number') {
      const rest = a - b;
      if (Number.isSafeInteger(rest)) return rest;
    }
    return narrow(BigInt(a) - BigInt(b));
  },
  compare: (a, b) => (a < b ? -1 : a > b ? 1 : 0),
  result: (a) => a,
  dyadic: (a) => ({ mantissa: BigInt(a), exponent: 0 }),
  encode: (writer, a) => writer.whole(a),
  decode: (reader) => reader.whole(),
};

function addWhole(a: Whole, b: Whole): Whole {
  if (typeof a === 'number' && typeof b === 'number') {
    const sum = a + b;
    if (Number.isSafeInteger(sum)) return sum;
  }
  return narrow(BigInt(a) + BigInt(b));
}

/** mantissa × 2^exponent; the same number may have several forms until it is encoded. */
export interface Dyadic {
  mantissa: bigint;
  exponent: number;
}

export const dyadicAdder: Adder<Dyadic> = {
  zero: { mantissa: 0n, exponent: 0 },
  of: dyadicOf,
  copy: same,
  add(a, b) {
    if (a.mantissa === 0n) return b;
    if (b.mantissa === 0n) return a;
    const [low, high] = a.exponent <= b.exponent ? [a, b] : [b, a];
    return {
      mantissa: low.mantissa + (high.mantissa << BigInt(high.exponent - low.exponent)),
      exponent: low.exponent,
    };
  },
  subtract: (a, { mantissa, exponent }) => dyadicAdder.add(a, { mantissa: -mantissa, exponent }),
  compare(a, b) {
    const { mantissa } = dyadicAdder.subtract(a, b);
    return mantissa < 0n ? -1 : mantissa > 0n ? 1 : 0;
  },
  result: roundDyadic,
  dyadic: (a) => a,
  encode(writer, a) {
    const { mantissa, exponent } = reduce(a);
    writer.bigint(mantissa);
    if (mantissa !== 0n) writer.signed(exponent);
  },
  decode(reader) {
    const mantissa = reader.bigint();
    return { mantissa, exponent: mantissa === 0n ? 0 : reader.signed() };
  },
};

/**
 * A total of doubles: itself where it is a double, else the unevaluated sum of two (`low` is what `high` has lost in rounding) where
 * that is exact, else dyadic. Nearly all totals are of the first two kinds, which cost 1/10 of the third's time.
 */
export type DoubleTotal = number | Pair | Dyadic;

/** `high` is the double nearest to their sum: of one total there is one pair. */
class Pair {
  constructor(
    readonly high: number,
    readonly low: number,
  ) {}
}

// Beyond it the rounding of a sum cannot be told by subtracting.
const PAIR_BOUND = 2 ** 1000;

export const doubleAdder: Adder<DoubleTotal> = {
  zero: 0,
  of: Number,
  copy: same,
  add(a, b) {
    if (typeof a === 'number') {
      if (typeof b === 'number') {
        const high = a + b;
        const rest = high - a;
        const low = a - (high - rest) + (b - rest);
        if (low === 0 && Math.abs(high) < PAIR_BOUND) return high;
        if (Math.abs(high) < PAIR_BOUND) return new Pair(high, low);
      } else if (b instanceof Pair) return addToPair(b, a);
    } else if (a instanceof Pair) {
      if (typeof b === 'number') return addToPair(a, b);
      if (b instanceof Pair) {
        const sum = addToPair(a, b.high);
        return sum instanceof Pair ? addToPair(sum, b.low) : doubleAdder.add(sum, b.low);
      }
    }
    return narrowest(dyadicAdder.add(widest(a), widest(b)));
  },
  subtract(a, b) {
    if (typeof b === 'number') return doubleAdder.add(a, 0 - b);
    if (b instanceof Pair) return doubleAdder.add(a, new Pair(0 - b.high, 0 - b.low));
    return doubleAdder.add(a, { mantissa: -b.mantissa, exponent: b.exponent });
  },
  compare(a, b) {
    if (typeof a === 'number' && typeof b === 'number') return a - b;
    return dyadicAdder.compare(widest(a), widest(b));
  },
  result(a) {
    if (typeof a === 'number') return a + 0;
    return a instanceof Pair ? a.high + 0 : roundDyadic(a);
  },
  dyadic: widest,
  /** Of one total one form: 0 and a whole number; 1 and a double; 2 and two; 3 and a dyadic. */
  encode(writer, a) {
    if (typeof a === 'number') {
      const whole = Number.isSafeInteger(a);
      writer.u8(whole ? 0 : 1);
      if (whole) writer.signed(a);
      else writer.f64(a);
    } else if (a instanceof Pair) {
      writer.u8(2);
      writer.f64(a.high);
      writer.f64(a.low);
    } else {
      writer.u8(3);
      dyadicAdder.encode(writer, a);
    }
  },
  decode(reader) {
    switch (reader.u8()) {
      case 0:
        return reader.signed();
      case 1:
        return reader.f64();
      case 2:
        return new Pair(reader.f64(), reader.f64());
      default:
        return dyadicAdder.decode(reader);
    }
  },
};

/** Two exact sums (Knuth's TwoSum), of the greater parts and of what is left; dyadic where that leaves something once more. */
function addToPair(a: Pair, b: number): DoubleTotal {
  const sum = a.high + b;
  const rest = sum - a.high;
  const lost = a.high - (sum - rest) + (b - rest);
  const low = lost + a.low;
  const lowRest = low - lost;
  const lostAgain = lost - (low - lowRest) + (a.low - lowRest);
  if (lostAgain === 0 && Math.abs(sum) < PAIR_BOUND) {
    const high = sum + low;
    const highRest = high - sum;
    const least = sum - (high - highRest) + (low - highRest);
    return least === 0 ? high : new Pair(high, least);
  }
  return narrowest(dyadicAdder.add(widest(a), widest(b)));
}

function widest(a: DoubleTotal): Dyadic {
  if (typeof a === 'number') return dyadicOf(a);
  return a instanceof Pair ? dyadicAdder.add(dyadicOf(a.high), dyadicOf(a.low)) : a;
}

/** The shortest form that is exact: of equal totals the same. */
function narrowest(a: Dyadic): DoubleTotal {
  const high = roundDyadic(a);
  if (!Number.isFinite(high)) return a;
  const rest = dyadicAdder.subtract(a, dyadicOf(high));
  if (rest.mantissa === 0n) return high;
  if (Math.abs(high) >= PAIR_BOUND) return a;
  const low = roundDyadic(rest);
  return dyadicAdder.subtract(rest, dyadicOf(low)).mantissa === 0n ? new Pair(high, low) : a;
}

/** What sums values of a type: doubles, or whole numbers (int64, timestamp). */
export function adderOf(type: ScalarType): Adder<unknown> {
  return (type === 'float64' ? doubleAdder : wholeAdder) as Adder<unknown>;
}

/** Of counts alone there is nothing to add. */
export const nothingAdder: Adder<0> = {
  zero: 0,
  of: () => 0,
  copy: () => 0,
  add: () => 0,
  subtract: () => 0,
  compare: () => 0,
  result: () => 0,
  dyadic: () => dyadicAdder.zero,
  encode: () => {},
  decode: () => 0,
};

/** Totals of squares: each is exact, as large or small as it may be. */
export const wholeSquares: Adder<Whole> = {
  ...wholeAdder,
  of(value) {
    const square = Number(value) ** 2;
    return Number.isSafeInteger(square) ? square : BigInt(value) ** 2n;
  },
};

export const dyadicSquares: Adder<Dyadic> = {
  ...dyadicAdder,
  of(value) {
    const { mantissa, exponent } = dyadicOf(value);
    return { mantissa: mantissa * mantissa, exponent: exponent * 2 };
  },
};

/**
 * count · squares − total², never negative: over count² the variance of a population, over count · (count − 1) that of a sample.
 */
export function spread(count: number, total: Dyadic, squares: Dyadic): Dyadic {
  return dyadicAdder.add(
    { mantissa: squares.mantissa * BigInt(count), exponent: squares.exponent },
    { mantissa: -(total.mantissa * total.mantissa), exponent: total.exponent * 2 },
  );
}

const scratch = new DataView(new ArrayBuffer(8));

function dyadicOf(value: number | bigint): Dyadic {
  if (typeof value === 'bigint' || Number.isSafeInteger(value))
    return { mantissa: BigInt(value), exponent: 0 };
  scratch.setFloat64(0, value);
  const high = scratch.getUint32(0);
  const field = (high >>> 20) & 0x7ff; // 0: subnormal, no hidden bit
  const fraction = (high & 0xfffff) * 2 ** 32 + scratch.getUint32(4) + (field === 0 ? 0 : 2 ** 52);
  return { mantissa: BigInt(value < 0 ? -fraction : fraction), exponent: Math.max(field, 1) - 1075 };
}

/** The nearest double, ties to even; beyond the greatest: infinite. */
export function roundDyadic({ mantissa, exponent }: Dyadic): number {
  if (mantissa === 0n) return 0;
  const negative = mantissa < 0n;
  let size = negative ? -mantissa : mantissa;
  // A double has 53 bits at most, and none below 2^-1074.
  const extra = Math.max(bitLength(size) - 53, -1074 - exponent);
  if (extra > 0) {
    const shift = BigInt(extra);
    const rest = size & ((1n << shift) - 1n);
    const half = 1n << (shift - 1n);
    size >>= shift;
    exponent += extra;
    if (rest > half || (rest === half && size & 1n)) size += 1n;
    if (size === 0n) return 0;
  }
  // In two exact steps, since 2 ** exponent alone may be below the least double.
  const value =
    exponent < -1000 ? Number(size) * 2 ** (exponent + 200) * 2 ** -200 : Number(size) * 2 ** exponent;
  return negative ? -value : value;
}

/** The double nearest to a / divisor, ties to even. @param divisor positive */
export function roundQuotient({ mantissa, exponent }: Dyadic, divisor: bigint): number {
  if (mantissa < 0n) return 0 - roundQuotient({ mantissa: -mantissa, exponent }, divisor);
  const shift = Math.max(0, 64 + bitLength(divisor) - bitLength(mantissa));
  const scaled = mantissa << BigInt(shift);
  const quotient = scaled / divisor;
  return roundDyadic(cut(quotient, exponent - shift, quotient * divisor === scaled));
}

/** The double nearest to the square root of a / divisor, ties to even. @param a not negative */
export function roundRoot({ mantissa, exponent }: Dyadic, divisor: bigint): number {
  let shift = Math.max(0, 128 + bitLength(divisor) - bitLength(mantissa));
  if ((exponent - shift) % 2 !== 0) shift += 1;
  const scaled = mantissa << BigInt(shift);
  const quotient = scaled / divisor;
  const root = wholeRoot(quotient);
  return roundDyadic(cut(root, (exponent - shift) / 2, root * root * divisor === scaled));
}

/** Of a number cut off after more than 53 bits, a last bit is enough to say that there was more. */
function cut(mantissa: bigint, exponent: number, whole: boolean): Dyadic {
  return { mantissa: mantissa * 2n + (whole ? 0n : 1n), exponent: exponent - 1 };
}

/** floor(√a), by Newton's method from above. */
function wholeRoot(a: bigint): bigint {
  if (a === 0n) return 0n;
  let root = 1n << BigInt((bitLength(a) + 1) >> 1);
  for (;;) {
    const next = (root + a / root) >> 1n;
    if (next >= root) return root;
    root = next;
  }
}

/** Of a positive number. */
function bitLength(a: bigint): number {
  const hex = a.toString(16);
  return hex.length * 4 + 28 - Math.clz32(Number.parseInt(hex[0]!, 16));
}

/** The one form with an odd mantissa. */
export function reduce({ mantissa, exponent }: Dyadic): Dyadic {
  if (mantissa === 0n) return dyadicAdder.zero;
  while ((mantissa & 0xffffffffn) === 0n) {
    mantissa >>= 32n;
    exponent += 32;
  }
  while ((mantissa & 1n) === 0n) {
    mantissa >>= 1n;
    exponent += 1;
  }
  return { mantissa, exponent };
}
