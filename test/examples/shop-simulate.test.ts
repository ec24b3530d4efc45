/** The shop's data: the same from one seed, true to the purchases, and troubled exactly as it says. */
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { tableFromIPC } from 'apache-arrow';
import { beforeAll, describe, expect, test } from 'vitest';
import { columnNames } from '../../core/event.js';
import { createIngest } from '../../core/ingest.js';
import definitions from '../../examples/shop/features.js';
import {
  DEFAULT_SEED,
  type EventSource,
  readSource,
  type Shop,
  simulate,
  type Transaction,
  wholeWeekShift,
  writeFiles,
} from '../../examples/shop/simulate.js';

const HOUR = 3_600_000;
const WEEK = 7 * 24 * HOUR;
let real: Awaited<ReturnType<typeof readSource>>;
let shop: Shop;
beforeAll(async () => {
  real = await readSource();
  shop = simulate({ ...real, seed: DEFAULT_SEED });
});

type Row = Readonly<Record<string, string | number | null>>;
const rowsOf = (source: EventSource): readonly Row[] => shop[source] as unknown as readonly Row[];
const SOURCES = ['orders', 'interactions', 'searches', 'ratings'] as const;

describe('the real part', () => {
  test('is the whole of the source, exact to the cent', () => {
    expect(real.transactions).toHaveLength(75_000);
    expect(real.products).toHaveLength(92_331);
    expect(new Set(real.transactions.map((line) => line.householdId)).size).toBe(2_377);
    expect(real.transactions[0]).toEqual({
      householdId: '2261',
      basketId: '31625220889',
      productId: '940996',
      quantity: 1,
      salesCents: 386,
      atMs: Date.parse('2017-01-28T19:06:53Z'),
    });
    expect(real.transactions.filter((line) => line.quantity === 0)).toHaveLength(416);
    expect(real.transactions.every((line) => Number.isSafeInteger(line.salesCents))).toBe(true);
    expect(new Date(shop.lastEventMs).toISOString()).toBe('2018-01-01T03:47:38.000Z');
  });

  test('goes into the orders unchanged', () => {
    const bought = new Map<string, Row>();
    for (const row of rowsOf('orders'))
      if (
        row.event_type === 'purchase' &&
        String(row.event_id).startsWith('p-') &&
        !bought.has(String(row.event_id))
      )
        bought.set(String(row.event_id), row);
    expect(bought.size).toBe(75_000);
    for (const line of real.transactions) {
      const row = bought.get(`p-${line.basketId}-${line.productId}`)!;
      const same =
        row.user_id === line.householdId &&
        row.sales_cents === line.salesCents &&
        row.quantity === line.quantity &&
        Date.parse(String(row.event_time)) === line.atMs;
      if (!same) expect(row).toEqual(line);
    }
  });

  test('prices are value over quantity, one row per change', () => {
    const last = new Map<string, number>();
    expect(new Set(shop.prices.map((row) => `${row.item_id} ${row.valid_from}`)).size).toBe(
      shop.prices.length,
    );
    for (const { item_id, price_cents } of shop.prices) {
      expect(price_cents).toBeGreaterThan(0);
      expect(last.get(item_id)).not.toBe(price_cents);
      last.set(item_id, price_cents);
    }
    const [first] = shop.prices;
    expect(
      real.transactions.some(
        (line) => line.productId === first?.item_id && line.salesCents / line.quantity === first.price_cents,
      ),
    ).toBe(true);
  });
});

describe('the simulated part', () => {
  test('nothing happens after the last purchase', () => {
    for (const source of SOURCES)
      for (const row of rowsOf(source)) {
        const at = Date.parse(String(row.event_time));
        if (at > shop.lastEventMs) expect(row).toBe('not after the last purchase');
      }
  });

  test('returns, carts and checkouts follow the orders', () => {
    const types = (source: EventSource): Record<string, number> => {
      const counts: Record<string, number> = {};
      for (const row of rowsOf(source))
        counts[String(row.event_type)] = (counts[String(row.event_type)] ?? 0) + 1;
      return counts;
    };
    expect(types('orders')).toMatchObject({
      purchase: expect.toSatisfy((n: number) => n > 75_000),
      return: expect.toSatisfy((n: number) => n > 1_500 && n < 3_500),
    });
    const { view, cart_add, cart_remove, checkout } = types('interactions');
    expect(view! / 75_000).toBeGreaterThan(3);
    expect(view! / 75_000).toBeLessThan(4);
    expect(cart_add).toBeGreaterThan(75_000);
    expect(cart_remove).toBeGreaterThan(3_000);
    expect(checkout).toBeGreaterThanOrEqual(47_243);
    const total = SOURCES.reduce((sum, source) => sum + shop[source].length, shop.listings.length);
    expect(total).toBeGreaterThan(450_000);
    expect(total).toBeLessThan(600_000);
  });

  test('an item is listed before it is first bought', () => {
    const listed = new Map(shop.listings.map((row) => [row.item_id, Date.parse(row.listed_at)]));
    expect(real.transactions.every((line) => listed.get(line.productId)! <= line.atMs - 24 * HOUR)).toBe(
      true,
    );
  });

  test('most arrives within seconds, some within hours, little within days; in no order of time', () => {
    const delays = rowsOf('interactions')
      .map((row) => Date.parse(String(row.arrived_time)) - Date.parse(String(row.event_time)))
      .filter((delay) => delay >= 0)
      .sort((a, b) => a - b);
    expect(delays[Math.floor(delays.length * 0.9)]).toBeLessThan(10_000);
    expect(delays[Math.floor(delays.length * 0.985)]).toBeLessThanOrEqual(6 * HOUR);
    expect(delays.at(-1)).toBeLessThan(72 * HOUR);
    expect(delays.at(-1)).toBeGreaterThan(60 * HOUR);
    const times = rowsOf('interactions').map((row) => Date.parse(String(row.event_time)));
    const backwards = times.filter((time, index) => index > 0 && time < times[index - 1]!).length;
    expect(backwards / times.length).toBeGreaterThan(0.3);
  });
});

test.each(SOURCES)('%s: an importer counts what the simulation says', (name) => {
  const source = definitions.sources.find((item) => item.name === name)!;
  const arrow = source.input.type === 'file' && source.input.format === 'arrow';
  const columns = columnNames(source);
  const ingest = createIngest(source, {
    form: arrow ? 'typed' : 'text',
    shiftMs: 0,
    untilMs: Date.parse('2019-01-01T00:00:00Z'),
    importedMs: Date.parse('2019-01-01T00:00:00Z'),
  });
  const cell = (row: Row, column: string): unknown => {
    const value = row[column] ?? null;
    if (arrow) return source.columns[column]!.type === 'timestamp' ? Date.parse(String(value)) : value;
    return value === null || value === '' ? null : String(value);
  };
  const seen = new Map<string, string>();
  const counts = { rows: 0, archived: 0, duplicate: 0, conflict: 0, invalid: 0 };
  for (const row of rowsOf(name)) {
    counts.rows++;
    const result = ingest(columns.map((column) => cell(row, column)));
    if (result.outcome !== 'event') {
      counts.invalid++;
      continue;
    }
    const { id, values } = result.event;
    const body = values.map(String).join('\n');
    const known = id === null ? undefined : seen.get(id);
    if (known === undefined) counts.archived++;
    else if (known === body) counts.duplicate++;
    else counts.conflict++;
    if (id !== null && known === undefined) seen.set(id, body);
  }
  expect(counts).toEqual(shop.outcomes[name]);
  if (source.id !== null) {
    expect(counts.duplicate).toBeGreaterThan(20);
    expect(counts.conflict).toBeGreaterThan(0);
  }
  expect(counts.invalid).toBeGreaterThan(0);
});

describe('one seed, one shop', () => {
  const small = (): { transactions: readonly Transaction[]; products: typeof real.products } => ({
    transactions: real.transactions.slice(0, 2_000),
    products: real.products,
  });
  test('the same seed gives the same rows', () =>
    expect(simulate({ ...small(), seed: 7 })).toEqual(simulate({ ...small(), seed: 7 })));
  test('another seed gives another shop around the same purchases', () => {
    const [a, b] = [simulate({ ...small(), seed: 7 }), simulate({ ...small(), seed: 8 })];
    expect(a.interactions).not.toEqual(b.interactions);
    expect(a.prices).toEqual(b.prices);
  });
  test('the purchases are left as they were', () => {
    const { transactions, products } = small();
    const before = JSON.stringify(transactions);
    simulate({ transactions, products, seed: 7 });
    expect(JSON.stringify(transactions)).toBe(before);
  });
});

test('the files hold what simulate made', async () => {
  const directory = await mkdtemp(join(tmpdir(), 'shop '));
  try {
    const shop = simulate({
      transactions: real.transactions.slice(0, 2_000),
      products: real.products,
      seed: 7,
    });
    const written = await writeFiles(directory, shop);
    expect(written.files.map(({ source, format, rows }) => [source, format, rows])).toEqual(
      SOURCES.map((source) => [source, source === 'ratings' ? 'arrow' : 'csv', shop[source].length]),
    );
    expect(written.lastEventMs).toBe(shop.lastEventMs);
    const csv = (await readFile(join(directory, 'searches.csv'), 'utf8')).split('\n');
    expect(csv[0]).toBe('user_id,term,event_time,arrived_time');
    expect(csv).toHaveLength(shop.searches.length + 2);
    const table = tableFromIPC(await readFile(join(directory, 'ratings.arrow')));
    expect(table.schema.fields.map((field) => `${field.name} ${String(field.type)}`)).toEqual([
      'event_id Utf8',
      'item_id Utf8',
      'user_id Utf8',
      'stars Int64',
      'event_time Timestamp<MICROSECOND, UTC>',
      'arrived_time Timestamp<MICROSECOND, UTC>',
    ]);
    expect(table.numRows).toBe(shop.ratings.length);
    expect(table.get(0)?.toJSON()).toEqual({
      ...shop.ratings[0],
      stars: BigInt(shop.ratings[0]!.stars),
      event_time: Date.parse(shop.ratings[0]!.event_time),
      arrived_time: Date.parse(shop.ratings[0]!.arrived_time),
    });
  } finally {
    await rm(directory, { recursive: true });
  }
});

test.each([
  { last: 0, now: 0, weeks: 0, why: 'already now' },
  { last: 0, now: 1, weeks: 1, why: 'a week is the least step' },
  { last: 0, now: WEEK, weeks: 1, why: 'exactly' },
  { last: 0, now: WEEK + 1, weeks: 2, why: 'at or after now, never before' },
  { last: WEEK, now: 1, weeks: 0, why: 'already after now, by less than a week' },
  { last: 3 * WEEK, now: WEEK, weeks: -2, why: 'backwards too' },
])('the shift is $weeks weeks: $why', ({ last, now, weeks }) => {
  expect(wholeWeekShift(last, now)).toBe(weeks * WEEK + 0);
});
