/**
 * One hour of the shop as it reaches its topics: users who look, search, fill carts and buy; beside them what streams bring in life:
 * events of phones and tills that were offline, neighbours that changed places, the same message twice, an id used again, broken
 * messages. All simulated.
 *
 * `liveHour` is a pure function: the same seed gives the same messages relative to the end. What was made on purpose is counted by
 * `countMade`, so that what a platform counts can be held against it. Nothing happens after the moment at which it is produced.
 */
import { Chance } from './simulate.js';

const SECOND = 1_000;
const MINUTE = 60 * SECOND;
const HOUR = 60 * MINUTE;
const DAY = 24 * HOUR;

export type LiveSource = 'interactions' | 'searches' | 'orders';

/** Who comes, and what there is. */
export interface LiveShop {
  /** Items: those the user knows; at least one each. */
  users: ReadonlyArray<{ user: string; items: readonly string[] }>;
  items: ReadonlyArray<{ item: string; category: string | null; priceCents: number }>;
}

/** `reordered` and `late` are events like any other, behind newer ones of their topic. */
export type LiveKind = 'event' | 'reordered' | 'late' | 'duplicate' | 'conflict' | 'tooLate' | 'invalid';

export interface LiveMessage {
  source: LiveSource;
  kind: LiveKind;
  /** When it is produced. */
  atMs: number;
  /** When it happened: at `atMs` or before. */
  eventMs: number;
  user: string;
  /** It happened after everything produced before it of its user and source: whoever reads its time has read it. */
  isNewest: boolean;
  body: string;
}

/** What a platform should make of the messages. `archived` holds the late ones; the others are the rest of `events`. */
export type LiveCounts = Record<
  'events' | 'archived' | 'late' | 'duplicate' | 'conflict' | 'invalid' | 'tooLate',
  number
>;

type Fields = Record<string, string | number | null>;

interface Draft {
  source: LiveSource;
  kind: LiveKind;
  atMs: number;
  eventMs: number;
  user: string;
  /** All but the times. */
  fields: Fields;
  /** Breaks the message; null: it is whole. */
  broken: ((fields: Fields) => string) | null;
}

const EVENTS = 2_800;
/** Behind the newest event of a topic; the sources allow 3 days. */
const TOO_LATE_MS = 4 * DAY;
const OFFLINE_MAX_MS = 6 * HOUR;

/** @param asked is in the shop until the end: the last event of the hour is theirs, at `endMs` */
export function liveHour(options: {
  shop: LiveShop;
  asked: string;
  seed: number;
  startMs: number;
  endMs: number;
}): LiveMessage[] {
  const { shop, asked, seed, startMs, endMs } = options;
  const [ofVisits, ofTrouble] = [1, 2].map((part) => new Chance(Math.imul(seed, 0x9e3779b1) ^ part)) as [
    Chance,
    Chance,
  ];
  const visitors = new Visitors(shop, ofVisits);
  const drafts = visitors.lastVisit(asked, endMs);
  const others = shop.users.filter(({ user }) => user !== asked);
  while (drafts.length < EVENTS && others.length > 0) {
    const { user } = ofVisits.pick(others);
    const visit = visitors.visit(user, ofVisits.whole(startMs - 10 * MINUTE, endMs - MINUTE));
    drafts.push(...visit.filter(({ eventMs }) => eventMs >= startMs && eventMs < endMs));
  }
  drafts.sort((a, b) => a.eventMs - b.eventMs || compare(a.user, b.user));
  for (const [index, draft] of drafts.entries())
    if (draft.source !== 'searches') draft.fields = { event_id: `live-${index}`, ...draft.fields };
  reorder(drafts, ofTrouble, endMs);
  drafts.push(...offline(visitors, others, ofTrouble, startMs, endMs));
  drafts.push(...again(drafts, ofTrouble, endMs), ...beyond(drafts, ofTrouble, startMs, endMs));
  drafts.sort((a, b) => a.atMs - b.atMs); // stable

  const newest = new Map<string, number>();
  return drafts.map(({ fields, broken, ...draft }) => {
    const whole = { ...fields, event_time: iso(draft.eventMs), arrived_time: iso(draft.atMs) };
    const key = `${draft.source} ${draft.user}`;
    const isArchived = ['event', 'reordered', 'late'].includes(draft.kind);
    const isNewest = isArchived && draft.eventMs > (newest.get(key) ?? Number.NEGATIVE_INFINITY);
    if (isNewest) newest.set(key, draft.eventMs);
    return { ...draft, isNewest, body: broken === null ? JSON.stringify(whole) : broken(whole) };
  });
}

/** An event is late when a newer one of its topic was produced before it. */
export function countMade(messages: readonly LiveMessage[]): LiveCounts {
  const counts = { events: messages.length, archived: 0, late: 0, duplicate: 0, conflict: 0, invalid: 0, tooLate: 0 }; // biome-ignore format: one thing
  const greatest = new Map<LiveSource, number>();
  for (const { source, kind, eventMs } of messages) {
    if (kind === 'duplicate' || kind === 'conflict' || kind === 'invalid' || kind === 'tooLate') {
      counts[kind]++;
      continue;
    }
    counts.archived++;
    const before = greatest.get(source) ?? Number.NEGATIVE_INFINITY;
    if (eventMs < before) counts.late++;
    greatest.set(source, Math.max(before, eventMs));
  }
  return counts;
}

/** What people do. */
class Visitors {
  readonly #chance: Chance;
  readonly #known: ReadonlyMap<string, readonly string[]>;
  readonly #items: ReadonlyMap<string, LiveShop['items'][number]>;
  readonly #byCategory = new Map<string, string[]>();
  #orders = 0;

  constructor({ users, items }: LiveShop, chance: Chance) {
    this.#chance = chance;
    this.#known = new Map(users.map((each) => [each.user, each.items]));
    this.#items = new Map(items.map((each) => [each.item, each]));
    for (const { item, category } of items) {
      if (category === null) continue;
      const those = this.#byCategory.get(category);
      if (those) those.push(item);
      else this.#byCategory.set(category, [item]);
    }
  }

  /** Looks for something, looks around, puts some of it into the cart; every second visit ends with an order. */
  visit(user: string, startMs: number): Draft[] {
    const chance = this.#chance;
    const drafts: Draft[] = [];
    const cart: string[] = [];
    let at = startMs;
    const wait = (low: number, high: number): number => (at += chance.whole(low, high));
    for (let looks = chance.whole(2, 7); looks > 0; looks--) {
      const item = this.#choose(user);
      if (chance.is(0.3)) drafts.push(...this.#search(user, item, wait(2 * SECOND, 20 * SECOND)));
      for (let n = chance.whole(1, 3); n > 0; n--)
        drafts.push(this.#look(user, this.#neighbour(item), wait(3 * SECOND, 40 * SECOND)));
      if (!chance.is(0.5)) continue;
      drafts.push(this.#interact('cart_add', user, item, wait(SECOND, 15 * SECOND)));
      if (chance.is(0.15)) drafts.push(this.#interact('cart_remove', user, item, wait(SECOND, 30 * SECOND)));
      else if (!cart.includes(item)) cart.push(item);
    }
    if (cart.length > 0 && chance.is(0.5)) drafts.push(...this.#order(user, cart, wait(5 * SECOND, MINUTE)));
    return drafts;
  }

  /** Somebody who has not decided yet: views, two searches, a cart, no order; the last view at `endMs`. */
  lastVisit(user: string, endMs: number): Draft[] {
    const first = this.#choose(user);
    const drafts: Draft[] = this.#search(user, first, endMs - 11 * MINUTE);
    for (let n = 10; n > 0; n--) {
      const item = n === 10 ? first : this.#choose(user);
      drafts.push(this.#look(user, item, endMs - n * MINUTE));
      if (n % 3 === 1) drafts.push(this.#interact('cart_add', user, item, endMs - n * MINUTE + 20 * SECOND));
      if (n === 3) drafts.push(...this.#search(user, item, endMs - n * MINUTE + 30 * SECOND));
    }
    drafts.push(this.#look(user, this.#neighbour(first), endMs));
    return drafts;
  }

  /** A view, long before it is produced. */
  seenOffline(user: string, eventMs: number, atMs: number): Draft {
    return { ...this.#look(user, this.#choose(user), eventMs), kind: 'late', atMs };
  }

  soldOffline(user: string, eventMs: number, atMs: number): Draft {
    const [, line] = this.#order(user, [this.#choose(user)], eventMs);
    return { ...line!, kind: 'late', atMs };
  }

  searchedOffline(user: string, eventMs: number, atMs: number): Draft[] {
    return this.#search(user, this.#choose(user), eventMs).map((each) => ({ ...each, kind: 'late', atMs }));
  }

  #choose(user: string): string {
    return this.#chance.pick(this.#known.get(user)!);
  }

  /** An item of the same category, perhaps the same one. */
  #neighbour(item: string): string {
    const category = this.#items.get(item)?.category ?? null;
    return this.#chance.pick((category === null ? null : this.#byCategory.get(category)) ?? [item]);
  }

  #look(user: string, item: string, atMs: number): Draft {
    return this.#interact('view', user, item, atMs, this.#chance.whole(500, 60_000));
  }

  #interact(type: string, user: string, item: string | null, atMs: number, dwellMs?: number): Draft {
    const category = item === null ? null : (this.#items.get(item)?.category ?? null);
    const fields = { event_type: type, user_id: user, item_id: item, category, dwell_ms: dwellMs ?? null };
    return draft('interactions', user, atMs, fields);
  }

  /** By a word of the item's category, if it has one. */
  #search(user: string, item: string, atMs: number): Draft[] {
    const words = (this.#items.get(item)?.category ?? '').toLowerCase().match(/[a-z]{3,}/g);
    if (!words) return [];
    return [draft('searches', user, atMs, { user_id: user, term: this.#chance.pick(words) })];
  }

  #order(user: string, cart: readonly string[], atMs: number): Draft[] {
    const order = `live-o-${this.#orders++}`;
    const lines = cart.map((item) => {
      const { category = null, priceCents = 100 } = this.#items.get(item) ?? {};
      const quantity = this.#chance.whole(1, 3);
      return draft('orders', user, atMs, {
        event_type: 'purchase',
        user_id: user,
        item_id: item,
        order_id: order,
        category,
        quantity,
        sales_cents: Math.round(quantity * priceCents),
      });
    });
    return [this.#interact('checkout', user, null, atMs), ...lines];
  }
}

function draft(source: LiveSource, user: string, atMs: number, fields: Fields): Draft {
  return { source, kind: 'event', atMs, eventMs: atMs, user, fields, broken: null };
}

/** One event in forty is overtaken by the next of its topic. The last minute stays in order. */
function reorder(drafts: readonly Draft[], chance: Chance, endMs: number): void {
  for (const source of ['interactions', 'searches', 'orders'] as const) {
    const own = drafts.filter((each) => each.source === source && each.eventMs < endMs - MINUTE);
    for (const [index, each] of own.entries()) {
      const next = own[index + 1];
      if (!next || next.eventMs === each.eventMs || !chance.is(0.025)) continue;
      each.kind = 'reordered';
      each.atMs = next.atMs + 1;
    }
  }
}

/** Phones and tills that come back: what happened minutes to hours ago, some of it before the hour began. */
function offline(
  visitors: Visitors,
  users: LiveShop['users'],
  chance: Chance,
  startMs: number,
  endMs: number,
): Draft[] {
  if (users.length === 0) return [];
  const drafts: Draft[] = [];
  for (let n = 0; n < 60; n++) {
    const atMs = chance.whole(startMs + 6 * MINUTE, endMs - 2 * MINUTE);
    const { user } = chance.pick(users);
    const pastMs = (): number => atMs - chance.whole(MINUTE, n % 3 === 0 ? OFFLINE_MAX_MS : 20 * MINUTE);
    if (n % 10 === 9) drafts.push(visitors.soldOffline(user, pastMs(), atMs));
    // searches have no id: the topic takes none of before the hour
    else if (n % 10 === 8)
      drafts.push(...visitors.searchedOffline(user, atMs - chance.whole(MINUTE, 5 * MINUTE), atMs));
    else
      for (let views = chance.whole(1, 3); views > 0; views--)
        drafts.push(visitors.seenOffline(user, pastMs(), atMs));
  }
  for (const [index, each] of drafts.entries())
    if (each.source !== 'searches') each.fields = { event_id: `live-late-${index}`, ...each.fields };
  return drafts;
}

/** Produced twice, the second time within two minutes; and two whose body is another the second time. */
function again(drafts: readonly Draft[], chance: Chance, endMs: number): Draft[] {
  const own = drafts.filter(({ source, atMs }) => source !== 'searches' && atMs < endMs - 3 * MINUTE);
  const twice = own
    .filter(() => chance.is(0.02))
    .map((each): Draft => {
      // the whole first message, its times too
      const body = JSON.stringify({ ...each.fields, event_time: iso(each.eventMs), arrived_time: iso(each.atMs) }); // biome-ignore format: one thing
      const atMs = each.atMs + chance.whole(1, 2 * MINUTE);
      return { ...each, kind: 'duplicate', atMs, broken: () => body };
    });
  const views = own.filter(({ fields }) => fields.event_type === 'view');
  const other = (views.length === 0 ? [] : [chance.pick(views), chance.pick(views)]).map(
    (each): Draft => ({
      ...each,
      kind: 'conflict',
      atMs: each.atMs + chance.whole(1, 2 * MINUTE),
      fields: { ...each.fields, dwell_ms: 60_001 },
    }),
  );
  return [...twice, ...other];
}

/** Older than the sources allow, and messages that are no events. */
function beyond(drafts: readonly Draft[], chance: Chance, startMs: number, endMs: number): Draft[] {
  const found: Draft[] = [];
  const add = (source: LiveSource, kind: LiveKind, change: Partial<Draft>): void => {
    const own = drafts.filter((each) => each.source === source && each.kind === 'event');
    if (own.length === 0) return;
    const model = chance.pick(own);
    const atMs = chance.whole(startMs + 6 * MINUTE, endMs - 2 * MINUTE);
    const id = source === 'searches' ? {} : { event_id: `live-x-${found.length}` };
    found.push({ ...model, kind, atMs, eventMs: atMs, ...change, fields: { ...model.fields, ...id } });
  };
  const broken = (source: LiveSource, how: (fields: Fields) => string): void =>
    add(source, 'invalid', { broken: how });
  for (let n = 0; n < 3; n++) {
    add('interactions', 'tooLate', { eventMs: endMs - HOUR - TOO_LATE_MS - chance.whole(0, DAY) });
    broken('interactions', (fields) => JSON.stringify(fields).slice(0, -20));
    broken('interactions', ({ user_id: _user, ...fields }) => JSON.stringify(fields));
    broken('interactions', (fields) => JSON.stringify({ ...fields, dwell_ms: '12' }));
    broken('orders', (fields) => JSON.stringify({ ...fields, sales_cents: 12.5 }));
    broken('orders', (fields) => JSON.stringify({ ...fields, event_time: 'yesterday' }));
    broken('searches', (fields) =>
      JSON.stringify({ ...fields, event_time: String(fields.event_time).replace('Z', '') }),
    );
  }
  broken('searches', () => '[]');
  broken('interactions', (fields) => JSON.stringify({ ...fields, event_time: iso(endMs + 365 * DAY) }));
  add('orders', 'tooLate', { eventMs: endMs - HOUR - TOO_LATE_MS });
  // without an id nobody can tell whether the files hold it
  add('searches', 'invalid', { eventMs: startMs - 10 * MINUTE });
  return found;
}

const iso = (ms: number): string => new Date(ms).toISOString();

function compare(a: string, b: string): number {
  return a < b ? -1 : a > b ? 1 : 0;
}
