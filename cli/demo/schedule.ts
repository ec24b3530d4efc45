/** Fires the Temporal Schedule of a view, as an operator does with the button in the Temporal UI. */
import { setTimeout as delay } from 'node:timers/promises';
import { Client, Connection } from '@temporalio/client';
import { FeatureStoreError } from '../../core/error.js';

export interface Schedules {
  /** Gives the id of the run that the trigger started. */
  trigger(view: string, version: number): Promise<string>;
  close(): Promise<void>;
}

const CONNECT_MS = 10_000;
const STARTS_WITHIN_MS = 30_000;

export async function connectSchedules(address: string, namespace: string): Promise<Schedules> {
  const connection = await Connection.connect({ address, connectTimeout: CONNECT_MS });
  const { schedule } = new Client({ connection, namespace });
  return {
    async trigger(view, version) {
      const id = `schedule/${view}@${version}`;
      const handle = schedule.getHandle(id);
      const { info } = await handle.describe();
      const before = new Set(info.recentActions.map(({ action }) => action.workflow.workflowId));
      await handle.trigger();
      const until = performance.now() + STARTS_WITHIN_MS;
      while (performance.now() < until) {
        const { recentActions } = (await handle.describe()).info;
        const started = recentActions.findLast(({ action }) => !before.has(action.workflow.workflowId));
        if (started) return started.action.workflow.workflowId;
        await delay(100);
      }
      throw new FeatureStoreError(
        'FS_DEADLINE',
        `${id} started nothing within ${STARTS_WITHIN_MS / 1000} s`,
        {
          fix: 'look at the schedule in the Temporal UI',
          schedule: id,
        },
      );
    },
    close: () => connection.close(),
  };
}
