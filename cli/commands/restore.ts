import { createWriteStream } from 'node:fs';
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import type { Schemas } from '../../clients/typescript/index.js';
import { bundleLine, MANIFEST, readManifest } from '../../core/bundle.js';
import type { Source } from '../../core/definition.js';
import { FeatureStoreError } from '../../core/error.js';
import { streamOf } from '../../core/stream.js';
import { connect } from '../address.js';
import type { Call } from '../program.js';

export default async function restore(call: Call<{ registry?: string }>): Promise<void> {
  const { out } = call;
  const dir = call.args[0]!;
  const client = connect(call);
  const manifest = await read(dir, MANIFEST);
  const { files } = readManifest(manifest);
  const restored = await out.step(`restoring ${dir}`, async () => {
    const temporary = await mkdtemp(join(tmpdir(), 'almanac-restore-'));
    try {
      const bundle = join(temporary, 'bundle');
      await pipeline(
        Readable.from(linesOf(dir, [...Object.keys(files), MANIFEST])),
        createWriteStream(bundle),
      );
      const { sha256 } = await client.upload(bundle);
      return await client.post<Schemas['RestoreRegistryAnswer']>('/v1/restore', {
        file: sha256,
      });
    } finally {
      await rm(temporary, { recursive: true });
    }
  });
  const { definitions } = await client.get<Schemas['GetDefinitionsAnswer']>('/v1/definitions');
  out.result(
    restored,
    () =>
      `revision ${restored.revision}: ${restored.versions} versions, ${restored.sources} sources; their archives are empty\n${next(definitions.sources)}`,
  );
}

/** What brings back what no export holds. */
function next(sources: readonly Source[]): string {
  const imports = sources.flatMap(({ name, input }) => {
    if (input.type === 'topic') return [];
    return `almanac import ${name}${input.type === 'file' ? ` --file <${input.format}>` : ''}`;
  });
  const streams = sources.flatMap((each) => (streamOf(each) ? `almanac stream resume ${each.name}` : []));
  if (sources.length === 0) return '';
  return ['\nnext', ...imports, 'almanac backfill --all', ...streams].join('\n  ').concat('\n');
}

async function* linesOf(dir: string, paths: readonly string[]): AsyncGenerator<string> {
  for (const path of paths) {
    const line = bundleLine(path, await read(dir, path));
    yield line;
  }
}

async function read(dir: string, path: string): Promise<string> {
  try {
    return await readFile(join(dir, path), 'utf8');
  } catch (error) {
    throw new FeatureStoreError(
      'FS_DATA_INVALID',
      `${path} is missing in ${dir}`,
      { fix: 'give a whole export: almanac export <dir>', file: path },
      { cause: error },
    );
  }
}
