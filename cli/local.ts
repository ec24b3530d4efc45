/** The local stack, as the commands see it. */
import { stackEnv } from './stack/own.js';
import { packageDir } from './stack/places.mjs';
import { findStack, readState, removeStackFiles, type StackState } from './stack/state.js';

export interface RunningStack {
  name: string;
  env: Record<string, string>;
}

/** Which stack a command means when nothing else is said. */
const NAMES = ['dev', 'demo'];

/** The first of them that runs; null: none. */
export function findRunningStack(names: readonly string[] = NAMES): RunningStack | null {
  for (const name of names) {
    const found = findStack({ name });
    if (found) return { name, env: stackEnv(found.state) };
  }
  return null;
}

/** Where a person looks. */
export function stackLinks(state: StackState): Array<[string, string]> {
  const env = stackEnv(state);
  const links: Array<[string, string | undefined]> = [
    ['Temporal UI', env.ALMANAC_TEMPORAL_UI_URL],
    ['registry', env.ALMANAC_REGISTRY_URL && `${env.ALMANAC_REGISTRY_URL}/v1/status`],
    ['serving', env.ALMANAC_SERVING_URL && `${env.ALMANAC_SERVING_URL}/health`],
    ['logs', `${state.dir}/logs`],
  ];
  return links.filter((link): link is [string, string] => link[1] !== undefined && link[1] !== '');
}

/** The command that ends it, as it is typed in this repository. */
export function stopCommand(name: string): string {
  return `npm run almanac -- down${name === 'dev' ? '' : ` --name ${name}`}`;
}

/** Deletes the data of a stopped stack; false when there is none. */
export function wipeStack(name: string): boolean {
  const state = readState(packageDir, name);
  if (state) removeStackFiles(state);
  return state !== null;
}
