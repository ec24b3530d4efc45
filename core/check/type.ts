/** What expressions and aggregations give, and whether a cold start is of that type. */
import {
  type Aggregation,
  type Expression,
  type FeatureType,
  MAX_ELEMENTS,
  type RatioSide,
} from '../definition.js';
import { type ExpressionType, type Inputs, lengthOf, typeOf } from '../expression.js';
import { elementOf } from '../value-map.js';
import { Check } from './run.js';
import { show } from './words.js';

/** What an aggregation gives over these inputs; null when the two do not fit. */
export function featureTypeOf(aggregation: Aggregation, inputs: Inputs): FeatureType | null {
  return aggregationType(new Check(), aggregation, inputs, '');
}

/** What an on-demand expression gives over these inputs; null when the two do not fit. */
export function expressionTypeOf(
  expression: Expression,
  inputs: Readonly<Record<string, { type: FeatureType }>>,
): FeatureType | null {
  const result = typeOf(expression, inputsOf(inputs), true);
  return 'type' in result && result.type !== 'null' ? result.type : null;
}

export function inputsOf(columns: Readonly<Record<string, { type: FeatureType; length?: number }>>): Inputs {
  return new Map(Object.entries(columns).map(([name, column], index) => [name, { ...column, index }]));
}

/** @param onDemand over request fields and features: `now` is known, and what is missing no column */
export function typeIn(
  check: Check,
  expression: Expression,
  inputs: Inputs,
  path: string,
  onDemand = false,
): ExpressionType | null {
  const result = typeOf(expression, inputs, onDemand);
  if ('type' in result) return result.type;
  const missing = /^there is no column "(.*)"$/s.exec(result.problem)?.[1];
  if (missing === undefined) check.add('expression', path, result.problem, result.fix);
  else {
    const fix = check.suggest(missing, inputs.keys());
    if (onDemand)
      check.add('unknown-input', path, `no request carries "${missing}", and no input is called so`, fix);
    else check.add('unknown-column', path, result.problem, fix);
  }
  return null;
}

export function expectCondition(
  check: Check,
  expression: Expression | null,
  inputs: Inputs,
  path: string,
): void {
  if (expression !== null) expectType(check, expression, ['bool'], inputs, path);
}

/** The type, when it is one of those allowed; else null, and a problem says so. */
export function expectType<T extends ExpressionType>(
  check: Check,
  expression: Expression,
  allowed: readonly T[],
  inputs: Inputs,
  path: string,
): T | null {
  const type = typeIn(check, expression, inputs, path);
  if (type === null || (allowed as readonly ExpressionType[]).includes(type)) return type as T | null;
  check.add('type', path, `is ${type}`, `give ${allowed.join(' or ')}`);
  return null;
}

/** What the aggregation gives; null when a problem stands in the way. */
export function aggregationType(
  check: Check,
  aggregation: Aggregation,
  inputs: Inputs,
  at: string,
): FeatureType | null {
  const expect = <T extends ExpressionType>(
    expression: Expression,
    allowed: readonly T[],
    field: string,
  ): T | null => expectType(check, expression, allowed, inputs, `${at}.${field}`);
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
      check.add(
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
      return expect(aggregation.value, [...SCALARS, 'list<string>', 'list<int64>', 'list<float64>'], 'value');
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
        sideType(check, aggregation.numerator, inputs, `${at}.numerator`),
        sideType(check, aggregation.denominator, inputs, `${at}.denominator`),
      ];
      return sides.includes(null) ? null : 'float64';
    }
  }
}

function sideType(check: Check, side: RatioSide, inputs: Inputs, at: string): ExpressionType | null {
  expectCondition(check, side.where, inputs, `${at}.where`);
  if (side.op === 'count') return 'int64';
  return expectType<ExpressionType>(
    check,
    side.value,
    side.op === 'sum' ? NUMBERS : SCALARS,
    inputs,
    `${at}.value`,
  );
}

export function checkColdStart(
  check: Check,
  feature: { type: FeatureType; coldStart: unknown },
  at: string,
  { least, most } = { least: 0, most: Number.POSITIVE_INFINITY },
): void {
  const { type, coldStart } = feature;
  const size = typeof coldStart === 'object' && coldStart !== null ? Object.keys(coldStart).length : null;
  if (coldStart === null)
    check.add(
      'cold-start',
      `${at}.coldStart`,
      'is null: entities without history have no value',
      `give ${EXAMPLES[type]}`,
    );
  else if (!fits(coldStart, type))
    check.add(
      'type',
      `${at}.coldStart`,
      `${show(coldStart)} is no ${type}`,
      `give ${EXAMPLES[type]}, or null`,
    );
  else if (size !== null && (size < least || size > most))
    check.add(
      'type',
      `${at}.coldStart`,
      `has ${size} elements; the feature has ${least === most ? most : `${most} at most`}`,
      least === most ? `give ${most}, or null` : 'give fewer',
    );
}

export const NUMBERS = ['int64', 'float64'] as const;
const SCALARS = ['string', 'int64', 'float64', 'bool', 'timestamp'] as const;

const EXAMPLES: Readonly<Record<FeatureType, string>> = {
  string: 'a text', int64: 'a whole number within ±(2^53 - 1)', float64: 'a finite number', bool: 'true or false',
  timestamp: 'epoch milliseconds', 'list<string>': 'a list of texts', 'list<int64>': 'a list of whole numbers',
  'list<float64>': 'a list of numbers', 'map<string,string>': 'an object of texts',
  'map<string,int64>': 'an object of whole numbers', 'map<string,float64>': 'an object of numbers',
}; // biome-ignore format: a table

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
export function sizeBounds(aggregation: Aggregation, inputs: Inputs | null): { least: number; most: number } {
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
