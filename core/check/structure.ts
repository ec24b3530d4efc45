/** Has each item the shape that definition.ts says? Text, keys and depth first, then zod's issues in words. */
import type { z } from 'zod';
import { View } from '../definition.js';
import { FeatureStoreError } from '../error.js';
import { parseDuration } from '../time.js';
import type { Check, Section } from './run.js';
import { nameOf, show } from './words.js';

/** Deeper than any definition; what is deeper is refused before anything recursive sees it. */
const MAX_DEPTH = 100;

/** Text, keys and depth that JSON allows and we do not. False: too deep to go on. */
export function isPlain(check: Check, value: unknown, path: string, depth: number): boolean {
  if (depth > MAX_DEPTH) {
    check.add(
      'structure',
      path.slice(0, 200),
      `lies more than ${MAX_DEPTH} levels deep`,
      'split the expression',
    );
    return false;
  }
  if (typeof value === 'string' && (!value.isWellFormed() || value.includes('\0')))
    check.add(
      'structure',
      path,
      'holds text that is no valid Unicode, or a NUL',
      'give well-formed text without NUL',
    );
  if (typeof value !== 'object' || value === null) return true;
  if (Array.isArray(value))
    return value.every((item, index) => {
      const name = nameOf(item);
      return isPlain(check, item, name === null ? `${path}[${index}]` : `${path}.${name}`, depth + 1);
    });
  return Object.keys(value).every((key) => {
    const at = path === '' ? key : `${path}.${key}`;
    // zod drops this key from records without a word
    if (key === '__proto__') check.add('name', at, '"__proto__" is reserved', 'choose another name');
    return isPlain(check, (value as Record<string, unknown>)[key], at, depth + 1);
  });
}

export function readSection<T>(
  check: Check,
  section: Section,
  schema: z.ZodType<T>,
  items: readonly unknown[],
): T[] {
  const names = check.given.get(section)!;
  return items.flatMap((item, index) => {
    const name = nameOf(item);
    const path = name === null ? `${section}[${index}]` : `${section}.${name}`;
    if (name !== null && names.has(name))
      check.add('duplicate', path, `there are two ${section} called "${name}"`, 'rename one of them');
    if (name !== null) names.add(name);
    const parsed = schema.safeParse(item);
    if (parsed.success) return [parsed.data];
    addStructural(check, parsed.error.issues, item, path);
    return [];
  });
}

export function addStructural(
  check: Check,
  issues: readonly z.core.$ZodIssue[],
  root: unknown,
  base: string,
): void {
  for (const issue of issues) {
    const { value, path } = follow(root, issue.path, base);
    switch (issue.code) {
      case 'unrecognized_keys':
        for (const key of issue.keys)
          check.add('structure', path, `has no field "${key}"`, 'remove it, or correct its name');
        break;
      case 'invalid_union': {
        const branch = bestBranch(issue.errors);
        if (branch) addStructural(check, branch, value, path);
        else check.add('structure', path, `holds ${show(value)}`, `use one of: ${optionsOf(issue)}`);
        break;
      }
      case 'invalid_value':
        check.add(
          'structure',
          path,
          `holds ${show(value)}`,
          `use one of: ${issue.values.map(String).join(', ')}`,
        );
        break;
      case 'invalid_key':
        addStructural(check, issue.issues as z.core.$ZodIssue[], issue.path.at(-1), path);
        break;
      case 'invalid_format':
        // only connections have a format; what stands there instead may be a secret, so it is not shown
        check.add(
          'structure',
          path,
          'is no reference to an environment variable',
          'name the one that holds the URL: env:SHOP_DATABASE_URL',
        );
        break;
      case 'invalid_type':
        if (value === undefined) check.add('structure', path, 'is missing', `give ${a(issue.expected)}`);
        else if (/(\.ms|Ms)$/.test(path) && typeof value === 'string') addDuration(check, value, path);
        else check.add('structure', path, `holds ${show(value)}`, `give ${a(issue.expected)}`);
        break;
      case 'too_small':
      case 'too_big':
        check.add('structure', path, `holds ${show(value)}`, boundOf(issue));
        break;
      case 'not_multiple_of':
      case 'invalid_element':
      case 'custom':
        check.add('structure', path, `holds ${show(value)}`, lower(issue.message));
    }
  }
}

function addDuration(check: Check, value: string, path: string): void {
  try {
    check.add('structure', path, `holds the text "${value}"`, `give milliseconds: ${parseDuration(value)}`);
  } catch (error) {
    if (!(error instanceof FeatureStoreError)) throw error;
    check.add('structure', path, error.message, error.details.fix);
  }
}

/** The value at a path of keys and indexes, and the path in words: names instead of indexes. */
function follow(root: unknown, keys: readonly PropertyKey[], base: string): { value: unknown; path: string } {
  let value = root;
  let path = base;
  for (const key of keys) {
    value =
      typeof value === 'object' && value !== null ? (value as Record<PropertyKey, unknown>)[key] : undefined;
    const name = typeof key === 'number' ? nameOf(value) : null;
    path += typeof key === 'number' && name === null ? `[${key}]` : `${path && '.'}${name ?? String(key)}`;
  }
  return { value, path };
}

/** Of the readings a value could have had, the one it has the shape of. */
function bestBranch(
  branches: ReadonlyArray<readonly z.core.$ZodIssue[]>,
): readonly z.core.$ZodIssue[] | null {
  const isShape = (issues: readonly z.core.$ZodIssue[]): boolean =>
    issues.some((issue) => issue.path.length > 0) &&
    !issues.some((issue) => issue.code === 'unrecognized_keys' && issue.path.length === 0);
  return branches.find(isShape) ?? null;
}

function optionsOf(issue: z.core.$ZodIssue): string {
  if ('options' in issue && Array.isArray(issue.options)) return issue.options.map(String).join(', ');
  if (!('errors' in issue)) return 'what core/definition.ts allows';
  const expected = (issue.errors as z.core.$ZodIssue[][])
    .flat()
    .map((inner) => ('expected' in inner ? String(inner.expected) : ''));
  const shapes = expected.filter((word) => word !== '');
  return [...new Set(shapes)].join(', ') || 'col, lit, op';
}

/** Of a view that is broken only in some of its features, the rest: it is checked too, so that all is found at once. */
export function soundPart(item: unknown): View[] {
  const whole = View.safeParse(item);
  if (whole.success) return [];
  const broken = new Set(
    whole.error.issues.map(({ path: [field, index] }) => (field === 'features' ? index : null)),
  );
  if (broken.has(null) || broken.has(undefined)) return [];
  const { features, expectations: _, ...rest } = item as { features: unknown[]; expectations?: unknown };
  const sound = View.safeParse({ ...rest, features: features.filter((_, index) => !broken.has(index)) });
  return sound.success ? [sound.data] : [];
}

function boundOf(issue: z.core.$ZodIssueTooSmall | z.core.$ZodIssueTooBig): string {
  if (issue.origin !== 'number') return lower(issue.message);
  if (issue.code === 'too_big') return `give at most ${issue.maximum}`;
  return `give ${issue.inclusive === false ? 'more than' : 'at least'} ${issue.minimum}`;
}

function lower(message: string): string {
  return message.slice(0, 1).toLowerCase() + message.slice(1);
}

function a(expected: string): string {
  const article = /^[aeiou]/.test(expected) ? 'an' : 'a';
  if (expected === 'int') return 'a whole number';
  return expected === 'record' ? 'an object' : `${article} ${expected}`;
}
