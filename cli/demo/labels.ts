/**
 * The demo's labels: a user looked at an item; did they buy it within 30 minutes? Features are wanted as of the second before,
 * when the item was recommended: at the instant of the view, the view itself would be among them. Made from the shop's own
 * rows, before any platform sees them, the same for the same data, shift and seed. Pure.
 */
import { assert } from '../../core/assert.js';
import { MINUTE, SECOND } from '../../core/time.js';

/** A moment at which a user met an item; times are epoch ms, shifted. */
export interface Encounter {
  user: string;
  item: string;
  atMs: number;
}

export interface Label extends Encounter {
  bought: boolean;
}

export const BUYS_WITHIN_MS = 30 * MINUTE;
const RECOMMENDED_BEFORE_MS = SECOND;

/**
 * `count` views, spread evenly over time, each with what came of it; fewer when there are fewer. Only views whose half hour
 * was over by `untilMs`: of the others nobody knows.
 */
export function makeLabels(
  views: readonly Encounter[],
  purchases: readonly Encounter[],
  options: { count: number; untilMs: number; seed: number },
): Label[] {
  const { count, untilMs, seed } = options;
  const known = views
    .filter(({ atMs }) => atMs + BUYS_WITHIN_MS <= untilMs)
    .sort((a, b) => a.atMs - b.atMs || compare(a.user, b.user) || compare(a.item, b.item));
  const bought = new Map<string, number[]>();
  for (const { user, item, atMs } of purchases) {
    const key = JSON.stringify([user, item]);
    const times = bought.get(key);
    if (times) times.push(atMs);
    else bought.set(key, [atMs]);
  }
  const wanted = Math.min(count, known.length);
  assert(Number.isSafeInteger(seed), `seed ${seed}`);
  const offset = (((seed % 97) + 97) % 97) / 97; // another seed begins elsewhere between two samples
  return Array.from({ length: wanted }, (_, i) => {
    const view = known[Math.floor(((i + offset) * known.length) / wanted)]!;
    const times = bought.get(JSON.stringify([view.user, view.item])) ?? [];
    return { ...view, bought: times.some((at) => at > view.atMs && at <= view.atMs + BUYS_WITHIN_MS) };
  });
}

/** An entity dataframe: join keys, the moment of the recommendation, label. */
export function labelsCsv(labels: readonly Label[]): string {
  const lines = labels.map(
    ({ user, item, atMs, bought }) =>
      `${user},${item},${new Date(atMs - RECOMMENDED_BEFORE_MS).toISOString()},${bought ? 1 : 0}`,
  );
  return ['user_id,item_id,event_timestamp,bought', ...lines, ''].join('\n');
}

/**
 * Who is asked about: of the users seen in the half hour before `untilMs` the one with the longest history; in a quiet half
 * hour the user seen last. Ties go by name.
 */
export function activeUser(seen: readonly Encounter[], untilMs: number): string {
  const times = new Map<string, number>();
  const recent = new Set<string>();
  let last: Encounter | null = null;
  for (const each of seen) {
    if (each.atMs > untilMs) continue;
    times.set(each.user, (times.get(each.user) ?? 0) + 1);
    if (each.atMs > untilMs - BUYS_WITHIN_MS) recent.add(each.user);
    if (!last || each.atMs > last.atMs || (each.atMs === last.atMs && each.user < last.user)) last = each;
  }
  assert(last, 'the shop has no events before now');
  const [longest] = [...recent].sort((a, b) => times.get(b)! - times.get(a)! || compare(a, b));
  return longest ?? last.user;
}

/** `count` items to rank: those this user met last, then those anybody met last. */
export function candidateItems(
  seen: readonly Encounter[],
  user: string,
  count: number,
  untilMs: number,
): string[] {
  const latest = [...seen]
    .filter(({ atMs }) => atMs <= untilMs)
    .sort((a, b) => b.atMs - a.atMs || compare(a.item, b.item));
  const own = latest.filter((each) => each.user === user).map(({ item }) => item);
  const items = new Set([...new Set(own)].slice(0, count / 2));
  for (const { item } of latest) {
    if (items.size === count) break;
    items.add(item);
  }
  return [...items];
}

function compare(a: string, b: string): number {
  return a < b ? -1 : a > b ? 1 : 0;
}
