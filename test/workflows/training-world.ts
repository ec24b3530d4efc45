/** The small world of world.ts with a sql view, an on-demand view and a service over all; its tables; and labels to ask about. */
import { randomUUID } from 'node:crypto';
import type { Definitions, OnDemandView, SqlView } from '../../core/definition.js';
import type { Event } from '../../core/event.js';
import { DAY, formatTimestamp, HOUR } from '../../core/time.js';
import { quote } from '../../registry/sql.js';
import { backfill } from '../../workflows/backfill.js';
import { type TrainingSetInput, trainingSet } from '../../workflows/training-set.js';
import { createEnvironment, putFile, type TestEnvironment } from './environment.js';
import { type MadeEvent, random, VIEWS, world } from './world.js';

export const userRank: SqlView = {
  kind: 'sql',
  name: 'user_rank',
  description: 'a rank that someone else computes',
  owner: 'shop',
  tags: [],
  entity: 'user',
  ttlMs: DAY,
  freshness: { tier: 'hourly', expectedEveryMs: HOUR },
  connection: 'env:RANKS_URL',
  query: '', // names the schema: see trainingWorld
  reads: [{ table: 'ranks', kind: 'append' }],
  cadenceMs: HOUR,
  settleMs: 0,
  features: [
    { name: 'rank_share', description: 'rank', type: 'float64', coldStart: 0.5, nameException: 'made up' },
    { name: 'rank_place', description: 'place', type: 'int64', coldStart: null, nameException: 'made up' },
    {
      name: 'rank_badges',
      description: 'badges',
      type: 'list<string>',
      coldStart: [],
      nameException: 'made up',
    },
    {
      name: 'rank_since',
      description: 'since',
      type: 'timestamp',
      coldStart: null,
      nameException: 'made up',
    },
  ],
};

export const basket: OnDemandView = {
  kind: 'onDemand',
  name: 'basket',
  description: 'computed when asked',
  owner: 'shop',
  tags: [],
  request: { basket_cents: 'int64', coupon: 'string' },
  inputs: ['user_hourly:cents_1d', 'user_rank:rank_place', 'user_hourly:last_at'],
  features: [
    {
      name: 'basket_to_day',
      description: 'the basket over what the day brought',
      type: 'float64',
      coldStart: null,
      nameException: 'made up',
      expression: { op: 'div', args: [{ col: 'basket_cents' }, { col: 'cents_1d' }] },
    },
    {
      name: 'basket_has_coupon',
      description: 'whether there is one',
      type: 'bool',
      coldStart: null,
      nameException: 'made up',
      expression: { op: 'not', args: [{ op: 'isNull', args: [{ col: 'coupon' }] }] },
    },
    {
      name: 'basket_ms_since',
      description: 'since the last visit of the tick',
      type: 'int64',
      coldStart: null,
      nameException: 'made up',
      expression: { op: 'sub', args: [{ op: 'now', args: [] }, { col: 'last_at' }] },
    },
  ],
};

export function trainingWorld(environment: string): Definitions {
  const table = `${quote(environment)}.ranks`;
  const rank: SqlView = {
    ...userRank,
    query: `select distinct on (user_id) user_id, at as event_timestamp, rank_share, rank_place, rank_badges, at as rank_since
              from ${table} where at <= :as_of order by user_id, at desc`,
  };
  const views = [...VIEWS, rank, basket];
  return {
    ...world,
    views,
    services: [
      {
        name: 'everything',
        description: 'all there is',
        owner: 'shop',
        tags: [],
        features: views.flatMap((view) => view.features.map((feature) => `${view.name}:${feature.name}`)),
      },
    ],
  };
}

export async function createTrainingEnvironment(
  options: { temporal?: boolean } = {},
): Promise<TestEnvironment> {
  const env = await createEnvironment({ ...options, env: { RANKS_URL: process.env.ALMANAC_POSTGRES_URL! } });
  await env.deps.pool.query(
    'create table ranks (user_id text, at timestamptz, rank_share double precision, rank_place bigint, rank_badges text[])',
  );
  return env;
}

/** Three ranks a day for some users. */
export async function fillRanks(
  env: TestEnvironment,
  { start, end, seed }: { start: number; end: number; seed: number },
): Promise<void> {
  const next = random(seed);
  for (let at = start; at < end; at += 8 * HOUR)
    for (let user = 0; user < 12; user++)
      await env.deps.pool.query('insert into ranks values ($1, $2, $3, $4, $5)', [
        `u${user}`,
        formatTimestamp(at + Math.floor(next() * HOUR)),
        next(),
        next() < 0.2 ? null : Math.floor(next() * 100),
        next() < 0.3 ? [] : ['gold', 'é "quoted"'],
      ]);
}

export async function runBackfill(env: TestEnvironment, view: string, start?: number): Promise<void> {
  await env.client.workflow.execute(backfill, {
    workflowId: `backfill/${view}/${randomUUID()}`,
    taskQueue: `${env.config.environment}-batch`,
    args: [{ view, ...(start !== undefined && { start: formatTimestamp(start) }) }],
  });
}

export interface Label {
  user_id: string;
  store: number;
  at: number;
}

/** At events and arrivals, a millisecond beside them, on ticks, anywhere; of known and unknown users. */
export function makeLabels(
  events: readonly MadeEvent[],
  count: number,
  seed: number,
  until: number,
): Label[] {
  const next = random(seed);
  return Array.from({ length: count }, () => {
    const event = events[Math.floor(next() * events.length)]!;
    const moments = [
      event.timestamp,
      event.arrivedAt,
      Math.ceil(event.arrivedAt / HOUR) * HOUR,
      event.timestamp + HOUR,
    ];
    const at = moments[Math.floor(next() * moments.length)]! + Math.floor(next() * 3) - 1;
    return {
      user_id: next() < 0.1 ? 'nobody' : `u${Math.floor(25 * next() ** 3)}`,
      store: Math.floor(next() * 3) - 1,
      at: Math.min(at, until),
    };
  });
}

/** The labels as a CSV entity dataframe with the request fields of `basket` and a label. */
export function toCsv(
  labels: readonly Label[],
  more: { header?: string; row?: (label: Label) => string } = {},
): string {
  const lines = labels.map(
    (label, i) =>
      `${label.user_id},${label.store},${formatTimestamp(label.at)},${i % 3 === 0 ? '' : i},${i % 2 ? 'SPRING' : ''},${i % 2},${String(i).padStart(3, '0')}${more.row ? `,${more.row(label)}` : ''}`,
  );
  return `user_id,store,event_timestamp,basket_cents,coupon,label,code${more.header ? `,${more.header}` : ''}\n${lines.join('\n')}\n`;
}

export function startTrainingSet(
  env: TestEnvironment,
  { csv, ...input }: Partial<TrainingSetInput> & { csv?: string },
) {
  const id = input.id ?? randomUUID();
  return env.client.workflow.start(trainingSet, {
    workflowId: `training-set/${id}/${randomUUID()}`,
    taskQueue: `${env.config.environment}-batch`,
    args: [{ id, ...(csv !== undefined && { dataframe: putFile(env, csv) }), ...input } as TrainingSetInput],
  });
}

/** The very events, for the oracle. */
export function eventsOf(events: readonly MadeEvent[], user: string): Event[] {
  return events.filter((event) => event.values.includes(user)).map((event) => ({ ...event, sequence: 1 }));
}
