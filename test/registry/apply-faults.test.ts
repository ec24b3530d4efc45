/**
 * A process that applies is killed after each of its statements. Who goes on from there, as its workflow does, makes of it the registry
 * that was never disturbed, and nobody who reads meanwhile sees anything but the old revision or the new one.
 */
import { spawn } from 'node:child_process';
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { text } from 'node:stream/consumers';
import { fileURLToPath } from 'node:url';
import { transformSync } from '@swc/core';
import { afterAll, beforeAll, expect, test } from 'vitest';
import type { AggregationView, Definitions } from '../../core/definition.js';
import { compileServingPlan } from '../../registry/resolve.js';
import { type Pool, quote } from '../../registry/sql.js';
import { type Applying, applyTo, planOf, STEPS, type Step } from './apply.js';
import { createDatabase, type Database } from './database.js';
import { changed, sqlView } from './definitions.js';

const [killed, calm] = [await createDatabase(), await createDatabase()];
const program = compile(fileURLToPath(new URL('../..', import.meta.url)));

/** The process and all it needs, as JavaScript: it starts in no time. Gives its file. */
function compile(root: string): string {
  const cache = join(root, 'node_modules', '.cache');
  mkdirSync(cache, { recursive: true });
  const folder = mkdtempSync(join(cache, 'almanac-apply-'));
  afterAll(() => rmSync(folder, { recursive: true }));
  writeFileSync(join(folder, 'package.json'), '{ "type": "module" }');
  for (const part of ['core', 'registry', join('test', 'registry')])
    for (const name of readdirSync(join(root, part), { recursive: true }) as string[]) {
      if (!name.endsWith('.ts') || name.endsWith('.test.ts')) continue;
      const { code } = transformSync(readFileSync(join(root, part, name), 'utf8'), {
        jsc: { parser: { syntax: 'typescript' }, target: 'es2022' },
      });
      const to = join(folder, part, name.replace(/ts$/, 'js'));
      mkdirSync(dirname(to), { recursive: true });
      writeFileSync(to, code);
    }
  return join(folder, 'test', 'registry', 'apply-process.js');
}

/** Gives the steps that it said it had taken, and whether it was killed before the last was. */
async function applyInProcess(after: number, steps: readonly Step[], applying: Applying) {
  const child = spawn(process.execPath, [program, String(after), ...steps], {
    env: { ...process.env, ALMANAC_ENVIRONMENT: killed.environment },
    stdio: ['pipe', 'pipe', 'inherit'],
  });
  const ended = new Promise<NodeJS.Signals | number | null>((resolve, reject) =>
    child.once('error', reject).once('close', (code, signal) => resolve(signal ?? code)),
  );
  child.stdin.end(JSON.stringify(applying));
  const said = text(child.stdout);
  const seen = new Set<string>();
  let isOver = false;
  const watching = (async () => {
    while (!isOver) for (const each of await read(killed.pool)) seen.add(each);
  })();
  const end = await ended;
  isOver = true;
  await watching;
  expect(end === 'SIGKILL' || end === 0).toBe(true);
  return { taken: (await said).split('\n').length - 1, isKilled: end === 'SIGKILL', seen };
}

/** Ids and times are those of one registry; versions are told by their names. */
const OWN = /^(id|at|created_at|applied_at|generation)$/;

async function nameVersions(pool: Pool): Promise<(id: number) => string> {
  const { rows } = await pool.query<{ id: number; name: string }>(
    `select id, view || '@' || version as name from view_version`,
  );
  const names = new Map(rows.map(({ id, name }) => [id, name]));
  return (id) => names.get(id)!;
}

/** What serving is given, and what people are told of what is live: each of one instant. */
async function read(pool: Pool): Promise<string[]> {
  const { views, onDemand, services, unread, revision } = await compileServingPlan(pool);
  const { rows } = await pool.query(
    `select view, version, feature, exact from feature_catalog where state = 'live' order by view, feature`,
  );
  return [
    {
      revision,
      served: [...views, ...onDemand].map((each) => ({ ...each, versionId: 0 })),
      services,
      unread,
    },
    rows,
  ].map((each) => JSON.stringify(each));
}

/** Every row of every table, and every column and index. */
async function everything({ pool, environment }: Database): Promise<Record<string, string[]>> {
  const nameOf = await nameVersions(pool);
  const plain = (definition: string): string =>
    definition
      .replaceAll(/rows_(\d+)/g, (_, id) => `rows of ${nameOf(Number(id))}`)
      .replaceAll(environment, 'it');
  const { rows: tables } = await pool.query<{ name: string; shape: string[] }>(
    `select relname as name,
            array(select format('%s %s', attname, format_type(atttypid, atttypmod)) from pg_attribute
                   where attrelid = c.oid and attnum > 0 and not attisdropped
                  union all select indexdef from pg_indexes where schemaname = $1 and tablename = relname order by 1) as shape
       from pg_class c where relnamespace = $1::regnamespace and relkind = 'r'`,
    [environment],
  );
  const all: Record<string, string[]> = {};
  for (const { name, shape } of tables) {
    const order = name === 'audit' ? 'order by id' : '';
    const { rows } = await pool.query<{ row: object }>(
      `select to_jsonb(t) as row from ${quote(name)} t ${order}`,
    );
    const lines = rows.map(({ row }) =>
      JSON.stringify(row, (key, value: unknown) => {
        if (OWN.test(key) && typeof value !== 'object') return undefined;
        return /^version_?id$/i.test(key) ? nameOf(value as number) : value;
      }),
    );
    all[plain(name)] = [...shape.map(plain), ...(name === 'audit' ? lines : lines.sort())];
  }
  return all;
}

/** Each time another version of one view, and of the two others the one that the services do not read is removed. */
function next(round: number): Definitions {
  const [name, feature] =
    round % 2 === 0 ? ['user_rank', 'user_spend_rank'] : ['user_place', 'user_spend_place'];
  return changed((all) => {
    const view = sqlView(name);
    view.features[0]!.name = feature;
    view.query = `select user_id, at as event_timestamp, r as ${feature} from ranks where at <= :as_of`;
    (all.views[0] as AggregationView).minEvents = round;
    all.views = [...all.views.filter(({ kind }) => kind !== 'sql'), view];
    all.owners = [{ name: 'ann', contact: `room ${round}` }];
    all.services[0]!.features.push(`${name}:${feature}`);
  });
}

let round = 0;
beforeAll(async () => {
  for (const { pool } of [killed, calm]) await applyTo(pool, next(round));
});

test.each<{ done: Step[]; steps: Step[] }>([
  { done: [], steps: ['save', 'open', 'activate', 'settle'] },
  { done: ['save', 'open'], steps: ['abandon'] },
])('$steps after $done, killed after every statement', { timeout: 600_000 }, async ({ done, steps }) => {
  for (let after = 1; ; after++) {
    const definitions = next(++round);
    const applying = await planOf(killed.pool, definitions);
    for (const step of done) await STEPS[step](killed.pool, applying);
    const before = await read(killed.pool);
    const { taken, isKilled, seen } = await applyInProcess(after, steps, applying);
    for (const each of await read(killed.pool)) seen.add(each);
    for (const step of steps.slice(taken)) await STEPS[step](killed.pool, applying);
    const undisturbed = await planOf(calm.pool, definitions);
    for (const step of [...done, ...steps]) await STEPS[step](calm.pool, undisturbed);
    expect({ after, all: await everything(killed) }).toEqual({ after, all: await everything(calm) });
    const known = [...before, ...(await read(killed.pool))];
    for (const each of seen) expect(known).toContain(each);
    if (isKilled) continue;
    expect(after).toBeGreaterThan(5 * steps.length);
    return;
  }
});
