/**
 * A feature repository as a large team would have written it, made up: author files in TypeScript, every feature spelled out. 25
 * domains of 20 views each, in one file a domain: of 20 views 17 aggregate events, one is a query, two are computed when asked.
 */
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { parseDuration } from '../core/time.js';

const FEATURES = 20;
const SERVICES = 50;

const DOMAINS = [
  'grocery', 'bakery', 'garden', 'fashion', 'beauty', 'travel', 'music', 'movie', 'sport', 'pet', 'toy', 'book', 'office',
  'kitchen', 'lighting', 'pharmacy', 'car', 'bike', 'phone', 'camera', 'game', 'baby', 'art', 'jewelry', 'furniture',
]; // biome-ignore format: a row of words
const SUBJECTS = [
  'orders', 'returns', 'visits', 'baskets', 'searches', 'reviews', 'wishes', 'coupons', 'payments', 'refunds', 'deliveries',
  'messages', 'alerts', 'shares', 'logins', 'devices', 'campaigns', 'prices', 'fit', 'change',
]; // biome-ignore format: a row of words
const EVENTS = SUBJECTS.slice(0, 17);
const QUERY = 'prices';
const ENTITIES = [
  'user',
  'item',
  'seller',
  'household',
  'city',
  'warehouse',
  'courier',
  'brand',
  'store',
  'card',
];
const KINDS = ['view', 'add', 'remove', 'buy', 'rate'];
const CADENCES = ['1h', '6h', '1d'];
/** Windows of whole hours: batch views of every cadence take them. */
const WINDOWS = ['1d', '7d', '30d', '90d'];

/** @param almanac what "almanac" is to the compiler: its declarations */
export function writeRepository(directory: string, almanac: string): void {
  const write = (path: string, text: string): void => writeFileSync(join(directory, path), text);
  mkdirSync(join(directory, 'views'), { recursive: true });
  write('package.json', '{ "type": "module" }\n');
  write('almanac.policy.json', '{ "project": "made_up", "rules": { "cold-start": "warning" } }\n');
  write('tsconfig.json', `${JSON.stringify(settings(almanac), null, 2)}\n`);
  write('entities.ts', `import { entity } from 'almanac';\n\n${ENTITIES.map(entityText).join('\n')}`);
  write(
    'sources.ts',
    `import { file, source, table, topic } from 'almanac';\n\n${DOMAINS.map(sourceText).join('\n')}`,
  );
  for (const [index, domain] of DOMAINS.entries()) write(`views/${domain}.ts`, domainText(domain, index));
  write('services.ts', servicesText());
  write('features.ts', featuresText());
}

/** As strict as this project's own: what an author's editor asks. */
function settings(almanac: string): object {
  return {
    compilerOptions: {
      target: 'es2023',
      module: 'nodenext',
      strict: true,
      noUncheckedIndexedAccess: true,
      exactOptionalPropertyTypes: true,
      verbatimModuleSyntax: true,
      skipLibCheck: true,
      types: [],
      noEmit: true,
      paths: { almanac: [almanac] },
    },
    include: ['**/*.ts'],
  };
}

const nameOf = (domain: string, subject: string): string => `${domain}_${subject}`;
const entityOf = (index: number, place: number): string => ENTITIES[(index + place) % ENTITIES.length]!;

const described = (what: string, index: number): string =>
  `  description: '${what}',\n  owner: 'team${index % 12}@made.example',`;

function entityText(name: string, index: number): string {
  return `export const ${name} = entity('${name}', {
${described(`Made up: a ${name}.`, index)}
  keys: { ${name}_id: '${index % 2 === 0 ? 'string' : 'int64'}' },
});
`;
}

function sourceText(domain: string, index: number): string {
  const input = ["file('csv')", `table('made.${domain}', 'env:MADE_DATABASE_URL')`, `topic('${domain}')`][
    index % 3
  ];
  const keys = ENTITIES.map((name, at) => `    ${name}_id: '${at % 2 === 0 ? 'string' : 'int64'}',`);
  return `export const ${domain} = source('${domain}', {
${described(`Made up: what happens to ${domain}.`, index)}
  input: ${input},
  columns: {
    event_id: 'string',
    event_type: 'string', // ${KINDS.join(', ')}
${keys.join('\n')}
    order_id: 'string?',
    category: 'string?',
    quantity: 'int64',
    amount_cents: 'int64',
    score: 'float64?',
    is_mobile: 'bool',
    event_time: 'timestamp',
    arrived_time: 'timestamp',
  },
  eventTime: 'event_time',
  arrival: 'arrived_time',
  id: 'event_id',
  allowedLateness: '3d',
});
`;
}

function domainText(domain: string, index: number): string {
  const used = [...new Set([...SUBJECTS.keys()].slice(0, 18).map((place) => entityOf(index, place)))].sort();
  const views = SUBJECTS.map((subject, place) => {
    if (place < EVENTS.length) return aggregationText(domain, index, subject, place);
    return subject === QUERY ? queryText(domain, index) : onDemandText(domain, index, subject);
  });
  return `import {
  aggregationView, approxDistinct, batch, count, distinct, histogram, last, lastN, max, mean, min, onDemandView,
  percentile, ratio, request, sliding, sqlView, streaming, sum, topK,
} from 'almanac';
import { ${used.join(', ')} } from '../entities.js';
import { ${domain} } from '../sources.js';

const asked = request({ request_amount_cents: 'int64' });
${KINDS.map((kind) => `const ${kind === 'view' ? 'isView' : `is${capital(kind)}`} = ${domain}.col('event_type').eq('${kind}');\n`).join('')}
${views.join('\n')}`;
}

const capital = (word: string): string => word.charAt(0).toUpperCase() + word.slice(1);
const camel = (name: string): string => name.replace(/_(.)/g, (_, letter: string) => letter.toUpperCase());

/** Five aggregations, each over the four windows: of ten that views take in turn. */
function aggregationText(domain: string, index: number, subject: string, place: number): string {
  const entity = entityOf(index, place);
  const col = (name: string): string => `${domain}.col('${name}')`;
  const filters = [
    `isBuy.and(${col('quantity')}.gt(${place}))`,
    `isView.or(${col('event_type')}.in('rate', 'remove'))`,
    `${col('amount_cents')}.div(${col('quantity')}).ge(${100 + place}).and(${col('is_mobile')})`,
    'isAdd.not()',
    `${col('category')}.isNull().not().and(isRate.or(isRemove))`,
  ];
  const aggregations: Array<[string, string]> = [
    ['count', 'count()'],
    ['amount_sum', `sum(${col('amount_cents')})`],
    ['score_mean', `mean(${col('score')})`],
    ['amount_max', `max(${col('amount_cents')})`],
    ['different_orders', `distinct(${col('order_id')})`],
    ['return_rate', `ratio(count().where(isRemove), count().where(isBuy))`],
    [
      'amount_per_order',
      `ratio(sum(${col('amount_cents')}.sub(${col('quantity')}.mul(${place + 1}))), distinct(${col('order_id')}))`,
    ],
    ['newest_category', `last(${col('category')})`],
    ['newest_orders', `lastN(${col('order_id')}, ${5 + (place % 5)})`],
    ['top_categories', `topK(${col('category')}, { weight: ${col('amount_cents')}, k: 3 })`],
    ['score_min', `min(${col('score')})`],
    ['amount_p95', `percentile(${col('amount_cents')}, 0.95)`],
    ['amount_histogram', `histogram(${col('amount_cents')}, [100, 1000, 10000])`],
    ['categories', `approxDistinct(${col('category')}, { exactTo: 100 })`],
  ];
  const chosen = [0, 1, 2, 3, 4].map(
    (at) => aggregations[(place * 5 + index + at * 3) % aggregations.length]!,
  );
  const features = chosen.flatMap(([what, aggregation], at) =>
    WINDOWS.map((window) => {
      const days = parseDuration(window) / parseDuration('1d');
      return `    ${entity}_${nameOf(domain, subject)}_${what}_${window}: {
      description: '${capital(what.replaceAll('_', ' '))} of the last ${days === 1 ? 'day' : `${days} days`}.',
      aggregation: ${aggregation},
      where: ${filters[(at + place) % filters.length]},
      window: sliding('${window}'),
    },`;
    }),
  );
  const mode = place % 4 === 3 ? 'streaming()' : `batch('${CADENCES[place % 3]}')`;
  return `export const ${camel(nameOf(domain, subject))} = aggregationView('${nameOf(domain, subject)}', {
${described(`Made up: ${subject} of ${domain}.`, index)}
  entity: ${entity},
  source: ${domain},
  mode: ${mode},
  features: {
${features.join('\n')}
  },
});
`;
}

function ranksOf(domain: string, index: number): string[] {
  const entity = entityOf(index, EVENTS.length);
  return Array.from({ length: FEATURES }, (_, at) => `${entity}_${nameOf(domain, QUERY)}_rank_${at + 1}`);
}

function queryText(domain: string, index: number): string {
  const entity = entityOf(index, EVENTS.length);
  const names = ranksOf(domain, index);
  const features = names.map(
    (name, at) =>
      `    ${name}: { description: 'Rank ${at + 1}.', type: '${at % 2 === 0 ? 'float64' : 'int64'}', coldStart: 0 },`,
  );
  return `export const ${camel(nameOf(domain, QUERY))} = sqlView('${nameOf(domain, QUERY)}', {
${described(`Made up: ${QUERY} of ${domain}.`, index)}
  entity: ${entity},
  connection: 'env:MADE_DATABASE_URL',
  every: '1h',
  reads: { 'made.${domain}_${QUERY}': 'append' },
  query: \`
    select ${entity}_id, valid_from as event_timestamp,
      ${names.join(', ')}
    from made.${domain}_${QUERY}
    where valid_from <= :as_of\`,
  features: {
${features.join('\n')}
  },
});
`;
}

/** Over the ranks of the query and a field of the request. */
function onDemandText(domain: string, index: number, subject: string): string {
  const prices = camel(nameOf(domain, QUERY));
  const entity = entityOf(index, EVENTS.length);
  const features = ranksOf(domain, index).map(
    (rank, at) => `    ${entity}_${nameOf(domain, subject)}_${at + 1}: {
      description: 'How ${subject} ${at + 1} stands to what is asked.',
      expression: asked.col('request_amount_cents').${subject === 'fit' ? 'div' : 'sub'}(${prices}.feature('${rank}')),
      coldStart: 0,
    },`,
  );
  return `export const ${camel(nameOf(domain, subject))} = onDemandView('${nameOf(domain, subject)}', {
${described(`Made up: ${subject} of ${domain}.`, index)}
  request: asked,
  features: {
${features.join('\n')}
  },
});
`;
}

/** Each reads four aggregation views and one computed when asked of one domain, and the query of another. */
function servicesText(): string {
  const imports = DOMAINS.map((domain) => `import * as ${domain} from './views/${domain}.js';\n`).join('');
  const services = Array.from({ length: SERVICES }, (_, index) => {
    const domain = DOMAINS[index % DOMAINS.length]!;
    const other = DOMAINS[(index * 7 + 3) % DOMAINS.length]!;
    const read = [0, 1, 2, 3].map((at) => EVENTS[(index + 4 * at) % EVENTS.length]!);
    const views = [...read, 'fit'].map((subject) => `${domain}.${camel(nameOf(domain, subject))}`);
    return `export const model${index} = service('model_${index}', {
${described('Made up: what a model reads.', index)}
  features: [${[...views, `${other}.${camel(nameOf(other, QUERY))}`].join(', ')}],
});
`;
  });
  return `import { service } from 'almanac';\n${imports}\n${services.join('\n')}`;
}

function featuresText(): string {
  const imports = DOMAINS.map((domain) => `import * as ${domain} from './views/${domain}.js';\n`).join('');
  const parts = [...DOMAINS, 'services'].map((module) => `  ...Object.values(${module}),\n`).join('');
  return `import { define } from 'almanac';
import * as services from './services.js';
${imports}
export default define([
${parts}]);
`;
}
