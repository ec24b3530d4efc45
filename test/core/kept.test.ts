/**
 * Cases that failed once, when something was wrong or had been made so: `kept/<what it shows>.json`, as always.ts prints them. They are
 * data, so they outlive the generators, and each goes through every path.
 */
import { readdirSync, readFileSync } from 'node:fs';
import { test } from 'vitest';
import { parseJson } from '../../core/codec/json.js';
import { source as plain } from './generate.js';
import type { Case } from './paths.js';
import { PATHS } from './paths.js';
import type { StreamCase } from './stream-case.js';
import { expectStream } from './stream-case.js';

const folder = new URL('kept/', import.meta.url);
// Without a source of its own, a case is over the generators' plain one.
const kept = readdirSync(folder).map((name): [string, Case | StreamCase] => [
  name.replace('.json', '').replaceAll('-', ' '),
  { source: plain, ...(parseJson(readFileSync(new URL(name, folder), 'utf8'), 32) as object) } as unknown as
    | Case
    | StreamCase,
]);

test.each(kept)('%s', (_, given) => {
  if ('plan' in given) expectStream(given);
  const { view, source, moments } = given;
  const cases =
    'plan' in given
      ? given.entities.map((events) => ({ view, source, events, moments, chance: 0 }))
      : [given];
  for (const one of cases)
    for (const { mode, holds } of Object.values(PATHS))
      if (mode === 'any' || mode === view.mode.type) holds(one);
});
