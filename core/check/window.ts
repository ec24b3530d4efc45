/** Windows: their edges, what a state over them keeps, what their source keeps. */
import { decayWindow, LIFE_IN_HALF_LIVES } from '../aggregate/decay.js';
import { findZone } from '../calendar.js';
import type {
  Aggregation,
  AggregationFeature,
  AggregationView,
  RatioSide,
  Source,
  Window,
} from '../definition.js';
import { DAY, formatDuration, HOUR, WEEK } from '../time.js';
import type { Check } from './run.js';

export function checkWindow(
  check: Check,
  { window, aggregation }: AggregationFeature,
  { mode, sessions }: AggregationView,
  source: Source | null,
  at: string,
): void {
  if (sessions && window.type === 'session')
    check.add(
      'window',
      `${at}.window`,
      'is a session of sessions',
      `make the gap of ${formatDuration(sessions.gapMs)} longer, or use another window`,
    );
  if (
    aggregation.op === 'timeSince' &&
    aggregation.edge === 'first' &&
    (window.type === 'sliding' || window.type === 'hopping')
  )
    check.add(
      'window',
      `${at}.window`,
      `the first event of a ${window.type} window is none that stays first`,
      'use lifetime(), or a window that begins anew: tumbling, calendar, session',
    );
  // A session may go on for ever, too.
  if (window.type === 'lifetime' || window.type === 'session') {
    checkBounded(check, aggregation, `${at}.aggregation`);
    if (aggregation.op === 'ratio')
      for (const side of ['numerator', 'denominator'] as const)
        checkBounded(check, aggregation[side], `${at}.aggregation.${side}`);
  }
  if (window.type === 'sliding' || window.type === 'hopping') checkHop(check, window, `${at}.window.hopMs`);
  if (window.type === 'tumbling') checkDayBound(check, 'window', window.ms, `${at}.window.ms`);
  if (mode.type === 'batch' && isEmptyAtTicks(window, mode.cadenceMs))
    check.add(
      'window',
      `${at}.window`,
      `begins anew at every tick of ${formatDuration(mode.cadenceMs)}, so values would always be those of an empty window`,
      'use a window longer than the cadence, or sliding or hopping',
    );
  const isDecaying = aggregation.op === 'decayedSum' || aggregation.op === 'decayedCount';
  if (isDecaying && window.type === 'session')
    check.add(
      'window',
      `${at}.window`,
      'a session may go on for ever, and what decays in it would be kept for as long',
      'use lifetime(), or a window of a length',
    );
  const reach = reachOf(window);
  if (isDecaying && reach && reach.ms > LIFE_IN_HALF_LIVES * aggregation.halfLifeMs)
    check.add(
      'window',
      `${at}.window`,
      `reaches back ${reach.text}, more than ${LIFE_IN_HALF_LIVES} half-lives of ${formatDuration(aggregation.halfLifeMs)}: what is older weighs nothing`,
      'use lifetime(), a shorter window or a longer half-life',
    );
  if (source && source.retentionMs !== null)
    checkKept(
      check,
      isDecaying ? decayWindow(window, aggregation.halfLifeMs) : window,
      sessions?.gapMs ?? 0,
      source,
      source.retentionMs,
      at,
    );
}

/**
 * What is dropped is in no state that is made anew: a window that reaches behind it would have two values.
 * @param gapMs of a view over sessions: so much longer ago than it counts a session's last event lies
 */
function checkKept(
  check: Check,
  window: Window,
  gapMs: number,
  { name }: Source,
  retentionMs: number,
  at: string,
): void {
  const reach = reachOf(window);
  if (reach && reach.ms + gapMs <= retentionMs) return;
  const more = gapMs > 0 ? `, and a session a gap of ${formatDuration(gapMs)} more` : '';
  check.add(
    'window-retention',
    `${at}.window`,
    `reaches back ${reach?.text ?? 'without bound'}${more}; source "${name}" keeps ${formatDuration(retentionMs)}`,
    reach
      ? 'use a shorter window, or keep the source longer'
      : 'use a window that ends, or keep the source for ever: leave out its retention',
  );
}

/** What is told apart exactly is kept, and nothing leaves. */
function checkBounded(check: Check, counted: Aggregation | RatioSide, path: string): void {
  if (counted.op !== 'distinct' || counted.limit !== undefined) return;
  check.add(
    'window',
    `${path}.limit`,
    'is missing: a window without an end keeps every value',
    'declare the most that is told apart ({ limit: 10_000 }), use approxDistinct, or a window that ends',
  );
}

function checkHop(check: Check, { ms, hopMs }: { ms: number; hopMs: number }, path: string): void {
  if (ms % hopMs !== 0)
    check.add(
      'window',
      path,
      ms < hopMs
        ? `a window of ${formatDuration(ms)} is below its hop of ${formatDuration(hopMs)}`
        : `a window of ${formatDuration(ms)} is no multiple of its hop of ${formatDuration(hopMs)}`,
      'use a hop that divides the window',
    );
  checkDayBound(check, 'hop', hopMs, path);
}

/** Boundaries fall on the same times every day, or on midnights. */
function checkDayBound(check: Check, what: 'window' | 'hop', ms: number, path: string): void {
  if (DAY % ms === 0 || ms % DAY === 0) return;
  check.add(
    'window',
    path,
    `a ${what} of ${formatDuration(ms)} neither divides the day nor is whole days`,
    'use one that does: 10s, 1min, 10min, 1h, 1d',
  );
}

/** A zone is known, spelt as it is, and the only one of its view. */
export function checkZones(check: Check, view: AggregationView, path: string): void {
  let first: string | null = null;
  for (const { name, window } of view.features) {
    if (window.type !== 'calendar') continue;
    const { zone } = window;
    const at = `${path}.features.${name}.window.zone`;
    const known = findZone(zone);
    if (known === null)
      check.add(
        'window',
        at,
        `"${zone.slice(0, 60)}" is no time zone`,
        'name one of the IANA database: UTC, Europe/Berlin, America/New_York',
      );
    else if (known !== zone && known.toLowerCase() === zone.toLowerCase())
      check.add('window', at, `"${zone}" is not spelt like that`, `write ${known}`);
    else if (first !== null && zone !== first)
      check.add(
        'window',
        at,
        `"${zone}" is a second zone in this view; "${first}" is the first`,
        'use one zone, or make a view of each',
      );
    else first = zone;
  }
}

/** How far back events of a window lie, of a session one event and the next; null: without bound. Local days have up to 25 hours, months 31 days. */
function reachOf(window: Window): { ms: number; text: string } | null {
  switch (window.type) {
    case 'lifetime':
      return null;
    case 'sliding':
    case 'hopping': {
      const { ms, hopMs } = window;
      return { ms: ms + hopMs, text: `${formatDuration(ms)} and a hop of ${formatDuration(hopMs)}` };
    }
    case 'tumbling':
      return { ms: window.ms, text: formatDuration(window.ms) };
    case 'session':
      return { ms: window.gapMs, text: `a gap of ${formatDuration(window.gapMs)}` };
    case 'calendar': {
      const ms = { day: DAY, week: WEEK, month: 31 * DAY }[window.unit] + HOUR;
      return { ms, text: `a ${window.unit}, ${formatDuration(ms)} at most` };
    }
  }
}

/** A running window that is never longer than the time between ticks, and ends at each. */
function isEmptyAtTicks(window: Window, cadenceMs: number): boolean {
  if (window.type === 'tumbling') return cadenceMs % window.ms === 0;
  return window.type === 'calendar' && window.unit === 'day' && window.zone === 'UTC' && cadenceMs === DAY;
}
