/**
 * Everything that import and backfill leave behind, as far as it may not depend on what happened on the way: without sequence
 * numbers (an aborted transaction has used one up), ids, and the times at which something was written.
 */
import { onlineKey } from '../../core/codec/key.js';
import { compileView } from '../../core/compile.js';
import { type Reading, readRecord, readSqlRecord, recordSteps } from '../../core/record.js';
import { progressKey } from '../../core/serving-plan.js';
import { DAY, HOUR, MINUTE } from '../../core/time.js';
import { resolveStoredView, type StoredVersion } from '../../registry/resolve.js';
import { quote } from '../../registry/sql.js';
import { definitions, END, ITEMS, USERS } from './made.js';
import { sha, until, type World, withRedis } from './world.js';

interface Digest {
  count: number;
  digest: string | null;
}

export interface Values {
  outcomes: Record<string, number>;
  /** Of tables, by name. */
  tables: Record<string, Digest>;
  /** Entities' values in Redis by view, at fixed moments and around each of their steps. */
  online: Record<string, Digest & { tick: string | null }>;
  /** What serving answers for every entity, by service. */
  served: Record<string, { statuses: Record<string, number>; digest: string }>;
}

export async function readValues(world: World): Promise<Values> {
  return {
    outcomes: await readOutcomes(world),
    tables: await readTables(world),
    online: await readOnline(world),
    served: await readServed(world),
  };
}

async function readOutcomes({ pool }: World): Promise<Values['outcomes']> {
  const { rows } = await pool.query<{ counts: Record<string, number> }>('select counts from import');
  return rows[0]!.counts;
}

async function versionsOf({ pool }: World): Promise<StoredVersion[]> {
  return Promise.all(definitions.views.map(({ name }) => resolveStoredView(pool, name)));
}

async function readTables(world: World): Promise<Values['tables']> {
  const tables: Values['tables'] = {
    archive: await digestOf(world, 'archive_visits', ['partition', 'sequence'], '"offset"'),
    set_aside: await digestOf(world, 'set_aside', ['partition', 'set_aside_at'], '"offset"'),
    // what comes later in the file has a later sequence
    disordered: await digestOf(
      world,
      '(select sequence - lag(sequence) over (order by "offset") as step from archive_visits)',
      [],
      'step',
      'step < 0',
    ),
  };
  for (const { id, view } of await versionsOf(world)) {
    const of = `version_id = ${id}`;
    tables[`rows of ${view.name}`] = await digestOf(
      world,
      `rows_${id}`,
      ['committed_ms', 'record'],
      'key, tick_ms',
    );
    tables[`ticks of ${view.name}`] = await digestOf(world, 'tick', ['version_id'], 'tick_ms', of);
    tables[`snapshots of ${view.name}`] = await digestOf(
      world,
      'snapshot',
      ['version_id', 'sequence', 'state'],
      'key',
      of,
    );
    tables[`progress of ${view.name}`] = await digestOf(
      world,
      'view_progress',
      ['version_id', 'sequence', 'last_write'],
      'last_tick_ms',
      of,
    );
  }
  return tables;
}

async function digestOf(
  { pool }: World,
  table: string,
  without: readonly string[],
  order: string,
  where = 'true',
): Promise<Digest> {
  const { fields } = await pool.query(`select * from ${table} as described limit 0`);
  const columns = fields.map(({ name }) => name).filter((name) => !without.includes(name));
  const { rows } = await pool.query<Digest>(
    `select count(*) as count, md5(string_agg(r::text, E'\\n' order by place)) as digest
       from (select row(${columns.map(quote).join(', ')}) as r, row_number() over (order by ${order}) as place
               from ${table} as given where ${where}) as ordered`,
  );
  return rows[0]!;
}

async function readOnline(world: World): Promise<Values['online']> {
  const environment = world.env.ALMANAC_ENVIRONMENT!;
  const versions = await versionsOf(world);
  return withRedis(world, async (redis) => {
    const online: Values['online'] = {};
    for (const version of versions) {
      const field = String(version.id);
      const { rows } = await world.pool.query<{ key: Buffer }>(
        `select distinct key from rows_${version.id} order by key`,
      );
      const lines: string[] = [];
      for (const { key } of rows) {
        const record = await redis.hgetBuffer(onlineKey(environment, version.entity.name, key), field);
        if (record !== null)
          lines.push(`${key.toString('hex')} ${JSON.stringify(valuesOf(version, record))}`);
      }
      const tick = await redis.hget(progressKey(environment), field);
      online[version.view.name] = { count: lines.length, digest: sha(lines.join('\n')), tick };
    }
    return online;
  });
}

/** The values of a record wherever they can change, and well behind. */
function valuesOf({ view, ...version }: StoredVersion, record: Buffer): unknown {
  if (view.kind === 'sql') return plain(readSqlRecord(view, record));
  if (version.kind !== 'aggregation') throw new Error(`${view.name} is of kind ${version.kind}`);
  const compiled = compileView(view, version.source);
  const { asOf } = readRecord(compiled, record, 0)!;
  const steps = recordSteps(compiled, record).flatMap((step) => [step - 1, step]);
  const end = Date.parse(END);
  const moments = [asOf, end, end + 10 * MINUTE, end + HOUR, end + DAY, end + 30 * DAY, ...steps];
  return moments.map((at) => plain(readRecord(compiled, record, at)!));
}

function plain({ sequence: _sequence, ...reading }: Reading): unknown {
  const text = (value: unknown): unknown => (typeof value === 'bigint' ? `${value}n` : value);
  return {
    ...reading,
    values: reading.values.map((value) => (Array.isArray(value) ? value.map(text) : text(value))),
  };
}

async function readServed(world: World): Promise<Values['served']> {
  await until('serving', async () => (await fetch(`${world.serving}/ready`)).ok);
  const entities: Record<string, Record<string, unknown[]>> = {
    of_users: { user_id: Array.from({ length: USERS }, (_, i) => `user ${i}`) },
    of_items: { item_id: Array.from({ length: ITEMS }, (_, i) => i) },
  };
  const served: Values['served'] = {};
  for (const [service, keys] of Object.entries(entities)) {
    const response = await fetch(`${world.serving}/get-online-features`, {
      method: 'POST',
      headers: { 'content-type': 'application/json', 'x-deadline-ms': '5000' },
      body: JSON.stringify({ feature_service: service, entities: keys }),
    });
    const text = await response.text();
    if (!response.ok) throw new Error(`serving answers ${response.status}: ${text}`);
    const { results } = JSON.parse(text) as { results: Array<{ statuses: string[] }> };
    const statuses: Record<string, number> = {};
    for (const column of results)
      for (const status of column.statuses) statuses[status] = (statuses[status] ?? 0) + 1;
    served[service] = { statuses, digest: sha(text.slice(text.indexOf('"results"'))) };
  }
  return served;
}
