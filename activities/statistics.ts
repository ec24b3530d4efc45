/**
 * Statistics and expectations of what is written: tallies read and counted, figures and verdicts stored. Whatever is stored again for the
 * same tick, backfill or training set takes the place of what was there. Which of the writers calls what: docs/definitions.md.
 */
import { columnsRead } from '../core/canonical.js';
import { writeJson } from '../core/codec/json.js';
import { FeatureStoreError } from '../core/error.js';
import type { Event, FeatureValue } from '../core/event.js';
import { type Facts, judge, type Verdict } from '../core/expectations.js';
import { encodeSummary, readSummary, type Summary } from '../core/statistics.js';
import { countRepeated, Tally } from '../core/tally.js';
import { formatTimestamp } from '../core/time.js';
import type { StoredVersion } from '../registry/resolve.js';
import { type Pool, type PoolClient, quote } from '../registry/sql.js';
import { rowsTable } from '../registry/tables.js';
import { beat } from './heartbeat.js';
import { type ReadOptions, readEvents } from './offline/archive.js';
import { cadenceOf } from './offline/ticks.js';
import type { Compiled } from './output.js';

/** What was written at once. */
export interface Written {
  versionId: number;
  what: 'tick' | 'backfill' | 'training-set' | 'stream';
  /** The tick as ISO, an id, or partition and sequence. */
  reference: string;
}

export const tickWritten = ({ id }: StoredVersion, tickMs: number): Written => ({
  versionId: id,
  what: 'tick',
  reference: formatTimestamp(tickMs),
});

const FIGURES = [
  'count', 'nulls', 'min', 'max', 'mean', 'deviation', 'p1', 'p5', 'p25', 'p50', 'p75', 'p95', 'p99',
  'distinct_values', 'top', 'top_missed', 'sketch',
]; // biome-ignore format: a list of columns
const TYPES: Record<string, string> = {
  count: 'bigint', nulls: 'bigint', min: 'numeric', max: 'numeric', distinct_values: 'bigint', top: 'jsonb', top_missed: 'bigint',
  sketch: 'bytea',
}; // biome-ignore format: what is no double

export async function saveStatistics(
  db: Pool | PoolClient,
  { versionId, what, reference }: Written,
  summaries: ReadonlyArray<readonly [feature: string, summary: Summary]>,
): Promise<void> {
  const rows = summaries.map(([, summary]) => {
    const { count, nulls, min, max, mean, deviation, quantiles, distinct, top, topMissed } =
      readSummary(summary);
    const ends = [min, max].map((end) => (end === null ? null : String(end)));
    const sketch = Buffer.from(encodeSummary(summary));
    return [count, nulls, ...ends, mean, deviation, ...(quantiles ?? Array(7).fill(null)), distinct, top && writeJson(top), topMissed, sketch]; // biome-ignore format: as FIGURES
  });
  const arrays = FIGURES.map((name, i) => `$${i + 5}::${TYPES[name] ?? 'double precision'}[]`);
  await db.query(
    `insert into feature_statistics (version_id, what, reference, feature, ${FIGURES.join(', ')})
     select $1, $2, $3, * from unnest($4::text[], ${arrays.join(', ')})
     on conflict (version_id, what, reference, feature) do update
        set at = excluded.at, ${FIGURES.map((name) => `${name} = excluded.${name}`).join(', ')}`,
    [
      versionId,
      what,
      reference,
      summaries.map(([feature]) => feature),
      ...FIGURES.map((_, i) => rows.map((row) => row[i])),
    ],
  );
}

export async function saveVerdicts(
  db: Pool | PoolClient,
  { versionId, what, reference }: Written,
  verdicts: readonly Verdict[],
): Promise<void> {
  if (verdicts.length === 0) return;
  const of = <K extends keyof Verdict>(key: K): Array<Verdict[K]> => verdicts.map((each) => each[key]);
  await db.query(
    `insert into expectation_result (version_id, what, reference, expectation, feature, severity, passed, observed, allowed, said)
     select $1, $2, $3, * from unnest($4::text[], $5::text[], $6::text[], $7::boolean[], $8::double precision[], $9::double precision[], $10::text[])
     on conflict (version_id, what, reference, expectation, severity) do update
        set at = excluded.at, feature = excluded.feature, passed = excluded.passed, observed = excluded.observed,
            allowed = excluded.allowed, said = excluded.said`,
    [versionId, what, reference, of('expectation'), of('feature'), of('severity'), of('passed'), of('observed'), of('allowed'), of('said')],
  ); // biome-ignore format: one list
}

/** What was counted of something written, and what came of it. */
export interface Judged {
  tally: Tally;
  verdicts: Verdict[];
}

export async function saveJudged(
  db: Pool | PoolClient,
  written: Written,
  { tally, verdicts }: Judged,
): Promise<void> {
  await saveStatistics(db, written, tally.summaries);
  await saveVerdicts(db, written, verdicts);
}

/** Those that were not kept, as a line each. */
export const warningsOf = (verdicts: readonly Verdict[]): string[] =>
  verdicts.filter(({ passed }) => !passed).map(({ expectation, said }) => `${expectation}: ${said}`);

/** What must not be published: FS_EXPECTATION_FAILED; null where nothing blocks. */
export function blockedBy(
  { view, version }: StoredVersion,
  what: string,
  verdicts: readonly Verdict[],
): FeatureStoreError | null {
  const blocking = verdicts.filter(({ passed, severity }) => !passed && severity === 'block');
  const [first] = blocking;
  if (first === undefined) return null;
  return new FeatureStoreError(
    'FS_EXPECTATION_FAILED',
    `${what} of ${view.name}@${version} is not published: ${warningsOf(blocking).join('; ')}`,
    {
      fix: 'mend the data at its source, or change the expectation in the definitions and apply them; then run it again',
      view: view.name,
      version,
      expectation: first.expectation,
      ...(first.feature !== null && { feature: first.feature }),
      observed: first.observed,
      allowed: first.allowed,
    },
  );
}

/** Whether something of the view can be kept from being published. */
export const mayBlock = ({ view }: StoredVersion): boolean =>
  view.expectations?.some(({ severity }) => severity === 'block') ?? false;

export const expects = ({ view }: StoredVersion, type: 'unique'): boolean =>
  view.expectations?.some((each) => each.type === type) ?? false;

const FETCH_ROWS = 5_000;

/**
 * The rows of the ticks (after, until] from the table itself, or of each entity the newest of them. One that says the entity has no events
 * is no value.
 */
export async function tallyRows(
  client: PoolClient,
  version: StoredVersion,
  { after, until, newest }: { after: number; until: number; newest: boolean },
): Promise<Tally> {
  const tally = new Tally(version.view);
  const columns = ['event_ms', 'tick_ms', ...version.view.features.map(({ name }) => quote(name))].join(', ');
  await client.query(
    `declare written no scroll cursor for
     select ${newest ? 'distinct on (key) ' : ''}${columns} from ${rowsTable(version.id)}
      where tick_ms > ${after} and tick_ms <= ${until} ${newest ? 'order by key, tick_ms desc' : ''}`,
  );
  for (;;) {
    const { rows } = await client.query<[number | null, number, ...FeatureValue[]]>({
      text: `fetch ${FETCH_ROWS} from written`,
      rowMode: 'array',
    });
    for (const [eventMs, tick, ...values] of rows)
      if (eventMs !== null) tally.add(values, eventMs, tick === until);
    beat();
    if (rows.length < FETCH_ROWS) break;
  }
  await client.query('close written');
  return tally;
}

/** What came of a view's expectations at a tick. They are told by the tick, not by the clock: whoever asks again is told the same. */
export async function judgeTick(
  db: Pool | PoolClient,
  version: StoredVersion,
  tally: Tally,
  tickMs: number,
): Promise<Judged> {
  if (version.view.expectations === undefined) return { tally, verdicts: [] };
  return { tally, verdicts: judge(version.view, tally, await readFacts(db, version, tally, tickMs)) };
}

async function readFacts(
  db: Pool | PoolClient,
  version: StoredVersion,
  tally: Tally,
  tickMs: number,
): Promise<Facts> {
  const { rows } = await db.query<{ newest: number | null }>(
    'select last_event_ms as newest from view_progress where version_id = $1',
    [version.id],
  );
  const known = [rows[0]?.newest ?? null, tally.newestMs].filter((at) => at !== null);
  return {
    nowMs: tickMs,
    newestMs: known.length === 0 ? null : Math.max(...known),
    rowsBefore: await findRowsBefore(db, version, tickMs),
  };
}

/** Of the newest tick before of which they were kept; null: there is none, or its span was another. */
async function findRowsBefore(
  db: Pool | PoolClient,
  version: StoredVersion,
  tickMs: number,
): Promise<number | null> {
  const { rows } = await db.query<{ cadenceMs: number; rows: number }>(
    `select cadence_ms as "cadenceMs", rows from tick_rows where version_id = $1 and tick_ms < $2
      order by tick_ms desc limit 1`,
    [version.id, tickMs],
  );
  const [before] = rows;
  return before?.cadenceMs === cadenceOf(version).cadenceMs ? before.rows : null;
}

/** What later ticks are compared with: of one that is not kept from being published. */
export async function saveTickRows(
  client: PoolClient,
  version: StoredVersion,
  tickMs: number,
  rows: number,
): Promise<void> {
  await client.query(
    `insert into tick_rows (version_id, tick_ms, cadence_ms, rows) values ($1, $2, $3, $4)
     on conflict (version_id, tick_ms) do update set cadence_ms = excluded.cadence_ms, rows = excluded.rows`,
    [version.id, tickMs, cadenceOf(version).cadenceMs, rows],
  );
}

/** Null: they were not kept. */
export async function findTickRows(
  client: PoolClient,
  { id }: StoredVersion,
  tickMs: number,
): Promise<number | null> {
  const { rows } = await client.query<{ rows: number }>(
    'select rows from tick_rows where version_id = $1 and tick_ms = $2',
    [id, tickMs],
  );
  return rows[0]?.rows ?? null;
}

const ENTITIES_AT_ONCE = 500;

/**
 * Repeated events (core/tally.ts) among those of a range, in the archive up to its sequence. It reads the whole archive of each entity.
 * @param isNew those that count, of all of an entity @param sign called for each: what tells that the work lives
 */
export async function readRepeated(
  pool: Pool,
  { version, compiled }: Compiled,
  range: ReadOptions,
  isNew: (event: Event) => boolean,
  sign: () => void = () => {},
): Promise<number> {
  const of = { source: version.source, entity: version.entity, keyColumns: version.view.key };
  const columns = columnsRead(version.view, version.source);
  const hashes = new Set<bigint>();
  for await (const { keyHash, events } of readEvents(pool, of, { ...range, columns })) {
    if (events.some((event) => compiled.accepts(event))) hashes.add(keyHash);
    sign();
  }
  const all = [...hashes];
  const { sequence, signal } = range;
  let repeated = 0;
  for (let i = 0; i < all.length; i += ENTITIES_AT_ONCE)
    for await (const { events } of readEvents(pool, of, {
      sequence,
      columns,
      hashes: all.slice(i, i + ENTITIES_AT_ONCE),
      ...(signal && { signal }),
    })) {
      repeated += countRepeated(compiled, events, isNew);
      sign();
    }
  return repeated;
}
