/** What is stored of a view: how far it is, and what fills it. */
import { z } from 'zod';
import { FeatureStoreError } from '../../core/error.js';
import { VERSION_STATES } from '../../core/plan.js';
import { floorTo, formatTimestamp } from '../../core/time.js';
import { PageQuery, pageOf, readPage } from '../page.js';
import {
  By,
  Count,
  Instant,
  readInstant,
  Sha256,
  shortInstant,
  Text,
  Timestamp,
  Version,
  ViewKind,
} from '../requests.js';
import { resolveOnlineView, resolveStoredView, resolveView, type StoredVersion } from '../resolve.js';
import { assertRetirable, retireRun } from '../retire.js';
import type { Pool } from '../sql.js';
import { readViewProgress, ViewProgress } from '../status.js';
import { route, Started, startAsked, startRun } from './route.js';

/** A name, with a version in it or beside it. */
const OfView = z.strictObject({ view: Text, version: Version.exactOptional(), by: By });

const VersionItem = z
  .strictObject({
    view: z.string(),
    version: Count,
    versionId: Count,
    kind: ViewKind,
    hash: Sha256,
    state: z.enum(VERSION_STATES),
    createdAt: Timestamp,
  })
  .meta({ id: 'Version' });
type VersionItem = z.infer<typeof VersionItem>;

const versions = route({
  id: 'listVersions',
  method: 'GET',
  path: '/v1/versions',
  summary: 'every version of every view',
  query: PageQuery.extend({ view: Text.exactOptional(), state: z.enum(VERSION_STATES).exactOptional() }),
  response: pageOf(VersionItem),
  handle: ({ query: { view, state, ...query } }, { pool }) =>
    readPage(
      pool,
      {
        name: 'versions',
        sql: `select view, version, id as "versionId", kind, hash, state, created_at as "createdAt"
                from view_version
               where ($1::text is null or view = $1) and ($2::text is null or state = $2)`,
        values: [view ?? null, state ?? null],
        key: { view: 'text', version: 'bigint' },
      },
      query,
      (row: Omit<VersionItem, 'createdAt'> & { createdAt: number }) => ({
        ...row,
        createdAt: formatTimestamp(row.createdAt),
      }),
    ),
});

const progress = route({
  id: 'getViewProgress',
  method: 'GET',
  path: '/v1/views/{view}/progress',
  summary: 'how far a view is',
  params: z.strictObject({ view: z.string() }),
  response: ViewProgress,
  handle: ({ params }, { pool }) => readViewProgress(pool, params.view),
});

const backfill = route({
  id: 'startBackfill',
  method: 'POST',
  path: '/v1/backfills',
  summary: 'history of a view version → run',
  body: OfView.extend({ start: Instant.exactOptional(), end: Instant.exactOptional() }),
  example: { view: 'user_orders', start: '2026-11-01T00:00:00Z' },
  response: Started,
  status: 202,
  async handle({ body: { start, end, by, ...reference } }, { pool, runs }) {
    const found = await resolve(pool, reference);
    const startMs = start === undefined ? null : readInstant('start', start);
    const endMs = end === undefined ? null : readInstant('end', end);
    if (startMs !== null && endMs !== null && endMs < startMs)
      throw new FeatureStoreError('FS_REQUEST_INVALID', `the range ends before it starts`, {
        fix: 'exchange start and end',
        field: 'end',
      });
    const range = `${startMs === null ? 'beginning' : shortInstant(startMs)}..${endMs === null ? 'now' : shortInstant(endMs)}`;
    return startAsked({ pool, runs }, by, {
      workflow: 'backfill',
      id: `backfill/${found.view.name}@${found.version}/${range}`,
      input: {
        view: found.view.name,
        version: found.version,
        ...(startMs === null ? {} : { start: formatTimestamp(startMs) }),
        ...(endMs === null ? {} : { end: formatTimestamp(endMs) }),
      },
      summary: `backfill ${found.view.name} v${found.version}, ${range}`,
      ...attributesOf(found),
    });
  },
});

const materialize = route({
  id: 'startMaterialization',
  method: 'POST',
  path: '/v1/materializations',
  summary: 'one tick of a view → run',
  body: OfView.extend({ tick: Instant.exactOptional() }),
  example: { view: 'user_orders', tick: '2026-11-20T00:00:00Z' },
  response: Started,
  status: 202,
  async handle({ body: { tick, by, ...reference } }, { pool, runs, now }) {
    const found = await resolve(pool, reference);
    const { cadenceMs, settleMs } = cadenceOf(found);
    const tickMs = tick === undefined ? floorTo(now() - settleMs, cadenceMs) : readInstant('tick', tick);
    if (tickMs !== floorTo(tickMs, cadenceMs))
      throw new FeatureStoreError(
        'FS_REQUEST_INVALID',
        `${formatTimestamp(tickMs)} is no tick of ${found.view.name}`,
        {
          fix: `the last one before it is ${formatTimestamp(floorTo(tickMs, cadenceMs))}`,
          field: 'tick',
        },
      );
    return startAsked({ pool, runs }, by, {
      workflow: 'materialize',
      id: `materialize/${found.view.name}@${found.version}/${shortInstant(tickMs)}`,
      input: { view: found.view.name, version: found.version, tick: formatTimestamp(tickMs) },
      summary: `materialize ${found.view.name} v${found.version} at ${shortInstant(tickMs)}`,
      ...attributesOf(found),
    });
  },
});

const refill = route({
  id: 'startRefill',
  method: 'POST',
  path: '/v1/refills',
  summary: 'its records in Redis → run',
  body: OfView,
  example: { view: 'user_orders@2' },
  response: Started,
  status: 202,
  async handle({ body: { by, ...reference } }, { pool, runs }) {
    const found = await resolve(pool, reference, resolveOnlineView);
    return startAsked({ pool, runs }, by, {
      workflow: 'refill',
      id: `refill/${found.view.name}@${found.version}`,
      input: { view: found.view.name, version: found.version },
      summary: `refill ${found.view.name} v${found.version} in Redis`,
      ...attributesOf(found),
    });
  },
});

const retire = route({
  id: 'retireVersion',
  method: 'POST',
  path: '/v1/views/{view}/retire',
  summary: 'the end of a version that nobody reads; its name is typed again → run',
  /** With its version: user_orders@2. */
  params: z.strictObject({ view: Text }),
  body: z.strictObject({
    name: Text,
    /** Nobody may have read it for so long; 0: that is not asked. */
    unreadDays: z.number().int().min(0).max(3_650).default(7),
    by: By,
  }),
  example: { name: 'user_orders@1' },
  response: Started,
  status: 202,
  async handle({ params, body: { name, unreadDays, by = 'unknown' } }, { pool, runs }) {
    const refuse = (message: string, fix: string): never => {
      throw new FeatureStoreError('FS_REQUEST_INVALID', message, { fix, field: 'name' });
    };
    if (!params.view.includes('@'))
      return refuse(
        `"${params.view}" names no version`,
        `write the version that is to end: ${params.view}@1`,
      );
    const found = await resolveView(pool, params.view);
    const said = `${found.view.name}@${found.version}`;
    if (name !== said)
      refuse(`name is "${name}", the version ${said}`, `to retire it give its name: ${said}`);
    const retirement = { view: found.view.name, version: found.version, unreadDays };
    await assertRetirable(pool, retirement);
    return startRun(runs, {
      workflow: 'retire',
      id: retireRun(said),
      input: { ...retirement, by },
      summary: `retire ${said}`,
      view: found.view.name,
      version: found.version,
      owner: found.view.owner,
    });
  },
});

export default [versions, progress, backfill, materialize, refill, retire];

function resolve(
  pool: Pool,
  { view, version }: Omit<z.infer<typeof OfView>, 'by'>,
  by = resolveStoredView,
): Promise<StoredVersion> {
  return by(pool, version === undefined ? view : `${view}@${version}`);
}

/** What a run of it can be found by. */
function attributesOf({ view, version }: StoredVersion): { view: string; version: number; owner: string } {
  return { view: view.name, version, owner: view.owner };
}

function cadenceOf({ view }: StoredVersion): { cadenceMs: number; settleMs: number } {
  if (view.kind === 'sql') return view;
  return view.mode.type === 'batch' ? view.mode : { cadenceMs: view.mode.rowsEveryMs, settleMs: 0 };
}
