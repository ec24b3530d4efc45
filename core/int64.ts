/**
 * Whole numbers of 64 bits, in one form: a number while safe (within ±(2^53 - 1)), a bigint beyond. So equal values are `===`, make one
 * key of a Map, and `<` and `>` compare any two; only arithmetic must look at the form. Pure.
 */
export type Int64 = number | bigint;

export const MIN_INT64 = -(2n ** 63n);
export const MAX_INT64 = 2n ** 63n - 1n;

/** In words, for messages. */
export const INT64_RANGE = 'a whole number of 64 bits (-2^63 to 2^63 - 1)';

const LEAST = BigInt(Number.MIN_SAFE_INTEGER);
const GREATEST = BigInt(Number.MAX_SAFE_INTEGER);

/** The one form of a whole number of any size. */
export function narrow(value: bigint): Int64 {
  return value >= LEAST && value <= GREATEST ? Number(value) : value;
}

/** The one form; null outside of 64 bits. */
export function toInt64(value: bigint): Int64 | null {
  return value >= MIN_INT64 && value <= MAX_INT64 ? narrow(value) : null;
}

/** Whether it is one, in its one form. */
export function isInt64(value: unknown): value is Int64 {
  if (typeof value === 'number') return Number.isSafeInteger(value);
  return typeof value === 'bigint' && toInt64(value) === value;
}

/** Digits with an optional minus, as Postgres and CSV write them; null for any other text and outside of 64 bits. */
export function parseInt64(text: string): Int64 | null {
  if (!/^-?[0-9]{1,20}$/.test(text)) return null;
  const value = Number(text);
  return Number.isSafeInteger(value) ? value + 0 : toInt64(BigInt(text)); // + 0: no negative zero
}
