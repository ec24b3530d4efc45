/** Runs one of our processes in the foreground, with the environment of the running stack under our own. */
import { spawn } from 'node:child_process';
import { existsSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { FeatureStoreError } from '../../core/error.js';
import { UsageError } from '../errors.js';
import { findRunningStack } from '../local.js';
import type { Call } from '../program.js';

const MAINS = {
  registry: ['../../registry/main.js', 'ALMANAC_REGISTRY_URL'],
  worker: ['../../workers/main.js', 'ALMANAC_WORKER_URL'],
  serving: ['../../serving/main.js', 'ALMANAC_SERVING_URL'],
} as const;

export async function runProcess(
  name: keyof typeof MAINS,
  args: readonly string[],
  call: Call<{ name: string; port?: number }>,
): Promise<number> {
  const { port } = call.options;
  if (port !== undefined && (port < 1 || port > 65_535))
    throw new UsageError(`--port ${port} is not a port`, 'give a number from 1 to 65535');
  const [relative, variable] = MAINS[name];
  const main = fileURLToPath(new URL(relative, import.meta.url));
  if (!existsSync(main))
    throw new FeatureStoreError('FS_CONFIG_MISSING', `${main} is not there`, {
      fix: 'build first: npm run build',
    });
  const stack = findRunningStack([call.options.name]);
  const env = {
    ...stack?.env,
    ...call.env,
    ...(port === undefined ? {} : { [variable]: `http://127.0.0.1:${port}` }),
  };
  // With --json stdout is for the one document; the process says everything on stderr.
  const child = spawn(process.execPath, [main, ...args], {
    env,
    stdio: ['inherit', call.out.json ? 2 : 'inherit', 'inherit'],
  });
  const forward = (signal: NodeJS.Signals): void => void child.kill(signal);
  process.on('SIGINT', forward).on('SIGTERM', forward);
  try {
    const ended = await new Promise<{ code: number | null; signal: string | null }>((resolve, reject) => {
      child.once('error', reject).once('exit', (code, signal) => resolve({ code, signal }));
    });
    call.out.result({ process: name, pid: child.pid, url: env[variable] ?? null, ...ended }, () => '');
    return ended.code ?? 1;
  } finally {
    process.off('SIGINT', forward).off('SIGTERM', forward);
  }
}
