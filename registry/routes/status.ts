/** How the registry and everything it knows is getting on. */
import { z } from 'zod';
import { FeatureStoreError } from '../../core/error.js';
import { RunningRun, type Runs } from '../runs.js';
import { readStatus, Status } from '../status.js';
import { PrometheusText, route } from './route.js';

const HEALTH_MS = 2_000;

const health = route({
  id: 'getHealth',
  method: 'GET',
  path: '/health',
  summary: 'whether the process can work: 200, or 503 with what is wrong',
  response: z.strictObject({
    process: z.literal('registry'),
    environment: z.string(),
    instance: z.string().nullable(),
    ok: z.boolean(),
    /** 'ok', or what is wrong. */
    postgres: z.string(),
    temporal: z.string(),
  }),
  otherwise: { status: 503, when: ({ ok }) => !ok },
  async handle(_request, { config, instance, pool, runs }) {
    const [postgres, temporal] = await Promise.all([answers(pool.query('select 1')), answers(runs.check())]);
    const ok = postgres === 'ok' && temporal === 'ok';
    return {
      process: 'registry' as const,
      environment: config.environment,
      instance,
      ok,
      postgres,
      temporal,
    };
  },
});

const metrics = route({
  id: 'getMetrics',
  method: 'GET',
  path: '/metrics',
  summary: 'Prometheus metrics',
  response: PrometheusText,
  handle: (_request, deps) => deps.metrics.metrics(),
});

const status = route({
  id: 'getStatus',
  method: 'GET',
  path: '/v1/status',
  summary: 'sources, imports, streams, versions and what runs, at a glance',
  response: Status.extend({
    environment: z.string(),
    postgres: z.literal('ok'),
    /** 'ok', or what is wrong; then `runs` is empty. */
    temporal: z.string(),
    runs: z.array(RunningRun),
  }),
  async handle(_request, { config, pool, runs }) {
    const stored = await readStatus(pool);
    return {
      environment: config.environment,
      postgres: 'ok' as const,
      ...(await listRuns(runs)),
      ...stored,
    };
  },
});

export default [status, health, metrics];

/** 'ok', or what is wrong; never later than health checkers wait. */
async function answers(work: Promise<unknown>): Promise<string> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<string>((resolve) => {
    timer = setTimeout(() => resolve(`no answer within ${HEALTH_MS} ms`), HEALTH_MS);
  });
  try {
    return await Promise.race([work.then(() => 'ok'), late]);
  } catch (error) {
    return error instanceof Error ? error.message : String(error);
  } finally {
    clearTimeout(timer);
  }
}

/** Without Temporal the rest of the status still holds. */
async function listRuns(runs: Runs): Promise<{ temporal: string; runs: RunningRun[] }> {
  try {
    return { temporal: 'ok', runs: await runs.listRunning() };
  } catch (error) {
    if (!(error instanceof FeatureStoreError)) throw error;
    return { temporal: error.message, runs: [] };
  }
}
