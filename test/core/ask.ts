/** One feature of one entity, asked as authors write it: testFeature, both modes of the training sweep and the oracle say the same. */
import { expect } from 'vitest';
import type { SourceDef, ViewDef } from '../../core/builder.js';
import { compileView } from '../../core/compile.js';
import type { AggregationView, FeatureType } from '../../core/definition.js';
import type { FeatureValue } from '../../core/event.js';
import { sweepLabels, ticksOf } from '../../core/sweep.js';
import { type SampleRow, sampleEvents, testFeature } from '../../core/testing.js';
import { floorTo, parseTimestamp } from '../../core/time.js';
import { judge } from '../../core/vector.js';
import { answer } from '../../oracle/oracle.js';

/** @returns the view's first feature at each time (RFC 3339), of what had arrived by then; every batch tick was on time */
export function ask<F extends Record<string, FeatureType>>(
  view: ViewDef<AggregationView, F>,
  { json: source }: Pick<SourceDef, 'json'>,
  rows: readonly SampleRow[],
  times: readonly string[],
  strict = false,
): FeatureValue[] {
  const events = sampleEvents(source, rows);
  const compiled = compileView(view.json, source);
  const { name } = view.json.features[0]!;
  const tested = testFeature(view, rows);
  const labels = times.map(parseTimestamp);
  const { cadenceMs } = ticksOf(view.json);
  const ticks = labels.map((at) => floorTo(at, cadenceMs)).sort((a, b) => a - b);
  const published = ticks.map((tick) => ({ tick, publishedAt: tick }));
  const told = (['known-then', 'event-time'] as const).map((mode) => {
    const swept = sweepLabels(compiled, events, labels, { mode, strict, published });
    return labels.map((at, index) => {
      const moment = strict ? at - 1 : at;
      const value = judge(view.json, swept[index]!, moment).values[0]!;
      const question = { type: 'training', at, mode, strict, published } as const;
      const where = `${mode} at ${times[index]}`;
      expect(answer(view.json, source, events, question).values[name], `the oracle, ${where}`).toEqual(value);
      const { values } = tested.at(new Date(moment).toISOString(), { mode });
      expect(values[name], `testFeature, ${where}`).toEqual(value);
      return value;
    });
  });
  return told[0]!;
}
