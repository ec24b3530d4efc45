/**
 * Training set: the features of each row of an entity dataframe as they stood at that row's time, in one file with a manifest.
 *   check the dataframe, fix the bound → the columns of each view, one pass per source and key → put together, write, complete the manifest
 * Whatever fails or is aborted leaves neither file nor manifest. Run again with the id of a complete one, it builds the same bytes.
 */
import { ActivityCancellationType, CancellationScope, proxyActivities } from '@temporalio/workflow';
import type { Activities } from '../activities/index.js';
import type { TrainingSetResult } from '../activities/training-set.js';
import { followRun } from './progress.js';
import { queue } from './queues.js';
import { workOff } from './work-through.js';

export interface TrainingSetInput {
  id: string;
  /** sha256 of an uploaded file. */
  dataframe: string;
  /** Default csv. */
  dataframeFormat?: 'csv' | 'arrow';
  /** Give a service, or features as "view:feature". */
  service?: string;
  features?: string[];
  /** Default known-then: what serving could have returned. */
  mode?: 'known-then' | 'event-time';
  /** The value one millisecond before each row's time. */
  strict?: boolean;
  /** Default parquet. */
  output?: 'arrow' | 'parquet';
}

// One waits for Postgres while the other computes; each holds the columns of its views in memory.
const PASSES_AT_ONCE = 2;

export async function trainingSet(input: TrainingSetInput): Promise<TrainingSetResult> {
  // Each reads the dataframe or the archive once: a million labels, or ten million events, take about a minute. They beat every
  // few milliseconds of work; a dead worker is noticed after 30 s.
  const { openTrainingSet, answerTrainingViews, finishTrainingSet } = proxyActivities<Activities>({
    taskQueue: queue('batch'),
    startToCloseTimeout: '6 h',
    heartbeatTimeout: '30 s',
    cancellationType: ActivityCancellationType.WAIT_CANCELLATION_COMPLETED, // before what they write is tidied away
    retry: { initialInterval: '500 ms', maximumInterval: '15 s' },
  });
  const { tidyTrainingSet } = proxyActivities<Activities>({
    taskQueue: queue('batch'),
    startToCloseTimeout: '1 min',
    retry: { initialInterval: '500 ms', maximumInterval: '15 s' },
  });
  const { id } = input;
  const run = followRun('rows');
  try {
    run.report({ message: 'checking the dataframe' });
    const opened = await openTrainingSet({
      ...input,
      dataframeFormat: input.dataframeFormat ?? 'csv',
      mode: input.mode ?? 'known-then',
      strict: input.strict ?? false,
      output: input.output ?? 'parquet',
    });
    run.fact('Of', input.service ?? `${input.features?.length} features`);
    run.fact('Mode', `${opened.mode}${input.strict ? ', strict' : ''}`);
    run.fact('Rows', opened.rows);
    run.fact('Views', opened.views.join(', '));
    run.fact('Archive', `up to sequence ${opened.sequence}`);

    const { length } = opened.views;
    const statuses: Awaited<ReturnType<typeof answerTrainingViews>> = [];
    let answered = 0;
    run.report({ total: opened.rows, message: `views answered: 0 of ${length}` });
    await workOff(run, [...opened.groups], PASSES_AT_ONCE, async (views) => {
      const found = await answerTrainingViews({ id, views });
      views.forEach((view, i) => {
        statuses[view] = found[i]!;
      });
      answered += views.length;
      run.report({
        done: Math.floor((opened.rows * answered) / (length + 1)),
        message: `views answered: ${answered} of ${length}`,
      });
    });
    await run.mayGoOn();
    run.report({ message: 'writing the file' });
    const result = await finishTrainingSet({ id, statuses });
    run.report({ done: opened.rows });
    await run.end(`${result.rows} rows of ${result.columns} columns in ${result.file}`);
    return result;
  } finally {
    await CancellationScope.nonCancellable(() => tidyTrainingSet({ id }));
  }
}
