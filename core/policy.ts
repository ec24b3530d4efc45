/**
 * Rules that a project may bend: each is broken by definitions that work, and usually should not. What breaking one is, an error, a
 * warning or nothing, `policy` in the definitions says; the table says it for those that are not named there. What does not work is
 * no rule's and always an error. docs/definitions.md has the same table.
 */
import type { Definitions, RuleSeverity } from './definition.js';

export const RULES = {
  'name-snake-case': { severity: 'error', says: 'the name of a feature is snake_case' },
  'name-entity-first': { severity: 'error', says: 'the name of a feature begins with its entity' },
  'name-window': { severity: 'error', says: 'the name of a feature says its window, and truly' },
  'name-abbreviation': {
    severity: 'error',
    says: 'the name of a feature has no abbreviations but the usual',
  },
  ttl: { severity: 'error', says: 'values live from one tick to the next' },
  'window-retention': {
    severity: 'error',
    says: 'a window reaches no further back, in serving and training, than its source keeps events',
  },
  'schema-skew': { severity: 'error', says: 'the topic carries the columns of the file or table before it' },
  'stream-columns': {
    severity: 'warning',
    says: 'a file or table that goes on as a topic says what columns the topic carries',
  },
  'cold-start': { severity: 'off', says: 'every feature has a value for entities without history' },
  'request-input': {
    severity: 'warning',
    says: 'an on-demand view reads every field and feature that it asks for',
  },
  succession: { severity: 'warning', says: 'a new version says what it is to the one that was live' },
  'owner-contact': {
    severity: 'warning',
    says: 'every owner can be reached: a contact, or a name that is an address',
  },
  'owner-left': { severity: 'warning', says: 'nothing belongs to somebody who has left' },
} as const satisfies Record<string, { severity: RuleSeverity; says: string }>;
export type RuleCode = keyof typeof RULES;

export function isRule(code: string): code is RuleCode {
  return Object.hasOwn(RULES, code);
}

/** The problems that are errors, and those that are warnings; rules that are off are not told. */
export function judge<P extends { code: string }>(
  problems: readonly P[],
  policy: Definitions['policy'] = {},
): { errors: P[]; warnings: P[] } {
  const severityOf = ({ code }: P): RuleSeverity => {
    if (!isRule(code)) return 'error';
    return Object.hasOwn(policy, code) ? policy[code]! : RULES[code].severity;
  };
  return {
    errors: problems.filter((problem) => severityOf(problem) === 'error'),
    warnings: problems.filter((problem) => severityOf(problem) === 'warning'),
  };
}
