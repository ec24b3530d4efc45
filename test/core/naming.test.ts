/** What may be a name, and the lint of feature names. */
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import type { Window } from '../../core/definition.js';
import { lintName, nameProblem, windowTokens } from '../../core/naming.js';
import { defaultHop, parseDuration } from '../../core/time.js';
import { ROW_COLUMNS } from '../../registry/tables.js';

describe('names', () => {
  test.each(['a', 'user', 'user_spend_7d', 'x9', 'a'.repeat(63)])('%s is one', (name) =>
    expect(nameProblem(name, 'p')).toBeNull(),
  );

  test.each([
    { name: '', fix: /user_total_purchases/, why: 'empty' },
    { name: 'User', fix: /: user$/, why: 'upper case' },
    { name: 'userSpend7d', fix: /: user_spend7d$/, why: 'camel case' },
    { name: '7d_spend', fix: /: d_spend$/, why: 'starts with a digit' },
    { name: '_spend', fix: /: spend$/, why: 'starts with _' },
    { name: 'user spend', fix: /: user_spend$/, why: 'a space' },
    { name: 'größe', fix: /letters/, why: 'no ASCII' },
    { name: 'a"; drop table x', fix: /letters/, why: 'SQL' },
    { name: '__proto__', fix: /: proto$/, why: 'a trap of JavaScript' },
    { name: 'constructor', fix: /another/, why: 'another one' },
    { name: 'a'.repeat(64), fix: /at most 63/, why: 'Postgres would cut it' },
  ])('$name is none: $why', ({ name, fix }) => {
    const problem = nameProblem(name, 'views.x');
    expect(problem).toMatchObject({ code: 'name', path: 'views.x' });
    expect(problem?.fix).toMatch(fix);
  });

  test.each(ROW_COLUMNS)('%s is a column of tick rows, and of nothing else', (name) =>
    expect(nameProblem(name, 'p', { field: true })).not.toBeNull(),
  );

  test('columns of answers are taken, for what becomes one', () => {
    expect(nameProblem('event_timestamp', 'p', { field: true })).not.toBeNull();
    expect(nameProblem('event_timestamp', 'p')).toBeNull();
  });
});

const lifetime: Window = { type: 'lifetime' };
const hopping: Window = { type: 'hopping', ms: 604_800_000, hopMs: 86_400_000 };
const calendarDay: Window = { type: 'calendar', unit: 'day', zone: 'Europe/Berlin' };
const sliding = (text: string): Window => {
  const ms = parseDuration(text);
  return { type: 'sliding', ms, hopMs: defaultHop(ms) };
};
const lint = (
  name: string,
  window: Window | null,
  nameException: string | null = null,
  entities = ['user'],
) => lintName({ name, path: 'here', nameException, entities, window });

describe('the lint', () => {
  test.each<[string, Window | null]>([
    ['user_spend_7d', sliding('7d')],
    ['user_clicks_last_30min', sliding('30min')],
    ['user_queries_last_hour', sliding('1h')],
    ['user_queries_last_day', sliding('24h')],
    ['user_spend_last_90_days', sliding('90d')],
    ['user_spend_2w', sliding('14d')],
    ['user_spend_7d', hopping],
    ['user_spend_this_hour', { type: 'tumbling', ms: 3_600_000 }],
    ['user_spend_this_7d', { type: 'tumbling', ms: 604_800_000 }],
    ['user_spend_this_week', { type: 'tumbling', ms: 604_800_000 }],
    ['user_spend_this_15min', { type: 'tumbling', ms: 900_000 }],
    ['user_spend_this_day', calendarDay],
    ['user_pages_this_session', { type: 'session', gapMs: 1_800_000 }],
    ['user_total_purchases', lifetime],
    ['user_spend_all_time', lifetime],
    ['user_avg_order_value_90d', sliding('90d')],
    ['user_last_category_viewed', lifetime],
    ['user_time_since_last_purchase', lifetime],
    ['user_account_age_days', lifetime],
    ['user_days_since_listed', null],
    ['user_latency_p95_1h', sliding('1h')],
    ['user_top3_sku_ids', lifetime],
    ['user_rhythm', lifetime],
    ['user_price_usd_vs_max', null],
  ])('%s is fine', (name, window) => expect(lint(name, window)).toEqual([]));

  test.each<{ name: string; window: Window | null; code: string; fix: string }>([
    { name: 'spend_7d', window: sliding('7d'), code: 'name-entity-first', fix: 'call it user_spend_7d' },
    { name: 'users_spend', window: lifetime, code: 'name-entity-first', fix: 'call it user_users_spend' },
    { name: 'user', window: lifetime, code: 'name-entity-first', fix: 'call it user_user' },
    { name: 'user_spend', window: sliding('7d'), code: 'name-window', fix: 'call it user_spend_7d' },
    { name: 'user_spend_7d', window: sliding('30d'), code: 'name-window', fix: 'write 30d' },
    { name: 'user_spend_last_hour', window: sliding('30min'), code: 'name-window', fix: 'write 30min' },
    { name: 'user_spend_last_month', window: sliding('30d'), code: 'name-window', fix: 'write 30d' },
    { name: 'user_spend_all_time', window: sliding('7d'), code: 'name-window', fix: 'write 7d' },
    { name: 'user_spend_7d', window: lifetime, code: 'name-window', fix: 'write all_time or nothing' },
    { name: 'user_spend_this_week', window: sliding('7d'), code: 'name-window', fix: 'write 7d' },
    {
      name: 'user_spend_last_week',
      window: { type: 'tumbling', ms: 604_800_000 },
      code: 'name-window',
      fix: 'write this_week',
    },
    {
      name: 'user_spend_15min',
      window: { type: 'tumbling', ms: 900_000 },
      code: 'name-window',
      fix: 'write this_15min',
    },
    { name: 'user_spend_last_day', window: calendarDay, code: 'name-window', fix: 'write this_day' },
    { name: 'user_spend', window: calendarDay, code: 'name-window', fix: 'call it user_spend_this_day' },
    {
      name: 'user_pages_30min',
      window: { type: 'session', gapMs: 1_800_000 },
      code: 'name-window',
      fix: 'write this_session',
    },
    { name: 'user_spend_this_week', window: lifetime, code: 'name-window', fix: 'write all_time or nothing' },
    { name: 'user__spend', window: lifetime, code: 'name-snake-case', fix: 'write user_spend' },
    { name: 'user_spend_', window: lifetime, code: 'name-snake-case', fix: 'write user_spend' },
    { name: 'user_purchase_cnt', window: lifetime, code: 'name-abbreviation', fix: 'write count' },
    { name: 'user_ord_value', window: lifetime, code: 'name-abbreviation', fix: 'write order' },
    { name: 'user_qty_7d', window: sliding('7d'), code: 'name-abbreviation', fix: 'write quantity' },
    { name: 'user_prdct_views', window: lifetime, code: 'name-abbreviation', fix: 'write the word out' },
  ])('$name breaks $code: $fix', ({ name, window, code, fix }) => {
    const problems = lint(name, window);
    expect(problems.map((problem) => problem.code)).toEqual([code]);
    expect(problems[0]?.fix).toContain(fix);
    expect(problems[0]?.path).toBe('here');
  });

  test('of any name, over any window, gives problems that say where and what to do', () => {
    const word = fc.oneof(
      fc.constantFrom('last', 'this', 'all', 'time', '7d', '90', 'hour', 'days', 's', 'cnt', 'user'),
      fc.constantFrom(
        ...Object.getOwnPropertyNames(Object.prototype).filter((name) => /^[a-z]+$/.test(name)),
      ),
      fc.stringMatching(/^[a-z][a-z0-9]{0,8}$/),
    );
    const name = fc.array(word, { minLength: 1, maxLength: 5 }).map((words) => `user_${words.join('_')}`);
    const window = fc.constantFrom(null, lifetime, sliding('7d'), calendarDay, hopping);
    fc.assert(
      fc.property(name, window, (drawn, over) => {
        for (const { path, fix } of lint(drawn, over))
          expect([path, fix]).toEqual(['here', expect.stringMatching(/./)]);
      }),
      {
        examples: [
          ['user_last_constructor', lifetime],
          ['user_this_constructor', null],
          ['user_last_7_constructors', null],
        ],
      },
    );
  });

  test('over sessions it may be named after them', () => {
    const names = ['user_avg_session_duration_1h', 'session_page_view_count_1h'];
    expect(names.flatMap((name) => lint(name, sliding('1h'), null, ['user', 'session']))).toEqual([]);
    expect(lint('session_page_view_count_total', lifetime).map(({ code }) => code)).toEqual([
      'name-entity-first',
    ]);
    expect(lint('session_page_view_count_total', lifetime, null, ['user', 'session'])).toEqual([]);
  });

  test('says everything at once', () =>
    expect(lint('tot_amt_30d', sliding('7d')).map((problem) => problem.code)).toEqual([
      'name-entity-first',
      'name-window',
      'name-abbreviation',
      'name-abbreviation',
    ]));

  test('a reason silences it, but for what is no snake_case', () => {
    expect(lint('spend', sliding('7d'), 'the model was trained with it')).toEqual([]);
    expect(lint('tot__amt', sliding('7d'), 'why').map((problem) => problem.code)).toEqual([
      'name-snake-case',
    ]);
  });

  test('a feature over two entities may start with either; one over none with anything', () => {
    expect(lint('item_fit', null, null, ['user', 'item'])).toEqual([]);
    expect(lint('hour_of_request', null, null, [])).toEqual([]);
  });

  test('an entity of several words counts as one', () =>
    expect(lint('user_item_views_7d', sliding('7d'), null, ['user_item'])).toEqual([]));
});

test.each([
  { name: 'spend_last_30min_7d', tokens: ['last_30min', '7d'], rest: ['spend'] },
  { name: 'last_viewed', tokens: [], rest: ['last', 'viewed'] },
  { name: 'spend_this_week', tokens: ['this_week'], rest: ['spend'] },
  { name: 'this_item', tokens: [], rest: ['this', 'item'] },
  { name: 'time_all_time', tokens: ['all_time'], rest: ['time'] },
  { name: 'visits_last_2_weeks', tokens: ['last_2_weeks'], rest: ['visits'] },
])('the windows in $name are $tokens', ({ name, tokens, rest }) => {
  const found = windowTokens(name);
  expect(found.tokens.map((token) => token.text)).toEqual(tokens);
  expect(found.rest).toEqual(rest);
});
