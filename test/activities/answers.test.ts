import { expect, test } from 'vitest';
import { groupViews } from '../../activities/answers.js';
import type { Source } from '../../core/definition.js';
import type { StoredVersion } from '../../registry/resolve.js';
import { userHourly, userNow, visits, world } from '../workflows/world.js';

const version = (view: typeof userNow, source: Source = visits, entity = world.entities[0]!): StoredVersion =>
  ({
    kind: 'aggregation',
    id: 1,
    version: 1,
    hash: '',
    state: 'live',
    view,
    source,
    entity,
  }) as StoredVersion;

test('views of one source, entity and key are answered by one pass', () => {
  const described = { ...visits, description: 'said in other words' };
  expect(groupViews([version(userHourly), version(userNow), version(userNow, described)])).toEqual([
    [0, 1, 2],
  ]);
});

test('versions that keep other columns of their source, or other keys, stand alone', () => {
  const wider = {
    ...visits,
    columns: { ...visits.columns, a_first: { type: 'int64', nullable: true } as const },
  };
  const keyed = { ...world.entities[0]!, keys: [{ name: 'user_id', type: 'int64' as const }] };
  expect(groupViews([version(userHourly), version(userNow, wider), version(userNow, visits, keyed)])).toEqual(
    [[0], [1], [2]],
  );
});
