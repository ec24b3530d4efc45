/**
 * Do the parts of a feature repository fit together? Structure first (definition.ts), each item by itself; then what the items say
 * of each other. Finds everything at once and throws nothing. Pure: no store is asked.
 */
import { z } from 'zod';
import { decayWindow, LIFE_IN_HALF_LIVES } from './aggregate/decay.js';
import { findZone } from './calendar.js';
import { canonicalDefinitions } from './canonical.js';
import { writeJson } from './codec/json.js';
import {
  type Aggregation,
  type AggregationFeature,
  type AggregationView,
  type Definitions,
  Entity,
  type Expression,
  type FeatureType,
  MAX_ELEMENTS,
  type OnDemandView,
  type RatioSide,
  Service,
  type Sessions,
  Source,
  type SqlView,
  View,
  type Window,
} from './definition.js';
import { FeatureStoreError } from './error.js';
import { type ExpressionType, type Inputs, lengthOf, typeOf } from './expression.js';
import { lintName, nameProblem } from './naming.js';
import { SESSION_COLUMNS, sessionColumns } from './sessions.js';
import { streamOf } from './stream.js';
import { DAY, formatDuration, HOUR, parseDuration, WEEK } from './time.js';
import { elementOf, isMap } from './value-map.js';

export type ProblemCode =
  | 'structure'
  | 'name'
  | 'name-snake-case'
  | 'name-entity-first'
  | 'name-window'
  | 'name-abbreviation'
  | 'duplicate'
  | 'unknown-reference'
  | 'unknown-column'
  | 'expression'
  | 'type'
  | 'key'
  | 'window'
  | 'cadence'
  | 'ttl'
  | 'cold-start'
  | 'source'
  | 'query';

/** `path` goes by names where there are any: views.user_orders.features.user_total_purchases.window.hopMs */
export interface Problem {
  code: ProblemCode;
  path: string;
  message: string;
  fix: string;
}

/** Deeper than any definition; what is deeper is refused before anything recursive sees it. */
const MAX_DEPTH = 100;

/** The canonical definitions and no problems, or null and every problem found. */
export function checkDefinitions(
  json: unknown,
): { definitions: Definitions; problems: [] } | { definitions: null; problems: Problem[] } {
  const check = new Check();
  const definitions = check.run(json);
  const { problems } = check;
  if (problems.length > 0 || definitions === null) return { definitions: null, problems };
  return { definitions: canonicalDefinitions(definitions), problems: [] };
}

/** The canonical definitions. Throws one FS_DEFINITION_INVALID that lists every problem. */
export function assertDefinitions(json: unknown): Definitions {
  const { definitions, problems } = checkDefinitions(json);
  if (definitions) return definitions;
  const lines = problems.map(({ path, message, fix }) => `  ${path}: ${message}; ${fix}`);
  throw new FeatureStoreError(
    'FS_DEFINITION_INVALID',
    `${problems.length === 1 ? 'one problem' : `${problems.length} problems`} in the definitions\n${lines.join('\n')}`,
    { fix: problems.length === 1 ? problems[0]!.fix : 'correct each place named', problems },
  );
}

/** What an aggregation gives over these columns; null when the two do not fit. */
export function featureTypeOf(aggregation: Aggregation, columns: Source['columns']): FeatureType | null {
  return new Check().aggregationType(aggregation, inputsOf(columns), '');
}

/** What an on-demand expression gives over these inputs; null when the two do not fit. */
export function expressionTypeOf(
  expression: Expression,
  inputs: Readonly<Record<string, { type: FeatureType }>>,
): FeatureType | null {
  const result = typeOf(expression, inputsOf(inputs), true);
  return 'type' in result && result.type !== 'null' ? result.type : null;
}

function inputsOf(columns: Readonly<Record<string, { type: FeatureType; length?: number }>>): Inputs {
  return new Map(Object.entries(columns).map(([name, column], index) => [name, { ...column, index }]));
}

/** One run: the problems so far, and the items that are whole, by name. */
class Check {
  readonly problems: Problem[] = [];
  readonly #entities = new Map<string, Entity>();
  readonly #sources = new Map<string, Source>();
  readonly #views = new Map<string, View>();
  /** Every name given in a section, whole or broken: what is broken is not also missing. */
  readonly #given = new Map<Section, Set<string>>(SECTIONS.map((section) => [section, new Set()]));

  #add(code: ProblemCode, path: string, message: string, fix: string): void {
    // one value may break several bounds at once: 2^53 is neither a safe integer nor below the maximum
    if (this.problems.some((known) => known.path === path && known.message === message)) return;
    this.problems.push({ code, path, message, fix });
  }

  run(json: unknown): Definitions | null {
    if (!this.#plain(json, '', 0)) return null;
    const whole = z
      .strictObject(Object.fromEntries(SECTIONS.map((section) => [section, z.array(z.unknown())])))
      .safeParse(json);
    if (!whole.success) {
      this.#structural(whole.error.issues, json, 'definitions');
      return null;
    }
    const data = whole.data as Record<Section, unknown[]>;
    const definitions: Definitions = {
      entities: this.#section('entities', Entity, data.entities),
      sources: this.#section('sources', Source, data.sources),
      views: this.#section('views', View, data.views),
      services: this.#section('services', Service, data.services),
    };
    for (const entity of definitions.entities) this.#entities.set(entity.name, entity);
    for (const source of definitions.sources) this.#sources.set(source.name, source);
    for (const view of definitions.views) this.#views.set(view.name, view);
    for (const entity of definitions.entities) this.#entity(entity);
    for (const source of definitions.sources) this.#source(source);
    for (const view of [...definitions.views, ...data.views.flatMap(soundPart)]) this.#view(view);
    for (const service of definitions.services) this.#service(service);
    return definitions;
  }

  // -------------------------------------------------------------- structure

  /** Text, keys and depth that JSON allows and we do not. False: too deep to go on. */
  #plain(value: unknown, path: string, depth: number): boolean {
    if (depth > MAX_DEPTH) {
      this.#add(
        'structure',
        path.slice(0, 200),
        `lies more than ${MAX_DEPTH} levels deep`,
        'split the expression',
      );
      return false;
    }
    if (typeof value === 'string' && (!value.isWellFormed() || value.includes('\0')))
      this.#add(
        'structure',
        path,
        'holds text that is no valid Unicode, or a NUL',
        'give well-formed text without NUL',
      );
    if (typeof value !== 'object' || value === null) return true;
    if (Array.isArray(value))
      return value.every((item, index) => {
        const name = nameOf(item);
        return this.#plain(item, name === null ? `${path}[${index}]` : `${path}.${name}`, depth + 1);
      });
    return Object.keys(value).every((key) => {
      const at = path === '' ? key : `${path}.${key}`;
      // zod drops this key from records without a word
      if (key === '__proto__') this.#add('name', at, '"__proto__" is reserved', 'choose another name');
      return this.#plain((value as Record<string, unknown>)[key], at, depth + 1);
    });
  }

  #section<T>(section: Section, schema: z.ZodType<T>, items: readonly unknown[]): T[] {
    const names = this.#given.get(section)!;
    return items.flatMap((item, index) => {
      const name = nameOf(item);
      const path = name === null ? `${section}[${index}]` : `${section}.${name}`;
      if (name !== null && names.has(name))
        this.#add('duplicate', path, `there are two ${section} called "${name}"`, 'rename one of them');
      if (name !== null) names.add(name);
      const parsed = schema.safeParse(item);
      if (parsed.success) return [parsed.data];
      this.#structural(parsed.error.issues, item, path);
      return [];
    });
  }

  #structural(issues: readonly z.core.$ZodIssue[], root: unknown, base: string): void {
    for (const issue of issues) {
      const { value, path } = follow(root, issue.path, base);
      switch (issue.code) {
        case 'unrecognized_keys':
          for (const key of issue.keys)
            this.#add('structure', path, `has no field "${key}"`, 'remove it, or correct its name');
          break;
        case 'invalid_union': {
          const branch = bestBranch(issue.errors);
          if (branch) this.#structural(branch, value, path);
          else this.#add('structure', path, `holds ${show(value)}`, `use one of: ${optionsOf(issue)}`);
          break;
        }
        case 'invalid_value':
          this.#add(
            'structure',
            path,
            `holds ${show(value)}`,
            `use one of: ${issue.values.map(String).join(', ')}`,
          );
          break;
        case 'invalid_key':
          this.#structural(issue.issues as z.core.$ZodIssue[], issue.path.at(-1), path);
          break;
        case 'invalid_format':
          // only connections have a format; what stands there instead may be a secret, so it is not shown
          this.#add(
            'structure',
            path,
            'is no reference to an environment variable',
            'name the one that holds the URL: env:SHOP_DATABASE_URL',
          );
          break;
        case 'invalid_type':
          if (value === undefined) this.#add('structure', path, 'is missing', `give ${a(issue.expected)}`);
          else if (/(\.ms|Ms)$/.test(path) && typeof value === 'string') this.#duration(value, path);
          else this.#add('structure', path, `holds ${show(value)}`, `give ${a(issue.expected)}`);
          break;
        case 'too_small':
        case 'too_big':
          this.#add('structure', path, `holds ${show(value)}`, boundOf(issue));
          break;
        case 'not_multiple_of':
        case 'invalid_element':
        case 'custom':
          this.#add('structure', path, `holds ${show(value)}`, lower(issue.message));
      }
    }
  }

  #duration(value: string, path: string): void {
    try {
      this.#add('structure', path, `holds the text "${value}"`, `give milliseconds: ${parseDuration(value)}`);
    } catch (error) {
      if (!(error instanceof FeatureStoreError)) throw error;
      this.#add('structure', path, error.message, error.details.fix);
    }
  }

  // -------------------------------------------------------------- entities and sources

  #name(name: string, path: string, options?: { field?: boolean; spare?: number }): void {
    const problem = nameProblem(name, path, options);
    if (problem) this.problems.push(problem);
  }

  #unique(names: readonly string[], path: string, what: string): void {
    for (const name of new Set(names.filter((item, index) => names.indexOf(item) !== index)))
      this.#add('duplicate', path, `names the ${what} "${name}" twice`, 'remove or rename one of them');
  }

  #entity(entity: Entity): void {
    const path = `entities.${entity.name}`;
    this.#name(entity.name, path);
    for (const key of entity.keys) this.#name(key.name, `${path}.keys.${key.name}`, { field: true });
    this.#unique(entity.keys.map((key) => key.name), `${path}.keys`, 'join key'); // biome-ignore format: short
  }

  #source(source: Source): void {
    const path = `sources.${source.name}`;
    // their places in the archive are called after them: archive_<source>, c_<column>
    this.#name(source.name, path, { spare: 8 });
    for (const [column, { type, length }] of Object.entries(source.columns)) {
      this.#name(column, `${path}.columns.${column}`, { spare: 2 });
      if (length !== undefined && type !== 'list<float64>')
        this.#add(
          'type',
          `${path}.columns.${column}.length`,
          `is the length of a vector; the column is ${type}`,
          'leave it out, or declare the column as list<float64>',
        );
    }
    this.#role(source, 'eventTime', ['timestamp']);
    this.#role(source, 'arrival', ['timestamp']);
    this.#role(source, 'id', ['string', 'int64']);
    this.#role(source, 'sequence', ['int64', 'timestamp']);
    this.#retracts(source);
    if (source.input.type === 'table' && !/^[a-z_][a-z0-9_]*(\.[a-z_][a-z0-9_]*)?$/i.test(source.input.table))
      this.#add(
        'source',
        `${path}.input.table`,
        `"${source.input.table}" is no table`,
        'write table or schema.table',
      );
    if (source.stream && source.input.type === 'topic')
      this.#add(
        'source',
        `${path}.stream`,
        `its input is the topic "${source.input.topic}" already`,
        'leave out stream, or name the file or table of the time before as input',
      );
    if (streamOf(source) && source.kind === 'snapshot')
      this.#add('source', `${path}.kind`, 'a topic holds events, not a snapshot', "declare kind: 'append'");
    if (source.retentionMs !== null && source.allowedLatenessMs > source.retentionMs)
      this.#add(
        'source',
        `${path}.allowedLatenessMs`,
        `events may come ${formatDuration(source.allowedLatenessMs)} late and are kept ${formatDuration(source.retentionMs)}`,
        'keep them longer, or allow less lateness',
      );
  }

  /** A column with a part to play exists, has a fitting type and is always there; only an arrival may be assumed instead. */
  #role(source: Source, role: 'eventTime' | 'arrival' | 'id' | 'sequence', types: readonly string[]): void {
    const name = source[role];
    if (name === null) return;
    const path = `sources.${source.name}.${role}`;
    const column = this.#column(source, name, path);
    if (!column) return;
    if (!types.includes(column.type))
      this.#add(
        'type',
        path,
        `column "${name}" is ${column.type}`,
        `name a column of type ${types.join(' or ')}`,
      );
    else if (column.nullable && role !== 'arrival')
      this.#add(
        'type',
        path,
        `column "${name}" may be missing`,
        `declare it as '${column.type}', without a question mark`,
      );
  }

  /** It says an id of its source, or nothing. */
  #retracts(source: Source): void {
    const { id, retracts } = source;
    if (retracts === undefined) return;
    const path = `sources.${source.name}.retracts`;
    if (id === null)
      this.#add(
        'source',
        path,
        'an event is unsaid by its id, and the source has none',
        "declare the column that identifies an event: id: 'order_id'",
      );
    const column = this.#column(source, retracts, path);
    if (!column) return;
    const wanted = id === null ? undefined : source.columns[id]?.type;
    if (wanted !== undefined && column.type !== wanted)
      this.#add(
        'type',
        path,
        `column "${retracts}" is ${column.type}, the id "${id}" is ${wanted}`,
        `name a column of type ${wanted}`,
      );
    else if (!column.nullable)
      this.#add(
        'type',
        path,
        `column "${retracts}" is never missing: every row would be a retraction`,
        `declare it as '${column.type}?', and leave it out of what is no retraction`,
      );
  }

  #column(source: Source, name: string, path: string): Source['columns'][string] | null {
    if (Object.hasOwn(source.columns, name)) return source.columns[name]!;
    this.#add(
      'unknown-column',
      path,
      `source "${source.name}" has no column "${name}"`,
      suggest(name, Object.keys(source.columns)),
    );
    return null;
  }

  /** The item of that name, or null after saying that there is none. Broken items are neither. */
  #find<T>(section: Section, items: ReadonlyMap<string, T>, name: string, path: string): T | null {
    const item = items.get(name);
    if (item !== undefined) return item;
    const given = this.#given.get(section)!;
    if (!given.has(name))
      this.#add(
        'unknown-reference',
        path,
        `there is no "${name}" among the ${section}`,
        suggest(name, [...given]),
      );
    return null;
  }

  // -------------------------------------------------------------- views

  #view(view: View): void {
    const path = `views.${view.name}`;
    this.#name(view.name, path);
    for (const feature of view.features)
      this.#name(feature.name, `${path}.features.${feature.name}`, { field: true });
    this.#unique(view.features.map((feature) => feature.name), `${path}.features`, 'feature'); // biome-ignore format: short
    this.#joinKeyClash(view.features.map((feature) => feature.name), `${path}.features`, 'feature'); // biome-ignore format: short
    switch (view.kind) {
      case 'aggregation':
        this.#aggregationView(view, path);
        break;
      case 'sql':
        this.#sqlView(view, path);
        break;
      case 'onDemand':
        this.#onDemandView(view, path);
        break;
    }
  }

  /** Answers and training sets hold join keys and features side by side. */
  #joinKeyClash(names: readonly string[], path: string, what: string): void {
    for (const entity of this.#entities.values())
      for (const key of entity.keys)
        if (names.includes(key.name))
          this.#add(
            'duplicate',
            `${path}.${key.name}`,
            `is called like a join key of entity "${entity.name}"`,
            `rename the ${what}`,
          );
  }

  #aggregationView(view: AggregationView, path: string): void {
    const entity = this.#find('entities', this.#entities, view.entity, `${path}.entity`);
    const source = this.#find('sources', this.#sources, view.source, `${path}.source`);
    if (entity && source) this.#key(view, entity, source, path);
    if (view.mode.type === 'batch')
      this.#cadence(view.mode.cadenceMs, `${path}.mode.cadenceMs`, view.ttlMs, `${path}.ttlMs`);
    else this.#cadence(view.mode.rowsEveryMs, `${path}.mode.rowsEveryMs`, null, path);
    if (source?.kind === 'snapshot')
      this.#add(
        'source',
        `${path}.source`,
        `source "${source.name}" is a snapshot: it holds no events`,
        'read it in a sql view',
      );
    if (source && view.sessions)
      this.#sessions(view.sessions, view.key, source, `${path}.sessions`, `${path}.key`);
    const columns =
      source && view.sessions ? sessionColumns(view.sessions, view.key, source.columns) : source?.columns;
    const inputs = columns && inputsOf(columns);
    if (inputs) this.#condition(view.where, inputs, `${path}.where`);
    this.#zones(view, path);
    for (const feature of view.features) {
      const at = `${path}.features.${feature.name}`;
      this.#window(feature, view, source, at);
      if (inputs) {
        this.#condition(feature.where, inputs, `${at}.where`);
        const type = this.aggregationType(feature.aggregation, inputs, `${at}.aggregation`);
        if (type !== null && type !== feature.type)
          this.#add(
            'type',
            `${at}.type`,
            `says ${feature.type}, ${feature.aggregation.op} gives ${type} here`,
            `declare ${type}`,
          );
      }
      this.#coldStart(feature, at, sizeBounds(feature.aggregation, inputs ?? null));
      this.#lint(feature, at, [view.entity], feature.window, view.sessions !== undefined);
    }
  }

  #sessions(
    { where, sums }: Sessions,
    key: readonly string[],
    source: Source,
    path: string,
    keyPath: string,
  ): void {
    const inputs = inputsOf(source.columns);
    this.#condition(where, inputs, `${path}.where`);
    this.#unique(sums.map(({ name }) => name), `${path}.sums`, 'sum'); // biome-ignore format: short
    for (const { name, value } of sums) {
      const at = `${path}.sums.${name}`;
      this.#name(name, at);
      this.#expect(value, NUMBERS, inputs, `${at}.value`);
      if (Object.hasOwn(SESSION_COLUMNS, name) || key.includes(name))
        this.#add('duplicate', at, 'is called like a column that every session has', 'rename the sum');
    }
    for (const name of key)
      if (Object.hasOwn(SESSION_COLUMNS, name))
        this.#add(
          'duplicate',
          keyPath,
          `column "${name}" is called like one that every session has`,
          'rename the column of the source',
        );
  }

  #key(view: AggregationView, entity: Entity, source: Source, path: string): void {
    const at = `${path}.key`;
    if (view.key.length !== entity.keys.length) {
      const names = entity.keys.map((key) => key.name).join(', ');
      this.#add(
        'key',
        at,
        `names ${view.key.length} columns; entity "${entity.name}" has ${entity.keys.length} join keys`,
        `name a column for each of: ${names}`,
      );
      return;
    }
    this.#unique(view.key, at, 'column');
    // a key column may be missing: such an event is no entity's
    for (const [index, name] of view.key.entries()) {
      const column = this.#column(source, name, at);
      const key = entity.keys[index]!;
      if (!column) continue;
      if (column.type !== key.type)
        this.#add(
          'key',
          at,
          `column "${name}" is ${column.type}, join key "${key.name}" is ${key.type}`,
          `declare both as one type: 7 and "7" are different keys`,
        );
    }
  }

  #cadence(cadenceMs: number, path: string, ttlMs: number | null, ttlPath: string): void {
    if (DAY % cadenceMs !== 0)
      this.#add(
        'cadence',
        path,
        `${formatDuration(cadenceMs)} does not divide the day`,
        'use one that does: 1min, 10min, 1h, 6h, 1d',
      );
    if (ttlMs !== null && ttlMs < cadenceMs)
      this.#add(
        'ttl',
        ttlPath,
        `${formatDuration(ttlMs)} is less than the cadence of ${formatDuration(cadenceMs)}: values would expire between ticks`,
        `use at least ${formatDuration(cadenceMs)}, or null`,
      );
  }

  #window(
    { window, aggregation }: AggregationFeature,
    { mode, sessions }: AggregationView,
    source: Source | null,
    at: string,
  ): void {
    if (sessions && window.type === 'session')
      this.#add(
        'window',
        `${at}.window`,
        'is a session of sessions',
        `make the gap of ${formatDuration(sessions.gapMs)} longer, or use another window`,
      );
    if (
      aggregation.op === 'timeSince' &&
      aggregation.edge === 'first' &&
      (window.type === 'sliding' || window.type === 'hopping')
    )
      this.#add(
        'window',
        `${at}.window`,
        `the first event of a ${window.type} window is none that stays first`,
        'use lifetime(), or a window that begins anew: tumbling, calendar, session',
      );
    // A session may go on for ever, too.
    if (window.type === 'lifetime' || window.type === 'session') {
      this.#bounded(aggregation, `${at}.aggregation`);
      if (aggregation.op === 'ratio')
        for (const side of ['numerator', 'denominator'] as const)
          this.#bounded(aggregation[side], `${at}.aggregation.${side}`);
    }
    if (window.type === 'sliding' || window.type === 'hopping') this.#hop(window, `${at}.window.hopMs`);
    if (window.type === 'tumbling') this.#dayBound('window', window.ms, `${at}.window.ms`);
    if (mode.type === 'batch' && isEmptyAtTicks(window, mode.cadenceMs))
      this.#add(
        'window',
        `${at}.window`,
        `begins anew at every tick of ${formatDuration(mode.cadenceMs)}, so values would always be those of an empty window`,
        'use a window longer than the cadence, or sliding or hopping',
      );
    const isDecaying = aggregation.op === 'decayedSum' || aggregation.op === 'decayedCount';
    if (isDecaying && window.type === 'session')
      this.#add(
        'window',
        `${at}.window`,
        'a session may go on for ever, and what decays in it would be kept for as long',
        'use lifetime(), or a window of a length',
      );
    const reach = reachOf(window);
    if (isDecaying && reach && reach.ms > LIFE_IN_HALF_LIVES * aggregation.halfLifeMs)
      this.#add(
        'window',
        `${at}.window`,
        `reaches back ${reach.text}, more than ${LIFE_IN_HALF_LIVES} half-lives of ${formatDuration(aggregation.halfLifeMs)}: what is older weighs nothing`,
        'use lifetime(), a shorter window or a longer half-life',
      );
    if (source && source.retentionMs !== null)
      this.#kept(
        isDecaying ? decayWindow(window, aggregation.halfLifeMs) : window,
        sessions?.gapMs ?? 0,
        source,
        source.retentionMs,
        at,
      );
  }

  /**
   * What is dropped is in no state that is made anew: a window that reaches behind it would have two values.
   * @param gapMs of a view over sessions: so much longer ago than it counts a session's last event lies
   */
  #kept(window: Window, gapMs: number, { name }: Source, retentionMs: number, at: string): void {
    const reach = reachOf(window);
    if (reach && reach.ms + gapMs <= retentionMs) return;
    const more = gapMs > 0 ? `, and a session a gap of ${formatDuration(gapMs)} more` : '';
    this.#add(
      'window',
      `${at}.window`,
      `reaches back ${reach?.text ?? 'without bound'}${more}; source "${name}" keeps ${formatDuration(retentionMs)}`,
      reach
        ? 'use a shorter window, or keep the source longer'
        : 'use a window that ends, or keep the source for ever: leave out its retention',
    );
  }

  /** What is told apart exactly is kept, and nothing leaves. */
  #bounded(counted: Aggregation | RatioSide, path: string): void {
    if (counted.op !== 'distinct' || counted.limit !== undefined) return;
    this.#add(
      'window',
      `${path}.limit`,
      'is missing: a window without an end keeps every value',
      'declare the most that is told apart ({ limit: 10_000 }), use approxDistinct, or a window that ends',
    );
  }

  #hop({ ms, hopMs }: { ms: number; hopMs: number }, path: string): void {
    if (ms % hopMs !== 0)
      this.#add(
        'window',
        path,
        ms < hopMs
          ? `a window of ${formatDuration(ms)} is below its hop of ${formatDuration(hopMs)}`
          : `a window of ${formatDuration(ms)} is no multiple of its hop of ${formatDuration(hopMs)}`,
        'use a hop that divides the window',
      );
    this.#dayBound('hop', hopMs, path);
  }

  /** Boundaries fall on the same times every day, or on midnights. */
  #dayBound(what: 'window' | 'hop', ms: number, path: string): void {
    if (DAY % ms === 0 || ms % DAY === 0) return;
    this.#add(
      'window',
      path,
      `a ${what} of ${formatDuration(ms)} neither divides the day nor is whole days`,
      'use one that does: 10s, 1min, 10min, 1h, 1d',
    );
  }

  /** A zone is known, spelt as it is, and the only one of its view. */
  #zones(view: AggregationView, path: string): void {
    let first: string | null = null;
    for (const { name, window } of view.features) {
      if (window.type !== 'calendar') continue;
      const { zone } = window;
      const at = `${path}.features.${name}.window.zone`;
      const known = findZone(zone);
      if (known === null)
        this.#add(
          'window',
          at,
          `"${zone.slice(0, 60)}" is no time zone`,
          'name one of the IANA database: UTC, Europe/Berlin, America/New_York',
        );
      else if (known !== zone && known.toLowerCase() === zone.toLowerCase())
        this.#add('window', at, `"${zone}" is not spelt like that`, `write ${known}`);
      else if (first !== null && zone !== first)
        this.#add(
          'window',
          at,
          `"${zone}" is a second zone in this view; "${first}" is the first`,
          'use one zone, or make a view of each',
        );
      else first = zone;
    }
  }

  #lint(
    feature: { name: string; nameException: string | null },
    path: string,
    entities: readonly string[],
    window: Window | null,
    ofSessions = false,
  ): void {
    const known = entities.filter((name) => this.#given.get('entities')!.has(name));
    this.problems.push(
      ...lintName({
        name: feature.name,
        nameException: feature.nameException,
        path,
        entities: ofSessions ? [...known, 'session'] : known,
        window,
      }),
    );
  }

  #sqlView(view: SqlView, path: string): void {
    this.#find('entities', this.#entities, view.entity, `${path}.entity`);
    this.#cadence(view.cadenceMs, `${path}.cadenceMs`, view.ttlMs, `${path}.ttlMs`);
    this.#query(view, path);
    for (const feature of view.features) {
      this.#coldStart(feature, `${path}.features.${feature.name}`);
      this.#lint(feature, `${path}.features.${feature.name}`, [view.entity], null);
    }
  }

  #query(view: SqlView, path: string): void {
    const at = `${path}.query`;
    const bare = bareSql(view.query);
    if (!/^\s*(select|with)\b/i.test(bare))
      this.#add('query', at, 'is no SELECT', 'begin it with SELECT or WITH');
    if (/;\s*\S/.test(bare)) this.#add('query', at, 'holds more than one statement', 'give one SELECT');
    if (!/(?<!:):as_of\b/.test(bare))
      this.#add(
        'query',
        at,
        'does not use :as_of, so a past tick would see the future',
        'read only rows known by it: where valid_from <= :as_of',
      );
    this.#unique(view.reads.map((read) => read.table), `${path}.reads`, 'table'); // biome-ignore format: short
    for (const { table } of view.reads)
      if (!bare.replaceAll('"', '').toLowerCase().includes(table.toLowerCase()))
        this.#add(
          'query',
          `${path}.reads`,
          `the query does not read "${table}"`,
          'list the tables that it reads, as it names them',
        );
  }

  #onDemandView(view: OnDemandView, path: string): void {
    const inputs = new Map<string, { index: number; type: FeatureType }>();
    const entities = new Set<string>();
    let known = true;
    for (const [name, type] of Object.entries(view.request)) {
      this.#name(name, `${path}.request.${name}`, { field: true });
      inputs.set(name, { index: inputs.size, type });
    }
    this.#joinKeyClash(Object.keys(view.request), `${path}.request`, 'request field');
    this.#unique(view.inputs, `${path}.inputs`, 'feature');
    for (const ref of new Set(view.inputs)) {
      const found = this.#reference(ref, `${path}.inputs`);
      known &&= found !== null;
      if (!found) continue;
      if (found.view.kind === 'onDemand') {
        this.#add(
          'unknown-reference',
          `${path}.inputs`,
          `"${ref}" is itself computed on demand`,
          'read stored features only',
        );
        continue;
      }
      entities.add(found.view.entity);
      if (isMap(found.feature.type))
        this.#add(
          'type',
          `${path}.inputs`,
          `"${ref}" is a ${found.feature.type}, which expressions cannot read`,
          'read a feature of its own for that key: the same aggregation with a filter on it',
        );
      if (inputs.has(found.feature.name))
        this.#add(
          'duplicate',
          `${path}.inputs`,
          `reads two values called "${found.feature.name}"`,
          'rename one of them',
        );
      inputs.set(found.feature.name, { index: inputs.size, type: found.feature.type });
    }
    for (const feature of view.features) {
      const at = `${path}.features.${feature.name}`;
      // what an unknown input would be is unknown: its absence has been named
      const type = known ? this.#typed(feature.expression, inputs, `${at}.expression`, true) : null;
      if (type === 'null')
        this.#add('type', `${at}.expression`, 'is always null', 'give an expression with a value');
      else if (type !== null && type !== feature.type)
        this.#add(
          'type',
          `${at}.type`,
          `says ${feature.type}, the expression gives ${type}`,
          `declare ${type}`,
        );
      this.#coldStart(feature, at);
      this.#lint(feature, at, [...entities], null);
    }
  }

  #reference(ref: string, path: string): { view: View; feature: View['features'][number] } | null {
    const [viewName, featureName, rest] = ref.split(':');
    if (!viewName || !featureName || rest !== undefined) {
      this.#add('unknown-reference', path, `"${ref}" names no feature`, 'write view:feature');
      return null;
    }
    const view = this.#find('views', this.#views, viewName, path);
    if (!view) return null;
    const feature = view.features.find((item) => item.name === featureName);
    if (feature) return { view, feature };
    const names = view.features.map((item) => item.name);
    this.#add(
      'unknown-reference',
      path,
      `view "${viewName}" has no feature "${featureName}"`,
      suggest(featureName, names),
    );
    return null;
  }

  #service(service: Service): void {
    const path = `services.${service.name}`;
    this.#name(service.name, path);
    const byName = new Map<string, string>();
    for (const ref of service.features) {
      const found = this.#reference(ref, `${path}.features`);
      if (!found) continue;
      const other = byName.get(found.feature.name);
      if (other !== undefined)
        this.#add(
          'duplicate',
          `${path}.features`,
          other === ref ? `lists "${ref}" twice` : `"${other}" and "${ref}" have one short name`,
          'remove or rename one of them',
        );
      byName.set(found.feature.name, ref);
    }
  }

  // -------------------------------------------------------------- types

  #typed(expression: Expression, inputs: Inputs, path: string, allowNow = false): ExpressionType | null {
    const result = typeOf(expression, inputs, allowNow);
    if ('type' in result) return result.type;
    const missing = /^there is no column "(.*)"$/s.exec(result.problem)?.[1];
    if (missing === undefined) this.#add('expression', path, result.problem, result.fix);
    else this.#add('unknown-column', path, result.problem, suggest(missing, [...inputs.keys()]));
    return null;
  }

  #condition(expression: Expression | null, inputs: Inputs, path: string): void {
    if (expression !== null) this.#expect(expression, ['bool'], inputs, path);
  }

  /** The type, when it is one of those allowed; else null, and a problem says so. */
  #expect<T extends ExpressionType>(
    expression: Expression,
    allowed: readonly T[],
    inputs: Inputs,
    path: string,
  ): T | null {
    const type = this.#typed(expression, inputs, path);
    if (type === null || (allowed as readonly ExpressionType[]).includes(type)) return type as T | null;
    this.#add('type', path, `is ${type}`, `give ${allowed.join(' or ')}`);
    return null;
  }

  /** What the aggregation gives; null when a problem stands in the way. */
  aggregationType(aggregation: Aggregation, inputs: Inputs, at: string): FeatureType | null {
    const expect = <T extends ExpressionType>(
      expression: Expression,
      allowed: readonly T[],
      field: string,
    ): T | null => this.#expect(expression, allowed, inputs, `${at}.${field}`);
    const list = (type: 'string' | 'int64' | 'float64' | null): FeatureType | null =>
      type === null ? null : `list<${type}>`;
    switch (aggregation.op) {
      case 'count':
      case 'timeSince':
        return 'int64';
      case 'sum':
        return expect(aggregation.value, NUMBERS, 'value');
      case 'decayedCount':
        return 'float64';
      case 'mean': {
        const type = expect(aggregation.value, [...NUMBERS, 'list<float64>'], 'value');
        if (type !== 'list<float64>') return type && 'float64';
        if (lengthOf(aggregation.value, inputs) !== null) return type;
        this.#add(
          'type',
          `${at}.value`,
          'is list<float64> without a length: such lists have no mean',
          'declare the column with a length: vector(64)',
        );
        return null;
      }
      case 'decayedSum':
      case 'variance':
      case 'stddev':
      case 'percentile':
        return expect(aggregation.value, NUMBERS, 'value') && 'float64';
      case 'min':
      case 'max':
        return expect(aggregation.value, [...NUMBERS, 'timestamp'], 'value');
      case 'last':
      case 'first':
        return expect(
          aggregation.value,
          [...SCALARS, 'list<string>', 'list<int64>', 'list<float64>'],
          'value',
        );
      case 'lastN':
      case 'firstN':
        return list(expect(aggregation.value, ['string', ...NUMBERS], 'value'));
      case 'distinct':
      case 'approxDistinct':
        return expect(aggregation.value, SCALARS, 'value') && 'int64';
      case 'histogram':
        return expect(aggregation.value, NUMBERS, 'value') && 'list<int64>';
      case 'topK': {
        const key = expect(aggregation.key, ['string', 'int64'], 'key');
        const weight = aggregation.weight === null ? 'int64' : expect(aggregation.weight, NUMBERS, 'weight');
        return weight && list(key);
      }
      case 'bucketed': {
        const { aggregation: inner } = aggregation;
        const key = expect(aggregation.by, ['string', 'int64'], 'by');
        if (inner.op === 'count') return key && 'map<string,int64>';
        if (!('value' in inner)) return null; // no aggregation of one value: its structure has been refused
        const allowed = inner.op === 'last' ? (['string', ...NUMBERS] as const) : NUMBERS;
        const type = expect(inner.value, allowed, 'aggregation.value');
        return key && type && `map<string,${inner.op === 'mean' ? 'float64' : type}>`;
      }
      case 'cart': {
        const item = expect(aggregation.item, ['string', 'int64'], 'item');
        const conditions = [
          expect(aggregation.add, ['bool'], 'add'),
          expect(aggregation.remove, ['bool'], 'remove'),
          aggregation.clear === null ? 'bool' : expect(aggregation.clear, ['bool'], 'clear'),
        ];
        return conditions.includes(null) ? null : list(item);
      }
      case 'ratio': {
        const sides = [
          this.#side(aggregation.numerator, inputs, `${at}.numerator`),
          this.#side(aggregation.denominator, inputs, `${at}.denominator`),
        ];
        return sides.includes(null) ? null : 'float64';
      }
    }
  }

  #side(side: RatioSide, inputs: Inputs, at: string): ExpressionType | null {
    this.#condition(side.where, inputs, `${at}.where`);
    if (side.op === 'count') return 'int64';
    return this.#expect<ExpressionType>(
      side.value,
      side.op === 'sum' ? NUMBERS : SCALARS,
      inputs,
      `${at}.value`,
    );
  }

  #coldStart(
    feature: { type: FeatureType; coldStart: unknown },
    at: string,
    { least, most } = { least: 0, most: Number.POSITIVE_INFINITY },
  ): void {
    const { type, coldStart } = feature;
    const size = typeof coldStart === 'object' && coldStart !== null ? Object.keys(coldStart).length : null;
    if (!fits(coldStart, type))
      this.#add(
        'cold-start',
        `${at}.coldStart`,
        `${show(coldStart)} is no ${type}`,
        `give ${EXAMPLES[type]}, or null`,
      );
    else if (size !== null && (size < least || size > most))
      this.#add(
        'cold-start',
        `${at}.coldStart`,
        `has ${size} elements; the feature has ${least === most ? most : `${most} at most`}`,
        least === most ? `give ${most}, or null` : 'give fewer',
      );
  }
}

const SECTIONS = ['entities', 'sources', 'views', 'services'] as const;
type Section = (typeof SECTIONS)[number];

const NUMBERS = ['int64', 'float64'] as const;
const SCALARS = ['string', 'int64', 'float64', 'bool', 'timestamp'] as const;

const EXAMPLES: Readonly<Record<FeatureType, string>> = {
  string: 'a text', int64: 'a whole number within ±(2^53 - 1)', float64: 'a finite number', bool: 'true or false',
  timestamp: 'epoch milliseconds', 'list<string>': 'a list of texts', 'list<int64>': 'a list of whole numbers',
  'list<float64>': 'a list of numbers', 'map<string,string>': 'an object of texts',
  'map<string,int64>': 'an object of whole numbers', 'map<string,float64>': 'an object of numbers',
}; // biome-ignore format: a table

/** How far back events of a window lie, of a session one event and the next; null: without bound. Local days have up to 25 hours, months 31 days. */
function reachOf(window: Window): { ms: number; text: string } | null {
  switch (window.type) {
    case 'lifetime':
      return null;
    case 'sliding':
    case 'hopping': {
      const { ms, hopMs } = window;
      return { ms: ms + hopMs, text: `${formatDuration(ms)} and a hop of ${formatDuration(hopMs)}` };
    }
    case 'tumbling':
      return { ms: window.ms, text: formatDuration(window.ms) };
    case 'session':
      return { ms: window.gapMs, text: `a gap of ${formatDuration(window.gapMs)}` };
    case 'calendar': {
      const ms = { day: DAY, week: WEEK, month: 31 * DAY }[window.unit] + HOUR;
      return { ms, text: `a ${window.unit}, ${formatDuration(ms)} at most` };
    }
  }
}

/** A running window that is never longer than the time between ticks, and ends at each. */
function isEmptyAtTicks(window: Window, cadenceMs: number): boolean {
  if (window.type === 'tumbling') return cadenceMs % window.ms === 0;
  return window.type === 'calendar' && window.unit === 'day' && window.zone === 'UTC' && cadenceMs === DAY;
}

/** Does a cold start's value have the type? null always has: no value. */
function fits(value: unknown, type: FeatureType): boolean {
  if (value === null) return true;
  switch (type) {
    case 'string':
      return typeof value === 'string';
    case 'bool':
      return typeof value === 'boolean';
    case 'int64':
    case 'timestamp':
      return Number.isSafeInteger(value);
    case 'float64':
      return Number.isFinite(value);
    case 'list<string>':
      return Array.isArray(value) && value.every((item) => typeof item === 'string');
    case 'list<int64>':
      return Array.isArray(value) && value.every((item) => Number.isSafeInteger(item));
    case 'list<float64>':
      return Array.isArray(value) && value.every((item) => Number.isFinite(item));
    case 'map<string,string>':
    case 'map<string,int64>':
    case 'map<string,float64>':
      return (
        typeof value === 'object' &&
        !Array.isArray(value) &&
        Object.values(value).every((item) => fits(item, elementOf(type)) && item !== null)
      );
  }
}

/** How many elements a list or map of the feature has. */
function sizeBounds(aggregation: Aggregation, inputs: Inputs | null): { least: number; most: number } {
  const { op } = aggregation;
  const upTo = (most: number) => ({ least: 0, most });
  if (op === 'lastN' || op === 'firstN') return upTo(aggregation.n);
  if (op === 'topK') return upTo(aggregation.k);
  if (op === 'histogram') return upTo(aggregation.edges.length + 1);
  if (op === 'cart' || op === 'bucketed') return upTo(aggregation.limit);
  const isOfLists = op === 'mean' || op === 'last' || op === 'first';
  const length = isOfLists && inputs ? lengthOf(aggregation.value, inputs) : null;
  return length === null ? upTo(MAX_ELEMENTS) : { least: length, most: length };
}

/** The query without what is only text in it: comments, strings, dollar quotes. */
function bareSql(query: string): string {
  return query.replace(/--[^\n]*|\/\*[\s\S]*?\*\/|'(?:[^']|'')*'|\$(\w*)\$[\s\S]*?\$\1\$/g, ' ');
}

// ---------------------------------------------------------------- saying it

function nameOf(item: unknown): string | null {
  if (typeof item !== 'object' || item === null || !Object.hasOwn(item, 'name')) return null;
  const { name } = item as { name: unknown };
  return typeof name === 'string' && name !== '' ? name.slice(0, 80) : null;
}

/** The value at a path of keys and indexes, and the path in words: names instead of indexes. */
function follow(root: unknown, keys: readonly PropertyKey[], base: string): { value: unknown; path: string } {
  let value = root;
  let path = base;
  for (const key of keys) {
    value =
      typeof value === 'object' && value !== null ? (value as Record<PropertyKey, unknown>)[key] : undefined;
    const name = typeof key === 'number' ? nameOf(value) : null;
    path += typeof key === 'number' && name === null ? `[${key}]` : `.${name ?? String(key)}`;
  }
  return { value, path };
}

/** Of the readings a value could have had, the one it has the shape of. */
function bestBranch(
  branches: ReadonlyArray<readonly z.core.$ZodIssue[]>,
): readonly z.core.$ZodIssue[] | null {
  const isShape = (issues: readonly z.core.$ZodIssue[]): boolean =>
    issues.some((issue) => issue.path.length > 0) &&
    !issues.some((issue) => issue.code === 'unrecognized_keys' && issue.path.length === 0);
  return branches.find(isShape) ?? null;
}

function optionsOf(issue: z.core.$ZodIssue): string {
  if ('options' in issue && Array.isArray(issue.options)) return issue.options.map(String).join(', ');
  if (!('errors' in issue)) return 'what core/definition.ts allows';
  const expected = (issue.errors as z.core.$ZodIssue[][])
    .flat()
    .map((inner) => ('expected' in inner ? String(inner.expected) : ''));
  const shapes = expected.filter((word) => word !== '');
  return [...new Set(shapes)].join(', ') || 'col, lit, op';
}

/** Of a view that is broken only in some of its features, the rest: it is checked too, so that all is found at once. */
function soundPart(item: unknown): View[] {
  const whole = View.safeParse(item);
  if (whole.success) return [];
  const broken = new Set(
    whole.error.issues.map(({ path: [field, index] }) => (field === 'features' ? index : null)),
  );
  if (broken.has(null) || broken.has(undefined)) return [];
  const { features, ...rest } = item as { features: unknown[] };
  const sound = View.safeParse({ ...rest, features: features.filter((_, index) => !broken.has(index)) });
  return sound.success ? [sound.data] : [];
}

function boundOf(issue: z.core.$ZodIssueTooSmall | z.core.$ZodIssueTooBig): string {
  if (issue.origin !== 'number') return lower(issue.message);
  if (issue.code === 'too_big') return `give at most ${issue.maximum}`;
  return `give ${issue.inclusive === false ? 'more than' : 'at least'} ${issue.minimum}`;
}

function lower(message: string): string {
  return message.slice(0, 1).toLowerCase() + message.slice(1);
}

function a(expected: string): string {
  const article = /^[aeiou]/.test(expected) ? 'an' : 'a';
  return expected === 'int' ? 'a whole number' : `${article} ${expected}`;
}

function show(value: unknown): string {
  if (value === undefined) return 'nothing';
  if (typeof value === 'number') return String(value);
  const shown = writeJson(value) ?? typeof value;
  return shown.length > 60 ? `${shown.slice(0, 60)}…` : shown;
}

function suggest(name: string, candidates: readonly string[]): string {
  const nearest = candidates
    .map((candidate) => ({ candidate, far: distance(name, candidate) }))
    .sort((x, y) => x.far - y.far)[0];
  if (nearest && nearest.far <= Math.max(2, name.length / 3)) return `did you mean "${nearest.candidate}"?`;
  return candidates.length === 0
    ? 'there are none: define it'
    : `use one of: ${candidates.slice(0, 20).join(', ')}`;
}

/** Levenshtein's: single characters put in, left out or changed. */
function distance(from: string, to: string): number {
  let row = Array.from({ length: to.length + 1 }, (_, index) => index);
  for (let i = 1; i <= from.length; i++) {
    const next = [i];
    for (let j = 1; j <= to.length; j++)
      next.push(Math.min(row[j]! + 1, next[j - 1]! + 1, row[j - 1]! + (from[i - 1] === to[j - 1] ? 0 : 1)));
    row = next;
  }
  return row[to.length]!;
}
