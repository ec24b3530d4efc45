/** The text of api.ts. A workspace of its own holds the generator: it needs the programming interface of TypeScript 5 (docs/decisions/0018). */
import openapi, { astToString } from 'openapi-typescript';
import ts from 'typescript';

const Blob = ts.factory.createTypeReferenceNode('Blob');

/** @param document OpenAPI 3.1 */
export async function typesOf(document: object): Promise<string> {
  const types = await openapi(JSON.stringify(document), {
    transform: (schema) => (schema.format === 'binary' ? Blob : undefined),
  });
  return `// Made from the OpenAPI document of the registry by \`npm run client\`.\n\n${astToString(types)}`;
}
