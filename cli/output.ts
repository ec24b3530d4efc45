/**
 * What the CLI says, and where: results on stdout, everything else on stderr. With `--json` stdout holds exactly one
 * JSON document. On a terminal a step shows one live line; without one, plain lines at most every few seconds.
 */
import type { Progress } from './client.js';
import { formatCount, formatSeconds } from './text.js';

export interface Output {
  readonly json: boolean;
  /** Text for a reader, on stdout; nothing with `--json`. */
  print(text: string): void;
  /** The command's one document: JSON with `--json`, else whatever `text` makes of it. */
  result(document: unknown, text: () => string): void;
  /** The same for a document that is JSON already and is passed on as it came. */
  raw(json: string, text: () => string): void;
  /** A remark on stderr. */
  note(text: string): void;
  /** Run `work` under a title, showing its progress; gives what `work` gives. */
  step<T>(title: string, work: (step: Step) => Promise<T>): Promise<T>;
}

export interface Step {
  progress(progress: Progress): void;
  /** What stands behind the title when the step is done: '1,234 rows'. */
  done(detail: string): void;
  note(text: string): void;
}

export interface Terminal {
  stdout: { write(text: string): unknown };
  stderr: { write(text: string): unknown; isTTY?: boolean; columns?: number };
}

const FRAME_MS = 100;
/** A step under a second is not worth a line of its own before it is done. */
const QUIET_MS = 1_000;
const PLAIN_EVERY_MS = 10_000;
const WIDTH_MAX = 80;

export function createOutput(options: { json: boolean; terminal?: Terminal }): Output {
  const { stdout, stderr } = options.terminal ?? process;
  const live = stderr.isTTY === true;
  const width = Math.min(stderr.columns ?? WIDTH_MAX, WIDTH_MAX) - 1; // a full line would wrap on some terminals
  let current: { clear(): void; draw(): void } | null = null;

  const note = (text: string): void => {
    current?.clear();
    stderr.write(`${text}\n`);
    current?.draw();
  };

  async function step<T>(title: string, work: (step: Step) => Promise<T>): Promise<T> {
    const outer = current;
    outer?.clear();
    const began = performance.now();
    let progress: Progress | null = null;
    let detail = '';
    let frame = 0;
    let saidAt = began + QUIET_MS - PLAIN_EVERY_MS;
    const line = (): string => progressLine(title, progress, performance.now() - began, width - 2);
    const self = {
      clear: () => void (live && stderr.write('\r\u001b[K')),
      draw: () => void (live && stderr.write(`\r\u001b[K${'|/-\\'[frame++ % 4]} ${line()}`)),
    };
    current = self;
    self.draw();
    const timer = setInterval(() => {
      if (live) self.draw();
      else if (performance.now() - saidAt >= PLAIN_EVERY_MS) {
        saidAt = performance.now();
        stderr.write(`.. ${line()}\n`);
      }
    }, FRAME_MS);
    timer.unref();
    const end = (mark: string): void => {
      clearInterval(timer);
      self.clear();
      current = outer;
      const text = detail === '' ? title : `${title}: ${detail}`;
      stderr.write(`${mark} ${text} (${formatSeconds(performance.now() - began)})\n`);
      outer?.draw();
    };
    try {
      const value = await work({
        progress: (now) => {
          progress = now;
        },
        done: (text) => {
          detail = text;
        },
        note,
      });
      end('ok');
      return value;
    } catch (error) {
      detail = 'failed';
      end('!!');
      throw error;
    }
  }

  const write = (body: string): void => {
    current?.clear();
    if (body !== '') stdout.write(body.endsWith('\n') ? body : `${body}\n`);
  };

  return {
    json: options.json,
    print: (text) => {
      if (!options.json) write(text);
    },
    result: (document, text) => write(options.json ? JSON.stringify(document) : text()),
    raw: (json, text) => write(options.json ? json : text()),
    note,
    step,
  };
}

/** 'importing purchases  45 %  12,300 rows/s  20 s left', cut to `width`. */
export function progressLine(
  title: string,
  progress: Progress | null,
  elapsedMs: number,
  width: number,
): string {
  const parts = [title];
  if (progress) {
    const { done, total, unit, ratePerSecond, message } = progress;
    if (total !== null && total > 0) {
      parts.push(`${Math.min(100, Math.floor((100 * done) / total))} %`);
      parts.push(`${formatCount(done)} of ${formatCount(total)} ${unit}`);
    } else if (done > 0) parts.push(`${formatCount(done)} ${unit}`);
    if (ratePerSecond !== null && ratePerSecond > 0) {
      parts.push(`${formatCount(Math.round(ratePerSecond))}/s`);
      if (total !== null && total > done)
        parts.push(`${formatSeconds((1000 * (total - done)) / ratePerSecond)} left`);
    }
    if (message !== '') parts.push(message);
  }
  parts.push(formatSeconds(elapsedMs));
  // What matters least stands last, but the clock shows that we are alive: it stays.
  while (parts.length > 2 && parts.join('  ').length > width) parts.splice(parts.length - 2, 1);
  return parts.join('  ').slice(0, Math.max(0, width));
}
