import { runDemo } from '../demo/demo.js';
import { renderReport } from '../demo/report.js';
import { EXIT } from '../errors.js';
import type { Call } from '../program.js';

export default async function demo({
  options,
  env,
  out,
}: Call<{ once?: boolean; seed?: number }>): Promise<number> {
  const report = await runDemo({ seed: options.seed, once: options.once === true, env, out });
  out.result(report, () => renderReport(report));
  return report.parity.different > 0 ? EXIT.failed : EXIT.ok;
}
