/** The registry as a pure model, and repositories to try it with: for the laws of plans and of the tables that keep them. */
import fc from 'fast-check';
import { expect } from 'vitest';
import { canonicalDefinitions } from '../../core/canonical.js';
import type { Definitions } from '../../core/definition.js';
import type { Change, Current, Plan } from '../../core/plan.js';
import { aggregationView, entity, onDemandView, source, sqlView } from './definitions.js';

/** What the transactions of registry/apply.ts do, as a pure function. */
export function applyPlanTo(current: Current, plan: Plan): Current {
  expect(plan.baseRevision).toBe(current.revision);
  if (plan.empty) return current;
  const before = current.definitions ?? { entities: [], sources: [], views: [], services: [] };
  const section = <T extends { name: string }>(items: readonly T[], kind: Change['kind']): T[] => {
    const result = new Map(items.map((item) => [item.name, item]));
    for (const change of plan.changes.filter((each) => each.kind === kind))
      if (change.definition === null) expect(result.delete(change.name)).toBe(true);
      else result.set(change.name, change.definition as unknown as T);
    return [...result.values()];
  };
  const [project] = section(before.project === undefined ? [] : [{ name: before.project }], 'project').map(
    ({ name }) => name,
  );
  const rules = section(
    Object.entries(before.policy ?? {}).map(([name, severity]) => ({ name, severity })),
    'policy',
  );
  const versions = current.versions.map((version) => ({ ...version }));
  for (const change of plan.changes) {
    if (change.kind !== 'view' || change.action === 'change') continue;
    for (const each of versions)
      if (each.view === change.name && each.state === 'live') each.state = 'deprecated';
    if (change.action === 'remove') continue;
    const known = versions.find((each) => each.view === change.name && each.version === change.version);
    expect(known !== undefined).toBe(change.reused);
    if (known) expect(known.hash).toBe(change.hash);
    if (known) known.state = 'live';
    else versions.push({ view: change.name, version: change.version, hash: change.hash, state: 'live' });
  }
  return {
    revision: current.revision + 1,
    definitions: canonicalDefinitions({
      ...(project !== undefined && { project }),
      policy: Object.fromEntries(rules.map(({ name, severity }) => [name, severity])),
      owners: section(before.owners ?? [], 'owner'),
      entities: section(before.entities, 'entity'),
      sources: section(before.sources, 'source'),
      views: section(before.views, 'view'),
      services: section(before.services, 'service'),
    }),
    versions,
  };
}

/** A repository drawn from few names, so that two of them share, rename, change and drop things. */
export const repository: fc.Arbitrary<Definitions> = fc
  .record({
    sources: fc.uniqueArray(fc.constantFrom('orders', 'visits', 'returns'), { minLength: 1 }),
    note: fc.constantFrom('absent', 'string', 'int64'),
    owner: fc.constantFrom('a', 'b'),
    views: fc.uniqueArray(
      fc.record({
        name: fc.constantFrom('user_one', 'user_two', 'user_three'),
        source: fc.nat(2),
        minEvents: fc.constantFrom(0, 1),
        description: fc.constantFrom('x', 'y'),
        features: fc.constantFrom(1, 2),
        onDemand: fc.boolean(),
        service: fc.boolean(),
      }),
      { selector: ({ name }) => name },
    ),
    lateness: fc.constantFrom(0, 1),
    sql: fc.boolean(),
    keys: fc.constantFrom('int64' as const, 'string' as const),
  })
  .map((drawn) => {
    const described = { description: 'd', owner: drawn.owner, tags: [] };
    const all: Definitions = {
      entities: [{ ...entity('user', [{ name: 'user_id', type: 'int64' }]), owner: drawn.owner }],
      sources: drawn.sources.map((name) => {
        const made = source(name);
        made.allowedLatenessMs = drawn.lateness;
        if (drawn.note !== 'absent') made.columns.note = { type: drawn.note as 'string', nullable: true };
        return made;
      }),
      views: drawn.sql ? [sqlView()] : [],
      services: [],
    };
    for (const each of drawn.views) {
      const made = aggregationView(each.name, drawn.sources[each.source % drawn.sources.length]!);
      made.minEvents = each.minEvents;
      made.description = each.description;
      made.features.splice(each.features);
      all.views.push(made);
      if (each.onDemand) {
        const now = onDemandView(`${each.name}_now`, each.name);
        now.features[0]!.name = `user_has_${each.name}`;
        all.views.push(now);
      }
      if (each.service)
        all.services.push({
          name: `${each.name}_service`,
          ...described,
          features: [`${each.name}:${made.features[0]!.name}`],
        });
    }
    return all;
  });
