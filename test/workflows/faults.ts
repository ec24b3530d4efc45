/**
 * What happens to activities in this world: each runs twice, each fails after it ran, each fails before. A workflow that survives
 * these leaves the same behind as one that met none.
 */
import { ApplicationFailure, activityInfo } from '@temporalio/activity';
import type { Activities } from '../../activities/index.js';

type Call = (input: never) => Promise<unknown>;

/** Every activity runs twice; the second answer counts. */
export function repeating(activities: Activities): Activities {
  return wrap(activities, async (call) => {
    await call();
    return call();
  });
}

/** Each activity's first attempt does its work, and its answer is lost, as when the worker dies just then. */
export function losingAnswers(activities: Activities): Activities {
  return wrap(activities, async (call) => {
    const answer = await call();
    if (activityInfo().attempt > 1) return answer;
    throw ApplicationFailure.create({
      message: 'the answer was lost',
      type: 'TEST',
      nextRetryDelay: '10 ms',
    });
  });
}

/** The activity of this name fails for good. */
export function failing(name: keyof Activities): (activities: Activities) => Activities {
  return (activities) =>
    wrap(activities, async (call, each) => {
      if (each !== name) return call();
      throw ApplicationFailure.create({ message: `${name} fails`, type: 'FS_PARITY', nonRetryable: true });
    });
}

function wrap(
  activities: Activities,
  around: (call: () => Promise<unknown>, name: string) => Promise<unknown>,
): Activities {
  return Object.fromEntries(
    Object.entries(activities).map(([name, activity]) => [
      name,
      (input: never) => around(() => (activity as Call)(input), name),
    ]),
  ) as unknown as Activities;
}
