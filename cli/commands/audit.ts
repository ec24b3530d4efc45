import type { Schemas } from '../../clients/typescript/index.js';
import { connect } from '../address.js';
import type { Call } from '../program.js';
import { formatTable } from '../text.js';

export default async function audit(
  call: Call<{ registry?: string; who?: string; kind?: string; of?: string; last: number }>,
): Promise<void> {
  const { who, kind, of: name, last } = call.options;
  const query = new URLSearchParams({ limit: String(last) });
  for (const [filter, value] of Object.entries({ who, kind, name }))
    if (value !== undefined) query.set(filter, value);
  const { items } = await connect(call).get<Schemas['ListAuditAnswer']>(`/v1/audit?${query.toString()}`);
  call.out.result({ entries: items }, () =>
    formatTable(
      ['when', 'who', 'did', 'to', 'in'],
      items.map(({ at, who: by, action, kind: of, name: named, workflow }) => [
        at,
        by,
        action,
        `${of} ${named}`,
        workflow,
      ]),
      80,
    ),
  );
}
