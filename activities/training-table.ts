/**
 * A training set's columns side by side: the dataframe's, the stored views', the on-demand features computed from both; a record
 * batch at a time.
 */
import { join } from 'node:path';
import { type RecordBatch, Schema } from 'apache-arrow';
import type { FeatureType } from '../core/definition.js';
import type { FeatureValue } from '../core/event.js';
import { type CompiledOnDemand, compileOnDemand, splitReference } from '../core/on-demand.js';
import { featureData, featureField, featureReader, makeBatch, openArrowFile } from './arrow.js';
import { beat } from './heartbeat.js';
import type { TrainingSetManifest } from './manifest.js';
import { columnOf, EVENT_TIMESTAMP } from './offline/dataframe.js';
import type { Wanted } from './wanted.js';

export interface TrainingTable {
  schema: Schema;
  /** In the order of their columns, which come after the dataframe's and have their names. */
  features: ReadonlyArray<{ view: string; feature: string; type: FeatureType }>;
  batches: () => AsyncGenerator<RecordBatch>;
}

/** @param work the folder of frame.arrow and, for the n-th view, <n>.arrow */
export async function openTable(
  manifest: TrainingSetManifest,
  wanted: Wanted,
  work: string,
): Promise<TrainingTable> {
  const types = new Map<string, FeatureType>();
  for (const { version } of wanted.stored)
    for (const { name, type } of version.view.features) types.set(`${version.view.name}:${name}`, type);
  const onDemand = wanted.onDemand.map((version) => {
    for (const { name, type } of version.view.features) types.set(`${version.view.name}:${name}`, type);
    return compileOnDemand(version.view, (view, feature) => types.get(`${view}:${feature}`)!);
  });
  const columns = manifest.features.map((reference) => ({
    ...splitReference(reference),
    type: types.get(reference)!,
  }));
  const frame = await openArrowFile(join(work, 'frame.arrow'));
  const frameFields = frame.schema.fields;
  await frame.close();
  const schema = new Schema([
    ...frameFields,
    ...columns.map(({ feature, type }) => featureField(feature, type)),
  ]);

  async function* batches(): AsyncGenerator<RecordBatch> {
    const frame = await openArrowFile(join(work, 'frame.arrow'));
    const parts = await Promise.all(manifest.views.map((_, i) => openArrowFile(join(work, `${i}.arrow`))));
    try {
      const streams = parts.map((part) => part.batches());
      for await (const batch of frame.batches()) {
        const views = new Map<string, RecordBatch>();
        for (const [i, stream] of streams.entries()) {
          const next = await stream.next();
          if (next.done || next.value.numRows !== batch.numRows)
            throw new Error(`the columns of view ${manifest.views[i]!.view} do not fit the dataframe`);
          views.set(manifest.views[i]!.view, next.value);
        }
        const computed = new Map(
          onDemand.map((compiled) => [
            compiled.view.name,
            answerOnDemand(compiled, batch, views, types, manifest.strict),
          ]),
        );
        const children = columns.map(({ view, feature, type }) => {
          const stored = views.get(view);
          if (stored) return columnOf(stored, feature).data[0]!;
          return featureData(type, computed.get(view)!.get(feature)!);
        });
        yield makeBatch(schema, batch.numRows, [
          ...frameFields.map((_, i) => batch.getChildAt(i)!.data[0]!),
          ...children,
        ]);
        beat();
      }
    } finally {
      await Promise.all([frame, ...parts].map((file) => file.close()));
    }
  }
  return { schema, features: columns, batches };
}

/** By feature, its values. The clock is the row's time. */
function answerOnDemand(
  compiled: CompiledOnDemand,
  frame: RecordBatch,
  views: ReadonlyMap<string, RecordBatch>,
  types: ReadonlyMap<string, FeatureType>,
  strict: boolean,
): Map<string, FeatureValue[]> {
  const at = featureReader(columnOf(frame, EVENT_TIMESTAMP), 'timestamp');
  const request = compiled.request.map(({ name, type }) => featureReader(columnOf(frame, name), type));
  const inputs = compiled.inputs.map(({ view, feature }) =>
    featureReader(columnOf(views.get(view)!, feature), types.get(`${view}:${feature}`)!),
  );
  const columns = compiled.view.features.map(() => [] as FeatureValue[]);
  for (let row = 0; row < frame.numRows; row++) {
    const { values } = compiled.evaluate(
      request.map((read) => read(row)),
      inputs.map((read) => ({ value: read(row), status: 'PRESENT' })), // expressions look at ERROR alone
      (at(row) as number) - (strict ? 1 : 0),
    );
    values.forEach((value, i) => {
      columns[i]!.push(value);
    });
  }
  return new Map(compiled.view.features.map(({ name }, i) => [name, columns[i]!]));
}
