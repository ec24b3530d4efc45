import { createReadStream, createWriteStream } from 'node:fs';
import { mkdir, mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { createInterface } from 'node:readline';
import { MANIFEST, readBundleLine, readManifest } from '../../core/bundle.js';
import { connect } from '../address.js';
import { UsageError } from '../errors.js';
import type { Call } from '../program.js';
import { formatCount } from '../text.js';

export default async function exportAll(call: Call<{ registry?: string }>): Promise<void> {
  const { out } = call;
  const dir = call.args[0]!;
  const before = await filesBefore(dir);
  const client = connect(call);
  const files = await out.step(`exporting to ${dir}`, async (step) => {
    const temporary = await mkdtemp(join(tmpdir(), 'almanac-export-'));
    try {
      const bundle = join(temporary, 'bundle');
      await client.download('/v1/export', () => createWriteStream(bundle));
      const written = await unpack(bundle, dir);
      for (const path of before) if (!written.has(path)) await rm(join(dir, path), { force: true });
      step.done(`${formatCount(written.size)} files`);
      return [...written].sort();
    } finally {
      await rm(temporary, { recursive: true });
    }
  });
  out.result({ dir, files }, () => '');
}

/** Those of the export that is there. Nobody's other files are written over. */
async function filesBefore(dir: string): Promise<string[]> {
  let names: string[];
  try {
    names = await readdir(dir);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return [];
    throw new UsageError(`${dir} is no folder that can be read`, 'name another', { file: dir });
  }
  if (names.filter((name) => !name.startsWith('.')).length === 0) return [];
  if (!names.includes(MANIFEST))
    throw new UsageError(`${dir} holds something that is no export`, 'name an empty folder, or a new one', {
      file: dir,
    });
  return Object.keys(readManifest(await readFile(join(dir, MANIFEST), 'utf8')).files);
}

/** The manifest comes last: until then what is in the folder is no whole export. */
async function unpack(bundle: string, dir: string): Promise<Set<string>> {
  const written = new Set<string>();
  for await (const line of createInterface({ input: createReadStream(bundle), crlfDelay: Infinity })) {
    const { path, text } = readBundleLine(line);
    await mkdir(join(dir, dirname(path)), { recursive: true });
    await writeFile(join(dir, path), text);
    written.add(path);
  }
  return written;
}
