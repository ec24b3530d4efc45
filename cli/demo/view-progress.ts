/** How far each view is, as the registry says it. */
import type { Schemas } from '../../clients/typescript/index.js';
import type { StoredView } from '../../core/definition.js';
import type { Client } from '../client.js';
import type { DemoReport } from './report.js';

export async function readViewProgress(
  client: Client,
  views: readonly StoredView[],
): Promise<DemoReport['views']> {
  const found: DemoReport['views'] = [];
  for (const view of views) {
    const { version, lastTick, rows } = await client.get<Schemas['ViewProgress']>(
      `/v1/views/${encodeURIComponent(view.name)}/progress`,
    );
    found.push({
      view: view.name,
      version,
      kind: view.kind === 'sql' ? 'sql' : view.mode.type,
      lastTick,
      rows,
    });
  }
  return found;
}
