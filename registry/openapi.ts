/**
 * The OpenAPI 3.1 document of the HTTP API, made from the routes: from the very schemas that requests are checked by. Pure.
 * A schema with an id (`.meta({ id: 'Run' })`) is a component of that name, one of core/definition.ts by the name of its export;
 * a body or an answer without is named after its operation.
 */
import { z } from 'zod';
import * as definition from '../core/definition.js';
import { ERRORS, type ErrorCode } from '../core/error.js';
import { mediaTypeOf, type Route } from './routes/route.js';

export const OpenApi = z.looseObject({
  openapi: z.literal('3.1.1'),
  info: z.record(z.string(), z.unknown()),
  paths: z.record(z.string(), z.record(z.string(), z.unknown())),
  components: z.record(z.string(), z.record(z.string(), z.unknown())),
});
export type OpenApi = z.infer<typeof OpenApi>;

type Json = Record<string, unknown>;

/** Every answer of 400 and above: RFC 9457 with our code, fix and place beside. */
export const Problem = z
  .looseObject({
    type: z.string(),
    title: z.string(),
    status: z.number().int(),
    code: z.enum(Object.keys(ERRORS) as [ErrorCode, ...ErrorCode[]]),
    fix: z.string(),
  })
  .meta({ id: 'Problem' });

const PROBLEM_ANSWER = { $ref: '#/components/responses/Problem' };

export function describeApi(routes: readonly Route[]): OpenApi {
  nameSchemas(routes);
  const paths: Record<string, Json> = {};
  for (const route of routes) {
    paths[route.path] ??= {};
    paths[route.path]![route.method.toLowerCase()] = operationOf(route);
  }
  const { schemas } = z.toJSONSchema(z.globalRegistry, {
    io: 'input',
    uri: refTo,
    unrepresentable: 'any',
    override({ zodSchema, jsonSchema }) {
      if (zodSchema instanceof z.ZodBigInt) jsonSchema.type = 'integer'; // JSON has no other
    },
  });
  return {
    openapi: '3.1.1',
    info: {
      title: 'Almanac registry',
      version: '1',
      description: 'Definitions, versions and runs of a feature store.',
    },
    paths,
    components: {
      schemas: Object.fromEntries(Object.entries(schemas).map(([id, schema]) => [id, bare(schema)])),
      responses: {
        Problem: {
          description: 'what went wrong, by its code, and the fix',
          content: { 'application/problem+json': { schema: { $ref: refTo('Problem') } } },
        },
      },
      headers: {
        ETag: { description: 'of the answer; give it as If-None-Match', schema: { type: 'string' } },
      },
    },
  };
}

const refTo = (id: string): string => `#/components/schemas/${id}`;

function nameSchemas(routes: readonly Route[]): void {
  const name = (schema: z.ZodType, id: string): void => {
    if (schema.meta()?.id === undefined) z.globalRegistry.add(schema, { ...schema.meta(), id });
  };
  for (const [id, schema] of Object.entries(definition)) if (schema instanceof z.ZodType) name(schema, id);
  for (const { id, body, response } of routes) {
    const operation = `${id[0]!.toUpperCase()}${id.slice(1)}`;
    if (body !== null && isJson(body)) name(body, `${operation}Body`);
    if (isJson(response)) name(response, `${operation}Answer`);
  }
}

const isJson = (schema: z.ZodType): boolean => mediaTypeOf(schema) === 'application/json';

function operationOf({ id, summary, params, query, body, response, status, ...route }: Route): Json {
  const isTagged = route.method === 'GET' && isJson(response);
  const success = {
    description: summary,
    ...(isTagged && { headers: { ETag: { $ref: '#/components/headers/ETag' } } }),
    content: contentOf(response),
  };
  return {
    operationId: id,
    summary,
    parameters: [
      ...parametersOf(params, 'path'),
      ...parametersOf(query, 'query'),
      ...(isTagged ? [headerOf('If-None-Match')] : []),
      ...(route.ifMatch ? [headerOf('If-Match')] : []),
    ],
    ...(body !== null && { requestBody: { required: true, content: contentOf(body, route.example) } }),
    responses: {
      [status]: success,
      ...(route.otherwise && { [route.otherwise.status]: success }),
      ...(isTagged && { 304: { description: 'it is as it was: If-None-Match names it' } }),
      default: PROBLEM_ANSWER,
    },
  };
}

function contentOf(schema: z.ZodType, example?: unknown): Json {
  const id = schema.meta()?.id;
  const described = isJson(schema) ? { $ref: refTo(id!) } : { type: 'string', format: 'binary' };
  return { [mediaTypeOf(schema)]: { schema: described, ...(example !== undefined && { example }) } };
}

function parametersOf(schema: z.ZodType, place: 'path' | 'query'): Json[] {
  const { properties = {}, required = [] } = z.toJSONSchema(schema, { io: 'input' });
  return Object.entries(properties).map(([name, property]) => ({
    name,
    in: place,
    required: required.includes(name),
    schema: property,
  }));
}

function headerOf(name: string): Json {
  return { name, in: 'header', required: false, schema: { type: 'string' } };
}

/** A component says neither its dialect, which is that of OpenAPI 3.1, nor its own address. */
function bare({ $schema: _dialect, $id: _address, ...schema }: Json): Json {
  return schema;
}
