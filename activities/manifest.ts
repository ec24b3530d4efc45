/**
 * The manifest of a training set: everything its file depends on, fixed at one instant, then what the file is. The same manifest
 * gives the same bytes again, whatever was archived or backfilled since.
 */
import { FeatureStoreError } from '../core/error.js';
import type { TrainingMode } from '../core/sweep.js';
import { formatTimestamp } from '../core/time.js';
import type { Status } from '../core/vector.js';
import type { StoredVersion } from '../registry/resolve.js';
import { type Pool, type PoolClient, transaction } from '../registry/sql.js';
import { archiveTable } from '../registry/tables.js';
import { archiveBound } from './offline/archive.js';
import { readPublished, type TickRun } from './offline/published.js';
import { readClock, servedByTick } from './offline/ticks.js';
import type { Wanted } from './wanted.js';

export interface TrainingSetRequest {
  id: string;
  /** sha256 of an uploaded file. */
  dataframe: string;
  dataframeFormat: 'csv' | 'arrow';
  /** One of the two. */
  service?: string;
  /** "view:feature"; "view@2:feature" for a version that is not the live one. */
  features?: string[];
  mode: TrainingMode;
  strict: boolean;
  output: 'arrow' | 'parquet';
}

/** Everything the file depends on, then what it is. */
export interface TrainingSetManifest {
  layout: 1;
  id: string;
  request: Omit<TrainingSetRequest, 'id'>;
  /** ISO; no label is later. */
  createdAt: string;
  mode: TrainingMode;
  strict: boolean;
  service: string | null;
  /** "view:feature", in the order of the columns. */
  features: string[];
  /** Stored views, each with the features that are read of it: asked for, or read by an on-demand view. */
  views: ManifestView[];
  onDemand: Array<{ view: string; version: number; versionId: number; hash: string }>;
  dataframe: { sha256: string; format: 'csv' | 'arrow'; rows: number; columns: NamedType[] };
  archive: {
    /** Events up to this one are known, and no others. */
    sequence: number;
    imports: Array<{ id: number; source: string; name: string; sha256: string; shiftMs: number }>;
    /** By source: archived events, and those whose arrival was not in the data but assumed. */
    arrivals: Record<string, { events: number; assumed: number }>;
  };
  /** null until it is written. */
  file: string | null;
  output: {
    format: 'arrow' | 'parquet';
    sha256: string;
    bytes: number;
    rows: number;
    columns: NamedType[];
    /** By view: how many rows had which status. */
    statuses: Record<string, Partial<Record<Status, number>>>;
  } | null;
}

export interface ManifestView {
  view: string;
  version: number;
  versionId: number;
  hash: string;
  features: string[];
  /** Of batch and sql views. */
  published: TickRun[];
}

interface NamedType {
  name: string;
  type: string;
}

export async function findManifest(db: Pool | PoolClient, id: string): Promise<TrainingSetManifest | null> {
  const { rows } = await db.query<{ manifest: TrainingSetManifest }>(
    'select manifest from training_set where id = $1',
    [id],
  );
  return rows[0]?.manifest ?? null;
}

export async function getManifest(db: Pool | PoolClient, id: string): Promise<TrainingSetManifest> {
  const manifest = await findManifest(db, id);
  if (manifest) return manifest;
  throw new FeatureStoreError('FS_NOT_FOUND', `there is no training set ${id}`, { fix: 'build it first' });
}

function withoutId({
  dataframe,
  dataframeFormat,
  service,
  features,
  mode,
  strict,
  output,
}: TrainingSetRequest) {
  return {
    dataframe,
    dataframeFormat,
    ...(service !== undefined && { service }),
    ...(features !== undefined && { features }),
    mode,
    strict,
    output,
  };
}

export function assertSameRequest({ id, request }: TrainingSetManifest, given: TrainingSetRequest): void {
  const now = withoutId(given) as Record<string, unknown>;
  const before = withoutId({ id, ...request }) as Record<string, unknown>;
  const other = Object.keys({ ...now, ...before }).find(
    (name) => JSON.stringify(now[name]) !== JSON.stringify(before[name]),
  );
  if (other === undefined) return;
  throw new FeatureStoreError('FS_CONFLICT', `training set ${id} was asked for with another ${other}`, {
    fix: 'give the new one an id of its own',
    trainingSet: id,
  });
}

/**
 * The bound, the ledgers and the clock of one instant. The archive's lock is held meanwhile, so a tick that is in the ledger saw
 * only events below the bound.
 */
export async function fixManifest(
  pool: Pool,
  request: TrainingSetRequest,
  wanted: Wanted,
  dataframe: { rows: number; columns: NamedType[] },
): Promise<TrainingSetManifest> {
  const manifest = await transaction(pool, async (client): Promise<TrainingSetManifest> => {
    const sequence = await archiveBound(client);
    const views: ManifestView[] = [];
    for (const { version, features } of wanted.stored) {
      const published = servedByTick(version) ? await readPublished(client, version.id) : [];
      assertPublished(version, published, request.mode);
      const { id, view, hash } = version;
      views.push({ view: view.name, version: version.version, versionId: id, hash, features, published });
    }
    const { rows: imports } = await client.query<TrainingSetManifest['archive']['imports'][number]>(
      `select id, source, name, content_sha256 as sha256, shift_ms as "shiftMs"
         from import where state = 'finished' and source = any($1) order by id`,
      [sourcesOf(wanted)],
    );
    return {
      layout: 1,
      id: request.id,
      request: withoutId(request),
      createdAt: formatTimestamp(await readClock(client)),
      mode: request.mode,
      strict: request.strict,
      service: wanted.service,
      features: wanted.features,
      views,
      onDemand: wanted.onDemand.map(({ view, version, id, hash }) => ({
        view: view.name,
        version,
        versionId: id,
        hash,
      })),
      dataframe: { sha256: request.dataframe, format: request.dataframeFormat, ...dataframe },
      archive: { sequence, imports, arrivals: {} },
      file: null,
      output: null,
    };
  });
  for (const source of sourcesOf(wanted)) {
    const { rows } = await pool.query<{ events: number; assumed: number }>(
      `select count(*) as events, count(*) filter (where arrival_assumed) as assumed
         from ${archiveTable(source)} where sequence <= $1`,
      [manifest.archive.sequence],
    );
    manifest.archive.arrivals[source] = rows[0]!;
  }
  await pool.query(
    'insert into training_set (id, manifest, created_at) values ($1, $2, $3) on conflict (id) do nothing',
    [request.id, JSON.stringify(manifest), manifest.createdAt],
  );
  const stored = await getManifest(pool, request.id); // the first attempt's, if this one came second
  assertSameRequest(stored, request);
  return stored;
}

function sourcesOf({ stored }: Wanted): string[] {
  const names = stored.flatMap(({ version }) =>
    version.kind === 'aggregation' ? [version.source.name] : [],
  );
  return [...new Set(names)].sort();
}

/** Without ticks there is nothing that serving could have returned; a sql view has no other history either. */
function assertPublished(
  { view, version }: StoredVersion,
  published: readonly TickRun[],
  mode: TrainingMode,
): void {
  if (
    published.length > 0 ||
    (view.kind === 'aggregation' && (view.mode.type === 'streaming' || mode === 'event-time'))
  )
    return;
  throw new FeatureStoreError('FS_CONFLICT', `view "${view.name}" v${version} has no published tick`, {
    fix: `backfill it first: almanac backfill ${view.name}`,
    view: view.name,
  });
}

/** Throws FS_PARITY where the bytes are not what they were before; asked before they take the old file's place. */
export function assertSameBytes({ id, output }: TrainingSetManifest, { sha256 }: { sha256: string }): void {
  const before = output?.sha256;
  if (before === undefined || before === sha256) return;
  throw new FeatureStoreError(
    'FS_PARITY',
    `training set ${id}, built again from its manifest, has other bytes than before; the old file, if it is there, stays`,
    {
      fix: 'an archived event or a row was changed by hand, or the platform is of another version: almanac verify names the rows',
      before,
      now: sha256,
    },
  );
}

/** Says what was written. */
export async function completeManifest(
  pool: Pool,
  manifest: TrainingSetManifest,
  written: Pick<TrainingSetManifest, 'file' | 'output'>,
): Promise<void> {
  await pool.query('update training_set set manifest = manifest || $2 where id = $1', [
    manifest.id,
    JSON.stringify(written),
  ]);
}
