/**
 * What serving counted in Redis, brought to Postgres: exactly once, whoever is killed at whatever point.
 *   rename the counts and name the batch, at once → add them to Postgres with that name as key → delete the batch
 * One batch is under way at a time; a second collector takes up the same.
 */
import { randomUUID } from 'node:crypto';
import { readsKey } from '../core/serving-plan.js';
import { MINUTE } from '../core/time.js';
import { type Pool, transaction } from '../registry/sql.js';
import type { Deps } from './deps.js';
import { call } from './online/client.js';
import { evaluate, script } from './online/script.js';

/** Field of the batch's hash beside the counts: no JSON array. */
const NAME = 'batch';

const TAKE = script(`
if redis.call('EXISTS', KEYS[2]) == 1 then return 1 end
if redis.call('EXISTS', KEYS[1]) == 0 then return 0 end
redis.call('RENAME', KEYS[1], KEYS[2])
redis.call('HSET', KEYS[2], '${NAME}', ARGV[1])
return 1
`);
const END = script(`
if redis.call('HGET', KEYS[1], '${NAME}') == ARGV[1] then redis.call('DEL', KEYS[1]) end
return 1
`);

/** Everything that was counted until now, as far as serving has sent it. Gives how many requests. */
export async function collectReads({
  config,
  pool,
  redis,
}: Pick<Deps, 'config' | 'pool' | 'redis'>): Promise<number> {
  const counts = readsKey(config.environment);
  const taken = `${counts}:taken`;
  let collected = 0;
  // A batch that another left is followed by what came since.
  for (let again = 0; again < 2; again++) {
    if ((await evaluate(redis, TAKE, [counts, taken], [randomUUID()])) === 0) break;
    const { [NAME]: batch, ...reads } = await call(redis.hgetall(taken));
    if (batch === undefined) continue; // another has ended it
    collected += await addReads(pool, batch, reads);
    await evaluate(redis, END, [taken], [batch]);
  }
  return collected;
}

async function addReads(pool: Pool, batch: string, reads: Readonly<Record<string, string>>): Promise<number> {
  const rows = Object.entries(reads).map(([field, count]) => {
    const [minute, model, service, versionId] = JSON.parse(field) as [number, string, string, number];
    return { minute: minute * (MINUTE / 1000), model, service, version_id: versionId, reads: Number(count) };
  });
  return transaction(pool, async (client) => {
    const { rowCount } = await client.query(
      'insert into read_batch (batch) values ($1) on conflict (batch) do nothing',
      [batch],
    );
    if (rowCount === 0) return 0;
    await client.query("delete from read_batch where collected_at < now() - interval '7 days'");
    await client.query(
      `with given as (
         select model, service, version_id, to_timestamp(minute) as minute, reads
           from jsonb_to_recordset($1) as (minute bigint, model text, service text, version_id integer, reads bigint)
          where version_id in (select id from view_version)),
       counted as (
         insert into read_count (model, service, version_id, minute, reads)
         select model, service, version_id, minute, reads from given
         on conflict (model, service, version_id, minute) do update set reads = read_count.reads + excluded.reads)
       insert into read_total (model, service, version_id, reads, last_read)
       select model, service, version_id, sum(reads), max(minute) from given group by model, service, version_id
       on conflict (model, service, version_id)
          do update set reads = read_total.reads + excluded.reads,
                        last_read = greatest(read_total.last_read, excluded.last_read)`,
      [JSON.stringify(rows)],
    );
    return rows.reduce((sum, row) => sum + row.reads, 0);
  });
}
