/** What activities work with; a worker makes it once. */
import type { Redis } from 'ioredis';
import type { Config, Environment } from '../core/config.js';
import type { Pool } from '../registry/sql.js';

export interface Deps {
  config: Config;
  pool: Pool;
  redis: Redis;
  /** Epoch ms. What is stored as a time of the platform comes from the database's clock instead. */
  clock: () => number;
  /** Where definitions' `env:NAME` connections are looked up. */
  env: Environment;
}
