/** Stand-ins for the platform's workflows: they answer what the registry asks of any workflow. `applyPlan` really applies. */
import {
  ApplicationFailure,
  condition,
  defineQuery,
  defineSignal,
  defineUpdate,
  proxyActivities,
  setHandler,
} from '@temporalio/workflow';

interface Activities {
  openRevision(planHash: string): Promise<{ revision: number }>;
  activate(input: { planHash: string; by: string }): Promise<{ revision: number }>;
}
const { openRevision, activate } = proxyActivities<Activities>({
  startToCloseTimeout: '30s',
  retry: { maximumAttempts: 3 },
});

const progressQuery = defineQuery<object>('progress');
const finishSignal = defineSignal<[string]>('finish');
const pauseUpdate = defineUpdate<void>('pause');
const resumeUpdate = defineUpdate<void>('resume');

export async function applyPlan(input: { planHash: string; by: string }): Promise<{ revision: number }> {
  if (input.by === 'waits') await wait(input);
  await openRevision(input.planHash);
  if (input.by === 'waits while open') await wait(input);
  return activate(input);
}

/** Goes on until told to finish: 'completed', or a code to fail with. */
async function wait(input: unknown): Promise<unknown> {
  let finish: string | null = null;
  let message = 'running';
  setHandler(progressQuery, () => ({ done: 3, total: 10, unit: 'rows', ratePerSecond: 1.5, message }));
  setHandler(finishSignal, (how) => {
    finish = how;
  });
  setHandler(pauseUpdate, () => {
    message = 'paused';
  });
  const resume = (): void => {
    message = 'running';
  };
  setHandler(resumeUpdate, resume, {
    validator() {
      if (message !== 'paused') throw new Error('it is not paused');
    },
  });
  await condition(() => finish !== null);
  if (finish === 'plain') throw ApplicationFailure.nonRetryable('something broke', 'TypeError');
  if (finish !== 'completed')
    throw ApplicationFailure.create({
      type: finish!,
      message: 'as told',
      nonRetryable: true,
      details: [{ fix: 'do it right', view: 'v' }],
    });
  return { input, counts: { archived: 7 } };
}

export const importSource = wait;
export const backfill = wait;
export const materialize = wait;
export const refill = wait;
export const streamSource = wait;
export const verify = wait;
export const trainingSet = wait;
export const pin = wait;
export const retire = wait;
