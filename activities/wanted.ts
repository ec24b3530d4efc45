/**
 * What a training set is asked for: which versions of which views, which features of each, and the columns that the entity
 * dataframe must have for them.
 */
import type { Entity } from '../core/definition.js';
import { FeatureStoreError } from '../core/error.js';
import { splitReference } from '../core/on-demand.js';
import {
  findRevision,
  getVersion,
  resolveView,
  type StoredVersion,
  unknownName,
  type ViewVersion,
} from '../registry/resolve.js';
import type { Pool } from '../registry/sql.js';
import type { DataframeRules } from './offline/dataframe.js';

export type OnDemandVersion = Extract<ViewVersion, { kind: 'onDemand' }>;

export interface Wanted {
  service: string | null;
  /** "view:feature" in the order of the columns. */
  features: string[];
  stored: Array<{ version: StoredVersion; features: string[] }>;
  onDemand: OnDemandVersion[];
}

/** Throws FS_REQUEST_INVALID for two features of one name, FS_NOT_FOUND with the nearest name. */
export async function resolveWanted(
  pool: Pool,
  request: { service?: string; features?: string[] },
): Promise<Wanted> {
  if ((request.service === undefined) === (request.features === undefined))
    throw new FeatureStoreError(
      'FS_REQUEST_INVALID',
      'a training set is of a service or of a list of features',
      {
        fix: 'give one of the two',
      },
    );
  const references = request.features ?? (await featuresOf(pool, request.service!));
  const versions = new Map<string, ViewVersion>();
  const resolve = async (name: string): Promise<ViewVersion> => {
    const version = await resolveView(pool, name);
    const known = versions.get(version.view.name);
    if (known && known.id !== version.id)
      throw new FeatureStoreError(
        'FS_REQUEST_INVALID',
        `view "${version.view.name}" is asked for at v${known.version} and v${version.version}`,
        { fix: 'build one training set for each', view: version.view.name },
      );
    versions.set(version.view.name, version);
    return version;
  };
  const features: string[] = [];
  const columns = new Map<string, string>();
  for (const reference of references) {
    const colon = reference.indexOf(':');
    const name = reference.slice(colon + 1);
    if (colon < 1 || name === '')
      throw new FeatureStoreError('FS_REQUEST_INVALID', `"${reference}" names no feature`, {
        fix: 'write view:feature',
      });
    const version = await resolve(reference.slice(0, colon));
    if (!version.view.features.some((feature) => feature.name === name))
      throw unknownName(
        'feature',
        name,
        version.view.features.map((feature) => feature.name),
      );
    const other = columns.get(name);
    if (other !== undefined)
      throw new FeatureStoreError(
        'FS_REQUEST_INVALID',
        `${other} and ${reference} would both be column "${name}"`,
        {
          fix: 'ask for one of them, or build two training sets',
          feature: name,
        },
      );
    columns.set(name, reference);
    features.push(`${version.view.name}:${name}`);
  }
  if (features.length === 0)
    throw new FeatureStoreError('FS_REQUEST_INVALID', 'no feature is asked for', {
      fix: 'name at least one',
    });
  for (const version of Array.from(versions.values()))
    if (version.kind === 'onDemand')
      for (const input of version.view.inputs) await resolve(splitReference(input).view);
  return gather(request.service ?? null, features, [...versions.values()]);
}

async function featuresOf(pool: Pool, service: string): Promise<string[]> {
  const services = (await findRevision(pool))?.definitions.services ?? [];
  const found = services.find(({ name }) => name === service);
  if (found) return found.features;
  throw unknownName(
    'service',
    service,
    services.map(({ name }) => name),
  );
}

/** Which features of which stored view: those asked for, then those that only on-demand views read. */
function gather(service: string | null, features: string[], versions: readonly ViewVersion[]): Wanted {
  const onDemand = versions.filter((version) => version.kind === 'onDemand');
  const references = [...new Set([...features, ...onDemand.flatMap((version) => version.view.inputs)])];
  const read = references.map(splitReference);
  const stored = versions
    .filter((version): version is StoredVersion => version.kind !== 'onDemand')
    .map((version) => ({
      version,
      features: read.filter(({ view }) => view === version.view.name).map(({ feature }) => feature),
    }));
  return { service, features, stored, onDemand };
}

/** The same again from a manifest. */
export async function wantedOf(
  pool: Pool,
  manifest: {
    service: string | null;
    features: string[];
    views: ReadonlyArray<{ versionId: number }>;
    onDemand: ReadonlyArray<{ versionId: number }>;
  },
): Promise<Wanted> {
  const versions: ViewVersion[] = [];
  for (const { versionId } of [...manifest.views, ...manifest.onDemand])
    versions.push(await getVersion(pool, versionId));
  return gather(manifest.service, manifest.features, versions);
}

/** Columns the dataframe needs. Throws FS_REQUEST_INVALID where two views need one column to be of two types. */
export function rulesOf({ stored, onDemand, features }: Wanted, nowMs: number): DataframeRules {
  const types = new Map<string, { type: string; of: string }>();
  const add = (name: string, type: string, of: string): void => {
    const other = types.get(name);
    if (other && other.type !== type)
      throw new FeatureStoreError(
        'FS_REQUEST_INVALID',
        `column "${name}" would have to be ${other.type} for ${other.of} and ${type} for ${of}`,
        { fix: 'build one training set for each', column: name },
      );
    types.set(name, { type, of });
  };
  const keys = new Map<string, Entity['keys'][number]>();
  for (const { version } of stored)
    for (const key of version.entity.keys) {
      add(key.name, key.type, `entity "${version.entity.name}"`);
      keys.set(key.name, key);
    }
  const request = new Map<string, { name: string; type: OnDemandVersion['view']['request'][string] }>();
  for (const { view } of onDemand)
    for (const [name, type] of Object.entries(view.request)) {
      add(name, type, `view "${view.name}"`);
      if (!keys.has(name)) request.set(name, { name, type });
    }
  return {
    keys: [...keys.values()],
    request: [...request.values()],
    features: new Set(features.map((reference) => splitReference(reference).feature)),
    nowMs,
  };
}
