/**
 * An author's definitions file, evaluated here, on the author's machine: servers only ever see what it exports, as JSON, with what
 * the policy file beside it says.
 */
import { existsSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { dirname, join, resolve } from 'node:path';
import { type Definitions, PolicyFile } from '../core/definition.js';
import { FeatureStoreError } from '../core/error.js';
import { isRule, RULES } from '../core/policy.js';
import { isFeatureStoreError, UsageError } from './errors.js';
import { evaluate } from './evaluate.js';

export const DEFAULT_FILE = './features.ts';
export const POLICY_FILE = 'almanac.policy.json';
const PARTS = ['entities', 'sources', 'views', 'services'] as const;

export async function loadDefinitions(file: string): Promise<Definitions> {
  const path = resolve(file);
  if (!existsSync(path))
    throw new UsageError(`there is no file ${path}`, 'name your definitions file: almanac plan features.ts', {
      file,
    });
  let exported: unknown;
  try {
    exported = await evaluate(path);
  } catch (error) {
    if (isFeatureStoreError(error)) {
      Object.assign(error.details, { file, ...error.details });
      throw error;
    }
    throw new FeatureStoreError(
      'FS_DEFINITION_INVALID',
      `${file} cannot be evaluated: ${error instanceof Error ? error.message : String(error)}`,
      { fix: 'correct the file; --debug shows where', file },
      { cause: error },
    );
  }
  if (!isDefinitions(exported))
    throw new FeatureStoreError('FS_DEFINITION_INVALID', `${file} does not export definitions`, {
      fix: 'end the file with: export default define([a_view, a_service]); what these need comes with them',
      file,
    });
  return { ...exported, ...(await loadPolicy(join(dirname(file), POLICY_FILE))) };
}

/** Nothing where there is no such file. */
async function loadPolicy(file: string): Promise<Pick<Definitions, 'project' | 'policy'>> {
  if (!existsSync(file)) return {};
  const refuse = (what: string, fix: string): never => {
    throw new FeatureStoreError('FS_DEFINITION_INVALID', `${file}${what}`, { fix, file });
  };
  let json: unknown;
  try {
    json = JSON.parse(await readFile(file, 'utf8'));
  } catch (error) {
    return refuse(` is no JSON: ${(error as Error).message}`, 'correct it, or remove it');
  }
  const { data, error } = PolicyFile.safeParse(json);
  if (!data) {
    const { path, message } = error.issues[0]!;
    const at = path.length === 0 ? '' : `, ${path.join('.')}`;
    return refuse(`${at}: ${message}`, 'write { "project": "shop", "rules": { "cold-start": "error" } }');
  }
  const { project, rules } = data;
  for (const code of Object.keys(rules ?? {}))
    if (!isRule(code))
      refuse(`, rules.${code}: there is no such rule`, `use one of: ${Object.keys(RULES).join(', ')}`);
  return { ...(project !== undefined && { project }), ...(rules && { policy: rules }) };
}

/** Its outline only: the registry checks what is inside, and says all that is wrong at once. */
function isDefinitions(value: unknown): value is Definitions {
  return (
    typeof value === 'object' &&
    value !== null &&
    PARTS.every((part) => Array.isArray(Reflect.get(value, part)))
  );
}
