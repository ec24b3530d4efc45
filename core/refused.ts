/** What no plan does: take away what is read, and change what archived events were read with. */
import { canonicalJson, columnsRead } from './canonical.js';
import type { Problem } from './check.js';
import type { Definitions, Source } from './definition.js';
import { type Archived, type LockedVersion, type Model, readersOf, viewOf } from './impact.js';

export function removedButUsed(before: Definitions, after: Definitions): Problem[] {
  const problems: Problem[] = [];
  const missing = (kind: 'entities' | 'sources' | 'views', name: string): boolean =>
    before[kind].some((item) => item.name === name) && !after[kind].some((item) => item.name === name);
  const use = (kind: 'entities' | 'sources' | 'views', name: string, user: string): void => {
    if (!missing(kind, name)) return;
    problems.push({
      code: 'unknown-reference',
      path: `${kind}.${name}`,
      message: `is removed, but ${user} reads it`,
      fix: 'put it back, or remove what reads it too',
    });
  };
  const views = (features: readonly string[]): Set<string> => new Set(features.map(viewOf));
  for (const view of after.views) {
    const user = `view "${view.name}"`;
    if (view.kind !== 'onDemand') use('entities', view.entity, user);
    if (view.kind === 'aggregation') use('sources', view.source, user);
    if (view.kind === 'onDemand') for (const name of views(view.inputs)) use('views', name, user);
  }
  for (const service of after.services)
    for (const name of views(service.features)) use('views', name, `service "${service.name}"`);
  return problems;
}

/** A model goes on reading what its lock names, until it is pinned to something else. */
export function removedButLocked(
  before: Definitions,
  after: Definitions,
  models: readonly Model[],
): Problem[] {
  const gone = <T extends { name: string }>(old: readonly T[], young: readonly T[]): string[] =>
    old.map(({ name }) => name).filter((name) => !young.some((item) => item.name === name));
  const problem = (path: string, readers: readonly string[]): Problem[] =>
    readers.length === 0
      ? []
      : [
          {
            code: 'unknown-reference',
            path,
            message: `is removed, but in the lock of ${readers.join(', ')}`,
            fix: 'put it back, or pin these models to something else first',
          },
        ];
  return [
    ...gone(before.views, after.views).flatMap((view) =>
      problem(
        `views.${view}`,
        readersOf(view, models).map(
          ({ name, services, version }) => `model "${name}" (v${version}, by ${services.join(', ')})`,
        ),
      ),
    ),
    ...gone(before.services, after.services).flatMap((service) =>
      problem(
        `services.${service}`,
        models.filter(({ lock }) => Object.hasOwn(lock, service)).map(({ name }) => `model "${name}"`),
      ),
    ),
  ];
}

/** A version in a lock goes on reading its source: it stays, and everything in it that the version is made by. */
export function sourcesLocked(
  after: Definitions,
  models: readonly Model[],
  locked: readonly LockedVersion[],
): Problem[] {
  return locked.flatMap(({ view, version, source: old }): Problem[] => {
    if (view.kind !== 'aggregation' || old === null) return [];
    const readers = models.filter(({ lock }) =>
      Object.values(lock).some(
        (pins) => Object.hasOwn(pins, view.name) && pins[view.name]!.version === version,
      ),
    );
    const names = [...new Set(readers.map(({ name }) => `model "${name}"`))].join(', ');
    const problem = (path: string, what: string, fix: string): Problem => ({
      code: 'unknown-reference',
      path: `sources.${old.name}${path}`,
      message: `${what}, but ${view.name} v${version} reads it, in the lock of ${names}`,
      fix,
    });
    const removed = (path: string): Problem =>
      problem(path, 'is removed', 'put it back, or pin these models to something else first');
    const source = after.sources.find(({ name }) => name === old.name);
    if (!source) return [removed('')];
    const roles = ROLES.map((role) => old[role] ?? null);
    const columns = new Set([...columnsRead(view, old), ...roles.filter((column) => column !== null)]);
    return [
      ...[...columns].flatMap((name) => {
        if (!Object.hasOwn(source.columns, name)) return [removed(`.columns.${name}`)];
        return canonicalJson(source.columns[name]) === canonicalJson(old.columns[name])
          ? []
          : [problem(`.columns.${name}`, 'is changed', 'restore it, or declare a new column')];
      }),
      ...ROLES.filter((role, index) => (source[role] ?? null) !== roles[index]).map((role) =>
        problem(`.${role}`, 'is changed', 'restore it, or declare a new source'),
      ),
    ];
  });
}

const ROLES = ['eventTime', 'arrival', 'id', 'sequence', 'retracts'] as const;

/** An environment holds one project: definitions of another would remove all that is its. */
export function otherProject({ project }: Definitions, after: Definitions): Problem[] {
  if (project === undefined || after.project === project) return [];
  return [
    {
      code: 'project',
      path: 'project',
      message: `the registry holds project "${project}"; these definitions are ${after.project === undefined ? 'of none' : `"${after.project}"'s`}`,
      fix: `apply them to an environment of their own; if they are "${project}"'s, say so in almanac.policy.json`,
    },
  ];
}

/** An archive keeps what it was given: what its events were read with cannot change under them. */
export function archiveProblems(old: Source, after: Definitions, archived: Archived): Problem[] {
  const source = after.sources.find(({ name }) => name === old.name);
  if (!source) return [];
  const events = Object.hasOwn(archived, old.name) ? archived[old.name]!.events : 0;
  const problems: Problem[] = [];
  const refuse = (path: string, message: string, fix: string): void => {
    problems.push({ code: 'source', path: `sources.${old.name}.${path}`, message, fix });
  };
  for (const [name, column] of Object.entries(old.columns)) {
    const next = Object.hasOwn(source.columns, name) ? source.columns[name]! : null;
    if (next === null) {
      const readers = after.views.filter(
        (view) =>
          view.kind === 'aggregation' && view.source === old.name && columnsRead(view, source).includes(name),
      );
      if (readers.length > 0)
        refuse(
          `columns.${name}`,
          `is removed, but ${readers.map((view) => `view "${view.name}"`).join(', ')} reads it`,
          'put it back, or change what reads it',
        );
    } else if (events > 0 && next.type !== column.type)
      refuse(
        `columns.${name}.type`,
        `was ${column.type} and becomes ${next.type}, with ${events} events archived`,
        `restore ${column.type}, or declare a new column of type ${next.type}`,
      );
    else if (events > 0 && column.nullable && !next.nullable)
      refuse(
        `columns.${name}.nullable`,
        `becomes false, with ${events} events archived that may lack it`,
        'restore true',
      );
  }
  for (const [name, column] of Object.entries(source.columns))
    if (events > 0 && !Object.hasOwn(old.columns, name) && !column.nullable)
      refuse(
        `columns.${name}.nullable`,
        `is false in a new column, which the ${events} archived events lack`,
        'declare it nullable',
      );
  for (const role of ['eventTime', 'arrival', 'id', 'sequence'] as const)
    if (events > 0 && old[role] !== source[role])
      refuse(
        role,
        `was ${said(old[role])} and becomes ${said(source[role])}, with ${events} events archived by it`,
        'restore it, or declare a new source and import again',
      );
  return problems;
}

const said = (column: string | null): string => (column === null ? 'none' : canonicalJson(column));
