/**
 * The way to Postgres, for the registry and the activities: pools that never hang, names that are quoted in one place, types
 * that arrive exact, errors that say what to do. Holds no query of its own.
 *
 * What arrives in JavaScript: bigint in its one form (core/int64.ts: number while safe; key hashes are read as ::text, and made
 * bigints always); timestamptz as whole epoch milliseconds, as everywhere inside; a timestamp without zone is refused.
 */
import { Readable } from 'node:stream';
import pg from 'pg';
import type { Config } from '../core/config.js';
import type { ColumnType, Entity, FeatureType } from '../core/definition.js';
import { FeatureStoreError } from '../core/error.js';
import { type Int64, narrow } from '../core/int64.js';
import { parseTimestamp } from '../core/time.js';

export type Pool = pg.Pool;
export type PoolClient = pg.PoolClient;

/** An identifier as SQL text; the only function that makes one. Throws FS_NAME_INVALID where Postgres would cut or refuse. */
export function quote(identifier: string): string {
  const refuse = (why: string): never => {
    throw new FeatureStoreError('FS_NAME_INVALID', `the name ${JSON.stringify(identifier)} ${why}`, {
      fix: 'choose a name of 1 to 63 bytes without NUL',
      name: identifier,
    });
  };
  if (identifier === '') return refuse('is empty');
  if (identifier.includes('\0')) return refuse('contains NUL');
  if (!identifier.isWellFormed()) return refuse('contains half of a surrogate pair');
  const bytes = Buffer.byteLength(identifier);
  if (bytes > 63) return refuse(`has ${bytes} bytes; Postgres would cut it at 63`);
  return `"${identifier.replaceAll('"', '""')}"`;
}

/** Types of the archive's columns: timestamp is epoch ms. */
export const ARCHIVE_TYPE = {
  string: 'text',
  int64: 'bigint',
  float64: 'double precision',
  bool: 'boolean',
  timestamp: 'bigint',
  'list<string>': 'text[]',
  'list<int64>': 'bigint[]',
  'list<float64>': 'double precision[]',
} as const satisfies Record<ColumnType, string>;

/** Types of the rows that people read. */
export const ROW_TYPE = {
  string: 'text',
  int64: 'bigint',
  float64: 'double precision',
  bool: 'boolean',
  timestamp: 'timestamptz',
  'list<string>': 'text[]',
  'list<int64>': 'bigint[]',
  'list<float64>': 'double precision[]',
  'map<string,string>': 'jsonb',
  'map<string,int64>': 'jsonb',
  'map<string,float64>': 'jsonb',
} as const satisfies Record<FeatureType, string>;

/** The archive's column for a source column, quoted. */
export const archiveColumn = (name: string): string => quote(`c_${name}`);

/** The 8-byte hash of an entity's key over an archive's columns, as SQL; null when a part is null. The expression of its index. */
export function keyHashSql(entity: Entity, sourceColumns: readonly string[]): string {
  return keyHashOf(entity, sourceColumns.map(archiveColumn));
}

/**
 * The same hash over any SQL expressions, one per join key in the entity's order ('$1::text', 'r."user_id"').
 * Text is hashed in NFC, as keys are encoded: two spellings of one entity have one hash.
 */
export function keyHashOf(entity: Entity, expressions: readonly string[]): string {
  if (expressions.length !== entity.keys.length)
    throw new Error(
      `entity ${entity.name} has ${entity.keys.length} join keys, given were ${expressions.length}`,
    );
  return entity.keys.reduce(
    (seed, key, index) =>
      key.type === 'int64'
        ? `hashint8extended(${expressions[index]}, ${seed})`
        : `hashtextextended(normalize(${expressions[index]}, NFC), ${seed})`,
    '0',
  );
}

export interface PoolOptions {
  /** Connections; default 10. */
  max?: number;
  /** Shown in pg_stat_activity; default "almanac". */
  application?: string;
  /** The server ends a statement after this; the client 5 s later. Default 30 s. COPY streams count as statements. */
  statementTimeoutMs?: number;
  /** How long to wait for a connection; default 5 s. */
  connectTimeoutMs?: number;
}

const STATEMENT_MS = 30_000;

/** A pool whose search_path is the environment's schema. Its `query` and `connect` throw translated errors; see `translate`. */
export function createPool(
  config: Pick<Config, 'postgresUrl' | 'environment'>,
  options: PoolOptions = {},
): Pool {
  const statementTimeoutMs = options.statementTimeoutMs ?? STATEMENT_MS;
  const pool = new pg.Pool({
    connectionString: config.postgresUrl,
    application_name: options.application ?? 'almanac',
    options: `-c search_path=${config.environment} -c TimeZone=UTC -c DateStyle=ISO`,
    max: options.max ?? 10,
    connectionTimeoutMillis: options.connectTimeoutMs ?? 5_000,
    idleTimeoutMillis: 30_000,
    keepAlive: true,
    statement_timeout: statementTimeoutMs,
    query_timeout: statementTimeoutMs + 5_000, // a stopped server ends nothing by itself
    // Of a process that is stopped, or of a machine that is gone: by then its activity is another's, who waits for these locks.
    idle_in_transaction_session_timeout: 15_000,
    types: { getTypeParser },
    Client,
  });
  // Without listeners a server that goes away ends this process. Idle clients: the pool drops them by itself.
  pool.on('error', () => {});
  // Clients in use: their next query is refused and says so.
  pool.on('connect', (client) => client.on('error', () => {}));
  pool.query = translating(pool.query.bind(pool));
  pool.connect = translating(pool.connect.bind(pool));
  return pool;
}

/** The same function, its promises rejecting with translated errors. pg's callback form, which it uses itself, stays as it is. */
function translating<F extends (...given: never[]) => unknown>(call: F): F {
  return ((...given: Parameters<F>) => {
    const answer = call(...given);
    return answer instanceof Promise ? answer.catch(rethrow) : answer;
  }) as F;
}

class Client extends pg.Client {
  // biome-ignore lint/suspicious/noExplicitAny: pg's own signature
  override query(...given: any[]): any {
    const answer: unknown = super.query(...(given as [string]));
    // pg ends its timer in a callback that COPY TO streams never call.
    if (answer instanceof Readable && 'callback' in answer && typeof answer.callback === 'function') {
      const done = answer.callback as () => void;
      answer.once('close', done);
    }
    return answer;
  }
}

/**
 * Runs `work` in one transaction and commits. A serialization failure or a deadlock runs all of it again, five times at most: `work`
 * does nothing but SQL, or what may be done twice. Errors are translated.
 */
export async function transaction<T>(
  pool: Pool,
  work: (client: pg.PoolClient) => Promise<T>,
  isolation: 'read committed' | 'repeatable read' | 'serializable' = 'read committed',
): Promise<T> {
  for (let attempt = 1; ; attempt++) {
    const client = await pool.connect();
    let broken: Error | undefined;
    try {
      await client.query(`begin isolation level ${isolation}`);
      const result = await work(client);
      const { command } = await client.query('commit');
      if (command !== 'COMMIT')
        throw new Error(`commit answered ${command}: an error inside the transaction was swallowed`);
      return result;
    } catch (error) {
      broken = await rollBack(client, error);
      if (broken === undefined && sqlState(error) === '57014') await endSilentCopies(client);
      if (attempt < 5 && AGAIN.has(sqlState(error) ?? '')) continue;
      throw translate(error);
    } finally {
      client.release(broken);
    }
  }
}

/**
 * Postgres applies no timeout to a COPY that waits for its client: one that is stopped in the middle would keep its locks for ever.
 * Whoever ran out of time, perhaps behind such locks, ends those that are older than any statement may be.
 */
async function endSilentCopies(client: pg.PoolClient): Promise<void> {
  await client.query(
    `select pg_terminate_backend(pid) from pg_stat_activity
      where datname = current_database() and usename = current_user and application_name like 'almanac%'
        and state = 'active' and wait_event = 'ClientRead' and query ilike 'copy % from stdin%'
        and query_start < clock_timestamp() - make_interval(secs => $1)`,
    [STATEMENT_MS / 1000],
  );
}

const AGAIN = new Set(['40001', '40P01']);

/** Ends the transaction; gives the error that makes the connection unusable, if there is one. */
async function rollBack(client: pg.PoolClient, error: unknown): Promise<Error | undefined> {
  const translated = translate(error);
  // On a lost or hung connection a rollback would only wait again; the server rolls back when it closes.
  if (translated instanceof FeatureStoreError && translated.retryable && sqlState(error) === undefined)
    return translated;
  try {
    await client.query('rollback');
    return undefined;
  } catch (failed) {
    return failed as Error; // the pool closes this connection; the first error is the one to report
  }
}

function sqlState(error: unknown): string | undefined {
  if (!(error instanceof pg.DatabaseError)) return undefined;
  return error.code;
}

function rethrow(error: unknown): never {
  throw translate(error);
}

const NETWORK =
  /^(ECONNREFUSED|ECONNRESET|ENOTFOUND|EAI_AGAIN|ETIMEDOUT|EPIPE|EHOSTUNREACH|ENETUNREACH|ENOENT)$/;
const UNREACHABLE =
  /Connection terminated|timeout exceeded when trying to connect|not queryable|Client was closed|connection error/i;

/**
 * An error of pg as one of ours: unreachable → FS_UNAVAILABLE, out of time → FS_DEADLINE, disk full → FS_DISK_FULL, bad address →
 * FS_CONFIG_INVALID. Anything else (a broken constraint, wrong SQL) is returned as it is: it is our mistake or its caller's to judge.
 */
export function translate(error: unknown): unknown {
  if (!(error instanceof Error) || error instanceof FeatureStoreError) return error;
  const make = (
    code: 'FS_UNAVAILABLE' | 'FS_DEADLINE' | 'FS_DISK_FULL' | 'FS_CONFIG_INVALID',
    what: string,
    fix: string,
  ) => new FeatureStoreError(code, `Postgres ${what}: ${error.message}`, { fix }, { cause: error });
  const state = sqlState(error);
  if (state === undefined) {
    const network = 'code' in error && typeof error.code === 'string' && NETWORK.test(error.code);
    if (network || UNREACHABLE.test(error.message))
      return make(
        'FS_UNAVAILABLE',
        'does not answer',
        'start it, or set ALMANAC_POSTGRES_URL; then try again',
      );
    if (error.message === 'Query read timeout')
      return make(
        'FS_DEADLINE',
        'did not answer in time',
        'see whether the server is stopped or overloaded; then try again',
      );
    return error;
  }
  if (state === '53100')
    return make('FS_DISK_FULL', 'has no disk space left', 'free space on its disk; then try again');
  if (state === '57014' || state === '55P03' || state === '25P03')
    return make('FS_DEADLINE', 'ran out of time', 'see what blocks it (pg_stat_activity); then try again');
  if (/^28|^3D000/.test(state))
    return make('FS_CONFIG_INVALID', 'refuses the connection', 'correct ALMANAC_POSTGRES_URL');
  if (/^08|^53|^57P|^58/.test(state) || AGAIN.has(state))
    return make('FS_UNAVAILABLE', 'cannot serve now', 'see its log; then try again');
  return error;
}

const INT8 = 20;
const TIMESTAMP = 1114;
const TIMESTAMPTZ = 1184;
const TEXT_LIST = 1009;
const INT8_LIST = 1016;
const TIMESTAMPTZ_LIST = 1185;

function getTypeParser(oid: number, format?: string): (text: string) => unknown {
  switch (format === 'binary' ? 0 : oid) {
    case INT8:
      return parseInt8;
    case INT8_LIST:
      return (text) => parseList(text, parseInt8);
    case TIMESTAMPTZ:
      return parseTimestamptz;
    case TIMESTAMPTZ_LIST:
      return (text) => parseList(text, parseTimestamptz);
    case TIMESTAMP:
      return (text) => {
        throw new FeatureStoreError(
          'FS_TIMESTAMP_INVALID',
          `"${text}" comes from a timestamp column without time zone`,
          {
            fix: "cast it in the query: column AT TIME ZONE 'UTC'",
          },
        );
      };
    default:
      return pg.types.getTypeParser(oid, format as 'text') as (text: string) => unknown;
  }
}

function parseInt8(text: string): Int64 {
  const value = Number(text);
  return Number.isSafeInteger(value) ? value : narrow(BigInt(text));
}

function parseTimestamptz(text: string): number {
  return parseTimestamp(text.replace(/\+00$/, 'Z')); // the session's zone is UTC
}

function parseList<T>(text: string, parse: (item: string) => T): Array<T | null> {
  const items = pg.types.getTypeParser(TEXT_LIST as number, 'text')(text) as Array<string | null>;
  return items.map((item) => (item === null ? null : parse(item)));
}
