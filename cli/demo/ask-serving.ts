/** The demo's recommendation request: what it asks, what comes back, how long it takes. */
import type { Definitions } from '../../core/definition.js';
import { formatTimestamp } from '../../core/time.js';
import type { Client } from '../client.js';
import { type OnlineAnswer, parseOnline, requestOnline } from '../commands/get-online.js';
import type { Output } from '../output.js';
import { formatCount } from '../text.js';
import { type LastEvent, sinceLastEvent } from './last-event.js';
import { measureLatency } from './latency.js';
import { type DataOrigin, type DemoReport, dataOrigin } from './report.js';

const REQUESTS = 500;
const WARM_UP = 50;

export async function askServing(options: {
  serving: Client;
  service: string;
  definitions: Definitions;
  user: string;
  items: readonly string[];
  lastEvent: LastEvent & { atMs: number };
  out: Output;
}): Promise<Pick<DemoReport, 'online' | 'serving'>> {
  const { serving, service, definitions, user, items, lastEvent, out } = options;
  const request = { feature_service: service, entities: { user_id: [user], item_id: [...items] } };
  const answer = await out.step(`asking for user ${user} and ${items.length} items`, async () =>
    parseOnline(await requestOnline(serving, request)),
  );
  const latency = await out.step('measuring serving, one request at a time', async (step) => {
    const measured = await measureLatency(serving.url, JSON.stringify(request), {
      warmUp: WARM_UP,
      requests: REQUESTS,
      onProgress: (done) =>
        step.progress({ done, total: REQUESTS, unit: 'requests', ratePerSecond: null, message: '' }),
    });
    step.done(`p50 ${measured.p50Ms} ms, p99 ${measured.p99Ms} ms of ${formatCount(measured.requests)}`);
    return measured;
  });
  const { features, statuses } = summarize(answer, definitions, service, lastEvent.values);
  return {
    online: {
      user,
      item: items[0]!,
      lastEvent: formatTimestamp(lastEvent.atMs),
      digest: lastEvent.digest,
      features,
      statuses,
    },
    serving: { items: items.length, features: features.length, ...latency },
  };
}

/** The first row, feature by feature, and how many values of the whole answer have which status. */
export function summarize(
  answer: OnlineAnswer,
  definitions: Definitions,
  service: string,
  lastEvent: ReadonlyMap<string, unknown>,
): Pick<DemoReport['online'], 'features' | 'statuses'> {
  const asked = definitions.services.find(({ name }) => name === service)?.features ?? [];
  const keys = answer.metadata.feature_names.length - asked.length; // join keys come first
  const statuses: Record<string, number> = {};
  const features = answer.results.slice(keys).map((column, i) => {
    for (const status of column.statuses) statuses[status] = (statuses[status] ?? 0) + 1;
    const feature = answer.metadata.feature_names[keys + i] ?? '';
    const value = portable(column.values[0]);
    const atLastEvent = lastEvent.get(feature) ?? null;
    return {
      feature,
      value,
      atLastEvent,
      since: sinceLastEvent(definitions, asked[i] ?? '', { before: atLastEvent, now: value }),
      status: column.statuses[0] ?? '',
      eventTimestamp: column.event_timestamps[0] ?? '',
      data: originOf(asked[i]?.split(':')[0] ?? '', definitions),
    };
  });
  return { features, statuses };
}

/** What the rows behind a view are. A query reads the shop's own tables: its prices are real. */
function originOf(name: string, definitions: Definitions): DataOrigin {
  const view = definitions.views.find((each) => each.name === name);
  if (view?.kind !== 'aggregation') return 'real';
  return dataOrigin(definitions.sources.find((source) => source.name === view.source)?.origin ?? null);
}

/** JSON has no place for a bigint: its digits, as text. */
function portable(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(portable);
  if (typeof value === 'object' && value !== null)
    return Object.fromEntries(Object.entries(value).map(([key, item]) => [key, portable(item)]));
  return typeof value === 'bigint' ? String(value) : value;
}
