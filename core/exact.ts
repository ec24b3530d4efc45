/**
 * Exact sums, whatever the order: whole numbers as number while safe and bigint beyond, doubles as a dyadic rational
 * (mantissa × 2^exponent, a bigint). Rounded once, to the nearest double, ties to even, when read; so are variances. No value is too small; a
 * double of 2^960 or more is refused at the source, so no sum can pass the greatest double.
 */
import type { ByteReader, ByteWriter } from './codec/bytes.js';
import { narrow } from './int64.js';

/** What can be added up and taken away again. */
export interface Total<T> {
  readonly zero: T;
  add(a: T, b: T): T;
  negate(a: T): T;
  encode(writer: ByteWriter, a: T): void;
  decode(reader: ByteReader): T;
}

/** An exact total of numbers; which one is decided once by the type of what is summed. */
export interface Adder<T> extends Total<T> {
  of(value: number | bigint): T;
  /** Negative, zero or positive, as a comes before b. */
  compare(a: T, b: T): number;
  /** int64: number while safe, else bigint, of any size; float64: the nearest double, never -0. */
  result(a: T): number | bigint;
  dyadic(a: T): Dyadic;
}

type Whole = number | bigint;

export const wholeAdder: Adder<Whole> = {
  zero: 0,
  of: (value) => value,
  add: addWhole,
  negate: (a) => (typeof a === 'number' ? 0 - a : narrow(-a)),
  compare: (a, b) => (a < b ? -1 : a > b ? 1 : 0),
  result: (a) => a,
  dyadic: (a) => ({ mantissa: BigInt(a), exponent: 0 }),
  encode(writer, a) {
    // 0: a bigint follows; 1: a safe number follows
    writer.u8(typeof a === 'number' ? 1 : 0);
    if (typeof a === 'number') writer.signed(a);
    else writer.bigint(a);
  },
  decode: (reader) => (reader.u8() === 1 ? reader.signed() : reader.bigint()),
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
  add(a, b) {
    if (a.mantissa === 0n) return b;
    if (b.mantissa === 0n) return a;
    const [low, high] = a.exponent <= b.exponent ? [a, b] : [b, a];
    return {
      mantissa: low.mantissa + (high.mantissa << BigInt(high.exponent - low.exponent)),
      exponent: low.exponent,
    };
  },
  negate: (a) => ({ mantissa: -a.mantissa, exponent: a.exponent }),
  compare(a, b) {
    const { mantissa } = dyadicAdder.add(a, dyadicAdder.negate(b));
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
