import type { Schemas } from '../../clients/typescript/index.js';
import { LINEAGE_KINDS, type Node } from '../../core/describe.js';
import { wrap } from '../../core/render-plan.js';
import { connect } from '../address.js';
import type { Client } from '../client.js';
import { UsageError } from '../errors.js';
import type { Call } from '../program.js';

export type Edges = Schemas['Lineage']['edges'];

export default async function lineage(call: Call<{ registry?: string }>): Promise<void> {
  const [kind = '', name = ''] = call.args;
  if (!LINEAGE_KINDS.some((each) => each === kind))
    throw new UsageError(`there is no kind "${kind}"`, `say one of: ${LINEAGE_KINDS.join(', ')}`);
  const node = { kind, name } as Node;
  const { up, down } = await askLineage(connect(call), node);
  call.out.result({ ...node, up, down }, () => `${labelOf(node)}\n${renderLineage(node, up, down)}`);
}

/** What it is made of, and what is made of it: every step of every way. */
export async function askLineage(
  client: Client,
  { kind, name }: Node,
): Promise<Record<'up' | 'down', Edges>> {
  const path = `/v1/lineage/${kind}/${encodeURIComponent(name)}?direction=`;
  const [up, down] = await Promise.all(
    ['up', 'down'].map((direction) => client.get<Schemas['Lineage']>(`${path}${direction}`)),
  );
  return { up: up!.edges, down: down!.edges };
}

/** Both ways as trees, each a heading with what is below deeper. */
export function renderLineage(node: Node, up: Edges, down: Edges): string {
  const lines: string[] = [];
  if (up.length > 0) lines.push('', 'made of', ...tree(node, up, 'to', 'from'));
  if (down.length > 0) lines.push('', 'makes', ...tree(node, down, 'from', 'to'));
  return lines.map((line) => `${line}\n`).join('');
}

/** What several ways lead to is unfolded where it comes first. */
function tree(root: Node, edges: Edges, near: 'from' | 'to', far: 'from' | 'to'): string[] {
  const next = new Map<string, Node[]>();
  for (const edge of edges)
    next.set(labelOf(edge[near]), [...(next.get(labelOf(edge[near])) ?? []), edge[far]]);
  const seen = new Set<string>();
  const unfold = (node: Node, depth: number): string[] =>
    (next.get(labelOf(node)) ?? []).flatMap((each) => {
      const label = labelOf(each);
      const isKnown = seen.has(label) && next.has(label);
      seen.add(label);
      const lines = wrap(isKnown ? `${label} …` : label, '  '.repeat(depth));
      return isKnown ? lines : [...lines, ...unfold(each, depth + 1)];
    });
  return unfold(root, 1);
}

const labelOf = ({ kind, name }: Node): string => `${kind} ${name}`;
