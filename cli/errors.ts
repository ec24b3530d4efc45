/**
 * How the CLI fails: three short lines (what, where, fix), an honest exit code, a stack trace only with `--debug`.
 * Errors come from this process, from another copy of core (an author's file), or over HTTP: they are told by shape.
 */
import { ERRORS, type ErrorCode, FeatureStoreError } from '../core/error.js';

/** What a script may rely on. `plan` alone gives CHANGES, and then a misuse of it is FAILED, so that 2 says one thing. */
export const EXIT = { ok: 0, failed: 1, usage: 2, changes: 2, environment: 3, interrupted: 130 } as const;

/** The command line itself is wrong. */
export class UsageError extends FeatureStoreError {
  constructor(message: string, fix: string, where: Record<string, unknown> = {}) {
    super('FS_REQUEST_INVALID', message, { ...where, fix });
  }
}

/** Something is missing, away or full here, not in what was asked for. */
const ENVIRONMENT: ReadonlySet<string> = new Set<ErrorCode>([
  'FS_CONFIG_MISSING',
  'FS_CONFIG_INVALID',
  'FS_UNAVAILABLE',
  'FS_DEADLINE',
  'FS_DISK_FULL',
  'FS_NOT_READY',
]);

const ENVIRONMENT_ERRNO: ReadonlySet<string> = new Set([
  'ENOSPC',
  'EACCES',
  'EPERM',
  'EROFS',
  'EMFILE',
  'ENOMEM',
]);

export function exitCodeOf(error: unknown): number {
  if (error instanceof UsageError) return EXIT.usage;
  const code = errorCode(error);
  if (code !== null && (ENVIRONMENT.has(code) || ENVIRONMENT_ERRNO.has(code))) return EXIT.environment;
  return EXIT.failed;
}

/** Problem details (RFC 9457) of any error: our own as they are, a foreign one with what it says. */
export function toProblem(error: unknown): { title: string; code: string | null; [key: string]: unknown } {
  if (isFeatureStoreError(error)) {
    const { fix, ...where } = error.details;
    return { type: `urn:almanac:error:${error.code}`, title: error.message, code: error.code, ...where, fix };
  }
  const title = error instanceof Error ? error.message || error.name : String(error);
  return { type: 'about:blank', title, code: errorCode(error) };
}

/** The lines on stderr. Several problems at once are listed, each with its place and fix. */
export function renderError(error: unknown, options: { debug: boolean }): string {
  const { title, code, fix, type: _type, status: _status, ...where } = toProblem(error);
  const problems = Array.isArray(where.problems) ? where.problems : null;
  if (problems) delete where.problems;
  // the message of several problems lists them; here each gets its own lines
  const what = problems ? (title.split('\n')[0] ?? '') : title;
  const lines = [`error: ${what}${code === null ? '' : ` (${code})`}`];
  const place = renderPlace(where);
  if (place !== '') lines.push(`where: ${place}`);
  for (const problem of problems ?? []) lines.push(...renderProblem(problem));
  if (typeof fix === 'string') lines.push(`fix:   ${fix}`);
  else if (code === null) lines.push('fix:   run it again with --debug to see where it comes from');
  if (options.debug && error instanceof Error) {
    lines.push(error.stack ?? '');
    for (let cause = error.cause; cause instanceof Error; cause = cause.cause)
      lines.push(`caused by ${cause.stack ?? cause.message}`);
  }
  return `${lines.join('\n')}\n`;
}

function renderProblem(problem: unknown): string[] {
  if (typeof problem !== 'object' || problem === null) return [`  - ${String(problem)}`];
  const { message, title, fix, code, ...where } = problem as Record<string, unknown>;
  const said = message ?? title;
  const lines = [
    `  - ${typeof said === 'string' ? said : JSON.stringify(problem)}${typeof code === 'string' ? ` (${code})` : ''}`,
  ];
  const place = renderPlace(where);
  if (place !== '') lines.push(`    where: ${place}`);
  if (typeof fix === 'string') lines.push(`    fix:   ${fix}`);
  return lines;
}

function renderPlace(where: Record<string, unknown>): string {
  return Object.entries(where)
    .filter(
      ([, value]) => typeof value === 'string' || typeof value === 'number' || typeof value === 'boolean',
    )
    .map(([name, value]) => `${name} ${String(value)}`)
    .join(', ');
}

export function isFeatureStoreError(error: unknown): error is FeatureStoreError {
  return (
    error instanceof FeatureStoreError ||
    (error instanceof Error && error.name === 'FeatureStoreError' && 'code' in error && 'details' in error)
  );
}

/** An error that crossed a wire. A code that this build does not know keeps its text, and counts as `otherwise`. */
export function fromWire(
  problem: { code: unknown; message: string; details: Record<string, unknown> },
  otherwise: ErrorCode,
): FeatureStoreError {
  const isKnown = typeof problem.code === 'string' && Object.hasOwn(ERRORS, problem.code);
  const { fix, ...where } = problem.details;
  return new FeatureStoreError(isKnown ? (problem.code as ErrorCode) : otherwise, problem.message, {
    ...where,
    ...(isKnown || typeof problem.code !== 'string' ? {} : { reported: problem.code }),
    fix: typeof fix === 'string' ? fix : 'read the log of the process that answered',
  });
}

function errorCode(error: unknown): string | null {
  return error instanceof Error && 'code' in error && typeof error.code === 'string' ? error.code : null;
}
