/**
 * The author's own database, behind a definition's `env:NAME`: how it is reached, never written to, and what its tables and queries
 * have to give for a source or a sql view to read them.
 */
import pg from 'pg';
import type { Environment } from '../core/config.js';
import type { ColumnType, Entity, Source, SqlView } from '../core/definition.js';
import { FeatureStoreError } from '../core/error.js';
import { columnNames } from '../core/event.js';
import { formatTimestamp } from '../core/time.js';
import { quote } from './sql.js';

/** The URL behind `env:NAME`. Throws FS_CONFIG_MISSING. */
export function connectionUrl(connection: string, env: Environment): string {
  const variable = connection.slice('env:'.length);
  const url = env[variable];
  if (url) return url;
  throw new FeatureStoreError(
    'FS_CONFIG_MISSING',
    `the environment variable ${variable} is not set in the workers`,
    {
      fix: `start the workers with ${variable} holding the URL of the source's database`,
      variable,
    },
  );
}

/** A connection to make: read-only, in UTC, with texts that are exact. */
export function authorClient(connection: string, env: Environment, config: pg.ClientConfig): pg.Client {
  const client = new pg.Client({
    connectionString: connectionUrl(connection, env),
    connectionTimeoutMillis: 10_000,
    options: '-c TimeZone=UTC -c DateStyle=ISO -c extra_float_digits=1 -c default_transaction_read_only=on',
    keepAlive: true,
    ...config,
  });
  client.on('error', () => {}); // of a connection in use: its query is refused and says so
  return client;
}

/** Where a table or an answer is not as declared. `message` goes on after what has it: "gives no column …". */
export interface Misfit {
  column: string;
  message: string;
  fix: string;
  /** Its instants have no zone. */
  zoneless: boolean;
}

// ---------------------------------------------------------------- tables

/** `schema.table`, each part quoted. A dot inside a name cannot be said. */
export function qualified(table: string): string {
  return table.split('.').map(quote).join('.');
}

/** Names of Postgres' types by column; null: there is no such table. */
export async function readTable(client: pg.Client, table: string): Promise<Map<string, string> | null> {
  const { rows } = await client.query<{ name: string; type: string }>({
    text: `select attname as name, case typtype when 'e' then 'text' else typname end as type
             from pg_attribute join pg_type on pg_type.oid = atttypid
            where attrelid = to_regclass($1) and attnum > 0 and not attisdropped`,
    values: [qualified(table)],
    ...({ query_timeout: 30_000 } as object),
  });
  return rows.length === 0 ? null : new Map(rows.map(({ name, type }) => [name, type]));
}

const TABLE_TYPES: Record<ColumnType, ReadonlySet<string>> = {
  string: new Set(['text', 'varchar', 'bpchar', 'uuid', 'citext', 'name']),
  int64: new Set(['int2', 'int4', 'int8']),
  float64: new Set(['float4', 'float8', 'int2', 'int4', 'int8', 'numeric']),
  bool: new Set(['bool']),
  timestamp: new Set(['timestamptz']),
  'list<string>': new Set(['_text', '_varchar', '_bpchar', '_uuid', '_citext', '_name']),
  'list<int64>': new Set(['_int2', '_int4', '_int8']),
  'list<float64>': new Set(['_float4', '_float8', '_int2', '_int4', '_int8', '_numeric']),
};

/** A column that may be missing may be so in the table. Enums are texts. */
export function tableMisfits(source: Source, table: string, found: ReadonlyMap<string, string>): Misfit[] {
  return columnNames(source).flatMap((name): Misfit[] => {
    const { type, nullable } = source.columns[name]!;
    const there = found.get(name);
    if (there !== undefined && TABLE_TYPES[type].has(there)) return [];
    if (there === undefined) {
      if (nullable) return [];
      const message = `table ${table} has no column "${name}"`;
      return [{ column: name, message, fix: 'add it, or declare it nullable', zoneless: false }];
    }
    const zoneless = type === 'timestamp' && there === 'timestamp';
    return [
      {
        column: name,
        message: `column "${name}" of table ${table} is ${there === 'timestamp' ? 'a timestamp without time zone' : there}; the source declares ${type}`,
        fix: zoneless
          ? `make it timestamptz, or read a view that casts it: "${name}" at time zone 'UTC'`
          : 'correct the declared type, or read a view that casts it',
        zoneless,
      },
    ];
  });
}

// ---------------------------------------------------------------- queries

/** Opens the view's query at a tick as the cursor `answers`, inside a transaction. Throws FS_DATA_INVALID for one that cannot be run. */
export async function declareAnswers(client: pg.Client, view: SqlView, tickMs: number): Promise<void> {
  const { text, bound } = bindAsOf(view.query);
  try {
    await client.query({
      text: `declare answers no scroll cursor for ${text}`,
      values: bound ? [formatTimestamp(tickMs)] : [],
      // without parameters too: only there a text is one statement, and cannot end the transaction that may not write
      ...({ queryMode: 'extended' } as object),
    });
  } catch (error) {
    // a wrong table, column or word in the author's query: 42xxx; what it may not do (write): 25006
    if (error instanceof pg.DatabaseError && /^(42|25006|22|0A)/.test(error.code ?? ''))
      throw new FeatureStoreError(
        'FS_DATA_INVALID',
        `the query of view "${view.name}" cannot be run: ${error.message}`,
        { fix: 'correct the query, or its database', view: view.name },
        { cause: error },
      );
    throw error;
  }
}

/** The query with :as_of as its parameter, wherever that is not inside a text, a quoted name or a comment. */
export function bindAsOf(query: string): { text: string; bound: boolean } {
  let bound = false;
  const text = query
    .trim()
    .replace(/;$/, '')
    .replace(
      /'(?:[^']|'')*'|"(?:[^"]|"")*"|--[^\n]*|\/\*[\s\S]*?\*\/|(\$\w*\$)[\s\S]*?\1|(?<!:):as_of\b/g,
      (found) => {
        if (found !== ':as_of') return found;
        bound = true;
        return '$1::timestamptz';
      },
    );
  return { text, bound };
}

const TEXT = new Set([25, 1043, 1042, 19, 2950]); // text, varchar, bpchar, name, uuid
const WHOLE = new Set([20, 21, 23]); // int8, int2, int4
const FLOAT = new Set([701, 700, ...WHOLE]); // float8, float4
const TIMESTAMP = 1114; // without time zone
const ANSWER_TYPES: Record<ColumnType, ReadonlySet<number>> = {
  string: TEXT,
  int64: WHOLE,
  float64: FLOAT,
  bool: new Set([16]),
  timestamp: new Set([1184]),
  'list<string>': new Set([1009, 1015]), // text[], varchar[]
  'list<int64>': new Set([1016, 1007, 1005]),
  'list<float64>': new Set([1022, 1021, 1016, 1007, 1005]),
};
const CAST: Record<ColumnType, string> = {
  string: 'text', int64: 'bigint', float64: 'double precision', bool: 'boolean', timestamp: 'timestamptz',
  'list<string>': 'text[]', 'list<int64>': 'bigint[]', 'list<float64>': 'double precision[]',
}; // biome-ignore format: a table of types

/** What a view's query gives, by name: the join keys, event_timestamp, each feature. */
export function answerColumns(view: SqlView, entity: Entity): Map<string, ColumnType> {
  return new Map<string, ColumnType>([
    ...entity.keys.map(({ name, type }): [string, ColumnType] => [name, type]),
    ['event_timestamp', 'timestamp'],
    ...view.features.map(({ name, type }): [string, ColumnType] => [name, type]),
  ]);
}

/** Each column there is wanted, once, and each wanted one is there with its type. */
export function answerMisfits(
  wanted: ReadonlyMap<string, ColumnType>,
  fields: ReadonlyArray<Pick<pg.FieldDef, 'name' | 'dataTypeID'>>,
): Misfit[] {
  const found = fields.map(({ name }) => name);
  const misfit = (column: string, message: string, fix: string, zoneless = false): Misfit[] => [
    { column, message, fix, zoneless },
  ];
  return [
    ...[...new Set(found)].flatMap((name) => {
      if (!wanted.has(name))
        return misfit(
          name,
          `gives a column "${name}" that is no key and no feature`,
          'leave it out, or declare it',
        );
      return found.indexOf(name) === found.lastIndexOf(name)
        ? []
        : misfit(name, `gives two columns "${name}"`, 'give each column one name');
    }),
    ...[...wanted].flatMap(([name, type]) => {
      const index = found.indexOf(name);
      if (index === -1)
        return misfit(
          name,
          `gives no column "${name}"`,
          `select it, as ${CAST[type]}; it gives ${found.join(', ')}`,
        );
      const { dataTypeID } = fields[index]!;
      if (ANSWER_TYPES[type].has(dataTypeID)) return [];
      return type === 'timestamp' && dataTypeID === TIMESTAMP
        ? misfit(
            name,
            `gives "${name}" as a timestamp without time zone`,
            `say its zone: ${name} at time zone 'UTC'`,
            true,
          )
        : misfit(name, `gives "${name}" as a type that is not ${type}`, `cast it: ${name}::${CAST[type]}`);
    }),
  ];
}
