/**
 * The settings of every process, read once from its environment. Pure: the environment is an argument.
 * Secrets arrive here by reference only (a URL in a variable), never in definitions.
 */
import { FeatureStoreError } from './error.js';

export interface Config {
  /** Prefixes everything this installation owns: Postgres schema, Redis keys, topics, task queues, namespace. */
  environment: string;
  postgresUrl: string;
  redisUrl: string;
  temporalAddress: string;
  temporalNamespace: string;
  /** Where the Temporal UI answers, for links; null when it is not known. */
  temporalUiUrl: string | null;
  kafkaBrokers: string[];
  registryUrl: string;
  servingUrl: string;
  workerUrl: string;
  /** Directory for uploaded and written files; registry and workers share it. */
  filesDir: string;
  /** The lock that a serving process reads by; null: it has no model of its own. */
  lockFile: string | null;
}

const DEFAULTS = {
  ALMANAC_ENVIRONMENT: 'dev',
  ALMANAC_TEMPORAL_NAMESPACE: 'default',
  ALMANAC_REGISTRY_URL: 'http://127.0.0.1:7801',
  ALMANAC_SERVING_URL: 'http://127.0.0.1:7802',
  ALMANAC_WORKER_URL: 'http://127.0.0.1:7803',
  ALMANAC_KAFKA_BROKERS: '',
} as const;

type Variable =
  | keyof typeof DEFAULTS
  | 'ALMANAC_POSTGRES_URL'
  | 'ALMANAC_REDIS_URL'
  | 'ALMANAC_TEMPORAL_ADDRESS'
  | 'ALMANAC_TEMPORAL_UI_URL'
  | 'ALMANAC_FILES_DIR';

export type Environment = Readonly<Record<string, string | undefined>>;

/**
 * A reader of settings: each is a getter, so a process needs only the variables it really uses.
 * Throws FS_CONFIG_MISSING or FS_CONFIG_INVALID, naming the variable, when one is read that is not set or not usable.
 */
export function readConfig(env: Environment): Config {
  const get = (name: Variable): string => {
    const value = env[name] ?? (DEFAULTS as Partial<Record<Variable, string>>)[name];
    if (value === undefined)
      throw new FeatureStoreError('FS_CONFIG_MISSING', `the environment variable ${name} is not set`, {
        fix: `start the stack with "npm run up" and use its environment (almanac status --env), or set ${name}`,
        variable: name,
      });
    return value;
  };
  return {
    get environment() {
      const name = get('ALMANAC_ENVIRONMENT');
      if (!/^[a-z][a-z0-9_]{0,23}$/.test(name))
        throw new FeatureStoreError(
          'FS_CONFIG_INVALID',
          `ALMANAC_ENVIRONMENT "${name}" is not usable as a prefix`,
          {
            fix: 'use 1 to 24 lower-case letters, digits and underscores, a letter first',
            variable: 'ALMANAC_ENVIRONMENT',
          },
        );
      return name;
    },
    get postgresUrl() {
      return get('ALMANAC_POSTGRES_URL');
    },
    get redisUrl() {
      return get('ALMANAC_REDIS_URL');
    },
    get temporalAddress() {
      return get('ALMANAC_TEMPORAL_ADDRESS');
    },
    get temporalNamespace() {
      return get('ALMANAC_TEMPORAL_NAMESPACE');
    },
    get temporalUiUrl() {
      return env.ALMANAC_TEMPORAL_UI_URL ?? null;
    },
    get kafkaBrokers() {
      return get('ALMANAC_KAFKA_BROKERS').split(',').filter(Boolean);
    },
    get registryUrl() {
      return get('ALMANAC_REGISTRY_URL');
    },
    get servingUrl() {
      return get('ALMANAC_SERVING_URL');
    },
    get workerUrl() {
      return get('ALMANAC_WORKER_URL');
    },
    get filesDir() {
      return get('ALMANAC_FILES_DIR');
    },
    get lockFile() {
      return env.ALMANAC_LOCK ?? null;
    },
  };
}
