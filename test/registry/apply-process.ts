/**
 * Applies a plan, step by step, and kills itself when so many statements were answered. Its arguments: how many, and the first step;
 * from its input: the plan and its definitions. It says each step that it has taken.
 */
import { writeSync } from 'node:fs';
import { text } from 'node:stream/consumers';
import { readConfig } from '../../core/config.js';
import { createPool } from '../../registry/sql.js';
import { type Applying, STEPS, type Step } from './apply.js';
import { listenTo } from './listen.js';

let left = Number(process.argv[2]);
const steps = process.argv.slice(3) as Step[];
const applying = JSON.parse(await text(process.stdin)) as Applying;
const pool = listenTo(createPool(readConfig(process.env)), () => {
  if (--left === 0) process.kill(process.pid, 'SIGKILL');
});
for (const step of steps) {
  await STEPS[step](pool, applying);
  writeSync(1, `${step}\n`);
}
process.exit(0);
