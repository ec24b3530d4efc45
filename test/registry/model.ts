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

const SOFT = ['succession', 'owner-contact', 'owner-left', 'request-input', 'cold-start'] as const;

/** A repository drawn from few names, so that two of them share, rename, change and drop things. */
export const repository: fc.Arbitrary<Definitions> = fc
  .record({
    sources: fc.uniqueArray(fc.constantFrom('orders', 'visits', 'returns'), { minLength: 1 }),
    note: fc.constantFrom('absent', 'string', 'int64'),
    owner: fc.constantFrom('a', 'b'),
    owners: fc.uniqueArray(fc.record({ name: fc.constantFrom('a', 'b', 'c'), hasLeft: fc.boolean() }), {
      selector: ({ name }) => name,
    }),
    policy: fc.dictionary(fc.constantFrom(...SOFT), fc.constantFrom('warning', 'off')),
    stream: fc.boolean(),
    views: fc.uniqueArray(
      fc.record({
        name: fc.constantFrom('user_one', 'user_two', 'user_three'),
        source: fc.nat(2),
        minEvents: fc.constantFrom(0, 1),
        description: fc.constantFrom('x', 'y'),
        features: fc.constantFrom(1, 2),
        kind: fc.constantFrom('batch', 'streaming', 'sessions'),
        succeeds: fc.option(fc.constantFrom('same', 'fix', 'breaking')),
        expects: fc.boolean(),
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
      policy: drawn.policy,
      owners: drawn.owners.map((owner) => ({ ...owner, contact: `${owner.name}@shop.example` })),
      entities: [{ ...entity('user', [{ name: 'user_id', type: 'int64' }]), owner: drawn.owner }],
      sources: drawn.sources.map((name) => {
        const made = source(name);
        made.allowedLatenessMs = drawn.lateness;
        if (drawn.note !== 'absent') made.columns.note = { type: drawn.note as 'string', nullable: true };
        if (drawn.stream) made.stream = { topic: name, cutAtMs: 0, columns: made.columns };
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
      if (each.kind === 'streaming') made.mode = { type: 'streaming', rowsEveryMs: 3_600_000 };
      if (each.kind === 'sessions') {
        made.sessions = { gapMs: 1_800_000, where: null, sums: [] };
        made.features.splice(1); // the other reads a column that sessions lack
      }
      if (each.succeeds) made.succeeds = { version: 1, as: each.succeeds, reason: 'drawn' };
      if (each.expects) made.expectations = [{ type: 'unique', severity: 'warn' }];
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

/** What an author does to the definitions there are; some of it breaks them. */
const EDITS = [
  'replace', 'revert', 'reorder', 'rename', 'rename alone', 'drop', 'drop a feature', 'own', 'name the project',
] as const; // biome-ignore format: a row of words
export type Edit = { what: (typeof EDITS)[number]; which: number; to: number };
export const edit: fc.Arbitrary<Edit> = fc.record({
  what: fc.constantFrom(...EDITS),
  which: fc.nat(100),
  to: fc.nat(100),
});

/**
 * The definitions after an edit.
 * @param history what there was, oldest first; the last is edited
 * @param drawn what a replacement is
 */
export function edited(
  history: readonly Definitions[],
  { what, which, to }: Edit,
  drawn: readonly Definitions[],
): Definitions {
  const all = structuredClone(history.at(-1)!);
  const pick = <T>(items: readonly T[]): T | undefined => items[which % Math.max(items.length, 1)];
  const sections = [all.entities, all.sources, all.views, all.services, all.owners ?? []];
  switch (what) {
    case 'replace':
      return { ...pick(drawn)!, ...(all.project !== undefined && { project: all.project }) };
    case 'revert':
      return { ...pick(history)!, ...(all.project !== undefined && { project: all.project }) };
    case 'reorder':
      for (const section of sections) section.reverse();
      for (const view of all.views) view.features.reverse();
      return reversedKeys(all) as Definitions;
    case 'rename': // everywhere
      return JSON.parse(
        JSON.stringify(all).replaceAll(pick(['user_one', 'user_two', 'orders', 'visits'])!, `x_${to % 3}`),
      ) as Definitions;
    case 'rename alone': {
      const item = pick<{ name: string }>(sections[to % sections.length]!);
      if (item) item.name = `${item.name}_${to}`;
      return all;
    }
    case 'drop': {
      const section = sections[to % sections.length]!;
      section.splice(which % Math.max(section.length, 1), 1);
      return all;
    }
    case 'drop a feature':
      pick(all.views)?.features.splice(to % 2, 1);
      return all;
    case 'own': {
      const item = pick<{ owner: string }>([...all.views, ...all.services, ...all.sources, ...all.entities]);
      if (item) item.owner = `owner ${to % 2}`;
      return all;
    }
    case 'name the project':
      return { ...all, project: pick(['shop', 'shop', 'ads'])! };
  }
}

function reversedKeys(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(reversedKeys);
  if (typeof value !== 'object' || value === null) return value;
  return Object.fromEntries(
    Object.entries(value)
      .reverse()
      .map(([key, item]) => [key, reversedKeys(item)]),
  );
}
