import { describe, expect, test } from 'vitest';
import { EXIT, exitCodeOf, fromWire, renderError, toProblem, UsageError } from '../../cli/errors.js';
import { FeatureStoreError } from '../../core/error.js';

const conflict = new FeatureStoreError('FS_CONFLICT', 'view "a" is being backfilled', {
  fix: 'wait for it',
  view: 'a',
  version: 3,
});

test('three short lines: what, where, fix; no stack', () =>
  expect(renderError(conflict, { debug: false })).toBe(
    'error: view "a" is being backfilled (FS_CONFLICT)\nwhere: view a, version 3\nfix:   wait for it\n',
  ));

test('--debug adds the stack, and those of its causes', () => {
  const error = new FeatureStoreError('FS_CONFLICT', 'x', { fix: 'y' }, { cause: new Error('the reason') });
  const text = renderError(error, { debug: true });
  expect(text).toContain('errors.test.ts');
  expect(text).toContain('caused by Error: the reason');
});

test('several problems at once, each with its place and fix', () => {
  const error = new FeatureStoreError('FS_DEFINITION_INVALID', '2 problems', {
    fix: 'correct them',
    problems: [
      { code: 'structure', message: 'no owner', path: 'views.a', fix: 'add one' },
      { message: 'bad name' },
    ],
  });
  expect(renderError(error, { debug: false }).split('\n')).toEqual([
    'error: 2 problems (FS_DEFINITION_INVALID)',
    '  - no owner (structure)',
    '    where: path views.a',
    '    fix:   add one',
    '  - bad name',
    'fix:   correct them',
    '',
  ]);
});

describe('exit codes', () => {
  const node = (code: string): Error => Object.assign(new Error(code), { code });
  test.each([
    { error: new UsageError('x', 'y'), exit: EXIT.usage, why: 'the command line is wrong' },
    { error: conflict, exit: EXIT.failed, why: 'the registry said no' },
    {
      error: new FeatureStoreError('FS_UNAVAILABLE', 'x', { fix: '' }),
      exit: EXIT.environment,
      why: 'a server is away',
    },
    {
      error: new FeatureStoreError('FS_CONFIG_MISSING', 'x', { fix: '' }),
      exit: EXIT.environment,
      why: 'a setting is missing',
    },
    {
      error: new FeatureStoreError('FS_REQUEST_INVALID', 'x', { fix: '' }),
      exit: EXIT.failed,
      why: 'refused by the registry',
    },
    { error: node('ENOSPC'), exit: EXIT.environment, why: 'the disk is full' },
    { error: node('ENOENT'), exit: EXIT.failed, why: 'a file is not there' },
    { error: new Error('x'), exit: EXIT.failed, why: 'anything else' },
    { error: 'x', exit: EXIT.failed, why: 'even what is no error' },
  ])('$exit: $why', ({ error, exit }) => expect(exitCodeOf(error)).toBe(exit));
});

describe('over the wire', () => {
  test('comes back as it was', () => {
    const { code, message, details } = conflict;
    const error = fromWire({ code, message, details }, 'FS_RUN_FAILED');
    expect(toProblem(error)).toEqual(toProblem(conflict));
  });
  test('a code from a newer build is kept beside ours', () => {
    const error = fromWire({ code: 'FS_TOMORROW', message: 'x', details: {} }, 'FS_RUN_FAILED');
    expect(error.code).toBe('FS_RUN_FAILED');
    expect(error.details.reported).toBe('FS_TOMORROW');
  });
  test('an error of another copy of core is told by its shape', () => {
    const foreign = Object.assign(new Error('x'), {
      name: 'FeatureStoreError',
      code: 'FS_UNAVAILABLE',
      details: { fix: 'y' },
    });
    expect(exitCodeOf(foreign)).toBe(EXIT.environment);
    expect(renderError(foreign, { debug: false })).toBe('error: x (FS_UNAVAILABLE)\nfix:   y\n');
  });
});
