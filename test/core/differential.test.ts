/** Every path against the oracle, on generated definitions and event streams. */
import fc from 'fast-check';
import { test } from 'vitest';
import { always } from './always.js';
import { history, moments, view } from './generate.js';
import { PATHS } from './paths.js';

test.each(Object.entries(PATHS))('%s', (_, { mode, holds }) => {
  const views = view.filter((one) => mode === 'any' || one.mode.type === mode);
  const cases = fc.record({ view: views, history, moments, chance: fc.nat() });
  always(cases.map(({ history, ...given }) => ({ ...given, ...history })), holds); // biome-ignore format: short
});
