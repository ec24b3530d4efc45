import { expect, test } from 'vitest';
import { file, source, topic } from '../../core/builder.js';
import { versionHash } from '../../core/canonical.js';
import { checkDefinitions } from '../../core/check.js';
import { columnNames } from '../../core/event.js';
import { createIngest } from '../../core/ingest.js';
import { streamOf, topicName } from '../../core/stream.js';
import { userNow, visits, world } from '../workflows/world.js';

const spec = {
  description: 'clicks',
  owner: 'shop',
  columns: { id: 'string', at: 'timestamp', cents: 'int64?', share: 'float64?' },
  eventTime: 'at',
  id: 'id',
} as const;
const user = world.entities[0]!;
const cutAtMs = Date.parse('2026-03-01T00:00:00Z');
const hybrid = source('clicks', {
  ...spec,
  input: file('csv'),
  stream: { topic: 'clicks', cutAt: '2026-03-01T00:00:00Z' },
}).json;
const streamed = source('clicks', { ...spec, input: topic('clicks') }).json;

test('a topic, alone or after a file', () => {
  expect(streamOf(streamed)).toEqual({ topic: 'clicks', cutAtMs: null });
  expect(streamOf(hybrid)).toEqual({ topic: 'clicks', cutAtMs });
  expect(streamOf(visits)).toBe(null);
  expect(topicName('dev', streamOf(hybrid)!)).toBe('dev.clicks');
});

test('a topic that goes on where a file ends makes no other version', () => {
  const more = { ...visits, stream: { topic: 'visits', cutAtMs } };
  expect(versionHash(userNow, more, user)).toBe(versionHash(userNow, visits, user));
});

test.each([
  {
    why: 'two topics',
    source: { ...streamed, stream: { topic: 'b', cutAtMs } },
    at: 'sources.clicks.stream',
  },
  { why: 'a snapshot', source: { ...hybrid, kind: 'snapshot' }, at: 'sources.clicks.kind' },
])('refused: $why', ({ source: wrong, at }) => {
  const { problems } = checkDefinitions({ ...world, sources: [...world.sources, wrong] }) as unknown as {
    problems: Array<{ path: string }>;
  };
  expect(problems.map(({ path }) => path)).toContain(at);
});

const fields = (row: Record<string, unknown>): unknown[] => columnNames(hybrid).map((name) => row[name]);
const options = { shiftMs: 0, untilMs: Number.MAX_SAFE_INTEGER };

test('a message says its timestamps as text and its numbers as numbers', () => {
  const ingest = createIngest(hybrid, { ...options, form: 'json', importedMs: null });
  expect(ingest(fields({ id: 'a', at: '2026-03-01T12:00:00+01:00', cents: 5, share: 0.5 }))).toMatchObject({
    outcome: 'event',
    event: { timestamp: Date.parse('2026-03-01T11:00:00Z'), arrivalAssumed: false, id: 'a' },
  });
  for (const wrong of [{ at: 5 }, { at: '2026-03-01 12:00' }, { at: '2026-03-01T12:00:00Z', cents: '5' }])
    expect(ingest(fields({ id: 'a', ...wrong })).outcome).toBe('invalid');
});

test('a file gives nothing of what the topic brings', () => {
  const ingest = createIngest(hybrid, { ...options, form: 'text', importedMs: cutAtMs + 1e9 });
  const at = (moment: string) => ingest(fields({ id: 'a', at: moment })).outcome;
  expect([at('2026-02-28T23:59:59.999Z'), at('2026-03-01T00:00:00Z')]).toEqual(['event', 'withheld']);
});
