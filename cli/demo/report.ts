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
  /** The last hour, produced live. */
  stream: {
    /** Messages produced; all that follows is of them. */
    events: number;
    /** From just before an event was sent until serving answered with it, of `probes` events. */
    freshnessP50Ms: number;
    freshnessP99Ms: number;
    probes: number;
    /** Probes that serving had not answered with after minutes. */
    unread: number;
    /** As the platform counted them; the late ones are archived. */
    archived: number;
    late: number;
    duplicate: number;
    conflict: number;
    invalid: number;
    tooLate: number;
    /** Where that is not what was produced. */
    miscounted: Miscount[];
  };
  online: {
    user: string;
    /** Of the first item, and of the user; values as serving gave them. */
    item: string;
    /** When the last event happened. */
    lastEvent: string;
    /** sha256 of all values then: of the user with each item, and of everybody who was in the shop in the last hour. */
    digest: string;
    features: Array<{
      feature: string;
      value: unknown;
      /** At `lastEvent`, of all events known today: the same for a seed and an end, whatever died meanwhile. */
      atLastEvent: unknown;
      since: Since;
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

export interface Miscount {
  outcome: string;
  made: number;
  counted: number;
}

/**
 * Why serving's value is another than that of the last event: time went on; a tick, once written, does not know what came after
 * it; or there is no reason, and it is wrong.
 */
export type Since = 'same' | 'time' | 'tick' | 'differs';

export type DataOrigin = 'real' | 'partly simulated' | 'simulated';

/** What a source says of itself. */
export function dataOrigin(origin: string | null): DataOrigin {
  if (origin === null || !/simulated/i.test(origin)) return 'real';
  return /^simulated/i.test(origin) ? 'simulated' : 'partly simulated';
}

const OUTCOMES = ['archived', 'duplicate', 'conflict', 'invalid', 'withheld'];

export function renderReport(report: DemoReport): string {
  const { imports, stream, views, online, serving, training, parity, seconds, links, stack } = report;
  const counts = (rows: Record<string, number>): string =>
    Object.entries(rows)
      .map(([name, count]) => `${name} ${formatCount(count)}`)
      .join(', ');
  const total = Object.values(seconds).reduce((sum, each) => sum + each, 0);
  return [
    `\nImported, moved by ${report.shiftWeeks} whole weeks, up to ${report.until}\n`,
    formatTable(
      ['source', ...OUTCOMES, 'data'],
      imports.map(({ source, origin, outcomes }) => [
        source,
        ...OUTCOMES.map((outcome) => outcomes[outcome] ?? 0),
        dataOrigin(origin),
      ]),
    ),
    '\nStreamed, the last hour\n',
    formatTable(
      ['events', 'late', 'duplicate', 'conflict', 'invalid', 'too late', 'fresh p50', 'p99'],
      [
        [
          stream.events,
          stream.late,
          stream.duplicate,
          stream.conflict,
          stream.invalid,
          stream.tooLate,
          `${stream.freshnessP50Ms} ms`,
          `${stream.freshnessP99Ms} ms`,
        ],
      ],
    ),
    `fresh: produced until readable through serving, of ${formatCount(stream.probes)} events\n`,
    stream.unread === 0 ? '' : `!! ${formatCount(stream.unread)} of them never were\n`,
    ...stream.miscounted.map(
      ({ outcome, made, counted }) =>
        `!! ${formatCount(made)} ${outcome} were produced, ${formatCount(counted)} counted\n`,
    ),
    '\nViews\n',
    formatTable(
      ['view', 'version', 'kind', 'rows', 'last tick'],
      views.map(({ view, version, kind, rows, lastTick }) => [view, version, kind, rows, lastTick]),
    ),
    `\nOnline: user ${online.user}, item ${online.item}, at the last event ${online.lastEvent}\n`,
    formatTable(
      ['feature', 'at last event', 'now', 'data'],
      online.features.map(({ feature, atLastEvent, value, since, status, data }) => [
        feature,
        short(formatValue(atLastEvent), 19),
        short(now(value, since, status), 12),
        data.replace('partly simulated', 'partly'),
      ]),
    ),
    '= as then  ~ time went on  + waits for its next tick  !! another value\n\n',
    formatFacts([
      ['values', `${serving.items} items × ${serving.features} features: ${counts(online.statuses)}`],
      [
        'serving',
        `p50 ${serving.p50Ms} ms, p99 ${serving.p99Ms} ms of ${formatCount(serving.requests)} requests, one at a time`,
      ],
      [
        'training set',
        `${formatCount(training.rows)} rows, ${formatCount(training.positive)} of them bought`,
      ],
      ['modes differ', `in ${formatCount(training.rowsDifferent)} rows`],
      ...lines(most(training.byFeature)),
      ['', training.files.knownThen],
      ['', training.files.eventTime],
      [
        'parity',
        `${formatCount(parity.checked)} checked against the oracle, ${formatCount(parity.different)} different`,
      ],
      ['seconds', `${total.toFixed(1)} in all`],
      ...lines(Object.entries(seconds).map(([name, each]) => `${name} ${each.toFixed(1)}`)),
    ]),
    '\n',
    formatFacts([
      ...Object.entries(links),
      stack.running ? ['stop it with', stack.stop] : ['stack', 'stopped; its data and logs are kept'],
    ]),
  ].join('');
}

/** What serving says now, beside what it was at the last event. */
function now(value: unknown, since: Since, status: string): string {
  const mark = { same: '=', time: '~', tick: '+', differs: '!!' }[since];
  return [mark, since === 'same' ? '' : formatValue(value), status === 'PRESENT' ? '' : status]
    .filter((part) => part !== '')
    .join(' ');
}

/** The greatest few; --json has all. */
function most(counts: Record<string, number>): string[] {
  const sorted = Object.entries(counts).sort(([, a], [, b]) => b - a);
  const shown = sorted.slice(0, 3).map(([name, count]) => `${name} ${formatCount(count)}`);
  return sorted.length > shown.length ? [...shown, `${sorted.length - shown.length} more`] : shown;
}

/** Joined by commas, on as many lines as it takes. */
function lines(parts: readonly string[]): Array<[string, string]> {
  const found: string[] = [];
  for (const part of parts) {
    const last = found.at(-1);
    if (last !== undefined && last.length + part.length + 2 <= LINE)
      found[found.length - 1] = `${last}, ${part}`;
    else found.push(part);
  }
  return found.map((text) => ['', text]);
}
const LINE = 64;

function short(text: string, most: number): string {
  return text.length > most ? `${text.slice(0, most - 1)}…` : text;
}
