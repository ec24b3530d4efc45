/**
 * Training sets: for each row of an entity dataframe the features as they stood at that row's time, written to one file.
 *
 * The manifest (table training_set) fixes everything the answer depends on: dataframe, view versions, the archive up to a
 * sequence number, the ticks that were published. So a step may be repeated or killed at any point, and the same training set
 * can be built again to the same bytes. Steps hand each other files in <files>/training-set-<id>.work/:
 *   frame.arrow   the dataframe, checked and typed         <n>.arrow   the columns of the n-th view, in its rows
 */
import { rm, stat } from 'node:fs/promises';
import { join } from 'node:path';
import type { RecordBatch } from 'apache-arrow';
import { encodeKey } from '../core/codec/key.js';
import { FeatureStoreError } from '../core/error.js';
import { addValue, createSummary, type Summary } from '../core/statistics.js';
import type { TrainingMode } from '../core/sweep.js';
import type { Status } from '../core/vector.js';
import { getVersion, type StoredVersion } from '../registry/resolve.js';
import { answerViews, groupViews } from './answers.js';
import { encodeArrowFile, featureReader, typeName } from './arrow.js';
import type { Deps } from './deps.js';
import { beat } from './heartbeat.js';
import {
  assertSameBytes,
  assertSameRequest,
  completeManifest,
  findManifest,
  fixManifest,
  getManifest,
  type TrainingSetManifest,
  type TrainingSetRequest,
} from './manifest.js';
import { columnOf, prepareDataframe, readLabels, uploadedPath } from './offline/dataframe.js';
import { encodeParquetFile } from './offline/parquet.js';
import { decodeTicks, Published } from './offline/published.js';
import { writeStaged } from './offline/staged-file.js';
import { readClock } from './offline/ticks.js';
import { saveStatistics } from './statistics.js';
import { openTable, type TrainingTable } from './training-table.js';
import { resolveWanted, rulesOf, type Wanted, wantedOf } from './wanted.js';

/** What the workflow is told of it. */
export interface TrainingSetStatus {
  id: string;
  rows: number;
  /** Stored views, in the manifest's order. */
  views: string[];
  /** Places of views that are answered together. */
  groups: number[][];
  mode: TrainingMode;
  sequence: number;
}

export interface TrainingSetResult {
  id: string;
  file: string;
  sha256: string;
  bytes: number;
  rows: number;
  columns: number;
}

export function createTrainingSetActivities({ config, pool }: Deps) {
  const workPath = (id: string, file = ''): string =>
    join(config.filesDir, `training-set-${checkId(id)}.work`, file);

  return {
    /** Checks request and dataframe whole, then fixes the bound and writes the manifest; or finds the one there is. */
    async openTrainingSet(request: TrainingSetRequest): Promise<TrainingSetStatus> {
      const found = await findManifest(pool, checkId(request.id));
      if (found) assertSameRequest(found, request);
      const wanted = found ? await wantedOf(pool, found) : await resolveWanted(pool, request);
      const content = await prepareDataframe(
        {
          path: await existing(uploadedPath(config.filesDir, request.dataframe)),
          format: request.dataframeFormat,
        },
        workPath(request.id, 'frame.arrow'),
        rulesOf(wanted, found ? Date.parse(found.createdAt) : await readClock(pool)),
        beat,
      );
      const columns = content.fields.map((field) => ({ name: field.name, type: typeName(field.type) }));
      const manifest = found ?? (await fixManifest(pool, request, wanted, { rows: content.rows, columns }));
      return statusOf(manifest, wanted);
    },

    /** The columns of some stored views, by their place in the manifest, for every row; of each, how many rows had which status. */
    async answerTrainingViews({
      id,
      views,
    }: {
      id: string;
      views: number[];
    }): Promise<Array<Partial<Record<Status, number>>>> {
      const manifest = await getManifest(pool, id);
      const group = await Promise.all(
        views.map(async (index) => {
          const { versionId, features, published } = manifest.views[index]!;
          const version = (await getVersion(pool, versionId)) as StoredVersion;
          return { version, features, published: new Published(decodeTicks(published)) };
        }),
      );
      const { entity } = group[0]!.version;
      const labels = await readLabels(
        workPath(id, 'frame.arrow'),
        manifest.dataframe.rows,
        entity.keys,
        (parts) => encodeKey(entity, parts),
      );
      const answers = await answerViews(pool, group, labels, {
        mode: manifest.mode,
        strict: manifest.strict,
        sequence: manifest.archive.sequence,
      });
      for (const [i, each] of answers.entries())
        await writeStaged(workPath(id, `${views[i]}.arrow`), encodeArrowFile(each.schema, each.batches()));
      return answers.map(({ statuses }) => statuses);
    },

    /** Puts the columns together, computes on-demand features, writes the file and completes the manifest. */
    async finishTrainingSet({
      id,
      statuses,
    }: {
      id: string;
      statuses: Array<Partial<Record<Status, number>>>;
    }): Promise<TrainingSetResult> {
      const manifest = await getManifest(pool, id);
      const table = await openTable(manifest, await wantedOf(pool, manifest), workPath(id));
      const { output } = manifest.request;
      const file = `training-set-${id}.${output}`;
      const summaries = table.features.map(({ type }) => createSummary(type));
      const batches = counted(table, summaries);
      const written = await writeStaged(
        join(config.filesDir, file),
        output === 'arrow'
          ? encodeArrowFile(table.schema, batches)
          : encodeParquetFile(table.schema, batches),
        (bytes) => assertSameBytes(manifest, bytes),
      );
      for (const { view, versionId } of [...manifest.views, ...manifest.onDemand])
        await saveStatistics(
          pool,
          { versionId, what: 'training-set', reference: id },
          table.features.flatMap((each, i) =>
            each.view === view ? [[each.feature, summaries[i]!] as const] : [],
          ),
        );
      await completeManifest(pool, manifest, {
        file,
        output: {
          format: output,
          ...written,
          rows: manifest.dataframe.rows,
          columns: table.schema.fields.map((field) => ({ name: field.name, type: typeName(field.type) })),
          statuses: Object.fromEntries(manifest.views.map(({ view }, i) => [view, statuses[i]!])),
        },
      });
      return {
        id,
        file,
        sha256: written.sha256,
        bytes: written.bytes,
        rows: manifest.dataframe.rows,
        columns: table.schema.fields.length,
      };
    },

    /** Removes what the steps handed each other; and the manifest of one that was never complete, so that a failure leaves nothing. */
    async tidyTrainingSet({ id }: { id: string }): Promise<void> {
      await rm(workPath(id), { recursive: true, force: true });
      await pool.query(`delete from training_set where id = $1 and manifest->>'file' is null`, [id]);
    },
  };
}

/** The batches as they are; the values of each feature are counted as they pass. */
async function* counted(
  { features, batches }: TrainingTable,
  summaries: readonly Summary[],
): AsyncGenerator<RecordBatch> {
  for await (const batch of batches()) {
    features.forEach(({ feature, type }, i) => {
      const read = featureReader(columnOf(batch, feature), type);
      for (let row = 0; row < batch.numRows; row++) addValue(summaries[i]!, read(row));
    });
    yield batch;
  }
}

/** Ids become names of files. */
function checkId(id: string): string {
  if (/^[A-Za-z0-9][A-Za-z0-9_.-]{0,99}$/.test(id)) return id;
  throw new FeatureStoreError(
    'FS_REQUEST_INVALID',
    `${JSON.stringify(id.slice(0, 120))} cannot be a training set's id`,
    {
      fix: 'use 1 to 100 letters, digits, points, dashes and underscores',
    },
  );
}

async function existing(path: string): Promise<string> {
  const found = await stat(path).catch((error: NodeJS.ErrnoException) => {
    if (error.code !== 'ENOENT') throw error;
    return null;
  });
  if (found) return path;
  throw new FeatureStoreError('FS_NOT_FOUND', `there is no uploaded file ${path.split('/').at(-1)}`, {
    fix: 'upload the dataframe first (POST /v1/files)',
  });
}

function statusOf(
  { id, dataframe, views, mode, archive }: TrainingSetManifest,
  { stored }: Wanted,
): TrainingSetStatus {
  return {
    id,
    rows: dataframe.rows,
    views: views.map(({ view, version }) => `${view}@${version}`),
    groups: groupViews(stored.map(({ version }) => version)),
    mode,
    sequence: archive.sequence,
  };
}
