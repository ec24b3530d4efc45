/** The API, described for programs. */
import { OpenApi } from '../openapi.js';
import { route } from './route.js';

const get = route({
  id: 'getOpenApi',
  method: 'GET',
  path: '/v1/openapi.json',
  summary: 'this API in OpenAPI 3.1',
  response: OpenApi,
  handle: (_request, { document }) => document,
});

export default [get];
