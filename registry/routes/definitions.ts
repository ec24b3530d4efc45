/** Definitions: what is applied, what others would change, and the change. */
import { z } from 'zod';
import { assertDefinitions } from '../../core/check.js';
import {
  Definitions,
  Entity,
  Owner,
  RuleSeverity,
  Service,
  Source,
  Succession,
  View,
} from '../../core/definition.js';
import { FeatureStoreError } from '../../core/error.js';
import { type Change, hashDefinitions, type Plan as PlanType, removals } from '../../core/plan.js';
import { formatTimestamp } from '../../core/time.js';
import { applyId, applyRun, findPlanState, savePlan } from '../apply.js';
import { namesTag } from '../etag.js';
import { planNow } from '../inspect.js';
import { PageQuery, pageOf, readPage } from '../page.js';
import { Count, Sha256, Text, Timestamp } from '../requests.js';
import { findRevision, type Revision } from '../resolve.js';
import type { Pool } from '../sql.js';
import { route, Started, startRun } from './route.js';

const FieldChange = z.strictObject({
  path: z.string(),
  before: z.unknown().exactOptional(),
  after: z.unknown().exactOptional(),
});
/** Whatever is no view. */
const itemChanges = <K extends Exclude<Change['kind'], 'view'>, D extends z.ZodType>(
  kind: K,
  definition: D,
) => {
  const item = { kind: z.literal(kind), name: z.string() };
  const none = z.tuple([]);
  return [
    z.strictObject({ ...item, action: z.literal('create'), fields: none, definition }),
    z.strictObject({ ...item, action: z.literal('change'), fields: z.array(FieldChange), definition }),
    z.strictObject({ ...item, action: z.literal('remove'), fields: none, definition: z.null() }),
  ] as const;
};
const Amount = z.number().nonnegative();
const Estimate = z.strictObject({
  minutes: Amount.nullable(),
  postgresBytes: Amount.nullable(),
  redisBytes: Amount.nullable(),
});
const ViewChange = z.strictObject({
  action: z.enum(['create', 'change', 'version', 'remove']),
  kind: z.literal('view'),
  name: z.string(),
  definition: View.nullable(),
  version: Count,
  hash: z.string(),
  reused: z.boolean(),
  replaces: Count.nullable(),
  fields: z.array(FieldChange),
  succession: z.enum([...Succession.options, 'undeclared']).nullable(),
  touched: z.strictObject({
    services: z.array(z.string()),
    models: z.array(
      z.strictObject({
        name: z.string(),
        owner: z.string(),
        services: z.array(z.string()),
        version: Count,
        retrain: z.boolean(),
      }),
    ),
    trainingSets: z.array(z.string()),
  }),
  rowsToScan: Count.nullable(),
  estimate: Estimate,
});
/** core/plan.ts says what each field means. */
export const Plan: z.ZodType<PlanType> = z
  .strictObject({
    baseRevision: Count,
    definitionsHash: Sha256,
    changes: z.array(
      z.union([
        ...itemChanges('project', z.strictObject({ name: z.string() })),
        ...itemChanges('policy', z.strictObject({ name: z.string(), severity: RuleSeverity })),
        ...itemChanges('owner', Owner),
        ...itemChanges('entity', Entity),
        ...itemChanges('source', Source),
        ViewChange,
        ...itemChanges('service', Service),
      ]),
    ),
    firstRead: z.array(z.strictObject({ view: z.string(), version: Count, estimate: Estimate })),
    warnings: z.array(
      z.strictObject({
        path: z.string(),
        message: z.string(),
        code: z.string().exactOptional(),
        fix: z.string().exactOptional(),
      }),
    ),
    hash: Sha256,
    empty: z.boolean(),
  })
  .meta({ id: 'Plan' });

/** Checked by core/check.ts, which names every problem. */
const Unchecked = z.unknown().meta({ $ref: '#/components/schemas/Definitions' });

const get = route({
  id: 'getDefinitions',
  method: 'GET',
  path: '/v1/definitions',
  summary: 'what is applied',
  response: z.strictObject({
    /** 0: an empty registry. */
    revision: Count,
    definitionsHash: Sha256.nullable(),
    definitions: Definitions,
  }),
  etag: ({ revision, definitionsHash }) => revisionTag(revision, definitionsHash),
  async handle(_request, { pool }) {
    const found = await findRevision(pool);
    if (!found)
      return {
        revision: 0,
        definitionsHash: null,
        definitions: { entities: [], sources: [], views: [], services: [] },
      };
    const { revision, definitionsHash, definitions } = found;
    return { revision, definitionsHash, definitions };
  },
});

const plan = route({
  id: 'planDefinitions',
  method: 'POST',
  path: '/v1/plan',
  summary: 'what definitions would change',
  body: z.strictObject({ definitions: Unchecked }),
  response: Plan,
  handle: ({ body }, { pool, env }) => planNow(pool, env, body.definitions),
});

const apply = route({
  id: 'applyDefinitions',
  method: 'POST',
  path: '/v1/apply',
  summary: 'change it → run',
  body: z.strictObject({
    definitions: Unchecked,
    planHash: Sha256.exactOptional(),
    by: Text.exactOptional(),
    /** The names of what the plan removes: all of them, and no others. */
    remove: z.array(z.string()).exactOptional(),
  }),
  response: Started,
  status: 202,
  ifMatch: true,
  async handle(
    { body: { definitions, planHash, by = 'unknown', remove = [] }, ifMatch },
    { pool, env, runs },
  ) {
    const repeated = planHash === undefined ? null : await findRepeated(pool, planHash, definitions);
    const plan = repeated?.plan ?? (await planNow(pool, env, definitions));
    if (ifMatch !== undefined) await assertBase(pool, plan, ifMatch);
    if (planHash !== undefined && plan.hash !== planHash) throw stale(planHash, plan);
    assertRemovals(plan, remove);
    if (repeated) return startRun(runs, applyRun(plan, by));
    await savePlan(pool, plan, assertDefinitions(definitions), by, runs);
    return { run: applyId(plan.hash) };
  },
});

const getPlan = route({
  id: 'getPlan',
  method: 'GET',
  path: '/v1/plans/{hash}',
  summary: 'a plan that was to be applied, and how far it came',
  params: z.strictObject({ hash: Sha256 }),
  response: z.strictObject({ state: z.enum(['saved', 'open', 'applied', 'abandoned']), plan: Plan }),
  async handle({ params: { hash } }, { pool }) {
    const found = await findPlanState(pool, hash);
    if (found) return found;
    throw new FeatureStoreError('FS_NOT_FOUND', `there is no plan ${hash.slice(0, 16)}`, {
      fix: 'only plans that were to be applied are kept: GET /v1/revisions names them',
      plan: hash,
    });
  },
});

const RevisionItem = z
  .strictObject({
    revision: Count,
    definitionsHash: Sha256,
    planHash: Sha256,
    appliedBy: z.string(),
    appliedAt: Timestamp,
  })
  .meta({ id: 'Revision' });

const listRevisions = route({
  id: 'listRevisions',
  method: 'GET',
  path: '/v1/revisions',
  summary: 'what was applied, when and by whom',
  query: PageQuery,
  response: pageOf(RevisionItem),
  handle: ({ query }, { pool }) =>
    readPage(
      pool,
      {
        name: 'revisions',
        sql: `select revision, definitions_hash as "definitionsHash", plan_hash as "planHash",
                     applied_by as "appliedBy", applied_at as "appliedAt"
                from revision`,
        key: { revision: 'bigint' },
        newestFirst: true,
      },
      query,
      (each: Omit<Revision, 'definitions'>) => ({ ...each, appliedAt: formatTimestamp(each.appliedAt) }),
    ),
});

export default [get, plan, apply, getPlan, listRevisions];

/** The plan that this very request has begun or finished before, perhaps because the first answer was lost: the same run. */
async function findRepeated(
  pool: Pool,
  planHash: string,
  definitions: unknown,
): ReturnType<typeof findPlanState> {
  const found = await findPlanState(pool, planHash);
  if (!found || found.plan.definitionsHash !== hashDefinitions(assertDefinitions(definitions))) return null;
  if (found.state === 'saved' || found.state === 'open') return found;
  const revision = await findRevision(pool);
  const isPresent = found.plan.empty
    ? revision?.revision === found.plan.baseRevision
    : revision?.planHash === planHash;
  return found.state === 'applied' && isPresent ? found : null;
}

/** Of the definitions of a revision, whose hash tells it from the same number of another registry. */
function revisionTag(revision: number, definitionsHash: string | null): string {
  return `"${revision}-${definitionsHash?.slice(0, 16) ?? 'empty'}"`;
}

/** Throws FS_PRECONDITION_FAILED for a plan on another revision than the one that If-Match names. */
async function assertBase(pool: Pool, { baseRevision }: PlanType, ifMatch: string): Promise<void> {
  const { rows } = await pool.query<{ hash: string }>(
    'select definitions_hash as hash from revision where revision = $1',
    [baseRevision],
  );
  const tag = revisionTag(baseRevision, rows[0]?.hash ?? null);
  if (namesTag(ifMatch, tag, { weakly: false })) return;
  throw new FeatureStoreError(
    'FS_PRECONDITION_FAILED',
    `If-Match names ${ifMatch.slice(0, 80)}; the definitions are ${tag} now`,
    {
      fix: 'get the definitions again, look at what is different, and apply with their ETag',
      header: 'If-Match',
    },
  );
}

function stale(planHash: string, plan: PlanType): FeatureStoreError {
  return new FeatureStoreError(
    'FS_PLAN_STALE',
    `plan ${planHash.slice(0, 16)} is not what applying would do now`,
    {
      fix: 'look at the fresh plan, then apply with its hash',
      planHash,
      plan,
    },
  );
}

/** Nobody removes by leaving something out by mistake. */
function assertRemovals(plan: PlanType, named: readonly string[]): void {
  const removed = removals(plan);
  const unnamed = removed.filter((name) => !named.includes(name));
  const kept = named.filter((name) => !removed.includes(name));
  if (unnamed.length === 0 && kept.length === 0) return;
  const said = [
    ...(unnamed.length > 0 ? [`the plan removes ${unnamed.join(', ')}, which remove does not name`] : []),
    ...(kept.length > 0 ? [`remove names ${kept.join(', ')}, which the plan does not remove`] : []),
  ];
  throw new FeatureStoreError('FS_REQUEST_INVALID', said.join('; '), {
    fix: 'look at the plan, then name what it removes: all of it, and nothing else',
    field: 'remove',
    removes: removed,
  });
}
