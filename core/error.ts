/**
 * Every error the platform raises on purpose: one table of codes, one class.
 * A code's row says its HTTP status and whether trying again can help; docs/errors.md explains each.
 */
export const ERRORS = {
  // settings and processes
  FS_CONFIG_MISSING: { status: 500, retryable: false },
  FS_CONFIG_INVALID: { status: 500, retryable: false },
  FS_UNAVAILABLE: { status: 503, retryable: true },
  FS_DEADLINE: { status: 504, retryable: true },
  FS_DISK_FULL: { status: 507, retryable: true },
  FS_INTERNAL: { status: 500, retryable: false },
  // requests
  FS_REQUEST_INVALID: { status: 400, retryable: false },
  FS_REQUEST_TOO_LARGE: { status: 413, retryable: false },
  FS_NOT_FOUND: { status: 404, retryable: false },
  FS_CONFLICT: { status: 409, retryable: false },
  FS_PRECONDITION_FAILED: { status: 412, retryable: false },
  // definitions
  FS_DEFINITION_INVALID: { status: 422, retryable: false },
  FS_NAME_INVALID: { status: 422, retryable: false },
  FS_LOCK_INVALID: { status: 422, retryable: false },
  // data
  FS_DATA_INVALID: { status: 422, retryable: false },
  FS_TIMESTAMP_INVALID: { status: 422, retryable: false },
  FS_KEY_INVALID: { status: 422, retryable: false },
  FS_BEHIND_BASELINE: { status: 409, retryable: false },
  FS_EXPECTATION_FAILED: { status: 422, retryable: false },
  // stored bytes
  FS_LAYOUT_UNKNOWN: { status: 500, retryable: false },
  FS_RECORD_CORRUPT: { status: 500, retryable: false },
  // operations
  FS_FENCED: { status: 409, retryable: true },
  FS_PLAN_STALE: { status: 409, retryable: false },
  FS_NOT_READY: { status: 503, retryable: true },
  FS_PARITY: { status: 500, retryable: false },
  FS_RUN_FAILED: { status: 500, retryable: false },
} as const satisfies Record<string, { status: number; retryable: boolean }>;

export type ErrorCode = keyof typeof ERRORS;

/** `fix` is what the reader does next; other keys say where: view, field, path, row, column, file. */
export interface ErrorDetails {
  fix: string;
  [where: string]: unknown;
}

export class FeatureStoreError extends Error {
  override readonly name = 'FeatureStoreError';
  constructor(
    readonly code: ErrorCode,
    message: string,
    readonly details: ErrorDetails,
    options?: { cause?: unknown },
  ) {
    super(message, options);
  }
  get status(): number {
    return ERRORS[this.code].status;
  }
  get retryable(): boolean {
    return ERRORS[this.code].retryable;
  }
  /** The wire form: RFC 9457 problem details, with our code, fix and place beside them. */
  toJSON(): Record<string, unknown> {
    return {
      type: `urn:almanac:error:${this.code}`,
      title: this.message,
      status: this.status,
      code: this.code,
      ...this.details,
    };
  }
}

/** Of online records that claim the moment of computed ones with other bytes. */
export function recordsDiffer(view: string, version: number, different: number): FeatureStoreError {
  return new FeatureStoreError(
    'FS_PARITY',
    `${different} online records of ${view}@${version} differ from the computed ones of the same moment`,
    { fix: `compare them with the archive: almanac verify --view ${view}`, view, version },
  );
}
