/** Where the registry and serving are: a flag, else the environment, else the local stack that runs. */
import { FeatureStoreError } from '../core/error.js';
import { type Client, createClient } from './client.js';
import { UsageError } from './errors.js';
import { findRunningStack } from './local.js';
import type { Output } from './output.js';

type Env = Readonly<Record<string, string | undefined>>;

const KINDS = {
  registry: { variable: 'ALMANAC_REGISTRY_URL', flag: '--registry' },
  serving: { variable: 'ALMANAC_SERVING_URL', flag: '--serving' },
} as const;

export function findAddress(kind: keyof typeof KINDS, given: string | undefined, env: Env): string {
  const { variable, flag } = KINDS[kind];
  if (given !== undefined) return checked(given, flag);
  const set = env[variable];
  if (set) return checked(set, variable);
  const stack = findRunningStack();
  const url = stack?.env[variable];
  if (url) return url;
  throw new FeatureStoreError(
    'FS_CONFIG_MISSING',
    `nothing says where ${kind} is: no ${flag}, no ${variable}, and no local stack runs`,
    { fix: `start one with "npm run up", or give ${flag} http://host:port` },
  );
}

export function connect(call: { options: { registry?: string }; env: Env; out: Output }): Client {
  const url = findAddress('registry', call.options.registry, call.env);
  return createClient({ url, onWait: (text) => call.out.note(`.. ${text}`) });
}

function checked(text: string, from: string): string {
  const url = URL.canParse(text) ? new URL(text) : null;
  if (url?.protocol === 'http:' || url?.protocol === 'https:') return text;
  throw new UsageError(`${from} "${text}" is not an address`, 'write it as http://host:port');
}
