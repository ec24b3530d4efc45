/** How far each view is, as the registry says it. */
import type { StoredView } from '../../core/definition.js';
import type { Client } from '../client.js';
import type { DemoReport } from './report.js';

interface ViewProgress {
  version: number;
  lastTick: string | null;
  rows: number | null;
}

export async function readViewProgress(
  client: Client,
  views: readonly StoredView[],
): Promise<DemoReport['views']> {
  const found: DemoReport['views'] = [];
  for (const view of views) {
    const { version, lastTick, rows } = await client.get<ViewProgress>(
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
