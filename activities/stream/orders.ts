/** What the registry and the operator want of a source's stream, as its readers find it in Postgres. */
import type { Source } from '../../core/definition.js';
import { MAINTAINED } from '../../registry/resolve.js';
import type { Pool, PoolClient } from '../../registry/sql.js';
import type { Wanted } from '../../registry/status.js';

export interface Orders {
  wanted: Wanted;
  revision: number;
  /**
   * Versions in use, or on their way, that were backfilled; and those that went live when there was nothing to backfill. One whose
   * source has other columns than the present definitions' waits until its own are: events are folded by their columns' order.
   */
  versions: number[];
  /** Those of them that somebody reads. */
  served: number[];
  /** The newest transaction of an import into the source. */
  imported: number;
  /** One has not ended. */
  isImporting: boolean;
}

/** @param present the source as messages are read now; undefined: not known yet */
export async function readOrders(
  client: Pool | PoolClient,
  source: string,
  present: Source | undefined,
): Promise<Orders> {
  const { rows } = await client.query<Orders>(
    `select coalesce((select wanted from stream_control where source = $1), 'run') as wanted,
            coalesce((select max(revision) from revision), 0)::bigint as revision,
            array(select id from view_version where online) as served,
            array(select v.id from view_version v left join view_progress p on p.version_id = v.id
                   where v.kind = 'aggregation' and v.source ->> 'name' = $1 and v.definition #>> '{mode,type}' = 'streaming'
                     and ${MAINTAINED} and v.source -> 'columns' = $2::jsonb
                     and (p.version_id is not null
                          or v.state = 'live' and not exists (select 1 from backfill b where b.version_id = v.id)) order by v.id) as versions,
            coalesce((select max(last_sequence) from import where source = $1), 0)::bigint as imported,
            exists (select 1 from import where source = $1 and state = 'running') as "isImporting"`,
    [source, JSON.stringify(present?.columns ?? {})],
  );
  return rows[0]!;
}
