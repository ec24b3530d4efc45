/**
 * Materialize: the ticks of a view version since its newest published one, up to a given tick; started by its Schedule.
 *   open (which ticks) → ranges of entities (a sql view: tick by tick) → ticks published in Postgres → progress to serving
 * Where something of it may be kept from being published, the ranges are first computed to be looked at; a sql view's tick is looked at as
 * it is written. What blocks fails the run, and the next one begins at the same tick.
 * A tick that is published changes nothing, and what was computed before an abort is right: a new run goes on from it.
 */
import { ActivityCancellationType, continueAsNew, proxyActivities, workflowInfo } from '@temporalio/workflow';
import type { Activities } from '../activities/index.js';
import { recordsDiffer } from '../core/error.js';
import { followRun } from './progress.js';
import { queue } from './queues.js';
import { workOff, workThrough } from './work-through.js';

export interface MaterializeInput {
  view: string;
  /** Default: the live version; while none is live, the newest one on its way. */
  version?: number;
  /** An ISO instant. Default: the newest tick that had settled when the run was due. */
  tick?: string;
  /** A sql view's: after so many missed ticks they are published, and a new run goes on. Default 1,000. */
  ticksPerRun?: number;
}

export interface MaterializeResult {
  view: string;
  version: number;
  /** The newest published tick. */
  tick: string;
  /** Ticks that this run published. */
  ticks: number;
  entities: number;
  rows: number;
  records: number;
}

const PARTS_AT_ONCE = 4;
const WARNINGS_SHOWN = 20;

export async function materialize(input: MaterializeInput): Promise<MaterializeResult> {
  const retry = { initialInterval: '500 ms', maximumInterval: '15 s' } as const;
  // Opening counts what arrived since the last tick, by block ranges. A dead worker is noticed after 15 s, here and below.
  const { openMaterialize, judgeParts, recordMaterialize, publishTicks } = proxyActivities<Activities>({
    taskQueue: queue('batch'),
    startToCloseTimeout: '5 min',
    heartbeatTimeout: '15 s',
    retry,
  });
  // 50,000 events or entities take about 5 s, a sql view's query up to 10 min.
  const { lookAtPart, materializePart } = proxyActivities<Activities>({
    taskQueue: queue('batch'),
    startToCloseTimeout: '1 h',
    heartbeatTimeout: '15 s',
    cancellationType: ActivityCancellationType.WAIT_CANCELLATION_COMPLETED,
    retry,
  });
  const run = followRun('parts');
  run.report({ message: 'opening' });
  const opened = await openMaterialize({ ...input, at: dueAt() });
  const { versionId, after, until, sequence, parts, view, version, ticks, last } = opened;
  run.fact('View', `${view}@${version}`);
  run.fact('Ticks', ticks === 0 ? 'none new' : `after ${after} up to ${until}`);
  const result = { view, version, tick: until, ticks };
  if (ticks === 0) {
    await run.end(`tick ${until} is published already: nothing changed`);
    return { ...result, entities: 0, rows: 0, records: 0 };
  }
  const those = { versionId, after, until, last, sequence, parts };
  if (opened.looks) {
    run.report({ total: parts, message: 'looking at what it would write' });
    await workOff(run, [...Array(parts).keys()], PARTS_AT_ONCE, (part) => lookAtPart({ ...those, part }));
    await judgeParts(those);
  }
  let different = 0;
  const warnings: string[] = [];
  const counts = await workThrough(run, parts, opened.inOrder ? 1 : PARTS_AT_ONCE, async (part) => {
    const written = await materializePart({ ...those, part });
    different += written.different;
    warnings.push(...written.warnings);
    return written;
  });
  run.report({ message: 'publishing' });
  warnings.push(...(await recordMaterialize(those)).warnings);
  if (warnings.length > 0) run.fact('Not as expected', warnings.slice(0, WARNINGS_SHOWN).join('; '));
  await publishTicks({ versionId });
  if (until !== last) {
    await run.end(`ticks up to ${until} published, continued in a new run`);
    // Named in full: the tick it was due for, of the version it was.
    await continueAsNew<typeof materialize>({ ...input, view, version, tick: last });
  }
  await run.end(`tick ${until} published: ${counts.entities} entities, ${counts.rows} rows`);
  // The ticks are published, and somebody has to look.
  if (different > 0) throw recordsDiffer(view, version, different);
  return { ...result, entities: counts.entities, rows: counts.rows, records: counts.records };
}

/** When a Schedule meant it to start, however late it did; else when it started. */
function dueAt(): number {
  const { searchAttributes, startTime } = workflowInfo();
  const scheduled = searchAttributes.TemporalScheduledStartTime?.[0];
  return (scheduled instanceof Date ? scheduled : startTime).getTime();
}
