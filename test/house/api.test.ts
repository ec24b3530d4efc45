/** The page of the HTTP API lists the routes there are, in their order. */
import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { expect, test } from 'vitest';
import { routes } from '../../registry/routes/index.js';

const page = readFileSync(fileURLToPath(new URL('../../docs/api.md', import.meta.url)), 'utf8');

test('docs/api.md lists exactly the routes there are', () => {
  const listed = [...page.matchAll(/^\| \[`((?:GET|POST) [^`]+)`\]\(#[\w-]+\) \|/gm)].map(([, name]) => name);
  expect(listed).toEqual(routes.map(({ method, path }) => `${method} ${path}`));
});

test('no two routes have one id', () => expect(new Set(routes.map(({ id }) => id)).size).toBe(routes.length));
