/**
 * Looks at the real tables of what a plan changes: is a source's table there, as declared, and does a sql view's query give what the view
 * says? Reads names and types, never a row. A database that does not answer is a warning: a plan can be made without it, and plans after
 * it look again until one has seen the table.
 */
import { setTimeout as delay } from 'node:timers/promises';
import type pg from 'pg';
import { type Problem, refusal } from '../core/check.js';
import type { Environment } from '../core/config.js';
import type { Definitions, Entity, Source, SqlView } from '../core/definition.js';
import { FeatureStoreError } from '../core/error.js';
import type { Plan, Warning } from '../core/plan.js';
import { computePlan } from './apply.js';
import {
  answerColumns,
  answerMisfits,
  authorClient,
  declareAnswers,
  type Misfit,
  readTable,
  tableMisfits,
} from './author-database.js';
import type { Pool } from './sql.js';

/** For all that one database is asked. */
const LOOK_MS = 5_000;

/** The plan of now, after a look at the tables it reads. Throws FS_DEFINITION_INVALID with every problem. Saves nothing. */
export async function planNow(pool: Pool, env: Environment, definitions: unknown): Promise<Plan> {
  const plan = await computePlan(pool, definitions);
  const paths = new Set([...changedPaths(plan), ...(await listUnseen(pool, plan.baseRevision))]);
  const { problems, warnings } = await inspect(definitions as Definitions, paths, env); // there is a plan of them
  if (problems.length > 0) throw refusal(problems);
  return { ...plan, warnings: [...plan.warnings, ...warnings] };
}

const tablePath = ({ name }: { name: string }): string => `sources.${name}.input`;
const queryPath = ({ name }: { name: string }): string => `views.${name}.query`;

function changedPaths({ changes }: Plan): string[] {
  return changes.flatMap(({ action, kind, name }) => {
    if (kind === 'source') return tablePath({ name });
    return kind === 'view' && action !== 'change' ? queryPath({ name }) : [];
  });
}

/** What the plan of a revision could not look at. It is looked at again by every plan on it, so none is lost. */
async function listUnseen(pool: Pool, revision: number): Promise<string[]> {
  const { rows } = await pool.query<{ path: string }>(
    `select warning ->> 'path' as path
       from revision join plan on plan.hash = plan_hash, jsonb_array_elements(plan -> 'warnings') as warning
      where revision = $1 and warning ->> 'code' = 'unseen'`,
    [revision],
  );
  return rows.map(({ path }) => path);
}

interface Findings {
  problems: Problem[];
  warnings: Warning[];
}

type Item = { source: Source; table: string } | { view: SqlView; entity: Entity };

async function inspect(
  { entities, sources, views }: Definitions,
  paths: ReadonlySet<string>,
  env: Environment,
): Promise<Findings> {
  const byConnection = new Map<string, Item[]>();
  const add = (connection: string, item: Item): void => {
    byConnection.set(connection, [...(byConnection.get(connection) ?? []), item]);
  };
  for (const source of sources)
    if (source.input.type === 'table' && paths.has(tablePath(source)))
      add(source.input.connection, { source, table: source.input.table });
  for (const view of views)
    if (view.kind === 'sql' && paths.has(queryPath(view)))
      add(view.connection, { view, entity: entities.find(({ name }) => name === view.entity)! });
  const found = await Promise.all(
    [...byConnection].map(([connection, items]) => look(connection, items, env)),
  );
  return {
    problems: found.flatMap(({ problems }) => problems),
    warnings: found.flatMap(({ warnings }) => warnings),
  };
}

/** What was found until the deadline; of what was not looked at by then, a warning each. */
async function look(connection: string, items: readonly Item[], env: Environment): Promise<Findings> {
  const problems: Problem[] = [];
  let looked = 0;
  const work = async (): Promise<void> => {
    const client = authorClient(connection, env, {
      application_name: 'almanac plan',
      connectionTimeoutMillis: LOOK_MS,
      statement_timeout: LOOK_MS,
      query_timeout: LOOK_MS,
    });
    try {
      await client.connect();
      for (const item of items) {
        problems.push(
          ...('source' in item ? await tableProblems(client, item) : await queryProblems(client, item)),
        );
        looked++;
      }
    } finally {
      void client.end().catch(() => {}); // closing what is gone
    }
  };
  const late = new AbortController();
  const reason = await Promise.race([
    work().then(() => null, reasonOf),
    delay(LOOK_MS, `does not answer within ${LOOK_MS / 1000} s`, { signal: late.signal }),
  ]);
  late.abort();
  const unseen = reason === null ? [] : items.slice(looked);
  return {
    problems: [...problems],
    warnings: unseen.map((item) => ({
      code: 'unseen',
      path: 'source' in item ? tablePath(item.source) : queryPath(item.view),
      message: `was not looked at: the database of ${connection} ${reason}`,
    })),
  };
}

/** Without the URL, which may hold a password. */
function reasonOf(error: unknown): string {
  if (error instanceof FeatureStoreError && error.code === 'FS_CONFIG_MISSING')
    return 'is not known where the registry runs';
  const message = error instanceof Error && !('input' in error) ? error.message : 'has no valid address';
  return `does not answer: ${message || 'connection refused'}`;
}

async function tableProblems(
  client: pg.Client,
  { source, table }: { source: Source; table: string },
): Promise<Problem[]> {
  const path = `sources.${source.name}`;
  const found = await readTable(client, table);
  if (found === null)
    return [
      {
        code: 'source',
        path: `${tablePath(source)}.table`,
        message: `there is no table ${table}`,
        fix: 'correct its name, or make it',
      },
    ];
  return tableMisfits(source, table, found).map((misfit) =>
    problem('source', `${path}.columns.${misfit.column}`, misfit),
  );
}

async function queryProblems(
  client: pg.Client,
  { view, entity }: { view: SqlView; entity: Entity },
): Promise<Problem[]> {
  const path = queryPath(view);
  await client.query('begin transaction read only');
  try {
    await declareAnswers(client, view, 0);
    const { fields } = await client.query('fetch 0 from answers');
    return answerMisfits(answerColumns(view, entity), fields).map((misfit) => problem('query', path, misfit));
  } catch (error) {
    if (!(error instanceof FeatureStoreError)) throw error;
    return [{ code: 'query', path, message: error.message, fix: error.details.fix }];
  } finally {
    await client.query('rollback');
  }
}

function problem(code: 'source' | 'query', path: string, { message, fix, zoneless }: Misfit): Problem {
  return { code: zoneless ? 'time-zone' : code, path, message, fix };
}
