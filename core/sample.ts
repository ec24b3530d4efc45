/**
 * What a feature repository gives on a sample of events: for each feature of each view over one source, its type, how often
 * it is null, its statuses and its distribution over the sample's entities, at the moment the last event has arrived.
 */
import { compileView } from './compile.js';
import type { AggregationView, Definitions, FeatureType } from './definition.js';
import type { Event, FeatureValue } from './event.js';
import { sweepLabels, ticksOf } from './sweep.js';
import { ceilTo } from './time.js';
import type { Status } from './vector.js';
import { judge } from './vector.js';

export interface FeatureSample {
  view: string;
  feature: string;
  type: FeatureType;
  entities: number;
  /** Share of entities whose value is null, 0 to 1. */
  nullRate: number;
  statuses: Partial<Record<Status, number>>;
  distribution: Distribution;
}

/** Of the values that are not null; of a list's elements. */
export type Distribution =
  | { kind: 'numbers'; min: number; mean: number; median: number; p95: number; max: number }
  | { kind: 'words'; distinct: number; top: Array<{ value: string; count: number }> }
  | { kind: 'nothing' };

/** @param sourceName a source of the definitions. @param events what the importer made of the sample's rows, in any order */
export function sampleFeatures(
  definitions: Definitions,
  sourceName: string,
  events: readonly Event[],
): FeatureSample[] {
  const source = definitions.sources.find(({ name }) => name === sourceName)!;
  const views = definitions.views.filter(
    (view): view is AggregationView => view.kind === 'aggregation' && view.source === sourceName,
  );
  return views.flatMap((view) => {
    const compiled = compileView(view, source);
    const groups = new Map<string, Event[]>();
    for (const event of events) {
      const parts = compiled.keyOf(event);
      if (parts.includes(null)) continue;
      const key = JSON.stringify(parts.map((part) => [typeof part, String(part)]));
      const group = groups.get(key);
      if (group) group.push(event);
      else groups.set(key, [event]);
    }
    const { cadenceMs, settleMs } = ticksOf(view);
    const last = events.reduce(
      (latest, { arrivedAt }) => Math.max(latest, arrivedAt),
      Number.NEGATIVE_INFINITY,
    );
    // Of a batch view, the tick that sees the last event.
    const at = view.mode.type === 'batch' ? ceilTo(last, cadenceMs) + settleMs : last;
    const published = [{ tick: at - settleMs, publishedAt: at }];
    const judged = [...groups.values()].map((group) => {
      const [reading = null] = sweepLabels(compiled, group, [at], {
        mode: 'known-then',
        strict: false,
        published,
      });
      return judge(view, reading, at);
    });
    return view.features.map(({ name, type }, index) => {
      const values = judged.map((each) => each.values[index] ?? null);
      const statuses: Partial<Record<Status, number>> = {};
      for (const each of judged) {
        const status = each.statuses[index]!;
        statuses[status] = (statuses[status] ?? 0) + 1;
      }
      return {
        view: view.name,
        feature: name,
        type,
        entities: judged.length,
        nullRate: judged.length === 0 ? 0 : values.filter((value) => value === null).length / judged.length,
        statuses,
        distribution: distributionOf(values),
      };
    });
  });
}

const TOP = 3;

function distributionOf(values: readonly FeatureValue[]): Distribution {
  const present = values.flatMap((value) =>
    value === null ? [] : typeof value === 'object' ? Object.values(value) : [value],
  ) as Array<string | number | bigint | boolean>;
  if (present.length === 0) return { kind: 'nothing' };
  if (present.every((value) => typeof value === 'number' || typeof value === 'bigint')) {
    const numbers = present.map(Number).sort((a, b) => a - b);
    const quantile = (share: number): number => numbers[Math.ceil(share * numbers.length) - 1] ?? numbers[0]!;
    return {
      kind: 'numbers',
      min: numbers[0]!,
      mean: numbers.reduce((sum, x) => sum + x / numbers.length, 0),
      median: quantile(0.5),
      p95: quantile(0.95),
      max: numbers[numbers.length - 1]!,
    };
  }
  const counts = new Map<string, number>();
  for (const value of present) counts.set(String(value), (counts.get(String(value)) ?? 0) + 1);
  const top = [...counts]
    .sort(([a, m], [b, n]) => n - m || (a < b ? -1 : 1))
    .slice(0, TOP)
    .map(([value, count]) => ({ value, count }));
  return { kind: 'words', distinct: counts.size, top };
}
