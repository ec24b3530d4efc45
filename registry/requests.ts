/** What callers may send, in its parts, and how it is refused: nothing is coerced, dropped or guessed. */
import { isUtf8 } from 'node:buffer';
import { z } from 'zod';
import { parseJson } from '../core/codec/json.js';
import { FeatureStoreError } from '../core/error.js';
import { DAY, formatTimestamp, parseTimestamp } from '../core/time.js';

// Definitions may nest 100 deep (core/check.ts says so with a path); one level more for the body around them, and some to spare.
const MAX_DEPTH = 128;

/** The JSON of a body. Throws FS_REQUEST_INVALID with the place: see parseJson for what it refuses. */
export function readBody(bytes: Buffer): unknown {
  if (!isUtf8(bytes))
    throw new FeatureStoreError('FS_REQUEST_INVALID', 'the body is not UTF-8', { fix: 'send JSON in UTF-8' });
  return parseJson(bytes.toString('utf8'), MAX_DEPTH);
}

export const Text = z
  .string()
  .min(1)
  .max(200)
  .refine(
    (text) => !/\p{Cc}/u.test(text) && text.isWellFormed(),
    'holds control characters or no valid Unicode',
  );
/** May have several lines. */
export const Prose = z
  .string()
  .max(2_000)
  .refine((text) => !text.includes('\0') && text.isWellFormed(), 'holds NUL or no valid Unicode');
/** Who asks, for the audit. */
export const By = Text.exactOptional();
export const Sha256 = z.string().regex(/^[0-9a-f]{64}$/, 'is no SHA-256 in lower-case hex');
export const Version = z.number().int().min(1).max(999_999_999);
/** As it comes; readInstant says what is wrong with it. */
export const Instant = z.string().max(60);
export const Reference = z.string().regex(/^[^:]{1,63}:[^:]{1,63}$/, 'is not of the form view:feature');

// In answers.
export const Timestamp = z.iso.datetime();
export const Count = z.number().int();
export const ViewKind = z.enum(['aggregation', 'sql', 'onDemand']);

/** Throws FS_REQUEST_INVALID with every problem and its path. */
export function parse<T>(schema: z.ZodType<T>, value: unknown, what: 'body' | 'query' | 'path'): T {
  const { success, data, error } = schema.safeParse(value);
  if (success) return data;
  const problems = error.issues.map((issue) => ({
    path: issue.path.map(String).join('.'),
    message: messageOf(issue),
  }));
  const lines = problems.map(({ path, message }) => (path === '' ? message : `${path}: ${message}`));
  throw new FeatureStoreError(
    'FS_REQUEST_INVALID',
    `the ${what} is not what is asked for here: ${lines.join('; ')}`,
    {
      fix: 'docs/api.md shows each request',
      problems,
    },
  );
}

function messageOf(issue: z.core.$ZodIssue): string {
  return issue.code === 'unrecognized_keys'
    ? `there is no field ${issue.keys.map((key) => `"${key}"`).join(', ')}`
    : issue.message;
}

/** An instant of a request as epoch ms. Throws FS_TIMESTAMP_INVALID with the field. */
export function readInstant(field: string, text: string): number {
  try {
    return parseTimestamp(text);
  } catch (error) {
    if (!(error instanceof FeatureStoreError)) throw error;
    throw new FeatureStoreError(error.code, `${field}: ${error.message}`, { ...error.details, field });
  }
}

/** How instants stand in ids of runs: 2026-11-01 for a midnight, else 2026-11-01T06:30:00Z. */
export function shortInstant(ms: number): string {
  const text = formatTimestamp(ms);
  return ms % DAY === 0 ? text.slice(0, 10) : text.replace('.000Z', 'Z');
}
