import { connect } from '../address.js';
import type { Client, Run } from '../client.js';
import { EXIT } from '../errors.js';
import type { Output } from '../output.js';
import type { Call } from '../program.js';
import { followRun, type Started } from '../run.js';
import { formatCount, formatFacts, formatValue } from '../text.js';

interface Options {
  registry?: string;
  entities: number;
  moments: number;
  seed: number;
  view: string[];
  trainingSet: string[];
}

export default async function verify(call: Call<Options>): Promise<number> {
  const { entities, moments, seed, view, trainingSet } = call.options;
  const client = connect(call);
  const verified = await runVerify(
    client,
    {
      entities,
      moments,
      seed,
      ...(view.length > 0 ? { views: view } : {}),
      ...(trainingSet.length > 0 ? { trainingSets: trainingSet } : {}),
    },
    call.out,
  );
  call.out.result(verified, () => renderVerified(verified));
  return verified.different > 0 ? EXIT.failed : EXIT.ok;
}

export interface VerifyRequest {
  entities: number;
  moments: number;
  seed: number;
  views?: string[];
  trainingSets?: string[];
}

export interface Verified {
  checked: number;
  different: number;
  /** The first of them. */
  differences: Array<Record<string, unknown>>;
  run: string;
}

/** A difference is a result, not a failure of the run. */
export async function runVerify(client: Client, request: VerifyRequest, out: Output): Promise<Verified> {
  return out.step('verifying against the oracle', async (step) => {
    const { run } = await client.post<Started>('/v1/verifications', request);
    const finished: Run = await followRun(client, run, step);
    const result = finished.result as Omit<Verified, 'run'>;
    step.done(`${formatCount(result.checked)} checked, ${formatCount(result.different)} different`);
    return { ...result, differences: result.differences ?? [], run };
  });
}

export function renderVerified({ checked, different, differences, run }: Verified): string {
  const lines = differences.map(
    (difference) =>
      `${Object.entries(difference)
        .map(([name, value]) => `${name} ${formatValue(value)}`)
        .join(', ')}\n`,
  );
  const more =
    different > differences.length ? [`... and ${formatCount(different - differences.length)} more\n`] : [];
  return [
    ...lines,
    ...more,
    formatFacts([
      ['checked', checked],
      ['different', different],
      ['run', run],
    ]),
  ].join('');
}
