import type { Schemas } from '../../clients/typescript/index.js';
import { formatTimestamp } from '../../core/time.js';
import { connect } from '../address.js';
import type { Call } from '../program.js';
import { type Cell, formatCount, formatTable, formatValue } from '../text.js';
import { viewArgument } from './arguments.js';

type Statistics = Schemas['GetViewStatisticsAnswer'];

export default async function statistics(
  call: Call<{ registry?: string; of?: string; reference?: string }>,
): Promise<void> {
  const { options, out } = call;
  viewArgument(call.args[0]!);
  const query = new URLSearchParams({
    ...(options.of !== undefined && { what: options.of }),
    ...(options.reference !== undefined && { reference: options.reference }),
  });
  const path = `/v1/views/${encodeURIComponent(call.args[0]!)}/statistics`;
  const found = await connect(call).get<Statistics>(query.size > 0 ? `${path}?${query.toString()}` : path);
  out.result(found, () => renderStatistics(found));
}

const WIDTH = 80;

export function renderStatistics({ view, version, what, reference, at, features }: Statistics): string {
  const table = formatTable(
    ['feature', 'values', 'nulls', 'min', 'median', 'max', 'distinct'],
    features.map(({ feature, type, count, nulls, min, p50, max, distinct }) => [
      feature,
      count,
      nulls,
      ...[min, p50, max].map((figure) => formatFigure(type, figure)),
      distinct,
    ]),
    WIDTH,
  );
  const frequent = features.flatMap(({ feature, count, nulls, top }): Cell[][] => {
    if (top === null || top.length === 0) return [];
    return [[feature, formatTop(top, count - nulls)]];
  });
  const tables = frequent.length === 0 ? table : `${table}\n${formatTable(['feature', 'most frequent'], frequent, WIDTH)}`; // biome-ignore format: one thing
  return `${view}@${version}, ${what} ${reference}, counted at ${at.slice(0, 19)}Z\n\n${tables}`;
}

/** Four digits say enough of a figure, and the day of a timestamp; --json has all. */
export function formatFigure(type: string, figure: number | null): string | null {
  if (figure === null) return null;
  if (type === 'timestamp') return formatTimestamp(figure).slice(0, 10);
  if (Number.isInteger(figure) && Math.abs(figure) < 1e7) return formatCount(figure);
  return Math.abs(figure) < 1e7 ? String(Number(figure.toPrecision(4))) : figure.toExponential(3);
}

/** The most frequent with their shares. @param of how many values there are */
export function formatTop(top: NonNullable<Statistics['features'][number]['top']>, of: number): string {
  return top
    .map(({ value, count }) => `${formatValue(value)} ${Math.round((100 * count) / of)} %`)
    .join(', ');
}
