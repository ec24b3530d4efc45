/** Uploads, and what becomes of them: imports into the archive. */
import { z } from 'zod';
import { FeatureStoreError } from '../../core/error.js';
import { formatTimestamp } from '../../core/time.js';
import { assertFile, keepFile } from '../files.js';
import { PageQuery, pageOf } from '../page.js';
import { By, Count, Instant, readInstant, Sha256, Text } from '../requests.js';
import { findRevision, getSource } from '../resolve.js';
import type { StartRun } from '../runs.js';
import { ImportStatus, listImports } from '../status.js';
import { type RouteDeps, route, Started, startAsked, Upload } from './route.js';

const upload = route({
  id: 'uploadFile',
  method: 'POST',
  path: '/v1/files',
  summary: 'upload a file',
  body: Upload,
  response: z.strictObject({ sha256: Sha256, bytes: Count }),
  handle: ({ body }, { config }) => keepFile(config.filesDir, body),
});

const ImportBody = z.strictObject({
  source: Text,
  file: Sha256.exactOptional(),
  name: Text.max(100).exactOptional(),
  format: z.enum(['csv', 'arrow']).exactOptional(),
  shiftMs: Count.exactOptional(),
  until: Instant.exactOptional(),
  by: By,
});

const startImport = route({
  id: 'startImport',
  method: 'POST',
  path: '/v1/imports',
  summary: 'a file or a table into the archive → run',
  body: ImportBody,
  example: {
    source: 'orders',
    file: '9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08',
    name: 'orders-2026',
  },
  response: Started,
  status: 202,
  handle: async ({ body }, deps) => startAsked(deps, body.by, await importRun(deps, body)),
});

const list = route({
  id: 'listImports',
  method: 'GET',
  path: '/v1/imports',
  summary: 'which there are, and how far they are',
  query: PageQuery,
  response: pageOf(ImportStatus),
  handle: async ({ query }, { pool }) =>
    listImports(pool, query, (await findRevision(pool))?.definitions.sources ?? []),
});

export default [upload, startImport, list];

async function importRun(
  { pool, config }: Pick<RouteDeps, 'pool' | 'config'>,
  body: z.infer<typeof ImportBody>,
): Promise<StartRun> {
  const source = await getSource(pool, body.source);
  const refuse = (message: string, fix: string): never => {
    throw new FeatureStoreError('FS_REQUEST_INVALID', message, { fix, source: source.name });
  };
  const { input } = source;
  if (input.type === 'topic')
    refuse(`source "${source.name}" is the topic ${input.topic}`, 'produce to it, or POST /push');
  if (input.type === 'table' && (body.file !== undefined || body.format !== undefined))
    refuse(
      `source "${source.name}" is the table ${input.table}; it takes no file`,
      'leave out file and format',
    );
  if (input.type === 'file' && body.file === undefined)
    refuse(
      `source "${source.name}" takes a file`,
      'give one: almanac import <source> --file <path>; over HTTP, POST /v1/files first and give its sha256',
    );
  if (body.file !== undefined) await assertFile(config.filesDir, body.file);
  const name = body.name ?? body.file?.slice(0, 16) ?? 'table';
  return {
    workflow: 'importSource',
    id: `import/${source.name}/${name}`,
    input: {
      source: source.name,
      name,
      shiftMs: body.shiftMs ?? 0,
      ...(body.file === undefined ? {} : { file: body.file }),
      ...(input.type === 'file' ? { format: body.format ?? input.format } : {}),
      ...(body.until === undefined ? {} : { until: formatTimestamp(readInstant('until', body.until)) }),
    },
    summary: `import ${name} into ${source.name}`,
    owner: source.owner,
  };
}
