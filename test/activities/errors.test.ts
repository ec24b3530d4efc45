import { ApplicationFailure, CancelledFailure } from '@temporalio/activity';
import { ReplyError } from 'ioredis';
import pg from 'pg';
import { expect, test } from 'vitest';
import { toFailure } from '../../activities/errors.js';
import { FeatureStoreError } from '../../core/error.js';

const database = (code: string) =>
  Object.assign(new pg.DatabaseError('of the database', 1, 'error'), { code });
const system = (code: string) => Object.assign(new Error(`${code}: of the system`), { code });

test.each([
  { why: 'ours, final', error: new FeatureStoreError('FS_DATA_INVALID', 'm', { fix: 'f', row: 3 }), type: 'FS_DATA_INVALID', retried: false },
  { why: 'ours, to be tried again', error: new FeatureStoreError('FS_NOT_READY', 'm', { fix: 'f' }), type: 'FS_NOT_READY', retried: true },
  { why: 'Postgres away', error: system('ECONNREFUSED'), type: 'FS_UNAVAILABLE', retried: true },
  { why: 'Postgres ends', error: database('57P01'), type: 'FS_UNAVAILABLE', retried: true },
  { why: 'Postgres out of time', error: database('57014'), type: 'FS_DEADLINE', retried: true },
  { why: 'Postgres full', error: database('53100'), type: 'FS_DISK_FULL', retried: true },
  { why: 'a broken constraint', error: database('23505'), type: 'FS_INTERNAL', retried: false },
  { why: 'Redis away', error: new Error("Stream isn't writeable and enableOfflineQueue options is false"), type: 'FS_UNAVAILABLE', retried: true },
  { why: 'Redis goes', error: new Error('Connection is closed.'), type: 'FS_UNAVAILABLE', retried: true },
  { why: 'Redis goes amid a pipeline', error: Object.assign(new Error('Command aborted due to connection close'), { name: 'AbortError' }), type: 'FS_UNAVAILABLE', retried: true },
  { why: 'Redis takes no more', error: new ReplyError('ERR max number of clients reached'), type: 'FS_UNAVAILABLE', retried: true },
  { why: 'Redis calls it wrong', error: new ReplyError('ERR unknown command'), type: 'FS_INTERNAL', retried: false },
  { why: 'Redis hangs', error: new Error('Command timed out'), type: 'FS_DEADLINE', retried: true },
  { why: 'Redis full', error: new ReplyError('OOM command not allowed'), type: 'FS_DISK_FULL', retried: true },
  { why: 'Redis loads', error: new ReplyError('LOADING Redis is loading'), type: 'FS_UNAVAILABLE', retried: true },
  { why: 'Redis knows us not', error: new ReplyError('NOAUTH Authentication required.'), type: 'FS_CONFIG_INVALID', retried: false },
  { why: 'a disk without space', error: system('ENOSPC'), type: 'FS_DISK_FULL', retried: true },
  { why: 'a bug', error: new TypeError('x is not a function'), type: 'FS_INTERNAL', retried: false },
  { why: 'not even an error', error: 'thrown', type: 'FS_INTERNAL', retried: false },
])('$why: $type, tried again $retried', ({ error, type, retried }) => {
  const failure = toFailure(error) as ApplicationFailure;
  expect(failure).toBeInstanceOf(ApplicationFailure);
  expect(failure).toMatchObject({ type, nonRetryable: !retried, details: [{ fix: expect.any(String) }] });
}); // biome-ignore format: a table

test('a cancellation and a failure stay what they are', () => {
  for (const error of [new CancelledFailure('over'), ApplicationFailure.create({ type: 'X' })])
    expect(toFailure(error)).toBe(error);
});
