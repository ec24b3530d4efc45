/** The HTTP API as it is described: the page lists the routes there are; the OpenAPI document is one, its examples are taken. */
import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { Validator } from '@seriousme/openapi-schema-validator';
import { expect, test } from 'vitest';
import { describeApi } from '../../registry/openapi.js';
import { routes } from '../../registry/routes/index.js';

const page = readFileSync(fileURLToPath(new URL('../../docs/api.md', import.meta.url)), 'utf8');
const document = describeApi(routes);

test('docs/api.md lists exactly the routes there are', () => {
  const listed = [...page.matchAll(/^\| \[`((?:GET|POST) [^`]+)`\]\(#[\w-]+\) \|/gm)].map(([, name]) => name);
  expect(listed).toEqual(routes.map(({ method, path }) => `${method} ${path}`));
});

test('the document is OpenAPI 3.1', async () => {
  const validator = new Validator();
  expect(await validator.validate(document)).toEqual({ valid: true });
  expect(validator.version).toBe('3.1');
});

test('every route is an operation of it, under an id of its own', () => {
  const operations = Object.entries(document.paths).flatMap(([path, methods]) =>
    Object.entries(methods).map(([method, operation]) => [
      `${method.toUpperCase()} ${path}`,
      (operation as { operationId: string }).operationId,
    ]),
  );
  expect(operations.sort()).toEqual(routes.map(({ method, path, id }) => [`${method} ${path}`, id]).sort());
  expect(new Set(routes.map(({ id }) => id)).size).toBe(routes.length);
});

test('every reference leads to something', () => {
  const references = [...JSON.stringify(document).matchAll(/"\$ref":"#\/([^"]+)"/g)].map(([, path]) => path!);
  const lead = (path: string): unknown =>
    path
      .split('/')
      .reduce<unknown>((at, key) => (at as Record<string, unknown> | undefined)?.[key], document);
  expect(references.filter((path) => lead(path) === undefined)).toEqual([]);
  expect(references.length).toBeGreaterThan(100);
});

test.each(routes.filter(({ example }) => example !== undefined))('the example of $id is taken', (route) =>
  expect(route.body!.safeParse(route.example).error).toBeUndefined(),
);
