import { runDemo } from '../demo/demo.js';
import { renderReport } from '../demo/report.js';
import { EXIT } from '../errors.js';
import type { Call } from '../program.js';
import { instantOption } from './arguments.js';

export default async function demo({
  options,
  env,
  out,
}: Call<{ once?: boolean; seed?: number; end?: string }>): Promise<number> {
  const report = await runDemo({
    seed: options.seed,
    end: options.end === undefined ? undefined : instantOption('--end', options.end),
    once: options.once === true,
    env,
    out,
  });
  out.result(report, () => renderReport(report));
  const { parity, stream } = report;
  const isRight = parity.different === 0 && stream.unread === 0 && stream.miscounted.length === 0;
  return isRight ? EXIT.ok : EXIT.failed;
}
