/** Counters of a worker process in Prometheus form. No entity key, no value, no id of a run in any label. */
import type { ActivityInterceptorsFactory } from '@temporalio/worker';
import { Counter, collectDefaultMetrics, Histogram, Registry } from 'prom-client';

export interface Metrics {
  activityInterceptor: ActivityInterceptorsFactory;
  contentType: string;
  text(): Promise<string>;
}

export function createMetrics(): Metrics {
  const registry = new Registry();
  collectDefaultMetrics({ register: registry });
  const seconds = new Histogram({
    name: 'almanac_activity_seconds',
    help: 'Duration of activities',
    labelNames: ['activity', 'outcome'],
    buckets: [0.01, 0.05, 0.25, 1, 5, 15, 60, 300, 1800],
    registers: [registry],
  });
  const running = new Counter({
    name: 'almanac_activity_attempts_total',
    help: 'Attempts of activities, first and repeated',
    labelNames: ['activity', 'repeated'],
    registers: [registry],
  });
  return {
    contentType: registry.contentType,
    text: () => registry.metrics(),
    activityInterceptor: ({ info }) => ({
      inbound: {
        async execute(input, next) {
          const activity = info.activityType;
          running.inc({ activity, repeated: String(info.attempt > 1) });
          const stop = seconds.startTimer({ activity });
          try {
            const result: unknown = await next(input);
            stop({ outcome: 'completed' });
            return result;
          } catch (error) {
            stop({ outcome: 'failed' });
            throw error;
          }
        },
      },
    }),
  };
}
