import { connect } from '../address.js';
import type { Client } from '../client.js';
import { EXIT, isFeatureStoreError } from '../errors.js';
import type { Output } from '../output.js';
import type { Call } from '../program.js';
import { followRun, startRun } from '../run.js';
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
  id: string;
  checked: number;
  different: number;
  /** Streaming views that may be behind: Redis was away, and what it missed is still being written. */
  owed: string[];
  unread: string[];
  /** The first differences. */
  differences: Difference[];
}

/** An answer that is not what the oracle says, as GET /v1/verifications/{id} has it. */
export interface Difference {
  path: string;
  view: string;
  version: number;
  entity: Record<string, unknown>;
  moment: string;
  feature: string | null;
  found: unknown;
  expected: unknown;
  where: string;
  event: { id: string; timestamp: string; found: string } | null;
}

/** A run that found differences fails with FS_PARITY; here that is a result. */
export async function runVerify(client: Client, request: VerifyRequest, out: Output): Promise<Verified> {
  return out.step('verifying against the oracle', async (step) => {
    const run = await startRun(client, '/v1/verifications', request);
    try {
      await followRun(client, run, step);
    } catch (error) {
      if (!isFeatureStoreError(error) || error.code !== 'FS_PARITY') throw error;
    }
    const id = run.replace(/^verify\//, '');
    const found = await client.get<Verified>(`/v1/verifications/${encodeURIComponent(id)}`);
    step.done(`${formatCount(found.checked)} checked, ${formatCount(found.different)} different`);
    return found;
  });
}

export function renderVerified({ id, checked, different, owed, unread, differences }: Verified): string {
  const more =
    different > differences.length ? [`... and ${formatCount(different - differences.length)} more\n`] : [];
  return [
    ...differences.map(renderDifference),
    ...more,
    formatFacts([
      ['checked', checked],
      ['different', different],
      ...(owed.length > 0 ? ([['behind, Redis was away', owed.join(', ')]] as const) : []),
      ...(unread.length > 0 ? ([['not online, nobody reads', unread.join(', ')]] as const) : []),
      ['verification', id],
    ]),
  ].join('');
}

function renderDifference(difference: Difference): string {
  const { path, view, version, entity, moment, feature, found, expected, where, event } = difference;
  const key = Object.entries(entity)
    .map(([name, value]) => `${name} ${formatValue(value)}`)
    .join(', ');
  const lines = [
    `${view}@${version}${feature === null ? '' : ` ${feature}`}, ${key}, at ${moment} (${path})`,
    `  found    ${formatValue(found)}`,
    `  expected ${formatValue(expected)}`,
    ...(where === '' ? [] : [`  where    ${where}`]),
    ...(event === null
      ? []
      : [`  event    ${event.id} of ${event.timestamp}: what was found ${event.found}`]),
  ];
  return `${lines.join('\n')}\n`;
}
