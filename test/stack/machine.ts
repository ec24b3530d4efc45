/** Helpers of the stack tests: an environment without addresses, and machines on which programs are hidden. */
import { ADDRESS_VARIABLE } from '../../cli/stack/servers.mjs';

export function withoutAddresses(env: NodeJS.ProcessEnv = process.env): Record<string, string | undefined> {
  const addresses = new Set<string>(Object.values(ADDRESS_VARIABLE));
  return Object.fromEntries(Object.entries(env).filter(([key]) => !addresses.has(key)));
}
