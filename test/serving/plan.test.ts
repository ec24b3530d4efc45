import { describe, expect, test } from 'vitest';
import type { Definitions } from '../../core/definition.js';
import type { ServedView, ServingPlan } from '../../core/serving-plan.js';
import definitions from '../../examples/shop/features.js';
import { compilePlan, nearest, vectorOf } from '../../serving/plan.js';
import { shop, shopPlan } from './shop.js';

describe('a vector', () => {
  test('reads each entity once, each view once, and knows what it needs of a request', () => {
    const plan = compilePlan(shopPlan());
    const vector = vectorOf(plan, { target: { service: 'offers' }, fullFeatureNames: false });
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
    const plan = compilePlan(shopPlan());
    const request = { target: { service: 'recommendation' }, fullFeatureNames: false };
    expect(vectorOf(plan, request)).toBe(vectorOf(plan, request));
    const names = shop.views.flatMap((view) =>
      view.kind === 'aggregation' ? view.features.map((f) => `${view.name}:${f.name}`) : [],
    );
    // Every ordered choice of five of them: more lists than are kept.
    for (const a of names)
      for (const b of names)
        for (const c of names)
          for (const d of names)
            if (new Set([a, b, c, d]).size === 4)
              vectorOf(plan, { target: { features: [a, b, c, d] }, fullFeatureNames: true });
    expect(plan.vectors.size).toBeLessThanOrEqual(1_000);
  });

  test('of a view that nobody reads says so', () => {
    const plan = compilePlan({ ...shopPlan(), onDemand: [], unread: ['offer'] });
    expect(() =>
      vectorOf(plan, { target: { features: ['offer:anything'] }, fullFeatureNames: false }),
    ).toThrow('view "offer" is not served: no service reads it');
  });

  test('the services of the example compile', () => {
    const example: Definitions = definitions;
    const sources = new Map(example.sources.map((source) => [source.name, source]));
    const plan: ServingPlan = {
      layout: 1,
      revision: 1,
      generation: 'g',
      entities: example.entities,
      services: example.services,
      views: example.views.flatMap((view, index): ServedView[] => {
        const common = { versionId: index + 1, version: 1, hash: 'hash' };
        if (view.kind === 'onDemand') return [];
        if (view.kind === 'sql') return [{ ...common, kind: 'sql', view }];
        return [{ ...common, kind: 'aggregation', view, source: sources.get(view.source)! }];
      }),
      onDemand: example.views.flatMap((view) =>
        view.kind === 'onDemand' ? [{ version: 1, hash: 'hash', view }] : [],
      ),
    };
    const compiled = compilePlan(plan);
    for (const { name, features } of example.services) {
      const vector = vectorOf(compiled, { target: { service: name }, fullFeatureNames: false });
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
