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

/** The units of 2^-1074 in a finite double, exactly. */
export function unitsOf(value: number): bigint {
  if (!Number.isFinite(value)) throw new Error(`${value} is no finite number`);
  const bits = bitsOf(Math.abs(value));
  const exponent = bits / TWO_52;
  const fraction = bits % TWO_52;
  const magnitude = exponent === 0n ? fraction : (TWO_52 + fraction) * 2n ** (exponent - 1n);
  return value < 0 ? -magnitude : magnitude;
}

/** The exact sum of finite doubles, in units of 2^-1074; of none: 0. */
export function exactSum(values: readonly number[]): bigint {
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
