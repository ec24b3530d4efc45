import { EXIT } from '../errors.js';
import type { Call } from '../program.js';
import { doctor as examine } from '../stack/doctor.js';
import { formatTable } from '../text.js';

export default async function doctor({ out, env }: Call): Promise<number> {
  const checks = await examine({ env });
  const ok = checks.every((check) => check.ok);
  out.result({ ok, checks }, () => {
    const table = formatTable(
      ['', 'check', 'found'],
      checks.map((check) => [check.ok ? 'ok' : '!!', check.name, check.found]),
    );
    const fixes = checks.filter(({ fix }) => fix !== undefined).map(({ name, fix }) => `${name}: ${fix}\n`);
    return fixes.length > 0 ? `${table}\n${fixes.join('')}` : table;
  });
  return ok ? EXIT.ok : EXIT.environment;
}
