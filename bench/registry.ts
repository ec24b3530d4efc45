/**
 * What authors wait for, on a made-up repository of 500 views (repository.ts): its evaluation and its plan, its type-check, the start
 * of the command line. Everything runs in processes of its own, which have done nothing before.
 */
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { cpus, tmpdir } from 'node:os';
import { join } from 'node:path';
import { packageDir } from '../cli/stack/places.mjs';
import type { Current } from '../core/plan.js';
import type { Moment, Planned } from './plan-once.js';
import { type Cost, cost, median, say, table } from './report.js';
import { writeRepository } from './repository.js';

interface Figures {
  /** Node, all modules, evaluating the files, planning them; the worse of both registries. */
  planSeconds500Views: number;
  evaluateSeconds500Views: number;
  /** Planning alone, against an empty registry and against one that differs in 5 views. */
  planEmptySeconds: number;
  planFiveSeconds: number;
  typecheckSeconds500Views: number;
  /** The slowest of the commands that need no answer. */
  cliStartMs: number;
  helpMs: number;
  statusMs: number;
  statusEnvMs: number;
  /** `node -e 0` */
  nodeStartMs: number;
}

/** Promised for what a quiet machine's clock tells. */
const LIMITS: Partial<Figures> = { planSeconds500Views: 3, typecheckSeconds500Views: 10, cliStartMs: 200 };
const LIMIT_MEGABYTES = 1000;

export async function registry({ json, quick }: { json: boolean; quick: boolean }): Promise<void> {
  const runs = quick ? 1 : 5;
  const directory = mkdtempSync(join(tmpdir(), 'almanac-bench-'));
  try {
    const planning = await measurePlanning(directory, runs);
    const checking = await measureCheck(directory, runs);
    const starts = await measureStarts(quick ? 3 : 15);
    const figuresOf = (of: 'cpu' | 'wall'): Figures => {
      const s = (moment: Moment): number => round(moment[of], 2);
      const ms = (command: keyof typeof starts): number => round(1000 * starts[command][of], 0);
      const { empty, five } = planning;
      return {
        planSeconds500Views: Math.max(s(empty.planned), s(five.planned)),
        evaluateSeconds500Views: s(empty.evaluated),
        planEmptySeconds: round(empty.planned[of] - empty.evaluated[of], 2),
        planFiveSeconds: round(five.planned[of] - five.evaluated[of], 2),
        typecheckSeconds500Views: s(checking),
        cliStartMs: Math.max(ms('help'), ms('status'), ms('statusEnv')),
        helpMs: ms('help'),
        statusMs: ms('status'),
        statusEnvMs: ms('statusEnv'),
        nodeStartMs: ms('node'),
      };
    };
    const result = {
      ...planning.size,
      ...figuresOf('cpu'),
      typecheckMegabytes: checking.megabytes,
      wall: figuresOf('wall'),
      machine: `${cpus().length} × ${cpus()[0]?.model ?? 'unknown'}, Node ${process.version}`,
      /** Of the last minute, ours included: what of the wall time is others'. */
      load: Number(readFileSync('/proc/loadavg', 'utf8').split(' ')[0]),
    };
    if (json) console.log(JSON.stringify(result));
    else {
      const rows = Object.keys(result.wall) as Array<keyof Figures>;
      console.log(
        table([
          ['', 'processor', 'wall', 'limit'],
          ...rows.map((row) => [row, result[row], result.wall[row], LIMITS[row] ?? '']),
          ['typecheckMegabytes', result.typecheckMegabytes, '', LIMIT_MEGABYTES],
        ]),
      );
      console.log(`${result.machine}, load ${result.load}`);
    }
  } finally {
    rmSync(directory, { recursive: true, force: true });
  }
}

/** Medians of several processes. */
async function measurePlanning(directory: string, runs: number) {
  const files = join(directory, 'repository');
  writeRepository(files, join(packageDir, 'dist/core/index.d.ts'));
  const answer = join(directory, 'answer.json');
  const once = async (...held: string[]): Promise<Planned> => {
    const program = join(packageDir, 'dist/bench/plan-once.js');
    await cost([program, join(files, 'features.ts'), answer, ...held], withoutSettings());
    return JSON.parse(readFileSync(answer, 'utf8'));
  };
  const measure = async (what: string, ...held: string[]) => {
    const all: Planned[] = [];
    for (let run = 0; run < runs; run++) {
      say(`evaluating and planning against ${what} …`);
      all.push(await once(...held));
    }
    return {
      evaluated: middle(all.map((each) => each.evaluated)),
      planned: middle(all.map((each) => each.planned)),
    };
  };
  const { current, features } = await once();
  const held = join(directory, 'held.json');
  writeFileSync(held, JSON.stringify(withOthers(current)));
  const { views: changed } = await once(held);
  return {
    size: {
      views: current.versions.length,
      features,
      changed,
      services: current.definitions!.services.length,
    },
    empty: await measure('an empty registry'),
    five: await measure('one that differs in five views', held),
  };
}

/** Five views of it were others. */
function withOthers(current: Current): Current {
  const others = new Set(current.definitions!.views.filter(({ kind }) => kind === 'aggregation').slice(0, 5));
  return {
    ...current,
    definitions: {
      ...current.definitions!,
      views: current.definitions!.views.map((view) =>
        view.kind === 'aggregation' && others.has(view) ? { ...view, minEvents: 1 } : view,
      ),
    },
    versions: current.versions.map((version) =>
      [...others].some(({ name }) => name === version.view) ? { ...version, hash: 'another' } : version,
    ),
  };
}

async function measureCheck(directory: string, runs: number): Promise<Moment & { megabytes: number }> {
  const tsc = join(packageDir, 'node_modules/typescript/bin/tsc');
  const all: Cost[] = [];
  for (let run = 0; run < runs; run++) {
    say('checking types …');
    const args = [tsc, '-p', join(directory, 'repository')];
    all.push(await cost(args, process.env));
  }
  return { ...middle(all.map(momentOf)), megabytes: median(all.map(({ megabytes }) => megabytes)) };
}

/** Wall time: median. Processor time of such short runs is told too coarsely: mean. */
async function measureStarts(runs: number) {
  const measure = async (...args: string[]): Promise<Moment> => {
    say(`starting node ${args.join(' ')} …`);
    const all: Moment[] = [];
    for (let run = 0; run < runs; run++) all.push(momentOf(await cost(args, withoutSettings(), [0, 3])));
    return { ...middle(all), cpu: all.reduce((sum, { cpu }) => sum + cpu, 0) / runs };
  };
  const main = join(packageDir, 'dist/cli/main.js');
  return {
    node: await measure('-e', '0'),
    help: await measure(main, '--help'),
    status: await measure(main, 'status', '--json', '--registry', 'http://127.0.0.1:9'), // nobody listens there
    statusEnv: await measure(main, 'status', '--json', '--env'), // looks for a local stack
  };
}

const momentOf = ({ cpuSeconds, wallSeconds }: Cost): Moment => ({ cpu: cpuSeconds, wall: wallSeconds });

function middle(moments: readonly Moment[]): Moment {
  return { cpu: median(moments.map(({ cpu }) => cpu)), wall: median(moments.map(({ wall }) => wall)) };
}

function withoutSettings(): NodeJS.ProcessEnv {
  return Object.fromEntries(Object.entries(process.env).filter(([name]) => !name.startsWith('ALMANAC_')));
}

const round = (x: number, digits: number): number => Number(x.toFixed(digits));
