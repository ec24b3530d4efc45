/** Every rule of the check: what breaks it, where the problem is said to be, what the fix says. */
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { assertDefinitions, checkDefinitions, type ProblemCode } from '../../core/check.js';
import { OPERATORS, type Window } from '../../core/definition.js';
import { FeatureStoreError } from '../../core/error.js';
import {
  aggregationView,
  batch,
  cart,
  count,
  define,
  entity,
  file,
  lastN,
  lifetime,
  onDemandView,
  ratio,
  request,
  service,
  sliding,
  source,
  sqlView,
  streaming,
  sum,
  table,
  timeSince,
  topK,
  vector,
} from '../../core/index.js';

const described = { description: 'x', owner: 'tests@shop.example' };
const user = entity('user', { ...described, keys: { user_id: 'string' } });
const orders = source('orders', {
  ...described,
  input: file('csv'),
  columns: {
    id: 'string',
    user_id: 'string',
    item: 'string?',
    cents: 'int64',
    taste: vector(3, { nullable: true }),
    loose: 'list<float64>?',
    tags: 'list<string>?',
    paid: 'bool',
    at: 'timestamp',
  },
  eventTime: 'at',
  id: 'id',
});
const receipts = source('receipts', {
  ...described,
  input: file('csv'),
  columns: { user_id: 'string', at: 'timestamp' },
  eventTime: 'at',
  retention: '365d',
});
const visits = source('visits', {
  ...described,
  input: table('shop.visits', 'env:SHOP_URL'),
  columns: { user_id: 'string', seen_at: 'timestamp', known_at: 'timestamp' },
  eventTime: 'seen_at',
  arrival: 'known_at',
});
const spend = aggregationView('user_spend', {
  ...described,
  entity: user,
  source: orders,
  where: orders.col('paid'),
  mode: batch('1h'),
  ttl: '7d',
  features: {
    user_spend_7d: { description: 'x', aggregation: sum(orders.col('cents')), window: sliding('7d') },
    user_items: { description: 'x', aggregation: lastN(orders.col('item'), 3), window: lifetime() },
    user_top: {
      description: 'x',
      aggregation: topK(orders.col('item'), { weight: orders.col('cents'), k: 2 }),
      window: lifetime(),
    },
    user_cart: {
      description: 'x',
      aggregation: cart(orders.col('item'), { add: orders.col('paid'), remove: orders.col('paid').not() }),
      window: lifetime(),
    },
    user_share: {
      description: 'x',
      aggregation: ratio(count().where(orders.col('paid')), sum(orders.col('cents'))),
      window: lifetime(),
    },
  },
});
const presence = aggregationView('user_presence', {
  ...described,
  entity: user,
  source: visits,
  mode: streaming(),
  features: {
    user_age_days: { description: 'x', aggregation: timeSince('first', '1d'), window: lifetime() },
  },
});
const shopping = aggregationView('user_shopping', {
  ...described,
  entity: user,
  source: receipts,
  mode: streaming(),
  features: { user_receipts_7d: { description: 'x', aggregation: count(), window: sliding('7d') } },
});
const rank = sqlView('user_rank', {
  ...described,
  entity: user,
  connection: 'env:SHOP_URL',
  query:
    'select user_id, seen_at as event_timestamp, 1.0 as user_rank from shop.ranks where seen_at <= :as_of',
  reads: { 'shop.ranks': 'append' },
  every: '1d',
  features: { user_rank: { description: 'x', type: 'float64' } },
});
const asked = request({ price: 'int64' });
const fit = onDemandView('price_fit', {
  ...described,
  request: asked,
  features: {
    user_fit: { description: 'x', expression: asked.col('price').div(spend.feature('user_spend_7d')) },
  },
});
const whole = define([
  service('ranking', { ...described, features: [spend, presence, shopping, rank, fit] }),
]);

/** Definitions as loose JSON, items by name: what a hand or another program may have written. */
// biome-ignore lint/suspicious/noExplicitAny: the check is for what has no type
type Loose = any;
interface Parts {
  json: Loose;
  entity: (name: string) => Loose;
  source: (name: string) => Loose;
  view: (name: string) => Loose;
  feature: (view: string, name: string) => Loose;
  service: (name: string) => Loose;
}
function changed(change: (parts: Parts) => void): unknown {
  const json: Loose = structuredClone(whole);
  const find = (items: Loose[], name: string): Loose => items.find((item) => item.name === name);
  change({
    json,
    entity: (name) => find(json.entities, name),
    source: (name) => find(json.sources, name),
    view: (name) => find(json.views, name),
    feature: (view, name) => find(find(json.views, view).features, name),
    service: (name) => find(json.services, name),
  });
  return json;
}

test('what is whole has no problems, and comes back canonical', () =>
  expect(checkDefinitions(JSON.parse(JSON.stringify(whole)))).toEqual({
    definitions: whole,
    problems: [],
    warnings: [],
  }));

interface Case {
  why: string;
  change: (parts: Parts) => void;
  code: ProblemCode;
  path: string;
  says?: RegExp;
  fix?: RegExp;
}
const cases = (title: string, table: Case[]): void => {
  describe(title, () => {
    test.each(table)('$why', ({ change, code, path, says, fix }) => {
      const { problems } = checkDefinitions(changed(change));
      expect(problems.map((problem) => ({ code: problem.code, path: problem.path }))).toEqual([
        { code, path },
      ]);
      if (says) expect(problems[0]?.message).toMatch(says);
      if (fix) expect(problems[0]?.fix).toMatch(fix);
    });
  });
};

const SPEND = 'views.user_spend.features.user_spend_7d';

// biome-ignore format: a table, one case a line
cases('structure', [
  { why: 'a section is missing', change: ({ json }) => delete json.views, code: 'structure', path: 'definitions.views', says: /is missing/ },
  { why: 'a section too many', change: ({ json }) => (json.models = []), code: 'structure', path: 'definitions', says: /"models"/ },
  { why: 'a field is missing', change: ({ view }) => delete view('user_spend').owner, code: 'structure', path: 'views.user_spend.owner', says: /is missing/, fix: /a string/ },
  { why: 'a field too many', change: ({ feature }) => (feature('user_spend', 'user_spend_7d').windw = 1), code: 'structure', path: SPEND, says: /no field "windw"/ },
  { why: 'an item without a name goes by its place', change: ({ json }) => delete json.services[0].name, code: 'structure', path: 'services[0].name' },
  { why: 'not a list', change: ({ view }) => (view('user_spend').key = 'user_id'), code: 'structure', path: 'views.user_spend.key', fix: /an array/ },
  { why: 'an empty description', change: ({ view }) => (view('user_spend').description = ''), code: 'structure', path: 'views.user_spend.description' },
  { why: 'a description without end', change: ({ view }) => (view('user_spend').description = 'x'.repeat(10_001)), code: 'structure', path: 'views.user_spend.description', fix: /10000/ },
  { why: 'an owner without end', change: ({ source: of }) => (of('orders').owner = `${'x'.repeat(200)}@`), code: 'structure', path: 'sources.orders.owner', fix: /200/ },
  { why: 'an unknown kind', change: ({ view }) => (view('user_spend').kind = 'push'), code: 'structure', path: 'views.user_spend.kind', says: /"push"/, fix: /aggregation/ },
  { why: 'an unknown aggregation', change: ({ feature }) => (feature('user_spend', 'user_spend_7d').aggregation.op = 'median'), code: 'structure', path: `${SPEND}.aggregation.op`, says: /"median"/ },
  { why: 'an unknown column type', change: ({ source: of }) => (of('orders').columns.cents.type = 'decimal'), code: 'structure', path: 'sources.orders.columns.cents.type', fix: /int64/ },
  { why: 'an unknown operator', change: ({ view }) => (view('user_spend').where = { op: 'regex', args: [] }), code: 'structure', path: 'views.user_spend.where.op', fix: /coalesce/ },
  { why: 'an operator without operands', change: ({ view }) => (view('user_spend').where = { op: 'not' }), code: 'structure', path: 'views.user_spend.where.args' },
  { why: 'NaN deep in an expression', change: ({ view }) => (view('user_spend').where = { op: 'gt', args: [{ col: 'cents' }, { lit: Number.NaN }] }), code: 'structure', path: 'views.user_spend.where.args[1].lit', says: /NaN/ },
  { why: 'a whole number beyond 2^53', change: ({ feature }) => (feature('user_spend', 'user_spend_7d').window.ms = 2 ** 53), code: 'structure', path: `${SPEND}.window.ms` },
  { why: 'a fraction of a millisecond', change: ({ source: of }) => (of('orders').dedupeMs = 0.5), code: 'structure', path: 'sources.orders.dedupeMs', fix: /whole number/ },
  { why: 'a negative duration', change: ({ source: of }) => (of('orders').dedupeMs = -1), code: 'structure', path: 'sources.orders.dedupeMs' },
  { why: 'a duration as text', change: ({ view }) => (view('user_spend').ttlMs = '7d'), code: 'structure', path: 'views.user_spend.ttlMs', fix: /604800000/ },
  { why: 'a text that is no duration', change: ({ view }) => (view('user_spend').ttlMs = 'a week'), code: 'structure', path: 'views.user_spend.ttlMs', says: /not a duration/, fix: /30min/ },
  { why: 'inputs without end', change: ({ view }) => (view('price_fit').inputs = Array(1001).fill('user_spend:user_spend_7d')), code: 'structure', path: 'views.price_fit.inputs', says: /^holds .{61}$/, fix: /1000/ },
  { why: 'a request without end', change: ({ view }) => { for (let i = 0; i < 1001; i++) view('price_fit').request[`r${i}`] = 'int64'; }, code: 'structure', path: 'views.price_fit.request', fix: /at most 1000/ },
  { why: 'columns without end', change: ({ source: of }) => { for (let i = 0; i < 1001; i++) of('visits').columns[`c${i}`] = { type: 'bool', nullable: true }; }, code: 'structure', path: 'sources.visits.columns', fix: /at most 1000/ },
  { why: 'keys without end', change: ({ entity: of }) => (of('user').keys = Array(33).fill(of('user').keys[0])), code: 'structure', path: 'entities.user.keys', fix: /32/ },
  { why: 'items without end', change: ({ json }) => (json.services = Array(10_001).fill(json.services[0])), code: 'structure', path: 'definitions.services', fix: /10000/ },
  { why: 'a connection written out', change: ({ source: of }) => (of('visits').input.connection = 'postgres://me:secret@db/shop'), code: 'structure', path: 'sources.visits.input.connection', says: /^is no reference/, fix: /env:/ },
  { why: 'half a surrogate pair', change: ({ view }) => (view('user_spend').description = '\ud83d'), code: 'structure', path: 'views.user_spend.description' },
  { why: 'a NUL, which Postgres cannot store', change: ({ view }) => (view('user_spend').where = { op: 'eq', args: [{ col: 'item' }, { lit: 'a\0' }] }), code: 'structure', path: 'views.user_spend.where.args[1].lit' },
]);

// biome-ignore format: a table, one case a line
cases('names', [
  { why: 'a key that would be lost', change: ({ source: of }) => Object.defineProperty(of('orders').columns, '__proto__', { value: { type: 'string', nullable: true }, enumerable: true }), code: 'name', path: 'sources.orders.columns.__proto__' },
  { why: 'a column in capitals', change: ({ source: of }) => (of('orders').columns.Cents = { type: 'int64', nullable: true }), code: 'name', path: 'sources.orders.columns.Cents', fix: /cents/ },
  { why: 'a source whose table would be cut', change: ({ json, source: of }) => { of('orders').name = 'o'.repeat(56); for (const view of json.views) if (view.source === 'orders') view.source = 'o'.repeat(56); }, code: 'name', path: `sources.${'o'.repeat(56)}`, fix: /at most 55/ },
  { why: 'a feature called like a column of answers', change: ({ view }) => view('user_rank').features.push({ ...view('user_rank').features[0], name: 'event_timestamp', nameException: 'x' }), code: 'name', path: 'views.user_rank.features.event_timestamp', says: /reserved/ },
  { why: 'a feature that the lint refuses', change: ({ feature, service: of }) => { feature('user_presence', 'user_age_days').name = 'user_age_7d'; of('ranking').features = ['user_rank:user_rank']; }, code: 'name-window', path: 'views.user_presence.features.user_age_7d', fix: /all_time/ },
]);

// biome-ignore format: a table, one case a line
cases('names and references', [
  { why: 'two views of one name', change: ({ json, view }) => json.views.push(view('user_spend')), code: 'duplicate', path: 'views.user_spend' },
  { why: 'two features of one name', change: ({ view }) => view('user_rank').features.push(view('user_rank').features[0]), code: 'duplicate', path: 'views.user_rank.features' },
  { why: 'two join keys of one name', change: ({ entity: of, json }) => { of('user').keys.push(of('user').keys[0]); for (const view of json.views) if (view.key) view.key = ['user_id', 'id']; json.views = json.views.filter((view: Loose) => view.source === 'orders'); json.services[0].features = ['user_spend:user_items']; }, code: 'duplicate', path: 'entities.user.keys' },
  { why: 'a feature called like a join key', change: ({ view }) => view('user_rank').features.push({ ...view('user_rank').features[0], name: 'user_id' }), code: 'duplicate', path: 'views.user_rank.features.user_id' },
  { why: 'no such entity', change: ({ view }) => (view('user_rank').entity = 'usr'), code: 'unknown-reference', path: 'views.user_rank.entity', fix: /did you mean "user"/ },
  { why: 'no such source', change: ({ view }) => (view('user_spend').source = 'order'), code: 'unknown-reference', path: 'views.user_spend.source', fix: /did you mean "orders"/ },
  { why: 'no such view in a service', change: ({ service: of }) => of('ranking').features.push('user_spent:user_items'), code: 'unknown-reference', path: 'services.ranking.features', fix: /did you mean "user_spend"/ },
  { why: 'no such feature in a service', change: ({ service: of }) => of('ranking').features.push('user_spend:user_item'), code: 'unknown-reference', path: 'services.ranking.features', fix: /did you mean "user_items"/ },
  { why: 'a feature without its view', change: ({ service: of }) => of('ranking').features.push('user_items'), code: 'unknown-reference', path: 'services.ranking.features', fix: /view:feature/ },
  { why: 'a feature twice in a service', change: ({ service: of }) => of('ranking').features.push('user_spend:user_items'), code: 'duplicate', path: 'services.ranking.features', says: /twice/ },
  { why: 'two short names in a service', change: ({ json, service: of, view }) => { json.views.push({ ...view('user_rank'), name: 'other_rank' }); of('ranking').features.push('other_rank:user_rank'); }, code: 'duplicate', path: 'services.ranking.features', says: /one short name/ },
  { why: 'what is broken is not also missing', change: ({ source: of }) => delete of('orders').owner, code: 'structure', path: 'sources.orders.owner' },
]);

// biome-ignore format: a table, one case a line
cases('sources', [
  { why: 'no such event time', change: ({ source: of }) => (of('orders').eventTime = 'att'), code: 'unknown-column', path: 'sources.orders.eventTime', fix: /did you mean "at"/ },
  { why: 'an event time that is none', change: ({ source: of }) => (of('orders').eventTime = 'cents'), code: 'type', path: 'sources.orders.eventTime', says: /is int64/, fix: /timestamp/ },
  { why: 'an event time that may be missing', change: ({ source: of }) => (of('orders').columns.at.nullable = true), code: 'type', path: 'sources.orders.eventTime', fix: /question mark/ },
  { why: 'an arrival that is no time', change: ({ source: of }) => (of('visits').arrival = 'user_id'), code: 'type', path: 'sources.visits.arrival' },
  { why: 'an id that may be missing', change: ({ source: of }) => (of('orders').id = 'item'), code: 'type', path: 'sources.orders.id' },
  { why: 'a sequence of text', change: ({ source: of }) => (of('orders').sequence = 'id'), code: 'type', path: 'sources.orders.sequence' },
  { why: 'no such column of retractions', change: ({ source: of }) => (of('orders').retracts = 'items'), code: 'unknown-column', path: 'sources.orders.retracts', fix: /did you mean "item"/ },
  { why: 'retractions without ids', change: ({ source: of }) => Object.assign(of('orders'), { id: null, retracts: 'item' }), code: 'source', path: 'sources.orders.retracts', fix: /id: / },
  { why: 'a retraction by another type than the id', change: ({ source: of }) => { of('orders').retracts = 'cents'; of('orders').columns.cents.nullable = true; }, code: 'type', path: 'sources.orders.retracts', says: /int64.*"id" is string/, fix: /type string/ },
  { why: 'a retraction in every row', change: ({ source: of }) => (of('orders').retracts = 'user_id'), code: 'type', path: 'sources.orders.retracts', fix: /'string\?'/ },
  { why: 'a table that is none', change: ({ source: of }) => (of('visits').input.table = 'visits; drop table x'), code: 'source', path: 'sources.visits.input.table' },
  { why: 'later than it is kept', change: ({ source: of }) => (of('receipts').allowedLatenessMs = 366 * 86_400_000), code: 'source', path: 'sources.receipts.allowedLatenessMs', says: /366d.*365d/ },
  { why: 'a snapshot has no events', change: ({ source: of }) => (of('visits').kind = 'snapshot'), code: 'source', path: 'views.user_presence.source', fix: /sql view/ },
]);

// biome-ignore format: a table, one case a line
cases('keys', [
  { why: 'too few columns', change: ({ view }) => (view('user_spend').key = ['user_id', 'id']), code: 'key', path: 'views.user_spend.key', fix: /user_id/ },
  { why: 'no such column', change: ({ view }) => (view('user_spend').key = ['userid']), code: 'unknown-column', path: 'views.user_spend.key', fix: /user_id/ },
  { why: 'another type', change: ({ view }) => (view('user_spend').key = ['cents']), code: 'key', path: 'views.user_spend.key', says: /int64.*string/ },
]);

/** A view over sessions of orders, with a change. */
const inSessions = (change: (view: Loose) => void) => (parts: Parts) => {
  const view = parts.view('user_presence');
  const sums = [{ name: 'total', value: { col: 'cents' } }];
  Object.assign(view, { source: 'orders', sessions: { gapMs: 1_800_000, where: null, sums } });
  change(view);
};

test('a view over sessions has no problems; a feature of it may be named after them', () => {
  const json = changed((parts) => {
    inSessions((view) => (view.features[0].name = 'session_age_days'))(parts);
    parts.service('ranking').features = ['user_spend:user_spend_7d'];
  });
  expect(checkDefinitions(json).problems).toEqual([]);
});

const VISITS = 'views.user_presence';
// biome-ignore format: a table, one case a line
cases('sessions', [
  { why: 'no gap', change: inSessions((view) => (view.sessions.gapMs = 0)), code: 'structure', path: `${VISITS}.sessions.gapMs` },
  { why: 'a gap beyond all events', change: inSessions((view) => (view.sessions.gapMs = 3_155_760_000_001)), code: 'structure', path: `${VISITS}.sessions.gapMs` },
  { why: 'no such column in what makes them', change: inSessions((view) => (view.sessions.where = { op: 'gt', args: [{ col: 'cent' }, { lit: 1 }] })), code: 'unknown-column', path: `${VISITS}.sessions.where`, fix: /did you mean "cents"/ },
  { why: 'what makes them is no condition', change: inSessions((view) => (view.sessions.where = { col: 'cents' })), code: 'type', path: `${VISITS}.sessions.where`, fix: /bool/ },
  { why: 'a sum of texts', change: inSessions((view) => (view.sessions.sums[0].value = { col: 'item' })), code: 'type', path: `${VISITS}.sessions.sums.total.value`, fix: /int64 or float64/ },
  { why: 'a sum of an unknown column', change: inSessions((view) => (view.sessions.sums[0].value = { col: 'duration_ms' })), code: 'unknown-column', path: `${VISITS}.sessions.sums.total.value` },
  { why: 'a sum that is no name', change: inSessions((view) => (view.sessions.sums[0].name = 'Total')), code: 'name', path: `${VISITS}.sessions.sums.Total` },
  { why: 'a sum called like what every session has', change: inSessions((view) => (view.sessions.sums[0].name = 'event_count')), code: 'duplicate', path: `${VISITS}.sessions.sums.event_count`, fix: /rename/ },
  { why: 'a sum called like a key column', change: inSessions((view) => (view.sessions.sums[0].name = 'user_id')), code: 'duplicate', path: `${VISITS}.sessions.sums.user_id` },
  { why: 'two sums of one name', change: inSessions((view) => view.sessions.sums.push(view.sessions.sums[0])), code: 'duplicate', path: `${VISITS}.sessions.sums` },
  { why: 'by no such column', change: inSessions((view) => (view.key = ['userid'])), code: 'unknown-column', path: `${VISITS}.key`, fix: /user_id/ },
  { why: 'by too many columns', change: inSessions((view) => (view.key = ['user_id', 'id'])), code: 'key', path: `${VISITS}.key` },
  { why: 'by a column called like what every session has', change: (parts) => { inSessions((view) => (view.key = ['duration_ms']))(parts); parts.source('orders').columns.duration_ms = { type: 'string', nullable: true }; }, code: 'duplicate', path: `${VISITS}.key`, fix: /source/ },
  { why: 'a filter over a column of the source', change: inSessions((view) => (view.where = { op: 'gt', args: [{ col: 'cents' }, { lit: 1 }] })), code: 'unknown-column', path: `${VISITS}.where`, fix: /total/ },
  { why: 'a feature over a column of the source', change: inSessions((view) => (view.features[0].where = { col: 'paid' })), code: 'unknown-column', path: `${VISITS}.features.user_age_days.where` },
  { why: 'a type that a sum does not have', change: inSessions((view) => Object.assign(view.features[0], { type: 'float64', aggregation: { op: 'max', value: { col: 'total' } } })), code: 'type', path: `${VISITS}.features.user_age_days.type`, fix: /int64/ },
  { why: 'a session of sessions', change: inSessions((view) => Object.assign(view.features[0], { nameException: 'x', window: { type: 'session', gapMs: 86_400_000 } })), code: 'window', path: `${VISITS}.features.user_age_days.window`, says: /of sessions/, fix: /gap of 30min/ },
]);

const aggregation = (view: string, name: string, value: unknown) => (parts: Parts) =>
  (parts.feature(view, name).aggregation = value);

const buckets = (limit: number) => ({
  type: 'map<string,int64>',
  aggregation: { op: 'bucketed', by: { col: 'item' }, aggregation: { op: 'count' }, limit },
});

// biome-ignore format: a table, one case a line
cases('types', [
  { why: 'no such column in a filter', change: ({ view }) => (view('user_spend').where = { op: 'gt', args: [{ col: 'cent' }, { lit: 1 }] }), code: 'unknown-column', path: 'views.user_spend.where', fix: /did you mean "cents"/ },
  { why: 'a filter that is none', change: ({ view }) => (view('user_spend').where = { col: 'cents' }), code: 'type', path: 'views.user_spend.where', fix: /bool/ },
  { why: 'operands that do not fit', change: ({ view }) => (view('user_spend').where = { op: 'gt', args: [{ col: 'cents' }, { lit: '1' }] }), code: 'expression', path: 'views.user_spend.where', says: /gt\(int64, string\)/ },
  { why: 'a filter of a feature', change: ({ feature }) => (feature('user_spend', 'user_spend_7d').where = { col: 'item' }), code: 'type', path: `${SPEND}.where` },
  { why: 'the clock in a stored feature', change: ({ view }) => (view('user_spend').where = { op: 'gt', args: [{ op: 'now', args: [] }, { col: 'at' }] }), code: 'expression', path: 'views.user_spend.where', fix: /timeSince/ },
  { why: 'a sum of texts', change: aggregation('user_spend', 'user_spend_7d', { op: 'sum', value: { col: 'item' } }), code: 'type', path: `${SPEND}.aggregation.value`, fix: /int64 or float64/ },
  { why: 'a mean of times', change: aggregation('user_spend', 'user_spend_7d', { op: 'mean', value: { col: 'at' } }), code: 'type', path: `${SPEND}.aggregation.value` },
  { why: 'the least of texts', change: aggregation('user_spend', 'user_spend_7d', { op: 'min', value: { col: 'item' } }), code: 'type', path: `${SPEND}.aggregation.value` },
  { why: 'a list of truths', change: aggregation('user_spend', 'user_items', { op: 'lastN', value: { col: 'paid' }, n: 2 }), code: 'type', path: 'views.user_spend.features.user_items.aggregation.value' },
  { why: 'a top of amounts by name', change: aggregation('user_spend', 'user_top', { op: 'topK', key: { col: 'item' }, weight: { col: 'item' }, k: 2 }), code: 'type', path: 'views.user_spend.features.user_top.aggregation.weight' },
  { why: 'a cart without a condition', change: ({ feature }) => (feature('user_spend', 'user_cart').aggregation.clear = { col: 'cents' }), code: 'type', path: 'views.user_spend.features.user_cart.aggregation.clear' },
  { why: 'a side of a ratio', change: ({ feature }) => (feature('user_spend', 'user_share').aggregation.denominator.value = { col: 'item' }), code: 'type', path: 'views.user_spend.features.user_share.aggregation.denominator.value' },
  { why: 'a filter of a side', change: ({ feature }) => (feature('user_spend', 'user_share').aggregation.numerator.where = { col: 'cents' }), code: 'type', path: 'views.user_spend.features.user_share.aggregation.numerator.where' },
  { why: 'edges out of order', change: aggregation('user_spend', 'user_items', { op: 'histogram', value: { col: 'cents' }, edges: [0, 10, 10] }), code: 'structure', path: 'views.user_spend.features.user_items.aggregation.edges', fix: /ascending/ },
  { why: 'buckets without a limit', change: aggregation('user_spend', 'user_items', { op: 'bucketed', by: { col: 'item' }, aggregation: { op: 'count' } }), code: 'structure', path: 'views.user_spend.features.user_items.aggregation.limit', says: /is missing/, fix: /number/ },
  { why: 'buckets without an end', change: aggregation('user_spend', 'user_items', { op: 'bucketed', by: { col: 'item' }, aggregation: { op: 'count' }, limit: 1001 }), code: 'structure', path: 'views.user_spend.features.user_items.aggregation.limit', fix: /1000/ },
  { why: 'buckets by a time', change: aggregation('user_spend', 'user_items', { op: 'bucketed', by: { col: 'at' }, aggregation: { op: 'count' }, limit: 5 }), code: 'type', path: 'views.user_spend.features.user_items.aggregation.by', fix: /string or int64/ },
  { why: 'buckets of sums of texts', change: aggregation('user_spend', 'user_items', { op: 'bucketed', by: { col: 'item' }, aggregation: { op: 'sum', value: { col: 'item' } }, limit: 5 }), code: 'type', path: 'views.user_spend.features.user_items.aggregation.aggregation.value', fix: /int64 or float64/ },
  { why: 'buckets of truths', change: aggregation('user_spend', 'user_items', { op: 'bucketed', by: { col: 'item' }, aggregation: { op: 'last', value: { col: 'paid' } }, limit: 5 }), code: 'type', path: 'views.user_spend.features.user_items.aggregation.aggregation.value', fix: /string or int64 or float64/ },
  { why: 'buckets of lists', change: aggregation('user_spend', 'user_items', { op: 'bucketed', by: { col: 'item' }, aggregation: { op: 'topK', key: { col: 'item' }, weight: null, k: 2 }, limit: 5 }), code: 'structure', path: 'views.user_spend.features.user_items.aggregation.aggregation.op', fix: /count, sum, mean, min, max, last/ },
  { why: 'a map where a list is declared', change: aggregation('user_spend', 'user_items', { op: 'bucketed', by: { col: 'item' }, aggregation: { op: 'mean', value: { col: 'cents' } }, limit: 5 }), code: 'type', path: 'views.user_spend.features.user_items.type', fix: /map<string,float64>/ },
  { why: 'an estimate from a fraction on', change: aggregation('user_spend', 'user_items', { op: 'approxDistinct', value: { col: 'item' }, exactTo: 0.5 }), code: 'structure', path: 'views.user_spend.features.user_items.aggregation.exactTo' },
  { why: 'a map of a sql view', change: ({ feature }) => (feature('user_rank', 'user_rank').type = 'map<string,int64>'), code: 'structure', path: 'views.user_rank.features.user_rank.type', fix: /list<int64>/ },
  { why: 'a cold start of a map that is a list', change: ({ feature }) => Object.assign(feature('user_spend', 'user_items'), { ...buckets(3), coldStart: [] }), code: 'type', path: 'views.user_spend.features.user_items.coldStart', fix: /an object of whole numbers/ },
  { why: 'a cold start of a map of other values', change: ({ feature }) => Object.assign(feature('user_spend', 'user_items'), { ...buckets(3), coldStart: { a: 0.5 } }), code: 'type', path: 'views.user_spend.features.user_items.coldStart' },
  { why: 'a cold start larger than the map', change: ({ feature }) => Object.assign(feature('user_spend', 'user_items'), { ...buckets(1), coldStart: { a: 1, b: 2 } }), code: 'type', path: 'views.user_spend.features.user_items.coldStart', says: /1 at most/ },
  { why: 'a histogram of texts', change: aggregation('user_spend', 'user_items', { op: 'histogram', value: { col: 'item' }, edges: [0] }), code: 'type', path: 'views.user_spend.features.user_items.aggregation.value' },
  { why: 'a percentile by the hundred', change: aggregation('user_spend', 'user_items', { op: 'percentile', value: { col: 'cents' }, quantile: 95 }), code: 'structure', path: 'views.user_spend.features.user_items.aggregation.quantile' },
  { why: 'a percentile below 0', change: aggregation('user_spend', 'user_items', { op: 'percentile', value: { col: 'cents' }, quantile: -0.1 }), code: 'structure', path: 'views.user_spend.features.user_items.aggregation.quantile' },
  { why: 'the newest none', change: aggregation('user_spend', 'user_items', { op: 'lastN', value: { col: 'item' }, n: 0 }), code: 'structure', path: 'views.user_spend.features.user_items.aggregation.n' },
  { why: 'the first none', change: aggregation('user_spend', 'user_items', { op: 'firstN', value: { col: 'item' }, n: 0 }), code: 'structure', path: 'views.user_spend.features.user_items.aggregation.n' },
  { why: 'a division by nothing', change: aggregation('user_spend', 'user_spend_7d', { op: 'sum', value: { op: 'div', args: [{ col: 'cents' }, { lit: 0 }] } }), code: 'expression', path: `${SPEND}.aggregation.value`, says: /always null/, fix: /something else/ },
  { why: 'a percentile too fine', change: aggregation('user_spend', 'user_items', { op: 'percentile', value: { col: 'cents' }, quantile: 0.99999 }), code: 'structure', path: 'views.user_spend.features.user_items.aggregation.quantile', fix: /four decimals/ },
  { why: 'a window of which nothing is left', change: ({ feature }) => Object.assign(feature('user_spend', 'user_spend_7d'), { type: 'float64', aggregation: { op: 'decayedCount', halfLifeMs: 3_600_000 } }), code: 'window', path: `${SPEND}.window`, says: /64 half-lives of 1h/, fix: /lifetime/ },
  { why: 'values kept for ever', change: ({ feature }) => Object.assign(feature('user_spend', 'user_items'), { type: 'int64', coldStart: 0, window: { type: 'lifetime' }, aggregation: { op: 'distinct', value: { col: 'item' } } }), code: 'window', path: 'views.user_spend.features.user_items.aggregation.limit', fix: /approxDistinct/ },
  { why: 'a mean of lists of any length', change: aggregation('user_spend', 'user_spend_7d', { op: 'mean', value: { col: 'loose' } }), code: 'type', path: `${SPEND}.aggregation.value`, says: /without a length/, fix: /vector\(64\)/ },
  { why: 'a mean of lists of texts', change: aggregation('user_spend', 'user_spend_7d', { op: 'mean', value: { col: 'tags' } }), code: 'type', path: `${SPEND}.aggregation.value`, says: /is list<string>/ },
  { why: 'a sum of vectors', change: aggregation('user_spend', 'user_spend_7d', { op: 'sum', value: { col: 'taste' } }), code: 'type', path: `${SPEND}.aggregation.value`, fix: /int64 or float64/ },
  { why: 'different lists', change: aggregation('user_spend', 'user_spend_7d', { op: 'distinct', value: { col: 'tags' } }), code: 'type', path: `${SPEND}.aggregation.value`, says: /is list<string>/ },
  { why: 'the newest lists', change: aggregation('user_spend', 'user_items', { op: 'lastN', value: { col: 'tags' }, n: 2 }), code: 'type', path: 'views.user_spend.features.user_items.aggregation.value' },
  { why: 'lists compared', change: ({ view }) => (view('user_spend').where = { op: 'eq', args: [{ col: 'tags' }, { col: 'tags' }] }), code: 'expression', path: 'views.user_spend.where', fix: /two scalars/ },
  { why: 'a list that contains another type', change: ({ view }) => (view('user_spend').where = { op: 'contains', args: [{ col: 'tags' }, { lit: 1 }] }), code: 'expression', path: 'views.user_spend.where', says: /contains\(list<string>, int64\)/ },
  { why: 'a vector of texts', change: ({ source: of }) => (of('orders').columns.tags.length = 3), code: 'type', path: 'sources.orders.columns.tags.length', fix: /list<float64>/ },
  { why: 'a vector too long', change: ({ source: of }) => (of('orders').columns.taste.length = 4097), code: 'structure', path: 'sources.orders.columns.taste.length' },
  { why: 'a list as a key', change: ({ view }) => (view('user_spend').key = ['tags']), code: 'key', path: 'views.user_spend.key', says: /list<string>/ },
  { why: 'a list as an id', change: ({ source: of }) => (of('orders').id = 'tags'), code: 'type', path: 'sources.orders.id', fix: /string or int64/ },
  { why: 'a cold start of another length', change: ({ feature }) => Object.assign(feature('user_spend', 'user_items'), { type: 'list<float64>', coldStart: [0, 0], aggregation: { op: 'mean', value: { col: 'taste' } } }), code: 'type', path: 'views.user_spend.features.user_items.coldStart', says: /the feature has 3$/, fix: /give 3, or null/ },
  { why: 'a list in a request', change: ({ view }) => (view('price_fit').request.price = 'list<int64>'), code: 'structure', path: 'views.price_fit.request.price' },
  { why: 'a type that it does not give', change: ({ feature }) => (feature('user_spend', 'user_items').type = 'list<int64>'), code: 'type', path: 'views.user_spend.features.user_items.type', fix: /list<string>/ },
  { why: 'a cold start of another type', change: ({ feature }) => (feature('user_spend', 'user_spend_7d').coldStart = 'none'), code: 'type', path: `${SPEND}.coldStart`, fix: /whole number/ },
  { why: 'a cold start that is a fraction', change: ({ feature }) => (feature('user_spend', 'user_spend_7d').coldStart = 0.5), code: 'type', path: `${SPEND}.coldStart` },
  { why: 'a cold start of other elements', change: ({ feature }) => (feature('user_spend', 'user_items').coldStart = [1]), code: 'type', path: 'views.user_spend.features.user_items.coldStart' },
  { why: 'a cold start longer than the list', change: ({ feature }) => (feature('user_spend', 'user_top').coldStart = ['a', 'b', 'c']), code: 'type', path: 'views.user_spend.features.user_top.coldStart', says: /2 at most/ },
]);

const HOUR = 3_600_000;
const DAY = 24 * HOUR;
const is = (window: Window) => (parts: Parts) =>
  (parts.feature('user_spend', 'user_spend_7d').window = window);
const window = (ms: number, hopMs: number) => (parts: Parts) =>
  (parts.feature('user_spend', 'user_spend_7d').window = { type: 'sliding', ms, hopMs });
const excused = (change: (parts: Parts) => void) => (parts: Parts) => {
  parts.feature('user_spend', 'user_spend_7d').nameException = 'x';
  change(parts);
};

const SHOPPING = 'views.user_shopping.features.user_receipts_7d';
const kept = (window: Window) => (parts: Parts) =>
  Object.assign(parts.feature('user_shopping', 'user_receipts_7d'), { window, nameException: 'x' });

// biome-ignore format: a table, one case a line
cases('windows, cadence, ttl', [
  { why: 'a lifetime, over a source that is not kept for ever', change: kept({ type: 'lifetime' }), code: 'window-retention', path: `${SHOPPING}.window`, says: /without bound.*keeps 365d/, fix: /retention/ },
  { why: 'a decaying lifetime that reaches behind what is kept', change: (parts) => { kept({ type: 'lifetime' })(parts); Object.assign(parts.feature('user_shopping', 'user_receipts_7d'), { type: 'float64', aggregation: { op: 'decayedCount', halfLifeMs: 5 * DAY } }); }, code: 'window-retention', path: `${SHOPPING}.window`, says: /reaches back 320d and a hop of 80d/ },
  { why: 'a session without a gap', change: kept({ type: 'session', gapMs: 0 }), code: 'structure', path: `${SHOPPING}.window.gapMs`, says: /holds 0/ },
  { why: 'no multiple of its hop', change: excused(window(1.5 * DAY, DAY)), code: 'window', path: `${SPEND}.window.hopMs`, says: /no multiple/ },
  { why: 'a hop that does not divide the day', change: excused(window(70 * 3_600_000, 7 * 3_600_000)), code: 'window', path: `${SPEND}.window.hopMs`, says: /7h neither/ },
  { why: 'longer than the source is kept, with its hop', change: kept({ type: 'sliding', ms: 365 * DAY, hopMs: DAY }), code: 'window-retention', path: `${SHOPPING}.window`, says: /365d and a hop of 1d.*keeps 365d/ },
  { why: 'a window that its name does not say', change: window(14 * DAY, DAY), code: 'name-window', path: SPEND, fix: /14d/ },
  { why: 'below its hop', change: excused(window(HOUR, DAY)), code: 'window', path: `${SPEND}.window.hopMs`, says: /1h is below its hop of 1d/ },
  { why: 'hopping, no multiple of its hop', change: excused(is({ type: 'hopping', ms: 1.5 * DAY, hopMs: DAY })), code: 'window', path: `${SPEND}.window.hopMs`, says: /no multiple/ },
  { why: 'hopping, longer than the source is kept', change: kept({ type: 'hopping', ms: 365 * DAY, hopMs: DAY }), code: 'window-retention', path: `${SHOPPING}.window`, says: /keeps 365d/ },
  { why: 'tumbling, no part of a day', change: excused(is({ type: 'tumbling', ms: 7 * HOUR })), code: 'window', path: `${SPEND}.window.ms`, says: /7h neither/ },
  { why: 'tumbling, longer than the source is kept', change: kept({ type: 'tumbling', ms: 366 * DAY }), code: 'window-retention', path: `${SHOPPING}.window`, says: /reaches back 366d/ },
  { why: 'tumbling, empty at every tick', change: excused(is({ type: 'tumbling', ms: HOUR })), code: 'window', path: `${SPEND}.window`, says: /begins anew at every tick of 1h/, fix: /longer than the cadence/ },
  { why: 'a day, empty at every tick', change: (parts) => { excused(is({ type: 'calendar', unit: 'day', zone: 'UTC' }))(parts); parts.view('user_spend').mode.cadenceMs = DAY; }, code: 'window', path: `${SPEND}.window`, says: /begins anew/ },
  { why: 'a month, longer than the source is kept', change: (parts) => { kept({ type: 'calendar', unit: 'month', zone: 'UTC' })(parts); parts.source('receipts').retentionMs = 31 * DAY; }, code: 'window-retention', path: `${SHOPPING}.window`, says: /a month, 745h at most/ },
  { why: 'sessions whose first event the source does not keep', change: (parts) => { kept({ type: 'tumbling', ms: 365 * DAY })(parts); parts.view('user_shopping').sessions = { gapMs: HOUR / 2, where: null, sums: [] }; }, code: 'window-retention', path: `${SHOPPING}.window`, says: /a gap of 30min/ },
  { why: 'a gap longer than the source is kept', change: kept({ type: 'session', gapMs: 366 * DAY }), code: 'window-retention', path: `${SHOPPING}.window`, says: /a gap of 366d/ },
  { why: 'what decays in a session', change: (parts) => { excused(is({ type: 'session', gapMs: HOUR }))(parts); Object.assign(parts.feature('user_spend', 'user_spend_7d'), { type: 'float64', coldStart: null, aggregation: { op: 'decayedCount', halfLifeMs: DAY } }); }, code: 'window', path: `${SPEND}.window`, says: /for ever/ },
  { why: 'a zone nobody knows', change: excused(is({ type: 'calendar', unit: 'day', zone: 'Mars/Base' })), code: 'window', path: `${SPEND}.window.zone`, says: /"Mars\/Base" is no time zone/, fix: /Europe\/Berlin/ },
  { why: 'an offset for a zone', change: excused(is({ type: 'calendar', unit: 'day', zone: '+01:00' })), code: 'window', path: `${SPEND}.window.zone`, says: /no time zone/ },
  { why: 'a zone in lower case', change: excused(is({ type: 'calendar', unit: 'day', zone: 'europe/berlin' })), code: 'window', path: `${SPEND}.window.zone`, fix: /write Europe\/Berlin/ },
  { why: 'a name that says another window', change: is({ type: 'calendar', unit: 'week', zone: 'UTC' }), code: 'name-window', path: SPEND, fix: /this_week/ },
  { why: 'the first of a hopping window', change: ({ feature }) => Object.assign(feature('user_presence', 'user_age_days'), { nameException: 'x', window: { type: 'hopping', ms: DAY, hopMs: DAY } }), code: 'window', path: 'views.user_presence.features.user_age_days.window', fix: /lifetime/ },
  { why: 'the first of a sliding window', change: ({ feature }) => Object.assign(feature('user_presence', 'user_age_days'), { nameException: 'x', window: { type: 'sliding', ms: DAY, hopMs: DAY } }), code: 'window', path: 'views.user_presence.features.user_age_days.window', fix: /lifetime/ },
  { why: 'a cadence that does not divide the day', change: ({ view }) => (view('user_spend').mode.cadenceMs = 7 * 3_600_000), code: 'cadence', path: 'views.user_spend.mode.cadenceMs', says: /7h/ },
  { why: 'a cadence of rows that does not', change: ({ view }) => (view('user_presence').mode.rowsEveryMs = 7 * DAY), code: 'cadence', path: 'views.user_presence.mode.rowsEveryMs' },
  { why: 'a cadence of a sql view', change: ({ view }) => (view('user_rank').cadenceMs = 2 * DAY), code: 'cadence', path: 'views.user_rank.cadenceMs' },
  { why: 'values that expire between ticks', change: ({ view }) => (view('user_spend').ttlMs = 60_000), code: 'ttl', path: 'views.user_spend.ttlMs', fix: /at least 1h/ },
]);

test('zones are named all at once: the unknown, the second, the misspelt', () => {
  const { problems } = checkDefinitions(
    changed(({ view }) => {
      const zones = ['Europe/Berlin', 'Asia/Tokyo', 'Mars/Base', 'europe/berlin', 'Europe/Berlin'];
      view('user_spend').features.forEach((feature: Loose, index: number) => {
        feature.window = { type: 'calendar', unit: 'week', zone: zones[index] };
        feature.nameException = 'x';
      });
    }),
  );
  expect(problems.map(({ path, message }) => `${path.split('.')[3]}: ${message}`)).toEqual([
    'user_items: "Asia/Tokyo" is a second zone in this view; "Europe/Berlin" is the first',
    'user_share: "Mars/Base" is no time zone',
    'user_spend_7d: "europe/berlin" is not spelt like that',
  ]);
});

const query =
  (text: string) =>
  ({ view }: Parts) =>
    (view('user_rank').query = text);

// biome-ignore format: a table, one case a line
cases('sql views', [
  { why: 'a query that sees the future', change: query('select * from shop.ranks'), code: 'query', path: 'views.user_rank.query', says: /:as_of/ },
  { why: ':as_of in a comment', change: query('select * from shop.ranks -- :as_of'), code: 'query', path: 'views.user_rank.query', says: /:as_of/ },
  { why: ':as_of in a text', change: query("select ':as_of' from shop.ranks"), code: 'query', path: 'views.user_rank.query', says: /:as_of/ },
  { why: 'a cast is no parameter', change: query('select x::as_of from shop.ranks'), code: 'query', path: 'views.user_rank.query', says: /:as_of/ },
  { why: 'a query that writes', change: query('delete from shop.ranks where at < :as_of'), code: 'query', path: 'views.user_rank.query', says: /no SELECT/ },
  { why: 'two statements', change: query('select :as_of from shop.ranks; drop table x'), code: 'query', path: 'views.user_rank.query', says: /more than one/ },
  { why: ':as_of in a quoted name', change: query('select 1 as ":as_of" from shop.ranks'), code: 'query', path: 'views.user_rank.query', says: /:as_of/ },
  { why: 'two statements between quoted names', change: query(`select :as_of, 2 as "'" from shop.ranks; drop table x; select 'x'`), code: 'query', path: 'views.user_rank.query', says: /more than one/ },
  { why: 'a table that it does not read', change: ({ view }) => view('user_rank').reads.push({ table: 'shop.other', kind: 'append' }), code: 'query', path: 'views.user_rank.reads', says: /shop\.other/ },
]);

test('a key column and an arrival may be missing: such an event is no entity’s, or has an assumed arrival', () => {
  const json = changed(({ source: of }) => {
    of('orders').columns.user_id.nullable = true;
    of('visits').columns.known_at.nullable = true;
  });
  expect(checkDefinitions(json).problems).toEqual([]);
});

test.each([
  'with x as (select * from "shop"."ranks") select * from x where at <= :as_of;  ',
  `select "user--rank", "it's", "a;b" from shop.ranks where at <= :as_of`,
])('a query may end with a semicolon and quote its names: %s', (text) =>
  expect(checkDefinitions(changed(query(text))).problems).toEqual([]),
);

// biome-ignore format: a table, one case a line
cases('on-demand views', [
  { why: 'no such input', change: ({ view }) => (view('price_fit').inputs = ['user_spend:user_spend_8d']), code: 'unknown-reference', path: 'views.price_fit.inputs', fix: /user_spend_7d/ },
  { why: 'an input that is a map', change: ({ feature, view }) => { Object.assign(feature('user_spend', 'user_items'), { ...buckets(3), coldStart: {} }); view('price_fit').inputs.push('user_spend:user_items'); }, code: 'type', path: 'views.price_fit.inputs', says: /map<string,int64>/, fix: /filter/ },
  { why: 'an input computed on demand', change: ({ view }) => view('price_fit').inputs.push('price_fit:user_fit'), code: 'unknown-reference', path: 'views.price_fit.inputs', says: /on demand/ },
  { why: 'no such request field', change: ({ view }) => (view('price_fit').features[0].expression = { col: 'prize' }), code: 'unknown-input', path: 'views.price_fit.features.user_fit.expression', says: /no request carries "prize"/, fix: /did you mean "price"/ },
  { why: 'a request field called like an input', change: ({ view }) => (view('price_fit').request.user_spend_7d = 'int64'), code: 'duplicate', path: 'views.price_fit.inputs' },
  { why: 'a request field called like a join key', change: ({ view }) => (view('price_fit').request.user_id = 'string'), code: 'duplicate', path: 'views.price_fit.request.user_id' },
  { why: 'a type that it does not give', change: ({ view }) => (view('price_fit').features[0].type = 'int64'), code: 'type', path: 'views.price_fit.features.user_fit.type', fix: /float64/ },
  { why: 'always null', change: ({ view }) => (view('price_fit').features[0].expression = { lit: null }), code: 'type', path: 'views.price_fit.features.user_fit.expression' },
]);

test.each([null, 7, 'x', [], {}, undefined, { entities: 1, sources: 2, views: 3, services: 4 }])(
  '%j is no definitions, and no crash',
  (json) => {
    const { definitions, problems } = checkDefinitions(json);
    expect(definitions).toBeNull();
    expect(problems.length).toBeGreaterThan(0);
  },
);

test('any value anywhere gives definitions or problems, each with a place and a fix; never a crash', () => {
  const words = fc.constantFrom(
    'user_id',
    'orders',
    'user_spend',
    '7d',
    'now',
    'in',
    'lit',
    '__proto__',
    'constructor',
  );
  const value = fc.oneof(
    fc.jsonValue({ maxDepth: 2 }),
    words,
    fc.constantFrom(Number.NaN, undefined, 2 ** 53, -0),
  );
  const expression = fc.letrec((tie) => ({
    node: fc.oneof(
      { maxDepth: 3 },
      fc.record({ col: fc.constantFrom('cents', 'item', 'paid', 'at', 'none') }),
      fc.record({ lit: fc.constantFrom(null, 1, 0.5, 'a', true) }),
      fc.record({ op: fc.constantFrom(...OPERATORS), args: fc.array(tie('node'), { maxLength: 3 }) }),
    ),
  })).node;
  fc.assert(
    fc.property(
      fc.array(fc.nat(), { minLength: 1, maxLength: 8 }),
      fc.oneof(value, expression),
      (route, put) => {
        const json = structuredClone(whole);
        replaceAt(json, route, put);
        const { definitions, problems } = checkDefinitions(json);
        expect(definitions === null).toBe(problems.length > 0);
        for (const { path, message, fix } of problems) {
          expect(path).not.toBe('');
          expect(message).not.toBe('');
          expect(fix).not.toBe('');
        }
      },
    ),
    { numRuns: 2_000 },
  );
});

/** Walks into the value, each number choosing one of the entries, and replaces what it ends at. */
function replaceAt(root: unknown, route: readonly number[], put: unknown): void {
  let parent = root as Record<string, unknown>;
  for (const [step, number] of route.entries()) {
    const keys = Object.keys(parent);
    const key = keys[number % Math.max(1, keys.length)];
    if (key === undefined) return;
    const child = parent[key];
    if (step === route.length - 1 || typeof child !== 'object' || child === null) {
      parent[key] = put;
      return;
    }
    parent = child as Record<string, unknown>;
  }
}

test('an expression too deep is refused before it is walked', () => {
  let deep: unknown = { col: 'paid' };
  for (let i = 0; i < 20_000; i++) deep = { op: 'not', args: [deep] };
  const { problems } = checkDefinitions(
    changed(({ view }) => {
      view('user_presence').where = deep;
    }),
  );
  expect(problems).toHaveLength(1);
  expect(problems[0]).toMatchObject({ code: 'structure', message: 'lies more than 100 levels deep' });
});

test('what cannot be computed is named in one run, each with its place and what to do', () => {
  const sumOf = (value: unknown) => ({ aggregation: { op: 'sum', value } });
  const impossible: Record<string, Record<string, object>> = {
    user_windows: {
      below: { window: { type: 'sliding', ms: HOUR, hopMs: DAY } },
      uneven: { window: { type: 'hopping', ms: 10 * DAY, hopMs: 3 * DAY } },
      here: { window: { type: 'calendar', unit: 'week', zone: 'Europe/Berlin' } },
      there: { window: { type: 'calendar', unit: 'week', zone: 'Asia/Tokyo' } },
      nowhere: { window: { type: 'calendar', unit: 'week', zone: 'Europe/Atlantis' } },
    },
    user_values: {
      every: { window: { type: 'lifetime' }, aggregation: { op: 'distinct', value: { col: 'item' } } },
      text: sumOf({ col: 'item' }),
      nothing: sumOf({ op: 'div', args: [{ col: 'cents' }, { lit: 0 }] }),
      missing: sumOf({ col: 'price' }),
    },
    user_kept: {
      long: { window: { type: 'tumbling', ms: 400 * DAY } },
      ever: { window: { type: 'lifetime' } },
    },
    user_bounds: {
      gap: { window: { type: 'session', gapMs: 0 } },
      beyond: { aggregation: { op: 'percentile', value: { col: 'cents' }, quantile: 1.1 } },
      none: { aggregation: { op: 'lastN', value: { col: 'item' }, n: 0 } },
    },
  };
  const json = changed(({ json, view, feature }) => {
    const count = { ...feature('user_shopping', 'user_receipts_7d'), coldStart: null, nameException: 'x' };
    for (const [name, features] of Object.entries(impossible))
      json.views.push({
        ...view(name === 'user_kept' ? 'user_shopping' : 'user_spend'),
        name,
        features: Object.entries(features).map(([feature, given]) => ({ ...count, name: feature, ...given })),
      });
  });
  const problems = new Map(checkDefinitions(json).problems.map(({ path, fix }) => [path, fix]));
  expect(Object.fromEntries(problems)).toEqual({
    'views.user_bounds.features.gap.window.gapMs': 'give more than 0',
    'views.user_bounds.features.beyond.aggregation.quantile': 'give at most 1',
    'views.user_bounds.features.none.aggregation.n': 'give at least 1',
    'views.user_windows.features.there.window.zone': 'use one zone, or make a view of each',
    'views.user_windows.features.nowhere.window.zone':
      'name one of the IANA database: UTC, Europe/Berlin, America/New_York',
    'views.user_windows.features.below.window.hopMs': 'use a hop that divides the window',
    'views.user_windows.features.uneven.window.hopMs': 'use a hop that divides the window',
    'views.user_values.features.every.aggregation.limit':
      'declare the most that is told apart ({ limit: 10_000 }), use approxDistinct, or a window that ends',
    'views.user_values.features.text.aggregation.value': 'give int64 or float64',
    'views.user_values.features.nothing.aggregation.value': 'divide by what may be something else',
    'views.user_values.features.missing.aggregation.value':
      'use one of: id, user_id, item, cents, taste, loose, tags, paid, at',
    'views.user_kept.features.long.window': 'use a shorter window, or keep the source longer',
    'views.user_kept.features.ever.window':
      'use a window that ends, or keep the source for ever: leave out its retention',
  });
});

test('what a name may have meant is told until many were compared', () => {
  const json = changed(({ json, view, service: served }) => {
    for (let i = 0; i < 500; i++) json.views.push({ ...view('user_rank'), name: `rank_number_${i}` });
    served('ranking').features = Array.from({ length: 500 }, (_, i) => `rank_nunber_${i}:user_rank`);
  });
  const missing = checkDefinitions(json).problems.filter(({ code }) => code === 'unknown-reference');
  expect(missing.map(({ fix }) => fix.replace(/\d+/, 'N'))).toEqual([
    ...Array(19).fill('did you mean "rank_number_N"?'),
    expect.stringMatching(/^use one of: /),
    ...Array(480).fill('correct its name, or define it'),
  ]);
});

test('everything is found in one run, broken items beside whole ones', () => {
  const json = changed(({ view, source: of, service: served }) => {
    delete view('user_rank').query;
    view('user_spend').mode.cadenceMs = 7;
    of('visits').eventTime = 'seen';
    served('ranking').features.push('user_spend:nothing');
  });
  expect(checkDefinitions(json).problems.map((problem) => problem.path)).toEqual([
    'views.user_rank.query',
    'sources.visits.eventTime',
    'views.user_spend.mode.cadenceMs',
    'services.ranking.features',
  ]);
});

test('assertDefinitions throws once, with the list', () => {
  const json = changed(({ view }) => {
    view('user_spend').owner = 7;
    view('user_rank').cadenceMs = 7;
  });
  try {
    assertDefinitions(json);
    expect.unreachable();
  } catch (error) {
    if (!(error instanceof FeatureStoreError)) throw error;
    expect(error.code).toBe('FS_DEFINITION_INVALID');
    expect(error.message).toBe(
      '2 problems in the definitions\n' +
        '  views.user_spend.owner: holds 7; give a string\n' +
        '  views.user_rank.cadenceMs: 7ms does not divide the day; use one that does: 1min, 10min, 1h, 6h, 1d',
    );
    expect(error.details.problems).toHaveLength(2);
  }
});

test('a feature that cannot be read hides nothing that is wrong with the others of its view', () => {
  const { problems } = checkDefinitions(
    changed(({ view }) => {
      const { features } = view('user_spend');
      features.push({
        ...features[0],
        name: 'user_bad',
        aggregation: { op: 'lastN', value: { col: 'item' } },
      });
      features[0].where = { col: 'nowhere' };
    }),
  );
  expect(problems.map(({ path }) => path)).toEqual([
    'views.user_spend.features.user_bad.aggregation.n',
    expect.stringMatching(/^views.user_spend.features.*where$/),
  ]);
});
