/**
 * Number of different values, estimated: HyperLogLog (Flajolet et al. 2007) with Ertl's estimator (2017, algorithm 6), which needs no
 * correction at either end, over 4,096 registers: a standard error of 1.04 / √4096 = 1.6 %. For windows that move each register keeps,
 * as the sliding HyperLogLog (Chabchoub, Hébrail 2010), a staircase: the ranks that no later-leaving one hides, so a value leaves
 * exactly when its last occurrence does. Over several windows, each within the next, times are ends of the shortest hop: what a later
 * and no lower rank hides in one window it hides in each.
 *
 * The hash of a value (of its text) is 64 bits: 12 choose the register, and the rank is 1 + the zeros before the first one of the
 * next 40. It is kept as a part is (part.ts), and takes in values.
 */
import type { ByteReader, ByteWriter } from '../codec/bytes.js';
import type { Codec, Scalar } from '../codec/scalar.js';
import type { Step } from './part.js';
import { NEVER } from './part.js';

export const REGISTERS = 4096;
const MAX_RANK = 41;

/** Leaving later and ranked lower from each to the next. */
type Stairs = Array<{ time: number; rank: number }>;

export interface SketchState {
  registers: Map<number, Stairs>;
  /** The least time, so that a tick at which nothing leaves costs nothing; null: to be looked for. */
  soonest: number | null;
}

/** A window that a sketch is asked about: what is in it, and when it leaves. */
export interface Within {
  /** Later times are in it. */
  after: number;
  leaves: (time: number) => number;
}

/** All that it holds, where times are when values leave. */
const ALL: Within = { after: -NEVER, leaves: (time) => time };

export const sketch = {
  create: (): SketchState => ({ registers: new Map(), soonest: NEVER }),
  /** @param time of the value's last occurrence, or of an earlier one, which it hides: what tells when it leaves */
  add(state: SketchState, value: Scalar, time: number): void {
    const placed = place(String(value));
    const register = placed >>> 6;
    const rank = placed & 63;
    const stairs = state.registers.get(register);
    if (stairs === undefined) state.registers.set(register, [{ time, rank }]);
    else if (!climb(stairs, time, rank)) return;
    state.soonest = null;
  },
  /** Forgets what is not after `until`. */
  leave(state: SketchState, until: number): void {
    if (soonest(state) > until) return;
    for (const [register, stairs] of state.registers) {
      const left = firstAfter(stairs, until);
      if (left === stairs.length) state.registers.delete(register);
      else if (left > 0) stairs.splice(0, left);
    }
    state.soonest = null;
  },
  nextLeave(state: SketchState, { after, leaves } = ALL): number {
    if (after < soonest(state)) return leaves(soonest(state));
    let least = NEVER;
    for (const stairs of state.registers.values())
      least = Math.min(least, stairs[firstAfter(stairs, after)]?.time ?? NEVER);
    return leaves(least);
  },
  /** The estimate. */
  value: (state: SketchState, { after } = ALL): number => estimate(ranks(state, after)),
  /** The next estimate, wherever it changes. */
  steps(state: SketchState, { after, leaves } = ALL): Step<number>[] {
    const changes = new Map<number, Array<{ from: number; to: number }>>();
    for (const stairs of state.registers.values())
      for (let index = firstAfter(stairs, after); index < stairs.length; index++) {
        const at = leaves(stairs[index]!.time);
        if (at === NEVER) continue;
        const change = { from: stairs[index]!.rank, to: stairs[index + 1]?.rank ?? 0 };
        const together = changes.get(at);
        if (together === undefined) changes.set(at, [change]);
        else together.push(change);
      }
    const counts = ranks(state, after);
    let present = estimate(counts);
    const steps: Step<number>[] = [];
    for (const [at, together] of [...changes].sort(([a], [b]) => a - b)) {
      for (const { from, to } of together) {
        counts[from]! -= 1;
        counts[to]! += 1;
      }
      const next = estimate(counts);
      if (next === present) continue;
      present = next;
      steps.push({ at, change: next });
    }
    return steps;
  },
  /** varint registers | per register: varint distance from the one before | varint stairs | per stair: time, u8 rank */
  encodeState(writer: ByteWriter, state: SketchState, timeCodec: Codec<number>): void {
    writer.varint(state.registers.size);
    let previous = 0;
    for (const [register, stairs] of [...state.registers].sort(([a], [b]) => a - b)) {
      writer.varint(register - previous);
      previous = register;
      writer.varint(stairs.length);
      for (const { time, rank } of stairs) {
        timeCodec.encode(writer, time);
        writer.u8(rank);
      }
    }
  },
  decodeState(reader: ByteReader, timeCodec: Codec<number>): SketchState {
    const registers = new Map<number, Stairs>();
    let register = 0;
    for (let size = reader.varint(); size > 0; size--) {
      register += reader.varint();
      const stairs = Array.from({ length: reader.varint() }, () => ({
        time: timeCodec.decode(reader),
        rank: reader.u8(),
      }));
      registers.set(register, stairs);
    }
    return { registers, soonest: null };
  },
};

/** Puts a rank in its place; false: it is hidden by one that leaves no sooner and ranks no lower. */
function climb(stairs: Stairs, time: number, rank: number): boolean {
  let index = stairs.length;
  while (index > 0 && stairs[index - 1]!.time >= time) index--;
  if (index < stairs.length && stairs[index]!.rank >= rank) return false;
  const end = stairs[index]?.time === time ? index + 1 : index;
  let hidden = index;
  while (hidden > 0 && stairs[hidden - 1]!.rank <= rank) hidden--;
  stairs.splice(hidden, end - hidden, { time, rank });
  return true;
}

/** Index of the first later one; their number when there is none. */
function firstAfter(stairs: Stairs, time: number): number {
  let index = 0;
  while (index < stairs.length && stairs[index]!.time <= time) index++;
  return index;
}

function soonest(state: SketchState): number {
  if (state.soonest === null) {
    state.soonest = NEVER;
    for (const [first] of state.registers.values())
      if (first!.time < state.soonest) state.soonest = first!.time;
  }
  return state.soonest;
}

/** How many registers have each rank, by what is after a time; 0: empty. */
function ranks(state: SketchState, after: number): number[] {
  const counts = noRanks();
  counts[0] = REGISTERS;
  for (const stairs of state.registers.values()) {
    const first = stairs[firstAfter(stairs, after)];
    if (first === undefined) continue;
    counts[0]! -= 1;
    counts[first.rank]! += 1;
  }
  return counts;
}

export const noRanks = (): number[] => Array.from({ length: MAX_RANK + 1 }, () => 0);

/**
 * Of different values that leave the registers so. Sums, products and square roots only: the same on every machine.
 * @param counts how many registers have each rank
 */
export function estimate(counts: readonly number[]): number {
  if (counts[0] === REGISTERS) return 0;
  let z = REGISTERS * tau(1 - counts[MAX_RANK]! / REGISTERS);
  for (let rank = MAX_RANK - 1; rank >= 1; rank--) z = (z + counts[rank]!) / 2;
  z += REGISTERS * sigma(counts[0]! / REGISTERS);
  return Math.round((REGISTERS * REGISTERS) / (2 * Math.LN2 * z));
}

/** x + Σ x^(2^k) · 2^(k-1), k from 1 on. @param x below 1 */
function sigma(x: number): number {
  let sum = x;
  for (let power = x * x, weight = 1; ; power *= power, weight *= 2) {
    const next = sum + power * weight;
    if (next === sum) return sum;
    sum = next;
  }
}

/** (1 - x - Σ (1 - x^(2^-k))² · 2^-k) / 3, k from 1 on. */
function tau(x: number): number {
  if (x === 0 || x === 1) return 0;
  let sum = 1 - x;
  for (let root = Math.sqrt(x), weight = 0.5; ; root = Math.sqrt(root), weight /= 2) {
    const next = sum - (1 - root) ** 2 * weight;
    if (next === sum) return sum / 3;
    sum = next;
  }
}

/**
 * Where a text counts: its register · 64 + its rank there. 64 bits are made of its UTF-16 code units (cyrb53, with the finish of
 * MurmurHash3): what is the same once is the same for ever. Measured 0.5 µs where the first bits of SHA-256 take 14.
 */
export function place(text: string): number {
  let a = 0xdeadbeef;
  let b = 0x41c6ce57;
  for (let i = 0; i < text.length; i++) {
    const unit = text.charCodeAt(i);
    a = Math.imul(a ^ unit, 2654435761);
    b = Math.imul(b ^ unit, 1597334677);
  }
  a = Math.imul(a ^ (a >>> 16), 2246822507) ^ Math.imul(b ^ (b >>> 13), 3266489909);
  b = Math.imul(b ^ (b >>> 16), 2246822507) ^ Math.imul(a ^ (a >>> 13), 3266489909);
  const top = b & 0xfffff;
  const rank = top === 0 ? 9 + Math.clz32(a >>> 12) : Math.clz32(top) - 11;
  return ((b >>> 20) << 6) | rank;
}
