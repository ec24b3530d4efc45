/**
 * When serving had each tick of a view version, as a training set's manifest keeps it: whole, since a later backfill adds ticks
 * that count as published in the past. Ticks come at a cadence and are mostly published alike, so runs of them are few numbers.
 */
import type { PublishedTick } from '../../core/sweep.js';
import type { Pool, PoolClient } from '../../registry/sql.js';

/** `count` ticks from `first` on, `stepMs` apart, each published `lagMs` after itself. */
export type TickRun = [first: number, count: number, stepMs: number, lagMs: number];

export async function readPublished(db: Pool | PoolClient, versionId: number): Promise<TickRun[]> {
  const { rows } = await db.query<PublishedTick>(
    `select tick_ms as tick, published_ms as "publishedAt" from tick where version_id = $1 order by tick_ms`,
    [versionId],
  );
  return encodeTicks(rows);
}

/** @param ticks ascending */
export function encodeTicks(ticks: readonly PublishedTick[]): TickRun[] {
  const runs: TickRun[] = [];
  for (const { tick, publishedAt } of ticks) {
    const run = runs.at(-1);
    const lag = publishedAt - tick;
    if (run && run[3] === lag) {
      const [first, count, step] = run;
      if (count === 1 || tick === first + count * step) {
        run[1] = count + 1;
        run[2] = count === 1 ? tick - first : step;
        continue;
      }
    }
    runs.push([tick, 1, 0, lag]);
  }
  return runs;
}

export function decodeTicks(runs: readonly TickRun[]): PublishedTick[] {
  return runs.flatMap(([first, count, step, lag]) =>
    Array.from({ length: count }, (_, i) => ({
      tick: first + i * step,
      publishedAt: first + i * step + lag,
    })),
  );
}

/** A ledger that is asked many times. */
export class Published {
  readonly ticks: readonly PublishedTick[];
  /** By publication; and up to each, the one of the greatest tick. */
  readonly #times: number[];
  readonly #greatest: PublishedTick[];
  readonly #byTick: Map<number, number>;

  /** @param ticks ascending */
  constructor(ticks: readonly PublishedTick[]) {
    this.ticks = ticks;
    const byTime = [...ticks].sort((a, b) => a.publishedAt - b.publishedAt);
    this.#times = byTime.map(({ publishedAt }) => publishedAt);
    let greatest = byTime[0]!;
    this.#greatest = byTime.map((each) => (greatest = each.tick > greatest.tick ? each : greatest));
    this.#byTick = new Map(ticks.map(({ tick, publishedAt }) => [tick, publishedAt]));
  }

  /** The greatest tick published by then; null: none. */
  by(at: number): PublishedTick | null {
    let low = 0;
    let high = this.#times.length;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if (this.#times[middle]! <= at) low = middle + 1;
      else high = middle;
    }
    return this.#greatest[low - 1] ?? null;
  }

  /** When a tick was published; null: it was not. */
  of(tick: number): number | null {
    return this.#byTick.get(tick) ?? null;
  }

  /**
   * Enough of the ledger for the oracle to answer at a moment, in order of tick: no tick is published before its own time, so the
   * greatest one published by then is among the last up to it, as long as one of these is published by then at all.
   */
  before(at: number): readonly PublishedTick[] {
    let low = 0;
    let high = this.ticks.length;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if (this.ticks[middle]!.tick <= at) low = middle + 1;
      else high = middle;
    }
    const last = this.ticks.slice(Math.max(0, low - 100), low);
    return last.some(({ publishedAt }) => publishedAt <= at) ? last : this.ticks;
  }

  /**
   * The entries that decide the answers at these moments, and no others: of a ledger of a year's hours a sweep needs as many as it
   * has labels.
   */
  deciding(moments: Iterable<number>): PublishedTick[] {
    const found = new Set<PublishedTick>();
    for (const at of moments) {
      const entry = this.by(at);
      if (entry) found.add(entry);
    }
    return [...found];
  }
}
