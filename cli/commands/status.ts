import { FeatureStoreError } from '../../core/error.js';
import { connect } from '../address.js';
import { findRunningStack } from '../local.js';
import type { Call } from '../program.js';
import { formatTable, formatValue } from '../text.js';

export default async function status(
  call: Call<{ registry?: string; env?: boolean; name?: string }>,
): Promise<void> {
  const { options, out } = call;
  if (options.env) {
    const stack = findRunningStack(options.name === undefined ? undefined : [options.name]);
    if (!stack)
      throw new FeatureStoreError('FS_CONFIG_MISSING', 'no local stack runs', {
        fix: 'start one with "npm run up"',
      });
    out.result(stack.env, () =>
      Object.entries(stack.env)
        .map(([name, value]) => `export ${name}=${shellQuoted(value)}\n`)
        .join(''),
    );
    return;
  }
  const client = connect(call);
  const found = await client.get<Status>('/v1/status');
  out.result(found, () => renderStatus(found));
}

export interface Status {
  [part: string]: unknown;
}

/** Each part of the answer that is a list becomes a table. */
export function renderStatus(status: Status): string {
  return Object.entries(status)
    .map(([part, value]) => {
      if (!Array.isArray(value)) return `${part}  ${formatValue(value)}\n`;
      if (value.length === 0) return `\n${part}: none\n`;
      const names = [...new Set(value.flatMap((row) => Object.keys(row as object)))];
      const rows = value.map((row) =>
        names.map((name) => {
          const cell = (row as Record<string, unknown>)[name];
          if (cell === null || cell === undefined) return null;
          return typeof cell === 'number' || typeof cell === 'string' ? cell : JSON.stringify(cell);
        }),
      );
      return `\n${part}\n${formatTable(names, rows)}`;
    })
    .join('');
}

function shellQuoted(text: string): string {
  return /^[\w@%+=:,./-]+$/.test(text) ? text : `'${text.replaceAll("'", `'\\''`)}'`;
}
