/**
 * Verify: recompute a seeded sample with the oracle and compare with everything the platform gives: online records, tick rows,
 * training answers, written training sets. What is compared is fixed when a verification is opened; each part may be repeated.
 * Differences name entities, so they are kept in the table `verification` and never travel through Temporal.
 */
import { decodeKey, encodeKey } from '../core/codec/key.js';
import type { Entity } from '../core/definition.js';
import { FeatureStoreError } from '../core/error.js';
import type { FeatureValue, Value } from '../core/event.js';
import { listRead } from '../registry/online.js';
import {
  getVersion,
  IN_USE,
  listVersions,
  resolveStoredView,
  type StoredVersion,
} from '../registry/resolve.js';
import { type Pool, type PoolClient, transaction } from '../registry/sql.js';
import { archiveTable, rowsTable } from '../registry/tables.js';
import type { Deps } from './deps.js';
import { type Counts, type Difference, Findings, KEPT, type Path, seeded } from './findings.js';
import { beat } from './heartbeat.js';
import { getManifest } from './manifest.js';
import { archiveBound, MAX_HASH, MIN_HASH, readSample } from './offline/archive.js';
import { decodeTicks, Published, readPublished } from './offline/published.js';
import { cadenceOf, findProgress, readClock, servedByTick, type VersionProgress } from './offline/ticks.js';
import { createTurns, nameOf } from './output.js';
import { runQuery, type SqlVersion } from './sql-view.js';
import { checkFile } from './verify-file.js';
import { type Check, checkEntities, checkSqlTicks } from './verify-view.js';

export interface OpenVerificationInput {
  id: string;
  /** Entities per view, at least; all, if there are fewer. */
  entities: number;
  /** Moments per entity and path, at least. */
  moments: number;
  seed: number;
  /** Default: every live stored view. */
  views?: string[];
  trainingSets?: string[];
}

/** What a verification is made of; no part names an entity. */
export interface VerificationPlan {
  parts: VerificationPart[];
  sequence: number;
}

export type VerificationPart =
  | { type: 'view'; name: string; versionId: number; view: string; start: number; end: number }
  | { type: 'file'; name: string; trainingSet: string };

export type PathCounts = Partial<Record<Path, Counts>>;

export interface VerificationResult {
  id: string;
  /** Views, as view@version, that have no tick and nothing to fill one from: nothing of them was compared. */
  neverBackfilled: string[];
  /** Streaming views, as view@version, whose records may lack what Redis missed while it was away: it was still owed to it. */
  owed: string[];
  /** Views, as view@version, that nobody reads: they have no online records, and none was looked for. */
  unread: string[];
  checked: number;
  different: number;
  values: number;
  byPath: PathCounts;
  /** By view, or "training-set <id>". */
  byView: Record<string, PathCounts>;
}

/** The column `result`: what was fixed, what each part found, and in the end the sums. */
interface Stored {
  input: OpenVerificationInput;
  nowMs: number;
  plan: VerificationPlan;
  /** By version id. */
  stands: Record<string, Stand>;
  neverBackfilled: string[];
  owed: string[];
  unread: string[];
  parts: Record<string, { counts: PathCounts; differences: Difference[] }>;
  finished: boolean;
  byPath: PathCounts;
  byView: Record<string, PathCounts>;
  differences: Difference[];
}

/** How far a version was, read before the bound: what is in it by then comes from events up to the bound. */
type Stand = Pick<Check, 'progress' | 'isRead' | 'online' | 'cadenceMs'>;

/** Events of so many entities are held at once; their answers are compared within some seconds. */
const ENTITIES_AT_ONCE = 250;
/** Parts per view at most: a plan is a payload. */
const MAX_PARTS = 40;
/** Entities that no event has, per view: nothing may be stored of them. */
const STRANGERS = 5;
/** Of those that snapshots have: whoever has one has events. */
const STORED = 20;

export function createVerifyActivities(deps: Deps) {
  const { pool } = deps;
  return {
    /** Fixes the bound, the clock and the parts; or finds them. */
    async openVerification(input: OpenVerificationInput): Promise<VerificationPlan> {
      const found = await findStored(pool, input.id);
      if (found) return found.plan;
      const versions = await listWanted(pool, input.views);
      for (const id of input.trainingSets ?? []) await getManifest(pool, id);
      const read = await listRead(pool);
      const stands: Stored['stands'] = {};
      const neverBackfilled: string[] = [];
      const owed: string[] = [];
      const unread: string[] = [];
      for (const version of versions) {
        const progress = await findProgress(pool, version.id);
        if (progress === null) {
          neverBackfilled.push(await nameUnfilled(pool, version));
          continue;
        }
        const name = `${version.view.name}@${version.version}`;
        const online = await readOnlineBound(pool, version, progress);
        stands[version.id] = {
          progress,
          isRead: read.has(name),
          online: online.sequence,
          cadenceMs: await commonCadence(pool, version),
        };
        if (online.owed) owed.push(name);
        if (!read.has(name)) unread.push(name);
      }
      const sequence = await archiveBound(pool);
      const size = Math.max(ENTITIES_AT_ONCE, Math.ceil(input.entities / MAX_PARTS));
      const filled = versions.filter(({ id }) => id in stands);
      const parts = filled.flatMap((version): VerificationPart[] =>
        Array.from({ length: Math.ceil(input.entities / size) }, (_, index) => ({
          type: 'view',
          name: `${version.view.name}@${version.version}/${index}`,
          versionId: version.id,
          view: version.view.name,
          start: index * size,
          end: Math.min(input.entities, (index + 1) * size),
        })),
      );
      for (const trainingSet of input.trainingSets ?? [])
        parts.push({ type: 'file', name: `training-set ${trainingSet}`, trainingSet });
      const stored: Stored = {
        input,
        nowMs: await readClock(pool),
        plan: { parts, sequence },
        stands,
        neverBackfilled,
        owed,
        unread,
        parts: {},
        finished: false,
        byPath: {},
        byView: {},
        differences: [],
      };
      await pool.query(
        'insert into verification (id, checked, different, result) values ($1, 0, 0, $2) on conflict (id) do nothing',
        [input.id, JSON.stringify(stored)],
      );
      return (await getStored(pool, input.id)).plan;
    },

    /** Compares one part and keeps what it found. */
    async verifyPart({ id, part: index }: { id: string; part: number }): Promise<PathCounts> {
      const stored = await getStored(pool, id);
      const part = stored.plan.parts[index]!;
      const findings = new Findings();
      const turn = createTurns();
      if (part.type === 'view') await verifyView(deps, stored, part, findings, turn);
      else
        await checkFile(
          deps,
          await getManifest(pool, part.trainingSet),
          { rows: stored.input.entities * stored.input.moments, seed: stored.input.seed },
          findings,
          turn,
        );
      await pool.query(
        `update verification set result = jsonb_set(result, array['parts', $2], $3) where id = $1`,
        [id, part.name, JSON.stringify({ counts: findings.counts, differences: findings.differences })],
      );
      return findings.counts;
    },

    /** Sums, and the first differences in the order of the parts. */
    async closeVerification({ id }: { id: string }): Promise<VerificationResult> {
      return transaction(pool, async (client) => {
        await client.query('select 1 from verification where id = $1 for update', [id]);
        const stored = await getStored(client, id);
        if (stored.finished) return resultOf(id, stored);
        const closed: Stored = { ...stored, parts: {}, finished: true };
        for (const part of stored.plan.parts) {
          const { counts, differences } = stored.parts[part.name]!;
          add(closed.byPath, counts);
          const name = part.type === 'view' ? part.view : part.name;
          closed.byView[name] ??= {};
          add(closed.byView[name], counts);
          closed.differences.push(...differences.slice(0, KEPT - closed.differences.length));
        }
        const result = resultOf(id, closed);
        await client.query(
          'update verification set checked = $2, different = $3, result = $4 where id = $1',
          [id, result.checked, result.different, JSON.stringify(closed)],
        );
        return result;
      });
    },
  };
}

function add(sums: PathCounts, counts: PathCounts): void {
  for (const [path, { checked, different, values }] of Object.entries(counts) as Array<[Path, Counts]>) {
    sums[path] ??= { checked: 0, different: 0, values: 0 };
    const sum = sums[path];
    sum.checked += checked;
    sum.different += different;
    sum.values += values;
  }
}

function resultOf(id: string, { byPath, byView, neverBackfilled, owed, unread }: Stored): VerificationResult {
  const sum = (name: keyof Counts): number =>
    Object.values(byPath).reduce((total, counts) => total + counts[name], 0);
  return {
    id,
    neverBackfilled,
    owed,
    unread,
    checked: sum('checked'),
    different: sum('different'),
    values: sum('values'),
    byPath,
    byView,
  };
}

async function findStored(db: Pool | PoolClient, id: string): Promise<Stored | null> {
  const { rows } = await db.query<{ result: Stored }>('select result from verification where id = $1', [id]);
  return rows[0]?.result ?? null;
}

async function getStored(db: Pool | PoolClient, id: string): Promise<Stored> {
  const stored = await findStored(db, id);
  if (stored) return stored;
  throw new FeatureStoreError('FS_NOT_FOUND', `there is no verification ${id}`, { fix: 'start it again' });
}

async function listWanted(pool: Pool, views: readonly string[] | undefined): Promise<StoredVersion[]> {
  if (views === undefined)
    return (await listVersions(pool, IN_USE)).filter(
      (version): version is StoredVersion => version.kind !== 'onDemand',
    );
  const versions = new Map<number, StoredVersion>();
  for (const view of views) {
    const version = await resolveStoredView(pool, view);
    versions.set(version.id, version);
  }
  return [...versions.values()];
}

async function verifyView(
  deps: Deps,
  { input, nowMs, plan, stands }: Stored,
  part: Extract<VerificationPart, { type: 'view' }>,
  findings: Findings,
  turn: () => Promise<void> | undefined,
): Promise<void> {
  const { pool } = deps;
  const version = (await getVersion(pool, part.versionId)) as StoredVersion;
  const published = servedByTick(version) ? await readPublished(pool, version.id) : [];
  const check: Check = {
    deps,
    version,
    moments: input.moments,
    seed: input.seed,
    nowMs,
    sequence: plan.sequence,
    ...stands[version.id]!,
    published: new Published(decodeTicks(published)),
    findings,
  };
  const entities = await sample(check, part, input.entities);
  for (let i = 0; i < entities.length; i += ENTITIES_AT_ONCE)
    await checkEntities(check, entities.slice(i, i + ENTITIES_AT_ONCE), turn);
  if (version.kind === 'sql') await verifySqlTicks(check as Check<SqlVersion>, entities);
}

/**
 * Up to which sequence every event is in the version's online records: what its backfill, its snapshots and its stream say, but
 * for what Redis missed while it was away.
 */
async function readOnlineBound(
  pool: Pool,
  { id }: StoredVersion,
  { sequence }: VersionProgress,
): Promise<{ sequence: number; owed: boolean }> {
  const { rows } = await pool.query<{ published: number; owed: number | null }>(
    `select greatest($2, (select min(published) from stream_attached where version_id = $1))::bigint as published,
            (select min(after_sequence) from owed where version_id = $1) as owed`,
    [id, sequence],
  );
  const { published, owed } = rows[0]!;
  return { sequence: Math.min(published, owed ?? published), owed: owed !== null };
}

/** How often a streaming view's rows are written is no part of its version: the least common multiple of all that it was. */
async function commonCadence(pool: Pool, version: StoredVersion): Promise<number> {
  const { cadenceMs } = cadenceOf(version);
  if (servedByTick(version)) return cadenceMs;
  const { rows } = await pool.query<{ ms: number }>(
    `select distinct (view #>> '{mode,rowsEveryMs}')::bigint as ms
       from revision, jsonb_array_elements(definitions -> 'views') as view
      where view ->> 'name' = $1 and view #>> '{mode,rowsEveryMs}' is not null`,
    [version.view.name],
  );
  const gcd = (a: number, b: number): number => (b === 0 ? a : gcd(b, a % b));
  return rows.reduce((common, { ms }) => (common / gcd(common, ms)) * ms, cadenceMs);
}

/** Names a version without a tick. Throws FS_CONFLICT where it should have some: to find nothing different in it says nothing. */
async function nameUnfilled(pool: Pool, version: StoredVersion): Promise<string> {
  const name = `${version.view.name}@${version.version}`;
  if (version.kind !== 'aggregation') return name;
  const { rowCount } = await pool.query(`select 1 from ${archiveTable(version.source.name)} limit 1`);
  if (rowCount === 0) return name;
  throw new FeatureStoreError(
    'FS_CONFLICT',
    `${name} was never backfilled, though its source ${version.source.name} has events: there is nothing to verify`,
    {
      fix: `almanac backfill ${name}; or verify other views`,
      view: version.view.name,
      version: version.version,
    },
  );
}

/** The part's share of the seeded sample; the first part also looks at some who have snapshots, and at some nobody knows. */
async function sample(
  { deps, version, seed, sequence }: Check,
  part: Extract<VerificationPart, { type: 'view' }>,
  limit: number,
): Promise<Value[][]> {
  const { pool } = deps;
  const { entity } = version;
  const all =
    version.kind === 'sql'
      ? await sampleRows(pool, version, limit, seed)
      : await readSample(
          pool,
          { source: version.source!, entity, keyColumns: (version as { view: { key: string[] } }).view.key },
          { sequence, limit, seed },
        );
  const chosen = all.slice(part.start, part.end);
  if (part.start === 0) {
    if (version.kind === 'aggregation') chosen.push(...(await sampleSnapshots(pool, version, seed)));
    for (let i = 0; i < STRANGERS; i++) chosen.push(stranger(entity, seed, i));
  }
  beat();
  const names = new Map(chosen.map((parts) => [nameOf(encodeKey(entity, parts)), parts]));
  return [...names.values()];
}

async function sampleRows(
  pool: Pool,
  { id, entity }: StoredVersion,
  limit: number,
  seed: number,
): Promise<Value[][]> {
  const { rows } = await pool.query<{ key: Buffer }>(
    `select key from ${rowsTable(id)} group by key
      order by hashint8extended(min(key_hash), $1), key limit $2`,
    [seed, limit],
  );
  return rows.map(({ key }) => decodeKey(entity, key));
}

async function sampleSnapshots(pool: Pool, { id, entity }: StoredVersion, seed: number): Promise<Value[][]> {
  const next = seeded(seed, id);
  const from = MIN_HASH + BigInt(Math.floor(next() * 2 ** 32)) * ((MAX_HASH - MIN_HASH) / 2n ** 32n);
  const { rows } = await pool.query<{ key: Buffer }>(
    'select key from snapshot where version_id = $1 and key_hash >= $2 order by key_hash limit $3',
    [id, String(from), STORED],
  );
  return rows.map(({ key }) => decodeKey(entity, key));
}

/** Almost surely nobody; and if there is such an entity, it is checked like any other. */
function stranger(entity: Entity, seed: number, index: number): Value[] {
  const next = seeded(seed, index, 0x57a4);
  return entity.keys.map(({ type }) =>
    type === 'int64' ? -Math.floor(next() * 2 ** 52) : `nobody-${Math.floor(next() * 2 ** 48).toString(36)}`,
  );
}

/** The query of a sql view, at some ticks again; of tables without history only the newest can be. */
async function verifySqlTicks(check: Check<SqlVersion>, entities: readonly Value[][]): Promise<void> {
  const { view, entity } = check.version;
  if (view.reads.some(({ kind }) => kind === 'snapshot')) return;
  await checkSqlTicks(check, entities, async (tickMs) => {
    const answers = new Map<string, { eventMs: number; values: FeatureValue[] }>();
    for await (const { key, eventMs, values } of runQuery(check.deps.env, view, entity, tickMs))
      answers.set(nameOf(key), { eventMs, values });
    return answers;
  });
}
