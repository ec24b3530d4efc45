import { stackLinks, stopCommand } from '../local.js';
import type { Call } from '../program.js';
import { stackEnv, startStack } from '../stack/stack.js';
import { formatFacts } from '../text.js';

export default async function up(call: Call<{ name: string }>): Promise<void> {
  const { out, env, options } = call;
  const { name } = options;
  const state = await out.step(`starting the stack "${name}"`, (step) =>
    startStack({ name, env, onProgress: (line) => step.note(`   ${line}`) }),
  );
  out.result({ name, links: Object.fromEntries(stackLinks(state)), env: stackEnv(state) }, () =>
    formatFacts([...stackLinks(state), ['stop it', stopCommand(name)]]),
  );
}
