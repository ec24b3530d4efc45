/**
 * Sums whose terms halve with every half-life: value(t) = Σ x · 2^((s - t) / halfLife). The state holds Σ x · 2^(s / halfLife), which
 * does not move: a term's size is fixed when its event happens, by the epoch, so it may be added and taken away in any order. Reading
 * divides by 2^(t / halfLife). Sums and quotient are exact, rounded once; the powers are doubles within 2^-47 of the true ones.
 *
 * A power is a whole number of octaves (kept as an exponent, so nothing overflows however far from the epoch) times the product of
 * the roots √2, √√2, ... that the binary digits of the rest ask for: square root and product round alike on every machine, which
 * `2 ** x` need not. In a lifetime an event leaves after 64 half-lives, at a multiple of 16; it weighs less than 2^-64 of itself then.
 */
import type { Window } from '../definition.js';
import type { Event } from '../event.js';
import type { Dyadic, Total } from '../exact.js';
import { dyadicAdder, reduce, roundQuotient } from '../exact.js';
import type { Int64 } from '../int64.js';
import type { Nest, NestedState, Sums } from './nested.js';
import { nestedPart } from './nested.js';
import type { Part } from './part.js';
import type { Sum, SumState } from './sum.js';
import { sumPart } from './sum.js';

/** A longer window would only hold what weighs nothing. */
export const LIFE_IN_HALF_LIVES = 64;
const HOP_IN_HALF_LIVES = 16;

/** The window a decaying sum runs in: a lifetime ends when nothing is left of an event. */
export function decayWindow(window: Window, halfLifeMs: number): Window {
  if (window.type !== 'lifetime') return window;
  return { type: 'sliding', ms: LIFE_IN_HALF_LIVES * halfLifeMs, hopMs: HOP_IN_HALF_LIVES * halfLifeMs };
}

type Input = (event: Event) => Int64 | null;

/** @param input null: the event is skipped */
export function decayPart(
  halfLifeMs: number,
  input: Input,
): Part<SumState<Dyadic>, Sum<Dyadic>, Sum<Dyadic>> {
  return leavingFirst(sumPart(decaying, termOf(halfLifeMs, input)));
}

/** Of several windows: what an event adds does not depend on the window, so it is kept once. */
export function nestedDecayPart(
  halfLifeMs: number,
  input: Input,
  nest: Nest,
): Part<NestedState<Dyadic>, Sums<Dyadic>, Sum<Dyadic>> {
  return leavingFirst(nestedPart(decaying, termOf(halfLifeMs, input), nest));
}

/** Where the small has left, what is left is written short again. */
const decaying: Total<Dyadic> = {
  ...dyadicAdder,
  subtract: (a, b) => reduce(dyadicAdder.subtract(a, b)),
};

function termOf(halfLifeMs: number, input: Input): (event: Event) => Dyadic | null {
  return (event) => {
    const x = input(event);
    if (x === null) return null;
    const { mantissa, exponent } = dyadicAdder.of(x);
    const power = powerAt(event.timestamp, halfLifeMs);
    return { mantissa: mantissa * power.mantissa, exponent: exponent + power.exponent };
  };
}

/** What is far apart never stands in one sum: its exact form would be as long as the time between. */
function leavingFirst<State, Value, Change>(part: Part<State, Value, Change>): Part<State, Value, Change> {
  return {
    ...part,
    add(state, event, leaves) {
      part.leave(state, event.timestamp);
      part.add(state, event, leaves);
    },
  };
}

/** The sum at `at`. */
export function decayedTo(at: number, total: Dyadic, halfLifeMs: number): number {
  const power = powerAt(at, halfLifeMs);
  return roundQuotient(
    { mantissa: total.mantissa, exponent: total.exponent - power.exponent },
    power.mantissa,
  );
}

const ROOTS: number[] = [];
for (let root = Math.sqrt(2); ROOTS.length < 48; root = Math.sqrt(root)) ROOTS.push(root);

/** 2^(ms / halfLife). */
function powerAt(ms: number, halfLifeMs: number): Dyadic {
  const octave = Math.floor(ms / halfLifeMs);
  let rest = ms - octave * halfLifeMs;
  let factor = 1;
  for (let digit = 0; rest > 0 && digit < ROOTS.length; digit++) {
    rest *= 2;
    if (rest < halfLifeMs) continue;
    rest -= halfLifeMs;
    factor *= ROOTS[digit]!;
  }
  return { mantissa: BigInt(factor * 2 ** 52), exponent: octave - 52 };
}
