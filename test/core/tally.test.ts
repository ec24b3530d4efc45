/** Events that share entity and timestamp, as `unique` counts them. */
import { expect, test } from 'vitest';
import { compileView } from '../../core/compile.js';
import { columnNames, type Event } from '../../core/event.js';
import { aggregationView, count, entity, file, sliding, source, streaming } from '../../core/index.js';
import { countRepeated } from '../../core/tally.js';

const described = { description: 'x', owner: 'tests' };
const user = entity('user', { ...described, keys: { user_id: 'string' } });
const orders = source('orders', {
  ...described,
  input: file('csv'),
  columns: { id: 'string', user_id: 'string', kind: 'string', cancels: 'string?', at: 'timestamp' },
  eventTime: 'at',
  id: 'id',
  retracts: 'cancels',
});
const paid = aggregationView('user_paid', {
  ...described,
  entity: user,
  source: orders,
  mode: streaming(),
  where: orders.col('kind').eq('paid'),
  features: { user_paid_1h: { description: 'x', aggregation: count(), window: sliding('1h') } },
});
const compiled = compileView(paid.json, orders.json);

let made = 0;
/** @param cancels the id of another */
function event(
  timestamp: number,
  { sequence = 1, kind = 'paid', cancels = null as string | null } = {},
): Event {
  const id = `o${++made}`;
  const row: Record<string, Event['values'][number]> = { id, user_id: 'u', kind, cancels, at: timestamp };
  const values = columnNames(orders.json).map((name) => row[name]!);
  return { timestamp, arrivedAt: timestamp, sequence, order: 0, id, values };
}

const [first, second] = [event(7), event(7)];
test.each<{ why: string; events: Event[]; repeated: number }>([
  { why: 'none', events: [], repeated: 0 },
  { why: 'each at its own instant', events: [event(1), event(2)], repeated: 0 },
  { why: 'three at one: two too many', events: [event(5), event(5), event(5), event(6)], repeated: 2 },
  { why: 'one that does not belong to the view', events: [event(5), event(5, { kind: 'open' })], repeated: 0 },
  { why: 'one that was retracted', events: [first, second, event(9, { cancels: second.id })], repeated: 0 },
  { why: 'a retraction at the instant of an event', events: [event(8), event(8, { cancels: 'gone' })], repeated: 0 },
  { why: 'a new one beside an old one', events: [event(5, { sequence: 0 }), event(5)], repeated: 1 },
  { why: 'old ones beside each other, told before', events: [event(5, { sequence: 0 }), event(5, { sequence: 0 })], repeated: 0 },
  { why: 'a new one beside two old ones', events: [event(5, { sequence: 0 }), event(5, { sequence: 0 }), event(5)], repeated: 1 },
])('$why', ({ events, repeated }) => {
  expect(countRepeated(compiled, events, ({ sequence }) => sequence > 0)).toBe(repeated);
}); // biome-ignore format: a table
