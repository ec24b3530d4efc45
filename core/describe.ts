/**
 * What definitions say of their features, as people ask for it: who answers for one, what it is made of, what its values may be, and
 * what depends on what (docs/api.md, "Catalogue"). Pure; the registry keeps it in tables.
 */
import { canonicalJson, columnsOf, columnsRead, expressionsOf } from './canonical.js';
import type {
  Aggregation,
  AggregationFeature,
  AggregationView,
  Definitions,
  Entity,
  Expectation,
  Expression,
  FeatureLiteral,
  FeatureType,
  OnDemandView,
  Service,
  Source,
  View,
} from './definition.js';
import { readableDuration, readableExpression, readableFeature } from './readable.js';

export interface FeatureDescription {
  view: string;
  feature: string;
  description: string;
  owner: string;
  /** How to reach the owner; null: nobody said. */
  contact: string | null;
  tags: string[];
  /** One; of an on-demand feature those of the views it reads. With all their join keys. */
  entities: string[];
  keys: string[];
  /** By name; of a sql view the tables it reads. */
  sources: string[];
  /** Columns as "orders.amount_cents", features as "view:feature", fields of the request as "request.field". */
  reads: string[];
  /** As a person reads it. */
  transformation: string;
  /** The same, exact: canonical JSON. */
  exact: string;
  output: Output;
  /** Of it, and of its view as a whole. */
  expectations: Expectation[];
  /** When its values move: at every event, at the ticks of a cadence, or when it is asked for. */
  computed: string;
  /** Of stored features. */
  freshness: { tier: 'realtime' | 'hourly' | 'daily'; expectedEveryMs: number } | null;
  ttlMs: number | null;
  coldStart: FeatureLiteral;
}

/** Every value that readers are given, the cold start's too, where none failed. */
export interface Output {
  type: FeatureType;
  nullable: boolean;
  /** Both inside; null: not known, or no number. Narrowed by what the author expects. */
  min: number | null;
  max: number | null;
  /** The only values but null that the author expects; null: any. */
  allowed: Array<string | number | boolean> | null;
}

/** In the order of the view's features. `definitions` hold what the view names: its entity and source, of an on-demand view the views. */
export function describeView(view: View, definitions: Definitions): FeatureDescription[] {
  const { owner, tags } = view;
  const contact = contactOf(owner, definitions);
  const { entities, sources } = basisOf(view, definitions);
  return view.features.map((feature) => ({
    view: view.name,
    feature: feature.name,
    description: feature.description,
    owner,
    contact,
    tags,
    entities: entities.map(({ name }) => name),
    keys: [...new Set(entities.flatMap(({ keys }) => keys.map(({ name }) => name)))],
    sources,
    ...transformationOf(view, feature.name),
    output: outputOf(view, feature.name, definitions),
    expectations: expectationsOf(view).filter(
      (each) => !('feature' in each) || each.feature === feature.name,
    ),
    computed: computedOf(view),
    freshness: view.kind === 'onDemand' ? null : view.freshness,
    ttlMs: view.kind === 'onDemand' ? null : view.ttlMs,
    coldStart: feature.coldStart,
  }));
}

/** An address may stand as the name itself. */
function contactOf(owner: string, { owners = [] }: Definitions): string | null {
  const known = owners.find(({ name }) => name.normalize('NFC') === owner.normalize('NFC'));
  return known?.contact ?? (owner.includes('@') ? owner : null);
}

/** What it is about and what it comes from, through the views that an on-demand view reads. */
function basisOf(view: View, definitions: Definitions): { entities: Entity[]; sources: string[] } {
  const stored = view.kind === 'onDemand' ? inputViews(view, definitions) : [view];
  const names = new Set(stored.map((each) => each.kind !== 'onDemand' && each.entity));
  const sources = stored.flatMap((each) => {
    if (each.kind === 'aggregation') return each.source;
    return each.kind === 'sql' ? each.reads.map(({ table }) => table) : [];
  });
  return {
    entities: definitions.entities.filter(({ name }) => names.has(name)),
    sources: [...new Set(sources)],
  };
}

function inputViews(view: OnDemandView, { views }: Definitions): View[] {
  const read = new Set(view.inputs.map((reference) => reference.split(':')[0]));
  return views.filter(({ name }) => read.has(name));
}

const expectationsOf = (view: View): readonly Expectation[] =>
  view.kind === 'onDemand' ? [] : (view.expectations ?? []);

function computedOf(view: View): string {
  if (view.kind === 'onDemand') return 'when it is asked for';
  if (view.kind === 'aggregation' && view.mode.type === 'streaming') return 'at every event';
  const { cadenceMs, settleMs } = view.kind === 'sql' ? view : (view.mode as { cadenceMs: number; settleMs: number }); // biome-ignore format: short
  const settled = settleMs === 0 ? '' : `, ${readableDuration(settleMs)} later`;
  return `every ${readableDuration(cadenceMs)}${settled}`;
}

function transformationOf(
  view: View,
  name: string,
): Pick<FeatureDescription, 'reads' | 'transformation' | 'exact'> {
  switch (view.kind) {
    case 'aggregation': {
      const feature = view.features.find((each) => each.name === name)!;
      const { source, sessions, where } = view;
      const { aggregation, window } = feature;
      return {
        reads: [...new Set([...sharedColumns(view), ...ownColumns(view, feature)])].map((each) => `${source}.${each}`), // biome-ignore format: short
        transformation: readableFeature(view, feature),
        exact: canonicalJson({ source, sessions, viewWhere: where, where: feature.where, window, aggregation }), // biome-ignore format: short
      };
    }
    case 'sql': {
      const { query, reads, connection } = view;
      const tables = reads.map(({ table }) => table);
      return {
        reads: tables,
        transformation: `column ${name} of a query over ${tables.join(', ')}`,
        exact: canonicalJson({ query, reads, connection }),
      };
    }
    case 'onDemand': {
      const { expression } = view.features.find((each) => each.name === name)!;
      return {
        reads: inputsOf(view, expression),
        transformation: readableExpression(expression),
        exact: canonicalJson({ expression }),
      };
    }
  }
}

/** Of an on-demand expression. */
function inputsOf({ inputs }: OnDemandView, expression: Expression): string[] {
  return [...new Set(columnsOf(expression))].map(
    (name) => inputs.find((reference) => reference.split(':')[1] === name) ?? `request.${name}`,
  );
}

/** Columns of the source that make every feature what it is: whose events, and which. */
function sharedColumns(view: AggregationView): string[] {
  return columnsRead({ ...view, ...(view.sessions && { sessions: { ...view.sessions, sums: [] } }), features: [] }, {}); // biome-ignore format: short
}

/** Those that this feature reads beside them; of a view over sessions those that its sums are over. */
function ownColumns(view: AggregationView, feature: AggregationFeature): string[] {
  const read = [feature.where, ...expressionsOf(feature.aggregation)].flatMap(columnsOf);
  const { sessions } = view;
  if (!sessions) return read;
  return [...read, ...columnsOf(view.where)].flatMap((name) =>
    columnsOf(sessions.sums.find((sum) => sum.name === name)?.value ?? null),
  );
}

// ---------------------------------------------------------------- what values may be

function outputOf(view: View, name: string, definitions: Definitions): Output {
  const { type, coldStart } = view.features.find((each) => each.name === name)!;
  const { nullable, min, max } = givenBy(view, name, definitions);
  const range = { min: min ?? -Infinity, max: max ?? Infinity };
  let allowed = null as Output['allowed'];
  for (const expected of expectationsOf(view)) {
    if (!('feature' in expected) || expected.feature !== name) continue;
    if (expected.type === 'range') {
      range.min = Math.max(range.min, expected.min ?? -Infinity);
      range.max = Math.min(range.max, expected.max ?? Infinity);
    }
    if (expected.type === 'allowed')
      allowed = allowed?.filter((value) => expected.values.includes(value)) ?? expected.values;
  }
  if (typeof coldStart === 'number') {
    range.min = Math.min(range.min, coldStart);
    range.max = Math.max(range.max, coldStart);
  }
  if (allowed !== null && isScalar(coldStart) && !allowed.includes(coldStart))
    allowed = [...allowed, coldStart];
  const bound = (value: number): number | null => (Number.isFinite(value) ? value : null);
  return {
    type,
    nullable: nullable || coldStart === null,
    min: bound(range.min),
    max: bound(range.max),
    allowed,
  };
}

const isScalar = (value: FeatureLiteral): value is string | number | boolean =>
  value !== null && typeof value !== 'object';

interface Given {
  nullable: boolean;
  min?: number;
  max?: number;
}

/** By the transformation alone. */
function givenBy(view: View, name: string, definitions: Definitions): Given {
  switch (view.kind) {
    case 'aggregation':
      return givenByAggregation(view.features.find((each) => each.name === name)!.aggregation);
    case 'sql':
      return { nullable: true };
    case 'onDemand': {
      const { expression } = view.features.find((each) => each.name === name)!;
      const isNullable = (column: string): boolean => {
        const [from, feature] = view.inputs.find((each) => each.split(':')[1] === column)?.split(':') ?? [];
        const input = definitions.views.find((each) => each.name === from);
        // A field of a request may be null.
        return input === undefined || outputOf(input, feature!, definitions).nullable;
      };
      return { nullable: mayBeNull(expression, isNullable) };
    }
  }
}

function givenByAggregation(aggregation: Aggregation): Given {
  switch (aggregation.op) {
    case 'count':
    case 'approxDistinct':
      return { nullable: false, min: 0 };
    case 'distinct':
      return { nullable: false, min: 0, ...(aggregation.limit !== undefined && { max: aggregation.limit }) };
    case 'firstN':
    case 'lastN':
    case 'topK':
    case 'histogram':
    case 'bucketed':
    case 'cart':
      return { nullable: false };
    case 'decayedCount':
    case 'variance':
    case 'stddev':
    case 'timeSince':
      return { nullable: true, min: 0 };
    case 'ratio':
      return [aggregation.numerator, aggregation.denominator].some(({ op }) => op === 'sum')
        ? { nullable: true }
        : { nullable: true, min: 0 };
    // A sum is null beyond what its type holds, all others of an empty window too.
    case 'sum':
    case 'mean':
    case 'decayedSum':
    case 'min':
    case 'max':
    case 'first':
    case 'last':
    case 'percentile':
      return { nullable: true };
  }
}

/** As expression.ts has it: numbers that do not fit are null. */
function mayBeNull(expression: Expression, isNullable: (column: string) => boolean): boolean {
  if ('col' in expression) return isNullable(expression.col);
  if ('lit' in expression) return expression.lit === null;
  const { op, args } = expression;
  if (op === 'isNull' || op === 'now') return false;
  if (['add', 'sub', 'mul', 'div'].includes(op)) return true;
  const argumentsMay = args.map((argument) => mayBeNull(argument, isNullable));
  return op === 'coalesce' ? argumentsMay.every(Boolean) : argumentsMay.some(Boolean);
}

// ---------------------------------------------------------------- what depends on what

export const LINEAGE_KINDS = [
  'table', 'topic', 'source', 'column', 'entity', 'request', 'view', 'feature', 'service', 'model', 'trainingSet',
] as const; // biome-ignore format: a row of words
export type LineageKind = (typeof LINEAGE_KINDS)[number];

/** A column as "orders.amount_cents", a field of the request as "request.cart_cents", a feature as "view:feature", all else by its name. */
export interface Node {
  kind: LineageKind;
  name: string;
}
/** `to` is made of `from`. */
export interface Edge {
  from: Node;
  to: Node;
}

/**
 * How a view comes about, each edge once, in no order: table or topic → source → its columns → features, source → view → features, field
 * of the request → feature. Columns that every feature depends on (key, time, the view's own filter) lead to the view.
 */
export function lineageOf(view: View, { sources }: Definitions): Edge[] {
  const edges = new Map<string, Edge>();
  const add = (fromKind: LineageKind, fromName: string, toKind: LineageKind, toName: string): void => {
    const edge = { from: { kind: fromKind, name: fromName }, to: { kind: toKind, name: toName } };
    edges.set(JSON.stringify(edge), edge);
  };
  const own = (name: string): string => `${view.name}:${name}`;
  for (const { name } of view.features) add('view', view.name, 'feature', own(name));
  if (view.kind !== 'onDemand') add('entity', view.entity, 'view', view.name);
  switch (view.kind) {
    case 'aggregation': {
      const source = sources.find(({ name }) => name === view.source);
      add('source', view.source, 'view', view.name);
      const addColumn = (name: string, kind: 'view' | 'feature', to: string): void => {
        add('source', view.source, 'column', `${view.source}.${name}`);
        add('column', `${view.source}.${name}`, kind, to);
      };
      for (const column of [...sharedColumns(view), ...(source ? structural(source) : [])])
        addColumn(column, 'view', view.name);
      for (const feature of view.features)
        for (const column of ownColumns(view, feature)) addColumn(column, 'feature', own(feature.name));
      if (source?.input.type === 'table') add('table', source.input.table, 'source', source.name);
      if (source?.input.type === 'topic') add('topic', source.input.topic, 'source', source.name);
      if (source?.stream) add('topic', source.stream.topic, 'source', source.name);
      break;
    }
    case 'sql':
      for (const { table } of view.reads) add('table', table, 'view', view.name);
      break;
    case 'onDemand':
      for (const { name, expression } of view.features)
        for (const input of inputsOf(view, expression))
          add(input.includes(':') ? 'feature' : 'request', input, 'feature', own(name));
  }
  return [...edges.values()];
}

/** Columns by which events are told apart, ordered and unsaid. */
function structural({ eventTime, arrival, id, sequence, retracts }: Source): string[] {
  return [eventTime, arrival, id, sequence, retracts ?? null].filter((column) => column !== null);
}

export function lineageOfService({ name, features }: Service): Edge[] {
  return [...new Set(features)].map((feature) => ({
    from: { kind: 'feature', name: feature },
    to: { kind: 'service', name },
  }));
}
