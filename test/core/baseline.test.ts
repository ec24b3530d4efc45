/** A cut, by name; that all paths from it give what all of the events give is in paths.ts. */
import { expect, test } from 'vitest';
import { baselineOf, openBaseline } from '../../core/baseline.js';
import { compileView } from '../../core/compile.js';
import type { AggregationView } from '../../core/definition.js';
import type { Event } from '../../core/event.js';
import { encodeState, readState, rebuild } from '../../core/state.js';
import { sweepLabels, sweepTicks } from '../../core/sweep.js';
import { DAY, HOUR } from '../../core/time.js';
import { SOURCES } from './generate.js';

const { source } = SOURCES.plain;
const feature = { description: '-', type: 'int64' as const, coldStart: 0, nameException: null, where: null };
const view = {
  kind: 'aggregation',
  name: 'spend',
  key: ['user_id'],
  where: null,
  mode: { type: 'batch', cadenceMs: HOUR, settleMs: 0 },
  features: [
    { ...feature, name: 'all', window: { type: 'lifetime' }, aggregation: { op: 'count' } },
    {
      ...feature,
      name: 'day',
      window: { type: 'sliding', ms: DAY, hopMs: HOUR },
      aggregation: { op: 'count' },
    },
  ],
} as unknown as AggregationView;
const streaming: AggregationView = { ...view, mode: { type: 'streaming', rowsEveryMs: HOUR } };
const compiled = compileView(streaming, source);

function eventAt(timestamp: number, arrivedAt = timestamp): Event {
  const values = [1, timestamp, null, 'a', null, 'u', null, null];
  return { timestamp, arrivedAt, sequence: 1, order: 0, id: String(timestamp), values };
}

const CUT = 10 * DAY;
const late = eventAt(CUT - HOUR, CUT + 2 * HOUR);
const before = [eventAt(DAY), eventAt(CUT - 2 * HOUR), late];
const after = [eventAt(CUT), eventAt(CUT + DAY)];
const baseline = baselineOf(compiled, [...before, ...after], CUT)!;
const refused = expect.objectContaining({ code: 'FS_BEHIND_BASELINE' });

test('a lifetime goes on over what was dropped, and so does a window that reaches behind the cut', () => {
  const state = rebuild(compiled, after, [], openBaseline(compiled, baseline, after));
  expect(encodeState(compiled, state)).toEqual(
    encodeState(compiled, rebuild(compiled, [...before, ...after])),
  );
  const options = { mode: 'event-time' as const, strict: false, published: [], baseline };
  const values = sweepLabels(compiled, after, [CUT, CUT + DAY], options).map((reading) => reading!.values);
  expect(values).toEqual([
    [4, 3],
    [5, 1],
  ]);
  expect(readState(compiled, state, CUT + 2 * DAY)!.values).toEqual([5, 0]);
});

test('where nothing lies before the cut there is no baseline', () => {
  expect(baselineOf(compiled, after, CUT)).toBeNull();
});

test('an event from before the cut is refused by name', () => {
  expect(() => openBaseline(compiled, baseline, [eventAt(CUT - 1)])).toThrow(refused);
  const options = { mode: 'event-time' as const, strict: false, published: [], baseline };
  expect(() => sweepLabels(compiled, [eventAt(CUT - 1)], [CUT], options)).toThrow(refused);
});

test.each([
  { mode: 'event-time', at: CUT - 1, why: 'before the cut' },
  { mode: 'known-then', at: CUT + 2 * HOUR - 1, why: 'as known before the last of it had arrived' },
] as const)('a label is refused by name: $why', ({ mode, at }) => {
  const options = { mode, strict: false, published: [], baseline };
  expect(() => sweepLabels(compiled, after, [at], options)).toThrow(refused);
  expect(sweepLabels(compiled, after, [at + 1], options)[0]!.values[0]).toBe(4);
  expect(() => sweepLabels(compiled, after, [at + 1], { ...options, strict: true })).toThrow(refused);
});

test('ticks begin when all of it had entered', () => {
  const batch = compileView(view, source);
  const ticks = { until: CUT + DAY, baseline };
  expect(() => sweepTicks(batch, after, { after: CUT + HOUR, ...ticks })).toThrow(refused);
  const { rows } = sweepTicks(batch, after, { after: CUT + 2 * HOUR, ...ticks });
  const whole = sweepTicks(batch, [...before, ...after], { after: 0, until: CUT + DAY });
  expect(rows.length).toBeGreaterThan(0);
  expect(rows).toEqual(whole.rows.filter(({ tick }) => tick > CUT + 2 * HOUR));
});

test('a source with retractions has no baselines', () => {
  const retracting = compileView(streaming, SOURCES.retracting.source);
  expect(() => baselineOf(retracting, [], CUT)).toThrow(refused);
});
