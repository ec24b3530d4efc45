/** What several commands read from their command line. */
import { formatTimestamp, parseTimestamp } from '../../core/time.js';
import { isFeatureStoreError, UsageError } from '../errors.js';

/** An RFC 3339 instant, in the one form that goes over the wire. */
export function instantOption(flag: string, text: string): string {
  try {
    return formatTimestamp(parseTimestamp(text));
  } catch (error) {
    if (isFeatureStoreError(error)) throw new UsageError(`${flag}: ${error.message}`, error.details.fix);
    throw error;
  }
}

/** 'user_spend' or 'user_spend@3'. */
export function viewArgument(text: string): { view: string; version?: number } {
  const match = /^([^@]+)(?:@([1-9]\d{0,8}))?$/.exec(text);
  if (!match)
    throw new UsageError(`"${text}" is not a view`, 'write its name, or name@version: user_spend@3');
  const [, view = '', version] = match;
  return version === undefined ? { view } : { view, version: Number(version) };
}

/** What `--service` or `--features` name. */
export function featuresOption(
  service: string | undefined,
  features: string | undefined,
): { service: string } | { features: string[] } {
  if ((service === undefined) === (features === undefined))
    throw new UsageError(
      'name a service or features, one of the two',
      'give a service, or --features view:feature,view:feature',
    );
  if (service !== undefined) return { service };
  const names = features!.split(',').map((name) => name.trim()).filter(Boolean); // biome-ignore format: one thing
  for (const name of names)
    if (!/^[^:]+:[^:]+$/.test(name)) throw new UsageError(`"${name}" is not a feature`, 'write view:feature');
  return { features: names };
}
