import type { Call } from '../program.js';
import { runProcess } from './process.js';

export default async function serve(call: Call<{ name: string; port?: number }>): Promise<number> {
  return runProcess('serving', [], call);
}
