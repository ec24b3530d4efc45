/** What the demo ends with: one document, and the table made of it. Every number in it was read back or counted. Pure. */
import { formatCount, formatFacts, formatTable, formatValue } from '../text.js';

export interface DemoReport {
  seed: number;
  /** Everything was imported as if it happened so many weeks later. */
  shiftWeeks: number;
  /** The demo's one "now": rows after it were withheld. */
  until: string;
  /** Archived, over all sources. */
  events: number;
  imports: Array<{ source: string; origin: string | null; outcomes: Record<string, number> }>;
  views: Array<{ view: string; version: number; kind: string; lastTick: string | null; rows: number | null }>;
  online: {
    user: string;
    /** Of the first item, and of the user; values as serving gave them. */
    item: string;
    features: Array<{
      feature: string;
      value: unknown;
      status: string;
      eventTimestamp: string;
      data: DataOrigin;
    }>;
    /** Values of the whole answer, by status. */
    statuses: Record<string, number>;
  };
  serving: { items: number; features: number; requests: number; p50Ms: number; p99Ms: number };
  training: {
    rows: number;
    positive: number;
    files: Record<'knownThen' | 'eventTime', string>;
    /** Rows in which the two modes differ. */
    rowsDifferent: number;
    byFeature: Record<string, number>;
  };
  parity: { checked: number; different: number; differences: unknown[] };
  /** By step. */
  seconds: Record<string, number>;
  links: Record<string, string>;
  stack: { name: string; running: boolean; stop: string | null };
}

export type DataOrigin = 'real' | 'partly simulated' | 'simulated';

/** What a source says of itself. */
export function dataOrigin(origin: string | null): DataOrigin {
  if (origin === null || !/simulated/i.test(origin)) return 'real';
  return /^simulated/i.test(origin) ? 'simulated' : 'partly simulated';
}

const OUTCOMES = ['archived', 'duplicate', 'conflict', 'invalid', 'withheld'];

export function renderReport(report: DemoReport): string {
  const { imports, views, online, serving, training, parity, seconds, links, stack } = report;
  const counts = (rows: Record<string, number>): string =>
    Object.entries(rows)
      .map(([name, count]) => `${name} ${formatCount(count)}`)
      .join(', ');
  const total = Object.values(seconds).reduce((sum, each) => sum + each, 0);
  return [
    `\nImported, moved by ${report.shiftWeeks} whole weeks so that the data ends at ${report.until}\n`,
    formatTable(
      ['source', ...OUTCOMES, 'data'],
      imports.map(({ source, origin, outcomes }) => [
        source,
        ...OUTCOMES.map((outcome) => outcomes[outcome] ?? 0),
        dataOrigin(origin),
      ]),
    ),
    '\nViews\n',
    formatTable(
      ['view', 'version', 'kind', 'rows', 'last tick'],
      views.map(({ view, version, kind, rows, lastTick }) => [view, version, kind, rows, lastTick]),
    ),
    `\nOnline, as serving answers for user ${online.user} and item ${online.item}\n`,
    formatTable(
      ['feature', 'value', 'status', 'data'],
      online.features.map(({ feature, value, status, data }) => [
        feature,
        short(formatValue(value)),
        status,
        data,
      ]),
    ),
    '\n',
    formatFacts([
      ['values', `${serving.items} items × ${serving.features} features: ${counts(online.statuses)}`],
      [
        'serving',
        `p50 ${serving.p50Ms} ms, p99 ${serving.p99Ms} ms of ${formatCount(serving.requests)} requests, one at a time, whole answer read here`,
      ],
      [
        'training set',
        `${formatCount(training.rows)} rows, ${formatCount(training.positive)} of them bought`,
      ],
      ['modes differ', `in ${formatCount(training.rowsDifferent)} rows: ${most(training.byFeature)}`],
      ['', training.files.knownThen],
      ['', training.files.eventTime],
      [
        'parity',
        `${formatCount(parity.checked)} checked against the oracle, ${formatCount(parity.different)} different`,
      ],
      [
        'seconds',
        `${Object.entries(seconds)
          .map(([name, each]) => `${name} ${each.toFixed(1)}`)
          .join(', ')}; ${total.toFixed(1)} in all`,
      ],
    ]),
    '\n',
    formatFacts([
      ...Object.entries(links),
      stack.running ? ['stop it with', stack.stop] : ['stack', 'stopped; its data and logs are kept'],
    ]),
  ].join('');
}

/** The greatest few; --json has all. */
function most(counts: Record<string, number>): string {
  const sorted = Object.entries(counts).sort(([, a], [, b]) => b - a);
  const shown = sorted.slice(0, 3).map(([name, count]) => `${name} ${formatCount(count)}`);
  const rest = sorted.length - shown.length;
  return shown.length === 0 ? 'nowhere' : shown.join(', ') + (rest > 0 ? `, ${rest} more` : '');
}

function short(text: string): string {
  return text.length > 34 ? `${text.slice(0, 33)}…` : text;
}
