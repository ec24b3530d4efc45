/** The streaming path as a shard drives it, against the oracle (stream-model.ts, stream-case.ts). */
import { test } from 'vitest';
import { always } from './always.js';
import { expectStream, streamCases } from './stream-case.js';

test('whatever happens to a stream, each record is that of all events up to its sequence', () => {
  always(streamCases, expectStream);
});
