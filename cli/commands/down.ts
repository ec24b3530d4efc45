import { wipeStack } from '../local.js';
import type { Call } from '../program.js';
import { stopStack } from '../stack/stack.js';

export default async function down(call: Call<{ name: string; wipe?: boolean }>): Promise<void> {
  const { out, options } = call;
  const { name } = options;
  const stopped = await out.step(`stopping the stack "${name}"`, (step) =>
    stopStack({ name, onProgress: (line) => step.note(`   ${line}`) }),
  );
  const wiped = options.wipe === true && wipeStack(name);
  out.result({ name, stopped, wiped }, () =>
    stopped.length === 0 ? `nothing of "${name}" was running\n` : `stopped: ${stopped.join(', ')}\n`,
  );
}
