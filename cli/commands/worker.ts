import { UsageError } from '../errors.js';
import type { Call } from '../program.js';
import { runProcess } from './process.js';

const QUEUES = ['control', 'batch', 'stream'];

export default async function worker(
  call: Call<{ name: string; port?: number; queues: string }>,
): Promise<number> {
  for (const queue of call.options.queues.split(','))
    if (!QUEUES.includes(queue))
      throw new UsageError(`there is no queue "${queue}"`, `choose from ${QUEUES.join(', ')}`);
  return runProcess('worker', ['--queues', call.options.queues], call);
}
