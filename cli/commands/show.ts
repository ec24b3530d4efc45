import type { Schemas } from '../../clients/typescript/index.js';
import type { Node } from '../../core/describe.js';
import { nameOf } from '../../core/expectations.js';
import { wrap } from '../../core/render-plan.js';
import { formatDuration } from '../../core/time.js';
import { connect } from '../address.js';
import type { Call } from '../program.js';
import { formatCount, formatValue } from '../text.js';
import { viewArgument } from './arguments.js';
import { askLineage, type Edges, renderLineage } from './lineage.js';
import { formatFigure, formatTop } from './statistics.js';

type Feature = Schemas['CatalogFeature'];

export default async function show(call: Call<{ registry?: string }>): Promise<void> {
  const client = connect(call);
  const [reference = '', name] = call.args[0]!.split(/:(.*)/s);
  const { view } = viewArgument(reference);
  const path = `/v1/features/${encodeURIComponent(reference)}`;
  const features =
    name === undefined
      ? (await client.get<{ features: Feature[] }>(path)).features
      : [await client.get<Feature>(`${path}/${encodeURIComponent(name)}`)];
  const node: Node =
    name === undefined ? { kind: 'view', name: view } : { kind: 'feature', name: `${view}:${name}` };
  // Lineage is of what is read.
  const { state, models } = features[0]!;
  const isRead = state === 'live' || models.length > 0;
  const { up, down } = isRead ? await askLineage(client, node) : { up: [], down: [] };
  call.out.result({ features, up, down }, () => render(features, node, up, down));
}

function render(features: readonly Feature[], node: Node, up: Edges, down: Edges): string {
  const [
    {
      view,
      version,
      state,
      owner,
      contact,
      tags,
      entities,
      keys,
      computed,
      freshness,
      ttlMs,
      progress,
      models,
      lastRead,
    },
  ] = features as [Feature];
  const ofView = facts([
    ['owner', contact === null || contact === owner ? owner : `${owner}, ${contact}`],
    ['tags', tags.join(', ')],
    ['entity', `${entities.join(', ')} (${keys.join(', ')})`],
    ['computed', computed],
    [
      'freshness',
      freshness && `${freshness.tier}, expected every ${formatDuration(freshness.expectedEveryMs)}`,
    ],
    ['ttl', ttlMs === null ? null : formatDuration(ttlMs)],
    ['last event', progress.lastEvent],
    ['last write', progress.lastWrite],
    ['watermark', progress.watermark],
    ['models', models.join(', ')],
    ['last read', lastRead],
  ]);
  const lines = [`${node.name} v${version}, ${state}`, ...ofView];
  for (const each of features) {
    if (node.kind === 'view') lines.push('', ...wrap(`${view}:${each.feature}`, '  '));
    lines.push(
      ...facts([['is', each.description], ...ofFeature(each)], node.kind === 'view' ? '    ' : '  '),
    );
  }
  return `${lines.join('\n')}\n${renderLineage(node, up, down)}`;
}

function ofFeature({
  transformation,
  reads,
  output,
  coldStart,
  statistics,
  expectations,
  expectationResults,
}: Feature): Fact[] {
  const { type, nullable, min, max, allowed } = output;
  const value = [
    type,
    ...(min === null ? [] : [`from ${min}`]),
    ...(max === null ? [] : [`to ${max}`]),
    ...(allowed === null ? [] : [`one of ${allowed.map(formatValue).join(', ')}`]),
    nullable ? 'may be null' : 'never null',
  ];
  return [
    ['made by', transformation],
    ['reads', reads.join(', ')],
    ['value', value.join(', ')],
    ['cold start', formatValue(coldStart)],
    ...(statistics === null ? [] : counted(type, statistics)),
    ...expectations.map((each): Fact => {
      const { type: of, severity, ...rest } = each;
      const name = nameOf(each);
      const result = expectationResults.find((one) => one.expectation === name && one.severity === severity);
      const came = result ? `; ${result.passed ? 'held' : 'failed'} ${result.at}: ${result.said}` : '';
      return [severity === 'block' ? 'must be' : 'expected', `${of} ${formatValue(rest)}${came}`];
    }),
  ];
}

/** Of texts and lists the length is measured, of maps the size. */
function counted(type: string, statistics: NonNullable<Feature['statistics']>): Fact[] {
  const { what, reference, count, nulls, min, p50, max, mean, deviation, distinct, top } = statistics;
  const figure = (of: number | null): string | null => formatFigure(type, of);
  const words = [`${formatCount(count)} values of ${what} ${reference}`, `${formatCount(nulls)} null`];
  if (min !== null)
    words.push(`${figure(min)} to ${figure(max)}`, `median ${figure(p50)}`, `mean ${figure(mean)}`);
  if (deviation !== null && type !== 'timestamp') words.push(`deviation ${figure(deviation)}`);
  if (distinct !== null) words.push(`${formatCount(distinct)} different`);
  return [
    ['counted', words.join(', ')],
    ['most often', top && formatTop(top, count - nulls)],
  ];
}

type Fact = readonly [string, string | null];

/** What is known, a pair a line; what goes on stands deeper. */
function facts(pairs: readonly Fact[], indent = '  '): string[] {
  return pairs.flatMap(([name, value]) => (value ? wrap(`${name.padEnd(11)}${value}`, indent) : []));
}
