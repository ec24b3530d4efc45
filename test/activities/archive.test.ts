import fc from 'fast-check';
import { expect, test } from 'vitest';
import {
  type ArchiveRow,
  appendEvents,
  archiveBound,
  countEvents,
  type EntityEvents,
  hashRanges,
  lockArchiveShared,
  MAX_HASH,
  MIN_HASH,
  nextSequence,
  type OneEntity,
  readEntity,
  readEvents,
  readSample,
} from '../../activities/offline/archive.js';
import { decodeKey, encodeKey } from '../../core/codec/key.js';
import type { Entity, Source } from '../../core/definition.js';
import { columnNames, compareEvents, type Event, type Value } from '../../core/event.js';
import { positionId } from '../../core/ingest.js';
import { transaction } from '../../registry/sql.js';
import { createArchive, createKeyIndex } from '../../registry/tables.js';
import { createEnvironment } from '../workflows/environment.js';

const { deps } = await createEnvironment({ temporal: false });
const { pool } = deps;

const entity: Entity = {
  name: 'pair',
  description: 'a composite key',
  owner: 'test',
  tags: [],
  keys: [
    { name: 'text', type: 'string' },
    { name: 'number', type: 'int64' },
  ],
};
const source: Source = {
  name: 'events',
  description: 'events',
  owner: 'test',
  tags: [],
  origin: null,
  kind: 'append',
  input: { type: 'file', format: 'csv' },
  columns: {
    at: { type: 'timestamp', nullable: false },
    name: { type: 'string', nullable: true },
    number: { type: 'int64', nullable: true },
    amount: { type: 'float64', nullable: true },
    flag: { type: 'bool', nullable: true },
    'odd "name"': { type: 'string', nullable: true },
    texts: { type: 'list<string>', nullable: true },
    wholes: { type: 'list<int64>', nullable: true },
    vector: { type: 'list<float64>', nullable: true, length: 2 },
  },
  eventTime: 'at',
  arrival: null,
  id: null,
  sequence: null,
  arrivalDelayMs: 0,
  allowedLatenessMs: 0,
  maxFutureMs: 0,
  dedupeMs: 0,
  retentionMs: null,
};
const of: EntityEvents = { source, entity, keyColumns: ['name', 'number'] };
const names = columnNames(source);
let partition = 0;

await transaction(pool, async (client) => {
  await createArchive(client, source);
  await createKeyIndex(client, source, entity, [...of.keyColumns]);
});

interface Given {
  timestamp: number;
  order: Event['order'];
  values: Record<string, Value>;
}

async function archive(given: readonly Given[]): Promise<Event[]> {
  partition -= 1;
  return transaction(pool, async (client) => {
    await lockArchiveShared(client);
    const sequence = await nextSequence(client);
    const rows = given.map(({ timestamp, order, values }, offset): ArchiveRow => {
      const event: Event = {
        timestamp,
        arrivedAt: timestamp + offset,
        sequence,
        order,
        id: positionId(partition, offset),
        values: names.map((name) => (name === 'at' ? timestamp : (values[name] ?? null))),
      };
      return { partition, offset, arrivalAssumed: offset % 2 === 0, event };
    });
    await appendEvents(client, source, rows);
    return rows.map(({ event }) => event);
  });
}

async function all(options: Partial<Parameters<typeof readEvents>[2]> = {}): Promise<OneEntity[]> {
  const found: OneEntity[] = [];
  for await (const one of readEvents(pool, of, { sequence: Number.MAX_SAFE_INTEGER, ...options }))
    found.push(one);
  return found;
}

/** Ten lines that group by encoded key, as a person would. */
function grouped(events: readonly Event[]): Map<string, Event[]> {
  const groups = new Map<string, Event[]>();
  for (const event of events) {
    const parts = of.keyColumns.map((column) => event.values[names.indexOf(column)]!);
    if (parts.some((part) => part === null) || String(parts[0]).length > 1024) continue;
    const key = Buffer.from(encodeKey(entity, parts)).toString('hex');
    groups.set(key, [...(groups.get(key) ?? []), event].sort(compareEvents));
  }
  return groups;
}
const byKey = (found: readonly OneEntity[]) =>
  new Map(found.map(({ key, events }) => [Buffer.from(key).toString('hex'), events]));

const text = fc.oneof(
  fc.constantFrom(
    'a',
    'b',
    'é',
    'e\u0301',
    '',
    'tab\there',
    'line\nend\r',
    'back\\slash\\N',
    '"quoted"',
    '😀',
  ),
  fc.string({ unit: 'grapheme', maxLength: 8 }).filter((value) => !value.includes('\0')),
);
const double = fc.double({ noNaN: true, noDefaultInfinity: true }).map((value) => value + 0);
const WHOLES = [
  0,
  -1,
  7,
  256,
  2 ** 53 - 1,
  -(2 ** 53 - 1),
  2n ** 53n,
  -(2n ** 53n),
  2n ** 63n - 1n,
  -(2n ** 63n),
];
const given: fc.Arbitrary<Given> = fc.record({
  timestamp: fc.integer({ min: -(10 ** 12), max: 2 * 10 ** 12 }),
  order: fc.constantFrom(...WHOLES),
  values: fc.record({
    name: fc.option(text, { freq: 8 }),
    number: fc.option(fc.constantFrom(...WHOLES), { freq: 8 }),
    amount: fc.option(double),
    flag: fc.option(fc.boolean()),
    'odd "name"': fc.option(text),
    texts: fc.option(fc.array(text, { maxLength: 4 })),
    wholes: fc.option(fc.array(fc.constantFrom(...WHOLES), { maxLength: 4 })),
    vector: fc.option(fc.tuple(double, double)),
  }),
});

test('what is archived is read back by entity, to the bit, in any ranges of hashes', async () => {
  const events: Event[] = [];
  await fc.assert(
    fc.asyncProperty(
      fc.array(given, { maxLength: 60 }),
      fc.integer({ min: 1, max: 7 }),
      async (some, parts) => {
        events.push(...(await archive(some)));
        const wanted = grouped(events);
        const whole = await all();
        expect(byKey(whole)).toEqual(wanted);
        expect(whole.length).toBe(wanted.size);
        const hashes = whole.map(({ keyHash }) => keyHash);
        expect(hashes).toEqual([...hashes].sort((a, b) => (a < b ? -1 : a > b ? 1 : 0)));
        const sequence = await archiveBound(pool);
        expect(sequence).toBe(Math.max(...events.map((event) => event.sequence), sequence));
        const ranges = await hashRanges(pool, of, { sequence, parts });
        expect(ranges[0]!.start).toBe(MIN_HASH);
        expect(ranges.at(-1)!.end).toBe(MAX_HASH);
        expect(ranges.length).toBeLessThanOrEqual(parts);
        const cut: OneEntity[] = [];
        for (const { start, end } of ranges) cut.push(...(await all({ hashStart: start, hashEnd: end })));
        expect(cut).toEqual(whole);
      },
    ),
    { numRuns: 25 },
  );
  expect(await countEvents(pool, source, await archiveBound(pool))).toBe(events.length);
}, 120_000);

test('bounds by sequence and arrival; columns that are not needed read null', async () => {
  const name = 'bounded';
  const first = await archive([{ timestamp: 1000, order: 0, values: { name, number: 1, amount: 1.5 } }]);
  const bound = await archiveBound(pool);
  await archive([{ timestamp: 5000, order: 0, values: { name, number: 1, amount: 2.5 } }]);
  const read = (options: object) =>
    readEntity(pool, of, [name, 1], { sequence: Number.MAX_SAFE_INTEGER, ...options }).then(
      (one) => one?.events ?? null,
    );
  expect(await read({ sequence: bound })).toEqual(first);
  expect(await read({ arrivedUntilMs: 4999 })).toEqual(first);
  expect(await read({})).toHaveLength(2);
  expect(await read({ sequence: 0 })).toBeNull();
  const [event] = (await read({ sequence: bound, columns: ['flag'] }))!;
  expect(event!.values[names.indexOf('amount')]).toBeNull();
  expect(event!.values[names.indexOf('name')]).toBe(name);
});

test('two spellings of a text are one entity; a key that none can have belongs to none', async () => {
  await archive([
    { timestamp: 1, order: 0, values: { name: 'caf\u00e9', number: 1 } },
    { timestamp: 2, order: 0, values: { name: 'cafe\u0301', number: 1 } },
    { timestamp: 3, order: 0, values: { name: 'x'.repeat(1025), number: 1 } },
  ]);
  const one = await readEntity(pool, of, ['cafe\u0301', 1], { sequence: Number.MAX_SAFE_INTEGER });
  expect(one!.events.map(({ timestamp }) => timestamp)).toEqual([1, 2]);
  expect((await all()).every(({ key }) => String(decodeKey(entity, key)[0]).length <= 1024)).toBe(true);
});

test('a sample is the same for one seed, another for another, and never more than there is', async () => {
  const sequence = await archiveBound(pool);
  const sample = (seed: number, limit: number) => readSample(pool, of, { sequence, seed, limit });
  expect(await sample(1, 5)).toEqual(await sample(1, 5));
  expect(await sample(1, 5)).not.toEqual(await sample(2, 5));
  const everyone = await sample(3, 100_000);
  const keys = everyone.map((parts) => Buffer.from(encodeKey(entity, parts)).toString('hex'));
  expect(new Set(keys)).toEqual(new Set(byKey(await all()).keys()));
});

test('a bound waits for whoever archives: no event comes below it afterwards', async () => {
  let bound: Promise<number> | undefined;
  const sequence = await transaction(pool, async (client) => {
    await lockArchiveShared(client);
    const mine = await nextSequence(client);
    bound = archiveBound(pool);
    const { rows } = await pool.query<{ waiting: boolean }>(
      `select exists (select 1 from pg_locks where locktype = 'advisory' and not granted) as waiting`,
    );
    void rows; // it may have come to its wait or not: the bound tells
    return mine;
  });
  expect(await bound).toBeGreaterThanOrEqual(sequence);
});

test('a read that is given up, or aborted, leaves the pool usable', async () => {
  await archive(
    Array.from({ length: 5_000 }, (_, i) => ({
      timestamp: i,
      order: 0,
      values: { name: `n${i}`, number: i },
    })),
  );
  for await (const one of readEvents(pool, of, { sequence: Number.MAX_SAFE_INTEGER })) {
    expect(one.events.length).toBeGreaterThan(0);
    break;
  }
  const controller = new AbortController();
  const reading = (async () => {
    for await (const one of readEvents(pool, of, {
      sequence: Number.MAX_SAFE_INTEGER,
      signal: controller.signal,
    }))
      controller.abort(new Error(`stopped after ${one.events.length}`));
  })();
  await expect(reading).rejects.toThrow('stopped after');
  const aborted = readEvents(pool, of, { sequence: Number.MAX_SAFE_INTEGER, signal: controller.signal });
  await expect(aborted.next()).rejects.toThrow('stopped after');
  expect((await pool.query('select 1 as one')).rows).toEqual([{ one: 1 }]);
  expect(pool.waitingCount).toBe(0);
});

test('a position that is taken: nothing of the transaction stays', async () => {
  const before = await countEvents(pool, source, Number.MAX_SAFE_INTEGER);
  await archive([{ timestamp: 1, order: 0, values: { name: 'taken', number: 1 } }]);
  partition += 1; // the same one again
  await expect(archive([{ timestamp: 2, order: 0, values: {} }])).rejects.toThrow(/duplicate key/);
  expect(await countEvents(pool, source, Number.MAX_SAFE_INTEGER)).toBe(before + 1);
});
