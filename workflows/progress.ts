/**
 * What every long workflow shows and takes: the query `progress`, live details in the Temporal UI, the updates `pause` and `resume`.
 *
 *   const run = followRun('rows');
 *   run.fact('Source', input.source);
 *   while (…) {
 *     await run.mayGoOn();                       // waits while paused
 *     run.report({ done, total, message, counts });
 *   }
 *   await run.end('42 rows archived');
 */
import {
  allHandlersFinished,
  condition,
  defineQuery,
  defineUpdate,
  setCurrentDetails,
  setHandler,
} from '@temporalio/workflow';
import { FeatureStoreError } from '../core/error.js';

export interface Progress {
  done: number;
  /** null: not known. */
  total: number | null;
  unit: string;
  /** Over the time it was at work here, pauses aside; null: nothing to tell it by. */
  ratePerSecond: number | null;
  message: string;
  counts?: Record<string, number>;
}

export const progressQuery = defineQuery<Progress>('progress');
export const pauseUpdate = defineUpdate<string>('pause');
export const resumeUpdate = defineUpdate<string>('resume');

export interface Run {
  /** A line of the details that stays: where from, which version. */
  fact(name: string, value: string | number | null): void;
  report(now: {
    done?: number;
    total?: number | null;
    message?: string;
    counts?: Record<string, number>;
  }): void;
  /** Resolves at once, or when a paused run is resumed. Between two steps, where stopping leaves nothing half done. */
  mayGoOn(): Promise<void>;
  /** Takes no more updates, and lets those under way answer. Before returning, and before continue-as-new. */
  end(message: string): Promise<void>;
}

export function followRun(unit: string): Run {
  const facts = new Map<string, string>();
  const progress: Progress = { done: 0, total: null, unit, ratePerSecond: null, message: 'starting' };
  let paused = false;
  let ended = false;
  // Of the rate: what was done since when, without pauses.
  let since: { at: number; done: number } | null = null;
  let workedMs = 0;
  let workedDone = 0;

  const show = (): void => setCurrentDetails(render(progress, facts, paused));
  const refuseWhen = (refused: boolean, what: string, fix: string): void => {
    if (refused) throw new FeatureStoreError('FS_CONFLICT', what, { fix });
  };

  setHandler(progressQuery, () => ({
    ...progress,
    message: paused ? `paused: ${progress.message}` : progress.message,
  }));
  setHandler(
    pauseUpdate,
    () => {
      paused = true;
      show();
      return 'paused after the step under way';
    },
    {
      validator: () => {
        refuseWhen(ended, 'the run is over', 'nothing to do');
        refuseWhen(paused, 'the run is paused already', 'resume it');
      },
    },
  );
  setHandler(
    resumeUpdate,
    () => {
      paused = false;
      since = null;
      show();
      return 'resumed';
    },
    { validator: () => refuseWhen(!paused, 'the run is not paused', 'nothing to do') },
  );
  show();

  return {
    fact(name, value) {
      if (value !== null) facts.set(name, String(value));
      show();
    },
    report(now) {
      Object.assign(progress, now);
      const at = Date.now();
      if (since !== null) {
        workedMs += at - since.at;
        workedDone += progress.done - since.done;
      }
      since = { at, done: progress.done };
      progress.ratePerSecond = workedMs > 0 ? Math.round((1000 * workedDone) / workedMs) : null;
      show();
    },
    async mayGoOn() {
      if (paused) await condition(() => !paused);
    },
    async end(message) {
      ended = true;
      progress.message = message;
      show();
      await condition(allHandlersFinished);
    },
  };
}

function render(progress: Progress, facts: ReadonlyMap<string, string>, paused: boolean): string {
  const { done, total, unit, ratePerSecond, message, counts = {} } = progress;
  const of = total === null ? '' : ` of ${grouped(total)}`;
  const rows: Array<[string, string]> = [
    ...facts,
    ['Progress', `${grouped(done)}${of} ${unit}`],
    ['Rate', ratePerSecond === null ? '' : `${grouped(ratePerSecond)} ${unit}/s`],
    ['Left', secondsLeft(progress)],
    ...Object.entries(counts).map(([name, count]): [string, string] => [name, grouped(count)]),
  ];
  const table = rows
    .filter(([, value]) => value !== '')
    .map(([name, value]) => `| ${cell(name)} | ${cell(value)} |`);
  return [`**${paused ? 'Paused' : 'Now'}:** ${message}`, '', '| | |', '|---|---|', ...table].join('\n');
}

function secondsLeft({ done, total, ratePerSecond }: Progress): string {
  if (total === null || ratePerSecond === null || ratePerSecond <= 0 || done >= total) return '';
  return `${grouped(Math.ceil((total - done) / ratePerSecond))} s`;
}

/** No Intl here: what a workflow shows must not depend on the machine. */
function grouped(count: number): string {
  return String(count).replace(/\B(?=(\d{3})+$)/g, ',');
}

function cell(text: string): string {
  return text.replaceAll('|', '\\|').replaceAll('\n', ' ');
}
