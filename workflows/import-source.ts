/**
 * Import: a file, or a source's table, into the archive.
 *   (table → file) → check the whole file, register → ranges of about five seconds → statistics, result
 * How far it is stands in Postgres, so any step may be repeated, and a new run of the same import goes on where the last one stopped.
 * Aborting leaves what was archived; nothing of it is wrong.
 */
import { continueAsNew, proxyActivities, workflowInfo } from '@temporalio/workflow';
import type { ImportResult } from '../activities/import.js';
import type { Activities } from '../activities/index.js';
import { FeatureStoreError } from '../core/error.js';
import { parseTimestamp } from '../core/time.js';
import { followRun } from './progress.js';
import { queue } from './queues.js';

export interface ImportSourceInput {
  source: string;
  /** sha256 of an uploaded file; none for a source that is a table. */
  file?: string;
  /** For people; default: the beginning of the file's hash. */
  name?: string;
  /** Default: what the source declares; csv for tables. */
  format?: 'csv' | 'arrow';
  /** Added to every timestamp of the source. */
  shiftMs?: number;
  /** ISO instant: what happens or arrives later is withheld. Default, and at most: the moment the import begins. */
  until?: string;
  /** Set by the workflow when it goes on in a new run. */
  continued?: boolean;
  exported?: string;
}

export async function importSource(input: ImportSourceInput): Promise<ImportResult> {
  // One range takes 5 s; 60 s is for one whose chunk waits for a lock or a slow disk. A dead worker is noticed after 15 s.
  const { describeSource, importRange } = proxyActivities<Activities>({
    taskQueue: queue('batch'),
    startToCloseTimeout: '60 s',
    heartbeatTimeout: '15 s',
    retry: { initialInterval: '500 ms', maximumInterval: '15 s' },
  });
  // Read or write a whole file or table, as fast as its disk or database goes; they have deadlines of their own inside.
  const { exportSource, openImport, finishImport } = proxyActivities<Activities>({
    taskQueue: queue('batch'),
    startToCloseTimeout: '6 h',
    heartbeatTimeout: '30 s',
    retry: { initialInterval: '500 ms', maximumInterval: '15 s' },
  });
  const untilMs = input.until === undefined ? null : parseTimestamp(input.until);
  const run = followRun('rows');
  run.fact('Source', input.source);
  const source = await describeSource({ source: input.source });
  run.fact('Data', source.origin);
  checkRequest(input, source.table);

  run.report({ message: source.table === null ? 'reading the file' : `copying the table ${source.table}` });
  const file = input.file ?? input.exported ?? (await exportSource({ source: input.source })).sha256;
  run.report({ message: 'checking the file' });
  let status = await openImport({
    source: input.source,
    file,
    name: input.name ?? file.slice(0, 12),
    format: source.table === null ? (input.format ?? source.format) : 'csv',
    shiftMs: input.shiftMs ?? 0,
    untilMs,
  });
  const already = status.finished && input.continued !== true;
  while (!status.finished) {
    const { rowsDone, rowsTotal, counts } = status;
    run.report({ done: rowsDone, total: rowsTotal, counts: { ...counts }, message: 'archiving' });
    await run.mayGoOn();
    if (workflowInfo().continueAsNewSuggested) {
      await run.end('continued in a new run');
      await continueAsNew<typeof importSource>({
        ...input,
        ...(source.table !== null && { exported: file }),
        continued: true,
      });
    }
    status = await importRange({ importId: status.importId });
  }
  const { importId, rowsDone, rowsTotal, counts } = status;
  run.report({ done: rowsDone, total: rowsTotal, counts: { ...counts }, message: 'summing up' });
  const result = await finishImport({ importId, already });
  const what = already
    ? 'it was imported before: nothing changed'
    : `${result.counts.archived} events archived`;
  await run.end(result.fix === null ? what : `${what}; ${result.fix}`);
  return result;
}

function checkRequest(input: ImportSourceInput, table: string | null): void {
  if (table !== null && input.file !== undefined)
    throw new FeatureStoreError(
      'FS_REQUEST_INVALID',
      `source "${input.source}" is the table ${table}, not a file`,
      { fix: 'import it without a file' },
    );
  if (table === null && input.file === undefined)
    throw new FeatureStoreError(
      'FS_REQUEST_INVALID',
      `source "${input.source}" is read from files: none was given`,
      { fix: 'name the file to import' },
    );
}
