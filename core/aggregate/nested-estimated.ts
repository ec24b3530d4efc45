/**
 * Number of different values, exact to a bound and estimated beyond, in several windows at once, each within the next. The values that
 * are kept (nested-distinct.ts) are those that occurred last in each window: where it has all of them, the one sketch tells its
 * estimate from what occurred in it; where it has fewer, they are its values.
 */
import type { ScalarType } from '../definition.js';
import type { Event, Value } from '../event.js';
import { ceilTo } from '../time.js';
import type { EstimatedState } from './estimated.js';
import { estimatedOf } from './estimated.js';
import type { Span } from './nested.js';
import { endCodec, leavesSpan, leftBy, stepsOfLanes } from './nested.js';
import type { NestedDistinctState } from './nested-distinct.js';
import { leavingsOf, nestedDistinctPart } from './nested-distinct.js';
import type { Part } from './part.js';
import type { Within } from './sketch.js';
import { sketch } from './sketch.js';

/** @returns values: one count per span */
export function nestedEstimatedPart(
  exactTo: number,
  type: ScalarType,
  input: (event: Event) => Value,
  spans: readonly Span[],
): Part<EstimatedState<NestedDistinctState>, number[], number> {
  const shortest = spans[0]!;
  const values = nestedDistinctPart(exactTo + 1, type, input, spans);
  const estimated = estimatedOf(exactTo, input, values, {
    of: ({ timestamp }) => ceilTo(timestamp, shortest.hopMs),
    codec: endCodec(shortest),
  });
  type State = EstimatedState<NestedDistinctState>;

  const within = ({ values: { until } }: State, span: Span): Within => ({
    after: leftBy(until, span),
    leaves: (end) => leavesSpan(end, span),
  });

  return {
    ...estimated,
    lanes: spans.length,
    leave: (state, until) => estimated.forget(state, until, leftBy(until, spans.at(-1)!)),
    nextLeave(state) {
      const known = values.value(state.values);
      const estimates = spans.filter((_, lane) => known[lane]! > exactTo);
      const changes = estimates.map((span) => sketch.nextLeave(state.sketch!, within(state, span)));
      return Math.min(values.nextLeave(state.values), ...changes);
    },
    value: (state) =>
      values.value(state.values).map((known, lane) => {
        return estimated.count(state, known, within(state, spans[lane]!));
      }),
    /** A change is the next count. */
    steps(state) {
      const known = values.value(state.values);
      return stepsOfLanes(spans, (span, lane) => {
        return estimated.counts(state, known[lane]!, leavingsOf(state.values, span), within(state, span));
      });
    },
    apply: (counts, next, lane) => counts.with(lane, next),
    encodeValue: (writer, counts) => values.encodeValue(writer, counts),
    decodeValue: (reader) => values.decodeValue(reader),
    encodeChange: (writer, next) => writer.varint(next),
    decodeChange: (reader) => reader.varint(),
  };
}
