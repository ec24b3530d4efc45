/**
 * One entity of one stored view against the oracle, on the three paths: its record in Redis, its rows in Postgres, what training
 * sets would say of it. The oracle reads the archived events itself; nothing of the engine decides what is right.
 */
import { NEVER } from '../core/aggregate/part.js';
import { equalBytes } from '../core/codec/bytes.js';
import { decodeMap } from '../core/codec/json.js';
import { encodeKey, onlineKey } from '../core/codec/key.js';
import { type CompiledView, compileView, isMoving } from '../core/compile.js';
import type { AggregationView, Entity, SqlView } from '../core/definition.js';
import { FeatureStoreError } from '../core/error.js';
import { type Event, type FeatureValue, sameValue, type Value } from '../core/event.js';
import {
  decodeHeader,
  MIN_STEPS,
  type Reading,
  type RecordHeader,
  readRecord,
  readSqlRecord,
  recordSteps,
} from '../core/record.js';
import { advance, encodeValues, isBlank, rebuild, type State } from '../core/state.js';
import { ticksOf } from '../core/sweep.js';
import { ceilTo, floorTo, formatTimestamp, HOUR, MAX_TIMESTAMP } from '../core/time.js';
import { isMap } from '../core/value-map.js';
import { judge } from '../core/vector.js';
import { type Answer, answer, answerSql, type Question, type SqlRow } from '../oracle/oracle.js';
import { isRead } from '../registry/online.js';
import type { StoredVersion } from '../registry/resolve.js';
import { quote } from '../registry/sql.js';
import { rowsTable } from '../registry/tables.js';
import { readEach } from './answers.js';
import type { Deps } from './deps.js';
import {
  choose,
  type Difference,
  type Disagreement,
  disagreement,
  type Findings,
  findDifferingEvent,
  type Path,
  seeded,
  shown,
  toldOf,
} from './findings.js';
import { readEntities } from './offline/archive.js';
import type { LabelTimes } from './offline/dataframe.js';
import type { Published } from './offline/published.js';
import type { VersionProgress } from './offline/ticks.js';
import { call } from './online/client.js';
import { type AggregationVersion, nameOf, recordOf } from './output.js';
import type { SqlVersion } from './sql-view.js';
import { readSqlRows } from './verify-file.js';

/** What is fixed for the whole verification of a view. */
export interface Check<V extends StoredVersion = StoredVersion> {
  deps: Deps;
  version: V;
  /** Moments per entity and path, at least. */
  moments: number;
  seed: number;
  nowMs: number;
  /** Events up to this one are looked at. */
  sequence: number;
  /** How far the version was before the bound was fixed. */
  progress: VersionProgress;
  /** Somebody reads it, since before the verification: all its records are online. */
  isRead: boolean;
  /** Of a streaming view: every event up to this sequence was in its online records. */
  online: number;
  /** What is a multiple of this was a tick whenever the version had any. */
  cadenceMs: number;
  published: Published;
  findings: Findings;
}

/** Entities by their join key values, on every path. */
export async function checkEntities(
  check: Check,
  entities: readonly Value[][],
  turn: () => Promise<void> | undefined,
): Promise<void> {
  // Of two entities one is asked strictly.
  const halves = [false, true].map((strict) => new TrainingHalf(check.version.entity, strict));
  const archived =
    check.version.kind === 'aggregation'
      ? await readEventsOf(check as Check<AggregationVersion>, entities)
      : new Map<string, Event[]>();
  const rowsOfEach =
    check.version.kind === 'sql'
      ? await readSqlRows(check.deps, check.version as SqlVersion, entities, check.published)
      : new Map<string, SqlRow[]>();
  for (const [index, parts] of entities.entries()) {
    const name = nameOf(encodeKey(check.version.entity, parts));
    const half = halves[index % 2]!;
    if (check.version.kind === 'aggregation') {
      const one = check as Check<AggregationVersion>;
      const events = archived.get(name) ?? [];
      if (check.isRead) await checkOnline(one, parts, events);
      await checkRows(one, parts, events);
      half.add({ parts, events, rows: [] }, labelTimes(one, events));
    } else {
      const one = check as Check<SqlVersion>;
      const rows = rowsOfEach.get(name) ?? [];
      if (check.isRead) await checkSqlOnline(one, parts, rows);
      half.add({ parts, events: [], rows }, sqlLabelTimes(one, rows));
    }
    await turn();
  }
  for (const half of halves) await checkTraining(check, half, turn);
}

/** By entity key as text, the events up to the bound. */
async function readEventsOf(
  { deps, version, sequence }: Check<AggregationVersion>,
  entities: readonly Value[][],
): Promise<Map<string, Event[]>> {
  const { source, entity, view } = version;
  const of = { source, entity, keyColumns: view.key };
  const found = new Map<string, Event[]>();
  for await (const { key, events } of readEntities(deps.pool, of, entities, { sequence }))
    found.set(nameOf(key), events);
  return found;
}

const namesOf = (view: { features: ReadonlyArray<{ name: string }> }): string[] =>
  view.features.map(({ name }) => name);

function entityOf(entity: Entity, parts: readonly Value[]): Record<string, unknown> {
  return Object.fromEntries(entity.keys.map(({ name }, index) => [name, shown(parts[index]!)]));
}

function teller(
  { version }: Check,
  parts: readonly Value[],
): (moment: number, where: string) => () => Omit<Difference, keyof Disagreement | 'path' | 'event'> {
  return (moment, where) => () => ({
    view: version.view.name,
    version: version.version,
    entity: entityOf(version.entity, parts),
    moment: formatTimestamp(moment),
    where,
  });
}

// ---------------------------------------------------------------- online records

async function readOnline({ deps, version }: Check, parts: readonly Value[]): Promise<Buffer | null> {
  const key = onlineKey(deps.config.environment, version.entity.name, encodeKey(version.entity, parts));
  return call(deps.redis.hgetBuffer(key, String(version.id)));
}

/** What nobody reads any more was removed meanwhile. */
const isStillRead = ({ deps, version }: Check): Promise<boolean> => isRead(deps.pool, version.id);

/** The record, or the code of the error that reading it gives: that is a difference too. */
function attempt<T>(work: () => T): T | { error: string } {
  try {
    return work();
  } catch (error) {
    if (error instanceof FeatureStoreError) return { error: error.code };
    return { error: error instanceof Error ? error.message : String(error) };
  }
}

const isError = (value: object | null): value is { error: string } => value !== null && 'error' in value;

async function checkOnline(
  check: Check<AggregationVersion>,
  parts: readonly Value[],
  archived: readonly Event[],
): Promise<void> {
  const { version, findings, progress } = check;
  const { view, source } = version;
  const compiled = compileView(view, source);
  const features = namesOf(view);
  const tell = teller(check, parts);
  const batch = view.mode.type === 'batch';
  const bytes = await readOnline(check, parts);
  let events = archived;
  // What must be in the record at least; more may have come meanwhile.
  const due: Question | null = batch
    ? progress.lastTickMs === null
      ? null
      : { type: 'tick', tick: progress.lastTickMs, at: progress.lastTickMs }
    : { type: 'record', at: MAX_TIMESTAMP, sequence: check.online };
  const least = due && answer(view, source, events, due);
  if (bytes === null) {
    const missing = least !== null && least.status !== 'NOT_FOUND' && (await isStillRead(check));
    findings.add(
      'online',
      features,
      missing
        ? { feature: null, found: 'no record', expected: `a record of ${least.eventCount} events` }
        : null,
      tell(check.nowMs, 'the record is missing'),
      () => describeFirst(least?.included),
    );
    return;
  }
  const header = attempt(() => decodeHeader(bytes));
  if (isError(header)) {
    findings.add(
      'online',
      features,
      { feature: null, found: header.error, expected: 'a record' },
      tell(check.nowMs, 'the record cannot be read'),
    );
    return;
  }
  if (!batch && least !== null) {
    const behind = [...least.included, ...least.retractions].filter(
      (event) => event.sequence > header.sequence,
    );
    findings.add(
      'online',
      [],
      behind.length === 0
        ? null
        : {
            feature: null,
            found: `a record up to sequence ${header.sequence}`,
            expected: `one with ${behind.length} more events, up to sequence ${check.online}`,
          },
      tell(header.asOf, 'the record is behind what was published'),
      () => describeFirst(behind),
    );
  }
  // Written since the verification began: it may hold events that were not looked at yet.
  if (header.sequence > check.sequence || (batch && header.asOf > (progress.lastTickMs ?? 0)))
    events = [
      ...(await readEventsOf({ ...check, sequence: Number.MAX_SAFE_INTEGER }, [[...parts]])).values(),
    ].flat();
  // A tick may have been written, and is not published yet: then the record is of that one.
  const tick = Math.max(progress.lastTickMs ?? header.asOf, header.asOf);
  const next = seeded(check.seed, check.nowMs, events.length);
  const steps = batch ? [] : attempt(() => recordSteps(compiled, bytes));
  // A record is cut only behind as many steps as it must have.
  const cut = isError(steps) || steps.length < MIN_STEPS ? null : header.refreshAt;
  const moments = batch ? batchMoments(view, header, tick, check) : streamMoments(header, steps, check, next);
  for (const at of moments) {
    const reading = attempt(() => readRecord(compiled, bytes, batch ? tick : at));
    if (isError(reading)) {
      findings.add(
        'online',
        features,
        { feature: null, found: reading.error, expected: 'a record' },
        tell(at, 'the record cannot be read'),
      );
      return;
    }
    const question: Question = batch
      ? { type: 'tick', tick, at }
      : { type: 'record', at, sequence: header.sequence };
    compareAnswer(
      check,
      'online',
      events,
      question,
      judge(view, reading, at),
      tell(at, recordName(header, batch)),
      cut,
    );
  }
  const rebuilt = recordAt(compiled, events, header);
  findings.add(
    'online',
    [],
    rebuilt && equalBytes(rebuilt, bytes)
      ? null
      : {
          feature: null,
          found: bytes.toString('hex'),
          expected: rebuilt?.toString('hex') ?? 'no record',
        },
    tell(header.asOf, `${recordName(header, batch)}, its bytes`),
  );
}

/** What the engine makes of the same events as of the same moment: the same bytes, whichever way the record came about. Null: none. */
function recordAt(
  compiled: CompiledView,
  events: readonly Event[],
  { sequence, asOf }: RecordHeader,
): Buffer | null {
  const state =
    compiled.view.mode.type === 'batch'
      ? stateAtTick(compiled, events, asOf)
      : stateOf(compiled, events.filter((event) => event.sequence <= sequence), asOf); // biome-ignore format: short
  return state && recordOf(compiled, state);
}

const recordName = (header: { sequence: number; asOf: number }, batch: boolean): string =>
  `record as of ${formatTimestamp(header.asOf)}${batch ? '' : `, sequence ${header.sequence}`}`;

/** As-of, now, a millisecond before, at and after coming steps (all, or a seeded choice of `moments` of them), and where it is cut. */
function streamMoments(
  header: { asOf: number; refreshAt: number | null },
  steps: number[] | { error: string },
  { nowMs, moments }: Check,
  next: () => number,
): number[] {
  const chosen = isError(steps) ? [] : steps.length <= moments ? steps : choose(steps, moments, next);
  const all = [
    header.asOf,
    nowMs,
    ...chosen.flatMap((step) => [step - 1, step, step + 1]),
    ...(header.refreshAt === null ? [] : [header.refreshAt - 1, header.refreshAt]),
    nowMs + Math.floor(next() * 24 * HOUR),
  ];
  return [...new Set(all.map((at) => Math.max(at, header.asOf)))];
}

/** A tick's values stand until the next one; only ttl and minAge move the status: their edges, and now. */
function batchMoments(
  view: AggregationView,
  header: { eventTimestamp: number; firstEventTimestamp: number; eventCount: number },
  tick: number,
  { nowMs }: Check,
): number[] {
  if (header.eventCount === 0) return [...new Set([tick, nowMs].map((at) => Math.max(at, tick)))];
  const ttl =
    view.ttlMs === null ? [] : [header.eventTimestamp + view.ttlMs, header.eventTimestamp + view.ttlMs + 1];
  const age =
    view.minAgeMs === 0
      ? []
      : [header.firstEventTimestamp + view.minAgeMs - 1, header.firstEventTimestamp + view.minAgeMs];
  return [...new Set([tick, tick + 1, nowMs, ...ttl, ...age].map((at) => Math.max(at, tick)))];
}

/**
 * A judged answer against the oracle's. Behind the last step of a cut record there is nothing to compare but that it says so.
 * @param refreshAt from when on it may; null: never
 */
function compareAnswer(
  check: Check<AggregationVersion>,
  path: Path,
  events: readonly Event[],
  question: Question,
  judged: ReturnType<typeof judge>,
  tell: ReturnType<ReturnType<typeof teller>>,
  refreshAt: number | null = null,
): void {
  const { view, source } = check.version;
  const features = namesOf(view);
  const expected = answer(view, source, events, question);
  const found = toldOf(view.features, judged);
  if (found.status === 'HORIZON_PASSED') {
    const same =
      refreshAt !== null &&
      question.at >= refreshAt &&
      expected.status === 'PRESENT' &&
      found.eventTimestamp === expected.eventTimestamp;
    check.findings.add(
      path,
      [],
      same ? null : { feature: null, found: found.status, expected: expected.status },
      tell,
    );
    return;
  }
  check.findings.add(path, features, disagreement(features, found, expected), tell, () =>
    findDifferingEvent(
      view,
      source,
      events,
      question,
      (other) => disagreement(features, found, other) === null,
    ),
  );
}

function describeFirst(events: readonly Event[] | undefined): Difference['event'] {
  const first = events?.[0];
  if (first === undefined) return null;
  return {
    id: first.id,
    timestamp: formatTimestamp(first.timestamp),
    arrivedAt: formatTimestamp(first.arrivedAt),
    sequence: first.sequence,
    found: 'leaves it out',
  };
}

// ---------------------------------------------------------------- tick rows

interface TickRow {
  tick: number;
  eventMs: number | null;
  values: FeatureValue[];
  record: Buffer | null;
}

async function rowsOf({ deps, version, progress }: Check, parts: readonly Value[]): Promise<TickRow[]> {
  // As text a map keeps its whole numbers exact.
  const features = version.view.features
    .map(({ name, type }) => (isMap(type) ? `${quote(name)}::text` : quote(name)))
    .join(', ');
  const { rows } = await deps.pool.query<[number, number | null, Buffer | null, ...FeatureValue[]]>({
    rowMode: 'array',
    text: `select tick_ms, event_ms, record, ${features} from ${rowsTable(version.id)}
            where key = $1 and tick_ms <= $2 order by tick_ms`,
    values: [Buffer.from(encodeKey(version.entity, parts)), progress.lastTickMs],
  });
  const exact = (value: FeatureValue, index: number): FeatureValue => {
    const { type } = version.view.features[index]!;
    return isMap(type) && value !== null ? decodeMap(type, value as string) : value;
  };
  return rows.map(([tick, eventMs, record, ...values]) => ({
    tick,
    eventMs,
    record,
    values: values.map(exact),
  }));
}

/** Rows hold what is stored: neither cold start nor age is applied. */
const unjudged = (view: AggregationView): AggregationView => ({
  ...view,
  ttlMs: null,
  minAgeMs: 0,
  minEvents: 0,
});

async function checkRows(
  check: Check<AggregationVersion>,
  parts: readonly Value[],
  events: readonly Event[],
): Promise<void> {
  const { version, progress, moments, findings, cadenceMs } = check;
  const { firstTickMs, lastTickMs } = progress;
  const { source } = version;
  const view = unjudged(version.view);
  const compiled = compileView(view, source);
  if (firstTickMs === null || lastTickMs === null) return;
  const first = ceilTo(firstTickMs, cadenceMs);
  const ticks = (floorTo(lastTickMs, cadenceMs) - first) / cadenceMs + 1;
  const rows = await rowsOf(check, parts);
  const tell = teller(check, parts);
  const features = namesOf(view);
  const moving = new Set(
    view.features.filter(({ aggregation }) => isMoving(aggregation)).map(({ name }) => name),
  );
  const next = seeded(check.seed, rows.length, events.length);
  const anywhere = Array.from(
    { length: ticks > 0 ? moments : 0 },
    () => first + Math.floor(next() * ticks) * cadenceMs,
  );
  const written = choose(
    rows.map(({ tick }) => tick),
    moments,
    next,
  );
  const beside = written.map((tick) => floorTo(tick - 1, cadenceMs)).filter((tick) => tick >= first);
  const ask = (tick: number): Answer => answer(view, source, events, { type: 'tick', tick, at: tick });
  for (const tick of new Set([...anywhere, ...written, ...beside])) {
    const expected = ask(tick);
    const row = rows.findLast((each) => each.tick <= tick);
    const question: Question = { type: 'tick', tick, at: tick };
    if (row === undefined || row.eventMs === null) {
      const wrong = expected.status !== 'NOT_FOUND';
      findings.add(
        'rows',
        features,
        wrong ? { feature: null, found: 'no row', expected: `a row of ${expected.eventCount} events` } : null,
        tell(tick, 'no row at or before the tick'),
        () => describeFirst(expected.included),
      );
      continue;
    }
    const where = `row of tick ${formatTimestamp(row.tick)}`;
    // What moves by itself stands in the row as it was at the row's own tick.
    const compared = row.tick === tick ? features : features.filter((name) => !moving.has(name));
    const found = {
      status: 'PRESENT',
      eventTimestamp: row.eventMs,
      values: Object.fromEntries(features.map((name, index) => [name, row.values[index]!])),
      statuses: Object.fromEntries(
        features.map((name, index) => [name, row.values[index] === null ? 'NULL_VALUE' : 'PRESENT']),
      ),
    };
    findings.add('rows', compared, disagreement(compared, found, expected), tell(tick, where), () =>
      findDifferingEvent(
        view,
        source,
        events,
        question,
        (other) => disagreement(compared, found, other) === null,
      ),
    );
    if (row.tick !== tick) continue;
    const state = stateAtTick(compiled, events, tick);
    const stored = state && encodeValues(compiled, state);
    findings.add(
      'rows',
      [],
      stored && row.record && equalBytes(stored, row.record)
        ? null
        : {
            feature: null,
            found: row.record?.toString('hex') ?? null,
            expected: stored ? Buffer.from(stored).toString('hex') : 'no row',
          },
      tell(tick, `${where}, its stored bytes`),
    );
  }
}

/** The engine's state of all that a tick saw, whatever the cadence; null: it saw nothing. */
function stateAtTick(compiled: CompiledView, events: readonly Event[], tick: number): State | null {
  const { settleMs } = ticksOf(compiled.view);
  const seen = events.filter(({ timestamp, arrivedAt }) => timestamp <= tick && arrivedAt <= tick + settleMs);
  return stateOf(compiled, seen, tick);
}

function stateOf(compiled: CompiledView, events: readonly Event[], asOf: number): State | null {
  const state = rebuild(compiled, events);
  if (isBlank(state)) return null;
  advance(compiled, state, asOf);
  return state;
}

// ---------------------------------------------------------------- training

/** An entity, and what the oracle needs of it. */
interface Known {
  parts: Value[];
  events: Event[];
  rows: SqlRow[];
}

/** Labels as a training set has them, without a dataframe. */
class TrainingHalf implements LabelTimes {
  readonly byEntity: LabelTimes['byEntity'] = new Map();
  readonly atMs: number[] = [];
  readonly known: Known[] = [];

  constructor(
    readonly entity: Entity,
    readonly strict: boolean,
  ) {}

  add(known: Known, times: readonly number[]): void {
    const { parts } = known;
    const key = encodeKey(this.entity, parts);
    this.byEntity.set(nameOf(key), { parts, key, rows: times.map((at) => this.atMs.push(at) - 1) });
    this.known.push(known);
  }
}

/** At events and arrivals, where sessions of theirs end and where they leave windows, on ticks; a millisecond beside; and anywhere. Never after now. */
function labelTimes(
  { version, moments, seed, nowMs, published }: Check<AggregationVersion>,
  events: readonly Event[],
): number[] {
  const next = seeded(seed, events.length, events[0]?.timestamp ?? 0);
  const pick = <T>(list: readonly T[]): T => list[Math.floor(next() * list.length)]!;
  const first = events[0]?.timestamp ?? nowMs - 24 * HOUR;
  const compiled = compileView(version.view, version.source);
  const { features, sessions } = version.view;
  const gaps = features.flatMap(({ window }) => (window.type === 'session' ? [window.gapMs] : []));
  if (sessions) gaps.push(sessions.gapMs);
  const leaving = [
    ...compiled.leavings
      .filter((leaves) => leaves(first) < NEVER)
      .map((leaves) => (timestamp: number) => leaves(timestamp + (sessions?.gapMs ?? 0))),
    ...gaps.map((gapMs) => (timestamp: number) => timestamp + gapMs),
  ];
  const anywhere = (): number => Math.floor(first + next() * (nowMs - first));
  const edges: Array<() => number> = [anywhere];
  if (events.length > 0) {
    edges.push(
      () => pick(events).timestamp,
      () => pick(events).arrivedAt,
    );
    if (leaving.length > 0) edges.push(() => pick(leaving)(pick(events).timestamp));
  }
  if (published.ticks.length > 0) edges.push(() => pick(published.ticks).publishedAt);
  const from = Math.floor(next() * edges.length);
  return Array.from({ length: Math.max(moments, 3) }, (_, i) =>
    Math.min(nowMs, edges[(from + i) % edges.length]!() + Math.floor(next() * 3) - 1),
  );
}

async function checkTraining(
  check: Check,
  half: TrainingHalf,
  turn: () => Promise<void> | undefined,
): Promise<void> {
  const { deps, version, published, sequence, findings } = check;
  const { strict } = half;
  if (version.kind === 'sql' && published.ticks.length === 0) return;
  for (const mode of ['known-then', 'event-time'] as const) {
    const readings = new Map<number, Reading | null>();
    const asked = [{ version, published }];
    await readEach(deps.pool, asked, half, { mode, strict, sequence }, (_, row, reading) => {
      readings.set(row, reading);
    });
    for (const { parts, events, rows } of half.known) {
      const tell = teller(check, parts);
      for (const row of half.byEntity.get(nameOf(encodeKey(version.entity, parts)))!.rows) {
        const at = half.atMs[row]!;
        const judged = judge(version.view, readings.get(row) ?? null, strict ? at - 1 : at);
        const told = tell(at, `${mode}${strict ? ', strict' : ''}`);
        if (version.kind === 'aggregation') {
          const ticks = published.before(strict ? at - 1 : at);
          const question: Question = { type: 'training', at, mode, strict, published: ticks };
          compareAnswer(check as Check<AggregationVersion>, 'training', events, question, judged, told);
          continue;
        }
        const features = namesOf(version.view);
        const expected = answerSql(version.view as SqlView, rows, { at, mode, strict });
        const found = toldOf(version.view.features, judged);
        findings.add('training', features, disagreement(features, found, expected), told);
      }
      await turn();
    }
  }
}

// ---------------------------------------------------------------- sql views

function sqlLabelTimes(
  { moments, seed, nowMs, published, version }: Check<SqlVersion>,
  rows: readonly SqlRow[],
): number[] {
  const next = seeded(seed, rows.length, rows[0]?.tick ?? 0);
  const first = (published.ticks[0]?.tick ?? nowMs) - version.view.cadenceMs;
  return Array.from({ length: Math.max(3, moments) }, (_, i) => {
    const row = rows[Math.floor(next() * rows.length)];
    const anywhere = first + Math.floor(next() * (nowMs - first));
    const at = [anywhere, row?.tick, row?.publishedAt][i % 3] ?? anywhere;
    return Math.min(nowMs, at + Math.floor(next() * 3) - 1);
  });
}

/** The record against the newest published row, or that of the tick it says, now and at the edges of its ttl. */
async function checkSqlOnline(
  check: Check<SqlVersion>,
  parts: readonly Value[],
  rows: readonly SqlRow[],
): Promise<void> {
  const { version, nowMs, findings } = check;
  const { view } = version;
  const features = namesOf(view);
  const tell = teller(check, parts);
  const bytes = await readOnline(check, parts);
  const reading = bytes && attempt(() => readSqlRecord(view, bytes));
  // Of a tick that is being published: its rows are in Postgres before the record is in Redis.
  const ahead = reading !== null && !isError(reading) && reading.asOf > (rows.at(-1)?.tick ?? -Infinity);
  if (ahead) {
    const one = await readSqlRows(check.deps, version, [[...parts]], null);
    rows = [...one.values()].flat().filter(({ tick }) => tick <= reading.asOf);
  }
  const newest = rows.at(-1);
  if (bytes === null || reading === null || newest === undefined) {
    const wrong =
      (bytes === null) !== (newest === undefined) && (bytes !== null || (await isStillRead(check)));
    findings.add(
      'online',
      features,
      wrong
        ? {
            feature: null,
            found: bytes === null ? 'no record' : 'a record',
            expected: newest ? `the row of tick ${formatTimestamp(newest.tick)}` : 'none',
          }
        : null,
      tell(nowMs, 'record and rows'),
    );
    return;
  }
  if (isError(reading)) {
    findings.add(
      'online',
      features,
      { feature: null, found: reading.error, expected: 'a record' },
      tell(nowMs, 'the record cannot be read'),
    );
    return;
  }
  const ttl =
    view.ttlMs === null ? [] : [newest.eventTimestamp + view.ttlMs, newest.eventTimestamp + view.ttlMs + 1];
  for (const at of new Set([newest.tick, nowMs, ...ttl].filter((moment) => moment >= newest.tick))) {
    const expected = answerSql(view, rows, {
      at: Math.max(at, newest.tick),
      mode: 'event-time',
      strict: false,
    });
    const found = toldOf(view.features, judge(view, reading, at));
    const foreign = reading.asOf > newest.tick; // there is no row of its tick
    findings.add(
      'online',
      features,
      foreign
        ? {
            feature: null,
            found: formatTimestamp(reading.asOf),
            expected: `the row of tick ${formatTimestamp(newest.tick)}`,
          }
        : disagreement(features, found, expected),
      tell(at, `record of tick ${formatTimestamp(reading.asOf)}`),
    );
  }
}

/**
 * Rows against the query, asked again at some ticks. An entity that the query no longer gives keeps its last row.
 * @param query the answers at a tick, by entity
 */
export async function checkSqlTicks(
  check: Check<SqlVersion>,
  entities: readonly Value[][],
  query: (tickMs: number) => Promise<Map<string, { eventMs: number; values: FeatureValue[] }>>,
): Promise<void> {
  const { version, published, moments, seed, findings } = check;
  const { view } = version;
  const features = namesOf(view);
  const rowsOfEach = await readSqlRows(check.deps, version, entities, published);
  for (const { tick } of choose(published.ticks, moments, seeded(seed, published.ticks.length))) {
    const answers = await query(tick);
    for (const parts of entities) {
      const tell = teller(check, parts);
      const name = nameOf(encodeKey(version.entity, parts));
      const expected = answers.get(name);
      const row = rowsOfEach.get(name)?.findLast((each) => each.tick <= tick);
      if (expected === undefined) {
        if (row === undefined) findings.add('rows', features, null, tell(tick, ''));
        continue;
      }
      const wrong = view.features.find(
        ({ name }, i) => !row || !sameValue(row.values[name]!, expected.values[i]!),
      );
      const found = row && wrong ? shown(row.values[wrong.name]!) : 'no row';
      const late = row && row.eventTimestamp !== expected.eventMs;
      findings.add(
        'rows',
        features,
        wrong
          ? { feature: wrong.name, found, expected: shown(expected.values[view.features.indexOf(wrong)]!) }
          : late
            ? {
                feature: null,
                found: formatTimestamp(row.eventTimestamp),
                expected: formatTimestamp(expected.eventMs),
              }
            : null,
        tell(
          tick,
          row
            ? `row of tick ${formatTimestamp(row.tick)}; the query was asked again`
            : 'the query was asked again',
        ),
      );
    }
  }
}
