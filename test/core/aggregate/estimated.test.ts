/** Different values, counted exactly to a bound and estimated beyond: a function of the events in the window alone. */
import { expect, test } from 'vitest';
import { distinctPart } from '../../../core/aggregate/distinct.js';
import { estimatedPart } from '../../../core/aggregate/estimated.js';
import { leavesSpan } from '../../../core/aggregate/nested.js';
import { nestedEstimatedPart } from '../../../core/aggregate/nested-estimated.js';
import { sketch } from '../../../core/aggregate/sketch.js';
import { ByteWriter } from '../../../core/codec/bytes.js';
import type { Event } from '../../../core/event.js';

const EXACT_TO = 256;
const part = estimatedPart(EXACT_TO, 'int64', ({ order }) => order);
const exact = distinctPart(Number.POSITIVE_INFINITY, 'int64', ({ order }) => order);

/** Values from..to - 1, each leaving at its own number. */
function add(state: ReturnType<typeof part.create>, from: number, to: number): typeof state {
  for (let value = from; value < to; value++) part.add(state, { order: value } as Event, value);
  return state;
}

function estimateOf(from: number, to: number): number {
  const state = sketch.create();
  for (let value = from; value < to; value++) sketch.add(state, value, value);
  return sketch.value(state);
}

function bytesOf(state: ReturnType<typeof part.create>): number {
  const writer = new ByteWriter();
  part.encodeState(writer, state);
  return writer.length;
}

test.each([
  { values: 0, gives: 0, why: 'none' },
  { values: EXACT_TO, gives: EXACT_TO, why: 'as many as the bound: exact' },
  { values: EXACT_TO + 1, gives: Math.max(EXACT_TO + 1, estimateOf(0, EXACT_TO + 1)), why: 'one more: at least that' },
  { values: 5_000, gives: estimateOf(0, 5_000), why: 'many more: the estimate' },
])('$why', ({ values, gives }) => expect(part.value(add(part.create(), 0, values))).toBe(gives)); // biome-ignore format: a table

test('once so many have left that it can be exact again, it is', () => {
  const state = add(part.create(), 0, 5_000);
  const withSketch = bytesOf(state);
  part.leave(state, 5_000 - EXACT_TO - 2);
  expect(part.value(state)).toBe(Math.max(EXACT_TO + 1, estimateOf(5_000 - EXACT_TO - 1, 5_000)));
  part.leave(state, 5_000 - EXACT_TO - 1);
  expect(part.value(state)).toBe(EXACT_TO);
  expect(bytesOf(state)).toBeLessThan(withSketch / 4);
  expect(bytesOf(state)).toBe(bytesOf(add(part.create(), 5_000 - EXACT_TO, 5_000)));
});

test('it may pass the bound, come back and pass it again', () => {
  const state = add(part.create(), 0, 1_000);
  part.leave(state, 899);
  expect(part.value(state)).toBe(100);
  add(state, 1_000, 1_500);
  expect(part.value(state)).toBe(estimateOf(900, 1_500));
});

test('over several windows each says what it would alone, now and at every step', () => {
  const spans = [
    { ms: 200, hopMs: 1 },
    { ms: 1_000, hopMs: 10 },
    { ms: 3_000, hopMs: 100 },
  ];
  const nested = nestedEstimatedPart(EXACT_TO, 'int64', ({ order }) => order, spans);
  const shared = nested.create();
  const alone = spans.map(() => part.create());
  for (const now of [500, 5_000]) {
    for (let timestamp = now - 500; timestamp < now; timestamp++) {
      const event = { timestamp, order: timestamp % 450 } as Event;
      nested.add(shared, event, leavesSpan(timestamp, spans[2]!));
      for (const [lane, state] of alone.entries())
        part.add(state, event, leavesSpan(timestamp, spans[lane]!));
    }
    nested.leave(shared, now);
    for (const state of alone) part.leave(state, now);
    expect(nested.value(shared)).toEqual(alone.map((state) => part.value(state)));
    spans.forEach((_, wanted) => {
      const steps = nested.steps(shared).filter(({ lane }) => lane === wanted);
      expect(steps).toEqual(part.steps(alone[wanted]!).map((step) => ({ ...step, lane: wanted })));
    });
  }
});

test('below the bound a change is what leaves, as exactly as in an exact count', () => {
  const state = add(part.create(), 0, 200);
  const other = exact.create();
  for (let value = 0; value < 200; value++) exact.add(other, { order: value } as Event, value);
  expect(part.steps(state).map(({ at }) => at)).toEqual(exact.steps(other).map(({ at }) => at));
});
