/** Views of every kind, and what they say of entities, sources and each other. */
import { columnsOf } from '../canonical.js';
import type {
  AggregationView,
  Entity,
  FeatureType,
  OnDemandView,
  Sessions,
  Source,
  SqlView,
  View,
  Window,
} from '../definition.js';
import { expectationProblems } from '../expectations.js';
import { lintName } from '../naming.js';
import { SESSION_COLUMNS, sessionColumns } from '../sessions.js';
import { DAY, formatDuration } from '../time.js';
import { isMap } from '../value-map.js';
import type { Check } from './run.js';
import {
  aggregationType,
  checkColdStart,
  expectCondition,
  expectType,
  inputsOf,
  NUMBERS,
  sizeBounds,
  typeIn,
} from './type.js';
import { checkWindow, checkZones } from './window.js';

export function checkView(check: Check, view: View): void {
  const path = `views.${view.name}`;
  check.name(view.name, path);
  for (const feature of view.features)
    check.name(feature.name, `${path}.features.${feature.name}`, { field: true });
  check.unique(view.features.map((feature) => feature.name), `${path}.features`, 'feature'); // biome-ignore format: short
  checkJoinKeyClash(check, view.features.map((feature) => feature.name), `${path}.features`, 'feature'); // biome-ignore format: short
  switch (view.kind) {
    case 'aggregation':
      checkAggregationView(check, view, path);
      break;
    case 'sql':
      checkSqlView(check, view, path);
      break;
    case 'onDemand':
      checkOnDemandView(check, view, path);
      break;
  }
  check.problems.push(...expectationProblems(view));
}

/** Answers and training sets hold join keys and features side by side. */
function checkJoinKeyClash(check: Check, names: readonly string[], path: string, what: string): void {
  for (const name of names) {
    const entity = check.joinKeys.get(name);
    if (entity !== undefined)
      check.add(
        'duplicate',
        `${path}.${name}`,
        `is called like a join key of entity "${entity}"`,
        `rename the ${what}`,
      );
  }
}

function checkAggregationView(check: Check, view: AggregationView, path: string): void {
  const entity = check.find('entities', check.entities, view.entity, `${path}.entity`);
  const source = check.find('sources', check.sources, view.source, `${path}.source`);
  if (entity && source) checkKey(check, view, entity, source, path);
  if (view.mode.type === 'batch')
    checkCadence(check, view.mode.cadenceMs, `${path}.mode.cadenceMs`, view.ttlMs, `${path}.ttlMs`);
  else checkCadence(check, view.mode.rowsEveryMs, `${path}.mode.rowsEveryMs`, null, path);
  if (source?.kind === 'snapshot')
    check.add(
      'source',
      `${path}.source`,
      `source "${source.name}" is a snapshot: it holds no events`,
      'read it in a sql view',
    );
  if (source && view.sessions)
    checkSessions(check, view.sessions, view.key, source, `${path}.sessions`, `${path}.key`);
  const columns =
    source && view.sessions ? sessionColumns(view.sessions, view.key, source.columns) : source?.columns;
  const inputs = columns && inputsOf(columns);
  if (inputs) expectCondition(check, view.where, inputs, `${path}.where`);
  checkZones(check, view, path);
  for (const feature of view.features) {
    const at = `${path}.features.${feature.name}`;
    checkWindow(check, feature, view, source, at);
    if (inputs) {
      expectCondition(check, feature.where, inputs, `${at}.where`);
      const type = aggregationType(check, feature.aggregation, inputs, `${at}.aggregation`);
      if (type !== null && type !== feature.type)
        check.add(
          'type',
          `${at}.type`,
          `says ${feature.type}, ${feature.aggregation.op} gives ${type} here`,
          `declare ${type}`,
        );
    }
    checkColdStart(check, feature, at, sizeBounds(feature.aggregation, inputs ?? null));
    checkName(check, feature, at, [view.entity], feature.window, view.sessions !== undefined);
  }
}

function checkSessions(
  check: Check,
  { where, sums }: Sessions,
  key: readonly string[],
  source: Source,
  path: string,
  keyPath: string,
): void {
  const inputs = inputsOf(source.columns);
  expectCondition(check, where, inputs, `${path}.where`);
  check.unique(sums.map(({ name }) => name), `${path}.sums`, 'sum'); // biome-ignore format: short
  for (const { name, value } of sums) {
    const at = `${path}.sums.${name}`;
    check.name(name, at);
    expectType(check, value, NUMBERS, inputs, `${at}.value`);
    if (Object.hasOwn(SESSION_COLUMNS, name) || key.includes(name))
      check.add('duplicate', at, 'is called like a column that every session has', 'rename the sum');
  }
  for (const name of key)
    if (Object.hasOwn(SESSION_COLUMNS, name))
      check.add(
        'duplicate',
        keyPath,
        `column "${name}" is called like one that every session has`,
        'rename the column of the source',
      );
}

function checkKey(check: Check, view: AggregationView, entity: Entity, source: Source, path: string): void {
  const at = `${path}.key`;
  if (view.key.length !== entity.keys.length) {
    const names = entity.keys.map((key) => key.name).join(', ');
    check.add(
      'key',
      at,
      `names ${view.key.length} columns; entity "${entity.name}" has ${entity.keys.length} join keys`,
      `name a column for each of: ${names}`,
    );
    return;
  }
  check.unique(view.key, at, 'column');
  // a key column may be missing: such an event is no entity's
  for (const [index, name] of view.key.entries()) {
    const column = check.column(source, name, at);
    const key = entity.keys[index]!;
    if (!column) continue;
    if (column.type !== key.type)
      check.add(
        'key',
        at,
        `column "${name}" is ${column.type}, join key "${key.name}" is ${key.type}`,
        `declare both as one type: 7 and "7" are different keys`,
      );
  }
}

function checkCadence(
  check: Check,
  cadenceMs: number,
  path: string,
  ttlMs: number | null,
  ttlPath: string,
): void {
  if (DAY % cadenceMs !== 0)
    check.add(
      'cadence',
      path,
      `${formatDuration(cadenceMs)} does not divide the day`,
      'use one that does: 1min, 10min, 1h, 6h, 1d',
    );
  if (ttlMs !== null && ttlMs < cadenceMs)
    check.add(
      'ttl',
      ttlPath,
      `${formatDuration(ttlMs)} is less than the cadence of ${formatDuration(cadenceMs)}: values would expire between ticks`,
      `use at least ${formatDuration(cadenceMs)}, or null`,
    );
}

function checkName(
  check: Check,
  feature: { name: string; nameException: string | null },
  path: string,
  entities: readonly string[],
  window: Window | null,
  ofSessions = false,
): void {
  const known = entities.filter((name) => check.given.get('entities')!.has(name));
  check.problems.push(
    ...lintName({
      name: feature.name,
      nameException: feature.nameException,
      path,
      entities: ofSessions ? [...known, 'session'] : known,
      window,
    }),
  );
}

function checkSqlView(check: Check, view: SqlView, path: string): void {
  check.find('entities', check.entities, view.entity, `${path}.entity`);
  checkCadence(check, view.cadenceMs, `${path}.cadenceMs`, view.ttlMs, `${path}.ttlMs`);
  checkQuery(check, view, path);
  for (const feature of view.features) {
    checkColdStart(check, feature, `${path}.features.${feature.name}`);
    checkName(check, feature, `${path}.features.${feature.name}`, [view.entity], null);
  }
}

function checkQuery(check: Check, view: SqlView, path: string): void {
  const at = `${path}.query`;
  const bare = bareSql(view.query);
  if (!/^\s*(select|with)\b/i.test(bare))
    check.add('query', at, 'is no SELECT', 'begin it with SELECT or WITH');
  if (/;\s*\S/.test(bare)) check.add('query', at, 'holds more than one statement', 'give one SELECT');
  if (!/(?<!:):as_of\b/.test(bare))
    check.add(
      'query',
      at,
      'does not use :as_of, so a past tick would see the future',
      'read only rows known by it: where valid_from <= :as_of',
    );
  check.unique(view.reads.map((read) => read.table), `${path}.reads`, 'table'); // biome-ignore format: short
  for (const { table } of view.reads)
    if (!bare.replaceAll('"', '').toLowerCase().includes(table.toLowerCase()))
      check.add(
        'query',
        `${path}.reads`,
        `the query does not read "${table}"`,
        'list the tables that it reads, as it names them',
      );
}

function checkOnDemandView(check: Check, view: OnDemandView, path: string): void {
  const inputs = new Map<string, { index: number; type: FeatureType }>();
  const entities = new Set<string>();
  let known = true;
  for (const [name, type] of Object.entries(view.request)) {
    check.name(name, `${path}.request.${name}`, { field: true });
    inputs.set(name, { index: inputs.size, type });
  }
  checkJoinKeyClash(check, Object.keys(view.request), `${path}.request`, 'request field');
  check.unique(view.inputs, `${path}.inputs`, 'feature');
  for (const ref of new Set(view.inputs)) {
    const found = check.reference(ref, `${path}.inputs`);
    known &&= found !== null;
    if (!found) continue;
    if (found.view.kind === 'onDemand') {
      check.add(
        'unknown-reference',
        `${path}.inputs`,
        `"${ref}" is itself computed on demand`,
        'read stored features only',
      );
      continue;
    }
    entities.add(found.view.entity);
    if (isMap(found.feature.type))
      check.add(
        'type',
        `${path}.inputs`,
        `"${ref}" is a ${found.feature.type}, which expressions cannot read`,
        'read a feature of its own for that key: the same aggregation with a filter on it',
      );
    if (inputs.has(found.feature.name))
      check.add(
        'duplicate',
        `${path}.inputs`,
        `reads two values called "${found.feature.name}"`,
        'rename one of them',
      );
    inputs.set(found.feature.name, { index: inputs.size, type: found.feature.type });
  }
  const read = new Set(view.features.flatMap(({ expression }) => columnsOf(expression)));
  for (const name of Object.keys(view.request))
    if (!read.has(name))
      check.add(
        'request-input',
        `${path}.request.${name}`,
        'is asked of every request, and no feature reads it',
        'leave it out, or read it',
      );
  for (const ref of new Set(view.inputs))
    if (!read.has(ref.slice(ref.indexOf(':') + 1)))
      check.add('request-input', `${path}.inputs`, `reads "${ref}", and no feature does`, 'leave it out');
  for (const feature of view.features) {
    const at = `${path}.features.${feature.name}`;
    // what an unknown input would be is unknown: its absence has been named
    const type = known ? typeIn(check, feature.expression, inputs, `${at}.expression`, true) : null;
    if (type === 'null')
      check.add('type', `${at}.expression`, 'is always null', 'give an expression with a value');
    else if (type !== null && type !== feature.type)
      check.add(
        'type',
        `${at}.type`,
        `says ${feature.type}, the expression gives ${type}`,
        `declare ${type}`,
      );
    checkColdStart(check, feature, at);
    checkName(check, feature, at, [...entities], null);
  }
}

/** The query without what is only text in it: comments, strings, dollar quotes. Quoted names stay, without ; and : in them. */
function bareSql(query: string): string {
  return query.replace(
    /--[^\n]*|\/\*[\s\S]*?\*\/|'(?:[^']|'')*'|"(?:[^"]|"")*"|\$(\w*)\$[\s\S]*?\$\1\$/g,
    (text) => (text.startsWith('"') ? text.replace(/[;:]/g, ' ') : ' '),
  );
}
