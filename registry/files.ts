/** Uploaded and written files: streamed, never held in memory, named by their content. Registry and workers share the directory. */
import { createHash, randomUUID } from 'node:crypto';
import { createReadStream, createWriteStream, type ReadStream } from 'node:fs';
import { mkdir, open, readdir, rename, rm, stat } from 'node:fs/promises';
import { basename, join } from 'node:path';
import type { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { FeatureStoreError } from '../core/error.js';

const UPLOAD = '.upload-';
// Longer than any upload lives: what is older was left by a killed process.
const LEFT_BEHIND_MS = 24 * 3_600_000;

/** Keeps a stream as <directory>/<sha256>. A broken one leaves nothing. */
export async function keepFile(
  directory: string,
  content: Readable,
): Promise<{ sha256: string; bytes: number }> {
  const temporary = join(directory, `${UPLOAD}${randomUUID()}`);
  const hash = createHash('sha256');
  let bytes = 0;
  try {
    await mkdir(directory, { recursive: true });
    await pipeline(
      content,
      async function* (chunks: AsyncIterable<Buffer>) {
        for await (const chunk of chunks) {
          hash.update(chunk);
          bytes += chunk.length;
          yield chunk;
        }
      },
      createWriteStream(temporary, { flags: 'wx', flush: true }),
    );
    if (bytes === 0)
      throw new FeatureStoreError('FS_REQUEST_INVALID', 'the file is empty', {
        fix: 'send a file with a header and rows',
      });
    const sha256 = hash.digest('hex');
    await rename(temporary, join(directory, sha256)); // over an equal one, if there is one
    await syncFolder(directory); // the name, too, survives a power cut
    return { sha256, bytes };
  } catch (error) {
    await rm(temporary, { force: true });
    throw translate(error, directory);
  }
}

/** A stream whose length is known when it is whole: kept in a file that is gone once it was read. A broken one leaves nothing. */
export async function spoolFile(
  directory: string,
  content: Readable,
): Promise<{ bytes: number; stream: ReadStream }> {
  const temporary = join(directory, `${UPLOAD}${randomUUID()}`);
  try {
    await mkdir(directory, { recursive: true });
    await pipeline(content, createWriteStream(temporary, { flags: 'wx' }));
    const file = await open(temporary);
    return { bytes: (await file.stat()).size, stream: file.createReadStream() };
  } catch (error) {
    throw translate(error, directory);
  } finally {
    await rm(temporary, { force: true }); // whoever has it open reads on
  }
}

async function syncFolder(directory: string): Promise<void> {
  const folder = await open(directory);
  try {
    await folder.sync();
  } finally {
    await folder.close();
  }
}

/** Throws FS_NOT_FOUND for a file that was not uploaded. */
export async function assertFile(directory: string, sha256: string): Promise<void> {
  await sizeOf(directory, sha256, 'upload it first: POST /v1/files');
}

/** A file by its name in the directory. Throws FS_NOT_FOUND. */
export async function readKeptFile(
  directory: string,
  name: string,
): Promise<{ bytes: number; stream: ReadStream }> {
  const bytes = await sizeOf(directory, basename(name), 'make it again');
  return { bytes, stream: createReadStream(join(directory, basename(name))) };
}

async function sizeOf(directory: string, name: string, fix: string): Promise<number> {
  try {
    return (await stat(join(directory, name))).size;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw translate(error, directory);
    throw new FeatureStoreError('FS_NOT_FOUND', `there is no file ${name}`, { fix, file: name });
  }
}

/** Removes uploads that a killed process left half done. */
export async function removeLeftUploads(directory: string, now: number): Promise<void> {
  await mkdir(directory, { recursive: true });
  for (const name of await readdir(directory)) {
    if (!name.startsWith(UPLOAD)) continue;
    const found = await stat(join(directory, name)).catch(() => null); // another process may be doing the same
    if (found && now - found.mtimeMs > LEFT_BEHIND_MS) await rm(join(directory, name), { force: true });
  }
}

function translate(error: unknown, directory: string): unknown {
  const code = error instanceof Error && 'code' in error ? error.code : undefined;
  if (code === 'ENOSPC' || code === 'EDQUOT')
    return new FeatureStoreError(
      'FS_DISK_FULL',
      `no space left in ${directory}`,
      { fix: 'free space on the disk of ALMANAC_FILES_DIR; then try again' },
      { cause: error },
    );
  if (code === 'EACCES' || code === 'EROFS' || code === 'ENOTDIR')
    return new FeatureStoreError(
      'FS_CONFIG_INVALID',
      `${directory} cannot be written: ${String(code)}`,
      { fix: 'make it writable, or set ALMANAC_FILES_DIR', variable: 'ALMANAC_FILES_DIR' },
      { cause: error },
    );
  if (code === 'ERR_STREAM_PREMATURE_CLOSE' || code === 'ECONNRESET' || code === 'ECONNABORTED')
    return new FeatureStoreError(
      'FS_REQUEST_INVALID',
      'the upload broke off',
      { fix: 'send it again' },
      { cause: error },
    );
  return error;
}
