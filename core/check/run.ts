/** One run of the check: the problems so far, and the items that are whole, by name. */
import type { Entity, Source, View } from '../definition.js';
import { nameProblem } from '../naming.js';
import { nearest } from '../nearest.js';
import type { RuleCode } from '../policy.js';

/** A rule that the policy may bend, or what is always an error. */
export type ProblemCode =
  | RuleCode
  | 'structure'
  | 'name'
  | 'duplicate'
  | 'unknown-reference'
  | 'unknown-column'
  | 'unknown-input'
  | 'expression'
  | 'type'
  | 'key'
  | 'window'
  | 'cadence'
  | 'source'
  | 'query'
  | 'time-zone'
  | 'project';

/** `path` goes by names where there are any: views.user_orders.features.user_total_purchases.window.hopMs */
export interface Problem {
  code: ProblemCode;
  path: string;
  message: string;
  fix: string;
}

export const SECTIONS = ['entities', 'sources', 'views', 'services', 'owners'] as const;
export type Section = (typeof SECTIONS)[number];

/** Of names with others, in one run: whoever misses more than that is not told what each may have meant. */
const MAX_COMPARED = 10_000;

export class Check {
  readonly problems: Problem[] = [];
  readonly #told = new Set<string>();
  #compared = 0;
  readonly entities = new Map<string, Entity>();
  /** The first entity that has it. */
  readonly joinKeys = new Map<string, string>();
  readonly sources = new Map<string, Source>();
  readonly views = new Map<string, View>();
  /** Every name given in a section, whole or broken: what is broken is not also missing. */
  readonly given = new Map<Section, Set<string>>(SECTIONS.map((section) => [section, new Set()]));

  add(code: ProblemCode, path: string, message: string, fix: string): void {
    // one value may break several bounds at once: 2^53 is neither a safe integer nor below the maximum
    const told = `${path}\0${message}`;
    if (this.#told.has(told)) return;
    this.#told.add(told);
    this.problems.push({ code, path, message, fix });
  }

  name(name: string, path: string, options?: { field?: boolean; spare?: number }): void {
    const problem = nameProblem(name, path, options);
    if (problem) this.problems.push(problem);
  }

  unique(names: readonly string[], path: string, what: string): void {
    const seen = new Set<string>();
    for (const name of names) {
      if (seen.has(name))
        this.add('duplicate', path, `names the ${what} "${name}" twice`, 'remove or rename one of them');
      seen.add(name);
    }
  }

  /** What to write instead of a name that there is not. */
  suggest(name: string, known: Iterable<string>): string {
    if (this.#compared > MAX_COMPARED) return 'correct its name, or define it';
    const names = [...known];
    this.#compared += names.length;
    const near = this.#compared > MAX_COMPARED ? null : nearest(name, names);
    if (near !== null) return `did you mean "${near}"?`;
    return names.length === 0 ? 'there are none: define it' : `use one of: ${names.slice(0, 20).join(', ')}`;
  }

  column(source: Source, name: string, path: string): Source['columns'][string] | null {
    if (Object.hasOwn(source.columns, name)) return source.columns[name]!;
    this.add(
      'unknown-column',
      path,
      `source "${source.name}" has no column "${name}"`,
      this.suggest(name, Object.keys(source.columns)),
    );
    return null;
  }

  /** The item of that name, or null after saying that there is none. Broken items are neither. */
  find<T>(section: Section, items: ReadonlyMap<string, T>, name: string, path: string): T | null {
    const item = items.get(name);
    if (item !== undefined) return item;
    const given = this.given.get(section)!;
    if (!given.has(name))
      this.add(
        'unknown-reference',
        path,
        `there is no "${name}" among the ${section}`,
        this.suggest(name, given),
      );
    return null;
  }

  reference(ref: string, path: string): { view: View; feature: View['features'][number] } | null {
    const [viewName, featureName, rest] = ref.split(':');
    if (!viewName || !featureName || rest !== undefined) {
      this.add('unknown-reference', path, `"${ref}" names no feature`, 'write view:feature');
      return null;
    }
    const view = this.find('views', this.views, viewName, path);
    if (!view) return null;
    const feature = view.features.find((item) => item.name === featureName);
    if (feature) return { view, feature };
    const names = view.features.map((item) => item.name);
    this.add(
      'unknown-reference',
      path,
      `view "${viewName}" has no feature "${featureName}"`,
      this.suggest(featureName, names),
    );
    return null;
  }
}
