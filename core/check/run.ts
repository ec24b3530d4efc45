/** One run of the check: the problems so far, and the items that are whole, by name. */
import type { Entity, Source, View } from '../definition.js';
import { nameProblem } from '../naming.js';
import type { RuleCode } from '../policy.js';
import { suggest } from './words.js';

/** A rule that the policy may bend, or what is always an error. */
export type ProblemCode =
  | RuleCode
  | 'structure'
  | 'name'
  | 'duplicate'
  | 'unknown-reference'
  | 'unknown-column'
  | 'expression'
  | 'type'
  | 'key'
  | 'window'
  | 'cadence'
  | 'source'
  | 'query'
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

export class Check {
  readonly problems: Problem[] = [];
  readonly #told = new Set<string>();
  readonly entities = new Map<string, Entity>();
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
    for (const name of new Set(names.filter((item, index) => names.indexOf(item) !== index)))
      this.add('duplicate', path, `names the ${what} "${name}" twice`, 'remove or rename one of them');
  }

  column(source: Source, name: string, path: string): Source['columns'][string] | null {
    if (Object.hasOwn(source.columns, name)) return source.columns[name]!;
    this.add(
      'unknown-column',
      path,
      `source "${source.name}" has no column "${name}"`,
      suggest(name, Object.keys(source.columns)),
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
        suggest(name, [...given]),
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
      suggest(featureName, names),
    );
    return null;
  }
}
