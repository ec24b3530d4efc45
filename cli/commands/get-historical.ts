import { createWriteStream } from 'node:fs';
import { rename, rm, stat } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import { Writable } from 'node:stream';
import { connect } from '../address.js';
import type { Client, Run } from '../client.js';
import { UsageError } from '../errors.js';
import type { Output } from '../output.js';
import type { Call } from '../program.js';
import { followRun, startRun } from '../run.js';
import { formatFacts } from '../text.js';
import { featuresOption } from './arguments.js';
import { fileFormat, upload } from './import.js';

interface Options {
  registry?: string;
  service?: string;
  features?: string;
  out: string;
  mode: 'known-then' | 'event-time';
  strict?: boolean;
}

export default async function getHistorical(call: Call<Options>): Promise<void> {
  const { options, out } = call;
  const request: TrainingSetRequest = {
    dataframe: call.args[0]!,
    what: featuresOption(options.service, options.features),
    mode: options.mode,
    strict: options.strict ?? false,
    out: options.out,
  };
  if (request.out === '-' && out.json)
    throw new UsageError('--out - and --json both want stdout', 'write to a file, or leave out --json');
  outputFormat(request.out);
  fileFormat(request.dataframe);
  const client = connect(call);
  const made = await makeTrainingSet(client, request, out);
  if (request.out !== '-')
    out.result(made, () =>
      formatFacts([
        ['training set', made.id],
        ['written to', request.out],
        ['bytes', made.bytes],
      ]),
    );
}

export interface TrainingSetRequest {
  dataframe: string;
  what: { service: string } | { features: string[] };
  mode: 'known-then' | 'event-time';
  strict: boolean;
  out: string;
}

export interface MadeTrainingSet {
  id: string;
  out: string;
  bytes: number | null;
  run: Run;
}

export async function makeTrainingSet(
  client: Client,
  { dataframe, what, mode, strict, out: target }: TrainingSetRequest,
  out: Output,
): Promise<MadeTrainingSet> {
  const sha256 = await upload(client, dataframe, out);
  const run = await out.step(`joining features, ${mode}`, async (step) => {
    const started = await startRun(client, '/v1/training-sets', {
      dataframe: sha256,
      dataframeFormat: fileFormat(dataframe),
      ...what,
      mode,
      strict,
      output: outputFormat(target),
    });
    const finished = await followRun(client, started, step);
    if (finished.progress) step.done(`${finished.progress.done} ${finished.progress.unit}`);
    return finished;
  });
  const id = run.id.replace(/^training-set\//, '');
  await fetchTrainingSet(client, id, target, out);
  return { id, out: target, bytes: target === '-' ? null : (await stat(target)).size, run };
}

/** Under another name until it is whole. */
async function fetchTrainingSet(client: Client, id: string, target: string, out: Output): Promise<void> {
  const path = `/v1/training-sets/${encodeURIComponent(id)}/file`;
  await out.step(`fetching ${target === '-' ? 'the training set' : basename(target)}`, async (step) => {
    const onBytes = (done: number): void =>
      step.progress({ done, total: null, unit: 'bytes', ratePerSecond: null, message: '' });
    if (target === '-') {
      await client.download(path, stdout, onBytes, true);
      return;
    }
    const temporary = join(dirname(target), `.${basename(target)}.${process.pid}.part`);
    try {
      await client.download(path, () => createWriteStream(temporary), onBytes);
      await rename(temporary, target);
    } finally {
      await rm(temporary, { force: true });
    }
  });
}

/** stdout stays open: a pipeline would end it. */
function stdout(): Writable {
  return new Writable({
    write: (chunk: Uint8Array, _encoding, done) => void process.stdout.write(chunk, done),
  });
}

function outputFormat(target: string): 'arrow' | 'parquet' {
  if (target === '-' || target.endsWith('.arrow')) return 'arrow';
  if (target.endsWith('.parquet')) return 'parquet';
  throw new UsageError(
    `the name ${basename(target)} does not say which format to write`,
    'name it .parquet or .arrow, or - for Arrow to stdout',
  );
}
