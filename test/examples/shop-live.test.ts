/** The shop's live hour: the same from one seed, ending when it says, troubled exactly as it says. */
import { describe, expect, test } from 'vitest';
import { columnNames } from '../../core/event.js';
import { createIngest } from '../../core/ingest.js';
import definitions from '../../examples/shop/features.js';
import { countMade, type LiveMessage, type LiveShop, liveHour } from '../../examples/shop/live.js';

const MINUTE = 60_000;
const HOUR = 60 * MINUTE;
const DAY = 24 * HOUR;
const END = Date.parse('2026-11-21T12:00:00.000Z');
const SOURCES = ['interactions', 'searches', 'orders'] as const;

const items = Array.from({ length: 300 }, (_, i) => ({
  item: `i${i}`,
  category: `WORD${'ABCDE'[i % 5]} OTHER`,
  priceCents: 100 + i,
}));
const shop: LiveShop = {
  users: Array.from({ length: 200 }, (_, i) => ({ user: `u${i}`, items: [`i${i}`, `i${i + 50}`] })),
  items,
};
const options = { shop, asked: 'u7', seed: 42, startMs: END - HOUR, endMs: END };
const messages = liveHour(options);
const parsed = (message: LiveMessage): Record<string, unknown> => JSON.parse(message.body);

test('the same for the same seed, relative to the end; another for another seed', () => {
  expect(liveHour(options)).toEqual(messages);
  const moved = liveHour({ ...options, startMs: options.startMs + DAY, endMs: END + DAY });
  expect(moved.map(({ atMs, eventMs }) => [atMs - DAY, eventMs - DAY])).toEqual(
    messages.map(({ atMs, eventMs }) => [atMs, eventMs]),
  );
  expect(liveHour({ ...options, seed: 43 })).not.toEqual(messages);
});

test('in the order of production, from start to end, and nothing happens after it is produced', () => {
  expect(messages.length).toBeGreaterThan(2_000);
  let before = options.startMs;
  for (const { atMs, eventMs } of messages) {
    expect(atMs).toBeGreaterThanOrEqual(before);
    expect(eventMs).toBeLessThanOrEqual(atMs);
    before = atMs;
  }
});

test('ends with a view by the user who is asked about, at the end', () => {
  const last = messages.at(-1)!;
  expect(last).toMatchObject({ user: 'u7', eventMs: END, atMs: END, source: 'interactions', isNewest: true });
  expect(parsed(last)).toMatchObject({ event_type: 'view', event_time: '2026-11-21T12:00:00.000Z' });
  const own = messages.filter(({ user, kind }) => user === 'u7' && kind === 'event');
  const types = own.map((each) => (each.source === 'searches' ? 'search' : parsed(each).event_type));
  expect(new Set(types)).toEqual(new Set(['view', 'cart_add', 'search']));
});

test('every kind of trouble is in it', () => {
  const counts = countMade(messages);
  expect(counts.events).toBe(messages.length);
  const { archived, duplicate, conflict, invalid, tooLate } = counts;
  expect(archived + duplicate + conflict + invalid + tooLate).toBe(messages.length);
  for (const count of Object.values(counts)) expect(count).toBeGreaterThan(0);
  const late = messages.filter(({ kind }) => kind === 'late');
  expect(late.some(({ eventMs }) => eventMs < options.startMs)).toBe(true);
  expect(messages.some(({ kind }) => kind === 'reordered')).toBe(true);
});

describe.each(SOURCES)('%s, taken in one by one', (name) => {
  const source = definitions.sources.find((each) => each.name === name)!;
  const columns = columnNames(source);
  const ingest = createIngest(source, {
    form: 'json', shiftMs: 0, untilMs: Number.POSITIVE_INFINITY, importedMs: null,
  }); // biome-ignore format: one thing
  const own = messages.filter((each) => each.source === name);

  test('have the outcomes they were made for', () => {
    const seen = new Map<string, string>();
    let greatest = Number.NEGATIVE_INFINITY;
    const found = own.map((message) => {
      let row: unknown;
      try {
        row = JSON.parse(message.body);
      } catch {
        return 'invalid';
      }
      if (Array.isArray(row)) return 'invalid';
      const result = ingest(columns.map((column) => (row as Record<string, unknown>)[column]));
      if (result.outcome !== 'event') return 'invalid';
      const { timestamp, id, values } = result.event;
      if (timestamp > message.atMs) return 'invalid';
      if (id === null && timestamp < options.startMs) return 'invalid';
      expect(timestamp).toBe(message.eventMs);
      const known = id === null ? undefined : seen.get(id);
      const body = JSON.stringify(values.filter((_, i) => columns[i] !== 'arrived_time'));
      if (known !== undefined) return known === body ? 'duplicate' : 'conflict';
      if (timestamp < greatest - source.allowedLatenessMs) return 'tooLate';
      if (id !== null) seen.set(id, body);
      greatest = Math.max(greatest, timestamp);
      return 'archived';
    });
    const made = own.map(({ kind }) => (['event', 'reordered', 'late'].includes(kind) ? 'archived' : kind));
    expect(found).toEqual(made);
  });

  test('a newest event is newer than all before it of its user', () => {
    const newest = new Map<string, number>();
    for (const { kind, user, eventMs, isNewest } of own) {
      if (!['event', 'reordered', 'late'].includes(kind)) {
        expect(isNewest).toBe(false);
        continue;
      }
      expect(isNewest).toBe(eventMs > (newest.get(user) ?? Number.NEGATIVE_INFINITY));
      newest.set(user, Math.max(newest.get(user) ?? eventMs, eventMs));
    }
  });
});
