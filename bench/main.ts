/** `npm run bench -- <name> [--json]`: figures beside a peer or a limit measured in the same run. What is measured is said where it is. */
import { engine } from './engine.js';
import { registry } from './registry.js';

const BENCHES: Record<string, (options: { json: boolean; quick: boolean }) => Promise<void>> = {
  engine,
  registry,
};

const [name, ...flags] = process.argv.slice(2);
const bench = Object.hasOwn(BENCHES, name ?? '') ? BENCHES[name!] : undefined;
const unknown = flags.find((flag) => flag !== '--json' && flag !== '--quick');
if (bench === undefined || unknown !== undefined) {
  const what = bench === undefined ? `there is no bench "${name ?? ''}"` : `there is no option "${unknown}"`;
  console.error(`${what}\n  usage: npm run bench -- ${Object.keys(BENCHES).join('|')} [--quick] [--json]`);
  process.exitCode = 2;
} else await bench({ json: flags.includes('--json'), quick: flags.includes('--quick') });
