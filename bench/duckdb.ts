/**
 * The same labels, the same file: Almanac reads the Parquet file, groups and sweeps; DuckDB joins labels and events on the user and the
 * longest window and aggregates with one filter per window. Both on one thread, both with reading. Answers are compared one by one.
 */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { DuckDBInstance } from '@duckdb/node-api';
import { compileView } from '../core/compile.js';
import type { AggregationView } from '../core/definition.js';
import { sweepLabels } from '../core/sweep.js';
import type { Labels } from './engine.js';
import { eventsOf, groupLabels, sortByUser } from './engine.js';
import type { Made } from './made.js';
import { source } from './made.js';
import { readParquet, writeParquet } from './parquet.js';
import { median, spent } from './report.js';

const RUNS = 3;

export interface Beside {
  labels: number;
  almanacSeconds: number;
  duckdbSeconds: number;
  /** DuckDB's time over ours; medians of three runs, taken in turn. */
  ratio: number;
  /** Answers (label and feature) that are not the same number. */
  different: number;
}

export async function besideDuckdb(made: Made, labels: Labels, view: AggregationView): Promise<Beside> {
  const folder = mkdtempSync(join(tmpdir(), 'almanac-bench-'));
  try {
    const eventsFile = join(folder, 'events.parquet');
    const labelsFile = join(folder, 'labels.parquet');
    writeParquet(eventsFile, { user_id: made.users, at: made.timestamps, amount: made.amounts });
    writeParquet(labelsFile, { user_id: labels.users, at: labels.moments });
    const database = await DuckDBInstance.create(':memory:', { threads: '1' });
    const connection = await database.connect();
    const query = sqlOf(view, eventsFile, labelsFile);
    const times = { almanac: [] as number[], duckdb: [] as number[] };
    let different = 0;
    for (let run = 0; run < RUNS; run++) {
      let start = process.cpuUsage();
      const ours = answer(eventsFile, labelsFile, made.keys, view);
      times.almanac.push(spent(start));
      start = process.cpuUsage();
      const theirs = (await connection.runAndReadAll(query)).getRows();
      times.duckdb.push(spent(start));
      different = 0;
      theirs.forEach((row, label) => {
        row.forEach((value, feature) => {
          const own = ours[label]?.[feature] ?? null;
          if ((value === null ? null : Number(value)) !== own) different += 1;
        });
      });
    }
    connection.closeSync();
    const [almanacSeconds, duckdbSeconds] = [median(times.almanac), median(times.duckdb)];
    return {
      labels: labels.users.length,
      almanacSeconds: round(almanacSeconds),
      duckdbSeconds: round(duckdbSeconds),
      ratio: round(duckdbSeconds / almanacSeconds),
      different,
    };
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

const round = (x: number): number => Math.round(x * 100) / 100;

/** Our rows, one per label: reading, grouping and sweeping. */
function answer(eventsFile: string, labelsFile: string, keys: number, view: AggregationView): unknown[][] {
  const { user_id: users, at: timestamps, amount: amounts } = readParquet(eventsFile);
  const { user_id: labelUsers, at: moments } = readParquet(labelsFile);
  const made: Made = {
    keys,
    users: users as Int32Array,
    timestamps: timestamps as Float64Array,
    amounts: amounts as Int32Array,
    scores: new Float64Array(users!.length),
    kinds: new Uint8Array(users!.length),
  };
  const labels: Labels = { users: labelUsers as Int32Array, moments: moments as Float64Array };
  const compiled = compileView(view, source);
  const sorted = sortByUser(made);
  const asked = groupLabels(labels, keys);
  const answers = new Map<number, unknown[][]>();
  asked.forEach((mine, user) => {
    if (mine === undefined) return;
    const readings = sweepLabels(compiled, eventsOf(sorted, user), mine, {
      mode: 'event-time',
      strict: false,
      published: [],
    });
    answers.set(
      user,
      readings.map(
        (reading) =>
          reading?.values ?? view.features.map(({ aggregation }) => (aggregation.op === 'mean' ? null : 0)),
      ),
    );
  });
  const next = new Map<number, number>();
  return Array.from(labels.users, (user) => {
    const index = next.get(user) ?? 0;
    next.set(user, index + 1);
    return answers.get(user)![index]!;
  });
}

/** An event at s is in the window at t when s <= t and s + length > the last hop boundary at or before t. */
function sqlOf(view: AggregationView, eventsFile: string, labelsFile: string): string {
  const longest = Math.max(
    ...view.features.map(({ window }) => (window.type === 'sliding' ? window.ms + window.hopMs : 0)),
  );
  const columns = view.features.map(({ window, aggregation }) => {
    if (window.type !== 'sliding') throw new Error('only sliding windows are compared');
    const within = `e."at" + ${window.ms} > l."at" - (l."at" % ${window.hopMs})`;
    if (aggregation.op === 'count') return `count(e."at") FILTER (WHERE ${within})`;
    if (aggregation.op === 'sum') return `coalesce(sum(e.amount) FILTER (WHERE ${within}), 0)`;
    return `sum(e.amount) FILTER (WHERE ${within}) / count(e."at") FILTER (WHERE ${within})::DOUBLE`;
  });
  return `
    WITH l AS (SELECT row_number() OVER () AS label, user_id, "at"::BIGINT AS "at" FROM read_parquet('${labelsFile}')),
         e AS (SELECT user_id, "at"::BIGINT AS "at", amount FROM read_parquet('${eventsFile}'))
    SELECT ${columns.join(',\n           ')}
    FROM l LEFT JOIN e ON e.user_id = l.user_id AND e."at" <= l."at" AND e."at" > l."at" - ${longest}
    GROUP BY l.label ORDER BY l.label`;
}
