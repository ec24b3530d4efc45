/** Files that are there whole or not at all: written under another name, flushed, then renamed. */
import { createHash, randomUUID } from 'node:crypto';
import { mkdir, open, rename, rm } from 'node:fs/promises';
import { dirname } from 'node:path';

export interface Written {
  sha256: string;
  bytes: number;
}

/**
 * A full disk throws ENOSPC (FS_DISK_FULL at the activity's edge) and leaves nothing.
 * @param accept asked before the rename: if it throws, what stood under the name stays
 */
export async function writeStaged(
  path: string,
  chunks: AsyncIterable<Uint8Array>,
  accept: (written: Written) => void = () => {},
): Promise<Written> {
  await mkdir(dirname(path), { recursive: true });
  const staged = `${path}.${randomUUID()}.tmp`;
  const hash = createHash('sha256');
  let bytes = 0;
  try {
    const file = await open(staged, 'wx');
    try {
      for await (const chunk of chunks) {
        hash.update(chunk);
        bytes += chunk.length;
        await file.writeFile(chunk);
      }
      await file.sync();
    } finally {
      await file.close();
    }
    const written = { sha256: hash.digest('hex'), bytes };
    accept(written);
    await rename(staged, path);
    return written;
  } catch (error) {
    await rm(staged, { force: true });
    throw error;
  }
}
