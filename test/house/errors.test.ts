/** The table of error codes and the page that explains them are equal, both ways. */
import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { expect, test } from 'vitest';
import { ERRORS } from '../../core/error.js';

const page = readFileSync(fileURLToPath(new URL('../../docs/errors.md', import.meta.url)), 'utf8');

test('docs/errors.md explains exactly the codes there are, with their status and whether trying again helps', () => {
  const explained = Object.fromEntries(
    [...page.matchAll(/^### (FS_[A-Z_]+)\n\n`(\d{3})`, (retryable|final)\./gm)].map(
      ([, code, status, retry]) => [code, { status: Number(status), retryable: retry === 'retryable' }],
    ),
  );
  expect(explained).toEqual(ERRORS);
});
