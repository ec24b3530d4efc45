import { describe, expect, test } from 'vitest';
import { encodeKey } from '../../core/codec/key.js';
import type { View } from '../../core/definition.js';
import {
  checkLock,
  isCanary,
  type Lock,
  type LockableVersion,
  lockOf,
  lockText,
  readLock,
} from '../../core/lock.js';
import { aggregationView, definitions, entity, onDemandView, sqlView } from '../registry/definitions.js';

const hashOf = (view: string, version: number): string =>
  Array.from(`${view}${version}`)
    .map((letter) => letter.charCodeAt(0).toString(16))
    .join('')
    .padEnd(64, '0')
    .slice(-64);

function version(
  definition: View,
  number: number,
  state: LockableVersion['state'],
  kept = true,
): LockableVersion {
  return {
    view: definition.name,
    version: number,
    hash: hashOf(definition.name, number),
    state,
    kept: kept ? { definition, entity: definition.kind === 'onDemand' ? null : entity() } : null,
  };
}

const listed = definitions();
const orders = aggregationView();
const without = { ...orders, features: orders.features.slice(1) };
const texts = {
  ...orders,
  features: [{ ...orders.features[0]!, type: 'string' as const }, orders.features[1]!],
};
const versions = [
  version(orders, 1, 'retired', false),
  version(orders, 2, 'deprecated'),
  version(orders, 3, 'live'),
  version(without, 4, 'shadow', false),
  version(without, 5, 'canary'),
  version(texts, 6, 'canary'),
  version(onDemandView(), 1, 'live'),
  version(sqlView('user_else'), 1, 'live'),
];
const lock = lockOf('churn', listed, versions, ['checkout']);

const pin = (view: string, number: number) => ({ version: number, hash: hashOf(view, number) });
const changed = (pins: Record<string, ReturnType<typeof pin> | undefined>): Lock =>
  JSON.parse(
    JSON.stringify({ ...lock, services: { checkout: { ...lock.services.checkout, ...pins } } }),
  ) as Lock;

test('a lock holds every view that a service reads, those of on-demand inputs too, at its live version', () => {
  expect(lock).toEqual({
    lock: 1,
    model: 'churn',
    services: { checkout: { user_orders: pin('user_orders', 3), user_now: pin('user_now', 1) } },
    features: { checkout: listed.services[0]!.features },
  });
  const [checkout] = listed.services;
  const alone = { services: [{ ...checkout!, features: ['user_now:user_has_ordered'] }] };
  expect(lockOf('churn', alone, versions, ['checkout'])).toEqual({
    ...lock,
    features: { checkout: alone.services[0]!.features },
  });
  expect(checkLock(lock, versions, listed)).toEqual([]);
});

test('its text has one form, and comes back', () => {
  const shuffled = {
    services: { checkout: Object.fromEntries(Object.entries(lock.services.checkout!).reverse()) },
    features: lock.features,
    model: 'churn',
    lock: 1,
  } as const;
  expect(lockText(shuffled)).toBe(lockText(lock));
  expect(lockText(lock)).toMatch(/^\{\n {2}"features": \{\n[\s\S]*\n {2}"lock": 1,\n[\s\S]*\n\}\n$/);
  expect(readLock(lockText(lock), 'almanac.lock')).toEqual(lock);
});

test.each([
  { text: '{', says: /almanac\.lock is no JSON/, why: 'no JSON' },
  { text: '{"lock":2,"model":"churn","services":{}}', says: /lock: /, why: 'another layout' },
  { text: '{"lock":1,"model":"../churn","services":{}}', says: /model: is no name/, why: 'no name' },
  {
    text: '{"lock":1,"model":"a","services":{"s":{"v":{"version":1}}}}',
    says: /services\.s\.v\.hash/,
    why: 'no hash',
  },
  { text: '{"lock":1,"model":"a","services":{}}', says: /features: /, why: 'no features' },
  {
    text: '{"lock":1,"model":"a","services":{},"features":{"s":["v"]}}',
    says: /features\.s\.0: is not of the form view:feature/,
    why: 'a feature of no view',
  },
  { text: '{"lock":1,"model":"a","services":{},"more":1}', says: /more/, why: 'a field too many' },
])('a file of $why is no lock', ({ text, says }) => {
  expect(() => readLock(text, 'almanac.lock')).toThrow(says);
});

describe('what keeps a model from reading by a lock', () => {
  test.each<{ why: string; given: Lock; says: string[] }>([
    {
      why: 'a version that models go on reading is none',
      given: changed({ user_orders: pin('user_orders', 2) }),
      says: [],
    },
    {
      why: 'an unknown service, with the nearest',
      given: {
        ...lock,
        services: { chekout: lock.services.checkout! },
        features: { chekout: lock.features.checkout! },
      },
      says: ['services.chekout: there is no service "chekout" → did you mean "checkout"?'],
    },
    {
      why: 'no service',
      given: { ...lock, services: {}, features: {} },
      says: ['services: it names no service → name what the model reads'],
    },
    {
      why: 'services and features of different names',
      given: { ...lock, features: { other: lock.features.checkout! } },
      says: [
        'features.checkout: the lock does not say which features of "checkout" it is for → lock again: almanac lock churn --next',
        'features.other: the lock has no versions for "other" → leave it out, or lock again: almanac lock churn --next',
      ],
    },
    {
      why: 'a feature twice',
      given: {
        ...lock,
        features: { checkout: [...lock.features.checkout!, 'user_now:user_has_ordered'] },
      },
      says: [
        'features.checkout: "user_now:user_has_ordered" and "user_now:user_has_ordered" have one short name → leave one of them out',
      ],
    },
    {
      why: 'an unknown view',
      given: changed({ user_order: pin('user_order', 1) }),
      says: ['services.checkout.user_order: there is no view "user_order" → did you mean "user_orders"?'],
    },
    {
      why: 'an unknown version, with those there are',
      given: changed({ user_now: pin('user_now', 7) }),
      says: ['services.checkout.user_now: "user_now" has no version 7 → it has v1 (live)'],
    },
    {
      why: 'another hash',
      given: changed({ user_now: { version: 1, hash: 'f'.repeat(64) } }),
      says: [expect.stringContaining('the lock says ffffffffffffffff')],
    },
    {
      why: 'a retired version',
      given: changed({ user_orders: pin('user_orders', 1) }),
      says: [expect.stringContaining('user_orders v1 is retired')],
    },
    {
      why: 'a version that is not kept up to date',
      given: changed({ user_orders: pin('user_orders', 4) }),
      says: [expect.stringContaining('not kept up to date')],
    },
    {
      why: 'a view that it lacks, read by an input alone',
      given: changed({ user_orders: undefined }),
      says: [
        'services.checkout.user_orders: its features read "user_orders", which the lock lacks → lock again: almanac lock churn --next',
      ],
    },
    {
      why: 'a view too many',
      given: changed({ user_else: pin('user_else', 1) }),
      says: [expect.stringContaining('none of its features reads "user_else"')],
    },
    {
      why: 'a version without a feature that the service and an input name',
      given: changed({ user_orders: pin('user_orders', 5) }),
      says: Array(2).fill(
        expect.stringContaining('user_orders v5 has no feature "user_user_orders_count_7d"'),
      ),
    },
    {
      why: 'an input of another type',
      given: changed({ user_orders: pin('user_orders', 6) }),
      says: [expect.stringContaining('user_now v1 cannot compute "user_has_ordered"')],
    },
    {
      why: 'everything at once',
      given: changed({ user_orders: pin('user_orders', 1), user_now: pin('user_now', 7) }),
      says: [expect.stringContaining('user_now'), expect.stringContaining('retired')],
    },
  ])('$why', ({ given, says }) => {
    expect(
      checkLock(given, versions, listed).map(({ path, message, fix }) => `${path}: ${message} → ${fix}`),
    ).toEqual(says);
  });

  test('what the service lists by now is nothing to it', () => {
    const [checkout] = listed.services;
    const grown = {
      services: [{ ...checkout!, features: [...checkout!.features, 'user_orders:user_added'] }],
    };
    expect(checkLock(lock, versions, grown)).toEqual([]);
  });

  test('of many unknown names the first have the nearest', () => {
    const many = Object.fromEntries(
      Array.from({ length: 500 }, (_, index) => [
        `user_orders${String(index).padStart(3, '0')}`,
        pin('user_orders', 1),
      ]),
    );
    const fixes = checkLock(changed(many), versions, listed).map(({ fix }) => fix);
    expect(fixes).toEqual([
      ...Array(20).fill('did you mean "user_orders"?'),
      ...Array(480).fill('lock again: almanac lock churn --next'),
    ]);
  });

  test('a lock of too much is not looked into', () => {
    const many = Object.fromEntries(
      Array.from({ length: 10_000 }, (_, index) => [`view_${index}`, pin('user_orders', 1)]),
    );
    expect(checkLock({ ...lock, services: { checkout: many } }, versions, listed)).toEqual([
      {
        path: 'services',
        message: 'it holds 10002 versions and features, the limit is 10000',
        fix: 'lock the services that the model reads, and no others',
      },
    ]);
  });

  test('request fields of two types', () => {
    const other = { ...onDemandView('user_soon'), request: { cart_cents: 'float64' as const } };
    other.features = [{ ...other.features[0]!, name: 'user_will_order' }];
    const both = {
      services: [{ name: 'both', features: ['user_now:user_has_ordered', 'user_soon:user_will_order'] }],
    };
    const all = [...versions, version(other, 1, 'live')];
    expect(checkLock(lockOf('churn', both, all, ['both']), all, both)).toMatchObject([
      {
        path: 'services.both.user_soon',
        message: 'what a request gives as "cart_cents" is float64 there, int64 in "user_now"',
      },
    ]);
  });

  test('join keys of two types', () => {
    const other = version(aggregationView('user_other'), 1, 'live');
    const keyed = {
      ...other,
      kept: { ...other.kept!, entity: entity('user', [{ name: 'user_id', type: 'string' as never }]) },
    };
    const both = {
      services: [
        {
          name: 'both',
          features: ['user_orders:user_user_orders_count_7d', 'user_other:user_user_other_count_7d'],
        },
      ],
    };
    const given = lockOf('churn', both, [...versions, keyed], ['both']);
    expect(checkLock(given, [...versions, keyed], both)).toMatchObject([
      { path: 'services.both.user_other', message: expect.stringContaining('"user_id" is string') },
    ]);
  });
});

describe('the canary', () => {
  const user = entity();
  const chosen = (model: string, share: number): number[] =>
    Array.from({ length: 20_000 }, (_, id) => id).filter((id) =>
      isCanary(model, encodeKey(user, [id]), share),
    );

  test.each([0, 0.01, 0.1, 0.5, 0.9, 1])('gets its share of the entities: %d', (share) => {
    // 5 standard deviations of a fair draw
    const most = 5 * Math.sqrt(20_000 * share * (1 - share));
    expect(Math.abs(chosen('churn', share).length - 20_000 * share)).toBeLessThanOrEqual(most);
  });
  test('keeps whom it has when its share grows', () => {
    const before = chosen('churn', 0.1);
    const after = new Set(chosen('churn', 0.3));
    expect(before.every((id) => after.has(id))).toBe(true);
  });
  test('of another model has others', () => {
    const fraud = new Set(chosen('fraud', 0.5));
    expect(chosen('churn', 0.5).filter((id) => fraud.has(id)).length / 20_000).toBeCloseTo(0.25, 1);
  });
});
