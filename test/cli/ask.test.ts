/** What is asked of whoever sits there. */
import { PassThrough } from 'node:stream';
import { afterEach, expect, test, vi } from 'vitest';
import { ask } from '../../cli/ask.js';
import { createOutput } from '../../cli/output.js';

afterEach(() => vi.restoreAllMocks());

/** With so much typed, and the input ended after it: Ctrl-D. */
function asked(typed: string): Promise<string> {
  const input = new PassThrough();
  vi.spyOn(process, 'stdin', 'get').mockReturnValue(input as unknown as typeof process.stdin);
  vi.spyOn(process, 'stderr', 'get').mockReturnValue(new PassThrough() as unknown as typeof process.stderr);
  const nowhere = { write: () => {} };
  const out = createOutput({ json: false, terminal: { stdout: nowhere, stderr: nowhere } });
  const answer = ask({ isInteractive: true, out }, 'Apply this? ', '--yes');
  input.end(typed);
  return answer;
}

test.each([
  ['yes \n', 'yes'],
  ['\n', ''],
  ['', ''],
])('%j is the answer %j: who ends the input says nothing', async (typed, answer) =>
  expect(await asked(typed)).toBe(answer),
);
