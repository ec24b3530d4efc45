/** A worker process over the sources, to be killed. Its argument: the workflow bundle. */
import { DefaultLogger, NativeConnection, Runtime } from '@temporalio/worker';
import { createRedis, untilReady } from '../../activities/index.js';
import { readConfig } from '../../core/config.js';
import { createPool } from '../../registry/sql.js';
import { createWorkers, QUEUES } from '../../workers/worker.js';

const config = readConfig(process.env);
Runtime.install({ logger: new DefaultLogger('ERROR'), shutdownSignals: [] });
const redis = createRedis(config.redisUrl, () => {}); // commands say so themselves
await untilReady(redis, 10_000);
const workers = await createWorkers({
  connection: await NativeConnection.connect({ address: config.temporalAddress }),
  namespace: config.temporalNamespace,
  deps: { config, pool: createPool(config, { max: 12 }), redis, clock: Date.now, env: process.env },
  queues: QUEUES,
  workflowBundle: { codePath: process.argv[2]! },
});
await Promise.all(workers.map((worker) => worker.run()));
