/**
 * Do the parts of a feature repository fit together? Structure first (definition.ts), each item by itself; then what the items say
 * of each other. Finds everything at once and throws nothing. Pure: no store is asked.
 */
import { z } from 'zod';
import { canonicalDefinitions } from './canonical.js';
import { checkOwners } from './check/owner.js';
import { Check, type Problem } from './check/run.js';
import { checkService } from './check/service.js';
import { checkEntity, checkSource } from './check/source.js';
import { addStructural, isPlain, readSection, soundPart } from './check/structure.js';
import { checkView } from './check/view.js';
import { Definitions, Entity, Owner, Service, Source, View } from './definition.js';
import { FeatureStoreError } from './error.js';
import { isRule, judge, RULES } from './policy.js';

export type { Problem, ProblemCode } from './check/run.js';
export { expressionTypeOf, featureTypeOf, inputsOf } from './check/type.js';

/** The canonical definitions, with what their policy warns of; or null, and every problem found too. */
export function checkDefinitions(
  json: unknown,
):
  | { definitions: Definitions; problems: []; warnings: Problem[] }
  | { definitions: null; problems: Problem[]; warnings: Problem[] } {
  const check = new Check();
  const definitions = readDefinitions(check, json);
  const { errors: problems, warnings } = judge(check.problems, definitions?.policy);
  if (problems.length > 0 || definitions === null) return { definitions: null, problems, warnings };
  return { definitions: canonicalDefinitions(definitions), problems: [], warnings };
}

/** The canonical definitions. Throws one FS_DEFINITION_INVALID that lists every problem. */
export function assertDefinitions(json: unknown): Definitions {
  const { definitions, problems } = checkDefinitions(json);
  if (definitions) return definitions;
  throw refusal(problems);
}

/** The same for definitions whose policy is not known yet: the rules that it may bend are not asked. */
export function assertSound(json: unknown): Definitions {
  const check = new Check();
  const definitions = readDefinitions(check, json);
  const problems = check.problems.filter(({ code }) => !isRule(code));
  if (problems.length > 0 || definitions === null) throw refusal(problems);
  return canonicalDefinitions(definitions);
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
  const whole = Outline.safeParse(json);
  if (!whole.success) {
    addStructural(check, whole.error.issues, json, 'definitions');
    return null;
  }
  const { data } = whole;
  const definitions: Definitions = {
    ...readHead(check, data),
    entities: readSection(check, 'entities', Entity, data.entities),
    sources: readSection(check, 'sources', Source, data.sources),
    views: readSection(check, 'views', View, data.views),
    services: readSection(check, 'services', Service, data.services),
    owners: readSection(check, 'owners', Owner, data.owners ?? []),
  };
  for (const entity of definitions.entities) check.entities.set(entity.name, entity);
  for (const source of definitions.sources) check.sources.set(source.name, source);
  for (const view of definitions.views) check.views.set(view.name, view);
  for (const entity of definitions.entities) checkEntity(check, entity);
  for (const source of definitions.sources) checkSource(check, source);
  for (const view of definitions.views) checkView(check, view);
  if (definitions.views.length < data.views.length)
    for (const view of data.views.flatMap(soundPart)) checkView(check, view);
  for (const service of definitions.services) checkService(check, service);
  checkOwners(check, definitions);
  return definitions;
}

/** More than anybody has: what the parts say of each other is looked up part by part. */
const items = z.array(z.unknown()).max(10_000);
const Outline = z.strictObject({
  project: z.unknown().exactOptional(),
  policy: z.unknown().exactOptional(),
  owners: items.exactOptional(),
  entities: items,
  sources: items,
  views: items,
  services: items,
});

/** Whose they are, and by which rules. */
function readHead(check: Check, json: object): Pick<Definitions, 'project' | 'policy'> {
  const head = Definitions.pick({ project: true, policy: true }).strip().safeParse(json);
  if (!head.success) {
    addStructural(check, head.error.issues, json, '');
    return {};
  }
  const { project, policy } = head.data;
  if (project !== undefined) check.name(project, 'project');
  for (const code of Object.keys(policy ?? {}))
    if (!isRule(code))
      check.add(
        'structure',
        `policy.${code}`,
        'there is no such rule',
        check.suggest(code, Object.keys(RULES)),
      );
  return head.data;
}
