/**
 * Who reads which version of a view. A service reads the live version of each view that it names, a model the exact versions of its
 * lock; with an on-demand view they read the views of its inputs. Of what nobody reads nothing is kept in Redis.
 */
import type { Definitions } from './definition.js';
import { splitReference } from './on-demand.js';

/** The versions that a model reads: service → view → version. */
export type Lock = Readonly<Record<string, Readonly<Record<string, { version: number }>>>>;

/**
 * Each version that somebody reads, as view@version, on-demand ones too.
 * @param live view → its live version; a view that has none is read by models alone
 */
export function versionsRead(
  { views, services }: Pick<Definitions, 'views' | 'services'>,
  live: ReadonlyMap<string, number>,
  locks: readonly Lock[] = [],
): Set<string> {
  const byName = new Map(views.map((view) => [view.name, view]));
  const read = new Set<string>();
  const add = (reference: string): void => {
    const { view: name } = splitReference(reference);
    const version = live.get(name);
    if (version !== undefined) read.add(`${name}@${version}`);
    const view = byName.get(name);
    if (view?.kind === 'onDemand') view.inputs.forEach(add);
  };
  for (const { features } of services) features.forEach(add);
  for (const lock of locks)
    for (const pinned of Object.values(lock))
      for (const [name, { version }] of Object.entries(pinned)) read.add(`${name}@${version}`);
  return read;
}
