/** A whole registry as files, and back. */
import { z } from 'zod';
import { exportRegistry, Restored, restoreRegistry } from '../export.js';
import { Sha256 } from '../requests.js';
import { Download, route } from './route.js';

const exportAll = route({
  id: 'exportRegistry',
  method: 'GET',
  path: '/v1/export',
  summary: 'the whole registry as files',
  response: Download,
  handle: (_request, { pool, config }) => exportRegistry(pool, config.filesDir),
});

const restore = route({
  id: 'restoreRegistry',
  method: 'POST',
  path: '/v1/restore',
  summary: 'such files into an empty registry',
  body: z.strictObject({ file: Sha256 }),
  example: { file: 'e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855' },
  response: Restored,
  handle: ({ body }, { pool, config }) => restoreRegistry(pool, config.filesDir, body.file),
});

export default [exportAll, restore];
