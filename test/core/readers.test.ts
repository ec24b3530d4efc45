import { expect, test } from 'vitest';
import { type Lock, versionsRead } from '../../core/readers.js';
import { changed } from '../registry/definitions.js';

// checkout reads user_orders, and user_now, whose input is of user_orders; nobody reads user_rank
const live = new Map([['user_orders', 3], ['user_now', 1], ['user_rank', 2]]); // biome-ignore format: short

test.each<{ why: string; change?: Parameters<typeof changed>[0]; live?: Map<string, number>; locks?: Lock[]; read: string[] }>([
  { why: 'what a service names, at its live version', read: ['user_now@1', 'user_orders@3'] },
  { why: 'no service', change: (all) => (all.services = []), read: [] },
  { why: 'the inputs of an on-demand view that is named', change: (all) => (all.services[0]!.features = ['user_now:user_has_ordered']), read: ['user_now@1', 'user_orders@3'] },
  { why: 'not the on-demand views of an input', change: (all) => all.services[0]!.features.pop(), read: ['user_orders@3'] },
  { why: 'a view that has no live version', live: new Map([['user_now', 1]]), read: ['user_now@1'] },
  { why: 'a lock: exact versions, beside the live ones', locks: [{ checkout: { user_orders: { version: 2 } } }], read: ['user_now@1', 'user_orders@2', 'user_orders@3'] },
  { why: 'two locks on a view that no service names', locks: [{ a: { user_rank: { version: 1 } } }, { b: { user_rank: { version: 2 } } }], read: ['user_now@1', 'user_orders@3', 'user_rank@1', 'user_rank@2'] },
  { why: 'a lock on a view that is gone', change: (all) => { all.views = []; all.services = []; }, live: new Map(), locks: [{ a: { user_rank: { version: 1 } } }], read: ['user_rank@1'] },
])('$why', ({ change = () => {}, live: of = live, locks = [], read }) => {
  expect([...versionsRead(changed(change), of, locks)].sort()).toEqual(read);
}); // biome-ignore format: a table
