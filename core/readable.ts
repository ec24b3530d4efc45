/**
 * Transformations as a person reads them: "sum of amount of purchases where store = 'x', over the last 7 days, hop 2 h 48 min". Two
 * that differ in meaning differ in text, and every column that is read is named. For people alone: nothing reads such a text back.
 */
import type {
  Aggregation,
  AggregationFeature,
  AggregationView,
  BucketAggregation,
  Expression,
  Operator,
  RatioSide,
  Window,
} from './definition.js';
import { DAY, HOUR, MINUTE, SECOND } from './time.js';

export function readableFeature(view: AggregationView, feature: AggregationFeature): string {
  const { where, window, aggregation } = feature;
  const counted = where === null ? '' : ` where ${readableExpression(where)}`;
  return `${readableAggregation(aggregation)} of ${events(view)}${counted}, ${readableWindow(window)}`;
}

/** What a view is over: `with` says which events are its own. */
function events({ source, sessions, where }: AggregationView): string {
  const own = where === null ? '' : ` with ${readableExpression(where)}`;
  if (!sessions) return `${source}${own}`;
  const made = sessions.where === null ? '' : ` where ${readableExpression(sessions.where)}`;
  const sums = sessions.sums.map(({ name, value }) => `; ${name} = sum of ${readableExpression(value)}`);
  return `sessions of ${source}${made} (gap ${readableDuration(sessions.gapMs)}${sums.join('')})${own}`;
}

/** Reads as "… of <events>". */
export function readableAggregation(aggregation: Aggregation): string {
  switch (aggregation.op) {
    case 'decayedSum':
      return `sum of ${readableExpression(aggregation.value)} halved every ${readableDuration(aggregation.halfLifeMs)}`;
    case 'decayedCount':
      return `count halved every ${readableDuration(aggregation.halfLifeMs)}`;
    case 'variance':
    case 'stddev': {
      const spread = aggregation.op === 'variance' ? 'variance' : 'standard deviation';
      return `${aggregation.population ? 'population' : 'sample'} ${spread} of ${readableExpression(aggregation.value)}`;
    }
    case 'firstN':
    case 'lastN': {
      const edge = aggregation.op === 'firstN' ? 'first' : 'last';
      return `${edge} ${aggregation.n} of ${readableExpression(aggregation.value)}`;
    }
    case 'distinct': {
      const { value, limit } = aggregation;
      return `distinct count of ${readableExpression(value)}${limit === undefined ? '' : `, at most ${limit},`}`;
    }
    case 'approxDistinct':
      return `distinct count of ${readableExpression(aggregation.value)}, estimated beyond ${aggregation.exactTo},`;
    case 'topK': {
      const weight =
        aggregation.weight === null ? 'count' : `sum of ${readableExpression(aggregation.weight)}`;
      return `top ${aggregation.k} ${readableExpression(aggregation.key)} by ${weight}`;
    }
    case 'histogram':
      return `histogram of ${readableExpression(aggregation.value)} with edges ${aggregation.edges.join(', ')}`;
    case 'percentile':
      return `quantile ${aggregation.quantile} of ${readableExpression(aggregation.value)}`;
    case 'bucketed':
      return `${ofOneValue(aggregation.aggregation)} by ${readableExpression(aggregation.by)}, at most ${aggregation.limit} keys,`;
    case 'cart': {
      const { item, add, remove, clear, limit } = aggregation;
      const cleared = clear === null ? '' : `, cleared where ${readableExpression(clear)}`;
      return `cart of ${readableExpression(item)}, added where ${readableExpression(add)}, removed where ${readableExpression(remove)}${cleared}, at most ${limit},`;
    }
    case 'ratio':
      return `ratio of (${side(aggregation.numerator)}) to (${side(aggregation.denominator)})`;
    case 'timeSince':
      return `units of ${readableDuration(aggregation.unitMs)} since the ${aggregation.edge}`;
    case 'count':
    case 'sum':
    case 'mean':
    case 'min':
    case 'max':
    case 'first':
    case 'last':
      return ofOneValue(aggregation);
  }
}

function ofOneValue(aggregation: BucketAggregation | Extract<Aggregation, { op: 'first' }>): string {
  return aggregation.op === 'count'
    ? 'count'
    : `${aggregation.op} of ${readableExpression(aggregation.value)}`;
}

function side(part: RatioSide): string {
  const where = part.where === null ? '' : ` where ${readableExpression(part.where)}`;
  const whole = part.op === 'distinct' ? readableAggregation(part) : ofOneValue(part);
  return `${whole}${where}`;
}

export function readableWindow(window: Window): string {
  switch (window.type) {
    case 'sliding':
      return `over the last ${readableDuration(window.ms)}, hop ${readableDuration(window.hopMs)}`;
    case 'hopping':
      return `over the ${readableDuration(window.ms)} to the last multiple of ${readableDuration(window.hopMs)}`;
    case 'tumbling':
      return `since the last multiple of ${readableDuration(window.ms)}`;
    case 'calendar':
      return `in the running ${window.unit} of ${window.zone}`;
    case 'session':
      return `in the current session, gap ${readableDuration(window.gapMs)}`;
    case 'lifetime':
      return 'of all time';
  }
}

const UNITS = [['d', DAY], ['h', HOUR], ['min', MINUTE], ['s', SECOND], ['ms', 1]] as const; // biome-ignore format: a table

/** Exact, in as many units as it takes: 7 days, 2 h 48 min, 100 s 3 ms. */
export function readableDuration(ms: number): string {
  let rest = ms;
  const parts = UNITS.flatMap(([unit, size]) => {
    const count = Math.floor(rest / size);
    rest -= count * size;
    if (count === 0) return [];
    return unit === 'd' ? `${count} day${count === 1 ? '' : 's'}` : `${count} ${unit}`;
  });
  return parts.join(' ') || '0 ms';
}

// ---------------------------------------------------------------- expressions

const SIGNS: Partial<Record<Operator, string>> = {
  or: 'or', and: 'and',
  eq: '=', ne: '!=', lt: '<', le: '<=', gt: '>', ge: '>=', contains: 'contains',
  add: '+', sub: '-', mul: '*', div: '/',
}; // biome-ignore format: by how they bind
/** How strongly an operator binds; what is not here is written as a function. */
const BINDS: Partial<Record<Operator, number>> = {
  or: 1, and: 2, not: 3,
  eq: 4, ne: 4, lt: 4, le: 4, gt: 4, ge: 4, contains: 4, in: 4, isNull: 4,
  add: 5, sub: 5, mul: 6, div: 6,
}; // biome-ignore format: by how they bind

const WORDS = new Set(['and', 'contains', 'false', 'in', 'is', 'not', 'null', 'or', 'true']);

/** As in SQL; with parentheses wherever an operator stands in one that binds no weaker. */
export function readableExpression(expression: Expression): string {
  if ('col' in expression)
    return /^[a-z_][a-z0-9_]*$/i.test(expression.col) && !WORDS.has(expression.col)
      ? expression.col
      : JSON.stringify(expression.col);
  if ('lit' in expression) {
    const { lit } = expression;
    return typeof lit === 'string'
      ? `'${JSON.stringify(lit).slice(1, -1).replaceAll('\\"', '"').replaceAll("'", "\\'")}'`
      : String(lit);
  }
  const { op, args } = expression;
  const strength = BINDS[op];
  if (strength === undefined) return `${op}(${args.map(readableExpression).join(', ')})`;
  const parts = args.map((argument) => {
    const text = readableExpression(argument);
    return 'op' in argument && (BINDS[argument.op] ?? Infinity) <= strength ? `(${text})` : text;
  });
  if (op === 'not') return `not ${parts[0]}`;
  if (op === 'isNull') return `${parts[0]} is null`;
  if (op === 'in') return `${parts[0]} in (${args.slice(1).map(readableExpression).join(', ')})`;
  return parts.join(` ${SIGNS[op]} `);
}
