/**
 * What an activity throws, as Temporal should see it. One interceptor for all: a FeatureStoreError becomes an ApplicationFailure
 * whose type is its code, retried only where the table says so; a store that is away becomes a retryable FS_UNAVAILABLE or
 * FS_DEADLINE; an error of ours (a broken assertion, a TypeError) fails at once, since no retry repairs code.
 */
import { ApplicationFailure, CancelledFailure, CompleteAsyncError } from '@temporalio/activity';
import type { ActivityExecuteInput, ActivityInboundCallsInterceptor, Next } from '@temporalio/worker';
import { type ErrorCode, FeatureStoreError } from '../core/error.js';
import { translate as translatePostgres } from '../registry/sql.js';

export class ErrorInterceptor implements ActivityInboundCallsInterceptor {
  async execute(
    input: ActivityExecuteInput,
    next: Next<ActivityInboundCallsInterceptor, 'execute'>,
  ): Promise<unknown> {
    try {
      return await next(input);
    } catch (error) {
      throw toFailure(error);
    }
  }
}

/** Any error as what Temporal should be told. Cancellation and what is a Temporal failure already stay as they are. */
export function toFailure(error: unknown): unknown {
  if (
    error instanceof ApplicationFailure ||
    error instanceof CancelledFailure ||
    error instanceof CompleteAsyncError
  )
    return error;
  const known = translate(error);
  if (known instanceof FeatureStoreError)
    return ApplicationFailure.create({
      type: known.code,
      message: known.message,
      nonRetryable: !known.retryable,
      details: [known.details],
      cause: known,
    });
  return ApplicationFailure.create({
    type: 'FS_INTERNAL' satisfies ErrorCode,
    message: String(error),
    nonRetryable: true,
    details: [{ fix: 'report it with the stack trace below' }],
    ...(error instanceof Error && { cause: error }),
  });
}

/** Errors of Postgres, Redis, Temporal's client and the file system as ours, where waiting or the operator can help. */
export function translate(error: unknown): unknown {
  if (!(error instanceof Error)) return error;
  const postgres = translatePostgres(error);
  if (postgres instanceof FeatureStoreError) return postgres;
  const redis = translateRedis(error);
  if (redis !== null) return redis;
  const code = 'code' in error ? error.code : undefined;
  if (code === 'ENOSPC' || code === 'EDQUOT')
    return new FeatureStoreError(
      'FS_DISK_FULL',
      `no disk space left: ${error.message}`,
      { fix: 'free space on the disk of ALMANAC_FILES_DIR; then try again' },
      { cause: error },
    );
  // gRPC: DEADLINE_EXCEEDED and UNAVAILABLE
  const grpc = error.cause instanceof Error && 'code' in error.cause ? error.cause.code : code;
  if (/^(ServiceError|TransportError)$/.test(error.name) && (grpc === 4 || grpc === 14 || grpc === undefined))
    return new FeatureStoreError(
      'FS_UNAVAILABLE',
      `Temporal does not answer: ${error.message}`,
      { fix: 'start it, or set ALMANAC_TEMPORAL_ADDRESS; then try again' },
      { cause: error },
    );
  return error;
}

/** An error of ioredis as ours; null when it is none that waiting helps. */
export function translateRedis(error: Error): FeatureStoreError | null {
  const { name, message } = error;
  const make = (code: ErrorCode, what: string, fix: string) =>
    new FeatureStoreError(code, `Redis ${what}: ${message}`, { fix }, { cause: error });
  if (message === 'Command timed out')
    return make(
      'FS_DEADLINE',
      'did not answer in time',
      'see whether it is stopped or overloaded; then try again',
    );
  if (
    name === 'MaxRetriesPerRequestError' ||
    /^(Connection is closed|Command aborted|Stream isn't writeable|Socket closed|connect E|read E|write E)/.test(
      message,
    )
  )
    return make('FS_UNAVAILABLE', 'does not answer', 'start it, or set ALMANAC_REDIS_URL; then try again');
  if (name !== 'ReplyError') return null;
  if (/^(NOAUTH|WRONGPASS|NOPERM)\b/.test(message))
    return make('FS_CONFIG_INVALID', 'refuses the connection', 'correct ALMANAC_REDIS_URL');
  if (message.startsWith('OOM '))
    return make('FS_DISK_FULL', 'has no memory left', 'raise its maxmemory; then try again');
  if (
    /^(LOADING|MASTERDOWN|READONLY|TRYAGAIN|CLUSTERDOWN|BUSY|MISCONF|NOREPLICAS|ERR max number of clients)\b/.test(
      message,
    )
  )
    return make('FS_UNAVAILABLE', 'cannot serve now', 'see its log; then try again');
  return null;
}
