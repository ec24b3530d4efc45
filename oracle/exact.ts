/**
 * Exact sums of doubles. Every finite double is a whole multiple of 2^-1074, the smallest one, so a sum of doubles
 * is a sum of whole numbers of that unit. Nothing is rounded but once, at the end.
 *
 *   bits of a positive double:  exponent (11) | fraction (52)
 *   its units:                  exponent = 0:  fraction
 *                               else:          (2^52 + fraction) * 2^(exponent - 1)
 *   e.g. 1 = exponent 1023, fraction 0 = 2^52 * 2^1022 = 2^1074 units
 */

const TWO_52 = 2n ** 52n;
const BITS_OF_INFINITY = 2047n * TWO_52;

/** The units of 2^-1074 in a finite double, or in a whole number of any size, exactly. */
export function unitsOf(value: number | bigint): bigint {
  if (typeof value === 'bigint') return value * 2n ** 1074n;
  if (!Number.isFinite(value)) throw new Error(`${value} is no finite number`);
  const magnitude = unitsOfBits(bitsOf(Math.abs(value)));
  return value < 0 ? -magnitude : magnitude;
}

/** The exact sum of finite doubles and whole numbers, in units of 2^-1074; of none: 0. */
export function exactSum(values: ReadonlyArray<number | bigint>): bigint {
  let sum = 0n;
  for (const value of values) sum += unitsOf(value);
  return sum;
}

/**
 * The double nearest to so many units, of two equally near the even one. Never -0. Null when it lies beyond the
 * greatest finite double (from half a step beyond it on, as IEEE 754 rounds to infinity).
 */
export function nearestDouble(units: bigint): number | null {
  const magnitude = units < 0n ? -units : units;
  const length = magnitude === 0n ? 0 : magnitude.toString(2).length;
  const dropped = BigInt(Math.max(0, length - 53)); // a double keeps 53 bits
  const step = 2n ** dropped;
  let kept = magnitude / step;
  const twiceRest = (magnitude % step) * 2n;
  if (twiceRest > step || (twiceRest === step && kept % 2n === 1n)) kept += 1n;
  // kept * 2^dropped units: exponent = dropped + 1 and fraction = kept - 2^52, which as bits add up to this. It holds
  // for subnormals (kept < 2^52, nothing dropped), and where rounding carried (kept = 2^53), too.
  const bits = dropped * TWO_52 + kept;
  if (bits >= BITS_OF_INFINITY) return null;
  const double = doubleOf(bits);
  return units < 0n ? -double : double;
}

/**
 * The double nearest to a positive number or 0, of two equally near the even one, found by halving the doubles. Null when it
 * lies beyond the greatest. @param isBelow whether so many halves of a unit are less than the number; `isAt`: equal to it
 */
function nearestBySearch(isBelow: (halves: bigint) => boolean, isAt: (halves: bigint) => boolean) {
  let low = 0n; // the greatest double that is not above the number lies in [low, high)
  let high = BITS_OF_INFINITY + 1n;
  while (high - low > 1n) {
    const middle = (low + high) / 2n;
    const halves = 2n * unitsOfBits(middle);
    if (isBelow(halves) || isAt(halves)) low = middle;
    else high = middle;
  }
  const between = unitsOfBits(low) + unitsOfBits(low + 1n);
  const bits = isBelow(between) || (isAt(between) && low % 2n === 1n) ? low + 1n : low;
  return bits >= BITS_OF_INFINITY ? null : doubleOf(bits);
}

/** The mean of some doubles, rounded once. @param values one at least */
export function exactMean(values: readonly number[]): number | null {
  const sum = exactSum(values);
  const size = sum < 0n ? -sum : sum;
  const n = BigInt(values.length);
  const double = nearestBySearch(
    (halves) => halves * n < 2n * size,
    (halves) => halves * n === 2n * size,
  );
  return double !== null && sum < 0n ? 0 - double : double;
}

/**
 * The variance, or its root, of some numbers: the mean of the squares of what they lie off their mean, over all of them or one
 * less. n times a difference from the mean is a whole number of units: n * value - sum.
 */
export function deviation(
  values: ReadonlyArray<number | bigint>,
  root: boolean,
  over: number,
): number | null {
  if (over < 1) return null;
  const n = BigInt(values.length);
  const sum = exactSum(values);
  const squares = values.map((value) => (n * unitsOf(value) - sum) ** 2n).reduce((a, b) => a + b, 0n);
  const divisor = n * n * BigInt(over); // squares / divisor is the variance in units of units
  const unit = 2n ** 1074n; // units in 1
  // halves / 2 units are less than the root when (halves / 2)^2 < squares / divisor; than the variance when halves / 2 * unit is
  const left = (halves: bigint): bigint => (root ? halves * halves * divisor : 2n * halves * unit * divisor);
  return nearestBySearch(
    (halves) => left(halves) < 4n * squares,
    (halves) => left(halves) === 4n * squares,
  );
}

/**
 * The sum of what is left of each value at `at`: value * 2^(timestamp / halfLife) / 2^(at / halfLife), all exact but for the powers.
 * A power is 2^octaves times the product, from the greatest on, of the roots 2^(1/2), 2^(1/4), ... 2^(1/2^48) that the first 48
 * binary digits of the rest name, in doubles. Null when beyond the greatest double.
 */
export function decayed(
  terms: ReadonlyArray<{ value: number | bigint; timestamp: number }>,
  at: number,
  halfLifeMs: number,
): number | null {
  if (terms.length === 0) return 0;
  const power = (ms: number) => {
    const octaves = Math.floor(ms / halfLifeMs);
    const digits = (BigInt(ms - octaves * halfLifeMs) * 2n ** 48n) / BigInt(halfLifeMs);
    let root = 2;
    let factor = 1;
    for (const digit of digits.toString(2).padStart(48, '0')) {
      root = Math.sqrt(root);
      if (digit === '1') factor *= root;
    }
    return { octaves: BigInt(octaves), units: unitsOf(factor) };
  };
  const oldest = power(Math.min(...terms.map(({ timestamp }) => timestamp))).octaves;
  let sum = 0n;
  for (const { value, timestamp } of terms) {
    const { octaves, units } = power(timestamp);
    sum += unitsOf(value) * units * 2n ** (octaves - oldest);
  }
  const now = power(at);
  const divisor = now.units * 2n ** (now.octaves - oldest);
  const size = sum < 0n ? -sum : sum;
  const double = nearestBySearch(
    (halves) => halves * divisor < 2n * size,
    (halves) => halves * divisor === 2n * size,
  );
  return double === null ? null : sum < 0n ? 0 - double : double;
}

function unitsOfBits(bits: bigint): bigint {
  const exponent = bits / TWO_52;
  const fraction = bits % TWO_52;
  return exponent === 0n ? fraction : (TWO_52 + fraction) * 2n ** (exponent - 1n);
}

function bitsOf(value: number): bigint {
  const bytes = new DataView(new ArrayBuffer(8));
  bytes.setFloat64(0, value);
  return bytes.getBigUint64(0);
}

function doubleOf(bits: bigint): number {
  const bytes = new DataView(new ArrayBuffer(8));
  bytes.setBigUint64(0, bits);
  return bytes.getFloat64(0);
}
