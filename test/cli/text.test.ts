import { describe, expect, test } from 'vitest';
import { formatCount, formatFacts, formatSeconds, formatTable, formatValue } from '../../cli/text.js';

describe('numbers', () => {
  test.each([
    { value: 0, text: '0' },
    { value: 999, text: '999' },
    { value: 1_234_567, text: '1,234,567' },
    { value: -12_345, text: '-12,345' },
    { value: 1234.5, text: '1,234.5' },
    { value: 9_007_199_254_740_993n, text: '9,007,199,254,740,993' },
  ])('$text', ({ value, text }) => expect(formatCount(value)).toBe(text));
});

describe('durations', () => {
  test.each([
    { ms: 0, text: '0.0 s' },
    { ms: 12_340, text: '12.3 s' },
    { ms: 99_949, text: '99.9 s' },
    { ms: 99_960, text: '1 min 40 s' },
    { ms: 3_599_400, text: '59 min 59 s' },
    { ms: 3_725_000, text: '1 h 02 min' },
  ])('$text', ({ ms, text }) => expect(formatSeconds(ms)).toBe(text));
});

describe('tables', () => {
  test('text to the left, numbers to the right, nothing as a dash, no spaces at the end of a line', () => {
    expect(
      formatTable(
        ['view', 'rows'],
        [
          ['user_spend', 1234],
          ['item', null],
        ],
      ),
    ).toBe('view         rows\nuser_spend  1,234\nitem            -\n');
  });
  test('a width cuts the widest text column, never a number', () => {
    const text = formatTable(['name', 'n'], [['a'.repeat(40), 1_000_000]], 24);
    expect(text.split('\n')[1]).toBe(`${'a'.repeat(12)}…  1,000,000`);
  });
  test('without a width nothing is lost', () => {
    expect(formatTable(['name'], [['a'.repeat(300)]])).toContain('a'.repeat(300));
  });
  test('no rows: the headings', () => expect(formatTable(['a', 'b'], [])).toBe('a  b\n'));
  test('facts', () =>
    expect(
      formatFacts([
        ['rows', 12_000],
        ['to', 'x'],
      ]),
    ).toBe('rows  12,000\nto    x\n'));
});

test.each([
  { value: null, text: 'null' },
  { value: ['a', 1], text: '[a, 1]' },
  { value: 10n ** 17n, text: '100000000000000000' },
  { value: false, text: 'false' },
  { value: { a: 1 }, text: '{a: 1}' },
])('a value in a table: $text', ({ value, text }) => expect(formatValue(value)).toBe(text));
