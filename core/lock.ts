/**
 * A lock: what a model reads, service by service: the features it gets and the exact versions of their views, on-demand views and the
 * views of their inputs too. As a file it is `almanac.lock`. Pure: what versions there are is given.
 */
import { sha256 } from '@noble/hashes/sha2.js';
import { utf8ToBytes } from '@noble/hashes/utils.js';
import { z } from 'zod';
import { canonicalJson, compareText } from './canonical.js';
import { expressionTypeOf } from './check.js';
import type { Entity, FeatureType, View } from './definition.js';
import { FeatureStoreError } from './error.js';
import { nearest } from './nearest.js';
import { splitReference } from './on-demand.js';
import type { KnownVersion } from './plan.js';

/** Of services, views and models. */
const Name = z
  .string()
  .regex(
    /^[a-z][a-z0-9_]{0,62}$/,
    'is no name: lower case letters, digits and _, from a letter on, at most 63',
  );
const Reference = z
  .string()
  .regex(/^[a-z][a-z0-9_]{0,62}:[a-z][a-z0-9_]{0,62}$/, 'is not of the form view:feature');
const Pinned = z.strictObject({
  version: z.number().int().min(1).max(999_999_999),
  hash: z.string().regex(/^[0-9a-f]{64}$/, 'is no SHA-256 in lower-case hex'),
});

export const Lock = z
  .strictObject({
    /** Layout of this document. */
    lock: z.literal(1),
    model: Name,
    /** Service → view → version. */
    services: z.record(Name, z.record(Name, Pinned)),
    /** Service → what the model gets of it, whatever it lists later. */
    features: z.record(Name, z.array(Reference).min(1)),
  })
  .meta({ id: 'Lock' });
export type Lock = z.infer<typeof Lock>;

/** A version, as much of it as a lock is checked by. */
export interface LockableVersion extends KnownVersion {
  /** What readers can be moved to; null: the version is not kept up to date. An on-demand view has no entity. */
  kept: { definition: View; entity: Entity | null } | null;
}
type Kept = LockableVersion & { kept: object };

/** Services, and what they list. */
interface Listed {
  services: ReadonlyArray<{ name: string; features: readonly string[] }>;
}

export interface LockProblem {
  /** services.recommendation.user_orders */
  path: string;
  message: string;
  fix: string;
}

/** One form: keys sorted, two spaces, a newline at the end. */
export function lockText(lock: Lock): string {
  return `${JSON.stringify(JSON.parse(canonicalJson(lock)), null, 2)}\n`;
}

/** The lock of a file's text. Throws FS_LOCK_INVALID with every problem of its form. */
export function readLock(text: string, file: string): Lock {
  let document: unknown;
  try {
    document = JSON.parse(text);
  } catch {
    throw lockRefused(`${file} is no JSON`, []);
  }
  const { success, data, error } = Lock.safeParse(document);
  if (success) return data;
  throw lockRefused(
    `${file} is no lock`,
    error.issues.map((issue) => ({
      path: issue.path.map(String).join('.'),
      message: issue.message,
      fix: 'write the file by: almanac lock <model> --out almanac.lock',
    })),
  );
}

/**
 * The lock of a model on the versions that readers without a pin get now.
 * @param versions every one there is; the live ones are taken
 * @param names of services, each once. Throws FS_NOT_FOUND for one that there is not, with the nearest.
 */
export function lockOf(
  model: string,
  listed: Listed,
  versions: readonly LockableVersion[],
  names: readonly string[],
): Lock {
  const live = new Map(versions.filter(({ state }) => state === 'live').map((each) => [each.view, each]));
  const features = names.map((name): [string, string[]] => [name, [...getService(listed, name).features]]);
  const pinned = features.map(([name, references]) => {
    const views = viewsRead(references, (view) => live.get(view)?.kept?.definition);
    const entries = [...views].flatMap((view) => {
      const { version, hash } = live.get(view) ?? {};
      return version === undefined || hash === undefined ? [] : [[view, { version, hash }] as const];
    });
    return [name, Object.fromEntries(entries)] as const;
  });
  return { lock: 1, model, services: Object.fromEntries(pinned), features: Object.fromEntries(features) };
}

/** Finding the nearest of many names takes milliseconds. */
const SUGGESTIONS = 20;
/** Of versions and features. */
const LOCK_ENTRIES = 10_000;

/** What a lock is held against. */
interface There {
  known: ReadonlyMap<string, readonly LockableVersion[]>;
  near: typeof nearest;
  /** The command that locks what is live. */
  again: string;
}

/** Everything that keeps a model from reading by the lock; empty: nothing. In the order of the lock. */
export function checkLock(
  lock: Lock,
  versions: readonly LockableVersion[],
  { services }: { services: ReadonlyArray<{ name: string }> },
): LockProblem[] {
  const size = [...Object.values(lock.services).map(Object.keys), ...Object.values(lock.features)].flat()
    .length;
  if (size > LOCK_ENTRIES)
    return [
      {
        path: 'services',
        message: `it holds ${size} versions and features, the limit is ${LOCK_ENTRIES}`,
        fix: 'lock the services that the model reads, and no others',
      },
    ];
  const problems: LockProblem[] = [];
  if (Object.keys(lock.services).length === 0)
    problems.push({ path: 'services', message: 'it names no service', fix: 'name what the model reads' });
  const known = new Map<string, LockableVersion[]>();
  for (const version of versions) known.set(version.view, [...(known.get(version.view) ?? []), version]);
  let suggestions = SUGGESTIONS;
  const near: typeof nearest = (name, names) => (suggestions-- > 0 ? nearest(name, names) : null);
  const again = `almanac lock ${lock.model} --next`;
  const there: There = { known, near, again };
  for (const name of Object.keys(lock.services).sort(compareText)) {
    const path = `services.${name}`;
    if (!services.some((each) => each.name === name)) {
      const meant = near(name, services.map((each) => each.name)); // biome-ignore format: short
      problems.push({
        path,
        message: `there is no service "${name}"`,
        fix: meant === null ? `lock the services that there are: ${again}` : `did you mean "${meant}"?`,
      });
      continue;
    }
    if (!Object.hasOwn(lock.features, name))
      problems.push({
        path: `features.${name}`,
        message: `the lock does not say which features of "${name}" it is for`,
        fix: `lock again: ${again}`,
      });
    else {
      problems.push(...twins(`features.${name}`, lock.features[name]!));
      problems.push(...checkService(path, lock.features[name]!, lock.services[name]!, there));
    }
  }
  for (const name of Object.keys(lock.features).sort(compareText))
    if (!Object.hasOwn(lock.services, name))
      problems.push({
        path: `features.${name}`,
        message: `the lock has no versions for "${name}"`,
        fix: `leave it out, or lock again: ${again}`,
      });
  return problems;
}

/** An answer holds each name once. */
function twins(path: string, features: readonly string[]): LockProblem[] {
  const names = new Map<string, string>();
  return features.flatMap((reference) => {
    const { feature } = splitReference(reference);
    const other = names.get(feature);
    names.set(feature, reference);
    if (other === undefined) return [];
    const message = `"${other}" and "${reference}" have one short name`;
    return [{ path, message, fix: 'leave one of them out' }];
  });
}

function checkService(
  path: string,
  features: readonly string[],
  pins: Lock['services'][string],
  there: There,
): LockProblem[] {
  const { known, again } = there;
  const problems: LockProblem[] = [];
  const usable = new Map<string, Kept>();
  for (const view of Object.keys(pins).sort(compareText)) {
    const found = known.get(view)?.find((each) => each.version === pins[view]!.version);
    const problem = pinProblem(view, pins[view]!, found, there);
    if (problem) problems.push({ path: `${path}.${view}`, ...problem });
    else usable.set(view, found as Kept);
  }
  // What a view that is unusable itself reads, the present definition would have to say: it is not asked.
  const read = viewsRead(features, (view) => usable.get(view)?.kept.definition);
  for (const view of read)
    if (!Object.hasOwn(pins, view))
      problems.push({
        path: `${path}.${view}`,
        message: `its features read "${view}", which the lock lacks`,
        fix: `lock again: ${again}`,
      });
  if (problems.length > 0) return problems;
  for (const view of usable.keys())
    if (!read.has(view))
      problems.push({
        path: `${path}.${view}`,
        message: `none of its features reads "${view}"`,
        fix: `leave it out, or lock again: ${again}`,
      });
  return [...problems, ...misfits(path, features, usable)];
}

function pinProblem(
  view: string,
  { version, hash }: { version: number; hash: string },
  found: LockableVersion | undefined,
  { known, near, again }: There,
): Omit<LockProblem, 'path'> | null {
  const all = known.get(view);
  if (!all) {
    const meant = near(view, [...known.keys()]);
    return {
      message: `there is no view "${view}"`,
      fix: meant === null ? `lock again: ${again}` : `did you mean "${meant}"?`,
    };
  }
  const have = `it has ${all.map((each) => `v${each.version} (${each.state})`).join(', ')}`;
  if (!found) return { message: `"${view}" has no version ${version}`, fix: have };
  if (found.hash !== hash)
    return {
      message: `${view} v${version} has the hash ${found.hash.slice(0, 16)}, the lock says ${hash.slice(0, 16)}`,
      fix: `the lock is of another registry, or was edited; lock again: ${again}`,
    };
  if (found.state === 'retired' || found.state === 'abandoned')
    return { message: `${view} v${version} is ${found.state}`, fix: `${have}; lock what is live: ${again}` };
  if (!found.kept)
    return {
      message: `${view} v${version} is ${found.state} and nobody reads it: it is not kept up to date`,
      fix: `${have}; lock what is live: ${again}; or apply that version again`,
    };
  return null;
}

/** What fits in each version alone, but not in these together. */
function misfits(
  path: string,
  features: readonly string[],
  pinned: ReadonlyMap<string, Kept>,
): LockProblem[] {
  const problems: LockProblem[] = [];
  const typeOf = (reference: string): FeatureType | null => {
    const { view, feature } = splitReference(reference);
    const { version, kept } = pinned.get(view)!;
    const type = kept.definition.features.find(({ name }) => name === feature)?.type;
    if (type !== undefined) return type;
    problems.push({
      path: `${path}.${view}`,
      message: `${view} v${version} has no feature "${feature}"`,
      fix: 'lock a version that has it',
    });
    return null;
  };
  for (const reference of new Set(features)) typeOf(reference);
  for (const [view, { version, kept }] of pinned) {
    const { definition } = kept;
    if (definition.kind !== 'onDemand') continue;
    const columns: Record<string, { type: FeatureType }> = {};
    for (const [name, type] of Object.entries(definition.request)) columns[name] = { type };
    const types = definition.inputs.map(typeOf);
    definition.inputs.forEach((input, index) => {
      const type = types[index];
      if (type) columns[splitReference(input).feature] = { type };
    });
    for (const { name, type, expression } of types.includes(null) ? [] : definition.features)
      if (expressionTypeOf(expression, columns) !== type)
        problems.push({
          path: `${path}.${view}`,
          message: `${view} v${version} cannot compute "${name}" from its inputs as they are there`,
          fix: 'lock versions that were live together',
        });
  }
  const given = new Map<string, { type: string; view: string }>();
  for (const [view, { kept }] of pinned)
    for (const [name, type] of givenTo(kept)) {
      const other = given.get(name) ?? { type, view };
      given.set(name, other);
      if (other.type !== type)
        problems.push({
          path: `${path}.${view}`,
          message: `what a request gives as "${name}" is ${type} there, ${other.type} in "${other.view}"`,
          fix: 'lock versions that were live together',
        });
    }
  return problems;
}

/** What a request gives to a version, with its type: join keys, or request fields. */
function givenTo({ definition, entity }: Kept['kept']): Array<[name: string, type: string]> {
  return definition.kind === 'onDemand'
    ? Object.entries(definition.request)
    : (entity?.keys ?? []).map(({ name, type }) => [name, type]);
}

/** The views that features read, those of on-demand inputs too. `definitionOf`: undefined for a view unknown. */
export function viewsRead(
  features: readonly string[],
  definitionOf: (view: string) => View | undefined,
): Set<string> {
  const read = new Set<string>();
  for (const reference of features) {
    const { view } = splitReference(reference);
    read.add(view);
    const definition = definitionOf(view);
    if (definition?.kind === 'onDemand')
      for (const input of definition.inputs) read.add(splitReference(input).view);
  }
  return read;
}

/** FS_LOCK_INVALID, whole. */
export function lockRefused(what: string, problems: readonly LockProblem[]): FeatureStoreError {
  return new FeatureStoreError(
    'FS_LOCK_INVALID',
    [what, ...problems.map(({ path, message }) => `${path}: ${message}`)].join('\n'),
    { fix: problems[0]?.fix ?? 'write the file by: almanac lock <model> --out almanac.lock', problems },
  );
}

function getService({ services }: Listed, name: string): Listed['services'][number] {
  const found = services.find((each) => each.name === name);
  if (found) return found;
  const near = nearest(name, services.map((each) => each.name)); // biome-ignore format: short
  throw new FeatureStoreError('FS_NOT_FOUND', `there is no service ${JSON.stringify(name.slice(0, 80))}`, {
    fix:
      near === null
        ? `use one of: ${services.map((each) => each.name).join(', ')}`
        : `did you mean "${near}"?`,
    service: name.slice(0, 200),
  });
}

/**
 * Which of a model's locks a request gets: the same one for the same entity, whatever else is asked for, and a greater share takes
 * nobody back.
 * @param key the entity's key, encoded (codec/key.ts): 7 and "7" are two
 * @param share of the canary, in (0, 1)
 */
export function isCanary(model: string, key: Uint8Array, share: number): boolean {
  const digest = sha256
    .create()
    .update(utf8ToBytes(`${model}\0`))
    .update(key)
    .digest();
  const place = new DataView(digest.buffer, digest.byteOffset).getUint32(0) / 2 ** 32;
  return place < share;
}
