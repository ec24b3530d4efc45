/** A registry of its own for each test file, with a worker that plays the platform's workflows (workflows.ts). */
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { Client, Connection } from '@temporalio/client';
import { DefaultLogger, NativeConnection, Runtime, Worker } from '@temporalio/worker';
import { afterAll } from 'vitest';
import { toFailure } from '../../activities/errors.js';
import type { Definitions } from '../../core/definition.js';
import { activate, openRevision } from '../../registry/apply.js';
import { createProducer } from '../../registry/push.js';
import { createRuns, type Runs } from '../../registry/runs.js';
import { startRegistry } from '../../registry/server.js';
import type { Pool } from '../../registry/sql.js';
import { createNamespace } from '../namespace.js';
import { applyTo } from './apply.js';
import { createDatabase, type Database } from './database.js';

export const NOW = Date.UTC(2026, 10, 21, 3, 30);
export const temporalAddress = process.env.ALMANAC_TEMPORAL_ADDRESS!;

Runtime.install({ logger: new DefaultLogger('ERROR') }); // once in a process

export interface Served extends Database {
  filesDir: string;
  temporalNamespace: string;
  url: string;
  /** Another one on the same stores, or on others; gives its address. */
  start: (other?: { pool?: Pool; runs?: Runs; registryUrl?: string }) => Promise<string>;
  temporal: Client;
  /** Tells a run to end: 'completed', or with a code. */
  finish: (run: string, how?: string) => Promise<void>;
  /** Without a run. */
  applyDirectly: (next: Definitions) => Promise<void>;
  /** Called at the end, the last first. */
  closing: Array<() => unknown>;
}

/** @param shared the namespace of another; left out: one of its own */
export async function serve(shared?: string): Promise<Served> {
  const database = await createDatabase();
  const { pool, environment } = database;
  const filesDir = await mkdtemp(join(tmpdir(), 'almanac registry '));
  const closing: Served['closing'] = [];
  afterAll(async () => {
    for (const close of closing.reverse()) await close();
    await rm(filesDir, { recursive: true, force: true });
  });
  const temporalNamespace = shared ?? environment;
  const producer = createProducer({
    kafkaBrokers: process.env.ALMANAC_KAFKA_BROKERS!.split(','),
    environment,
  });
  closing.push(() => producer.close());
  const start: Served['start'] = async (other = {}) => {
    const runs =
      other.runs ??
      createRuns({ environment, temporalAddress, temporalNamespace, temporalUiUrl: 'http://ui.example/' });
    const server = await startRegistry({
      config: { environment, filesDir, registryUrl: other.registryUrl ?? 'http://127.0.0.1:0' },
      pool: other.pool ?? pool,
      runs,
      producer,
      instance: 'one',
      now: () => NOW,
    });
    closing.push(async () => {
      await server.close();
      await runs.close();
    });
    return server.url;
  };
  const url = await start();
  const connection = await Connection.connect({ address: temporalAddress });
  closing.push(() => connection.close());
  if (shared === undefined) await createNamespace(connection, temporalNamespace);
  await startWorker(pool, environment, temporalNamespace, closing);
  const temporal = new Client({ connection, namespace: temporalNamespace });
  return {
    ...database,
    filesDir,
    temporalNamespace,
    url,
    start,
    temporal,
    finish: (run, how = 'completed') => temporal.workflow.getHandle(run).signal('finish', how),
    async applyDirectly(next) {
      await applyTo(pool, next);
    },
    closing,
  };
}

async function startWorker(
  pool: Pool,
  environment: string,
  namespace: string,
  closing: Served['closing'],
): Promise<void> {
  const native = await NativeConnection.connect({ address: temporalAddress });
  const worker = await Worker.create({
    connection: native,
    namespace,
    taskQueue: `${environment}-control`,
    workflowsPath: fileURLToPath(new URL('./workflows.ts', import.meta.url)),
    activities: {
      openRevision: (hash: string) => failing(openRevision(pool, hash)),
      activate: ({ planHash, by }: { planHash: string; by: string }) => failing(activate(pool, planHash, by)),
    },
  });
  const running = worker.run();
  closing.push(async () => {
    worker.shutdown();
    await running;
    await native.close();
  });
}

async function failing<T>(work: Promise<T>): Promise<T> {
  try {
    return await work;
  } catch (error) {
    throw toFailure(error);
  }
}
