import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { canonicalJson, columnsOf, columnsRead, expressionsOf } from '../../core/canonical.js';
import { type AggregationView, type Expression, OPERATORS } from '../../core/definition.js';
import {
  readableAggregation,
  readableDuration,
  readableExpression,
  readableFeature,
} from '../../core/readable.js';
import { DAY, HOUR, MINUTE } from '../../core/time.js';
import { aggregationView } from '../registry/definitions.js';
import { always } from './always.js';
import { source, view } from './generate.js';

const col = (name: string): Expression => ({ col: name });
const call = (op: (typeof OPERATORS)[number], ...args: Expression[]): Expression => ({ op, args });

test.each<[Expression, string]>([
  [call('eq', col('store'), { lit: 'x' }), "store = 'x'"],
  [call('and', call('gt', col('a'), { lit: 0 }), call('isNull', col('b'))), 'a > 0 and b is null'],
  [call('and', call('or', col('a'), col('b')), col('c')), '(a or b) and c'],
  [call('or', call('and', col('a'), col('b')), col('c')), 'a and b or c'],
  [call('not', call('in', col('a'), { lit: 1 }, { lit: null })), 'not a in (1, null)'],
  [call('sub', col('a'), call('sub', col('b'), { lit: -1 })), 'a - (b - -1)'],
  [call('mul', call('add', col('a'), col('b')), col('c')), '(a + b) * c'],
  [call('coalesce', call('add', col('a'), col('b')), { lit: 0 }), 'coalesce(a + b, 0)'],
  [call('ge', call('now'), col('at')), 'now() >= at'],
  [call('contains', col('tags'), { lit: `it's "so"\n` }), `tags contains 'it\\'s "so"\\n'`],
  [call('eq', col('null'), { lit: null }), '"null" = null'],
])('%j reads %s', (expression, text) => {
  expect(readableExpression(expression)).toBe(text);
});

test.each([
  [0, '0 ms'],
  [DAY, '1 day'],
  [7 * DAY, '7 days'],
  [2 * HOUR + 48 * MINUTE, '2 h 48 min'],
  [100_003, '1 min 40 s 3 ms'],
])('%d ms read %s', (ms, text) => {
  expect(readableDuration(ms)).toBe(text);
});

test('a feature', () => {
  const one = aggregationView('user_spend', 'purchases');
  one.where = call('eq', col('shop'), { lit: 'x' });
  const [count, amount] = one.features;
  expect(readableFeature(one, count!)).toBe(
    "count of purchases with shop = 'x', over the last 7 days, hop 1 h",
  );
  expect(readableFeature(one, amount!)).toBe(
    "sum of amount_cents of purchases with shop = 'x' where amount_cents > 0, of all time",
  );
});

const literal = fc.oneof(
  fc.constantFrom<Expression>({ lit: null }, { lit: true }, { lit: 'true' }, { lit: 1 }, { lit: '1' }),
  fc
    .string({ unit: fc.constantFrom("'", '"', '\\', 'a', ',', ')', ' '), maxLength: 3 })
    .map((lit) => ({ lit })),
);
const { tree: expressions } = fc.letrec<{ tree: Expression }>((tie) => ({
  tree: fc.oneof(
    { depthSize: 'small', withCrossShrink: true },
    fc.oneof(literal, fc.constantFrom('a', 'b', 'and', 'a b', 'a"').map(col)),
    fc.constantFrom(...OPERATORS).chain((op) => {
      const [least, most] = ARGUMENTS[op] ?? [2, 3];
      return fc
        .array(tie('tree'), { minLength: least, maxLength: most })
        .map((args): Expression => ({ op, args }));
    }),
  ),
}));
const ARGUMENTS: Partial<Record<(typeof OPERATORS)[number], [number, number]>> = {
  now: [0, 0], not: [1, 1], isNull: [1, 1], hash: [1, 1], lower: [1, 1], length: [1, 1],
  eq: [2, 2], ne: [2, 2], lt: [2, 2], le: [2, 2], gt: [2, 2], ge: [2, 2], div: [2, 2], contains: [2, 2],
}; // biome-ignore format: a table

describe('every text', () => {
  /** Two meanings with one text are found among all that were met, not only in pairs. */
  function meets(): (text: string, meaning: unknown) => void {
    const met = new Map<string, string>();
    return (text, meaning) => {
      const exact = canonicalJson(meaning);
      expect(met.get(text) ?? exact).toBe(exact);
      met.set(text, exact);
    };
  }

  test('of an expression names its columns, and means nothing else', () => {
    const meet = meets();
    always(expressions, (expression) => {
      const text = readableExpression(expression);
      for (const name of columnsOf(expression)) expect(text).toContain(JSON.stringify(name).slice(1, -1));
      meet(text, expression);
    });
  });

  test('groups as the expression does: all there are, two deep', () => {
    const meet = meets();
    const over = (arguments_: readonly Expression[]): Expression[] => {
      const pairs = arguments_.flatMap((a) => arguments_.map((b) => [a, b] as const));
      return [
        ...arguments_.flatMap((a) => [call('not', a), call('isNull', a), call('lower', a)]),
        ...pairs.flatMap(([a, b]) =>
          (['or', 'and', 'eq', 'sub', 'div', 'in'] as const).map((op) => call(op, a, b)),
        ),
        ...arguments_.map((a) => call('sub', a, a, a)),
      ];
    };
    const leaves = [col('a'), { lit: 1 }];
    const all = over([...leaves, ...over(leaves)]);
    expect(all.length).toBeGreaterThan(5_000);
    for (const expression of all) meet(readableExpression(expression), expression);
  });

  test('of an aggregation and of a feature, too', () => {
    const [meetAggregation, meetFeature] = [meets(), meets()];
    always(view, (one: AggregationView) => {
      for (const feature of one.features) {
        const { aggregation, where, window } = feature;
        const text = readableAggregation(aggregation);
        for (const name of expressionsOf(aggregation).flatMap(columnsOf)) expect(text).toContain(name);
        meetAggregation(text, aggregation);
        const whole = readableFeature(one, feature);
        for (const name of columnsRead({ ...one, key: [], features: [feature] }, source))
          expect(whole).toContain(name);
        meetFeature(whole, { aggregation, where, window, viewWhere: one.where, sessions: one.sessions });
      }
    });
  });
});
