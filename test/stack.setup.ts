/**
 * The servers every test shares: one stack of their own, undisturbed by a running demo, started once and stopped at the end.
 * Files keep apart by environment name. A server given by its address in the environment is used and left alone.
 */
import { type StackState, stackEnv, startStack, stopStack } from '../cli/stack/stack.js';
import { removeStackFiles } from '../cli/stack/state.js';

// Two runs of the suite at once, or a run beside a developer's, are strangers to each other.
const name = `test${process.pid}`;

let state: StackState | null = null;

export async function setup(): Promise<void> {
  state = await startStack({
    name,
    environment: 'test',
    servers: ['postgres', 'redis', 'temporal', 'kafka'],
    processes: [],
    onProgress: (line) => console.error(line),
  });
  Object.assign(process.env, stackEnv(state));
}

export async function teardown(): Promise<void> {
  await stopStack({ name });
  if (state) removeStackFiles(state);
}
