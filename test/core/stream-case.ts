/** Plans of what may happen to a stream, and what holds whatever happens: a record online is that of its moment, and says what the oracle says. */
import fc from 'fast-check';
import { expect } from 'vitest';
import type { AggregationView, Source } from '../../core/definition.js';
import type { Event } from '../../core/event.js';
import { columnNames } from '../../core/event.js';
import { decodeHeader, RECORD_BYTES, readRecord } from '../../core/record.js';
import { advance, rebuild } from '../../core/state.js';
import { DAY, HOUR, MINUTE, SECOND } from '../../core/time.js';
import { expected, said } from './always.js';
import { moments, SOURCES, view } from './generate.js';
import { type Action, StreamModel } from './stream-model.js';

export interface StreamCase {
  view: AggregationView;
  source: Source;
  /** By entity, what the topic brings and what files bring. */
  entities: Event[][];
  imports: Event[][];
  plan: Action[];
  moments: number[];
  /** Where records are cut. */
  recordBytes: number;
}

const count = {
  description: '-',
  type: 'int64' as const,
  coldStart: 0,
  nameException: null,
  where: null,
  aggregation: { op: 'count' as const },
};

const every = fc.integer({ min: 1, max: 3 });
const take = fc.record({
  do: fc.constant('take' as const),
  size: fc.nat(12),
  again: fc.constantFrom(0, 0, 3, 20),
  held: fc.constantFrom(0, 0, 1, 4),
  release: fc.boolean(),
  dies: fc.constantFrom(false, false, false, true),
});
const backfill = fc.record({ do: fc.constant('backfill' as const), size: fc.integer({ min: 1, max: 2 }) });
const action: fc.Arbitrary<Action> = fc.oneof(
  { weight: 8, arbitrary: take },
  {
    weight: 2,
    arbitrary: fc.record({
      do: fc.constant('import' as const),
      entity: fc.nat(3),
      size: fc.integer({ min: 1, max: 8 }),
    }),
  },
  { weight: 4, arbitrary: fc.record({ do: fc.constantFrom('snapshot' as const, 'evict' as const), every }) },
  {
    weight: 5,
    arbitrary: fc.record({
      do: fc.constant('refresh' as const),
      laterMs: fc.oneof(fc.nat(2 * HOUR), fc.constantFrom(0, 3 * HOUR, 5 * HOUR, DAY, 40 * DAY)),
      end: fc.constantFrom('goes on' as const, 'moves' as const, 'dies' as const),
    }),
  },
  { weight: 1, arbitrary: backfill },
  { weight: 2, arbitrary: fc.record({ do: fc.constant('send again' as const), which: fc.nat(200) }) },
  { weight: 2, arbitrary: fc.record({ do: fc.constantFrom('follow' as const, 'crash' as const) }) },
  {
    weight: 3,
    arbitrary: fc.record({
      do: fc.constantFrom(
        'Redis away' as const, 'Redis back' as const, 'Redis back' as const, 'dual write' as const, 'Redis emptied' as const,
      ), // biome-ignore format: a list of words
    }),
  },
);

/** Something is archived, some of it backfilled, the stream attaches, and then whatever comes. */
const plan: fc.Arbitrary<Action[]> = fc
  .tuple(
    fc.array(fc.oneof(take, backfill), { maxLength: 4 }),
    fc.array(action, { minLength: 4, maxLength: 30, size: 'large' }),
  )
  .map(([before, after]) => [...before, { do: 'attach' }, ...after]);

/** Half of the views have many steps to come, so that records are cut, and sessions that what comes late joins, so that states are made anew. */
const streaming: fc.Arbitrary<AggregationView> = fc
  .tuple(view.filter(({ mode }) => mode.type === 'streaming'), fc.boolean()) // biome-ignore format: short
  .map(([view, hard]) => {
    // there is no session of sessions
    const more = HARD.filter(({ window }) => hard && !(view.sessions && window.type === 'session'));
    return { ...view, features: [...view.features, ...more] };
  });

const HARD: AggregationView['features'] = [
  { ...count, name: 'stepping', window: { type: 'sliding', ms: 6 * HOUR, hopMs: SECOND } },
  { ...count, name: 'joined', window: { type: 'session', gapMs: 20 * MINUTE } },
];

/** The first entity is hot: the others have a few events each. */
const entities = (list: fc.Arbitrary<Event[]>): fc.Arbitrary<Event[][]> =>
  fc
    .tuple(list, fc.array(list.map((events) => events.slice(0, 6)), { maxLength: 3 })) // biome-ignore format: short
    .map(([hot, others]) => [hot, ...others]);

/** Ids, and those that are retracted, are of one entity and one way in. */
function named(source: Source, lists: readonly Event[][], from: string): Event[][] {
  const names = columnNames(source);
  return lists.map((list, entity) => {
    const own = (id: string): string => `${from}${entity}-${id}`;
    return list.map((event) => ({
      ...event,
      id: own(event.id),
      values: event.values.map((value, index) => {
        if (names[index] === 'user_id') return `u${entity}`;
        return names[index] === source.retracts && value !== null ? own(value as string) : value;
      }),
    }));
  });
}

export const streamCases: fc.Arbitrary<StreamCase> = fc
  .constantFrom(...Object.values(SOURCES))
  .chain(({ source, events }) =>
    fc
      .record({
        view: streaming,
        source: fc.constant(source),
        entities: entities(events),
        imports: fc.array(events.map((list) => list.slice(0, 8)), { minLength: 1, maxLength: 4 }), // biome-ignore format: short
        plan,
        moments,
        recordBytes: fc.constantFrom(64, 64, RECORD_BYTES),
      })
      .map((given) => ({
        ...given,
        entities: named(source, given.entities, 'topic'),
        imports: named(source, given.imports, 'file'),
      })),
  );

export function expectStream({
  view,
  source,
  entities,
  imports,
  plan,
  moments,
  recordBytes,
}: StreamCase): void {
  const model = new StreamModel(view, source, entities, imports, recordBytes);
  plan.forEach((action, index) => {
    model.run(action);
    // a random one after each action, all at the end: the oracle is slow
    const names = [...model.archive.keys()];
    for (const name of names) expectBytes(model, name);
    const name = names[index % Math.max(1, names.length)];
    if (name !== undefined) expectRead(model, name, moments.slice(0, 2));
    if (action.do === 'refresh' && action.end === 'goes on' && model.attached && !model.away)
      for (const record of model.online.values()) {
        const { refreshAt, sequence } = decodeHeader(record);
        // a refill may be ahead of the reader, of an import that is not taken in: then that refreshes
        if (sequence <= model.folded)
          expect(refreshAt ?? Number.POSITIVE_INFINITY).toBeGreaterThan(model.clock);
      }
  });
  model.end();
  // an id may come again, at another time
  const place = ({ id, timestamp }: Event): string => `${id} ${timestamp}`;
  const archived = [...model.archive.values()].flat().map(place);
  expect(new Set(archived).size).toBe(archived.length);
  expect(archived).toEqual(expect.arrayContaining(entities.flat().map(place)));
  const attached = plan.findIndex((action) => action.do === 'attach');
  const mayFallBack = plan.some(
    (action, index) =>
      (action.do === 'refresh' && action.end === 'dies') || (action.do === 'backfill' && index > attached),
  );
  if (!mayFallBack) expect(model.fellBack).toBe(0);
  for (const name of model.archive.keys()) {
    expectBytes(model, name);
    expectRead(model, name, moments);
  }
}

/** The record online is that of a state made at once of all events up to its sequence, and misses none but what it may. */
function expectBytes(model: StreamModel, name: string): void {
  expect(model.conflicts).toBe(0);
  const { compiled } = model;
  const record = model.online.get(name);
  const own = model.eventsOf(name).filter((event) => compiled.accepts(event));
  const newest = Math.max(
    0,
    ...own.map(({ sequence }) => sequence).filter((sequence) => sequence <= model.folded),
  );
  if (model.attached && !model.away && model.owed === null)
    expect(record ? decodeHeader(record).sequence : 0, name).toBeGreaterThanOrEqual(newest);
  if (record === undefined) return;
  const { sequence, asOf } = decodeHeader(record);
  const state = rebuild(compiled, own.filter((event) => event.sequence <= sequence)); // biome-ignore format: short
  expect(state.asOf).toBeLessThanOrEqual(asOf);
  expect(state.sequence).toBe(sequence);
  advance(compiled, state, asOf);
  expect(Buffer.from(model.recordOf(state)).equals(record), name).toBe(true);
}

function expectRead(
  { compiled, online, archive }: StreamModel,
  name: string,
  later: readonly number[],
): void {
  const record = online.get(name);
  if (record === undefined) return;
  const { sequence, asOf } = decodeHeader(record);
  for (const at of [asOf, ...later.map((ms) => asOf + Math.abs(ms))]) {
    const reading = readRecord(compiled, record, at);
    if (reading?.horizonPassed) continue;
    const truth = expected(compiled.view, compiled.source, archive.get(name)!, {
      type: 'record',
      sequence,
      at,
    });
    expect(said(compiled.view, reading, at), `${name} at ${at}`).toEqual(truth);
  }
}
