/** What is said of each edge in docs/definitions.md ("Edges"), held: every row there has its cases here, and the reverse. */
import { readFileSync } from 'node:fs';
import { expect, test } from 'vitest';
import type { Aggregation } from '../../core/builder.js';
import type { FeatureType, Window } from '../../core/definition.js';
import type { FeatureValue } from '../../core/event.js';
import {
  aggregationView,
  calendar,
  count,
  entity,
  file,
  hopping,
  last,
  lastN,
  lifetime,
  mean,
  min,
  session,
  sliding,
  source,
  streaming,
  sum,
  timeSince,
  tumbling,
} from '../../core/index.js';
import { type SampleRow, sampleEvents } from '../../core/testing.js';
import { ask } from './ask.js';

const owner = 'test';
const user = entity('user', { description: 'x', owner, keys: { user_id: 'string' } });
const events = source('events', {
  description: 'x',
  owner,
  input: file('csv'),
  columns: {
    id: 'string',
    user_id: 'string',
    at: 'timestamp',
    place: 'int64',
    x: 'float64?',
    text: 'string?',
  },
  eventTime: 'at',
  id: 'id',
  sequence: 'place',
});
const [x, text] = [events.col('x'), events.col('text')];

type Row = readonly [at: string, columns?: { id?: string; place?: number; x?: number | null; text?: string }];
interface Asked {
  of?: Aggregation<FeatureType, 'text' | 'x'>;
  over: Window;
  rows: readonly Row[];
  strict?: true;
  says: ReadonlyArray<readonly [at: string, value: FeatureValue]>;
}

const table = (rows: readonly Row[]): SampleRow[] =>
  rows.map(([at, columns], index) => ({ id: `e${index}`, user_id: 'u', place: 0, at, ...columns }));

function expectAsked({ of = count(), over, rows, strict, says }: Asked): void {
  const view = aggregationView('user_view', {
    description: 'x',
    owner,
    entity: user,
    source: events,
    mode: streaming(),
    features: { user_value: { description: 'x', aggregation: of, window: over, nameException: 'x' } },
  });
  const told = ask(view, events, table(rows), says.map(([at]) => at), strict); // biome-ignore format: short
  expect(told).toEqual(says.map(([, value]) => value));
}

const refused = (value: { x?: number; text?: string }): (() => void) => {
  return () =>
    expect(() => sampleEvents(events.json, table([['2026-01-01T00:00:00Z', value]]))).toThrow(
      /event 1: column/,
    );
};

const day = (time: string): string => `2026-03-01T${time}Z`;
const noon: Row = [day('12:00:00')];
const HOURLY = sliding('1h', { hop: '10min' });

/** By what docs/definitions.md calls it. */
const EDGES: Record<string, Array<Asked | (() => void)>> = {
  'an event at the moment of reading, in any window': [
    { over: HOURLY, rows: [noon], says: [[day('11:59:59.999'), 0], [day('12:00:00'), 1]] },
    { over: hopping('1h', '10min'), rows: [noon], says: [[day('12:00:00'), 1]] },
    { over: tumbling('1h'), rows: [noon], says: [[day('12:00:00'), 1]] },
    { over: calendar('day'), rows: [noon], says: [[day('12:00:00'), 1]] },
    { over: session('1h'), rows: [noon], says: [[day('12:00:00'), 1]] },
    { over: lifetime(), rows: [noon], says: [[day('12:00:00'), 1]] },
  ],
  'an event exactly a sliding window old': [
    { over: HOURLY, rows: [noon], says: [[day('12:59:59.999'), 1], [day('13:00:00'), 0]] },
    { over: HOURLY, rows: [[day('12:00:00.001')]], says: [[day('13:00:00.001'), 1], [day('13:09:59.999'), 1], [day('13:10:00'), 0]] },
    { over: sliding('1h', { hop: '1ms' }), rows: [[day('12:00:00.001')]], says: [[day('13:00:00'), 1], [day('13:00:00.001'), 0]] },
  ],
  'an event on the hop of a hopping window': [
    { over: hopping('1h', '10min'), rows: [noon], says: [[day('12:59:59.999'), 1], [day('13:00:00'), 0]] },
    { over: hopping('1h', '10min'), rows: [[day('12:00:00.001')]], says: [[day('12:09:59.999'), 0], [day('12:10:00'), 1], [day('13:09:59.999'), 1], [day('13:10:00'), 0]] },
  ],
  'an event at the boundary of a tumbling or calendar window': [
    { over: tumbling('1h'), rows: [[day('11:59:59.999')], noon], says: [[day('11:59:59.999'), 1], [day('12:00:00'), 1], [day('12:59:59.999'), 1], [day('13:00:00'), 0]] },
    { over: tumbling('1w'), rows: [['2026-03-01T23:59:59.999Z'], ['2026-03-02T00:00:00Z']], says: [['2026-03-01T23:59:59.999Z', 1], ['2026-03-02T00:00:00Z', 1], ['2026-03-08T23:59:59.999Z', 1], ['2026-03-09T00:00:00Z', 0]] },
    { over: calendar('day'), rows: [['2026-02-28T23:59:59.999Z'], [day('00:00:00')]], says: [['2026-02-28T23:59:59.999Z', 1], [day('00:00:00'), 1], ['2026-03-02T00:00:00Z', 0]] },
    { over: calendar('month'), rows: [['2026-02-28T23:59:59.999Z'], [day('00:00:00')]], says: [['2026-02-28T23:59:59.999Z', 1], ['2026-03-31T23:59:59.999Z', 1], ['2026-04-01T00:00:00Z', 0]] },
  ],
  'an event exactly the gap after the one before': [
    { over: session('1h'), rows: [noon, [day('13:00:00')]], says: [[day('13:00:00'), 2]] },
    { over: session('1h'), rows: [noon, [day('13:00:00.001')]], says: [[day('13:00:00.001'), 1]] },
  ],
  'the instant a session ends': [{ over: session('1h'), rows: [noon], says: [[day('12:59:59.999'), 1], [day('13:00:00'), 0]] }],
  'two events of one instant': [
    { of: last(text), over: lifetime(), rows: [[day('12:00:00'), { id: 'a', place: 2, text: 'second' }], [day('12:00:00'), { id: 'b', place: 1, text: 'first' }]], says: [[day('12:00:00'), 'second']] },
    { of: lastN(text, 2), over: lifetime(), rows: [[day('12:00:00'), { id: 'e10', text: 'e10' }], [day('12:00:00'), { id: 'e9', text: 'e9' }]], says: [[day('12:00:00'), ['e9', 'e10']]] },
  ],
  "a label at an event's instant": [
    { over: HOURLY, rows: [noon], says: [[day('12:00:00'), 1]] },
    { over: HOURLY, rows: [noon], strict: true, says: [[day('12:00:00'), 0], [day('12:00:00.001'), 1], [day('13:00:00'), 1], [day('13:00:00.001'), 0]] },
  ],
  'an event before 1970': [
    { over: tumbling('1h'), rows: [['1969-12-31T23:30:00Z']], says: [['1969-12-31T23:59:59.999Z', 1], ['1970-01-01T00:00:00Z', 0]] },
    { over: HOURLY, rows: [['1969-12-31T22:59:59.999Z']], says: [['1969-12-31T23:59:59.999Z', 1], ['1970-01-01T00:00:00Z', 0]] },
    { over: hopping('1h', '10min'), rows: [['1969-12-31T23:59:59.999Z']], says: [['1969-12-31T23:59:59.999Z', 0], ['1970-01-01T00:00:00Z', 1]] },
    { over: calendar('week', 'Europe/Berlin'), rows: [['1969-12-31T12:00:00Z']], says: [['1970-01-04T22:59:59.999Z', 1], ['1970-01-04T23:00:00Z', 0]] },
    { of: timeSince('last', '1d'), over: lifetime(), rows: [['1969-12-30T00:00:00Z']], says: [['1970-01-02T00:00:00Z', 3]] },
  ],
  'a day on which clocks change': [
    { over: calendar('day', 'Europe/Berlin'), rows: [['2026-03-28T23:00:00Z']], says: [['2026-03-29T21:59:59.999Z', 1], ['2026-03-29T22:00:00Z', 0]] },
    { over: calendar('day', 'Europe/Berlin'), rows: [['2026-10-24T22:00:00Z']], says: [['2026-10-25T22:59:59.999Z', 1], ['2026-10-25T23:00:00Z', 0]] },
    { over: calendar('week', 'Europe/Berlin'), rows: [['2026-10-18T22:00:00Z']], says: [['2026-10-25T22:59:59.999Z', 1], ['2026-10-25T23:00:00Z', 0]] },
  ],
  'a midnight that clocks skip': [
    { over: calendar('day', 'America/Sao_Paulo'), rows: [['2018-11-04T02:59:59.999Z'], ['2018-11-04T03:00:00Z']], says: [['2018-11-04T02:59:59.999Z', 1], ['2018-11-04T03:00:00Z', 1], ['2018-11-05T01:59:59.999Z', 1], ['2018-11-05T02:00:00Z', 0]] },
  ],
  'a midnight that comes twice': [
    { over: calendar('day', 'America/St_Johns'), rows: [['2006-10-29T02:29:59.999Z'], ['2006-10-29T02:30:00Z'], ['2006-10-29T02:45:00Z']], says: [['2006-10-29T02:29:59.999Z', 1], ['2006-10-29T02:30:00Z', 1], ['2006-10-29T03:30:00Z', 2], ['2006-10-30T03:29:59.999Z', 2], ['2006-10-30T03:30:00Z', 0]] },
  ],
  'a year of silence': [
    { over: sliding('7d'), rows: [noon], says: [['2027-03-01T12:00:00Z', 0]] },
    { over: session('1h'), rows: [noon], says: [['2027-03-01T12:00:00Z', 0]] },
    { of: sum(x), over: tumbling('1h'), rows: [[day('12:00:00'), { x: 1 }]], says: [['2027-03-01T12:00:00Z', 0]] },
    { of: mean(x), over: sliding('7d'), rows: [[day('12:00:00'), { x: 1 }]], says: [['2027-03-01T12:00:00Z', null]] },
    { over: lifetime(), rows: [noon], says: [['2027-03-01T12:00:00Z', 1]] },
    { of: timeSince('last', '1d'), over: lifetime(), rows: [noon], says: [['2027-03-01T12:00:00Z', 365]] },
  ],
  '29 February': [
    { over: calendar('month'), rows: [['2028-02-29T12:00:00Z']], says: [['2028-02-29T23:59:59.999Z', 1], ['2028-03-01T00:00:00Z', 0]] },
    { over: calendar('day'), rows: [['2028-02-29T12:00:00Z']], says: [['2028-02-29T23:59:59.999Z', 1], ['2028-03-01T00:00:00Z', 0]] },
    { over: sliding('365d'), rows: [['2028-02-29T00:00:00Z']], says: [['2029-02-27T23:59:59.999Z', 1], ['2029-02-28T00:00:00Z', 0]] },
  ],
  '-0': [
    { of: last(x), over: lifetime(), rows: [[day('12:00:00'), { x: -0 }]], says: [[day('12:00:00'), 0]] },
    { of: min(x), over: lifetime(), rows: [[day('12:00:00'), { x: 0 }], [day('12:00:01'), { x: -0 }]], says: [[day('12:00:01'), 0]] },
    { of: sum(x), over: lifetime(), rows: [[day('12:00:00'), { x: 0.5 }], [day('12:00:01'), { x: -0.5 }]], says: [[day('12:00:01'), 0]] },
  ],
  'NaN, an infinity': [refused({ x: Number.NaN }), refused({ x: Number.POSITIVE_INFINITY }), refused({ x: Number.NEGATIVE_INFINITY })],
  'a float64 of 2^960': [
    refused({ x: 2 ** 960 }),
    refused({ x: -(2 ** 960) }),
    { of: sum(x), over: lifetime(), rows: [[day('12:00:00'), { x: 2 ** 959 }], [day('12:00:01'), { x: 1 }], [day('12:00:02'), { x: 2 ** 959 }], [day('12:00:03'), { x: -(2 ** 959) }], [day('12:00:04'), { x: -(2 ** 959) }]], says: [[day('12:00:02'), 2 ** 960], [day('12:00:04'), 1]] },
  ],
  'an empty text': [{ of: last(text), over: lifetime(), rows: [[day('12:00:00'), { text: 'a' }], [day('12:00:01'), { text: '' }]], says: [[day('12:00:01'), '']] }],
  'half of a surrogate pair': [refused({ text: '\ud83d' }), refused({ text: 'a\udc00b' })],
}; // biome-ignore format: tables

const section = /\n### Edges\n([\s\S]*?)\n#/.exec(
  readFileSync(new URL('../../docs/definitions.md', import.meta.url), 'utf8'),
)![1]!;
const documented = section
  .split('\n')
  .filter((line) => line.startsWith('| '))
  .slice(2)
  .map((line): [edge: string, answer: string] => {
    const [, edge, answer] = line.split('|').map((cell) => cell.trim());
    return [edge!, answer!];
  });

test.each(documented)('%s: %s', (edge) => {
  const cases = EDGES[edge];
  expect(cases, 'has cases here').toBeDefined();
  for (const one of cases!) {
    if (typeof one === 'function') one();
    else expectAsked(one);
  }
});

test('every edge tested here is in docs/definitions.md', () => {
  expect(documented.map(([edge]) => edge)).toEqual(Object.keys(EDGES));
});
