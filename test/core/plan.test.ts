import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { canonicalDefinitions, canonicalJson } from '../../core/canonical.js';
import { assertDefinitions, type Problem } from '../../core/check.js';
import type { AggregationView, Definitions } from '../../core/definition.js';
import { differences, type FieldChange } from '../../core/difference.js';
import { FeatureStoreError } from '../../core/error.js';
import type { Archived, Facts, Model } from '../../core/impact.js';
import {
  type Current,
  hashPlan,
  type Plan,
  planDefinitions,
  planExitCode,
  removals,
} from '../../core/plan.js';
import { renderPlan, renderPlanMarkdown } from '../../core/render-plan.js';
import { changed, definitions, entity, source, type sqlView } from '../registry/definitions.js';
import { applyPlanTo, edit, edited, repository } from '../registry/model.js';

const EMPTY: Current = { revision: 0, definitions: null, versions: [] };
const ARCHIVED: Archived = { orders: { events: 1_234_567, finishedImports: 1 } };

const applied = (next: unknown, current = EMPTY, archived = ARCHIVED): Current =>
  applyPlanTo(current, planDefinitions(current, next, { archived }));

/** "sign kind name version" of each change, and its fields' paths. */
const shape = (plan: Plan): string[] =>
  plan.changes.flatMap((change) => [
    `${change.action} ${change.kind} ${change.name}${change.kind === 'view' ? ` v${change.version}` : ''}`,
    ...change.fields.map(({ path }) => `  ${path}`),
  ]);

const view = (all: Definitions, name = 'user_orders'): AggregationView =>
  all.views.find((each) => each.name === name) as AggregationView;

test('everything is new in an empty registry', () => {
  const plan = planDefinitions(EMPTY, definitions(), { archived: ARCHIVED });
  expect(shape(plan)).toEqual([
    'create entity user',
    'create source orders',
    'create view user_now v1',
    'create view user_orders v1',
    'create view user_rank v1',
    'create service checkout',
  ]);
  expect(plan.changes.map((change) => (change.kind === 'view' ? change.rowsToScan : '-'))).toEqual([
    '-',
    '-',
    0,
    1_234_567,
    null,
    '-',
  ]);
  expect(plan.empty).toBe(false);
});

describe('one change', () => {
  test.each<{ why: string; change: (all: Definitions) => void; expected: string[] }>([
    { why: 'nothing', change: () => {}, expected: [] },
    {
      why: 'another order of everything that has no order',
      change: (all) => {
        all.views.reverse();
        view(all).features.reverse();
      },
      expected: [],
    },
    {
      why: 'an owner: no new version',
      change: (all) => (view(all).owner = 'else@shop.example'),
      expected: ['change view user_orders v1', '  owner'],
    },
    {
      why: 'a description of a feature: no new version',
      change: (all) => (view(all).features[0]!.description = 'else'),
      expected: ['change view user_orders v1', '  features.user_user_orders_count_7d.description'],
    },
    {
      why: 'a filter: a new version',
      change: (all) => (view(all).where = { op: 'eq', args: [{ col: 'shop' }, { lit: 'a' }] }),
      expected: ['version view user_orders v2', '  where'],
    },
    {
      why: 'a feature more: a new version',
      change: (all) =>
        view(all).features.push({
          ...view(all).features[0]!,
          name: 'user_more_7d',
          aggregation: { op: 'count' },
        }),
      expected: ['version view user_orders v2', '  features.user_more_7d'],
    },
    {
      why: 'a window: its length and its hop, by path',
      change: (all) => {
        view(all).features[0]!.nameException = 'kept';
        view(all).features[0]!.window = { type: 'sliding', ms: 14 * 86_400_000, hopMs: 1_000 };
      },
      expected: [
        'version view user_orders v2',
        '  features.user_user_orders_count_7d.nameException',
        '  features.user_user_orders_count_7d.window.hopMs',
        '  features.user_user_orders_count_7d.window.ms',
      ],
    },
    {
      why: 'what a source says of lateness: a new version of its views, which says why',
      change: (all) => (all.sources[0]!.allowedLatenessMs = 5),
      expected: [
        'change source orders',
        '  allowedLatenessMs',
        'version view user_orders v2',
        '  source.allowedLatenessMs',
      ],
    },
    {
      why: 'a new nullable column nobody reads: no new version',
      change: (all) => (all.sources[0]!.columns.note = { type: 'string', nullable: true }),
      expected: ['change source orders', '  columns.note'],
    },
    {
      why: 'new columns that are called like parts of an expression',
      change: (all) => {
        for (const name of ['col', 'lit', 'args', 'op'])
          all.sources[0]!.columns[name] = { type: 'string', nullable: true };
      },
      expected: ['change source orders', '  columns.args', '  columns.col', '  columns.lit', '  columns.op'],
    },
    {
      why: 'a column that nobody reads is removed',
      change: (all) => delete all.sources[0]!.columns.shop,
      expected: ['change source orders', '  columns.shop'],
    },
    {
      why: 'a join key of another type: every stored view is computed again',
      change: (all) => {
        all.entities[0]!.keys[0]!.name = 'member_id';
        (all.views[2] as ReturnType<typeof sqlView>).query =
          'select member_id, at as event_timestamp, r as user_spend_rank from ranks where at <= :as_of';
      },
      expected: [
        'change entity user',
        '  keys.member_id',
        '  keys.user_id',
        'version view user_orders v2',
        '  entity.keys.member_id',
        '  entity.keys.user_id',
        'version view user_rank v2',
        '  query',
        '  entity.keys.member_id',
        '  entity.keys.user_id',
      ],
    },
    {
      why: 'the features of a service, whose order counts',
      change: (all) => all.services[0]!.features.reverse(),
      expected: ['change service checkout', '  features'],
    },
    {
      why: 'a service is removed',
      change: (all) => all.services.pop(),
      expected: ['remove service checkout'],
    },
    {
      why: 'a view that is not used is removed',
      change: (all) => (all.views = all.views.filter(({ name }) => name !== 'user_rank')),
      expected: ['remove view user_rank v1'],
    },
    {
      why: 'a view is renamed: one goes, one comes',
      change: (all) => (all.views[2]!.name = 'user_place'),
      expected: ['create view user_place v1', 'remove view user_rank v1'],
    },
    {
      why: 'whose they are, a rule and an owner',
      change: (all) => {
        all.project = 'shop';
        all.policy = { ttl: 'warning' };
        all.owners = [{ name: 'ann', contact: 'ann@shop.example' }];
      },
      expected: ['create project shop', 'create policy ttl', 'create owner ann'],
    },
    {
      why: 'what the version that is live is to the one before: no new version',
      change: (all) => (view(all).succeeds = { version: 1, as: 'same', reason: 'x' }),
      expected: ['change view user_orders v1', '  succeeds'],
    },
    {
      why: 'what is expected of values: no new version',
      change: (all) => (view(all).expectations = [{ type: 'unique', severity: 'warn' }]),
      expected: ['change view user_orders v1', '  expectations'],
    },
    {
      why: 'what a topic carries: no new version',
      change: (all) =>
        (all.sources[0]!.stream = { topic: 'orders', cutAtMs: 0, columns: all.sources[0]!.columns }),
      expected: ['change source orders', '  stream'],
    },
  ])('$why', ({ change, expected }) => {
    const current = applied(definitions());
    const next = changed(change);
    const plan = planDefinitions(current, next, { archived: ARCHIVED });
    expect(shape(plan)).toEqual(expected);
    expect(plan.empty).toBe(expected.length === 0);
    expect(planExitCode(plan)).toBe(expected.length === 0 ? 0 : 2);
    expect(applyPlanTo(current, plan).definitions).toEqual(assertDefinitions(next));
  });
});

describe('versions', () => {
  const other = changed((all) => (view(all).where = { op: 'isNull', args: [{ col: 'shop' }] }));
  const versionsOf = (current: Current): string[] =>
    current.versions
      .filter((each) => each.view === 'user_orders')
      .map((each) => `${each.version} ${each.state}`);

  test('going back takes up the version that there was', () => {
    const [first, second] = [applied(definitions()), applied(other, applied(definitions()))];
    expect(versionsOf(second)).toEqual(['1 deprecated', '2 live']);
    const plan = planDefinitions(second, definitions(), { archived: ARCHIVED });
    expect(plan.changes[0]).toMatchObject({
      action: 'version',
      version: 1,
      reused: true,
      replaces: 2,
      rowsToScan: 1_234_567,
    });
    expect(versionsOf(applyPlanTo(second, plan))).toEqual(['1 live', '2 deprecated']);
    expect(first.definitions).toEqual(applyPlanTo(second, plan).definitions);
  });
  test('removed and defined again, it is the version it was', () => {
    const without = changed((all) => {
      all.views = all.views.filter(({ name }) => name !== 'user_rank');
    });
    const gone = applied(without, applied(definitions()));
    expect(shape(planDefinitions(gone, definitions(), { archived: ARCHIVED }))).toEqual([
      'create view user_rank v1',
    ]);
  });
  test('numbers of abandoned versions are not given again', () => {
    const current = applied(definitions());
    const versions = [
      ...current.versions,
      { view: 'user_orders', version: 7, hash: 'x', state: 'abandoned' as const },
    ];
    expect(shape(planDefinitions({ ...current, versions }, other, { archived: ARCHIVED }))[0]).toBe(
      'version view user_orders v8',
    );
  });
});

describe('refused', () => {
  const problemsOf = (next: unknown, archived = ARCHIVED, current = applied(definitions())): string[] => {
    try {
      planDefinitions(current, next, { archived });
    } catch (error) {
      expect(error).toBeInstanceOf(FeatureStoreError);
      const { code, details } = error as FeatureStoreError;
      expect(code).toBe('FS_DEFINITION_INVALID');
      const problems = details.problems as Problem[];
      for (const problem of problems) expect(problem.fix).not.toBe('');
      return problems.map(({ path, message }) => `${path}: ${message}`);
    }
    return [];
  };

  test.each<{ why: string; change: (all: Definitions) => void; path: string }>([
    {
      why: 'a source that a view reads',
      change: (all) => (all.sources = []),
      path: 'sources.orders: is removed, but view "user_orders" reads it',
    },
    {
      why: 'an entity that views have',
      change: (all) => (all.entities = []),
      path: 'entities.user: is removed, but view "user_orders" reads it',
    },
    {
      why: 'a view that a service and a view read',
      change: (all) => (all.views = all.views.filter(({ kind }) => kind !== 'aggregation')),
      path: 'views.user_orders: is removed, but service "checkout" reads it',
    },
    {
      why: 'a column that a view reads',
      change: (all) => delete all.sources[0]!.columns.amount_cents,
      path: 'sources.orders.columns.amount_cents: is removed, but view "user_orders" reads it',
    },
    {
      why: 'another type under archived events',
      change: (all) => (all.sources[0]!.columns.shop!.type = 'int64'),
      path: 'sources.orders.columns.shop.type: was string and becomes int64, with 1234567 events archived',
    },
    {
      why: 'a column that may be missing no more',
      change: (all) => (all.sources[0]!.columns.shop!.nullable = false),
      path: 'sources.orders.columns.shop.nullable: becomes false, with 1234567 events archived that may lack it',
    },
    {
      why: 'a new column that archived events lack',
      change: (all) => (all.sources[0]!.columns.note = { type: 'string', nullable: false }),
      path: 'sources.orders.columns.note.nullable: is false in a new column, which the 1234567 archived events lack',
    },
    {
      why: 'another event time',
      change: (all) => (all.sources[0]!.eventTime = 'known_at'),
      path: 'sources.orders.eventTime: was "ordered_at" and becomes "known_at", with 1234567 events archived by it',
    },
  ])('$why', ({ change, path }) => expect(problemsOf(changed(change))).toContain(path));

  test('while nothing is archived a source may become anything', () => {
    const next = changed((all) => {
      all.sources[0]!.columns.shop = { type: 'int64', nullable: false };
      all.sources[0]!.columns.note = { type: 'string', nullable: false };
      all.sources[0]!.eventTime = 'known_at';
    });
    expect(problemsOf(next, {})).toEqual([]);
  });
  test.each([
    ['null', null],
    ['a list', []],
    ['text', 'text'],
    ['an empty object', {}],
    ['a field more', { ...definitions(), more: 1 }],
    ['half a view', { ...definitions(), views: [{ name: 'x' }] }],
  ])('%s is no set of definitions', (_, json) => expect(problemsOf(json).length).toBeGreaterThan(0));
  test('every problem at once', () => {
    const next = changed((all) => {
      all.sources[0]!.columns.shop!.type = 'int64';
      all.services[0]!.features.push('user_orders:nothing');
      all.views[0]!.name = 'Bad Name';
    });
    expect(problemsOf(next).length).toBeGreaterThanOrEqual(3);
  });
});

describe('owners, rules and the project', () => {
  const first = changed((all) => {
    all.project = 'shop';
    all.policy = { ttl: 'warning', succession: 'off' };
    all.owners = [{ name: 'ann', contact: 'ann@shop.example' }];
  });
  const current = applied(first);
  test('are compared by name, and change no version', () => {
    const plan = planDefinitions(
      current,
      changed((all) => {
        all.policy = { ttl: 'off' };
        all.owners![0]!.hasLeft = true;
      }, first),
      { archived: ARCHIVED },
    );
    expect(shape(plan)).toEqual([
      'remove policy succession',
      'change policy ttl',
      '  severity',
      'change owner ann',
      '  hasLeft',
    ]);
    expect(removals(plan)).toEqual([]);
  });
  test.each([
    ['another', 'ads', /holds project "shop"; these definitions are "ads"'s/],
    ['none', undefined, /holds project "shop"; these definitions are of none/],
  ])('definitions of %s project are refused by name', (_, project, says) => {
    const { project: __, ...rest } = first;
    expect(() => planDefinitions(current, { ...rest, ...(project && { project }) }, {})).toThrow(says);
  });
});

describe('who is touched', () => {
  const hash = 'x';
  const ranker: Model = {
    name: 'ranker',
    owner: 'ann',
    lock: { checkout: { user_orders: { version: 1, hash }, user_now: { version: 1, hash } } },
  };
  const facts: Facts = {
    archived: ARCHIVED,
    models: [ranker],
    trainingSets: [
      { id: 'first', versions: ['user_orders@1', 'user_rank@1'] },
      { id: 'other', versions: ['user_rank@1'] },
    ],
    stored: { user_orders: { entities: 1000, rowBytes: 500_000 } },
  };
  const current = applied(definitions());
  const next = (succeeds?: Succeeds) =>
    changed((all) => {
      view(all).minEvents = 3;
      if (succeeds) view(all).succeeds = succeeds;
    });
  type Succeeds = NonNullable<AggregationView['succeeds']>;
  const changeOf = (plan: Plan) => plan.changes.find((change) => change.kind === 'view')!;

  test.each<{ why: string; succeeds?: Succeeds; succession: string; retrain: boolean; warned: boolean }>([
    { why: 'said of nothing', succession: 'undeclared', retrain: true, warned: true },
    {
      why: 'the same',
      succeeds: { version: 1, as: 'same', reason: 'x' },
      succession: 'same',
      retrain: false,
      warned: false,
    },
    {
      why: 'a fix',
      succeeds: { version: 1, as: 'fix', reason: 'x' },
      succession: 'fix',
      retrain: true,
      warned: false,
    },
    {
      why: 'another meaning',
      succeeds: { version: 1, as: 'breaking', reason: 'x' },
      succession: 'breaking',
      retrain: true,
      warned: false,
    },
    {
      why: 'said of an older version',
      succeeds: { version: 7, as: 'same', reason: 'x' },
      succession: 'undeclared',
      retrain: true,
      warned: true,
    },
  ])('a new version, $why', ({ succeeds, succession, retrain, warned }) => {
    const plan = planDefinitions(current, next(succeeds), facts);
    expect(changeOf(plan)).toMatchObject({
      action: 'version',
      succession,
      touched: {
        services: ['checkout'],
        models: [{ name: 'ranker', owner: 'ann', services: ['checkout'], version: 1, retrain }],
        trainingSets: ['first'],
      },
    });
    expect(plan.warnings.map(({ code }) => code)).toEqual(warned ? ['succession'] : []);
  });
  test('a policy may demand that it is said', () =>
    expect(() => planDefinitions(current, { ...next(), policy: { succession: 'error' } }, facts)).toThrow(
      /views.user_orders.succeeds: is not said of v2, which replaces v1/,
    ));
  test('a service that reads the view by an on-demand feature is touched', () => {
    const only = changed((all) => (all.services[0]!.features = ['user_now:user_has_ordered']));
    const plan = planDefinitions(
      applied(only),
      changed((all) => (view(all).minEvents = 3), only),
      facts,
    );
    expect(changeOf(plan).touched.services).toEqual(['checkout']);
  });
  test.each<{ why: string; change: (all: Definitions) => void; says: RegExp }>([
    {
      why: 'a view',
      change: (all) => {
        all.views = all.views.filter(({ kind }) => kind === 'sql');
        all.services = [];
      },
      says: /views.user_orders: is removed, but in the lock of model "ranker" \(v1, by checkout\)/,
    },
    {
      why: 'a service',
      change: (all) => (all.services = []),
      says: /services.checkout: is removed, but in the lock of model "ranker"/,
    },
  ])('$why that a lock names is not removed', ({ change, says }) =>
    expect(() => planDefinitions(current, changed(change), facts)).toThrow(says),
  );
  describe('of the source of a version that a lock names nothing is taken away, though what is live reads it no more', () => {
    // As it is after the view has moved to another source, and to other columns.
    const moved = changed((all) => {
      all.sources.push(source('purchases'));
      const live = view(all);
      live.source = 'purchases';
      live.features = live.features.slice(0, 1);
    });
    const [old] = definitions().sources;
    const locked: Facts['locked'] = [
      { view: view(definitions()), version: 1, source: old! },
      { view: definitions().views[1]!, version: 1, source: null },
    ];
    const orders = (all: Definitions) => all.sources.find(({ name }) => name === 'orders')!;
    test.each<{ why: string; change: (all: Definitions) => void; says: string }>([
      {
        why: 'it itself',
        change: (all) => (all.sources = all.sources.filter(({ name }) => name !== 'orders')),
        says: 'sources.orders: is removed, but user_orders v1 reads it, in the lock of model "ranker"',
      },
      {
        why: 'a column',
        change: (all) => delete orders(all).columns.amount_cents,
        says: 'sources.orders.columns.amount_cents: is removed, but user_orders v1 reads it',
      },
      {
        why: 'that a column is always there',
        change: (all) => (orders(all).columns.user_id!.nullable = true),
        says: 'sources.orders.columns.user_id: is changed, but user_orders v1 reads it',
      },
      {
        why: 'that every row is an event',
        change: (all) => {
          orders(all).columns.cancels = { type: 'string', nullable: true };
          orders(all).retracts = 'cancels';
        },
        says: 'sources.orders.retracts: is changed, but user_orders v1 reads it',
      },
    ])('$why', ({ change, says }) => {
      const next = changed(change, moved);
      expect(planDefinitions(applied(moved), next, { archived: ARCHIVED }).empty).toBe(false);
      expect(() => planDefinitions(applied(moved), next, { ...facts, locked })).toThrow(says);
    });
    test('what it does not read may go', () => {
      const next = changed((all) => {
        delete orders(all).columns.shop;
        orders(all).columns.note = { type: 'string', nullable: true };
      }, moved);
      expect(shape(planDefinitions(applied(moved), next, { ...facts, locked }))).toEqual([
        'change source orders',
        '  columns.note',
        '  columns.shop',
      ]);
    });
  });
  test('a model of somebody who left is named', () => {
    const left = changed((all) => (all.owners = [{ name: 'ann', contact: 'x', hasLeft: true }]));
    expect(planDefinitions(current, left, facts).warnings).toMatchObject([
      { code: 'owner-left', path: 'owners.ann', message: 'has left and owns model "ranker"' },
    ]);
  });
  test('costs come from what the version that is live has', () => {
    const { estimate } = changeOf(planDefinitions(current, next(), facts));
    expect(estimate.minutes).toBeCloseTo(1_234_567 / 50_000 / 60);
    expect(estimate.postgresBytes).toBe(500_000 + 1000 * (60 + 10));
    expect(estimate.redisBytes).toBe(1000 * (60 + 10));
  });
  test('what nobody reads has no byte online; what was never counted is unknown', () => {
    const unread = changed((all) => (all.services = []), next());
    expect(changeOf(planDefinitions(applied(changed((all) => (all.services = []))), unread, facts)).estimate)
      .toMatchObject({ redisBytes: 0 }); // biome-ignore format: one thing
    const { estimate } = changeOf(planDefinitions(current, next(), { archived: ARCHIVED }));
    expect(estimate).toMatchObject({ postgresBytes: null, redisBytes: null });
  });
  test('a query costs what is known of it', () => {
    const slower = changed((all) => Object.assign(all.views[2]!, { ttlMs: 864_000_000 }));
    const text = renderPlan(
      planDefinitions(current, slower, { stored: { user_rank: { entities: 10, rowBytes: 5000 } } }),
    );
    expect(text).toContain('\nbackfill: time unknown for one view, 5 kB in Postgres\n');
  });
  test('a live version that gets its first reader is refilled', () => {
    const named = changed((all) => all.services[0]!.features.push('user_rank:user_spend_rank'));
    const stored = { user_rank: { entities: 10_000, rowBytes: 5000 } };
    const plan = planDefinitions(current, named, { stored });
    const estimate = { minutes: 10_000 / 5_000 / 60, postgresBytes: 0, redisBytes: 10_000 * 69 };
    expect(plan.firstRead).toEqual([{ view: 'user_rank', version: 1, estimate }]);
    expect(renderPlan(plan)).toMatch(
      /\n\nrefill of user_rank, not read until now: about a minute, 690 kB in Redis\n$/,
    );
    const { hash } = current.versions.find(({ view }) => view === 'user_rank')!;
    const lock = { checkout: { user_rank: { version: 1, hash } } };
    const read = (of: Definitions, facts: Facts = {}) => planDefinitions(current, of, facts).firstRead;
    expect(read(named)).toMatchObject([{ estimate: { minutes: null, redisBytes: null } }]);
    expect(read(named, { models: [{ name: 'ranker', owner: 'ann', lock }] })).toEqual([]);
    expect(read(changed((all) => Object.assign(all.views[2]!, { ttlMs: 864_000_000 }), named))).toEqual([]);
    expect(planDefinitions(applied(named), named, {}).firstRead).toEqual([]);
  });
  test('none of it is in the hash', () =>
    expect(planDefinitions(current, next(), facts).hash).toBe(planDefinitions(current, next(), {}).hash));
  test('all of it is said', () => {
    const text = renderPlan(
      planDefinitions(current, next({ version: 1, as: 'fix', reason: 'off by one' }), facts),
    );
    expect(text).toContain(`~ view user_orders v1 → v2: 1,234,567 events to scan
    daily, expected every 1d
    fix: off by one
    read by service checkout
    pinned by model ranker (ann) to v1: retrain
    in training set first
`);
    expect(text).toContain('about a minute, 570 kB in Postgres,\n    70 kB in Redis\n');
  });
});

test('what a removal takes away is to be named; rules and owners are not', () => {
  const next = changed((all) => {
    all.services = [];
    all.views = all.views.filter(({ name }) => name !== 'user_rank');
  });
  expect(removals(planDefinitions(applied(definitions()), next, {}))).toEqual(['user_rank', 'checkout']);
});
test('two removals of one name are to be named each', () => {
  const twins = changed((all) => {
    all.entities.push(entity('rank'));
    all.views[2]!.name = 'rank';
  });
  const next = changed((all) => {
    all.views.pop();
    all.services = [];
  });
  expect(removals(planDefinitions(applied(twins), next, {}))).toEqual([
    'entity:rank',
    'view:rank',
    'checkout',
  ]);
});

describe('for a pull request', () => {
  test('Markdown, in which names and values stay what they are', () => {
    const next = changed((all) => {
      view(all).where = { op: 'eq', args: [{ col: 'shop' }, { lit: '`a` <b> *c*' }] };
      view(all).succeeds = { version: 1, as: 'fix', reason: 'see <#12>' };
      all.services = [];
    });
    const plan = planDefinitions(applied(definitions()), next, { archived: ARCHIVED });
    expect(
      renderPlanMarkdown(plan),
    ).toBe(`### Plan ${plan.hash.slice(0, 16)} on revision 1: 1 to a new version, 1 to remove

- **new version** view user\\_orders v1 → v2: 1,234,567 events to scan
  - daily, expected every 1d
  - fix: see \\<\\#12\\>
  - \` succeeds: + {"as":"fix","reason":"see <#12>","version":1} \`
  - \`\` where: none → {"args":[{"col":"shop"},{"lit":"\`a\` <b> *c*"}],"op":"eq"} \`\`
- **remove** service checkout

**Warnings**

- services.checkout: requests that name it are refused once this is applied

Backfill: 1,234,567 events to scan in all, about a minute, bytes in Postgres unknown for one view
`);
  });
  test('nothing', () => {
    const plan = planDefinitions(applied(definitions()), definitions(), {});
    expect(renderPlanMarkdown(plan)).toBe('### No changes on revision 1\n');
  });
});

describe('the hash', () => {
  const hash = (next: unknown, archived = ARCHIVED, current = EMPTY): string =>
    planDefinitions(current, next, { archived }).hash;
  test('says what will be different, not how much there is to scan', () =>
    expect(hash(definitions(), {})).toBe(hash(definitions())));
  test('covers every word', () =>
    expect(hash(changed((all) => (all.services[0]!.description = 'else')))).not.toBe(hash(definitions())));
  test('covers the revision it was made on', () => {
    const current = applied(definitions());
    expect(hash(definitions(), {}, current)).not.toBe(hash(definitions(), {}, { ...current, revision: 2 }));
  });
});

test('warnings name what readers will notice', () => {
  const messages = (plan: Plan): string[] => plan.warnings.map(({ path, message }) => `${path}: ${message}`);
  expect(messages(planDefinitions(EMPTY, definitions(), {}))).toEqual([
    'views.user_orders: nothing of source "orders" is archived yet: it gives its cold start until an import',
  ]);
  const next = changed((all) => {
    view(all).minEvents = 3;
    const rank = all.views[2] as ReturnType<typeof sqlView>;
    rank.reads[0]!.kind = 'snapshot';
  });
  expect(messages(planDefinitions(applied(definitions()), next, { archived: ARCHIVED }))).toEqual([
    'views.user_orders.succeeds: is not said of v2, which replaces v1: it counts as breaking',
    'views.user_rank.succeeds: is not said of v2, which replaces v1: it counts as breaking',
    'views.user_rank: table ranks is a snapshot: values of the past cannot be computed',
  ]);
});

describe('renderPlan', () => {
  test('a first plan', () => {
    const plan = planDefinitions(EMPTY, definitions(), { archived: ARCHIVED });
    expect(renderPlan(plan)).toBe(`plan ${plan.hash.slice(0, 16)} on an empty registry: 6 to create

+ entity user
+ source orders
+ view user_now v1
+ view user_orders v1: 1,234,567 events to scan
    daily, expected every 1d
+ view user_rank v1: a query to run
    daily, expected every 1d
+ service checkout

backfill: 1,234,567 events to scan in all, about a minute (unknown for one
    view), bytes in Postgres unknown for 2 views, bytes in Redis unknown for one
    view
`);
  });
  test('changes', () => {
    const next = changed((all) => {
      view(all).where = {
        op: 'eq',
        args: [{ col: 'shop' }, { lit: 'a shop with a name that is long enough to need two lines' }],
      };
      all.views = all.views.filter(({ name }) => name !== 'user_rank');
      all.entities[0]!.owner = 'else@shop.example';
    });
    const plan = planDefinitions(applied(definitions()), next, { archived: ARCHIVED });
    expect(
      renderPlan(plan),
    ).toBe(`plan ${plan.hash.slice(0, 16)} on revision 1: 1 to a new version, 1 to change, 1 to
    remove

~ entity user
    owner: "data@shop.example" → "else@shop.example"
~ view user_orders v1 → v2: 1,234,567 events to scan
    daily, expected every 1d
    undeclared: counts as breaking
    read by service checkout
    where: none → {"args":[{"col":"shop"},{"lit":"a shop with a name that is
        long enough to need two lines"}],"op":"eq"}
- view user_rank v1

warning: views.user_orders.succeeds: is not said of v2, which replaces v1: it
    counts as breaking; say succeeds: { version: 1, as: 'same' (or 'fix',
    'breaking'), reason: '…' } (succession)
warning: views.user_rank: requests that name it are refused once this is applied

backfill: 1,234,567 events to scan in all, about a minute, bytes in Postgres
    unknown for one view, bytes in Redis unknown for one view
`);
  });
  test('nothing', () => {
    const plan = planDefinitions(applied(definitions()), definitions(), { archived: ARCHIVED });
    expect(renderPlan(plan)).toBe('no changes on revision 1\n');
  });
});

// ---------------------------------------------------------------- laws

const same = (a: Definitions | null, b: unknown): void =>
  expect(canonicalJson(a)).toBe(canonicalJson(assertDefinitions(b)));

describe('laws', () => {
  test('applying plan(a, b) to a gives b, through any history; then there is nothing to do', () => {
    fc.assert(
      fc.property(fc.array(repository, { minLength: 1, maxLength: 5 }), (history) => {
        let current = EMPTY;
        for (const next of history) {
          current = applied(next, current, {});
          same(current.definitions, next);
          expect(planDefinitions(current, next, {}).empty).toBe(true);
          const live = current.versions.filter(({ state }) => state === 'live').map((each) => each.view);
          expect(live.sort()).toEqual(next.views.map(({ name }) => name).sort());
        }
        const ids = current.versions.map((each) => `${each.view}@${each.version}`);
        expect(new Set(ids).size).toBe(ids.length);
        const hashes = current.versions.map((each) => `${each.view} ${each.hash}`);
        expect(new Set(hashes).size).toBe(hashes.length);
      }),
      { numRuns: 100 },
    );
  });
  test('an edit is applied whole, or refused with every place: renames, drops of what is used, reverts', () => {
    const told = { applied: 0, refused: 0 };
    fc.assert(
      fc.property(
        fc.array(repository, { minLength: 2, maxLength: 3 }),
        fc.array(edit, { maxLength: 8 }),
        (drawn, edits) => {
          const history = [drawn[0]!];
          let current = applied(drawn[0], EMPTY, {});
          for (const each of edits) {
            const next = edited(history, each, drawn);
            let plan: Plan;
            try {
              plan = planDefinitions(current, next, {});
            } catch (error) {
              expect(error).toMatchObject({ code: 'FS_DEFINITION_INVALID' });
              const { problems } = (error as FeatureStoreError).details as unknown as { problems: Problem[] };
              expect(problems.length).toBeGreaterThan(0);
              for (const { path, message, fix } of problems) expect([path, message, fix]).not.toContain('');
              told.refused++;
              continue;
            }
            // written in another order it is the same plan, whatever is known beside it
            const other = edited([next], { what: 'reorder', which: 0, to: 0 }, drawn);
            const facts: Facts = {
              stored: { user_one: { entities: 10, rowBytes: 1000 } },
              trainingSets: [{ id: 'a', versions: ['user_one@1', 'user_two@1'] }],
            };
            expect(planDefinitions(current, other, facts).hash).toBe(plan.hash);
            expect(hashPlan(plan)).toBe(plan.hash);
            current = applyPlanTo(current, plan);
            same(current.definitions, next);
            expect(planDefinitions(current, next, {})).toMatchObject({ empty: true, changes: [] });
            history.push(next);
            told.applied++;
          }
        },
      ),
      { numRuns: 100 },
    );
    expect(Math.min(told.applied, told.refused)).toBeGreaterThan(50); // both happen
  });
  test('the differences of two values, put in, turn one into the other', () => {
    fc.assert(
      fc.property(repository, repository, (a, b) => {
        const [before, after] = [assertDefinitions(a), assertDefinitions(b)];
        expect(patch(before, differences(before, after))).toBe(canonicalJson(after));
      }),
      { numRuns: 300 },
    );
  });
  test('any JSON: no differences if and only if equal', () => {
    fc.assert(
      fc.property(fc.jsonValue(), fc.jsonValue(), (a, b) => {
        let equal: boolean;
        try {
          equal = canonicalJson(a) === canonicalJson(b);
        } catch {
          return; // what canonical JSON refuses
        }
        expect(differences(a, b).length === 0).toBe(equal);
      }),
    );
  });
  test('fits 80 columns', () => {
    fc.assert(
      fc.property(repository, repository, (a, b) => {
        const text = renderPlan(planDefinitions(applied(a, EMPTY, {}), b, {}));
        for (const line of text.split('\n')) expect(line.length).toBeLessThanOrEqual(80);
      }),
      { numRuns: 100 },
    );
  });
});

/** `before` with the changes put in, as canonical JSON of definitions. Names in the tests hold no dots. */
function patch(before: Definitions, changes: readonly FieldChange[]): string {
  const copy = structuredClone(before) as unknown;
  for (const change of changes) {
    let at = copy as Record<string, unknown>;
    const steps = change.path.split('.');
    const last = steps.pop()!;
    for (const step of steps)
      at = (
        Array.isArray(at) ? at.find((item: { name: string }) => item.name === step) : at[step]
      ) as typeof at;
    if (Array.isArray(at)) {
      const index = at.findIndex((item: { name: string }) => item.name === last);
      if ('after' in change) at.splice(index < 0 ? at.length : index, index < 0 ? 0 : 1, change.after);
      else at.splice(index, 1);
    } else if ('after' in change) at[last] = change.after;
    else delete at[last];
  }
  return canonicalJson(canonicalDefinitions(copy as Definitions));
}
