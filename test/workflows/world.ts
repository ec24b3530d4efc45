/**
 * A small seeded world for the workflows that compute values: one source with late, simultaneous and odd events, three views over
 * it, and the check of everything stored against the oracle.
 */
import { expect } from 'vitest';
import {
  appendEvents,
  lockArchiveShared,
  nextSequence,
  type OneEntity,
  readEvents,
} from '../../activities/offline/archive.js';
import { onlineKey } from '../../core/codec/key.js';
import { type CompiledView, compileView, isMoving } from '../../core/compile.js';
import type {
  AggregationFeature,
  AggregationView,
  Definitions,
  Expression,
  Source,
  Window,
} from '../../core/definition.js';
import { columnNames, type Event, type FeatureValue } from '../../core/event.js';
import { decodeHeader, readRecord, recordSteps } from '../../core/record.js';
import { progressKey } from '../../core/serving-plan.js';
import { decodeState, nextStep, readState } from '../../core/state.js';
import { ticksOf } from '../../core/sweep.js';
import { DAY, floorTo, HOUR, MAX_TIMESTAMP, MINUTE } from '../../core/time.js';
import { answer, type Question } from '../../oracle/oracle.js';
import { resolveView } from '../../registry/resolve.js';
import { quote, transaction } from '../../registry/sql.js';
import { servicesOf } from './definitions.js';
import type { TestEnvironment } from './environment.js';

export const visits: Source = {
  name: 'visits',
  description: 'what users do in a made-up shop',
  owner: 'shop',
  tags: [],
  origin: 'made up for tests',
  kind: 'append',
  input: { type: 'file', format: 'csv' },
  columns: {
    visit_id: { type: 'string', nullable: false },
    user_id: { type: 'string', nullable: true },
    store: { type: 'int64', nullable: true },
    kind: { type: 'string', nullable: false },
    item: { type: 'string', nullable: true },
    cents: { type: 'int64', nullable: true },
    score: { type: 'float64', nullable: true },
    ref: { type: 'int64', nullable: true },
    taste: { type: 'list<float64>', nullable: true, length: 3 },
    marks: { type: 'list<string>', nullable: true },
    happened_at: { type: 'timestamp', nullable: false },
    seen_at: { type: 'timestamp', nullable: true },
  },
  eventTime: 'happened_at',
  arrival: 'seen_at',
  id: 'visit_id',
  sequence: null,
  arrivalDelayMs: 0,
  allowedLatenessMs: 0,
  maxFutureMs: 5_000,
  dedupeMs: DAY,
  retentionMs: null,
};

const col = (name: string): Expression => ({ col: name });
const is = (kind: string): Expression => ({ op: 'eq', args: [col('kind'), { lit: kind }] });
const lifetime: Window = { type: 'lifetime' };
const sliding = (ms: number, hopMs: number): Window => ({ type: 'sliding', ms, hopMs });

function feature(
  name: string,
  type: AggregationFeature['type'],
  window: Window,
  aggregation: AggregationFeature['aggregation'],
  where: Expression | null = null,
): AggregationFeature {
  return {
    name,
    description: name,
    type,
    coldStart: null,
    nameException: 'made up',
    where,
    window,
    aggregation,
  };
}

function view(
  name: string,
  entity: string,
  key: string[],
  mode: AggregationView['mode'],
  features: AggregationFeature[],
  where: Expression | null = null,
): AggregationView {
  return {
    kind: 'aggregation',
    name,
    description: name,
    owner: 'shop',
    tags: [],
    entity,
    ttlMs: null,
    freshness: { tier: 'hourly', expectedEveryMs: HOUR },
    source: 'visits',
    key,
    where,
    mode,
    minAgeMs: 0,
    minEvents: 0,
    features,
  };
}

export const userHourly = view(
  'user_hourly',
  'user',
  ['user_id'],
  { type: 'batch', cadenceMs: HOUR, settleMs: 15 * MINUTE },
  [
    feature('visits_1h', 'int64', sliding(HOUR, MINUTE), { op: 'count' }),
    feature('cents_1d', 'int64', sliding(DAY, HOUR), { op: 'sum', value: col('cents') }),
    feature('score_mean', 'float64', lifetime, { op: 'mean', value: col('score') }),
    feature('items_1d', 'int64', sliding(DAY, HOUR), { op: 'distinct', value: col('item') }),
    feature('top_items', 'list<string>', lifetime, {
      op: 'topK',
      key: col('item'),
      weight: col('cents'),
      k: 3,
    }),
    feature('latest_cents', 'list<int64>', sliding(DAY, HOUR), { op: 'lastN', value: col('cents'), n: 4 }),
    feature('cents_by_item', 'map<string,int64>', sliding(DAY, HOUR), {
      op: 'bucketed',
      by: col('item'),
      aggregation: { op: 'sum', value: col('cents') },
      limit: 3,
    }),
    feature('score_by_store', 'map<string,float64>', sliding(2 * DAY, HOUR), {
      op: 'bucketed',
      by: col('store'),
      aggregation: { op: 'mean', value: col('score') },
      limit: 10,
    }),
    feature('last_at', 'timestamp', lifetime, { op: 'max', value: col('happened_at') }),
    feature('ref_most', 'int64', lifetime, { op: 'max', value: col('ref') }),
    feature('ref_sum_1d', 'int64', sliding(DAY, HOUR), { op: 'sum', value: col('ref') }),
    feature('latest_refs', 'list<int64>', lifetime, { op: 'lastN', value: col('ref'), n: 3 }),
    feature('taste_mean', 'list<float64>', lifetime, { op: 'mean', value: col('taste') }),
    feature('hours_since_first', 'int64', lifetime, { op: 'timeSince', edge: 'first', unitMs: HOUR }),
  ],
);

export const visitDaily = view(
  'visit_daily',
  'visit',
  ['user_id', 'store'],
  { type: 'batch', cadenceMs: DAY, settleMs: 0 },
  [
    feature('buy_share', 'float64', sliding(2 * DAY, DAY), {
      op: 'ratio',
      numerator: { op: 'count', where: is('buy') },
      denominator: { op: 'count', where: null },
    }),
    feature('score_least', 'float64', sliding(2 * DAY, HOUR), { op: 'min', value: col('score') }),
  ],
  { op: 'ne', args: [col('kind'), { lit: 'clear' }] },
);

export const userNow = view('user_now', 'user', ['user_id'], { type: 'streaming', rowsEveryMs: HOUR }, [
  feature('visits_30min', 'int64', sliding(30 * MINUTE, MINUTE), { op: 'count' }),
  feature('score_sum_1d', 'float64', sliding(DAY, 10 * MINUTE), { op: 'sum', value: col('score') }),
  feature('last_item', 'string', lifetime, { op: 'last', value: col('item') }),
  feature('cart', 'list<string>', lifetime, {
    op: 'cart',
    item: col('item'),
    add: is('buy'),
    remove: is('drop'),
    clear: is('clear'),
    limit: 5,
  }),
  feature('newest_by_kind', 'map<string,string>', sliding(DAY, HOUR), {
    op: 'bucketed',
    by: col('kind'),
    aggregation: { op: 'last', value: col('item') },
    limit: 2,
  }),
  feature('seen_items_1d', 'int64', sliding(DAY, HOUR), {
    op: 'approxDistinct',
    value: col('item'),
    exactTo: 3,
  }),
  feature('last_ref', 'int64', lifetime, { op: 'last', value: col('ref') }),
  feature('last_marks', 'list<string>', lifetime, { op: 'last', value: col('marks') }),
  feature('taste_mean_1d', 'list<float64>', sliding(DAY, HOUR), { op: 'mean', value: col('taste') }),
  feature('seconds_since', 'int64', lifetime, { op: 'timeSince', edge: 'last', unitMs: 1000 }),
]);

export const VIEWS = [userHourly, visitDaily, userNow];

export const world: Definitions = {
  entities: [
    {
      name: 'user',
      description: 'who visits',
      owner: 'shop',
      tags: [],
      keys: [{ name: 'user_id', type: 'string' }],
    },
    {
      name: 'visit',
      description: 'who visits which store',
      owner: 'shop',
      tags: [],
      keys: [
        { name: 'user_id', type: 'string' },
        { name: 'store', type: 'int64' },
      ],
    },
  ],
  sources: [visits],
  views: VIEWS,
  services: servicesOf(VIEWS),
};

/** A generator of numbers in [0, 1): the same for the same seed. */
export function random(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let t = Math.imul(state ^ (state >>> 15), state | 1);
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
  };
}

const ITEMS = ['a', 'b', 'tab\there', 'back\\slash', 'quo"te', '{brace,', 'é', 'line\nend', 'NULL', ''];
const KINDS = ['view', 'view', 'view', 'buy', 'buy', 'drop', 'clear'];
const REFS = [2n ** 63n - 1n, -(2n ** 63n), 2n ** 53n, 2n ** 53n + 1n, Number.MAX_SAFE_INTEGER, 7, null];
const TASTES = [[0.1, 0.2, 0.3], [-1e280, 5e-324, 1e16], [0, 1, -1], null];
const MARKS = [['NULL', 'quo"te', ''], ['{brace,', 'back\\slash', 'tab\there'], [], null];
const DELAYS = [0, 0, 0, 1, 20 * MINUTE, 16 * MINUTE, 3 * HOUR, 30 * HOUR];

export type MadeEvent = Omit<Event, 'sequence'>;

/** Events from `start` to `end`, many at one instant, on tick boundaries, and late; none arrives after `end`. */
export function makeEvents(
  count: number,
  { start, end, seed, users = 25 }: { start: number; end: number; seed: number; users?: number },
): MadeEvent[] {
  const next = random(seed);
  const pick = <T>(list: readonly T[], draw = next): T => list[Math.floor(draw() * list.length)]!;
  const more = random(seed ^ 0x5eed); // so that the other columns stay what they were
  const events: MadeEvent[] = [];
  let timestamp = start;
  for (let i = 0; i < count; i++) {
    const dice = next();
    if (dice < 0.05) timestamp = floorTo(timestamp, HOUR);
    else if (dice > 0.15) timestamp = Math.floor(start + next() * (end - start));
    const arrivedAt = Math.min(end, timestamp + pick(DELAYS));
    // the first of the users is much busier than the others; some events belong to nobody
    const user = next() < 0.01 ? null : `u${Math.floor(users * next() ** 3)}`;
    const row: Record<string, Event['values'][number]> = {
      visit_id: `v${seed}-${i}`,
      user_id: user,
      store: next() < 0.02 ? null : Math.floor(next() * 3) - 1,
      kind: pick(KINDS),
      item: next() < 0.1 ? null : pick(ITEMS),
      cents: next() < 0.1 ? null : Math.floor(next() * 1000) - 100,
      score: next() < 0.1 ? null : Math.round(next() * 1000) / 10,
      ref: pick(REFS, more),
      taste: pick(TASTES, more),
      marks: pick(MARKS, more),
      happened_at: timestamp,
      seen_at: arrivedAt,
    };
    events.push({
      timestamp,
      arrivedAt,
      order: 0,
      id: row.visit_id as string,
      values: columnNames(visits).map((name) => row[name]!),
    });
  }
  return events;
}

/** Archives them as an import does: in order of arrival, a few transactions, each a sequence number. */
export async function archive(
  { deps }: TestEnvironment,
  events: readonly MadeEvent[],
  partition = -1,
  source = visits,
): Promise<void> {
  const ordered = [...events].sort((a, b) => a.arrivedAt - b.arrivedAt);
  const size = Math.max(1, Math.ceil(ordered.length / 7));
  for (let i = 0; i < ordered.length; i += size)
    await transaction(deps.pool, async (client) => {
      await lockArchiveShared(client);
      const sequence = await nextSequence(client);
      const rows = ordered.slice(i, i + size).map((event, j) => ({
        partition,
        offset: i + j,
        arrivalAssumed: false,
        event: { ...event, sequence },
      }));
      await appendEvents(client, source, rows);
    });
}

export async function versionOf(env: TestEnvironment, name: string) {
  const version = await resolveView(env.deps.pool, name);
  if (version.kind !== 'aggregation') throw new Error(`${name} is no aggregation view`);
  return version;
}

/** All entities of a view with all their archived events. */
export async function entitiesOf(env: TestEnvironment, view: AggregationView): Promise<OneEntity[]> {
  const version = await versionOf(env, view.name);
  const of = { source: version.source, entity: version.entity, keyColumns: view.key };
  const found: OneEntity[] = [];
  for await (const one of readEvents(env.deps.pool, of, { sequence: Number.MAX_SAFE_INTEGER }))
    found.push(one);
  return found;
}

export interface Stored {
  rows: Array<Record<string, unknown> & { key: Buffer; tick_ms: number; event_ms: number; record: Buffer }>;
  snapshots: Array<{
    key: Buffer;
    sequence: number;
    as_of_ms: number;
    next_step_ms: number | null;
    state: Buffer;
  }>;
  ticks: Array<{ tick_ms: number; published_ms: number; backfilled: boolean }>;
  progress: { sequence: number; last_tick_ms: number; last_event_ms: number } | undefined;
  /** By key in hex. */
  records: Map<string, Buffer>;
  onlineTick: number | null;
}

/** Everything stored of a view, in both stores. */
export async function readStored(env: TestEnvironment, view: AggregationView): Promise<Stored> {
  const { pool, redis, config } = env.deps;
  const version = await versionOf(env, view.name);
  const query = async <T>(text: string): Promise<T[]> =>
    (await pool.query(text.replace('$1', String(version.id)))).rows as T[];
  const records = new Map<string, Buffer>();
  for (const { key } of await entitiesOf(env, view)) {
    const record = await redis.hgetBuffer(
      onlineKey(config.environment, version.entity.name, key),
      String(version.id),
    );
    if (record !== null) records.set(Buffer.from(key).toString('hex'), record);
  }
  const tick = await redis.hget(progressKey(config.environment), String(version.id));
  const names = view.features.map(({ name }) => quote(name)).join(', ');
  return {
    rows: await query(
      `select key, key_hash::text, tick_ms, tick, event_timestamp, event_ms, ${names}, record from rows_${version.id} order by key, tick_ms`,
    ),
    snapshots: await query(
      `select key, key_hash::text, sequence, as_of_ms, event_ms, next_step_ms, state from snapshot where version_id = $1 order by key`,
    ),
    ticks: await query(
      'select tick_ms, published_ms, backfilled from tick where version_id = $1 order by tick_ms',
    ),
    progress: (
      await query<NonNullable<Stored['progress']>>(
        'select sequence, last_tick_ms, last_event_ms from view_progress where version_id = $1',
      )
    )[0],
    records,
    onlineTick: tick === null ? null : Number(tick),
  };
}

/** Everything stored equals the oracle's answer, for every entity, at every tick from `start`; nothing is missing. */
export async function checkWithOracle(
  env: TestEnvironment,
  view: AggregationView,
  range: { start: number; end: number },
): Promise<{ checked: number }> {
  const stored = await readStored(env, view);
  const { source } = await versionOf(env, view.name);
  const compiled = compileView(view, source);
  let checked = 0;
  const seen = new Set<string>();
  for (const { key, events } of await entitiesOf(env, view)) {
    const name = Buffer.from(key).toString('hex');
    seen.add(name);
    const ask = (question: Question) => answer(view, source, events, question);
    checked += checkRows(
      view,
      stored.rows.filter((row) => row.key.toString('hex') === name),
      range,
      ask,
    );
    checked += checkState(compiled, stored, name, range, ask);
  }
  for (const row of [...stored.rows, ...stored.snapshots]) expect(seen).toContain(row.key.toString('hex'));
  return { checked };
}

type Ask = (question: Question) => ReturnType<typeof answer>;

function checkRows(
  view: AggregationView,
  rows: Stored['rows'],
  { start, end }: { start: number; end: number },
  ask: Ask,
): number {
  const { cadenceMs } = ticksOf(view);
  const byTick = new Map(rows.map((row) => [row.tick_ms, row]));
  expect([...byTick.keys()].every((tick) => tick >= start && tick <= end && tick % cadenceMs === 0)).toBe(
    true,
  );
  const moving = new Set(view.features.filter((each) => isMoving(each.aggregation)).map(({ name }) => name));
  let last: Stored['rows'][number] | undefined;
  let checked = 0;
  for (let tick = start; tick <= end; tick += cadenceMs) {
    const expected = ask({ type: 'tick', tick, at: tick });
    const row = byTick.get(tick);
    last = row ?? last;
    if (last === undefined) {
      expect(expected.status).toBe('NOT_FOUND');
      continue;
    }
    expect(last.event_ms).toBe(expected.eventTimestamp);
    expect(last.event_timestamp).toBe(expected.eventTimestamp);
    for (const { name } of view.features)
      if (row !== undefined || !moving.has(name)) {
        expect({ tick, name, value: last[name] }).toEqual({ tick, name, value: expected.values[name] });
        checked++;
      }
  }
  return checked;
}

function checkState(
  compiled: CompiledView,
  stored: Stored,
  name: string,
  { end }: { end: number },
  ask: Ask,
): number {
  const { view } = compiled;
  const batch = view.mode.type === 'batch';
  const snapshot = stored.snapshots.find(({ key }) => key.toString('hex') === name);
  const record = stored.records.get(name);
  const last = batch
    ? ask({ type: 'tick', tick: end, at: end })
    : ask({ type: 'record', at: MAX_TIMESTAMP, sequence: Number.MAX_SAFE_INTEGER });
  if (last.status === 'NOT_FOUND' && last.retractions.length === 0) {
    expect([snapshot, record]).toEqual([undefined, undefined]);
    return 0;
  }
  if (snapshot === undefined || record === undefined) throw new Error(`entity ${name} is missing`);
  const state = decodeState(compiled, snapshot.state);
  expect([state.asOf, state.sequence, state.eventCount]).toEqual([
    snapshot.as_of_ms,
    snapshot.sequence,
    last.eventCount,
  ]);
  expect(snapshot.next_step_ms).toBe(nextStep(compiled, state));
  const header = decodeHeader(record);
  if (last.eventCount === 0) {
    expect(readRecord(compiled, record, MAX_TIMESTAMP)).toBe(null);
    return 1;
  }
  const reading = readState(compiled, state, batch ? end : state.asOf)!;
  expect(header.asOf).toBe(snapshot.as_of_ms);
  expect(header.sequence).toBe(snapshot.sequence);
  let checked = same(view, reading.values, ask(questionAt(view, batch ? end : state.asOf, end)));
  const now = Date.now();
  const moments = batch
    ? [end]
    : [header.asOf, now, ...recordSteps(compiled, record).flatMap((step) => [step - 1, step, step + 1])];
  for (const at of moments.filter((moment) => moment >= header.asOf)) {
    const read = readRecord(compiled, record, at)!;
    if (read.horizonPassed) continue;
    checked += same(view, read.values, ask(questionAt(view, at, end)));
  }
  return checked;
}

const questionAt = (view: AggregationView, at: number, tick: number): Question =>
  view.mode.type === 'batch'
    ? { type: 'tick', tick, at: tick }
    : { type: 'record', at, sequence: Number.MAX_SAFE_INTEGER };

function same(
  view: AggregationView,
  values: readonly FeatureValue[],
  expected: ReturnType<typeof answer>,
): number {
  expect(Object.fromEntries(view.features.map(({ name }, index) => [name, values[index]]))).toEqual(
    expected.values,
  );
  return values.length;
}

/** For comparing what two environments, or two runs in one, stored: without what is a matter of when. */
export function comparable({ rows, snapshots, records }: Stored) {
  return {
    rows: rows.map(({ record, key, ...row }) => ({
      ...row,
      key: key.toString('hex'),
      record: record.toString('hex'),
    })),
    snapshots: snapshots.map(({ key, state, ...rest }) => ({
      ...rest,
      key: key.toString('hex'),
      state: state.toString('hex'),
    })),
    records: [...records].map(([key, record]) => [key, record.toString('hex')]),
  };
}
