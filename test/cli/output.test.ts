import { describe, expect, test, vi } from 'vitest';
import { createOutput, progressLine } from '../../cli/output.js';

const progress = { done: 450, total: 1000, unit: 'rows', ratePerSecond: 50, message: 'chunk 3' };

describe('the progress line', () => {
  test('share, amount, rate, what remains, message, clock', () =>
    expect(progressLine('importing', progress, 9_000, 100)).toBe(
      'importing  45 %  450 of 1,000 rows  50/s  11.0 s left  chunk 3  9.0 s',
    ));
  test('no total: neither share nor remaining time', () =>
    expect(progressLine('importing', { ...progress, total: null }, 9_000, 100)).toBe(
      'importing  450 rows  50/s  chunk 3  9.0 s',
    ));
  test('nothing known: title and clock', () =>
    expect(progressLine('importing', null, 1_500, 100)).toBe('importing  1.5 s'));
  test('never wider than asked for; the clock stays', () => {
    for (let width = 10; width < 90; width++) {
      const line = progressLine('importing purchases', progress, 9_000, width);
      expect(line.length).toBeLessThanOrEqual(width);
      if (width > 25) expect(line.endsWith('9.0 s')).toBe(true);
    }
  });
  test('more done than was expected is not more than all', () =>
    expect(progressLine('x', { ...progress, done: 2000, ratePerSecond: null, message: '' }, 0, 99)).toBe(
      'x  100 %  2,000 of 1,000 rows  0.0 s',
    ));
});

function recorded(isTTY: boolean, columns?: number) {
  const texts = { stdout: '', stderr: '' };
  const stream = (name: keyof typeof texts) => ({
    write: (text: string) => {
      texts[name] += text;
    },
    isTTY,
    ...(columns === undefined ? {} : { columns }),
  });
  return { texts, terminal: { stdout: stream('stdout'), stderr: stream('stderr') } };
}

describe('where things go', () => {
  test('with --json stdout is one document, whatever else is said', async () => {
    const { texts, terminal } = recorded(false);
    const out = createOutput({ json: true, terminal });
    out.print('hello');
    out.note('by the way');
    await out.step('working', async (step) => step.note('still'));
    out.result({ a: [1, 2] }, () => 'text');
    expect(texts.stdout).toBe('{"a":[1,2]}\n');
    expect(texts.stderr).toContain('by the way\n');
  });
  test('a document that is JSON already is passed on to the digit', () => {
    const { texts, terminal } = recorded(false);
    createOutput({ json: true, terminal }).raw('{"n":9007199254740993}', () => '');
    expect(texts.stdout).toBe('{"n":9007199254740993}\n');
  });
  test('without a terminal: plain lines, no control characters', async () => {
    const { texts, terminal } = recorded(false);
    vi.useFakeTimers();
    try {
      const out = createOutput({ json: false, terminal });
      const done = out.step('working', async (step) => {
        step.progress(progress);
        await vi.advanceTimersByTimeAsync(25_000);
        step.done('450 rows');
      });
      await done;
    } finally {
      vi.useRealTimers();
    }
    expect(Array.from(texts.stderr).filter((character) => character < ' ' && character !== '\n')).toEqual([]);
    const lines = texts.stderr.trimEnd().split('\n');
    expect(lines.filter((line) => line.startsWith('.. working')).length).toBe(3); // after 1, 11 and 21 s
    expect(lines.at(-1)).toBe('ok working: 450 rows (25.0 s)');
  });
  test('on a terminal: one line that is drawn again, within 80 columns', async () => {
    const { texts, terminal } = recorded(true, 200);
    const out = createOutput({ json: false, terminal });
    await out.step('a'.repeat(100), async (step) => step.note('a remark'));
    for (const line of texts.stderr
      .replaceAll('\r\u001b[K', '\n')
      .split('\n')
      .filter((each) => /^[|/\\-] /.test(each)))
      expect(line.length).toBeLessThanOrEqual(80);
    expect(texts.stderr).toContain('a remark\n');
  });
  test('a failing step says so and passes its error on', async () => {
    const { texts, terminal } = recorded(false);
    const failure = new Error('no');
    const out = createOutput({ json: false, terminal });
    await expect(out.step('working', () => Promise.reject(failure))).rejects.toBe(failure);
    expect(texts.stderr).toMatch(/^!! working: failed \(/);
  });
});
