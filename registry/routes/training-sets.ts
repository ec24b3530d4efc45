/** Features of past moments, in a file. */
import { z } from 'zod';
import { FeatureStoreError } from '../../core/error.js';
import { formatTimestamp } from '../../core/time.js';
import { assertFile, readKeptFile } from '../files.js';
import { PageQuery, pageOf, readPage } from '../page.js';
import { By, Count, Reference, Sha256, Text, Timestamp } from '../requests.js';
import { assertTrainingSets, findRevision, unknownName } from '../resolve.js';
import type { Pool } from '../sql.js';
import { Download, newId, route, Started, startAsked } from './route.js';

const TrainingSet = z
  .strictObject({
    id: z.string(),
    /** Everything the file depends on, then what it is (activities/manifest.ts). */
    manifest: z.record(z.string(), z.unknown()),
    createdAt: Timestamp,
  })
  .meta({ id: 'TrainingSet' });
type TrainingSet = z.infer<typeof TrainingSet>;

const TrainingSetItem = z
  .strictObject({
    id: z.string(),
    service: z.string().nullable(),
    mode: z.string().nullable(),
    /** null: it is not written yet. */
    rows: Count.nullable(),
    createdAt: Timestamp,
  })
  .meta({ id: 'TrainingSetItem' });
type TrainingSetItem = z.infer<typeof TrainingSetItem>;

const start = route({
  id: 'startTrainingSet',
  method: 'POST',
  path: '/v1/training-sets',
  summary: 'features of past moments into a file → run',
  body: z
    .strictObject({
      dataframe: Sha256,
      dataframeFormat: z.enum(['csv', 'arrow']),
      service: Text.exactOptional(),
      features: z.array(Reference).min(1).max(10_000).exactOptional(),
      mode: z.enum(['known-then', 'event-time']),
      strict: z.boolean().default(false),
      output: z.enum(['arrow', 'parquet']),
      by: By,
    })
    .refine((body) => (body.service === undefined) !== (body.features === undefined), {
      path: ['service'],
      message: 'give either service or features',
    }),
  example: {
    dataframe: '9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08',
    dataframeFormat: 'csv',
    service: 'recommendation',
    mode: 'known-then',
    output: 'parquet',
  },
  response: Started,
  status: 202,
  async handle({ body: { by, ...body } }, { config, pool, runs, now }) {
    await assertFile(config.filesDir, body.dataframe);
    await assertFeatures(pool, body);
    const id = newId(now());
    return startAsked({ pool, runs }, by, {
      workflow: 'trainingSet',
      id: `training-set/${id}`,
      input: { id, ...body },
      summary: `training set of ${body.service ?? `${body.features?.length} features`}, ${body.mode}`,
    });
  },
});

const list = route({
  id: 'listTrainingSets',
  method: 'GET',
  path: '/v1/training-sets',
  summary: 'which there are',
  query: PageQuery,
  response: pageOf(TrainingSetItem),
  handle: ({ query }, { pool }) =>
    readPage(
      pool,
      {
        name: 'training-sets',
        sql: `select id, manifest ->> 'service' as service, manifest ->> 'mode' as mode,
                     (manifest -> 'output' ->> 'rows')::bigint as rows, created_at as "createdAt"
                from training_set`,
        key: { id: 'text' }, // begins with its time
        newestFirst: true,
      },
      query,
      (row: Omit<TrainingSetItem, 'createdAt'> & { createdAt: number }) => ({
        ...row,
        createdAt: formatTimestamp(row.createdAt),
      }),
    ),
});

const ById = z.strictObject({ id: z.string() });

const get = route({
  id: 'getTrainingSet',
  method: 'GET',
  path: '/v1/training-sets/{id}',
  summary: 'its manifest',
  params: ById,
  response: TrainingSet,
  handle: ({ params }, { pool }) => getTrainingSet(pool, params.id),
});

const download = route({
  id: 'downloadTrainingSet',
  method: 'GET',
  path: '/v1/training-sets/{id}/file',
  summary: 'its file',
  params: ById,
  response: Download,
  async handle({ params }, { config, pool }) {
    const { id, manifest } = await getTrainingSet(pool, params.id);
    const file = manifest.file;
    if (typeof file !== 'string')
      throw new FeatureStoreError('FS_NOT_FOUND', `training set ${id} has no file`, {
        fix: 'make it again',
        trainingSet: id,
      });
    return readKeptFile(config.filesDir, file);
  },
});

export default [start, list, get, download];

/** Throws FS_NOT_FOUND with the nearest id. */
async function getTrainingSet(pool: Pool, id: string): Promise<TrainingSet> {
  await assertTrainingSets(pool, [id]);
  const { rows } = await pool.query<{ manifest: Record<string, unknown>; at: number }>(
    'select manifest, created_at as at from training_set where id = $1',
    [id],
  );
  const { manifest, at } = rows[0]!;
  return { id, manifest, createdAt: formatTimestamp(at) };
}

/** The service or the features there are, by the nearest name where one is not. */
async function assertFeatures(pool: Pool, body: { service?: string; features?: string[] }): Promise<void> {
  const { views, services } = (await findRevision(pool))?.definitions ?? { views: [], services: [] };
  if (body.service !== undefined && !services.some(({ name }) => name === body.service))
    throw unknownName('service', body.service, services.map(({ name }) => name)); // biome-ignore format: short
  const known = views.flatMap((view) => view.features.map((feature) => `${view.name}:${feature.name}`));
  for (const feature of body.features ?? [])
    if (!known.includes(feature)) throw unknownName('feature', feature, known);
}
