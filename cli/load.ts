/**
 * An author's definitions file, evaluated here, on the author's machine: servers only ever see what it exports, as JSON.
 */
import { existsSync } from 'node:fs';
import { resolve } from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';
import type { Definitions } from '../core/definition.js';
import { FeatureStoreError } from '../core/error.js';
import { isFeatureStoreError, UsageError } from './errors.js';

export const DEFAULT_FILE = './features.ts';
const PARTS = ['entities', 'sources', 'views', 'services'] as const;

export async function loadDefinitions(file: string): Promise<Definitions> {
  const path = resolve(file);
  if (!existsSync(path))
    throw new UsageError(`there is no file ${path}`, 'name your definitions file: almanac plan features.ts', {
      file,
    });
  const { createJiti } = await import('jiti');
  // "almanac" is this very installation, wherever the file lies.
  const jiti = createJiti(pathToFileURL(path).href, {
    alias: { almanac: fileURLToPath(new URL('../core/index.js', import.meta.url)) },
    moduleCache: false,
  });
  let exported: unknown;
  try {
    exported = await jiti.import(path, { default: true });
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
  return exported;
}

/** Its outline only: the registry checks what is inside, and says all that is wrong at once. */
function isDefinitions(value: unknown): value is Definitions {
  return (
    typeof value === 'object' &&
    value !== null &&
    PARTS.every((part) => Array.isArray(Reflect.get(value, part)))
  );
}
