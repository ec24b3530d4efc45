/**
 * What `almanac plan` and the registry do with an author's files, in one process that has done nothing before: evaluating them, and
 * planning them against what the registry holds. Writes what each took, in seconds since the process began.
 *   node dist/bench/plan-once.js <features.ts> <answer.json> [<current.json>]
 */
import { readFileSync, writeFileSync } from 'node:fs';
import { loadDefinitions } from '../cli/load.js';
import { type Current, planDefinitions } from '../core/plan.js';
import { spent } from './report.js';

/** From the start of the process, its own loading included. */
export interface Moment {
  cpu: number;
  wall: number;
}
export interface Planned {
  evaluated: Moment;
  planned: Moment;
  /** Views that the plan changes. */
  views: number;
  features: number;
  /** What a registry holds that has applied it, where it held nothing. */
  current: Current;
}

const now = (): Moment => ({ cpu: spent({ user: 0, system: 0 }), wall: performance.now() / 1000 });

const [file = '', answer = '', held] = process.argv.slice(2);
const definitions = await loadDefinitions(file);
const evaluated = now();
const current: Current = held
  ? JSON.parse(readFileSync(held, 'utf8'))
  : { revision: 0, definitions: null, versions: [] };
const { changes } = planDefinitions(current, definitions, {});
const planned = now();
const views = changes.flatMap((change) => (change.kind === 'view' ? [change] : []));
const result: Planned = {
  evaluated,
  planned,
  views: views.length,
  features: definitions.views.reduce((sum, view) => sum + view.features.length, 0),
  current: {
    revision: 1,
    definitions,
    versions: views.map(({ name, version, hash }) => ({ view: name, version, hash, state: 'live' })),
  },
};
writeFileSync(answer, JSON.stringify(result));
