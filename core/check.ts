/**
 * Do the parts of a feature repository fit together? Structure first (definition.ts), each item by itself; then what the items say
 * of each other. Finds everything at once and throws nothing. Pure: no store is asked.
 */
import { z } from 'zod';
import { canonicalDefinitions } from './canonical.js';
import { Check, type Problem, SECTIONS, type Section } from './check/run.js';
import { checkService } from './check/service.js';
import { checkEntity, checkSource } from './check/source.js';
import { addStructural, isPlain, readSection, soundPart } from './check/structure.js';
import { checkView } from './check/view.js';
import { type Definitions, Entity, Service, Source, View } from './definition.js';
import { FeatureStoreError } from './error.js';

export type { Problem, ProblemCode } from './check/run.js';
export { expressionTypeOf, featureTypeOf } from './check/type.js';

/** The canonical definitions and no problems, or null and every problem found. */
export function checkDefinitions(
  json: unknown,
): { definitions: Definitions; problems: [] } | { definitions: null; problems: Problem[] } {
  const check = new Check();
  const definitions = readDefinitions(check, json);
  const { problems } = check;
  if (problems.length > 0 || definitions === null) return { definitions: null, problems };
  return { definitions: canonicalDefinitions(definitions), problems: [] };
}

/** The canonical definitions. Throws one FS_DEFINITION_INVALID that lists every problem. */
export function assertDefinitions(json: unknown): Definitions {
  const { definitions, problems } = checkDefinitions(json);
  if (definitions) return definitions;
  throw refusal(problems);
}

/** Every problem, in one error. */
export function refusal(problems: readonly Problem[]): FeatureStoreError {
  const lines = problems.map(({ path, message, fix }) => `  ${path}: ${message}; ${fix}`);
  const count = problems.length === 1 ? 'one problem' : `${problems.length} problems`;
  return new FeatureStoreError('FS_DEFINITION_INVALID', `${count} in the definitions\n${lines.join('\n')}`, {
    fix: problems.length === 1 ? problems[0]!.fix : 'correct each place named',
    problems,
  });
}

function readDefinitions(check: Check, json: unknown): Definitions | null {
  if (!isPlain(check, json, '', 0)) return null;
  const whole = z
    .strictObject(Object.fromEntries(SECTIONS.map((section) => [section, z.array(z.unknown())])))
    .safeParse(json);
  if (!whole.success) {
    addStructural(check, whole.error.issues, json, 'definitions');
    return null;
  }
  const data = whole.data as Record<Section, unknown[]>;
  const definitions: Definitions = {
    entities: readSection(check, 'entities', Entity, data.entities),
    sources: readSection(check, 'sources', Source, data.sources),
    views: readSection(check, 'views', View, data.views),
    services: readSection(check, 'services', Service, data.services),
  };
  for (const entity of definitions.entities) check.entities.set(entity.name, entity);
  for (const source of definitions.sources) check.sources.set(source.name, source);
  for (const view of definitions.views) check.views.set(view.name, view);
  for (const entity of definitions.entities) checkEntity(check, entity);
  for (const source of definitions.sources) checkSource(check, source);
  for (const view of [...definitions.views, ...data.views.flatMap(soundPart)]) checkView(check, view);
  for (const service of definitions.services) checkService(check, service);
  return definitions;
}
