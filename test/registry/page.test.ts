/** Lists in pages: whole, each item once, in order, whatever is added meanwhile; cursors that are none are refused. */
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { type List, PageQuery, readPage } from '../../registry/page.js';
import { createDatabase } from './database.js';

const { pool } = await createDatabase();
await pool.query('create table thing (view text, version bigint, primary key (view, version))');

interface Thing {
  view: string;
  version: number;
}
const things: List = {
  name: 'things',
  sql: 'select view, version from thing where version <> $1',
  values: [-1],
  key: { view: 'text', version: 'bigint' },
};
const itself = (thing: Thing): Thing => thing;
const insert = (added: readonly Thing[]): Promise<unknown> =>
  pool.query(
    'insert into thing select * from json_populate_recordset(null::thing, $1) on conflict do nothing',
    [JSON.stringify(added)],
  );
/** Of text, by the bytes of its UTF-8. */
const inOrder = (a: Thing, b: Thing): number =>
  Buffer.compare(Buffer.from(a.view), Buffer.from(b.view)) || a.version - b.version;

const thing = fc.record({
  view: fc.oneof(
    fc.constantFrom('a', 'B', 'ä', 'Z', '"', '', '%'),
    fc.string({ unit: 'grapheme' }).filter((text) => text.isWellFormed() && !text.includes('\0')),
  ),
  version: fc.integer({ min: 0, max: 5 }),
});

test('pages of any size give the whole list once, in order, also while rows are added', () =>
  fc.assert(
    fc.asyncProperty(
      fc.array(thing, { maxLength: 30 }),
      fc.array(fc.tuple(fc.integer({ min: 1, max: 7 }), fc.array(thing, { maxLength: 4 })), { minLength: 1 }),
      fc.boolean(),
      async (first, steps, newestFirst) => {
        await pool.query('truncate thing');
        await insert(first);
        const there = new Set(first.map(({ view, version }) => JSON.stringify([view, version])));
        const given: Thing[] = [];
        let after: string | null = null;
        for (let step = 0; step === 0 || after !== null; step++) {
          const [limit, added] = steps[step % steps.length]!;
          const page: { items: Thing[]; next: string | null } = await readPage(
            pool,
            { ...things, newestFirst },
            { limit, ...(after !== null && { after }) },
            itself,
          );
          expect(page.items.length).toBeLessThanOrEqual(limit);
          if (page.next !== null) expect(page.items).toHaveLength(limit);
          given.push(...page.items);
          after = page.next;
          if (step < steps.length) await insert(added);
        }
        const sorted = [...given].sort((a, b) => (newestFirst ? inOrder(b, a) : inOrder(a, b)));
        expect(given).toEqual(sorted);
        const keys = given.map(({ view, version }) => JSON.stringify([view, version]));
        expect(new Set(keys).size).toBe(keys.length);
        expect(keys.filter((key) => there.has(key))).toHaveLength(there.size);
      },
    ),
    { numRuns: Number(process.env.ALMANAC_TEST_RUNS ?? 100) },
  ));

test.each([
  ['nothing', ''],
  ['no base64', '?!'],
  ['no JSON', Buffer.from('["things"').toString('base64url')],
  ['another list', Buffer.from('["other","a",1]').toString('base64url')],
  ['too few parts', Buffer.from('["things","a"]').toString('base64url')],
  ['too many parts', Buffer.from('["things","a",1,1]').toString('base64url')],
  ['text for a number', Buffer.from('["things","a","1"]').toString('base64url')],
  ['a part of a number', Buffer.from('["things","a",1.5]').toString('base64url')],
  ['beyond 2^53', Buffer.from('["things","a",1e17]').toString('base64url')],
  ['NUL in a text', Buffer.from('["things","\\u0000",1]').toString('base64url')],
  ['half of a pair', Buffer.from('["things","\\ud800",1]').toString('base64url')],
  ['spaces in it', Buffer.from('["things", "a", 1]').toString('base64url')],
  ['something behind it', `${Buffer.from('["things","a",1]').toString('base64url')}=`],
])('%s is no cursor', async (_, after) => {
  await expect(readPage(pool, things, { limit: 1, after }, itself)).rejects.toMatchObject({
    code: 'FS_REQUEST_INVALID',
    details: { field: 'after', fix: expect.stringMatching(/next/) },
  });
});

test.each(['0', '-1', '1.5', '1001', '', 'ten', '1e2', ' 5', '0x10', '99999999999'])(
  'a limit of %j is refused',
  (limit) => expect(PageQuery.safeParse({ limit }).success).toBe(false),
);
test('a limit is a number of digits, 100 by itself', () =>
  expect([PageQuery.parse({ limit: '7' }), PageQuery.parse({})]).toEqual([{ limit: 7 }, { limit: 100 }]));
