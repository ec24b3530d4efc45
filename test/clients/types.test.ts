/** The types of the TypeScript client are those of the routes; with --update they are made (npm run client). */
import { expect, test } from 'vitest';
import { typesOf } from '../../clients/typescript/generate.js';
import { describeApi } from '../../registry/openapi.js';
import { routes } from '../../registry/routes/index.js';

test('api.ts is made from the routes there are: npm run client', async () =>
  expect(await typesOf(describeApi(routes))).toMatchFileSnapshot('../../clients/typescript/api.ts'));
