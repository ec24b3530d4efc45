/** Expectations: what is refused, what authors write, and what comes of them for some rows. */
import { describe, expect, test } from 'vitest';
import { checkDefinitions } from '../../core/check.js';
import type { Expectation, SqlView, StoredView } from '../../core/definition.js';
import type { FeatureValue } from '../../core/event.js';
import { judge } from '../../core/expectations.js';
import { entity, expect as expected, sqlView } from '../../core/index.js';
import { Tally } from '../../core/tally.js';

const described = { description: 'x', owner: 'tests' };
const HOUR = 3_600_000;

function viewWith(expectations: readonly Expectation[]): SqlView {
  const user = entity('user', { ...described, keys: { user_id: 'string' } });
  const profile = sqlView('user_profile', {
    ...described,
    entity: user,
    connection: 'env:SHOP_URL',
    query: 'select * from shop.users where :as_of > event_timestamp',
    reads: { 'shop.users': 'append' },
    every: '1h',
    expectations,
    features: {
      user_country: { ...described, type: 'string' },
      user_orders: { ...described, type: 'int64' },
      user_paying: { ...described, type: 'bool' },
      user_score: { ...described, type: 'float64' },
      user_tags: { ...described, type: 'list<string>' },
    } as never,
  });
  return profile.json;
}

const definitionsWith = (view: unknown) => ({
  entities: [{ name: 'user', ...described, tags: [], keys: [{ name: 'user_id', type: 'string' }] }],
  sources: [],
  views: [view],
  services: [],
});

test('authors write them beside the view; what is not said to block warns', () => {
  const view = viewWith([
    expected.nullRate('user_country', { max: 0.05 }),
    expected.range('user_orders', { min: 0, severity: 'block' }),
    expected.allowed('user_country', { values: ['DE', 'FR'] }),
    expected.freshness({ maxAge: '2h' }),
    expected.rowCount({ maxChange: 0.5 }),
    expected.unique(),
  ]);
  expect(view.expectations).toEqual([
    { type: 'nullRate', feature: 'user_country', max: 0.05, severity: 'warn' },
    { type: 'range', feature: 'user_orders', min: 0, max: null, severity: 'block' },
    { type: 'allowed', feature: 'user_country', values: ['DE', 'FR'], severity: 'warn' },
    { type: 'freshness', maxAgeMs: 2 * HOUR, severity: 'warn' },
    { type: 'rowCount', maxChange: 0.5, severity: 'warn' },
    { type: 'unique', severity: 'warn' },
  ]);
});

describe('what is refused', () => {
  const warn = { severity: 'warn' } as const;
  const cases: Array<{ why: string; given: unknown[]; path: string; says: RegExp }> = [
    { why: 'a feature that is not there', given: [{ type: 'nullRate', feature: 'user_age', max: 1, ...warn }], path: '[0].feature', says: /no feature/ },
    { why: 'a share above all', given: [{ type: 'nullRate', feature: 'user_score', max: 5, ...warn }], path: '[0].max', says: /./ },
    { why: 'a range of texts', given: [{ type: 'range', feature: 'user_country', min: 0, max: 1, ...warn }], path: '[0].feature', says: /no range/ },
    { why: 'a range without bounds', given: [{ type: 'range', feature: 'user_score', min: null, max: null, ...warn }], path: '[0].min', says: /neither/ },
    { why: 'a range that is upside down', given: [{ type: 'range', feature: 'user_score', min: 2, max: 1, ...warn }], path: '[0].max', says: /less than the min/ },
    { why: 'a list of doubles', given: [{ type: 'allowed', feature: 'user_score', values: [1], ...warn }], path: '[0].feature', says: /float64/ },
    { why: 'a list of lists', given: [{ type: 'allowed', feature: 'user_tags', values: ['a'], ...warn }], path: '[0].feature', says: /list<string>/ },
    { why: 'a value of another type', given: [{ type: 'allowed', feature: 'user_orders', values: [1, '2'], ...warn }], path: '[0].values[1]', says: /"2" is no int64/ },
    { why: 'half an order', given: [{ type: 'allowed', feature: 'user_orders', values: [0.5], ...warn }], path: '[0].values[0]', says: /no int64/ },
    { why: 'a value given twice', given: [{ type: 'allowed', feature: 'user_paying', values: [true, true], ...warn }], path: '[0].values[1]', says: /twice/ },
    { why: 'no value at all', given: [{ type: 'allowed', feature: 'user_paying', values: [], ...warn }], path: '[0].values', says: /./ },
    { why: 'the same thing twice', given: [{ type: 'freshness', maxAgeMs: 1, ...warn }, { type: 'freshness', maxAgeMs: 2, ...warn }], path: '[1]', says: /twice/ },
    { why: 'uniqueness of what is unique', given: [{ type: 'unique', ...warn }], path: '[0].type', says: /one row for each entity/ },
  ]; // biome-ignore format: a table
  test.each(cases)('$why', ({ given, path, says }) => {
    const { problems } = checkDefinitions(definitionsWith({ ...viewWith([]), expectations: given }));
    expect(problems.map((problem) => problem.path)).toEqual([`views.user_profile.expectations${path}`]);
    expect(problems[0]!.message).toMatch(says);
  });

  test('not the same with another severity, nor in a view that has none', () => {
    const both = [
      expected.freshness({ maxAge: '1h' }),
      expected.freshness({ maxAge: '1d', severity: 'block' }),
    ];
    for (const expectations of [both, []])
      expect(checkDefinitions(definitionsWith(viewWith(expectations))).problems).toEqual([]);
  });
});

describe('what comes of some rows', () => {
  const row = (
    country: string | null,
    orders: FeatureValue,
    paying: boolean | null = true,
  ): FeatureValue[] => [country, orders, paying, 0.5, ['a']];
  const rows = [row('DE', 3), row('FR', -1), row(null, 2n ** 60n), row('XX', null, null)];
  const facts = { nowMs: 100 * HOUR, newestMs: 98 * HOUR, rowsBefore: 8 };

  function tallyOf(view: StoredView, some: readonly FeatureValue[][] = rows): Tally {
    const tally = new Tally(view);
    for (const values of some) tally.add(values, 98 * HOUR);
    return tally;
  }

  const cases: Array<{ why: string; of: Expectation; passed: boolean; observed: number | null; said: RegExp }> = [
    { why: 'a null rate at its bound', of: expected.nullRate('user_country', { max: 0.25 }), passed: true, observed: 0.25, said: /25 % of 4 values/ },
    { why: 'a null rate above it', of: expected.nullRate('user_country', { max: 0.2 }), passed: false, observed: 0.25, said: /at most 20 %/ },
    { why: 'values inside of a range', of: expected.range('user_score', { min: 0.5, max: 0.5 }), passed: true, observed: 0, said: /0 of 4/ },
    { why: 'values outside of it, nulls aside', of: expected.range('user_orders', { min: 0, max: 100 }), passed: false, observed: 2, said: /2 of 3 values lie outside of 0 to 100/ },
    { why: 'one bound', of: expected.range('user_orders', { min: -1 }), passed: true, observed: 0, said: /at least -1/ },
    { why: 'a value that is not among the allowed', of: expected.allowed('user_country', { values: ['DE', 'FR'] }), passed: false, observed: 1, said: /1 of 3 values are none of "DE", "FR"/ },
    { why: 'whole numbers among the allowed', of: expected.allowed('user_orders', { values: [3, -1] }), passed: false, observed: 1, said: /1 of 3/ },
    { why: 'bools', of: expected.allowed('user_paying', { values: [true] }), passed: true, observed: 0, said: /0 of 3/ },
    { why: 'events that are new enough', of: expected.freshness({ maxAge: '2h' }), passed: true, observed: 2 * HOUR, said: /2h old/ },
    { why: 'events that are not', of: expected.freshness({ maxAge: '1h' }), passed: false, observed: 2 * HOUR, said: /at most 1h/ },
    { why: 'half the rows, where that is allowed', of: expected.rowCount({ maxChange: 0.5 }), passed: true, observed: 0.5, said: /4 rows after 8/ },
    { why: 'half the rows, where less is', of: expected.rowCount({ maxChange: 0.4 }), passed: false, observed: 0.5, said: /50 % fewer; at most 40 %/ },
  ]; // biome-ignore format: a table
  test.each(cases)('$why', ({ of, passed, observed, said }) => {
    const view = viewWith([of]);
    const [verdict, ...others] = judge(view, tallyOf(view), facts);
    expect(others).toEqual([]);
    expect(verdict).toMatchObject({ passed, observed, severity: 'warn' });
    expect(verdict!.said).toMatch(said);
  });

  test('nothing is told of rows where there were none before, nor of the age of no event but that it is missing', () => {
    const view = viewWith([expected.rowCount({ maxChange: 0.1 }), expected.freshness({ maxAge: '1h' })]);
    for (const rowsBefore of [null, 0])
      expect(judge(view, tallyOf(view), { nowMs: 0, newestMs: null, rowsBefore })).toMatchObject([
        { observed: null, passed: true },
        { observed: null, passed: false },
      ]);
  });

  test('no rows are no nulls', () => {
    const view = viewWith([expected.nullRate('user_country', { max: 0 })]);
    expect(judge(view, new Tally(view), facts)).toMatchObject([{ observed: 0, passed: true }]);
  });

  test('tallies of parts, as bytes, merge to that of the whole', () => {
    const view = viewWith([
      expected.range('user_orders', { min: 0 }),
      expected.allowed('user_country', { values: ['DE'] }),
    ]);
    const merged = new Tally(view);
    for (const part of [rows.slice(3), rows.slice(0, 1), [], rows.slice(1, 3)])
      merged.merge(Tally.decode(view, tallyOf(view, part).encode()));
    expect(merged.encode()).toEqual(tallyOf(view).encode());
    expect(judge(view, merged, facts).map(({ observed }) => observed)).toEqual([1, 2]);
  });

  test.each<{ why: string; before: Expectation[]; after: Expectation[]; isWhole: boolean }>([
    { why: 'another range', before: [expected.range('user_orders', { min: 0 })], after: [expected.range('user_orders', { min: 1 })], isWhole: false },
    { why: 'values that are allowed', before: [], after: [expected.allowed('user_country', { values: ['DE'] })], isWhole: false },
    { why: 'uniqueness', before: [], after: [expected.unique()], isWhole: false },
    { why: 'what is counted of everything', before: [], after: [expected.nullRate('user_orders', { max: 1 }), expected.freshness({ maxAge: '1h' }), expected.rowCount({ maxChange: 1 })], isWhole: true },
    { why: 'that it blocks', before: [expected.range('user_orders', { min: 0 }), expected.unique()], after: [expected.unique({ severity: 'block' }), expected.range('user_orders', { min: 0, severity: 'block' })], isWhole: true },
  ])('a part that was counted before $why was expected', ({ before, after, isWhole }) => {
    const tally = Tally.decode(viewWith(after), tallyOf(viewWith(before)).encode());
    expect(tally.isWhole).toBe(isWhole);
    tally.merge(tallyOf(viewWith(after)));
    expect(tally.isWhole).toBe(isWhole);
  }); // biome-ignore format: a table
});
