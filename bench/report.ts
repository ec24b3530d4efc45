/** How benches time and tell. */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';

const started = performance.now();

/** Progress, to where results do not go. */
export function say(line: string): void {
  console.error(`${((performance.now() - started) / 1000).toFixed(1).padStart(7)} s  ${line}`);
}

/** Processor time of one run in this process, its garbage collection included: other work on a shared machine does not count. */
export function seconds(run: () => void): number {
  const start = process.cpuUsage();
  run();
  return spent(start);
}

export function spent(start: NodeJS.CpuUsage): number {
  const { user, system } = process.cpuUsage(start);
  return (user + system) / 1e6;
}

export function median(values: readonly number[]): number {
  return [...values].sort((a, b) => a - b)[values.length >> 1]!;
}

/** Text in columns; numbers to the right, with their thousands apart. */
export function table(rows: ReadonlyArray<ReadonlyArray<string | number>>): string {
  const cells = rows.map((row) =>
    row.map((cell) => (typeof cell === 'number' ? cell.toLocaleString('en') : cell)),
  );
  const widths = cells[0]!.map((_, column) => Math.max(...cells.map((row) => row[column]!.length)));
  return `${cells
    .map((row) =>
      row
        .map((cell, i) => (i === 0 ? cell.padEnd(widths[i]!) : cell.padStart(widths[i]!)))
        .join('  ')
        .trimEnd(),
    )
    .join('\n')}\n`;
}

/** What a program of its own took. */
export interface Cost {
  wallSeconds: number;
  /** Of all its processes, as the kernel tells it: to 10 ms. */
  cpuSeconds: number;
  /** The most memory that one of its processes held, looked at every 20 ms. */
  megabytes: number;
}

/**
 * Runs Node to its end. Linux: what it takes is read in /proc.
 * @param exits the codes that are no failure
 */
export async function cost(
  args: readonly string[],
  env: NodeJS.ProcessEnv,
  exits: readonly number[] = [0],
): Promise<Cost> {
  const [start, before] = [performance.now(), childTicks()];
  const child = spawn(process.execPath, args, { env, stdio: ['ignore', 'pipe', 'pipe'] });
  let said = '';
  for (const output of [child.stdout, child.stderr]) output.on('data', (bytes: Buffer) => (said += bytes));
  let kilobytes = 0;
  const timer = setInterval(() => {
    kilobytes = Math.max(kilobytes, ...family(child.pid!).map(peakKilobytes));
  }, 20);
  const [code] = (await once(child, 'close')) as [number | null];
  clearInterval(timer);
  if (code === null || !exits.includes(code))
    throw new Error(`node ${args.join(' ')} ended with ${code}: ${said}`);
  return {
    wallSeconds: (performance.now() - start) / 1000,
    cpuSeconds: (childTicks() - before) / TICKS_PER_SECOND,
    megabytes: Math.round(kilobytes / 1024),
  };
}

const TICKS_PER_SECOND = 100;

/** Of the children that have ended, theirs included (proc(5): cutime, cstime). */
function childTicks(): number {
  const afterName = readFileSync('/proc/self/stat', 'utf8').split(') ')[1]!.split(' ');
  return Number(afterName[13]) + Number(afterName[14]);
}

function family(pid: number): number[] {
  const children = read(`/proc/${pid}/task/${pid}/children`).split(' ').filter(Boolean).map(Number);
  return [pid, ...children.flatMap(family)];
}

function peakKilobytes(pid: number): number {
  return Number(/VmHWM:\s+(\d+)/.exec(read(`/proc/${pid}/status`))?.[1] ?? 0);
}

/** Nothing of a process that has just ended. */
function read(path: string): string {
  try {
    return readFileSync(path, 'utf8');
  } catch {
    return '';
  }
}
