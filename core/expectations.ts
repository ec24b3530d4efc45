/**
 * What authors expect of what a view writes: whether an expectation makes sense, which single values break it, and what is to be said of
 * a whole tally (tally.ts). Where they are looked at, and what then happens: docs/definitions.md. Pure.
 */
import { canonicalJson } from './canonical.js';
import type { Problem } from './check.js';
import type { Expectation, FeatureType, StoredView, View } from './definition.js';
import type { FeatureValue } from './event.js';
import { isInt64 } from './int64.js';
import type { Tally } from './tally.js';
import { formatDuration } from './time.js';

/** What came of an expectation. */
export interface Verdict {
  /** 'nullRate of user_clicks'; with the severity it is one of its view's. */
  expectation: string;
  feature: string | null;
  severity: Expectation['severity'];
  passed: boolean;
  /** A share, a number of values or events, milliseconds, a relative change; null: there was nothing to tell it by. */
  observed: number | null;
  /** The same for what was allowed at most. */
  allowed: number;
  /** In words; counts and shares alone, no entity's value. */
  said: string;
}

/** What the tally does not hold. */
export interface Facts {
  nowMs: number;
  /** The version's newest event, also where this writing brought none; null: it has none. */
  newestMs: number | null;
  /** The tally's `rows` of the last time; null: there was none that can be compared with. */
  rowsBefore: number | null;
}

// ---------------------------------------------------------------- do they make sense?

const RANGED: readonly FeatureType[] = ['int64', 'float64', 'timestamp'];
const LISTED: readonly FeatureType[] = ['string', 'int64', 'bool'];

/** What is wrong with a view's expectations. */
export function expectationProblems(view: View): Problem[] {
  if (view.kind === 'onDemand') return [];
  const problems: Problem[] = [];
  const names = new Set<string>();
  view.expectations?.forEach((expectation, index) => {
    const path = `views.${view.name}.expectations[${index}]`;
    const add = (code: Problem['code'], field: string, message: string, fix: string): void => {
      problems.push({ code, path: field === '' ? path : `${path}.${field}`, message, fix });
    };
    const name = `${nameOf(expectation)}, ${expectation.severity}`;
    if (names.has(name))
      add('duplicate', '', `"${name}" is expected twice`, 'say it once; a second one of another severity may stand beside it'); // biome-ignore format: short
    names.add(name);
    if (expectation.type === 'unique' && view.kind === 'sql')
      add('type', 'type', 'a sql view has one row for each entity and tick as it is', 'leave it out');
    if (!('feature' in expectation)) return;
    const { feature } = expectation;
    const type = view.features.find((each) => each.name === feature)?.type;
    if (type === undefined)
      add('unknown-reference', 'feature', `"${feature}" is no feature of the view`, `use one of: ${view.features.map((each) => each.name).slice(0, 20).join(', ')}`); // biome-ignore format: one thing
    else if (expectation.type === 'range') {
      const { min, max } = expectation;
      if (!RANGED.includes(type))
        add(
          'type',
          'feature',
          `"${feature}" is ${type}, which has no range`,
          `name a feature of ${RANGED.join(', ')}`,
        );
      if (min === null && max === null)
        add('structure', 'min', 'neither min nor max is given', 'give one of them');
      if (min !== null && max !== null && min > max)
        add('structure', 'max', `${max} is less than the min of ${min}`, 'exchange them');
    } else if (expectation.type === 'allowed') {
      if (!LISTED.includes(type))
        add('type', 'feature', `values of "${feature}" are ${type}, which is not compared with a list`, `name a feature of ${LISTED.join(', ')}`); // biome-ignore format: one thing
      else {
        const given = new Set<unknown>();
        expectation.values.forEach((value, at) => {
          const fits = type === 'string' ? typeof value === 'string' : type === 'bool' ? typeof value === 'boolean' : isInt64(value); // biome-ignore format: one thing
          if (!fits)
            add('type', `values[${at}]`, `${JSON.stringify(value)} is no ${type}`, `"${feature}" is ${type}`);
          else if (given.has(value))
            add('duplicate', `values[${at}]`, `${JSON.stringify(value)} is given twice`, 'give it once');
          given.add(value);
        });
      }
    }
  });
  return problems;
}

// ---------------------------------------------------------------- single values

/** Whether a value breaks the expectation, for those that are about single values; null for the others. */
export function breakingValue(expectation: Expectation): ((value: FeatureValue) => boolean) | null {
  if (expectation.type === 'range') {
    const { min, max } = expectation;
    return (value) =>
      value !== null &&
      ((min !== null && (value as number) < min) || (max !== null && (value as number) > max));
  }
  if (expectation.type === 'allowed') {
    const values = new Set<unknown>(expectation.values);
    return (value) => value !== null && !values.has(value);
  }
  return null;
}

// ---------------------------------------------------------------- all that was written

/** Of each expectation, by a tally that is whole; of `freshness` and `rowCount` by the facts. */
export function judge(view: StoredView, tally: Tally, facts: Facts): Verdict[] {
  return (view.expectations ?? []).map((expectation) => {
    const { observed, allowed, said, passed = observed !== null && observed <= allowed } = observe(expectation, tally, facts); // biome-ignore format: one thing
    const feature = 'feature' in expectation ? expectation.feature : null;
    return { expectation: nameOf(expectation), feature, severity: expectation.severity, passed, observed, allowed, said }; // biome-ignore format: one thing
  });
}

interface Observed {
  observed: number | null;
  allowed: number;
  said: string;
  /** Default: it was observed, and is not more than allowed. */
  passed?: boolean;
}

function observe(expectation: Expectation, tally: Tally, facts: Facts): Observed {
  switch (expectation.type) {
    case 'nullRate': {
      const { count, nulls } = tally.summaryOf(expectation.feature);
      const rate = count === 0 ? 0 : nulls / count;
      const said = `${share(rate)} of ${count} values are null; at most ${share(expectation.max)} may be`;
      return { observed: rate, allowed: expectation.max, said };
    }
    case 'range':
    case 'allowed': {
      const broken = tally.brokenBy(expectation);
      const { count, nulls } = tally.summaryOf(expectation.feature);
      const what = expectation.type === 'range' ? `lie outside of ${range(expectation)}` : `are none of ${list(expectation.values)}`; // biome-ignore format: one thing
      return { observed: broken, allowed: 0, said: `${broken} of ${count - nulls} values ${what}` };
    }
    case 'unique': {
      const repeated = tally.brokenBy(expectation);
      return { observed: repeated, allowed: 0, said: `${repeated} events have the entity and timestamp of another` }; // biome-ignore format: one thing
    }
    case 'freshness': {
      const { newestMs, nowMs } = facts;
      const allowed = expectation.maxAgeMs;
      const most = `at most ${formatDuration(allowed)}`;
      if (newestMs === null)
        return { observed: null, allowed, said: `there is no event; ${most} may pass without` };
      const age = Math.max(0, nowMs - newestMs);
      return { observed: age, allowed, said: `the newest event is ${formatDuration(age)} old; ${most}` };
    }
    case 'rowCount': {
      const { rowsBefore } = facts;
      const allowed = expectation.maxChange;
      if (rowsBefore === null || rowsBefore === 0)
        return {
          observed: null,
          allowed,
          said: `${tally.rows} rows, with none before to compare with`,
          passed: true,
        };
      const change = Math.abs(tally.rows - rowsBefore) / rowsBefore;
      const said = `${tally.rows} rows after ${rowsBefore} the last time: ${share(change)} ${tally.rows < rowsBefore ? 'fewer' : 'more'}; at most ${share(allowed)}`;
      return { observed: change, allowed, said };
    }
  }
}

/** What a view calls it. */
export function nameOf(expectation: Expectation): string {
  return 'feature' in expectation ? `${expectation.type} of ${expectation.feature}` : expectation.type;
}

/** Exact where two decimals are. */
const share = (part: number): string => `${Math.round(part * 10_000) / 100} %`;

function range({ min, max }: { min: number | null; max: number | null }): string {
  if (min === null) return `at most ${max}`;
  return max === null ? `at least ${min}` : `${min} to ${max}`;
}

const SHOWN = 5;

function list(values: ReadonlyArray<string | number | boolean>): string {
  const shown = values.slice(0, SHOWN).map((value) => canonicalJson(value).slice(0, 40));
  return values.length > SHOWN ? `${shown.join(', ')} and ${values.length - SHOWN} more` : shown.join(', ');
}
