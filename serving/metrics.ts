/** What serving tells Prometheus. Labels are names of definitions and codes: never an entity key, never what a client made up. */
import { Counter, Gauge, Histogram, Registry } from 'prom-client';
import type { Answer } from './read.js';

const SECONDS = [0.0005, 0.001, 0.002, 0.003, 0.005, 0.0075, 0.01, 0.02, 0.05, 0.1, 0.25, 1];

export interface Metrics {
  registry: Registry;
  /** @param service a name of the plan, or null */
  answered(service: string | null, code: string, milliseconds: number): void;
  values(counts: Answer['counts']): void;
  redisRead: (milliseconds: number) => void;
}

/** @param planRevision asked at each scrape; null: no plan */
export function createMetrics(planRevision: () => number | null, isReady: () => boolean): Metrics {
  const registry = new Registry();
  const requests = new Histogram({
    name: 'almanac_serving_request_seconds',
    help: 'Time to answer POST /get-online-features, by feature service and outcome (OK or an error code)',
    labelNames: ['service', 'code'],
    buckets: SECONDS,
    registers: [registry],
  });
  const values = new Counter({
    name: 'almanac_serving_values_total',
    help: 'Values answered, by view and status; an entity asked for in several rows counts once',
    labelNames: ['view', 'status'],
    registers: [registry],
  });
  const redisReads = new Histogram({
    name: 'almanac_serving_redis_seconds',
    help: 'Round trip of the one read of a request',
    buckets: SECONDS,
    registers: [registry],
  });
  new Gauge({
    name: 'almanac_serving_plan_revision',
    help: 'Registry revision of the plan in force; -1 without a plan',
    registers: [registry],
    collect() {
      this.set(planRevision() ?? -1);
    },
  });
  new Gauge({
    name: 'almanac_serving_ready',
    help: '1 when Redis answers, the plan is in force and the data is of its generation',
    registers: [registry],
    collect() {
      this.set(isReady() ? 1 : 0);
    },
  });
  return {
    registry,
    answered: (service, code, milliseconds) =>
      requests.observe({ service: service ?? '(features)', code }, milliseconds / 1000),
    values(counts) {
      for (const [view, statuses] of counts)
        for (const [status, count] of statuses) values.inc({ view, status }, count);
    },
    redisRead: (milliseconds) => redisReads.observe(milliseconds / 1000),
  };
}
