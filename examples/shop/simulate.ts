/**
 * The shop's data: real purchases (data/, see its README) and what is simulated around them from a seed: views, carts, searches,
 * ratings, returns, listing dates, and the way all of it arrives (late, twice, out of order, now and then broken).
 *
 * `simulate` is a pure function of (transactions, products, seed): the same rows on every machine, to the byte. Times are those
 * of the source (2017); whoever imports them shifts them by whole weeks. Run as a program it writes the files:
 *   node dist/examples/shop/simulate.js <directory> [seed]
 */
import { createReadStream, createWriteStream, existsSync } from 'node:fs';
import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { pipeline } from 'node:stream/promises';
import { fileURLToPath } from 'node:url';
import { createGunzip } from 'node:zlib';
import {
  type DataType,
  Int64,
  Table,
  TimestampMicrosecond,
  tableToIPC,
  Utf8,
  type Vector,
  vectorFromArray,
} from 'apache-arrow';

const SECOND = 1_000;
const MINUTE = 60 * SECOND;
const HOUR = 60 * MINUTE;
const DAY = 24 * HOUR;
const WEEK = 7 * DAY;

export const DEFAULT_SEED = 20170101;

// ---------------------------------------------------------------- rows

/** A line of an order, as in the source. */
export interface Transaction {
  householdId: string;
  basketId: string;
  productId: string;
  quantity: number;
  salesCents: number;
  atMs: number;
}
export interface Product {
  productId: string;
  category: string | null;
}

/** Cells are what the file holds: times and broken values are text. */
type Cell = string | number | null;
export interface OrderRow {
  event_id: string;
  event_type: 'purchase' | 'return';
  user_id: string | null;
  item_id: string;
  order_id: string;
  category: string | null;
  quantity: Cell;
  sales_cents: Cell;
  event_time: string;
  arrived_time: string;
}
export interface InteractionRow {
  event_id: string;
  event_type: 'view' | 'cart_add' | 'cart_remove' | 'checkout';
  user_id: string | null;
  item_id: string | null;
  category: string | null;
  dwell_ms: Cell;
  event_time: string;
  arrived_time: string;
}
export interface SearchRow {
  user_id: string | null;
  term: string;
  event_time: string;
  arrived_time: string;
}
export interface RatingRow {
  event_id: string;
  item_id: string | null;
  user_id: string;
  stars: number;
  event_time: string;
  arrived_time: string;
}
export interface ListingRow {
  event_id: string;
  item_id: string;
  category: string | null;
  listed_at: string;
}
/** What an item was sold at, from this moment on: one row per change. Real. */
export interface PriceRow {
  item_id: string;
  category: string | null;
  price_cents: number;
  valid_from: string;
}

/** What an importer makes of the rows of one source. `archived` and the rest add up to the rows. */
export interface Outcomes {
  rows: number;
  archived: number;
  /** The same row again. */
  duplicate: number;
  /** The same id with another body; the first wins. */
  conflict: number;
  /** Bad time, no zone, no key, NaN, beyond 2^53, arrived before it happened. */
  invalid: number;
}

export type EventSource = 'orders' | 'interactions' | 'searches' | 'ratings';
export interface Shop {
  orders: OrderRow[];
  interactions: InteractionRow[];
  searches: SearchRow[];
  ratings: RatingRow[];
  listings: ListingRow[];
  prices: PriceRow[];
  outcomes: Record<EventSource, Outcomes>;
  /** The last real purchase; nothing simulated happens after it. */
  lastEventMs: number;
}

// ---------------------------------------------------------------- chance

/** mulberry32: small, fast, the same everywhere. Not for secrets. */
export class Chance {
  #state: number;
  constructor(seed: number) {
    this.#state = seed >>> 0;
  }
  /** In [0, 1). */
  next(): number {
    this.#state = (this.#state + 0x6d2b79f5) >>> 0;
    let t = this.#state;
    t = Math.imul(t ^ (t >>> 15), t | 1);
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
    return ((t ^ (t >>> 14)) >>> 0) / 4_294_967_296;
  }
  /** A whole number from low to high, both inside. */
  whole(low: number, high: number): number {
    return low + Math.floor(this.next() * (high - low + 1));
  }
  is(probability: number): boolean {
    return this.next() < probability;
  }
  pick<T>(items: readonly T[]): T {
    return items[Math.floor(this.next() * items.length)]!;
  }
}

/** Seconds for most, minutes to hours for some, days for a few: never more than 3 days. */
function delay(chance: Chance): number {
  const kind = chance.next();
  if (kind < 0.93) return chance.whole(50, 8 * SECOND);
  if (kind < 0.99) return chance.whole(MINUTE, 6 * HOUR);
  return chance.whole(6 * HOUR, 3 * DAY - 1);
}

const iso = (ms: number): string => new Date(ms).toISOString();

// ---------------------------------------------------------------- the simulation

export function simulate(input: {
  transactions: readonly Transaction[];
  products: readonly Product[];
  seed: number;
}): Shop {
  const world = new World(input.transactions, input.products);
  // A stream of chance per part: changing one part leaves the others as they were.
  const chances = [1, 2, 3, 4, 5, 6].map((part) => new Chance(Math.imul(input.seed, 0x9e3779b1) + part));
  const [ofOrders, ofSessions, ofSearches, ofRatings, ofListings, ofTrouble] = chances as [
    Chance,
    Chance,
    Chance,
    Chance,
    Chance,
    Chance,
  ];
  const orders = trouble(simulateOrders(world, ofOrders), ofTrouble, breakOrder);
  const interactions = trouble(simulateSessions(world, ofSessions), ofTrouble, breakInteraction);
  const searches = trouble(simulateSearches(world, ofSearches), ofTrouble, breakSearch, { again: false });
  const ratings = trouble(simulateRatings(world, ofRatings), ofTrouble, breakRating);
  return {
    orders: orders.rows,
    interactions: interactions.rows,
    searches: searches.rows,
    ratings: ratings.rows,
    listings: simulateListings(world, ofListings),
    prices: realPrices(world),
    outcomes: {
      orders: orders.outcomes,
      interactions: interactions.outcomes,
      searches: searches.outcomes,
      ratings: ratings.outcomes,
    },
    lastEventMs: world.endMs,
  };
}

/** The purchases, looked at from all sides. */
class World {
  readonly transactions: readonly Transaction[];
  readonly endMs: number;
  /** Lines of each basket, in the source's order. All lines of a basket have one household and one time. */
  readonly baskets: ReadonlyArray<readonly Transaction[]>;
  readonly #category: ReadonlyMap<string, string | null>;
  readonly #sold: ReadonlyMap<string, readonly string[]>;
  /** Each item's first purchase. */
  readonly firstSale: ReadonlyMap<string, number>;

  constructor(transactions: readonly Transaction[], products: readonly Product[]) {
    this.transactions = transactions;
    this.#category = new Map(products.map((product) => [product.productId, product.category]));
    const baskets = new Map<string, Transaction[]>();
    const sold = new Map<string, Set<string>>();
    const firstSale = new Map<string, number>();
    let endMs = 0;
    for (const line of transactions) {
      endMs = Math.max(endMs, line.atMs);
      const basket = baskets.get(line.basketId);
      if (basket) basket.push(line);
      else baskets.set(line.basketId, [line]);
      const category = this.categoryOf(line.productId);
      if (category !== null) sold.set(category, (sold.get(category) ?? new Set()).add(line.productId));
      firstSale.set(line.productId, Math.min(firstSale.get(line.productId) ?? line.atMs, line.atMs));
    }
    this.endMs = endMs;
    this.baskets = [...baskets.values()];
    this.#sold = new Map([...sold].map(([category, items]) => [category, [...items]]));
    this.firstSale = firstSale;
  }

  categoryOf(productId: string): string | null {
    return this.#category.get(productId) ?? null;
  }

  /** An item sold in the same category, perhaps the same one. */
  neighbour(productId: string, chance: Chance): string {
    const category = this.categoryOf(productId);
    const items = category === null ? undefined : this.#sold.get(category);
    return items ? chance.pick(items) : productId;
  }
}

function times(atMs: number, chance: Chance): { event_time: string; arrived_time: string } {
  return { event_time: iso(atMs), arrived_time: iso(atMs + delay(chance)) };
}

/** Every purchased line as it is, and a return of some lines of one order in 25. */
function simulateOrders(world: World, chance: Chance): OrderRow[] {
  const rows: OrderRow[] = [];
  const row = (line: Transaction, type: OrderRow['event_type'], atMs: number): OrderRow => ({
    event_id: `${type === 'purchase' ? 'p' : 'r'}-${line.basketId}-${line.productId}`,
    event_type: type,
    user_id: line.householdId,
    item_id: line.productId,
    order_id: line.basketId,
    category: world.categoryOf(line.productId),
    quantity: line.quantity,
    sales_cents: line.salesCents,
    ...times(atMs, chance),
  });
  for (const line of world.transactions) rows.push(row(line, 'purchase', line.atMs)); // the source's order: not that of time
  for (const basket of world.baskets) {
    if (!chance.is(0.04)) continue;
    const atMs = basket[0]!.atMs + chance.whole(DAY, 21 * DAY);
    for (const [index, line] of basket.entries())
      if (line.quantity > 0 && (index === 0 || chance.is(0.4)) && atMs <= world.endMs)
        rows.push(row(line, 'return', atMs));
  }
  return rows;
}

/** Before each order a session: views of what will be bought and of its neighbours, the cart, the checkout. Some leave without buying. */
function simulateSessions(world: World, chance: Chance): InteractionRow[] {
  const rows: InteractionRow[] = [];
  let id = 0;
  const add = (type: InteractionRow['event_type'], user: string, item: string | null, atMs: number): void => {
    if (atMs > world.endMs) return;
    rows.push({
      event_id: `i-${id++}`,
      event_type: type,
      user_id: user,
      item_id: item,
      category: item === null ? null : world.categoryOf(item),
      dwell_ms: type === 'view' ? dwell(chance) : null,
      ...times(atMs, chance),
    });
  };
  for (const basket of world.baskets) {
    const { householdId: user, atMs: checkoutMs } = basket[0]!;
    const startMs = checkoutMs - chance.whole(4 * MINUTE, 40 * MINUTE);
    for (const line of basket) {
      // one view of the item itself close before it goes into the cart, two or three around it
      const addMs = chance.whole(startMs + MINUTE, checkoutMs - SECOND);
      add('view', user, line.productId, addMs - chance.whole(2 * SECOND, 50 * SECOND));
      for (let n = chance.whole(1, 3); n > 0; n--)
        add(
          'view',
          user,
          world.neighbour(line.productId, chance),
          chance.whole(startMs, checkoutMs - SECOND),
        );
      add('cart_add', user, line.productId, addMs);
      if (chance.is(0.06)) {
        const other = world.neighbour(line.productId, chance);
        const otherMs = chance.whole(startMs, addMs);
        add('cart_add', user, other, otherMs);
        if (other !== line.productId)
          add('cart_remove', user, other, chance.whole(otherMs + SECOND, addMs + MINUTE));
      }
    }
    add('checkout', user, null, checkoutMs);
    if (chance.is(0.2)) {
      // a visit after the order that ends without one: what is put into the cart stays there
      const visitMs = checkoutMs + chance.whole(HOUR, 3 * DAY);
      for (const line of basket.slice(0, 3)) {
        const other = world.neighbour(line.productId, chance);
        const seenMs = visitMs + chance.whole(0, 20 * MINUTE);
        add('view', user, other, seenMs);
        if (chance.is(0.5)) add('cart_add', user, other, seenMs + chance.whole(SECOND, MINUTE));
      }
    }
  }
  return rows;
}

/** Half a second to two minutes, mostly around ten seconds. */
function dwell(chance: Chance): number {
  return 500 + Math.floor(120_000 * (chance.next() * chance.next() * chance.next()));
}

/** Before two orders in five a search or two for a word of the category of something bought. */
function simulateSearches(world: World, chance: Chance): SearchRow[] {
  const rows: SearchRow[] = [];
  for (const basket of world.baskets) {
    if (!chance.is(0.4)) continue;
    const { householdId, atMs } = basket[0]!;
    for (let n = chance.whole(1, 2); n > 0; n--) {
      const words = (world.categoryOf(chance.pick(basket).productId) ?? '').toLowerCase().match(/[a-z]{3,}/g);
      if (!words) continue;
      const term = words.length > 1 && chance.is(0.5) ? words.slice(0, 2).join(' ') : chance.pick(words);
      // people write as they like: the hash feature is of the lower case
      const written = chance.is(0.1) ? term.slice(0, 1).toUpperCase() + term.slice(1) : term;
      rows.push({
        user_id: householdId,
        term: written,
        ...times(atMs - chance.whole(MINUTE, 45 * MINUTE), chance),
      });
    }
  }
  return rows;
}

/** One line in five is rated within a month; an item has its own quality. */
function simulateRatings(world: World, chance: Chance): RatingRow[] {
  const rows: RatingRow[] = [];
  const quality = new Map<string, number>();
  for (const line of world.transactions) {
    if (!chance.is(0.22)) continue;
    const atMs = line.atMs + chance.whole(DAY, 30 * DAY);
    const mean = quality.get(line.productId) ?? 2.5 + 2.3 * chance.next();
    quality.set(line.productId, mean);
    const stars = Math.min(5, Math.max(1, Math.round(mean + 1.6 * (chance.next() + chance.next() - 1))));
    if (atMs > world.endMs) continue;
    rows.push({
      event_id: `s-${line.basketId}-${line.productId}`,
      item_id: line.productId,
      user_id: line.householdId,
      stars,
      ...times(atMs, chance),
    });
  }
  return rows;
}

/** Each item sold was put on sale one to 200 days before its first purchase. */
function simulateListings(world: World, chance: Chance): ListingRow[] {
  return [...world.firstSale].map(([item, firstMs]) => ({
    event_id: `l-${item}`,
    item_id: item,
    category: world.categoryOf(item),
    listed_at: iso(firstMs - chance.whole(DAY, 200 * DAY)),
  }));
}

/**
 * Real: the value of a line over its quantity, one row whenever it changed. Lines of quantity 0 have no price, lines of value 0
 * (paid by coupons) no list price. To a hundredth of a cent: fuel is sold in thousandths of a gallon.
 */
function realPrices(world: World): PriceRow[] {
  const current = new Map<string, number>();
  const rows: PriceRow[] = [];
  for (const line of [...world.transactions].sort((a, b) => a.atMs - b.atMs)) {
    if (line.quantity <= 0 || line.salesCents <= 0) continue;
    const price = Math.round((line.salesCents / line.quantity) * 100) / 100;
    if (price === 0 || current.get(line.productId) === price) continue;
    current.set(line.productId, price);
    rows.push({
      item_id: line.productId,
      category: world.categoryOf(line.productId),
      price_cents: price,
      valid_from: iso(line.atMs),
    });
  }
  return rows;
}

// ---------------------------------------------------------------- how it arrives

/** Every way to break a row of a source, each once or more. `conflict` changes its body and keeps its id. */
interface Breakage<R> {
  invalid: ReadonlyArray<(row: R) => R>;
  conflict: (row: R) => R;
}

const zoneless = (time: string): string => time.replace('Z', '');
const earlier = (time: string): string => iso(Date.parse(time) - HOUR);

const breakOrder: Breakage<OrderRow> = {
  invalid: [
    (row) => ({ ...row, event_time: '2017-02-30T10:00:00Z' }),
    (row) => ({ ...row, event_time: zoneless(row.event_time) }),
    (row) => ({ ...row, user_id: null }),
    (row) => ({ ...row, quantity: 'NaN' }),
    (row) => ({ ...row, sales_cents: '9223372036854775808' }),
    (row) => ({ ...row, sales_cents: '12.5' }),
    (row) => ({ ...row, arrived_time: earlier(row.event_time) }), // known an hour before it happened
  ],
  conflict: (row) => ({ ...row, quantity: Number(row.quantity) + 1 }),
};
const breakInteraction: Breakage<InteractionRow> = {
  invalid: [
    (row) => ({ ...row, event_time: 'yesterday' }),
    (row) => ({ ...row, event_time: zoneless(row.event_time) }),
    (row) => ({ ...row, user_id: null }),
    (row) => ({ ...row, dwell_ms: 'NaN' }),
    (row) => ({ ...row, dwell_ms: '1e400' }),
    (row) => ({ ...row, arrived_time: earlier(row.event_time) }),
  ],
  conflict: (row) => ({
    ...row,
    event_type: row.event_type === 'view' ? 'cart_add' : 'view',
    dwell_ms: null,
  }),
};
const breakSearch: Breakage<SearchRow> = {
  invalid: [
    (row) => ({ ...row, user_id: null }),
    (row) => ({ ...row, event_time: String(Date.parse(row.event_time)) }), // seconds or milliseconds?
    (row) => ({ ...row, arrived_time: '' }),
  ],
  conflict: (row) => row,
};
const breakRating: Breakage<RatingRow> = {
  invalid: [
    (row) => ({ ...row, item_id: null }),
    (row) => ({ ...row, arrived_time: earlier(row.event_time) }),
  ],
  conflict: (row) => ({ ...row, stars: row.stars === 1 ? 5 : 1 }),
};

/**
 * The rows as they reach the file: nearly in the order of arrival, in blocks that are shuffled; one in 500 delivered twice (the
 * second at most some thousand rows later), one in 10,000 again with another body, and broken copies under ids of their own.
 */
function trouble<R extends { event_time: string; arrived_time: string }>(
  clean: readonly R[],
  chance: Chance,
  breakage: Breakage<R>,
  { again = true } = {},
): { rows: R[]; outcomes: Outcomes } {
  const arrived = clean
    .map((row) => ({ row, at: Date.parse(row.arrived_time) }))
    .sort((a, b) => a.at - b.at)
    .map(({ row }) => row);
  shuffleBlocks(arrived, chance);
  const later = new Map<number, R[]>();
  const put = (index: number, row: R): void => {
    const place = Math.min(arrived.length - 1, index);
    later.set(place, [...(later.get(place) ?? []), row]);
  };
  const outcomes: Outcomes = { rows: 0, archived: clean.length, duplicate: 0, conflict: 0, invalid: 0 };
  for (const [index, row] of arrived.entries()) {
    if (!again) break;
    const fate = chance.next();
    if (fate < 0.002) {
      put(index + chance.whole(0, 3_000), row);
      outcomes.duplicate++;
    } else if (fate < 0.0021) {
      put(index + chance.whole(0, 3_000), breakage.conflict(row));
      outcomes.conflict++;
    }
  }
  for (const broken of breakage.invalid)
    for (let n = 0; n < 3; n++) {
      const index = chance.whole(0, arrived.length - 1);
      const row = arrived[index]!;
      put(index, broken('event_id' in row ? { ...row, event_id: `x-${outcomes.invalid}` } : row));
      outcomes.invalid++;
    }
  const rows: R[] = [];
  for (const [index, row] of arrived.entries()) {
    rows.push(row);
    for (const more of later.get(index) ?? []) rows.push(more);
  }
  outcomes.rows = rows.length;
  return { rows, outcomes };
}

/** Fisher and Yates within blocks of 500. */
function shuffleBlocks<T>(items: T[], chance: Chance): void {
  const size = 500;
  for (let start = 0; start < items.length; start += size)
    for (let i = Math.min(start + size, items.length) - 1; i > start; i--) {
      const j = chance.whole(start, i);
      [items[i], items[j]] = [items[j]!, items[i]!];
    }
}

// ---------------------------------------------------------------- reading the source

/** Beside this file in the repository; under dist/ the data stays where it is. */
function dataDirectory(): string {
  const beside = fileURLToPath(new URL('./data/', import.meta.url));
  return existsSync(beside)
    ? beside
    : fileURLToPath(new URL('../../../examples/shop/data/', import.meta.url));
}

/** The real purchases and products. The files hold no quotes and no line breaks: a row is its line cut at the commas. */
export async function readSource(
  directory = dataDirectory(),
): Promise<{ transactions: Transaction[]; products: Product[] }> {
  const transactions: Transaction[] = [];
  await eachRow(join(directory, 'transactions_sample.csv.gz'), (row) => {
    transactions.push({
      householdId: row('household_id'),
      basketId: row('basket_id'),
      productId: row('product_id'),
      quantity: Number(row('quantity')),
      salesCents: Math.round(Number(row('sales_value')) * 100),
      atMs: Date.parse(row('transaction_timestamp')),
    });
  });
  const products: Product[] = [];
  await eachRow(join(directory, 'products.csv.gz'), (row) => {
    products.push({ productId: row('product_id'), category: row('product_category') || null });
  });
  return { transactions, products };
}

async function eachRow(path: string, take: (cell: (column: string) => string) => void): Promise<void> {
  const lines = createInterface({
    input: createReadStream(path).pipe(createGunzip()),
    crlfDelay: Number.POSITIVE_INFINITY,
  });
  let header: Map<string, number> | null = null;
  for await (const line of lines) {
    const cells = line.split(',');
    if (header === null) {
      header = new Map(cells.map((name, index) => [name, index]));
      continue;
    }
    if (cells.length !== header.size) throw new Error(`${path}: a row of ${cells.length} cells: ${line}`);
    const columns = header;
    take((column) => {
      const index = columns.get(column);
      if (index === undefined) throw new Error(`${path} has no column "${column}"`);
      return cells[index]!;
    });
  }
}

// ---------------------------------------------------------------- writing files

export interface WrittenShop {
  files: Array<{
    source: EventSource;
    format: 'csv' | 'arrow';
    path: string;
    rows: number;
    outcomes: Outcomes;
  }>;
  /** For the shop's own database: see tables.ts. */
  listings: ListingRow[];
  prices: PriceRow[];
  lastEventMs: number;
}

/** Simulates and writes one file per event source into the directory. */
export async function writeShop(
  directory: string,
  { seed = DEFAULT_SEED }: { seed?: number } = {},
): Promise<WrittenShop> {
  return writeFiles(directory, simulate({ ...(await readSource()), seed }));
}

export async function writeFiles(directory: string, shop: Shop): Promise<WrittenShop> {
  await mkdir(directory, { recursive: true });
  const files: WrittenShop['files'] = [];
  for (const source of ['orders', 'interactions', 'searches', 'ratings'] as const) {
    const format = source === 'ratings' ? 'arrow' : 'csv';
    const path = join(directory, `${source}.${format}`);
    if (source === 'ratings') await writeFile(path, ratingsArrow(shop.ratings));
    else await writeCsv(path, shop[source]);
    files.push({ source, format, path, rows: shop[source].length, outcomes: shop.outcomes[source] });
  }
  return { files, listings: shop.listings, prices: shop.prices, lastEventMs: shop.lastEventMs };
}

async function writeCsv(path: string, rows: readonly object[]): Promise<void> {
  const columns = Object.keys(rows[0] ?? {});
  function* text(): Generator<string> {
    let chunk = `${columns.join(',')}\n`;
    for (const row of rows as ReadonlyArray<Readonly<Record<string, Cell>>>) {
      chunk += `${columns.map((column) => csvCell(row[column] ?? null)).join(',')}\n`;
      if (chunk.length > 65_536) {
        yield chunk;
        chunk = '';
      }
    }
    yield chunk;
  }
  await pipeline(text, createWriteStream(path));
}

function csvCell(cell: Cell): string {
  const text = cell === null ? '' : String(cell);
  return /[",\n\r]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
}

/** Arrow IPC, file format. */
function ratingsArrow(rows: readonly RatingRow[]): Uint8Array {
  const column = <T extends DataType>(type: T, cell: (row: RatingRow) => T['TValue'] | null): Vector<T> =>
    vectorFromArray(rows.map(cell), type);
  const utc = new TimestampMicrosecond('UTC');
  const table = new Table({
    event_id: column(new Utf8(), (row) => row.event_id),
    item_id: column(new Utf8(), (row) => row.item_id),
    user_id: column(new Utf8(), (row) => row.user_id),
    stars: column(new Int64(), (row) => BigInt(row.stars)),
    event_time: column(utc, (row) => Date.parse(row.event_time)),
    arrived_time: column(utc, (row) => Date.parse(row.arrived_time)),
  });
  return tableToIPC(table, 'file');
}

// ---------------------------------------------------------------- moving it to now

/** The smallest whole number of weeks, in milliseconds, after which the last event is at or after now: the data ends now. */
export function wholeWeekShift(lastEventMs: number, nowMs: number): number {
  return Math.ceil((nowMs - lastEventMs) / WEEK) * WEEK + 0; // + 0: no negative zero
}

if (process.argv[1] !== undefined && fileURLToPath(import.meta.url) === process.argv[1]) {
  const [directory, seed] = process.argv.slice(2);
  if (directory === undefined) throw new Error('usage: simulate <directory> [seed]');
  const written = await writeShop(directory, seed === undefined ? {} : { seed: Number(seed) });
  for (const { path, rows } of written.files) console.log(`${path}: ${rows} rows`);
}
