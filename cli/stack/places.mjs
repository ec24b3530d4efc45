/**
 * Where things live: this package, the user's cache, and the files beside them.
 * Node built-ins only: this runs before any package is installed.
 */
import { existsSync } from 'node:fs';
import { homedir } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

/** The directory of package.json, whether this file runs from the sources or from dist. */
export const packageDir = findPackageDir(dirname(fileURLToPath(import.meta.url)));

/** @param {string} from @returns {string} */
function findPackageDir(from) {
  if (existsSync(join(from, 'package.json'))) return from;
  const parent = dirname(from);
  if (parent === from) throw new Error('no package.json above cli/stack: the checkout is incomplete');
  return findPackageDir(parent);
}

/**
 * The user's cache of servers, shared by every checkout.
 * @param {Readonly<Record<string, string | undefined>>} env
 * @param {string} platform
 * @returns {string}
 */
export function cacheDir(env = process.env, platform = process.platform) {
  if (env.ALMANAC_CACHE) return env.ALMANAC_CACHE;
  if (env.XDG_CACHE_HOME) return join(env.XDG_CACHE_HOME, 'almanac');
  const home = env.HOME ?? homedir();
  return platform === 'darwin' ? join(home, 'Library', 'Caches', 'almanac') : join(home, '.cache', 'almanac');
}
