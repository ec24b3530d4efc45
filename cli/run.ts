/** Following a run to its end: polls, survives a registry or a Temporal that goes away for a while, says why it failed. */
import { userInfo } from 'node:os';
import { setTimeout as delay } from 'node:timers/promises';
import { FeatureStoreError } from '../core/error.js';
import type { Client, Progress, Run } from './client.js';
import { EXIT, fromWire } from './errors.js';
import type { Step } from './output.js';

const POLL_MIN_MS = 100;
const POLL_MAX_MS = 1_000;
/** A workflow answers as soon as a worker has begun it. */
const SILENT_MS = 5_000;
const SILENT: Progress = {
  done: 0,
  total: null,
  unit: '',
  ratePerSecond: null,
  message: 'no worker reports on it',
};

/** The finished run. Throws what it failed with. An interruption ends the following, never the run, and says so. */
export async function followRun(client: Client, id: string, step: Step): Promise<Run> {
  const interrupted = (): void => {
    step.note(`${id} goes on; see "almanac status", or stop it in the Temporal UI`);
    process.exit(EXIT.interrupted);
  };
  process.once('SIGINT', interrupted);
  try {
    return await poll(client, id, step);
  } finally {
    process.off('SIGINT', interrupted);
  }
}

async function poll(client: Client, id: string, step: Step): Promise<Run> {
  const began = performance.now();
  for (let pause = POLL_MIN_MS; ; pause = Math.min(1.5 * pause, POLL_MAX_MS)) {
    const run = await client.get<Run>(`/v1/runs?id=${encodeURIComponent(id)}`);
    if (run.progress) step.progress(run.progress);
    else if (performance.now() - began > SILENT_MS) step.progress(SILENT);
    if (run.state !== 'running') return finished(run);
    await delay(pause);
  }
}

/** The run, which has ended. Throws what it failed with. */
export function finished(run: Run): Run {
  if (run.state === 'completed') return run;
  const where = { run: run.id, ...(run.uiUrl === null ? {} : { ui: run.uiUrl }) };
  if (run.error)
    throw fromWire({ ...run.error, details: { ...run.error.details, ...where } }, 'FS_RUN_FAILED');
  throw new FeatureStoreError('FS_RUN_FAILED', `${run.id} was ${run.state}`, {
    ...where,
    fix: 'see its history in the Temporal UI; start it again when the reason is gone',
  });
}

/** What the registry answers when it has started a run, or found it running. */
export interface Started {
  run: string;
}

/** Asks for a run, as whoever is logged in here where `body` names nobody; gives its id. */
export async function startRun(
  client: Client,
  path: string,
  body: object,
  headers: Readonly<Record<string, string>> = {},
): Promise<string> {
  const { run } = await client.post<Started>(path, { by: whoever(), ...body }, headers);
  return run;
}

/** Whoever is logged in; in a container that may be a number without a name. */
function whoever(): string {
  try {
    return userInfo().username;
  } catch {
    return `uid ${process.getuid?.()}`;
  }
}
