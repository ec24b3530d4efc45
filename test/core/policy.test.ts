/** Each rule that a policy may bend: what breaks it, what it is then by default and by policy; what no policy bends. */
import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { describe, expect, test } from 'vitest';
import { assertSound, checkDefinitions } from '../../core/check.js';
import type { AggregationView, Definitions, OnDemandView, RuleSeverity } from '../../core/definition.js';
import { define, entity } from '../../core/index.js';
import { isRule, RULES, type RuleCode } from '../../core/policy.js';
import { changed, definitions } from '../registry/definitions.js';

const DAY = 86_400_000;
const orders = (all: Definitions): AggregationView => all.views[0] as AggregationView;
const now = (all: Definitions): OnDemandView => all.views[1] as OnDemandView;

/** No rule is broken. */
const sound = changed((all) => {
  all.views[2]!.features[0]!.coldStart = 0;
});

const called = (name: string) => (all: Definitions) => {
  now(all).features[0]!.name = name;
  all.services[0]!.features[1] = `user_now:${name}`;
};

type Rows = Array<{
  code: RuleCode;
  why: string;
  change: (all: Definitions) => void;
  path: string;
  says: RegExp;
}>;
// biome-ignore format: a table, one case a line
const rows: Rows = [
  { code: 'name-snake-case', why: 'two underscores', change: called('user__has'), path: 'views.user_now.features.user__has', says: /snake_case/ },
  { code: 'name-entity-first', why: 'no entity', change: called('has_ordered'), path: 'views.user_now.features.has_ordered', says: /entity/ },
  { code: 'name-window', why: 'another window', change: (all) => (orders(all).features[1]!.name = 'user_amount_cents_7d'), path: 'views.user_orders.features.user_amount_cents_7d', says: /lifetime/ },
  { code: 'name-abbreviation', why: 'a short word', change: called('user_cnt'), path: 'views.user_now.features.user_cnt', says: /abbreviation/ },
  { code: 'ttl', why: 'values that expire between ticks', change: (all) => (orders(all).ttlMs = DAY / 2), path: 'views.user_orders.ttlMs', says: /12h is less than the cadence of 1d/ },
  { code: 'window-retention', why: 'three years in training, ninety days in serving', change: (all) => { all.sources[0]!.retentionMs = 90 * DAY; Object.assign(orders(all).features[0]!, { name: 'user_orders_1095d', window: { type: 'sliding', ms: 1095 * DAY, hopMs: DAY } }); orders(all).features.pop(); now(all).inputs = ['user_orders:user_orders_1095d']; now(all).features[0]!.expression = { op: 'and', args: [{ op: 'isNull', args: [{ col: 'cart_cents' }] }, { op: 'isNull', args: [{ col: 'user_orders_1095d' }] }] }; all.services = []; }, path: 'views.user_orders.features.user_orders_1095d.window', says: /reaches back 1095d.*keeps 90d/ },
  { code: 'cold-start', why: 'no value without history', change: (all) => (orders(all).features[0]!.coldStart = null), path: 'views.user_orders.features.user_user_orders_count_7d.coldStart', says: /is null/ },
  { code: 'schema-skew', why: 'a column that the topic lacks', change: (all) => { const { shop: _, ...rest } = all.sources[0]!.columns; all.sources[0]!.stream = { topic: 'orders', cutAtMs: 0, columns: rest }; }, path: 'sources.orders.stream.columns.shop', says: /missing in the topic; the source declares string\?/ },
  { code: 'schema-skew', why: 'a column of another type', change: (all) => { all.sources[0]!.stream = { topic: 'orders', cutAtMs: 0, columns: { ...all.sources[0]!.columns, amount_cents: { type: 'float64', nullable: true } } }; }, path: 'sources.orders.stream.columns.amount_cents', says: /float64\? in the topic; the source declares int64\?/ },
  { code: 'schema-skew', why: 'a column that may be missing on one side', change: (all) => { all.sources[0]!.stream = { topic: 'orders', cutAtMs: 0, columns: { ...all.sources[0]!.columns, amount_cents: { type: 'int64', nullable: false } } }; }, path: 'sources.orders.stream.columns.amount_cents', says: /is int64 in the topic; the source declares int64\?/ },
  { code: 'schema-skew', why: 'a column that the topic has alone', change: (all) => { all.sources[0]!.stream = { topic: 'orders', cutAtMs: 0, columns: { ...all.sources[0]!.columns, note: { type: 'list<float64>', nullable: true, length: 3 } } }; }, path: 'sources.orders.stream.columns.note', says: /vector\(3\)\? in the topic; the source does not/ },
  { code: 'stream-columns', why: 'a topic of which nobody says what it carries', change: (all) => (all.sources[0]!.stream = { topic: 'orders', cutAtMs: 0 }), path: 'sources.orders.stream.columns', says: /is not said of topic "orders"/ },
  { code: 'request-input', why: 'a field that nobody reads', change: (all) => (now(all).request.unread = 'string'), path: 'views.user_now.request.unread', says: /no feature reads it/ },
  { code: 'request-input', why: 'a feature that nobody reads', change: (all) => now(all).inputs.push('user_rank:user_spend_rank'), path: 'views.user_now.inputs', says: /"user_rank:user_spend_rank"/ },
  { code: 'owner-contact', why: 'an owner nobody can reach', change: (all) => (orders(all).owner = 'growth'), path: 'owners.growth', says: /view "user_orders"/ },
  { code: 'owner-left', why: 'what somebody who left still owns', change: (all) => { all.owners = [{ name: 'ann', contact: 'ann@shop.example', hasLeft: true }]; orders(all).owner = 'ann'; all.services[0]!.owner = 'ann'; }, path: 'owners.ann', says: /has left and owns view "user_orders", service "checkout"/ },
];

test('what breaks no rule has no problem and no warning, even if all are errors', () => {
  const policy = Object.fromEntries(Object.keys(RULES).map((code) => [code, 'error' as const]));
  const { problems, warnings } = checkDefinitions({ ...sound, policy });
  expect({ problems, warnings }).toEqual({ problems: [], warnings: [] });
});

describe.each(rows)('$code: $why', ({ code, change, path, says }) => {
  const broken = changed(change, sound);
  const told = (severity?: RuleSeverity) => {
    const { problems, warnings } = checkDefinitions({
      ...broken,
      ...(severity && { policy: { [code]: severity } }),
    });
    const of = (list: typeof problems | typeof warnings) =>
      list.filter((problem) => problem.code === code).map((problem) => ({ ...problem, code: undefined }));
    return { error: of(problems), warning: of(warnings), off: [] };
  };
  const one = [{ path, message: expect.stringMatching(says), fix: expect.stringMatching(/./) }];

  test('is by default what the table says', () => {
    const { severity } = RULES[code];
    const expected = { error: [], warning: [], off: [] };
    expect(told()).toMatchObject(severity === 'off' ? expected : { ...expected, [severity]: one });
  });
  test('is what the policy says', () => {
    expect(told('error')).toMatchObject({ error: one, warning: [] });
    expect(told('warning')).toMatchObject({ error: [], warning: one });
    expect(told('off')).toMatchObject({ error: [], warning: [] });
  });
  test('is left to the policy by what does not know it', () =>
    expect(() => assertSound(broken)).not.toThrow());
});

describe('the policy itself', () => {
  test.each<{ why: string; all: object; path: string; says: RegExp; fix: RegExp }>([
    {
      why: 'a rule that there is not',
      all: { policy: { 'name-windows': 'off' } },
      path: 'policy.name-windows',
      says: /no such rule/,
      fix: /name-window/,
    },
    {
      why: 'another severity',
      all: { policy: { ttl: 'ignore' } },
      path: 'policy.ttl',
      says: /"ignore"/,
      fix: /error, warning, off/,
    },
    { why: 'a list', all: { policy: [] }, path: 'policy', says: /holds/, fix: /object/ },
    {
      why: 'what is structure',
      all: { policy: { structure: 'off' } },
      path: 'policy.structure',
      says: /no such/,
      fix: /./,
    },
    {
      why: 'a project that is no name',
      all: { project: 'The Shop' },
      path: 'project',
      says: /is no name/,
      fix: /the_shop/,
    },
    {
      why: 'an owner twice',
      all: { owners: [ann(), ann()] },
      path: 'owners.ann',
      says: /two owners/,
      fix: /rename/,
    },
    {
      why: 'an owner in two spellings',
      all: { owners: [ann('Jos\u00e9'), ann('Jose\u0301')] },
      path: 'owners.Jose\u0301',
      says: /another spelling/,
      fix: /once/,
    },
    {
      why: 'no contact',
      all: { owners: [{ name: 'ann' }] },
      path: 'owners.ann.contact',
      says: /missing/,
      fix: /string/,
    },
  ])('$why is refused', ({ all, path, says, fix }) => {
    const { problems } = checkDefinitions({ ...sound, ...all });
    expect(problems).toEqual([
      {
        code: expect.any(String),
        path,
        message: expect.stringMatching(says),
        fix: expect.stringMatching(fix),
      },
    ]);
    expect(isRule(problems[0]!.code)).toBe(false);
  });
  test('what does not work is no rule: no policy lets it pass', () => {
    const policy = Object.fromEntries(Object.keys(RULES).map((code) => [code, 'off' as const]));
    const wrong = changed((all) => {
      now(all).features[0]!.expression = { col: 'discount' };
    }, sound);
    expect(checkDefinitions({ ...wrong, policy }).problems).toMatchObject([{ code: 'unknown-input' }]);
  });
  test('two views of a service that ask for one field as two types', () => {
    const wrong = changed((all) => {
      const twin = structuredClone(now(all));
      Object.assign(twin, { name: 'user_then', request: { cart_cents: 'string' }, inputs: [] });
      Object.assign(twin.features[0]!, {
        name: 'user_has_cart',
        expression: { op: 'isNull', args: [{ col: 'cart_cents' }] },
      });
      all.views.push(twin);
      all.services[0]!.features.push('user_then:user_has_cart');
    }, sound);
    expect(checkDefinitions(wrong).problems).toMatchObject([
      { code: 'type', path: 'services.checkout.features', message: /int64.*string/ },
    ]);
  });
});

function ann(name = 'ann'): { name: string; contact: string } {
  return { name, contact: 'ann@shop.example' };
}

test('an owner of one spelling is found by the other', () => {
  const { warnings } = checkDefinitions(
    changed((all) => {
      all.owners = [ann('Jos\u00e9')];
      orders(all).owner = 'Jose\u0301';
    }, sound),
  );
  expect(warnings).toEqual([]);
});

test('no policy, no owners: the same as empty ones', () => {
  const { definitions: empty } = checkDefinitions({ ...definitions(), policy: {}, owners: [] });
  expect(empty).toEqual(checkDefinitions(definitions()).definitions);
});

test('define takes owners', () => {
  const user = entity('user', { description: 'x', owner: 'growth', keys: { user_id: 'string' } });
  const owners = [{ name: 'growth', contact: '#growth' }];
  expect(define([user], { owners }).owners).toEqual(owners);
});

test('docs/definitions.md has the rules, their defaults and what they say', () => {
  const page = readFileSync(fileURLToPath(new URL('../../docs/definitions.md', import.meta.url)), 'utf8');
  const told = [...page.matchAll(/^\| `([a-z-]+)` +\| (error|warning|off) +\| (.+?) +\|$/gm)].map(
    ([, code, severity, says]) => [code, { severity, says }],
  );
  expect(Object.fromEntries(told)).toEqual(RULES);
});
