/**
 * The shop's own tables in Postgres: listings (simulated, imported as events) and prices (real, read by the SQL view).
 * They are the shop's, not the platform's: schema `shop`, reached by SHOP_DATABASE_URL.
 */
import pg from 'pg';
import type { ListingRow, PriceRow } from './simulate.js';

const DDL = `
  create schema if not exists shop;
  create table if not exists shop.listings (
    event_id text primary key,
    item_id text not null,
    category text,
    listed_at timestamptz not null
  );
  comment on table shop.listings is 'simulated: when an item was put on sale';
  create table if not exists shop.prices (
    item_id text not null,
    category text,
    price_cents numeric(14, 2) not null check (price_cents > 0),
    valid_from timestamptz not null,
    primary key (item_id, valid_from)
  );
  comment on table shop.prices is 'real: value over quantity of a purchase, one row per change';
  create table if not exists shop.loaded (
    one boolean primary key default true check (one),
    shift_ms bigint not null
  );
  comment on table shop.loaded is 'by how much the times of this schema were shifted from those of the source';`;

/** Creates the tables and replaces what they hold, in one transaction. Times are shifted like those of the imported files. */
export async function loadShopTables(
  postgresUrl: string,
  rows: { listings: readonly ListingRow[]; prices: readonly PriceRow[] },
  shiftMs: number,
): Promise<void> {
  const client = new pg.Client({
    connectionString: postgresUrl,
    connectionTimeoutMillis: 10_000,
    statement_timeout: 60_000,
    query_timeout: 65_000,
  });
  await client.connect();
  try {
    const shifted = (time: string): string => new Date(Date.parse(time) + shiftMs).toISOString();
    await client.query('begin');
    await client.query("select pg_advisory_xact_lock(hashtext('shop'))"); // two loads at once wait for each other
    await client.query(DDL);
    await client.query('truncate shop.listings, shop.prices, shop.loaded');
    await client.query(
      'insert into shop.listings select * from unnest($1::text[], $2::text[], $3::text[], $4::timestamptz[])',
      [
        rows.listings.map((row) => row.event_id),
        rows.listings.map((row) => row.item_id),
        rows.listings.map((row) => row.category),
        rows.listings.map((row) => shifted(row.listed_at)),
      ],
    );
    await client.query(
      'insert into shop.prices select * from unnest($1::text[], $2::text[], $3::numeric[], $4::timestamptz[])',
      [
        rows.prices.map((row) => row.item_id),
        rows.prices.map((row) => row.category),
        rows.prices.map((row) => row.price_cents),
        rows.prices.map((row) => shifted(row.valid_from)),
      ],
    );
    await client.query('insert into shop.loaded (shift_ms) values ($1)', [shiftMs]);
    await client.query('commit');
  } finally {
    await client.end(); // an open transaction is rolled back with it
  }
}
