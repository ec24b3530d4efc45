/**
 * Looks at the real tables of what a plan changes: is a source's table there, as declared, and does a sql view's query give what the view
 * says? Reads names and types, never a row. A database that does not answer is a warning: a plan can be made without it.
 */
import { setTimeout as delay } from 'node:timers/promises';
import type pg from 'pg';
import { type Problem, refusal } from '../core/check.js';
import type { Environment } from '../core/config.js';
import type { Definitions, Entity, Source, SqlView } from '../core/definition.js';
import { FeatureStoreError } from '../core/error.js';
import type { Plan, Warning } from '../core/plan.js';
import { judge } from '../core/policy.js';
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
  const { entities, policy } = definitions as Definitions; // there is a plan of them
  const { problems, warnings: away } = await inspect(plan, entities, env);
  const { errors, warnings } = judge(problems, policy);
  if (errors.length > 0) throw refusal(errors);
  return { ...plan, warnings: [...plan.warnings, ...warnings, ...away] };
}

interface Findings {
  problems: Problem[];
  warnings: Warning[];
}

type Item = { source: Source; table: string } | { view: SqlView; entity: Entity };

async function inspect(plan: Plan, entities: readonly Entity[], env: Environment): Promise<Findings> {
  const byConnection = new Map<string, Item[]>();
  const add = (connection: string, item: Item): void => {
    byConnection.set(connection, [...(byConnection.get(connection) ?? []), item]);
  };
  for (const change of plan.changes) {
    const { action, kind, definition } = change;
    if (kind === 'source' && definition?.input.type === 'table')
      add(definition.input.connection, { source: definition, table: definition.input.table });
    if (kind === 'view' && definition?.kind === 'sql' && action !== 'change')
      add(definition.connection, {
        view: definition,
        entity: entities.find(({ name }) => name === definition.entity)!,
      });
  }
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
      path: 'source' in item ? `sources.${item.source.name}.input` : `views.${item.view.name}.query`,
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
        path: `${path}.input.table`,
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
  const path = `views.${view.name}.query`;
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
