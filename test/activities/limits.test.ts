/** What is as long as it may be fits what Postgres indexes it by; random texts, since an index row is compressed first. */
import { randomBytes } from 'node:crypto';
import { expect, test } from 'vitest';
import {
  appendEvents,
  lockArchiveShared,
  nextSequence,
  readEntity,
} from '../../activities/offline/archive.js';
import { CopyText } from '../../activities/offline/copy.js';
import { insertRows, rowLines } from '../../activities/offline/rows.js';
import { snapshotLine, writeSnapshots } from '../../activities/offline/snapshots.js';
import { type AggregationVersion, compileVersion, computeEntity } from '../../activities/output.js';
import type { AggregationView, Definitions, Entity } from '../../core/definition.js';
import { columnNames } from '../../core/event.js';
import { createIngest } from '../../core/ingest.js';
import { HOUR } from '../../core/time.js';
import { resolveStoredView } from '../../registry/resolve.js';
import { transaction } from '../../registry/sql.js';
import { servicesOf } from '../workflows/definitions.js';
import { applyDefinitions, createEnvironment } from '../workflows/environment.js';
import { userNow, visits, world } from '../workflows/world.js';

const env = await createEnvironment({ temporal: false });
const { deps } = env;

const pair: Entity = {
  name: 'pair',
  description: 'two texts',
  owner: 'shop',
  tags: [],
  keys: [
    { name: 'user_id', type: 'string' },
    { name: 'item', type: 'string' },
  ],
};
const pairNow: AggregationView = { ...userNow, entity: 'pair', key: ['user_id', 'item'] };
const definitions: Definitions = {
  ...world,
  entities: [pair],
  views: [pairNow],
  services: servicesOf([pairNow]),
};
await applyDefinitions(env, definitions);

const random = (bytes: number): string => randomBytes(bytes).toString('base64').slice(0, bytes);
const happened = Date.parse('2026-03-01T12:00:00Z');
const ingest = createIngest(visits, {
  form: 'typed',
  shiftMs: 0,
  untilMs: happened + HOUR,
  importedMs: happened + HOUR,
});
const read = (row: Record<string, unknown>) => ingest(columnNames(visits).map((name) => row[name]));

test('an id and a key of the greatest length are archived, computed and stored', async () => {
  const parts = [random(1024), random(1018)];
  const outcome = read({
    visit_id: random(1024),
    user_id: parts[0],
    item: parts[1],
    kind: 'buy',
    happened_at: happened,
  });
  if (outcome.outcome !== 'event') throw new Error(JSON.stringify(outcome));
  await transaction(deps.pool, async (client) => {
    await lockArchiveShared(client);
    const event = { ...outcome.event, id: outcome.event.id!, sequence: await nextSequence(client) };
    await appendEvents(client, visits, [{ partition: 0, offset: 0, arrivalAssumed: false, event }]);
  });
  const work = compileVersion((await resolveStoredView(deps.pool, 'user_now')) as AggregationVersion);
  const of = { source: visits, entity: pair, keyColumns: pairNow.key };
  const one = (await readEntity(deps.pool, of, parts, { sequence: 1_000_000 }))!;
  expect(one.key.length).toBe(2048);
  const { rows, state } = computeEntity(work.compiled, one.events, {
    after: happened - HOUR,
    until: happened + HOUR,
  });
  const lines = { rows: new CopyText(), snapshots: new CopyText() };
  const toLine = rowLines(work.version, one);
  for (const { tick, reading, stored } of rows)
    lines.rows.add(
      toLine({ tickMs: tick, eventMs: reading!.eventTimestamp, values: reading!.values, record: stored }),
    );
  lines.snapshots.add(snapshotLine(work.compiled, one, state));
  await transaction(deps.pool, async (client) => {
    await insertRows(client, work.version, lines.rows);
    expect(await writeSnapshots(client, work.version.id, 'streaming', lines.snapshots)).toBe(1);
  });
  expect(rows.length).toBeGreaterThan(0);
});

test('a longer id, which no index row holds, is invalid', () => {
  expect(read({ visit_id: random(3000), kind: 'buy', happened_at: happened })).toMatchObject({
    outcome: 'invalid',
    column: 'visit_id',
  });
});
