import { describe, expect, test } from 'vitest';
import type { Definitions } from '../../core/definition.js';
import { nearest } from '../../core/nearest.js';
import type { ServedView, ServingPlan } from '../../core/serving-plan.js';
import definitions from '../../examples/shop/features.js';
import { compilePlan, vectorOf } from '../../serving/plan.js';
import { shop, shopPlan } from './shop.js';

describe('a vector', () => {
  test('reads each entity once, each view once, and knows what it needs of a request', () => {
    const { live } = compilePlan(shopPlan()).usual;
    const vector = vectorOf(live, { target: { service: 'offers' }, fullFeatureNames: false });
    expect([...vector.joinKeys]).toEqual([
      ['item_id', 'string'],
      ['user_id', 'int64'],
    ]);
    expect([...vector.requestFields]).toEqual([
      ['asked_at', 'timestamp'],
      ['discount', 'float64'],
    ]);
    expect(vector.groups.map(({ readers }) => readers.map((reader) => reader.view.name))).toEqual([
      ['item_price', 'item_popularity'],
      ['user_activity'],
    ]);
    expect(vector.tickFields).toHaveLength(2);
  });

  test('is compiled once per plan; odd lists do not pile up', () => {
    const plan = shopPlan();
    const services = shop.services.map((each) => ({ ...each, versions: plan.live }));
    const churn = { name: 'churn', live: { number: 1, services }, canary: null };
    const { usual, models } = compilePlan({ ...plan, models: [churn] });
    const { live } = usual;
    const locked = models.get('churn')!.live;
    const request = { target: { service: 'recommendation' }, fullFeatureNames: false };
    expect(vectorOf(live, request)).toBe(vectorOf(live, request));
    expect(vectorOf(locked, request)).not.toBe(vectorOf(live, request));
    const names = shop.views.flatMap((view) =>
      view.kind === 'aggregation' ? view.features.map((f) => `${view.name}:${f.name}`) : [],
    );
    // Every ordered choice of five of them: more lists than are kept.
    for (const a of names)
      for (const b of names)
        for (const c of names)
          for (const d of names)
            if (new Set([a, b, c, d]).size === 4)
              for (const lock of [live, locked])
                vectorOf(lock, { target: { features: [a, b, c, d] }, fullFeatureNames: true });
    const kept = [...new Set([live.vectors, locked.vectors])];
    expect(kept.reduce((sum, { size }) => sum + size, 0)).toBeLessThanOrEqual(1_000);
  });

  test('of a view that nobody reads says so', () => {
    const { views, ...plan } = shopPlan();
    const stored = views.map(({ versionId }) => versionId);
    const { live } = compilePlan({ ...plan, views, onDemand: [], live: stored, unread: ['offer'] }).usual;
    expect(() =>
      vectorOf(live, { target: { features: ['offer:anything'] }, fullFeatureNames: false }),
    ).toThrow('view "offer" is not served: nobody reads it');
  });

  test('the services of the example compile', () => {
    const example: Definitions = definitions;
    const sources = new Map(example.sources.map((source) => [source.name, source]));
    const entities = new Map(example.entities.map((entity) => [entity.name, entity]));
    const plan: ServingPlan = {
      ...shopPlan(),
      services: example.services,
      views: example.views.flatMap((view, index): ServedView[] => {
        if (view.kind === 'onDemand') return [];
        const common = { versionId: index, version: 1, hash: 'hash', entity: entities.get(view.entity)! };
        if (view.kind === 'sql') return [{ ...common, kind: 'sql', view }];
        return [{ ...common, kind: 'aggregation', view, source: sources.get(view.source)! }];
      }),
      onDemand: example.views.flatMap((view, index) =>
        view.kind === 'onDemand' ? [{ versionId: index, version: 1, hash: 'hash', view }] : [],
      ),
      live: example.views.map((_, index) => index),
    };
    const { live } = compilePlan(plan).usual;
    for (const { name, features } of example.services) {
      const vector = vectorOf(live, { target: { service: name }, fullFeatureNames: false });
      expect(vector.columns.map(({ name: column }) => column)).toEqual(
        features.map((ref) => ref.split(':')[1]),
      );
    }
  });
});

test.each([
  {
    name: 'recomendation',
    known: ['offers', 'recommendation'],
    near: 'recommendation',
    why: 'a letter missing',
  },
  { name: 'user_id', known: ['userid', 'item_id'], near: 'userid', why: 'the fewest edits' },
  { name: 'x', known: ['recommendation'], near: null, why: 'nothing alike is not offered' },
  { name: 'a'.repeat(100_000), known: ['a'], near: null, why: 'no time is spent on a monster' },
])('nearest name: $why', ({ name, known, near }) => expect(nearest(name, known)).toBe(near));
