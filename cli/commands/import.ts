import { statSync } from 'node:fs';
import { basename, resolve } from 'node:path';
import { WEEK } from '../../core/time.js';
import { connect } from '../address.js';
import type { Client, Run } from '../client.js';
import { UsageError } from '../errors.js';
import type { Output } from '../output.js';
import type { Call } from '../program.js';
import { followRun, startRun } from '../run.js';
import { formatFacts } from '../text.js';
import { instantOption } from './arguments.js';

interface Options {
  registry?: string;
  file?: string;
  name?: string;
  shiftWeeks?: number;
  until?: string;
}

export default async function importSource(call: Call<Options>): Promise<void> {
  const { options, out } = call;
  const request: ImportRequest = {
    source: call.args[0]!,
    ...(options.file === undefined ? {} : { file: options.file, format: fileFormat(options.file) }),
    ...(options.name === undefined ? {} : { name: options.name }),
    ...(options.shiftWeeks === undefined ? {} : { shiftMs: options.shiftWeeks * WEEK }),
    ...(options.until === undefined ? {} : { until: instantOption('--until', options.until) }),
  };
  const client = connect(call);
  const run = await runImport(client, request, out);
  out.result(run, () => formatFacts([['import', run.id], ...Object.entries(outcomes(run))]));
}

export interface ImportRequest {
  source: string;
  /** A path on this machine. */
  file?: string;
  name?: string;
  format?: 'csv' | 'arrow';
  shiftMs?: number;
  until?: string;
}

/** Uploads the file, if there is one, and follows the import to its end. */
export async function runImport(client: Client, request: ImportRequest, out: Output): Promise<Run> {
  const { file, ...rest } = request;
  const uploaded = file === undefined ? null : await upload(client, file, out);
  const body = uploaded === null ? rest : { ...rest, file: uploaded, name: rest.name ?? importName(file!) };
  return out.step(`importing ${request.source}`, async (step) => {
    const run = await startRun(client, '/v1/imports', body);
    const finished = await followRun(client, run, step);
    step.done(
      Object.entries(outcomes(finished))
        .map(([outcome, rows]) => `${rows} ${outcome}`)
        .join(', '),
    );
    const { alreadyImported, fix } = (finished.result ?? {}) as {
      alreadyImported?: boolean;
      fix?: string | null;
    };
    if (alreadyImported) step.note('it was imported before: nothing changed');
    if (fix) step.note(fix);
    return finished;
  });
}

export async function upload(client: Client, file: string, out: Output): Promise<string> {
  if (!statSync(file, { throwIfNoEntry: false })?.isFile())
    throw new UsageError(`there is no file ${resolve(file)}`, 'give the path of a file on this machine', {
      file,
    });
  return out.step(`uploading ${basename(file)}`, async (step) => {
    const began = performance.now();
    const { sha256, bytes } = await client.upload(file, (done, total) => {
      const seconds = (performance.now() - began) / 1000;
      step.progress({
        done,
        total,
        unit: 'bytes',
        ratePerSecond: done / Math.max(seconds, 0.001),
        message: '',
      });
    });
    step.done(`${(bytes / 1e6).toFixed(1)} MB`);
    return sha256;
  });
}

/** Rows by outcome: archived, duplicate, conflict, invalid, withheld. */
export function outcomes(run: Run): Record<string, number> {
  const counts =
    (run.result as { counts?: Record<string, number> } | null)?.counts ?? run.progress?.counts ?? {};
  return Object.fromEntries(Object.entries(counts).filter(([, rows]) => typeof rows === 'number'));
}

/** By the name, .gz aside. */
export function fileFormat(file: string): 'csv' | 'arrow' {
  const match = /\.(csv|arrow)(\.gz)?$/i.exec(file);
  if (match) return match[1]!.toLowerCase() as 'csv' | 'arrow';
  throw new UsageError(
    `the name of ${basename(file)} does not say what it holds`,
    'name it .csv or .arrow, with .gz when it is packed',
    { file },
  );
}

/** 'data/purchases.csv.gz' → 'purchases'. */
export function importName(file: string): string {
  return basename(file).replace(/\.(csv|arrow)(\.gz)?$/i, '');
}
