/** The reader of the source `visits` as a process, without Temporal. Its argument: where it kills itself (death.ts). */
import { createRedis, untilReady } from '../../activities/index.js';
import { createKafkaSource } from '../../activities/stream/event-source.js';
import { Shard } from '../../activities/stream/shard.js';
import { readConfig } from '../../core/config.js';
import { createPool } from '../../registry/sql.js';
import { dieAt, type Point } from './death.js';

const config = readConfig(process.env);
const redis = createRedis(config.redisUrl, () => {}); // commands say so themselves
await untilReady(redis, 10_000);
const stores = dieAt(process.argv[2] as Point, { pool: createPool(config), redis });
await Shard.run(
  { config, ...stores, clock: Date.now, env: process.env },
  { source: 'visits', partition: 0, snapshotEveryMs: 400, runMs: 3_600_000 },
  {
    open: ({ topic, epoch }) =>
      createKafkaSource({ brokers: config.kafkaBrokers, topic, partition: 0, group: `${topic}.${epoch}` }),
    signal: new AbortController().signal,
    report: () => {},
  },
);
