import { describe, expect, test } from 'vitest';
import type { Aggregation, BucketAggregation, RatioSide } from '../../core/definition.js';
import { col, DAY, type EventInWords, HOUR, isKind, lit, MINUTE, op, valueFor } from './shop.js';

const MAX = Number.MAX_SAFE_INTEGER;
const amount = col('amount');
const quantity = col('quantity');
const item = col('item');

const amounts = (...all: Array<number | null>): EventInWords[] =>
  all.map((amount, index) => ({ at: index, amount }));
const quantities = (...all: Array<number | null>): EventInWords[] =>
  all.map((quantity, index) => ({ at: index, quantity }));
const items = (...all: Array<string | null>): EventInWords[] =>
  all.map((item, index) => ({ at: index, item }));

const cart: Aggregation = {
  op: 'cart',
  item,
  add: isKind('add'),
  remove: isKind('remove'),
  clear: isKind('clear'),
  limit: 10,
};
const topK: Aggregation = { op: 'topK', key: item, weight: amount, k: 2 };
const count = (where: RatioSide['where'] = null): RatioSide => ({ op: 'count', where });
const ratio = (numerator: RatioSide, denominator: RatioSide): Aggregation => ({
  op: 'ratio',
  numerator,
  denominator,
});

describe('an empty window', () => {
  test.each<{ aggregation: Aggregation; is: unknown; why: string }>([
    { aggregation: { op: 'count' }, is: 0, why: 'count is 0' },
    { aggregation: { op: 'sum', value: amount }, is: 0, why: 'sum of float64 is 0' },
    { aggregation: { op: 'sum', value: quantity }, is: 0, why: 'sum of int64 is 0' },
    { aggregation: { op: 'distinct', value: item }, is: 0, why: 'distinct is 0' },
    { aggregation: { op: 'mean', value: amount }, is: null, why: 'mean is null' },
    { aggregation: { op: 'min', value: amount }, is: null, why: 'min is null' },
    { aggregation: { op: 'max', value: amount }, is: null, why: 'max is null' },
    { aggregation: { op: 'last', value: item }, is: null, why: 'last is null' },
    { aggregation: { op: 'lastN', value: item, n: 3 }, is: [], why: 'lastN is empty' },
    { aggregation: topK, is: [], why: 'topK is empty' },
    { aggregation: cart, is: [], why: 'cart is empty' },
    { aggregation: ratio(count(), count()), is: null, why: 'ratio is null' },
    { aggregation: { op: 'timeSince', edge: 'last', unitMs: 1 }, is: null, why: 'timeSince is null' },
  ])('$why', ({ aggregation, is }) => expect(valueFor(aggregation, [])).toEqual(is));
});

describe('nulls are skipped', () => {
  const nulls: EventInWords[] = [{ at: 0 }, { at: 1 }];
  test.each<{ aggregation: Aggregation; is: unknown; why: string }>([
    { aggregation: { op: 'count' }, is: 2, why: 'but for count, which has no input' },
    { aggregation: { op: 'sum', value: amount }, is: 0, why: 'sum' },
    { aggregation: { op: 'mean', value: amount }, is: null, why: 'mean' },
    { aggregation: { op: 'min', value: amount }, is: null, why: 'min' },
    { aggregation: { op: 'last', value: item }, is: null, why: 'last' },
    { aggregation: { op: 'lastN', value: item, n: 3 }, is: [], why: 'lastN' },
    { aggregation: { op: 'distinct', value: item }, is: 0, why: 'distinct' },
    { aggregation: topK, is: [], why: 'topK' },
    { aggregation: { op: 'sum', value: lit(null) }, is: 0, why: 'the null literal' },
  ])('$why', ({ aggregation, is }) => expect(valueFor(aggregation, nulls)).toEqual(is));
});

describe('sum, mean, min, max', () => {
  test.each<{ aggregation: Aggregation; events: EventInWords[]; is: unknown; why: string }>([
    {
      aggregation: { op: 'sum', value: amount },
      events: amounts(0.1, null, 0.2, -0.3),
      is: 2 ** -55,
      why: 'doubles exactly',
    },
    {
      aggregation: { op: 'sum', value: amount },
      events: amounts(1e308, 1e308),
      is: null,
      why: 'a sum beyond the doubles is null',
    },
    { aggregation: { op: 'sum', value: amount }, events: amounts(-1, 1), is: 0, why: 'never -0' },
    {
      aggregation: { op: 'sum', value: quantity },
      events: quantities(MAX),
      is: MAX,
      why: 'a whole sum of 2^53 - 1 is a number',
    },
    {
      aggregation: { op: 'sum', value: quantity },
      events: quantities(MAX, 1),
      is: 2n ** 53n,
      why: 'one of 2^53 is a bigint',
    },
    {
      aggregation: { op: 'sum', value: quantity },
      events: quantities(-MAX, -1),
      is: -(2n ** 53n),
      why: 'one of -2^53 too',
    },
    {
      aggregation: { op: 'sum', value: quantity },
      events: quantities(-MAX, -MAX, -1),
      is: -(2n ** 54n) + 1n,
      why: 'below zero too, to the unit',
    },
    {
      aggregation: { op: 'sum', value: quantity },
      events: quantities(MAX, 1, -2),
      is: MAX - 1,
      why: 'and a number again once it is back',
    },
    {
      aggregation: { op: 'sum', value: op('mul', quantity, lit(2)) },
      events: quantities(3, null, 4),
      is: 14,
      why: 'of an expression',
    },
    {
      aggregation: { op: 'mean', value: amount },
      events: amounts(1, null, 2),
      is: 1.5,
      why: 'the mean counts what is not null',
    },
    {
      aggregation: { op: 'mean', value: amount },
      events: amounts(...Array(10).fill(0.1)),
      is: 0.1,
      why: 'the mean is of the exact sum, rounded: 1 / 10',
    },
    {
      aggregation: { op: 'mean', value: quantity },
      events: quantities(MAX, MAX, 1),
      is: 2 ** 54 / 3,
      why: 'the mean of whole numbers: 2^54 - 1 is rounded to 2^54 first',
    },
    { aggregation: { op: 'mean', value: amount }, events: amounts(-1, 1), is: 0, why: 'mean is never -0' },
    {
      aggregation: { op: 'min', value: amount },
      events: amounts(10, 9, null, 100),
      is: 9,
      why: 'min by size',
    },
    {
      aggregation: { op: 'max', value: amount },
      events: amounts(10, 9, null, 100),
      is: 100,
      why: 'max by size',
    },
    {
      aggregation: { op: 'max', value: col('bought_at') },
      events: [{ at: 5 }, { at: 3 }],
      is: 5,
      why: 'of times',
    },
    { aggregation: { op: 'min', value: quantity }, events: quantities(-1, -2, 0), is: -2, why: 'below zero' },
  ])('$why', ({ aggregation, events, is }) => expect(valueFor(aggregation, events)).toBe(is));
});

describe('last, lastN, distinct', () => {
  test.each<{ aggregation: Aggregation; events: EventInWords[]; is: unknown; why: string }>([
    {
      aggregation: { op: 'last', value: item },
      events: items('a', 'b', null),
      is: 'b',
      why: 'last: the newest that is not null',
    },
    {
      aggregation: { op: 'last', value: item },
      events: items('a', 'b').reverse(),
      is: 'b',
      why: 'last: newest by time, not by place',
    },
    {
      aggregation: { op: 'last', value: item },
      events: [
        { at: 1, order: 2, id: 'a', item: 'by order' },
        { at: 1, order: 1, id: 'z', item: 'by id' },
      ],
      is: 'by order',
      why: 'at one timestamp the declared order decides, before the id',
    },
    {
      aggregation: { op: 'last', value: item },
      events: [
        { at: 1, id: 'b', item: 'small letter' },
        { at: 1, id: 'Z', item: 'capital letter' },
      ],
      is: 'small letter',
      why: 'and then the id by code unit, "Z" before "b"',
    },
    {
      aggregation: { op: 'last', value: item },
      events: [
        { at: 1, id: '\uFF5E', item: 'U+FF5E' },
        { at: 1, id: '\u{1F600}', item: 'U+1F600' },
      ],
      is: 'U+FF5E',
      why: 'by UTF-16 code unit, not by code point',
    },
    {
      aggregation: { op: 'last', value: col('paid') },
      events: [{ at: 1, paid: false }],
      is: false,
      why: 'of a bool',
    },
    {
      aggregation: { op: 'lastN', value: item, n: 2 },
      events: items('a', 'b', null, 'c', null),
      is: ['c', 'b'],
      why: 'lastN: the newest first, nulls take no place',
    },
    {
      aggregation: { op: 'lastN', value: item, n: 3 },
      events: items('a', 'a'),
      is: ['a', 'a'],
      why: 'lastN: the same twice, and fewer than n',
    },
    {
      aggregation: { op: 'lastN', value: amount, n: 2 },
      events: [
        { at: 1, id: 'b', amount: 2 },
        { at: 1, id: 'a', amount: 1 },
      ],
      is: [2, 1],
      why: 'lastN: at one timestamp by id',
    },
    {
      aggregation: { op: 'distinct', value: item },
      events: items('a', 'b', null, 'a', 'A'),
      is: 3,
      why: 'distinct: case matters, null does not count',
    },
    {
      aggregation: { op: 'distinct', value: item },
      events: items('é', 'e\u0301'),
      is: 2,
      why: 'distinct: text is not composed',
    },
  ])('$why', ({ aggregation, events, is }) => expect(valueFor(aggregation, events)).toEqual(is));
});

describe('topK', () => {
  const weighed = (...all: Array<[string | null, number | null]>): EventInWords[] =>
    all.map(([item, amount], index) => ({ at: index, item, amount }));
  test.each<{ events: EventInWords[]; is: unknown; why: string }>([
    { events: weighed(['a', 1], ['b', 3], ['c', 2]), is: ['b', 'c'], why: 'the heaviest first, k of them' },
    { events: weighed(['a', 1], ['b', 1.5], ['a', 1]), is: ['a', 'b'], why: 'weights add up' },
    { events: weighed(['c', 1], ['b', 1], ['B', 1]), is: ['B', 'b'], why: 'ties by key, by code unit' },
    {
      events: weighed(['\uFF5E', 1], ['\u{1F600}', 1]),
      is: ['\u{1F600}', '\uFF5E'],
      why: 'by UTF-16 code unit',
    },
    { events: weighed(['a', 0], ['b', -1], ['c', 1]), is: ['c'], why: 'a weight of 0 or less is left out' },
    { events: weighed(['a', 2], ['a', -2], ['b', 1]), is: ['b'], why: 'one taken back is left out' },
    {
      events: weighed(['a', 0.3], ['b', 0.1], ['b', 0.2]),
      is: ['b', 'a'],
      why: '0.1 + 0.2 is exactly 2^-55 more than 0.3',
    },
    {
      events: weighed(['b', 1], ['b', 2 ** -60], ['a', 1]),
      is: ['b', 'a'],
      why: 'weights that round alike are no tie',
    },
    {
      events: weighed(['a', 0.1], ['a', 0.2], ['a', -0.3]),
      is: ['a'],
      why: 'a hair above 0 is above 0',
    },
    { events: weighed(['a', 1e308], ['a', 1e308], ['b', 1e308]), is: ['a', 'b'], why: 'beyond the doubles' },
    {
      events: weighed([null, 9], ['a', null], ['b', 1]),
      is: ['b'],
      why: 'null keys and weights are skipped',
    },
  ])('$why', ({ events, is }) => expect(valueFor(topK, events)).toEqual(is));

  test('whole keys are ordered by size', () => {
    const byQuantity: Aggregation = { op: 'topK', key: quantity, weight: lit(1), k: 3 };
    expect(valueFor(byQuantity, quantities(10, 9, -1))).toEqual([-1, 9, 10]);
  });
});

describe('bucketed', () => {
  const bucketed = (aggregation: BucketAggregation, limit: number): Aggregation => ({
    op: 'bucketed',
    by: item,
    aggregation,
    limit,
  });
  const events: EventInWords[] = [
    { at: 0, item: 'b', quantity: 5 },
    { at: 1, item: 'a', quantity: 7 },
    { at: 2, item: 'b', quantity: null },
    { at: 3, item: null, quantity: 9 },
    { at: 4, item: 'b', quantity: 2 },
    { at: 5, item: 'c', quantity: 1 },
  ];
  // biome-ignore format: a table, one case a line
  test.each<{ aggregation: Aggregation; is: unknown; why: string }>([
    { aggregation: bucketed({ op: 'count' }, 9), is: { b: 3, a: 1, c: 1 }, why: 'a count needs no value' },
    { aggregation: bucketed({ op: 'sum', value: quantity }, 9), is: { b: 7, a: 7, c: 1 }, why: 'sums by key' },
    { aggregation: bucketed({ op: 'mean', value: quantity }, 9), is: { b: 3.5, a: 7, c: 1 }, why: 'means of what is not null' },
    { aggregation: bucketed({ op: 'last', value: quantity }, 9), is: { b: 2, a: 7, c: 1 }, why: 'the newest of each' },
    { aggregation: bucketed({ op: 'count' }, 2), is: { b: 3, a: 1 }, why: 'of more keys those of most events, ties by key' },
  ])('$why', ({ aggregation, is }) => expect(valueFor(aggregation, events)).toEqual(is));
});

test('different values: exact to the bound, at least one more beyond', () => {
  const rough = (exactTo: number): Aggregation => ({ op: 'approxDistinct', value: item, exactTo });
  const events = items('a', 'b', null, 'c', 'a');
  expect(valueFor(rough(3), events)).toBe(3);
  expect(valueFor(rough(2), events)).toBe(3);
  expect(valueFor(rough(0), [])).toBe(0);
});

describe('cart', () => {
  const play = (...all: string[]): EventInWords[] =>
    all.map((words, index) => {
      const [kind = null, item = null] = words.split(' ');
      return { at: index, kind, item };
    });
  test.each<{ events: EventInWords[]; is: unknown; why: string }>([
    { events: play('add a', 'add b'), is: ['b', 'a'], why: 'the newest added first' },
    { events: play('add a', 'add b', 'add a'), is: ['a', 'b'], why: 'added again: newest, and once' },
    { events: play('add a', 'add b', 'remove a'), is: ['b'], why: 'removed' },
    { events: play('remove a', 'add a'), is: ['a'], why: 'a remove before the add does nothing' },
    { events: play('add a', 'add a', 'remove a'), is: [], why: 'one remove takes all adds' },
    { events: play('add a', 'remove a', 'add a'), is: ['a'], why: 'added anew' },
    { events: play('add a', 'clear', 'add b'), is: ['b'], why: 'cleared' },
    { events: play('clear', 'add a'), is: ['a'], why: 'a clear before does nothing' },
    { events: play('add a', 'clear', 'remove a'), is: [], why: 'a remove after a clear' },
    { events: play('add a', 'view b'), is: ['a'], why: 'other events are nothing' },
    { events: play('add a', 'add', 'remove'), is: ['a'], why: 'without an item: ignored' },
    {
      events: [
        { at: 1, id: 'a', kind: 'remove', item: 'x' },
        { at: 1, id: 'b', kind: 'add', item: 'x' },
      ],
      is: ['x'],
      why: 'at one instant the id decides: remove, then add',
    },
    {
      events: [
        { at: 1, id: 'a', kind: 'add', item: 'x' },
        { at: 1, id: 'b', kind: 'remove', item: 'x' },
      ],
      is: [],
      why: 'at one instant the id decides: add, then remove',
    },
    {
      events: [
        { at: 1, order: 2, id: 'a', kind: 'add', item: 'x' },
        { at: 1, order: 1, id: 'b', kind: 'clear' },
      ],
      is: ['x'],
      why: 'at one instant the declared order goes before the id',
    },
  ])('$why', ({ events, is }) => expect(valueFor(cart, events)).toEqual(is));

  test('at most `limit`, the newest', () => {
    expect(valueFor({ ...cart, limit: 2 }, play('add a', 'add b', 'add c'))).toEqual(['c', 'b']);
    expect(valueFor({ ...cart, limit: 2 }, play('add a', 'add b', 'add c', 'remove c'))).toEqual(['b', 'a']);
  });

  test('what is an add is not tested for remove or clear, with an item or without', () => {
    const allOfThem: Aggregation = { ...cart, remove: lit(true), clear: lit(true) };
    expect(valueFor(allOfThem, play('add a', 'add b'))).toEqual(['b', 'a']);
    expect(valueFor(allOfThem, play('add a', 'add'))).toEqual(['a']);
    expect(valueFor(allOfThem, play('add a', 'add b', 'view b'))).toEqual(['a']);
    expect(valueFor(allOfThem, play('add a', 'add b', 'view'))).toEqual(['b', 'a']);
  });

  test('without a clear nothing clears', () => {
    expect(valueFor({ ...cart, clear: null }, play('add a', 'clear'))).toEqual(['a']);
  });

  test('an add that left the window is gone, and a remove that left leaves nothing behind', () => {
    const window = { window: { type: 'sliding', ms: HOUR, hopMs: MINUTE } } as const;
    const events: EventInWords[] = [
      { at: 0, kind: 'add', item: 'a' },
      { at: MINUTE, kind: 'add', item: 'b' },
    ];
    expect(valueFor(cart, events, window, HOUR - 1)).toEqual(['b', 'a']);
    expect(valueFor(cart, events, window, HOUR)).toEqual(['b']);
  });
});

describe('ratio', () => {
  const paid = op('eq', col('paid'), lit(true));
  const sold: EventInWords[] = [
    { at: 1, paid: true, amount: 1, quantity: 1, item: 'a' },
    { at: 2, paid: false, amount: 2, quantity: 2, item: 'a' },
    { at: 3, paid: null, amount: 4, quantity: null, item: 'b' },
    { at: 4, paid: true, amount: null, quantity: 5, item: null },
  ];
  test.each<{ aggregation: Aggregation; is: unknown; why: string }>([
    { aggregation: ratio(count(paid), count()), is: 0.5, why: 'counts; a null filter does not pass' },
    {
      aggregation: ratio({ op: 'sum', value: amount, where: null }, count()),
      is: 7 / 4,
      why: 'a sum over a count',
    },
    {
      aggregation: ratio(
        { op: 'sum', value: quantity, where: paid },
        { op: 'distinct', value: item, where: null },
      ),
      is: 3,
      why: 'a whole sum over distinct',
    },
    { aggregation: ratio(count(), count(lit(false))), is: null, why: 'by zero' },
    { aggregation: ratio(count(lit(false)), count()), is: 0, why: 'zero by something' },
    { aggregation: ratio(count(lit(false)), count(lit(false))), is: null, why: 'zero by zero' },
    {
      aggregation: ratio({ op: 'sum', value: lit(1e308), where: null }, count()),
      is: null,
      why: 'a sum beyond the doubles',
    },
    {
      aggregation: ratio(
        { op: 'sum', value: lit(1e307), where: null },
        { op: 'sum', value: lit(0.001), where: null },
      ),
      is: null,
      why: 'a quotient beyond the doubles',
    },
    {
      aggregation: ratio(count(lit(false)), { op: 'sum', value: lit(-1), where: null }),
      is: 0,
      why: 'never -0',
    },
  ])('$why', ({ aggregation, is }) => expect(valueFor(aggregation, sold)).toBe(is));

  test('a side narrows the filter of the feature', () => {
    const where = op('gt', amount, lit(1));
    expect(valueFor(ratio(count(paid), count()), sold, { where })).toBe(0);
    expect(valueFor(ratio(count(op('isNull', col('paid'))), count()), sold, { where })).toBe(0.5);
  });

  test('a sum that cancels to zero divides nothing', () => {
    const of = (value: typeof amount): RatioSide => ({ op: 'sum', value, where: null });
    expect(valueFor(ratio(count(), of(amount)), amounts(1, -1))).toBeNull();
    expect(valueFor(ratio(of(lit(1)), of(amount)), amounts(0.1, 0.2, -0.3))).toBe(3 * 2 ** 55);
  });
});

describe('timeSince', () => {
  const at = 10 * HOUR;
  const events: EventInWords[] = [{ at: 0 }, { at: HOUR, kind: 'add' }, { at: 3 * HOUR + 1 }];
  test.each<{ edge: 'first' | 'last'; unitMs: number; is: number; why: string }>([
    { edge: 'first', unitMs: HOUR, is: 10, why: 'from the first event' },
    { edge: 'last', unitMs: HOUR, is: 6, why: 'from the newest, whole units, rounded down' },
    { edge: 'last', unitMs: 1, is: 7 * HOUR - 1, why: 'in milliseconds' },
    { edge: 'last', unitMs: DAY, is: 0, why: 'less than a unit is 0' },
  ])('$why', ({ edge, unitMs, is }) =>
    expect(valueFor({ op: 'timeSince', edge, unitMs }, events, {}, at)).toBe(is),
  );

  test('from the events that pass the filter', () => {
    const where = isKind('add');
    expect(valueFor({ op: 'timeSince', edge: 'last', unitMs: HOUR }, events, { where }, at)).toBe(9);
  });

  test('from the events in the window', () => {
    const window = { window: { type: 'sliding', ms: HOUR, hopMs: HOUR } } as const;
    const since: Aggregation = { op: 'timeSince', edge: 'last', unitMs: MINUTE };
    expect(valueFor(since, events, window, 5 * HOUR - 1)).toBe(119);
    expect(valueFor(since, events, window, 5 * HOUR)).toBeNull();
  });
});
